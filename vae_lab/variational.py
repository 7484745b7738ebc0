"""Variational inference: the member of a family of distributions that is nearest to a posterior.

Three tools: sums over a grid, all but exact for two latents; black-box fitting of a Gaussian to any log-joint
that can be differentiated; coordinate ascent for the Bayesian mixture of Gaussians. Everything is in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from vae_lab.arguments import (
    Count,
    Floats,
    NonNegative,
    Points,
    Positive,
    check_fields,
    checked,
    finite,
    points,
    shown,
    tensor,
    whole,
)

MOST_COUNT = 5000  # points on a side of a grid, 400 MB in all
LEAVES_OUT = 0.01  # of the mass, that a grid may
MOST_ASSIGNMENTS = 1_000_000  # that are enumerated
GAUSSIANS = (Normal, MultivariateNormal, LowRankMultivariateNormal)


class JointELBO(NamedTuple):
    """The bound in its first reading: E_q[log p(x, z)] + H(q) ≤ log p(x), in nats."""

    log_joint: Tensor
    entropy: Tensor

    @property
    def value(self) -> Tensor:
        return self.log_joint + self.entropy


class VIResult(NamedTuple):
    """What `black_box` found: q, and its estimate of the ELBO at every step, (steps, *batch)."""

    q: Distribution
    history: Tensor


@checked
def gaussian(mean: Floats, scale: Floats) -> Distribution:
    """N(mean, diag scale²) for a scale (…, L); N(mean, C Cᵀ) for lower triangular C (…, L, L).

    A scale of the shape of mean is a diagonal. In float32 or float64. Raises `ValueError` for one that is not
    above 0, and for a C that has numbers above its diagonal.
    """
    kind = torch.promote_types(torch.promote_types(mean.dtype, scale.dtype), torch.float32)
    mean, scale, width = mean.to(kind), scale.to(kind), mean.shape[-1:]
    diagonal = scale.shape == mean.shape
    if not width or not (diagonal or (scale.shape[-2:] == (*width, *width) and _one_batch(mean, scale))):
        raise ValueError(
            f"scale must be of the shape of mean, {tuple(mean.shape)}, or (…, L, L), got {tuple(scale.shape)}"
        )
    finite("the Gaussian", mean.detach(), "look at what its mean was computed from")
    spread = scale if diagonal else scale.diagonal(dim1=-2, dim2=-1)
    if not ((spread > 0) & spread.isfinite()).all():
        raise ValueError("scale must be above 0 and finite, on its diagonal if it is triangular")
    if diagonal:
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    if scale.triu(1).any():
        raise ValueError("scale must be lower triangular; of a covariance take torch.linalg.cholesky")
    return MultivariateNormal(mean, scale_tril=scale, validate_args=False)


def _one_batch(mean: Tensor, scale: Tensor) -> bool:
    """Whether means (…, L) and matrices (…, L, L) go together."""
    sizes = zip(mean.shape[:-1][::-1], scale.shape[:-2][::-1], strict=False)
    return all(a == b or 1 in (a, b) for a, b in sizes)


@checked
def square_grid(half_width: Positive, count: Annotated[int, whole(2, MOST_COUNT)]) -> tuple[Tensor, float]:
    """`count`² points over [−half_width, half_width]², (count², 2) in float64, and the area of one cell.

    The second coordinate varies fastest. A smooth density that has died out at the edges is summed with an
    error that falls faster than any power of the spacing.
    """
    axis = torch.linspace(-half_width, half_width, count, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (2 * half_width / (count - 1)) ** 2


@checked
def log_integral(log_f: Floats, cell: Positive) -> Tensor:
    """log ∫ f(z) dz from log f (N, …) at the points of a grid."""
    if not log_f.ndim or not len(log_f):
        raise ValueError(f"log_f must be of shape (N, …), N at least 1, got {tuple(log_f.shape)}")
    return finite("the integral", log_f.logsumexp(0) + log(cell), "look at log_f")


@checked
def kl_on_grid(log_q: Floats, log_p: Floats, cell: Positive) -> Tensor:
    """KL(q ‖ p) = ∫ q(z) (log q(z) − log p(z)) dz from log-densities (N, …) at the points of a grid.

    Both must be normalized, and the grid must hold all but a hundredth of q; it may hold less of p. Where q
    is 0 nothing is added; where q is above 0 and p is 0 the KL is infinite.
    """
    if log_q.shape != log_p.shape or not log_q.ndim or not log_q.numel():
        raise ValueError(
            f"log_q and log_p must be log-densities at the same points, got {tuple(log_q.shape)} and "
            f"{tuple(log_p.shape)}"
        )
    masses = [
        finite("the KL", part.exp().sum(0) * cell, "look at log_q and log_p") for part in (log_q, log_p)
    ]
    if ((masses[0] - 1).abs() > LEAVES_OUT).any() or (masses[1] > 1 + LEAVES_OUT).any():
        found = ", ".join(f"{mass.flatten()[(mass - 1).abs().argmax()]:.3g}" for mass in masses)
        raise ValueError(
            f"log_q and log_p must be normalized, but over this grid, of this cell, the masses are {found}; "
            "subtract log_integral, or take a larger or finer grid"
        )
    ratio = torch.where(log_q == -torch.inf, 0.0, log_q - log_p)
    kl = (log_q.exp() * ratio).sum(0) * cell
    finite("the KL", torch.where(kl == torch.inf, 0.0, kl), "look at log_q and log_p")
    return kl


@checked
def monte_carlo_elbo(
    log_joint: Callable[[Tensor], Tensor], q: Distribution, *, n_samples: Count = 1000
) -> JointELBO:
    """E_q[log p(x, z)] + H(q), the first term by sampling, the second in closed form.

    log_joint : codes (K, *batch, L) → log p(x, z) (K, *batch)
    """
    z = q.rsample((n_samples,)) if q.has_rsample else q.sample((n_samples,))
    try:
        entropy = q.entropy()
    except NotImplementedError:
        raise ValueError(
            f"q must have its entropy in closed form, which {type(q).__name__} has not; take a Gaussian"
        ) from None
    return JointELBO(_evaluated(log_joint, z).mean(0), entropy)


@checked
def black_box(
    log_joint: Callable[[Tensor], Tensor],
    start: Distribution,
    *,
    full: bool = True,
    steps: Count = 1000,
    n_samples: Count = 16,
    learning_rate: Positive = 0.05,
) -> VIResult:
    """Maximize E_q[log p(x, z) − log q(z)] over Gaussians q by Adam on reparameterized draws.

    Needs nothing of the model but log p(x, z) and its gradient (after Ranganath et al. 2014, who needed
    not even that). A batch of problems is solved at once, each by itself.

    log_joint : codes (K, *batch, L) → log p(x, z) (K, *batch), differentiable
    start : a Gaussian; its mean (*batch, L) and standard deviations are where the search begins
    full : any covariance, by its Cholesky factor; else a diagonal one (mean-field)
    n_samples, learning_rate : K draws a step; the rate at the start, brought to zero along a cosine

    The gradient passes through z alone: the part left out has mean zero, and without it the gradient has no
    noise once q is the posterior (Roeder et al. 2017). Raises `ValueError` where log p(x, z) is not finite.
    """
    base = start.base_dist if isinstance(start, Independent) else start
    if not isinstance(base, GAUSSIANS) or not base.mean.ndim:
        raise ValueError(
            f"start must be a Gaussian over codes (…, L), such as gaussian gives, got {shown(start)}"
        )
    begin = gaussian(start.mean.detach(), start.stddev.detach())  # refuses what is none
    mu, raw = begin.mean.clone().requires_grad_(), _raw(begin.stddev, full).requires_grad_()
    optimizer = torch.optim.Adam([mu, raw], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = []
    for _ in range(steps):
        z = gaussian(mu, _scale(raw, full)).rsample((n_samples,))  # (K, *batch, L)
        held = gaussian(mu.detach(), _scale(raw.detach(), full))
        values = _evaluated(log_joint, z)
        if not history:
            _require_slope(values, z)
        bound = (values - held.log_prob(z)).mean(0)  # (*batch)
        mu.grad, raw.grad = torch.autograd.grad(-bound.sum(), [mu, raw])
        optimizer.step()
        schedule.step()
        history.append(bound.detach())
    return VIResult(gaussian(mu.detach(), _scale(raw.detach(), full)), torch.stack(history))


def _evaluated(log_joint: Callable, z: Tensor) -> Tensor:
    """log p(x, z), refused where it would silently become a wrong number."""
    values = log_joint(z.clone())  # which it may change
    if not isinstance(values, Tensor) or values.shape != z.shape[:-1] or not values.is_floating_point():
        raise ValueError(
            f"log_joint must give one float a code, {tuple(z.shape[:-1])}; got {shown(values)}: "
            "sum over the last axis"
        )
    if not values.isfinite().all():
        raise ValueError("log_joint is not finite at a draw of q; begin nearer, or with a smaller scale")
    return values


def _require_slope(values: Tensor, z: Tensor) -> None:
    """Refuse values whose gradient, if they have one, is not in z but in the parameters of a model."""
    slope = None
    if values.requires_grad:
        slope = torch.autograd.grad(values.sum(), z, retain_graph=True, allow_unused=True)[0]
    if slope is None:
        raise ValueError("log_joint does not pass gradients on to z; remove no_grad or detach")


def _raw(scale: Tensor, full: bool) -> Tensor:
    """Free numbers that stand for a diagonal or a triangular scale: logarithms on the diagonal."""
    return torch.diag_embed(scale.log()) if full else scale.log()


def _scale(raw: Tensor, full: bool) -> Tensor:
    if not full:
        return raw.exp()
    return raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp())


@dataclass(frozen=True)
class BayesianMixture:
    """A mixture of Gaussians whose means are unknown (Blei et al. 2017, §2.1).

    μ_k ~ N(0, prior_scale² I) for each component, c_i uniform over components, x_i ~ N(μ_{c_i}, scale² I).
    """

    components: Count
    scale: Positive = 1.0
    prior_scale: Positive = 5.0

    def __post_init__(self):
        check_fields(self)


class MixtureQ(NamedTuple):
    """q(μ, c) = Π_k N(μ_k; mean_k, var_k I) Π_i Cat(c_i; resp_i): mean-field, all factors independent."""

    mean: Tensor  # (components, D)
    var: Tensor  # (components,)
    resp: Tensor  # (N, components)


@checked
def cavi(
    model: BayesianMixture, x: Points, start, *, max_iter: Count = 100, tolerance: NonNegative = 1e-10
) -> tuple[MixtureQ, list[float]]:
    """Maximize the ELBO over one factor at a time, each update exact (Blei et al. 2017, algorithm 2).

    x : data (N, D); start : means to begin with (components, D)
    max_iter : the most sweeps; tolerance : stop when a sweep raises the ELBO by less than this share of it

    Returns q and the ELBO after every sweep, which never falls. It may end at a local optimum: try
    several starts.
    """
    start = points(x.shape[1])("start", start)
    if len(start) != model.components:
        raise ValueError(f"start must be a mean for each of {model.components} components, got {len(start)}")
    mean, var = start, torch.full((model.components,), model.scale**2, dtype=x.dtype)
    bounds: list[float] = []
    for _ in range(max_iter):
        resp = update_assignments(model, x, mean, var)
        mean, var = update_means(model, x, resp)
        bounds.append(mixture_elbo(model, x, MixtureQ(mean, var, resp)).value.item())
        if len(bounds) > 1 and bounds[-1] - bounds[-2] < tolerance * abs(bounds[-1]):
            break
    return MixtureQ(mean, var, resp), bounds


@checked
def update_assignments(model: BayesianMixture, x: Points, mean: Tensor, var: Tensor) -> Tensor:
    """resp_ik ∝ exp(E_q[log N(x_i; μ_k, scale² I)]), the best q(c_i) given q(μ): (N, components)."""
    mean, var = _means_of_q(model, x, mean, var)
    return (-_expected_square(x, mean, var) / (2 * model.scale**2)).softmax(1)


@checked
def update_means(model: BayesianMixture, x: Points, resp: Tensor) -> tuple[Tensor, Tensor]:
    """The best q(μ_k) given q(c): Bayes' rule for a Gaussian mean, each point counted resp_ik times."""
    resp = _assignments_of_q(model, x, resp)
    var = 1 / (1 / model.prior_scale**2 + resp.sum(0) / model.scale**2)
    return var[:, None] * (resp.T @ x) / model.scale**2, var


