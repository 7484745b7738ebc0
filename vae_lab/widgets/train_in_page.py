"""A VAE that learns in the reader's page, or in the notebook: no kernel trains it, the browser does."""

from typing import Annotated

import anywidget
import numpy as np
import traitlets

from vae_lab import lab
from vae_lab.arguments import NonNegative, Positive, Seed, Words, checked, choice, real, several, whole
from vae_lab.data import Images, ImagesLike
from vae_lab.data.sets import HELD, small_digits
from vae_lab.models import VAE
from vae_lab.widgets.bundle import learning, script, style

POINTS = ("ring", "grid", "moons", "pinwheel", "spiral")
CONTROLS = (
    "beta", "rate", "data", "speed", "autoencoder", "part", "hidden", "latents", "likelihood", "activation",
    "batch", "freeBits", "seed", "beneath", "own", "takeaway",
)  # fmt: skip
VIEWS = ("draws", "ledger", "curves")
LARGEST = 4096  # numbers of an image
HINT = "Press Train. While it learns, move β: what does the model lose by it, and what does it gain?"


class TrainInPage(anywidget.AnyWidget):
    """A model that learns in the browser, its settings and its views. See `train_in_page`."""

    _esm = learning() + script(
        "ui.js", "scale.js", "sliders.js", "pictures.js", "chart.js", "datasets.js", "drawing.js", "exact.js",
        "takeaway.js", "learning_views.js", "learning_run.js", "train_in_page.js",
    )  # fmt: skip
    _css = style("base.css", "parts.css", "train_in_page.css")
    settings = traitlets.Dict().tag(sync=True)  # with which the run began, as settings.js names them
    changes = traitlets.List().tag(sync=True)  # (steps, what was changed then)
    until = traitlets.Int(0).tag(
        sync=True
    )  # steps at which it was paused; a link leads to there. −1 as it runs
    chosen = traitlets.Int(0).tag(sync=True)  # the example of which more is shown
    start = traitlets.Dict().tag(sync=True)  # settings and changes that the button puts back
    digits = traitlets.Unicode().tag(sync=True)  # 8×8 pixels of 0 … 16 a digit, as letters from A on
    images = traitlets.Bytes().tag(sync=True)  # (N, C, H, W) uint8, in place of the digits
    shape = traitlets.List().tag(sync=True)  # C, H, W
    labels = traitlets.Bytes().tag(sync=True)  # (N,) uint8
    held = traitlets.Int().tag(sync=True)  # how many of the images at the end are not learned from
    weights = traitlets.Bytes().tag(sync=True)  # the parameters at the last pause, as safetensors
    controls = traitlets.List().tag(sync=True)
    views = traitlets.List().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"TrainInPage({self.settings['data']}, β {self.settings['beta']:g})"

    def model(self) -> VAE:
        """The model as it was at the last pause, with the page's parameters.

        Raises `ValueError` if it has not learned yet.
        """
        if not self.weights:
            raise ValueError("nothing has been learned yet: press Train, and then Pause")
        return lab.loads(self.weights)


@checked
def train_in_page(
    images: ImagesLike | None = None,
    *,
    data: Annotated[str, choice("digits", *POINTS)] = "digits",
    held_out: ImagesLike | None = None,
    beta: Annotated[float, real(0, 20)] = 1.0,
    hidden: Annotated[tuple, several(whole(1, 1024))] | None = None,
    latents: Annotated[int, whole(1, 8)] = 2,
    likelihood: Annotated[str, choice("bernoulli", "gaussian")] | None = None,
    scale: Positive | None = None,
    learn_scale: bool | None = None,
    mean: Annotated[str, choice("sigmoid", "identity")] | None = None,
    rate: Annotated[float, real(0, 0.01)] | None = None,
    part: Annotated[str, choice("both", "encoder", "decoder")] = "both",
    autoencoder: bool = False,
    free_bits: NonNegative = 0.0,
    encoder_alone_after: Annotated[int, whole(1)] | None = None,
    seed: Seed = 1,
    controls: Words = CONTROLS,
    views: Words = VIEWS,
    hint: str = HINT,
) -> TrainInPage:
    """A VAE with dense networks that trains in the browser when its reader presses Train.

    images : to learn from, in place of `data`, at most 4,096 numbers each; held_out : others, to judge by
    data : "digits" (the embedded ones), or points in the plane: "ring", "grid", "moons", "pinwheel", "spiral"
    hidden : widths of the encoder's hidden layers, and the decoder's in reverse; latents : L
    likelihood, scale, learn_scale : Bernoulli for images, a Gaussian with a σ of 0.3 that learns for points
    mean : what the decoder's numbers become in a Gaussian's mean: "sigmoid" for images, "identity" for points
    beta, rate, part, autoencoder, free_bits : how it learns; a reader may change them on the way
    encoder_alone_after : so many steps the decoder stands still
    controls, views : those of `CONTROLS` and `VIEWS` that are shown; hint : one line on what to try

    Raises `ValueError` for what the page cannot run.
    """
    for name, given, known in (("controls", controls, CONTROLS), ("views", views, VIEWS)):
        if unknown := [each for each in given if each not in known]:
            raise ValueError(f"{name} must be some of {', '.join(known)}; got {unknown[0]!r}")
    if held_out is not None and images is None:
        raise ValueError("held_out goes with images; the embedded digits have some of their own")
    points = images is None and data in POINTS
    if points and likelihood == "bernoulli":
        raise ValueError("likelihood must be 'gaussian' for points, which are not in [0, 1]")
    settings = {
        "data": data if images is None else "images",
        "hidden": hidden and list(hidden),
        "latents": latents,
        "likelihood": likelihood,
        "scale": scale,
        "learnScale": learn_scale,
        "mean": mean,
        "beta": float(beta),
        "rate": rate,
        "part": part,
        "autoencoder": autoencoder,
        "freeBits": float(free_bits),
        "seed": seed,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    script = [] if encoder_alone_after is None else [[encoder_alone_after, {"part": "encoder"}]]
    return TrainInPage(
        settings=settings,
        changes=script,
        start={"settings": settings, "changes": script},
        controls=list(controls),
        views=list(views),
        hint=hint,
        **(_digits() if images is None else _given(images, held_out)),
    )


def _digits() -> dict:
    pixels, labels = small_digits()
    letters = (pixels + ord("A")).numpy().tobytes().decode("ascii")
    return {"digits": letters, "labels": labels.numpy().tobytes(), "held": HELD}


def _given(images: Images, held_out: Images | None) -> dict:
    """The images in bytes, those held out last."""
    shape = list(images.shape)
    if np.prod(shape) > LARGEST:
        raise ValueError(
            f"images must have at most {LARGEST:,} numbers each, got {np.prod(shape):,}; make them smaller"
        )
    parts = [images] if held_out is None else [images, held_out]
    if any(list(part.shape) != shape for part in parts):
        raise ValueError(f"held_out must have the shape of images, {tuple(shape)}, got {held_out.shape}")
    pixels = np.concatenate([part.pixels.cpu().numpy() for part in parts])
    labels = images.labels.cpu().numpy()
    return {
        "images": pixels.astype(np.uint8).tobytes(),
        "shape": shape,
        "labels": labels.astype(np.uint8).tobytes() if 0 <= labels.min() <= labels.max() < 10 else b"",
        "held": 0 if held_out is None else len(held_out),
    }
