"""The ELBO against quadrature, against the one model whose evidence is exact, and against itself by hand."""

from functools import partial

import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from torch import nn
from torch.autograd import gradcheck
from torch.distributions import MultivariateNormal
from torch.func import functional_call

from vae_lab.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian
from vae_lab.models import VAE, Autoencoder
from vae_lab.nets import mlp, mlp_decoder, mlp_encoder
from vae_lab.objectives import (
    ELBO,
    BetaELBO,
    PricedELBO,
    SquaredError,
    beta_elbo,
    capacity_elbo,
    denoising_error,
    elbo,
    free_bits_elbo,
    jacobian_norm,
    squared_error,
)


def small_vae(latents: int, likelihood=None, pixels: int = 6) -> VAE:
    """A nonlinear VAE over vectors in double precision, far from its prior so that no term is small."""
    torch.manual_seed(latents)
    encoder, decoder = mlp([pixels, 5, 2 * latents], nn.Tanh), mlp([latents, 5, pixels], nn.Tanh)
    model = VAE(encoder, decoder, latents, likelihood).double()
    for p in [*encoder.parameters(), *decoder.parameters()]:
        p.data.mul_(2)
    return model


def linear_gaussian_vae(scale: float = 0.4) -> tuple[VAE, MultivariateNormal]:
    """x = Wz + b + scale·ε with orthogonal columns in W; its encoder is the exact posterior. And its p(x)."""
    W = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0] * torch.tensor([2.0, 0.7])
    b, precision = torch.randn(5, dtype=torch.float64), 1 + (W.T @ W).diagonal() / scale**2
    encoder, decoder = nn.Linear(5, 4).double(), nn.Linear(2, 5).double()
    decoder.weight.data, decoder.bias.data = W, b
    to_mean = W.T / scale**2 / precision[:, None]
    encoder.weight.data = torch.cat([to_mean, torch.zeros_like(to_mean)])
    encoder.bias.data = torch.cat([-to_mean @ b, -precision.log()])
    marginal = MultivariateNormal(b, W @ W.T + scale**2 * torch.eye(5))
    return VAE(encoder, decoder, 2, Gaussian(scale, mean=nn.Identity())).double(), marginal


def grid(latents: int) -> tuple[torch.Tensor, float]:
    """Points that cover where prior and posterior have mass, (points, L), and the volume of each."""
    axis = torch.linspace(-9, 9, 4001 if latents == 1 else 301, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * latents).view(-1, latents), (axis[1] - axis[0]).item() ** latents


def within_error(draws: torch.Tensor, truth: float) -> bool:
    """Whether the mean of independent draws is what it should be, to 4 standard errors."""
    return abs(draws.mean().item() - truth) < 4 * draws.std().item() / len(draws) ** 0.5 + 1e-9


@pytest.fixture(params=[1, 2], ids=["1 latent", "2 latents"])
def by_quadrature(request):
    """A VAE, an image, and by summing over a grid: log p(x), the ELBO, KL(q ‖ posterior), KL(q ‖ prior)."""
    model, (z, volume) = small_vae(request.param), grid(request.param)
    x = torch.tensor([[1.0, 0, 1, 1, 0, 0]], dtype=torch.float64)
    log_prior = stats.norm.logpdf(z).sum(1)
    with torch.no_grad():
        log_lik, log_q = model.decode(z).log_prob(x), model.encode(x).log_prob(z)
    log_joint = log_lik + torch.tensor(log_prior)
    evidence = (log_joint.exp().sum() * volume).log()

    def mean(f):
        return (log_q.exp() * f).sum().item() * volume

    truth = {
        "evidence": evidence.item(),
        "elbo": mean(log_joint - log_q),
        "gap": mean(log_q - (log_joint - evidence)),
        "kl": mean(log_q - torch.tensor(log_prior)),
    }
    return model, x, truth


def test_kl_equals_quadrature(by_quadrature):
    model, x, truth = by_quadrature
    assert elbo(model, x).kl.item() == pytest.approx(truth["kl"], rel=1e-6)


@pytest.mark.parametrize("analytic", [True, False])
def test_elbo_equals_quadrature(by_quadrature, analytic):
    model, x, truth = by_quadrature
    draws = elbo(model, x.expand(20_000, -1), analytic=analytic).value.detach()
    assert within_error(draws, truth["elbo"])


