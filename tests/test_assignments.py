"""The assignments: a solution earns all, an untouched notebook nothing; mistakes are caught and explained."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
import torch
import yaml
from IPython.core.inputtransformer2 import TransformerManager

otter = pytest.importorskip("otter.test_files", reason="no grader here: pip install -e '.[teach]'")
generate, MASTERS, main = (
    getattr(pytest.importorskip("assignments.generate"), name) for name in ("generate", "MASTERS", "main")
)

pytestmark = pytest.mark.teach

ROOT = Path(__file__).parent.parent
HTML = ROOT / "_build" / "html"

each_assignment = pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.stem)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The files of each assignment, as `make assignments` writes them, by name."""
    out = tmp_path_factory.mktemp("assignments")
    return {master.stem: generate(master, out, run_tests=False) for master in MASTERS}


@pytest.fixture
def student(made, master, tmp_path):
    """What a student unpacks: a folder with the notebook and the public tests."""
    with zipfile.ZipFile(made[master.stem] / f"{master.stem}.zip") as handout:
        handout.extractall(tmp_path / "student")
    return tmp_path / "student"


def graded(notebook, folder, out):
    """(points, points to be had) of a notebook, as `otter run` grades it, in two minutes at most."""
    command = [sys.executable, "-m", "otter", "run", "-a", folder / "autograder.zip", "-o", out, notebook]
    subprocess.run(command, cwd=out, check=True, capture_output=True, timeout=120)
    tests = json.loads((out / "results.json").read_text("utf8"))["tests"]
    questions = [test for test in tests if "score" in test]
    return sum(test["score"] for test in questions), sum(test["max_score"] for test in questions)


def wrong_answers(master):
    """The mistakes to catch, by question."""
    return tomllib.loads((master.parent / "wrong_answers.toml").read_text("utf8"))


def points(master):
    """What the tests of an assignment can give."""
    return sum(question["points"] for question in _configs(master) if not question.get("manual"))


@pytest.mark.slow
@each_assignment
def test_the_solution_earns_everything(made, master, tmp_path):
    folder = made[master.stem]
    assert graded(folder / "solution.ipynb", folder, tmp_path) == (points(master), points(master))


@pytest.mark.slow
@pytest.mark.parametrize("master", MASTERS[:1], ids=lambda master: master.stem)
def test_otter_gives_an_untouched_notebook_nothing(made, master, student, tmp_path):
    assert graded(student / master.name, made[master.stem], tmp_path) == (0, points(master))


@pytest.fixture
def grading(made, master, tmp_path, monkeypatch):
    """The folder in which all tests of an assignment lie, as when Otter grades; made the current one."""
    with zipfile.ZipFile(made[master.stem] / "autograder.zip") as autograder:
        autograder.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)


@each_assignment
def test_an_untouched_notebook_passes_no_test(master, student, grading):
    namespace = {}
    for _, before, answer in _questions(student / master.name):
        for cell in before + answer:
            with suppress(Exception):  # as when graded: a cell that fails does not stop the next
                _run([cell], namespace)
    for question in wrong_answers(master):
        results = _results(question, namespace)
        assert results and all(results.values()), question
        assert not _crashes(question, namespace)


@each_assignment
def test_mistakes_are_caught_and_explained(made, master, grading):
    """Every wrong answer fails the test meant for it, with the words meant for it."""
    wrong, namespace, problems = wrong_answers(master), {}, []
    for question, before, answer in _questions(made[master.stem] / "solution.ipynb"):
        _run(before, namespace)
        clean = dict(namespace)
        _run(answer, namespace)
        results = _results(question, namespace) if question else {}
        problems += [f"{question}: the solution fails {test}" for test, words in results.items() if words]
        for name in _functions(answer) if question else ():
            for how in WRONG_SHAPES:
                problems += _crashes(question, namespace | {name: _spoiled(namespace[name], how)})
        for mistake in wrong.get(question, []):
            words = _words_for(mistake, question, answer, dict(clean))
            if mistake["saying"] not in words:
                problems.append(f"{question}, {mistake['mistake']}: {mistake['caught_by']} says {words!r}")
    assert not problems, "\n".join(problems)


