"""Variational inference: the member of a family of distributions that is nearest to a posterior.

Three tools. Sums over a grid, exact for two latents; black-box fitting of a Gaussian to any log-joint that
can be differentiated; coordinate ascent for the Bayesian mixture of Gaussians. Everything in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

MOST_ASSIGNMENTS = 1_000_000  # that are enumerated


class JointELBO(NamedTuple):
    """The bound in its first reading: E_q[log p(x, z)] + H(q) ≤ log p(x), in nats."""

    log_joint: Tensor
    entropy: Tensor

    @property
    def value(self) -> Tensor:
        return self.log_joint + self.entropy


class Fit(NamedTuple):
    """What `black_box` found: q, and its estimate of the ELBO at every step, (steps, *batch)."""

    q: Distribution
    history: Tensor


def gaussian(mean: Tensor, scale: Tensor) -> Distribution:
    """N(mean, diag scale²) for a scale (…, L); N(mean, C Cᵀ) for lower triangular C (…, L, L)."""
    if scale.ndim == mean.ndim:
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    return MultivariateNormal(mean, scale_tril=scale, validate_args=False)


def square_grid(reach: float, count: int) -> tuple[Tensor, float]:
    """`count`² points that cover [−reach, reach]², (count², 2) in float64, and the area of one cell.

    The second coordinate varies fastest. A smooth density that has died out at the edges is summed with an
    error that falls faster than any power of the spacing.
    """
    if count < 2 or not reach > 0:
        raise ValueError(f"a grid needs two points a side and a reach above 0, got {count} and {reach}")
    axis = torch.linspace(-reach, reach, count, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (2 * reach / (count - 1)) ** 2


def log_integral(log_f: Tensor, cell: float) -> Tensor:
    """log ∫ f(z) dz from log f (N, …) at the points of a grid."""
    return log_f.logsumexp(0) + log(cell)


def kl_on_grid(log_q: Tensor, log_p: Tensor, cell: float) -> Tensor:
    """KL(q ‖ p) = ∫ q(z) (log q(z) − log p(z)) dz from log-densities (N, …) at the points of a grid.

    Both must be normalized. Where q is 0 nothing is added; where q is above 0 and p is 0 the KL is infinite.
    """
    if log_q.shape != log_p.shape:
        raise ValueError(f"expected two log-densities at the same points, got {log_q.shape}, {log_p.shape}")
    ratio = torch.where(log_q == -torch.inf, 0.0, log_q - log_p)
    return (log_q.exp() * ratio).sum(0) * cell


def elbo(log_joint: Callable[[Tensor], Tensor], q: Distribution, *, samples: int = 1000) -> JointELBO:
    """E_q[log p(x, z)] + H(q), the first term by sampling, the second in closed form.

    log_joint : codes (K, *batch, L) → log p(x, z) (K, *batch)
    """
    z = q.rsample((samples,))
    return JointELBO(_evaluated(log_joint, z).mean(0), q.entropy())


def black_box(
    log_joint: Callable[[Tensor], Tensor],
    start: Distribution,
    *,
    full: bool = True,
    steps: int = 1000,
    samples: int = 16,
    learning_rate: float = 0.05,
) -> Fit:
    """Maximize E_q[log p(x, z) − log q(z)] over Gaussians q by Adam on reparameterized draws.

    Needs nothing of the model but log p(x, z) and its gradient (after Ranganath et al. 2014, who needed
    not even that). A batch of problems is solved at once, each by itself.

    log_joint : codes (K, *batch, L) → log p(x, z) (K, *batch), differentiable
    start : a Gaussian; its mean (*batch, L) and standard deviations are where the search begins
    full : any covariance, by its Cholesky factor; else a diagonal one (mean-field)
    samples, learning_rate : K draws a step; the rate at the start, brought to zero along a cosine

    The gradient goes by way of z alone: what is left out has mean zero, and without it the gradient has no
    noise once q is the posterior (Roeder et al. 2017). Raises `ValueError` where log p(x, z) is not finite.
    """
    mu = start.mean.detach().clone().requires_grad_()
    raw = _raw(start.stddev.detach(), full).requires_grad_()
    optimizer = torch.optim.Adam([mu, raw], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = []
    for _ in range(steps):
        z = gaussian(mu, _scale(raw, full)).rsample((samples,))  # (K, *batch, L)
        held = gaussian(mu.detach(), _scale(raw.detach(), full))
        bound = (_evaluated(log_joint, z) - held.log_prob(z)).mean(0)  # (*batch)
        mu.grad, raw.grad = torch.autograd.grad(-bound.sum(), [mu, raw])
        optimizer.step()
        schedule.step()
        history.append(bound.detach())
    return Fit(gaussian(mu.detach(), _scale(raw.detach(), full)), torch.stack(history))


def _evaluated(log_joint: Callable, z: Tensor) -> Tensor:
    """log p(x, z), refused where it would turn into a wrong number without a word."""
    values = log_joint(z)
    if values.shape != z.shape[:-1]:
        raise ValueError(
            f"log_joint must give one number a code, {tuple(z.shape[:-1])}; got {tuple(values.shape)}: "
            "sum over the last axis"
        )
    if not values.isfinite().all():
        raise ValueError("log_joint is not finite at a draw of q; begin nearer, or with a smaller scale")
    return values


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

    μ_k ~ N(0, prior_scale² I) for each component, c_i uniform on the components, x_i ~ N(μ_{c_i}, scale² I).
    """

    components: int
    scale: float = 1.0
    prior_scale: float = 5.0

    def __post_init__(self):
        if self.components < 1 or not (self.scale > 0 and self.prior_scale > 0):
            raise ValueError(f"need at least one component and scales above 0, got {self}")


