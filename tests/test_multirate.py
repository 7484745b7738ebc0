"""One network for every β: gates that stand open, mixed batches, and the linear model's exact optimum."""

from functools import partial
from math import log, pi

import pytest
import torch
from tiny import SHAPE, gray, weights
from torch import nn
from torch.distributions import kl_divergence

from vae_lab import metrics, training
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.multirate import Gate, Gated, MultiRateVAE, multi_rate_elbo
from vae_lab.nets import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder
from vae_lab.objectives import beta_elbo, elbo


def bodies(kind: str) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    if kind == "mlp":
        return mlp_encoder(SHAPE, 4, hidden=(8,)), mlp_decoder(2, SHAPE, hidden=(8,))
    return conv_encoder((1, 8, 8), 4, width=3), conv_decoder(2, (1, 8, 8), width=3)


def bent(kind: str = "mlp", **options) -> MultiRateVAE:
    """A model whose gates differ from feature to feature and from β to β."""
    model = MultiRateVAE(*bodies(kind), 2, **options)
    with torch.no_grad():
        for gate in (m for m in model.modules() if isinstance(m, Gate)):
            gate.out.weight.normal_(std=0.3)
            gate.out.bias.normal_(std=0.3)
    return model


def images(kind: str, n: int = 6) -> torch.Tensor:
    return torch.rand(n, *(SHAPE if kind == "mlp" else (1, 8, 8)), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("beta", [0.05, 1.0, torch.linspace(0.1, 10, 6)], ids=["low", "one", "mixed"])
def test_with_gates_open_it_is_a_plain_vae(kind, beta):
    x, plain = images(kind), VAE(*bodies(kind), 2)
    vae = MultiRateVAE(*bodies(kind), 2).at(beta)
    torch.testing.assert_close(vae.encode(x).mean, plain.encode(x).mean)
    torch.testing.assert_close(vae.encode(x).variance, plain.encode(x).variance)
    z = torch.randn(3, 6, 2)
    torch.testing.assert_close(vae.decode(z).mean, plain.decode(z).mean)
    assert torch.equal(vae.prior().mean, plain.prior().mean)
    values = [torch.manual_seed(5) and elbo(model, x, n_samples=3) for model in (vae, plain)]
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_batch_of_mixed_weights_is_its_images_one_by_one(kind):
    model, x, z = bent(kind), images(kind), torch.randn(3, 6, 2)
    betas = torch.tensor([0.05, 0.2, 1.0, 1.0, 7.0, 20.0])
    mixed, each = model.at(betas), [model.at(beta.item()) for beta in betas]
    for i, vae in enumerate(each):
        one = x[i : i + 1]
        torch.testing.assert_close(mixed.encode(x).mean[i], vae.encode(one).mean[0])
        torch.testing.assert_close(mixed.encode(x).variance[i], vae.encode(one).variance[0])
        torch.testing.assert_close(mixed.decode(z).mean[:, i], vae.decode(z[:, i]).mean)
    assert not torch.allclose(each[0].encode(x).mean, each[-1].encode(x).mean, atol=0.01)


def test_a_gate_scales_and_shifts_features_by_functions_of_t_alone():
    gate = Gate(3, width=2)
    with torch.no_grad():
        gate.out.weight.normal_()
        gate.out.bias.normal_()
        t, h = torch.tensor([-1.0, 0.3]), torch.randn(2, 3)
        for row in range(2):
            hidden = torch.tanh(gate.hidden.weight[:, 0] * t[row] + gate.hidden.bias)
            numbers = gate.out.weight @ hidden + gate.out.bias
            torch.testing.assert_close(gate(h, t)[row], (1 + numbers[:3]) * h[row] + numbers[3:])
        of_image = gate(h[:, :, None, None].expand(2, 3, 4, 5), t)
        torch.testing.assert_close(of_image, gate(h, t)[:, :, None, None].expand(2, 3, 4, 5))


def test_every_layer_with_weights_has_a_gate_also_in_nested_bodies():
    body = Gated(nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 4)))
    assert [type(layer) for layer in body.layers] == [nn.Linear, Gate, nn.ReLU, nn.Linear, Gate]


def test_the_weights_drawn_fill_the_range_evenly():
    model = MultiRateVAE(*bodies("mlp"), 2, betas=(0.1, 10.0))
    betas = model.draw(50)
    parts = ((betas.log10() + 1) / 2 * 50).floor().clamp(0, 49)
    assert sorted(parts.tolist()) == list(range(50))  # one in each part
    assert parts.tolist() != list(range(50))  # in random order
    many = torch.stack([model.draw(1) for _ in range(4000)]).log10()
    assert many.mean().abs() < 4 * many.std() / 4000**0.5 and many.std() == pytest.approx(
        2 / 12**0.5, rel=0.03
    )


