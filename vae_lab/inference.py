"""The posterior of a latent-variable model without a formula: sums over a grid, and Markov chains.

Everything here works on a log-joint, a function of codes z (K, L) that returns log p(x, z) in nats, up to
a constant that does not depend on z: one number per code, (K,). The grid also takes (K, B), for B images at
the same codes.
"""

import warnings
from collections.abc import Callable
from math import log, log10
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.arguments import Count, Positive, checked, finite, shown

LogJoint = Callable[[Tensor], Tensor]
Size = float | Tensor
Source = torch.Generator | None
FINE = (torch.float32, torch.float64)  # in 16 bits neighboring codes are one, and a count stops at 256
MOST_CODES = 50_000_000  # on a grid; a float32 for each is 200 MB
STEEP = 4.0  # nats from a cell to the next, averaged over the mass, above which a sum is no integral
LARGEST_CELL = 0.8  # of the mass in one cell, above which likewise
EDGE = 1e-3  # of the mass in the outermost cells, at which the grid leaves too much out


class GridWarning(UserWarning):
    """A sum over this grid is not the integral: the grid is too coarse, or mass lies beyond it."""


class GridPosterior(NamedTuple):
    """p(z|x) at the cell centers of a grid: K codes, each of which stands for a cell of the same volume."""

    codes: Tensor  # (K, L)
    log_density: Tensor  # (K,) or (K, B), log p(z|x) in nats
    log_evidence: Tensor  # () or (B,), log p(x) in nats
    log_cell: float  # log of a cell's volume

    @property
    def mass(self) -> Tensor:
        """The probability of each cell, (K,) or (K, B); sums to one over the codes."""
        return (self.log_density + self.log_cell).exp()


class Chains(NamedTuple):
    """What Markov chains visited, and how often each accepted what it was proposed."""

    states: Tensor  # (T, K, L), the state of each of K chains after each of T steps
    acceptance: Tensor  # (K,), shares of the T proposals


@checked
def grid(
    latents: Count, *, points: Count, half_width: Positive, like: Tensor | None = None
) -> tuple[Tensor, float]:
    """The cell centers of a grid over [−a, a]^L, (points^L, L), and the log of a cell's volume.

    The half-width a is `half_width`. The last coordinate varies fastest.

    points : on each axis
    like : a tensor whose type and device to use; default float32 on the CPU

    Raises `ValueError` for a grid of more than `MOST_CODES`.
    """
    if (size := latents * log10(points)) > log10(MOST_CODES):
        raise ValueError(
            f"{shown(points)} points on each of {latents} axes make 10^{size:.1f} codes, more than "
            f"{MOST_CODES:.0e}; take fewer points, or sample with metropolis or mala"
        )
    like = torch.empty(0) if like is None else like
    if like.dtype not in FINE:
        raise TypeError(f"like must be a tensor of float32 or float64, got {like.dtype}")
    cell = 2 * half_width / points
    axis = (torch.arange(points, dtype=like.dtype, device=like.device) + 0.5) * cell - half_width
    return torch.cartesian_prod(*[axis] * latents).view(-1, latents), latents * log(cell)


@checked
@torch.no_grad()
def grid_posterior(
    log_joint: LogJoint,
    latents: Count,
    *,
    points: Count = 200,
    half_width: Positive = 5.0,
    chunk_size: Count = 8192,
    like: Tensor | None = None,
) -> GridPosterior:
    """p(z|x) = p(x, z) / Σ_z p(x, z) Δ^L, the midpoint rule on points^L codes, in log-space.

    For a smooth density the error falls faster than any power of the spacing, once a few points lie within
    a standard deviation. What lies beyond the half-width is left out.

    log_joint : codes (K, L) → (K,), or (K, B) for B images
    chunk_size : codes to evaluate together, fewer for less memory
    like : as in `grid`

    Warns with `GridWarning` of a grid that is too coarse for what it sums, or beyond which mass lies.
    Raises `ValueError` for one that is too large or has no mass, and for a log-joint of wrong shape,
    NaN or +∞.
    """
    codes, log_cell = grid(latents, points=points, half_width=half_width, like=like)
    log_p = torch.cat([_evaluate(log_joint, z, images=True) for z in codes.split(chunk_size)])
    log_evidence = log_p.logsumexp(0) + log_cell
    if not log_evidence.isfinite().all():
        raise ValueError("p(x, z) = 0 at all codes of the grid; raise half_width, or points")
    found = GridPosterior(codes, log_p - log_evidence, log_evidence, log_cell)
    warn_of_unresolved(found, latents, points)
    return found


