"""Tensors kept on disk from one run to the next: verified when read, written whole or not at all."""

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor


def kept(name: str, folders: Sequence[Path], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that `make` gives: from the first folder that holds them undamaged, else made anew.

    What was made is kept as `name`.safetensors in the first folder that can be written. A folder whose owner
    has marked it read-only stays as it is. A disk that can keep nothing is no reason to stop; that is said
    once.
    """
    paths = [folder / f"{name}.safetensors" for folder in folders]
    for path in paths:
        content = _read(path)
        if content is not None:
            return content
    content = make()
    _write_first(paths, content)
    return content


def _read(path: Path) -> dict[str, Tensor] | None:
    """What the file holds, or None if that is nothing, or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dictionary
            told = file.metadata()["sha256"]
    except (OSError, SafetensorError, KeyError, TypeError):
        return None
    return content if told == _digest(content) else None


def _write_first(paths: list[Path], content: dict[str, Tensor]) -> None:
    """Write the first of the files that can be written."""
    reasons = []
    for path in paths:
        try:
            _write(path, content)
        except OSError as error:
            reasons.append(f"{path.parent} ({error.strerror or error})")
            continue
        if reasons:
            _say(f"Cannot write to {', '.join(reasons)}; what was read is kept in {path.parent} instead.")
        return
    _say(f"Cannot keep what was read in {', '.join(reasons)}; it is read anew next time.")


def _write(path: Path, content: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    above = next(folder for folder in path.parents if folder.exists())
    if not above.stat().st_mode & 0o222:  # root, as in Colab, could write here all the same
        raise PermissionError(13, "marked read-only")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as aside:
        part = Path(aside) / path.name
        part.write_bytes(save(content, {"sha256": _digest(content)}))
        os.replace(part, path)


def _digest(content: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(content):
        digest.update(name.encode())
        digest.update(memoryview(content[name].contiguous().numpy()))
    return digest.hexdigest()


@functools.cache
def _say(message: str) -> None:
    """Print a message the first time that it is said."""
    print(message)
