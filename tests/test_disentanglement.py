"""The mutual information gap against scikit-learn, closed forms, and codes whose answer is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from vae_lab.data.toy_faces import FACTORS, draw_factors
from vae_lab.metrics import InformationGap, mutual_information_gap

N = 20_000


def test_the_matrix_is_that_of_scikit_learns_on_the_bins():
    factors = draw_factors(3000, seed=1)
    codes = factors[:, :4] @ torch.randn(4, 3) + 0.3 * torch.randn(3000, 3)
    found = mutual_information_gap(codes, factors, bins=10)

    def bins(column):
        values = column.unique()
        edges = column.sort().values[300::300]
        return column.numpy() if len(values) <= 10 else np.digitize(column, edges)

    expected = [[mutual_info_score(bins(z), bins(v)) for v in factors.T] for z in codes.T]
    np.testing.assert_allclose(found.information, expected, atol=1e-12)
    np.testing.assert_allclose(found.entropy, [mutual_info_score(bins(v), bins(v)) for v in factors.T])
    assert found.information.shape == (3, len(FACTORS)) and found.gap.shape == (len(FACTORS),)


def test_a_code_that_is_the_factors_has_the_whole_gap():
    """What the other coordinates seem to know, (bins − 1)² / 2N nats, is all that is missing from 1."""
    factors = draw_factors(N)
    codes = torch.cat([-3 * factors + 1, torch.randn(N, 2)], 1)[:, torch.randperm(11)]
    found = mutual_information_gap(codes, factors)
    torch.testing.assert_close(found.normalized.max(0).values, torch.ones(9).double())
    assert found.value > 0.99 and (found.gap > 0.99).all()


def test_independent_codes_know_nothing_but_chance():
    """2N times the information of independent bins is χ² of (bins − 1)² degrees of freedom."""
    factors, codes = torch.rand(N, 6), torch.randn(N, 8)
    found = mutual_information_gap(codes, factors, bins=11)
    chance = 10**2 / (2 * N)
    spread = chance * (2 / 100) ** 0.5 / 48**0.5
    assert found.information.mean().item() == pytest.approx(chance, abs=4 * spread)
    assert found.value < 0.001


@pytest.mark.parametrize("correlation", [0.3, 0.7, 0.95])
def test_a_gaussian_pair_has_half_the_log_of_one_less_the_squared_correlation(correlation):
    """Bins lose information and chance adds a little; more bins lose less."""
    v, noise = torch.randn(2, 200_000, 1, dtype=torch.float64)
    z = correlation * v + (1 - correlation**2) ** 0.5 * noise
    exact = -0.5 * np.log(1 - correlation**2)
    coarse, fine = (mutual_information_gap(z, v, bins=b).information.item() for b in (8, 32))
    chance = 31**2 / (2 * len(z))
    assert coarse < fine < exact + 2 * chance
    assert fine == pytest.approx(exact, rel=0.05, abs=2 * chance)


def test_turning_the_codes_lowers_the_gap():
    factors = torch.rand(N, 2)
    gaps = []
    for degrees in (0, 10, 45):
        a = torch.tensor(degrees).deg2rad()
        turn = torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])
        gaps.append(mutual_information_gap((factors - 0.5) @ turn, factors).value)
    assert gaps[0] > 0.98 and gaps[0] > gaps[1] + 0.2 > gaps[2] + 0.4 and gaps[2] < 0.02


@given(st.integers(0, 1000))
def test_only_the_order_within_a_coordinate_matters(seed):
    g = torch.Generator().manual_seed(seed)
    factors = torch.rand(400, 2, generator=g)
    codes = factors.repeat(1, 2) + torch.randn(400, 4, generator=g)
    expected = mutual_information_gap(codes, factors)
    bent = torch.stack([codes[:, 0].exp(), codes[:, 1] * 1e-6, -codes[:, 2], codes[:, 3].double().pow(3)], 1)
    order = torch.randperm(4, generator=g)
    rows = torch.randperm(400, generator=g)
    found = mutual_information_gap(bent[rows][:, order], factors[rows])
    torch.testing.assert_close(found.information, expected.information[order])
    torch.testing.assert_close(found.gap, expected.gap)


def test_inactive_coordinates_know_nothing():
    """One constant, and one whose mean knows the factor by a thousandth of its noise."""
    factors = torch.rand(N, 1)
    mean = torch.cat([torch.full((N, 1), 0.3), 0.001 * factors, factors], 1)
    drawn = mean + torch.tensor([0.0, 1.0, 0.01]) * torch.randn(N, 3)
    found = mutual_information_gap(drawn, factors)
    assert found.information[0] == 0 and found.normalized[1] < 0.01 and found.value > 0.8
    assert mutual_information_gap(mean, factors).value < 0.01  # the means would have told another story


def test_a_single_coordinate_leads_by_all_that_it_knows():
    factors = torch.rand(1000, 1)
    assert mutual_information_gap(factors, factors).value == pytest.approx(1)


def test_the_gap_is_the_lead_of_the_best_over_the_second():
    found = InformationGap(torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.2, 0.4]]), torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(found.gap, torch.tensor([0.3, 0.25]))
    assert found.value == pytest.approx(0.275)


@pytest.mark.parametrize(
    ("codes", "factors", "bins", "says"),
    [
        (torch.rand(30, 2), torch.rand(29, 3), 5, r"got 30 and 29 rows"),
        (torch.rand(30), torch.rand(30, 3), 5, r"codes must be points .* got \(30,\)"),
        (
            torch.rand(30, 2),
            torch.rand(30, 3),
            31,
            "bins must be at most as many as rows, got 31 for 30 rows",
        ),
        (torch.rand(30, 2), torch.rand(30, 3), 1, "bins must be a whole number of at least 2, got 1"),
        (torch.full((30, 2), torch.nan), torch.rand(30, 3), 5, "not finite"),
        (torch.rand(30, 2), torch.ones(30, 1), 5, "of columns \\[0\\] all rows are the same"),
    ],
    ids=["rows", "axes", "many bins", "one bin", "nan", "constant"],
)
def test_what_cannot_be_measured_is_refused(codes, factors, bins, says):
    with pytest.raises(ValueError, match=says):
        mutual_information_gap(codes, factors, bins=bins)


def test_bins_that_would_fill_the_memory_are_refused():
    with pytest.raises(ValueError, match="bins must be fewer: 3000² for each of 4 coordinates and 3 factors"):
        mutual_information_gap(torch.randn(3000, 4), torch.randn(3000, 3), bins=3000)