def test_the_objective_is_the_beta_elbo_at_the_weights_drawn_over_their_roots():
    model, x = bent(), images("mlp")
    torch.manual_seed(3)
    terms = multi_rate_elbo(model, x)
    torch.manual_seed(3)
    betas = model.draw(6)
    expected = beta_elbo(model.at(betas), x, betas)
    assert all(torch.equal(a, b) for a, b in zip(terms, expected, strict=True))
    assert torch.equal(terms.beta, betas)
    torch.testing.assert_close(terms.value, expected.value / betas.sqrt())


def test_every_parameter_gets_a_gradient_from_every_weight():
    model = bent()
    for beta in (0.1, 2.0, 10.0):
        model.zero_grad()
        (-beta_elbo(model.at(beta), images("mlp"), beta).value.mean()).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_it_is_trained_and_measured_like_any_vae():
    model, seen = bent(), gray()
    before = weights(model)
    measure = lambda: training.evaluate(model.at(2.0), seen, partial(beta_elbo, beta=2.0)).value  # noqa: E731
    started = measure()
    history = training.fit(model, seen, multi_rate_elbo, epochs=30, batch_size=20, learning_rate=1e-2)
    assert not torch.equal(before, weights(model)) and {"log_lik", "kl", "beta"} <= set(history.terms)
    assert measure() > started + 0.5
    vae = model.at(1.0)
    bound = training.evaluate(vae, seen).value
    assert metrics.log_likelihood(vae, seen, n_samples=50).mean() > bound
    assert model.training  # measuring left its mode alone


def test_a_vae_of_one_weight_shares_mode_parameters_and_precision():
    model = bent().double().eval()
    vae = model.at(1.0)
    assert not vae.training and vae.prior().mean.dtype == torch.float64
    assert {id(p) for p in vae.parameters()} == {id(p) for p in model.parameters()}
    assert vae.encode(images("mlp").double()).mean.dtype == torch.float64


# The linear model: at every β the best is probabilistic PCA with the noise β σ².

SCALE = 0.45
EIGENVALUES = torch.tensor([4.0, 1.0, 0.1, 0.1, 0.1], dtype=torch.float64)


def linear_data() -> torch.Tensor:
    """512 vectors of length 5 with exactly these eigenvalues of their covariance, and mean zero."""
    g = torch.Generator().manual_seed(2)
    x = torch.randn(512, 5, generator=g, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=torch.float64))[0]
    white = torch.linalg.qr(x - x.mean(0))[0] * 512**0.5
    return white * EIGENVALUES.sqrt() @ basis.T


def best_linear(beta: float, latents: int = 2) -> float:
    """max of E_q[log p(x|z)] − β KL: β times the log-evidence of pPCA with noise β σ², for other constants.

    −‖x − Wz‖²/2σ² − β KL is β (−‖x − Wz‖²/2βσ² − KL), an ELBO up to its Gaussian's constant.
    """
    noise, size = beta * SCALE**2, len(EIGENVALUES)
    kept = EIGENVALUES[:latents].clamp(min=noise)
    # Of the model, C
    variances = torch.cat([kept, torch.full((size - latents,), noise, dtype=torch.float64)])
    log_evidence = -0.5 * (size * log(2 * pi) + variances.log().sum() + (EIGENVALUES / variances).sum())
    constant = 0.5 * beta * size * log(2 * pi * noise) - 0.5 * size * log(2 * pi * SCALE**2)
    return (beta * log_evidence + constant).item()


def exact_value(vae: VAE, x: torch.Tensor, beta: float) -> float:
    """The mean β-ELBO of a linear VAE, its expectation over q by moments."""
    q_z = vae.encode(x)
    origin = vae.decode(torch.zeros(1, 2).to(x)).mean
    loadings = vae.decode(torch.eye(2).to(x)).mean - origin  # (2, D)
    misfit = (x - vae.decode(q_z.mean).mean).square().sum(1) + (q_z.variance @ loadings.square().sum(1))
    log_lik = -misfit / (2 * SCALE**2) - 0.5 * x.shape[1] * log(2 * pi * SCALE**2)
    kl = kl_divergence(q_z, vae.prior())
    return (log_lik - beta * kl).mean().item()


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    x = linear_data()
    likelihood = Gaussian(SCALE, mean=nn.Identity())
    model = MultiRateVAE(
        nn.Sequential(nn.Linear(5, 4)), nn.Sequential(nn.Linear(2, 5)), 2, likelihood, betas=(0.1, 10)
    ).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=1500)
    for _ in training.steps(model, [x] * 1500, multi_rate_elbo, optimizer, schedule):
        pass
    return model.eval(), x


