import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tiny import QUICK, SHAPE, gray, new_autoencoder, new_vae, weights
from torch import nn

from vae_lab import training
from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.nets import mlp_decoder, mlp_encoder
from vae_lab.objectives import ELBO, SquaredError, beta_elbo, elbo, squared_error
from vae_lab.training import evaluate, fit, steps


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
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-2, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=9, cycle_momentum=False)
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
    assert best - 0.2 < evaluate(model, patterns, partial(elbo, n_samples=100)).value < best + 0.05
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


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "need at least one epoch and one image a batch, got epochs=0"),
        ({"batch_size": 0}, ValueError, "one image a batch, got epochs=3 and batch_size=0"),
        ({"batch_size": "all"}, ValueError, "one image a batch, got epochs=3 and batch_size='all'"),
        ({"learning_rate": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        (
            {"images": gray().read()},
            TypeError,
            "images must be data.Images, got Tensor; see data.from_floats",
        ),
        ({"images": [1, 2]}, TypeError, "images must be data.Images, got list; see data.from_floats"),
        ({"images": None}, TypeError, "images must be data.Images, got NoneType; see data.from_floats"),
        ({"test": gray().read()}, TypeError, "test must be data.Images, got Tensor; see data.from_floats"),
        (
            {"test": Images(torch.zeros(2, 1, 5, 4, dtype=torch.uint8), torch.zeros(2))},
            ValueError,
            r"the test images have shape \(1, 5, 4\), those to train on \(1, 4, 4\); resize one of them",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_a_sentence_and_changes_nothing(tmp_path, wrong, error, words):
    model = new_vae()
    before, state = weights(model), torch.get_rng_state()
    arguments = {"images": gray(), "checkpoint": tmp_path / "run"} | QUICK | wrong
    with pytest.raises(error, match=words) as caught:
        fit(model, **arguments)
    assert "\n" not in str(caught.value) and torch.equal(weights(model), before)
    assert "learning_rate" in wrong or torch.equal(torch.get_rng_state(), state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 4, 4)])
def test_images_of_another_shape_than_the_models_are_refused(shape):
    model = new_vae()
    before = weights(model)
    images = Images(torch.zeros(30, *shape, dtype=torch.uint8), torch.zeros(30))
    with pytest.raises(
        ValueError, match=r"expected images of shape \(B, 1, 4, 4\), got .*; reshape or resize"
    ):
        fit(model, images, **QUICK)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_bits_whatever_was_drawn_before(precision):
    models = [new_vae(), new_vae()]
    for number, model in enumerate(models):
        torch.rand(number), np.random.rand(number)
        fit(model, gray().dynamic(), seed=2, precision=precision, **QUICK)
    assert torch.equal(weights(models[0]), weights(models[1]))


def test_frozen_parameters_stay():
    model = new_vae()
    model.encoder.requires_grad_(False)
    before = weights(model.encoder)
    fit(model, gray(), **QUICK)
    assert torch.equal(weights(model.encoder), before)


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_the_package_is_imported_in_a_blink():
    """Beyond torch, which is needed in any case."""
    program = """
import os, sys, time, torch
for _ in range(3):
    if os.fork() == 0:  # torch takes seconds to import; so once is enough
        start = time.perf_counter()
        import vae_lab
        from vae_lab import claims, data, likelihoods, models, nets, objectives, training
        took = time.perf_counter() - start
        heavy = {"sklearn", "torchvision", "matplotlib", "ipywidgets", "pandas", "scipy"} & set(sys.modules)
        print(took, *heavy, flush=True)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [heavy for _, *heavy in lines] == [[]] * 3, done.stderr
    fastest = min(float(took) for took, *_ in lines)
    print(f"importing vae_lab takes {fastest:.3f} s beyond torch")
    assert fastest < 0.3
