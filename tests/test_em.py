"""EM for mixtures against scikit-learn, enumeration and densities of torch; and at its numerical edges."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch.distributions import MultivariateNormal
from torch.overrides import TorchFunctionMode

from vae_lab import em
from vae_lab.objectives import ELBO

TINY = 1e-10


def blobs(seed: int, n: int = 60, d: int = 2, k: int = 3) -> torch.Tensor:
    """k heaps of different shapes, some far apart and some not, (n, d)."""
    g = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(k, d, generator=g).double()
    stretch = torch.randn(k, d, d, generator=g).double() / 2 + torch.eye(d)
    kind = torch.arange(n) % k
    noise = torch.randn(n, d, 1, generator=g).double()
    return centers[kind] + (stretch[kind] @ noise)[:, :, 0]


def random_mixture(seed: int, d: int = 2, k: int = 3) -> em.Mixture:
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(k, d, d, generator=g).double()
    covariances = root @ root.mT + 0.3 * torch.eye(d)
    return em.Mixture(
        torch.randn(k, generator=g).double().log_softmax(0),
        torch.randn(k, d, generator=g).double(),
        covariances,
    )


def random_resp(seed: int, n: int, k: int) -> torch.Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed)).double().log_softmax(1)


def scikit_learn(x, begin: em.Mixture, rounds: int) -> GaussianMixture:
    """As many rounds from the same start, nothing added to any covariance."""
    theirs = GaussianMixture(
        len(begin.means),
        tol=0,
        reg_covar=0,
        max_iter=rounds,
        weights_init=begin.log_w.exp().numpy(),
        means_init=begin.means.numpy(),
        precisions_init=begin.covariances.inverse().numpy(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return theirs.fit(x.numpy())


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 4), k=st.integers(1, 4), rounds=st.integers(1, 30))
def test_equals_scikit_learn(seed, d, k, rounds):
    x = blobs(seed, n=40 * k, d=d, k=k)
    begin = em.mixture_around(x, em.kmeans_plus_plus(x, k, torch.Generator().manual_seed(seed)))
    try:
        *_, ours = em.iterate(begin, x, rounds)
    except em.SingularCovarianceWarning:  # here the two differ on purpose
        reject()
    theirs = scikit_learn(x, begin, rounds)
    np.testing.assert_allclose(ours.log_w.exp(), theirs.weights_, atol=1e-6)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-6)
    np.testing.assert_allclose(ours.covariances, theirs.covariances_, atol=1e-6)
    np.testing.assert_allclose(ours.log_evidence(x), theirs.score_samples(x.numpy()), atol=1e-6)
    np.testing.assert_allclose(ours.e_step(x).exp(), theirs.predict_proba(x.numpy()), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_log_evidence_minus_kl_by_enumeration(seed):
    mixture, x, log_resp = random_mixture(seed), blobs(seed), random_resp(seed, 60, 3)
    density = torch.stack(
        [
            MultivariateNormal(*p).log_prob(x).exp()
            for p in zip(mixture.means, mixture.covariances, strict=True)
        ],
        1,
    )
    joint = mixture.log_w.exp() * density  # p(z = k, x), every k
    evidence, resp = joint.sum(1), log_resp.exp()
    gap = (resp * (resp / (joint / evidence[:, None])).log()).sum(1)
    terms = mixture.lower_bound(x, log_resp)
    assert isinstance(terms, ELBO) and terms.value.shape == (60,)
    torch.testing.assert_close(mixture.log_evidence(x), evidence.log(), atol=TINY, rtol=TINY)
    torch.testing.assert_close(terms.value, evidence.log() - gap, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(terms.kl, (resp * (resp / mixture.log_w.exp()).log()).sum(1))
    assert (gap > 1e-6).any() and (terms.value <= mixture.log_evidence(x)).all()


@pytest.mark.parametrize("seed", range(3))
def test_each_step_maximizes_the_bound(seed):
    x, mixture = blobs(seed), random_mixture(seed)
    log_resp = mixture.e_step(x)
    torch.testing.assert_close(mixture.lower_bound(x, log_resp).value, mixture.log_evidence(x))
    better, g = mixture.m_step(x, log_resp), torch.Generator().manual_seed(seed)
    best = better.lower_bound(x, log_resp).value.sum()
    for scale in (1e-3, 1e-2, 0.1):
        shift = scale * torch.randn(3, 2, 2, generator=g).double()
        means = better.means + scale * torch.randn(3, 2, generator=g)
        log_w = (better.log_w + scale * torch.randn(3, generator=g)).log_softmax(0)
        for other in (
            em.Mixture(log_w, better.means, better.covariances),
            em.Mixture(better.log_w, means, better.covariances),
            em.Mixture(better.log_w, better.means, better.covariances + shift @ shift.mT),
        ):
            assert other.lower_bound(x, log_resp).value.sum() < best


@pytest.mark.parametrize("seed", range(3))
def test_the_m_step_has_no_gradient_left(seed):
    x = blobs(seed)
    log_resp = random_resp(seed, 60, 3)
    best = random_mixture(seed).m_step(x, log_resp)
    logits, means, covariances = (
        t.clone().requires_grad_() for t in (best.log_w, best.means, best.covariances)
    )
    em.Mixture(logits.log_softmax(0), means, covariances).lower_bound(x, log_resp).value.sum().backward()
    for parameter in (logits, means, covariances):
        assert parameter.grad.abs().max() < 1e-9


def test_the_evidence_never_falls():
    x = blobs(4, n=80)
    fitted = em.fit(em.mixture_around(x, x[:3]), x, tolerance=0, max_iter=60)
    assert (np.diff(fitted.history) > -1e-12).all() and fitted.history[-1] > fitted.history[0] + 0.1


def test_fit_stops_at_rest_or_at_the_most():
    x = blobs(0)
    begin = em.mixture_around(x, x[:2])
    assert not em.fit(begin, x, max_iter=2).converged and len(em.fit(begin, x, max_iter=2).history) == 3
    rested = em.fit(begin, x)
    assert rested.converged and len(rested.history) < 1000
    assert em.fit(begin, x, max_iter=0).history == [begin.log_evidence(x).mean().item()]


def test_likelihoods_far_below_the_smallest_number():
    """exp(-1,250,000) is zero in any float; its logarithm, and what follows from it, are not."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1e4, 1e4], [1e4, 1e4 + 1]]).double()
    mixture = em.mixture_around(x, [[-1500.0, 0.0], [-1501.0, 0.0]], variance=1.0)
    log_evidence, log_resp = mixture.log_evidence(x), mixture.e_step(x)
    assert (log_evidence[:2] < -1e6).all() and log_evidence.isfinite().all()
    torch.testing.assert_close(log_resp.exp().sum(1), torch.ones(4).double())
    odds = (1501**2 - 1500**2) / 2  # log p(A|x) − log p(B|x) of the point at the origin
    torch.testing.assert_close(log_resp[0, 0] - log_resp[0, 1], torch.tensor(odds).double())
    with pytest.warns(em.SingularCovarianceWarning, match="components 0, 1 collapsed"):
        fitted = em.fit(mixture.m_step(x, log_resp), x)
    assert torch.isfinite(fitted.model.means).all() and np.isfinite(fitted.history).all()


