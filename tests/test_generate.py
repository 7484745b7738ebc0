"""Making assignments: what disagrees or stops is found, data sets fit, graders install what was tried."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from vae_lab import data

pytest.importorskip("otter", reason="no grader here: pip install -e '.[teach]'")

from assignments import master as masters
from assignments.generate import MASTERS, begin, generate, main, read_arguments

pytestmark = pytest.mark.teach

ROOT = Path(__file__).parent.parent


@pytest.fixture
def new(tmp_path) -> Path:
    """A new assignment, as `--new` begins it."""
    return begin("6-flows", tmp_path)


def change(master: Path, old: str, by: str) -> None:
    """Replace what stands in one cell of a master."""
    notebook = nbformat.read(master, as_version=4)
    cell = next(cell for cell in notebook.cells if old in cell.source)
    cell.source = cell.source.replace(old, by, 1)
    nbformat.write(notebook, master)


def given_to_students(folder: Path) -> str:
    with zipfile.ZipFile(folder / f"{folder.name}.zip") as handout:
        cells = nbformat.reads(handout.read(f"{folder.name}.ipynb").decode(), as_version=4).cells
    return "\n".join(cell.source for cell in cells)


# A new one


def test_a_new_assignment_is_complete(new, tmp_path):
    folder = generate(new, tmp_path / "out", run_tests=False)
    given = given_to_students(folder)
    assert "# 6. Flows" in given and 'Path("6-flows.zip")' in given and "template" not in given.lower()
    assert sorted(path.name for path in folder.iterdir()) == [
        "6-flows.zip",
        "autograder.zip",
        "solution.ipynb",
    ]


@pytest.mark.parametrize("name", ["flows", "6", "6-Flows", "../6-flows", "1-other", ""])
def test_a_name_for_a_new_assignment_is_free_and_has_a_number(name, capsys):
    with pytest.raises(SystemExit):
        main([f"--new={name}"])
    assert "choose a name like 6-flows, with a number that is free" in capsys.readouterr().err


# Points


@pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.stem)
def test_points_agree(master):
    assert masters.check_points(master) >= 20


@pytest.mark.parametrize(
    ("old", "by", "says"),
    [
        ("| **Points** | 2,", "| **Points** | 3,", "its head says '3, all graded by tests'"),
        ("name: q1\npoints: 2", "name: q1\npoints: 3", "q1 has 3 points, its tests 2"),
        ("points: 1\nfailure", "points: 2\nfailure", "q1 has 2 points, its tests 3"),
        ("points: 2", "points: 2\nmanual: true", "2 points: 0 graded by tests, 2 by a reader"),
    ],
)
def test_points_that_disagree_are_named(new, tmp_path, old, by, says):
    change(new, old, by)
    with pytest.raises(masters.MasterError, match=re.escape(says)):
        generate(new, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("rows", "fits"), [((1, 1), True), ((2, 1, 0), True), ((3, 2), False)])
def test_a_rubric_adds_up_or_has_its_points_in_its_best_row(new, rows, fits):
    change(new, "points: 2", "points: 2\nmanual: true")
    change(new, "2, all graded by tests", "2: 0 by tests, 2 by a reader")
    table = "\n".join(f"| {points} | something |" for points in rows)
    change(new, "**Question 1.**", f"| points | for |\n|---|---|\n{table}\n\n**Question 1.**")
    if fits:
        assert masters.check_points(new) == 2
    else:
        with pytest.raises(masters.MasterError, match=r"q1 has 2 points, its rubric 5"):
            masters.check_points(new)


# The solution


def made_apart(master: Path, out: Path, data: str | None = None) -> str:
    """What goes wrong when another process generates an assignment: Otter leaves sockets open in its own."""
    code = "from pathlib import Path; from assignments.generate import generate\n"
    code += f"generate(Path({str(master)!r}), Path({str(out)!r}), data={data!r})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    return run.stderr if run.returncode else ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "by", "says"),
    [
        ("print(f", "1 / 0  #", "begins '1 / 0"),
        ("x.flatten(1).sum(1)", "x.flatten(1).mean(1)", "earns 0 of 2 points"),
    ],
)
def test_a_solution_that_stops_or_loses_points_is_not_written(new, tmp_path, old, by, says):
    change(new, old, by)
    assert says in made_apart(new, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


# Which, and on which data


def test_assignments_are_asked_for_by_number_or_name(monkeypatch):
    monkeypatch.delenv("VAE_LAB_DATASET", raising=False)
    names = [master.stem for master in read_arguments(["4", "1-bottleneck"]).masters]
    assert names == ["1-bottleneck", "4-kl-weight"]
    assert read_arguments([]).masters == MASTERS


@pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.stem)
def test_an_assignment_says_which_data_sets_fit(master):
    fits = masters.data_sets(master)
    assert fits and set(fits) <= set(data.NAMES)


def test_another_data_set_is_loaded_and_named(new, tmp_path):
    given = given_to_students(generate(new, tmp_path / "out", data="mnist", run_tests=False))
    assert 'data.load("mnist")' in given and "| **Data** | `mnist` |" in given and "digits" not in given


@pytest.mark.parametrize("by", ["option", "setting"])
def test_a_data_set_that_does_not_fit_is_refused(by, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_LAB_DATASET", "afhq-cat" if by == "setting" else "mnist")
    with pytest.raises(SystemExit):
        main(["4", "--data", "afhq-cat"] if by == "option" else ["4"])
    assert "4-kl-weight does not fit the data set 'afhq-cat'; it fits digits" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


OTHER_DATA = [
    pytest.param(master, name, id=f"{master.stem}-{name}")
    for master in MASTERS
    for name in masters.data_sets(master)[1:]
]


@pytest.mark.mnist
@pytest.mark.chapters
@pytest.mark.parametrize(("master", "name"), OTHER_DATA)
def test_the_solution_earns_everything_on_each_data_set_that_fits(master, name, tmp_path, monkeypatch):
    if name == "fashion-mnist" and not any(data.root().glob("FashionMNIST/raw/*")):
        pytest.skip(f"no Fashion-MNIST in {data.root()}")
    monkeypatch.setenv("VAE_LAB_DATA", str(data.root().resolve()))
    assert not made_apart(master, tmp_path, name)


# What graders install


def test_students_and_graders_install_the_same_commit(new, tmp_path):
    folder, commit = generate(new, tmp_path / "out", run_tests=False), masters.published_commit()
    with zipfile.ZipFile(folder / "autograder.zip") as autograder:
        environment = autograder.read("environment.yml").decode()
    assert f"/archive/{commit}.zip" in environment and masters.BRANCH not in environment
    assert f"vae-lab@{commit}" in given_to_students(folder)
    assert re.fullmatch("[0-9a-f]{40}", commit)


def test_without_a_checkout_they_install_the_branch(tmp_path, monkeypatch):
    monkeypatch.setattr(masters, "FOLDER", tmp_path)
    assert masters.published_commit() == masters.BRANCH
    monkeypatch.setenv("PATH", "")
    assert masters.published_commit() == masters.BRANCH
