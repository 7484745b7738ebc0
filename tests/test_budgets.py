"""Comparisons at several budgets: their parts against closed forms, and what they record."""

import json
from dataclasses import replace
from itertools import product

import pytest
import torch
from tiny import new_vae
from torch import nn
from torch.distributions import MultivariateNormal

from vae_lab import data, likelihoods, models, nets, objectives
from vae_lab.experiments import EXPERIMENTS, budgets, drawing, small
from vae_lab.experiments.budgets import OBJECTIVES, Amortization, Budgets
from vae_lab.experiments.coordinates import Coordinates, cats
from vae_lab.experiments.drawing import Drawing
from vae_lab.experiments.pixels import LIKELIHOODS, GrayPixels
from vae_lab.experiments.small import Variant
from vae_lab.training import evaluate

TINY = Budgets(
    "a tiny one",
    (Variant("plain", (8,), (8,), 2), Variant("free", (8,), (8, 8), 3, "scaled", "free bits")),
    budgets=(1, 4),
    learning_rates=(5e-3, 1e-3),
    seeds=(0, 3),
    steps=30,
)
GAPS = Amortization(
    "a tiny one", 2, (8,), steps=(0, 20, 60), seeds=(0, 1), epochs=3, batch_size=40, images=6, search=150
)


@pytest.fixture(scope="module")
def parts():
    digits = data.load("digits")
    return digits.train.first(200), digits.test.first(60)


def test_every_variant_has_a_row_for_every_budget_rate_and_seed(parts, tmp_path):
    found, files = TINY.run(*parts, tmp_path)
    rows = found["models"]
    wanted = set(product(("plain", "free"), (1, 4), (5e-3, 1e-3), (0, 3)))
    keys = ("variant", "budget", "learning_rate", "seed")
    assert {tuple(row[key] for key in keys) for row in rows} == wanted and len(rows) == len(wanted)
    assert not files and found["seconds"]["all"] > 0
    by = {tuple(row[key] for key in keys): row["negative_elbo"] for row in rows}
    for name, rate, seed in product(("plain", "free"), (5e-3, 1e-3), (0, 3)):
        assert by[name, 4, rate, seed] < by[name, 1, rate, seed]  # so early, more steps are better
    again, _ = TINY.run(*parts, tmp_path)  # from the checkpoints
    assert again["models"] == rows


@pytest.mark.parametrize("dynamic", [True, False])
def test_its_digits_are_black_and_white(parts, dynamic):
    train, test = replace(TINY, dynamic=dynamic).drawn(*parts)
    for images in (train, test):
        x = images.read(slice(0, 50), torch.Generator().manual_seed(0))
        assert ((x == 0) | (x == 1)).all()
        assert x.shape[1:] == ((1, 28, 28) if dynamic else (1, 14, 14))


@pytest.mark.parametrize("start", ["default", "scaled"])
def test_the_starts_are_those_of_their_names(start):
    torch.manual_seed(0)
    model = small.build(Variant("a", (400,), (400,), 20, start), (1, 28, 28), seed=5)
    layer = model.encoder[2]
    assert isinstance(layer, nn.Linear) and layer.in_features == 784
    share = {"default": 1 / 3, "scaled": 2}[start]  # of 1 / inputs: a uniform draw, and He's normal one
    assert layer.weight.var().item() * 784 == pytest.approx(share, rel=0.02)
    assert bool(layer.bias.any()) == (start == "default")
    twin = small.build(Variant("b", (400,), (400,), 20, start, "annealed"), (1, 28, 28), seed=5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_every_cure_charges_what_its_name_says(parts):
    """So many nats beside −log p(x|z): the KL, at least a quarter each, or how far it is from 8."""
    x, model = parts[0].first(8).read(), small.build(Variant("a", (8,), (8,), 2), (1, 28, 28), 0)
    charged = {}
    for name in ("none", "free bits", "capacity"):
        torch.manual_seed(0)
        terms = OBJECTIVES[name](model, x)
        charged[name] = terms.log_lik - terms.value
    kl = charged["none"]
    assert (charged["free bits"] >= 0.5 - 1e-6).all() and (kl < 0.5).any()
    torch.testing.assert_close(charged["capacity"].mean(), 2 * (8 - kl.mean()), rtol=1e-4, atol=0)
    rising, waves = OBJECTIVES["annealed"], OBJECTIVES["cyclical"]
    assert [rising.at(t).keywords["beta"] for t in (0.0, 0.25, 0.6)] == [0.0, 0.5, 1.0]
    assert [waves.at(t).keywords["beta"] for t in (0.0, 0.125, 0.25)] == [0.0, 1.0, 0.0]


def test_three_draws_are_those_of_the_objective(parts):
    x, model = parts[0].first(8).read(), small.build(Variant("a", (8,), (8,), 2), (1, 28, 28), 0)
    torch.manual_seed(3)
    terms = budgets.three_draws(model, x)
    torch.manual_seed(3)
    torch.testing.assert_close(terms, objectives.elbo(model, x, n_samples=3))


def linear_vae(sigma: float = 0.5) -> models.VAE:
    """A decoder W z whose columns are at right angles, so that its posteriors are diagonal; any encoder."""
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 16, bias=False), nn.Unflatten(1, (1, 4, 4)))
    with torch.no_grad():
        decoder[0].weight.copy_(torch.linalg.qr(torch.randn(16, 2))[0] * torch.tensor([1.5, 0.4]))
    return models.VAE(
        nets.mlp_encoder((1, 4, 4), 4, hidden=(8,)),
        decoder,
        2,
        likelihoods.Gaussian(sigma, mean=nn.Identity()),
    )


