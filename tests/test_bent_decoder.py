"""A bent decoder's posterior: against quadrature and a general optimizer, and in a browser."""

import json
from math import log, pi

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from showing import SETTLE, run_node

from vae_lab.widgets import bent_decoder

RUN = """
import { bestGaussian, boundAt, posterior } from "./bent.js";
import { readFileSync } from "node:fs";
const found = JSON.parse(readFileSync("case.json")).map(([x1, x2, c, sigma]) => {
  const { z, density, logP } = posterior([x1, x2], { c, sigma });
  const at = z.findIndex((value) => value > 0.7);
  return { logP, z: z[at], density: density[at], q: bestGaussian([x1, x2], { c, sigma }),
    elsewhere: boundAt(-0.4, [x1, x2], { c, sigma }) };
});
process.stdout.write(JSON.stringify(found));
"""
CASES = [(0.3, 1.2, 0.7, 0.4), (0.0, 3.0, 1.0, 0.25), (-2.5, -1.0, 0.4, 1.5), (1.1, 0.4, 0.0, 0.5)]
each_case = pytest.mark.parametrize("i", range(len(CASES)))


def log_joint(z, x1, x2, c, sigma):
    miss = (x1 - z) ** 2 + (x2 - c * (z**2 - 1)) ** 2
    return -(z**2) / 2 - miss / (2 * sigma**2) - 1.5 * log(2 * pi) - 2 * log(sigma)


def elbo(mean, log_scale, *case):
    """By quadrature: E_q[log p(x, z)] + H[q]."""
    scale = np.exp(log_scale)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    inside = (weights * log_joint(mean + scale * nodes, *case)).sum() / weights.sum()
    return inside + log_scale + (1 + log(2 * pi)) / 2


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "case.json").write_text(json.dumps(CASES))
    return json.loads(run_node(folder, RUN))


@each_case
def test_evidence_and_posterior_are_those_of_quadrature(in_javascript, i):
    found, case = in_javascript[i], CASES[i]
    points = [-1, 0, 1, case[0]]
    evidence = quad(lambda z: np.exp(log_joint(z, *case)), -9, 9, points=points, limit=400, epsabs=0)[0]
    assert found["logP"] == pytest.approx(log(evidence), abs=1e-6)
    assert found["density"] == pytest.approx(np.exp(log_joint(found["z"], *case)) / evidence, rel=1e-6)


@each_case
def test_the_gaussian_is_the_best_of_all(in_javascript, i):
    """Against a general optimizer from many starts; and the bound in closed form against quadrature."""
    found, case = in_javascript[i], CASES[i]
    q, other = found["q"], found["elsewhere"]
    assert q["elbo"] == pytest.approx(elbo(q["mean"], log(q["scale"]), *case), abs=1e-6)
    assert other["elbo"] == pytest.approx(elbo(-0.4, log(other["scale"]), *case), abs=1e-6)
    assert other["elbo"] >= max(elbo(-0.4, log(other["scale"]) + d, *case) for d in (-0.05, 0.05))
    runs = [minimize(lambda p: -elbo(*p, *case), (m, -1.0), tol=1e-10) for m in np.linspace(-2.5, 2.5, 7)]
    assert q["elbo"] == pytest.approx(-min(run.fun for run in runs), abs=1e-6)
    assert found["logP"] - q["elbo"] > -1e-9


def test_two_equal_lobes_cost_log_two_and_a_straight_line_nothing(in_javascript):
    gaps = [found["logP"] - found["q"]["elbo"] for found in in_javascript]
    assert gaps[1] == pytest.approx(log(2), abs=0.02)
    assert gaps[3] == pytest.approx(0, abs=1e-9)
    (x1, _, _, sigma), q = CASES[3], in_javascript[3]["q"]
    assert q["mean"] == pytest.approx(x1 / (1 + sigma**2), abs=1e-6)  # as probabilistic PCA has it
    assert q["scale"] == pytest.approx(sigma / (1 + sigma**2) ** 0.5, abs=1e-6)


REFUSED = {
    "bend": ({"c": 2.0}, "c must be a finite number from 0 to 1, got 2.0"),
    "noise": ({"sigma": 0.0}, "sigma must be a finite number from 0.2 to 1.5, got 0.0"),
    "point": ({"x2": 5.0}, "x2 must be a finite number from -2 to 4, got 5.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        bent_decoder(**arguments)


def gap(page):
    page.evaluate(SETTLE)
    return float(page.locator(".numbers .kl output").text_content().split()[0])


def test_a_point_in_the_bend_has_two_lobes_and_a_straight_line_has_none(show):
    page = show(bent_decoder())
    assert 0 < gap(page) < 0.4
    handle = page.locator("[role=slider][aria-label=x]")
    box, frame = handle.locator(".dot").bounding_box(), page.locator(".frame").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] * 0.3, steps=4)
    page.mouse.up()
    assert gap(page) > 0.6
    assert page.locator(".foot [role=status]").text_content().startswith("✓ A gap of ")
    page.locator(".slider input").first.fill("0")
    assert gap(page) == 0
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.evaluate(SETTLE)
    assert page.evaluate("model.get('x1')") == pytest.approx(0.05, abs=0.02)
