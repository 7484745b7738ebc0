import random
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vae_lab import training
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE, Autoencoder
from vae_lab.nets import mlp_decoder, mlp_encoder
from vae_lab.objectives import ELBO, SquaredError, beta_elbo, elbo, squared_error
from vae_lab.training import History, TrainingDivergedError, evaluate, fit, pick_device, seed_all, steps

SHAPE = (1, 4, 4)
QUICK = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-2}  # 64 patterns: 3 steps an epoch, 9 in all


def new_vae(seed=0) -> VAE:
    torch.manual_seed(seed)
    return VAE(mlp_encoder(SHAPE, 4, hidden=(8,)), mlp_decoder(2, SHAPE, hidden=(8,)), 2)


def new_autoencoder(hidden=()) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(mlp_encoder(SHAPE, 2, hidden=hidden), mlp_decoder(2, SHAPE, hidden=hidden))


def weights(model) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


class Level(NamedTuple):
    level: torch.Tensor

    @property
    def value(self):
        return self.level


def test_a_step_goes_uphill_by_the_rate_times_the_gradient_of_the_mean(patterns):
    model, x = new_autoencoder(), patterns.read()
    value = squared_error(model, x).value.mean()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])
    before = weights(model)
    ((step, terms),) = steps(model, [x], squared_error, torch.optim.SGD(model.parameters(), 1e-3))
    torch.testing.assert_close(weights(model), before + 1e-3 * gradient)
    assert step == 0 and terms.value.mean().item() == pytest.approx(value.item())


def test_steps_yield_detached_terms_after_each_update(patterns):
    model = new_vae().eval()
    batches = patterns.batches(16, 3, seed_all(0))
    seen = [weights(model)]
    for number, (step, terms) in enumerate(steps(model, batches, elbo, torch.optim.Adam(model.parameters()))):
        assert step == number and model.training and type(terms) is ELBO
        assert terms.kl.shape == (16,) and not terms.value.requires_grad
        assert not torch.equal(weights(model), seen[-1])
        seen.append(weights(model))
    assert len(seen) == 4


def test_gradients_do_not_pile_up(patterns):
    """Two steps of plain gradient ascent by hand."""
    model, by_hand, x = new_autoencoder(), new_autoencoder(), patterns.read()
    list(steps(model, [x, x], squared_error, torch.optim.SGD(model.parameters(), 1e-3)))
    for _ in range(2):
        value = squared_error(by_hand, x).value.mean()
        for p, g in zip(
            by_hand.parameters(), torch.autograd.grad(value, list(by_hand.parameters())), strict=True
        ):
            p.data += 1e-3 * g
    torch.testing.assert_close(weights(model), weights(by_hand))


def test_fit_is_a_loop_by_hand(patterns):
    model, by_hand = new_vae(), new_vae()
    history = fit(model, patterns, seed=5, **QUICK)
    generator = seed_all(5)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=9)
    for step, x in enumerate(patterns.batches(20, 9, generator)):
        log_lik, kl = elbo(by_hand, x)
        optimizer.zero_grad()
        (kl - log_lik).mean().backward()
        optimizer.step()
        schedule.step()
        now = {"log_lik": log_lik, "kl": kl, "value": log_lik - kl}
        assert {name: values[step] for name, values in history.terms.items()} == pytest.approx(
            {name: term.mean().item() for name, term in now.items()}, rel=1e-6
        )
    assert torch.equal(weights(model), weights(by_hand))


def test_same_seed_same_weights_to_the_bit(patterns):
    models, histories = [new_vae() for _ in range(3)], []
    for model, seed in zip(models, (1, 1, 2), strict=True):
        histories.append(fit(model, patterns.dynamic(), seed=seed, **QUICK))
    a, b, c = map(weights, models)
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert histories[0].terms == histories[1].terms != histories[2].terms


