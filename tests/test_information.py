"""How much a code says, against closed forms, quadrature and enumeration."""

from math import log, pi

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from tests.tiny import gray, new_vae
from vae_lab import information
from vae_lab.objectives import elbo
from vae_lab.variational import kl_on_grid, square_grid


def gaussians(mu, sigma):
    """N diagonal Gaussians over L coordinates, in float64."""
    mu, sigma = (torch.as_tensor(values, dtype=torch.float64) for values in (mu, sigma))
    return Independent(Normal(mu, sigma.expand_as(mu)), 1)


def standard(latents):
    return gaussians(torch.zeros(latents), torch.ones(()))


def few(n=5, latents=2, seed=0):
    """n Gaussians at random places, of random widths."""
    g = torch.Generator().manual_seed(seed)
    return gaussians(torch.randn(n, latents, generator=g), 0.2 + torch.rand(n, latents, generator=g))


def agrees(draws, exact):
    """Whether the mean of draws is within four standard errors of a number."""
    return abs(draws.mean().item() - exact) < 4 * draws.std().item() / len(draws) ** 0.5


def test_activity_is_the_variance_of_the_means():
    q = gaussians([[1.0, 0.5], [-1.0, 0.5], [3.0, 0.5], [1.0, 0.5]], torch.tensor(0.3))
    assert information.activity(q).tolist() == [2.0, 0.0]
    assert information.active_units(q).tolist() == [True, False]
    assert information.active_units(q, threshold=2.5).tolist() == [False, False]


def test_a_spread_of_a_tenth_is_where_activity_begins():
    """A standard deviation of 0.1 is a variance of 0.01, the threshold of the paper."""
    q = gaussians([[0.11, 0.09], [-0.11, -0.09]], torch.tensor(1.0))
    assert information.active_units(q).tolist() == [True, False]


def test_kl_by_coordinate_sums_to_the_kl_of_the_bound():
    model, x = new_vae(), gray().read()
    by_coordinate = information.kl_by_coordinate(model.encode(x), model.prior())
    assert by_coordinate.shape == (64, 2)
    assert torch.allclose(by_coordinate.sum(1), elbo(model, x).kl, rtol=1e-4, atol=1e-6)


def test_kl_by_coordinate_is_the_closed_form():
    kl = information.kl_by_coordinate(gaussians([[0.7, 0.0]], torch.tensor([[0.5, 1.0]])), standard(2))
    expected = 0.5 * (0.7**2 + 0.25 - 1 - log(0.25))
    assert kl[0].tolist() == pytest.approx([expected, 0.0], abs=1e-12)


def test_the_aggregate_is_the_enumerated_mixture():
    q, z = few(), torch.randn(50, 2, dtype=torch.float64) * 3
    by_hand = q.log_prob(z[:, None]).logsumexp(1) - log(5)
    assert torch.allclose(information.log_aggregate(q, z), by_hand, atol=1e-10)
    blocks = information.log_aggregate(q, z, chunk_size=7)
    assert torch.allclose(blocks, by_hand, atol=1e-10)
    of_one = q.base_dist.log_prob(z[:, None]).logsumexp(1) - log(5)
    assert torch.allclose(information.log_aggregate_by_coordinate(q, z), of_one, atol=1e-10)


def test_the_aggregate_survives_narrow_gaussians_far_away():
    """Multiplied-out squares cancel; float64 must leave enough digits."""
    q, z = gaussians([[30.0], [-30.0]], torch.tensor(1e-3)), torch.tensor([[30.0015]], dtype=torch.float64)
    expected = Normal(0.0, 1e-3).log_prob(torch.tensor(0.0015)).item() - log(2)
    assert information.log_aggregate(q, z).item() == pytest.approx(expected, abs=1e-5)


def test_the_aggregate_integrates_to_one():
    points, cell = square_grid(9.0, 241)
    assert information.log_aggregate(few(), points).exp().sum().item() * cell == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_surgery_agrees_with_quadrature(seed):
    """Both parts, of two latents, by sums over a fine grid; nothing shared but the Gaussians."""
    q, p = few(seed=seed), standard(2)
    points, cell = square_grid(9.0, 241)
    log_q_x, log_p = q.log_prob(points[:, None]), p.log_prob(points)  # (G, N), (G,)
    log_q = log_q_x.logsumexp(1) - log(5)
    information_exact = kl_on_grid(log_q_x, log_q[:, None].expand_as(log_q_x), cell).mean().item()
    marginal_exact = kl_on_grid(log_q, log_p, cell).item()
    split = information.surgery(q, p, n_samples=20_000, seed=seed)
    assert agrees(split.information, information_exact)
    assert agrees(split.marginal, marginal_exact)
    mean_kl = kl_divergence(q, p.expand((5,))).mean().item()
    assert information_exact + marginal_exact == pytest.approx(mean_kl, abs=1e-6)
    assert agrees(split.value, mean_kl)


