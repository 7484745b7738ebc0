"""The widget that lays a Gaussian over a posterior: its sums against Python, and in a browser."""

import json
import re
from math import log, pi

import numpy as np
import pytest
import torch
from showing import SETTLE, run_node
from torch.distributions import MultivariateNormal

from vae_lab.inference import GridWarning
from vae_lab.variational import kl_on_grid, log_integral, square_grid
from vae_lab.widgets import bound
from vae_lab.widgets.bound import COUNT

RUN = """
import { bound, logEvidence } from "./quadrature.js";
import { readFileSync } from "node:fs";
const { count, half_width, settings } = JSON.parse(readFileSync("case.json"));
const bytes = readFileSync("log_joint");
const logJoint = Float32Array.from({ length: count ** 2 }, (_, n) => bytes.readFloatLE(4 * n));
const grid = { count, halfWidth: half_width, logJoint };
const evidence = logEvidence(grid);
process.stdout.write(JSON.stringify({ evidence, terms: settings.map((q) => bound(grid, evidence, q)) }));
"""
SETTINGS = [
    [1.3, 1.3, 0.5, 0.4, -0.5],
    [0.0, 0.0, 1.5, 1.5, 0.9],
    [-2.0, 1.0, 0.15, 0.15, 0.0],
    [0.3, -3.0, 0.2, 1.5, -0.95],
]


def product(z):
    """z ~ N(0, I), x = 2 = z₁ z₂ and noise of scale ½."""
    likelihood = -((2 - z.prod(-1)) ** 2) / 0.5 - 0.5 * log(2 * pi * 0.25)
    return -z.square().sum(-1) / 2 - log(2 * pi) + likelihood


def gaussian(m0, m1, s0, s1, rho):
    covariance = torch.tensor([[s0**2, rho * s0 * s1], [rho * s0 * s1, s1**2]], dtype=torch.float64)
    return MultivariateNormal(torch.tensor([m0, m1], dtype=torch.float64), covariance)


def closed_form(m0, m1, s0, s1, rho):
    """The ELBO by the moments of a Gaussian: no sum, no sample."""
    c, a, b = rho * s0 * s1, s0**2, s1**2
    of_product = m0 * m1 + c
    of_square = (m0 * m1) ** 2 + m0**2 * b + m1**2 * a + 4 * m0 * m1 * c + a * b + 2 * c**2
    log_prior = -(m0**2 + a + m1**2 + b) / 2 - log(2 * pi)
    log_lik = -(4 - 4 * of_product + of_square) / 0.5 - 0.5 * log(2 * pi * 0.25)
    return log_prior + log_lik + 1 + log(2 * pi * s0 * s1 * (1 - rho**2) ** 0.5)


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder, view = tmp_path_factory.mktemp("node"), bound(product)
    case = {"count": view.count, "half_width": view.grid_half_width, "settings": SETTINGS}
    (folder / "case.json").write_text(json.dumps(case))
    (folder / "log_joint").write_bytes(view.log_joint)
    return json.loads(run_node(folder, RUN))


def test_javascript_sums_as_python_does(in_javascript):
    points, cell = square_grid(9.0, COUNT)
    log_joint = product(points).float().double()  # as it travels
    evidence = log_integral(log_joint, cell)
    assert in_javascript["evidence"] == pytest.approx(evidence.item(), abs=1e-9)
    for setting, terms in zip(SETTINGS, in_javascript["terms"], strict=True):
        log_q = gaussian(*setting).log_prob(points)
        elbo = (log_q.exp() * (log_joint - log_q)).sum() * cell
        assert terms["elbo"] == pytest.approx(elbo.item(), rel=1e-9, abs=1e-6)
        kl = kl_on_grid(log_q, log_joint - evidence, cell)
        assert terms["kl"] == pytest.approx(kl.item(), rel=1e-9, abs=1e-6)


