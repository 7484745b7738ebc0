"""The images that an experiment is about, and fewer of them to try it on."""

from dataclasses import replace
from typing import NamedTuple

import torch

from vae_lab import data
from vae_lab.arguments import written
from vae_lab.data import DataError, Images, afhq

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in a gray of the same brightness (ITU-R BT.601)


class Source(NamedTuple):
    """Where the images come from.

    name, side : as in `data.load`
    stand_in : the embedded set that quick runs take where `name` is not on disk
    drawn : how the images are drawn at random whenever they are read, for the record
    """

    name: str
    side: int
    stand_in: str
    drawn: dict[str, str]


DIGITS = Source(
    "mnist",
    28,
    "digits",
    {"binarized": "training images afresh at every use, test images once, by the seed"},
)

EMBEDDED = Source("digits", 28, "digits", {"binarized": "to the nearer of black and white, or at random"})

DRAWN = Source("toy-faces", 16, "toy-faces", {"redrawn": "as cats, from factors of a seed of their own"})


def faces(name: str, side: int) -> Source:
    """Animal faces; each training face is mirrored or not, at random, whenever it is read."""
    return Source(name, side, "toy-faces", {"mirrored": "each training image or not, afresh at every use"})


def load(source: Source, scale: str) -> data.Dataset:
    """The whole set; at quick scale a few of its images, or of its stand-in where it is not on disk.

    Raises `DataError` at full scale if it is not there, or a species is missing.
    """
    if scale == "full":
        return _complete(data.load(source.name, side=source.side))
    if _on_disk(source):
        whole = _complete(data.load(source.name, side=source.side))
    else:
        print(
            f"No {source.name} in {written(data.root())}: a quick run takes the embedded {source.stand_in}."
        )
        whole = data.load(source.stand_in, side=source.side)
    return replace(whole, train=whole.train.first(1000), test=whole.test.first(200))


def gray(images: Images) -> Images:
    """Color images (N, 3, H, W) as gray ones (N, 1, H, W), by brightness."""
    weights = torch.tensor(LUMA, device=images.pixels.device).view(1, 3, 1, 1)
    parts = [(part * weights).sum(1, keepdim=True).round() for part in images.pixels.split(1000)]
    return Images(torch.cat(parts).to(torch.uint8), images.labels, images.view)


def _on_disk(source: Source) -> bool:
    if source is DIGITS:
        return any((data.root() / "MNIST" / "raw").glob("train-images-idx3-ubyte*"))
    if source in (EMBEDDED, DRAWN):
        return True
    species = afhq.SPECIES if source.name == "afhq" else (source.name.removeprefix("afhq-"),)
    return all(afhq.listed(data.root() / "afhq", ("train",), (kind,)) for kind in species)


def _complete(dataset: data.Dataset) -> data.Dataset:
    """The same data; an error if a species that it should hold is missing."""
    if dataset.name != "afhq":
        return dataset
    found = dataset.train.labels.unique().tolist()
    if missing := [kind for label, kind in enumerate(afhq.SPECIES) if label not in found]:
        raise DataError(
            f"no pictures of {' and '.join(missing)} in {data.root() / 'afhq' / 'train'}; "
            "put all of AFHQ there, in its usual layout (afhq/train/dog/*.jpg)"
        )
    return dataset