def test_a_component_that_owns_1e_320_of_a_point_has_the_right_mean():
    x = blobs(0, n=5)
    log_resp = torch.stack([torch.zeros(5), torch.tensor([-740.0, -741, -739, -742, -740])], 1).double()
    share = log_resp[:, 1].softmax(0)
    moved = em.mixture_around(x, x[:2]).m_step(x, log_resp)
    torch.testing.assert_close(moved.means[1], share @ x)
    assert moved.log_w[1] < -739 and moved.lower_bound(x, log_resp).value.isfinite().all()


def test_a_component_that_owns_nothing_stays():
    x, begin = blobs(0, n=20), random_mixture(0, k=2)
    log_resp = torch.tensor([[0.0, -torch.inf]]).double().expand(20, 2)
    moved = begin.m_step(x, log_resp)
    assert torch.equal(moved.means[1], begin.means[1]) and torch.equal(
        moved.covariances[1], begin.covariances[1]
    )
    assert moved.log_w[1] == -torch.inf
    again = em.fit(moved, x)
    assert (again.model.e_step(x)[:, 1] == -torch.inf).all() and np.isfinite(again.history).all()
    assert again.model.lower_bound(x, log_resp).value.isfinite().all()


def test_one_point_a_component():
    x = 10 * torch.eye(3).double()
    with pytest.warns(em.SingularCovarianceWarning, match="components 0, 1, 2 collapsed.*held at .*fewer"):
        fitted = em.fit(em.mixture_around(x, x, variance=0.1), x)
    floor = em.FLOOR * em.column_variances(x)
    torch.testing.assert_close(fitted.model.means, x)
    torch.testing.assert_close(fitted.model.covariances, floor.diag().repeat(3, 1, 1))
    assert (np.diff(fitted.history) > -1e-9).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8])
