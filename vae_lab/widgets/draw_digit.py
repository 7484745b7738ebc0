"""A digit to draw, and what a VAE with two latents makes of it."""

import anywidget
import torch
import traitlets

from vae_lab.arguments import VAELike, checked, shown
from vae_lab.data import Images
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.decoder import export, export_network

SHAPE = (1, 28, 28)
GRAYS = 15  # steps from black to white, a hexadecimal digit
SHELF = 10
MOST = 2000  # codes shown
HINT = "Draw a digit, then something that is none. Which term pays, and when does the gap open?"


class DrawDigit(anywidget.AnyWidget):
    """A drawing, its code by the encoder, the exact posterior, and log p(x) in three parts.

    Trait drawing holds its 28 × 28 pixels, a hexadecimal digit each. See `draw_digit`, which fills the rest.
    """

    _esm = script(
        "ui.js", "scale.js", "parts.js", "chart.js", "decoder.js", "drawing.js", "pictures.js", "exact.js",
        "coins.js", "draw_digit.js",
    )  # fmt: skip
    _css = style("base.css", "parts.css", "draw_digit.css")
    drawing = traitlets.Unicode().tag(sync=True)
    shelf = traitlets.List().tag(sync=True)
    encoder = traitlets.List().tag(sync=True)
    encoder_weights = traitlets.Bytes().tag(sync=True)
    decoder = traitlets.List().tag(sync=True)
    decoder_weights = traitlets.Bytes().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)
    labels = traitlets.Bytes().tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"DrawDigit({len(self.labels)} codes, {len(self.shelf)} digits on the shelf)"


@checked
def draw_digit(model: VAELike, seen: Images, new: Images, *, hint: str = HINT) -> DrawDigit:
    """A pad, and a VAE of black-and-white pixels with two latents that encodes what is drawn on it.

    model : with a Bernoulli likelihood, for images (1, 28, 28), of layers that `decoder.export_network` knows
    seen : images with labels 0 … 9, whose codes are shown
    new : others, of which the first of each label stands on the shelf, to take in place of a drawing
    hint : one line on what to try

    log p(x) is summed in the page, over a grid where the posterior is. Raises `ValueError` for another model,
    and for images of another shape or without labels.
    """
    if getattr(model, "latents", None) != 2:
        raise ValueError(f"model must have two latents, got {shown(getattr(model, 'latents', None))}")
    for name, images in (("seen", seen), ("new", new)):
        if tuple(images.shape) != SHAPE or not 0 <= images.labels.min() <= images.labels.max() <= 9:
            raise ValueError(
                f"{name} must be images (1, 28, 28) with labels 0 … 9, got {tuple(images.shape)} and labels "
                f"{images.labels.min().item()} … {images.labels.max().item()}"
            )
    into, out = export_network(model.encoder, SHAPE), export(model.decoder, 2)
    with torch.no_grad():
        codes = model.encode(seen.read(slice(0, MOST))).mean
    labels = seen.labels[:MOST].cpu()
    firsts = [int((new.labels == k).nonzero()[0, 0]) for k in new.labels.unique().tolist()[:SHELF]]
    shelf = [_text(new.read(slice(n, n + 1))) for n in firsts]
    start = {"drawing": shelf[0]}
    return DrawDigit(
        encoder=into.layers,
        encoder_weights=into.weights,
        decoder=out.layers,
        decoder_weights=out.weights,
        codes=codes.cpu().numpy().astype("<f2").tobytes(),
        labels=labels.numpy().astype("u1").tobytes(),
        shelf=shelf,
        start=start,
        hint=hint,
        **start,
    )


def _text(image: torch.Tensor) -> str:
    """An image with pixels in [0, 1] as a hexadecimal digit a pixel."""
    return "".join(f"{level:x}" for level in (GRAYS * image.flatten()).round().int().tolist())
