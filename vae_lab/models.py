"""The two models of this book: a function that copies, and a distribution that generates."""

import inspect
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lab import devices
from vae_lab.arguments import Count, checked, instance, one_line, shown
from vae_lab.likelihoods import Bernoulli

SQUASHING = (
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Softmax,
    nn.LogSigmoid,
    nn.ReLU,
    nn.Softplus,
)
SHAPING = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout)


def _likelihood(name: str, value: Any) -> nn.Module:
    """A module that makes p(x|z) of raw numbers."""
    try:
        inspect.signature(instance(nn.Module)(name, value).forward).bind(None, event_dims=1)
    except TypeError:
        words = f"{name} must be one of vae_lab.likelihoods, such as Bernoulli(), got {shown(value)}"
        raise TypeError(words) from None
    return value


LikelihoodLike = Annotated[nn.Module, _likelihood]


class Autoencoder(nn.Module):
    """A deterministic code and its reconstruction: z = f_φ(x), x̂ = g_θ(z).

    encoder : images (B, C, H, W) → codes (B, L)
    decoder : codes (B, L) → images (B, C, H, W), squashed to pixels if that is wanted
    """

    @checked
    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @checked
    def encode(self, x: Tensor) -> Tensor:
        return through(self.encoder, x, "encoder", "images")

    @checked
    def decode(self, z: Tensor) -> Tensor:
        return through(self.decoder, z, "decoder", "codes")


class VAE(nn.Module):
    """A latent-variable model p(z) p_θ(x|z) and a Gaussian approximation q_φ(z|x) of its posterior.

    encoder : images (B, C, H, W) → numbers (B, 2L), the means and the log-variances of q(z|x)
    decoder : codes (N, L) → raw numbers (N, C, H, W) that `likelihood` turns into p(x|z)
    latents : L, the length of a code

    `prior`, `encode` and `decode` return distributions, whose `log_prob` is one number per example, in nats
    (Kingma & Welling 2014, §2–3). Numbers of another type than the networks' are converted on the way in.
    """

    @checked
    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, latents: Count, likelihood: LikelihoodLike | None = None
    ):
        super().__init__()
        self.encoder, self.decoder, self.latents = encoder, decoder, latents
        self.likelihood = likelihood or Bernoulli()
        self.register_buffer("_zero", torch.zeros(latents), persistent=False)

    def prior(self) -> Distribution:
        """p(z) = N(0, I) over codes of length L."""
        return gaussian(self._zero, torch.ones_like(self._zero))

    @checked
    def encode(self, x: Tensor) -> Distribution:
        """q_φ(z|x) = N(μ(x), diag σ²(x)) for images x of shape (B, C, H, W); batch shape (B,), event (L,)."""
        numbers = through(self.encoder, x, "encoder", "images")  # (B, 2L)
        if numbers.shape != (*getattr(self, "batch_shape", ()), len(x), 2 * self.latents):
            raise ValueError(
                f"the encoder gives shape {tuple(numbers.shape)} for {len(x)} images, but a Gaussian over "
                f"{self.latents} latents needs {2 * self.latents} numbers an image, means and log-variances"
            )
        mu, log_var = numbers.chunk(2, dim=-1)
        return gaussian(mu, (log_var / 2).exp())

    @checked
    def decode(self, z: Tensor) -> Distribution:
        """p_θ(x|z) for codes z (B, L) or (K, B, L), or a single code (L,); batch shape (B,) or (K, B)."""
        if not z.ndim or z.shape[-1] != self.latents:
            raise ValueError(
                f"z must be codes of length {self.latents}, (…, {self.latents}), got {tuple(z.shape)}"
            )
        batch = z.shape[:-1]
        raw = through(self.decoder, z.reshape(-1, self.latents), "decoder", "codes")  # (B, C, H, W)
        if raw.shape[:1].numel() != batch.numel():
            raise ValueError(
                f"the decoder gives shape {tuple(raw.shape)} for {batch.numel()} codes; one image each"
            )
        return self.likelihood(raw.reshape(*batch, *raw.shape[1:]), event_dims=raw.ndim - 1)


