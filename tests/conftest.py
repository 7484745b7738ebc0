"""Shared fixtures. Heavy libraries are imported only where a test has already imported them."""

import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TQDM_DISABLE"] = "1"
# The same cases every time, however slow the machine.
settings.register_profile("vae_lab", deadline=None, derandomize=True, database=None)
settings.load_profile("vae_lab")


GROUPS = ("site", "access", "chapters", "alone")  # pyproject.toml says what they are
WHEN_ASKED = {"chapters": "takes a quarter of an hour", "alone": "takes minutes and gigabytes"}


def pytest_ignore_collect(collection_path, config):
    """Import no module that has nothing of the groups which -m names: torch alone takes seconds."""
    words = re.findall(r"\w+", config.option.markexpr or "package")
    if collection_path.suffix == ".py" and set(words) & set(GROUPS) and not {"package", "not"} & set(words):
        text = collection_path.read_text("utf8")
        return True if not any(f"mark.{word}" in text for word in words) else None
    return None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config, items):
    """Put every test into its group; skip what takes long, and what needs data that are not here."""
    for item in items:
        group = next(filter(item.get_closest_marker, GROUPS), "package")
        item.add_marker(group)
        if group in WHEN_ASKED and not config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason=f"{WHEN_ASKED[group]}: pytest -m {group}"))
    raw = Path(os.environ.get("VAE_LAB_DATA") or "~/.cache/vae_lab").expanduser() / "MNIST" / "raw"
    if not any(raw.glob("train-images-idx3-ubyte*")):
        skip = pytest.mark.skip(reason=f"no MNIST in {raw}; set VAE_LAB_DATA to a folder with it")
        for item in items:
            if item.get_closest_marker("mnist"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _same_start_everywhere(monkeypatch):
    """One thread and one seed for every test that computes; no figure left open."""
    if torch := sys.modules.get("torch"):
        if os.environ.get("GITHUB_ACTIONS"):  # its Macs report a GPU that has no memory
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        torch.set_num_threads(1)
        torch.manual_seed(0)
    yield
    if plt := sys.modules.get("matplotlib.pyplot"):
        plt.close("all")


@pytest.fixture(scope="module")
def browser():
    """A running Chromium."""
    chromium = pytest.importorskip("chromium", reason="no Playwright here: pip install -e '.[test]'")
    if not (chromium.is_here() or os.environ.get("CI")):
        pytest.skip("no Chromium here: python site/tools/chromium.py")
    with chromium.launch() as running:
        yield running


@pytest.fixture
def show(browser):
    """Open views of a widget on a page whose errors fail the test."""
    from showing import views

    yield from views(browser)


@pytest.fixture(scope="module")
def host():
    """The address of the built book, served."""
    from built_book import serve

    yield from serve()


@pytest.fixture
def visit(browser, host):
    """Open a page of the built book, whole; what goes wrong there fails the test."""
    from built_book import visits

    yield from visits(browser, host)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The files of each assignment, as `make assignments` writes them, by name."""
    from assignments.generate import MASTERS, generate

    out = tmp_path_factory.mktemp("assignments")
    return {master.stem: generate(master, out, run_tests=False) for master in MASTERS}


@pytest.fixture(scope="session")
def digits():
    """The embedded data set."""
    from vae_lab.data import load

    return load("digits")


@pytest.fixture
def patterns():
    """64 gray images of 4×4 that vary along two directions, and a little in all others."""
    import torch

    from vae_lab.data import Images

    g = torch.Generator().manual_seed(1)
    directions = torch.linalg.qr(torch.randn(16, 2, generator=g))[0].T
    x = 0.5 + torch.randn(64, 2, generator=g) @ directions / 3 + torch.randn(64, 16, generator=g) / 20
    pixels = x.clamp(0, 1).mul(255).to(torch.uint8).view(64, 1, 4, 4)
    return Images(pixels, torch.arange(64) % 10)
