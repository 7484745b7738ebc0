"""Penalties and corruptions against formulas: linear maps, finite differences, the score of a Gaussian."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

from vae_lab.models import Autoencoder
from vae_lab.nets import mlp
from vae_lab.objectives import (
    contractive_error,
    denoising_error,
    jacobian_norm,
    sparse_error,
    squared_error,
)


def bent(inputs: int = 4, latents: int = 3) -> Autoencoder:
    """A small smooth autoencoder of vectors, in double precision."""
    torch.manual_seed(0)
    return Autoencoder(mlp([inputs, 6, latents], nn.Tanh), mlp([latents, 6, inputs], nn.Tanh)).double()


def vectors(n: int = 5, size: int = 4) -> torch.Tensor:
    return torch.randn(n, size, dtype=torch.float64)


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    linear = nn.Linear(4, 7).double()
    norm = jacobian_norm(linear, vectors())
    torch.testing.assert_close(norm, linear.weight.square().sum().expand(5))


def test_the_jacobian_against_finite_differences():
    model, x, h = bent(), vectors(), 1e-6
    steps = h * torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        columns = [(model.encode(x + step) - model.encode(x - step)) / (2 * h) for step in steps]
    torch.testing.assert_close(jacobian_norm(model.encode, x), sum(c.square().sum(1) for c in columns))


def test_hutchinsons_estimate_has_the_exact_mean():
    model, x = bent(), vectors(3)
    draws = torch.stack([jacobian_norm(model.encode, x, probes=1) for _ in range(2000)]).detach()
    error = draws.std(0) / len(draws) ** 0.5
    exact = jacobian_norm(model.encode, x)
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    assert (draws.std(0) > 0).all()


def test_hutchinsons_estimate_of_one_output_is_exact():
    model, x = bent(latents=1), vectors()
    torch.testing.assert_close(
        jacobian_norm(model.encode, x, probes=2), jacobian_norm(model.encode, x), rtol=1e-12, atol=0
    )


def test_the_penalty_is_differentiated_too():
    """The gradient of the contraction with respect to a weight, against a finite difference."""
    model, x, h = bent(), vectors(), 1e-6
    weights = dict(model.named_parameters())

    def penalty(shift: float) -> torch.Tensor:
        changed = weights | {"encoder.0.weight": weights["encoder.0.weight"] + shift * direction}
        norm = jacobian_norm(lambda x: functional_call(model.encoder, renamed(changed), x), x)
        return norm.sum()

    def renamed(parameters):
        return {k.removeprefix("encoder."): v for k, v in parameters.items() if k.startswith("encoder.")}

    direction = torch.randn_like(weights["encoder.0.weight"])
    jacobian_norm(model.encode, x).sum().backward()
    by_backward = (weights["encoder.0.weight"].grad * direction).sum()
    torch.testing.assert_close(by_backward, (penalty(h) - penalty(-h)).detach() / (2 * h), rtol=1e-6, atol=0)


def test_terms_add_up_and_survive_no_grad():
    model, x = bent(), vectors()
    with torch.no_grad():
        terms = contractive_error(model, x, 0.3)
        sparse = sparse_error(model, x, 0.5)
        expected = squared_error(model, x).squared_error
    torch.testing.assert_close(terms.squared_error, expected)
    torch.testing.assert_close(sparse.squared_error, expected)
    torch.testing.assert_close(terms.value, -(expected + 0.3 * terms.contraction))
    torch.testing.assert_close(sparse.value, -(expected + 0.5 * model.encode(x).abs().sum(1)))
    assert not terms.contraction.requires_grad
    assert {t.shape for t in (*terms, *sparse)} == {(5,)}


def test_small_noise_is_a_contraction():
    """E ‖x − r(x + σε)‖² = ‖x − r(x)‖² + σ² ‖∂r/∂x‖² for a linear r, exactly."""
    linear = Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4)).double()
    x, sigma = vectors(1), 0.3
    draws = denoising_error(linear, x.expand(200_000, -1), lambda x: x + sigma * torch.randn_like(x))
    error = draws.squared_error.std() / 200_000**0.5
    expected = contractive_error(linear, x, sigma**2)
    assert abs(draws.value.mean() - expected.value.item()) < 4 * error


def test_the_best_linear_denoiser_of_a_gaussian_points_along_its_score():
    """For x ~ N(0, s²) the least error is at r(x̃) = s²/(s² + σ²) x̃, and r(x̃) − x̃ = σ² ∇ log p_σ(x̃)."""
    s, sigma = torch.tensor([2.0, 0.5]).double(), 0.7
    x = torch.randn(100_000, 2, dtype=torch.float64) * s
    noise = sigma * torch.randn_like(x)
    model = Autoencoder(nn.Linear(2, 2, bias=False), nn.Identity()).double()
    best = torch.diag(s**2 / (s**2 + sigma**2))
    model.encoder.weight.data = best.clone()
    (-denoising_error(model, x, lambda x: x + noise).value.mean()).backward()
    assert model.encoder.weight.grad.abs().max() < 0.1  # of a curvature of 2 (s² + σ²), up to 9
    score = torch.autograd.functional.jacobian(
        lambda y: torch.distributions.MultivariateNormal(
            torch.zeros(2).double(), torch.diag(s**2 + sigma**2)
        ).log_prob(y),
        x[0],
    )
    torch.testing.assert_close(best @ x[0] - x[0], sigma**2 * score)


def test_the_mean_of_the_clean_given_the_damaged_lies_along_the_score():
    """(E[x | x̃] − x̃) / σ² = ∇ log p_σ(x̃), by quadrature, for a density that is no Gaussian."""
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    log_p = torch.logaddexp(-2 * (x - 1.3).square(), -x.abs() - (x + 2).square())  # up to a constant
    damaged = torch.linspace(-4, 4, 9, dtype=torch.float64).requires_grad_()
    for sigma in (0.2, 1.0):
        log_joint = log_p - (damaged[:, None] - x).square() / (2 * sigma**2)  # (B, grid)
        (score,) = torch.autograd.grad(log_joint.logsumexp(1).sum(), damaged)
        best = (log_joint.softmax(1) * x).sum(1).detach()
        torch.testing.assert_close((best - damaged.detach()) / sigma**2, score)
        assert score.abs().max() > 1


def test_what_cannot_be_is_refused():
    model, x = bent(), vectors()
    for objective in (contractive_error, sparse_error):
        with pytest.raises(ValueError, match="weight must be a finite number of at least 0, got -1"):
            objective(model, x, -1)
    with pytest.raises(ValueError, match="probes must be a whole number of at least 1, got 0"):
        contractive_error(model, x, 1.0, probes=0)
    with pytest.raises(ValueError, match=r"shape \(5, 4\) of images, got \(5, 3\)"):
        denoising_error(model, x, lambda x: x[:, :3])


def test_an_objective_with_a_penalty_trains():
    """One step along the gradient raises the value."""
    for objective in (partial(contractive_error, weight=0.1), partial(sparse_error, weight=0.1)):
        model, x = bent(), vectors()
        before = objective(model, x).value.mean()
        before.backward()
        for p in model.parameters():
            p.data += 1e-3 * p.grad
        assert objective(model, x).value.mean() > before
