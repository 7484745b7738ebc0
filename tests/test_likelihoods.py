import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from torch import nn

from vae_lab.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianWithScales

LIKELIHOODS = [Bernoulli(), ContinuousBernoulli(), Gaussian(0.3), Gaussian(0.3, learn=True)]
logits = st.floats(-60, 60)


def raw_and_images(*batch):
    return 3 * torch.randn(*batch, 1, 4, 4), torch.rand(batch[-1], 1, 4, 4)


def continuous_bernoulli(logit: float):
    return ContinuousBernoulli()(torch.tensor([logit], dtype=torch.float64), event_dims=1)


def density(logit: float, x: float) -> float:
    return continuous_bernoulli(logit).log_prob(torch.tensor([x], dtype=torch.float64)).exp().item()


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda m: type(m).__name__)
def test_log_prob_is_one_number_an_image(likelihood):
    raw, x = raw_and_images(5, 2)
    p_x = likelihood(raw)
    assert p_x.log_prob(x).shape == (5, 2) and p_x.mean.shape == (5, 2, 1, 4, 4)
    one_by_one = likelihood(raw.reshape(-1, 1), event_dims=1).log_prob(x.expand(5, 2, 1, 4, 4).reshape(-1, 1))
    torch.testing.assert_close(p_x.log_prob(x), one_by_one.view(5, 2, 16).sum(-1))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda m: type(m).__name__)
def test_the_mean_is_the_mean_of_samples(likelihood):
    raw = torch.linspace(-20, 20, 9).view(1, 1, 1, 9)
    p_x = likelihood(raw)
    draws = p_x.sample((20_000,))
    error = draws.std(0) / 20_000**0.5
    assert ((draws.mean(0) - p_x.mean).abs() <= 4.5 * error + 1e-4).all()


def test_bernoulli_by_hand():
    raw, x = raw_and_images(3)
    pi = 1 / (1 + (-raw).exp())
    by_hand = (x * pi.log() + (1 - x) * (1 - pi).log()).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli()(raw).log_prob(x), by_hand)


def test_bernoulli_sums_to_one_over_all_binary_images():
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    total = Bernoulli()(torch.randn(1, 2, 2)).log_prob(images).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_bernoulli_is_finite_when_it_is_sure():
    p_x = Bernoulli()(torch.tensor([-200.0, 200.0]), event_dims=1)
    assert p_x.log_prob(torch.tensor([1.0, 0.0])).item() == pytest.approx(-400)


@settings(max_examples=30)
@given(logits)
def test_continuous_bernoulli_is_a_density(logit):
    mass = quad(lambda x: density(logit, x), 0, 1, points=[0.02, 0.98])[0]
    assert mass == pytest.approx(1, abs=1e-6)


@settings(max_examples=30)
@given(logits)
def test_continuous_bernoulli_mean_by_quadrature(logit):
    mean = quad(lambda x: x * density(logit, x), 0, 1, points=[0.02, 0.98])[0]
    assert continuous_bernoulli(logit).mean.item() == pytest.approx(mean, abs=1e-6)


@given(logits | st.sampled_from([0.0, 1e-30, 0.1, -0.1]), st.floats(0, 1))
def test_continuous_bernoulli_gradient_is_what_the_mean_misses(logit, x):
    raw = torch.tensor([logit], requires_grad=True)  # float32, as in training
    p_x = ContinuousBernoulli()(raw, event_dims=1)
    p_x.log_prob(torch.tensor([x])).backward()
    assert raw.grad.item() == pytest.approx(x - p_x.mean.item(), abs=2e-5)


def test_continuous_bernoulli_is_bernoulli_and_a_constant():
    """Loaiza-Ganem & Cunningham 2019, eq. 4–7: C = 2 artanh(1 − 2π) / (1 − 2π)."""
    raw, x = torch.tensor([-6, -1, -0.09, 0.05, 0.3, 4], dtype=torch.float64), torch.rand(6).double()
    pi = raw.sigmoid()
    log_constant = (2 * torch.atanh(1 - 2 * pi) / (1 - 2 * pi)).log().sum()
    without = Bernoulli()(raw, event_dims=1).log_prob(x)
    found = ContinuousBernoulli()(raw, event_dims=1).log_prob(x)
    assert found.item() == pytest.approx((without + log_constant).item(), abs=1e-9)


def test_continuous_bernoulli_samples_lie_in_the_unit_interval():
    raw = torch.tensor([-1e4, -30.0, 0.0, 1e-8, 30.0, 1e4])
    draws = ContinuousBernoulli()(raw, event_dims=1).sample((1000,))
    assert draws.isfinite().all() and draws.min() >= 0 and draws.max() <= 1


