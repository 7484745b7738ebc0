"""How drawings are judged: Fréchet distances against matrix roots, nearest distances against all of them."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from vae_lab import data
from vae_lab.data import Images
from vae_lab.metrics import fit_classifier, frechet_distance, nearest_distance


def rows(n: int, features: int, *, seed: int = 0) -> torch.Tensor:
    """Correlated features off the origin, (n, features)."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=g, dtype=torch.float64)
    return torch.randn(n, features, generator=g, dtype=torch.float64) @ mix + torch.arange(features)


def whitened(n: int, features: int) -> torch.Tensor:
    """Rows whose mean is 0 and whose covariance is I, to rounding."""
    x = torch.randn(n, features, dtype=torch.float64)
    return torch.linalg.qr(x - x.mean(0)).Q * (n - 1) ** 0.5


@pytest.mark.parametrize(("n", "m", "features"), [(40, 60, 1), (50, 30, 7), (400, 500, 20)])
def test_frechet_distance_is_the_formula_with_a_matrix_root(n, m, features):
    a, b = rows(n, features, seed=1), rows(m, features, seed=2)
    S_a, S_b = (np.atleast_2d(np.cov(x.numpy().T)) for x in (a, b))
    root = np.atleast_2d(sqrtm(S_a @ S_b)).real
    expected = np.square((a.mean(0) - b.mean(0)).numpy()).sum() + np.trace(S_a + S_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-7)


def test_frechet_distance_of_independent_features_has_a_closed_form():
    """Σ_k (μ_k − ν_k)² + (s_k − t_k)²."""
    s, t = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 2.0, 0.0]).double()
    mu, nu = torch.tensor([0.0, 1.0, -1.0]).double(), torch.tensor([2.0, 1.0, 0.5]).double()
    expected = ((mu - nu).square() + (s - t).square()).sum().item()
    assert frechet_distance(whitened(50, 3) * s + mu, whitened(80, 3) * t + nu) == pytest.approx(expected)


def test_frechet_distance_of_fewer_rows_than_features():
    """Singular covariances, through the eigenvalues of their product."""
    a, b = rows(5, 9, seed=1), rows(7, 9, seed=2)
    S_a, S_b = np.cov(a.numpy().T), np.cov(b.numpy().T)
    roots = np.sqrt(np.linalg.eigvals(S_a @ S_b).real.clip(0))
    expected = np.square((a.mean(0) - b.mean(0)).numpy()).sum() + np.trace(S_a + S_b) - 2 * roots.sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_is_zero_on_itself_and_sees_no_rotation():
    a, b = rows(60, 6, seed=3).float(), rows(60, 6, seed=4).float()
    turn = torch.linalg.qr(torch.randn(6, 6)).Q
    assert 0 <= frechet_distance(a, a.flip(0)) < 1e-6
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-4)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (torch.zeros(5, 3), torch.zeros(5, 4), r"\(5, 3\) and \(5, 4\); take both from the same layer"),
        (torch.zeros(1, 3), torch.zeros(5, 3), "at least 2 rows"),
        (torch.zeros(5, 3), torch.full((5, 3), torch.nan), "not finite"),
    ],
)
def test_frechet_distance_refuses(a, b, says):
    with pytest.raises(ValueError, match=says):
        frechet_distance(a, b)


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_nearest_distance_is_the_least_of_all(chunk_size):
    x, others = torch.rand(20, 1, 3, 4), torch.rand(33, 1, 3, 4)
    every = np.linalg.norm(x.flatten(1).numpy()[:, None] - others.flatten(1).numpy()[None], axis=2)
    np.testing.assert_allclose(nearest_distance(x, others, chunk_size=chunk_size), every.min(1), rtol=1e-5)


def test_nearest_distance_to_itself_is_exactly_zero():
    x = 100 + torch.rand(200, 784)
    assert (nearest_distance(x, x) == 0).all()


def test_nearest_distance_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(5, 3\)"):
        nearest_distance(torch.zeros(4, 2), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least one"):
        nearest_distance(torch.zeros(4, 2), torch.zeros(0, 2))


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_the_classifier_names_digits_it_has_not_seen(digits):
    before = torch.get_rng_state()
    judge = fit_classifier(digits.train, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    x, y = digits.test.read(), digits.test.labels
    assert (judge(x).argmax(1) == y).float().mean() > 0.95
    assert judge.features(x).shape == (len(x), 32)
    torch.testing.assert_close(judge.head(judge.features(x)), judge(x))
    assert not judge.training and not any(p.requires_grad for p in judge.parameters())


def test_the_classifier_can_be_repeated(digits):
    one, two, other = (
        fit_classifier(digits.train, steps=3, features=4, seed=seed)(digits.test.read(slice(0, 5)))
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_classifier_needs_two_classes():
    images = Images(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), torch.full((5,), 3))
    with pytest.raises(ValueError, match="images must have labels from 0 on, at least two"):
        fit_classifier(images)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e20, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_the_nearest_is_the_nearest_at_every_size_and_place(size, offset):
    """In float32, by products of matrices alone, others are found at an offset of 1000, and 0 at 1e-30."""
    x, others = ((rows(n, 6, seed=n).float() + offset) * size for n in (40, 300))
    exact = (x.double()[:, None] - others.double()).square().sum(2).amin(1).sqrt()
    assert (nearest_distance(x, others) / size).tolist() == pytest.approx((exact / size).tolist(), rel=1e-4)


def test_two_clusters_far_apart_have_their_own_nearest():
    x, others = (rows(n, 6, seed=n).float() for n in (40, 300))
    alone = nearest_distance(x, others)
    found = nearest_distance(torch.cat([x, x + 1e4]), torch.cat([others, others + 1e4]))
    assert torch.allclose(found[:40], alone, rtol=1e-3)
    assert torch.allclose(found[40:], alone, rtol=1e-2)


def test_labels_that_are_no_places_are_refused_before_they_fill_the_memory():
    images = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 10**9, 0, 1]))
    with pytest.raises(ValueError, match="labels below their number, 4"):
        fit_classifier(images, steps=1)