def gaussian(mean: Tensor, scale: Tensor) -> Distribution:
    """N(mean, diag scale²) over the last axis."""
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


def through(network: nn.Module, x: Tensor, name: str, what: str) -> Tensor:
    """What a network gives for x, computed in the type of its weights, in which it may run in 16 bits.

    name, what : the network and x in words, for the one sentence that says that the two do not go together
    """
    first = next(network.parameters(), x)
    kind = x.dtype if not x.is_floating_point() else first.dtype
    if torch.compiler.is_compiling():
        return network(x.to(kind)).to(kind)
    try:
        given = network(x.to(kind))
    except (RuntimeError, ValueError, IndexError) as error:
        if devices.short_of_memory(error) or not (isinstance(error, RuntimeError) or _is_torchs(error)):
            raise
        raise ValueError(
            f"the {name} cannot take {what} of shape {tuple(x.shape)} ({x.dtype} on {x.device}): "
            f"{one_line(error)}"
        ) from error
    if not isinstance(given, Tensor):
        raise TypeError(f"the {name} must give one tensor, got {shown(given)}; torch.cat joins several")
    return given.to(kind)


def _is_torchs(error: BaseException) -> bool:
    """Whether a layer of torch's raised it, and not one of the caller's or ours."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(last).is_relative_to(Path(torch.__file__).parent)


def check_decoder(model: nn.Module) -> None:
    """Refuse a decoder that squashes its numbers under a likelihood that takes logits and squashes again.

    Such a decoder shows by its last layer or, where a function squashes, by its outputs for codes farther and
    farther out: numbers that are not squashed grow with them, and have both signs.
    """
    decoder, likelihood = getattr(model, "decoder", None), getattr(model, "likelihood", None)
    if not getattr(likelihood, "squashes", False) or not isinstance(decoder, nn.Module):
        return
    advice = (
        f"{type(likelihood).__name__} takes raw numbers and squashes them itself; let the decoder end before"
    )
    last = _last_layer(decoder)
    if isinstance(last, SQUASHING):
        raise ValueError(f"the decoder ends in {type(last).__name__}, but {advice} it")
    if not hasattr(model, "decode"):  # a decoder that needs more than a code
        return
    steps, first = torch.arange(16.0), next(decoder.parameters(), torch.empty(0))
    codes = torch.sin(torch.outer(steps + 1, torch.arange(model.latents) + 1.0)) * 10 ** (steps / 5)[:, None]
    copies = math.prod(getattr(model, "batch_shape", ()))
    with torch.no_grad(), evaluating(model):
        raw = through(decoder, codes.to(first).repeat(copies, 1), "decoder", "codes").flatten(1)
    low, high = raw.aminmax()
    squashed = low >= 0 or (low >= -1 and high <= 1 and max(-low, high) > 0.999)
    if raw.shape[1] >= 16 and squashed and raw.isfinite().all() and (raw - raw[:1]).abs().max() > 1e-4:
        raise ValueError(
            f"the decoder gives numbers from {low:.3g} to {high:.3g} however far its code goes, "
            f"as if it squashed them, but {advice} that"
        )


@contextmanager
def evaluating(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Evaluation mode and, with a seed, our own random numbers; restored afterward, even after an error."""
    modes = [(module, module.training) for module in model.modules()]
    with devices.same_random_numbers_after(devices.of(model)) if seed is not None else nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def _last_layer(body: nn.Module) -> nn.Module | None:
    """The last layer that changes numbers, looking into nested `nn.Sequential`s."""
    if not isinstance(body, nn.Sequential):
        return body
    found = (_last_layer(part) for part in reversed(body) if not isinstance(part, SHAPING))
    return next((layer for layer in found if layer is not None), None)
