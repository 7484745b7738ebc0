"""Images as one `uint8` tensor on the training device, batched by indexing."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

NAMES = ("digits", "mnist", "fashion-mnist", "toy-faces", "afhq", "afhq-cat", "afhq-dog", "afhq-wild")
VIEWS = ("gray", "binarized", "dynamic", "mirrored")


@dataclass(frozen=True, repr=False, eq=False)
class Images:
    """A set of images and their labels.

    pixels : uint8 tensor of shape (N, C, H, W), 0 … 255, channel first
    labels : int64 tensor of shape (N,)
    view : how pixels are read as numbers: "gray" x = pixel / 255; "binarized", pixels are 0 or 255;
        "dynamic", every reading draws x ~ Bernoulli(pixel / 255) afresh; "mirrored", every reading turns each
        image left to right with probability 1/2
    """

    pixels: Tensor
    labels: Tensor
    view: str = "gray"

    def __post_init__(self):
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ValueError(
                f"pixels must be uint8 of shape (N, C, H, W), got {self.pixels.dtype} of shape "
                f"{tuple(self.pixels.shape)}; scale to 0 … 255 and add the missing axis"
            )
        if self.labels.shape != (len(self.pixels),) or not len(self.pixels):
            raise ValueError(
                f"need at least one image and one label each, got {len(self.pixels)} images "
                f"and labels of shape {tuple(self.labels.shape)}"
            )
        if self.view not in VIEWS:
            raise ValueError(f"unknown view {self.view!r}; choose one of {', '.join(VIEWS)}")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.pixels.shape[1:])

    def to(self, device: torch.device | str) -> "Images":
        """The same images on another device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def first(self, n: int) -> "Images":
        """The first n of them, or all if they are fewer."""
        return replace(self, pixels=self.pixels[:n], labels=self.labels[:n])

    def read(self, index=slice(None), generator: torch.Generator | None = None) -> Tensor:
        """The images at `index` as float numbers in [0, 1], shape (B, C, H, W)."""
        x = self.pixels[index].float().div_(255)
        if self.view == "mirrored":
            turned = torch.rand(len(x), generator=generator, device=x.device) < 0.5
            return torch.where(turned[:, None, None, None], x.flip(-1), x)
        return torch.bernoulli(x, generator=generator) if self.view == "dynamic" else x

    def binarized(self, generator: torch.Generator) -> "Images":
        """Black-and-white images, x ~ Bernoulli(pixel / 255), drawn once and kept."""
        drawn = torch.bernoulli(self.pixels.float().div_(255), generator=generator)
        return replace(self, pixels=drawn.mul_(255).to(torch.uint8), view="binarized")

    def dynamic(self) -> "Images":
        """Black-and-white images drawn afresh whenever they are read."""
        return replace(self, view="dynamic")

    def mirrored(self) -> "Images":
        """Each image or its mirror image, drawn afresh whenever it is read: a face turned is a face too."""
        return replace(self, view="mirrored")

    def batches(
        self,
        batch_size: int,
        steps: int,
        generator: torch.Generator,
        *,
        start: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[Tensor]:
        """Yield float batches (B, C, H, W), going through the set in a new order each time, `steps` in all.

        The last, smaller batch of a pass is left out unless it is the only one. `generator` draws the
        orders; a dynamic view draws its pixels from torch's own random numbers.

        start : how many of the steps to pass over
        part : (rank, processes) reads every process's own `batch_size` images of a batch that they share
        """
        if batch_size < 1:
            raise ValueError(f"a batch needs at least one image, got batch_size={batch_size}")
        rank, processes = part
        batch_size = min(batch_size, len(self) // processes)
        whole = len(self) // (batch_size * processes)
        for step in range(steps):
            if step % whole == 0:
                order = torch.randperm(len(self), generator=generator, device=generator.device)
                order = order.to(self.pixels.device)
            if step >= start:
                first = (step % whole * processes + rank) * batch_size
                yield self.read(order[first : first + batch_size])

    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and view: two sets with the same one are the same."""
        digest = hashlib.sha256(f"{self.view} {tuple(self.pixels.shape)}".encode())
        for tensor in (self.pixels, self.labels):
            digest.update(memoryview(tensor.cpu().contiguous().numpy()))
        return digest.hexdigest()

    def __repr__(self) -> str:
        c, h, w = self.shape
        return f"Images({len(self):,} of {c}×{h}×{w}, {self.view}, {self.labels.unique().numel()} classes)"


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """A named data set, split into images to train on and images never trained on."""

    name: str
    train: Images
    test: Images

    def to(self, device: torch.device | str) -> "Dataset":
        """The same images on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def __repr__(self) -> str:
        c, h, w = self.train.shape
        return (
            f"{self.name}: {len(self.train):,} images to train on, {len(self.test):,} to test, "
            f"{c}×{h}×{w}, on {self.train.pixels.device}"
        )


def from_floats(pixels, labels=None) -> Images:
    """Images of your own: numbers in [0, 1] of shape (N, H, W) or (N, C, H, W), rounded to 256 levels.

    labels : whole numbers of shape (N,), or nothing
    """
    x = torch.as_tensor(pixels)
    if x.ndim not in (3, 4) or not x.numel():
        raise ValueError(f"expected at least one image, (N, H, W) or (N, C, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(
            f"expected float pixels in [0, 1], got {x.dtype}; wrap uint8 pixels in Images directly"
        )
    if x.isnan().any() or x.min() < 0 or x.max() > 1:
        broken = int(x.isnan().flatten(1).any(1).sum())
        raise ValueError(
            f"expected pixels in [0, 1], got {x.nan_to_num().min():.3g} … {x.nan_to_num().max():.3g} and "
            f"{broken} images with NaN; rescale the pixels and leave broken images out"
        )
    x = x.unsqueeze(1) if x.ndim == 3 else x
    y = torch.zeros(len(x), dtype=torch.int64) if labels is None else torch.as_tensor(labels).long()
    return Images(x.float().mul(255).round().to(torch.uint8), y)


def root() -> Path:
    """The folder that holds data sets: $VAE_LAB_DATA, or ~/.cache/vae_lab."""
    return Path(os.environ.get("VAE_LAB_DATA") or "~/.cache/vae_lab").expanduser()


def load(
    name: str = "digits",
    *,
    side: int = 64,
    folder: Path | str | None = None,
    device: str | torch.device = "cpu",
    skip_broken: bool = False,
) -> Dataset:
    """Load a data set by name, onto `device`.

    "digits" (1,797 handwritten digits at 28×28) and "toy-faces" (4,500 drawn animal faces in color, of `side`
    pixels a side, labeled by species) need no network. "mnist" and "fashion-mnist" are read from `folder`
    (default: `root()`), and downloaded into it if they are not there; "afhq", "afhq-cat", "afhq-dog" and
    "afhq-wild" are read from pictures in it, resized to `side` (see `afhq.read`); with `skip_broken`, those
    that cannot be read are named and left out.

    Raises `ValueError` for an unknown name, `mnist.DataError` for files that are damaged or cannot be had.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    if name == "digits":
        return _digits().to(device)
    if name == "toy-faces":
        return Dataset(name, _faces(4000, side, seed=0), _faces(500, side, seed=1)).to(device)
    from vae_lab import afhq, mnist

    where = Path(folder or root())
    if "mnist" in name:
        train, test = mnist.read(name, where)
    else:
        train, test = afhq.read(name, where, side=side, skip_broken=skip_broken)
    return Dataset(name, Images(*train), Images(*test)).to(device)


def _faces(n: int, side: int, *, seed: int) -> Images:
    """n drawn faces; `toy_faces.draw_factors(n, seed=seed)` are the factors that they show."""
    from vae_lab import toy_faces

    factors = toy_faces.draw_factors(n, seed=seed)
    return Images(toy_faces.draw(factors, side=side), factors[:, 0].long())


def _digits() -> Dataset:
    """scikit-learn's 8×8 digits, resampled to look like MNIST: 22×22 inside a 28×28 frame."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    x = F.interpolate(x, size=(22, 22), mode="bicubic", align_corners=False)
    x = ((x - 0.15) / 0.7).clamp(
        0, 1
    )  # steeper edges: bicubic blurs them, MNIST's are nearly black and white
    x = F.pad(x, (3, 3, 3, 3)).mul(255).round().to(torch.uint8)
    y = torch.tensor(labels, dtype=torch.int64)
    train, test = train_test_split(torch.arange(len(x)), test_size=360, stratify=y, random_state=0)
    return Dataset("digits", Images(x[train], y[train]), Images(x[test], y[test]))
