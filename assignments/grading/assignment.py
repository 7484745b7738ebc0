"""What is graded: an assignment as `make assignments` made it, with its tests held in memory."""

import ast
import hashlib
import inspect
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from otter.test_files import ExceptionTestFile


@dataclass(frozen=True)
class Case:
    """One test: a function, the names in the notebook that it asks for, and what it is worth."""

    function: Callable[..., None]
    names: tuple[str, ...]
    points: float
    hidden: bool
    hint: str


@dataclass(frozen=True)
class Question:
    """The tests of a question."""

    name: str
    cases: tuple[Case, ...]
    all_or_nothing: bool

    @classmethod
    def read(cls, source: str, path: str) -> "Question":
        tests = ExceptionTestFile.from_string(source, path)
        cases = [
            Case(
                case.body.test_func,
                tuple(inspect.signature(case.body.test_func).parameters),
                case.points,
                case.hidden,
                case.failure_message or "",
            )
            for case in tests.test_cases
        ]
        return cls(tests.name, tuple(cases), tests.all_or_nothing)

    def score(self, passed: Mapping[int, bool], *, hidden: bool | None = None) -> float:
        """Points for the cases that passed, by number; of hidden or of public ones only, if told."""
        if self.all_or_nothing and not all(passed.get(i) for i in range(len(self.cases))):
            return 0
        return sum(
            case.points
            for i, case in enumerate(self.cases)
            if passed.get(i) and hidden in (None, case.hidden)
        )

    def possible(self, *, hidden: bool | None = None) -> float:
        """Points to be had."""
        return sum(case.points for case in self.cases if hidden in (None, case.hidden))


@dataclass(frozen=True)
class Assignment:
    """An assignment: its tests, what students were given, and what only the grader may know."""

    name: str
    questions: dict[str, Question]
    by_hand: dict[str, float]  # points of the questions that a reader marks
    handout: dict[str, bytes]  # the folder `tests` that students have
    given: tuple[str, ...]  # the code cells that students have
    cells: dict[
        str, frozenset[str]
    ]  # what stands in this assignment's notebook alone, and in others'
    secrets: frozenset[str]  # pieces of hidden tests, which no feedback may contain
    digest: str

    @classmethod
    def read(cls, folder: Path) -> "Assignment":
        """From `folder`, which `assignments.generate` wrote, with other assignments beside it.

        Raises `FileNotFoundError` if it was not made yet.
        """
        with zipfile.ZipFile(folder / "autograder.zip") as autograder:
            sources = _tests(autograder)
        with zipfile.ZipFile(folder / f"{folder.name}.zip") as handout:
            public = _tests(handout)
        cells = {
            made.parent.name: _notebook(made.parent)
            for made in folder.parent.glob("*/autograder.zip")
            if (made.parent / f"{made.parent.name}.zip").exists()
        }
        questions = [Question.read(source.decode(), path) for path, source in sources.items()]
        given = [cell.source for cell in cells[folder.name] if cell.cell_type == "code"]
        return cls(
            name=folder.name,
            questions={
                each.name: each for each in sorted(questions, key=lambda q: by_number(q.name))
            },
            by_hand=_by_hand(cells[folder.name]),
            handout=public,
            given=tuple(given),
            cells=_own(cells),
            secrets=_secrets([source.decode() for source in sources.values()]),
            digest=hashlib.sha256(repr((sorted(sources.items()), given)).encode()).hexdigest(),
        )

    @property
    def possible(self) -> float:
        """Points that tests can give."""
        return sum(question.possible() for question in self.questions.values())

    def shared(self, sources: set[str]) -> dict[str, int]:
        """How many cells a notebook has in common with each assignment."""
        return {name: len(own & sources) for name, own in self.cells.items()}


def by_number(name: str) -> list:
    """A key to sort by: q2 before q10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _tests(archive: zipfile.ZipFile) -> dict[str, bytes]:
    names = [name for name in archive.namelist() if re.fullmatch(r"tests/\w+\.py", name)]
    return {name: archive.read(name) for name in sorted(names) if name != "tests/__init__.py"}


def _notebook(folder: Path) -> list:
    """The cells of the notebook that students of an assignment have."""
    with zipfile.ZipFile(folder / f"{folder.name}.zip") as handout:
        return nbformat.reads(handout.read(f"{folder.name}.ipynb").decode(), as_version=4).cells


def _own(cells: dict[str, list]) -> dict[str, frozenset[str]]:
    """By assignment: the cells that no other assignment has."""
    sources = {name: {cell.source for cell in each} for name, each in cells.items()}
    return {
        name: frozenset(own.difference(*(each for other, each in sources.items() if other != name)))
        for name, own in sources.items()
    }


def _by_hand(cells: list) -> dict[str, float]:
    """Points by question, where `otter assign` marks a question for a reader."""
    marked = [cell.source for cell in cells if "<!-- BEGIN QUESTION -->" in cell.source]
    found = [
        (re.search(r"Question (\d+)", text), re.search(r"_Points:_ ([\d.]+)", text))
        for text in marked
    ]
    return {f"q{name[1]}": float(points[1]) for name, points in found if name and points}


def _secrets(sources: list[str]) -> frozenset[str]:
    """Names, lines and strings of hidden tests that stand in no public one, with single spaces."""
    public, hidden = [], set()
    for source in sources:
        lines = source.splitlines()
        for node in ast.parse(source).body:
            marks = getattr(node, "decorator_list", [])
            options = [option for mark in marks for option in getattr(mark, "keywords", [])]
            block = lines[min([node, *marks], key=lambda n: n.lineno).lineno - 1 : node.end_lineno]
            if any(
                option.arg == "hidden" and ast.unparse(option.value) == "True" for option in options
            ):
                strings = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
                hidden |= {node.name, *block, *(text for text in strings if isinstance(text, str))}
            else:
                public += block
    seen = " ".join(" ".join(public).split())
    pieces = {" ".join(piece.split()) for piece in hidden}
    return frozenset(piece for piece in pieces if len(piece) >= 12 and piece not in seen)
