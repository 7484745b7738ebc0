"""The stepper: its JavaScript against `vae_lab.em`, what it refuses, and what pressing and dragging do."""

import json

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


def means_of(mixture, x, q):
    return [mixture.lower_bound(x, q).value.mean().item(), mixture.log_evidence(x).mean().item()]


CASES = {
    **{f"random {seed}": (lambda seed=seed: (blobs(seed), random_mixture(seed)), 12) for seed in range(4)},
    "four components": (lambda: (blobs(9), random_mixture(9, k=4)), 8),
    "one component": (lambda: (blobs(8), random_mixture(8, k=1)), 2),
    "far away": (lambda: (blobs(7), em.start(blobs(7), [[900.0, 0.0], [901.0, 5.0]], variance=0.5)), 5),
    "one point each": (
        lambda: (10 * torch.eye(2).double(), em.start(torch.eye(2), 10 * torch.eye(2), variance=1.0)),
        3,
    ),
    "one point, many times": (lambda: (torch.ones(9, 2), em.start(torch.eye(2), torch.eye(2))), 3),
}


@pytest.mark.filterwarnings("ignore::vae_lab.em.SingularCovarianceWarning")
@pytest.mark.parametrize("name", CASES)
def test_javascript_steps_as_python_does(name, tmp_path):
    make, rounds = CASES[name]
    x, mixture = make()
    view = em_stepper(x, mixture)
    x = em.as_data(np.reshape(view.points, (-1, 2)))  # the digits that travel
    case = {"points": view.points, "start": view.start, "least": view.least, "rounds": rounds}
    (tmp_path / "case.json").write_text(json.dumps(case))
    theirs = json.loads(run_node(tmp_path, RUN))
    unsure = torch.full((len(x), len(mixture.means)), -np.log(len(mixture.means))).double()
    record = [means_of(mixture, x, unsure)]
    for _ in range(rounds):
        q = mixture.e_step(x)
        record.append(means_of(mixture, x, q))
        mixture = mixture.m_step(x, q)
        record.append(means_of(mixture, x, q))
    np.testing.assert_allclose(theirs["out"], record, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs["parameters"], flat(mixture), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.exp(theirs["q"]), q.exp().flatten(), atol=1e-6)
    np.testing.assert_allclose(theirs["knowsNothing"], flat(mixture.m_step(x, unsure)), rtol=1e-6, atol=1e-6)


def test_what_a_page_is_given():
    x, mixture = blobs(0), random_mixture(0)
    view = em_stepper(x, mixture, names=("a", "b"))
    assert repr(view) == "EMStepper(N=60, K=3)"
    np.testing.assert_allclose(np.reshape(view.points, (-1, 2)), x, atol=5.1e-5)
    assert view.parameters == view.start and view.source == view.trace == [] and view.names == ["a", "b"]
    (x0, x1), (y0, y1) = view.ranges
    assert x1 - x0 == pytest.approx(y1 - y0)
    both = np.concatenate([x, mixture.means])
    assert (both > [x0, y0]).all() and (both < [x1, y1]).all()


WRONG = {
    "not a plane": (lambda: em_stepper(blobs(0, d=3), random_mixture(0, d=3)), r"\(N, 2\), got \(60, 3\)"),
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
    gap = page.locator(".number.gap")
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
    points = em.as_data(np.reshape(state(page, "points"), (-1, 2)))
    *_, ours = em.steps(mixture, points, 3)
    np.testing.assert_allclose(state(page, "parameters"), flat(ours), atol=1e-6)
    page.get_by_role("button", name="Ten rounds").click()
    *_, ours = em.steps(ours, points, 10)
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
    assert handle.get_attribute("aria-valuenow") == f"{x1 - 2 * unit:.2f}"
    second = page.get_by_role("slider", name="mean of component B").nth(1)
    assert second.get_attribute("transform") == handle.get_attribute(
        "transform"
    )  # the other view keeps in step


def test_it_fits_a_phone_and_cleans_up(show):
    page = show(em_stepper(blobs(0), random_mixture(0)), views=2)
    page.set_viewport_size({"width": 320, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    everything = page.evaluate("listening()")
    page.evaluate("ends[0]()")
    assert 0 < page.evaluate("listening()") == everything / 2
    page.evaluate("ends[1]()")
    assert page.evaluate("listening()") == 0 and page.locator(".vae-widget").count() == 0