def test_history_has_an_entry_a_step(patterns):
    history = fit(new_vae(), patterns, lambda m, x: beta_elbo(m, x, 2.0), **QUICK)
    assert len(history) == 9 and history.seconds > 0 and history.test == []
    assert list(history.terms) == ["log_lik", "kl", "beta", "value"]
    by_hand = np.subtract(history.terms["log_lik"], 2 * np.array(history.terms["kl"]))
    np.testing.assert_allclose(history.terms["value"], by_hand, rtol=1e-5)


def test_the_test_set_is_measured_ten_times_and_at_the_end(patterns):
    model = new_autoencoder()
    history = fit(model, patterns, squared_error, epochs=20, batch_size=64, test=patterns)
    assert [step for step, _ in history.test] == list(range(2, 21, 2))
    assert history.test[-1][1] == evaluate(model, patterns, squared_error)
    assert history.test[-1][1].squared_error < history.test[0][1].squared_error


def test_short_runs_are_measured_at_the_end_too(patterns):
    history = fit(new_vae(), patterns, epochs=1, batch_size=20, test=patterns)
    assert [step for step, _ in history.test] == [1, 2, 3]


def test_measuring_does_not_change_training(patterns):
    watched, unwatched = new_vae(), new_vae()
    fit(watched, patterns.dynamic(), test=patterns.dynamic(), **QUICK)
    fit(unwatched, patterns.dynamic(), **QUICK)
    assert torch.equal(weights(watched), weights(unwatched)) and watched.training


def test_the_rate_rises_to_its_peak_and_ends_at_nearly_nothing(patterns, monkeypatch):
    rates, plain = [], training.steps

    def spied(model, batches, objective, optimizer, scheduler):
        rates.append(scheduler.get_last_lr()[0])
        for result in plain(model, batches, objective, optimizer, scheduler):
            rates.append(scheduler.get_last_lr()[0])
            yield result

    monkeypatch.setattr(training, "steps", spied)
    fit(new_vae(), patterns, epochs=100, batch_size=64, learning_rate=3e-3)
    assert rates[0] == pytest.approx(3e-3 / 25) and max(rates) == pytest.approx(3e-3)
    assert 27 <= np.argmax(rates) <= 31 and rates[99] < 1e-7


def test_a_linear_vae_reaches_the_likelihood_of_probabilistic_pca(patterns):
    """Its ELBO can be tight, so its best is the maximum likelihood of Tipping & Bishop (1999)."""
    encoder, decoder = mlp_encoder(SHAPE, 4, hidden=()), mlp_decoder(2, SHAPE, hidden=())
    model = VAE(encoder, decoder, 2, Gaussian(0.3, learn=True, mean=nn.Identity()))
    fit(model, patterns, epochs=300, batch_size=64, learning_rate=0.1)
    flat = patterns.read().flatten(1).numpy()
    pca = PCA(2).fit(flat)
    best = pca.score(flat)  # nats an image
    assert best - 0.2 < evaluate(model, patterns, partial(elbo, samples=100)).value < best + 0.05
    assert model.likelihood.scale.item() == pytest.approx(pca.noise_variance_**0.5, rel=0.05)


def test_a_linear_autoencoder_reaches_the_error_of_pca(patterns):
    model, flat = new_autoencoder(), patterns.read().flatten(1).numpy()
    fit(model, patterns, squared_error, epochs=1000, batch_size=64, learning_rate=0.1)
    pca = PCA(2).fit(flat)
    best = np.square(flat - pca.inverse_transform(pca.transform(flat))).sum(1).mean()
    assert best * (1 - 1e-5) <= evaluate(model, patterns, squared_error).squared_error < best * 1.01


@pytest.mark.parametrize("epochs", [1, 2])
def test_fewer_images_than_a_batch_are_one_batch(patterns, epochs):
    assert len(fit(new_vae(), patterns, epochs=epochs, batch_size=1000)) == epochs


def test_divergence_stops_training_in_words(patterns):
    def diverging(model, x):
        return Level(model.encode(x).mean.sum(1) * float("nan"))

    words = (
        "objective is nan after step 9 at learning rates of up to 0.01; try a learning rate ten times smaller"
    )
    with pytest.raises(TrainingDivergedError, match=words):
        fit(new_vae(), patterns, diverging, **QUICK)


