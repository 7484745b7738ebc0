"""Grading a folder: every score as an independent key says, a reason for every zero, hidden tests hidden."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell, writes

pytest.importorskip("otter.test_files", reason="no grader here: pip install -e '.[teach]'")
generate = pytest.importorskip("assignments.generate").generate
from class_of import FILES, SLEEP, SPOILED, Expected, Paper, class_of  # noqa: E402

from assignments.grading import handed_in  # noqa: E402
from assignments.grading.assignment import Assignment  # noqa: E402
from assignments.grading.similar import similar  # noqa: E402

pytestmark = pytest.mark.teach

ROOT = Path(__file__).parent.parent
START = "import otter\nimport torch\n\ngrader = otter.Notebook()"
SECRET = "twice a prime number of pigeons"  # what only a hidden test says


def question(number, name, solution, *tests):
    """The cells of a question in the format of `otter assign`; a test is (points, hidden, body)."""
    yield new_raw_cell(f"# BEGIN QUESTION\nname: q{number}\npoints: {sum(test[0] for test in tests)}")
    yield new_markdown_cell(f"**Question {number}.** Write `{name}`.")
    yield new_raw_cell("# BEGIN SOLUTION")
    yield new_code_cell(f"def {name}(x):\n    # BEGIN SOLUTION\n    return {solution}\n    # END SOLUTION")
    yield new_raw_cell("# END SOLUTION")
    yield new_raw_cell("# BEGIN TESTS")
    for i, (points, hidden, body) in enumerate(tests):
        config = (
            f'"""# BEGIN TEST CONFIG\npoints: {points}\nhidden: {str(hidden).lower()}\n"""  # END TEST CONFIG'
        )
        yield new_code_cell(
            f"{config}\n\n\ndef test_{name}_number_{i}({name}):\n    import torch\n    {body}"
        )
    yield new_raw_cell("# END TESTS")
    yield new_raw_cell("# END QUESTION")


