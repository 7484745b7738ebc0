"""The two weights of a linear VAE with one latent: where training leads, and how long it takes."""

from math import hypot
from typing import Annotated

import anywidget
import traitlets

from vae_lab.arguments import checked, real, several
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.scale import on_ratio

NOISES, PLACES = (0.25, 4.0), 120  # βσ² in units of λ, and the steps from end to end of its slider
MOST_WEIGHT, LEAST_DISTANCE = 1.2, 1e-6
STEPS, SHOWN = 800, 60  # of a path, and taken at first
HINT = (
    "Start ten times nearer to the silent point, and ten times again: how many more steps does each cost? "
    "Then push βσ² past λ."
)


class PhasePortrait(anywidget.AnyWidget):
    """The decoder's and the encoder's weight, the gradient of the ELBO there, and a path of gradient ascent.

    Traits noise, βσ² in units of λ, w and v, where the path starts, and steps, how many of them are taken,
    follow the reader. See `phase_portrait`, which fills them.
    """

    _esm = script("ui.js", "scale.js", "sliders.js", "parts.js", "chart.js", "flow.js", "phase_portrait.js")
    _css = style("base.css", "parts.css", "phase_portrait.css")
    noise = traitlets.Float().tag(sync=True)
    w = traitlets.Float().tag(sync=True)
    v = traitlets.Float().tag(sync=True)
    steps = traitlets.Int(SHOWN).tag(sync=True)
    noises = traitlets.List(list(NOISES)).tag(sync=True)
    places = traitlets.Int(PLACES).tag(sync=True)
    most_weight = traitlets.Float(MOST_WEIGHT).tag(sync=True)
    least_distance = traitlets.Float(LEAST_DISTANCE).tag(sync=True)
    most_steps = traitlets.Int(STEPS).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"PhasePortrait(βσ² = {self.start['noise']:.3g} λ)"


@checked
def phase_portrait(
    noise: Annotated[float, real(*NOISES)] = 0.5,
    *,
    start: Annotated[tuple, several(real(-MOST_WEIGHT, MOST_WEIGHT), 2)] = (0.3, -0.25),
) -> PhasePortrait:
    """The mean ELBO of x̂ = wz, q(z|x) = N(vx, s²), over w and v, s at its best; x has the variance λ = 1.

    noise : βσ² in units of λ, from 1/4 to 4, on the nearest of 120 steps of equal ratio
    start : w and v, each within ±1.2, from where gradient ascent begins, in steps of 0.1 times the gradient

    Raises `ValueError` for numbers beyond these, and for a start at the silent point itself, which no
    gradient leaves.
    """
    if hypot(*start) < LEAST_DISTANCE:
        raise ValueError(
            f"start must be at least {LEAST_DISTANCE:g} away from (0, 0), where the gradient is zero, "
            f"got {start}"
        )
    at = {"noise": on_ratio(noise, NOISES, PLACES), "w": start[0], "v": start[1]}
    return PhasePortrait(start=at | {"steps": SHOWN}, **at)