@checked
def mixture_elbo(model: BayesianMixture, x: Points, q: MixtureQ) -> JointELBO:
    """E_q[log p(x, c, μ)] + H(q) in closed form (Blei et al. 2017, §3)."""
    q = MixtureQ(*_means_of_q(model, x, q.mean, q.var), _assignments_of_q(model, x, q.resp))
    d, k, prior = x.shape[1], model.components, model.prior_scale**2
    log_prior = -d / 2 * log(2 * pi * prior) * k - (q.mean.square().sum() + d * q.var.sum()) / (2 * prior)
    square = _expected_square(x, q.mean, q.var) / (2 * model.scale**2)
    log_lik = -d / 2 * log(2 * pi * model.scale**2) - log(k) - square  # (N, components)
    entropy = d / 2 * (1 + (2 * pi * q.var).log()).sum() - torch.xlogy(q.resp, q.resp).sum()
    return JointELBO(log_prior + (q.resp * log_lik).sum(), entropy)


@checked
def mixture_log_evidence(model: BayesianMixture, x: Points) -> Tensor:
    """log p(x) = log Σ_c p(c) ∫ p(x | c, μ) p(μ) dμ over all assignments c; for a few points."""
    n, k = len(x), model.components
    if k**n > MOST_ASSIGNMENTS:
        raise ValueError(f"x has too many points, {n}: {k}^{n} assignments cannot be enumerated; take fewer")
    every = torch.cartesian_prod(*[torch.arange(k)] * n).view(-1, n)  # (k^n, n)
    member = torch.nn.functional.one_hot(every, k).to(x.dtype)  # (k^n, n, k)
    count, total = member.sum(1), torch.einsum("ank,nd->akd", member, x)
    noise, prior = model.scale**2, model.prior_scale**2
    held = count.clamp(min=1)
    mean = total / held[..., None]  # (k^n, k, D)
    # Around the means of the components, and these around zero: sums of squares, in which nothing cancels
    from_mean = (point - mean[range(len(every)), c] for point, c in zip(x, every.T, strict=True))  # (k^n, D)
    within = sum(difference.square().sum(1) for difference in from_mean)
    around = total.square().sum(-1) / held / (noise + count * prior)  # (k^n, k)
    log_det = x.shape[1] * torch.log1p(count * prior / noise)
    fit = -(within / noise + (around + log_det).sum(1)) / 2
    evidence = fit.logsumexp(0) - n * log(k) - x.numel() / 2 * log(2 * pi * noise)
    return finite("log p(x)", evidence, "x lies too far from the prior; measure in other units")


