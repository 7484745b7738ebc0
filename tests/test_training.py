import math
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

from vae_lab.arguments import NotFiniteError
from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.ensembles import Ensemble
from vae_lab.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian
from vae_lab.metrics import log_likelihood
from vae_lab.models import VAE, Autoencoder, check_decoder
from vae_lab.nets import mlp_decoder, mlp_encoder
from vae_lab.objectives import ELBO, PricedELBO, SquaredError, beta_elbo, elbo, squared_error
from vae_lab.training import TrainingDiverged, evaluate, fit, loop, steps


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
    rates, plain = [], loop.ascend

    def spied(model, x, optimizer, *, objective):
        rates.append(optimizer.param_groups[0]["lr"])
        return plain(model, x, optimizer, objective=objective)

    monkeypatch.setattr(loop, "ascend", spied)
    fit(new_vae(), patterns, epochs=100, batch_size=64, learning_rate=3e-3)
    assert rates[0] == pytest.approx(3e-3 / 25) and max(rates) == pytest.approx(3e-3)
    assert 27 <= np.argmax(rates) <= 31 and rates[99] < 1e-7 and len(rates) == 100


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
        ({"epochs": 0}, ValueError, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number of at least 1, got 1.5"),
        ({"epochs": True}, TypeError, "epochs must be a whole number of at least 1, got True"),
        (
            {"batch_size": 0},
            ValueError,
            'batch_size, if not "auto", must be a whole number of at least 1, got 0',
        ),
        ({"batch_size": "all"}, TypeError, "batch_size, if not \"auto\", must be a whole .*, got 'all'"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be a finite number above 0, got -1.0"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be a finite number above 0, got nan"),
        ({"seed": 2**70}, ValueError, "seed must be a whole number from"),
        ({"images": [1, 2]}, ValueError, r"images must be at least one image, .* got shape \(2,\)"),
        ({"images": None}, TypeError, "images must be numbers in an array, .* got None"),
        ({"images": gray().read() * 255}, ValueError, "images must be in .*; if 255 is white, write x / 255"),
        ({"test": gray().read().permute(0, 2, 3, 1)}, ValueError, 'test must be .* write channels="last"'),
        ({"objective": 3}, TypeError, "objective must be a function, got 3"),
        ({"compile": 1}, TypeError, "compile must be True or False, got 1"),
        ({"checkpoint": 5}, TypeError, "checkpoint must be a path, got 5"),
        ({"batchsize": 5}, TypeError, "fit has no argument 'batchsize'; did you mean batch_size"),
        (
            {"test": Images(torch.zeros(2, 1, 5, 4, dtype=torch.uint8), torch.zeros(2))},
            ValueError,
            r"test must be images of the same shape as images, got \(1, 5, 4\) and \(1, 4, 4\); resize one",
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
    assert torch.equal(torch.get_rng_state(), state)
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


# What an objective and a model must be


def scalar(model, x):
    """The ELBO averaged over the batch, as an objective must not be."""
    log_lik, kl = elbo(model, x)
    return ELBO(log_lik.mean(), kl.mean())


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (
            scalar,
            r"one number for each image, but its log_lik is .* and not of shape \(20,\); sum over pixels",
        ),
        (
            lambda m, x: ELBO(*(t[:, None] for t in elbo(m, x))),
            r"its log_lik is .*\(20, 1\) and not of shape",
        ),
        (lambda m, x: ELBO(elbo(m, x).log_lik, elbo(m, x).kl.sum()), "its kl is .* not of shape"),
        (lambda m, x: ELBO(elbo(m, x).log_lik, 0.0), "its kl is 0.0 and not of shape"),
        (lambda m, x: elbo(m, x).value, "must return a NamedTuple of terms with a property `value`"),
        (lambda m, x: elbo(m, x)._asdict(), "must return a NamedTuple"),
        (lambda m, x: None, "must return a NamedTuple .*, got None"),
        (lambda m, x: ELBO(*(t[:5] for t in elbo(m, x))), r"not of shape \(20,\)"),
    ],
)
def test_terms_that_are_not_one_number_an_image_are_refused(objective, words):
    model = new_vae()
    before = weights(model)
    calls = [
        lambda: fit(model, gray(), objective, **QUICK),
        lambda: next(steps(model, [gray().read()[:20]], objective, torch.optim.SGD(model.parameters(), 1.0))),
        lambda: evaluate(model, gray(), objective, batch_size=20),
    ]
    for call in calls:
        with pytest.raises(
            (ValueError, TypeError), match=f"^objective {words}|^objective must.*{words}"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert torch.equal(weights(model), before)


def test_an_objective_without_a_gradient_is_refused():
    with pytest.raises(
        ValueError, match="objective's value does not depend on any parameter that may change"
    ):
        fit(new_vae(), gray(), lambda m, x: ELBO(*(t.detach() for t in elbo(m, x))), **QUICK)
    frozen = new_vae().requires_grad_(False)
    with pytest.raises(ValueError, match="model has no parameter that may change"):
        fit(frozen, gray(), **QUICK)


class Squashed(nn.Module):
    """A decoder whose squash is no layer."""

    def __init__(self, squash):
        super().__init__()
        self.body, self.squash = mlp_decoder(2, SHAPE, hidden=(8,)), squash

    def forward(self, z):
        return self.squash(self.body(z))


SQUASHED = {
    "Sigmoid": lambda: nn.Sequential(mlp_decoder(2, SHAPE), nn.Sigmoid()),
    "Sigmoid within": lambda: nn.Sequential(
        nn.Sequential(mlp_decoder(2, SHAPE), nn.Sigmoid()), nn.Identity()
    ),
    "Sigmoid, then a shape": lambda: nn.Sequential(nn.Linear(2, 16), nn.Sigmoid(), nn.Unflatten(1, SHAPE)),
    "Tanh": lambda: mlp_decoder(2, SHAPE).append(nn.Tanh()),
    "ReLU": lambda: mlp_decoder(2, SHAPE).append(nn.ReLU()),
    "a function": lambda: Squashed(torch.sigmoid),
    "a function, tanh": lambda: Squashed(torch.tanh),
    "a function, clamp": lambda: Squashed(lambda h: h.clamp(0, 1)),
}


@pytest.mark.parametrize("kind", SQUASHED)
@pytest.mark.parametrize("likelihood", [Bernoulli, ContinuousBernoulli, Gaussian])
def test_a_decoder_that_squashes_what_will_be_squashed_is_refused(kind, likelihood):
    torch.manual_seed(0)
    model = VAE(mlp_encoder(SHAPE, 4), SQUASHED[kind](), 2, likelihood())
    x = gray()
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    for call in (
        lambda: fit(model, x, **QUICK),
        lambda: next(steps(model, [x.read()], elbo, optimizer)),
        lambda: evaluate(model, x),
        lambda: log_likelihood(model, x, n_samples=2),
    ):
        with pytest.raises(
            ValueError, match=f"the decoder .*{likelihood.__name__} takes raw numbers"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus])
