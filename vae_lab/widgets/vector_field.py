"""The field of the best denoiser in the plane, beside what networks have learned of it."""

from typing import Annotated

import anywidget
import traitlets
from torch import nn

from vae_lab.arguments import Numbers, Points, Positive, checked, real, shown
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.decoder import export_network

SIZES = {"half": 4.0, "step": 0.01, "eta": 0.02, "seed": 0}
HINT = "Drag the point. Then let walkers go, and lower σ while they walk: where do they end?"


class VectorField(anywidget.AnyWidget):
    """Heaps of points under noise, the arrows of their score, a point to drag, and walkers.

    Traits x1 and x2 hold the point; level which noise there is; follows "exact" or "learned"; walk the phases
    of the walk so far, each a level, what was followed, and how many steps. See `vector_field`.
    """

    _esm = script(
        "ui.js", "scale.js", "parts.js", "chart.js", "decoder.js", "learning/random.js", "score_field.js",
        "vector_field.js",
    )  # fmt: skip
    _css = style("base.css", "parts.css", "vector_field.css")
    x1 = traitlets.Float().tag(sync=True)
    x2 = traitlets.Float().tag(sync=True)
    level = traitlets.Int().tag(sync=True)
    follows = traitlets.Unicode("exact").tag(sync=True)
    walk = traitlets.List().tag(sync=True)
    heaps = traitlets.Dict().tag(sync=True)
    levels = traitlets.List().tag(sync=True)
    networks = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    sizes = traitlets.Dict(SIZES).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"VectorField({len(self.heaps['centers'])} heaps, σ {', '.join(map(str, self.levels))})"


@checked
def vector_field(
    centers: Points,
    shares: Numbers,
    denoisers: dict,
    *,
    scale: Positive = 0.35,
    x1: Annotated[float, real(-4, 4)] = 2.4,
    x2: Annotated[float, real(-4, 4)] = 2.6,
    hint: str = HINT,
) -> VectorField:
    """The exact field of denoising for round heaps in the plane, and that of trained denoisers.

    centers, shares : (K, 2) within ±4, and (K,) in sum 1: the middles of the heaps, and how often each is
        drawn; walkers start at the last one
    denoisers : by σ, the noise it was trained with, a network from spoiled points (B, 2) to clean ones; all
        have the same sizes
    scale : standard deviation of every heap; x1, x2 : the point, on steps of 0.01
    hint : one line on what to try

    Raises `ValueError` for heaps or networks that do not fit.
    """
    if centers.shape[1] != 2 or not (centers.abs() <= SIZES["half"]).all():
        raise ValueError(f"centers must be (K, 2) within ±4, got {shown(centers)}")
    if len(shares) != len(centers) or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-3:
        raise ValueError(f"shares must be {len(centers)} numbers above 0 in sum 1, got {shown(shares)}")
    if not denoisers or not all(isinstance(network, nn.Module) for network in denoisers.values()):
        raise ValueError(
            f"denoisers must hold networks by the σ that each was trained with, got {shown(denoisers)}"
        )
    found = [export_network(network, (2,)) for network in denoisers.values()]
    if any(each.shape != (2,) or len(each.weights) != len(found[0].weights) for each in found):
        raise ValueError("denoisers must all lead from (B, 2) to (B, 2), and have the same sizes")
    levels = [real(1e-3)("a σ in denoisers", level) for level in denoisers]
    start = {"x1": round(x1, 2), "x2": round(x2, 2), "level": 0, "follows": "exact", "walk": []}
    return VectorField(
        heaps={"centers": centers.tolist(), "shares": list(shares), "scale": scale},
        levels=levels,
        networks=[each.layers for each in found],
        weights=b"".join(each.weights for each in found),
        start=start,
        hint=hint,
        **start,
    )