def test_nothing_but_one_point_repeated(value):
    x = torch.full((20, 2), value).double()
    means = em.kmeans_plus_plus(x, 3, torch.Generator().manual_seed(0))
    with pytest.warns(em.SingularCovarianceWarning, match="collapsed"):
        fitted = em.fit(em.mixture_around(x, means), x)
    assert torch.isfinite(fitted.model.log_evidence(x)).all()
    torch.testing.assert_close(fitted.model.means, x[:3])


def test_duplicated_points_weigh_twice():
    x = blobs(2, n=30)
    once = em.fit(em.mixture_around(x, x[:3]), x, tolerance=1e-13).model
    twice = em.fit(em.mixture_around(x, x[:3]), torch.cat([x, x]), tolerance=1e-13).model
    torch.testing.assert_close(once.means, twice.means)
    torch.testing.assert_close(once.covariances, twice.covariances)


def test_a_line_of_points_is_held_above_zero_across_and_exact_along():
    along = torch.linspace(-1, 1, 21).double()
    x = torch.stack([along, 2 * along], 1)
    with pytest.warns(em.SingularCovarianceWarning, match="component 0 collapsed"):
        moved = em.mixture_around(x, [[0.0, 0.0]]).m_step(x, torch.zeros(21, 1).double())
    scale = em.column_variances(x).sqrt()
    values = torch.linalg.eigvalsh(moved.covariances[0] / (scale[:, None] * scale))
    torch.testing.assert_close(values, torch.tensor([em.FLOOR, 2.0]).double())  # both columns are one


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e6, 1e-6)])
def test_holding_an_eigenvalue_is_the_best_covariance_above_the_floor(units):
    """Among random covariances with every eigenvalue at or above the floor, none has a higher bound."""
    g, units = torch.Generator().manual_seed(0), torch.tensor(units).double()
    x = torch.randn(50, 1, generator=g).double() + 0.1 * torch.randn(50, 2, generator=g).double()
    x = x * units
    log_resp, begin = torch.zeros(50, 1).double(), em.mixture_around(x, [[0.0, 0.0]])
    with pytest.warns(em.SingularCovarianceWarning):
        held = begin.m_step(x, log_resp, floor=0.1)
    scale = em.column_variances(x).sqrt()
    units = scale[:, None] * scale
    best = held.lower_bound(x, log_resp).value.sum()
    for size in (0.01, 0.1, 1.0) * 20:
        root = size * torch.randn(2, 2, generator=g).double()
        values, vectors = torch.linalg.eigh(held.covariances[0] / units + (root + root.T) / 10)
        other = (vectors * values.clamp(min=0.1)) @ vectors.T * units
        mixture = em.Mixture(held.log_w, held.means, other[None])
        assert mixture.lower_bound(x, log_resp).value.sum() <= best + 1e-9


# Scale is measured


