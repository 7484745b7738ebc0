"""Estimates from draws of the gradient of a mean over a distribution that depends on the parameters.

∇_φ E_{q_φ(z)}[f(z)] in two ways: differentiate the density (score function), or write the draw as a function
of φ and of noise without φ, and differentiate that (pathwise). One gradient a draw: noise can be looked at.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_lab.arguments import Count, Floats, VAELike, checked, finite, floats, shown
from vae_lab.objectives import ELBO, require_same_shape

Family = Callable[[Tensor], Distribution]


@checked
@torch.enable_grad()
def score_function(
    family: Family, phi: Tensor, f: Callable, *, n_samples: Count, baseline: float | Callable = 0.0
) -> Tensor:
    """(f(z) − b) ∇_φ log q_φ(z) for every draw z ~ q_φ: mean ∇_φ E[f(z)] (Williams 1992, REINFORCE).

    family : parameters (K, P), one row a draw → a distribution with batch shape (K,)
    phi : the parameters (P,); f : draws (K, …) → values (K,), which need no derivative
    baseline : b, a number, or a function of values (K,) and scores (K, P) that gives numbers (K, 1) or
        (K, P), such as `leave_one_out`; to leave no bias, it must not depend on the draw it stands beside

    Returns (K, P). Raises `ValueError` unless values and distribution have one entry for each draw.
    """
    rows = _rows(phi, n_samples)
    q = _member(family, rows)
    z = q.sample()
    scores = _slope(q.log_prob(z), rows)  # (K, P): every draw has its own row
    if scores is None:
        raise ValueError("family must make its distribution of the rows given to it, but passes no gradient")
    finite("the gradient", scores, "look at family")
    with torch.no_grad():
        values = _values(f, z, n_samples)
        b = _baseline(baseline(values, scores), scores) if callable(baseline) else baseline
        return (values[:, None] - b) * scores


@checked
@torch.enable_grad()
def pathwise(family: Family, phi: Tensor, f: Callable, *, n_samples: Count) -> Tensor:
    """∇_φ f(g(ε, φ)) for every draw of ε, where z = g(ε, φ) ~ q_φ: mean ∇_φ E[f(z)].

    Kingma & Welling (2014, §2.4). The mean is right if f is continuous, and differentiable except at a few
    points; if f has a jump, the mean is wrong.

    Arguments and result as for `score_function`; the distribution must have `rsample`, and f a derivative.
    """
    rows = _rows(phi, n_samples)
    q = _member(family, rows)
    if not q.has_rsample:
        raise ValueError(
            f"{type(q).__name__} has no reparameterized draws (rsample); use score_function instead"
        )
    slope = _slope(_values(f, q.rsample(), n_samples), rows)
    if slope is None:
        raise ValueError(
            "f passes no derivative on (it counts or rounds), or family none of its rows; "
            "use score_function in place of pathwise"
        )
    return finite("the gradient", slope, "look at f and family")


@checked
def leave_one_out(values: Floats, scores: Tensor | None = None) -> Tensor:
    """For every draw, the mean value of the others: a baseline without bias (Mnih & Rezende 2016).

    values : (K, …), K ≥ 2 draws along the first axis. Returns (K, …, 1), which broadcasts against scores.
    """
    return _mean_of_others(values, "values")[..., None]


@checked
def best_constant(values: Floats, scores: Floats) -> Tensor:
    """E[f s²] / E[s²] over the other draws: the constant of least variance (Greensmith et al. 2004).

    values : (K,); scores s : (K, P). Returns (K, P); where the others' scores are all 0, so that any constant
    is as good, their mean value.
    """
    if values.ndim != 1 or scores.ndim != 2 or len(values) != len(scores):
        raise ValueError(
            f"values and scores must be of shapes (K,) and (K, P), got {tuple(values.shape)} and "
            f"{tuple(scores.shape)}"
        )
    largest = scores.abs().amax(0)
    square = (scores / torch.where(largest > 0, largest, 1.0)).square()  # of any scale the same answer
    above, below = _mean_of_others(values[:, None] * square, "values"), _mean_of_others(square, "scores")
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), leave_one_out(values))


@checked
def score_function_elbo(model: VAELike, x: Tensor, *, n_samples: Count = 1, baseline: bool = False) -> ELBO:
    """The ELBO, with a gradient in φ that never passes through z: (log p(x|z) − b) ∇_φ log q_φ(z|x).

    Value and gradient in θ are those of `objectives.elbo` at the same draws; the KL is in closed form.

    n_samples : K draws per image
    baseline : subtract from log p(x|z) its mean over the other draws of the same image; needs two draws
    """
    if n_samples < 1 + baseline:
        raise ValueError(f"n_samples must be at least 2 for a baseline from the other draws, got {n_samples}")
    q_z = require_batch("model.encode", model.encode(x), (len(x),))
    z = q_z.sample((n_samples,))  # (K, B, L), no gradient
    p_x = require_batch("model.decode", model.decode(z), z.shape[:-1])
    prior = require_batch("model.prior", model.prior(), (), q_z.event_shape)
    require_same_shape(p_x.event_shape, x.shape[1:])
    log_lik = p_x.log_prob(x)  # (K, B)
    values = log_lik.detach()
    learned = values - leave_one_out(values)[..., 0] if baseline else values
    log_q = q_z.log_prob(z)
    carrier = learned * (log_q - log_q.detach())  # zero, but its gradient is not
    try:
        kl = kl_divergence(q_z, prior)
    except NotImplementedError:
        raise ValueError(
            f"model must have a KL in closed form, but of {type(q_z).__name__} and {type(prior).__name__} "
            "there is none"
        ) from None
    return ELBO((log_lik + carrier).mean(0), kl)


def require_batch(what: str, found: Distribution, batch: tuple, event: tuple | None = None) -> Distribution:
    """The distribution that a model gave, if it is one for each of a batch; others would be stretched."""
    right = isinstance(found, Distribution) and tuple(found.batch_shape) == tuple(batch)
    if not right or tuple(found.event_shape) != tuple(found.event_shape if event is None else event):
        got = (
            f"{tuple(found.batch_shape)} and {tuple(found.event_shape)}"
            if isinstance(found, Distribution)
            else shown(found)
        )
        raise ValueError(
            f"{what} must give a distribution of batch shape {tuple(batch)}"
            f"{'' if event is None else f' and event shape {tuple(event)}'}, got {got}"
        )
    return found


def _rows(phi: Tensor, n_samples: int) -> Tensor:
    """A copy of the parameters for every draw, (K, P): the gradient of a sum then keeps the draws apart."""
    if phi.ndim != 1 or not len(phi) or not phi.is_floating_point():
        raise ValueError(f"phi must be float parameters of shape (P,), got {shown(phi)}")
    if not phi.isfinite().all():
        raise ValueError(f"phi must be finite, got {shown(phi)}; did a step before diverge?")
    return phi.detach().repeat(n_samples, 1).requires_grad_()


def _member(family: Family, rows: Tensor) -> Distribution:
    q = family(rows)
    if not isinstance(q, Distribution) or q.batch_shape != rows.shape[:1]:
        got = tuple(q.batch_shape) if isinstance(q, Distribution) else shown(q)
        raise ValueError(f"family must give one distribution a row, batch shape ({len(rows)},); got {got}")
    return q


def _values(f: Callable, z: Tensor, n_samples: int) -> Tensor:
    values = f(z)
    if not isinstance(values, Tensor) or values.shape != (n_samples,):
        raise ValueError(
            f"f must give one number a draw, ({n_samples},); got {shown(values)}: sum over the rest"
        )
    values = floats("f's values", values)
    finite("the gradient", values.detach(), "look at f")
    return values


def _slope(values: Tensor, rows: Tensor) -> Tensor | None:
    """The gradient of each value in its row, (K, P); None if there is none."""
    return torch.autograd.grad(values.sum(), rows, allow_unused=True)[0] if values.requires_grad else None


def _baseline(found, scores: Tensor) -> Tensor:
    """What a baseline gave, a number or one for each draw; others would be stretched to the scores' shape."""
    b = floats("baseline's result", found).to(scores.device)
    if b.shape not in ((), (len(scores), 1), scores.shape):
        raise ValueError(
            f"baseline must give a number, or numbers of shape ({len(scores)}, 1) or {tuple(scores.shape)}, "
            f"got {shown(b)}"
        )
    return finite("the baseline", b, "look at baseline")


def _mean_of_others(numbers: Tensor, name: str) -> Tensor:
    """For every draw the mean over all others: of those before and after it, so that nothing cancels."""
    if not numbers.ndim or len(numbers) < 2:
        raise ValueError(
            f"{name} must be of two draws or more, for a baseline is from the others, got {shown(numbers)}"
        )
    parts = numbers.to(torch.promote_types(numbers.dtype, torch.float32)) / (len(numbers) - 1)
    none = torch.zeros_like(parts[:1])
    before = torch.cat([none, parts[:-1].cumsum(0)])
    after = torch.cat([none, parts[1:].flip(0).cumsum(0)]).flip(0)
    return (before + after).to(numbers.dtype)