class MixtureQ(NamedTuple):
    """q(μ, c) = Π_k N(μ_k; mean_k, var_k I) Π_i Cat(c_i; resp_i): mean-field, all factors independent."""

    mean: Tensor  # (components, D)
    var: Tensor  # (components,)
    resp: Tensor  # (N, components)


def cavi(
    model: BayesianMixture, x: Tensor, start: Tensor, *, steps: int = 100, tolerance: float = 1e-10
) -> tuple[MixtureQ, list[float]]:
    """Maximize the ELBO over one factor at a time, each step exact (Blei et al. 2017, algorithm 2).

    x : data (N, D); start : means to begin with (components, D)
    tolerance : stop when a sweep raises the ELBO by less than this share of it

    Returns q and the ELBO after every sweep, which never falls. It is a local maximum: try several starts.
    """
    x, start = _points(x), _points(start)
    if start.shape != (model.components, x.shape[1]):
        expected = (model.components, x.shape[1])
        raise ValueError(f"start needs a mean for every component, {expected}; got {tuple(start.shape)}")
    mean, var = start, torch.full((model.components,), model.scale**2, dtype=x.dtype)
    bounds: list[float] = []
    for _ in range(steps):
        resp = update_assignments(model, x, mean, var)
        mean, var = update_means(model, x, resp)
        bounds.append(mixture_elbo(model, x, MixtureQ(mean, var, resp)).value.item())
        if len(bounds) > 1 and bounds[-1] - bounds[-2] < tolerance * abs(bounds[-1]):
            break
    return MixtureQ(mean, var, resp), bounds


def update_assignments(model: BayesianMixture, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """resp_ik ∝ exp(E_q[log N(x_i; μ_k, scale² I)]), the best q(c_i) given q(μ): (N, components)."""
    return (-_expected_square(x, mean, var) / (2 * model.scale**2)).softmax(1)


def update_means(model: BayesianMixture, x: Tensor, resp: Tensor) -> tuple[Tensor, Tensor]:
    """The best q(μ_k) given q(c): Bayes' rule for a Gaussian mean, each point counted resp_ik times."""
    var = 1 / (1 / model.prior_scale**2 + resp.sum(0) / model.scale**2)
    return var[:, None] * (resp.T @ x) / model.scale**2, var


def mixture_elbo(model: BayesianMixture, x: Tensor, q: MixtureQ) -> JointELBO:
    """E_q[log p(x, c, μ)] + H(q) in closed form (Blei et al. 2017, §3)."""
    d, k, prior = x.shape[1], model.components, model.prior_scale**2
    log_prior = -d / 2 * log(2 * pi * prior) * k - (q.mean.square().sum() + d * q.var.sum()) / (2 * prior)
    square = _expected_square(x, q.mean, q.var) / (2 * model.scale**2)
    log_lik = -d / 2 * log(2 * pi * model.scale**2) - log(k) - square  # (N, components)
    entropy = d / 2 * (1 + (2 * pi * q.var).log()).sum() - torch.xlogy(q.resp, q.resp).sum()
    return JointELBO(log_prior + (q.resp * log_lik).sum(), entropy)


def mixture_log_evidence(model: BayesianMixture, x: Tensor) -> Tensor:
    """log p(x) = log Σ_c p(c) ∫ p(x | c, μ) p(μ) dμ over all assignments c; for a few points."""
    x = _points(x)
    n, k = len(x), model.components
    if k**n > MOST_ASSIGNMENTS:
        raise ValueError(f"{k}^{n} assignments are too many to enumerate; take fewer points")
    every = torch.cartesian_prod(*[torch.arange(k)] * n).view(-1, n)  # (k^n, n)
    member = torch.nn.functional.one_hot(every, k).to(x.dtype)  # (k^n, n, k)
    count, total = member.sum(1), torch.einsum("ank,nd->akd", member, x)
    noise, prior = model.scale**2, model.prior_scale**2
    shrunk = prior / (noise + count * prior) * total.square().sum(-1)  # (k^n, k)
    log_det = x.shape[1] / 2 * torch.log1p(count * prior / noise)
    fit = (shrunk / (2 * noise) - log_det).sum(1) - x.square().sum() / (2 * noise)
    return fit.logsumexp(0) - n * log(k) - x.numel() / 2 * log(2 * pi * noise)


def _expected_square(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """E_q‖x_i − μ_k‖², (N, components)."""
    return (x[:, None] - mean).square().sum(-1) + x.shape[1] * var


def _points(x: Tensor) -> Tensor:
    """Points (N, D) in float64."""
    x = torch.as_tensor(x, dtype=torch.float64)
    if x.ndim != 2 or not x.numel() or not x.isfinite().all():
        raise ValueError(f"expected finite points of shape (N, D), got {tuple(x.shape)}")
    return x
