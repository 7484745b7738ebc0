import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import gray, new_autoencoder, new_vae, same_but_for_time, weights

from vae_lab.training import checkpoint as checkpoints
from vae_lab.training import CheckpointError
from vae_lab.objectives import beta_elbo, elbo, squared_error
from vae_lab.training import fit

LONG = {"epochs": 30, "batch_size": 20, "learning_rate": 1e-2}  # 3 steps an epoch, 90 in all


class Died(BaseException):
    """As good as a power cut: nothing may catch it."""


def stopping(at: int, how=Died, objective=elbo):
    """The objective, until it is asked for the `at`-th training step."""
    calls = []

    def stopped(model, x):
        calls.append(model.training)
        if sum(calls) == at and model.training:
            raise how
        return objective(model, x)

    stopped.__qualname__ = objective.__qualname__  # the same run, says its checkpoint
    return stopped


@pytest.fixture
def always(monkeypatch):
    """Save at every look."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)


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
        tensors, record = checkpoints.load(folders[name] / "run")  # whole, or this raises
        return {k: t.tolist() for k, t in tensors.items()}, {**record, "seconds": 0.0}

    with server:
        ask(folders["whole"])
        assert ask("") == 0
        whole, took = state("whole"), checkpoints.load(folders["whole"] / "run")[1]["seconds"]
        file, part = (folders["killed"] / name for name in ("run", "run.part"))
        chance, found, half_written, finished = random.Random(0), [], 0, 0
        while len(found) < 20:
            child = ask(folders["killed"])
            if len(found) % 4 == 3:  # in the middle of writing
                until = time.monotonic() + took
                while not part.exists() and time.monotonic() < until:
                    pass
            else:
                time.sleep(chance.uniform(0, took / 12))
            os.kill(child, signal.SIGKILL)
            if ask("") == 0:  # a run that was faster than expected; it is compared, and another begun
                assert state("killed") == whole
                file.unlink()
                finished += 1
                continue
            half_written += part.exists()
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
    with pytest.raises(Died):
        run(path, stopping(50))
    old = path.read_bytes()
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(os, when, lambda *_: (_ for _ in ()).throw(Died))
        run(path)
    assert path.read_bytes() == old and (tmp_path / "run.part").exists()
    model, history = run(path)
    assert "Resuming " in capsys.readouterr().out and os.listdir(tmp_path) == ["run"]
    by_itself, whole = run()
    assert torch.equal(weights(model), weights(by_itself)) and same_but_for_time(history, whole)


@pytest.mark.parametrize("step", [1, 19, 20, 21, 47, 90])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_cut_anywhere_ends_with_the_same_bits(tmp_path, always, step, precision):
    with pytest.raises(Died):
        run(tmp_path / "run", stopping(step), precision=precision)
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
    model, again = run(tmp_path / "run", stopping(1))
    assert same_but_for_time(history, again) and torch.equal(weights(model), weights(first))
    assert "after step 90 of 90" in capsys.readouterr().out
    run(tmp_path / "run", stopping(1), model=first)  # the model as training left it
    assert (tmp_path / "run").read_bytes() == content


def test_a_checkpoint_changes_nothing(tmp_path, always):
    (with_file, a), (without, b) = run(tmp_path / "deep" / "er" / "run"), run()
    assert torch.equal(weights(with_file), weights(without)) and same_but_for_time(a, b)


def test_the_file_is_written_every_half_minute_and_at_the_end(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        checkpoints, "save", lambda path, tensors, record: saved.append(len(record["terms"].get("value", [])))
    )

    def slow(model, x):
        now[0] += 1.0 * model.training
        return elbo(model, x)

    fit(new_vae(), gray(), slow, checkpoint=tmp_path / "run", **LONG)
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
    refused(path, "cannot be read as a checkpoint .*; delete it, or choose another path")


@pytest.mark.parametrize("content", ["", "Dear diary,\n" * 1000, "{}", "PK\x03\x04" * 100])
def test_what_is_no_checkpoint_at_all_is_refused(path, content):
    path.write_text(content)
    refused(path, "cannot be read as a checkpoint .*; delete it, or choose another path")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        run(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "vae_lab checkpoint 0"}])
def test_another_programs_safetensors_are_refused(path, metadata):
    save_file({"w": torch.ones(3)}, path, metadata)
    refused(path, "is no checkpoint of vae_lab, or one of another version; delete it")


@pytest.mark.parametrize("part", ["format", "sha256", "record", "model.enc", "F32", "numbers"])
def test_a_damaged_byte_is_refused(path, ended, part):
    where = len(ended) - 5 if part == "numbers" else ended.index(part.encode())
    for offset, bit in ((0, 1), (1, 2), (2, 32)):
        broken = bytearray(ended)
        broken[where + offset] ^= bit
        path.write_bytes(broken)
        refused(path, "run (cannot be read|is no checkpoint|is damaged)")


def test_no_damage_goes_unnoticed(tmp_path, ended):
    """Random bytes anywhere: refused, or (white space, say) the very same content."""
    chance, path = random.Random(0), tmp_path / "run"
    path.write_bytes(ended)
    tensors, record = checkpoints.load(path)
    header = int.from_bytes(ended[:8], "little") + 8
    refusals = 0
    for trial in range(600):
        broken = bytearray(ended)
        for _ in range(chance.choice([1, 1, 1, 5])):
            broken[chance.randrange(header if trial % 2 else len(ended))] = chance.randrange(256)
        path.write_bytes(broken)
        try:
            found, what = checkpoints.load(path)
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
        ({"epochs": 31}, "epochs 30 there, 31 here"),
        ({"batch_size": 21}, "batch_size 20 there, 21 here"),
        ({"learning_rate": 0.02}, "learning_rate 0.01 there, 0.02 here"),
        ({"seed": 4}, "seed 3 there, 4 here"),
        ({"objective": partial(elbo, n_samples=2)}, "objective .* there, .*n_samples 2.* here"),
        ({"objective": partial(beta_elbo, beta=1.0)}, "objective .*elbo.* there, .*beta_elbo.* here"),
        ({"precision": "bfloat16"}, "precision 'float32' there, 'bfloat16' here"),
        ({"test": None}, "test '.*' there, None here"),
        ({"test": gray(30, seed=2).dynamic()}, "not the same test"),
        ({"test": gray(30, seed=1)}, "not the same test"),
        ({"epochs": 1, "seed": 4}, "epochs 30 there, 1 here; seed 3 there, 4 here"),
        ({"model": new_vae(1)}, r"the model started from other weights \(build it anew to resume\)"),
        ({"model": new_vae(hidden=(9,))}, "not the same model"),
        ({"model": new_vae(hidden=())}, "not the same model"),
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


class Callable:
    """An objective with a state, and torch's usual repr: its address."""

    def __call__(self, model, x):
        return elbo(model, x)