def test_the_total_is_the_evidence_wherever_q_is(in_javascript):
    for terms in in_javascript["terms"]:
        assert terms["elbo"] + terms["kl"] == pytest.approx(in_javascript["evidence"], abs=1e-3)
        assert terms["mass"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("i", [0, 2])
def test_the_bound_is_that_of_the_moments(in_javascript, i):
    assert in_javascript["terms"][i]["elbo"] == pytest.approx(closed_form(*SETTINGS[i]), abs=1e-5)


def test_the_regions_hold_their_shares():
    """Of a standard Gaussian, the smallest region with a share s is a disk of radius √(−2 log(1 − s))."""
    view = bound(lambda z: -z.square().sum(-1) / 2)
    for region, share in zip(view.regions, (0.95, 0.8, 0.5, 0.2), strict=True):
        points = np.array([[float(v) for v in pair.split()] for pair in re.findall(r"[ML]([^MLZ]+)", region)])
        radius = (-2 * log(1 - share)) ** 0.5
        assert np.hypot(*points.T) * 3 / 100 == pytest.approx(radius, abs=0.06)


REFUSED = {
    "start": ({"start": (0, 0, 0, 1, 0)}, r"start must be.*got \(0.0, 0.0, 0.0"),
    "count": ({"start": (0, 0)}, "start must be two means"),
    "preset": ({"presets": {"best": (0, 0, 1, 1, 2)}}, r"presets\['best'\] must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        bound(product, **arguments)


def test_refuses_what_is_no_number_a_code():
    with pytest.raises(ValueError, match="sum over the last axis"):
        bound(lambda z: -z.square())


def state(page):
    page.evaluate(SETTLE)
    return page.evaluate("['m0', 'm1', 's0', 's1', 'rho'].map((name) => model.get(name))")


def numbers(page):
    page.evaluate(SETTLE)
    texts = page.locator(".vae-bound").first.locator("output").all_text_contents()
    return [float(text.replace("−", "-")) for text in texts]


def test_q_is_dragged_stretched_and_put_back(show):
    page = show(bound(product, start=(0, 0, 0.5, 0.5, 0)), views=2)
    box = page.locator(".paper").first.bounding_box()
    at = lambda x, y: (box["x"] + (x + 3) / 6 * box["width"], box["y"] + (3 - y) / 6 * box["height"])  # noqa: E731
    before = numbers(page)
    page.mouse.move(*at(0, 0))
    page.mouse.down()
    page.mouse.move(*at(1.3, 1.2), steps=3)
    page.mouse.up()
    assert state(page) == pytest.approx([1.3, 1.2, 0.5, 0.5, 0], abs=0.03)
    after = numbers(page)
    assert after[0] > before[0] and after[1] < before[1]
    assert after[2] == pytest.approx(before[2], abs=0.011)  # the total never moves
    page.mouse.move(*at(1.8, 1.7))
    page.mouse.down()
    page.mouse.move(*at(2.3, 9), steps=3)
    page.mouse.up()
    assert state(page) == pytest.approx([1.3, 1.2, 1.0, 1.5, 0], abs=0.03)  # held at the largest scale
    page.get_by_role("button", name="Put it back").nth(1).click()
    assert state(page) == [0, 0, 0.5, 0.5, 0]
    assert page.evaluate("saves") > 0


def test_q_is_moved_by_keys_and_presets_and_said_aloud(show):
    page = show(bound(product, presets={"both lobes": (0, 0, 1.4, 1.4, 0.9)}))
    page.get_by_role("slider", name="mean of q").focus()
    for key in ("ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert state(page) == pytest.approx([0.05, 0.25, 0.8, 0.8, 0])
    assert page.get_by_role("slider", name="mean of q").get_attribute("aria-valuetext") == "z₁ 0.05, z₂ 0.25"
    page.get_by_role("slider", name="scales of q").focus()
    page.keyboard.press("ArrowDown")
    assert state(page) == pytest.approx([0.05, 0.25, 0.8, 0.75, 0])
    page.get_by_role("button", name="both lobes").click()
    assert state(page) == [0, 0, 1.4, 1.4, 0.9]


def test_the_ellipse_is_that_of_q(show):
    page = show(bound(product, start=(1, -0.5, 1.2, 0.6, 0.8)))
    drawn = page.locator("ellipse.of-q").first
    rx, ry = (float(drawn.get_attribute(name)) * 6 / 256 for name in ("rx", "ry"))
    covariance = gaussian(1, -0.5, 1.2, 0.6, 0.8).covariance_matrix.numpy()
    values, vectors = np.linalg.eigh(covariance)
    assert [ry, rx] == pytest.approx(np.sqrt(values), abs=1e-6)
    turned = -float(re.search(r"rotate\(([^)]+)\)", drawn.get_attribute("transform"))[1])
    assert np.tan(np.radians(turned)) == pytest.approx(vectors[1, 1] / vectors[0, 1], abs=1e-6)


def bell(scale=1.0, at=0.0, constant=0.0):
    return lambda z: -((z - at) / scale).square().sum(-1) / 2 - 2 * log(scale) - log(2 * pi) + constant


@pytest.mark.parametrize("log_joint", [bell(0.001, 0.013), bell(30.0), bell(at=8.0), lambda z: 0 * z[:, 0]])
def test_a_posterior_that_the_grid_does_not_hold_is_said_to_be_none(log_joint):
    with pytest.warns(GridWarning, match="no integral"):
        bound(log_joint)


@pytest.mark.parametrize("constant", [-1e6, 1e12])
def test_nats_that_float32_does_not_tell_apart_are_refused(constant):
    with pytest.raises(ValueError, match="subtract a constant"):
        bound(bell(constant=constant))


def test_what_travels_is_finite_and_has_no_gradient():
    with pytest.raises(ValueError, match="must give a finite number"):
        bound(lambda z: -1e38 * z.square().sum(-1))
    weight = torch.ones((), requires_grad=True)

    def differentiated(z):
        with torch.enable_grad():
            return bell()(z) * weight

    assert bound(differentiated).log_joint == bound(bell()).log_joint


def test_a_task_is_done_once_the_kl_is_below_its_goal(show):
    page = show(bound(product, start=(0, 0, 0.5, 0.5, 0), goal=1.0))
    assert page.locator("strong").text_content() == ""
    for name, value in zip(("m0", "m1", "s0", "s1", "rho"), (1.37, 1.37, 0.46, 0.46, -0.5), strict=True):
        page.evaluate("([name, value]) => model.set(name, value)", [name, value])
    page.evaluate(SETTLE)
    kl = float(page.locator(".numbers .kl output").text_content())
    assert kl < 1 and page.locator("strong").text_content() == f"✓ KL {kl:.2f} nats."
    page.evaluate("() => model.set('m0', -3)")
    page.evaluate(SETTLE)
    assert float(page.locator(".numbers .kl output").text_content()) > 1
    assert page.locator("strong").text_content() == f"✓ KL {kl:.2f} nats."  # it has been done
