"""Two clouds of points, one of which a reader may paint, before the judges of generators."""

from typing import Annotated

import anywidget
import traitlets

from vae_lab.arguments import Seed, checked, choice, whole
from vae_lab.widgets.bundle import script, style

GENERATORS = ("honest", "copies", "shifted", "blurred", "a heap missing", "painted")
LAWS = {
    "centers": [[-1.5, -0.8], [1.5, -0.6], [0.0, 1.5]],
    "scale": 0.35,  # standard deviation of a heap
    "brush": 0.2,
    "shift": 0.4,
    "blur": 0.4,
}
SIZES = {"half": 3.0, "least": 20, "most": 200, "step": 20}
HINT = "Which judge sees a missing heap, and which praises copies? Then paint a generator that deceives one."


class TwoClouds(anywidget.AnyWidget):
    """Real points and generated ones, and what five judges say of twenty such pairs.

    Traits generator, count (N, of each cloud) and seed say what is drawn; strokes holds where a reader has
    painted, and brush_x and brush_y where the brush is. See `two_clouds`.
    """

    _esm = script(
        "ui.js", "scale.js", "sliders.js", "parts.js", "chart.js", "learning/random.js", "judges.js",
        "two_clouds.js",
    )  # fmt: skip
    _css = style("base.css", "parts.css", "two_clouds.css")
    generator = traitlets.Unicode().tag(sync=True)
    count = traitlets.Int().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    strokes = traitlets.List().tag(sync=True)
    brush_x = traitlets.Float(0.0).tag(sync=True)
    brush_y = traitlets.Float(0.0).tag(sync=True)
    laws = traitlets.Dict(LAWS).tag(sync=True)
    sizes = traitlets.Dict(SIZES).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"TwoClouds({self.generator}, N = {self.count})"


@checked
def two_clouds(
    generator: Annotated[str, choice(*GENERATORS)] = "a heap missing",
    *,
    count: Annotated[int, whole(SIZES["least"], SIZES["most"])] = 100,
    seed: Seed = 0,
    hint: str = HINT,
) -> TwoClouds:
    """Real points from three heaps and those of a generator, as many of each, before five judges.

    generator : "honest", which draws as the data do; "copies" of training points; "shifted"; "blurred";
        "a heap missing"; or "painted" by the reader
    count : N, on steps of 20; seed : of all draws; hint : one line on what to try

    Each judge gives its number for twenty pairs of clouds. Raises `ValueError` for another generator, and
    for more points than the slider has.
    """
    count = round(count / SIZES["step"]) * SIZES["step"]
    start = {"generator": generator, "count": count, "seed": seed, "strokes": []}
    start |= {"brush_x": 0.0, "brush_y": 0.0}
    return TwoClouds(start=start, hint=hint, **start)
