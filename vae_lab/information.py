"""How much a code says about its image: coordinate by coordinate, and against the aggregate posterior.

The images are a list of N, each as probable as any other, and q(z) = 1/N Σ_n q(z|x_n) is the aggregate
posterior of *that list*. `q` is what `model.encode` gives for all of them at once, a diagonal Gaussian an
image; `p` is `model.prior()`. Everything is in nats. Mixtures are summed in float64 on the CPU, because
MPS has none.
"""

from math import ceil, log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from vae_lab.arguments import Count, NonNegative, Seed, checked, finite, points, shown

CHUNK_SIZE = 10_000_000  # log-densities held at once, 80 MB
CANCELED = 1e-6  # nats that rounding may take from a log-density
LOOK = "look at the encoder; did training diverge?"


class Surgery(NamedTuple):
    """E_x[KL(q(z|x) ‖ p(z))] = I(x; z) + KL(q(z) ‖ p(z)), one entry per draw of (x, z).

    Source: Hoffman & Johnson 2016. The split holds for the means over draws; the standard
    deviation over the root of K is their standard error.
    """

    information: Tensor  # (K,) log q(z|x) − log q(z), whose mean is the mutual information; never above log N
    marginal: Tensor  # (K,) log q(z) − log p(z), whose mean is the marginal KL

    @property
    def value(self) -> Tensor:
        """log q(z|x) − log p(z), (K,): its mean is the mean KL."""
        return self.information + self.marginal


@checked
def activity(q: Distribution) -> Tensor:
    """The variance over the N images of each coordinate's posterior mean, (L,) (Burda et al. 2016)."""
    mean = _posteriors(q).mean
    return finite("the activity of the coordinates", mean.var(0, correction=0), LOOK)


@checked
def active_units(q: Distribution, *, threshold: NonNegative = 0.01) -> Tensor:
    """Which coordinates have an `activity` above the threshold, (L,) of bool (Burda et al. 2016)."""
    return activity(q) > threshold


@checked
def kl_by_coordinate(q: Distribution, p: Distribution) -> Tensor:
    """KL(q(z_l|x_n) ‖ p(z_l)), (N, L): the terms whose sum over the coordinates is the KL of the ELBO."""
    normals = _posteriors(q)
    return finite("the KL", kl_divergence(normals, _prior(p, normals)), LOOK)


@checked
def log_aggregate(q: Distribution, z: Tensor, *, chunk_size: Count = CHUNK_SIZE) -> Tensor:
    """log q(z) = log 1/N Σ_n q(z|x_n) for codes z (K, L), of shape (K,) in float64 on the CPU.

    chunk_size : how many of the K · N log-densities to hold in memory; the result does not depend on it
    """
    return _log_mixture(*_moments(q, z), chunk_size)


@checked
def log_aggregate_by_coordinate(q: Distribution, z: Tensor, *, chunk_size: Count = CHUNK_SIZE) -> Tensor:
    """log q(z_l) = log 1/N Σ_n q(z_l|x_n) for each coordinate of codes z (K, L), of shape (K, L).

    Where the coordinates are independent under q(z), `log_aggregate` is its sum over them; the mean
    difference of the two over draws of q(z) is the total correlation (Chen et al. 2018).
    """
    columns = zip(*(rows.split(1, 1) for rows in _moments(q, z)), strict=True)
    return torch.stack([_log_mixture(mu, sigma, part, chunk_size) for mu, sigma, part in columns], 1)


