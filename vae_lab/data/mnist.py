"""MNIST and Fashion-MNIST from disk: verified when read, downloaded whole or not at all."""

import errno
import gzip
import hashlib
import os
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from vae_lab.arguments import checked, choice
from vae_lab.data.pictures import DataError
from vae_lab.files import replacing

NAMES = ("mnist", "fashion-mnist")

# MD5 of MNIST's unpacked files; those of the published .gz files come with torchvision.
UNPACKED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


# Reasons of the disk, not of the network.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@checked
def read(name: Annotated[str, choice(*NAMES)], folder: Path) -> list[tuple[Tensor, Tensor]]:
    """[(pixels, labels) to train on, (pixels, labels) to test on] of "mnist" or "fashion-mnist".

    Looks for torchvision's layout, `folder`/MNIST/raw/…, and fetches what is not there.
    pixels : uint8 of shape (N, 1, 28, 28); labels : int64 of shape (N,)

    Raises `DataError` if a file is damaged, or missing and cannot be fetched.
    """
    import torchvision.datasets as published

    source = {"mnist": published.MNIST, "fashion-mnist": published.FashionMNIST}[name]
    raw = folder / source.__name__ / "raw"
    parsed = {gz: _parse(_bytes(raw, gz, md5, source)) for gz, md5 in source.resources}
    return [
        (parsed[f"{part}-images-idx3-ubyte.gz"].unsqueeze(1), parsed[f"{part}-labels-idx1-ubyte.gz"].long())
        for part in ("train", "t10k")
    ]


def _bytes(raw: Path, gz: str, md5: str, source) -> bytes:
    """The unpacked content of one file: from `raw`/NAME.gz, else `raw`/NAME, else the network."""
    packed, unpacked = raw / gz, raw / gz.removesuffix(".gz")
    if source.__name__ == "MNIST" and os.path.exists(unpacked) and not os.path.exists(packed):
        return _verified(unpacked, UNPACKED[unpacked.name])
    if not os.path.exists(packed):  # unlike Path.exists, false in a folder that may not be entered
        _download(packed, md5, source)
    return gzip.decompress(_verified(packed, md5))


def _verified(path: Path, md5: str) -> bytes:
    if not os.path.isfile(path):
        raise DataError(f"cannot read {path} (it is no file); move it away")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check its permissions") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{path} is damaged: its {len(content):,} bytes do not have the published checksum. "
            "Delete the file and load the data set again to fetch a whole copy"
        )
    return content


def _download(path: Path, md5: str, source) -> None:
    """Fetch beside its place and rename when whole, so that a broken download leaves nothing behind."""
    from torchvision.datasets.utils import download_url

    reasons = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for mirror in source.mirrors:
            try:
                with replacing(path) as part:
                    download_url(mirror + path.name, part.parent, part.name, md5)
                return
            except (OSError, RuntimeError) as error:
                if getattr(error, "errno", None) in DISK:
                    raise
                reasons.append(str(error))
    except OSError as error:
        raise DataError(
            f"cannot write to {path.parent} ({error.strerror}); make room there or point VAE_LAB_DATA "
            "elsewhere"
        ) from error
    why = "; ".join(dict.fromkeys(reasons))
    raise DataError(
        f"{path} is not there and cannot be fetched ({why}). Connect to the network, put the file there, or "
        'choose the data set "digits", which needs no network'
    )


def _parse(content: bytes) -> Tensor:
    """An IDX file: two zero bytes, type 8 (uint8), rank, sizes as big-endian int32, then the values."""
    rank = content[3]
    sizes = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * rank).view(*sizes)
