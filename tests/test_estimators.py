"""Gradient estimators against closed forms, quadrature, finite differences and each other."""

from math import pi

import numpy as np
import pytest
import tiny
import torch
from torch.distributions import Bernoulli, Exponential, Independent, Normal, kl_divergence

from vae_lab import estimators, objectives
from vae_lab.estimators import best_constant, leave_one_out, pathwise, score_function
from vae_lab.metrics import log_likelihood

DRAWS = 200_000
METHODS = {
    "pathwise": lambda family, phi, f: pathwise(family, phi, f, n_samples=DRAWS),
    "score": lambda family, phi, f: score_function(family, phi, f, n_samples=DRAWS),
    "score, leave one out": lambda family, phi, f: score_function(
        family, phi, f, n_samples=DRAWS, baseline=leave_one_out
    ),
    "score, best constant": lambda family, phi, f: score_function(
        family, phi, f, n_samples=DRAWS, baseline=best_constant
    ),
    "score, a number": lambda family, phi, f: score_function(family, phi, f, n_samples=DRAWS, baseline=-3.0),
}
each_method = pytest.mark.parametrize("method", METHODS)


def gaussian(phi):
    """Means and standard deviations, half of the parameters each."""
    return Independent(Normal(*phi.chunk(2, -1)), 1)


def phi_of(mean, scale):
    return torch.tensor([*mean, *scale], dtype=torch.float64)


def bowl(z):
    """−½ ‖z − (1, …, 1)‖²."""
    return -(z - 1).square().sum(-1) / 2


def waves(z):
    return torch.sin(3 * z[..., 0]) + z[..., 0].exp() / 5


