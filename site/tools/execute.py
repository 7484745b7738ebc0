"""Run the book's notebooks, as many at a time as there are cores.

python site/tools/execute.py cache      fill jupyter-book's cache, so that its build runs no notebook
python site/tools/execute.py in-place   run the committed notebooks, and strip what differs from run to run
"""

import hashlib
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import is_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode

CHAPTERS = sorted(Path("book").glob("[!.]*.ipynb"))
PAGES = sorted(
    path for path in Path("book").glob("[!.]*.md") if is_myst_markdown_notebook(path.read_text("utf8"))
)
CACHE = Path("_build/.jupyter_cache")
DEPENDED_ON = ("vae_lab", "benchmarks", "book/results")
LEFT_OUT = {Path(name) for name in os.environ.get("LEFT_OUT", "").split()}  # of a book for a course
TIMEOUT = 300  # seconds a cell


def execute(notebooks: dict[Path, NotebookNode]) -> list[Path]:
    """Execute the notebooks in place, side by side; report each, return those that ran through."""
    done = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = {pool.submit(run, notebook, path.parent): path for path, notebook in notebooks.items()}
        for job in as_completed(jobs):
            try:
                print(f"{jobs[job]}: executed in {job.result():.0f} s", flush=True)
                done.append(jobs[job])
            except (CellControlSignal, DeadKernelError) as error:
                print(f"{jobs[job]}: failed\n{error}", file=sys.stderr, flush=True)
    return done


def run(notebook: NotebookNode, folder: Path) -> float:
    """Execute one notebook in `folder`; return the seconds that took."""
    start = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=TIMEOUT,
        coalesce_streams=True,
        record_timing=False,  # or the times would be part of the cache's key
        extra_arguments=["--IPKernelApp.log_level=50"],
        resources={"metadata": {"path": folder}},
    ).execute()
    return time.perf_counter() - start


def fill_cache() -> bool:
    """Execute the notebooks that jupyter-book's cache does not hold; whether all ran through."""
    key = CACHE / "fingerprint"
    if not key.exists() or key.read_text() != fingerprint():
        shutil.rmtree(CACHE, ignore_errors=True)
    cache, pending = get_cache(CACHE), {}
    for path in sorted({*CHAPTERS, *PAGES} - LEFT_OUT):
        reader = {"name": "nbformat" if path in CHAPTERS else "myst_nb_md", "type": "plugin"}
        notebook = cache.get_project_notebook(cache.add_nb_to_project(str(path), read_data=reader).pk).nb
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            pending[path] = notebook
    done = execute(pending)
    for path in done:
        result = CacheBundleIn(pending[path], str(path))
        cache.cache_notebook_bundle(result, check_validity=False, overwrite=True)
    key.write_text(fingerprint())
    return len(done) == len(pending)


def fingerprint() -> str:
    """What results depend on beside a notebook's own cells: package, records, environment, settings."""
    files = [path for folder in DEPENDED_ON for path in sorted(Path(folder).rglob("*")) if counts(path)]
    settings = [
        f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("VAE_LAB_") and k != "VAE_LAB_DATA"
    ]
    digest = hashlib.sha256("\n".join(settings).encode())
    for path in [Path("requirements.txt"), *files]:
        content = path.read_bytes()
        digest.update(f"\n{path.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def counts(path: Path) -> bool:
    """Whether this is a file that a notebook may read: not hidden, compiled, or where a run resumes."""
    passing = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return path.is_file() and not passing and not path.match("checkpoint*.safetensors*")


def execute_in_place() -> bool:
    """Execute the committed notebooks and write them back, stripped; whether all ran through."""
    notebooks = {path: nbformat.read(path, as_version=4) for path in CHAPTERS}
    done = execute(notebooks)
    for path in done:
        strip(notebooks[path])
        nbformat.write(notebooks[path], path)
    return len(done) == len(notebooks)


def strip(notebook: NotebookNode) -> None:
    """Remove from an executed notebook what another run would write differently."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


if __name__ == "__main__":
    actions = {"cache": fill_cache, "in-place": execute_in_place}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    sys.exit(0 if actions[sys.argv[1]]() else 1)
