"""Variational inference against closed forms, quadrature and enumeration."""

from itertools import pairwise
from math import log, pi

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal
from torch.distributions import MultivariateNormal, kl_divergence

from vae_lab import variational
from vae_lab.variational import BayesianMixture

PRECISION = torch.tensor([[2.0, 1.2, 0.3], [1.2, 1.5, -0.2], [0.3, -0.2, 0.8]], dtype=torch.float64)
CENTER = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
LOG_Z = 0.7
BELL = MultivariateNormal(CENTER, precision_matrix=PRECISION, validate_args=False)


def bell(z):
    """A Gaussian log-joint with evidence exp(LOG_Z)."""
    return BELL.log_prob(z) + LOG_Z


def product(z):
    """z ~ N(0, I), x = 2 = z₁ z₂ and noise of scale ½: two lobes, neither Gaussian."""
    likelihood = -((2 - z.prod(-1)) ** 2) / 0.5 - 0.5 * log(2 * pi * 0.25)
    return -z.square().sum(-1) / 2 - log(2 * pi) + likelihood


def start(*mean):
    mean = torch.tensor(mean, dtype=torch.float64)
    return variational.gaussian(mean, torch.full_like(mean, 0.3))


def test_the_full_family_recovers_a_gaussian_posterior():
    fit = variational.black_box(bell, start(0.0, 0.0, 0.0))
    assert torch.allclose(fit.q.mean, CENTER, atol=1e-4)
    assert torch.allclose(fit.q.covariance_matrix, PRECISION.inverse(), atol=1e-4)
    assert fit.history[-1].item() == pytest.approx(LOG_Z, abs=1e-4)  # tight, and without noise


def test_mean_field_finds_the_inverse_of_the_precision():
    fit = variational.black_box(bell, start(0.0, 0.0, 0.0), full=False, n_samples=32)
    assert torch.allclose(fit.q.mean, CENTER, atol=0.02)
    assert torch.allclose(fit.q.variance, 1 / PRECISION.diagonal(), rtol=0.03)
    loss = (PRECISION.diagonal().log().sum() - PRECISION.logdet()) / 2
    exact = kl_divergence(
        MultivariateNormal(fit.q.mean, torch.diag(fit.q.variance)),
        MultivariateNormal(CENTER, precision_matrix=PRECISION),
    )
    assert exact.item() == pytest.approx(loss.item(), abs=2e-3)


def test_a_batch_of_problems_is_solved_each_by_itself():
    centers = torch.tensor([[0.0, 1.0], [5.0, -3.0]], dtype=torch.float64)
    scales = torch.tensor([[0.5, 1.0], [2.0, 0.1]], dtype=torch.float64)
    target = variational.gaussian(centers, scales)
    begin = variational.gaussian(torch.zeros_like(centers), torch.ones_like(scales))
    fit = variational.black_box(target.log_prob, begin, full=False, learning_rate=0.1)
    assert fit.history.shape == (1000, 2)
    assert torch.allclose(fit.q.mean, centers, atol=1e-3)
    assert torch.allclose(fit.q.stddev, scales, rtol=1e-3)


def test_only_q_gets_a_gradient():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    variational.black_box(lambda z: weight * bell(z), start(0.0, 0.0, 0.0), steps=2)
    assert weight.grad is None


@pytest.mark.parametrize("full", [True, False])
def test_the_bound_and_the_kl_add_up_to_the_evidence(full):
    """ELBO by sampling, KL on a grid, log p(x) by one-dimensional quadrature: three separate ways."""
    torch.manual_seed(1)
    q = variational.black_box(product, start(1.0, 1.0), full=full, steps=400).q
    points, cell = variational.square_grid(7.0, 281)
    evidence = quad(
        lambda t: (
            torch.distributions.Normal(0.0, (0.25 + t * t) ** 0.5).log_prob(torch.tensor(2.0)).exp()
            * torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(t)).exp()
        ),
        -12,
        12,
    )[0]
    log_joint = product(points)
    total = variational.log_integral(log_joint, cell)
    assert total.item() == pytest.approx(log(evidence), abs=1e-6)
    kl = variational.kl_on_grid(q.log_prob(points), log_joint - total, cell)
    draws = 200_000
    bound = variational.monte_carlo_elbo(product, q, n_samples=draws)
    noise = product(q.sample((draws,))).std() / draws**0.5
    assert abs(bound.value + kl - log(evidence)) < 4 * noise
    assert kl > log(2)  # one of two lobes


def test_the_kl_on_a_grid_is_the_closed_form():
    a = MultivariateNormal(
        torch.tensor([0.3, -0.2]).double(), torch.tensor([[0.8, 0.3], [0.3, 0.5]]).double()
    )
    b = variational.gaussian(torch.tensor([0.0, 0.5]).double(), torch.tensor([0.9, 1.1]).double())
    wide = MultivariateNormal(b.mean, torch.diag(b.variance))
    points, cell = variational.square_grid(9.0, 181)
    for one, other in ((a, wide), (wide, a)):
        found = variational.kl_on_grid(one.log_prob(points), other.log_prob(points), cell)
        assert found.item() == pytest.approx(kl_divergence(one, other).item(), abs=1e-9)


