"""Every claim of every chapter holds on MNIST too: `make mnist`, for this takes minutes a chapter."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from vae_lab.data import root

NOTEBOOKS = [
    path
    for path in sorted((Path(__file__).parent.parent / "book").glob("[!.]*.ipynb"))
    if "VAE_LAB_DATASET" in path.read_text("utf8")  # the chapter on faces has data sets of its own
]


@pytest.mark.mnist
@pytest.mark.chapters
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_on_mnist(path, monkeypatch):
    monkeypatch.setenv("VAE_LAB_DATASET", "mnist")
    monkeypatch.setenv("VAE_LAB_DATA", str(root().resolve()))  # the kernel runs in another folder
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": path.parent}}).execute()