def test_continuous_bernoulli_samples_follow_their_density():
    draws = ContinuousBernoulli()(torch.full((4000,), 3.0), event_dims=0).sample().double().numpy()
    assert stats.kstest(draws, lambda x: np.expm1(3 * x) / np.expm1(3)).pvalue > 0.001


def test_gaussian_is_scipys():
    raw, x = raw_and_images(3)
    expected = stats.norm.logpdf(x, raw.sigmoid(), 0.3).sum((1, 2, 3))
    np.testing.assert_allclose(Gaussian(0.3)(raw).log_prob(x), expected, rtol=1e-5)


def test_gaussian_mean_is_a_pixel_unless_told_otherwise():
    raw = torch.tensor([-50.0, 0.0, 50.0])
    assert Gaussian()(raw, event_dims=1).mean.tolist() == pytest.approx([0, 0.5, 1])
    assert torch.equal(Gaussian(mean=nn.Identity())(raw, event_dims=1).mean, raw)


def test_the_best_scale_is_the_root_mean_squared_error():
    raw, x = raw_and_images(20)
    gaussian = Gaussian(0.5, learn=True)
    optimizer = torch.optim.LBFGS(gaussian.parameters(), line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = -gaussian(raw).log_prob(x).mean()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    rmse = (x - raw.sigmoid()).square().mean().sqrt()
    assert gaussian.scale.item() == pytest.approx(rmse.item(), rel=1e-3)


def test_the_scale_is_learnt_only_if_asked():
    fixed, learnt = Gaussian(0.25), Gaussian(0.25, learn=True)
    assert not fixed.log_scale.requires_grad and learnt.log_scale.requires_grad
    assert fixed.scale.item() == learnt.scale.item() == pytest.approx(0.25)


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match=f"scale must be a finite number from 1e-15 to 1e\\+15, got {scale}"):
        Gaussian(scale)


@pytest.mark.parametrize("shape", [(6,), (2, 4, 4)], ids=["vectors", "images"])
def test_gaussian_with_scales_is_scipys_one_number_at_a_time(shape):
    mean, log_var, x = torch.randn(3, 7, 5, *shape)
    raw = torch.cat([mean, log_var], dim=-len(shape))
    p_x = GaussianWithScales()(raw, event_dims=len(shape))
    expected = stats.norm.logpdf(x, mean, (log_var / 2).exp()).reshape(7, 5, -1).sum(-1)
    assert p_x.event_shape == shape and torch.equal(p_x.mean, mean)
    np.testing.assert_allclose(p_x.log_prob(x), expected, rtol=1e-4, atol=1e-4)


def test_gaussian_with_scales_needs_two_numbers_for_each():
    with pytest.raises(ValueError, match=r"raw must be an even count of numbers.* got 3"):
        GaussianWithScales()(torch.zeros(4, 3), event_dims=1)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 1, 1, 1), (2, 1, 4, 5), (3, 1, 4, 4), (4, 4)])
def test_an_x_that_would_be_stretched_is_refused(likelihood, shape):
    channels = 2 if isinstance(likelihood, GaussianWithScales) else 1
    p_x = likelihood(torch.zeros(2, channels, 4, 4))
    with pytest.raises(ValueError, match="x must be of the shape that p"):
        p_x.log_prob(torch.zeros(shape))
    assert p_x.log_prob(torch.zeros(1, 4, 4)).shape == p_x.log_prob(torch.zeros(7, 1, 1, 4, 4))[0].shape


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("kind", [np.asarray, torch.Tensor.bool, torch.Tensor.byte, torch.Tensor.double])
def test_an_x_of_any_kind_serves(likelihood, kind):
    p_x, x = likelihood(torch.ones(2, 2, 4, 4)), torch.ones(2, 2, 4, 4)
    x = x[:, :1] if isinstance(likelihood, GaussianWithScales) else x
    assert torch.allclose(p_x.log_prob(kind(x)).float(), p_x.log_prob(x))


@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
@pytest.mark.parametrize("size", [1.0, 50.0, 6e4])
def test_the_gradient_of_a_continuous_bernoulli_is_finite_at_every_logit(kind, size):
    raw = (torch.linspace(-1, 1, 16) * size * (1e9 if kind == torch.float32 else 1)).to(kind)
    raw.requires_grad_()
    p_x = ContinuousBernoulli()(raw, event_dims=1)
    (p_x.log_prob(torch.full((16,), 0.3, dtype=kind)) + p_x.mean.sum()).backward()
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-30, 1e-16, 1e16, 1e30])
def test_a_scale_whose_square_float32_has_not_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be a finite number from"):
        Gaussian(scale)


@pytest.mark.parametrize("mean", [lambda raw: None, lambda raw: raw.flatten()])
def test_a_mean_that_gives_no_means_is_refused(mean):
    with pytest.raises(ValueError, match="mean must give means of 3 axes"):
        Gaussian(mean=mean)(torch.zeros(2, 1, 4, 4))
