"""Schedules against weights by hand; annealed runs against a loop by hand, and cut off against whole."""

from functools import partial

import pytest
import torch
from test_checkpoints import LONG, Died, always, refused, run, stopping  # noqa: F401 (always: a fixture)
from tiny import QUICK, new_vae, same_but_for_time, weights

from vae_lab.devices import seed_all
from vae_lab.objectives import beta_elbo, capacity_elbo, elbo
from vae_lab.schedules import Annealed, Cyclical, Linear, one_cycle
from vae_lab.training import fit


@pytest.mark.parametrize(("progress", "weight"), [(0, 1), (0.1, 2), (0.2, 3), (0.4, 5), (0.7, 5), (1, 5)])
def test_a_line_and_then_a_constant(progress, weight):
    assert Linear(1, 5, until=0.4)(progress) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("progress", "weight"),
    [(0, 0), (0.1, 0.8), (0.125, 1), (0.2, 1), (0.25, 0), (0.3, 0.4), (0.99, 1), (0.75, 0), (1, 1)],
)
def test_four_cycles_of_which_half_is_rising(progress, weight):
    """Fu et al. (2019), eq. 6 and figure 2, for M = 4 and R = 0.5: f(τ) = τ / R while τ ≤ R, then 1."""
    assert Cyclical()(progress) == pytest.approx(weight)


@pytest.mark.parametrize("schedule", [Linear, partial(Cyclical, 0.0, 1.0, 3)], ids=["linear", "cyclical"])
@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_share_must_be_one(schedule, share):
    name = "until" if schedule is Linear else "rising"
    with pytest.raises(
        ValueError, match=f"{name} must be a finite number above 0 and at most 1, got {share}"
    ):
        schedule(**{name: share})


def test_no_cycles_are_refused():
    with pytest.raises(ValueError, match="cycles must be a whole number of at least 1, got 0"):
        Cyclical(cycles=0)


def test_an_annealed_objective_is_the_objective_with_that_number():
    model, x = new_vae(), torch.rand(5, 1, 4, 4)
    annealed = Annealed(beta_elbo, "beta", Linear(0, 2, until=1))

    def drawn(objective):
        torch.manual_seed(4)
        return objective(model, x).value

    torch.testing.assert_close(drawn(annealed.at(0.25)), drawn(partial(beta_elbo, beta=0.5)))
    torch.testing.assert_close(drawn(annealed), drawn(partial(beta_elbo, beta=2.0)))


def test_fit_asks_for_the_weight_of_each_step(patterns):
    """Nine steps by hand, the weight of the k-th being k / 9 / 0.5, at most 1."""
    annealed, by_hand = new_vae(), new_vae()
    history = fit(annealed, patterns, Annealed(beta_elbo, "beta", Linear()), seed=5, **QUICK)
    generator = seed_all(5)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-2, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=9, cycle_momentum=False)
    expected = [0, 2 / 9, 4 / 9, 6 / 9, 8 / 9, 1, 1, 1, 1]
    for weight, x in zip(expected, patterns.batches(20, 9, generator), strict=True):
        log_lik, kl = elbo(by_hand, x)
        optimizer.zero_grad()
        (weight * kl - log_lik).mean().backward()
        optimizer.step()
        schedule.step()
    assert history.terms["beta"] == pytest.approx(expected)
    torch.testing.assert_close(weights(annealed), weights(by_hand))


def test_the_test_set_is_measured_by_the_objective_at_the_end(patterns):
    history = fit(
        new_vae(), patterns, Annealed(beta_elbo, "beta", Linear(0, 3, until=1)), test=patterns, **QUICK
    )
    assert {terms.beta for _, terms in history.test} == {3.0}
    assert max(history.terms["beta"]) == pytest.approx(3 * 8 / 9)


annealings = pytest.mark.parametrize(
    "annealed",
    [
        Annealed(beta_elbo, "beta", Linear(until=0.8)),
        Annealed(beta_elbo, "beta", Cyclical()),
        Annealed(partial(capacity_elbo, weight=2.0), "capacity", Linear(0, 3)),
    ],
    ids=["linear", "cyclical", "capacity"],
)


@annealings
@pytest.mark.parametrize("at", [31, 75])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, always, annealed, at):  # noqa: F811
    """Cut off at a step; resumed, it must know how far it was."""
    whole, history = run(objective=annealed)
    with pytest.raises(Died), stopping(at):
        run(tmp_path / "run", annealed)
    resumed, rest = run(tmp_path / "run", annealed)
    assert torch.equal(weights(whole), weights(resumed)) and same_but_for_time(history, rest)


def test_another_schedule_is_another_run(tmp_path):
    file, slow = tmp_path / "run", Annealed(beta_elbo, "beta", Linear(until=0.9))
    run(file, Annealed(beta_elbo, "beta", Linear()))
    refused(file, r"is of another run: objective\.schedule\.until 0\.5 there, 0\.9 here", objective=slow)


def test_what_changes_at_every_step_is_not_compiled(patterns):
    with pytest.raises(ValueError, match="compile must be False where the objective follows a schedule"):
        fit(new_vae(), patterns, Annealed(beta_elbo, "beta", Linear()), compile=True, **QUICK)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 10, 90, 1000])
def test_one_cycle_is_torchs_to_the_last_bit(total):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=total, cycle_momentum=False)
    for step in range(total):
        assert one_cycle(step, total, 3e-3) == theirs.get_last_lr()[0]
        optimizer.step()
        if step < total - 1:
            theirs.step()


@pytest.mark.parametrize("progress", [float("nan"), -0.1, 1.5, "half", None])
@pytest.mark.parametrize("schedule", [Linear(0, 1), Cyclical(0, 1)])
def test_progress_is_from_0_to_1(schedule, progress):
    with pytest.raises((ValueError, TypeError), match="progress must be a finite number from 0 to 1, got"):
        schedule(progress)
