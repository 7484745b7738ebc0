"""The benchmarks: what they count agrees with a count by hand, and what they measure is of a sane order."""

import json
import socket
import time
from itertools import pairwise
from math import log, pi
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from benchmarks import in_page, missions, scaling
from benchmarks.machine import copy_rate, describe, matmul_rate, seconds
from benchmarks.work import count
from vae_lab import data

CPU = torch.device("cpu")


def multiplications(*sizes):
    """Of one image on its way through dense layers of these sizes."""
    return sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))


@pytest.mark.parametrize("hidden", [(), (400,), (300, 50)])
@pytest.mark.parametrize("batch", [1, 5])
def test_operations_of_the_dense_vae_are_those_counted_by_hand(hidden, batch):
    """Forward 2 in × out; backward twice that, less the gradient of the image, which nobody asks for."""
    shape, latents = (1, 28, 28), 20
    encoder = scaling.mlp_encoder(shape, 2 * latents, hidden=hidden)
    model = scaling.VAE(encoder, scaling.mlp_decoder(latents, shape, hidden=hidden[::-1]), latents)
    forward = 2 * (multiplications(784, *hidden, 40) + multiplications(20, *hidden[::-1], 784))
    first = 2 * 784 * [*hidden, 40][0]
    operations, _ = count(model, torch.rand(batch, *shape))
    assert operations == batch * (3 * forward - first)


def test_operations_of_a_convolution_are_those_counted_by_hand():
    """A 4×4 convolution to c maps of side s costs 2 · 16 · c_in · c · s² forward, its mirror too."""
    point = scaling.Point("side", side=32, width=2, batch=4)
    sides, channels = [32, 16, 8, 4], [3, 2, 4, 8]
    convolutions = [2 * 16 * a * b * s**2 for (a, b), s in zip(pairwise(channels), sides[1:], strict=True)]
    dense = 2 * channels[-1] * 16 * (40 + 20)
    expected = 3 * (2 * sum(convolutions) + dense) - convolutions[0]
    assert scaling.work(point)["flops_per_image"] == expected


def test_bytes_kept_and_moved_are_those_counted_by_hand():
    """Autograd keeps the image, the logits, both hidden layers, and six numbers a latent."""
    counted = scaling.work(scaling.Point("batch", batch=64))
    parameters = multiplications(784, 400, 40) + 400 + 40 + multiplications(20, 400, 784) + 400 + 784
    kept = 4 * (2 * 784 + 2 * 400 + 6 * 20)
    assert counted["parameters"] == parameters
    assert counted["kept_bytes_per_image"] == kept
    moved = 4 * 2 * 4 * parameters + 64 * 2 * kept  # four numbers a parameter, in and out; kept, out and in
    assert counted["bytes_per_step"] == moved


def test_bfloat16_keeps_less_and_computes_as_much():
    full, half = (
        scaling.work(scaling.Point("batch", precision=precision)) for precision in ("float32", "bfloat16")
    )
    assert half["flops_per_image"] == full["flops_per_image"]
    assert half["kept_bytes_per_image"] < full["kept_bytes_per_image"]


def test_the_smallest_step_runs_the_same_operations_on_almost_nothing():
    for point in (scaling.Point("depth", depth=3), scaling.Point("side", side=64, width=32)):
        small, whole = (scaling.build(point, smallest=smallest)[0] for smallest in (True, False))
        assert [type(m) for m in small.modules()] == [type(m) for m in whole.modules()]
        assert scaling.parameter_count(small) < scaling.parameter_count(whole) / 100


def test_the_machine_is_somewhere_between_a_watch_and_a_supercomputer():
    for dtype in (torch.float32, torch.bfloat16):
        assert 1e8 < matmul_rate(dtype, CPU, at_least=0.02) < 1e16
    assert 1e8 < copy_rate(CPU, size=2**26, at_least=0.02) < 1e14


def test_a_description_names_a_machine_but_neither_its_host_nor_its_folders():
    machine = describe(CPU)
    assert set(machine) == {"device", "name", "threads", "cores", "torch"}
    assert machine["device"] == "cpu" and machine["name"]
    assert machine["threads"] == torch.get_num_threads()
    text = json.dumps(machine)
    assert socket.gethostname() not in text and str(Path.home()) not in text and str(Path.cwd()) not in text


