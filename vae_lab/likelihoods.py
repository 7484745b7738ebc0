"""What a decoder's output says about pixels: p(x | z) as a `torch.distributions` object.

Each likelihood is a module that turns the decoder's raw numbers (…, C, H, W) into a distribution over
images whose `log_prob` is one number per image, in nats, and whose `mean` is the picture to look at.
`event_dims` says how many trailing axes make one observation: 3 for images, 1 for vectors.
"""

from collections.abc import Callable
from math import log, pi
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as _Bernoulli
from torch.distributions import Distribution, Independent, Normal, constraints

from vae_lab.arguments import Count, Floats, Natural, checked, floats, real, shown, unit_interval, whole
from vae_lab.wavelets import haar, require_divisible, unhaar

Scale = Annotated[float, real(1e-15, 1e15)]  # whose square float32 can hold, and divide by
Levels = Annotated[int, whole(0, 30)]


class _Observation(Independent):
    """torch's own, but refuses an x of another shape than its own, which torch would broadcast."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(_observed(value, self))


def _observed(x: Tensor, p_x: Distribution) -> Tensor:
    """Floats of the shape of an observation under p(x|z), as many as there are codes."""
    if torch.compiler.is_compiling():
        return x
    x, event, batch = floats("x", x), p_x.event_shape, p_x.batch_shape
    own = x.shape[: x.ndim - len(event)]
    if x.shape[x.ndim - len(event) :] != event or any(
        a != b and 1 not in (a, b) for a, b in zip(own[::-1], batch[::-1], strict=False)
    ):
        raise ValueError(
            f"x must be of the shape that p(x|z) describes, {tuple(batch + event)}, got {tuple(x.shape)}"
        )
    return x


class Bernoulli(nn.Module):
    """Every pixel is a coin: log p(x|z) = Σ_d x_d log π_d + (1 − x_d) log(1 − π_d), π = sigmoid(raw).

    A distribution over black and white. On gray pixels the same expression is a cross-entropy: useful as
    a loss, but no log-density, so its value cannot be compared with that of a density.
    """

    squashes = True

    @checked
    def forward(self, raw: Floats, event_dims: Natural = 3) -> Distribution:
        _require_axes(raw, event_dims)
        return _Observation(_Coins(logits=raw, validate_args=False), event_dims, validate_args=False)


class _Coins(_Bernoulli):
    """torch's own, but refuses numbers outside [0, 1], for which the expression above means nothing."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(unit_interval("x", value))


class ContinuousBernoulli(nn.Module):
    """The Bernoulli made a density on [0, 1] by its missing constant (Loaiza-Ganem & Cunningham 2019)."""

    squashes = True

    @checked
    def forward(self, raw: Floats, event_dims: Natural = 3) -> Distribution:
        _require_axes(raw, event_dims)
        return _Observation(_ContinuousBernoulli(raw), event_dims, validate_args=False)


class _ContinuousBernoulli(Distribution):
    """p(x) = l exp(l x) / (exp(l) − 1) for x in [0, 1] and a logit l.

    torch's own goes by way of float32 probabilities, which end at |l| = 16: trained on digits, two thirds of
    the pixels lie beyond, and log p(x|z) comes out more than a hundred nats too low. Near l = 0, where both
    formulas are 0 / 0, their series.
    """

    arg_constraints: ClassVar = {"logits": constraints.real}
    has_rsample = True

    def __init__(self, logits: Tensor):
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        x = unit_interval("x", x)
        size = self.logits.abs()
        a, b = size.clamp(min=0.1), size.clamp(max=1)  # each where it serves: beyond, powers overflow
        far = a / 2 + (-torch.expm1(-a) / a).log()  # log of sinh(a/2) / (a/2)
        near = b**2 / 24 - b**4 / 2880
        return self.logits * (x - 0.5) - torch.where(size > 0.1, far, near)

    @property
    def mean(self) -> Tensor:
        far = self.logits.abs().clamp(min=0.1).copysign(self.logits)
        near = self.logits.clamp(-1, 1)
        series = near / 12 - near**3 / 720
        return 0.5 + torch.where(self.logits.abs() > 0.1, 0.5 / (far / 2).tanh() - 1 / far, series)

    def rsample(self, sample_shape=()) -> Tensor:
        """Inverse of the distribution function at uniform numbers, for −|l| and mirrored."""
        size = self.logits.abs().clamp(min=1e-6)
        u = torch.rand(*sample_shape, *size.shape, dtype=size.dtype, device=size.device)
        x = torch.log1p(u * torch.expm1(-size)) / -size
        return torch.where(self.logits > 0, 1 - x, x)


class Gaussian(nn.Module):
    """x = mean + scale · noise: log p(x|z) = −Σ_d (x_d − mean_d)² / 2 scale² − D log scale − D/2 log 2π.

    scale : standard deviation of a pixel given its code, the same for all; it sets the weight
        of the squared error. With `learn=True` it is a parameter that starts there.
    mean : maps the decoder's raw numbers to means; the default keeps them in [0, 1].
    """

    @checked
    def __init__(
        self, scale: Scale = 0.1, *, learn: bool = False, mean: Callable[[Tensor], Tensor] = torch.sigmoid
    ):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(log(scale)), requires_grad=learn)
        self.mean = mean

    @property
    def scale(self) -> Tensor:
        """Standard deviation of a pixel given its code, a scalar."""
        return self.log_scale.exp()

    @property
    def squashes(self) -> bool:
        """Whether the decoder's numbers are squashed here, so that it must not do so itself."""
        return self.mean is torch.sigmoid

    def extra_repr(self) -> str:
        learned = ", learned" * self.log_scale.requires_grad
        return f"scale={self.scale.item():.4g}{learned}, mean={_name(self.mean)}"

    @checked
    def forward(self, raw: Floats, event_dims: Natural = 3) -> Distribution:
        mean = _means(self.mean, raw, event_dims)
        normal = Normal(mean, self.scale.expand_as(mean), validate_args=False)
        return _Observation(normal, event_dims, validate_args=False)