def test_surgery_of_a_linear_gaussian_code():
    """Means N(0, τ²) and width σ: I = ½ log(1 + τ²/σ²), q(z) = N(0, τ² + σ²)."""
    tau, sigma, n = 0.9, 0.4, 4000
    quantiles = Normal(0.0, tau).icdf((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    q = gaussians(quantiles[:, None], torch.tensor(sigma))
    split = information.surgery(q, standard(1), n_samples=40_000)
    assert agrees(split.information, 0.5 * log(1 + (tau / sigma) ** 2))
    total = tau**2 + sigma**2
    assert agrees(split.marginal, 0.5 * (total - 1 - log(total)))


def test_images_that_share_a_code_are_not_told_apart():
    q = gaussians(torch.full((7, 2), 0.6), torch.tensor(0.5))
    split = information.surgery(q, standard(2), n_samples=1000)
    assert split.information.abs().max() < 1e-12
    assert agrees(split.marginal, kl_divergence(q, standard(2).expand((7,)))[0].item())


def test_images_far_apart_are_told_apart_completely():
    q = gaussians(10.0 * torch.arange(8.0)[:, None], torch.tensor(0.1))
    split = information.surgery(q, standard(1), n_samples=1000)
    assert torch.allclose(split.information, torch.full((1000,), log(8), dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_information_never_exceeds_the_log_of_the_number_of_images(n):
    split = information.surgery(few(n, latents=3), standard(3), n_samples=2000)
    assert split.information.max() <= log(n) + 1e-12
    assert split.information.mean() >= -4 * split.information.std() / 2000**0.5 - 1e-12


def test_a_minibatch_says_too_little():
    """Its information is bounded by the log of its own size, and on average below that of the whole list."""
    q = few(64, latents=2)
    whole = information.surgery(q, standard(2), n_samples=20_000).information
    batches = []
    for start in range(0, 64, 4):
        part = gaussians(q.base_dist.mean[start : start + 4], q.base_dist.stddev[start : start + 4])
        batches.append(information.surgery(part, standard(2), n_samples=2000, seed=start).information)
    assert max(batch.max() for batch in batches) <= log(4) + 1e-12
    assert torch.cat(batches).mean() < whole.mean() - 0.2


def test_the_minibatch_bias_is_the_information_that_batches_share():
    """I(whole) = mean I(batch) + I(batch; z): four images in two batches, on a grid."""
    q = few(4)
    points, cell = square_grid(9.0, 241)
    log_q_x = q.log_prob(points[:, None])
    log_q = log_q_x.logsumexp(1) - log(4)
    log_batch = torch.stack([log_q_x[:, :2].logsumexp(1), log_q_x[:, 2:].logsumexp(1)], 1) - log(2)
    shared = kl_on_grid(log_batch, log_q[:, None].expand_as(log_batch), cell).mean().item()
    whole = information.surgery(q, standard(2), n_samples=20_000).information
    halves = [
        information.surgery(
            gaussians(q.base_dist.mean[part], q.base_dist.stddev[part]), standard(2), n_samples=20_000
        ).information
        for part in (slice(0, 2), slice(2, 4))
    ]
    gap = whole.mean() - (halves[0].mean() + halves[1].mean()) / 2
    assert abs(gap.item() - shared) < 0.03


def test_total_correlation_of_a_correlated_gaussian():
    """Codes on a line with noise: TC = −½ log(1 − r²), from the difference of the two aggregates."""
    n, sigma = 2000, 0.5
    along = Normal(0.0, 1.0).icdf((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    q = gaussians(torch.stack([along, along], 1), torch.tensor(sigma))
    torch.manual_seed(0)
    z = q.sample()
    draws = information.log_aggregate(q, z) - information.log_aggregate_by_coordinate(q, z).sum(1)
    r = 1 / (1 + sigma**2)
    exact = MultivariateNormal(torch.zeros(2), torch.tensor([[1.25, 1.0], [1.0, 1.25]])).entropy().item()
    assert -0.5 * log(1 - r**2) == pytest.approx(log(2 * pi * 1.25) + 1 - exact, abs=1e-5)
    assert agrees(draws, -0.5 * log(1 - r**2))


def test_the_same_seed_gives_the_same_draws_and_leaves_torchs_alone():
    q, p = few(), standard(2)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = information.surgery(q, p, n_samples=12, seed=5)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.value, information.surgery(q, p, n_samples=12, seed=5).value)
    assert not torch.equal(first.value, information.surgery(q, p, n_samples=12, seed=6).value)


def test_it_takes_what_a_model_gives():
    model = new_vae()
    q = model.encode(gray().read())
    split = information.surgery(q, model.prior())
    assert split.value.shape == (64,) and not split.value.requires_grad


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"points of shape \(K, 2\)"):
        information.log_aggregate(few(), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        information.surgery(few(), standard(2), n_samples=0)
    with pytest.raises(TypeError, match="diagonal Gaussian"):
        information.activity(MultivariateNormal(torch.zeros(2), torch.eye(2)))


@pytest.mark.parametrize("shape", [(1,), (2,), (4,), (7, 3), (5, 3)])
@pytest.mark.parametrize("call", [information.kl_by_coordinate, information.surgery])
def test_a_prior_of_another_shape_is_refused(call, shape):
    """One of length 1 would be stretched to all coordinates."""
    with pytest.raises(ValueError, match=r"p must be one prior of shape \(3,\)"):
        call(few(latents=3), gaussians(torch.zeros(shape), torch.ones(shape)))


@pytest.mark.parametrize(
    "q",
    [
        standard(3),
        gaussians(torch.zeros(0, 3), torch.ones(0, 3)),
        Independent(Normal(torch.zeros(4, 3), -torch.ones(4, 3), validate_args=False), 1),
        torch.distributions.LogNormal(torch.zeros(4, 3), torch.ones(4, 3)),
    ],
    ids=["one alone", "none", "negative scales", "not normal"],
)
@pytest.mark.parametrize("call", [information.activity, lambda q: information.surgery(q, standard(3))])
def test_posteriors_that_are_none_are_refused(call, q):
    with pytest.raises((ValueError, TypeError), match="q must be"):
        call(q)
