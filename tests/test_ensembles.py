"""Models trained together against the same models trained alone."""

from functools import partial

import pytest
import torch
from tiny import QUICK, SHAPE, weights
from torch import nn

from vae_lab.ensembles import Ensemble, StackedLinear
from vae_lab.likelihoods import Gaussian, WaveletGaussian
from vae_lab.models import VAE, gaussian
from vae_lab.nets import conv_encoder, mlp_decoder, mlp_encoder
from vae_lab.objectives import beta_elbo, capacity_elbo, elbo, free_bits_elbo
from vae_lab.training import fit


def new_vae(seed: int = 0, likelihood=None, hidden: tuple[int, ...] = (8, 6)) -> VAE:
    torch.manual_seed(seed)
    return VAE(
        mlp_encoder(SHAPE, 4, hidden=hidden), mlp_decoder(2, SHAPE, hidden=hidden[::-1]), 2, likelihood
    )


def silent(models):
    """The same models with a variance of the code so small that no noise is heard."""
    for model in models:
        model.encoder[-1].weight.data[2:] = 0.0
        model.encoder[-1].bias.data[2:] = -60.0
    return models


def test_stacked_layers_are_the_layers_side_by_side():
    layers = [nn.Linear(3, 5) for _ in range(4)]
    stacked, x = StackedLinear(layers), torch.randn(4, 7, 3)
    each = torch.stack([layer(x_m) for layer, x_m in zip(layers, x, strict=True)])
    torch.testing.assert_close(stacked(x), each)
    torch.testing.assert_close(stacked(x[0]), torch.stack([layer(x[0]) for layer in layers]))


@pytest.mark.parametrize(
    "objective",
    [elbo, partial(free_bits_elbo, free=0.3), partial(capacity_elbo, capacity=2.0, weight=3.0)],
    ids=["elbo", "free bits", "capacity"],
)
def test_terms_are_those_of_each_model(objective):
    models, x = silent([new_vae(i) for i in range(3)]), torch.rand(5, *SHAPE)
    together = objective(Ensemble(models), x)
    for m, model in enumerate(models):
        for term, alone in zip(together, objective(model, x), strict=True):
            torch.testing.assert_close(term[m], alone)


def test_a_number_for_each_model():
    models, x = silent([new_vae(i) for i in range(3)]), torch.rand(5, *SHAPE)
    betas = torch.tensor([0.1, 1.0, 7.0])
    together = beta_elbo(Ensemble(models), x, betas[:, None]).value
    for m, (model, beta) in enumerate(zip(models, betas.tolist(), strict=True)):
        torch.testing.assert_close(together[m], beta_elbo(model, x, beta).value)


def test_trained_together_is_trained_alone(patterns):
    """Without noise the two can be compared: β = 0 and a variance of e⁻⁶⁰ that no gradient reaches."""

    def reconstruction(model, x):
        return beta_elbo(model, x, 0.0)

    models = silent([new_vae(i) for i in range(3)])
    before = [weights(model) for model in models]
    ensemble = Ensemble(models)
    fit(ensemble, patterns, reconstruction, seed=2, **QUICK)
    assert all(torch.equal(weights(model), old) for model, old in zip(models, before, strict=True))
    for model, member in zip(models, ensemble.members(), strict=True):
        fit(model, patterns, reconstruction, seed=2, **QUICK)
        apart, moved = weights(member) - weights(model), weights(model) - before.pop(0)
        assert apart.norm() < 0.01 * moved.norm() and moved.abs().max() > 0.01


def test_members_before_training_are_what_was_given():
    models = [new_vae(i, Gaussian(0.3)) for i in range(2)]
    for model, member in zip(models, Ensemble(models).members(), strict=True):
        assert torch.equal(weights(model), weights(member)) and str(model) == str(member)