def test_no_decoder_that_does_not_squash_is_accused(seed, activation):
    """Whatever its layers, its width and its start; and after training on images that are all bright."""
    torch.manual_seed(seed)
    decoder = mlp_decoder(2, SHAPE, hidden=(2 + seed % 9,), activation=activation)
    model = VAE(mlp_encoder(SHAPE, 4), decoder, 2, [Bernoulli(), Gaussian(), ContinuousBernoulli()][seed % 3])
    check_decoder(model)
    if seed < 3:
        bright = Images(170 + gray().pixels // 9)
        fit(model, bright, epochs=20, batch_size=20, learning_rate=1e-2)
        check_decoder(model)


def test_a_squash_is_right_where_nothing_follows_it():
    model = VAE(mlp_encoder(SHAPE, 4), SQUASHED["Sigmoid"](), 2, Gaussian(mean=nn.Identity()))
    assert fit(model, gray(), **QUICK).complete
    assert fit(
        Autoencoder(mlp_encoder(SHAPE, 2), SQUASHED["Sigmoid"]()), gray(), squared_error, **QUICK
    ).complete


def test_looking_at_the_decoder_leaves_no_trace():
    model = new_vae()
    model.decoder = nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 16), nn.Unflatten(1, SHAPE)
    )
    model.decoder[1].eval()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    check_decoder(model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and model.training and not model.decoder[1].training


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_mean_that_is_no_number_is_refused(value):
    def bad(model, x):
        terms = elbo(model, x)
        return ELBO(terms.log_lik.index_fill(0, torch.tensor(0), value), terms.kl)

    with pytest.raises(NotFiniteError, match=r"cannot be told: it would be .*; look at data and model"):
        evaluate(new_vae(), gray(), bad)
    model = new_vae()
    nn.init.constant_(model.decoder[0].weight, value)
    with pytest.raises(NotFiniteError):
        evaluate(model, gray())
    with pytest.raises(NotFiniteError, match=r"log p\(x\) cannot be told"):
        log_likelihood(model, gray(), n_samples=3)


def test_an_ensemble_tells_the_means_of_each_member(tmp_path):
    members = [new_vae(seed) for seed in range(3)]
    ensemble = Ensemble(members)
    history = fit(ensemble, gray(), test=gray(30), checkpoint=tmp_path / "run", **QUICK)
    assert len(history) == 9 and all(len(row) == 3 for row in history.terms["kl"])
    terms = evaluate(ensemble, gray(30))
    assert terms.kl.shape == (3,) and terms.value.shape == (3,)
    for member, kl in zip(ensemble.members(), terms.kl, strict=True):
        assert evaluate(member, gray(30)).kl == pytest.approx(kl.item(), rel=1e-5)
    assert torch.equal(history.test[-1][1].kl, terms.kl) and "last 20 steps: log_lik" in repr(history)
    again = fit(
        Ensemble([new_vae(seed) for seed in range(3)]),
        gray(),
        test=gray(30),
        checkpoint=tmp_path / "run",
        **QUICK,
    )
    assert again.terms == history.terms and torch.equal(again.test[-1][1].kl, terms.kl)


def test_one_member_that_diverges_stops_the_ensemble():
    members = [new_vae(seed) for seed in range(3)]
    ensemble, seen = Ensemble(members), []

    def one_explodes(model, x):
        seen.append(None)
        log_lik, kl = elbo(model, x)
        scale = torch.tensor([1.0, 1e9 if len(seen) > 30 else 1.0, 1.0])[:, None]
        return ELBO(log_lik * scale, kl)

    with pytest.raises(TrainingDiverged, match=r"objective became -\d.* at step \d+ of 90"):
        fit(ensemble, gray(), one_explodes, epochs=30, batch_size=20, learning_rate=1e-3)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_models_and_images_of_any_float_type_go_together(kind):
    model = new_vae().to(kind)
    x = gray().read()
    for given_type in (torch.float16, torch.float32, torch.float64):
        assert model.encode(x.to(given_type)).mean.dtype == kind
        assert model.decode(torch.zeros(3, 2, dtype=given_type)).mean.dtype == kind
    assert fit(model, x.double().numpy(), **QUICK).complete
    plain = new_autoencoder().to(kind)
    assert fit(plain, gray(), squared_error, **QUICK).complete


@pytest.mark.parametrize("seed", [np.int64(4), np.uint8(4), torch.tensor(4), 4.0, np.float64(4)])
def test_seeds_of_any_kind(seed):
    models = new_vae(), new_vae()
    for model, each in zip(models, (seed, 4), strict=True):
        fit(model, gray().dynamic(), seed=each, **QUICK)
    assert torch.equal(*map(weights, models))


def test_a_decoder_that_does_not_fit_its_codes_says_so():
    model = VAE(mlp_encoder(SHAPE, 20), mlp_decoder(8, SHAPE), 10)
    words = (
        r"the decoder cannot take codes of shape \(16, 10\) \(torch.float32 on cpu\): .*mat1 and mat2 shapes"
    )
    with pytest.raises(ValueError, match=words):
        fit(model, gray(), **QUICK)


def test_auto_tries_in_the_precision_that_will_be_used(monkeypatch):
    seen = []

    def watched(model, x):
        seen.append(torch.is_autocast_enabled("cpu"))
        return elbo(model, x)

    fit(new_vae(), gray(), watched, epochs=1, batch_size="auto", precision="bfloat16")
    assert set(seen) == {True}


def optimizer_of(model, **options):
    return torch.optim.Adam(model.parameters(), **options)


STEPPED = {
    "another model's": (lambda m: {"optimizer": optimizer_of(new_vae())}, "none of the model's parameters"),
    "one that descends": (lambda m: {"optimizer": optimizer_of(m, maximize=True)}, "leave out maximize=True"),
    "one that needs a closure": (
        lambda m: {"optimizer": torch.optim.LBFGS(m.parameters())},
        "optimizer must be stepped without arguments",
    ),
    "a scheduler that needs a number": (
        lambda m: {
            "optimizer": (optimizer := optimizer_of(m)),
            "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        },
        "scheduler must be stepped without arguments",
    ),
}


@pytest.mark.parametrize("which", STEPPED)
def test_what_cannot_step_up_this_model_is_refused(which):
    make, words = STEPPED[which]
    model = new_vae()
    with pytest.raises((ValueError, TypeError), match=words):
        list(steps(model, [gray(8).read()], elbo, **make(model)))


OBJECTIVES = {
    "of one argument": (lambda m: elbo(m, 0), "objective must be a function of model and images"),
    "of three": (lambda m, x, beta: beta_elbo(m, x, beta), "functools.partial sets what else it takes"),
    "that is the class of its terms": (ELBO, "one number for each image, but its log_lik is a VAE"),
    "of whole numbers": (lambda m, x: ELBO(*(a.long() for a in elbo(m, x))), "must return float numbers"),
    "of complex numbers": (lambda m, x: ELBO(*(a + 0j for a in elbo(m, x))), "must return float numbers"),
}


@pytest.mark.parametrize("which", OBJECTIVES)
@pytest.mark.parametrize("train", [fit, evaluate])
def test_what_is_no_objective_is_refused(which, train):
    objective, words = OBJECTIVES[which]
    with pytest.raises((ValueError, TypeError), match=words):
        train(new_vae(), gray(), objective)


def test_a_term_that_is_no_number_stops_a_run_whose_value_is_fine():
    def gone(model, x):
        log_lik, kl = elbo(model, x)
        return PricedELBO(log_lik, kl * math.nan, kl)

    with pytest.raises(TrainingDiverged, match="objective's kl became nan at step 1 of 9"):
        fit(new_vae(), gray(), gone, **QUICK)


def test_a_model_that_is_not_ready_is_refused():
    lazy = VAE(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), mlp_decoder(2, SHAPE), 2)
    with pytest.raises(ValueError, match="layers that do not know their sizes yet; run it once"):
        fit(lazy, gray(), **QUICK)
    torn = new_vae()
    torn.decoder.to("meta")
    with pytest.raises(ValueError, match="model must be on one device, got cpu and meta"):
        fit(torn, gray(), **QUICK)