def _questions(solution):
    """(name, cells before the answer, cells of the answer) of each autograded question, then of the rest."""
    before, answer = [], []
    for cell in nbformat.read(solution, as_version=4).cells:
        check = re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source)
        if check:
            yield check[1], before, answer
            before, answer = [], []
        elif cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            (answer if "otter_assign_solution_cell" in tags else before).append(cell.source)
    yield None, before, answer


def _run(cells, namespace):
    for source in cells:
        exec(TransformerManager().transform_cell(source), namespace)


def _results(question, namespace):
    """What each test of a question says to the answer in `namespace`: nothing, if it passes."""
    return {
        result.test_case.body.test_func.__name__: "" if result.passed else result.message
        for result in _run_tests(question, namespace)
    }


def _run_tests(question, namespace):
    tests = otter.ExceptionTestFile.from_file(f"tests/{question}.py")
    tests.run(namespace)
    return tests.test_case_results


# What a function may return for a tensor or a number; none of it may crash a test.
WRONG_SHAPES = (
    lambda found: found.sum() if torch.is_tensor(found) else found,
    lambda found: found[None] if torch.is_tensor(found) else torch.tensor([found, found]),
    lambda found: found[:1] if torch.is_tensor(found) and found.ndim else found,
)


def _functions(cells):
    """The names of the functions that an answer defines."""
    return [name for cell in cells for name in re.findall(r"^def (\w+)\(", cell, re.M)]


def _spoiled(function, how):
    """A function like `function`, whose results have another shape."""

    def spoiled(*args, **kwargs):
        found = function(*args, **kwargs)
        many = isinstance(found, tuple | list)
        parts = [
            how(one) if isinstance(one, float | torch.Tensor) else one for one in (found if many else [found])
        ]
        return type(found)(parts) if many else parts[0]

    return spoiled


def _crashes(question, namespace):
    """What public tests say to an answer that they did not expect, where it is no sentence of theirs."""
    return [
        f"{question}, {result.test_case.body.test_func.__name__}: {result.message}"
        for result in _run_tests(question, namespace)
        if not (result.passed or result.test_case.hidden or "AssertionError" in result.message)
    ]


def _words_for(mistake, question, answer, namespace):
    """What the test meant to catch a mistake says to it. A crash explains nothing."""
    if sum(cell.count(mistake["replace"]) for cell in answer) != 1:
        return f"nothing: {mistake['replace']!r} should stand once in the solution"
    _run([cell.replace(mistake["replace"], mistake["by"]) for cell in answer], namespace)
    words = _results(question, namespace)[mistake["caught_by"]]
    return words if "AssertionError" in words or not words else f"crashed: {words}"


@each_assignment
def test_every_question_has_four_mistakes(master):
    wrong = wrong_answers(master)
    autograded = {question["name"] for question in _configs(master) if not question.get("manual")}
    assert wrong.keys() == autograded
    for question, mistakes in wrong.items():
        different = {(mistake["replace"], mistake["by"]) for mistake in mistakes}
        assert len(different) == len(mistakes) >= 4, question
        assert all(len(mistake["saying"].split()) > 1 for mistake in mistakes), question


def _configs(master):
    """The settings of each question of a master notebook."""
    cells = nbformat.read(master, as_version=4).cells
    return [yaml.safe_load(cell.source) for cell in cells if cell.source.startswith("# BEGIN QUESTION")]


@each_assignment
def test_says_its_points_and_its_time(master):
    cells = nbformat.read(master, as_version=4).cells
    head = next(cell.source for cell in cells if cell.cell_type == "markdown")
    total = sum(question["points"] for question in _configs(master))
    assert f"| **Points** | {total}" in head and "| **Time** |" in head and "| **Read first** |" in head