def test_objectives_are_told_apart_by_name_and_arguments_and_not_by_address(tmp_path):
    kept = [Callable(), partial(beta_elbo, beta=2.0), partial(Callable())]
    for number, objective in enumerate(kept):
        run(tmp_path / str(number), objective)
    again = [Callable(), partial(beta_elbo, beta=2.0), partial(Callable())]
    for number, objective in enumerate(again):
        run(tmp_path / str(number), objective)
    with pytest.raises(CheckpointError, match="objective"):
        run(tmp_path / "1", partial(beta_elbo, beta=3.0))


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
    path, old, calls = tmp_path / "run", [], []

    def filling(model, x):
        calls.append(model.training)
        if sum(calls) == 45 and model.training:
            old.append(path.read_bytes())
            monkeypatch.setattr(os, call, full_disk)
        return elbo(model, x)

    filling.__qualname__ = elbo.__qualname__
    words = r"cannot write .*run \(No space left on device\); the checkpoint from before is still there"
    with pytest.warns(RuntimeWarning, match=words) as warned:
        model, history = run(path, filling)
    assert len(warned) >= 2 and path.read_bytes() == old[0] and os.listdir(tmp_path) == ["run"]
    by_itself, whole = run()
    assert torch.equal(weights(model), weights(by_itself)) and same_but_for_time(history, whole)
    monkeypatch.undo()
    assert torch.equal(weights(run(path)[0]), weights(by_itself))  # the old file still serves


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")
def test_the_kernels_own_full_disk(tmp_path):
    (tmp_path / "run.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot write .*run \(No space left on device\); make room"):
        run(tmp_path / "run")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of a file")
def test_a_file_that_can_be_written_only_in_part_leaves_the_old_one(tmp_path, always):
    import resource

    path, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(Died):
        run(path, stopping(50))
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
        monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
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
    checkpoints.save(tmp_path / "f", tensors, record)
    found, what = checkpoints.load(tmp_path / "f")
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
    assert checkpoints.fingerprint(a) == checkpoints.fingerprint(dict(reversed(a.items())))
    assert len({checkpoints.fingerprint(x) for x in (a, *others)}) == 6


def test_an_autoencoder_resumes_too(tmp_path, always):
    models = [new_autoencoder() for _ in range(3)]
    with pytest.raises(Died):
        fit(models[0], gray(), stopping(30, objective=squared_error), checkpoint=tmp_path / "run", **LONG)
    fit(models[1], gray(), squared_error, checkpoint=tmp_path / "run", **LONG)
    fit(models[2], gray(), squared_error, **LONG)
    assert torch.equal(weights(models[1]), weights(models[2]))
