"""Animal Faces-HQ (Choi et al. 2020) from a folder of pictures: read once, then from a verified cache.

The folder has the usual layout, afhq/train/cat/*.jpg, and likewise dog and wild; a part to test on is called
test or val. Where there is none, every tenth picture to train on is held out.

    python -m vae_lab.afhq --fetch                # version 1 from Kaggle, 0.7 GB
    python -m vae_lab.afhq --fetch archive.zip    # from a zip that you have, or from its https address
    python -m vae_lab.afhq                        # what is there
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_lab import archives, caches
from vae_lab.mnist import DataError

SPECIES = ("cat", "dog", "wild")
NAMES = ("afhq", *(f"afhq-{species}" for species in SPECIES))
HELD_OUT = 10  # one picture in so many, where there is no part to test on


def read(
    name: str, folder: Path, *, side: int = 64, skip_broken: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """[(pixels, labels) to train on, and to test on] of "afhq" or of one species, "afhq-cat".

    folder : where the folder afhq is. Pictures are cropped to their middle square and resized with
        Pillow's Lanczos filter; the result is kept in afhq/.cache, or in ~/.cache/vae_lab if that cannot be
        written, and made anew when a picture changes
    skip_broken : leave pictures out that cannot be read, and say which, in place of refusing them all

    pixels : uint8 of shape (N, 3, side, side); labels : int64 of shape (N,), the place in `SPECIES`

    Raises `DataError` if there are no pictures, or some cannot be read.
    """
    if side < 8:
        raise ValueError(f"a face needs at least 8 pixels a side, got {side}")
    wanted = SPECIES if name == "afhq" else (name.removeprefix("afhq-"),)
    train, test = _pictures(folder / "afhq", wanted)
    return [_resized(part, folder / "afhq", side, skip_broken) for part in (train, test)]


def _pictures(root: Path, wanted: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """The pictures to train on and to test on, in the order of their names."""
    train = _listed(root, ("train",), wanted)
    test = _listed(root, ("test", "val"), wanted)
    if not train:
        raise DataError(
            f"no pictures in {root / 'train' / wanted[0]}; fetch them (python -m vae_lab.afhq --fetch), put "
            'AFHQ there in its usual layout (afhq/train/cat/*.jpg), or use the drawn faces: load("toy-faces")'
        )
    return (train, test) if test else ([p for i, p in enumerate(train) if i % HELD_OUT], train[::HELD_OUT])


def _listed(root: Path, parts: tuple[str, ...], wanted: tuple[str, ...]) -> list[Path]:
    found = [path for part in parts for species in wanted for path in (root / part / species).glob("*")]
    return sorted(path for path in found if path.suffix.lower() in archives.PICTURES)


def _resized(paths: list[Path], root: Path, side: int, skip_broken: bool) -> tuple[Tensor, Tensor]:
    """Pixels and labels of the pictures, from the cache if it holds just these."""
    key = hashlib.sha256(f"{side} {skip_broken}".encode())
    for path in paths:
        about = path.stat()
        key.update(f"{path.parent.name}/{path.name} {about.st_size} {about.st_mtime_ns}".encode())
    folders = (root / ".cache", Path("~/.cache/vae_lab/afhq/.cache").expanduser())
    name = f"{side}-{key.hexdigest()[:16]}"
    content = caches.kept(name, folders, lambda: _read_all(paths, side, skip_broken))
    return content["pixels"], content["labels"]


def _read_all(paths: list[Path], side: int, skip_broken: bool) -> dict[str, Tensor]:
    """Read and resize every picture, side by side; Pillow works outside Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(lambda path: _read_one(path, side), paths))
    broken = [path for path, pixels in zip(paths, read, strict=True) if pixels is None]
    if broken:
        names = ", ".join(str(path) for path in broken[:5]) + ", …" * (len(broken) > 5)
        if not skip_broken or len(broken) == len(paths):
            raise DataError(
                f"{len(broken)} of {len(paths)} pictures cannot be read: {names}. Fetch them again, or leave "
                "them out with skip_broken=True"
            )
        print(f"Left out {len(broken)} of {len(paths)} pictures that cannot be read: {names}")
    whole = [(path, pixels) for path, pixels in zip(paths, read, strict=True) if pixels is not None]
    return {
        "pixels": torch.from_numpy(np.stack([pixels for _, pixels in whole]))
        .permute(0, 3, 1, 2)
        .contiguous(),
        "labels": torch.tensor([SPECIES.index(path.parent.name) for path, _ in whole]),
    }


def _read_one(path: Path, side: int) -> np.ndarray | None:
    """The middle square of a picture, uint8 of shape (side, side, 3), or None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            edge = min(width, height)
            left, top = (width - edge) // 2, (height - edge) // 2
            square = (left, top, left + edge, top + edge)
            picture = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box=square)
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow raises any of these
        return None


if __name__ == "__main__":
    from vae_lab import fetching

    sys.exit(fetching.main())
