import errno
import inspect
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
import types
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo
from safetensors.torch import save_file
from tiny import SHAPE, at_step, gray, new_autoencoder, new_vae, same_but_for_time, weights
from torch import nn
from torch.nn import functional as F

from vae_lab import files, identity
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.nets import mlp_encoder
from vae_lab.objectives import ELBO, beta_elbo, elbo, squared_error
from vae_lab.schedules import Annealed, Linear, one_cycle
from vae_lab.training import CheckpointError, fit, loop
from vae_lab.training import checkpoint as checkpoints

LONG = {"epochs": 30, "batch_size": 20, "learning_rate": 1e-2}  # 3 steps an epoch, 90 in all


class Died(BaseException):
    """As good as a power cut: nothing may catch it."""


def stopping(at: int, how=Died):
    """The run is torn down when it is about to take this step, counted from 1."""

    def stop():
        raise how

    return at_step(at, stop)


@pytest.fixture
def always(monkeypatch):
    """Save at every look."""
    monkeypatch.setattr(checkpoints, "SAVE_EVERY", 0.0)


def run(path=None, objective=elbo, model=None, **changed):
    model = model or new_vae()
    settings = {"test": gray(30, seed=1).dynamic(), "seed": 3, "checkpoint": path} | LONG | changed
    return model, fit(model, gray().dynamic(), objective, **settings)


def refused(path: Path, words: str, call=run, **arguments) -> None:
    """The call raises in one line, and neither the file nor the model is another afterwards."""
    content, model = path.read_bytes(), arguments.pop("model", None) or new_vae()
    before = weights(model)
    with pytest.raises(CheckpointError, match=words) as caught:
        call(path, model=model, **arguments)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert torch.equal(weights(model), before)
    assert path.read_bytes() == content and os.listdir(path.parent) == [path.name]


def parts(path: Path) -> list[Path]:
    """What a process left that was writing the file."""
    return list(path.parent.glob(f".{path.name}.*.part"))


