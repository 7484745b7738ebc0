"""Expectation maximization: mixtures of Gaussians, and the loop for every model with an exact E-step.

Data are (N, D) float64, terms (N,) nats, mixture probabilities are kept as logarithms. The other model with
an exact E-step is in `ppca`.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vae_lab.objectives import ELBO

LOG_2PI = math.log(2 * math.pi)
FLOOR = 1e-6  # of the data's own variance: the least that a covariance may have in any direction


class SingularCovarianceWarning(RuntimeWarning):
    """A variance was about to reach zero, where the likelihood is infinite, and was held above it."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """p(x) = Σ_k w_k N(x; μ_k, Σ_k): a hidden choice of one of K Gaussians (Bishop 2006, section 9.2).

    log_w : (K,) logarithms of the weights, −∞ for a component that owns nothing
    means : (K, D); covariances : (K, D, D), positive definite
    """

    log_w: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self):
        k, d = self.means.shape
        if self.log_w.shape != (k,) or self.covariances.shape != (k, d, d):
            raise ValueError(
                f"{k} means of {d} numbers need log_w of shape ({k},) and covariances ({k}, {d}, {d}), got "
                f"{tuple(self.log_w.shape)} and {tuple(self.covariances.shape)}"
            )

    def log_joint(self, x) -> Tensor:
        """log w_k + log N(x; μ_k, Σ_k), shape (N, K), for data x (N, D)."""
        return self.log_w + self._log_lik(as_data(x, self.means.shape[1]))

    def log_evidence(self, x) -> Tensor:
        """log p(x) = log Σ_k w_k N(x; μ_k, Σ_k), (N,), without leaving the logarithms."""
        return self.log_joint(x).logsumexp(1)

    def e_step(self, x) -> Tensor:
        """The posterior of the choice, log p(z = k | x), shape (N, K): the log responsibilities."""
        log_joint = self.log_joint(x)
        return log_joint - log_joint.logsumexp(1, keepdim=True)

    def m_step(self, x, log_resp: Tensor, *, floor: float = FLOOR) -> "Mixture":
        """The mixture that maximizes the bound for these log responsibilities (N, K).

        Weights are shares of the data; means and covariances are weighted ones. A component that owns
        nothing stays where it is, with weight 0. A covariance with less than `floor` times the data's
        variance in some direction has it raised to that, which is the best one that has as much in every
        direction, and `SingularCovarianceWarning` says so.
        """
        x = as_data(x, self.means.shape[1])
        log_n = log_resp.logsumexp(0)  # (K,) log of how much each component owns
        owns = log_n > -torch.inf
        share = (log_resp - log_n).T[owns].exp()  # (K, N) rows sum to one, however little is owned
        means, covariances = self.means.clone(), self.covariances.clone()
        means[owns] = share @ x
        from_mean = x - means[owns][:, None]  # (K, N, D)
        spread = torch.einsum("kn,knd,kne->kde", share, from_mean, from_mean)
        covariances[owns] = spread
        held = _held_above(covariances, floor * variance_of(x))
        return Mixture(log_n - math.log(len(x)), means, held)

    def lower_bound(self, x, log_resp: Tensor) -> ELBO:
        """E_q[log p(x|z)] and KL(q ‖ w) of each point, (N,), for log responsibilities q (N, K)."""
        resp = log_resp.exp()
        log_lik = _mean_under(resp, self._log_lik(as_data(x, self.means.shape[1])))
        return ELBO(log_lik, _mean_under(resp, log_resp - self.log_w))

    def _log_lik(self, x: Tensor) -> Tensor:
        """log N(x; μ_k, Σ_k), (N, K)."""
        root = torch.linalg.cholesky(self.covariances)  # Σ = root rootᵀ
        from_mean = (x - self.means[:, None]).mT  # (K, D, N)
        distance = torch.linalg.solve_triangular(root, from_mean, upper=False).square().sum(1)
        log_det = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
        return -0.5 * (distance.T + log_det + x.shape[1] * LOG_2PI)


class Model(Protocol):
    """What the loop needs, of a frozen value: `Mixture` here, `ppca.PPCA`."""

    def e_step(self, x): ...  # q, the posterior of the latents
    def m_step(self, x, q): ...  # the best new model for that q
    def lower_bound(self, x, q) -> ELBO: ...  # for any q, (N,) each term
    def log_evidence(self, x) -> Tensor: ...  # what it bounds, (N,)


class Fit(NamedTuple):
    """A fitted model, the mean log p(x) before each round and after the last, and whether it came to rest."""

    model: Model
    history: list[float]
    converged: bool


def steps(model: Model, x, rounds: int) -> Iterator[Model]:
    """Yield the model after each round of EM: an E-step, then an M-step."""
    for _ in range(rounds):
        model = model.m_step(x, model.e_step(x))
        yield model


def fit(model: Model, x, *, tolerance: float = 1e-9, most: int = 1000) -> Fit:
    """Rounds of EM until one raises the mean log p(x) by less than `tolerance` nats; `most` at the most."""
    x = as_data(x)
    history, converged = [model.log_evidence(x).mean().item()], False
    for later in steps(model, x, most):
        model = later
        history.append(model.log_evidence(x).mean().item())
        converged = history[-1] - history[-2] < tolerance
        if converged:
            break
    return Fit(model, history, converged)


def start(x, means, *, variance: float | None = None) -> Mixture:
    """K round Gaussians of equal weight around means (K, D), each with the data's variance, or `variance`."""
    x = as_data(x)
    means = as_data(means, x.shape[1])
    k, d = means.shape
    variance = variance_of(x) if variance is None else variance
    if not variance > 0:
        raise ValueError(f"the variance to start with must be above zero, got {variance}")
    covariances = (variance * torch.eye(d).to(x)).repeat(k, 1, 1)
    return Mixture(torch.full((k,), -math.log(k), dtype=x.dtype), means, covariances)