def test_elbo_falls_short_of_the_evidence_by_the_kl_to_the_posterior(by_quadrature):
    model, x, truth = by_quadrature
    draws = elbo(model, x.expand(20_000, -1)).value.detach()
    assert truth["gap"] > 0.1
    assert within_error(draws + truth["gap"], truth["evidence"])


@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (1.5, 0.3), (-2.0, 2.5)])
def test_kl_of_one_gaussian_equals_quadrature(mu, sigma):
    model = small_vae(1)
    model.encoder = Fixed(mu, sigma)
    q, p = stats.norm(mu, sigma), stats.norm()
    expected = quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), mu - 12 * sigma, mu + 12 * sigma)[0]
    assert elbo(model, torch.rand(1, 6).double()).kl.item() == pytest.approx(expected, abs=1e-7)


class Fixed(nn.Module):
    """An encoder that gives every image the same mean and log-variance."""

    def __init__(self, mu: float, sigma: float):
        super().__init__()
        self.numbers = torch.tensor([[mu, 2 * torch.tensor(sigma).double().log()]], dtype=torch.float64)

    def forward(self, x):
        return self.numbers.expand(len(x), 2)


def test_kl_by_hand():
    model, x = small_vae(3), torch.rand(4, 6).double()
    mu, log_var = model.encoder(x).chunk(2, 1)
    by_hand = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)
    torch.testing.assert_close(elbo(model, x).kl, by_hand)


def test_sampled_kl_agrees_with_the_analytic_one():
    model, x = small_vae(2), torch.rand(1, 6).double()
    draws = elbo(model, x.expand(20_000, -1), analytic=False).kl.detach()
    assert draws.std() > 0.1 and within_error(draws, elbo(model, x).kl.item())


def test_at_the_exact_posterior_every_sample_gives_the_evidence():
    model, marginal = linear_gaussian_vae()
    x = marginal.sample((50,))
    torch.testing.assert_close(elbo(model, x, analytic=False).value, marginal.log_prob(x))


def test_at_the_exact_posterior_the_elbo_is_the_evidence():
    model, marginal = linear_gaussian_vae()
    x = marginal.sample((1,))
    assert within_error(elbo(model, x.expand(20_000, -1)).value.detach(), marginal.log_prob(x).item())


def test_beside_the_exact_posterior_the_elbo_is_lower():
    model, marginal = linear_gaussian_vae()
    x = marginal.sample((200,))
    model.encoder.bias.data += 0.5
    assert (marginal.log_prob(x) - elbo(model, x, n_samples=500).value).min() > 0.1


@pytest.mark.parametrize("samples", [1, 3])
def test_samples_are_averaged(samples):
    model, x = small_vae(2), torch.rand(4, 6).double()
    torch.manual_seed(7)
    log_lik, kl = elbo(model, x, n_samples=samples, analytic=False)
    torch.manual_seed(7)
    q_z = model.encode(x)
    z = q_z.rsample((samples,))
    torch.testing.assert_close(log_lik, sum(model.decode(z_k).log_prob(x) for z_k in z) / samples)
    log_ratio = [q_z.log_prob(z_k) - model.prior().log_prob(z_k) for z_k in z]
    torch.testing.assert_close(kl, sum(log_ratio) / samples)


@pytest.mark.parametrize("objective", [elbo, partial(elbo, analytic=False)])
@pytest.mark.parametrize("samples", [1, 7])
def test_terms_are_one_number_an_image(objective, samples):
    terms = objective(small_vae(2), torch.rand(4, 6).double(), n_samples=samples)
    assert {term.shape for term in (*terms, terms.value)} == {(4,)}


def test_more_samples_mean_less_noise():
    model, x = small_vae(2), torch.rand(1, 6).double().expand(4000, -1)
    one, ten = (elbo(model, x, n_samples=k).log_lik.var().item() for k in (1, 10))
    assert one / ten == pytest.approx(10, rel=0.3)


@pytest.mark.parametrize("likelihood", [Bernoulli, ContinuousBernoulli, lambda: Gaussian(0.7, learn=True)])
@pytest.mark.parametrize(
    "objective",
    [
        elbo,
        partial(elbo, analytic=False),
        partial(beta_elbo, beta=3),
        partial(free_bits_elbo, free=0.2),
        partial(capacity_elbo, capacity=1.0, weight=3.0),
    ],
)
def test_gradient_equals_finite_differences(likelihood, objective):
    model, x = small_vae(2, likelihood(), pixels=4), torch.rand(3, 4).double()
    names, values = zip(*Objective(model, objective).named_parameters(), strict=True)

    def value(*parameters):
        torch.manual_seed(0)  # the same noise at every point
        return functional_call(Objective(model, objective), dict(zip(names, parameters, strict=True)), x)

    assert gradcheck(value, values)


