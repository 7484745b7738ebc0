"""python -m assignments.generate: what students get, what instructors keep, into _build/assignments.

For each assignment NAME a folder with

    NAME.zip            for students: the notebook without solutions, and the tests that they may see
    autograder.zip      for Gradescope, `otter grade` and `otter run`: all tests
    solution.ipynb      the notebook with its solutions

Nothing is written of an assignment whose points disagree, or whose solution stops at an error or does not earn
every point. A new assignment begins with --new.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from otter.api import grade_submission
from otter.assign import main as otter_assign
from otter.assign.utils import AssignNotebookFormatException

from assignments.master import (
    FOLDER,
    MasterError,
    check_points,
    copy,
    data_sets,
    differs,
    published_commit,
)

MASTERS = sorted(FOLDER.glob("*/*.ipynb"))
OUT = Path("_build/assignments")


def generate(master: Path, out: Path, *, data: str | None = None, run_tests: bool = True) -> Path:
    """Write the three files of one master notebook into `out / NAME`, and return that folder.

    data : the data set that it is about, if another than its own
    run_tests : run the solution as well, and grade it

    What was there from before goes when the new files are complete. Raises `MasterError` if the points in the
    master disagree, or if the solution stops at an error or does not earn every point.
    """
    check_points(master)
    folder = out / master.stem
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory(dir=out) as aside:
        new = Path(aside, "new")
        new.mkdir()
        source = copy(master, Path(made), data, published_commit())
        otter_assign(str(source), made, no_pdfs=True, no_run_tests=True)
        student, autograder = Path(made, "student"), Path(made, "autograder")
        shutil.make_archive(str(new / master.stem), "zip", student)
        shutil.move(next(autograder.glob("*-autograder_*.zip")), new / "autograder.zip")
        shutil.move(autograder / master.name, new / "solution.ipynb")
        if run_tests:
            try_solution(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.replace(folder)
    return folder


def try_solution(folder: Path) -> None:
    """Run the solution as a grader would: every cell must run through, and every point be earned."""
    solution, tests = str(folder / "solution.ipynb"), str(folder / "autograder.zip")
    with contextlib.redirect_stdout(io.StringIO()):
        results = grade_submission(solution, tests)
    for cell in results.notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                line = cell.source.strip().splitlines()[0]
                reason = f"{output.ename}: {output.evalue}".splitlines()[0]
                raise MasterError(
                    f"the cell of its solution that begins {line!r} stops at {reason}"
                )
    if results.total != results.possible:
        raise MasterError(
            f"its solution earns {results.total:g} of {results.possible:g} points:\n{results.summary()}"
        )


def begin(name: str, folder: Path = FOLDER) -> Path:
    """Write the master of a new assignment, from the template: it runs, and waits for your questions."""
    title = name.partition("-")[2].replace("-", " ").capitalize()
    master = folder / name / f"{name}.ipynb"
    master.parent.mkdir()
    text = (FOLDER / "template.ipynb").read_text("utf8").replace("0-template", name)
    master.write_text(text.replace("# 0. Template", f"# {number(name)}. {title}"), "utf8")
    return master


def main(arguments: list[str] | None = None) -> int:
    """Generate what is asked for: 0 if all is well, 1 and a sentence if it cannot be written."""
    asked = read_arguments(arguments)
    if asked.new:
        print(f"{begin(asked.new)}: open it, then run make assignments ONLY={asked.new}")
        return 0
    for i, master in enumerate(asked.masters, 1):
        print(f"[{i}/{len(asked.masters)}] {master.stem} ...", flush=True)
        start = time.monotonic()
        try:
            folder = generate(master, OUT, data=asked.data)
        except (MasterError, AssignNotebookFormatException) as error:
            print(f"{master.stem}: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"cannot write to {OUT} ({error.strerror or error})", file=sys.stderr)
            return 1
        seconds = time.monotonic() - start
        print(f"    {folder}: the solution earns every point ({seconds:.0f} s)", flush=True)
    if differs(commit := published_commit()):
        print(
            f"Graders will install vae_lab of {commit[:7]}, and yours differs: push it, and run this again"
        )
    return 0


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """What is asked for; of names, the `masters`. What cannot be is refused in a sentence."""
    known = {master.stem: master for master in MASTERS}
    command = argparse.ArgumentParser(
        "python -m assignments.generate", description=__doc__.split("\n")[0]
    )
    command.add_argument(
        "names", nargs="*", metavar="NAME", help=f"or number; by default all: {', '.join(known)}"
    )
    command.add_argument(
        "--data",
        metavar="SET",
        default=os.environ.get("VAE_LAB_DATASET"),
        help="a data set that it fits; by default $VAE_LAB_DATASET, or its own",
    )
    command.add_argument("--new", metavar="NAME", help="begin a new assignment, such as 6-flows")
    asked = command.parse_args(arguments)
    known_as = known | {number(name): master for name, master in known.items()}
    if asked.new is not None and (
        not re.fullmatch(r"\d+(-[a-z0-9]+)+", asked.new) or number(asked.new) in known_as
    ):
        command.error(f"--new {asked.new}: choose a name like 6-flows, with a number that is free")
    if unknown := [name for name in asked.names if name not in known_as]:
        command.error(f"there is no assignment {unknown[0]!r}; choose from {', '.join(known)}")
    asked.masters = sorted({known_as[name] for name in asked.names}) or MASTERS
    for master in asked.masters if asked.data else ():
        if asked.data not in (fits := data_sets(master)):
            there = f"it fits {', '.join(fits)}" if fits else "its row Data names none"
            command.error(f"{master.stem} does not fit the data set {asked.data!r}; {there}")
    return asked


def number(name: str) -> str:
    return name.partition("-")[0]


if __name__ == "__main__":
    sys.exit(main())