def kmeans_plus_plus(x, k: int, generator: torch.Generator) -> Tensor:
    """K of the points (N, D), each drawn with probability ∝ squared distance to the nearest one so far.

    Source: Arthur & Vassilvitskii 2007. Where no point is left at a distance, one is drawn from all.
    """
    x = as_data(x)
    if not 1 <= k <= len(x):
        raise ValueError(f"{len(x)} points can give 1 … {len(x)} starting means, not {k}")
    chosen = [torch.randint(len(x), (), generator=generator).item()]
    while len(chosen) < k:
        distance = (x[:, None] - x[chosen]).square().sum(2).amin(1)  # (N,)
        apart = distance if distance.max() > 0 else torch.ones_like(distance)
        chosen.append(torch.multinomial(apart / apart.max(), 1, generator=generator).item())
    return x[chosen]


def as_data(x, width: int | None = None) -> Tensor:
    """Points as a float64 tensor (N, D); refuses other shapes and what is not finite."""
    x = torch.as_tensor(x).double()
    if x.ndim != 2 or not len(x) or (width or x.shape[1]) != x.shape[1] or not x.shape[1]:
        raise ValueError(f"expected points of shape (N, {width or 'D'}), N at least 1, got {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError(
            f"{(~x.isfinite()).any(1).sum()} points are not finite; leave them out before fitting"
        )
    return x


def variance_of(x: Tensor) -> Tensor:
    """The mean variance of the coordinates; where all points are one, a positive number all the same."""
    variance = x.var(0, correction=0).mean()
    return variance if variance > 1e-20 * x.square().max() else torch.ones_like(variance)


def _held_above(covariances: Tensor, least: Tensor) -> Tensor:
    """Symmetric matrices (K, D, D) with every eigenvalue below `least` raised to it, and a warning."""
    values, vectors = torch.linalg.eigh(covariances)
    low = (values[:, 0] < least).nonzero().flatten().tolist()
    if not low:
        return covariances
    which = f"component {low[0]}" if len(low) == 1 else f"components {', '.join(map(str, low))}"
    warn_singular(f"{which} collapsed onto too few points: variance there is held at {least:.2g}")
    raised = (vectors * values.clamp(min=least)[:, None]) @ vectors.mT
    covariances = covariances.clone()
    covariances[low] = raised[low]
    return covariances


def warn_singular(what: str) -> None:
    """Say what was regularized and what to do; the same words every round, so that Python shows them once."""
    advice = "; use fewer components or latents, more data, or another start"
    warnings.warn(what + advice, SingularCovarianceWarning, stacklevel=4)


def _mean_under(resp: Tensor, values: Tensor) -> Tensor:
    """Σ_k resp_k values_k, (N,), where a term of no probability counts nothing, even an infinite one."""
    return torch.where(resp > 0, resp * values, 0.0).sum(1)
