"""EM for a mixture in the plane, a half-round at a time, in a notebook and in a page without Python."""

from collections.abc import Sequence

import anywidget
import numpy as np
import traitlets

from vae_lab import em
from vae_lab.widgets.bundle import script, style

MOST_POINTS = 400
MOST_COMPONENTS = 6
HINT = "Drag A, B, C. Press E-step: the bound rises to the likelihood. Press M-step: both rise."


class EMStepper(anywidget.AnyWidget):
    """Points, K Gaussians whose means can be dragged, and buttons for the E-step and the M-step.

    Trait parameters holds six numbers a component (log weight, mean, covariance xx, xy, yy); source, those
    that the responsibilities come from, none before the first E-step; trace, (step, bound, log p(x)) of each
    half-round. See `em_stepper`, which fills them.
    """

    _esm = script("ui.js", "mixture.js", "em_stepper.js")
    _css = style("base.css", "em_stepper.css")
    points = traitlets.List().tag(sync=True)
    parameters = traitlets.List().tag(sync=True)
    start = traitlets.List().tag(sync=True)
    source = traitlets.List().tag(sync=True)
    trace = traitlets.List().tag(sync=True)
    ranges = traitlets.List().tag(sync=True)
    names = traitlets.List().tag(sync=True)
    least = traitlets.Float().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"EMStepper(N={len(self.points) // 2}, K={len(self.start) // 6})"


def em_stepper(x, start: em.Mixture, *, names: Sequence[str] = ("x₁", "x₂"), hint: str = HINT) -> EMStepper:
    """Points (N, 2) and a mixture of Gaussians to fit to them by hand, from `start`.

    x : at most 400 points, kept to four digits after the point
    start : the mixture before the first step; its means can be dragged
    names : of the two coordinates

    Raises `ValueError` for data that are not in the plane, too many points or too many components.
    """
    x = em.as_data(x)
    if x.shape[1] != 2 or start.means.shape[1] != 2:
        raise ValueError(f"the stepper draws a plane: expected points (N, 2), got {tuple(x.shape)}")
    if len(x) > MOST_POINTS or len(start.means) > MOST_COMPONENTS:
        raise ValueError(
            f"the stepper shows up to {MOST_POINTS} points and {MOST_COMPONENTS} components, got {len(x)} "
            f"and {len(start.means)}; leave some out"
        )
    if len(names) != 2:
        raise ValueError(f"names must hold 2 words, one a coordinate; got {len(names)}")
    x = x.numpy().round(4)
    parameters = flat(start)
    return EMStepper(
        points=x.ravel().tolist(),
        parameters=parameters,
        start=list(parameters),
        ranges=_ranges(np.concatenate([x, start.means.numpy()])),
        names=list(names),
        least=em.FLOOR * em.variance_of(em.as_data(x)).item(),
        hint=hint,
    )


def flat(mixture: em.Mixture) -> list[float]:
    """Six numbers a component: log weight, mean, covariance xx, xy, yy."""
    rows = zip(
        mixture.log_w.tolist(), mixture.means.tolist(), mixture.covariances.flatten(1).tolist(), strict=True
    )
    return [number for w, mean, (xx, xy, _, yy) in rows for number in (w, *mean, xx, xy, yy)]


def _ranges(points: np.ndarray) -> list[list[float]]:
    """Two ranges of one length, so that circles are circles, with a margin around the points."""
    low, high = points.min(0), points.max(0)
    half = 0.55 * max(float((high - low).max()), 1e-6)
    return [[float(middle - half), float(middle + half)] for middle in (low + high) / 2]
