"""The phase portrait of the linear VAE: its numbers against autograd and closed forms, and in a browser."""

import json
import math
from itertools import pairwise

import pytest
import torch
from showing import SETTLE, run_node

from vae_lab.widgets import phase_portrait

CASES = [(0.3, -0.2, 1.5), (-1.7, 0.9, 0.6), (0.01, 0.01, 4.0), (1.2, 0.4, 1.0)]
RUN = """
import { boundOf, climb, curvatures, klOf, slopes, summit, wait } from "./linear_climb.js";
import { readFileSync } from "node:fs";
const { cases, starts } = JSON.parse(readFileSync("case.json"));
const found = cases.map(([w, v, lambda]) => ({
  bound: boundOf(w, v, lambda), slopes: slopes(w, v, lambda), kl: klOf(w, v, lambda),
  curvatures: curvatures(lambda), summit: summit(lambda),
  end: [...climb(w, v, lambda, 4000, 0.1).path.slice(-2)],
}));
const waits = starts.map((start) => wait(climb(start, start, 1.5, 8000, 0.01).kl, 1.5));
process.stdout.write(JSON.stringify({ found, waits, never: wait(climb(0.5, 0.5, 0.9, 400, 0.1).kl, 0.9) }));
"""
STARTS = [1e-2, 1e-3, 1e-4, 1e-5]


def elbo(w, v, lam):
    """As chapter 11 writes it, with the posterior's scale at its best."""
    s = (1 + w**2) ** -0.5
    error = (1 - w * v) ** 2 * lam + w**2 * s**2
    return -error / 2 - (v**2 * lam + s**2 - 1 - 2 * s.log()) / 2


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "case.json").write_text(json.dumps({"cases": CASES, "starts": STARTS}))
    return json.loads(run_node(folder, RUN))


@pytest.mark.parametrize("i", range(len(CASES)))
def test_bound_slopes_and_curvatures_are_those_of_autograd(in_javascript, i):
    found, (w, v, lam) = in_javascript["found"][i], CASES[i]
    weights = torch.tensor([w, v], dtype=torch.float64, requires_grad=True)
    value = elbo(*weights, lam)
    silent = elbo(*torch.zeros(2, dtype=torch.float64), lam)
    assert found["bound"] + lam / 2 == pytest.approx((value - silent).item(), abs=1e-9)
    assert found["slopes"] == pytest.approx(torch.autograd.grad(value, weights)[0].tolist(), abs=1e-9)
    hessian = torch.autograd.functional.hessian(lambda x: elbo(*x, lam), torch.zeros(2, dtype=torch.float64))
    assert found["curvatures"] == pytest.approx(torch.linalg.eigvalsh(hessian).tolist(), abs=1e-9)
    s2 = 1 / (1 + w**2)
    q = torch.distributions.Normal(0.0, s2**0.5)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)) + v**2 * lam / 2
    assert found["kl"] == pytest.approx(kl.item(), abs=1e-6)


@pytest.mark.parametrize("i", range(len(CASES)))
def test_ascent_ends_where_the_closed_form_says(in_javascript, i):
    found, (_, _, lam) = in_javascript["found"][i], CASES[i]
    top = found["summit"]
    assert top["kl"] == pytest.approx(max(0, math.log(lam)) / 2, abs=1e-12)
    w, v = found["end"]
    near = 0.05 if lam == 1 else 1e-6  # there it is neither: flat to second order
    assert abs(w) == pytest.approx(top["w"], abs=near) and abs(v) == pytest.approx(top["v"], abs=near)


def test_the_wait_grows_by_the_same_for_each_tenth_of_the_distance(in_javascript):
    """It is log(1 / distance) / κ, κ the positive curvature."""
    waits = in_javascript["waits"]
    kappa = in_javascript["found"][0]["curvatures"][1]
    growth = [b - a for a, b in pairwise(waits)]
    assert growth == pytest.approx([math.log(10) / kappa / 0.01] * 3, rel=0.01)
    assert in_javascript["never"] == -1


REFUSED = {
    "ratio": ({"ratio": 9.0}, "ratio must be a finite number from 0.5 to 4, got 9.0"),
    "start": ({"w": 3.0}, "w must be a finite number from -2 to 2, got 3.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        phase_portrait(**arguments)


def told(page):
    page.evaluate(SETTLE)
    return page.locator(".numbers output").all_text_contents()


def test_a_start_is_dragged_and_the_ratio_decides(show):
    page = show(phase_portrait(1.5, w=0.5, v=0.5))
    kind, _, _, wait = told(page)
    assert kind == "a saddle: a plateau" and wait.startswith("after ")
    handle = page.locator("[role=slider][aria-label=start]")
    box, frame = handle.locator(".dot").bounding_box(), page.locator(".frame").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.505, frame["y"] + frame["height"] / 2, steps=4)
    page.mouse.up()
    page.evaluate(SETTLE)
    assert page.evaluate("model.get('w')") == pytest.approx(0.02, abs=0.02)
    assert page.evaluate("model.get('v')") == pytest.approx(0, abs=0.02)
    assert int(told(page)[3].split()[1]) > int(wait.split()[1]) + 20
    page.locator(".slider input").fill("10")
    assert told(page)[0] == "a maximum: collapse" and told(page)[3] == "never"
    handle.focus()
    page.keyboard.press("Shift+ArrowUp")
    page.evaluate(SETTLE)
    assert page.evaluate("model.get('v')") == pytest.approx(0.05, abs=0.02)
    page.get_by_role("button", name="Put it back").click()
    assert told(page)[0] == kind
