"""Distances of feature sets and their error bars: against enumeration, scikit-learn and closed forms."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from vae_lab.metrics import bootstrap, frechet_distance, kernel_distance, precision_recall, subsample


def normal(n: int, features: int, *, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, features, generator=g, dtype=torch.float64) + shift


@pytest.mark.parametrize(("n", "m", "features"), [(3, 4, 1), (30, 40, 5), (50, 20, 64)])
def test_kernel_distance_is_the_mean_over_pairs_of_different_rows(n, m, features):
    a, b = normal(n, features, seed=1), normal(m, features, seed=2, shift=0.5)
    aa, bb, ab = (
        polynomial_kernel(x, y, degree=3, gamma=1 / features, coef0=1) for x, y in ((a, a), (b, b), (a, b))
    )
    off = [k[~np.eye(len(k), dtype=bool)].mean() for k in (aa, bb)]
    expected = off[0] + off[1] - 2 * ab.mean()
    assert kernel_distance(a, b).value == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(b, a, chunk_size=7).value == pytest.approx(expected, rel=1e-9)


def test_its_error_is_the_jackknifes():
    a, b = normal(9, 3, seed=1), normal(7, 3, seed=2, shift=1)
    without_a = np.array([kernel_distance(torch.cat([a[:i], a[i + 1 :]]), b).value for i in range(9)])
    without_b = np.array([kernel_distance(a, torch.cat([b[:i], b[i + 1 :]])).value for i in range(7)])
    variance = 8 * without_a.var() + 6 * without_b.var()
    assert kernel_distance(a, b).error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_kernel_distance_is_unbiased_and_its_error_honest():
    """Of numbers, (xy + 1)³ = Σ_j C(3, j) xʲyʲ, so the distance is Σ_j C(3, j) (E aʲ − E bʲ)²."""
    exact = 3 * 0.5**2 + 3 * 0.25**2 + (0.5**3 + 3 * 0.5) ** 2  # moments of N(0.5, 1) less those of N(0, 1)
    found = [
        kernel_distance(normal(60, 1, seed=2 * i), normal(80, 1, seed=2 * i + 1, shift=0.5))
        for i in range(600)
    ]
    values, errors = np.array(found).T
    assert abs(values.mean() - exact) < 4 * values.std() / 600**0.5
    assert errors.mean() == pytest.approx(values.std(), rel=0.25)


def test_kernel_distance_of_equal_sets_is_about_zero_at_any_size():
    for n in (10, 100):
        values = [
            kernel_distance(normal(n, 4, seed=2 * i), normal(n, 4, seed=2 * i + 1)).value for i in range(300)
        ]
        assert abs(np.mean(values)) < 4 * np.std(values) / 300**0.5
        assert np.mean(np.array(values) < 0) > 0.3


def test_precision_and_recall_are_what_enumeration_gives():
    real, generated = normal(25, 2, seed=1), normal(30, 2, seed=2, shift=0.7)
    for k in (1, 3, 24):
        expected = []
        for x, others in ((generated, real), (real, generated)):
            radii = NearestNeighbors(n_neighbors=k + 1).fit(others).kneighbors(others)[0][:, -1]
            inside = [
                any(
                    np.linalg.norm(point - other) <= radius
                    for other, radius in zip(others.numpy(), radii, strict=True)
                )
                for point in x.numpy()
            ]
            expected.append(np.mean(inside))
        assert tuple(precision_recall(real, generated, k=k, chunk_size=11)) == pytest.approx(tuple(expected))


def test_precision_is_fidelity_and_recall_diversity():
    """Two clusters: drawn alike, one forgotten, one made up, and somewhere else altogether."""
    g = torch.Generator().manual_seed(0)
    cluster = lambda at: at + torch.randn(200, 3, generator=g)  # noqa: E731
    real = torch.cat([cluster(0), cluster(50)])
    both = precision_recall(real, torch.cat([cluster(0), cluster(50)]))
    forgotten = precision_recall(real, torch.cat([cluster(0), cluster(0)]))
    made_up = precision_recall(real, torch.cat([cluster(0), cluster(50), cluster(100), cluster(150)]))
    assert min(both) > 0.85
    assert forgotten.precision > 0.85 and 0.4 < forgotten.recall <= 0.5
    assert 0.4 < made_up.precision <= 0.5 and made_up.recall > 0.85
    assert precision_recall(real, real + 1000) == (0, 0)
    assert precision_recall(real, real.flip(0)) == (1, 1)


@given(st.integers(0, 1000), st.floats(0.1, 10), st.integers(1, 4))
def test_precision_and_recall_see_no_scale_shift_or_order(seed, scale, k):
    real, generated = normal(12, 3, seed=seed), normal(9, 3, seed=seed + 1, shift=0.5)
    expected = precision_recall(real, generated, k=k)
    assert precision_recall(scale * real.flip(0) + 1, scale * generated + 1, k=k) == expected
    assert precision_recall(generated, real, k=k) == expected[::-1]


@pytest.mark.parametrize("k", [0, 5])
def test_precision_refuses_neighbors_that_are_not_there(k):
    with pytest.raises(ValueError, match=f"k must be .*, got {k}"):
        precision_recall(torch.zeros(5, 2), torch.zeros(9, 2), k=k)


@pytest.mark.parametrize("function", [kernel_distance, precision_recall], ids=["kernel", "precision"])
@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (torch.zeros(5, 3), torch.zeros(5, 4), r"\(5, 3\) and \(5, 4\); take both from the same layer"),
        (torch.zeros(5, 3), torch.full((5, 3), torch.inf), "not finite"),
    ],
    ids=["layer", "infinite"],
)
def test_features_that_cannot_be_compared_are_refused(function, a, b, says):
    with pytest.raises(ValueError, match=says):
        function(a, b)


def test_a_kernel_distance_needs_three_rows_to_leave_one_out():
    with pytest.raises(ValueError, match="at least 3 rows"):
        kernel_distance(torch.zeros(2, 3), torch.zeros(5, 3))


@pytest.mark.parametrize("resample", [bootstrap, subsample])
def test_the_deviation_over_resamples_is_the_standard_error_of_means(resample):
    a, b = 3 * normal(60, 1, seed=1), normal(40, 1, seed=2)
    exact = (a.var() / 60 + b.var() / 40).sqrt().item()
    found = resample(lambda a, b: (a.mean() - b.mean()).item(), a, b, replicates=3000)
    assert found.shape == (3000,) and found.dtype == torch.float64
    assert found.std().item() == pytest.approx(exact, rel=0.06)
    assert found.mean().item() == pytest.approx((a.mean() - b.mean()).item(), abs=4 * exact / 3000**0.5)


def test_half_of_the_rows_tell_the_error_of_a_frechet_distance_and_a_bootstrap_is_off_target():
    def pair(i):
        return normal(200, 6, seed=2 * i), normal(200, 6, seed=2 * i + 1, shift=0.3)

    truth = np.std([frechet_distance(*pair(i)) for i in range(200)])
    errors = [subsample(frechet_distance, *pair(i), replicates=50).std().item() for i in range(10)]
    assert 0.9 * truth < np.mean(errors) < 1.6 * truth  # too large rather than too small
    value, values = frechet_distance(*pair(0)), bootstrap(frechet_distance, *pair(0))
    assert values.mean() > value + 0.8 * values.std()  # biased a second time


def test_subsets_repeat_no_row_and_bootstrap_sets_do():
    rows = torch.arange(50.0)[:, None]

    def different(a, b):
        return a.unique().numel(), b.unique().numel(), len(a), len(b)

    halves = subsample(different, rows, rows[:31], replicates=20)
    assert (halves == torch.tensor([25.0, 15, 25, 15])).all()
    assert (subsample(different, rows, rows[:31], size=31, replicates=3) == 31).all()
    drawn = bootstrap(different, rows, rows[:31], replicates=200)
    assert (drawn[:, 2:] == torch.tensor([50.0, 31])).all()
    assert drawn[:, 0].mean().item() == pytest.approx(50 * (1 - (1 - 1 / 50) ** 50), rel=0.02)


@pytest.mark.parametrize("resample", [bootstrap, subsample])
def test_resamples_can_be_repeated_and_leave_no_trace(resample):
    a, state = normal(20, 2), torch.get_rng_state()
    one, two, other = (resample(kernel_distance, a, a + 1, replicates=5, seed=s) for s in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.shape == (5, 2) and torch.equal(torch.get_rng_state(), state)


def test_resamples_that_cannot_be_drawn_are_refused():
    a = normal(20, 2)
    with pytest.raises(ValueError, match="replicates must be a whole number of at least 1, got 0"):
        bootstrap(frechet_distance, a, a, replicates=0)
    for size in (0, 21):
        with pytest.raises(ValueError, match=f"size must be .*, got {size}"):
            subsample(frechet_distance, a, a, size=size)


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e-3, 1.0, 1e6])
def test_the_kernel_distance_of_small_features_is_not_drowned(size):
    """(t + 1)³ in exact fractions."""
    a, b = ((normal(n, 2, seed=n) * size).tolist() for n in (5, 4))

    def mean(x, y, same):
        every = [
            (sum(Fraction(u) * Fraction(v) for u, v in zip(p, q, strict=True)) / 2 + 1) ** 3
            for i, p in enumerate(x)
            for j, q in enumerate(y)
            if not (same and i == j)
        ]
        return sum(every) / len(every)

    exact = float(mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False))
    assert kernel_distance(a, b).value == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, precision_recall])
@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_features_whose_squares_are_lost_are_refused(measure, size):
    a = normal(9, 2).double() * size
    with pytest.raises(ValueError, match="a and b must be of a size from"):
        measure(a, a + size)


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_precision_and_recall_do_not_depend_on_the_place(offset):
    a, b = normal(80, 4, seed=1).double(), normal(70, 4, seed=2).double() * 0.8 + 0.3
    assert precision_recall(a + offset, b + offset) == precision_recall(a, b)


def test_rows_and_values_that_are_none_are_refused():
    a = normal(9, 2)
    with pytest.raises(ValueError, match="a and b must be rows"):
        subsample(lambda a, b: 1.0, torch.tensor(1.0), a)
    with pytest.raises(ValueError, match="function must give a number"):
        bootstrap(lambda a, b: (), a, a, replicates=2)
