"""Distributions fitted to the codes of images, to draw from in place of N(0, I).

A trained decoder knows the codes that the encoder gave it, q(z) = 1/N Σ_n q(z|x_n), and N(0, I) is not quite
that. Fitting a p(z) to them afterward changes no weight of encoder or decoder: samples become more like
reconstructions, and the bound of the same VAE rises by as much as KL(q(z) ‖ p(z)) falls.
"""

from collections.abc import Iterator
from typing import Annotated

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

from vae_lab import devices, em, training
from vae_lab.arguments import Count, Floats, Positive, Seed, VAELike, checked, finite, several, shown, whole
from vae_lab.data import ImagesLike
from vae_lab.estimators import require_batch
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE, gaussian
from vae_lab.nets import mlp
from vae_lab.objectives import elbo

CODES = 256  # in a step of training for the second VAE


class WithPrior(nn.Module):
    """A trained VAE with another p(z); its `encode` and `decode` are the same.

    Such a prior need not have a closed-form KL: its bound is `elbo(model, x, analytic=False)`.
    """

    @checked
    def __init__(self, vae: VAELike, prior: Distribution):
        super().__init__()
        if tuple(prior.event_shape) != (vae.latents,) or prior.batch_shape:
            raise ValueError(
                f"prior must be one distribution over codes of length {vae.latents}, got batch shape "
                f"{tuple(prior.batch_shape)} and event shape {tuple(prior.event_shape)}"
            )
        self.vae, self.latents, self._prior = vae, vae.latents, prior

    def prior(self) -> Distribution:
        return self._prior

    def encode(self, x: Tensor) -> Distribution:
        return self.vae.encode(x)

    def decode(self, z: Tensor) -> Distribution:
        return self.vae.decode(z)


@checked
@torch.no_grad()
def posteriors(model: VAELike, images: ImagesLike, *, chunk_size: Count = 500) -> Distribution:
    """q(z|x_n) of all N images as one distribution of batch shape (N,), encoded `chunk_size` at a time."""
    images = images.to(devices.of(model))
    starts = range(0, len(images), chunk_size)
    batches = (images.read(slice(start, start + chunk_size)) for start in starts)
    parts = [require_batch("model.encode", model.encode(x), (len(x),)) for x in batches]
    mean, stddev = (torch.cat([getattr(q, name) for q in parts]) for name in ("mean", "stddev"))
    return gaussian(*(finite("q(z|x)", values, "did training diverge?") for values in (mean, stddev)))


@checked
def fit_mixture(
    q: Distribution, components: Count, *, max_iter: Count = 60, n_samples: Count = 4, seed: Seed = 0
) -> MixtureSameFamily:
    """p(z) = Σ_k w_k N(z; μ_k, Σ_k) by `em.fit` on draws from q, which is what `posteriors` gives.

    For a deterministic autoencoder: Ghosh et al. 2020.

    components : K; with one, the Gaussian of the codes' own mean and covariance
    max_iter : iterations of EM, at most; n_samples : codes drawn from each q(z|x_n)

    EM computes in float64 on the CPU; the mixture is on the device of q.
    """
    mean, _ = _moments(q)
    if components > n_samples * len(mean):
        raise ValueError(
            f"components must be at most the draws, {n_samples} from each of {len(mean)}, got {components}"
        )
    generator, every = torch.Generator().manual_seed(seed), torch.arange(len(mean))
    z = torch.cat([_draw(q, every, generator) for _ in range(n_samples)])  # (samples · N, L)
    begin = em.mixture_around(z, em.kmeans_plus_plus(z, components, generator))
    found = em.fit(begin, z, tolerance=1e-3, max_iter=max_iter).model
    to = {"dtype": torch.promote_types(mean.dtype, torch.float32), "device": mean.device}
    # Before the move: on the CPU Cholesky is exact, and there is one on every system
    roots = torch.linalg.cholesky(found.covariances).to(**to)
    normals = MultivariateNormal(found.means.to(**to), scale_tril=roots, validate_args=False)
    return MixtureSameFamily(Categorical(logits=found.log_w.to(**to)), normals, validate_args=False)


class SecondStage(Distribution):
    """p(z) = ∫ p(z|u) N(u; 0, I) du, a VAE whose data are the codes of another (Dai & Wipf 2019).

    `log_prob` is a lower bound of log p(z) by one draw of u, as the ELBO is.
    """

    arg_constraints: dict = {}  # noqa: RUF012 (torch declares it so)

    @checked
    def __init__(self, vae: VAELike):
        self.vae = vae
        super().__init__((), (vae.latents,), validate_args=False)

    @checked
    @torch.no_grad()
    def sample(self, sample_shape: Annotated[tuple, several(whole(0))] = ()) -> Tensor:
        if not sample_shape:
            return self.sample((1,))[0]
        return self.vae.decode(self.vae.prior().sample(sample_shape)).sample()

    @checked
    def log_prob(self, z: Floats) -> Tensor:
        if not z.numel() or z.shape[-1] != self.vae.latents:
            raise ValueError(f"z must be codes of shape (…, {self.vae.latents}), got {tuple(z.shape)}")
        return elbo(self.vae, z.reshape(-1, self.vae.latents)).value.view(z.shape[:-1])


@checked
def fit_second_stage(
    q: Distribution,
    *,
    hidden: Count = 256,
    steps: Count = 2000,
    learning_rate: Positive = 2e-3,
    seed: Seed = 0,
) -> SecondStage:
    """A `SecondStage` with as many latents as a code has, trained on fresh draws from q (`posteriors`).

    hidden : units in each of two layers, of encoder and of decoder
    steps : of Adam under a one-cycle rate, each on 256 codes

    Leaves torch's random numbers as they were.
    """
    latents, device = _moments(q)[0].shape[1], q.mean.device
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        encoder = mlp((latents, hidden, hidden, 2 * latents), nn.SiLU)
        decoder = mlp((latents, hidden, hidden, latents), nn.SiLU)
        vae = VAE(encoder, decoder, latents, Gaussian(0.5, learn=True, mean=nn.Identity())).to(device)
        optimizer = torch.optim.Adam(vae.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        for _ in training.steps(vae, _codes(q, steps, seed), elbo, optimizer, schedule):
            pass
    weights = nn.utils.parameters_to_vector(vae.parameters()).detach()
    finite("the second stage", weights, "scale q to about 1, or take a learning rate ten times smaller")
    return SecondStage(vae.eval().requires_grad_(False))


def _codes(q: Distribution, steps: int, seed: int) -> Iterator[Tensor]:
    """Batches of codes, each drawn from the q(z|x_n) of an image drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield _draw(q, torch.randint(len(q.mean), (CODES,), generator=generator), generator)


def _draw(q: Distribution, index: Tensor, generator: torch.Generator) -> Tensor:
    """A code from each q(z|x_n) for n in index."""
    index = index.to(q.mean.device)
    mean, stddev = (values[index] for values in _moments(q))
    return mean + stddev * torch.randn(mean.shape, generator=generator).to(mean)


def _moments(q: Distribution) -> tuple[Tensor, Tensor]:
    """The means and standard deviations of q, (N, L); refuses what is described by more than these."""
    base = q.base_dist if isinstance(q, Independent) else None
    if not isinstance(base, Normal) or base.mean.ndim != 2 or not base.mean.numel():
        raise ValueError(
            f"q must be posteriors of N codes, diagonal Gaussians with means of shape (N, L), got {shown(q)}"
        )
    finite("q", torch.cat([base.mean, base.stddev]), "look at the encoder; did training diverge?")
    return base.mean, base.stddev
