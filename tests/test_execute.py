"""What makes the build run its chapters again."""

import shutil
from pathlib import Path

import pytest

execute = pytest.importorskip("execute", reason="the book's tools are not here: pip install -e '.[book]'")

FILES = {
    "requirements.txt": b"torch==2",
    "vae_lab/em.py": b"FLOOR = 1",
    "vae_lab/training/checkpoint.py": b"",
    "vae_lab/widgets/ui.js": b"let a",
    "vae_lab/widgets/base.css": b"a {}",
    "benchmarks/work.py": b"",
    "book/results/mnist/metrics.json": b"{}",
    "book/results/mnist/decoder.safetensors": b"weights",
    "book/results/mnist/samples.png": b"picture",
    "book/results/cat/reconstructions.jpg": b"picture",
}
NO_MATTER = {
    "vae_lab/__pycache__/em.cpython-311.pyc": b"compiled",
    "vae_lab/.em.py.swp": b"an editor's",
    "book/results/mnist/checkpoint.safetensors": b"a run that goes on",
    "book/01-autoencoders.ipynb": b"found by its cells",
}


@pytest.fixture
def book(tmp_path, monkeypatch) -> Path:
    """A folder laid out as the repository, from which nothing is read but what is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VAE_LAB_DATASET", raising=False)
    for name, content in FILES.items():
        put(tmp_path / name, content)
    return tmp_path


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_what_results_depend_on_is_in_the_fingerprint(book, name):
    before = execute.fingerprint()
    put(book / name, FILES[name] + b"!")
    assert execute.fingerprint() != before
    put(book / name, FILES[name])
    assert execute.fingerprint() == before


def test_a_file_that_moves_changes_the_fingerprint(book):
    before = execute.fingerprint()
    shutil.move(book / "vae_lab/em.py", book / "vae_lab/other.py")
    assert execute.fingerprint() != before


@pytest.mark.parametrize("name", NO_MATTER)
def test_what_results_do_not_depend_on_is_not(book, name):
    before = execute.fingerprint()
    put(book / name, NO_MATTER[name])
    assert execute.fingerprint() == before


def test_a_setting_changes_the_fingerprint_and_the_place_of_the_data_does_not(book, monkeypatch):
    before = execute.fingerprint()
    monkeypatch.setenv("VAE_LAB_DATA", "/elsewhere")
    assert execute.fingerprint() == before
    monkeypatch.setenv("VAE_LAB_DATASET", "mnist")
    assert execute.fingerprint() != before
