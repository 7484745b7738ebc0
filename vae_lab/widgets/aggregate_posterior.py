"""The cloud of all codes against the prior, and the mean KL as a sum of two parts."""

from typing import Annotated

import anywidget
import torch
import traitlets

from vae_lab.arguments import Seed, checked, real, whole
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.scale import on_step

MOST = 6  # images at most, as a power of two
WIDTHS, STEP = (0.15, 1.0), 0.01
HALF_WIDTH = 4.0
HINT = "Push σ toward 1: which part of the KL goes first? Then double the number of images."


class AggregatePosterior(anywidget.AnyWidget):
    """Round posteriors N(μₙ, σ²I) of 2ᵖ images under N(0, I), and their mean KL in its two parts.

    Traits power (p) and sigma hold the cloud; directions holds what the μₙ are multiples of. See
    `aggregate_posterior`.
    """

    _esm = script(
        "ui.js", "scale.js", "sliders.js", "parts.js", "chart.js", "surgery.js", "aggregate_posterior.js"
    )
    _css = style("base.css", "parts.css", "aggregate_posterior.css")
    power = traitlets.Int().tag(sync=True)
    sigma = traitlets.Float().tag(sync=True)
    directions = traitlets.List().tag(sync=True)
    sizes = traitlets.Dict({"limits": list(WIDTHS), "step": STEP, "powers": MOST}).tag(sync=True)
    half_width = traitlets.Float(HALF_WIDTH).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"AggregatePosterior(N = {2**self.power}, σ {self.sigma:g})"


@checked
def aggregate_posterior(
    power: Annotated[int, whole(0, MOST)] = 4,
    sigma: Annotated[float, real(*WIDTHS)] = 0.3,
    *,
    seed: Seed = 0,
    hint: str = HINT,
) -> AggregatePosterior:
    """The aggregate posterior of a list of images in the plane, against the prior N(0, I).

    power : there are 2 ** power images
    sigma : how wide each posterior is; their means lie √(1 − σ²) as far out as draws of the prior, so that
        the cloud is about as wide as the prior whatever σ is
    seed : of those draws; hint : one line on what to try

    Raises `ValueError` for more images, or for widths, than the sliders have.
    """
    draws = torch.randn(2**MOST, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    start = {"power": power, "sigma": on_step(sigma, WIDTHS, STEP)}
    directions = [round(value, 3) for value in draws.clamp(-3, 3).flatten().tolist()]
    return AggregatePosterior(directions=directions, start=start, hint=hint, **start)
