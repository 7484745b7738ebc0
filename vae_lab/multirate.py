"""One VAE for every weight β of its KL: layers gated by log β, trained over all β at once."""

from math import log
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from vae_lab.arguments import Count, checked, having, real, several
from vae_lab.likelihoods import Bernoulli
from vae_lab.models import VAE, LikelihoodLike
from vae_lab.objectives import beta_elbo


class Gate(nn.Module):
    """h ↦ (1 + s(t)) ⊙ h + c(t): every feature of a layer scaled, and shifted, by where log β lies, t.

    s and c come from one hidden layer of `width` tanh units, and begin at zero: the gate is open for every β.
    Bae et al. (2023) have a scale alone: sigmoid(a log β + b) in the encoder, √max(0, 1 − exp(a log β + b))
    in the decoder, which suits linear models exactly. Ours bends as the data ask; and the best log-variance
    of a linear encoder is log β plus a constant, a shift.

    features : how many numbers (of a row) or channels (of an image) it is for
    """

    @checked
    def __init__(self, features: Count, width: Count = 8):
        super().__init__()
        self.hidden, self.out = nn.Linear(1, width), nn.Linear(width, 2 * features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        """Pre-activations h (B, F) or (B, F, H, W) at t (B,), or at one t for all, (1,)."""
        scale, shift = self.out(torch.tanh(self.hidden(t[:, None]))).chunk(2, dim=1)  # (B, F) each
        of_images = (...,) + (None,) * (h.ndim - 2)
        return h + scale[of_images] * h + shift[of_images]


class Gated(nn.Module):
    """The layers of an `nn.Sequential`, with a gate after each that has weights: (rows, t) → rows."""

    @checked
    def __init__(self, body: nn.Module):
        super().__init__()
        layers: list[nn.Module] = []
        for layer in _leaves(body):
            layers.append(layer)
            if isinstance(layer, nn.Linear):
                layers.append(Gate(layer.out_features))
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layers.append(Gate(layer.out_channels))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, t) if isinstance(layer, Gate) else layer(x)
        return x


class MultiRateVAE(nn.Module):
    """VAEs for all β between two ends, in one set of weights (in the manner of Bae et al. 2023).

    encoder, decoder, latents, likelihood : as of a `VAE`; the bodies are `nn.Sequential`s and get gates
    betas : the least and the greatest β > 0

    It is not a VAE by itself: `at(beta)` is one.
    """

    @checked
    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latents: Count,
        likelihood: LikelihoodLike | None = None,
        *,
        betas: Annotated[tuple[float, float], several(real(above=0), 2)] = (0.05, 20.0),
    ):
        super().__init__()
        low, high = betas
        if not low < high:
            raise ValueError(f"betas must be two weights of the KL, 0 < least < greatest; got {betas}")
        self.encoder, self.decoder, self.latents = Gated(encoder), Gated(decoder), latents
        self.likelihood = likelihood or Bernoulli()
        self.betas = (low, high)
        self.register_buffer("_ends", torch.tensor([log(low), log(high)]))

    @checked
    def at(self, beta: float | Tensor) -> VAE:
        """The VAE for this β: with its own prior, encode and decode, and with our parameters, as they are.

        beta : a number for all images, or one for each image of the batches that it will be given, (B,)

        Raises `ValueError` for a β outside `betas`, where nothing was trained.
        """
        beta = torch.as_tensor(beta, dtype=self._ends.dtype, device=self._ends.device)
        t = self._places(beta.reshape(-1).log())
        if beta.ndim > 1 or not len(t) or not (t.abs() <= 1 + 1e-5).all():  # written so that NaN is refused
            shown = f"{beta:.3g}" if beta.ndim == 0 else f"shape {tuple(beta.shape)}"
            low, high = self.betas
            raise ValueError(f"beta must be from {low:g} to {high:g}, a number or one an image; got {shown}")
        vae = VAE(_At(self.encoder, t), _At(self.decoder, t, draws=True), self.latents, self.likelihood)
        vae._zero = vae._zero.to(t)  # the parts that it shares stay as they are
        for own in (vae, vae.encoder, vae.decoder):
            own.training = self.training
        return vae

    @checked
    def draw(self, count: Count) -> Tensor:
        """`count` weights β, log-uniform, in random order: one from each of as many equal parts.

        Together they cover the range evenly: the gradient of a batch varies less than with free draws.
        """
        low, high = self._ends
        u = torch.randperm(count, device=low.device) + torch.rand(count, dtype=low.dtype, device=low.device)
        return (low + u / count * (high - low)).exp().clamp(*self.betas)

    def _places(self, log_beta: Tensor) -> Tensor:
        """t: from −1 at the least log β to 1 at the greatest."""
        low, high = self._ends
        return (2 * log_beta - low - high) / (high - low)


class MultiRateELBO(NamedTuple):
    """(E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z))) / √β, each image at a β of its own."""

    log_lik: Tensor  # (B,)
    kl: Tensor  # (B,)
    beta: Tensor  # (B,)

    @property
    def value(self) -> Tensor:
        return (self.log_lik - self.beta * self.kl) / self.beta.sqrt()


@checked
def multi_rate_elbo(
    model: Annotated[nn.Module, having("at", "draw", like="multirate.MultiRateVAE")], x: Tensor
) -> MultiRateELBO:
    """The β-ELBO over √β of images x (B, C, H, W), each at a β drawn for it (`MultiRateVAE.draw`).

    Dividing by any function of β leaves the optimum for each β where it is, and decides what a network too
    small for all β gives up first. Undivided, the KL of a large β outweighs all else; divided by β, the
    likelihood of a small one does. √β is midway.
    """
    if not x.ndim or not len(x):
        raise ValueError(f"x must be images (B, C, H, W), at least one, got shape {tuple(x.shape)}")
    beta = model.draw(len(x))
    return MultiRateELBO(*beta_elbo(model.at(beta), x, beta))


class _At(nn.Module):
    """A gated body at t: one place for all rows, (1,), or a place for each.

    draws : whether rows may come K times over, as the codes of an image do
    """

    def __init__(self, body: Gated, t: Tensor, *, draws: bool = False):
        super().__init__()
        self.body, self.draws = body, draws
        self.register_buffer("t", t, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        count, rows = len(self.t), len(x)
        if count > 1 and (rows % count if self.draws else rows != count):
            raise ValueError(
                f"got {count} weights β for a batch of {rows}; give one for each image, or a single one"
            )
        return self.body(x, self.t if count == 1 else self.t.repeat(rows // count))


def _leaves(body: nn.Module) -> list[nn.Module]:
    """The layers inside nested `nn.Sequential`s, in order."""
    if type(body) is nn.Sequential:
        return [leaf for part in body for leaf in _leaves(part)]
    if isinstance(body, nn.Sequential) or any(True for _ in body.children()):
        raise TypeError(
            "gates go between the layers of a plain nn.Sequential, and cannot look into "
            f"{type(body).__name__}; see vae_lab.nets"
        )
    return [body]
