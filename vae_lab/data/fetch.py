"""Fetch Animal Faces-HQ from Kaggle by kagglehub, which goes on where it broke off and compares checksums."""

import shutil
from pathlib import Path

from vae_lab.arguments import checked, one_line, written
from vae_lab.data import afhq
from vae_lab.data.pictures import DataError
from vae_lab.files import environment

HANDLE = "andrewmvd/animal-faces/versions/1"
PAGE = "https://www.kaggle.com/datasets/andrewmvd/animal-faces"
BY_HAND = f"Or by hand: download the zip from {PAGE} and unpack it into the folder of data sets."
LICENSE = (
    "Animal Faces-HQ (Choi et al. 2020, https://github.com/clovaai/stargan-v2) is under CC BY-NC 4.0: "
    "not for commercial purposes, and its authors are to be named."
)
# Cats, dogs and wild animals to train on, and to test on. Version 1, of 2020, is JPEG; version 2, of 2021, is
# PNG: the same pictures but for some 2%, made smaller with a better filter.
VERSIONS = {
    "version 1": ((5153, 4739, 4738), (500, 500, 500)),
    "version 2": ((5065, 4678, 4593), (493, 491, 483)),
}


@checked
def fetch(folder: Path) -> None:
    """Put version 1 of the pictures (0.7 GB) into `folder`/afhq, all of them or none, and say what came.

    Raises `DataError` if the pictures cannot be had, are not version 1, or the disk is full. What has arrived
    is then kept in `folder`/.kagglehub, and the same call goes on from there.
    """
    place, store = folder / "afhq", folder / ".kagglehub"
    if _count(place):
        print(f"Nothing to fetch: {describe(folder)}. To fetch anew, move that folder away.")
        return
    print(LICENSE)
    try:
        if place.exists() and any(path.name != ".cache" for path in place.iterdir()):
            raise DataError(f"{place} is there, but without pictures of AFHQ; move it away first")
        store.mkdir(parents=True, exist_ok=True)
        new = _download(store) / "afhq"
        counts = _count(new)
        if counts == VERSIONS["version 1"]:
            (new / "SOURCE.txt").write_text(f"{LICENSE}\nFrom {PAGE}, {HANDLE}: {_words(counts)}.\n", "utf8")
            shutil.rmtree(place, ignore_errors=True)  # at most a cache of pictures that are gone
            new.replace(place)
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror or error}); make room there "
            "or point VAE_LAB_DATA elsewhere"
        ) from error
    shutil.rmtree(store, ignore_errors=True)
    if counts != VERSIONS["version 1"]:
        found = _words(counts) if counts else "no pictures in the layout of AFHQ"
        raise DataError(f"what Kaggle sent is not what it was: {found}; nothing of it was kept. {BY_HAND}")
    print(f"Fetched: {describe(folder)}.")


def _download(store: Path) -> Path:
    """The folder that kagglehub unpacked in `store`, not in Colab's or Kaggle's own, which cannot move."""
    settings = {"KAGGLEHUB_CACHE": str(store), "DISABLE_COLAB_CACHE": "true", "DISABLE_KAGGLE_CACHE": "true"}
    with environment(settings):
        import kagglehub

        try:
            return Path(kagglehub.dataset_download(HANDLE))
        except Exception as error:  # requests', kagglesdk's or kagglehub's own; also OSErrors of the network
            if isinstance(error, OSError) and error.errno and not hasattr(error, "request"):
                raise
            if not isinstance(error, OSError):  # what has arrived is of no use
                shutil.rmtree(store, ignore_errors=True)
            raise DataError(f"Kaggle gives no pictures ({one_line(error)}); try again. {BY_HAND}") from error


def describe(folder: Path) -> str:
    """What `folder`/afhq holds, in words."""
    counts = _count(folder / "afhq")
    return f"{written(folder / 'afhq')} holds {_words(counts) if counts else 'no pictures'}"


def _count(place: Path) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """How many pictures of each species there are to train on and to test on, or None without any."""
    train, test = (
        tuple(len(afhq.listed(place, parts, (species,))) for species in afhq.SPECIES)
        for parts in (("train",), ("test", "val"))
    )
    return (train, test) if any(train + test) else None


def _words(counts: tuple) -> str:
    (cats, dogs, wild), test = counts
    version = next((name for name, known in VERSIONS.items() if known == counts), "not all of version 1 or 2")
    return (
        f"{cats:,} cats, {dogs:,} dogs and {wild:,} wild animals to train on and {sum(test):,} pictures to "
        f"test on ({version})"
    )