def test_the_kl_on_a_grid_at_zeros():
    half, none = log(0.5), -torch.inf
    q, p = torch.tensor([half, half, none]), torch.tensor([half, none, half])
    assert variational.kl_on_grid(q, p, 1.0) == torch.inf
    assert variational.kl_on_grid(q, torch.tensor([half, half, none]), 1.0) == 0


def three_groups():
    g = torch.Generator().manual_seed(3)
    centers = torch.tensor([-6.0, 0.0, 5.0], dtype=torch.float64).repeat_interleave(20)
    return (centers + torch.randn(60, generator=g, dtype=torch.float64))[:, None]


def test_the_bound_of_coordinate_ascent_never_falls():
    x, model = three_groups(), BayesianMixture(3)
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        _, bounds = variational.cavi(model, x, 3 * torch.randn(3, 1, generator=g), tolerance=0)
        assert all(b >= a - 1e-9 * abs(a) for a, b in pairwise(bounds))


def test_coordinate_ascent_finds_the_groups():
    q, _ = variational.cavi(BayesianMixture(3), three_groups(), torch.tensor([[-1.0], [0.0], [1.0]]))
    assert torch.allclose(q.mean[:, 0], torch.tensor([-6.0, 0.0, 5.0]).double(), atol=0.6)
    assert torch.allclose(q.resp.sum(1), torch.ones(60).double())


def test_each_update_is_the_best_of_its_factor():
    """No other factor near the update's has a higher bound: the derivative is zero, by differences."""
    x, model = three_groups(), BayesianMixture(3, scale=1.3, prior_scale=2.0)
    mean, var = torch.tensor([[-4.0], [1.0], [2.0]]).double(), torch.tensor([0.2, 0.5, 0.1]).double()
    resp = variational.update_assignments(model, x, mean, var)

    def bound(mean, var, resp):
        return variational.mixture_elbo(model, x, variational.MixtureQ(mean, var, resp)).value

    other = (resp.log() + 0.01 * torch.randn_like(resp)).softmax(1)
    assert bound(mean, var, resp) > bound(mean, var, other)
    mean, var = variational.update_means(model, x, resp)
    for step in (-0.01, 0.01):
        assert bound(mean, var, resp) > bound(mean + step, var, resp)
        assert bound(mean, var, resp) > bound(mean, var * (1 + step), resp)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_evidence_by_enumeration_is_that_of_every_assignment(dim):
    """Two points, two components: the marginal of each assignment is a Gaussian, written out by SciPy."""
    model = BayesianMixture(2, scale=0.7, prior_scale=3.0)
    x = torch.randn(2, dim, dtype=torch.float64)
    apart, together = torch.eye(2).double() * (0.49 + 9), torch.eye(2).double() * 0.49 + 9
    density = [
        sum(multivariate_normal([0, 0], c.numpy()).logpdf(x[:, d].numpy()) for d in range(dim))
        for c in (apart, together)
    ]
    expected = torch.tensor(density).logsumexp(0) - log(2)
    assert variational.mixture_log_evidence(model, x).item() == pytest.approx(expected.item(), abs=1e-10)


def test_the_mixtures_bound_is_tight_when_mean_field_is_exact():
    """With one component the posterior of its mean is Gaussian, and q reaches it."""
    x, model = torch.randn(7, 2, dtype=torch.float64), BayesianMixture(1, scale=0.6, prior_scale=2.0)
    _, bounds = variational.cavi(model, x, torch.zeros(1, 2))
    assert bounds[-1] == pytest.approx(variational.mixture_log_evidence(model, x).item(), abs=1e-9)


def test_the_mixtures_bound_misses_the_choice_of_names():
    """Groups far apart: q is right but for having chosen one of 3! orders, so it is log 3! nats short."""
    x = torch.tensor([-30.0, -30.4, -29.1, 0.0, 0.3, -0.8, 30.0, 31.0, 29.0]).double()[:, None]
    model = BayesianMixture(3, prior_scale=30.0)
    _, bounds = variational.cavi(model, x, torch.tensor([[-20.0], [0.0], [20.0]]))
    short = variational.mixture_log_evidence(model, x) - bounds[-1]
    assert short.item() == pytest.approx(log(6), abs=1e-6)


