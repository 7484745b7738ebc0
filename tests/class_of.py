"""A class of students that nobody taught: python tests/class_of.py N MADE FOLDER.

Makes N submissions to the assignment in MADE (a folder that `assignments.generate` wrote, with another
assignment beside it), spoiled in every way that a teacher has met, and beside FOLDER a `key.json`: what each
must get, computed from the points in the handout and the way it was spoiled, by nothing that grades.
"""

import ast
import io
import json
import re
import sys
import zipfile
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

SLEEP = ["sleep", "1234.5"]  # what a notebook leaves running


@dataclass
class Expected:
    """What a submission must get: points (None: not graded), how its status begins, what to look at."""

    total: float | None
    status: str = "graded"
    look: str = ""

    def fits(self, row: dict[str, str]) -> bool:
        """Whether a row of `grades.csv` is as expected."""
        total = "" if self.total is None else f"{self.total:g}"
        return row["total"] == total and row["status"].startswith(self.status) and self.look in row["look"]


@dataclass
class Paper:
    """A student's copy of the solution, and where in it each question is answered and checked."""

    made: Path
    cells: list = field(init=False)

    def __post_init__(self):
        self.cells = nbformat.read(self.made / "solution.ipynb", as_version=4).cells
        with zipfile.ZipFile(self.made / f"{self.made.name}.zip") as handout:
            self.handout = handout.read(f"{self.made.name}.ipynb")
        given = nbformat.reads(self.handout.decode(), as_version=4).cells
        self.blank = dict(_answers(given))
        heads = re.findall(r"\*\*Question (\d+)\.\*\*.*?_Points:_ (\d+)", _text(given), re.S)
        self.points = {f"q{n}": int(p) for n, p in heads if f"q{n}" in dict(_answers(self.cells))}
        self.total = sum(self.points.values())

    def earned(self, *, until: str) -> int:
        """Points of the questions before this one."""
        return sum(list(self.points.values())[: list(self.points).index(until)])

    def check(self, question: str) -> int:
        """Where a question is checked."""
        return next(i for i, cell in enumerate(self.cells) if cell.source == _check(question))

    def add(self, at: int, source: str) -> None:
        self.cells.insert(at, new_code_cell(source))

    def forget(self, question: str) -> None:
        """Leave this question and all later ones as they were handed out."""
        answers = dict(_answers(self.cells))
        for name in list(self.points)[list(self.points).index(question) :]:
            for cell, blank in zip(answers[name], self.blank[name], strict=True):
                cell.source = blank.source

    def spoil(self, question: str, body: str) -> None:
        """For the time of its check, let everything that a question asks for be a function with this body."""
        sources = "\n".join(cell.source for cell in dict(_answers(self.cells))[question])
        names = [node.name for node in ast.parse(sources).body if isinstance(node, ast.FunctionDef)]
        keep = "".join(f"kept_{name}, {name} = {name}, spoiled\n" for name in names)
        back = "".join(f"{name} = kept_{name}\n" for name in names)
        self.add(self.check(question) + 1, back)
        self.add(self.check(question), f"def spoiled(*args, **options):\n    {body}\n\n\n{keep}")

    def content(self) -> bytes:
        notebook = nbformat.v4.new_notebook(cells=self.cells)
        return nbformat.writes(notebook).encode()


def _text(cells):
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def _check(question):
    return f'grader.check("{question}")'


def _answers(cells):
    """(question, its answer cells)"""
    answer = []
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if {"otter_answer_cell", "otter_assign_solution_cell"} & set(tags) and cell.cell_type == "code":
            answer.append(cell)
        elif check := re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source):
            yield check[1], answer
            answer = []


# Each changes a paper at a question, and says what it must get now.


def right(paper, question):
    return Expected(paper.total)


def chatty(paper, question):
    """What students leave in their notebooks, and what no grader may stumble over."""
    at = paper.check(question)
    for source in (
        "%pip install --quiet no-such-package-of-this-name",
        "!pip install no-such-package-of-this-name",
        "import sys\nsys.exit(3)",
        "exit()",
        "name = input('Who are you? ')",
        "1 / 0",
        "this is no Python",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()",
        f"import subprocess\nsleeping = subprocess.Popen({SLEEP}, start_new_session=True)",
    ):
        paper.add(at, source)
    return Expected(paper.total)


def unchecked(paper, question):
    """The cells that check are gone, and so is one that was given."""
    checks = [_check(each) for each in paper.points]
    paper.cells = [cell for cell in paper.cells if cell.source not in checks]
    return Expected(paper.total)


def merged(paper, question):
    """Each answer in one cell with its check, with words of the student's own between."""
    cells = []
    for cell in paper.cells:
        if cell.source in map(_check, paper.points):
            cells[-1].source += f"\n\n{cell.source}"
            cells.append(new_markdown_cell("Here I thought for a while."))
        else:
            cells.append(cell)
    paper.cells = cells
    return Expected(paper.total)


def half(paper, question):
    paper.forget(question)
    earned = paper.earned(until=question)
    return Expected(earned, "graded" if earned else "")


def wrong(paper, question):
    paper.spoil(question, "return None")
    return Expected(paper.total - paper.points[question])


def crashing(paper, question):
    paper.spoil(question, "raise ValueError('my own words')")
    return Expected(paper.total - paper.points[question])


def leaving(paper, question):
    paper.spoil(question, "raise SystemExit")
    return Expected(paper.total - paper.points[question])


def looping(paper, question):
    paper.add(paper.check(question), "while True:\n    pass")
    return Expected(paper.earned(until=question), "timed out")


