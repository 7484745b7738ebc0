"""log p(x) by importance sampling, against models whose log p(x) is known."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from vae_lab.data import Images
from vae_lab.likelihoods import Gaussian
from vae_lab.metrics import log_likelihood
from vae_lab.models import VAE
from vae_lab.nets import mlp
from vae_lab.training import evaluate

SHAPE = (1, 2, 3)


class DoubleImages(Images):
    """Read in double precision, so that rounding hides nothing."""

    def read(self, *args, **kwargs):
        return super().read(*args, **kwargs).double()


def vectors(n: int, *, seed: int = 0) -> Images:
    """Gray images of 2×3 random pixels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, *SHAPE), generator=generator, dtype=torch.uint8)
    return DoubleImages(pixels, torch.zeros(n, dtype=torch.int64))


def linear_gaussian_vae(scale: float = 0.5) -> tuple[VAE, MultivariateNormal]:
    """x = Wz + b + scale·ε with orthogonal columns in W; its encoder is the exact posterior. And its p(x)."""
    W = torch.linalg.qr(torch.randn(6, 2, dtype=torch.float64))[0] * torch.tensor([2.0, 0.7])
    b, precision = torch.rand(6, dtype=torch.float64), 1 + (W.T @ W).diagonal() / scale**2
    encoder, decoder = nn.Linear(6, 4).double(), nn.Linear(2, 6).double()
    decoder.weight.data, decoder.bias.data = W, b
    to_mean = W.T / scale**2 / precision[:, None]
    encoder.weight.data = torch.cat([to_mean, torch.zeros_like(to_mean)])
    encoder.bias.data = torch.cat([-to_mean @ b, -precision.log()])
    model = VAE(
        nn.Sequential(nn.Flatten(), encoder),
        nn.Sequential(decoder, nn.Unflatten(1, SHAPE)),
        2,
        Gaussian(scale, mean=nn.Identity()).double(),
    )
    return model.double(), MultivariateNormal(b, W @ W.T + scale**2 * torch.eye(6))


def bernoulli_vae(latents: int) -> VAE:
    """A nonlinear VAE over black and white, its encoder off the posterior."""
    torch.manual_seed(latents)
    encoder = nn.Sequential(nn.Flatten(), mlp([6, 5, 2 * latents], nn.Tanh))
    decoder = nn.Sequential(mlp([latents, 5, 6], nn.Tanh), nn.Unflatten(1, SHAPE))
    for p in decoder.parameters():
        p.data.mul_(3)
    return VAE(encoder, decoder, latents).double()


def black_and_white(n: int = 8) -> Images:
    return vectors(n).binarized(torch.Generator().manual_seed(0))


def test_with_the_exact_posterior_one_sample_is_exact():
    """w = p(x, z) / p(z|x) = p(x) whatever z is drawn."""
    model, marginal = linear_gaussian_vae()
    images = vectors(250)
    exact = marginal.log_prob(images.read().flatten(1))
    torch.testing.assert_close(log_likelihood(model, images, n_samples=1), exact)
    torch.testing.assert_close(log_likelihood(model, images, n_samples=2300), exact)


def wrong_by(shift: float, factor: float) -> tuple[VAE, MultivariateNormal]:
    model, marginal = linear_gaussian_vae()
    model.encoder[1].bias.data[:2] += shift
    model.encoder[1].bias.data[2:] += 2 * torch.tensor(factor).log()
    return model, marginal


def test_with_another_q_it_converges_from_below():
    model, marginal = wrong_by(0.3, 1.5)
    images = vectors(400)
    exact = marginal.log_prob(images.read().flatten(1))
    short = [(exact - log_likelihood(model, images, n_samples=k)).mean().item() for k in (1, 10, 100, 5000)]
    assert short[0] > short[1] > short[2] > 0.001  # the bound rises with K
    assert short[2] < 0.05 * short[0]
    assert abs(short[3]) < 0.01


@pytest.mark.parametrize("latents", [1, 2])
def test_equals_quadrature(latents):
    model, images = bernoulli_vae(latents), black_and_white()
    axis = torch.linspace(-9, 9, 4001 if latents == 1 else 301, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * latents).view(-1, 1, latents)
    with torch.no_grad():
        log_joint = model.decode(z).log_prob(images.read()) + model.prior().log_prob(z)  # (points, B)
    exact = log_joint.logsumexp(0) + latents * (axis[1] - axis[0]).log()
    found = log_likelihood(model, images, n_samples=20_000)
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)
    assert exact.std() > 0.3  # and not because all images are alike


