"""A master notebook: what it says of points and data, and the copy of it that Otter reads."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml

FOLDER = Path(__file__).parent
BRANCH = "refs/heads/main"


class MasterError(Exception):
    """Something in a master does not fit the rest; a sentence says what, and what to do."""


def read(master: Path) -> nbformat.NotebookNode:
    return nbformat.read(master, as_version=4)


def row(notebook: nbformat.NotebookNode, name: str) -> str:
    """What the table at the head of an assignment says of `name`; nothing, if it has no such row."""
    head = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(rf"^\| \*\*{name}\*\* \| (.*) \|$", head, re.M)
    return found[1] if found else ""


# Data


def data_sets(master: Path) -> list[str]:
    """The data sets that an assignment fits, by its row Data; its own is the first."""
    return re.findall(r"`([\w-]+)`", row(read(master), "Data"))


def choose(notebook: nbformat.NotebookNode, fits: list[str], name: str) -> None:
    """Have an assignment load, and name at its head, one of the data sets that it fits."""
    own = f'data.load("{fits[0]}"'
    loads = [cell for cell in notebook.cells if own in cell.source]
    if len(loads) != 1:
        raise MasterError(f"{len(loads)} cells have {own}, the first of its row Data; one should")
    loads[0].source = loads[0].source.replace(own, f'data.load("{name}"')
    head = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    head.source = head.source.replace(f"| {row(notebook, 'Data')} |", f"| `{name}` |")


# Points


def check_points(master: Path) -> float:
    """The points of an assignment, if its head, its questions, its tests and its rubrics agree on them."""
    notebook, by_tests, by_hand = read(master), 0, 0
    for question, cells in questions(notebook):
        points = question["points"]
        if question.get("manual"):
            by_hand += points
            steps = rubric(cells)  # which add up, or of which a reader chooses one
            found, where = (
                points if points == max(steps, default=points) else sum(steps),
                "its rubric",
            )
        else:
            by_tests += points
            found, where = sum(map(points_of_test, cells)), "its tests"
        if found != points:
            raise MasterError(
                f"{question['name']} has {points} points, {where} {found}: make them equal"
            )
    total = by_tests + by_hand
    right = [total, by_tests, by_hand] if by_hand else [total]
    said = row(notebook, "Points").partition(".")[0]
    if [int(number) for number in re.findall(r"\d+", said)] != right:
        parts = f": {by_tests} graded by tests, {by_hand} by a reader" if by_hand else ""
        raise MasterError(
            f"its head says {said!r}; its questions have {total} points{parts}. Make them equal"
        )
    return total


def questions(notebook: nbformat.NotebookNode) -> Iterator[tuple[dict, list[str]]]:
    """(settings, cells) of each question."""
    settings, cells = {}, []
    for cell in notebook.cells:
        if cell.source.startswith("# BEGIN QUESTION"):
            settings, cells = yaml.safe_load(cell.source), []
        elif cell.source.startswith("# END QUESTION"):
            yield settings, cells
        else:
            cells.append(cell.source)


def points_of_test(cell: str) -> float:
    """What a test gives; nothing, if the cell is another."""
    config = re.match(r'"""# BEGIN TEST CONFIG\n(.*?)"""', cell, re.S)
    return yaml.safe_load(config[1]).get("points", 0) if config else 0


def rubric(cells: list[str]) -> list[float]:
    """The numbers in the first column of a table, if it is headed `points`."""
    table = re.search(r"^\| points \|.*\n\|.*\n((?:\|.*\n?)+)", "\n".join(cells), re.M)
    return [float(n) for n in re.findall(r"^\| ([\d.]+) \|", table[1], re.M)] if table else []


# The copy


def copy(master: Path, folder: Path, data: str | None, commit: str) -> Path:
    """Write a master and what all have in common into `folder`, for this data set, all from this commit."""
    notebook = read(master)
    if data:
        choose(notebook, data_sets(master), data)
    for cell in notebook.cells:
        cell.source = re.sub(r"(?<=git\+)(https://[\w./-]+)", rf"\1@{commit}", cell.source)
    (folder / master.stem).mkdir()
    written = folder / master.stem / master.name
    nbformat.write(notebook, written)
    common = (FOLDER / "otter.yml").read_text("utf8")
    (folder / "otter.yml").write_text(common.replace(BRANCH, commit), "utf8")
    return written


def published_commit() -> str:
    """The newest commit of this checkout that its upstream has; the branch itself, if this is no checkout."""
    if not git("ls-files", "otter.yml"):
        return BRANCH
    return git("merge-base", "HEAD", "@{upstream}") or git("rev-parse", "HEAD")


def differs(commit: str) -> bool:
    """Whether the package here is another than that of `commit`."""
    return commit != BRANCH and git("diff", "--name-only", commit, "--", "../vae_lab") != ""


def git(*arguments: str) -> str:
    """What git says of this folder; nothing, if it has nothing to say."""
    try:
        said = subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return said.stdout.strip()
