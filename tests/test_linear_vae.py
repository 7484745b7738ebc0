"""A VAE with linear networks is probabilistic PCA: the optimum, and what it leaves open."""

import math

import pytest
import torch
from torch import nn

from vae_lab import ppca
from vae_lab.likelihoods import Gaussian, GaussianWithScales
from vae_lab.models import VAE
from vae_lab.objectives import elbo


def points(d=5, n=400):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing.T + 1


def precision_of(model: ppca.PPCA) -> torch.Tensor:
    """That of p(z|x), (L, L): WᵀW / σ² + I."""
    return model.loadings.T @ model.loadings / model.variance + torch.eye(model.loadings.shape[1])


def linear_vae(model: ppca.PPCA) -> VAE:
    """Linear networks that hold a PPCA and the diagonal Gaussian nearest to its posterior."""
    d, latents = model.loadings.shape
    encoder, decoder = nn.Linear(d, 2 * latents).double(), nn.Linear(latents, d).double()
    precision = precision_of(model)
    to_mean = torch.linalg.solve(precision * model.variance, model.loadings.T)
    with torch.no_grad():
        encoder.weight.zero_()[:latents] = to_mean
        encoder.bias[:latents] = -to_mean @ model.mean
        encoder.bias[latents:] = -precision.diagonal().log()  # the best diagonal keeps the precision's
        decoder.weight.copy_(model.loadings)
        decoder.bias.copy_(model.mean)
    likelihood = Gaussian(model.variance.sqrt().item(), mean=nn.Identity()).double()
    likelihood.log_scale.data = model.variance.log() / 2
    return VAE(encoder, decoder, latents, likelihood).double()


@pytest.mark.parametrize("latents", [1, 2, 4])
def test_at_the_answer_every_draw_of_the_sampled_bound_is_log_p(latents):
    """q is the posterior, so log p(x, z) − log q(z|x) is log p(x) whatever z."""
    x = points()
    answer = ppca.closed_form(x, latents)
    for seed in range(3):
        torch.manual_seed(seed)
        bound = elbo(linear_vae(answer), x, analytic=False).value
        torch.testing.assert_close(bound, answer.log_evidence(x))


def test_with_the_closed_form_kl_only_the_mean_is_log_p():
    x = points()
    answer = ppca.closed_form(x, 2)
    draws = torch.stack([elbo(linear_vae(answer), x).value.detach() for _ in range(400)])
    missed = (draws.mean(0) - answer.log_evidence(x)) / (draws.std(0) / 400**0.5)
    assert draws.std(0).min() > 0.1 and missed.abs().max() < 4.5


def test_turned_latents_cost_a_diagonal_encoder_the_correlation():
    """log p(x) is as before; the bound is lower by ½ (Σ log Λ_ll − log det Λ), Λ its precision."""
    x = points()
    answer = ppca.closed_form(x, 2)
    c, s = math.cos(0.6), math.sin(0.6)
    turned = ppca.PPCA(
        answer.mean, answer.loadings @ torch.tensor([[c, -s], [s, c]]).double(), answer.variance
    )
    torch.testing.assert_close(turned.log_evidence(x), answer.log_evidence(x))
    precision = precision_of(turned)
    lost = (precision.diagonal().log().sum() - precision.logdet()) / 2
    q = linear_vae(turned).encode(x)
    full = torch.distributions.MultivariateNormal(q.mean, torch.diag_embed(q.variance))
    short = turned.log_evidence(x) - turned.lower_bound(x, full).value
    assert lost > 0.01
    torch.testing.assert_close(short, lost.expand(len(x)))


@pytest.mark.parametrize("noise", [1.0, 0.5, 0.1])
def test_the_best_likelihood_does_not_say_how_much_the_code_carries(noise):
    """Σ with eigenvalues 25 and 1: W Wᵀ + ψ I = Σ for every ψ ≤ 1, at a KL of ½ log (25 / ψ²)."""
    turn = torch.tensor([[1.0, -1.0], [1.0, 1.0]]).double() / 2**0.5
    loadings = turn * (torch.tensor([25.0, 1.0]).double() - noise).sqrt()
    model = ppca.PPCA(torch.zeros(2).double(), loadings, torch.tensor(noise, dtype=torch.float64))
    square_root = turn @ torch.diag(torch.tensor([5.0, 1.0]).double())
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double() @ square_root.T
    bound = model.lower_bound(x, model.e_step(x))  # over points whose second moments are Σ exactly
    assert bound.value.mean().item() == pytest.approx(-(math.log(2 * math.pi) + math.log(5) + 1), abs=1e-9)
    assert bound.kl.mean().item() == pytest.approx(math.log(5 / noise), abs=1e-9)


@pytest.mark.parametrize("code", [0.0, 4.0, 24.0])
def test_on_independent_numbers_a_code_is_as_good_as_none(code):
    """x₁ ~ N(0, 25) is √code z + noise of variance 25 − code for any code; the bound does not notice."""
    model = VAE(nn.Linear(1, 2), nn.Linear(1, 2), 1, GaussianWithScales()).double()
    with torch.no_grad():
        for layer in (model.encoder, model.decoder):
            layer.weight.zero_(), layer.bias.zero_()
        model.encoder.weight[0] = code**0.5 / 25
        model.encoder.bias[1] = math.log1p(-code / 25)
        model.decoder.weight[0] = code**0.5
        model.decoder.bias[1] = math.log(25 - code)
    x = torch.tensor([[-5.0], [5.0], [1.0]]).double()
    bound = elbo(model, x, analytic=False).value
    torch.testing.assert_close(bound, torch.distributions.Normal(0.0, 5.0).log_prob(x[:, 0]))
