"""Codes from a source to choose, and what a decoder makes of them."""

import anywidget
import numpy as np
import torch
import traitlets
from torch import nn

from vae_lab.arguments import Points, Seed, checked, shown, tensor
from vae_lab.metrics import nearest_distance
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.decoder import export

HINT = (
    "Change where the codes come from. Which source draws digits, and which lands where no image’s code is?"
)
NEW = 0.95  # of new codes are as near to a code as what is called usual
FLOOR = 1e-6  # of a variance, so that a covariance has a root


class DrawCodes(anywidget.AnyWidget):
    """Images decoded from codes of a chosen source, and how far the codes lie from those of images.

    Traits source and seed say which codes are drawn. See `draw_codes`, which fills the others.
    """

    _esm = script(
        "ui.js", "scale.js", "parts.js", "decoder.js", "pictures.js", "learning/random.js", "code_sources.js",
        "draw_codes.js",
    )  # fmt: skip
    _css = style("base.css", "parts.css", "draw_codes.css")
    layers = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)
    box = traitlets.List().tag(sync=True)
    mixtures = traitlets.Bytes().tag(sync=True)
    sizes = traitlets.List().tag(sync=True)  # of the mixtures: name, and how many Gaussians
    usual = traitlets.Float().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"DrawCodes({len(self.box)} latents, {len(self.sizes) + 2} sources)"


@checked
def draw_codes(
    decoder: nn.Module, codes: Points, new_codes: Points, mixtures: dict, *, seed: Seed = 0, hint: str = HINT
) -> DrawCodes:
    """A decoder, and codes for it from N(0, I), from a box around images' codes, or from fitted mixtures.

    decoder : codes (B, L) → images (B, C, H, W) in [0, 1], of layers that `decoder.export` knows
    codes : of training images, (N, L), which the box encloses and to which distances are taken
    new_codes : of new images, (M, L): nineteen in twenty of them are as near to a code as is called usual
    mixtures : by name, (weights (K,), means (K, L), covariances (K, L, L)) of Gaussians
    seed : of the draws; hint : one line on what to try

    Raises `ValueError` for a decoder that the page cannot run, and for sizes that do not fit.
    """
    L = codes.shape[1]
    layers, weights, shape = export(decoder, L)
    if new_codes.shape[1] != L:
        raise ValueError(f"new_codes must be (M, {L}), as codes are, got {tuple(new_codes.shape)}")
    parts = [_numbers(f"mixtures[{name!r}]", mixture, L) for name, mixture in mixtures.items()]
    low, high = codes.amin(0).tolist(), codes.amax(0).tolist()
    start = {"source": "N(0, I)", "seed": seed}
    return DrawCodes(
        layers=layers,
        weights=weights,
        shape=list(shape),
        codes=codes.cpu().numpy().astype("<f2").tobytes(),
        box=[list(ends) for ends in zip(low, high, strict=True)],
        mixtures=b"".join(part.astype("<f2").tobytes() for part in parts),
        sizes=[[str(name), len(mixture[0])] for name, mixture in mixtures.items()],
        usual=nearest_distance(new_codes, codes).quantile(NEW).item(),
        start=start,
        hint=hint,
        **start,
    )


def _numbers(name: str, mixture, L: int) -> np.ndarray:
    """Weights, means, and roots of the covariances, one after the other."""
    try:
        weights, means, covariances = (tensor(name, torch.as_tensor(part)).cpu().double() for part in mixture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be weights, means and covariances, got {shown(mixture)}") from error
    K = len(weights)
    if means.shape != (K, L) or covariances.shape != (K, L, L):
        raise ValueError(
            f"{name} must be (K,), (K, {L}) and (K, {L}, {L}), got {tuple(weights.shape)}, "
            f"{tuple(means.shape)} and {tuple(covariances.shape)}"
        )
    roots = torch.linalg.cholesky(covariances + FLOOR * torch.eye(L).double())
    return np.concatenate([part.flatten().numpy() for part in (weights, means, roots)])