@checked
def surgery(q: Distribution, p: Distribution, *, n_samples: Count | None = None, seed: Seed = 0) -> Surgery:
    """Draw (x_n, z ~ q(z|x_n)) and split log q(z|x) − log p(z) at log q(z) (Hoffman & Johnson 2016).

    Unbiased, because q(z) is summed over all N images, x_n itself among them. Computed on a minibatch, it is
    unbiased for that minibatch only, whose information is at most the log of the batch's size, and on average
    at most that of the whole list.

    n_samples : K; by default N, one code for each image. All images are taken equally often, give or take one
    """
    normals = _posteriors(q)
    prior = _prior(p, normals)
    n = len(normals.mean)
    k = n if n_samples is None else n_samples
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.cat([torch.randperm(n, generator=generator) for _ in range(ceil(k / n))])[:k]
    noise = torch.randn(k, normals.mean.shape[1], generator=generator)
    mu, sigma = (values.detach().cpu().double() for values in (normals.mean, normals.stddev))
    z = mu[chosen] + sigma[chosen] * noise.double()  # (K, L)
    log_q_x = Independent(Normal(mu[chosen], sigma[chosen], validate_args=False), 1).log_prob(z)
    prior = Normal(prior.mean.cpu().double(), prior.stddev.cpu().double(), validate_args=False)
    log_p, log_q = Independent(prior, 1).log_prob(z), log_aggregate(q, z)
    return Surgery(*(finite("the split", part, LOOK) for part in (log_q_x - log_q, log_q - log_p)))


def _log_mixture(mu: Tensor, sigma: Tensor, z: Tensor, chunk_size: int) -> Tensor:
    """log 1/N Σ_n N(z; μ_n, diag σ_n²) for float64 means (N, L), deviations (N, L) and codes (K, L).

    The squares are multiplied out, −½ Σ_l (z² − 2 z μ + μ²)/σ², so that two matrix products do the work;
    where rounding would take more than `CANCELED` of that, the differences are squared one coordinate at a
    time.
    """
    middle, precision = mu.mean(0), sigma.pow(-2)
    mu, z = mu - middle, z - middle
    constant = -(sigma.log() + log(2 * pi) / 2).sum(1) - log(len(mu))  # (N,)
    largest = (mu.abs().amax(0) + z.abs().amax(0)).square() @ precision.amax(0)
    rows = max(1, chunk_size // len(mu))

    def distance(part: Tensor) -> Tensor:  # (k, N)
        if largest * torch.finfo(mu.dtype).eps > CANCELED:
            columns = zip(part.T, mu.T, precision.T, strict=True)
            return sum((a[:, None] - m).square() * p for a, m, p in columns)
        return part.square() @ precision.T - 2 * part @ (mu * precision).T + (mu.square() * precision).sum(1)

    found = torch.cat([(constant - distance(part) / 2).logsumexp(1) for part in z.split(rows)])
    return finite("log q(z)", found, LOOK)


def _moments(q: Distribution, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means and standard deviations (N, L), and codes (K, L), in float64 on the CPU."""
    normals = _normals("q", q)
    mu, sigma = normals.mean.detach().cpu().double(), normals.stddev.detach().cpu().double()
    return torch.atleast_2d(mu), torch.atleast_2d(sigma), points(mu.shape[-1], rows="K")("z", z.detach())


def _posteriors(q: Distribution) -> Normal:
    """The posteriors of N images, (N, L), checked."""
    normals = _normals("q", q)
    if normals.mean.ndim != 2:
        raise ValueError(f"q must be of N images, (N, L), got one of shape {tuple(normals.mean.shape)}")
    return normals


def _prior(p: Distribution, normals: Normal) -> Normal:
    """The prior that goes with posteriors (N, L), checked."""
    prior, length = _normals("p", p), normals.mean.shape[1:]
    if prior.mean.shape != length:
        raise ValueError(f"p must be one prior of shape {tuple(length)}, got {tuple(prior.mean.shape)}")
    return prior


def _normals(name: str, distribution: Distribution) -> Normal:
    """The independent Gaussians of a diagonal one, with mean and deviation (N, L) or (L,)."""
    base = distribution.base_dist if isinstance(distribution, Independent) else None
    if not isinstance(base, Normal) or base.mean.ndim not in (1, 2):
        raise TypeError(
            f"{name} must be diagonal Gaussians, as model.encode and model.prior return, "
            f"got {shown(distribution)}"
        )
    if not base.mean.numel() or (base.stddev <= 0).any():
        raise ValueError(f"{name} must be of one number at least, scales above 0; look at the encoder")
    return base
