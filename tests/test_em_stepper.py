"""The stepper: its JavaScript against `vae_lab.em`, what it refuses, and what pressing and dragging do."""

import json
import re

import numpy as np
import pytest
import torch
from showing import SETTLE, run_node
from test_em import blobs, random_mixture

from vae_lab import em
from vae_lab.widgets import em_stepper
from vae_lab.widgets.em_stepper import flat

RUN = """
import { eStep, logEvidence, lowerBound, mStep, uniform } from "./mixture.js";
import { readFileSync } from "node:fs";
const { points, start, least, rounds } = JSON.parse(readFileSync("case.json"));
let parameters = start, q = uniform(points.length / 2, start.length / 6);
const out = [[lowerBound(parameters, points, q), logEvidence(parameters, points)]];
for (let round = 0; round < rounds; round++) {
  q = eStep(parameters, points);
  out.push([lowerBound(parameters, points, q), logEvidence(parameters, points)]);
  parameters = mStep(parameters, points, q, least);
  out.push([lowerBound(parameters, points, q), logEvidence(parameters, points)]);
}
const unsure = uniform(points.length / 2, start.length / 6);
const knowsNothing = mStep(parameters, points, unsure, least);
process.stdout.write(JSON.stringify({ out, parameters, q: [...q], knowsNothing }));
"""


def densities(theta, x):
    """log w_k + log N(x; μ_k, Σ_k), (N, K), for six numbers a component (K, 6)."""
    columns = []
    for log_w, *mean, xx, xy, yy in theta:
        covariance, from_mean = np.array([[xx, xy], [xy, yy]]), x - mean
        distance = (from_mean * np.linalg.solve(covariance, from_mean.T).T).sum(1)
        columns.append(log_w - distance / 2 - np.linalg.slogdet(covariance)[1] / 2 - np.log(2 * np.pi))
    return np.stack(columns, 1)


def bounds(theta, x, log_resp):
    """The mean bound and the mean log p(x)."""
    log_joint, resp = densities(theta, x), np.exp(log_resp)
    bound = np.where(resp > 0, resp * (log_joint - log_resp), 0).sum(1)
    return [bound.mean(), np.logaddexp.reduce(log_joint, axis=1).mean()]


def e_step(theta, x):
    log_joint = densities(theta, x)
    return log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True)


def m_step(theta, x, log_resp, least):
    """Moments; then no eigenvalue of S^-½ Σ S^-½ below 1, nor below what it was, for S = diag(least)."""
    moved, root = [], np.diag(np.sqrt(least))
    for k, (_, *_, xx, xy, yy) in enumerate(theta):
        log_n = np.logaddexp.reduce(log_resp[:, k])
        share = np.exp(log_resp[:, k] - log_n)  # however little is owned
        mean = share @ x
        spread = (share[:, None] * (x - mean)).T @ (x - mean)
        standard = lambda c: np.linalg.inv(root) @ c @ np.linalg.inv(root)  # noqa: E731
        before = np.linalg.eigvalsh(standard(np.array([[xx, xy], [xy, yy]])))[0]
        values, vectors = np.linalg.eigh(standard(spread))
        spread = root @ (vectors * np.maximum(values, min(1, before))) @ vectors.T @ root
        moved.append([log_n - np.log(len(x)), *mean, spread[0, 0], spread[0, 1], spread[1, 1]])
    return np.array(moved)


CASES = {
    **{f"random {seed}": (lambda seed=seed: (blobs(seed), random_mixture(seed)), 12) for seed in range(4)},
    "four components": (lambda: (blobs(9), random_mixture(9, k=4)), 8),
    "one component": (lambda: (blobs(8), random_mixture(8, k=1)), 2),
    "far away": (
        lambda: (blobs(7), em.mixture_around(blobs(7), [[900.0, 0.0], [901.0, 5.0]], variance=0.5)),
        5,
    ),
    "one point each": (
        lambda: (
            10 * torch.eye(2).double(),
            em.mixture_around(torch.eye(2), 10 * torch.eye(2), variance=1.0),
        ),
        3,
    ),
    "one point, many times": (lambda: (torch.ones(9, 2), em.mixture_around(torch.eye(2), torch.eye(2))), 3),
}


SCALES = [(1, 1), (1e-6, 1e-6), (1e6, 1e6), (1e4, 0.01)]


