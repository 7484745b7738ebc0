"""`make gpu` as far as a CPU goes: it needs torch alone, says what it leaves out, and its page reads it."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
import torch

from benchmarks import absent, gpu

BOOK = Path(__file__).parents[1] / "book"

# The command, in a Python that finds none of the libraries.
BARE = """if True:
    import runpy, sys
    from importlib.machinery import PathFinder
    from benchmarks.absent import LIBRARIES

    class Without:
        def find_spec(name, path=None, target=None):
            bare = name.split(".")[0] in LIBRARIES
            return None if bare else PathFinder.find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Without
    sys.argv[0] = "gpu"
    runpy.run_module("benchmarks.gpu", run_name="__main__")
"""


def run(*arguments, program=BARE) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=BOOK.parent, timeout=300, check=False)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """What the command finds and says where nothing but torch is installed."""
    folder = tmp_path_factory.mktemp("gpu")
    done = run("--quick", "--out", folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "gpu.json").read_text("utf8")), done.stdout


def test_it_needs_nothing_but_torch(bare):
    found, said = bare
    assert set(found["not_installed"]) == set(absent.LIBRARIES)
    assert found["checks"]["passed"] >= 10 and not found["checks"]["failed"]
    assert set(found["checks"]["left_out"].values()) == {"pytest"}
    assert "left out for want of pytest" in said
    for part in ("race", "epochs", "recorded"):
        assert "failed" not in found[part], part


def test_the_race_without_pictures_is_the_same_race(bare, digits):
    """Torch's own way from bytes to floats gives what PIL and torchvision give."""
    pixels = digits.train.pixels[0, 0]
    usual = gpu.time_to_elbo.picture_to_tensor()(pixels)
    assert torch.equal(usual, pixels[None].float() / 255)
    ours, theirs = (bare[0]["race"][side]["final"] for side in ("ours", "reference"))
    assert ours[0] < 600 and theirs[0] < 600


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_and_writes_nothing(tmp_path):
    done = run(
        "--out", tmp_path, program="import runpy; runpy.run_module('benchmarks.gpu', run_name='__main__')"
    )
    assert done.returncode == 1 and done.stderr.startswith("There is no CUDA device") and not done.stdout
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu.time_to_elbo, "measure", lambda *args, **options: 1 / 0)
    monkeypatch.setitem(gpu.test_on_devices.CASES, "em.wrong", lambda c: c.x.device.type)
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--quick", "--out", str(tmp_path)])
    found, said = json.loads((tmp_path / "gpu.json").read_text("utf8")), capsys.readouterr()
    assert ended.value.code == 1 and said.err.endswith("look at: checks, race\n")
    assert list(found["checks"]["failed"]) == ["em.wrong"] and found["checks"]["passed"] >= 10
    assert found["race"] == {"failed": "ZeroDivisionError: division by zero"}
    assert found["epochs"][0]["seconds"][0] > 0
    assert "failed: ZeroDivisionError" in said.out


def test_what_is_not_installed_can_be_imported_but_not_used(monkeypatch):
    monkeypatch.setattr(absent.sys, "meta_path", list(sys.meta_path))
    with absent.importable(("nowhere",)):
        import nowhere.within as library

        class Derived(library.Base):
            @library.decorated(1).further
            def method(self):
                return library.number

    assert not isinstance(1, library.Base)
    assert "nowhere" not in sys.modules
    with pytest.raises(absent.NotInstalled, match=r"^nowhere$"):
        library.call()
    with pytest.raises(absent.NotInstalled, match=r"^nowhere$"):
        Derived()
    with pytest.raises(ModuleNotFoundError):
        import nowhere  # noqa: F401


@pytest.mark.parametrize("measured", [True, False])
def test_the_page_on_speed_shows_what_was_measured(bare, measured, tmp_path, monkeypatch):
    here = tmp_path / "results/speed"
    shutil.copytree(BOOK / "results/speed", here)
    (here / "gpu.json").unlink(missing_ok=True)
    if measured:
        (here / "gpu.json").write_text(json.dumps(bare[0]), "utf8")
    monkeypatch.chdir(tmp_path)
    cells = [cell.source for cell in jupytext.read(BOOK / "speed.md").cells if cell.cell_type == "code"]
    names, last = {}, next(i for i, source in enumerate(cells) if "gpu_rows(gpu)" in source)
    *_, text, _, table = [shown(source, names) for source in cells[: last + 1]]
    if measured:
        assert "600 images" in text.data
        step = 1e3 * bare[0]["epochs"][0]["seconds"][0]
        assert f"{step:.3g} ms" in table.data and "100 a batch, step by step" in table.data
    else:
        assert "make gpu" in text.data and table is None


def shown(source: str, names: dict):
    """Run a cell; what it shows below it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return last and eval(compile(ast.Expression(last.value), "cell", "eval"), names)