class Objective(nn.Module):
    """An objective as a module, so that its parameters can be swapped."""

    def __init__(self, model, objective):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x):
        return self.objective(self.model, x).value


def test_values_are_put_together_with_the_right_signs():
    log_lik, kl = torch.tensor([-5.0, -7.0]), torch.tensor([2.0, 3.0])
    assert ELBO(log_lik, kl).value.tolist() == [-7, -10]
    assert BetaELBO(log_lik, kl, torch.tensor([0.5, 4.0])).value.tolist() == [-6, -19]
    assert SquaredError(kl).value.tolist() == [-2, -3]
    assert PricedELBO(log_lik, kl, torch.tensor([0.5, 4.0])).value.tolist() == [-5.5, -11]


@pytest.mark.parametrize("beta", [0, 1, 4.5, torch.tensor(2.0), torch.tensor([0.0, 1.0, 2.0, 3.0])])
def test_beta_weighs_the_kl(beta):
    model, x = small_vae(2), torch.rand(4, 6).double()
    torch.manual_seed(7)
    plain = elbo(model, x, n_samples=2)
    torch.manual_seed(7)
    weighted = beta_elbo(model, x, beta, n_samples=2)
    torch.testing.assert_close(weighted.value, plain.log_lik - beta * plain.kl)
    assert weighted.beta.shape == (4,)


@pytest.mark.parametrize("beta", [-0.1, float("nan")])
def test_a_negative_beta_is_refused(beta):
    with pytest.raises(ValueError, match=f"beta must be a finite number.*, got {beta}"):
        beta_elbo(small_vae(1), torch.rand(2, 6).double(), beta)


@pytest.mark.parametrize("shape", [(3,), (4, 1)])
def test_betas_must_be_one_an_image(shape):
    with pytest.raises(ValueError, match=r"beta must be a number, or one an image, \(4,\), got shape \("):
        beta_elbo(small_vae(1), torch.rand(4, 6).double(), torch.ones(shape))


def kl_by_hand(model, x) -> torch.Tensor:
    """KL of each latent of each image, (B, L)."""
    mu, log_var = model.encoder(x).chunk(2, 1)
    return (mu.square() + log_var.exp() - 1 - log_var) / 2


@pytest.mark.parametrize("free", [0.0, 0.3, 100.0])
def test_free_bits_charge_each_latent_its_mean_or_the_floor(free):
    model, x = small_vae(3), torch.rand(5, 6).double()
    means = [max(free, column.mean().item()) for column in kl_by_hand(model, x).T]
    terms = free_bits_elbo(model, x, free)
    assert terms.price.tolist() == pytest.approx([sum(means)] * 5)
    torch.testing.assert_close(terms.kl, elbo(model, x).kl)


def test_without_free_bits_it_is_the_elbo_on_average():
    model, x = small_vae(3), torch.rand(5, 6).double()
    torch.manual_seed(7)
    plain = elbo(model, x)
    torch.manual_seed(7)
    assert free_bits_elbo(model, x, 0.0).value.mean().item() == pytest.approx(plain.value.mean().item())


def test_below_the_floor_a_latent_feels_no_kl():
    """Its encoder gets the gradient of the reconstruction alone."""
    model, x = small_vae(2), torch.rand(4, 6).double()
    gradients = []
    for objective in (partial(free_bits_elbo, free=1e3), partial(beta_elbo, beta=0.0)):
        torch.manual_seed(7)
        value = objective(model, x).value.mean()
        gradients.append(torch.autograd.grad(value, list(model.encoder.parameters())))
    for free, unpriced in zip(*gradients, strict=True):
        torch.testing.assert_close(free, unpriced)