@pytest.mark.parametrize("scales", SCALES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_javascript_steps_as_numpy_does(name, scales, tmp_path):
    make, rounds = CASES[name]
    x, mixture = scaled(*make(), scales)
    view = em_stepper(x, mixture)
    x = np.reshape(view.points, (-1, 2))  # the digits that travel
    theirs = in_javascript(view, rounds, tmp_path)
    theta, k = np.reshape(view.start, (-1, 6)), len(mixture.means)
    unsure = np.full((len(x), k), -np.log(k))
    record = [bounds(theta, x, unsure)]
    for _ in range(rounds):
        q = e_step(theta, x)
        record.append(bounds(theta, x, q))
        theta = m_step(theta, x, q, view.least)
        record.append(bounds(theta, x, q))
    unit = np.array([1, *scales, scales[0] ** 2, scales[0] * scales[1], scales[1] ** 2])
    np.testing.assert_allclose(theirs["out"], record, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        np.reshape(theirs["parameters"], (-1, 6)) / unit, theta / unit, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(np.exp(theirs["q"]), np.exp(q).ravel(), atol=1e-6)
    knows_nothing = m_step(np.reshape(view.start, (-1, 6)), x, unsure, view.least)
    np.testing.assert_allclose(
        np.reshape(theirs["knowsNothing"], (-1, 6)) / unit, knows_nothing / unit, rtol=1e-6, atol=1e-6
    )
    evidence = np.array(record)[::2, 1]
    assert (np.diff(evidence) > -1e-9).all(), "a round lowers log p(x)"


@pytest.mark.parametrize("seed", range(4))
def test_javascript_steps_as_the_package_does(seed, tmp_path):
    """Where no variance comes near zero, whatever the package does there."""
    x, mixture = blobs(seed), random_mixture(seed)
    view = em_stepper(x, mixture)
    x = torch.tensor(view.points).double().view(-1, 2)
    *_, ours = em.iterate(mixture, x, 12)
    np.testing.assert_allclose(
        in_javascript(view, 12, tmp_path)["parameters"], flat(ours), rtol=1e-6, atol=1e-6
    )


def scaled(x, mixture, scales):
    """The same data and mixture in other units."""
    by = torch.tensor(scales, dtype=torch.float64)
    return torch.as_tensor(x).double() * by, em.Mixture(
        mixture.log_w, mixture.means * by, mixture.covariances * by[:, None] * by
    )


def in_javascript(view, rounds, folder):
    case = {"points": view.points, "start": view.start, "least": view.least, "rounds": rounds}
    (folder / "case.json").write_text(json.dumps(case))
    return json.loads(run_node(folder, RUN))


def test_columns_of_other_scales_lose_nothing():
    """Two clusters in columns of scale 1e4 and 0.01: at the truth, EM stays where it is, and all is drawn."""
    x, mixture = scaled(blobs(0), random_mixture(0), (1e4, 0.01))
    view = em_stepper(x, mixture)
    kept = np.reshape(view.points, (-1, 2))
    assert (abs(kept - x.numpy()) <= 0.51e-4 * np.ptp(x.numpy(), axis=0)).all()
    assert view.least == pytest.approx((em.FLOOR * kept.var(0)).tolist())
    for (low, high), column in zip(view.ranges, x.numpy().T, strict=True):
        assert low < column.min() and column.max() < high < column.max() + 2 * np.ptp(column)


def test_what_a_page_is_given():
    x, mixture = blobs(0), random_mixture(0)
    view = em_stepper(x, mixture, names=("a", "b"))
    assert repr(view) == "EMStepper(N=60, K=3)"
    kept = np.reshape(view.points, (-1, 2))
    assert (abs(kept - x.numpy()) <= 0.51e-4 * np.ptp(x.numpy(), axis=0)).all()  # five digits of the range
    assert view.parameters == view.start and view.source == view.trace == [] and view.names == ["a", "b"]
    (x0, x1), (y0, y1) = view.ranges
    assert x1 - x0 == pytest.approx(y1 - y0)
    both = np.concatenate([x, mixture.means])
    assert (both > [x0, y0]).all() and (both < [x1, y1]).all()


WRONG = {
    "not a plane": (
        lambda: em_stepper(blobs(0, d=3), random_mixture(0, d=3)),
        "x must lie in a plane.*got 3 columns",
    ),
    "too many points": (lambda: em_stepper(blobs(0, n=401), random_mixture(0)), "up to 400 points.*got 401"),
    "too many components": (lambda: em_stepper(blobs(0), random_mixture(0, k=7)), "6 components.* 7"),
    "names": (lambda: em_stepper(blobs(0), random_mixture(0), names=["x"]), "2 words.*got 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_stepper_refuses(name):
    call, says = WRONG[name]
    with pytest.raises(ValueError, match=says):
        call()


def state(page, name):
    page.evaluate(SETTLE)
    return page.evaluate(f"() => model.get('{name}')")


def test_pressing_the_steps_climbs_and_the_bound_meets_the_likelihood(show):
    x, mixture = blobs(0), random_mixture(0)
    page = show(em_stepper(x, mixture))
    gap = page.locator(".numbers .gap output")
    assert gap.text_content() != "0: they touch"
    for _ in range(3):
        page.get_by_role("button", name="E-step").click()
        page.evaluate(SETTLE)
        assert gap.text_content() == "0: they touch"
        page.get_by_role("button", name="M-step").click()
        page.evaluate(SETTLE)
        assert gap.text_content() != "0: they touch"
    trace = state(page, "trace")
    assert [step for step, _, _ in trace] == ["", "E", "M", "E", "M", "E", "M"]
    bounds, evidence = np.array([entry[1:] for entry in trace]).T
    assert (np.diff(bounds) > -1e-12).all() and (np.diff(evidence) > -1e-12).all()
    points = torch.tensor(state(page, "points")).double().view(-1, 2)
    *_, ours = em.iterate(mixture, points, 3)
    np.testing.assert_allclose(state(page, "parameters"), flat(ours), atol=1e-6)
    page.get_by_role("button", name="Ten rounds").click()
    *_, ours = em.iterate(ours, points, 10)
    np.testing.assert_allclose(state(page, "parameters"), flat(ours), atol=1e-6)
    page.get_by_role("button", name="Put it back").click()
    assert (
        state(page, "parameters") == state(page, "start")
        and state(page, "trace") == state(page, "source") == []
    )


def test_a_mean_is_dragged_and_moved_by_keys(show):
    view = em_stepper(blobs(0), random_mixture(0))
    page = show(view, views=2)
    (x0, x1), (y0, y1) = view.ranges
    handle = page.get_by_role("slider", name="mean of component B").first
    box, grip = page.locator(".paper").first.bounding_box(), handle.locator("text").bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"], steps=3)
    moved = state(page, "parameters")
    assert moved[7:9] == pytest.approx([x0 + 0.75 * (x1 - x0), y1 - 0.75 * (y1 - y0)], abs=0.02 * (x1 - x0))
    assert moved[:7] == view.start[:7] and moved[9:] == view.start[9:]
    page.mouse.move(box["x"] + 9 * box["width"], box["y"] - 900)
    page.mouse.up()
    assert state(page, "parameters")[7:9] == [x1, y1]  # held at the edge
    handle.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Shift+ArrowDown", "Tab"):
        page.keyboard.press(key)
    unit = (x1 - x0) / 60
    assert state(page, "parameters")[7:9] == pytest.approx([x1 - 2 * unit, y1 - 5 * unit])
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(x1 - 2 * unit, abs=0.01)
    second = page.get_by_role("slider", name="mean of component B").nth(1)
    # The other view keeps in step
    assert second.get_attribute("transform") == handle.get_attribute("transform")


def test_a_component_of_no_weight_is_refused():
    mixture = random_mixture(0, k=2)
    empty = em.Mixture(torch.tensor([0.0, -torch.inf]), mixture.means, mixture.covariances)
    with pytest.raises(ValueError, match="start must have weights above 0"):
        em_stepper(blobs(0), empty)


def drawn_gap(page):
    """The gap in nats, and its height in the chart as the record begins, in pixels."""
    page.evaluate(SETTLE)
    _, start, end = re.split("[MV]", page.locator("path.gap").first.get_attribute("d"))
    return float(page.locator(".numbers .gap output").text_content()), float(start.split()[1]) - float(end)


def test_a_gap_that_doubles_is_drawn_about_twice_as_high_while_dragging(show):
    view = em_stepper(blobs(0), random_mixture(0))
    page = show(view)
    first = gap, height = drawn_gap(page)
    assert 20 < height < 60, "there is room for more"
    box = page.locator(".plane .paper").bounding_box()
    grip = page.get_by_role("slider", name="mean of component B").locator("text").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    seen = []
    for part in (*np.linspace(0, 1, 21), *np.linspace(1, 0, 11)):  # to the corner and back
        page.mouse.move(x + part * (box["x"] - x), y + part * (box["y"] - y))
        seen.append(drawn_gap(page))
    page.mouse.up()
    assert (np.diff([gap for gap, _ in seen[:21]]) > 0).all()
    assert (np.diff([height for _, height in seen[:21]]) > 0).all(), "a larger gap is drawn larger"
    (twice, higher) = min(seen[:21], key=lambda pair: abs(pair[0] - 2 * gap))
    assert twice == pytest.approx(2 * gap, rel=0.2)
    assert higher / height == pytest.approx(twice / gap, rel=0.1)
    gaps, heights = np.transpose(seen[20:])
    np.testing.assert_allclose(
        heights / gaps, heights[0] / gaps[0], rtol=0.02
    )  # the scale stays on the way back
    page.get_by_role("button", name="Put it back").click()
    assert drawn_gap(page) == pytest.approx(first)


def test_the_chart_looks_closer_when_the_start_is_out_of_sight(show):
    page = show(em_stepper(blobs(0), random_mixture(0)))
    scale = page.locator(".chart > text:not(.name)").all_text_contents
    begun = scale()
    page.get_by_role("button", name="E-step").click()
    page.evaluate(SETTLE)
    assert scale() == begun
    page.get_by_role("button", name="Ten rounds").click()
    page.evaluate(SETTLE)
    low, high = (float(text.replace("−", "-")) for text in scale())
    shown = np.array([entry[1:] for entry in state(page, "trace")[-9:]], float)
    assert (low, high) == pytest.approx((shown.min(), shown.max()), abs=0.01)
