"""Answers to the assignments' questions, run through their tests as Otter runs them."""

import linecache
import re
import tomllib
from itertools import count

import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from otter.test_files import ExceptionTestFile

from assignments.generate import MASTERS

# The book's own assignments; one that a teacher begins with --new need not have its answers in ten styles.
OURS = [master for master in MASTERS if (master.parent / "answers.toml").exists()]
CELLS = count(1)


def answers_to(master):
    """By question: right answers in different styles, and wrong ones with what is said to them."""
    return tomllib.loads((master.parent / "answers.toml").read_text("utf8"))


def questions(notebook):
    """(name, cells before the answer, cells of the answer) of each autograded question, then of the rest."""
    before, answer = [], []
    for cell in nbformat.read(notebook, as_version=4).cells:
        check = re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source)
        if check:
            yield check[1], before, answer
            before, answer = [], []
        elif cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            (answer if "otter_assign_solution_cell" in tags else before).append(cell.source)
    yield None, before, answer


def configs(master):
    """The settings of each question of a master notebook."""
    cells = nbformat.read(master, as_version=4).cells
    return [yaml.safe_load(cell.source) for cell in cells if cell.source.startswith("# BEGIN QUESTION")]


def run(cells, namespace):
    """Run cells one after another, their lines known to tracebacks."""
    for cell in cells:
        source = TransformerManager().transform_cell(cell)
        name = f"<cell {next(CELLS)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), namespace)


def results(question, namespace):
    """What each test of a question, in `tests/` of the current folder, says: nothing, if it passes."""
    tests = ExceptionTestFile.from_file(f"tests/{question}.py")
    tests.run(namespace)
    return {
        result.test_case.body.test_func.__name__: "" if result.passed else result.message
        for result in tests.test_case_results
    }