def quadrature(f, mean, scale):
    """E[f(z)] for one latent, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = torch.tensor(mean + scale * nodes)[:, None]
    return float((torch.tensor(weights) * f(z)).sum() / (2 * pi) ** 0.5)


def agrees(samples, exact, errors=4.5):
    """The mean of samples (K, P) is `exact` (P,) to so many standard errors, where there is any noise."""
    off, error = (samples.mean(0) - exact).abs(), samples.std(0) / len(samples) ** 0.5
    return bool((off <= errors * error + 1e-9).all())


@each_method
def test_the_mean_is_the_gradient_in_closed_form(method):
    """E[−½ ‖z − a‖²] = −½ ‖μ − a‖² − ½ Σ σ²."""
    mean, scale = (0.3, -1.0, 2.0), (0.5, 1.0, 1.5)
    samples = METHODS[method](gaussian, phi_of(mean, scale), bowl)
    exact = phi_of([1 - m for m in mean], [-s for s in scale])
    assert samples.shape == (DRAWS, 6)
    assert agrees(samples, exact)
    assert not agrees(samples, exact + 0.2)  # and it would be noticed if it were not


@each_method
def test_the_mean_is_the_finite_difference_of_a_quadrature(method):
    mean, scale, h = 0.4, 0.7, 1e-5
    exact = [
        (quadrature(waves, mean + a, scale + b) - quadrature(waves, mean - a, scale - b)) / (2 * h)
        for a, b in ((h, 0), (0, h))
    ]
    assert agrees(METHODS[method](gaussian, phi_of([mean], [scale]), waves), torch.tensor(exact))


def test_the_same_draws_give_the_gradients_written_out():
    phi, f = phi_of([0.4, -0.2], [0.7, 1.3]), lambda z: torch.sin(z[..., 0]) * z[..., 1] ** 2
    mu, sigma = phi.chunk(2)
    torch.manual_seed(3)
    got = pathwise(gaussian, phi, f, n_samples=50)
    torch.manual_seed(3)
    eps = torch.randn(50, 2, dtype=torch.float64)
    z = mu + sigma * eps
    slope = torch.stack([z[:, 0].cos() * z[:, 1] ** 2, 2 * z[:, 0].sin() * z[:, 1]], 1)
    assert torch.allclose(got, torch.cat([slope, slope * eps], 1))
    torch.manual_seed(3)
    got = score_function(gaussian, phi, f, n_samples=50, baseline=0.25)
    torch.manual_seed(3)
    z = torch.normal(mu.expand(50, 2), sigma.expand(50, 2))
    eps = (z - mu) / sigma
    scores = torch.cat([eps / sigma, (eps**2 - 1) / sigma], 1)
    assert torch.allclose(got, (f(z)[:, None] - 0.25) * scores)


@pytest.mark.parametrize("latents", [1, 4, 16])
def test_variances_are_those_derived(latents):
    """f = −½ ‖z − a‖², each μ_i − a_i = d, each σ_i = s; for the derivative in one mean: s² by the path;
    by the score m²/4s² + m + L d² + ½ L s² + d² + 2 s² with m = L (d² + s²), of which the best constant
    takes (m + 2 s²)²/4s² away."""
    d, s, n = 0.5, 0.8, latents
    phi = phi_of([1 + d] * n, [s] * n)
    m = n * (d**2 + s**2)
    plain = m**2 / (4 * s**2) + m + n * d**2 + n * s**2 / 2 + d**2 + 2 * s**2
    best = plain - (m + 2 * s**2) ** 2 / (4 * s**2)
    of = {name: METHODS[name](gaussian, phi, bowl)[:, :n].var(0).mean().item() for name in METHODS}
    assert of["pathwise"] == pytest.approx(s**2, rel=0.02)
    assert of["score"] == pytest.approx(plain, rel=0.06)
    assert of["score, best constant"] == pytest.approx(best, rel=0.06)
    assert of["score, leave one out"] > of["score, best constant"]


def test_the_path_is_blind_to_a_step_and_the_score_is_not():
    """f = 1 above 0, else −z² ∕ 10: the path sees only the slope, the score the step as well."""
    phi = phi_of([0.3], [0.6])

    def step(z):
        z = z[..., 0]
        return torch.where(z > 0, 1.0, -z.square() / 10)

    density = Normal(0.0, 1.0).log_prob(torch.tensor(0.3 / 0.6)).exp() / 0.6  # of z at the step
    blind, seeing = (
        pathwise(gaussian, phi, step, n_samples=DRAWS),
        score_function(gaussian, phi, step, n_samples=DRAWS),
    )
    gap = (seeing.mean(0) - blind.mean(0))[0]
    assert gap.item() == pytest.approx(density.item(), abs=0.01)  # the step is one high


def test_other_families():
    """E[z] = 1/λ of an exponential, E[z²] = π of a coin."""
    rate, share = torch.tensor([1.7]), torch.tensor([0.3])
    for method in (pathwise, score_function):
        samples = method(lambda phi: Exponential(phi[:, 0]), rate, lambda z: z, n_samples=DRAWS)
        assert agrees(samples, -1 / rate**2)
    samples = score_function(lambda phi: Bernoulli(phi[:, 0]), share, lambda z: z**2, n_samples=DRAWS)
    assert agrees(samples, torch.ones(1))


def test_baselines_leave_out_the_draw_itself():
    values, scores = torch.randn(5), torch.randn(5, 3)
    for k in range(5):
        others = [i for i in range(5) if i != k]
        assert leave_one_out(values)[k].item() == pytest.approx(values[others].mean().item(), abs=1e-6)
        square = scores[others] ** 2
        expected = (values[others, None] * square).sum(0) / square.sum(0)
        assert torch.allclose(best_constant(values, scores)[k], expected, rtol=1e-4)


REFUSED = {
    "f of the wrong shape": (
        lambda: pathwise(gaussian, torch.ones(4), lambda z: z, n_samples=3),
        "one number a draw",
    ),
    "no draw": (
        lambda: pathwise(gaussian, torch.ones(2), bowl, n_samples=0),
        "n_samples must be a whole number of at least 1, got 0",
    ),
    "parameters in a matrix": (
        lambda: score_function(gaussian, torch.ones(2, 2), bowl, n_samples=3),
        "parameters",
    ),
    "one distribution for all": (
        lambda: score_function(lambda phi: Normal(phi[0, 0], 1.0), torch.ones(1), lambda z: z, n_samples=3),
        "one distribution a row",
    ),
    "a coin's path": (
        lambda: pathwise(lambda phi: Bernoulli(phi[:, 0]), torch.full((1,), 0.5), lambda z: z, n_samples=3),
        "Bernoulli has no reparameterized",
    ),
    "a count": (
        lambda: pathwise(gaussian, torch.ones(2), lambda z: (z > 0).sum(-1).float(), n_samples=3),
        "no derivative",
    ),
    "alone": (lambda: leave_one_out(torch.ones(1)), "values must be of two draws or more"),
    "a baseline from one draw": (
        lambda: estimators.score_function_elbo(tiny.new_vae(), tiny.gray().read(), baseline=True),
        "n_samples must be at least 2 for a baseline",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    call, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        call()


def gradient(objective, model, x):
    terms = objective(model, x)
    found = torch.autograd.grad(terms.value.mean(), list(model.parameters()))
    return torch.cat([g.flatten() for g in found]), terms


def test_the_elbo_has_the_value_and_the_decoder_gradient_of_the_other():
    model, x = tiny.new_vae(), tiny.gray().read()
    torch.manual_seed(1)
    plain, expected = gradient(lambda m, x: objectives.elbo(m, x, n_samples=3), model, x)
    n = sum(p.numel() for p in model.encoder.parameters())
    for baseline in (False, True):
        torch.manual_seed(1)
        ours, terms = gradient(
            lambda m, x, b=baseline: estimators.score_function_elbo(m, x, n_samples=3, baseline=b), model, x
        )
        assert torch.allclose(terms.log_lik, expected.log_lik) and torch.allclose(terms.kl, expected.kl)
        assert torch.allclose(ours[n:], plain[n:], atol=1e-6)
        assert not torch.allclose(ours[:n], plain[:n], atol=1e-3)


class Linear(torch.nn.Module):
    """q = N(W x, s²), p(x|z) = N(z, I), prior N(0, I): the ELBO in closed form."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[0.5, -0.2], [0.1, 0.8]], dtype=torch.float64))
        self.log_scale = torch.nn.Parameter(torch.tensor([-0.5, 0.2], dtype=torch.float64))

    def encode(self, x):
        mean = x @ self.weight.T
        return Independent(Normal(mean, self.log_scale.exp().expand_as(mean)), 1)

    def decode(self, z):
        return Independent(Normal(z, 1.0), 1)

    def prior(self):
        return Independent(Normal(torch.zeros(2).double(), 1.0), 1)

    def exact(self, x):
        q = self.encode(x)
        error = (x - q.mean).square().sum(1) + q.variance.sum(1)
        return objectives.ELBO(-error / 2 - np.log(2 * pi), kl_divergence(q, self.prior()))


