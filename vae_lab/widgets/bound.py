"""A Gaussian to lay over a posterior by hand, and the bound it reaches."""

from collections.abc import Callable, Sequence
from math import log
from typing import Annotated

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from vae_lab.arguments import NonNegative, Numbers, Positive, checked, real, several, shown, tensor
from vae_lab.inference import GridPosterior, warn_of_unresolved
from vae_lab.variational import log_integral, square_grid
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.scale import on_step, round_number

COUNT = 145  # points a side of the grid that sums are taken over
MOST_LEAN, LEAN_STEP = (-0.95, 0.95), 0.01  # of the correlation
LARGEST_LOG = 1e5  # nats, whose hundredths float32 can tell apart
SHARES = (0.95, 0.8, 0.5, 0.2)  # of the posterior, that the regions drawn hold
HINT = "Drag the point to move q, the square to stretch it; the arrow keys and the sliders do the same."
TRAITS = "m0", "m1", "s0", "s1", "rho"


class Bound(anywidget.AnyWidget):
    """A posterior over two codes, a Gaussian q over it, and ELBO + KL = log p(x) as a bar.

    Traits m0, m1 (means), s0, s1 (standard deviations) and rho (correlation) hold q. See `bound`, which fills
    the others.
    """

    _esm = script("ui.js", "scale.js", "sliders.js", "parts.js", "quadrature.js", "bound.js")
    _css = style("base.css", "parts.css", "bound.css")
    log_joint = traitlets.Bytes().tag(sync=True)
    count = traitlets.Int().tag(sync=True)
    half_width = traitlets.Float().tag(sync=True)  # of the plane
    grid_half_width = traitlets.Float().tag(sync=True)
    limits = traitlets.List().tag(sync=True)  # of m0, m1, s0, s1, rho
    steps = traitlets.List().tag(sync=True)
    regions = traitlets.List().tag(sync=True)
    depth = traitlets.Float().tag(sync=True)
    start = traitlets.List().tag(sync=True)
    presets = traitlets.List().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)
    goal = traitlets.Float(0.0).tag(sync=True)
    m0 = traitlets.Float().tag(sync=True)
    m1 = traitlets.Float().tag(sync=True)
    s0 = traitlets.Float().tag(sync=True)
    s1 = traitlets.Float().tag(sync=True)
    rho = traitlets.Float().tag(sync=True)

    def __repr__(self) -> str:
        return f"Bound({self.count}×{self.count} points, {len(self.presets)} presets)"


@checked
def bound(
    log_joint: Callable[[Tensor], Tensor],
    *,
    start: Numbers | None = None,
    presets: dict | None = None,
    half_width: Annotated[float, real(1e-15, 1e15)] = 3.0,
    depth: Positive = 8.0,
    hint: str = HINT,
    goal: NonNegative = 0.0,
) -> Bound:
    """A Gaussian q to drag, stretch and lean over a posterior, while ELBO + KL = log p(x) is kept in numbers.

    log_joint : codes (N, 2) in float64 → log p(x, z) (N,), for one x; must have died out at 3 `half_width`
    start : where q begins: two means, two standard deviations, a correlation; default a round q in the middle
    presets : by name, five such numbers, to which a button goes
    half_width : the plane shows [−half_width, half_width] on both axes
    depth : nats below log p(x) that the bar shows
    hint : one line on what to try; goal : the KL in nats below which it is done

    Sums are taken in the page, over a grid of 145 × 145 points that reaches beyond the plane.
    Warns with `GridWarning` of a posterior for which that grid is too coarse or too small. Raises
    `ValueError` for arguments that do not fit.
    """
    step, grid_half_width = round_number(half_width / 300), 3 * half_width
    limits = [(-half_width, half_width)] * 2 + [(half_width / 20, half_width / 2)] * 2 + [MOST_LEAN]
    steps = [step] * 4 + [LEAN_STEP]
    points, cell = square_grid(grid_half_width, COUNT)
    with torch.no_grad():
        found = tensor("log_joint's result", log_joint(points.clone()))
    values = found.detach().cpu().float()  # as they travel
    if values.shape != (len(points),) or not values.isfinite().all():
        raise ValueError(
            f"log_joint must give a finite number for each of {len(points)} codes, got {shown(values)}; "
            "sum over the last axis, and let the density nowhere be zero"
        )
    if not abs(highest := values.max().item()) < LARGEST_LOG:
        raise ValueError(
            f"log_joint must be below {LARGEST_LOG:.0e} nats at its highest, where float32 tells hundredths "
            f"apart, got {highest:.3g}; subtract a constant"
        )
    middle = (0.0, 0.0, 0.8 * half_width / 3, 0.8 * half_width / 3, 0.0)
    start = _settings("start", middle if start is None else start, limits, steps)
    chosen = [[str(k), _settings(f"presets[{k!r}]", v, limits, steps)] for k, v in (presets or {}).items()]
    evidence = log_integral(values.double(), cell)
    posterior = values.double() - evidence
    warn_of_unresolved(GridPosterior(points, posterior, evidence, log(cell)), 2, COUNT)
    return Bound(
        log_joint=values.numpy().astype("<f4").tobytes(),
        count=COUNT,
        half_width=half_width,
        grid_half_width=grid_half_width,
        limits=limits,
        steps=steps,
        regions=_regions(posterior.exp().view(COUNT, COUNT).numpy() * cell),
        depth=depth,
        start=start,
        presets=chosen,
        hint=hint,
        goal=goal,
        **dict(zip(TRAITS, start, strict=True)),
    )


def _settings(name: str, numbers: Sequence[float], limits: list, steps: list[float]) -> list[float]:
    """Five numbers on the sliders' steps."""
    numbers = several(real())(name, numbers)
    inside = len(numbers) == 5 and all(a <= v <= b for v, (a, b) in zip(numbers, limits, strict=True))
    if not inside:
        (_, most), (narrow, wide), (_, lean) = limits[0], limits[2], limits[4]
        raise ValueError(
            f"{name} must be two means within ±{most:g}, two scales in {narrow:g} … {wide:g} and a "
            f"correlation within ±{lean:g}; got {shown(numbers)}"
        )
    return [on_step(v, ends, step) for v, ends, step in zip(numbers, limits, steps, strict=True)]


def _regions(mass: np.ndarray) -> list[str]:
    """The smallest regions with each share of the posterior: SVG paths, in hundredths of a half width."""
    from contourpy import contour_generator

    axis = np.linspace(-300, 300, len(mass))
    generator = contour_generator(axis, axis, np.log(np.maximum(mass.T, 1e-300)))  # smooth where mass is not
    falling = np.sort(mass, axis=None)[::-1]
    held = np.cumsum(falling)
    lines = [generator.lines(log(falling[np.searchsorted(held, share * held[-1])])) for share in SHARES]
    return ["".join(_path(line) for line in region) for region in lines]


def _path(line: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.2f} {-y:.2f}" for x, y in line) + "Z"
