"""Tensors kept on disk from one run to the next: verified when read, written whole or not at all."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from vae_lab.arguments import written
from vae_lab.files import DamagedFileError, load_tensors, save_tensors


def load_or_make(
    name: str, folders: Sequence[Path], make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors that `make` gives: from the first folder that holds them undamaged, else made anew.

    What was made is kept as `name`.safetensors in the first folder that can be written. A folder whose owner
    has marked it read-only stays as it is. If none can be written, a message says so once, and work goes on.
    """
    paths = [folder / f"{name}.safetensors" for folder in folders]
    for path in paths:
        try:
            return load_tensors(path)[0]
        except DamagedFileError:  # or not there
            continue
    content = make()
    _write_first(paths, content)
    return content


def _write_first(paths: list[Path], content: dict[str, Tensor]) -> None:
    """Write the first of the files that can be written."""
    reasons = []
    for path in paths:
        folder = path.parent
        try:
            _refuse_read_only(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(path, content)
        except OSError as error:
            reasons.append(f"{written(folder)} ({error.strerror or error})")
            continue
        if reasons:
            _say(f"Cannot write to {', '.join(reasons)}; what was read is kept in {written(folder)} instead.")
        return
    _say(f"Cannot keep what was read in {', '.join(reasons)}; it is read anew next time.")


def _refuse_read_only(path: Path) -> None:
    """Raise where the owner allows no writing, though root, as in Colab, could."""
    above = next(folder for folder in path.parents if folder.exists())
    if not above.stat().st_mode & 0o222:
        raise PermissionError(13, "marked read-only")


@functools.cache
def _say(message: str) -> None:
    """Print a message the first time that it is said."""
    print(message)
