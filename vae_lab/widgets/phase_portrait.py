"""Where gradient ascent leads in the smallest VAE: off a plateau, or into collapse."""

from typing import Annotated

import anywidget
import traitlets

from vae_lab.arguments import checked, real
from vae_lab.widgets.bundle import script, style

RATIOS = (0.5, 4.0)  # of λ to βσ²
ASCENT = {"steps": 400, "rate": 0.1}
HINT = "Drag the start closer to the ring: how much longer must it wait? Then move λ below βσ²."


class PhasePortrait(anywidget.AnyWidget):
    """The bound of a linear VAE with one latent over its two weights, and the path of gradient ascent.

    Traits w and v hold the start, the decoder's weight and the encoder's; ratio is λ / βσ². See
    `phase_portrait`.
    """

    _esm = script(
        "ui.js", "scale.js", "sliders.js", "parts.js", "chart.js", "linear_climb.js", "phase_portrait.js"
    )
    _css = style("base.css", "parts.css", "phase_portrait.css")
    w = traitlets.Float().tag(sync=True)
    v = traitlets.Float().tag(sync=True)
    ratio = traitlets.Float().tag(sync=True)
    ratios = traitlets.List(list(RATIOS)).tag(sync=True)
    ascent = traitlets.Dict(ASCENT).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"PhasePortrait(λ / βσ² = {self.ratio:g})"


@checked
def phase_portrait(
    ratio: Annotated[float, real(*RATIOS)] = 1.5,
    *,
    w: Annotated[float, real(-2, 2)] = 0.6,
    v: Annotated[float, real(-1, 1)] = -0.3,
    hint: str = HINT,
) -> PhasePortrait:
    """The phase portrait of the linear VAE with one latent, whose silent point is a saddle or a maximum.

    ratio : λ / βσ², the variance of the data along the latent's direction over what a nat of code must save
    w, v : where gradient ascent starts, the weights of the decoder and of the encoder
    hint : one line on what to try

    The posterior's scale is at its best for each w. Raises `ValueError` for a start beyond the plane.
    """
    start = {"w": round(w, 3), "v": round(v, 3), "ratio": ratio}
    return PhasePortrait(start=start, hint=hint, **start)
