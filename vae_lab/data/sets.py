"""The data sets by name."""

import os
from pathlib import Path
from typing import Annotated

import torch
from torch.nn import functional as F

from vae_lab.arguments import Device, checked, choice, path, whole
from vae_lab.data import afhq, mnist, toy_faces
from vae_lab.data.images import Dataset, Images
from vae_lab.data.pictures import DataError

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


def _digits() -> Dataset:
    """scikit-learn's 8×8 digits, resampled to look like MNIST: 22×22 inside a 28×28 frame."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    x = F.interpolate(x, size=(22, 22), mode="bicubic", align_corners=False)
    x = ((x - 0.15) / 0.7).clamp(0, 1)  # steeper edges: bicubic blurs, MNIST is nearly black and white
    x = F.pad(x, (3, 3, 3, 3)).mul(255).round().to(torch.uint8)
    y = torch.tensor(labels, dtype=torch.int64)
    train, test = train_test_split(torch.arange(len(x)), test_size=360, stratify=y, random_state=0)
    return Dataset("digits", Images(x[train], y[train]), Images(x[test], y[test]))