@pytest.mark.parametrize("beta", [0.1, 0.3, 1.0, 3.0])
def test_a_linear_model_meets_the_exact_optimum(linear, beta):
    model, x = linear
    with torch.no_grad():
        vae = model.at(beta)
        reached, kl = exact_value(vae, x, beta), kl_divergence(vae.encode(x), vae.prior()).mean()
    assert -1e-9 < best_linear(beta) - reached < 0.05
    rate = 0.5 * (EIGENVALUES[:2] / (beta * SCALE**2)).clamp(min=1).log().sum()
    # the lighter the weight, the less a nat of rate moves the objective
    assert kl == pytest.approx(rate.item(), abs=0.1 / min(1, beta) ** 0.5)


@pytest.mark.parametrize("beta", [4.0, 6.0, 10.0])
def test_where_a_latent_is_given_up_smooth_gates_are_near_the_optimum(linear, beta):
    """σ² is 0.2 and λ₂ is 1, so the second latent goes at β = 5, and the optimum has a corner there."""
    model, x = linear
    with torch.no_grad():
        reached = exact_value(model.at(beta), x, beta)
        without = exact_value(model.at(1.0), x, beta)  # what the model of another weight is worth here
    assert -1e-9 < best_linear(beta) - reached < 0.05 * abs(best_linear(beta))
    assert reached > without + 0.5


def test_the_exact_optimum_is_that_of_ppca():
    """At β = 1 it is log N(x; 0, WWᵀ + σ²I), averaged over the data."""
    x = linear_data()
    vectors = torch.linalg.eigh(x.T @ x / len(x))[1].flip(1)[:, :2]
    loadings = vectors * (EIGENVALUES[:2] - SCALE**2).sqrt()
    covariance = loadings @ loadings.T + SCALE**2 * torch.eye(5).double()
    marginal = torch.distributions.MultivariateNormal(torch.zeros(5).double(), covariance)
    assert best_linear(1.0) == pytest.approx(marginal.log_prob(x).mean().item(), abs=1e-9)


REFUSED = {
    "ends": (
        lambda: MultiRateVAE(*bodies("mlp"), 2, betas=(1, 0.1)),
        "0 < least < greatest|must be a finite number above 0",
    ),
    "zero": (
        lambda: MultiRateVAE(*bodies("mlp"), 2, betas=(0, 1)),
        "0 < least < greatest|must be a finite number above 0",
    ),
    "below": (lambda: bent().at(0.01), "from 0.05 to 20.*got 0.01"),
    "zero weight": (lambda: bent().at(0.0), "from 0.05 to 20.*got 0"),
    "not a number": (lambda: bent().at(float("nan")), "beta must be a finite number, got nan"),
    "one above": (lambda: bent().at(torch.tensor([1.0, 50.0])), r"from 0.05 to 20.*got shape \(2,\)"),
    "a matrix": (lambda: bent().at(torch.ones(2, 2)), r"one an image; got shape \(2, 2\)"),
    "none": (lambda: bent().at(torch.ones(0)), r"one an image; got shape \(0,\)"),
    "another batch": (lambda: bent().at(torch.ones(3)).encode(images("mlp")), "3 weights β for a batch of 6"),
    "another batch of codes": (
        lambda: bent().at(torch.ones(4)).decode(torch.zeros(6, 2)),
        "4 weights β for a batch of 6",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_sentence(name):
    call, says = REFUSED[name]
    with pytest.raises(ValueError, match=says) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_refuses_a_body_it_cannot_put_gates_into():
    with pytest.raises(TypeError, match="cannot look into Bilinears"):
        Gated(type("Bilinears", (nn.Module,), {"__init__": _with_a_child})())


def _with_a_child(self):
    nn.Module.__init__(self)
    self.child = nn.Linear(2, 2)


def test_a_layer_that_stands_twice_is_run_twice():
    layer, x = nn.Linear(4, 4), torch.rand(3, 4)
    body = Gated(nn.Sequential(layer, nn.ReLU(), layer))
    torch.testing.assert_close(body(x, torch.zeros(1)), layer(layer(x).relu()))


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def test_a_body_with_a_pass_of_its_own_is_refused():
    with pytest.raises(TypeError, match=r"gates go between .* and cannot look into Residual"):
        Gated(nn.Sequential(Residual(nn.Linear(4, 4))))