def test_the_best_diagonal_gaussian_is_the_posterior_where_that_is_one():
    """Then the bound is log p(x), which is known: x ~ N(0, W Wᵀ + σ²I)."""
    sigma, model = 0.5, linear_vae()
    w, x = model.decoder[0].weight.detach(), torch.rand(5, 1, 4, 4)
    own = budgets.best_diagonal(model, x, steps=300)
    marginal = MultivariateNormal(torch.zeros(16), w @ w.T + sigma**2 * torch.eye(16))
    log_p = marginal.log_prob(x.flatten(1))
    torch.testing.assert_close(budgets.bound(model, x, own), log_p, atol=0.02, rtol=0)
    precision = w.T @ w / sigma**2 + torch.eye(2)
    expected = torch.linalg.solve(precision, w.T @ x.flatten(1).T / sigma**2).T
    torch.testing.assert_close(own.mean, expected, atol=0.05, rtol=0)


def test_the_bound_of_the_encoder_is_the_elbo(parts):
    model, x = new_vae(), torch.rand(40, 1, 4, 4).round()
    expected = evaluate(model, data.Images((255 * x).to(torch.uint8))).value
    assert budgets.bound(model, x, n_samples=4000).mean().item() == pytest.approx(expected, abs=0.1)


def test_an_encoder_that_trains_on_comes_nearer_and_its_decoder_stays(parts, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(
        budgets,
        "fit_complete",
        lambda model, *args, plain=budgets.fit_complete, **options: (
            plain(model, *args, **options),
            trained.append({name: p.detach().clone() for name, p in model.named_parameters()}),
        ),
    )
    found, files = GAPS.run(*parts, tmp_path)
    rows = found["models"]
    wanted = set(product((0, 1), (0, 20, 60), ("training", "new")))
    assert {(r["seed"], r["steps"], r["images"]) for r in rows} == wanted and len(rows) == len(wanted)
    assert not files and all(row["standard_error"] > 0 for row in rows)
    first, *others = trained[:3]
    for later in others:
        same = {name for name in first if torch.equal(first[name], later[name])}
        assert same == {name for name in first if name.startswith("decoder")}
    gap = {(r["seed"], r["steps"]): r["gap"] for r in rows if r["images"] == "training"}
    assert all(gap[seed, 60] < gap[seed, 0] for seed in (0, 1))


def test_an_autoencoder_sees_its_mean_code_and_pays_nothing():
    model, x = new_vae(), torch.rand(5, 1, 4, 4).round()
    terms = drawing.copying(model, x)
    expected = model.decode(model.encode(x).mean).log_prob(x)
    torch.testing.assert_close(terms.value, expected)
    assert not terms.kl.any()
    missed = (x - model.decode(model.encode(x).mean).mean).square().sum() / 5
    assert small.copy_error(model, x) == pytest.approx(missed.item())


@pytest.mark.parametrize("noisy", [True, False])
def test_fitted_codes_are_spread_as_the_codes_are(noisy):
    model, images = new_vae(), data.Images((255 * torch.rand(3000, 1, 4, 4)).to(torch.uint8))
    with torch.no_grad():
        q = model.encode(images.read())
        z = q.sample() if noisy else q.mean
    for components in (1, 5):
        found = drawing.codes(model, images, 20_000, components=components, noisy=noisy)
        torch.testing.assert_close(found.mean(0), z.mean(0), atol=0.1, rtol=0)
        slack = 0.02 * z.var(0).max().item() + 0.01 * z.var(0).mean().item()  # no Gaussian is thinner
        torch.testing.assert_close(found.T.cov(), z.T.cov(), atol=3 * slack, rtol=0.1)
    plain = drawing.codes(model, images, 20_000, components=0, noisy=noisy)
    torch.testing.assert_close(plain.T.cov(), torch.eye(2), atol=0.05, rtol=0)


def test_every_model_copies_and_draws_from_every_source(parts, tmp_path):
    tiny = Drawing("tiny", 2, (8,), (1, 6), (0, 1), steps=30, judge_steps=20)
    rows = tiny.run(*parts, tmp_path)[0]["models"]
    keys = [(row["objective"], row["budget"], row["seed"]) for row in rows]
    assert keys == list(product(drawing.OBJECTIVES, (1, 6), (0, 1)))
    assert all(set(row["frechet"]) == set(row["nearest"]) == set(drawing.SOURCES) for row in rows)
    error = {key: row["copy_error"] for key, row in zip(keys, rows, strict=True)}
    assert all(error["autoencoder", 6, seed] < error["autoencoder", 1, seed] for seed in (0, 1))


def test_each_seed_has_a_model_of_each_likelihood_and_a_scale_of_its_own(parts, tmp_path):
    tiny = GrayPixels("tiny", 2, (8,), (1, 4), (0, 3), steps=20)
    rows = tiny.run(*parts, tmp_path)[0]["models"]
    keys = [(row["likelihood"], row["budget"], row["seed"]) for row in rows]
    assert keys == list(product(LIKELIHOODS, (1, 4), (0, 3)))
    scales = {
        name: {row["scale"] for row in rows if row["likelihood"] == name and "scale" in row}
        for name in LIKELIHOODS
    }
    fixed, learned = scales["Gaussian, scale 1"], scales["Gaussian, learned scale"]
    assert fixed == {1.0} and len(learned) == 4 and max(learned) < 1 and not scales["Bernoulli"]
    train, name = parts[0], "Gaussian, learned scale"
    again, row = tiny.trained(name, 4, train, tmp_path)[1], rows[-1]  # from its checkpoint
    assert (
        evaluate(again, parts[1]).log_lik == row["log_lik"] and again.likelihood.scale.item() == row["scale"]
    )


def test_the_ideal_code_of_drawn_cats_has_nearly_all_of_the_gap(tmp_path):
    tiny = Coordinates("tiny", 3, (8,), (1.0, 8.0), (1, 3), (0, 1), trained=100, measured=2000)
    found, _ = tiny.run(*[data.Images(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))] * 2, tmp_path)
    assert found["ideal"]["mig"] > 0.9 > 0.2 > max(row["mig"] for row in found["models"])
    keys = [(row["epochs"], row["beta"], row["seed"]) for row in found["models"]]
    assert keys == list(product((1, 3), (1.0, 8.0), (0, 1)))
    assert (cats(50)[:, 0] == 0).all() and cats(50)[:, 1:].std(0).min() > 0


@pytest.mark.parametrize(
    "name",
    [n for n, e in EXPERIMENTS.items() if isinstance(e, Budgets | Amortization | Drawing | GrayPixels)],
)
def test_quick_runs_write_their_figures_and_nothing_else(name, tmp_path, capsys):
    from vae_lab.experiments import run

    folder = run(name, scale="quick", out=tmp_path)
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]
    found = json.loads((folder / "metrics.json").read_text("utf8"))
    assert found["data"]["name"] == "digits" and found["models"]
    assert "stand" not in capsys.readouterr().out  # the embedded digits are what it is about
