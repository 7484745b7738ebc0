"""python -m assignments.generate: what students get, what instructors keep, into _build/assignments.

For each assignment NAME a folder with

    NAME.zip            for students: the notebook without solutions, and the tests that they may see
    autograder.zip      for Gradescope, `otter grade` and `otter run`: all tests
    solution.ipynb      the notebook with its solutions
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from otter.assign import main as otter_assign

MASTERS = sorted(Path(__file__).parent.glob("*/*.ipynb"))


def generate(master: Path, out: Path, *, run_tests: bool = True) -> Path:
    """Write the three files of one master notebook into `out / NAME`, and return that folder.

    run_tests : grade the solution as well; raises `RuntimeError` if it does not earn every point

    What was there from before goes when the new files are complete.
    """
    folder = out / master.stem
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory(dir=out) as aside:
        new = Path(aside, "new")
        new.mkdir()
        otter_assign(str(master), made, no_pdfs=True, no_run_tests=not run_tests)
        student, autograder = Path(made, "student"), Path(made, "autograder")
        shutil.make_archive(str(new / master.stem), "zip", student)
        shutil.move(next(autograder.glob("*-autograder_*.zip")), new / "autograder.zip")
        shutil.move(autograder / master.name, new / "solution.ipynb")
        shutil.rmtree(folder, ignore_errors=True)
        new.replace(folder)
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Generate what is asked for: 0 if all is well, 1 and a sentence if it cannot be written."""
    command = argparse.ArgumentParser(
        "python -m assignments.generate", description=__doc__.split("\n")[0]
    )
    names = [master.stem for master in MASTERS]
    command.add_argument(
        "name", nargs="*", metavar="NAME", help=f"by default all: {', '.join(names)}"
    )
    asked = command.parse_args(arguments).name or names
    if unknown := [name for name in asked if name not in names]:
        command.error(f"there is no assignment {unknown[0]!r}; choose from {', '.join(names)}")
    for master in MASTERS:
        if master.stem in asked:
            print(f"{master.stem} ...", flush=True)
            try:
                folder = generate(master, Path("_build/assignments"))
            except OSError as error:
                print(
                    f"cannot write to _build/assignments ({error.strerror or error})",
                    file=sys.stderr,
                )
                return 1
            print(f"    {folder}: the solution earns every point")
    return 0


if __name__ == "__main__":
    sys.exit(main())