# A kernel that dies


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills outright")
def test_a_run_killed_twenty_times_ends_as_if_it_had_never_been(tmp_path):
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    for folder in folders.values():
        folder.mkdir()
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    command = [sys.executable, "-u", str(here / "killed.py")]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    def ask(line) -> int:
        server.stdin.write(f"{line}\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    def state(name):
        tensors, record = checkpoints.read(folders[name] / "run")  # whole, or this raises
        return {k: t.tolist() for k, t in tensors.items()}, {**record, "seconds": 0.0}

    with server:
        ask(folders["whole"])
        assert ask("") == 0
        whole, took = state("whole"), checkpoints.read(folders["whole"] / "run")[1]["seconds"]
        file = folders["killed"] / "run"
        chance, found, half_written, finished = random.Random(0), [], 0, 0
        while len(found) < 20:
            child = ask(folders["killed"])
            if len(found) % 4 == 3:  # in the middle of writing
                until = time.monotonic() + took
                while not parts(file) and time.monotonic() < until:
                    pass
            else:
                time.sleep(chance.uniform(0, took / 12))
            os.kill(child, signal.SIGKILL)
            if ask("") == 0:  # a run that was faster than expected; it is compared, and another begun
                assert state("killed") == whole
                file.unlink()
                finished += 1
                continue
            half_written += bool(parts(file))
            found.append(len(state("killed")[1]["terms"].get("value", [])) if file.exists() else -1)
        ask(folders["killed"])
        assert ask("") == 0
        server.stdin.close()
    assert state("killed") == whole
    total, log = len(whole[1]["terms"]["value"]), (folders["killed"] / "log").read_text()
    progress = sum(b > max(a, 0) for a, b in zip([0, *found], found, strict=False))
    resumed = [int(step) for step in re.findall(r"Resuming .* after step (\d+) of", log)]
    print(f"{progress} of 20 kills hit training, {half_written} a file half written; {total} steps, {found}")
    assert sum(0 < step < total for step in found) >= 15 and progress >= 8 and half_written >= 1
    assert sum(0 < step < total for step in resumed) >= 15
    ends = set(re.findall("ended with .*", log + (folders["whole"] / "log").read_text()))
    assert len(ends) == 1 and finished <= 3


@pytest.mark.parametrize("when", ["fsync", "replace"])
def test_who_dies_while_writing_leaves_the_old_file(tmp_path, monkeypatch, capsys, always, when):
    path = tmp_path / "run"
    with pytest.raises(Died), stopping(50):
        run(path)
    old = path.read_bytes()
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(os, when, lambda *_: (_ for _ in ()).throw(Died))
        run(path)
    assert path.read_bytes() == old
    model, history = run(path)
    assert "Resuming " in capsys.readouterr().out and os.listdir(tmp_path) == ["run"]
    by_itself, whole = run()
    assert torch.equal(weights(model), weights(by_itself)) and same_but_for_time(history, whole)


@pytest.mark.parametrize("step", [1, 19, 20, 21, 47, 90])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_cut_anywhere_ends_with_the_same_bits(tmp_path, always, step, precision):
    with pytest.raises(Died), stopping(step):
        run(tmp_path / "run", precision=precision)
    model, history = run(tmp_path / "run", precision=precision)
    by_itself, whole = run(precision=precision)
    assert torch.equal(weights(model), weights(by_itself)) and same_but_for_time(history, whole)
    assert (
        len(history) == 90
        and history.test[-1][0] == 90
        and type(history.test[0][1]) is type(whole.test[0][1])
    )


def test_a_run_that_has_ended_is_given_back_without_a_step(tmp_path, capsys):
    first, history = run(tmp_path / "run")
    content = (tmp_path / "run").read_bytes()
    with stopping(1):
        model, again = run(tmp_path / "run")
    assert same_but_for_time(history, again) and torch.equal(weights(model), weights(first))
    assert "after step 90 of 90" in capsys.readouterr().out
    with stopping(1):
        run(tmp_path / "run", model=first)  # the model as training left it
    assert (tmp_path / "run").read_bytes() == content


def test_a_checkpoint_changes_nothing(tmp_path, always):
    (with_file, a), (without, b) = run(tmp_path / "deep" / "er" / "run"), run()
    assert torch.equal(weights(with_file), weights(without)) and same_but_for_time(a, b)


def test_the_file_is_written_every_half_minute_and_at_the_end(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        files,
        "save_tensors",
        lambda path, tensors, record: saved.append(len(record["terms"].get("value", []))),
    )

    plain = loop.ascend

    def slow(*args, **options):
        now[0] += 1.0
        return plain(*args, **options)

    monkeypatch.setattr(loop, "ascend", slow)
    fit(new_vae(), gray(), checkpoint=tmp_path / "run", **LONG)
    assert saved == [0, 40, 80, 90]


# Files that are not this run's


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The bytes of a checkpoint."""
    path = tmp_path_factory.mktemp("ended") / "run"
    torch.set_num_threads(1)
    run(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, ended):
    (tmp_path / "run").write_bytes(ended)
    return tmp_path / "run"


@pytest.mark.parametrize("share", [0, 1e-9, 0.0005, 0.1, 0.5, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(path, ended, share):
    path.write_bytes(ended[: -int(-share * len(ended) // 1)])
    refused(path, r"cannot be read \(.*\); delete it, or choose another path")


@pytest.mark.parametrize("content", ["", "Dear diary,\n" * 1000, "{}", "PK\x03\x04" * 100])
def test_what_is_no_checkpoint_at_all_is_refused(path, content):
    path.write_text(content)
    refused(path, r"cannot be read \(.*\); delete it, or choose another path")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "vae_lab checkpoint 0"}])
def test_another_programs_safetensors_are_refused(path, metadata):
    save_file({"w": torch.ones(3)}, path, metadata)
    refused(path, "is no file of vae_lab's tensors, or one of another version; delete it")


@pytest.mark.parametrize("part", ["format", "sha256", "record", "model.enc", "F32", "numbers"])
def test_a_damaged_byte_is_refused(path, ended, part):
    where = len(ended) - 5 if part == "numbers" else ended.index(part.encode())
    for offset, bit in ((0, 1), (1, 2), (2, 32)):
        broken = bytearray(ended)
        broken[where + offset] ^= bit
        path.write_bytes(broken)
        refused(path, "run (cannot be read|is no file of|is damaged)")


def test_no_damage_goes_unnoticed(tmp_path, ended):
    """Random bytes anywhere: refused, or (white space, say) the very same content."""
    chance, path = random.Random(0), tmp_path / "run"
    path.write_bytes(ended)
    tensors, record = checkpoints.read(path)
    header = int.from_bytes(ended[:8], "little") + 8
    refusals = 0
    for trial in range(600):
        broken = bytearray(ended)
        for _ in range(chance.choice([1, 1, 1, 5])):
            broken[chance.randrange(header if trial % 2 else len(ended))] = chance.randrange(256)
        path.write_bytes(broken)
        try:
            found, what = checkpoints.read(path)
        except CheckpointError as error:
            assert str(error).endswith("delete it, or choose another path, to start anew")
            refusals += 1
        else:
            assert what == record and found.keys() == tensors.keys()
            assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert refusals > 550


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epochs": 31}, "epochs 30 there, 31 here; extend=True goes on from there"),
        ({"epochs": 29}, "epochs 30 there, 29 here"),
        ({"epochs": 29, "extend": True}, "epochs 30 there, 29 here"),
        ({"batch_size": 21}, "batch_size 20 there, 21 here"),
        ({"learning_rate": 0.02}, "learning_rate 0.01 there, 0.02 here"),
        ({"seed": 4}, "seed 3 there, 4 here"),
        ({"objective": partial(elbo, n_samples=2)}, ".*objective.keywords.n_samples nothing there, 2 here.*"),
        ({"objective": partial(beta_elbo, beta=1.0)}, ".*objective.keywords.beta nothing there, 1.0 here.*"),
        ({"precision": "bfloat16"}, "precision float32 there, bfloat16 here"),
        ({"test": None}, "not the same test"),
        ({"test": gray(30, seed=2).dynamic()}, "not the same test"),
        ({"test": gray(30, seed=1)}, "not the same test"),
        ({"epochs": 1, "seed": 4}, "seed 3 there, 4 here"),
        ({"model": new_vae(1)}, r"the model started from other weights \(build it anew to resume\)"),
        ({"model": new_vae(hidden=(9,))}, ".*model.encoder.2.out_features 8 there, 9 here.*"),
        ({"model": new_vae(hidden=())}, ".*model.*"),
    ],
)
def test_another_runs_file_is_refused(path, changed, words):
    refused(path, rf"run is of another run: {words}\. Delete it, or choose another path", **changed)


@pytest.mark.parametrize("images", [gray(), gray(seed=1).dynamic(), gray(63).dynamic()], ids=str)
def test_a_file_of_other_images_is_refused(path, images):
    def on_others(path, model):
        fit(model, images, test=gray(30, seed=1).dynamic(), seed=3, checkpoint=path, **LONG)

    refused(path, "is of another run: not the same images. Delete", on_others)


def test_a_file_from_before_the_first_step_holds_nothing_to_lose(tmp_path):
    """So that the smaller batch that a message recommends can be tried at once."""

    def too_large(model, x):
        raise ValueError("not at all")

    with pytest.raises(ValueError, match="not at all"):
        fit(new_vae(), gray(), too_large, checkpoint=tmp_path / "run", **LONG)
    assert (tmp_path / "run").exists()
    history = fit(new_vae(), gray(), checkpoint=tmp_path / "run", **LONG | {"learning_rate": 1e-3})
    assert len(history) == 90


def test_a_half_trained_model_is_another(path):
    model, _ = run(epochs=1)
    refused(path, "the model started from other weights", model=model)


# To go on for longer, and to begin with another run's weights


def test_a_run_goes_on_for_longer(tmp_path, capsys):
    """Ten epochs and twenty more are two cycles of the rate, whatever comes between."""
    path, rates = tmp_path / "run", []
    run(path, epochs=10)
    plain = loop.ascend

    def spied(model, x, optimizer, *, objective):
        rates.append(optimizer.param_groups[0]["lr"])
        return plain(model, x, optimizer, objective=objective)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "ascend", spied)
        model, history = run(path, epochs=30, extend=True)
    assert "after step 30 of 90" in capsys.readouterr().out and len(history) == 90 and history.complete
    assert (
        rates[0] == pytest.approx(0.01 / 25)
        and max(rates) == pytest.approx(0.01, rel=0.01)
        and rates[-1] < 1e-6
    )
    assert rates == [one_cycle(step, 60, 0.01) for step in range(60)]
    assert [step for step, _ in history.test] == [
        3,
        6,
        9,
        12,
        15,
        18,
        21,
        24,
        27,
        30,
        36,
        45,
        54,
        63,
        72,
        81,
        90,
    ]
    again, same = run(path, epochs=30, extend=True)  # nothing is left to do, with extend or without
    assert torch.equal(weights(again), weights(model)) and same_but_for_time(same, history)
    assert torch.equal(weights(run(path, epochs=30)[0]), weights(model))


def test_an_extension_cut_anywhere_ends_with_the_same_bits(tmp_path, always):
    models = []
    for name in ("cut", "whole"):
        run(tmp_path / name, epochs=10)
        if name == "cut":
            for step in (1, 25):  # the first at its very beginning
                with pytest.raises(Died), stopping(step):
                    run(tmp_path / name, epochs=30, extend=True)
        models.append(run(tmp_path / name, epochs=30, extend=name == "cut" or True)[0])
    assert torch.equal(*map(weights, models))


def test_a_run_that_was_stopped_finishes_its_cycle_before_another(tmp_path, always):
    with pytest.raises(Died), stopping(25):
        run(tmp_path / "stopped", epochs=10)
    run(tmp_path / "ended", epochs=10)
    found = [weights(run(tmp_path / name, epochs=30, extend=True)[0]) for name in ("stopped", "ended")]
    assert torch.equal(*found)


def test_a_run_begins_with_the_weights_of_another(tmp_path):
    first, _ = run(tmp_path / "first", epochs=5)
    content = (tmp_path / "first").read_bytes()
    begun, history = run(tmp_path / "second", epochs=5, init_from=tmp_path / "first", seed=9)
    by_hand, same = run(model=deepcopy(first), epochs=5, seed=9)
    assert torch.equal(weights(begun), weights(by_hand)) and same_but_for_time(history, same)
    again, _ = run(tmp_path / "second", epochs=5, init_from=tmp_path / "first", seed=9)  # it resumes
    assert torch.equal(weights(begun), weights(again)) and (tmp_path / "first").read_bytes() == content


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            lambda: new_vae(hidden=(9,)),
            r"is of another model: not the same encoder\.2\.weight, .*; build that model",
        ),
        (lambda: new_vae(hidden=()), "is of another model"),
    ],
)
def test_the_weights_of_another_model_are_refused(path, model, words):
    model = model()
    before = weights(model)
    with pytest.raises(CheckpointError, match=words):
        fit(model, gray(), init_from=path, **LONG)
    assert torch.equal(weights(model), before)


def test_weights_that_are_not_there_are_refused(tmp_path):
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            fit(new_vae(), gray(), init_from=wrong, **LONG)


# A run is what its code does


def cell(source: str, name: str = "objective", **given):
    """What a notebook cell defines: the same name every time, whatever it does."""
    space = {"torch": torch, "nn": nn, "F": F, "elbo": elbo, "beta_elbo": beta_elbo, "ELBO": ELBO, **given}
    exec(textwrap.dedent(source), space)
    return space[name]


PLAIN = "def objective(model, x):\n    log_lik, kl = elbo(model, x)\n    return ELBO(log_lik, kl)"
EDITED = {  # (a cell, the same cell edited): another run, though its names are the same
    "constant": (PLAIN, PLAIN.replace("kl)", "kl * 1000.0)")),
    "operator": (PLAIN.replace("kl)", "kl + kl)"), PLAIN.replace("kl)", "kl - kl)")),
    "default": (PLAIN.replace("x):", "x, a=1.0):"), PLAIN.replace("x):", "x, a=2.0):")),
    "keyword's default": (PLAIN.replace("x):", "x, *, a=1.0):"), PLAIN.replace("x):", "x, *, a=2.0):")),
    "called function": (
        PLAIN,
        PLAIN.replace("kl = elbo", "kl, _ = beta_elbo").replace("x)\n    r", "x, 2.0)\n    r"),
    ),
    "global number": (
        "BETA = 1.0\ndef objective(model, x):\n    return beta_elbo(model, x, BETA)",
        "BETA = 2.0\ndef objective(model, x):\n    return beta_elbo(model, x, BETA)",
    ),
    "global function": (
        "def weight(kl):\n    return kl\n" + PLAIN.replace("kl)", "weight(kl))"),
        "def weight(kl):\n    return 2 * kl\n" + PLAIN.replace("kl)", "weight(kl))"),
    ),
    "nested function": (
        PLAIN.replace("return", "w = lambda k: k\n    return").replace("kl)", "w(kl))"),
        PLAIN.replace("return", "w = lambda k: 2 * k\n    return").replace("kl)", "w(kl))"),
    ),
    "lambda": (
        "objective = lambda m, x: beta_elbo(m, x, 1.0)",
        "objective = lambda m, x: beta_elbo(m, x, 2.0)",
    ),
    "closure": (
        "def make(b):\n    def inner(m, x):\n        return beta_elbo(m, x, b)\n    return inner\n"
        "objective = make(1.0)",
        "def make(b):\n    def inner(m, x):\n        return beta_elbo(m, x, b)\n    return inner\n"
        "objective = make(2.0)",
    ),
    "tensor in a closure": (
        "def make(b):\n    return lambda m, x: beta_elbo(m, x, b[0])\nobjective = make(torch.ones(9))",
        "def make(b):\n    return lambda m, x: beta_elbo(m, x, b[0])\nobjective = make(torch.ones(9) * 2)",
    ),
    "large tensor in a partial": (
        "from functools import partial\n"
        "def f(m, x, w):\n    return beta_elbo(m, x, w.mean())\n"
        "objective = partial(f, w=torch.ones(5000))",
        "from functools import partial\n"
        "def f(m, x, w):\n    return beta_elbo(m, x, w.mean())\n"
        "objective = partial(f, w=torch.ones(5000) * 3)",
    ),
    "one number of a large tensor": (
        "x0 = torch.zeros(4000)\ndef objective(m, x):\n    return beta_elbo(m, x, 1.0 + x0.sum())",
        "x0 = torch.zeros(4000)\nx0[1999] = 1e-3\n"
        "def objective(m, x):\n    return beta_elbo(m, x, 1.0 + x0.sum())",
    ),
    "array": (
        "import numpy as np\nw = np.ones(5)\n"
        "def objective(m, x):\n    return beta_elbo(m, x, float(w.sum()))",
        "import numpy as np\nw = np.ones(6)\n"
        "def objective(m, x):\n    return beta_elbo(m, x, float(w.sum()))",
    ),
    "attribute of an object": (
        "class B:\n    def __init__(s, b):\n        s.b = b\n"
        "    def __call__(s, m, x):\n        return beta_elbo(m, x, s.b)\n"
        "objective = B(1.0)",
        "class B:\n    def __init__(s, b):\n        s.b = b\n"
        "    def __call__(s, m, x):\n        return beta_elbo(m, x, s.b)\n"
        "objective = B(2.0)",
    ),
    "method of a class": (
        "class B:\n    def w(s):\n        return 1.0\n"
        "    def __call__(s, m, x):\n        return beta_elbo(m, x, s.w())\n"
        "objective = B()",
        "class B:\n    def w(s):\n        return 2.0\n"
        "    def __call__(s, m, x):\n        return beta_elbo(m, x, s.w())\n"
        "objective = B()",
    ),
    "base class": (
        "class A:\n    w = 1.0\n"
        "class B(A):\n    def __call__(s, m, x):\n        return beta_elbo(m, x, s.w)\n"
        "objective = B()",
        "class A:\n    w = 2.0\n"
        "class B(A):\n    def __call__(s, m, x):\n        return beta_elbo(m, x, s.w)\n"
        "objective = B()",
    ),
    "bound method": (
        "class B:\n    b = 1.0\n    def go(s, m, x):\n        return beta_elbo(m, x, s.b)\n"
        "objective = B().go",
        "class B:\n    b = 2.0\n    def go(s, m, x):\n        return beta_elbo(m, x, s.b)\n"
        "objective = B().go",
    ),
    "dictionary": (
        "S = {'beta': [1.0]}\ndef objective(m, x):\n    return beta_elbo(m, x, S['beta'][0])",
        "S = {'beta': [2.0]}\ndef objective(m, x):\n    return beta_elbo(m, x, S['beta'][0])",
    ),
    "weights of a second model": (
        "t = nn.Linear(1, 1, bias=False)\nt.weight.data.fill_(1)\n"
        "def objective(m, x):\n    return beta_elbo(m, x, t.weight.item())",
        "t = nn.Linear(1, 1, bias=False)\nt.weight.data.fill_(2)\n"
        "def objective(m, x):\n    return beta_elbo(m, x, t.weight.item())",
    ),
}


@pytest.mark.parametrize("kind", EDITED)
def test_an_edited_cell_never_resumes_the_other_run(tmp_path, kind):
    before, after = EDITED[kind]
    _, first = run(tmp_path / "run", cell(before), epochs=1)
    with pytest.raises(CheckpointError, match=r"is of another run: .*objective") as caught:
        run(tmp_path / "run", cell(after), epochs=1)
    assert "\n" not in str(caught.value)
    # The same cell, on other lines
    _, again = run(tmp_path / "run", cell("# run again\n\n" + before), epochs=1)
    assert same_but_for_time(again, first)


def test_words_in_a_cell_make_no_other_run(tmp_path):
    """Comments, docstrings, line breaks and annotations do nothing."""
    _, first = run(tmp_path / "run", cell(PLAIN), epochs=1)
    for edited in (
        PLAIN.replace("x):\n", "x):\n    'the bound'\n"),
        PLAIN.replace("x):\n", "x):\n    'the bound, as in print'\n    # and why\n\n"),
        PLAIN.replace("(model, x):", "(model: nn.Module,\n              x) -> tuple:"),
    ):
        _, again = run(tmp_path / "run", cell(edited), epochs=1)
        assert same_but_for_time(again, first)


MODEL = """
class Encoder(nn.Module):
    scale = 1.0
    def __init__(self, slope):
        super().__init__()
        self.first, self.slope, self.shift = nn.Linear(16, 4), slope, torch.zeros(4)
        self.register_buffer("mask", torch.ones(4), persistent=False)
    def forward(self, x):
        return self.act(self.first(x.flatten(1)))
    def act(self, h):
        return F.leaky_relu(h, self.slope) * self.mask * self.scale + self.shift
model = Encoder(0.1)
"""
EDITED_MODELS = {
    "forward": MODEL.replace("self.act(self", "2 * self.act(self"),
    "another method": MODEL.replace("leaky_relu(h, self.slope)", "leaky_relu(h, self.slope).abs()"),
    "attribute": MODEL.replace("Encoder(0.1)", "Encoder(0.2)"),
    "attribute of the class": MODEL.replace("scale = 1.0", "scale = 0.5"),
    "plain tensor": MODEL.replace("zeros(4)", "ones(4)"),
    "buffer that is not saved": MODEL.replace("torch.ones(4), p", "torch.zeros(4), p"),
    "frozen": MODEL + "model.first.bias.requires_grad_(False)",
    "hook": MODEL + "model.register_forward_hook(lambda m, i, o: 2 * o)",
}


def with_encoder(source: str) -> VAE:
    model = new_vae()
    torch.manual_seed(1)
    model.encoder = cell(source, "model")
    return model


@pytest.mark.parametrize("kind", EDITED_MODELS)
def test_an_edited_model_never_resumes_the_other_run(tmp_path, kind):
    _, first = run(tmp_path / "run", model=with_encoder(MODEL), epochs=1)
    with pytest.raises(CheckpointError, match=r"is of another run: .*model") as caught:
        run(tmp_path / "run", model=with_encoder(EDITED_MODELS[kind]), epochs=1)
    assert "\n" not in str(caught.value)
    _, again = run(tmp_path / "run", model=with_encoder("\n\n" + MODEL), epochs=1)
    assert same_but_for_time(again, first)


@pytest.mark.parametrize(
    "model",
    [
        lambda: VAE(mlp_encoder(SHAPE, 4, hidden=(8,), activation=nn.LeakyReLU), new_vae().decoder, 2),
        lambda: VAE(
            mlp_encoder(SHAPE, 4, hidden=(8,), activation=lambda: nn.LeakyReLU(0.3)), new_vae().decoder, 2
        ),
        lambda: VAE(new_vae().encoder, new_vae().decoder, 2, Gaussian(mean=torch.tanh)),
        lambda: VAE(new_vae().encoder, new_vae().decoder, 2, Gaussian(mean=lambda raw: raw / 2)),
        lambda: VAE(new_vae().encoder, new_vae().decoder, 2, Gaussian(mean=lambda raw: raw / 3)),
    ],
)
def test_models_whose_repr_is_alike_are_told_apart(tmp_path, model):
    run(tmp_path / "run", model=VAE(new_vae().encoder, new_vae().decoder, 2), epochs=1)
    with pytest.raises(CheckpointError, match="is of another run"):
        run(tmp_path / "run", model=model(), epochs=1)


UNKNOWN = {
    "generator": (
        "g = torch.Generator()\ndef objective(m, x):\n    return beta_elbo(m, x, torch.rand((), generator=g))"
    ),
    "random numbers": (
        "import random\nr = random.Random(0)\ndef objective(m, x):\n    return beta_elbo(m, x, r.random())"
    ),
    "NumPy's": (
        "import numpy as np\n"
        "r = np.random.default_rng(0)\n"
        "def objective(m, x):\n    return beta_elbo(m, x, r.random())"
    ),
    "iterator": "b = iter([1.0] * 999)\ndef objective(m, x):\n    return beta_elbo(m, x, next(b))",
    "counter": (
        "import itertools\nc = itertools.count()\n"
        "def objective(m, x):\n    return beta_elbo(m, x, next(c) / 99)"
    ),
    "running generator": (
        "b = (1.0 for _ in range(99))\ndef objective(m, x):\n    return beta_elbo(m, x, next(b))"
    ),
    "file": "import io\nf = io.StringIO()\ndef objective(m, x):\n    f.write('x')\n    return elbo(m, x)",
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_cannot_be_told_is_refused_where_it_would_matter(tmp_path, kind):
    with pytest.raises(
        CheckpointError, match=r"objective\.\w+ is an? \w+, whose state cannot be told"
    ) as caught:
        run(tmp_path / "run", cell(UNKNOWN[kind]), epochs=1)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
    fit(new_vae(), gray(), cell(UNKNOWN[kind]), epochs=1, batch_size=20)  # without a checkpoint it trains


COUNTING = {
    "list": (
        "calls = []\n"
        "def objective(m, x):\n    calls.append(1)\n    return beta_elbo(m, x, min(1, len(calls) / 50))"
    ),
    "global": (
        "n = 0\ndef objective(m, x):\n    global n\n    n += 1\n    return beta_elbo(m, x, min(1, n / 50))"
    ),
    "attribute": (
        "class B:\n    n = 0\n"
        "    def __call__(s, m, x):\n        s.n += 1\n        return beta_elbo(m, x, min(1, s.n / 50))\n"
        "objective = B()"
    ),
}


@pytest.mark.parametrize("kind", COUNTING)
def test_an_objective_that_counts_is_refused_before_much_is_lost(tmp_path, kind):
    """What it has counted would not be there when the run is gone on with."""
    words = "changes while training goes on .*let a number follow a schedule"
    with pytest.raises(CheckpointError, match=words) as caught:
        run(tmp_path / "run", cell(COUNTING[kind]), test=None)
    assert "\n" not in str(caught.value)


def test_models_and_objectives_of_the_package_are_told_in_milliseconds():
    objectives_of_ours = [elbo, partial(beta_elbo, beta=2.0), Annealed(beta_elbo, "beta", Linear(0.0, 1.0))]
    for objective in objectives_of_ours:
        start = time.perf_counter()
        told = identity.describe(model=new_vae(), objective=objective)
        assert time.perf_counter() - start < 0.2 and len(told) > 20


# Disks that are full


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_at_the_start_is_said_before_training(tmp_path, monkeypatch, call):
    monkeypatch.setattr(os, call, full_disk)
    model = new_vae()
    before = weights(model)
    words = r"cannot write .*run \(No space left on device\); make room, or choose another path"
    with pytest.raises(OSError, match=words) as caught:
        run(tmp_path / "run", model=model)
    assert caught.value.errno == errno.ENOSPC and torch.equal(weights(model), before)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_costs_a_warning_and_no_training(tmp_path, monkeypatch, always, call):
    path, old = tmp_path / "run", []

    def fill():
        old.append(path.read_bytes())
        monkeypatch.setattr(os, call, full_disk)

    words = r"cannot write .*run \(No space left on device\); the checkpoint from before is still there"
    with pytest.warns(RuntimeWarning, match=words) as warned, at_step(45, fill):
        model, history = run(path)
    assert len(warned) >= 2 and path.read_bytes() == old[0] and os.listdir(tmp_path) == ["run"]
    by_itself, whole = run()
    assert torch.equal(weights(model), weights(by_itself)) and same_but_for_time(history, whole)
    monkeypatch.undo()
    assert torch.equal(weights(run(path)[0]), weights(by_itself))  # the old file still serves


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of a file")
def test_a_file_that_can_be_written_only_in_part_leaves_the_old_one(tmp_path, always):
    import resource

    path, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(Died), stopping(50):
        run(path)
    old = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, limits[1]))
    try:
        with pytest.warns(RuntimeWarning, match="File too large"):
            model, _ = run(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["run"]
    assert torch.equal(weights(model), weights(run()[0]))


@pytest.mark.parametrize("where", ["file/run", "run"])
def test_a_path_that_cannot_be_is_said_before_training(tmp_path, monkeypatch, where):
    (tmp_path / "file").touch()
    if where == "run":  # a folder that refuses; root may write anywhere, so it is only said so
        monkeypatch.setattr(
            files.tempfile, "mkstemp", lambda **_: (_ for _ in ()).throw(PermissionError(13, "denied"))
        )
    with pytest.raises(OSError, match=r"cannot write .*run \(.*\); make room, or choose another path"):
        run(tmp_path / where)


# Tensors and records


def test_all_types_of_tensors_come_back(tmp_path):
    tensors = {
        "half": torch.randn(3, 2).bfloat16(),
        "whole": torch.arange(3),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flag": torch.tensor(True),
        "none": torch.zeros(0, 4),
        "turned": torch.randn(4, 3).T,
        "odd": torch.tensor([float("nan"), -0.0, float("inf")]),
    }
    record = {"numbers": [0.1, 1e-300, float("inf")], "words": "µ “ ”", "none": None}
    files.save_tensors(tmp_path / "f", tensors, record)
    found, what = files.load_tensors(tmp_path / "f")
    assert what == record and {n: t.dtype for n, t in found.items()} == {
        n: t.dtype for n, t in tensors.items()
    }
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_the_fingerprint_is_of_names_types_shapes_and_numbers():
    a = {"w": torch.zeros(2, 3), "b": torch.ones(3)}
    others = [
        {"v": a["w"], "b": a["b"]},
        {"w": a["w"].int(), "b": a["b"]},
        {"w": a["w"].T, "b": a["b"]},
        {"w": a["w"] + 1e-30, "b": a["b"]},
        {"w": a["w"]},
    ]
    assert files.digest(a) == files.digest(dict(reversed(a.items())))
    assert len({files.digest(x) for x in (a, *others)}) == 6


def test_an_autoencoder_resumes_too(tmp_path, always):
    models = [new_autoencoder() for _ in range(3)]
    with pytest.raises(Died), stopping(30):
        fit(models[0], gray(), squared_error, checkpoint=tmp_path / "run", **LONG)
    fit(models[1], gray(), squared_error, checkpoint=tmp_path / "run", **LONG)
    fit(models[2], gray(), squared_error, **LONG)
    assert torch.equal(weights(models[1]), weights(models[2]))


def cell_of(source: str, **names):
    """The function f of a notebook cell that sees torch, our objectives and these names."""
    scope = {"torch": torch, "elbo": elbo, "beta_elbo": beta_elbo, **names}
    exec(source, scope)
    return scope["f"]


def module(beta: float) -> types.ModuleType:
    """A module of one's own, inside another."""
    outer, inner = types.ModuleType("settings"), types.ModuleType("settings.inner")
    outer.inner, outer.beta, inner.beta = inner, beta, beta
    return outer


BETA = "def f(m, x): return beta_elbo(m, x, {})"
USED = "def f(m, x):\n  h(x)\n  return elbo(m, x)"
HIDDEN = {  # where a number may stand: of it, an objective
    "a module in a module": lambda b: cell_of(BETA.format("s.inner.beta"), s=module(b)),
    "a module by another name": lambda b: cell_of(
        "def f(m, x):\n  t = s\n  return beta_elbo(m, x, t.beta)", s=module(b)
    ),
    "a function under no_grad": lambda b: cell_of(f"@torch.no_grad()\ndef h(x): return x * {b}\n{USED}"),
    "a compiled function": lambda b: cell_of(
        f"h = torch.compile(lambda x: x * {b}, backend='eager')\n{USED}"
    ),
    "a context": lambda b: cell_of(
        f"import contextlib\n@contextlib.contextmanager\ndef h(x): yield {b}\n{USED}"
    ),
    "one function for each type": lambda b: cell_of(
        f"import functools\n@functools.singledispatch\ndef h(x): return {b}\n{USED}"
    ),
    "a mask": lambda b: cell_of(
        "def f(m, x):\n  a\n  return elbo(m, x)", a=np.ma.array([1.0, 2.0], mask=[b > 1, False])
    ),
    "a private slot": lambda b: Private(b),
    "a number that does more": lambda b: cell_of(
        BETA.format("abs(n)"), n=type("N", (int,), {"__abs__": lambda n: b})(1)
    ),
}


def test_what_torch_does_to_its_own_functions_later_is_no_difference(monkeypatch):
    """It decorates some of them once its compiler is there, which the first optimizer imports."""

    def seeded(model, x):
        torch.manual_seed(0)
        return elbo(model, x)

    told = []
    plain = inspect.unwrap(torch.manual_seed)
    for there in (plain, torch._dynamo.disable(plain)):
        monkeypatch.setattr(torch, "manual_seed", there)
        told.append(identity.describe(objective=seeded))
    assert told[0] == told[1]


class Private:
    __slots__ = ("__beta",)

    def __init__(self, beta):
        self.__beta = beta

    def __call__(self, model, x):
        return beta_elbo(model, x, self.__beta)


@pytest.mark.parametrize("where", HIDDEN)
def test_a_number_is_found_wherever_it_stands(tmp_path, where):
    path = tmp_path / "run.safetensors"
    run(path, HIDDEN[where](1.0), epochs=1)
    run(path, HIDDEN[where](1.0), epochs=1)
    refused(path, "of another run", objective=HIDDEN[where](2.0), epochs=1)


@pytest.mark.parametrize("source", ["import settings\n  b = settings.beta", "from settings import beta as b"])
def test_what_is_imported_when_called_counts(tmp_path, monkeypatch, source):
    path, objective = tmp_path / "run.safetensors", f"def f(m, x):\n  {source}\n  return beta_elbo(m, x, b)"
    for beta in (1.0, 1.0, 2.0):
        monkeypatch.setitem(sys.modules, "settings", module(beta))
        if beta == 1.0:
            run(path, cell_of(objective), epochs=1)
    refused(path, "of another run", objective=cell_of(objective), epochs=1)


@pytest.mark.parametrize(
    "number",
    [
        "eval('1.0')",
        "globals()['b']",
        "float(os.environ['B'])",
        "random.random()",
        "float(np.random.rand())",
        "float(s.to_dense().sum())",
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, number):
    objective = cell_of(BETA.format(number), os=os, random=random, np=np, b=1.0, s=torch.eye(2).to_sparse())
    with pytest.raises(CheckpointError, match="without it, or without checkpoint=, this can be trained"):
        run(tmp_path / "run.safetensors", objective)
    assert not list(tmp_path.iterdir())


def test_another_file_of_ours_is_not_overwritten(tmp_path):
    path = tmp_path / "faces.safetensors"
    for record in ({}, {"terms": {}}, {"terms": {"value": [1.0]}}, {"run": {}}):
        files.save_tensors(path, {"pixels": torch.zeros(3)}, record)
        refused(path, "is no checkpoint; delete it, or choose another path")
        refused(path, "is no checkpoint; name a checkpoint", lambda path, **k: run(init_from=path, **k))


def test_no_advice_to_delete_what_another_run_left(tmp_path):
    path = tmp_path / "run.safetensors"
    run(path, epochs=1)
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, "name a checkpoint of training.fit", lambda path, **k: run(init_from=path, **k))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_nothing_is_read_from_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        with pytest.raises(CheckpointError, match="it is no file"):
            run(path)


@pytest.mark.skipif(sys.platform != "linux", reason="names are in Unicode here")
def test_a_name_that_could_not_be_read_again_is_refused(tmp_path):
    with pytest.raises(OSError, match="not in UTF-8"):
        run(tmp_path / os.fsdecode(b"\xff.safetensors"))


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    path, there = tmp_path / "run.safetensors", tmp_path / "disk/there.safetensors"
    path.symlink_to(there)
    run(path, epochs=1)
    before = there.read_bytes()
    run(path, epochs=2, extend=True)
    assert path.is_symlink() and there.read_bytes() != before


def test_only_own_parts_are_removed(tmp_path):
    other = tmp_path / ".ab.safetensors.1.part"
    other.write_text("of a run that writes")
    run(tmp_path / "[a]b.safetensors", epochs=1)
    assert other.exists()


def test_a_folder_of_links_is_replaced_and_they_stay(tmp_path):
    real, folder = tmp_path / "real", tmp_path / "results"
    real.mkdir()
    folder.symlink_to(real)
    (real / "notes.txt").write_text("mine")
    (real / "up").symlink_to(tmp_path)
    (real / "nowhere").symlink_to(tmp_path / "gone")
    files.replace_files(folder, {"metrics.json": b"{}"})
    assert folder.is_symlink() and (real / "up").is_symlink() and (real / "nowhere").is_symlink()
    assert sorted(path.name for path in real.iterdir()) == ["metrics.json", "notes.txt", "nowhere", "up"]
