"""A decoder that bends, and the posterior that splits in its bend."""

from typing import Annotated

import anywidget
import traitlets

from vae_lab.arguments import checked, real
from vae_lab.widgets.bundle import script, style

SCALES = {
    "x1": {"limits": [-3.0, 3.0], "step": 0.01},
    "x2": {"limits": [-2.0, 4.0], "step": 0.01},
    "c": {"limits": [0.0, 1.0], "step": 0.01},
    "sigma": {"limits": [0.2, 1.5], "step": 0.01},
}
GOAL = 0.6  # nats; two equal lobes cost log 2
HINT = "Bend the line, and drag x into the bend, where both arms are near. How large can the gap become?"


class BentDecoder(anywidget.AnyWidget):
    """One latent, its decoder's line in the plane, and the posterior of the code of a point.

    Traits x1 and x2 hold the point, c the bend and sigma the noise. See `bent_decoder`.
    """

    _esm = script("ui.js", "scale.js", "sliders.js", "parts.js", "chart.js", "bent.js", "bent_decoder.js")
    _css = style("base.css", "parts.css", "bent_decoder.css")
    x1 = traitlets.Float().tag(sync=True)
    x2 = traitlets.Float().tag(sync=True)
    c = traitlets.Float().tag(sync=True)
    sigma = traitlets.Float().tag(sync=True)
    scales = traitlets.Dict(SCALES).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    goal = traitlets.Float(GOAL).tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"BentDecoder(c = {self.c:g}, σ {self.sigma:g})"


@checked
def bent_decoder(
    c: Annotated[float, real(0, 1)] = 0.7,
    sigma: Annotated[float, real(0.2, 1.5)] = 0.4,
    *,
    x1: Annotated[float, real(-3, 3)] = 0.3,
    x2: Annotated[float, real(-2, 4)] = 1.2,
    hint: str = HINT,
) -> BentDecoder:
    """z ~ N(0, 1), x = (z, c (z² − 1)) + σε: the posterior of z, and the Gaussian that is best for the ELBO.

    c : how far the line bends; 0 is a straight one, whose posterior is a Gaussian
    sigma : standard deviation of the noise; x1, x2 : the point; hint : one line on what to try

    All four on steps of 0.01. Raises `ValueError` for numbers beyond the sliders.
    """
    start = {"x1": round(x1, 2), "x2": round(x2, 2), "c": round(c, 2), "sigma": round(sigma, 2)}
    return BentDecoder(start=start, hint=hint, **start)
