"""The data sets by name."""

import os
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lab.arguments import Device, checked, choice, path, whole
from vae_lab.data import afhq, mnist, toy_faces
from vae_lab.data.images import Dataset, Images
from vae_lab.data.pictures import DataError

HELD = 360  # of the digits, for testing
NAMES = ("digits", *mnist.NAMES, "toy-faces", *afhq.NAMES)


def root() -> Path:
    """The folder that holds data sets: $VAE_LAB_DATA, or ~/.cache/vae_lab.

    Raises `DataError` if that names the home of a user who does not exist.
    """
    try:
        return path("VAE_LAB_DATA", os.environ.get("VAE_LAB_DATA") or "~/.cache/vae_lab")
    except ValueError as error:
        raise DataError(f"{error}; point it elsewhere") from None


@checked
def load(
    name: Annotated[str, choice(*NAMES)] = "digits",
    *,
    side: Annotated[int, whole(8, 1024)] = 64,
    folder: Path | str | None = None,
    device: Device = "cpu",
    skip_broken: bool = False,
) -> Dataset:
    """Load a data set by name, onto `device`.

    "digits" (1,797 handwritten digits at 28×28) and "toy-faces" (4,500 drawn animal faces in color, of `side`
    pixels a side, labeled by species) need no network. "mnist" and "fashion-mnist" are read from `folder`
    (default: `root()`), and downloaded into it if they are not there; "afhq", "afhq-cat", "afhq-dog" and
    "afhq-wild" are read from pictures in it, resized to `side` (see `afhq.read`); with `skip_broken`, those
    that cannot be read are named and left out.

    Raises `ValueError` for an unknown name, `DataError` for files that are damaged or cannot be had.
    """
    where = folder or root()
    if name == "digits":
        return _digits().to(device)
    if name == "toy-faces":
        return Dataset(name, _faces(4000, side, seed=0), _faces(500, side, seed=1)).to(device)
    if name in mnist.NAMES:
        train, test = mnist.read(name, where)
    else:
        train, test = afhq.read(name, where, side=side, skip_broken=skip_broken)
    return Dataset(name, Images(*train), Images(*test)).to(device)


def _faces(n: int, side: int, *, seed: int) -> Images:
    """n drawn faces; `toy_faces.draw_factors(n, seed=seed)` are the factors that they show."""
    factors = toy_faces.draw_factors(n, seed=seed)
    return Images(toy_faces.draw(factors, side=side), factors[:, 0])


def small_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits as they are, those of "digits" in its order, training before test.

    Returns pixels (1797, 8, 8) of 0 … 16 and labels (1797,), both uint8; the last 360 are for testing.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    train, test = train_test_split(range(len(labels)), test_size=HELD, stratify=labels, random_state=0)
    order = [*train, *test]
    return torch.tensor(pixels[order], dtype=torch.uint8).view(-1, 8, 8), torch.tensor(labels[order]).byte()


def _digits() -> Dataset:
    """scikit-learn's 8×8 digits, resampled to look like MNIST: 22×22 inside a 28×28 frame."""
    pixels, labels = small_digits()
    x = F.interpolate(pixels[:, None] / 16, size=(22, 22), mode="bicubic", align_corners=False)
    x = ((x - 0.15) / 0.7).clamp(0, 1)  # steeper edges: bicubic blurs, MNIST is nearly black and white
    images = Images(F.pad(x, (3, 3, 3, 3)).mul(255).round().to(torch.uint8), labels.long())
    first = len(images) - HELD
    return Dataset(
        "digits",
        *(Images(images.pixels[part], images.labels[part]) for part in (slice(first), slice(first, None))),
    )
