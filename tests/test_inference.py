"""Grids and chains against closed forms: Gaussians, a linear-Gaussian model, a density with two peaks."""

import math
import warnings

import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal
from torch.testing import assert_close

from vae_lab.inference import GridWarning, grid, grid_posterior, mala, metropolis

DOUBLE = torch.empty(0, dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
GAUSSIAN = MultivariateNormal(MEAN, COVARIANCE)
TWO_PEAKS = MixtureSameFamily(
    Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64)),
    Normal(torch.tensor([-1.0, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.8], dtype=torch.float64)),
)

each_sampler = pytest.mark.parametrize("sample", [metropolis, mala])
each_sampler_with_its_step = pytest.mark.parametrize(
    ("sample", "step_size"), [(metropolis, 1.0), (mala, 0.8)], ids=["metropolis", "mala"]
)


def two_peaks(z):
    return TWO_PEAKS.log_prob(z).sum(1)


def spread_out(n, latents=2, scale=3.0):
    return scale * torch.randn(n, latents, dtype=torch.float64)


def linear_gaussian(latents, scale=0.5):
    """The log-joint of x = Wz + scale·ε for one x of four numbers, log p(x), and the posterior."""
    W, x = torch.randn(4, latents, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    eye, noise = torch.eye(latents, dtype=torch.float64), scale**2 * torch.eye(4, dtype=torch.float64)
    marginal = MultivariateNormal(torch.zeros(4, dtype=torch.float64), W @ W.T + noise)
    covariance = torch.linalg.inv(eye + W.T @ W / scale**2)
    posterior = MultivariateNormal(covariance @ W.T @ x / scale**2, covariance)

    def log_joint(z):
        return Normal(z @ W.T, scale).log_prob(x).sum(1) + Normal(0, 1).log_prob(z).sum(1)

    return log_joint, marginal.log_prob(x), posterior


def test_grid_covers_the_box_evenly():
    codes, log_cell = grid(3, points=4, half_width=2.0, like=DOUBLE)
    assert codes.shape == (64, 3)
    assert codes.dtype == torch.float64
    assert codes.unique().tolist() == [-1.5, -0.5, 0.5, 1.5]
    assert math.exp(log_cell) * 64 == pytest.approx(4.0**3)


@pytest.mark.parametrize(("latents", "points"), [(1, 400), (2, 200), (3, 60)])
def test_grid_evidence_is_that_of_a_linear_gaussian_model(latents, points):
    log_joint, log_evidence, posterior = linear_gaussian(latents)
    found = grid_posterior(log_joint, latents, points=points, half_width=6.0, chunk_size=999, like=DOUBLE)
    assert found.log_evidence.item() == pytest.approx(log_evidence.item(), abs=1e-6)
    assert_close(found.log_density, posterior.log_prob(found.codes), atol=1e-6, rtol=0)


def test_grid_has_the_moments_of_the_posterior():
    log_joint, _, posterior = linear_gaussian(2)
    found = grid_posterior(log_joint, 2, half_width=6.0, like=DOUBLE)
    mean = found.mass @ found.codes
    assert found.mass.sum().item() == pytest.approx(1, abs=1e-12)
    assert_close(mean, posterior.mean, atol=1e-6, rtol=0)
    covariance = (found.mass * (found.codes - mean).T) @ (found.codes - mean)
    assert_close(covariance, posterior.covariance_matrix, atol=1e-6, rtol=0)


def test_grid_takes_several_images_at_once():
    (one, first, _), (other, second, _) = linear_gaussian(2), linear_gaussian(2)
    found = grid_posterior(lambda z: torch.stack([one(z), other(z)], 1), 2, half_width=6.0, like=DOUBLE)
    assert_close(found.log_evidence, torch.stack([first, second]), atol=1e-6, rtol=0)
    assert_close(found.mass.sum(0), torch.ones(2, dtype=torch.float64))


def test_grid_survives_likelihoods_that_underflow():
    """Images have log-joints of minus hundreds of nats, and far codes far less."""
    found = grid_posterior(lambda z: GAUSSIAN.log_prob(z) - 5000, 2, half_width=8.0, like=DOUBLE)
    assert found.log_evidence.item() == pytest.approx(-5000, abs=1e-6)


def test_grid_accepts_codes_that_are_impossible():
    found = grid_posterior(
        lambda z: torch.where(z[:, 0] > 0, stats_norm(z), -torch.inf), 1, points=400, like=DOUBLE
    )
    assert found.log_evidence.item() == pytest.approx(math.log(0.5), abs=1e-5)


def stats_norm(z):
    return torch.as_tensor(stats.norm.logpdf(z)).sum(1)


@pytest.mark.parametrize(("sample", "step_size"), [(metropolis, 1.0), (mala, 0.4)])
def test_chains_have_mean_and_covariance_of_their_target(sample, step_size):
    chains = sample(GAUSSIAN.log_prob, spread_out(400, scale=1.5), steps=600, step_size=step_size)
    draws = chains.states[100:].flatten(0, 1)
    assert chains.states.shape == (600, 400, 2)
    assert_close(draws.mean(0), MEAN, atol=0.02, rtol=0)
    assert_close(draws.T.cov(), COVARIANCE, atol=0.03, rtol=0)


@each_sampler_with_its_step
def test_chains_have_the_distribution_of_their_target(sample, step_size):
    """Not only its moments: the last states of many chains, against the exact distribution function."""
    z = sample(two_peaks, spread_out(4000, 1), steps=80, step_size=step_size).states[-1, :, 0]
    assert stats.kstest(z.numpy(), lambda v: TWO_PEAKS.cdf(torch.as_tensor(v)).numpy()).pvalue > 0.01


@each_sampler_with_its_step
def test_chains_from_different_starts_agree(sample, step_size):
    left, right = (torch.full((2000, 1), side, dtype=torch.float64) for side in (-3.0, 3.0))
    ends = [
        sample(two_peaks, start, steps=80, step_size=step_size).states[-1, :, 0] for start in (left, right)
    ]
    assert stats.ks_2samp(*[end.numpy() for end in ends]).pvalue > 0.01


@each_sampler_with_its_step
def test_detailed_balance(sample, step_size):
    """From draws of the target, one step carries as many from cell i to cell j as from j to i."""
    start = TWO_PEAKS.sample((200_000, 1))
    end = sample(two_peaks, start, steps=1, step_size=step_size).states[0]
    edges = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    i, j = torch.bucketize(start[:, 0], edges), torch.bucketize(end[:, 0], edges)
    flow = torch.bincount(4 * i + j, minlength=16).view(4, 4).double()
    difference, noise = flow - flow.T, (flow + flow.T).sqrt()
    assert (flow - flow.diag().diag()).sum() > 20_000  # many did change cells
    assert (difference.abs() <= 4 * noise).all()


def test_metropolis_accepts_as_often_as_it_should():
    """On N(0, 1) with normal proposals of standard deviation s: (2/π) arctan(2/s)."""
    for s in (0.5, 2.4):
        chains = metropolis(
            lambda z: -z.square().sum(1) / 2,
            torch.randn(2000, 1, dtype=torch.float64),
            steps=200,
            step_size=s,
        )
        assert chains.acceptance.shape == (2000,)
        assert chains.acceptance.mean().item() == pytest.approx(2 / math.pi * math.atan(2 / s), abs=0.005)


@each_sampler
def test_small_steps_are_accepted(sample):
    start = GAUSSIAN.sample((500,))
    rates = [
        sample(GAUSSIAN.log_prob, start, steps=20, step_size=s).acceptance.mean().item() for s in (0.3, 0.01)
    ]
    assert rates[0] < rates[1]
    assert rates[1] > 0.98


def test_the_slope_makes_acceptance_approach_one_faster():
    """To first order in s Metropolis loses proposals; MALA only to third (Roberts & Rosenthal 1998)."""
    start = GAUSSIAN.sample((4000,))
    lost = {
        (sample, s): 1 - sample(GAUSSIAN.log_prob, start, steps=50, step_size=s).acceptance.mean().item()
        for sample in (metropolis, mala)
        for s in (0.2, 0.1)
    }
    assert lost[metropolis, 0.2] / lost[metropolis, 0.1] == pytest.approx(2, rel=0.1)
    assert lost[mala, 0.2] / lost[mala, 0.1] == pytest.approx(8, rel=0.25)


@each_sampler
def test_each_chain_may_have_its_own_step(sample):
    sizes = torch.tensor([[1e-6], [1.0]], dtype=torch.float64).repeat_interleave(50, 0)
    chains = sample(GAUSSIAN.log_prob, GAUSSIAN.sample((100,)), steps=20, step_size=sizes)
    moved = (chains.states[-1] - chains.states[0]).abs().amax(1)
    assert moved[:50].max() < 1e-3
    assert moved[50:].median() > 0.1


@each_sampler
def test_chains_never_go_where_the_density_is_zero(sample):
    def half(z):
        return torch.where(z[:, 0] > 0, -z.square().sum(1) / 2, -torch.inf)

    states = sample(half, torch.rand(200, 1, dtype=torch.float64) + 0.1, steps=200, step_size=0.7).states
    assert (states > 0).all()
    assert states[100:].mean().item() == pytest.approx((2 / math.pi) ** 0.5, abs=0.03)


@each_sampler
def test_a_generator_repeats_the_chains(sample):
    start, before = spread_out(5), torch.random.get_rng_state()
    one, two = (
        sample(
            GAUSSIAN.log_prob, start, steps=9, step_size=0.5, generator=torch.Generator().manual_seed(3)
        ).states
        for _ in range(2)
    )
    assert torch.equal(one, two)
    assert torch.equal(before, torch.random.get_rng_state())


@each_sampler
@pytest.mark.parametrize(
    ("log_joint", "sentence"),
    [
        (lambda z: -z.square(), r"one number of nats a code, \(3,\), got \(3, 2\)"),
        (lambda z: -z.square().sum(), r"one number of nats a code, \(3,\), got \(\)"),
        (lambda z: 0.5, "got float"),
        (lambda z: z.sum(1) * torch.nan, r"NaN or \+∞ for 3 of 3 values, first at z = \["),
        (lambda z: z.sum(1) - torch.inf, "3 chains start where"),
    ],
)
def test_a_log_joint_that_is_none_is_refused(sample, log_joint, sentence):
    with pytest.raises(ValueError, match=sentence):
        sample(log_joint, spread_out(3), steps=2, step_size=1.0)


def test_mala_says_when_there_is_no_gradient():
    with pytest.raises(ValueError, match="does not pass gradients on"):
        mala(lambda z: -z.detach().square().sum(1), spread_out(3), steps=2, step_size=1.0)


@each_sampler
@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"step_size": 0.0}, {"step_size": -1.0}, {"step_size": torch.ones(2, 1)}]
)
def test_a_walk_that_cannot_begin_is_refused(sample, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        sample(GAUSSIAN.log_prob, spread_out(3), **{"steps": 2, "step_size": 1.0} | wrong)
    with pytest.raises(ValueError, match=r"shape \(K, L\)"):
        sample(GAUSSIAN.log_prob, torch.zeros(2), steps=2, step_size=1.0)


@pytest.mark.parametrize(
    ("log_joint", "latents", "sentence"),
    [
        (lambda z: z[None], 2, r"or \(K, B\), got \(1, 400, 2\)"),
        (lambda z: z.sum(1) / 0, 2, "NaN or"),
        (lambda z: z.sum(1) - torch.inf, 2, "raise half_width"),
        (lambda z: z.sum(1), 20, r"20 points on each of 20 axes make 10\^26\.0 codes"),
        (lambda z: z.sum(1), 0, "latents must be a whole number of at least 1, got 0"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(log_joint, latents, sentence):
    with pytest.raises(ValueError, match=sentence):
        grid_posterior(log_joint, latents, points=20)


@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize("shape", ["round", "a needle", "two peaks", "far away"])
def test_an_integral_is_right_or_a_warning_says_that_it_is_none(latents, shape):
    """Of densities whose integral is one, at any place and scale: a fiftieth of a nat off, and it warns."""
    drawn = torch.Generator().manual_seed(latents)
    points, silent, off = 24, 0, []
    for _ in range(60):
        scale = 10 ** (1.7 * torch.rand((), generator=drawn) - 1.3)  # from an eighth of a cell's width to six
        mean = torch.randn(latents, generator=drawn)
        scales = scale.expand(latents).clone()
        if shape == "a needle":
            scales[0] = 1.0
        if shape == "far away":
            mean = 3 * mean
        density = torch.distributions.Normal(mean, scales)

        def log_joint(z, density=density, mean=mean):
            if shape == "two peaks":
                return torch.logaddexp(
                    density.log_prob(z).sum(1), density.log_prob(z + 1.0).sum(1)
                ) - math.log(2)
            return density.log_prob(z).sum(1)

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = grid_posterior(log_joint, latents, points=points, half_width=5.0).log_evidence.item()
        assert all(w.category is GridWarning and w.filename == __file__ for w in told)
        if not told:
            silent += 1
            off.append(abs(found))
    assert silent >= 4 and max(off) < 0.02, (silent, max(off))


def test_a_grid_warns_of_what_is_wrong_with_it():
    sharp = torch.distributions.Normal(torch.tensor([0.1, 0.2]), 0.01)
    with pytest.warns(GridWarning, match=r"with 20 points an axis .* take more points"):
        grid_posterior(lambda z: sharp.log_prob(z).sum(1), 2, points=20)
    wide = torch.distributions.Normal(torch.zeros(2), 4.0)
    with pytest.warns(
        GridWarning, match=r"of the mass lies in the outermost cells: take a larger half_width"
    ):
        grid_posterior(lambda z: wide.log_prob(z).sum(1), 2, points=50)


def test_a_density_that_ends_is_no_reason_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = grid_posterior(
            lambda z: torch.where(z.abs().amax(1) < 2, 0.0, -torch.inf), 2, points=100, half_width=5.0
        )
    assert found.log_evidence.exp().item() == pytest.approx(16)


def bell(z):
    return -z.square().sum(-1) / 2 - z.shape[-1] * math.log(2 * math.pi) / 2


def in_place(z):
    z /= 3
    return bell(z) - z.shape[-1] * math.log(3)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_refused(kind):
    """A count in bfloat16 stops at 256: an acceptance of 0.98 over 3,000 steps was returned as 0.085."""
    with pytest.raises(TypeError, match="like must be a tensor of float32 or float64"):
        grid(1, points=600, half_width=5.0, like=torch.empty(0, dtype=kind))
    for sample in (metropolis, mala):
        with pytest.raises(ValueError, match="start must be float32 or float64"):
            sample(bell, torch.zeros(2, 1, dtype=kind), steps=1, step_size=0.1)


def test_a_log_joint_may_change_the_codes_it_is_given():
    found = grid_posterior(in_place, 1, points=400, half_width=20.0)
    assert (found.mass * found.codes[:, 0] ** 2).sum().item() == pytest.approx(9, rel=1e-2)
    for sample in (metropolis, mala):
        torch.manual_seed(0)
        states = sample(in_place, torch.zeros(300, 1), steps=500, step_size=3.0).states[100:]
        assert states.var().item() == pytest.approx(9, rel=0.1)


@pytest.mark.parametrize("result", [lambda z: bell(z) > 0, lambda z: bell(z).long(), lambda z: bell(z) + 0j])
@pytest.mark.parametrize(
    "run",
    [
        lambda f: grid_posterior(f, 2, points=9),
        lambda f: metropolis(f, torch.zeros(3, 2), steps=1, step_size=1.0),
        lambda f: mala(f, torch.zeros(3, 2), steps=1, step_size=1.0),
    ],
)
def test_a_log_joint_that_gives_no_floats_is_refused(run, result):
    with pytest.raises(ValueError, match="log_joint must return floating-point numbers"):
        run(result)


def test_a_gradient_in_the_parameters_alone_is_none():
    weight = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="does not pass gradients on to z"):
        mala(lambda z: bell(z.detach()) * weight, torch.zeros(3, 2), steps=1, step_size=1.0)


@pytest.mark.parametrize(("latents", "points"), [(10**9, 10), (10**6, 2), (1, 10**400)])
def test_a_grid_of_any_absurd_size_is_refused_at_once(latents, points):
    with pytest.raises(ValueError, match="codes, more than"):
        grid(latents, points=points, half_width=1.0)
