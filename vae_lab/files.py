"""Files written whole or not at all, and a verified file of tensors.

No pickle: a file can be wrong, but it cannot run code.
"""

import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

FORMAT = "vae_lab tensors 2"


class DamagedFileError(RuntimeError):
    """A file that is not what was written, or that something else wrote; the message says which."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file beside `path` to write to; it takes its place if all goes well, else it is removed.

    Where `path` is a link, the file that it leads to is replaced, and the link stays.
    A process that dies while writing leaves the old file, and the new one as .NAME.….part (`remove_parts`).
    Raises `OSError` if the disk is full or the folder cannot be written.
    """
    path = _behind_links(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp's are for the owner alone
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(path: Path) -> None:
    """Remove what a process left behind when it died while writing `path`."""
    path = _behind_links(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


def replace_files(folder: Path, files: dict[str, bytes], *, own: tuple[str, ...] = ()) -> None:
    """Put these files into `folder`, all of them or none. Other files there stay.

    own : patterns of names, such as "checkpoint*"; older files that match are removed

    Raises `OSError` if that cannot be done.
    """
    folder = _behind_links(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        new, old = Path(aside, "new"), Path(aside, "old")
        new.mkdir()
        for path in folder.iterdir() if folder.exists() else ():
            if path.name not in files and not any(path.match(pattern) for pattern in own):
                _copy(path, new / path.name)
        for name, content in files.items():
            (new / name).write_bytes(content)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except BaseException:
            if old.exists():
                os.replace(old, folder)
            raise


def _copy(path: Path, to: Path) -> None:
    """Copy a file or a folder; links stay links, also those that lead nowhere or in a circle."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, to, symlinks=True)
    else:
        shutil.copy2(path, to, follow_symlinks=False)


def _behind_links(path: Path) -> Path:
    return Path(os.path.realpath(path))


def save_tensors(path: Path, tensors: dict[str, Tensor], record: dict | None = None) -> None:
    """Write named tensors, and a record of plain values, as one safetensors file with its own checksum.

    Raises `OSError` if it cannot be written; an earlier file then stays.
    """
    from safetensors.torch import save

    if str(path).encode("utf8", "replace") != os.fsencode(path):
        raise OSError(errno.EILSEQ, "its name is not in UTF-8, and could not be read again")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(record or {})
    header = {"format": FORMAT, "record": text, "sha256": digest(tensors, text)}
    with replacing(path) as part:
        part.write_bytes(save(tensors, header))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors, on the CPU, and the record of a file that `save_tensors` wrote.

    Raises `DamagedFileError` if it cannot be read, is something else, or is not what was written.
    """
    from safetensors import SafetensorError, safe_open

    if os.path.exists(path) and not os.path.isfile(path):
        raise DamagedFileError(f"{path} cannot be read (it is no file)")  # from a pipe nothing may ever come
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            # Copies, for what is mapped onto the file changes with it, and Windows replaces no mapped file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path} cannot be read ({error!s:.100})") from error
    if header.get("format") != FORMAT:
        raise DamagedFileError(f"{path} is no file of vae_lab's tensors, or one of another version")
    if header.get("sha256") != digest(tensors, header.get("record", "")):
        raise DamagedFileError(f"{path} is damaged: its content does not have its checksum")
    return tensors, json.loads(header["record"])


def digest(tensors: dict[str, Tensor], text: str = "") -> str:
    """SHA-256 of a text, and of the tensors' names, types, shapes and numbers."""
    found = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(raw_bytes(tensor))
    return found.hexdigest()


def raw_bytes(tensor: Tensor) -> memoryview:
    """The numbers of a tensor as they lie in memory, row by row, from whatever device."""
    return memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


@contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    """The process's environment with these settings; as it was afterwards."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
