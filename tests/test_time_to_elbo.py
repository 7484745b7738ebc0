"""The race against the reference: both train the same model, and the clock measures training only."""

import json
import sys
import time
from dataclasses import fields

import pytest
import torch

from benchmarks import levers, time_to_elbo
from benchmarks.time_to_elbo import OURS, Pictures, Reference, negative_elbo, seconds_to, spread
from vae_lab import models, nets
from vae_lab.objectives import elbo

SHAPE = (1, 28, 28)


def ours() -> models.VAE:
    return models.VAE(nets.mlp_encoder(SHAPE, 40), nets.mlp_decoder(20, SHAPE), 20)


def test_both_have_the_same_bound_with_the_same_weights(digits):
    reference, model, x = Reference(), ours(), digits.test.read(slice(0, 16))
    layers = dict(
        zip(("fc1", "fc3", "fc4"), (model.encoder[2], model.decoder[0], model.decoder[2]), strict=True)
    )
    for name, layer in layers.items():
        layer.load_state_dict(getattr(reference, name).state_dict())
    for name in ("weight", "bias"):
        both = torch.cat([getattr(reference.fc21, name), getattr(reference.fc22, name)])
        getattr(model.encoder[4], name).data.copy_(both)
    torch.manual_seed(3)
    theirs = negative_elbo(reference, x)
    torch.manual_seed(3)
    assert -elbo(model, x).value.sum().item() == pytest.approx(theirs.item(), rel=1e-5)
    assert nets.parameter_count(reference) == nets.parameter_count(model)


def test_pictures_are_the_same_pixels(digits):
    x, label = Pictures(digits.test)[7]
    assert torch.allclose(x, digits.test.read(7)) and label == digits.test.labels[7]


def test_the_reference_learns_and_stops_at_the_level(digits):
    curve = time_to_elbo.reference_curve(digits, 0, until=210.0, patience=20)
    assert curve[-1][1] <= 210 < curve[-2][1] and len(curve) < 20
    assert [seconds for seconds, _ in curve] == sorted(seconds for seconds, _ in curve)


def test_measuring_is_off_the_clock(digits, monkeypatch):
    slow = elbo

    def delayed(model, x):
        if not model.training:
            time.sleep(0.3)
        return slow(model, x)

    monkeypatch.setattr(time_to_elbo, "elbo", delayed)
    start = time.perf_counter()
    curve = time_to_elbo.our_curve(digits, 0, epochs=1, batch_size=128, learning_rate=1e-3)
    assert len(curve) == 10 and curve[-1][0] < time.perf_counter() - start - 10 * 0.3
    assert [seconds for seconds, _ in curve] == sorted(seconds for seconds, _ in curve)


def test_a_level_is_reached_at_the_first_measurement_below_it():
    curve = [(1.0, 120.0), (2.0, 112.0), (3.0, 108.0)]
    assert [seconds_to(curve, level) for level in (121, 112, 110, 100)] == [1.0, 2.0, 3.0, None]
    assert spread([3.0, 1.0, 2.0]) == "2.0 (1.0 … 3.0)" and spread([1.0, None]) == "not reached"


def test_the_race_prints_a_table_and_keeps_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["time_to_elbo", "--quick", "--out", str(tmp_path)])
    monkeypatch.setitem(OURS, "digits", OURS["digits"] | {"epochs": 3})
    time_to_elbo.main()
    record = json.loads((tmp_path / "time_to_elbo.json").read_text())
    assert "times faster" in capsys.readouterr().out and (tmp_path / "time_to_elbo.svg").exists()
    assert record["ours"]["final"] == [record["ours"]["curve"][0][-1][1]]
    for level, ratios in record["ratio"].items():
        slow, fast = (record[key]["seconds"][level][0] for key in ("reference", "ours"))
        assert ratios == [slow / fast if slow and fast else None]


def test_a_lever_changes_one_thing():
    for lever in levers.levers(levers.Setting()):
        changed = {
            field.name
            for field in fields(levers.Setting)
            if getattr(lever.without, field.name) != getattr(lever.with_it, field.name)
        }
        schedule = {"one_cycle", "batch_size", "learning_rate"}
        assert len(changed) == 1 or (lever.name.startswith("one cycle") and changed == schedule)


def test_validation_is_on_where_the_lever_says_so(digits):
    """Then torch refuses gray pixels under a Bernoulli, which it would otherwise take."""
    strict = levers.Setting(validated=True, bfloat16=False, batch_size=64)
    with pytest.raises(ValueError, match="within the support"):
        levers.time_steps(strict, digits.train, 2)
    assert min(levers.time_steps(levers.Setting(batch_size=64), digits.train, 2)) > 0


def test_a_row_has_its_times_and_answers(digits):
    base = levers.Setting(epochs=1, batch_size=128)
    # bfloat16, which may change answers
    row = levers.measure(levers.levers(base)[2], digits, repetitions=2, seeds=1, number=2)
    assert row["lever"] == "bfloat16" and len(row["seconds_with"]) == len(row["ratio"]) == 2
    assert row["ratio"][1] == row["seconds_without"][1] / row["seconds_with"][1]
    assert row["final_with"][0] == pytest.approx(row["final_without"][0], rel=0.02)
