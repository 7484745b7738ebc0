"""python -m assignments.grade NAME FOLDER: grade a folder of notebooks and zips.

Into OUT/NAME it writes, after each notebook,

    grades.csv      points by question, how each notebook ended, and why a question earned nothing
    similar.csv     pairs of notebooks that are more alike than work done apart
    feedback/       for each student: points, and what failed in the tests' own words
    records/        what was found; with them the same command goes on where it stopped

The notebooks run under your account. In assignments/grading, side_by_side.py says what makes it fast.
"""

import argparse
import os
import sys
from pathlib import Path

MADE = Path("_build/assignments")


def main(arguments: list[str] | None = None) -> int:
    """Grade what is asked for: 0 if all is written, 1 and a sentence if that cannot be, 130 if stopped."""
    asked = (command := _options()).parse_args(arguments)
    made = {path.parent.name: path.parent for path in MADE.glob("*/autograder.zip")}
    known_as = {name.partition("-")[0]: path for name, path in made.items()} | made
    folder = Path(asked.folder)
    if not hasattr(os, "fork"):
        command.error("grading needs Linux or macOS; on Windows use its Linux (WSL)")
    if asked.name not in known_as:
        there = f"choose from {', '.join(sorted(made))}, or " if made else ""
        command.error(
            f"there is no assignment {asked.name!r} in {MADE}: {there}run make assignments"
        )
    if not asked.folder or not folder.is_dir():
        command.error(f"there is no folder {asked.folder!r}: name the one with what was handed in")
    out = Path(asked.out) if asked.out else folder.resolve().parent / "graded"
    if out.resolve().is_relative_to(folder.resolve()):
        command.error(f"--out {out} lies in {folder}, and would be graded: choose one outside")
    try:
        return _grade(known_as[asked.name], folder, out, (asked.jobs, asked.time, asked.memory))
    except OSError as error:
        print(f"cannot write to {out} ({error.strerror or error})", file=sys.stderr)
        return 1


def _options() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        "python -m assignments.grade", description=__doc__.split("\n")[0]
    )
    add = command.add_argument
    add("name", nargs="?", default="", metavar="NAME", help="1-bottleneck, or its number")
    add("folder", nargs="?", default="", metavar="FOLDER", help="what was handed in")
    add("--out", help="default: graded, beside FOLDER")
    add("--jobs", type=_count, default=os.cpu_count(), help="default: a core each")
    add("--time", type=_count, default=120, help="seconds for each notebook")
    add("--memory", type=_count, default=2000, help="megabytes for each notebook")
    return command


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)


def _grade(made: Path, folder: Path, out: Path, limits: tuple[int, int, int]) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy and PyTorch are imported
    from .grading.assignment import Assignment
    from .grading.folder import Folder
    from .grading.side_by_side import Limits

    out = out / made.name
    graded = Folder(Assignment.read(made), folder, out, Limits(*limits))
    n, possible = len(graded.files), graded.assignment.possible
    if graded.records:
        print(f"{len(graded.records)} of {n} are graded from before")
    try:
        for done, record in enumerate(graded.grade(), len(graded.records) + 1):
            total = sum(question["points"][0] for question in record["questions"].values())
            points = f"{total:g} of {possible:g}, " if record["questions"] else ""
            print(f"{done:4} of {n}  {record['file']}: {points}{record['status']}", flush=True)
    except KeyboardInterrupt:
        print(
            f"\nStopped; {len(graded.records)} of {n} are graded. The same command goes on from there."
        )
        return 130
    print(f"See {out / 'grades.csv'}, and {out / 'similar.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