def _means_of_q(model: BayesianMixture, x: Tensor, mean, var) -> tuple[Tensor, Tensor]:
    """Means (K, D) and variances (K,) of the components, like the points x (N, D) in float64 on the CPU."""
    mean, var = points(x.shape[1])("mean", mean), tensor("var", var).to("cpu").double()
    if len(mean) != model.components or var.shape != mean.shape[:1] or not ((var > 0) & var.isfinite()).all():
        raise ValueError(
            f"mean and var must be of shapes ({model.components}, {x.shape[1]}) and ({model.components},), "
            f"var above 0, got {tuple(mean.shape)} and {tuple(var.shape)}, "
            f"at least {var.min().item() if var.numel() else 0:.3g}"
        )
    return mean, var


def _assignments_of_q(model: BayesianMixture, x: Tensor, resp) -> Tensor:
    """Probabilities (N, K) of the components for each point, in float64 on the CPU."""
    resp, shape = tensor("resp", resp).to("cpu").double(), (len(x), model.components)
    if tuple(resp.shape) != shape or (resp < 0).any() or not ((resp.sum(1) - 1).abs() < 1e-6).all():
        raise ValueError(
            f"resp must be probabilities of shape {shape} that sum to one in each row, "
            f"got shape {tuple(resp.shape)}"
        )
    return resp


def _expected_square(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """E_q‖x_i − μ_k‖², (N, components), a component at a time."""
    square = torch.stack([(x - m).square().sum(1) for m in mean], 1) + x.shape[1] * var
    return finite("the distances of x from the means", square, "measure in larger units: squares overflow")