@each_assignment
def test_the_page_says_how_many_points_are_hidden(master):
    cells = nbformat.read(master, as_version=4).cells
    tests = [cell.source for cell in cells if "\nhidden: true\n" in cell.source]
    hidden = sum(int(re.search(r"^points: (\d+)$", test, re.M)[1]) for test in tests)
    page = (ROOT / "book" / "assignments.md").read_text("utf8")
    assert re.search(rf"^\| {master.stem[0]} \|.* \| {hidden} \|$", page, re.M)


@each_assignment
def test_a_master_is_clean(master):
    notebook = nbformat.read(master, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


def _secrets(master):
    """Lines that only the instructor may see: of solutions, and the names of hidden tests."""
    secret, public = set(), set()
    for cell in nbformat.read(master, as_version=4).cells:
        if "\nhidden: true\n" in cell.source:
            secret |= set(re.findall(r"def test_\w+", cell.source))
        else:
            solutions = re.compile(r"# BEGIN SOLUTION(?: NO PROMPT)?\n.*?# END SOLUTION", re.S)
            secret |= {
                line.strip() for block in solutions.findall(cell.source) for line in block.splitlines()[1:-1]
            }
            public |= {line.strip() for line in solutions.sub("", cell.source).splitlines()}
    return secret - public


@each_assignment
def test_students_get_no_solution_and_no_hidden_test(master, student):
    notebook = nbformat.read(student / master.name, as_version=4)
    given = {line.strip() for cell in notebook.cells for line in cell.source.splitlines()}
    for test in (student / "tests").iterdir():
        given |= set(re.findall(r"def test_\w+", test.read_text("utf8")))
    assert len(_secrets(master)) > 10 and not _secrets(master) & given


@each_assignment
def test_a_notebook_alone_unpacks_the_tests_of_its_handout(made, master, tmp_path, monkeypatch):
    """As in Colab, where the zip is dragged beside it; the student's own notebook is left alone."""
    monkeypatch.chdir(tmp_path)
    cells = nbformat.read(master, as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    with pytest.raises(AssertionError, match=f"{master.stem}.zip into the files pane"):
        _run([first], {})
    shutil.copy(made[master.stem] / f"{master.stem}.zip", tmp_path)
    _run([first], {})
    assert (tmp_path / "tests" / "q1.py").exists() and not (tmp_path / master.name).exists()


def test_the_book_holds_no_assignment():
    assert "assignments/" not in (ROOT / "_toc.yml").read_text("utf8")
    if not HTML.exists():
        pytest.skip("the book is not built; `make book` builds it")
    pages = "\n".join(
        page.read_text("utf8") for page in [*HTML.rglob("*.html"), HTML / "_static/search-index.js"]
    )
    hidden = {line for master in MASTERS for line in _secrets(master) if line.startswith("def test_")}
    assert hidden and not [name for name in hidden if name.removeprefix("def ") in pages]
    files = {master.name for master in MASTERS} | {"autograder.zip", "solution.ipynb", "wrong_answers.toml"}
    assert not [path for path in HTML.rglob("*") if path.name in files]


def test_the_assignments_install_from_the_books_repository():
    address = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]["url"]
    for path in [*MASTERS, ROOT / "assignments" / "otter.yml"]:
        assert set(re.findall(r"https://github\.com/[\w-]+/vae-lab", path.read_text("utf8"))) == {address}


def test_an_unknown_name_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["no-assignment"])
    assert "there is no assignment 'no-assignment'; choose from" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_until_the_new_is_complete(tmp_path, monkeypatch):
    kept = tmp_path / MASTERS[0].stem / "solution.ipynb"
    kept.parent.mkdir()
    kept.write_text("from before")
    monkeypatch.setitem(generate.__globals__, "otter_assign", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(MASTERS[0], tmp_path)
    assert kept.read_text() == "from before" and os.listdir(tmp_path) == [MASTERS[0].stem]