def master(name, folder, heading):
    """A small assignment: three questions for tests, one for a reader."""
    cells = [
        new_raw_cell(f"# ASSIGNMENT CONFIG\nconfig_file: {ROOT / 'assignments' / 'otter.yml'}"),
        new_markdown_cell(f"# {heading}\n\n| | |\n|---|---|\n| **Points** | 12: 7 by tests, 5 by a reader |"),
        new_code_cell(START),
        *question(
            *(1, "double", "2 * x"),
            (1, False, "assert double(3) == 6, f'twice 3 is 6, but you give {double(3)}'"),
            (2, True, f"assert double(11) == 22, '{SECRET}'"),
        ),
        *question(
            *(2, "total", "x.sum(1)"),
            (
                2,
                False,
                "assert torch.equal(total(torch.ones(2, 3)), torch.full((2,), 3.0)), 'sum over axis 1'",
            ),
        ),
        new_code_cell("print(total(torch.ones(1, 2)))"),
        *question(
            *(3, "norm", "x.square().sum().sqrt()"),
            (1, False, "assert torch.allclose(norm(torch.tensor([3.0, 4.0])), torch.tensor(5.0)), 'a root'"),
            (1, True, f"assert torch.allclose(norm(torch.ones(4)), torch.tensor(2.0)), '{SECRET}'"),
        ),
        new_raw_cell("# BEGIN QUESTION\nname: q4\npoints: 5\nmanual: true"),
        new_markdown_cell("**Question 4.** What did you see?"),
        new_raw_cell("# BEGIN SOLUTION"),
        new_markdown_cell("Numbers."),
        new_raw_cell("# END SOLUTION"),
        new_raw_cell("# END QUESTION"),
    ]
    path = folder / name / f"{name}.ipynb"
    path.parent.mkdir()
    python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(writes(new_notebook(cells=cells, metadata=python)), "utf8")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder in which grading is started, with an assignment and another one made."""
    folder, masters = tmp_path_factory.mktemp("school"), tmp_path_factory.mktemp("masters")
    for name, heading in (("1-small", "A small one"), ("2-other", "Another one")):
        generate(master(name, masters, heading), folder / "_build" / "assignments", run_tests=False)
    return folder


def command(made, folder, out, *options):
    """The command of the book, with limits that a test can wait for."""
    limits = ("--time", "10", "--memory", "300", "--jobs", "2")
    run = [sys.executable, "-m", "assignments.grade", "1-small", folder, "--out", out, *limits, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    stops = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # where these tests do not
    return subprocess.Popen(run, cwd=made, env=environment, stdout=subprocess.PIPE, text=True, **stops)


# Students who put what hidden tests say into words of their own, by what they reach for.
THIEVES = {
    "frames.ipynb": "import sys\nseen = []\n\n\ndef double(x):\n"
    "    seen.append(sys._getframe(1).f_code.co_consts)\n    raise ValueError(seen)",
    "words.ipynb": f"def double(x):\n    raise ValueError('{SECRET.upper()}'.lower().replace(' ', '  '))",
}


@pytest.fixture(scope="session")
def graded(made, tmp_path_factory):
    """A class that makes every mistake once, graded: its key, its table, its folder, the output.

    The first run is stopped on the way.
    """
    folder, out = tmp_path_factory.mktemp("handed in"), tmp_path_factory.mktemp("graded")
    assignment = made / "_build" / "assignments" / "1-small"
    key = class_of(len(FILES) + len(SPOILED), assignment, folder)
    for name, source in THIEVES.items():
        paper = Paper(assignment)
        paper.add(paper.check("q1"), source)
        (folder / name).write_bytes(paper.content())
        key[name] = Expected(paper.total - paper.points["q1"])
    running = command(made, folder, out)
    next(line for line in running.stdout if f"12 of {len(key)}" in line)
    running.send_signal(signal.SIGINT)
    stopped, _ = running.communicate(timeout=60)
    after, _ = (again := command(made, folder, out)).communicate(timeout=300)
    assert (running.returncode, again.returncode) == (130, 0)
    with (out / "1-small" / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    return key, rows, folder, out, (stopped, after)


@pytest.mark.slow
def test_every_score_is_what_the_key_says(graded):
    key, rows, *_ = graded
    problems = [
        f"{name}: {expected}, but {rows[name]}"
        for name, expected in key.items()
        if not expected.fits(rows[name])
    ]
    assert not problems, "\n".join(problems)
    assert rows.keys() == key.keys()


@pytest.mark.slow
def test_honest_work_is_not_suspected(graded):
    honest = (
        "right",
        "half",
        "wrong",
        "crashing",
        "unchecked",
        "merged",
        "own_grader",
        "Ünïcode",
        "untouched",
    )
    looks = {file: row["look"] for file, row in graded[1].items() if any(word in file for word in honest)}
    assert len(looks) == len(honest) and not any(looks.values()), looks


@pytest.mark.slow
def test_every_zero_has_a_reason(graded):
    for row in graded[1].values():
        assert row["status"] == "graded" or len(row["status"]) > 15 or not row["total"], row
        for question in ("q1", "q2", "q3"):
            assert row[question] != "0" or re.search(rf"{question}: \w+", row["why"]), row
        assert row["q4 (by hand, of 5)"] == "" and row["out of"] == "7"


@pytest.mark.slow
def test_feedback_says_what_failed_and_nothing_of_hidden_tests(graded):
    _, rows, _, out, _ = graded
    feedback = {file: (out / "1-small" / "feedback" / f"{file}.md").read_text("utf8") for file in rows}
    every = " ".join("\n".join(feedback.values()).split()).lower()
    assert SECRET not in every and "number_1" not in every and "test_" not in every
    crashing = next(text for file, text in feedback.items() if "crashing" in file)
    assert "ValueError: my own words, in your line `raise ValueError('my own words')`" in crashing
    untouched = next(text for file, text in feedback.items() if "untouched" in file)
    assert "- twice 3 is 6, but you give None" in untouched
    assert "- hidden tests: 0 of 2 points" in untouched and "| q4 | marked by a reader, of 5 |" in untouched


@pytest.mark.slow
def test_nothing_a_notebook_started_is_left(graded):
    commands = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert SLEEP not in commands


@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_was(graded):
    key, *_, (stopped, after) = graded
    done = int(re.search(r"Stopped; (\d+) of \d+ are graded. The same command goes on", stopped)[1])
    assert f"{done} of {len(key)} are graded from before" in after
    assert 12 <= done < len(key) and len(re.findall(rf"\d of {len(key)}  ", after)) == len(key) - done


@pytest.mark.slow
def test_scores_are_those_of_otter_run(made, graded, tmp_path):
    """Of a notebook that earns some of everything, question by question."""
    _, rows, folder, *_ = graded
    file = next(file for file in rows if "wrong.ipynb" in file)
    (tmp_path / "notebook.ipynb").write_bytes((folder / file).read_bytes())
    autograder = made / "_build" / "assignments" / "1-small" / "autograder.zip"
    otter = [sys.executable, "-m", "otter", "run", "-a", autograder, "-o", tmp_path, "notebook.ipynb"]
    subprocess.run(otter, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    tests = json.loads((tmp_path / "results.json").read_text("utf8"))["tests"]
    assert {test["name"]: test["score"] for test in tests if "score" in test} == {
        name: float(rows[file][name]) for name in ("q1", "q2", "q3")
    }


def test_a_zip_stays_in_its_room_and_is_not_too_large(made, tmp_path, monkeypatch):
    assignment = Assignment.read(made / "_build" / "assignments" / "1-small")
    content = Paper(made / "_build" / "assignments" / "1-small").content()
    (tmp_path / "room").mkdir()
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../../up.ipynb", content)
    work = handed_in.open_work(Path("up.zip"), tmp_path, tmp_path / "room", assignment)
    assert work.room == tmp_path / "room" and not list(tmp_path.parent.glob("up.ipynb"))
    monkeypatch.setattr(handed_in, "LARGEST", 100)
    with pytest.raises(handed_in.NotGradable, match="the zip unpacks to more than"):
        handed_in.open_work(Path("up.zip"), tmp_path, tmp_path / "room", assignment)


OWN = """
def evidence(model, images, draws):
    scores = [model.score(image) for image in images]
    best = max(scores, default=0.0)
    rest = sum(math.exp(score - best) for score in scores if score < best)
    return best + math.log1p(rest) - math.log(draws)
"""
APART = """
def evidence(model, images, draws):
    total = torch.zeros(draws)
    for k in range(draws):
        total[k] = model.log_prob(images).mean()
    return torch.logsumexp(total, dim=0) - torch.log(torch.tensor(draws))
"""


def test_copies_are_found_under_other_names_and_work_done_apart_is_not():
    given = ("def evidence(model, images, draws):\n    ...",)
    renamed = OWN.replace("scores", "all_of_them").replace("best", "b") + "\n# all my own work"
    pairs = similar({"ann": [OWN], "bob": ["x = 1", renamed], "eve": [APART]}, given)
    assert [pair[:2] for pair in pairs] == [("ann", "bob")] and pairs[0][2] > 0.9