def test_seconds_are_seconds():
    assert 0.01 <= seconds(lambda: time.sleep(0.01), at_least=0.03) < 0.1


def test_quick_scaling_writes_a_record_and_a_figure(tmp_path, capsys):
    scaling.main(["--quick", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "scaling.json").read_text("utf8"))
    assert len(record["points"]) == len(scaling.points(quick=True))
    assert {p["varies"] for p in record["points"]} == {"batch", "width", "depth", "side"}
    for point in record["points"]:
        assert point["step_seconds"] > 0 and point["issue_seconds"] > 0
        assert point["limit_seconds"] == max(point["arithmetic_seconds"], point["memory_seconds"]) > 0
        assert point["fraction"] == point["limit_seconds"] / point["step_seconds"]
    ElementTree.parse(tmp_path / "scaling.svg")
    assert capsys.readouterr().out.count("float32") >= 6


def test_the_full_grid_holds_the_points_asked_for():
    rows = {}
    for point in scaling.points():
        rows.setdefault((point.varies, point.precision), []).append(point.value)
    assert rows["batch", "float32"] == rows["batch", "bfloat16"] == [16, 32, 64, 128, 256, 512, 1024, 2048]
    assert rows["width", "float32"] == [100, 200, 400, 800, 1600]
    assert rows["depth", "float32"] == [1, 2, 3, 4, 5]
    assert rows["side", "float32"] == [32, 64, 128]


def test_pytorch_learns_in_the_race_against_the_page():
    for work in in_page.works():
        torch.manual_seed(0)
        steps = in_page.loop(work, fused=False)
        losses = [next(steps).item() for _ in range(150)]
        assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_quick_in_page_writes_a_record(tmp_path, capsys):
    chromium = pytest.importorskip("chromium", reason="no Playwright here: pip install -e '.[test]'")
    if not chromium.is_here():
        pytest.skip("no Chromium here: python site/tools/chromium.py")
    in_page.main(["--quick", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "in_page.json").read_text("utf8"))
    assert [row["sizes"][0] for row in record["rows"]] == [784, 2]
    for row in record["rows"]:
        rates = row["steps_per_second"]
        assert all(rates[side][0] > 0 for side in ("wasm", "plain", "torch", "fused"))
        assert row["ratio"]["wasm / torch"] == [rates["wasm"][0] / rates["torch"][0]]
    assert 50 < record["wait"]["steps"] < 2000 and record["wait"]["seconds"][0] > 0
    assert record["wait"]["frame_ms"]["p95"] >= record["wait"]["frame_ms"]["median"] > 0
    assert "digits can be read" in capsys.readouterr().out


def test_the_missions_of_the_lab_come_to_what_is_recorded():
    """To the last bit, on any machine: those that take a second."""
    record = json.loads(Path("book/results/lab/missions.json").read_text("utf8"))
    short = {name: run for name, run in missions.RUNS.items() if run.settings.get("data") == "ring"}
    again = json.loads(json.dumps(missions.follow(short, [2])))
    for name, run in again.items():
        recorded = record["runs"][name]
        assert run.pop("found") == recorded["found"][record["seeds"].index(2) :][:1]
        assert run.items() <= recorded.items()
    assert record["runs"].keys() == missions.RUNS.keys()


def test_a_linear_autoencoder_in_the_page_comes_to_the_error_of_pca():
    """As chapter 1 says of the one that its readers train."""
    chosen = {"autoencoder": True, "hidden": [], "likelihood": "gaussian", "scale": 1, "mean": "identity"}
    run = missions.Run((100, 3000), 3000, chosen | {"rate": 5e-3})
    found = missions.follow({"linear": run}, [1])["linear"]["found"][0]
    x = data.load("digits").train.read().flatten(1).numpy()
    pca = PCA(2).fit(x)
    least = np.square(x - pca.inverse_transform(pca.transform(x))).sum(1).mean()
    early, late = (2 * (step["loss"] - 784 * log(2 * pi) / 2) for step in found)
    assert late == pytest.approx(least, rel=0.02) and early > 1.2 * least


def test_missions_write_what_they_found(tmp_path):
    missions.main(["--seeds", "1", "--quick", "--out", str(tmp_path)])
    runs = json.loads((tmp_path / "missions.json").read_text("utf8"))["runs"]
    assert all(run["found"][0][0]["loss"] > 0 for run in runs.values())
