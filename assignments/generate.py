"""python -m assignments.generate: what students get, what instructors keep, into _build/assignments.

For each assignment NAME a folder with

    NAME.zip            for students: the notebook without solutions, and the tests that they may see
    autograder.zip      for Gradescope, `otter grade` and `otter run`: all tests
    solution.ipynb      the notebook with its solutions
"""

import shutil
import tempfile
from pathlib import Path

from otter.assign import main as otter_assign

MASTERS = sorted(Path(__file__).parent.glob("*/*.ipynb"))


def generate(master: Path, out: Path, *, run_tests: bool = True) -> Path:
    """Write the three files of one master notebook into `out / NAME`, and return that folder.

    run_tests : grade the solution as well; raises `RuntimeError` if it does not earn every point
    """
    folder = out / master.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as made:
        otter_assign(str(master), made, no_pdfs=True, no_run_tests=not run_tests)
        student, autograder = Path(made, "student"), Path(made, "autograder")
        shutil.make_archive(str(folder / master.stem), "zip", student)
        shutil.move(next(autograder.glob("*-autograder_*.zip")), folder / "autograder.zip")
        shutil.move(autograder / master.name, folder / "solution.ipynb")
    return folder


if __name__ == "__main__":
    for master in MASTERS:
        print(f"{master.stem} ...", flush=True)
        print(f"    {generate(master, Path('_build/assignments'))}: the solution earns every point")