def warn_of_unresolved(found: GridPosterior, latents: int, points: int) -> None:
    """Warn of a sum that is no integral: the density leaps from cell to cell, or goes on beyond the edge.

    A leap to zero does not count: there the density ends.
    """
    density = found.log_density.view(*[points] * latents, -1)  # (points, …, points, B)
    mass, every = found.mass.view_as(density), tuple(range(latents))
    steepest, edge = torch.zeros_like(mass), torch.zeros_like(mass, dtype=torch.bool)
    for axis in every:
        leaps = density.diff(dim=axis).abs()
        leaps = torch.where(leaps.isfinite(), leaps, 0.0)
        for part in (slice(None, -1), slice(1, None)):
            at = (*[slice(None)] * axis, part)
            steepest[at] = steepest[at].maximum(leaps)
        edge.index_fill_(axis, torch.tensor([0, points - 1], device=mass.device), True)
    leap, most = (mass * steepest).sum(every).max(), mass.amax(every).max()
    beyond = (mass * edge).sum(every).max()
    said = []
    if leap > STEEP or most > LARGEST_CELL:
        said.append(
            f"with {points} points an axis log p(x, z) changes by {leap:.3g} nats "
            f"from a cell to the next where the mass is, and one cell holds up to {most:.0%} of it: "
            "take more points, or a smaller half_width"
        )
    if beyond > EDGE:
        said.append(f"{beyond:.2g} of the mass lies in the outermost cells: take a larger half_width")
    if said:
        warnings.warn(f"the sum is no integral: {', and '.join(said)}", GridWarning, stacklevel=5)


@checked
@torch.no_grad()
def metropolis(
    log_joint: LogJoint, start: Tensor, *, steps: Count, step_size: Size, generator: Source = None
) -> Chains:
    """Propose z′ = z + s ε, accept it with probability min(1, p(x, z′) / p(x, z)), else stay.

    Random-walk Metropolis (Metropolis et al. 1953). In the limit of many steps each chain's states are draws
    from p(z|x), whatever the start.

    log_joint : codes (K, L) → (K,) nats, up to a constant
    start : (K, L), one state per chain
    step_size : s, one for all, or (K, 1), one per chain
    generator : of the proposals and decisions, on the device of `start`; default torch's own

    Raises `ValueError` for a log-joint of wrong shape, NaN or +∞, or a start that is impossible (−∞).
    """

    def propose(z, log_p):
        proposal = z + step_size * _normal(z, generator)
        new_log_p = _evaluate(log_joint, proposal)
        return (proposal, new_log_p), new_log_p - log_p

    z, step_size = _start(start), _size(step_size, start)
    return _walk((z, _possible(_evaluate(log_joint, z))), propose, steps, generator)


@checked
def mala(
    log_joint: LogJoint, start: Tensor, *, steps: Count, step_size: Size, generator: Source = None
) -> Chains:
    """Propose z′ = z + s²/2 ∇log p(x, z) + s ε, accept it with min(1, p(x, z′) r(z|z′) / p(x, z) r(z′|z)).

    The Metropolis-adjusted Langevin algorithm (Roberts & Tweedie 1996); r is the density of the proposal,
    and its ratio makes up for the drift. Arguments, result and errors as in `metropolis`; `log_joint` must
    be differentiable and treat the chains separately.
    """

    def propose(z, log_p, slope):
        noise, drift = _normal(z, generator), step_size**2 / 2
        proposal = z + drift * slope + step_size * noise
        new_log_p, new_slope = _with_slope(log_joint, proposal)
        back = (z - proposal - drift * new_slope) / step_size  # the noise that would lead back
        log_ratio = new_log_p - log_p + (noise.square() - back.square()).sum(1) / 2
        return (proposal, new_log_p, new_slope), log_ratio

    z, step_size = _start(start), _size(step_size, start)
    log_p, slope = _with_slope(log_joint, z)
    return _walk((z, _possible(log_p), slope), propose, steps, generator)


