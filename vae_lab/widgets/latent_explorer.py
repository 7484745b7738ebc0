"""A latent space to walk through, in a notebook and in a page without Python."""

import math
from collections.abc import Sequence

import anywidget
import numpy as np
import torch
import traitlets
from torch import nn

from vae_lab.arguments import Numbers, Words, checked, points, shown, tensor
from vae_lab.data.pixels import clipped
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.decoder import export, latents_of
from vae_lab.widgets.scale import multiple, on_step, round_number, subscript

MOST_CODES = 1500  # points drawn
MOST_NUMBERS = 24_000  # of all codes together, 2 bytes each
FARTHEST = 1e300  # the end of a range
TRIED = 64  # codes, and draws from N(0, I), on which a decoder must give pictures
SQUASH = "append nn.Sigmoid() to a decoder that ends in logits"
HINT = "Drag the point; the arrow keys and the sliders move it too."


class LatentExplorer(anywidget.AnyWidget):
    """A plane of two latent coordinates with a point to drag, and the decoder's image of it.

    Traits z0 … z{L-1} hold the code. See `latent_explorer`, which fills the others.
    """

    _esm = script("ui.js", "scale.js", "sliders.js", "decoder.js", "plane.js", "latent_explorer.js")
    _css = style("base.css", "latent_explorer.css")
    layers = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    names = traitlets.List().tag(sync=True)
    ranges = traitlets.List().tag(sync=True)
    steps = traitlets.List().tag(sync=True)
    start = traitlets.List().tag(sync=True)
    across = traitlets.Int(0).tag(sync=True)
    up = traitlets.Int(1).tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)  # float16, −1 at the low end of the range, 1 at the high
    labels = traitlets.Bytes().tag(sync=True)
    label_names = traitlets.List().tag(sync=True)
    prior = traitlets.Bool(True).tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)
    goal = traitlets.Unicode("").tag(sync=True)

    def __init__(self, *, start: list[float], **traits):
        self.add_traits(**{f"z{i}": traitlets.Float(value).tag(sync=True) for i, value in enumerate(start)})
        super().__init__(start=start, **traits)

    def __repr__(self) -> str:
        return f"LatentExplorer(L={len(self.start)}, {'×'.join(map(str, self.shape))})"


@checked
def latent_explorer(
    decoder: nn.Module,
    *,
    codes=None,
    labels=None,
    ranges=None,
    names: Words | None = None,
    start: Numbers | None = None,
    prior: bool = True,
    hint: str = HINT,
    goal: str = "",
) -> LatentExplorer:
    """A plane in which to drag a code, a slider for each of its L coordinates, and the image decoded from it.

    decoder : codes (B, L) → images (B, C, H, W) in [0, 1], C 1 or 3, of layers that `decoder.export` knows;
        append nn.Sigmoid() to one that ends in logits
    codes : (N, L), drawn as points; evenly thinned to 1,500 of them, fewer if L is above 16
    labels : (N,) whole numbers or strings that color the codes
    ranges : (low, high) for every coordinate, or L such pairs; default: room for the codes and the prior
    names : of the L coordinates, default z₁, z₂, …
    start : where the point begins, default the first code
    prior : whether to draw N(0, I), as circles at one, two and three standard deviations
    hint : one line on what to try; goal : the label whose code must be the nearest for it to be done

    Raises `ValueError` for a decoder the page cannot run or that gives no pixels, and for arguments that do
    not fit it.
    """
    latents = latents_of(decoder)
    layers, weights, shape = export(decoder, latents)
    codes = _array(codes, latents)
    ranges = _ranges(ranges, codes, prior)
    steps = [round_number((high - low) / 120) for low, high in ranges]
    start = _start(start, codes, ranges, steps)
    _try(decoder, codes, start, draws=TRIED if prior or not len(codes) else 0)
    places, kinds, label_names = _thinned(codes, labels, ranges)
    if goal and goal not in label_names:
        raise ValueError(
            f"goal must be one of the labels {', '.join(label_names) or '(there are none)'}; got {goal!r}"
        )
    return LatentExplorer(
        layers=layers,
        weights=weights,
        shape=list(shape),
        names=_names(names, latents),
        ranges=ranges,
        steps=steps,
        start=start,
        codes=places,
        labels=kinds,
        label_names=label_names,
        prior=prior,
        hint=hint,
        goal=goal,
    )


def _array(codes, latents: int) -> np.ndarray:
    """Codes as float64 (N, L); none at all as (0, L)."""
    return np.zeros((0, latents)) if codes is None else points(latents)("codes", codes).numpy()