class GaussianWithScales(nn.Module):
    """x = mean(z) + scale(z) ⊙ noise: the decoder gives each number of x a mean and a scale of its own.

    raw : twice as many numbers as x along the first axis of an observation, (…, 2D) for vectors and
        (…, 2C, H, W) for images: the means, then the log-variances

    For data of a few numbers. Pixels that are exactly black or white let a scale shrink, and log p(x|z)
    grow, without limit.
    """

    @checked
    def forward(self, raw: Floats, event_dims: Count = 3) -> Distribution:
        _require_axes(raw, event_dims)
        if raw.shape[-event_dims] % 2:
            raise ValueError(
                f"raw must be an even count of numbers, a mean and a log-variance each, got "
                f"{raw.shape[-event_dims]}; let the decoder give twice as many as x has"
            )
        mean, log_var = raw.chunk(2, dim=-event_dims)
        normal = Normal(mean, (log_var / 2).exp(), validate_args=False)
        return _Observation(normal, event_dims, validate_args=False)


class WaveletGaussian(nn.Module):
    """x = mean(z) + noise with a standard deviation for each size of detail, from coarse to fine.

    log p(x|z) = Σ_j [−‖r_j‖² / 2 s_j² − D_j log s_j − D_j/2 log 2π], r_j the part of x − mean at scale j by
    Haar's wavelets (`wavelets.haar`). They are a rotation, so this is a density over pixels, in the same nats
    as that of `Gaussian`, whose noise is the case of all s_j equal.

    scale : every s_j at the start; they are learned
    levels : how often the image is halved; there are levels + 1 of the s_j, the coarsest first
    mean : as in `Gaussian`
    """

    @checked
    def __init__(
        self, scale: Scale = 0.1, *, levels: Levels = 4, mean: Callable[[Tensor], Tensor] = torch.sigmoid
    ):
        super().__init__()
        self.log_scales = nn.Parameter(torch.full((levels + 1,), log(scale)))
        self.mean = mean

    @property
    def scales(self) -> Tensor:
        """Standard deviation of a wavelet coefficient at each size, coarsest first, (levels + 1,)."""
        return self.log_scales.exp()

    @property
    def squashes(self) -> bool:
        """As of `Gaussian`."""
        return self.mean is torch.sigmoid

    def extra_repr(self) -> str:
        scales = ", ".join(f"{scale:.4g}" for scale in self.scales.tolist())
        return f"scales=({scales}), mean={_name(self.mean)}"

    @checked
    def forward(self, raw: Floats, event_dims: Natural = 3) -> Distribution:
        if event_dims != 3:
            raise ValueError(f"wavelets are for images, three axes each; got event_dims={event_dims}")
        return _WaveletNormal(_means(self.mean, raw, event_dims), self.scales)


class _WaveletNormal(Distribution):
    """N(mean, Wᵀ diag(s²) W) for the rotation W of `wavelets.haar`; the event is an image (C, H, W)."""

    arg_constraints: ClassVar = {}
    has_rsample = True

    def __init__(self, mean: Tensor, scales: Tensor):
        require_divisible(mean.shape, len(scales) - 1)
        self._mean, self._scales = mean, scales
        super().__init__(mean.shape[:-3], mean.shape[-3:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def log_prob(self, x: Tensor) -> Tensor:
        residual, total = _observed(x, self) - self._mean, 0
        for part, scale in zip(haar(residual, len(self._scales) - 1), self._scales, strict=True):
            numbers = part.flatten(residual.ndim - 3)  # (…, D_j)
            constant = numbers.shape[-1] * (scale.log() + log(2 * pi) / 2)
            total = total - numbers.square().sum(-1) / (2 * scale**2) - constant
        return total

    def rsample(self, sample_shape=()) -> Tensor:
        noise = torch.randn(*sample_shape, *self._mean.shape, device=self._mean.device)
        parts = haar(noise.to(self._mean.dtype), len(self._scales) - 1)  # a rotation of white noise is white
        return self._mean + unhaar([p * s for p, s in zip(parts, self._scales, strict=True)])


def _require_axes(raw: Tensor, event_dims: int) -> None:
    if raw.ndim < event_dims:
        raise ValueError(f"raw must have {event_dims} axes for one observation, got shape {tuple(raw.shape)}")


def _means(function: Callable, raw: Tensor, event_dims: int) -> Tensor:
    """The means that a function makes of the decoder's numbers, checked."""
    _require_axes(raw, event_dims)
    mean = function(raw)
    if not isinstance(mean, Tensor) or mean.ndim < event_dims:
        raise ValueError(f"mean must give means of {event_dims} axes, made of raw, got {shown(mean)}")
    return mean


def _name(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__)
