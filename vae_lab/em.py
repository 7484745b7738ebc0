"""Expectation maximization: mixtures of Gaussians, and the loop for every model with an exact E-step.

Data are (N, D) float64 on the CPU, terms (N,) nats, mixture probabilities are kept as logarithms. Scales are
measured column by column: data in other units give the same answer in those units. The other model with an
exact E-step is in `ppca`.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from vae_lab.arguments import (
    Count,
    Natural,
    NonNegative,
    Points,
    checked,
    cpu_generator,
    finite,
    having,
    points,
    shown,
    tensor,
)
from vae_lab.objectives import ELBO

LOG_2PI = math.log(2 * math.pi)
FLOOR = 1e-6  # of the data's own variance: the least that a covariance may have in any direction
ROUNDING = 1e-6  # of log p(x), that arithmetic may lose where columns differ by many orders of magnitude
SLOW = 1e-3  # nats an iteration, below which it is worth looking for a leap
LEAST_SQUARE = 1e-280  # of numbers whose variance float64 can hold, 28 digits below
CHUNK = 4_000_000  # numbers held at once beside the data and the responsibilities, 32 MB


class SingularCovarianceWarning(RuntimeWarning):
    """A variance was about to reach zero, where the likelihood is infinite, and was held above zero."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """p(x) = Σ_k w_k N(x; μ_k, Σ_k): a hidden choice of one of K Gaussians (Bishop 2006, section 9.2).

    log_w : (K,) logarithms of the weights, which sum to one; −∞ for a component that owns nothing
    means : (K, D); covariances : (K, D, D), positive definite
    """

    log_w: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self):
        for name in ("log_w", "means", "covariances"):
            object.__setattr__(self, name, tensor(name, getattr(self, name)).to("cpu").double())
        if self.means.ndim != 2 or not self.means.numel():
            raise ValueError(f"means must be of shape (K, D), got {tuple(self.means.shape)}")
        k, d = self.means.shape
        if self.log_w.shape != (k,) or self.covariances.shape != (k, d, d):
            raise ValueError(
                f"{k} means of {d} numbers need log_w of shape ({k},) and covariances ({k}, {d}, {d}), got "
                f"{tuple(self.log_w.shape)} and {tuple(self.covariances.shape)}"
            )
        with torch.no_grad():
            self._check_numbers()

    def _check_numbers(self) -> None:
        finite("the mixture", self.means, "look at what its means were computed from")
        total = self.log_w.logsumexp(0).exp().item()
        if not abs(total - 1) < 1e-6:
            raise ValueError(
                f"log_w must be logarithms of weights that sum to one, but they sum to {total:.6g}"
            )
        across = self.covariances.mT
        bad = (torch.linalg.cholesky_ex(self.covariances).info > 0) | ~self.covariances.isfinite().all(
            -1
        ).all(-1)
        bad |= (
            ((self.covariances - across).abs() > 1e-8 * self.covariances.abs().amax((1, 2), True))
            .any(-1)
            .any(-1)
        )
        if bad.any():
            raise ValueError(
                f"covariances must be symmetric and positive definite, but number {bad.nonzero()[0].item()} "
                "is not; add a little to its diagonal"
            )

    def log_joint(self, x) -> Tensor:
        """log w_k + log N(x; μ_k, Σ_k), shape (N, K), for data x (N, D)."""
        return self.log_w + self._log_lik(self._data(x))

    def log_evidence(self, x) -> Tensor:
        """log p(x) = log Σ_k w_k N(x; μ_k, Σ_k), (N,), without leaving the logarithms."""
        return self.log_joint(x).logsumexp(1)

    def e_step(self, x) -> Tensor:
        """The posterior of the choice, log p(z = k | x), shape (N, K): the log responsibilities."""
        log_joint = self.log_joint(x)
        return log_joint - log_joint.logsumexp(1, keepdim=True)

    @checked
    def m_step(self, x, log_resp, *, floor: NonNegative = FLOOR) -> "Mixture":
        """The mixture that maximizes the bound for these log responsibilities (N, K).

        Weights are shares of the data; means and covariances are weighted ones. A component that owns
        nothing stays where it is, with weight 0. In units of each column's own standard deviation, a
        covariance has a variance of at least `floor` in every direction, or of what it was before if that was
        less. One with less is raised to it, which is the best covariance under that constraint, and
        `SingularCovarianceWarning` says so.
        """
        x = self._data(x)
        log_resp = self._resp(x, log_resp)
        log_n = log_resp.logsumexp(0)  # (K,) log of how much each component owns
        owns = log_n > -torch.inf
        share = (log_resp - log_n).T[owns].exp()  # (K, N) rows sum to one, however little is owned
        means, covariances = self.means.clone(), self.covariances.clone()
        means[owns] = share @ x
        covariances[owns] = _weighted_covariances(x, share, means[owns])
        held = _held_above(covariances, self.covariances, column_variances(x).sqrt(), floor)
        return Mixture(log_n - math.log(len(x)), means, held)

    def lower_bound(self, x, log_resp) -> ELBO:
        """E_q[log p(x|z)] and KL(q ‖ w) of each point, (N,), for log responsibilities q (N, K)."""
        x = self._data(x)
        log_resp = self._resp(x, log_resp)
        resp = log_resp.exp()
        return ELBO(_mean_under(resp, self._log_lik(x)), _mean_under(resp, log_resp - self.log_w))

    def _data(self, x) -> Tensor:
        return points(self.means.shape[1])("x", x)

    def _resp(self, x: Tensor, log_resp) -> Tensor:
        """Log responsibilities in float64; refuses others than one for each point and component."""
        log_resp, shape = tensor("log_resp", log_resp).to("cpu").double(), (len(x), len(self.means))
        if tuple(log_resp.shape) != shape:
            raise ValueError(f"log_resp must be of shape {shape}, a point a row, got {tuple(log_resp.shape)}")
        totals = log_resp.logsumexp(1).exp()
        if not ((totals - 1).abs() < 1e-6).all():
            raise ValueError(
                "log_resp must be logarithms of probabilities that sum to one in each row, but the sums "
                f"go from {totals.min():.3g} to {totals.max():.3g}; use log_softmax(1)"
            )
        return log_resp

    def _log_lik(self, x: Tensor) -> Tensor:
        """log N(x; μ_k, Σ_k), (N, K), a block of points at a time."""
        root = torch.linalg.cholesky(self.covariances)  # Σ = root rootᵀ
        log_det = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
        distances = []
        for part in x.split(max(1, CHUNK // self.means.numel())):
            from_mean = (part - self.means[:, None]).mT  # (K, D, n)
            distances.append(torch.linalg.solve_triangular(root, from_mean, upper=False).square().sum(1))
        log_lik = -0.5 * (torch.cat(distances, 1).T + log_det + x.shape[1] * LOG_2PI)
        return finite(
            "log p(x|z)", log_lik, "x lies too far from the means for float64; measure in other units"
        )


class Model(Protocol):
    """What the loop needs, of a frozen value: `Mixture` here, `ppca.PPCA`."""

    def e_step(self, x): ...  # q, the posterior of the latents
    def m_step(self, x, q): ...  # the best new model for that q
    def lower_bound(self, x, q) -> ELBO: ...  # for any q, (N,) each term
    def log_evidence(self, x) -> Tensor: ...  # what it bounds, (N,)


class EMResult(NamedTuple):
    """A fitted model, the mean log p(x) before EM and after each iteration, and whether it came to rest."""

    model: Model
    history: list[float]
    converged: bool


as_model = having("e_step", "m_step", "log_evidence", like="em.Mixture")
ModelLike = Annotated[Any, as_model]


@checked
def iterate(model: ModelLike, x: Points, iterations: Natural) -> Iterator[Model]:
    """Yield the model after each iteration of EM: an E-step, then an M-step."""
    for _ in range(iterations):
        model = _after_iteration(model, x)
        yield model


@checked
def fit(model: ModelLike, x: Points, *, tolerance: NonNegative = 1e-9, max_iter: Natural = 1000) -> EMResult:
    """EM until an iteration raises the mean log p(x) by less than `tolerance` nats; `max_iter` at the most.

    log p(x) never falls: an iteration that would lower it is not taken. If it falls only by rounding, EM has
    converged; if the M-step lowers it by more, EM has not. A model that knows a direction in
    which EM hardly moves (`ppca.PPCA.rescaled`) takes at once what EM would need a thousand iterations for.

    Raises `NotFiniteError` if log p(x) is no finite number at the start.
    """
    history, converged = (
        [finite("the mean log p(x)", _mean_evidence(model, x), "look at the start").item()],
        False,
    )
    while len(history) <= max_iter and not converged:
        later, before = _after_iteration(model, x), history[-1]
        reached = _mean_evidence(later, x).item()
        if hasattr(later, "rescaled") and reached - before < SLOW:
            leap = later.rescaled(x)
            height = _mean_evidence(leap, x).item()
            if height - reached > max(1000 * (reached - before), tolerance):
                later, reached = leap, height
        if not reached >= before:
            converged = before - reached < ROUNDING * (1 + abs(before))
            break
        model, converged = later, reached - before < tolerance
        history.append(reached)
    return EMResult(model, history, converged)


@checked
def mixture_around(x: Points, means, *, variance=None) -> Mixture:
    """K Gaussians of equal weight around means (K, D), each along the axes: a place to start.

    variance : in every column, a number or (D,); by default the data's own (`column_variances`)
    """
    means, columns = points(x.shape[1])("means", means), column_variances(x)
    if variance is not None:
        columns = tensor("variance", variance).to("cpu").double().detach()
    if columns.shape not in ((), (x.shape[1],)) or not ((columns > 0) & columns.isfinite()).all():
        raise ValueError(
            f"variance must be a number above 0, or one for each of {x.shape[1]} columns, "
            f"got {columns.tolist()}"
        )
    covariances = columns.expand(x.shape[1]).diag().repeat(len(means), 1, 1)
    return Mixture(torch.full((len(means),), -math.log(len(means)), dtype=x.dtype), means, covariances)


@checked
def kmeans_plus_plus(x: Points, k: Count, generator: Annotated[torch.Generator, cpu_generator]) -> Tensor:
    """K of the points (N, D), each drawn with probability ∝ squared distance to the nearest one so far.

    Distances are in standard deviations of the columns. Source: Arthur & Vassilvitskii 2007. Where no point
    is left at a distance, one is drawn from all.
    """
    if k > len(x):
        raise ValueError(f"k must be from 1 to {len(x)}, as many as there are points, got {k}")
    standard, chosen = x / column_variances(x).sqrt(), [torch.randint(len(x), (), generator=generator).item()]
    nearest = torch.full((len(x),), torch.inf, dtype=x.dtype)
    while len(chosen) < k:
        nearest = torch.minimum(nearest, (standard - standard[chosen[-1]]).square().sum(1))
        apart = nearest if nearest.max() > 0 else torch.ones_like(nearest)
        chosen.append(torch.multinomial(apart / apart.max(), 1, generator=generator).item())
    return x[chosen]


@checked
def column_variances(x: Points) -> Tensor:
    """The variance of each column, (D,); of a constant one its value squared, or 1, so that none is zero."""
    variances, largest = x.var(0, correction=0), x.square().amax(0)
    finite("the variance of x", largest + variances, "measure in larger units: its squares overflow")
    if ((largest < LEAST_SQUARE) & (x != 0).any(0)).any():
        raise ValueError(
            "x has a column of numbers so small that their squares are lost; measure in smaller units"
        )
    constant = torch.where(x[0] == 0, 1.0, x[0].square())
    return torch.where(variances > 1e-28 * largest, variances, constant.clamp(min=torch.finfo(x.dtype).tiny))


def _after_iteration(model: Model, x: Tensor) -> Model:
    return as_model("the result of model.m_step", model.m_step(x, model.e_step(x)))


def _mean_evidence(model: Model, x: Tensor) -> Tensor:
    log_p = model.log_evidence(x)
    if not isinstance(log_p, Tensor) or log_p.shape != x.shape[:1] or not log_p.is_floating_point():
        raise ValueError(
            f"model.log_evidence must give a float for each of {len(x)} points, got {shown(log_p)}"
        )
    return log_p.detach().mean()


def _weighted_covariances(x: Tensor, share: Tensor, means: Tensor) -> Tensor:
    """Σ_n share_kn (x_n − μ_k)(x_n − μ_k)ᵀ, (K, D, D), a component and a block of points at a time."""
    found = []
    for weights, mean in zip(share, means, strict=True):
        parts = zip(x.split(rows := max(1, CHUNK // x.shape[1])), weights.split(rows), strict=True)
        found.append(sum((part - mean).T @ ((part - mean) * w[:, None]) for part, w in parts))
    return torch.stack(found) if found else means.new_zeros(0, x.shape[1], x.shape[1])


def _held_above(covariances: Tensor, before: Tensor, scale: Tensor, floor: float) -> Tensor:
    """Covariances (K, D, D), each eigenvalue in units of `scale` (D,) at least `floor` or what it was before.

    Raising those below is the best covariance under that constraint, and since the one from before meets it,
    the likelihood does not fall.
    """
    units = scale[:, None] * scale
    values, vectors = torch.linalg.eigh(covariances / units)
    least = torch.linalg.eigvalsh(before / units)[:, 0].clamp(max=floor)  # (K,)
    low = (values[:, 0] < least).nonzero().flatten().tolist()
    if not low:
        return covariances
    which = f"component {low[0]}" if len(low) == 1 else f"components {', '.join(map(str, low))}"
    warn_singular(
        f"{which} collapsed onto too few points: variance there is held at {floor:.2g} of the data's"
    )
    raised = (vectors * values.maximum(least[:, None])[:, None]) @ vectors.mT * units
    covariances = covariances.clone()
    covariances[low] = (raised + raised.mT)[low] / 2
    return covariances


def warn_singular(what: str) -> None:
    """Say what was regularized and what to do, always in the same words, so that Python shows them once."""
    advice = "; use fewer components or latents, more data, or another start"
    warnings.warn(what + advice, SingularCovarianceWarning, stacklevel=5)


def _mean_under(resp: Tensor, values: Tensor) -> Tensor:
    """Σ_k resp_k values_k, (N,), where a term of probability zero adds nothing, even an infinite one."""
    return torch.where(resp > 0, resp * values, 0.0).sum(1)