UNITS = st.lists(st.sampled_from([1e-6, 1.0, 1e6]), min_size=3, max_size=3)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 4), units=UNITS, collapsed=st.booleans())
def test_in_other_units_the_answer_is_the_same_in_those_units(seed, k, units, collapsed):
    x, units = blobs(seed, n=40, d=3, k=k), torch.tensor(units).double()
    if collapsed:
        x = torch.cat([x, x[:1].repeat(8, 1)])

    def fitted(x):
        means = em.kmeans_plus_plus(x, k, torch.Generator().manual_seed(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", em.SingularCovarianceWarning)
            return em.fit(em.mixture_around(x, means), x, max_iter=200)

    plain, other = fitted(x), fitted(x * units)
    np.testing.assert_allclose(
        np.array(other.history) + units.log().sum().item(), plain.history, rtol=1e-7, atol=1e-7
    )
    torch.testing.assert_close(other.model.means / units, plain.model.means, rtol=1e-5, atol=1e-6)
    shape = other.model.covariances / units[:, None] / units
    torch.testing.assert_close(shape, plain.model.covariances, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(other.model.log_w, plain.model.log_w, rtol=1e-5, atol=1e-6)


@settings(max_examples=100)
@given(data=st.data())
def test_the_evidence_never_falls_on_any_data(data):
    """Points on a line, points that are one, columns that are constant or far from zero, any start."""
    draw = lambda *of: data.draw(st.sampled_from(of))  # noqa: E731
    n, d, k, seed = draw(1, 2, 3, 7, 30), draw(1, 2, 3), draw(1, 2, 4), data.draw(st.integers(0, 10**6))
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g).double()
    kind = draw("plain", "line", "one point", "constant column", "few values", "heavy tails")
    if kind == "line":
        x = x[:, :1] * torch.arange(1.0, d + 1)
    elif kind == "one point":
        x = x[:1].repeat(n, 1)
    elif kind == "constant column":
        x[:, 0] = draw(0.0, 1.0, 1e6)
    elif kind == "few values":
        x = x.sign()
    elif kind == "heavy tails":
        x = x / torch.rand(n, d, generator=g) ** 3
    x = x * torch.tensor([draw(1e-6, 1.0, 1e6) for _ in range(d)]) + draw(0.0, 0.0, 1e3)
    scale = em.column_variances(x).sqrt()
    means = x[torch.randint(n, (k,), generator=g)] + draw(0.0, 1.0, 30.0) * scale * torch.randn(
        k, d, generator=g
    )
    start = em.mixture_around(x, means, variance=draw(1e-9, 1e-3, 1.0, 1e4) * scale.square())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", em.SingularCovarianceWarning)
        fitted = em.fit(start, x, max_iter=60)
        # Without the loop's own guard
        raw = [m.log_evidence(x).mean().item() for m in em.iterate(start, x, 30)]
    rises = np.diff(fitted.history)
    assert np.isfinite(fitted.history).all() and (rises >= 0).all()
    falls = np.diff([fitted.history[0], *raw]) / (1 + np.abs(raw))
    assert falls.min() > -1e-7


def test_a_model_whose_m_step_lowers_the_evidence_has_not_converged():
    class Worse:
        def __init__(self, value):
            self.value = value

        def e_step(self, x):
            return None

        def m_step(self, x, q):
            return Worse(self.value - 1.0)

        def log_evidence(self, x):
            return torch.full((len(x),), self.value).double()

    found = em.fit(Worse(3.0), torch.zeros(4, 1))
    assert found.history == [3.0] and not found.converged and found.model.value == 3.0


def test_em_needs_no_memory_for_every_pair_of_point_component_and_coordinate(monkeypatch):
    """The same to rounding however small the blocks, of which the largest tensor made is one."""
    x, begin = blobs(1, n=300, d=4), random_mixture(1, d=4)
    whole = em.fit(begin, x, max_iter=5)
    monkeypatch.setattr(em, "CHUNK", 50)
    sizes = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            sizes.append(found.numel() if isinstance(found, torch.Tensor) else 0)
            return found

    with Watch():
        parts = em.fit(begin, x, max_iter=5)
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-12)
    assert max(sizes) <= 300 * 4  # N · K is 900, N · D 1,200; N · K · D would be 3,600


def test_kmeans_plus_plus_draws_in_proportion_to_squared_distance():
    x = torch.tensor([[0.0], [1.0], [3.0]])
    g, second = torch.Generator().manual_seed(0), []
    for _ in range(6000):
        first, then = em.kmeans_plus_plus(x, 2, g).flatten().tolist()
        if first == 0:
            second.append(then)
    assert second.count(0) == 0 and abs(second.count(3) / len(second) - 0.9) < 0.03
    assert em.kmeans_plus_plus(x, 3, g).flatten().sort().values.tolist() == [0, 1, 3]


REFUSED = {
    "NaN": (lambda: em.column_variances([[0.0, float("nan")], [1.0, 2.0]]), "1 of 2 points are not finite"),
    "overflow": (lambda: em.column_variances([[1e200, 0.0], [1.0, 2.0]]), "its squares overflow"),
    "weights": (
        lambda: em.Mixture(torch.zeros(2), torch.zeros(2, 1), torch.ones(2, 1, 1)),
        "log_w must be logarithms of weights that sum to one, but they sum to 2",
    ),
    "not positive": (
        lambda: em.Mixture(torch.zeros(1), torch.zeros(1, 2), torch.ones(1, 2, 2)),
        "symmetric and positive definite, but number 0 is not",
    ),
    "not symmetric": (
        lambda: em.Mixture(torch.zeros(1), torch.zeros(1, 2), torch.tensor([[[2.0, 1.0], [0.5, 2.0]]])),
        "symmetric and positive definite, but number 0 is not",
    ),
    "probabilities": (
        lambda: random_mixture(0).m_step(blobs(0), torch.full((60, 3), 1 / 3)),
        r"logarithms of probabilities that sum to one in each row, but the sums go from 4\.19 to 4\.19",
    ),
    "too few": (lambda: random_mixture(0).lower_bound(blobs(0), torch.zeros(60, 2)), r"of shape \(60, 3\)"),
    "other data": (lambda: random_mixture(0).e_step(torch.zeros(4, 3)), r"shape \(N, 2\).*got \(4, 3\)"),
    "log_w": (
        lambda: em.Mixture(torch.zeros(2), torch.zeros(3, 2), torch.zeros(3, 2, 2)),
        r"log_w of shape \(3,\)",
    ),
    "variance": (
        lambda: em.mixture_around(blobs(0), [[0.0, 0.0]], variance=0.0),
        "variance must be a number above 0",
    ),
    "too many starts": (
        lambda: em.kmeans_plus_plus(torch.zeros(3, 1), 4, torch.Generator()),
        "k must be from 1 to 3, as many as there are points, got 4",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_sentence(name):
    call, says = REFUSED[name]
    with pytest.raises(ValueError, match=says) as refusal:
        call()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("size", [1e-150, 1e-200, 1e-300])
def test_columns_whose_squares_are_lost_are_refused(size):
    with pytest.raises(ValueError, match="measure in smaller units"):
        em.column_variances(blobs(0) * torch.tensor([size, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("call", ["e_step", "log_evidence", "log_joint"])
def test_points_too_far_to_be_measured_are_refused(call):
    with pytest.raises(ValueError, match="too far from the means"):
        getattr(random_mixture(0), call)(torch.full((2, 2), 1e200, dtype=torch.float64))


class Strange:
    """A model whose log p(x) is what it is told to be."""

    def __init__(self, evidence, later=None):
        self.evidence, self.later = evidence, later

    def e_step(self, x): ...

    def m_step(self, x, q):
        return self.later

    def log_evidence(self, x):
        return self.evidence


@pytest.mark.parametrize(
    "evidence", [None, 1.0, torch.tensor(1.0), torch.zeros(60, 3), torch.zeros(60).long(), np.zeros(60)]
)
def test_a_log_evidence_of_another_kind_is_refused(evidence):
    with pytest.raises(ValueError, match="log_evidence must give a float for each of 60 points"):
        em.fit(Strange(evidence), blobs(0))


@pytest.mark.parametrize("run", [em.fit, lambda model, x: list(em.iterate(model, x, 1))])
def test_an_m_step_that_gives_no_model_is_refused(run):
    with pytest.raises(TypeError, match=r"the result of model\.m_step must be an object with methods"):
        run(Strange(torch.zeros(60)), blobs(0))
