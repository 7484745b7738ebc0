"""Shared fixtures. Heavy libraries are imported only where a test has already imported them."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TQDM_DISABLE"] = "1"
# The same cases every time, however slow the machine.
settings.register_profile("vae_lab", deadline=None, derandomize=True, database=None)
settings.load_profile("vae_lab")


def pytest_collection_modifyitems(items):
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