def _ranges(ranges, codes: np.ndarray, prior: bool) -> list[list[float]]:
    """L pairs (low, high)."""
    latents = codes.shape[1]
    if ranges is None and prior:  # the same for all, symmetric, so that the prior's circles are circles
        half_width = max(3.0, np.quantile(abs(codes), 0.998) if len(codes) else 0)
        unit = round_number(half_width / 6)
        half_width = multiple(np.ceil(half_width / unit - 1e-9) * unit, unit)
        ranges = (-half_width, half_width)
    if ranges is None:
        return [_range_of(values) for values in codes.T]
    pairs = tensor("ranges", ranges).cpu().double().numpy()
    pairs = np.tile(pairs, (latents, 1)) if pairs.shape == (2,) else pairs
    if pairs.shape != (latents, 2) or not (
        (abs(pairs) < FARTHEST).all() and (pairs[:, 0] < pairs[:, 1]).all()
    ):
        raise ValueError(
            f"ranges must be one (low, high) or {latents} of them, each with low < high; got {shown(ranges)}"
        )
    return pairs.tolist()


def _range_of(values: np.ndarray) -> list[float]:
    """Round ends that hold all but the outermost codes; ±3 without codes."""
    low, high = np.quantile(values, [0.002, 0.998]) if len(values) else (-3.0, 3.0)
    size = max(abs(low), abs(high)) or 1.0
    unit = round_number((high - low if high - low > 1e-9 * size else size) / 10)  # all but one code are alike
    first = np.floor(low / unit)
    return [multiple(place * unit, unit) for place in (first, max(np.ceil(high / unit), first + 1))]


def _start(start, codes: np.ndarray, ranges, steps) -> list[float]:
    """A code on the sliders' steps and inside their ranges."""
    latents = codes.shape[1]
    if start is None:
        start = codes[0] if len(codes) else [0.8, -0.6, *[0.0] * latents][:latents]
    if len(start) != latents or not np.isfinite(start).all():
        raise ValueError(f"start must hold {latents} finite numbers, one a coordinate; got {list(start)}")
    return [on_step(s, ends, step) for s, ends, step in zip(start, ranges, steps, strict=True)]


def _try(decoder: nn.Module, codes: np.ndarray, start: list[float], *, draws: int) -> None:
    """Refuse a decoder that gives no pictures for these codes, at the start, or for draws from N(0, I)."""
    first = next(decoder.parameters())
    drawn = np.random.default_rng(0).standard_normal((draws, len(start)))
    few = codes[np.linspace(0, len(codes) - 1, min(len(codes), TRIED)).astype(int)]
    for of, z in (("for the codes", few), ("at the start", [start]), ("for draws from N(0, I)", drawn)):
        if len(z):
            with torch.no_grad():
                images = decoder(torch.tensor(z, dtype=first.dtype, device=first.device))
            strays = {} if z is few else {"stray": 0.5, "far": math.inf}  # elsewhere than at codes of data
            clipped(f"the decoder's images {of}", images, hint=SQUASH, **strays)


def _names(names: Sequence[str] | None, latents: int) -> list[str]:
    if names is None:
        return [f"z{subscript(i + 1)}" for i in range(latents)]
    if len(names) != latents:
        raise ValueError(f"names must hold {latents} words, one a coordinate; got {len(names)}")
    return [str(name) for name in names]


def _thinned(codes: np.ndarray, labels, ranges: list[list[float]]) -> tuple[bytes, bytes, list[str]]:
    """Codes as float16 bytes, labels as one byte each, and the words the labels stand for."""
    chosen = np.linspace(
        0, len(codes) - 1, min(len(codes), MOST_CODES, MOST_NUMBERS // codes.shape[1])
    ).astype(int)
    low, high = np.array(ranges).T
    places = (2 * codes[chosen] - (low + high)) / (high - low)  # so that float16 serves at any scale
    halves = places.clip(-65504, 65504).astype("<f2").tobytes()
    if labels is None:
        return halves, b"", []
    given = labels.detach().cpu() if hasattr(labels, "detach") else labels
    try:
        missing = np.ma.is_masked(given)
        labels = np.asarray(given)
        words, kinds = np.unique(labels, return_inverse=True)
        missing |= any(word is None or word != word for word in words.tolist())
    except (TypeError, ValueError):  # of several lengths, or that cannot be put in order
        missing = True
    if missing or labels.shape != (len(codes),) or labels.dtype.kind not in "biufUO":
        raise ValueError(
            f"labels must be a number or a word for each of {len(codes)} codes, none missing, "
            f"got {shown(labels)}"
        )
    if len(words) > 256:
        raise ValueError(f"labels take {len(words)} values; at most 256 can be told apart here")
    return halves, kinds[chosen].astype(np.uint8).tobytes(), [str(word) for word in words.tolist()]