def test_one_sample_is_the_elbo_on_average():
    model, images = bernoulli_vae(2), vectors(5000).binarized(torch.Generator().manual_seed(0))
    bound = evaluate(model, images).value
    found = log_likelihood(model, images, n_samples=1)
    assert found.mean().item() == pytest.approx(bound, abs=5 * found.std().item() / 5000**0.5)
    assert log_likelihood(model, images, n_samples=50).mean().item() > bound + 0.05


@pytest.mark.parametrize(("samples", "n"), [(1, 150), (7, 150), (999, 3), (2500, 3)])
def test_how_many_codes_are_decoded_at_once_changes_only_rounding(samples, n):
    model, images = bernoulli_vae(2), black_and_white(n)
    whole = log_likelihood(model, images, n_samples=samples)
    for chunk_size in (1, 333):
        part = log_likelihood(model, images, n_samples=samples, chunk_size=chunk_size)
        torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-12)


def test_each_image_keeps_its_place():
    model, marginal = linear_gaussian_vae()
    images = vectors(2345)
    exact = marginal.log_prob(images.read().flatten(1))
    assert log_likelihood(model, images, n_samples=3).shape == (2345,)
    torch.testing.assert_close(log_likelihood(model, images, n_samples=3), exact)


def test_seeds_repeat_and_differ():
    model, images = bernoulli_vae(2), black_and_white()
    first = log_likelihood(model, images, n_samples=5, seed=3)
    torch.manual_seed(77)
    assert torch.equal(first, log_likelihood(model, images, n_samples=5, seed=3))
    assert not torch.equal(first, log_likelihood(model, images, n_samples=5, seed=4))


def test_the_dynamic_view_draws_each_image_once():
    """As the same black and white image is met by all K codes, no other is."""
    model, images = bernoulli_vae(2), vectors(60).dynamic()
    drawn = images.read(generator=torch.Generator().manual_seed(9))
    kept = DoubleImages(drawn.mul(255).to(torch.uint8), images.labels, "binarized")
    for samples in (1, 1500):
        dynamic = log_likelihood(model, images, n_samples=samples, seed=9)
        assert torch.equal(dynamic, log_likelihood(model, kept, n_samples=samples, seed=9))


def test_leaves_no_trace():
    model, images = bernoulli_vae(2), black_and_white()
    model.train()
    model.encoder.eval()  # frozen, say
    state, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    found = log_likelihood(model, images, n_samples=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and model.decoder.training and not model.encoder.training
    assert all(map(torch.equal, weights, model.parameters()))
    assert not found.requires_grad and all(p.grad is None for p in model.parameters())


def test_leaves_no_trace_when_it_fails():
    model = bernoulli_vae(2)
    model.decoder = nn.Sequential(nn.Linear(2, 1).double(), nn.Unflatten(1, (1, 1, 1)))  # would broadcast
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="decoder describes images of shape"):
        log_likelihood(model, black_and_white(), n_samples=2)
    assert torch.equal(torch.get_rng_state(), state) and model.training


def test_measures_in_evaluation_mode():
    model, images = bernoulli_vae(2), black_and_white()
    expected = log_likelihood(model, images, n_samples=4)
    model.encoder.append(nn.Dropout(0.5))
    assert torch.equal(log_likelihood(model, images, n_samples=4), expected)


@pytest.mark.parametrize("shift", [-3000.0, 3000.0])
def test_is_finite_where_densities_are_not(shift):
    """exp(−3000 · 6) underflows and its inverse overflows; their logarithms do neither."""
    model, _ = linear_gaussian_vae()
    model.decoder[0].weight.data.zero_()
    model.decoder[0].bias.data.fill_(shift)
    found = log_likelihood(model, vectors(4), n_samples=1200)
    assert found.isfinite().all() and (found < -1e7).all()


@pytest.mark.parametrize("wrong", [{"n_samples": 0}, {"n_samples": -3}, {"chunk_size": 0}])
def test_refuses_no_samples(wrong):
    with pytest.raises(ValueError, match="must be a whole number of at least 1, got"):
        log_likelihood(bernoulli_vae(2), black_and_white(), **wrong)


MEMORY = """
import resource, torch
torch.set_num_threads(1)
from vae_lab import data
from vae_lab.metrics import log_likelihood
from vae_lab.models import VAE
from vae_lab.nets import mlp_decoder, mlp_encoder
shape = (1, 28, 28)
images = data.Images(torch.full((3, *shape), 100, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
model = VAE(mlp_encoder(shape, 100, hidden=(200,)), mlp_decoder(50, shape, hidden=(200, 200)), 50)
log_likelihood(model, images.dynamic(), n_samples=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
log_likelihood(model, images.dynamic(), n_samples=5000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory in Linux's unit")
def test_memory_does_not_grow_with_the_samples():
    """Decoded at once, 5,000 codes would need some 16 MB for every intermediate result of 784 pixels."""
    grown = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 60_000  # kB