def test_divergence_is_noticed_before_the_end(patterns):
    seen = []

    def exploding(model, x):
        seen.append(None)
        return Level(model.encode(x).mean.sum(1) * (float("inf") if len(seen) >= 20 else 1))

    with pytest.raises(TrainingDivergedError, match="after step 50 "):
        fit(new_vae(), patterns, exploding, epochs=400, batch_size=64)
    assert len(seen) == 50


def test_an_interrupt_keeps_what_was_learnt(patterns, capsys):
    calls = []

    def interrupted(model, x):
        calls.append(weights(model))
        if len(calls) == 7:
            raise KeyboardInterrupt
        return elbo(model, x)

    model = new_vae()
    history = fit(model, patterns, interrupted, **QUICK)
    assert len(history) == 6 and {len(values) for values in history.terms.values()} == {6}
    assert torch.equal(weights(model), calls[-1]) and history.seconds > 0
    assert capsys.readouterr().out == "Stopped after 6 of 9 steps; the model is kept as it is.\n"


def test_an_interrupt_before_the_first_step_is_no_error(patterns):
    def interrupted(model, x):
        raise KeyboardInterrupt

    assert len(fit(new_vae(), patterns, interrupted, **QUICK)) == 0


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}])
def test_nothing_to_do_is_refused(patterns, wrong):
    with pytest.raises(ValueError, match="at least one epoch and one image a batch, got epochs="):
        fit(new_vae(), patterns, **QUICK | wrong)


def test_history_says_where_training_is():
    history = History({"kl": [9.0] * 30 + [1.0, 3.0] * 10, "value": [-2.0] * 50}, seconds=1.26)
    assert repr(history) == "History(50 steps in 1.3 s; last 20 steps: kl 2, value -2)"
    assert len(History()) == 0


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_evaluate_is_the_mean_whatever_the_batch_size(patterns, batch_size):
    model = new_autoencoder(hidden=(8,))
    found = evaluate(model, patterns, squared_error, batch_size=batch_size)
    assert type(found) is SquaredError and type(found.squared_error) is float
    assert found.squared_error == pytest.approx(
        squared_error(model, patterns.read()).squared_error.mean().item()
    )


def test_evaluate_repeats_itself(patterns):
    model = new_vae()
    a, b, c = (evaluate(model, patterns.dynamic(), seed=seed) for seed in (3, 3, 4))
    assert a == b != c


def test_evaluate_leaves_no_trace(patterns):
    model = new_vae().train()
    state, before = torch.get_rng_state(), weights(model)
    numbers = random.getstate(), np.random.get_state()[1].tolist()
    evaluate(model, patterns)
    assert (
        torch.equal(torch.get_rng_state(), state) and model.training and torch.equal(weights(model), before)
    )
    assert numbers == (random.getstate(), np.random.get_state()[1].tolist())
    evaluate(model.eval(), patterns)
    assert not model.training


def test_evaluate_measures_without_dropout(patterns):
    model = new_autoencoder()
    plain = evaluate(model, patterns, squared_error)
    model.decoder = nn.Sequential(nn.Dropout(0.5), model.decoder)
    assert evaluate(model.train(), patterns, squared_error) == plain


@pytest.mark.parametrize(
    ("cuda", "mps", "line"),
    [
        (True, True, "Computing on cuda (H200)\n"),
        (False, True, "Computing on mps (Apple GPU)\n"),
        (False, False, "Computing on cpu (1 threads of 6 cores)\n"),
    ],
)
def test_the_fastest_device_is_picked_and_printed(monkeypatch, capsys, cuda, mps, line):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert pick_device().type == line.split()[2]
    assert capsys.readouterr().out == line


def test_a_seed_seeds_everything():
    def draws(seed):
        g = seed_all(seed)
        return random.random(), np.random.rand(), torch.rand(()).item(), torch.rand((), generator=g).item()

    a, b, c = draws(1), draws(1), draws(2)
    assert a == b and not set(a) & set(c)
    assert draws(2**40) == draws(2**40)  # more than NumPy takes
