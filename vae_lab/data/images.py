"""Images as one `uint8` tensor on the training device, batched by indexing."""

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from vae_lab.arguments import (
    Count,
    Device,
    Natural,
    check_fields,
    checked,
    choice,
    several,
    shown,
    tensor,
    whole,
)
from vae_lab.data.pixels import as_labels, as_pixels
from vae_lab.files import raw_bytes

VIEWS = ("plain", "binarized", "dynamic", "mirrored")


@dataclass(frozen=True, repr=False, eq=False)
class Images:
    """A set of images and their labels.

    pixels : N images, (N, C, H, W) or, of one channel, (N, H, W): whole numbers 0 … 255 or floats in [0, 1],
        which are rounded to 256 levels; from NumPy, torch or lists, or a list of Pillow's pictures of one
        size. Kept as uint8 of shape (N, C, H, W)
    labels : (N,) whole numbers; by default all 0. Kept as int64 on the device of the pixels
    view : how pixels are read as numbers: "plain" x = pixel / 255; "binarized", pixels are 0 or 255;
        "dynamic", every reading draws x ~ Bernoulli(pixel / 255) afresh; "mirrored", every reading turns each
        image left to right with probability 1/2
    channels : "first" or "last", needed only where the shape does not tell

    Raises `ValueError` or `TypeError` for numbers that cannot be pixels: out of range, or of unclear scale.
    """

    pixels: Any
    labels: Any = None
    view: Annotated[str, choice(*VIEWS)] = "plain"
    channels: InitVar[str | None] = None

    def __post_init__(self, channels: str | None):
        check_fields(self)
        pixels = as_pixels("pixels", self.pixels, channels=channels)
        object.__setattr__(self, "pixels", pixels)
        object.__setattr__(self, "labels", as_labels("labels", self.labels, len(pixels)).to(pixels.device))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.pixels.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    @checked
    def to(self, device: Device) -> "Images":
        """The same images on another device."""
        return self._with(pixels=self.pixels.to(device), labels=self.labels.to(device))

    @checked
    def first(self, n: Count) -> "Images":
        """The first n of them, or all if they are fewer."""
        return self._with(pixels=self.pixels[:n], labels=self.labels[:n])

    @checked
    def read(self, index=slice(None), generator: torch.Generator | None = None) -> Tensor:
        """The images at `index` as float numbers in [0, 1], shape (B, C, H, W).

        index : a slice, or the numbers of the images: one, a list, a tensor or a mask of N truths
        """
        return self._read(_rows(index, len(self)), generator)

    def _read(self, rows, generator: torch.Generator | None = None) -> Tensor:
        x = self.pixels[rows].float().div_(255)
        if self.view == "mirrored":
            turned = torch.rand(len(x), generator=generator, device=x.device) < 0.5
            return torch.where(turned[:, None, None, None], x.flip(-1), x)
        return torch.bernoulli(x, generator=generator) if self.view == "dynamic" else x

    @checked
    def binarized(self, generator: torch.Generator) -> "Images":
        """Black-and-white images, x ~ Bernoulli(pixel / 255), drawn once and kept.

        generator : on the CPU or the device of the images; on the CPU, the draw is the same for all devices
        """
        shares = self.pixels.to(generator.device).float().div_(255)
        drawn = torch.bernoulli(shares, generator=generator).mul_(255).to(torch.uint8)
        return self._with(pixels=drawn.to(self.device), view="binarized")

    def dynamic(self) -> "Images":
        """Black-and-white images drawn afresh whenever they are read."""
        return self._with(view="dynamic")

    def mirrored(self) -> "Images":
        """Each image or its mirror image, drawn afresh whenever it is read: a face turned is a face too."""
        return self._with(view="mirrored")

    @checked
    def batches(
        self,
        batch_size: Count,
        steps: Natural,
        generator: torch.Generator,
        *,
        start: Natural = 0,
        part: Annotated[tuple, several(whole(0), 2)] = (0, 1),
    ) -> Iterator[Tensor]:
        """Yield float batches (B, C, H, W), going through the set in a new order each time, `steps` in all.

        The last, smaller batch of a pass is left out unless it is the only one. `generator` draws the
        orders; a dynamic view draws its pixels from torch's own random numbers.

        start : how many of the steps to pass over
        part : (rank, processes): of a batch that all processes share, each reads its own `batch_size`
        """
        rank, processes = part
        if not 0 <= rank < processes <= len(self):
            raise ValueError(
                f"part must be (rank, processes) with at least an image for each process, got {part} for "
                f"{len(self)} images"
            )
        return self._batches(batch_size, steps, generator, start, rank, processes)

    def _batches(self, batch_size, steps, generator, start, rank, processes) -> Iterator[Tensor]:
        batch_size = min(batch_size, len(self) // processes)
        each_pass = len(self) // (batch_size * processes)
        for step in range(steps):
            if step % each_pass == 0:
                order = torch.randperm(len(self), generator=generator, device=generator.device)
                order = order.to(self.device)
            if step >= start:
                first = (step % each_pass * processes + rank) * batch_size
                yield self._read(order[first : first + batch_size])

    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and view: two sets with the same one are the same."""
        digest = hashlib.sha256(f"{self.view} {tuple(self.pixels.shape)}".encode())
        for each in (self.pixels, self.labels):
            digest.update(raw_bytes(each))
        return digest.hexdigest()

    def _with(self, **changes) -> "Images":
        """The same with other fields, which are known to be right."""
        new = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(new, name, value)
        return new

    def __repr__(self) -> str:
        c, h, w = self.shape
        return f"Images({len(self):,} of {c}×{h}×{w}, {self.view}, {self.labels.unique().numel()} classes)"


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """A named data set, split into images to train on and images never trained on."""

    name: str
    train: Images
    test: Images

    def __post_init__(self):
        check_fields(self)
        if self.train.shape != self.test.shape:
            raise ValueError(
                f"train and test must be of one shape, got {self.train.shape} and {self.test.shape}"
            )

    @checked
    def to(self, device: Device) -> "Dataset":
        """The same images on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def __repr__(self) -> str:
        c, h, w = self.train.shape
        return (
            f"{self.name}: {len(self.train):,} images to train on, {len(self.test):,} to test, "
            f"{c}×{h}×{w}, on {self.train.device}"
        )


def as_images(name: str, value: Any) -> Images:
    """The door of every function that takes images: `Images`, and everything from which they are made."""
    if isinstance(value, Images):
        return value
    if isinstance(value, Dataset):
        raise TypeError(
            f"{name} must be images, got the data set {value.name!r}; write .train or .test after it"
        )
    return Images(as_pixels(name, value))


ImagesLike = Annotated[Images, as_images]


@checked
def from_floats(pixels, labels=None, *, channels: str | None = None) -> Images:
    """Images of your own: numbers in [0, 1] of shape (N, H, W) or (N, C, H, W), rounded to 256 levels.

    labels, channels : as in `Images`, which also takes whole numbers 0 … 255
    """
    x = tensor("pixels", pixels)
    if not x.is_floating_point():
        raise TypeError(
            f"pixels must be float numbers in [0, 1], got {shown(x)}; whole numbers 0 … 255 go into Images"
        )
    return Images(x, labels, channels=channels)


def _rows(index: Any, count: int) -> slice | Tensor:
    """An index of rows for torch: a slice, or whole numbers or truths of shape (B,), within `count`."""
    if isinstance(index, slice):
        try:
            rows = range(count)[index]
        except (TypeError, ValueError) as error:
            raise TypeError(f"index must be a slice of whole numbers, got {index} ({error})") from None
        return (
            slice(rows.start, rows.stop, rows.step)
            if rows.step > 0
            else torch.tensor([*rows], dtype=torch.int64)
        )
    if isinstance(index, range | list | tuple):
        index = list(index) or torch.zeros(0, dtype=torch.int64)
    i = tensor("index", [index] if isinstance(index, int) else index)
    i = i[None] if i.ndim == 0 else i
    truths = i.dtype == torch.bool
    if i.ndim != 1 or i.is_floating_point() or i.is_complex() or (truths and len(i) != count):
        raise TypeError(f"index must be a slice, whole numbers (B,) or {count} truths, got {shown(i)}")
    if not truths and i.numel() and not (i.min() >= -count and i.max() < count):
        raise IndexError(f"index must be from 0 to {count - 1}, got {int(i.min())} … {int(i.max())}")
    return i if truths else i.to(torch.int64)