REFUSED = {
    "a sum is missing": (lambda: variational.black_box(lambda z: -z.square(), start(0.0, 0.0)), "sum over"),
    "not finite": (
        lambda: variational.monte_carlo_elbo(lambda z: z.sum(-1).log(), start(0.0, -9.0)),
        "not finite",
    ),
    "no grid": (lambda: variational.square_grid(0, 5), "half_width must be a finite number above 0, got 0"),
    "other points": (lambda: variational.kl_on_grid(torch.zeros(3), torch.zeros(4), 1), "same points"),
    "no components": (lambda: BayesianMixture(0), "components must be a whole number of at least 1, got 0"),
    "flat data": (lambda: variational.mixture_log_evidence(BayesianMixture(2), torch.zeros(3)), r"\(N, D\)"),
    "start": (
        lambda: variational.cavi(BayesianMixture(2), torch.zeros(3, 1), torch.zeros(3, 1)),
        r"start must be a mean for each of 2 components, got 3",
    ),
    "too many": (
        lambda: variational.mixture_log_evidence(BayesianMixture(3), torch.zeros(30, 1)),
        "assignments cannot be enumerated; take fewer",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    call, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        call()


def in_place(z):
    z /= 3
    return -z.square().sum(-1) / 2 - z.shape[-1] * log(3 * (2 * pi) ** 0.5)


def test_a_log_joint_may_change_the_codes_it_is_given():
    torch.manual_seed(0)
    found = variational.black_box(in_place, variational.gaussian(torch.zeros(2), torch.ones(2)), steps=800).q
    assert found.stddev.tolist() == pytest.approx([3, 3], rel=0.05)


def test_a_gradient_in_the_parameters_alone_is_none():
    weight = torch.ones((), requires_grad=True)
    q = variational.gaussian(torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match="does not pass gradients on to z"):
        variational.black_box(lambda z: in_place(z.detach()) * weight, q)


@pytest.mark.parametrize("batch", [(), (1,), (3,)])
def test_a_triangular_scale_goes_with_every_batch_of_means(batch):
    q = variational.gaussian(torch.zeros(*batch, 2), torch.tensor([[1.0, 0.0], [0.5, 2.0]]))
    assert isinstance(q, MultivariateNormal)
    assert torch.allclose(q.covariance_matrix, torch.tensor([[1.0, 0.5], [0.5, 4.25]]))


SCALES = {
    "negative": (torch.zeros(2), -torch.ones(2)),
    "zero": (torch.zeros(2), torch.zeros(2)),
    "no number": (torch.zeros(2), torch.full((2,), torch.nan)),
    "a negative diagonal": (torch.zeros(2), -torch.eye(2)),
    "a covariance": (torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]])),
    "another batch": (torch.zeros(3, 2), torch.eye(2).expand(5, 2, 2)),
    "other lengths": (torch.zeros(2), torch.eye(3)),
}


@pytest.mark.parametrize(("mean", "scale"), SCALES.values(), ids=SCALES)
def test_a_scale_that_is_none_is_refused(mean, scale):
    with pytest.raises(ValueError, match="scale must be"):
        variational.gaussian(mean, scale)


@pytest.mark.parametrize(("of_q", "of_p"), [(-2.0, 0.0), (0.0, 2.0), (0.5, 0.5)])
def test_a_kl_of_densities_that_are_not_normalized_is_refused(of_q, of_p):
    points, cell = variational.square_grid(8.0, 81)
    log_q = variational.gaussian(torch.zeros(2), torch.ones(2)).log_prob(points)
    assert variational.kl_on_grid(log_q, log_q, cell) == 0
    with pytest.raises(ValueError, match="must be normalized"):
        variational.kl_on_grid(log_q + of_q, log_q + of_p, cell)


def test_a_family_without_what_the_bound_needs_is_refused():
    q = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        variational.gaussian(torch.zeros(2, 2), torch.ones(2, 2)),
    )
    with pytest.raises(ValueError, match="q must have its entropy in closed form"):
        variational.monte_carlo_elbo(lambda z: -z.square().sum(-1), q)
    for wrong in (q, torch.distributions.Gumbel(torch.zeros(2), torch.ones(2))):
        with pytest.raises(ValueError, match="start must be a Gaussian"):
            variational.black_box(lambda z: -z.square().sum(-1), wrong)


def test_the_evidence_of_points_far_away_cancels_nothing():
    """Two pairs 10⁸ apart, a prior as wide: differences of squares of 10¹⁶ lose what tells them apart."""
    x = torch.tensor([[0.0], [2.0], [1e8], [1e8 + 1]], dtype=torch.float64)
    model = BayesianMixture(2, 1.0, 1e8)
    prior, noise = model.prior_scale**2, model.scale**2

    def of_pair(a, b):  # log N of two points of one component, by their sum and difference
        total, difference = (a + b) / 2**0.5, (a - b) / 2**0.5
        loud = noise + 2 * prior
        return -(total**2 / loud + difference**2 / noise + log(2 * pi * loud) + log(2 * pi * noise)) / 2

    exact = of_pair(0.0, 2.0) + of_pair(1e8, 1e8 + 1) + log(2) - 4 * log(2)  # two labelings, others 10⁻¹⁶
    assert variational.mixture_log_evidence(model, x).item() == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: variational.mixture_log_evidence(m, x),
        lambda m, x: variational.update_assignments(m, x, torch.zeros(2, 2), torch.ones(2)),
        lambda m, x: variational.cavi(m, x, torch.zeros(2, 2)),
    ],
)
def test_points_whose_squares_overflow_are_refused(call):
    with pytest.raises(ValueError, match="units"):
        call(BayesianMixture(2), torch.full((3, 2), 1e200, dtype=torch.float64))
