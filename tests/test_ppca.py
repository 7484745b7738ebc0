"""Probabilistic PCA against densities of torch, conditioned Gaussians, its closed form and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from vae_lab import em, ppca


def images_like(seed: int, n: int = 70, d: int = 9) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    loud = torch.randn(n, 3, generator=g).double() @ torch.randn(3, d, generator=g).double()
    return 2 + loud + 0.3 * torch.randn(n, d, generator=g).double()


def random_ppca(seed: int, d: int = 9, latents: int = 2) -> ppca.PPCA:
    g = torch.Generator().manual_seed(seed)
    mean, loadings = torch.randn(d, generator=g).double(), torch.randn(d, latents, generator=g).double()
    return ppca.PPCA(mean, loadings, torch.tensor(0.3).double())


def test_ppca_evidence_is_that_of_a_low_rank_gaussian():
    x, model = images_like(0), random_ppca(0)
    exact = LowRankMultivariateNormal(model.mean, model.loadings, model.variance.expand(9))
    torch.testing.assert_close(model.log_evidence(x), exact.log_prob(x), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_ppca_posterior_and_bound(seed):
    """By conditioning the joint Gaussian of (z, x), and by the gap for a q that is not the posterior."""
    x, model = images_like(seed), random_ppca(seed)
    w, eye = model.loadings, torch.eye(9).double()
    gain = w.T @ torch.linalg.inv(w @ w.T + model.variance * eye)
    q = model.e_step(x)
    torch.testing.assert_close(q.mean, (x - model.mean) @ gain.T)
    torch.testing.assert_close(q.covariance_matrix[0], torch.eye(2).double() - gain @ w)
    torch.testing.assert_close(model.lower_bound(x, q).value, model.log_evidence(x))
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(2, 2, generator=g).double()
    other = MultivariateNormal(torch.randn(len(x), 2, generator=g).double(), root @ root.T + torch.eye(2))
    bound = model.lower_bound(x, other).value
    torch.testing.assert_close(model.log_evidence(x) - bound, kl_divergence(other, q))


def test_the_ppca_m_step_has_no_gradient_left():
    """For a q that is not a posterior either, whose means do not average to zero."""
    x, g = images_like(1), torch.Generator().manual_seed(1)
    q = MultivariateNormal(1 + torch.randn(len(x), 2, generator=g).double(), 0.5 * torch.eye(2).double())
    best = random_ppca(1).m_step(x, q)
    mean, loadings, variance = (t.clone().requires_grad_() for t in (best.mean, best.loadings, best.variance))
    ppca.PPCA(mean, loadings, variance).lower_bound(x, q).value.sum().backward()
    for parameter in (mean, loadings, variance):
        assert parameter.grad.abs().max() < 1e-8


@pytest.mark.parametrize(("seed", "latents"), [(0, 1), (1, 2), (2, 3)])
def test_ppca_by_em_is_its_closed_form(seed, latents):
    x = images_like(seed)
    begin = ppca.random_start(x, latents, torch.Generator().manual_seed(seed))
    fitted = em.fit(begin, x, tolerance=1e-15, max_iter=20_000)
    exact = ppca.closed_form(x, latents)
    assert abs(fitted.history[-1] - exact.log_evidence(x).mean()) < 1e-8
    torch.testing.assert_close(fitted.model.variance, exact.variance, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fitted.model.mean, exact.mean)
    ours, theirs = (m.loadings @ m.loadings.T for m in (fitted.model, exact))  # W up to a rotation
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("latents", [1, 3])
def test_the_closed_form_is_scikit_learns(latents):
    x = images_like(3)
    exact, theirs = ppca.closed_form(x, latents), PCA(latents).fit(x.numpy())
    covariance = exact.loadings @ exact.loadings.T + exact.variance * torch.eye(9)
    shrink = (len(x) - 1) / len(x)  # theirs divides by N - 1
    np.testing.assert_allclose(covariance, shrink * theirs.get_covariance(), atol=1e-9)
    np.testing.assert_allclose(exact.variance, shrink * theirs.noise_variance_, atol=1e-9)


def test_a_plane_without_noise_is_held_above_zero():
    x = torch.randn(30, 2).double() @ torch.randn(2, 5).double()
    with pytest.warns(em.SingularCovarianceWarning, match="noise variance.*held at"):
        fitted = em.fit(ppca.random_start(x, 2, torch.Generator().manual_seed(0)), x)
    torch.testing.assert_close(fitted.model.variance, em.FLOOR * em.column_variances(x).min())
    assert np.isfinite(fitted.history).all()


def test_the_evidence_never_falls():
    x = images_like(4)
    fitted = em.fit(ppca.random_start(x, 2, torch.Generator().manual_seed(0)), x, tolerance=0, max_iter=60)
    assert (np.diff(fitted.history) > -1e-12).all() and fitted.history[-1] > fitted.history[0] + 0.1


@pytest.mark.parametrize("units", [1e-6, 1e6])
def test_in_another_unit_the_answer_is_the_same_in_that_unit(units):
    x = images_like(5)
    for make in (
        lambda x: ppca.closed_form(x, 2),
        lambda x: em.fit(ppca.random_start(x, 2, torch.Generator().manual_seed(0)), x).model,
    ):
        plain, other = make(x), make(x * units)
        shift = x.shape[1] * np.log(units)
        torch.testing.assert_close(
            other.log_evidence(x * units) + shift, plain.log_evidence(x), rtol=1e-8, atol=1e-8
        )
        torch.testing.assert_close(other.variance / units**2, plain.variance, rtol=1e-5, atol=0)
        torch.testing.assert_close(other.mean / units, plain.mean)


@settings(max_examples=25)
@given(units=st.lists(st.sampled_from([1e-6, 1.0, 1e6]), min_size=4, max_size=4), seed=st.integers(0, 10**6))
def test_em_finds_the_optimum_whatever_the_units_of_a_column(units, seed):
    """σ² is one number for all columns, so other units of one are other data: the oracle is the optimum."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 2, generator=g).double() @ torch.randn(2, 4, generator=g).double()
    x = (x + torch.randn(60, 4, generator=g)) * torch.tensor(units)
    exact = ppca.closed_form(x, 2)
    fitted = em.fit(ppca.random_start(x, 2, g), x, max_iter=5000)
    assert fitted.converged and np.diff(fitted.history).min() >= 0
    assert abs(exact.log_evidence(x).mean().item() - fitted.history[-1]) < 1e-5
    covariance = exact.loadings @ exact.loadings.T + exact.variance * torch.eye(4)
    scale = covariance.diagonal().sqrt()
    normal = MultivariateNormal(torch.zeros(4).double(), covariance / scale[:, None] / scale)
    dense = normal.log_prob((x - exact.mean) / scale) - scale.log().sum()
    torch.testing.assert_close(exact.log_evidence(x), dense, rtol=1e-5, atol=1e-3)


