import math
import re
import signal
import sys
import threading
from functools import partial
from typing import NamedTuple

import pytest
import torch
from tiny import QUICK, Level, at_step, gray, new_autoencoder, new_vae, same_but_for_time, weights
from torch import nn

from vae_lab.objectives import elbo, squared_error
from vae_lab.training import checkpoint as checkpoints
from vae_lab.training import fit, loop
from vae_lab.training import run as runs
from vae_lab.training.run import History, TrainingDiverged

LONG = {"epochs": 30, "batch_size": 20, "learning_rate": 1e-2}  # 3 steps an epoch, 90 in all


def pressed(at, times=1):
    """`fit`, with Ctrl-C pressed at the beginning of a training step, counted from 1."""

    def press():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)

    def fit_pressed(*arguments, **settings):
        with at_step(at, press):
            return fit(*arguments, **settings)

    return fit_pressed


def replaced(step, value, objective=elbo):
    """The objective, whose value is replaced from or at a training step (counted from 1)."""
    calls = []

    def other(model, x):
        terms = objective(model, x)
        calls.append(None)
        return Level(value(terms.value, len(calls)) if len(calls) >= step else terms.value)

    return other


# Ctrl-C


def test_an_interrupt_finishes_the_step_and_keeps_the_latest_weights(capsys):
    model, same = new_vae(), new_vae()
    history = pressed(47)(model, gray(), elbo, **LONG)
    assert capsys.readouterr().out == "Stopped after 47 of 90 steps.\n"
    assert len(history) == 47 and {len(values) for values in history.terms.values()} == {47}
    seen = []

    def watched(model, x):
        seen.append(weights(model))
        return elbo(model, x)

    whole = fit(same, gray(), watched, **LONG)
    assert torch.equal(weights(model), seen[47])
    assert {name: values[:47] for name, values in whole.terms.items()} == history.terms


def test_an_interrupt_keeps_the_weights_that_were_best_on_the_test_set(capsys):
    model, kept = new_vae(), []

    def watched(model, x):  # on the test set, the better the nearer to step 18
        if model.training:
            kept.append(weights(model))
            return elbo(model, x)
        return Level(x.new_full((len(x),), -abs(len(kept) - 18.0)))

    history = pressed(47)(model, gray(), watched, test=gray(30, seed=1), **LONG)
    assert [(step, terms.level) for step, terms in history.test] == [
        *((step, -abs(step - 18)) for step in (9, 18, 27, 36, 45))
    ]
    assert torch.equal(weights(model), kept[18]) and len(history) == len(kept) == 47
    assert "Stopped after 47 of 90 steps; the model has its weights after step 18, the best on the test" in (
        capsys.readouterr().out
    )


def test_an_interrupt_keeps_the_latest_weights_if_they_are_the_best():
    model, same = new_vae(), new_vae()
    pressed(31)(model, gray(), elbo, test=gray(30, seed=1), **LONG)
    pressed(31)(same, gray(), elbo, **LONG)
    assert torch.equal(weights(model), weights(same))


def test_the_test_set_is_measured_once_a_step():
    history = pressed(45)(new_vae(), gray(), elbo, test=gray(30, seed=1), **LONG)
    assert [step for step, _ in history.test] == [9, 18, 27, 36, 45]


def test_an_interrupt_in_the_last_step_is_too_late(capsys):
    model, same = new_vae(), new_vae()
    history = pressed(90)(model, gray(), elbo, **LONG)
    assert len(history) == 90 and capsys.readouterr().out == ""
    fit(same, gray(), **LONG)
    assert torch.equal(weights(model), weights(same))


@pytest.mark.parametrize("test", [None, gray(30, seed=1).dynamic()])
@pytest.mark.parametrize("again", ["same model", "new model"])
def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path, capsys, test, again):
    settings = {"test": test, "checkpoint": tmp_path / "run", **LONG}
    model, whole = new_vae(), new_vae()
    pressed(47)(model, gray().dynamic(), elbo, **settings)
    model = model if again == "same model" else new_vae()
    history = pressed(20)(model, gray().dynamic(), elbo, **settings)  # and once more, at 67
    assert len(history) == 67
    model = model if again == "same model" else new_vae()
    history = fit(model, gray().dynamic(), **settings)
    assert capsys.readouterr().out.count("Resuming ") == 2
    uninterrupted = fit(whole, gray().dynamic(), **settings | {"checkpoint": None})
    assert torch.equal(weights(model), weights(whole)) and history.terms == uninterrupted.terms
    assert history.test == uninterrupted.test


def test_best_weights_left_behind_do_not_replace_those_that_go_on(tmp_path):
    """The model is left with its weights of step 9, and training goes on from step 47."""

    def nearly(model, x):
        terms = elbo(model, x)
        return terms if model.training else Level(terms.value - 1e3 * (weights(model) - early).norm())

    settings = {"test": gray(30, seed=1), **LONG}
    model = new_vae()
    pressed(9)(model, gray(), elbo, **LONG)
    early = weights(model)
    left, whole = new_vae(), new_vae()
    pressed(47)(left, gray(), nearly, checkpoint=tmp_path / "run", **settings)
    assert torch.equal(weights(left), early)
    fit(left, gray(), nearly, checkpoint=tmp_path / "run", **settings)
    fit(whole, gray(), nearly, **settings)
    assert torch.equal(weights(left), weights(whole)) and not torch.equal(weights(left), early)