def _walk(state: tuple[Tensor, ...], propose: Callable, steps: int, generator: Source) -> Chains:
    """Steps from a state, whose first tensor is z: propose(*state) → (the next state, log of its ratio)."""
    states, accepted = [], 0
    for _ in range(steps):
        proposal, log_ratio = propose(*state)
        move = _decide(log_ratio, generator)  # (K,)
        state = tuple(
            torch.where(move.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(proposal, state, strict=True)
        )
        states.append(state[0])
        accepted = accepted + move.to(log_ratio.dtype)
    return Chains(torch.stack(states), accepted / steps)


def _start(start: Tensor) -> Tensor:
    """The start, detached; refuses arguments from which no chain can run."""
    if start.ndim != 2 or not start.numel() or start.dtype not in FINE:
        raise ValueError(f"start must be float32 or float64 of shape (K, L), got {shown(start)}")
    return finite("a chain", start.detach().clone(), "start must be finite")


def _size(step_size: Size, start: Tensor) -> Tensor:
    """The step size, one for all chains or (K, 1), on the device of the start."""
    try:
        size = torch.as_tensor(step_size, dtype=start.dtype, device=start.device)
        right = size.shape in ((), (len(start), 1)) and bool(((size > 0) & size.isfinite()).all())
    except (TypeError, ValueError, RuntimeError):
        right = False
    if not right:
        raise ValueError(
            f"step_size must be positive, one number or one a chain of shape ({len(start)}, 1), "
            f"got {shown(step_size)}"
        )
    return size


def _evaluate(log_joint: LogJoint, z: Tensor, *, images: bool = False) -> Tensor:
    """log p(x, z) of each code; refuses what cannot be one. A copy is passed, which it may change."""
    log_p = log_joint(z.clone())
    if not isinstance(log_p, Tensor) or log_p.shape[:1] != z.shape[:1] or log_p.ndim > 1 + images:
        got = tuple(log_p.shape) if isinstance(log_p, Tensor) else type(log_p).__name__
        raise ValueError(
            f"log_joint must return one number of nats a code, ({len(z)},){' or (K, B)' * images}, "
            f"got {got}; sum over pixels and latents, not over codes"
        )
    if not log_p.is_floating_point():
        raise ValueError(f"log_joint must return floating-point numbers of nats, got {log_p.dtype}")
    log_p = log_p.to(torch.promote_types(log_p.dtype, z.dtype))
    wrong = log_p.isnan() | (log_p == torch.inf)
    if wrong.any():
        at = z[wrong.view(len(z), -1).any(1)][0].tolist()
        raise ValueError(
            f"log_joint is NaN or +∞ for {int(wrong.sum())} of {wrong.numel()} values, first at "
            f"z = {[round(v, 3) for v in at]}; look at the decoder's output there"
        )
    return log_p


def _with_slope(log_joint: LogJoint, z: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, z), (K,), and its gradient in z, (K, L)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        log_p = _evaluate(log_joint, z)
        slope = torch.autograd.grad(log_p.sum(), z, allow_unused=True)[0] if log_p.requires_grad else None
        if slope is None:
            raise ValueError(
                "log_joint does not pass gradients on to z; remove no_grad or detach, or use metropolis"
            )
    return log_p.detach(), slope


def _possible(log_p: Tensor) -> Tensor:
    """The start's log-joint; refuses −∞, from which no ratio can be formed."""
    if not log_p.isfinite().all():
        raise ValueError(
            f"{int((~log_p.isfinite()).sum())} chains start where p(x, z) = 0; start them elsewhere"
        )
    return log_p


def _normal(z: Tensor, generator: Source) -> Tensor:
    return torch.randn(z.shape, dtype=z.dtype, device=z.device, generator=generator)


def _decide(log_ratio: Tensor, generator: Source) -> Tensor:
    """Which chains accept: log u < log_ratio for a uniform u; a ratio that is NaN (−∞ at z′) never."""
    u = torch.rand(log_ratio.shape, dtype=log_ratio.dtype, device=log_ratio.device, generator=generator)
    return u.log() < log_ratio
