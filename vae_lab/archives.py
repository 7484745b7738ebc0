"""Pictures from a zip that nobody vouches for: nothing outside the folder, nothing larger than it says."""

import errno
import re
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from vae_lab.downloads import need_room
from vae_lab.mnist import DataError

PICTURES = {".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".png": b"\x89PNG\r\n\x1a\n"}  # how they begin
MOST_FILES = 100_000
MOST_BYTES = 64 << 20  # of one picture
MOST_GROWTH = 20  # pictures are compressed already; a zip makes them hardly smaller
CHUNK = 1 << 20


class UnfitError(DataError):
    """An archive that is damaged, or dangerous to unpack."""


def unpack(archive: Path, folder: Path, place: Callable[[PurePosixPath], PurePosixPath | None]) -> list[str]:
    """Unpack the pictures of a zip into an empty folder; names of the files that were left out.

    place : where in the folder a file of this name goes, or None to leave it out. Files that are no JPEG or
        PNG by their ending or by how they begin are left out too

    Every file is compared with its checksum. Raises `UnfitError` if the archive is damaged or holds names
    that lead out of the folder, links, locked files or far more than its size allows; `DataError` if it
    cannot be read or the disk has no room; `OSError` if the disk cannot be written.
    """
    try:
        with _open(archive) as file, zipfile.ZipFile(file) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
            _refuse_unsafe(archive, infos)
            placed, left_out = _placed(archive, infos, place)
            folder.mkdir(parents=True, exist_ok=True)
            need_room(folder, sum(info.file_size for info, _ in placed))
            for info, where in tqdm(placed, desc="unpacking", disable=None):
                if not _unpack_one(opened, info, folder / where):
                    left_out.append(info.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a leap to before the start
            raise
        raise UnfitError(f"{archive} is no whole zip file ({error}); download it again") from error
    return left_out


def _open(archive: Path) -> BinaryIO:
    try:
        return archive.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {archive} ({error.strerror}); name a zip file that is there") from error


def _refuse_unsafe(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Look at what the archive says of itself before anything is written."""
    packed = archive.stat().st_size
    grown = sum(info.file_size for info in infos)
    shared = sum(info.compress_size for info in infos) > packed
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if _leads_out(info.filename):
            raise UnfitError(
                f"{archive} holds {info.filename!r}, a name that leads out of its folder; do not use it"
            )
        if kind not in (0, stat.S_IFREG):
            raise UnfitError(
                f"{archive} holds {info.filename!r}, a link or device and no file; do not use it"
            )
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnfitError(
                f"{archive} holds {info.filename!r}, locked or packed in an unusual way; pack it anew"
            )
    largest = max((info.file_size for info in infos), default=0)
    if len(infos) > MOST_FILES or largest > MOST_BYTES or grown > MOST_GROWTH * packed or shared:
        raise UnfitError(
            f"{archive} says that its {packed:,} bytes unpack to {len(infos):,} files of {grown:,} bytes, "
            f"the largest of {largest:,}; that is no archive of pictures"
        )


def _leads_out(name: str) -> bool:
    """Absolute, upwards, with a drive letter, or in the notation of another system."""
    return (
        name.startswith("/") or "\\" in name or bool(re.match("[A-Za-z]:", name)) or ".." in name.split("/")
    )


def _placed(archive: Path, infos: list[zipfile.ZipInfo], place) -> tuple[list, list[str]]:
    """[(what, where to)] of the pictures, and the names of other files."""
    placed, left_out = {}, []
    for info in infos:
        path = PurePosixPath(info.filename)
        where = place(path) if path.suffix.lower() in PICTURES else None
        if where is None:
            left_out.append(info.filename)
        elif str(where).lower() in placed:
            raise UnfitError(f"{archive} holds two pictures for {where}; unpack it by hand and choose")
        else:
            placed[str(where).lower()] = (info, where)  # to some disks, A.jpg and a.jpg are the same
    return list(placed.values()), left_out


def _unpack_one(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> bool:
    """Write one file if it begins as a picture does. Python checks its length and its checksum at the end."""
    with opened.open(info) as packed:
        chunk = packed.read(CHUNK)
        if not chunk.startswith(PICTURES[target.suffix.lower()]):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk:
                file.write(chunk)
                chunk = packed.read(CHUNK)
            if file.tell() != info.file_size:
                raise EOFError(f"{info.filename} is cut short")
    return True
