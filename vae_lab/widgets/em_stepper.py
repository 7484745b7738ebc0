"""EM for a mixture in the plane, a half-round at a time, in a notebook and in a page without Python."""

from math import floor, log10

import anywidget
import numpy as np
import traitlets

from vae_lab import em
from vae_lab.arguments import Points, Words, checked
from vae_lab.widgets.bundle import script, style

MOST_POINTS = 400
MOST_COMPONENTS = 6
COMPARABLE = 20  # times: columns whose ranges differ by more are drawn in units of their own
HINT = "Drag A, B, C. Press E-step: the bound rises to the likelihood. Press M-step: both rise."


class EMStepper(anywidget.AnyWidget):
    """Points, K Gaussians whose means can be dragged, and buttons for the E-step and the M-step.

    Trait parameters holds six numbers a component (log weight, mean, covariance xx, xy, yy); source, those
    from which the responsibilities come, none before the first E-step; trace, (step, bound, log p(x)) of each
    half-round. See `em_stepper`, which fills them.
    """

    _esm = script("ui.js", "scale.js", "parts.js", "mixture.js", "em_stepper.js")
    _css = style("base.css", "parts.css", "em_stepper.css")
    points = traitlets.List().tag(sync=True)
    parameters = traitlets.List().tag(sync=True)
    start = traitlets.List().tag(sync=True)
    source = traitlets.List().tag(sync=True)
    trace = traitlets.List().tag(sync=True)
    ranges = traitlets.List().tag(sync=True)
    names = traitlets.List().tag(sync=True)
    least = traitlets.List().tag(sync=True)  # variance, by column, that EM leaves a component
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"EMStepper(N={len(self.points) // 2}, K={len(self.start) // 6})"


@checked
def em_stepper(x: Points, start: em.Mixture, *, names: Words = ("x₁", "x₂"), hint: str = HINT) -> EMStepper:
    """Points (N, 2) and a mixture of Gaussians to fit to them by hand, from `start`.

    x : at most 400 points, kept to five digits of each column's range
    start : the mixture before the first step; its means can be dragged
    names : of the two coordinates

    Raises `ValueError` for data that are not in the plane, too many points or too many components.
    """
    for name, given in (("x", x), ("start", start.means)):
        if given.shape[1] != 2:
            raise ValueError(
                f"{name} must lie in a plane, which the stepper draws, got {given.shape[1]} columns"
            )
    if len(x) > MOST_POINTS or len(start.means) > MOST_COMPONENTS:
        raise ValueError(
            f"x and start must be up to {MOST_POINTS} points and {MOST_COMPONENTS} components, got {len(x)} "
            f"and {len(start.means)}; leave some out"
        )
    if start.log_w.isinf().any():
        raise ValueError(
            "start must have weights above 0, for a component of none never comes back; leave it out"
        )
    if len(names) != 2:
        raise ValueError(f"names must be 2 words, one a coordinate; got {len(names)}")
    x = _rounded(x.numpy())
    parameters = flat(start)
    return EMStepper(
        points=x.ravel().tolist(),
        parameters=parameters,
        start=list(parameters),
        ranges=_ranges(np.concatenate([x, start.means.detach().numpy()])),
        names=list(names),
        least=(em.FLOOR * em.column_variances(x)).tolist(),
        hint=hint,
    )


def flat(mixture: em.Mixture) -> list[float]:
    """Six numbers a component: log weight, mean, covariance xx, xy, yy."""
    rows = zip(
        mixture.log_w.tolist(), mixture.means.tolist(), mixture.covariances.flatten(1).tolist(), strict=True
    )
    return [number for w, mean, (xx, xy, _, yy) in rows for number in (w, *mean, xx, xy, yy)]


def _rounded(x: np.ndarray) -> np.ndarray:
    """Each column to five significant digits of its range; one that is constant, of its size."""
    sizes = np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), abs(x).max(0))
    return np.stack(
        [
            column.round(4 - floor(log10(size))) if size else column
            for column, size in zip(x.T, sizes, strict=True)
        ],
        axis=1,
    )


def _ranges(points: np.ndarray) -> list[list[float]]:
    """Two ranges with a margin around the points: of one length, where circles can be circles."""
    low, high = points.min(0), points.max(0)
    sizes = np.where(high > low, high - low, 0)
    if not 0 < sizes.max() <= COMPARABLE * sizes.min():
        sizes = np.where(sizes > 0, sizes, abs(high))
        spans = np.where(sizes > 0, sizes, 1.0)
    else:
        spans = np.full(2, sizes.max())
    return [[float(m - 0.55 * s), float(m + 0.55 * s)] for m, s in zip((low + high) / 2, spans, strict=True)]