def test_their_noise_differs():
    x, model = torch.rand(1, *SHAPE).expand(2000, -1, -1, -1), new_vae()
    log_lik = elbo(Ensemble([model, model]), x).log_lik.detach()
    assert abs(torch.corrcoef(log_lik)[0, 1]) < 0.1 and log_lik.std(1).min() > 0.01


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (lambda: [], "members must be a list of VAEs, at least one"),
        (
            lambda: [new_vae(), new_vae(hidden=(5, 4))],
            "members must be of one architecture, but number 1 is not: .*out_features",
        ),
        (
            lambda: [new_vae(0, Gaussian(0.1, learn=True))],
            "members share one likelihood, so it must not learn; train them one by one",
        ),
        (
            lambda: [VAE(conv_encoder((1, 28, 28), 4, width=2), mlp_decoder(2, (1, 28, 28)), 2)],
            "members must be of fully connected layers, not of Conv2d",
        ),
    ],
    ids=["none", "different", "learned scale", "convolutions"],
)
def test_what_does_not_stack_is_refused(models, words):
    with pytest.raises((ValueError, TypeError), match=f"^{words}"):
        Ensemble(models())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: Gaussian(0.1), lambda: Gaussian(0.2)),
        (lambda: Gaussian(0.1), lambda: Gaussian(0.1, mean=torch.tanh)),
        (lambda: Gaussian(0.1, mean=lambda raw: raw), lambda: Gaussian(0.1, mean=lambda raw: 2 * raw)),
        (lambda: Gaussian(0.1), lambda: Gaussian(0.1000001)),
        (
            lambda: WaveletGaussian(0.1, levels=1).requires_grad_(False),
            lambda: WaveletGaussian(0.2, levels=1).requires_grad_(False),
        ),
    ],
)
def test_members_whose_likelihoods_differ_in_constants_are_refused(first, second):
    with pytest.raises(
        ValueError, match=r"members must be of one architecture, but number 1 is not: .*likelihood"
    ):
        Ensemble([new_vae(0, first()), new_vae(1, second())])
    Ensemble([new_vae(0, first()), new_vae(1, first())])


def test_members_that_differ_in_a_constant_of_a_layer_are_refused():
    def with_slope(slope):
        body = [nn.Linear(5, 4), nn.LeakyReLU(slope), nn.Linear(4, 4)]
        return VAE(nn.Sequential(nn.Flatten(), *body), mlp_decoder(2, (1, 1, 5)), 2)

    with pytest.raises(ValueError, match=r"negative_slope 0\.1 there, 0\.2 here"):
        Ensemble([with_slope(0.1), with_slope(0.2)])


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Twice(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Moved(VAE):
    def encode(self, x):
        q = super().encode(x)
        return gaussian(q.mean + 1, q.stddev)


def hooked(model: VAE) -> VAE:
    model.encoder[2].register_forward_hook(lambda layer, x, y: 2 * y)
    return model


def with_encoder(*layers, kind=VAE, of=nn.Sequential) -> VAE:
    return kind(of(nn.Flatten(), *layers), mlp_decoder(2, SHAPE), 2)


OF_THEIR_OWN = {
    "a layer's forward pass": lambda: with_encoder(Doubled(16, 4)),
    "a body's forward pass": lambda: with_encoder(nn.Linear(16, 4), of=Twice),
    "a model's encode": lambda: with_encoder(nn.Linear(16, 4), kind=Moved),
    "a layer across rows": lambda: with_encoder(nn.Linear(16, 4), nn.Softmax(1)),
    "a hook": lambda: hooked(new_vae()),
}


@pytest.mark.parametrize("which", OF_THEIR_OWN)
def test_members_that_would_give_other_numbers_are_refused(which):
    with pytest.raises(ValueError, match="members must do what their layers do, one row at a time"):
        Ensemble([OF_THEIR_OWN[which](), OF_THEIR_OWN[which]()])


@pytest.mark.parametrize("members", [None, (x for x in ()), {1: 2}, [3], "ab"])
def test_what_was_given_is_shown(members):
    with pytest.raises(TypeError, match=r"members must be a list of VAEs, at least one, got (?!\[\])"):
        Ensemble(members)


def test_layers_without_a_bias_are_refused_and_frozen_ones_stay_frozen():
    with pytest.raises(ValueError, match="must have a bias"):
        Ensemble([with_encoder(nn.Linear(16, 4, bias=False)) for _ in range(2)])
    members = [new_vae(seed).requires_grad_(False) for seed in range(2)]
    assert not any(p.requires_grad for p in Ensemble(members).parameters())
