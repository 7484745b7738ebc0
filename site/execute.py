"""Run the book's notebooks, as many at a time as there are cores.

python site/execute.py cache      fill jupyter-book's cache, so that its build finds every notebook executed
python site/execute.py in-place   execute the committed notebooks and strip what differs from run to run
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
from nbclient.exceptions import CellExecutionError

BOOK = Path("book")
CACHE = Path("_build/.jupyter_cache")
TIMEOUT = 300  # seconds a cell


def execute(notebooks: dict[Path, nbformat.NotebookNode]) -> list[Path]:
    """Execute the notebooks in place, side by side; report each, return those that ran through."""

    def run(path):
        start = time.perf_counter()
        NotebookClient(
            notebooks[path],
            timeout=TIMEOUT,
            coalesce_streams=True,
            record_timing=False,  # the cache's key would hold the times
            extra_arguments=["--IPKernelApp.log_level=40"],
            resources={"metadata": {"path": path.parent}},
        ).execute()
        return time.perf_counter() - start

    done = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = {pool.submit(run, path): path for path in notebooks}
        for job in as_completed(jobs):
            try:
                print(f"{jobs[job]}: executed in {job.result():.0f} s", flush=True)
                done.append(jobs[job])
            except CellExecutionError as error:
                print(f"{jobs[job]}: a cell failed\n{error}", file=sys.stderr, flush=True)
    return done


def fingerprint() -> str:
    """What results depend on beside a notebook's own cells: package, environment, settings."""
    files = [
        Path("requirements.txt"),
        *sorted(p for p in Path("vae_lab").rglob("*") if p.suffix in {".py", ".js", ".css"}),
    ]
    settings = sorted(
        item for item in os.environ.items() if item[0].startswith("VAE_LAB_") and item[0] != "VAE_LAB_DATA"
    )
    digest = hashlib.sha256(repr(settings).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fill_cache() -> bool:
    """Execute the notebooks that jupyter-book's cache does not hold; whether all ran through."""
    key = CACHE / "fingerprint"
    if not key.exists() or key.read_text() != fingerprint():
        shutil.rmtree(CACHE, ignore_errors=True)
    cache = get_cache(CACHE)
    pending = {}
    for path in sorted(BOOK.glob("*.ipynb")) + sorted(
        p for p in BOOK.glob("*.md") if is_myst_markdown_notebook(p.read_text("utf8"))
    ):
        reader = {"name": "nbformat" if path.suffix == ".ipynb" else "myst_nb_md", "type": "plugin"}
        notebook = cache.get_project_notebook(cache.add_nb_to_project(str(path), read_data=reader).pk).nb
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            pending[path] = notebook
    done = execute(pending)
    for path in done:
        cache.cache_notebook_bundle(
            CacheBundleIn(pending[path], str(path)), check_validity=False, overwrite=True
        )
    key.write_text(fingerprint())
    return len(done) == len(pending)


def strip(notebook: nbformat.NotebookNode) -> None:
    """Remove from an executed notebook what another run would write differently."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def execute_in_place() -> bool:
    """Execute the committed notebooks and write them back, stripped; whether all ran through."""
    notebooks = {path: nbformat.read(path, as_version=4) for path in sorted(BOOK.glob("*.ipynb"))}
    done = execute(notebooks)
    for path in done:
        strip(notebooks[path])
        nbformat.write(notebooks[path], path)
    return len(done) == len(notebooks)


if __name__ == "__main__":
    actions = {"cache": fill_cache, "in-place": execute_in_place}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    sys.exit(0 if actions[sys.argv[1]]() else 1)
