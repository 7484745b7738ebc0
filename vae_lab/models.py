"""The two models of this book: a function that copies, and a distribution that generates."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lab.likelihoods import Bernoulli


class Autoencoder(nn.Module):
    """A deterministic code and its reconstruction: z = f_φ(x), x̂ = g_θ(z).

    encoder : images (B, C, H, W) → codes (B, L)
    decoder : codes (B, L) → images (B, C, H, W), squashed to pixels if that is wanted
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


class VAE(nn.Module):
    """A latent-variable model p(z) p_θ(x|z) and a Gaussian approximation q_φ(z|x) of its posterior.

    encoder : images (B, C, H, W) → numbers (B, 2L), the means and the log-variances of q(z|x)
    decoder : codes (N, L) → raw numbers (N, C, H, W) that `likelihood` turns into p(x|z)
    latents : L, the length of a code

    `prior`, `encode` and `decode` return distributions; their `log_prob` is one number of nats an example
    (Kingma & Welling 2014, §2–3).
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, latents: int, likelihood: nn.Module | None = None
    ):
        super().__init__()
        self.encoder, self.decoder, self.latents = encoder, decoder, latents
        self.likelihood = likelihood or Bernoulli()
        self.register_buffer("_zero", torch.zeros(latents), persistent=False)

    def prior(self) -> Distribution:
        """p(z) = N(0, I) over codes of length L."""
        return _gaussian(self._zero, torch.ones_like(self._zero))

    def encode(self, x: Tensor) -> Distribution:
        """q_φ(z|x) = N(μ(x), diag σ²(x)) for images x of shape (B, C, H, W); batch shape (B,), event (L,)."""
        numbers = self.encoder(x).to(x.dtype)  # (B, 2L); networks may run in 16 bits, distributions do not
        if numbers.shape[-1] != 2 * self.latents:
            raise ValueError(
                f"the encoder gives {numbers.shape[-1]} numbers an image, but a Gaussian over {self.latents} "
                f"latents needs {2 * self.latents}: a mean and a log-variance each"
            )
        mu, log_var = numbers.chunk(2, dim=-1)
        return _gaussian(mu, (log_var / 2).exp())

    def decode(self, z: Tensor) -> Distribution:
        """p_θ(x|z) for codes z of shape (B, L) or (K, B, L); batch shape (B,) or (K, B)."""
        if z.shape[-1] != self.latents:
            raise ValueError(f"expected codes of length {self.latents}, got shape {tuple(z.shape)}")
        batch = z.shape[:-1]
        raw = self.decoder(z.reshape(-1, self.latents)).to(z.dtype)  # (B, C, H, W)
        return self.likelihood(raw.reshape(*batch, *raw.shape[1:]), event_dims=raw.ndim - 1)


def _gaussian(mean: Tensor, scale: Tensor) -> Distribution:
    """N(mean, diag scale²) over the last axis."""
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
