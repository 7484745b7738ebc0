"""The assignments: a solution earns all, an untouched notebook nothing; students get what is theirs."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml

pytest.importorskip("otter", reason="no grader here: pip install -e '.[teach]'")

from answers import OURS, configs, run

from assignments.generate import MASTERS, generate, main

pytestmark = pytest.mark.teach

ROOT = Path(__file__).parent.parent
HTML = ROOT / "_build" / "html"

each_assignment = pytest.mark.parametrize("master", OURS, ids=lambda master: master.stem)


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


def points(master):
    """What the tests of an assignment can give."""
    return sum(question["points"] for question in configs(master) if not question.get("manual"))


@pytest.mark.slow
@each_assignment
def test_the_solution_earns_everything(made, master, tmp_path):
    folder = made[master.stem]
    assert graded(folder / "solution.ipynb", folder, tmp_path) == (points(master), points(master))


@pytest.mark.slow
@pytest.mark.parametrize("master", MASTERS[:1], ids=lambda master: master.stem)
def test_otter_gives_an_untouched_notebook_nothing(made, master, student, tmp_path):
    assert graded(student / master.name, made[master.stem], tmp_path) == (0, points(master))


@each_assignment
def test_says_its_points_and_its_time(master):
    cells = nbformat.read(master, as_version=4).cells
    head = next(cell.source for cell in cells if cell.cell_type == "markdown")
    total = sum(question["points"] for question in configs(master))
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
        run([first], {})
    shutil.copy(made[master.stem] / f"{master.stem}.zip", tmp_path)
    run([first], {})
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
    files = {master.name for master in MASTERS} | {"autograder.zip", "solution.ipynb", "answers.toml"}
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