def test_rescaling_is_never_less_likely_and_makes_the_codes_vary_as_the_prior_says():
    x = images_like(6)
    for seed in range(5):
        model = ppca.random_start(x, 3, torch.Generator().manual_seed(seed))
        better = model.rescaled(x)
        assert better.log_evidence(x).mean() >= model.log_evidence(x).mean()
    q = em.fit(model, x, tolerance=1e-13, max_iter=3000).model.rescaled(x).e_step(x)
    second = q.covariance_matrix.mean(0) + q.mean.T @ q.mean / len(x)
    torch.testing.assert_close(second, torch.eye(3).double(), rtol=0, atol=1e-4)


REFUSED = {
    "in closed form": (
        lambda: ppca.closed_form(torch.zeros(3, 4), 4),
        "latents must be from 1 to 3 for data of 4 numbers, got 4",
    ),
    "to start": (
        lambda: ppca.random_start(torch.zeros(3, 4), 0, torch.Generator()),
        "latents must be a whole number of at least 1, got 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_sentence_latents_that_cannot_be(name):
    call, says = REFUSED[name]
    with pytest.raises(ValueError, match=says) as refusal:
        call()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_posteriors_of_any_type_serve(kind):
    x, model = images_like(0), random_ppca(0)
    q = model.e_step(x)
    given_q = MultivariateNormal(q.mean.to(kind), scale_tril=q.scale_tril.to(kind))
    assert torch.allclose(model.lower_bound(x, given_q).value, model.lower_bound(x, q).value, rtol=1e-4)
    assert torch.allclose(
        model.m_step(x, given_q).loadings, model.m_step(x, q).loadings, rtol=1e-3, atol=1e-5
    )


def test_posteriors_that_are_none_are_refused():
    x, model = images_like(0), random_ppca(0)
    q = model.e_step(x)
    nowhere = MultivariateNormal(q.mean * torch.nan, scale_tril=q.scale_tril, validate_args=False)
    point = MultivariateNormal(q.mean * 0, scale_tril=q.scale_tril * 1e-200, validate_args=False)
    for wrong, words in ((nowhere, "q cannot be told"), (point, "codes vary in every direction")):
        with pytest.raises(ValueError, match=words):
            model.m_step(x, wrong)
    with pytest.raises(ValueError, match="q cannot be told"):
        model.lower_bound(x, nowhere)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_closed_form_says_that_it_holds_the_noise(n):
    with pytest.warns(em.SingularCovarianceWarning, match="noise variance would be zero"):
        ppca.closed_form(images_like(0)[:n], 2)


def test_points_too_far_to_be_measured_are_refused():
    with pytest.raises(ValueError, match="too far from the mean"):
        random_ppca(0).log_evidence(images_like(0) * 1e200)
