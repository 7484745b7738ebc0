"""Priors fitted to codes: against moments, exact marginals, and the bound that they are to raise."""

from functools import partial

import pytest
import torch
from tiny import gray, new_vae
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.objectives import elbo
from vae_lab.priors import SecondStage, WithPrior, fit_mixture, fit_second_stage, posteriors
from vae_lab.training import evaluate


def two_clouds(n: int = 600, spread: float = 0.1) -> Independent:
    """q(z|x_n) of codes in two clouds at (−2, 0) and (2, 0), a third of them in the first."""
    centers = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])[torch.arange(n) % 3]
    g = torch.Generator().manual_seed(3)
    mean = centers + 0.2 * torch.randn(n, 2, generator=g)
    return Independent(Normal(mean, torch.full_like(mean, spread)), 1)


def near(z: torch.Tensor, at: float) -> float:
    """Which part of codes (N, 2) lies in the cloud around (at, 0)."""
    return ((z - torch.tensor([at, 0.0])).norm(dim=1) < 1).double().mean().item()


def test_posteriors_are_those_of_the_encoder():
    model, few = new_vae(), gray(30)
    whole, blocks = model.encode(few.read()), posteriors(model, few, chunk_size=7)
    assert blocks.batch_shape == (30,) and not blocks.mean.requires_grad
    torch.testing.assert_close(blocks.mean, whole.mean)
    torch.testing.assert_close(blocks.stddev, whole.stddev)


def test_one_component_has_the_moments_of_the_codes():
    """Cov q(z) = Cov of the means + mean of the covariances."""
    q = two_clouds(spread=0.5)
    p = fit_mixture(q, 1, n_samples=40)
    expected = q.mean.T.cov(correction=0) + 0.25 * torch.eye(2)
    torch.testing.assert_close(p.mean, q.mean.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(p.component_distribution.covariance_matrix[0], expected, atol=0.03, rtol=0.01)


def test_two_components_find_the_two_clouds():
    p = fit_mixture(two_clouds(), 2)
    assert p.mixture_distribution.probs.sort().values.tolist() == pytest.approx([1 / 3, 2 / 3], abs=0.01)
    z = p.sample((3000,))
    assert near(z, -2) == pytest.approx(1 / 3, abs=0.04) and near(z, 2) == pytest.approx(2 / 3, abs=0.04)


def test_the_same_seed_fits_the_same_prior():
    q, z = two_clouds(90), torch.randn(5, 2)
    assert torch.equal(fit_mixture(q, 3, seed=1).log_prob(z), fit_mixture(q, 3, seed=1).log_prob(z))
    state = torch.get_rng_state()
    first, second = (fit_second_stage(q, hidden=8, steps=3, seed=1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = (torch.cat([w.flatten() for w in stage.vae.parameters()]) for stage in (first, second))
    assert torch.equal(*weights)


def test_a_prior_that_is_the_same_gives_the_same_bound():
    model, few = new_vae(), gray(40)
    again = WithPrior(model, model.prior())
    x = few.read().repeat(50, 1, 1, 1)
    with torch.no_grad():
        drawn, exact = elbo(again, x, analytic=False), elbo(model, x)
    assert drawn.kl.mean().item() == pytest.approx(exact.kl.mean().item(), abs=0.1)
    assert drawn.log_lik.mean().item() == pytest.approx(exact.log_lik.mean().item(), rel=0.01)


def test_a_fitted_prior_raises_the_bound_and_changes_no_weight():
    model, few = new_vae(seed=2), gray(64)
    model.encoder[-1].weight.data *= 6  # codes that spread out further than N(0, I)
    before = [w.clone() for w in model.parameters()]
    other = WithPrior(model, fit_mixture(posteriors(model, few), 2, n_samples=20))
    drawn = partial(elbo, analytic=False)
    assert evaluate(other, few, drawn).kl < evaluate(model, few, drawn).kl
    assert evaluate(other, few, drawn).log_lik == evaluate(model, few, drawn).log_lik
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def linear_stage() -> tuple[SecondStage, MultivariateNormal]:
    """A second stage z = A u + 0.3 ε with any encoder, and the p(z) that it has in closed form."""
    A = torch.tensor([[1.0, 0.5], [0.0, 0.8]])
    decoder = nn.Linear(2, 2, bias=False)
    decoder.weight.data = A
    vae = VAE(nn.Linear(2, 4), decoder, 2, Gaussian(0.3, mean=nn.Identity()))
    return SecondStage(vae), MultivariateNormal(torch.zeros(2), A @ A.T + 0.09 * torch.eye(2))


def test_a_second_stage_draws_from_its_marginal():
    stage, exact = linear_stage()
    z = stage.sample((40_000,))
    assert z.shape == (40_000, 2)
    torch.testing.assert_close(z.T.cov(), exact.covariance_matrix, atol=0.03, rtol=0)


@torch.no_grad()
def test_a_second_stage_bounds_its_marginal_from_below():
    stage, exact = linear_stage()
    z = exact.sample((3, 4))
    bound = torch.stack([stage.log_prob(z) for _ in range(300)])
    assert bound.shape == (300, 3, 4)
    error = bound.std(0) / 300**0.5
    assert (bound.mean(0) <= exact.log_prob(z) + 4 * error).all()


def test_a_trained_second_stage_draws_like_the_codes():
    stage = fit_second_stage(two_clouds(), hidden=32, steps=500, learning_rate=1e-2)
    z, normal = stage.sample((2000,)), torch.randn(2000, 2)
    assert near(z, -2) > 0.15 and near(z, 2) > 0.5 and near(z, -2) + near(z, 2) > 0.7
    assert near(normal, -2) + near(normal, 2) < 0.3  # what N(0, I) would give
    assert not any(w.requires_grad for w in stage.vae.parameters())


@pytest.mark.parametrize("fit", [lambda q: fit_mixture(q, 1), lambda q: fit_second_stage(q, steps=1)])
@pytest.mark.parametrize(
    "q",
    [
        Independent(Normal(torch.zeros(0, 2), torch.ones(0, 2)), 1),
        Independent(Normal(torch.full((5, 2), torch.nan), torch.ones(5, 2), validate_args=False), 1),
        Independent(torch.distributions.Poisson(torch.ones(5, 2)), 1),
        MultivariateNormal(torch.zeros(5, 2), torch.tensor([[1.0, 0.9], [0.9, 1.0]])),
    ],
    ids=["none", "no numbers", "another family", "correlated"],
)
def test_posteriors_that_are_not_described_by_mean_and_scale_are_refused(fit, q):
    with pytest.raises(ValueError, match=r"q (must be posteriors|cannot be told)"):
        fit(q)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_mixture_of_codes_in_sixteen_bits_is_in_float32(kind):
    codes = torch.randn(30, 2).to(kind)
    prior = fit_mixture(Independent(Normal(codes, torch.full_like(codes, 0.1)), 1), 2)
    assert prior.log_prob(codes.float()).isfinite().all()


def test_more_components_than_draws_are_refused():
    with pytest.raises(ValueError, match=r"components must be at most the draws, 4 from each of 3"):
        fit_mixture(Independent(Normal(torch.randn(3, 2), torch.ones(3, 2)), 1), 50)


def test_a_second_stage_that_diverged_is_refused():
    far = Independent(Normal(torch.full((5, 2), 1e30), torch.ones(5, 2)), 1)
    with pytest.raises(ValueError, match="the second stage cannot be told"):
        fit_second_stage(far, hidden=4, steps=20)
