"""A folder graded, one notebook after another written down as it ends; what is written is not done again."""

import csv
import hashlib
import importlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vae_lab.files import replacing

from . import kernel
from .assignment import Assignment
from .handed_in import NotGradable, Work, files_of, find, open_work
from .report import feedback, judge, write_table
from .side_by_side import Limits, side_by_side
from .similar import similar

# What notebooks import, imported once.
WARM = ("sklearn.datasets", "torch._dynamo", "vae_lab.data", "vae_lab.plotting", "vae_lab.training")
UNFINISHED = ("timed out", "kernel died")


class Folder:
    """What a class handed in, and the records of what is graded, by file."""

    def __init__(self, assignment: Assignment, folder: Path, out: Path, limits: Limits):
        self.assignment, self.folder, self.out, self.limits = assignment, folder, out, limits
        (out / "records").mkdir(parents=True, exist_ok=True)
        inside = out.resolve()
        self.files = [
            file for file in find(folder) if not (folder / file).resolve().is_relative_to(inside)
        ]
        self.keys = {file: self._key(file) for file in self.files}
        kept = ((file, self._kept(file)) for file in self.files)
        self.records = {file: record for file, record in kept if record}

    def grade(self) -> Iterator[Path]:
        """Grade what is not graded yet, and yield each file when its record is written."""
        waiting = [file for file in self.files if file not in self.records]
        for name in WARM if waiting else ():
            importlib.import_module(name)
        guard = kernel.prepare()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as rooms:
            refused: list[Path] = []
            works = self._open(waiting, Path(rooms), refused)
            for work, events, ending in side_by_side(works, self.assignment, guard, self.limits):
                self._keep(work.file, judge(work, events, ending, self.assignment))
                shutil.rmtree(Path(rooms, str(waiting.index(work.file))), ignore_errors=True)
                yield from (*refused, work.file)
                refused.clear()
            yield from refused
        self._write_tables()

    def _open(self, files: list[Path], rooms: Path, refused: list[Path]) -> Iterator[Work]:
        for i, file in enumerate(files):
            room = rooms / str(i)
            room.mkdir()
            try:
                yield open_work(file, self.folder, room, self.assignment)
            except NotGradable as reason:
                self._keep(file, {"status": str(reason), "questions": {}, "errors": [], "look": []})
                refused.append(file)

    def _keep(self, file: Path, record: dict) -> None:
        """Write a record and the student's feedback; then the table, with what is known by now."""
        record |= {"key": self.keys[file], "limits": [self.limits.time, self.limits.memory]}
        self.records[file] = record
        _write(self._record(file), json.dumps(record))
        name = (
            file.name
            if len(file.name.encode("utf8", "replace")) < 200
            else f"{file.name[:40]}-{_id(file)}"
        )
        _write(
            self.out / "feedback" / file.with_name(f"{name}.md"),
            feedback(_shown(file), record, self.assignment),
        )
        write_table(self.out / "grades.csv", self._by_name(), self.assignment)

    def _kept(self, file: Path) -> dict | None:
        """The record of a file graded before, unless it was stopped at a lower limit."""
        path = self._record(file)
        record = json.loads(path.read_text("utf8")) if path.exists() else {}
        if record.get("key") != self.keys[file]:
            return None
        stopped = record["status"].startswith(UNFINISHED)
        return (
            None
            if stopped and record["limits"] != [self.limits.time, self.limits.memory]
            else record
        )

    def _write_tables(self) -> None:
        write_table(self.out / "grades.csv", self._by_name(), self.assignment)
        codes = {
            name: record["code"] for name, record in self._by_name().items() if "code" in record
        }
        pairs = similar(codes, self.assignment.given)
        with (
            replacing(self.out / "similar.csv") as part,
            part.open("w", encoding="utf-8-sig", newline="") as file,
        ):
            rows = [(one, other, f"{alike:.0%}") for one, other, alike in pairs]
            csv.writer(file).writerows([("file", "other file", "alike"), *rows])

    def _by_name(self) -> dict[str, dict]:
        return {_shown(file): record for file, record in self.records.items()}

    def _record(self, file: Path) -> Path:
        return self.out / "records" / f"{_id(file)}.json"

    def _key(self, file: Path) -> str:
        """Of the tests and of everything that was handed in with a file."""
        found = hashlib.sha256(self.assignment.digest.encode())
        for path in files_of(self.folder / file, self.folder):
            found.update(path.read_bytes())
        return found.hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, "utf8")


def _id(file: Path) -> str:
    return hashlib.sha256(bytes(file)).hexdigest()[:12]


def _shown(file: Path) -> str:
    """A name in UTF-8, which names of files need not be."""
    return str(file).encode("utf8", "replace").decode()
