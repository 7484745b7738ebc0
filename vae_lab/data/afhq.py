"""Animal Faces-HQ (Choi et al. 2020) from a folder of pictures: read once, then from a verified cache.

The folder has the usual layout, afhq/train/cat/*.jpg, and likewise dog and wild; a part to test on is called
test or val. Without one, every tenth training picture is held out.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from vae_lab.arguments import checked, choice, one_line, whole, written
from vae_lab.data import cache, pictures
from vae_lab.data.pictures import DataError

SPECIES = ("cat", "dog", "wild")
NAMES = ("afhq", *(f"afhq-{species}" for species in SPECIES))
HELD_OUT = 10  # one picture in so many, where there is no part to test on


@checked
def read(
    name: Annotated[str, choice(*NAMES)],
    folder: Path,
    *,
    side: Annotated[int, whole(8, 1024)] = 64,
    skip_broken: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """[(pixels, labels) to train on, and to test on] of "afhq" or of one species, "afhq-cat".

    folder : where the folder afhq is. Pictures are cropped to their middle square and resized
        (`pictures.read`); the result is kept in afhq/.cache, or in ~/.cache/vae_lab if that cannot be
        written, and made anew when a picture changes
    skip_broken : leave out pictures that cannot be read, and say which, instead of refusing them all

    pixels : uint8 of shape (N, 3, side, side); labels : int64 of shape (N,), the place in `SPECIES`

    Raises `DataError` if there are no pictures, or some cannot be read.
    """
    wanted = SPECIES if name == "afhq" else (name.removeprefix("afhq-"),)
    train, test = _split(folder / "afhq", wanted)
    return [_resized(part, folder / "afhq", side, skip_broken) for part in (train, test)]


def listed(root: Path, parts: tuple[str, ...], wanted: tuple[str, ...] = SPECIES) -> list[Path]:
    """The pictures of some parts and species, in the order of their names; hidden files are none."""
    folders = [root / part / species for part in parts for species in wanted]
    try:
        found = [path for folder in folders for path in folder.glob("[!.]*")]
    except OSError as error:  # a name that is too long, a disk that fails
        raise DataError(
            f"cannot look into {written(root)} ({one_line(error)}); choose another folder"
        ) from error
    return sorted(path for path in found if path.suffix.lower() in pictures.ENDINGS)


def _split(root: Path, wanted: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """The pictures to train on and to test on."""
    train, test = listed(root, ("train",), wanted), listed(root, ("test", "val"), wanted)
    if not train:
        raise DataError(
            f"no pictures in {root / 'train' / wanted[0]}; fetch them (python -m vae_lab.data --fetch), put "
            'AFHQ there in its usual layout (afhq/train/cat/*.jpg), or use the drawn faces: load("toy-faces")'
        )
    if not test:
        train, test = [p for i, p in enumerate(train) if i % HELD_OUT], train[::HELD_OUT]
    if not train:
        raise DataError(
            f"{test[0]} is the only picture; put at least two there, one to train on and one to test"
        )
    return train, test


def _resized(paths: list[Path], root: Path, side: int, skip_broken: bool) -> tuple[Tensor, Tensor]:
    """Pixels and labels of the pictures, from the cache if it holds just these."""
    key = hashlib.sha256(f"2 {side} {skip_broken}".encode())  # 2: as a viewer shows them
    for path in paths:
        key.update(os.fsencode(f"{path.parent.name}/{path.name} {_version(path)}"))
    folders = (root / ".cache", Path("~/.cache/vae_lab/afhq/.cache").expanduser())
    name = f"{side}-{key.hexdigest()[:16]}"
    content = cache.load_or_make(name, folders, lambda: _read_all(paths, side, skip_broken))
    return content["pixels"], content["labels"]


def _version(path: Path) -> str:
    """What changes with the content of a file; of a link to nothing, that there is none."""
    try:
        about = path.stat()
    except OSError:
        return "not there"
    return f"{about.st_size} {about.st_mtime_ns}"


def _read_all(paths: list[Path], side: int, skip_broken: bool) -> dict[str, Tensor]:
    """Read and resize every picture, side by side; Pillow works outside Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(lambda path: _read_one(path, side), paths))
    broken = [path for path, pixels in zip(paths, read, strict=True) if pixels is None]
    if broken:
        names = ", ".join(written(path) for path in broken[:5]) + ", …" * (len(broken) > 5)
        if len(broken) == len(paths):
            raise DataError(f"none of {len(paths)} pictures can be read: {names}. Fetch them again")
        if not skip_broken:
            raise DataError(
                f"{len(broken)} of {len(paths)} pictures cannot be read: {names}. Fetch them again, or leave "
                "them out with skip_broken=True"
            )
        print(f"Left out {len(broken)} of {len(paths)} pictures that cannot be read: {names}")
    whole_ones = [(path, pixels) for path, pixels in zip(paths, read, strict=True) if pixels is not None]
    return {
        "pixels": torch.stack([pixels for _, pixels in whole_ones]),
        "labels": torch.tensor([SPECIES.index(path.parent.name) for path, _ in whole_ones]),
    }


def _read_one(path: Path, side: int) -> Tensor | None:
    """The middle square of a picture, uint8 of shape (3, side, side), or None if it cannot be read."""
    try:
        return pictures.read(path, channels=3, side=side)
    except DataError:
        return None