@pytest.mark.parametrize("baseline", [False, True])
def test_the_elbo_has_the_exact_gradient_on_average(baseline):
    model, x = Linear(), torch.tensor([[1.0, -0.5], [0.3, 2.0]], dtype=torch.float64)
    exact, terms = gradient(lambda m, x: m.exact(x), model, x)
    rows = [
        gradient(
            lambda m, x: estimators.score_function_elbo(m, x, n_samples=200, baseline=baseline), model, x
        )
        for _ in range(300)
    ]
    assert agrees(torch.stack([g for g, _ in rows]), exact)
    values = torch.stack([t.value.mean() for _, t in rows])[:, None].detach()
    assert agrees(values, terms.value.mean().detach())


FAR = [torch.tensor([1e9, 1.0, 2.0]), torch.tensor([3e38, 3e38, 1.0]), torch.full((100,), 1000.0).half()]


@pytest.mark.parametrize("values", FAR)
def test_what_is_left_out_does_not_cancel_what_is_left(values):
    exact = (values.double().sum() - values.double()) / (len(values) - 1)
    assert torch.allclose(leave_one_out(values)[:, 0].double(), exact, rtol=1e-3)


@pytest.mark.parametrize("size", [1e-25, 1e-10, 1.0, 1e25])
def test_the_best_constant_is_that_of_scores_of_any_size(size):
    values, scores = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([[1e5], [1.0], [2.0], [1.0]])
    squares, others = scores[:, 0].double().square(), ~torch.eye(4, dtype=torch.bool)
    exact = [(squares * values)[left].sum().item() / squares[left].sum().item() for left in others]
    assert best_constant(values, scores * size)[:, 0].tolist() == pytest.approx(exact, rel=1e-4)


