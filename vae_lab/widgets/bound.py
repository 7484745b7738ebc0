"""A Gaussian to lay over a posterior by hand, and the bound it reaches."""

from collections.abc import Callable, Sequence
from math import log

import anywidget
import ipywidgets
import numpy as np
import torch
import traitlets
from torch import Tensor

from vae_lab.variational import log_integral, square_grid
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.panel import Panel

COUNT = 145  # points a side of the grid that sums are taken over
SHARES = (0.95, 0.8, 0.5, 0.2)  # of the posterior, that the regions drawn hold
HINT = "Drag the point to move q, the square to stretch it; the arrow keys and the sliders do the same."
NAMES = {
    "m0": "mean of z₁",
    "m1": "mean of z₂",
    "s0": "scale of z₁",
    "s1": "scale of z₂",
    "rho": "correlation",
}


class Bound(anywidget.AnyWidget):
    """A posterior over two codes, a Gaussian q over it, and ELBO + KL = log p(x) as a bar.

    Traits m0, m1 (means), s0, s1 (standard deviations) and rho (correlation) hold q; link sliders to them.
    See `bound`, which does.
    """

    _esm = script("ui.js", "quadrature.js", "bound.js")
    _css = style("base.css", "bound.css")
    log_joint = traitlets.Bytes().tag(sync=True)
    count = traitlets.Int().tag(sync=True)
    reach = traitlets.Float().tag(sync=True)
    view = traitlets.Float().tag(sync=True)
    scales = traitlets.List().tag(sync=True)
    regions = traitlets.List().tag(sync=True)
    depth = traitlets.Float().tag(sync=True)
    start = traitlets.List().tag(sync=True)
    presets = traitlets.List().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)
    m0 = traitlets.Float().tag(sync=True)
    m1 = traitlets.Float().tag(sync=True)
    s0 = traitlets.Float().tag(sync=True)
    s1 = traitlets.Float().tag(sync=True)
    rho = traitlets.Float().tag(sync=True)

    def __repr__(self) -> str:
        return f"Bound({self.count}×{self.count} points, {len(self.presets)} presets)"


def bound(
    log_joint: Callable[[Tensor], Tensor],
    *,
    start: Sequence[float] = (0.0, 0.0, 0.8, 0.8, 0.0),
    presets: dict[str, Sequence[float]] | None = None,
    view: float = 3.0,
    depth: float = 8.0,
    hint: str = HINT,
) -> Panel:
    """A Gaussian q to drag, stretch and lean over a posterior, while ELBO + KL = log p(x) is kept in numbers.

    log_joint : codes (N, 2) in float64 → log p(x, z) (N,), for one x; must have died out at 3 `view`
    start : where q begins: two means, two standard deviations, a correlation
    presets : by name, such five numbers for a button to go to
    view : the plane shows [−view, view] both ways; depth : nats below log p(x) that the bar shows

    Sums are taken in the page, over a grid of 145 × 145 points that reaches beyond the plane.
    Raises `ValueError` for arguments that do not fit.
    """
    reach, scales = 3 * view, [view / 20, view / 2]
    points, cell = square_grid(reach, COUNT)
    with torch.no_grad():
        values = log_joint(points)
    if values.shape != (len(points),) or not values.isfinite().all():
        raise ValueError(
            f"log_joint must give a finite number for each of {len(points)} codes, got shape "
            f"{tuple(values.shape)}; sum over the last axis"
        )
    values = values.float()  # as they travel
    start, presets = _settings("start", start, view, scales), presets or {}
    chosen = [[str(k), _settings(str(k), v, view, scales)] for k, v in presets.items()]
    posterior = values.double() - log_integral(values.double(), cell)
    widget = Bound(
        log_joint=values.numpy().astype("<f4").tobytes(),
        count=COUNT,
        reach=reach,
        view=view,
        scales=scales,
        regions=_regions(posterior.exp().view(COUNT, COUNT).numpy() * cell, reach),
        depth=depth,
        start=start,
        presets=chosen,
        hint=hint,
        **dict(zip(NAMES, start, strict=True)),
    )
    return Panel(widget, {trait: _slider(widget, trait) for trait in NAMES})


def _settings(name: str, numbers: Sequence[float], view: float, scales: list[float]) -> list[float]:
    """Five numbers that the sliders can show, rounded to their steps."""
    numbers = [float(v) for v in numbers]
    limits = [(-view, view)] * 2 + [tuple(scales)] * 2 + [(-0.95, 0.95)]
    inside = len(numbers) == 5 and all(a <= v <= b for v, (a, b) in zip(numbers, limits, strict=True))
    if not inside:
        raise ValueError(
            f"{name} must be two means within ±{view:g}, two scales in {scales[0]:g} … {scales[1]:g} and a "
            f"correlation within ±0.95; got {numbers}"
        )
    return [round(v, 2) for v in numbers]


def _slider(widget: Bound, trait: str) -> ipywidgets.FloatSlider:
    ranges = {"m": (-widget.view, widget.view), "s": widget.scales, "r": (-0.95, 0.95)}
    low, high = ranges[trait[0]]
    return ipywidgets.FloatSlider(
        value=getattr(widget, trait),
        min=low,
        max=high,
        step=0.01,
        description=NAMES[trait],
        style={"description_width": "initial"},
        layout=ipywidgets.Layout(width="auto"),
    )


def _regions(mass: np.ndarray, reach: float) -> list[str]:
    """The smallest regions that hold each share of the posterior, as SVG paths in units of the codes."""
    from contourpy import contour_generator

    axis = np.linspace(-reach, reach, len(mass))
    generator = contour_generator(axis, axis, np.log(np.maximum(mass.T, 1e-300)))  # smooth where mass is not
    falling = np.sort(mass, axis=None)[::-1]
    held = np.cumsum(falling)
    lines = [generator.lines(log(falling[np.searchsorted(held, share * held[-1])])) for share in SHARES]
    return ["".join(_path(line) for line in region) for region in lines]


def _path(line: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.3f} {-y:.3f}" for x, y in line) + "Z"
