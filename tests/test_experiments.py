"""Recorded runs at quick scale: what they write, what it is worth, and what is left when they fail."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from vae_lab import __version__, data, experiments, files, records
from vae_lab.data import Images
from vae_lab.experiments import EXPERIMENTS, digits, rate_distortion, recipe, recording, run
from vae_lab.experiments.__main__ import main
from vae_lab.experiments.digits import Single, build
from vae_lab.experiments.rate_distortion import RateDistortion
from vae_lab.experiments.recording import prior_means
from vae_lab.metrics import log_likelihood
from vae_lab.records import RecordError, load_decoder
from vae_lab.training import evaluate
from vae_lab.training.checkpoint import read

NAMES = list(EXPERIMENTS)
SINGLE = [name for name, experiment in EXPERIMENTS.items() if isinstance(experiment, Single)]
FILES = {"metrics.json", "samples.png", "decoder.safetensors"}
TINY = Single("a tiny one", 2, hidden=(8,), decoder_hidden=(8,), epochs=2, n_samples=3, measured=50)


@pytest.fixture
def no_mnist(monkeypatch, tmp_path):
    """Quick runs take the embedded digits, whatever this machine has."""
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "no data"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folders of one quick run of every single VAE, each with the model that was trained."""
    torch.set_num_threads(1)
    out, models = tmp_path_factory.mktemp("results"), {}

    def keep(*args):
        models[name] = build(*args)
        return models[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAE_LAB_DATA", str(out / "no data"))
        patch.setattr(digits, "build", keep)
        for name in SINGLE:
            run(name, scale="quick", out=out)
    return {name: (out / name, models[name]) for name in SINGLE}


@pytest.fixture
def tiny(no_mnist, monkeypatch, tmp_path):
    """An experiment of two seconds called "tiny", run in a folder of its own."""
    monkeypatch.setitem(EXPERIMENTS, "tiny", TINY)
    monkeypatch.setattr(experiments, "_scaled", lambda name, scale: EXPERIMENTS[name])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "_build" / "quick-results" / "tiny"


def metrics(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf8"))


@pytest.mark.parametrize("name", SINGLE)
def test_a_run_writes_everything_and_nothing_else(quick, name):
    folder, _ = quick[name]
    assert {path.name for path in folder.iterdir()} == FILES
    found = metrics(folder)
    assert found["name"] == name and found["scale"] == "quick"
    assert found["command"] == f"python -m vae_lab.experiments {name} --scale quick"
    assert found["configuration"]["latents"] == EXPERIMENTS[name].latents
    assert found["data"]["name"] == "digits" and len(found["data"]["sha256"]) == 64
    assert found["versions"]["torch"] == torch.__version__ and found["versions"]["vae_lab"] == __version__
    assert found["machine"] == {"device": found["machine"]["device"], "threads": torch.get_num_threads()}
    assert found["seconds"]["training"] > 0 and found["seconds"]["measuring"] > 0


@pytest.mark.parametrize("name", SINGLE)
def test_figures_agree_with_the_model(quick, name):
    folder, model = quick[name]
    found, e = metrics(folder), experiments._scaled(name, "quick")
    test = data.load("digits").test.first(200).binarized(torch.Generator().manual_seed(e.seed))
    model, terms = model.cpu(), evaluate(model.cpu(), test, seed=e.seed)
    assert found["test"]["negative_elbo"] == pytest.approx(-terms.value, rel=1e-5)
    assert found["test"]["kl"] == pytest.approx(terms.kl, rel=1e-5)
    part = test.first(e.measured)
    log_p, told = log_likelihood(model, part, n_samples=e.n_samples), found["importance_sampling"]
    assert told["negative_log_likelihood"] == pytest.approx(-log_p.mean().item(), rel=1e-5)
    assert told["standard_error"] == pytest.approx((log_p.var() / len(log_p)).sqrt().item(), rel=1e-4)
    assert told["negative_log_likelihood"] < told["negative_elbo"]


@pytest.mark.parametrize("name", SINGLE)
def test_the_curve_ends_at_the_test_elbo(quick, name):
    found = metrics(quick[name][0])
    assert len(found["curve"]) == 10
    assert found["curve"][-1]["negative_elbo"] == pytest.approx(found["test"]["negative_elbo"], rel=1e-4)
    assert found["curve"][-1]["negative_elbo"] < found["curve"][0]["negative_elbo"]
    assert [at["negative_elbo"] for at in found["curve"]] == [
        pytest.approx(at["kl"] - at["log_lik"]) for at in found["curve"]
    ]


@pytest.mark.parametrize("name", SINGLE)
def test_the_decoder_file_draws_what_the_model_draws(quick, name):
    folder, model = quick[name]
    path = folder / "decoder.safetensors"
    with safe_open(path, "pt") as file:
        assert all(file.get_tensor(key).dtype == torch.float16 for key in file.keys())  # noqa: SIM118
        told = json.loads(file.metadata()["architecture"])
    assert told["shape"] == [1, 28, 28] and told["latents"] == model.latents
    z = torch.randn(20, model.latents)
    with torch.no_grad():
        expected, found = model.cpu().decode(z).mean, load_decoder(path)(z).sigmoid()
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)
    assert expected.std() > 0.01


def test_the_plane_is_small_enough_for_a_page(quick):
    folder, _ = quick["mnist-plane"]
    assert (folder / "decoder.safetensors").stat().st_size < 450_000


@pytest.mark.parametrize("name", SINGLE)
def test_the_sheet_shows_draws_from_the_prior(quick, name):
    folder, model = quick[name]
    assert (folder / "samples.png").stat().st_size < 150_000
    sheet = Image.open(folder / "samples.png")
    assert sheet.mode == "L" and sheet.size == (2 * (12 * 29 + 1), 2 * (5 * 29 + 1))
    third = torch.tensor(list(sheet.crop((2 * 59, 2, 2 * 87, 2 * 29)).resize((28, 28), 0).tobytes()))
    expected = prior_means(model.cpu(), 60)[2].flatten() * 255
    torch.testing.assert_close(third.float(), expected, atol=1.0, rtol=0)


def test_a_decoder_that_is_too_large_is_not_kept(tiny, monkeypatch):
    monkeypatch.setattr(recording, "LARGEST_DECODER", 1000)
    assert main(["tiny", "--scale", "quick"]) == 0
    assert {path.name for path in tiny.iterdir()} == FILES - {"decoder.safetensors"}


def test_an_interrupted_run_resumes(tiny, monkeypatch, capsys):
    assert main(["tiny", "--scale", "quick"]) == 0
    whole = metrics(tiny)

    assert main(["tiny", "--scale", "quick", "--out", "stopped"]) == 0  # the same twice: no chance involved
    assert metrics(tiny.parents[2] / "stopped" / "tiny")["curve"] == whole["curve"]

    draws = Images._read

    def interrupt(self, *args):
        interrupt.calls += 1
        if interrupt.calls == 15:
            signal.raise_signal(signal.SIGINT)
        return draws(self, *args)

    interrupt.calls = 0
    with monkeypatch.context() as patch:
        patch.setattr(Images, "_read", interrupt)
        assert main(["tiny", "--scale", "quick", "--out", "resumed"]) == 130
    folder = tiny.parents[2] / "resumed" / "tiny"
    assert {path.name for path in folder.iterdir()} == {"checkpoint.safetensors"}
    assert 0 < len(read(folder / "checkpoint.safetensors")[1]["terms"]["value"]) < 28
    assert "The same command goes on" in capsys.readouterr().err
    assert main(["tiny", "--scale", "quick", "--out", "resumed"]) == 0
    assert "Resuming" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES
    resumed = metrics(folder)
    assert resumed["test"] == whole["test"] and resumed["importance_sampling"] == whole["importance_sampling"]
    assert all(at in resumed["curve"] for at in whole["curve"])  # it also measured where it was stopped


def test_a_checkpoint_of_other_settings_is_refused(tiny, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(digits, "_measure", _fail)
        with pytest.raises(ZeroDivisionError):
            run("tiny", scale="quick")
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(TINY, learning_rate=1e-3))
    assert main(["tiny", "--scale", "quick"]) == 1
    assert "another run" in capsys.readouterr().err


def _fail(*args, **kwargs):
    raise ZeroDivisionError


@pytest.mark.parametrize("where", ["_measure", "_files"])
def test_a_failure_leaves_the_results_from_before(tiny, monkeypatch, where):
    run("tiny", scale="quick")
    before = {path.name: path.read_bytes() for path in tiny.iterdir()}
    monkeypatch.setattr(digits, where, _fail)
    with pytest.raises(ZeroDivisionError):
        run("tiny", scale="quick")
    (tiny / "checkpoint.safetensors").unlink()  # training was done: it is kept
    assert {path.name: path.read_bytes() for path in tiny.iterdir()} == before


@pytest.mark.parametrize("at", [1, 2])
def test_a_full_disk_leaves_the_files_from_before(tmp_path, monkeypatch, at):
    """Whichever step of the replacement fails, old and new are not mixed."""
    folder, plain, calls = tmp_path / "run", os.replace, []
    folder.mkdir()
    (folder / "a").write_bytes(b"old")

    def full(*args):
        calls.append(args)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        plain(*args)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(RecordError, match=r"No space left.*make room"):
        recording.write(folder, {"a": b"new", "b": b"new"})
    assert [path.name for path in folder.iterdir()] == ["a"] and [p.name for p in tmp_path.iterdir()] == [
        "run"
    ]
    assert (folder / "a").read_bytes() == b"old"


def test_a_record_replaces_an_earlier_one_and_nothing_else(tmp_path):
    folder = tmp_path / "run"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes/mine.txt").write_text("mine")
    for name in ("decoder.safetensors", "samples.png", "checkpoint-0.safetensors", "metrics.json"):
        (folder / name).write_bytes(b"old")
    recording.write(folder, {"metrics.json": b"new", "samples.jpg": b"new"})
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "notes", "samples.jpg"]
    assert (folder / "metrics.json").read_bytes() == b"new" and (
        folder / "notes/mine.txt"
    ).read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path, no_mnist, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "fit", _fail)
    (tmp_path / "file").touch()
    assert main(["mnist-dense", "--scale", "quick", "--out", str(tmp_path / "file")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: cannot write to") and "--out" in told and told.count("\n") == 1


def test_a_quick_run_never_replaces_a_full_one(tmp_path, no_mnist, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "fit", _fail)
    folder = tmp_path / "mnist-dense"
    folder.mkdir()
    (folder / "metrics.json").write_text('{"scale": "full"}')
    assert main(["mnist-dense", "--scale", "quick", "--out", str(tmp_path)]) == 1
    assert "holds a full run" in capsys.readouterr().err
    assert experiments.QUICK.parts[0] == "_build" and experiments.RECORDED != experiments.QUICK


def test_an_unknown_name_lists_the_names(capsys):
    assert main(["mnist-dens"]) == 1
    told = capsys.readouterr().err
    assert "unknown experiment 'mnist-dens'" in told and all(name in told for name in NAMES)


@pytest.mark.parametrize("arguments", [[], ["mnist-dense", "--all"], ["--scale", "slow"]])
def test_a_command_that_asks_for_nothing_clear_is_refused(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "error:" in capsys.readouterr().err


def test_list_names_every_experiment(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES


def test_all_runs_every_one(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(experiments, "run", lambda name, **options: seen.append((name, options)))
    assert main(["--all", "--scale", "quick"]) == 0
    assert seen == [(name, {"scale": "quick", "out": None}) for name in EXPERIMENTS]


@pytest.mark.mnist
@pytest.mark.parametrize("name", SINGLE)
def test_the_table_fits_mnist(name):
    """Full runs start: the model takes MNIST's images and the measured ones are there."""
    mnist = data.load("mnist")
    model = build(EXPERIMENTS[name], mnist.train.shape)
    assert torch.isfinite(torch.tensor(evaluate(model, mnist.test.first(20)).value))
    assert EXPERIMENTS[name].measured <= len(mnist.test)


SWEEP = RateDistortion(
    "a tiny sweep", 3, (16,), (0.5, 4.0), (0, 1), 3, 64, n_samples=5, measured=40, drawn=300, judge_steps=60
)


@pytest.fixture
def sweep(no_mnist, monkeypatch, tmp_path):
    """A rate–distortion experiment of seconds called "sweep", run in a folder of its own."""
    monkeypatch.setitem(EXPERIMENTS, "sweep", SWEEP)
    monkeypatch.setattr(experiments, "_scaled", lambda name, scale: EXPERIMENTS[name])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "_build" / "quick-results" / "sweep"


def test_a_sweep_measures_every_weight_and_seed(sweep):
    """A greater weight buys rate with distortion, whatever the seed."""
    run("sweep", scale="quick")
    assert {path.name for path in sweep.iterdir()} == {"metrics.json", "samples.png"}
    rows = metrics(sweep)["models"]
    assert [(row["seed"], row["beta"]) for row in rows] == [(0, 0.5), (0, 4.0), (1, 0.5), (1, 4.0)]
    for row in rows:
        assert row["negative_elbo"] == pytest.approx(row["rate"] + row["distortion"])  # of weight 1
        assert row["rate"] >= 0 and 0 <= row["active_units"] <= SWEEP.latents and row["frechet"] > 0
        assert row["negative_log_likelihood"] < row["rate"] + row["distortion"] + 5  # of other images
    for low, high in (rows[:2], rows[2:]):
        assert low["rate"] > high["rate"] and low["distortion"] < high["distortion"]
    judge = metrics(sweep)["judge"]
    assert 0.1 < judge["accuracy"] <= 1 and 0 < judge["train"] < min(row["frechet"] for row in rows)


def test_an_interrupted_sweep_trains_no_model_twice(sweep, monkeypatch):
    run("sweep", scale="quick", out="whole")
    whole = metrics(sweep.parents[2] / "whole" / "sweep")
    measured, stop = rate_distortion._measure, []

    def interrupt(*args):
        if len(stop) == 2:
            raise KeyboardInterrupt
        stop.append(args)
        return measured(*args)

    with monkeypatch.context() as patch:
        patch.setattr(rate_distortion, "_measure", interrupt)
        assert main(["sweep", "--scale", "quick"]) == 130
    names = {path.name for path in sweep.iterdir()}
    assert names == {f"checkpoint-{at}.safetensors" for at in ("0.5-0", "4-0", "0.5-1")}
    assert main(["sweep", "--scale", "quick"]) == 0
    assert metrics(sweep)["models"] == whole["models"]


def test_the_quick_sweep_keeps_both_ends(no_mnist, tmp_path):
    found = metrics(run("mnist-rate-distortion", scale="quick", out=tmp_path))
    full = EXPERIMENTS["mnist-rate-distortion"]
    assert {row["beta"] for row in found["models"]} == {full.betas[0], full.betas[-1]}


def test_one_network_is_measured_at_every_weight(no_mnist, tmp_path):
    folder = run("mnist-multi-rate", scale="quick", out=tmp_path)
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "samples.png"}
    rows, full = metrics(folder)["models"], EXPERIMENTS["mnist-multi-rate"]
    assert [(row["seed"], row["beta"]) for row in rows] == [(s, b) for s in (0, 1) for b in full.betas]
    assert all(row["rate"] >= 0 and row["distortion"] > 0 for row in rows)
    rates = [row["rate"] for row in rows if row["seed"] == 0]
    assert rates[0] > rates[-1]  # the gates open already
    separate = EXPERIMENTS["mnist-rate-distortion"]
    assert (full.betas, full.seeds, full.hidden) == (separate.betas, separate.seeds, separate.hidden)


@pytest.mark.parametrize("out", ["", "~nobody-of-this-name/x"])
def test_a_path_that_is_none_is_refused(out, capsys):
    with pytest.raises(SystemExit):
        main(["mnist-conv", "--scale", "quick", "--out", out])
    assert "argument --out: --out must be a path" in capsys.readouterr().err


def test_a_half_launch_ends_in_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["mnist-conv", "--scale", "quick", "--out", str(tmp_path)]) == 1
    assert "error: WORLD_SIZE is set, but" in capsys.readouterr().err


def test_a_missing_file_of_a_record_is_told_from_a_missing_record():
    with pytest.raises(RecordError, match=r"'mnist-conv' has no file 'x'; it has .*metrics\.json"):
        records.recorded("mnist-conv", "x")


def test_a_decoder_is_of_numbers_and_of_one_kind(tmp_path):
    with pytest.raises(ValueError, match="hidden is for decoders without a width"):
        records.build_decoder(shape=(1, 28, 28), latents=2, hidden=(3,), width=2)
    about = {"shape": (1, 4, 4), "latents": 2}
    decoder = records.build_decoder(**about)
    decoder[0].bias.data[0] = float("nan")
    (tmp_path / "decoder").write_bytes(recording.decoder_bytes(decoder, about))
    with pytest.raises(RecordError, match="the decoder's weights cannot be told"):
        load_decoder(tmp_path / "decoder")
