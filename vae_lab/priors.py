"""Distributions fitted to the codes of images, to draw from in place of N(0, I).

A trained decoder knows the codes that the encoder gave it, q(z) = 1/N Σ_n q(z|x_n), and N(0, I) is not quite
that. Fitting a p(z) to them afterwards changes no weight of encoder or decoder: samples become more like
reconstructions, and the bound of the same VAE rises by as much as KL(q(z) ‖ p(z)) falls.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from vae_lab import devices, em
from vae_lab.data import Images
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.nets import mlp
from vae_lab.objectives import elbo
from vae_lab.training import steps


class WithPrior(nn.Module):
    """A trained VAE with another p(z); its `encode` and `decode` are the same.

    Such a prior need have no closed-form KL: its bound is `elbo(model, x, analytic=False)`.
    """

    def __init__(self, vae: VAE, prior: Distribution):
        super().__init__()
        self.vae, self.latents, self._prior = vae, vae.latents, prior

    def prior(self) -> Distribution:
        return self._prior

    def encode(self, x: Tensor) -> Distribution:
        return self.vae.encode(x)

    def decode(self, z: Tensor) -> Distribution:
        return self.vae.decode(z)


@torch.no_grad()
def posteriors(model, images: Images, *, at_once: int = 500) -> Distribution:
    """q(z|x_n) of all N images as one distribution of batch shape (N,), encoded `at_once` at a time."""
    parts = [model.encode(images.read(slice(i, i + at_once))) for i in range(0, len(images), at_once)]
    mean, stddev = (torch.cat([getattr(q, name) for q in parts]) for name in ("mean", "stddev"))
    return Independent(Normal(mean, stddev, validate_args=False), 1, validate_args=False)


def fit_mixture(
    q: Distribution, components: int, *, rounds: int = 60, draws: int = 4, seed: int = 0
) -> MixtureSameFamily:
    """p(z) = Σ_k w_k N(z; μ_k, Σ_k) by `em.fit` on draws from q, which is what `posteriors` gives.

    For a deterministic autoencoder: Ghosh et al. 2020.

    components : K; with one, the Gaussian of the codes' own mean and covariance
    rounds : of EM, at most; draws : codes drawn from each q(z|x_n)
    """
    generator = torch.Generator().manual_seed(seed)
    z = torch.cat([_draw(q, torch.arange(len(q.mean)), generator) for _ in range(draws)])  # (draws·N, L)
    begin = em.start(z, em.kmeans_plus_plus(z, components, generator))
    found = em.fit(begin, z, tolerance=1e-3, most=rounds).model
    to = {"dtype": q.mean.dtype, "device": q.mean.device}
    normals = MultivariateNormal(found.means.to(**to), found.covariances.to(**to), validate_args=False)
    return MixtureSameFamily(Categorical(logits=found.log_w.to(**to)), normals, validate_args=False)


class SecondStage(Distribution):
    """p(z) = ∫ p(z|u) N(u; 0, I) du, a VAE whose data are the codes of another (Dai & Wipf 2019).

    `log_prob` is a lower bound of log p(z) by one draw of u, as the ELBO is.
    """

    arg_constraints: dict = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, vae: VAE):
        self.vae = vae
        super().__init__((), (vae.latents,), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape=()) -> Tensor:
        return self.vae.decode(self.vae.prior().sample(sample_shape)).sample()

    def log_prob(self, z: Tensor) -> Tensor:
        return elbo(self.vae, z.reshape(-1, self.vae.latents)).value.view(z.shape[:-1])


def fit_second_stage(
    q: Distribution, *, hidden: int = 256, rounds: int = 2000, learning_rate: float = 2e-3, seed: int = 0
) -> SecondStage:
    """A `SecondStage` with as many latents as a code has, trained on fresh draws from q (`posteriors`).

    hidden : units in each of two layers, of encoder and of decoder
    rounds : steps of Adam under a one-cycle rate, each on 256 codes

    Leaves torch's random numbers as they were.
    """
    latents, device = q.mean.shape[1], q.mean.device
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        encoder = mlp([latents, hidden, hidden, 2 * latents], nn.SiLU)
        decoder = mlp([latents, hidden, hidden, latents], nn.SiLU)
        vae = VAE(encoder, decoder, latents, Gaussian(0.5, learn=True, mean=nn.Identity())).to(device)
        optimizer = torch.optim.Adam(vae.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=rounds)
        for _ in steps(vae, _codes(q, rounds, seed), elbo, optimizer, schedule):
            pass
    return SecondStage(vae.eval().requires_grad_(False))


def _codes(q: Distribution, rounds: int, seed: int) -> Iterator[Tensor]:
    """Batches of 256 codes, each drawn from the q(z|x_n) of an image drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        yield _draw(q, torch.randint(len(q.mean), (256,), generator=generator), generator)


def _draw(q: Distribution, index: Tensor, generator: torch.Generator) -> Tensor:
    """A code from each q(z|x_n) for n in index."""
    mean, stddev = q.mean[index], q.stddev[index]
    return mean + stddev * torch.randn(mean.shape, generator=generator).to(mean)
