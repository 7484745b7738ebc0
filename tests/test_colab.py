"""What a chapter in Colab relies on, with a stand-in for Colab's own package."""

import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import anywidget
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from tiny import QUICK, new_vae
from torch import nn

from vae_lab import colab, data, records, widgets
from vae_lab.training import fit


@pytest.fixture
def in_colab(monkeypatch, tmp_path):
    """Colab's package with a drive that can be mounted below `tmp_path`; returns the calls to it."""
    calls = []

    def mount(path):
        calls.append(path)
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True, exist_ok=True)

    names = ("google", "google.colab", "google.colab.drive", "google.colab.output")
    google, package, drive, output = modules = [ModuleType(name) for name in names]
    google.colab, package.drive, package.output = package, drive, output
    drive.mount, output.enable_custom_widget_manager = mount, lambda: calls.append("widgets")
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(colab, "MOUNT", tmp_path / "drive")
    monkeypatch.setenv("VAE_LAB_DATA", "elsewhere")
    monkeypatch.chdir(tmp_path)
    return calls


def test_a_failed_installation_stops_the_chapter(monkeypatch):
    """pip's magic does not: "Run all" would go on to a cell that says less."""
    root = Path(__file__).parent.parent
    setup = next(
        c for c in nbformat.read(root / "book/08-vae.ipynb", as_version=4).cells if c.cell_type == "code"
    )
    asked = []
    shell = SimpleNamespace(run_line_magic=lambda *words: asked.append(words))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="did not install vae_lab: connect"):
        exec(TransformerManager().transform_cell(setup.source), {"get_ipython": lambda: shell})
    assert [magic for magic, _ in asked] == ["pip"]


def test_what_one_machine_keeps_on_drive_the_next_one_finds(in_colab, patterns, tmp_path, monkeypatch):
    folder = colab.work_on_drive()
    assert (
        in_colab == [str(tmp_path / "drive")] and folder == tmp_path / "drive/MyDrive/vae_lab" == data.root()
    )
    first = fit(new_vae(), patterns, checkpoint="run.safetensors", **QUICK)
    monkeypatch.chdir(tmp_path)  # the next machine
    assert colab.work_on_drive() == folder
    again = fit(new_vae(), patterns, checkpoint="run.safetensors", **QUICK)
    assert again.seconds == first.seconds, "it trained anew"


def test_outside_colab_it_says_what_to_do_instead(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "google", None)
    with pytest.raises(RuntimeError, match=r"only Colab .* set VAE_LAB_DATA to the folder"):
        colab.work_on_drive()


def test_widgets_turn_on_what_shows_them_in_colab(in_colab):
    """anywidget does that by itself, once; if it stopped, a reader would see an empty cell."""
    anywidget.widget.enable_custom_widget_manager_once.cache_clear()
    widgets.latent_explorer(nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)), nn.Sigmoid()))
    assert in_colab == ["widgets"]


def test_every_folder_is_in_the_package():
    """They are listed by hand, because the recorded runs lie in the book."""
    root = Path(__file__).parent.parent
    listed = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["tool"]["setuptools"]["packages"]
    folders = {f"vae_lab.{path.parent.name}" for path in root.glob("vae_lab/*/__init__.py")}
    assert set(listed) == folders | {"vae_lab", "vae_lab.results"}


def test_a_recorded_run_is_found_or_named():
    assert records.metrics("cat-64")["name"] == "cat-64"
    assert records.recorded("mnist-plane", "decoder.safetensors").is_file()
    with pytest.raises(
        records.RecordError, match=r"no recorded run 'cat' with a codes\.safetensors; choose .*cat-64"
    ):
        records.recorded("cat", "codes.safetensors")