def test_the_best_constant_for_a_parameter_without_scores_is_a_number():
    assert best_constant(torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3, 1))[:, 0].tolist() == [3.0, 2.5, 1.5]


PHI = torch.tensor([0.3, 0.1])
WEIGHT = torch.ones((), requires_grad=True)
FAMILIES = {
    "detached": lambda rows: Normal(rows.detach()[:, 0], 1.0),
    "of a weight alone": lambda rows: Normal(WEIGHT.expand(len(rows)), 1.0),
}


@pytest.mark.parametrize("method", [score_function, pathwise])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_that_does_not_depend_on_its_rows_is_refused(method, family):
    with pytest.raises(ValueError, match="family"):
        method(family, PHI, torch.square, n_samples=4)


def test_an_f_whose_gradient_is_in_a_weight_alone_is_refused():
    with pytest.raises(ValueError, match="f passes no derivative on"):
        pathwise(lambda rows: Normal(rows[:, 0], 1.0), PHI, lambda z: z.detach() * WEIGHT, n_samples=4)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(
    "baseline",
    [lambda v, s: v, lambda v, s: v[None], lambda v, s: s * torch.nan, lambda v, s: v[:, None] * 1j],
)
def test_a_baseline_that_would_be_stretched_is_refused(baseline, size):
    with pytest.raises((ValueError, TypeError), match="baseline"):
        score_function(
            lambda rows: Normal(rows.sum(1), 1.0),
            torch.zeros(size),
            torch.square,
            n_samples=4,
            baseline=baseline,
        )


def test_estimators_work_where_gradients_are_off():
    with torch.no_grad():
        assert score_function(gaussian, phi_of([0.0], [1.0]), bowl, n_samples=3).isfinite().all()
        assert pathwise(gaussian, phi_of([0.0], [1.0]), bowl, n_samples=3).isfinite().all()


def made(mean, event=1):
    return Independent(Normal(mean, torch.ones_like(mean)), event)


WRONG_PARTS = {
    "encode: one for each number": ("encode", lambda x: made(torch.zeros(len(x), 2), 0)),
    "encode: one for all": ("encode", lambda x: made(torch.zeros(1, 2))),
    "encode: a tensor": ("encode", lambda x: torch.zeros(len(x), 2)),
    "decode: one for all draws": ("decode", lambda z: made(torch.zeros(z.shape[-2], *tiny.SHAPE), 3)),
    "decode: a tensor": ("decode", lambda z: torch.zeros(*z.shape[:-1], *tiny.SHAPE)),
    "prior: another length": ("prior", lambda: made(torch.zeros(1))),
    "prior: one for each number": ("prior", lambda: made(torch.zeros(2), 0)),
}


@pytest.mark.parametrize(
    "estimate",
    [
        lambda model, x: estimators.score_function_elbo(model, x, n_samples=3),
        lambda model, x: log_likelihood(model, x, n_samples=3),
    ],
    ids=["score_function_elbo", "log_likelihood"],
)
@pytest.mark.parametrize(("name", "part"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_a_model_whose_parts_would_be_stretched_is_refused(estimate, name, part):
    model = tiny.new_vae()
    setattr(model, name, part)
    with pytest.raises(ValueError, match=f"model.{name} must give a distribution of batch shape"):
        estimate(model, torch.rand(5, *tiny.SHAPE))