def test_a_second_press_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pressed(30, times=2)(new_vae(), gray(), **LONG)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("how", ["to the end", "interrupted", "raising"])
def test_the_handler_of_before_is_back_afterwards(how):
    def mine(number, frame):
        raise AssertionError("not while training")

    def raising(model, x):
        raise ZeroDivisionError

    first = signal.signal(signal.SIGINT, mine)
    try:
        if how == "raising":
            with pytest.raises(ZeroDivisionError):
                fit(new_vae(), gray(), raising, **QUICK)
        else:
            (pressed(5) if how == "interrupted" else fit)(new_vae(), gray(), **QUICK)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, first)


def test_training_works_in_another_thread():
    model, same, found = new_vae(), new_vae(), []
    thread = threading.Thread(target=lambda: found.append(fit(model, gray(), **QUICK)))
    thread.start()
    thread.join()
    assert len(found[0]) == 9
    fit(same, gray(), **QUICK)
    assert torch.equal(weights(model), weights(same))


# Divergence


def rate_at(step: int, total: int, highest: float) -> float:
    """Of a step counted from 1, by a schedule of its own."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), highest)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, highest, total_steps=total, cycle_momentum=False
    )
    for _ in range(step - 1):
        optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


def diverged(objective, *, build=new_vae, **settings):
    """(message, step, steps kept) of a run that diverges; checks what is left of it."""
    model = build()
    with pytest.raises(TrainingDiverged) as caught:
        fit(model, gray(), objective(), **settings)
    words = str(caught.value)
    step, total, kept = map(
        int, re.search(r"at step (\d+) of (\d+), .* weights after step (\d+)$", words).groups()
    )
    assert f"at a learning rate of {rate_at(step, total, settings['learning_rate']):.2g}" in words
    assert "Try a learning rate ten times smaller, then look at data and model" in words
    assert "\n" not in words and kept < step and len(caught.value.history) >= step
    assert caught.value.history.seconds > 0
    same = build()  # an identical run, stopped there
    if kept:
        pressed(kept)(same, gray(), objective(), **settings)
    assert torch.equal(weights(model), weights(same)) and weights(model).isfinite().all()
    return words, step, kept


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [1, 2, 20, 21, 30, 41, 60])
def test_what_is_no_number_stops_training_in_words(value, at):
    words, step, kept = diverged(lambda: replaced(at, lambda good, _: good * 0 + value), **LONG)
    assert step == at and f"the objective became {value} at step {at} of 90" in words
    assert kept == (max(0, at - 1) // 20) * 20 - 20 * (at % 20 == 1 and at > 1)
    assert ("its gradient had norm" in words) == (at > 20)


@pytest.mark.parametrize("at", [2, 20, 21, 30, 41, 60])
def test_an_explosion_stops_training_in_words(at):
    words, step, kept = diverged(lambda: replaced(at, lambda good, _: good * 0 - 1e20), **LONG)
    assert step == at + (at % 20 == 0)  # a single wild step before a look is let pass
    assert f"the objective became -1e+20 at step {step} of 90" in words and at - 40 < kept < at


def test_a_learning_rate_far_too_high_is_noticed():
    words, step, _ = diverged(lambda: elbo, **LONG | {"learning_rate": 300.0})
    assert step < 60 and "objective became" in words


def test_an_autoencoder_that_blows_up_is_noticed():
    words, _, _ = diverged(
        lambda: squared_error, build=new_autoencoder, epochs=100, batch_size=64, learning_rate=10.0
    )
    assert "the objective became -" in words


@pytest.mark.parametrize("test", [None, gray(20, seed=1)])
@pytest.mark.parametrize("wild", [1, 5, 9, 10, 20, 21, 40, 41, 60, 89])
def test_a_single_wild_step_is_let_pass(wild, test):
    def objective(model, x):
        value = elbo(model, x).value
        if model.training:
            seen.append(None)
            if len(seen) == wild + 1:
                return Level(value.detach() * 1e4 + value)
        return Level(value)

    seen = []
    assert len(fit(new_vae(), gray(), objective, test=test, **LONG)) == 90


def test_a_gradient_that_is_not_finite_is_noticed_though_the_objective_is(tmp_path, monkeypatch):
    """√0 is 0 and its slope is not: the weights are lost one step before the objective is."""

    def rooted(good):
        return good + (good * 0).abs().sqrt()

    for at in (40, 90):
        objective = partial(replaced, at, lambda good, step: rooted(good) if step == at else good)  # noqa: B023
        words, step, kept = diverged(objective, checkpoint=None, **LONG)
        assert step == at and kept == (at - 1) // 20 * 20 and f"the gradient became nan at step {at}" in words
    plain, taken = loop.ascend, []

    def ascend(model, x, optimizer, *, objective):
        taken.append(None)
        bad = lambda m, x: Level(rooted(objective(m, x).value))  # noqa: E731
        return plain(
            model, x, optimizer, objective=bad if len(taken) == 90 else lambda m, x: Level(elbo(m, x).value)
        )

    monkeypatch.setattr(checkpoints, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "ascend", ascend)
    with pytest.raises(TrainingDiverged):
        fit(new_vae(), gray(), checkpoint=tmp_path / "run", **LONG)
    tensors, record = checkpoints.read(tmp_path / "run")
    assert len(record["terms"]["value"]) == 80
    assert all(t.isfinite().all() for name, t in tensors.items() if name.startswith("model"))


def test_going_back_skips_weights_that_had_exploded_too():
    """Nine wild steps of twenty do not stop training, but their weights are no refuge."""
    _, step, kept = diverged(lambda: replaced(32, lambda good, _: good * 0 - 1e9), **LONG)
    assert (step, kept) == (41, 20)


@pytest.mark.parametrize(
    ("values", "first", "bad"),
    [
        ([-5.0] * 20, 0, None),
        ([-5.0, math.nan, -5.0], 0, 1),
        ([math.nan, -5.0, math.inf], 1, 2),
        ([-5.0] * 5 + [-66.0] * 6, 0, 5),
        ([-5.0] * 5 + [-64.9] * 60, 0, None),
        ([-5.0] * 6 + [-66.0] * 5, 0, None),
        ([0.0, -10.1, -10.1], 1, 1),
        ([100.0] + [-909.0] * 9, 0, None),
        ([100.0] + [-911.0] * 9, 5, 5),
        ([-5.0] * 20 + [-1e9], 20, None),
        ([-5.0] * 19 + [-1e9, -5.0], 20, None),
        ([-5.0] * 19 + [-1e9, -1e9], 20, 20),
        ([-5.0] * 18 + [-1e9, -1e9, -5.0], 20, None),
        ([-5.0, -1e9], 0, None),
    ],
)
def test_what_counts_as_diverged(values, first, bad):
    assert runs.first_bad(values, first) == bad


# Books


def test_history_says_where_training_is():
    history = History({"kl": [9.0] * 30 + [1.0, 3.0] * 10, "value": [-2.0] * 50}, seconds=1.26)
    assert repr(history) == "History(50 steps in 1.3 s; last 20 steps: kl 2, value -2)"
    assert len(History()) == 0


def test_a_term_called_value_is_taken_down_once():
    class Plain(NamedTuple):
        value: torch.Tensor

    history = fit(new_vae(), gray(), lambda m, x: Plain(elbo(m, x).value), **QUICK)
    assert len(history) == 9 and list(history.terms) == ["value"]


def test_looking_seldom_or_often_gives_the_same_history(monkeypatch):
    histories, models = [], []
    for look in (1, 7, 1000):
        monkeypatch.setattr(runs, "LOG_EVERY", look)
        models.append(new_vae())
        histories.append(fit(models[-1], gray().dynamic(), test=gray(30), **LONG))
    for model, history in zip(models, histories, strict=True):
        assert torch.equal(weights(model), weights(models[0])) and same_but_for_time(history, histories[0])


def test_seconds_add_up_over_interruptions(tmp_path):
    settings = {"checkpoint": tmp_path / "run", **LONG}
    first = pressed(80)(new_vae(), gray(), elbo, **settings)
    both = fit(new_vae(), gray(), **settings)
    assert both.seconds > first.seconds > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_test_set_that_gives_no_number_stops_training_too(value):
    def watched(model, x):
        if model.training:
            seen.append(weights(model))
            return elbo(model, x)
        return Level(x.new_full((len(x),), value if len(seen) > 40 else -1.0))

    seen, model = [], new_vae()
    with pytest.raises(
        TrainingDiverged, match="became not finite on the test set at step 45 of 90"
    ) as caught:
        fit(model, gray(), watched, test=gray(30), **LONG)
    assert torch.equal(weights(model), seen[40]) and len(caught.value.history) == 45
    assert [step for step, _ in caught.value.history.test] == [9, 18, 27, 36]


def test_a_complete_history_knows_that_it_is():
    assert fit(new_vae(), gray(), **QUICK).complete
    assert not pressed(5)(new_vae(), gray(), **QUICK).complete
    assert pressed(9)(new_vae(), gray(), **QUICK).complete


@pytest.mark.parametrize("looked_at", [False, True])
def test_a_bar_is_drawn_only_where_somebody_looks(monkeypatch, capsys, looked_at):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: looked_at, raising=False)
    fit(new_vae(), gray(), **QUICK)
    assert ("\r" in capsys.readouterr().out) == looked_at


def test_a_bar_is_drawn_in_a_notebook(monkeypatch, capsys):
    class Shell:
        kernel = None

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("IPython.get_ipython", Shell)
    fit(new_vae(), gray(), **QUICK)
    assert "training" in capsys.readouterr().out
