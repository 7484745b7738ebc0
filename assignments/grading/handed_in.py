"""What was handed in: found in a folder, unpacked safely, read, and recognized."""

import json
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from .assignment import Assignment

LARGEST = 500 * 2**20  # bytes that a zip may unpack to
MOST = 5000  # files that it may hold
KINDS = (".ipynb", ".zip")


class NotGradable(Exception):
    """Why something handed in cannot be graded; its words are the status."""


@dataclass
class Work:
    """A notebook ready to run: its code cells, the folder to run it in, what to look at by hand."""

    file: Path  # relative to the folder of what was handed in
    notebook: str
    cells: list[str]
    room: Path
    notes: list[str] = field(default_factory=list)


def find(folder: Path) -> list[Path]:
    """What there is to grade, relative to `folder`: notebooks and zips wherever they lie.

    Whatever else lies in the folder itself is there as well, so that nobody is overlooked: a file of another
    kind, or a sub-folder without a notebook.
    """
    everything = [path for path in folder.rglob("*") if not _hidden(path.relative_to(folder))]
    found = [path for path in everything if path.is_file() and path.suffix.lower() in KINDS]
    students = {path.relative_to(folder).parts[0] for path in found}
    found += [path for path in everything if path.parent == folder and path.name not in students]
    return sorted(path.relative_to(folder) for path in found)


def files_of(path: Path, folder: Path) -> Iterator[Path]:
    """The files that are handed in with `path`: a student's sub-folder is handed in whole."""
    if path.suffix.lower() == ".ipynb" and path.parent != folder:
        yield from sorted(each for each in path.parent.rglob("*") if each.is_file())
    elif path.is_file():
        yield path


def open_work(file: Path, folder: Path, room: Path, assignment: Assignment) -> Work:
    """Unpack and read what was handed in; raises `NotGradable` with the reason."""
    path = folder / file
    if path.is_dir():
        raise NotGradable("no notebook in the folder")
    if path.suffix.lower() not in KINDS:
        raise NotGradable("unreadable: neither a notebook nor a zip")
    if not path.stat().st_size:
        raise NotGradable("empty: the file has no content")
    if path.suffix.lower() == ".zip":
        _unpack(path, room)
        notebook, cells, notes = _the_notebook(room, assignment)
    else:
        for each in files_of(path, folder):
            inside = room / each.relative_to(path.parent)
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each, inside)
        notebook, cells, notes = room / path.name, _read(path), []
    _recognize(cells, assignment, notes)
    put_tests(notebook.parent, assignment)
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    if not any(source.strip() for source in code):
        raise NotGradable("empty: no code in the notebook")
    return Work(file, notebook.name, code, notebook.parent, notes)


def put_tests(room: Path, assignment: Assignment) -> None:
    """Put the tests that students have where the notebook expects them, in place of the student's."""
    tests = room / "tests"
    if tests.is_dir():
        shutil.rmtree(tests)
    tests.unlink(missing_ok=True)
    tests.mkdir()
    for name, source in assignment.handout.items():
        (room / name).write_bytes(source)


def _hidden(path: Path) -> bool:
    """What editors and systems leave beside one's files."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _unpack(path: Path, room: Path) -> None:
    """`ZipFile` itself takes every name as one below `room`, and reads no more than an entry announces."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST or sum(entry.file_size for entry in entries) > LARGEST:
                raise NotGradable(f"unreadable: the zip unpacks to more than {LARGEST // 2**20} MB")
            archive.extractall(room)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise NotGradable(f"unreadable: not a zip, or a damaged one ({error})") from error
    except RuntimeError as error:  # encrypted, or packed in a way that Python does not know
        raise NotGradable(f"unreadable: the zip cannot be unpacked ({error})") from error


def _the_notebook(room: Path, assignment: Assignment) -> tuple[Path, list, list[str]]:
    """The notebook of a zip that belongs to the assignment, as its name or else its cells tell."""
    found = [path for path in sorted(room.rglob("*")) if path.suffix.lower() == ".ipynb"]
    found = [path for path in found if path.is_file() and not _hidden(path.relative_to(room))]
    if not found:
        raise NotGradable("no notebook in the zip")
    if len(found) == 1:
        return found[0], _read(found[0]), []
    readable = {}
    for path in found:
        try:
            readable[path] = _read(path)
        except NotGradable as error:
            reason = error
    if not readable:
        raise reason

    def fits(path: Path) -> tuple:
        shared = assignment.shared({cell.source for cell in readable[path]})
        return path.stem == assignment.name, shared[assignment.name]

    best = max(readable, key=fits)
    return best, readable[best], [f"{len(found)} notebooks in the zip: this one was graded"]


def _read(path: Path) -> list:
    """The cells of a notebook, but for those that Otter ignores as well."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise NotGradable("unreadable: not a notebook, or one that is cut off") from error
    try:
        cells = nbformat.reads(json.dumps(content), as_version=4).cells
        return [cell for cell in cells if "otter_ignore" not in cell.metadata.get("tags", ())]
    except Exception as error:  # whatever nbformat stumbles over
        raise NotGradable("unreadable: not a notebook") from error


def _recognize(cells: list, assignment: Assignment, notes: list[str]) -> None:
    """Refuse the notebook of another assignment."""
    shared = assignment.shared({cell.source for cell in cells})
    best = max(shared, key=shared.get)
    if shared[best] > shared[assignment.name]:
        raise NotGradable(f"another assignment: this is {best}")
    if not shared[best]:
        notes.append("none of the cells that were handed out is in it")
