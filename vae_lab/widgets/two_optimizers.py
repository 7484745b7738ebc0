"""One bound climbed by two noisy gradients, the path's and the score's."""

from typing import Annotated

import anywidget
import traitlets

from vae_lab.arguments import Seed, checked, real, whole
from vae_lab.widgets.bundle import script, style

SCALES = {"mu": {"limits": [-2.0, 4.0], "step": 0.01}, "sigma": {"limits": [0.1, 2.5], "step": 0.01}}
SIZES = {"latents": [1, 8, 64], "draws": [2, 8, 32], "steps": 150, "rate": 0.05}
HINT = "Add latents: which of the two goes astray? Then give the score a baseline, and more draws."


def _one_of(count: str):
    """A number of latents, or of draws, that has a button."""

    def convert(name: str, value) -> int:
        if (value := whole()(name, value)) not in SIZES[count]:
            raise ValueError(f"{name} must be one of {', '.join(map(str, SIZES[count]))}, got {value}")
        return value

    return convert


class TwoOptimizers(anywidget.AnyWidget):
    """Two ways up one bound over μ and σ: by the path's gradient and by the score's, from the same noise.

    Traits mu and sigma hold the start of every latent; latents and draws say how many there are of each, the
    second a step; baseline whether the score's f(z) is taken relative to the other draws; seed the noise. See
    `two_optimizers`.
    """

    _esm = script(
        "ui.js", "scale.js", "parts.js", "chart.js", "learning/random.js", "ascent.js", "two_optimizers.js"
    )
    _css = style("base.css", "parts.css", "two_optimizers.css")
    mu = traitlets.Float().tag(sync=True)
    sigma = traitlets.Float().tag(sync=True)
    latents = traitlets.Int().tag(sync=True)
    draws = traitlets.Int().tag(sync=True)
    baseline = traitlets.Bool(False).tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    scales = traitlets.Dict(SCALES).tag(sync=True)
    sizes = traitlets.Dict(SIZES).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"TwoOptimizers(L = {self.latents}, {self.draws} draws a step)"


@checked
def two_optimizers(
    mu: Annotated[float, real(-2, 4)] = -1.0,
    sigma: Annotated[float, real(0.1, 2.5)] = 0.5,
    *,
    latents: Annotated[int, _one_of("latents")] = 1,
    draws: Annotated[int, _one_of("draws")] = 2,
    seed: Seed = 0,
    hint: str = HINT,
) -> TwoOptimizers:
    """q = N(μ, σ²I) that climbs to N(1, I), over L independent latents, by either gradient.

    mu, sigma : where each latent starts, on steps of 0.01
    latents, draws : L, one of 1, 8 and 64, and the draws of a step, one of 2, 8 and 32
    seed : of the noise, which both ways share; hint : one line on what to try

    Raises `ValueError` for a start beyond the plane, and for numbers that have no button.
    """
    start = {"mu": round(mu, 2), "sigma": round(sigma, 2), "latents": latents, "draws": draws}
    start |= {"baseline": False, "seed": seed}
    return TwoOptimizers(start=start, hint=hint, **start)
