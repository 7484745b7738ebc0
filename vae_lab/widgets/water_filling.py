"""The noise of a linear VAE as a level of water among the variances of its data."""

from collections.abc import Mapping
from typing import Annotated

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor
from torch.nn.functional import normalize

from vae_lab.arguments import Positive, checked, real, whole
from vae_lab.data import ImagesLike
from vae_lab.widgets.bundle import script, style

MEASURED = 1000  # images whose covariance is taken
PLACES = 120  # steps of the slider
MOST_LATENTS, MOST_SHOWN = 60, 12
LEVELS = 127  # of a direction's numbers, either side of 0, as they travel
HINT = "Raise the water, by its handle or the slider: what leaves the copy first, and what stays to the last?"


class WaterFilling(anywidget.AnyWidget):
    """The variances of some images as bars, a level of water σ² among them, and one image with its copy.

    Traits sigma and which, the number of the image, follow the reader. See `water_filling`, which fills them.
    """

    _esm = script(
        "ui.js",
        "scale.js",
        "sliders.js",
        "parts.js",
        "chart.js",
        "pictures.js",
        "water.js",
        "water_filling.js",
    )
    _css = style("base.css", "parts.css", "water_filling.css")
    sigma = traitlets.Float().tag(sync=True)
    which = traitlets.Int(0).tag(sync=True)
    sigmas = traitlets.List().tag(sync=True)  # the ends of the slider
    places = traitlets.Int(PLACES).tag(sync=True)
    marks = traitlets.List().tag(sync=True)  # (σ, word)
    variances = traitlets.List().tag(sync=True)  # (K,) λ
    beyond = traitlets.Float().tag(sync=True)  # the variance in all other directions
    shape = traitlets.List().tag(sync=True)
    mean = traitlets.Bytes().tag(sync=True)  # (D,) uint16, 65535 is white
    directions = traitlets.Bytes().tag(sync=True)  # (K, D) int8
    steps = traitlets.List().tag(sync=True)  # (K,) what a direction's numbers are to be multiplied by
    pictures = traitlets.Bytes().tag(sync=True)  # (n, C, H, W) uint8
    codes = traitlets.List().tag(sync=True)  # (n, K) the pictures along the directions, from the mean
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"WaterFilling({len(self.variances)} directions, {'×'.join(map(str, self.shape))})"


@checked
def water_filling(
    images: ImagesLike,
    shown: ImagesLike,
    *,
    latents: Annotated[int, whole(1, MOST_LATENTS)] = 40,
    sigma: Positive = 1.0,
    marks: Mapping | None = None,
    hint: str = HINT,
) -> WaterFilling:
    """The best linear VAE with K latents for some images, and its copies of others, at any σ.

    Along the k-th direction, of variance λₖ, the copy keeps the share max(0, 1 − σ²/λₖ); it costs
    max(0, ½ log(λₖ/σ²)) nats and leaves the squared error min(λₖ, σ²) (Cover & Thomas, reverse
    water-filling). With a KL weight β, σ² stands for βσ².

    images : whose first 1,000 give mean and covariance
    shown : images of the same shape, at most 12, to be copied
    latents : K, at most 60; sigma : where the slider begins; marks : some σ of interest, by their words

    Directions travel as 8-bit numbers: K = 40 for 3×32×32 are 160 kB in a page. Raises `ValueError` for
    images of two shapes, too many to show, and more latents than the images vary in.
    """
    if images.shape != shown.shape or len(shown) > MOST_SHOWN:
        raise ValueError(
            f"shown must be at most {MOST_SHOWN} images of shape {images.shape}, as the others are, got "
            f"{len(shown)} of {shown.shape}"
        )
    marks = {str(word): real(above=0)(f"marks[{word!r}]", s) for word, s in (marks or {}).items()}
    x, copied = (_flat(each) for each in (images.first(MEASURED), shown))
    mean = x.mean(0)
    variances, vectors = (each.flip(-1) for each in torch.linalg.eigh((x - mean) @ (x - mean).T / len(x)))
    vary = int((variances > 1e-9 * variances.sum()).sum())
    if latents > vary:
        raise ValueError(
            f"latents must be at most {vary}, in as many directions the images vary, got {latents}"
        )
    directions = normalize(vectors.T[:latents] @ (x - mean))  # (K, D), rows of length 1
    kept = variances[:latents]
    limits = _limits(kept, sigma, *marks.values())
    steps = directions.abs().amax(1) / LEVELS
    start = {"sigma": sigma, "which": 0}
    return WaterFilling(
        start=start,
        **start,
        sigmas=list(limits),
        marks=[[s, word] for word, s in marks.items()],
        variances=_written(kept),
        beyond=variances[latents:].clamp(min=0).sum().item(),
        shape=list(images.shape),
        mean=(mean * 65535).round().numpy().astype("<u2").tobytes(),
        directions=(directions / steps[:, None]).round().numpy().astype(np.int8).tobytes(),
        steps=_written(steps),
        pictures=shown.pixels.cpu().numpy().tobytes(),
        codes=[_written(row) for row in (copied - mean) @ directions.T],
        hint=hint,
    )


def _flat(images) -> Tensor:
    return images.read().cpu().double().flatten(1)


def _limits(variances: Tensor, *within: float) -> tuple[float, float]:
    """From half of the least standard deviation to beyond the largest, with room for all of these σ."""
    low = min(variances[-1].item() ** 0.5 / 2, 0.9 * min(within))
    high = max(variances[0].item() ** 0.5 * 1.2, 1.1 * max(within))
    return float(f"{low:.3g}"), float(f"{high:.3g}")


def _written(numbers: Tensor) -> list[float]:
    return [float(f"{n:.8g}") for n in numbers.tolist()]
