"""A folder graded, one notebook after another written down as it ends; what is written is not done again."""

import csv
import hashlib
import importlib
import io
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
        self.files = find(folder)
        self.keys = {file: self._key(file) for file in self.files}
        kept = ((file, self._kept(file)) for file in self.files)
        self.records = {file: record for file, record in kept if record}

    def grade(self) -> Iterator[dict]:
        """Grade what is not graded yet, and yield each record when it is written."""
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
                yield from (self.records[file] for file in (*refused, work.file))
                refused.clear()
            yield from (self.records[file] for file in refused)
        self._write_tables()

    def _open(self, files: list[Path], rooms: Path, refused: list[Path]) -> Iterator[Work]:
        for i, file in enumerate(files):
            room = rooms / str(i)
            room.mkdir()
            try:
                yield open_work(file, self.folder, room, self.assignment)
            except NotGradable as reason:
                nothing = {"notebook": "", "questions": {}, "errors": [], "look": [], "code": []}
                self._keep(file, {"status": str(reason), **nothing})
                refused.append(file)

    def _keep(self, file: Path, record: dict) -> None:
        """Write a record and the student's feedback; then the table, with what is known by now."""
        record |= {"file": str(file), "key": self.keys[file], "limits": self._limits()}
        text = json.dumps(record, ensure_ascii=False).encode("utf8", "replace")  # students' letters
        self.records[file] = record = json.loads(text)
        _write(self._record(file), text)
        _write(self._feedback(file), feedback(record, self.assignment).encode())
        write_table(self.out / "grades.csv", self._in_order(), self.assignment)

    def _kept(self, file: Path) -> dict | None:
        """The record of a file graded before, unless it was stopped at another limit."""
        path = self._record(file)
        record = json.loads(path.read_bytes()) if path.exists() else {}
        if record.get("key") != self.keys[file]:
            return None
        stopped = record["status"].startswith(UNFINISHED)
        return None if stopped and record["limits"] != self._limits() else record

    def _write_tables(self) -> None:
        """With what was graded before and without what is no longer there; and what is alike."""
        write_table(self.out / "grades.csv", self._in_order(), self.assignment)
        codes = {record["file"]: record["code"] for record in self._in_order()}
        pairs = similar(codes, self.assignment.given)
        rows = [(one, other, f"{alike:.0%}") for one, other, alike in pairs]
        table = io.StringIO(newline="")
        csv.writer(table).writerows([("file", "other file", "alike"), *rows])
        _write(self.out / "similar.csv", table.getvalue().encode("utf-8-sig"))

    def _limits(self) -> list[float]:
        return [self.limits.time, self.limits.memory]

    def _in_order(self) -> list[dict]:
        return sorted(self.records.values(), key=lambda record: record["file"])

    def _record(self, file: Path) -> Path:
        return self.out / "records" / f"{_id(file)}.json"

    def _feedback(self, file: Path) -> Path:
        """Under the name of what was handed in, or as much of it as a name may have."""
        name = file.name if len(bytes(Path(file.name))) < 200 else f"{file.name[:40]}-{_id(file)}"
        return self.out / "feedback" / file.with_name(f"{name}.md")

    def _key(self, file: Path) -> str:
        """Of the tests and of everything that was handed in with a file."""
        found = hashlib.sha256(self.assignment.digest.encode())
        for path in files_of(self.folder / file, self.folder):
            found.update(path.read_bytes())
        return found.hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)


def _id(file: Path) -> str:
    return hashlib.sha256(bytes(file)).hexdigest()[:12]