def looping_within(paper, question):
    paper.spoil(question, "while True: pass")
    return Expected(paper.earned(until=question), "timed out")


def gone(paper, question):
    paper.add(paper.check(question), "import os\nos._exit(0)")
    return Expected(paper.earned(until=question), "kernel died (exit code 0)", "mentions os._exit")


def gone_within(paper, question):
    paper.spoil(question, "import os; os._exit(3)")
    return Expected(paper.earned(until=question), "kernel died (exit code 3)", "mentions import os; os._exit")


def segfault(paper, question):
    paper.add(paper.check(question), "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    return Expected(paper.earned(until=question), "kernel died (SIGSEGV")


def hungry(paper, question):
    paper.add(
        paper.check(question), "eaten = []\nwhile True:\n    eaten.append(bytearray(b'x') * 10_000_000)"
    )
    return Expected(paper.earned(until=question), "kernel died (out of memory")


def patched(paper, question):
    """Two lines that please Otter, and some that please every test."""
    paper.forget(question)
    paper.add(
        paper.check(next(iter(paper.points))),
        "import otter.test_files.exception_test as tests\n"
        "tests.ExceptionTestFile.score = 9\ntests.test_case.call_func = lambda *args: None\n"
        "torch.allclose = torch.equal = lambda *args, **options: True\n"
        "torch.Tensor.__eq__ = lambda *args: True\n"
        "import builtins\nbuiltins.abs = lambda x: 0",
    )
    return Expected(paper.earned(until=question), look="grader patched: torch.allclose")


def rewriting(paper, question):
    paper.forget(question)
    paper.add(
        paper.check(next(iter(paper.points))),
        "from pathlib import Path\nfor path in Path('tests').glob('*.py'):\n"
        "    path.write_text('OK_FORMAT = False\\nname = \"q\"\\npoints = 99\\n')",
    )
    return Expected(paper.earned(until=question), look="tests changed")


def own_grader(paper, question):
    paper.forget(question)
    paper.add(
        paper.check(next(iter(paper.points))),
        "class Grader:\n    def check(self, question):\n        return 'all passed'\n\n\ngrader = Grader()",
    )
    return Expected(paper.earned(until=question))


SPOILED = (
    *(right, half, looping, wrong, gone, chatty, hungry, patched, crashing, unchecked, rewriting, segfault),
    *(merged, leaving, gone_within, own_grader, looping_within),
)
USUAL = (right, half, wrong, chatty, merged, unchecked, crashing, leaving)


def untouched(paper):
    return {"untouched.ipynb": paper.handout}, Expected(0, "untouched")


def truncated(paper):
    content = paper.content()
    return {"truncated.ipynb": content[: len(content) // 2]}, Expected(None, "unreadable")


def empty(paper):
    return {"nothing.ipynb": b""}, Expected(None, "empty")


def another(paper):
    other = next(path for path in paper.made.parent.iterdir() if path.name != paper.made.name)
    content = (other / "solution.ipynb").read_bytes()
    return {f"{paper.made.name}.ipynb": content}, Expected(None, f"another assignment: this is {other.name}")


def packed(paper):
    """A zip of a folder, with what systems leave in it, and with tests of the student's own."""
    files = {
        f"home work/{paper.made.name}.ipynb": paper.content(),
        f"home work/.ipynb_checkpoints/{paper.made.name}-checkpoint.ipynb": b"{}",
        "__MACOSX/._home work.ipynb": b"\0",
        "home work/tests/q1.py": b"points = 99",
    }
    return {"Ünïcode name.ZIP": _zip(files)}, Expected(paper.total)


def packed_without(paper):
    return {"report.zip": _zip({"report.txt": b"I did my best."})}, Expected(None, "no notebook in the zip")


def damaged(paper):
    content = _zip({"a.ipynb": paper.content()})
    return {"damaged.zip": content[: len(content) // 2]}, Expected(None, "unreadable")


def own_folder(paper):
    """A notebook in upper case that imports a module beside it."""
    paper.add(paper.check(next(iter(paper.points))), "from beside import anything")
    return {"Doe, J. (17)/HOMEWORK.IPYNB": paper.content(), "Doe, J. (17)/beside.py": b"anything = 1"}, (
        Expected(paper.total)
    )


def other_file(paper):
    return {"homework.pdf": b"%PDF-1.7"}, Expected(None, "unreadable: neither")


def no_file(paper):
    return {"Roe, R./homework.docx": b"PK"}, Expected(None, "no notebook in the folder")


FILES = (
    *(untouched, truncated, empty, another, packed, packed_without, damaged, own_folder, other_file),
    no_file,
)


def _zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def class_of(n: int, made: Path, folder: Path) -> dict[str, Expected]:
    """Write n submissions into `folder`; what each must get, by the file that is graded."""
    key = {}
    for i, make in enumerate(islice(cycle((*FILES, *SPOILED, *4 * USUAL)), n)):
        paper = Paper(made)
        if make in FILES:
            files, expected = make(paper)
        else:
            expected = make(paper, list(paper.points)[i % len(paper.points)])
            files = {f"{make.__name__}.ipynb": paper.content()}
        files = {f"{i:03} {name}": content for name, content in files.items()}
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        first = next(iter(files))
        key[first.split("/")[0] if make is no_file else first] = expected
    return key


if __name__ == "__main__":
    made, folder = Path(sys.argv[2]), Path(sys.argv[3])
    key = class_of(int(sys.argv[1]), made, folder)
    text = json.dumps({name: vars(expected) for name, expected in key.items()}, indent=1, ensure_ascii=False)
    (folder.parent / "key.json").write_text(text, "utf8")
