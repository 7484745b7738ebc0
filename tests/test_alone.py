"""Every chapter outside this repository: `make alone`, for this takes minutes and gigabytes.

As in Colab, a notebook lies alone in an empty folder, and `vae_lab` was installed from a wheel: once with the
oldest versions that pyproject.toml allows and the kernel that Colab has, once with the newest of everything.
One chapter also runs in a real JupyterLab and a real Notebook, where a browser moves its sliders.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import get_kernel_spec
from nbclient import NotebookClient
from sliders import SLIDERS, by_keyboard, by_pointer, differs, picture

from chromium import launch

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "book").glob("[!.]*.ipynb"))
ENDS = {  # the Python, how versions are chosen, and what is there beside the package
    "oldest": ("3.11", "lowest-direct", ["ipykernel>=6.17.1", "ipython>=7.34"]),
    "newest": (">=3.11", "highest", ["jupyterlab", "notebook"]),
}


def at(end: str):
    return pytest.param(end, marks=pytest.mark.xdist_group(end), id=end)


def uv(*arguments) -> None:
    command = [Path(sys.executable).parent / "uv", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def environment(request, wheel, tmp_path_factory):
    """A fresh environment that holds the package from its wheel, with versions of one end."""
    version, resolution, others = ENDS[request.param]
    folder = tmp_path_factory.mktemp(request.param) / "venv"  # not one that another run may be using
    uv("venv", "--python", version, folder)
    python = folder / "bin/python"
    uv("pip", "install", "--python", python, "--resolution", resolution, wheel, *others)
    subprocess.run([python, "-m", "ipykernel", "install", "--sys-prefix"], check=True, capture_output=True)
    yield folder
    shutil.rmtree(folder)  # gigabytes


@pytest.fixture
def variables(environment, tmp_path) -> dict[str, str]:
    """Those of a machine on which nothing else is, and nothing was done before."""
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "PATH": f"{environment}/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("environment", [at(end) for end in ENDS], indirect=True)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_alone(path, environment, variables, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(environment / "share/jupyter"))
    assert get_kernel_spec("python3").argv[0] == str(environment / "bin/python")
    folder = tmp_path / "empty"
    folder.mkdir()
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute(env=variables)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output.text for output in outputs if output.get("name") == "stderr"], "it warns"


PROGRAMS = {  # where each shows a file, and what moves a slider: Notebook keeps the arrow keys for itself
    "jupyter-lab": ("lab/tree", [by_keyboard, by_pointer]),
    "jupyter-notebook": ("notebooks", [by_pointer]),
}


SHOW_ALL = '{"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}'  # cells out of sight too


def never_run(name: str) -> nbformat.NotebookNode:
    notebook = nbformat.read(ROOT / "book" / name, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


@pytest.fixture(params=PROGRAMS)
def opened(request, environment, variables, tmp_path):
    """The address of a chapter in a server of that environment, and what moves a slider there."""
    place, moves = PROGRAMS[request.param]
    nbformat.write(never_run("03-cannot-generate.ipynb"), tmp_path / "chapter.ipynb")
    settings, runtime = environment / "share/jupyter/lab/settings", tmp_path / "runtime"
    settings.mkdir(exist_ok=True)
    (settings / "overrides.json").write_text(SHOW_ALL)
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            [environment / "bin" / request.param, "--no-browser", "--allow-root"],
            cwd=tmp_path,
            env=variables | {"JUPYTER_RUNTIME_DIR": str(runtime)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        while not (found := list(runtime.glob("jpserver-*.json"))):
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        about = json.loads(found[0].read_text())
        yield f"{about['url']}{place}/chapter.ipynb?token={about['token']}", moves
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize("environment", [at("newest")], indirect=True)
def test_in_jupyter_every_slider_moves_its_picture(opened):
    address, moves = opened
    with launch() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        for sign in (
            ".jp-KernelName:has-text('Python 3')",
            ".jp-Notebook-ExecutionIndicator[data-status=idle]",
        ):
            page.locator(sign).wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
        prompts.last.filter(has_text=re.compile(r"\[\d+\]")).wait_for(timeout=300_000)
        sliders = page.locator(".jp-OutputArea-output").locator(SLIDERS).all()
        assert len(sliders) >= 3, "a plane to drag in, and a slider for each of its two coordinates"
        for slider in sliders:
            area = slider.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-output')]")
            slider.scroll_into_view_if_needed()
            for move in moves:
                before = picture(area)
                move(page, slider, 1)
                assert differs(page, area, before), f"{move.__name__} changes nothing"
