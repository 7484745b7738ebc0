"""How much a code says about its image: coordinate by coordinate, and against the aggregate posterior.

The images are a list of N, each as probable as any other, and q(z) = 1/N Σ_n q(z|x_n) is the aggregate
posterior of *that list*. `q` is what `model.encode` gives for all of them at once, a diagonal Gaussian an
image; `p` is `model.prior()`. Everything in nats. Mixtures are summed in float64 on the CPU (MPS has none).
"""

from math import ceil, log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

AT_ONCE = 10_000_000  # log-densities held at once, 80 MB


class Surgery(NamedTuple):
    """E_x[KL(q(z|x) ‖ p(z))] = I(x; z) + KL(q(z) ‖ p(z)), one draw of (x, z) an entry.

    Source: Hoffman & Johnson 2016. The mean over draws is what the split is about; the standard
    deviation over the root of K is its standard error.
    """

    information: Tensor  # (K,) log q(z|x) − log q(z), whose mean is the mutual information; never above log N
    marginal: Tensor  # (K,) log q(z) − log p(z), whose mean is the marginal KL

    @property
    def value(self) -> Tensor:
        """log q(z|x) − log p(z), (K,): its mean is the mean KL."""
        return self.information + self.marginal


def activity(q: Distribution) -> Tensor:
    """The variance over the N images of each coordinate's posterior mean, (L,) (Burda et al. 2016)."""
    return _normals(q).mean.var(0, correction=0)


def active_units(q: Distribution, *, threshold: float = 0.01) -> Tensor:
    """Which coordinates have an `activity` above the threshold, (L,) of bool (Burda et al. 2016)."""
    return activity(q) > threshold


def kl_by_coordinate(q: Distribution, p: Distribution) -> Tensor:
    """KL(q(z_l|x_n) ‖ p(z_l)), (N, L): the terms whose sum over the coordinates is the KL of the ELBO."""
    return kl_divergence(_normals(q), _normals(p))


def log_aggregate(q: Distribution, z: Tensor, *, at_once: int = AT_ONCE) -> Tensor:
    """log q(z) = log 1/N Σ_n q(z|x_n) for codes z (K, L), of shape (K,).

    at_once : how many of the K · N log-densities to hold in memory; the result does not depend on it
    """
    mu, sigma = _moments(q, z)
    return _log_mixture(mu, sigma, z.detach().cpu().double(), at_once)


def log_aggregate_by_coordinate(q: Distribution, z: Tensor, *, at_once: int = AT_ONCE) -> Tensor:
    """log q(z_l) = log 1/N Σ_n q(z_l|x_n) for each coordinate of codes z (K, L), of shape (K, L).

    Where the coordinates are independent under q(z), `log_aggregate` is its sum over them; the mean
    difference of the two over draws of q(z) is the total correlation (Chen et al. 2018).
    """
    mu, sigma = _moments(q, z)
    columns = z.detach().cpu().double().split(1, 1)
    parts = zip(mu.split(1, 1), sigma.split(1, 1), columns, strict=True)
    return torch.stack([_log_mixture(m, s, column, at_once) for m, s, column in parts], 1)


def surgery(q: Distribution, p: Distribution, *, samples: int | None = None, seed: int = 0) -> Surgery:
    """Draw (x_n, z ~ q(z|x_n)) and split log q(z|x) − log p(z) at log q(z) (Hoffman & Johnson 2016).

    Unbiased, because q(z) is summed over all N images, x_n itself among them. Of a minibatch it is unbiased
    for the minibatch only: its information is at most the log of the batch's size, and on average at most
    that of the whole list.

    samples : K; by default N, one code for each image. Images are taken equally often, up to one
    """
    normals = _normals(q)
    n = len(normals.mean)
    k = n if samples is None else samples
    if k < 1:
        raise ValueError(f"the split needs at least one draw, got {samples=}")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.cat([torch.randperm(n, generator=generator) for _ in range(ceil(k / n))])[:k]
    noise = torch.randn(k, normals.mean.shape[1], generator=generator)
    mu, sigma = (values.detach().cpu().double() for values in (normals.mean, normals.stddev))
    z = mu[chosen] + sigma[chosen] * noise.double()  # (K, L)
    log_q_x = Independent(Normal(mu[chosen], sigma[chosen]), 1).log_prob(z)
    prior = _normals(p)
    log_p = Independent(Normal(prior.mean.cpu().double(), prior.stddev.cpu().double()), 1).log_prob(z)
    log_q = log_aggregate(q, z)
    return Surgery(log_q_x - log_q, log_q - log_p)


def _log_mixture(mu: Tensor, sigma: Tensor, z: Tensor, at_once: int) -> Tensor:
    """log 1/N Σ_n N(z; μ_n, diag σ_n²) for float64 means (N, L), deviations (N, L) and codes (K, L).

    The squares are multiplied out, −½ Σ_l (z² − 2 z μ + μ²)/σ², so that two matrix products do the work.
    """
    precision = sigma.pow(-2)
    constant = -(mu.square() * precision / 2 + sigma.log() + log(2 * pi) / 2).sum(1) - log(len(mu))  # (N,)
    rows = max(1, at_once // len(mu))
    return torch.cat(
        [
            (part @ (mu * precision).T - part.square() @ precision.T / 2 + constant).logsumexp(1)
            for part in z.split(rows)
        ]
    )


def _moments(q: Distribution, z: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations (N, L) in float64 on the CPU; refuses codes of another length."""
    normals = _normals(q)
    if z.ndim != 2 or z.shape[1] != normals.mean.shape[1]:
        raise ValueError(
            f"expected codes of shape (K, {normals.mean.shape[1]}), as q has them, got {tuple(z.shape)}"
        )
    return normals.mean.detach().cpu().double(), normals.stddev.detach().cpu().double()


def _normals(distribution: Distribution) -> Normal:
    """The independent Gaussians of a diagonal one, with mean and deviation (N, L) or (L,)."""
    base = getattr(distribution, "base_dist", None)
    if not isinstance(base, Normal) or base.mean.ndim not in (1, 2):
        raise TypeError(
            f"expected diagonal Gaussians, as model.encode and model.prior return, got {distribution}"
        )
    return base
