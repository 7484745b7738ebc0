"""Fetching Animal Faces-HQ: from Kaggle, from another address, or from a zip that was downloaded by hand."""

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath

from vae_lab import afhq, archives, downloads
from vae_lab.data import root
from vae_lab.mnist import DataError

PAGE = "https://www.kaggle.com/datasets/andrewmvd/animal-faces"
KAGGLE = "https://www.kaggle.com/api/v1/datasets/download/andrewmvd/animal-faces"
BY_HAND = f"Or by hand: download the zip from {PAGE} and run python -m vae_lab.afhq --fetch archive.zip"
LICENSE = (
    "Animal Faces-HQ (Choi et al. 2020, https://github.com/clovaai/stargan-v2) is under CC BY-NC 4.0: "
    "not for commercial purposes, and its authors are to be named."
)
PARTS = ("train", "test", "val")
# Cats, dogs and wild animals to train on, and to test on. Version 1, of 2020, is JPEG; version 2, of 2021, is
# PNG: the same pictures but for some 2%, made smaller with a better filter.
VERSIONS = {
    "version 1": ((5153, 4739, 4738), (500, 500, 500)),
    "version 2": ((5065, 4678, 4593), (493, 491, 483)),
}


def fetch(source: str, folder: Path) -> None:
    """Put the pictures of a zip into `folder`/afhq, all of them or none, and say what came.

    source : an address that begins with https://, or a zip file of yours, which stays as it is

    Raises `DataError` if the zip cannot be had, is damaged or no archive of AFHQ, or the disk is full. What
    has arrived over the network is kept then, and the same call goes on from there.
    """
    place = folder / "afhq"
    if _count(place):
        print(f"Nothing to fetch: {describe(folder)}. To fetch anew, move that folder away.")
        return
    print(LICENSE)
    try:
        if place.exists() and any(path.name != ".cache" for path in place.iterdir()):
            raise DataError(f"{place} is there, but without pictures of AFHQ; move it away first")
        _bring(source, place)
        for left in folder.glob(".afhq-*.zip*"):
            left.unlink()
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror or error}); make room there or point VAE_LAB_DATA "
            "elsewhere"
        ) from error
    print(f"Fetched: {describe(folder)}.")


def _bring(source: str, place: Path) -> None:
    """Download the zip if it is an address, and unpack it; one that proves unfit is not kept."""
    if "://" not in source:
        _unpack(Path(source).expanduser(), place, source)
        return
    archive = place.with_name(f".afhq-{hashlib.sha256(source.encode()).hexdigest()[:8]}.zip")
    downloads.download(source, archive, copies=2, otherwise=BY_HAND)
    try:
        _unpack(archive, place, source)
    except archives.UnfitError:
        archive.unlink()
        raise


def describe(folder: Path) -> str:
    """What `folder`/afhq holds, in words."""
    counts = _count(folder / "afhq")
    return f"{folder / 'afhq'} holds {_words(counts) if counts else 'no pictures'}"


def _count(place: Path) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """How many pictures of each species there are to train on and to test on, or None without any."""

    def number(part: str, species: str) -> int:
        return sum(path.suffix.lower() in archives.PICTURES for path in (place / part / species).glob("*"))

    train = tuple(number("train", species) for species in afhq.SPECIES)
    test = tuple(number("test", species) + number("val", species) for species in afhq.SPECIES)
    return (train, test) if any(train + test) else None


def _words(counts: tuple) -> str:
    (cats, dogs, wild), test = counts
    return (
        f"{cats:,} cats, {dogs:,} dogs and {wild:,} wild animals to train on and {sum(test):,} pictures to "
        f"test on ({_version(counts)})"
    )


def _version(counts: tuple) -> str:
    return next((name for name, known in VERSIONS.items() if known == counts), "not all of version 1 or 2")


def _unpack(archive: Path, place: Path, source: str) -> None:
    """Unpack into a folder aside, look at what came, and only then give it its name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".partial-") as aside:
        new = Path(aside) / "afhq"
        left_out = archives.unpack(archive, new, _where)
        counts = _count(new)
        if counts is None:
            raise archives.UnfitError(f"{archive} holds no pictures in the layout of AFHQ, train/cat/….jpg")
        if source == KAGGLE and counts != VERSIONS["version 1"]:
            raise archives.UnfitError(
                f"the zip from Kaggle is not what it was: it holds {_words(counts)}. Nothing of it was kept. "
                + BY_HAND
            )
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        (new / "SOURCE.txt").write_text(
            f"{LICENSE}\nFetched from {source.split('?')[0]}: {_words(counts)}.\n"
            f"The zip had {archive.stat().st_size} bytes and the SHA-256 {digest}.\n"
        )
        shutil.rmtree(place / ".cache", ignore_errors=True)  # of pictures that are gone
        if place.exists():  # empty; Windows renames to no name that is taken
            place.rmdir()
        new.replace(place)
    if left_out:
        names = ", ".join(left_out[:5]) + ", …" * (len(left_out) > 5)
        print(f"Left out {len(left_out)} of its files, which are no pictures of AFHQ: {names}")


def _where(path: PurePosixPath) -> PurePosixPath | None:
    """train/cat/NAME and the like, wherever in the archive that lies; None for anything else."""
    part, species = path.parts[-3:-1] if len(path.parts) > 2 else ("", "")
    fits = part in PARTS and species in afhq.SPECIES
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return PurePosixPath(part, species, path.name) if fits and not hidden else None


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m vae_lab.afhq`: 0 if all is well, 1 and a sentence if not, 130 if stopped."""
    command = argparse.ArgumentParser("python -m vae_lab.afhq", description="Animal Faces-HQ on your disk")
    command.add_argument(
        "--fetch",
        nargs="?",
        const=KAGGLE,
        metavar="ZIP",
        help="fetch it: version 1 from Kaggle (0.7 GB), a zip file of yours, or one from its https address",
    )
    asked = command.parse_args(arguments)
    try:
        if asked.fetch:
            fetch(asked.fetch, root())
        else:
            print(f"{describe(root())}.")
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What has arrived is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    return 0