@pytest.mark.parametrize("capacity", [0.0, 1.5, 50.0])
def test_capacity_charges_the_distance_of_the_mean_kl(capacity):
    model, x = small_vae(2), torch.rand(4, 6).double()
    missed = abs(kl_by_hand(model, x).sum(1).mean().item() - capacity)
    terms = capacity_elbo(model, x, capacity, weight=3.0)
    assert terms.price.tolist() == pytest.approx([3 * missed] * 4)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (partial(free_bits_elbo, free=-0.1), "free must be a finite number of at least 0, got -0.1"),
        (partial(free_bits_elbo, free=float("nan")), "free must be a finite number of at least 0, got nan"),
        (
            partial(capacity_elbo, capacity=-1.0, weight=1.0),
            "capacity must be a finite number of at least 0, got -1.0",
        ),
        (
            partial(capacity_elbo, capacity=1.0, weight=-2.0),
            "weight must be a finite number of at least 0, got -2.0",
        ),
    ],
    ids=["free", "free NaN", "capacity", "weight"],
)
def test_negative_prices_are_refused(objective, words):
    with pytest.raises(ValueError, match=words):
        objective(small_vae(1), torch.rand(2, 6).double())


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        elbo(small_vae(1), torch.rand(2, 6).double(), n_samples=0)


def test_squared_error_is_summed_over_pixels():
    model = Autoencoder(nn.Identity(), nn.Identity())
    model.decode = lambda z: z + torch.tensor([0.5, 1.0]).view(2, 1, 1, 1)
    terms = squared_error(model, torch.rand(2, 3, 4, 4))
    assert terms.squared_error.tolist() == pytest.approx([48 * 0.25, 48 * 1.0])


def test_squared_error_is_a_gaussian_up_to_scale_and_constant():
    x, x_hat, scale = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4), 0.2
    model = Autoencoder(nn.Identity(), nn.Identity())
    model.decode = lambda z: x_hat
    constant = stats.norm.logpdf(0, 0, scale) * 16
    log_lik = Gaussian(scale, mean=nn.Identity())(x_hat).log_prob(x)
    torch.testing.assert_close(squared_error(model, x).value / (2 * scale**2) + constant, log_lik)


@pytest.mark.parametrize("wrong", [nn.Flatten(0, 1), nn.Flatten(), nn.AvgPool2d(4)])
def test_an_autoencoder_of_another_shape_is_refused(wrong):
    with pytest.raises(ValueError, match=r"describes images of shape .* but was given \(4, 1, 4, 4\); make"):
        squared_error(Autoencoder(nn.Identity(), wrong), torch.rand(4, 1, 4, 4))


def test_a_vae_of_another_shape_is_refused():
    model = small_vae(2, pixels=6)
    model.decoder = nn.Linear(2, 1).double()  # would broadcast
    with pytest.raises(ValueError, match=r"describes images of shape \(1,\), but was given \(6,\)"):
        elbo(model, torch.rand(4, 6).double())


def test_without_a_price_an_infinite_kl_costs_nothing():
    """The encoder of a VAE with β = 0 may put out a variance of zero."""
    certain = VAE(mlp_encoder((1, 4, 4), 4), mlp_decoder(2, (1, 4, 4)), 2)
    certain.encoder[-1].bias.data[2:] = -300.0
    x = torch.rand(3, 1, 4, 4)
    assert elbo(certain, x).kl.isinf().all()
    terms = beta_elbo(certain, x, 0.0)
    terms.value.sum().backward()
    assert torch.equal(terms.value, terms.log_lik)
    assert all(p.grad.isfinite().all() for p in certain.parameters() if p.grad is not None)


@pytest.mark.parametrize("bad", [float("nan"), -1.0, float("inf")])
@pytest.mark.parametrize("count", [(), (3,)])
def test_a_weight_that_is_none_is_refused_as_a_tensor_too(bad, count):
    model = VAE(mlp_encoder((1, 4, 4), 4), mlp_decoder(2, (1, 4, 4)), 2)
    with pytest.raises(ValueError, match="beta must be finite numbers of at least 0, got"):
        beta_elbo(model, torch.rand(3, 1, 4, 4), torch.full(count, bad))


@pytest.mark.parametrize("give", [lambda x: x[:-1], lambda x: x[:1], lambda x: None, lambda x: x.flatten()])
def test_a_corruption_keeps_the_shape(give):
    with pytest.raises((ValueError, TypeError), match="corrupt"):
        denoising_error(Autoencoder(nn.Identity(), nn.Identity()), torch.rand(3, 1, 4, 4), give)


@pytest.mark.parametrize("give", [lambda x: x.sum(), lambda x: x.sum(0, keepdim=True), lambda x: None])
def test_a_function_gives_a_row_for_each(give):
    with pytest.raises((ValueError, TypeError), match="function"):
        jacobian_norm(give, torch.rand(2, 3))
