"""The widget with one draw and two clouds of gradients: its numbers against PyTorch, and in a browser."""

import json

import numpy as np
import pytest
import torch
from showing import SETTLE, run_node
from torch.distributions import Independent, Normal

from vae_lab import estimators
from vae_lab.widgets import two_gradients

RUN = """
import { OBJECTIVES, gradients, spread } from "./gradients.js";
import { readFileSync } from "node:fs";
const { noise, cases } = JSON.parse(readFileSync("case.json"));
const found = cases.map(([name, mu, sigma]) => {
  const objective = OBJECTIVES[name], plain = gradients(objective, mu, sigma, noise, false);
  const steadied = gradients(objective, mu, sigma, noise, true);
  return { exact: objective.exact(mu, sigma), plain, steadied, spread: spread(plain.score[0]) };
});
process.stdout.write(JSON.stringify(found));
"""
OBJECTIVES = {
    "bowl": lambda z: -((z - 1) ** 2) / 2,
    "waves": lambda z: torch.sin(5 * z),
    "step": lambda z: torch.where(z > 1, 1.0, 0.0) + 0 * z,
}
CASES = [(name, mu, sigma) for name in OBJECTIVES for mu, sigma in ((-0.5, 0.8), (1.3, 0.1), (2.9, 2.0))]
each_case = pytest.mark.parametrize("i", range(len(CASES)), ids=[f"{n} {m} {s}" for n, m, s in CASES])


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder, noise = tmp_path_factory.mktemp("node"), two_gradients().noise
    (folder / "case.json").write_text(json.dumps({"noise": noise, "cases": CASES}))
    return torch.tensor(noise, dtype=torch.float64), json.loads(run_node(folder, RUN))


@each_case
def test_javascript_estimates_as_pytorch_does(in_javascript, i, monkeypatch):
    """The estimators of the package, made to draw the widget's ε."""
    noise, found = in_javascript
    name, mu, sigma = CASES[i]
    phi = torch.tensor([mu, sigma], dtype=torch.float64)

    def kept(phi):
        q = Independent(Normal(phi[:, :1], phi[:, 1:]), 1)
        q.rsample = lambda: phi[:, :1] + phi[:, 1:] * noise[:, None]
        q.sample = lambda: q.rsample().detach()
        return q

    f, n = (lambda z: OBJECTIVES[name](z[:, 0])), len(noise)
    expected = {
        ("plain", "path"): estimators.pathwise(kept, phi, f, n_samples=n),
        ("plain", "score"): estimators.score_function(kept, phi, f, n_samples=n),
        ("steadied", "score"): estimators.score_function(
            kept, phi, f, n_samples=n, baseline=estimators.leave_one_out
        ),
    }
    for (kind, way), samples in expected.items():
        np.testing.assert_allclose(np.array(found[i][kind][way]).T, samples, atol=1e-6, rtol=1e-9)
    assert found[i]["steadied"]["path"] == found[i]["plain"]["path"]
    scores = expected["plain", "score"][:, 0]
    assert found[i]["spread"]["mean"] == pytest.approx(scores.mean().item(), abs=1e-6)
    assert found[i]["spread"]["sd"] == pytest.approx(scores.std().item(), abs=1e-6)


@each_case
def test_the_line_is_the_gradient_of_the_integral(in_javascript, i):
    """Finite differences of E[f(z)], summed on a fine grid of ε; the step as a difference of areas."""
    name, mu, sigma = CASES[i]
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    weights = Normal(0.0, 1.0).log_prob(grid).exp() * (grid[1] - grid[0])

    def mean(mu, sigma):
        if name == "step":
            return Normal(0.0, 1.0).cdf(torch.tensor((mu - 1) / sigma, dtype=torch.float64)).item()
        return (OBJECTIVES[name](mu + sigma * grid) * weights).sum().item()

    h = 1e-4
    slopes = [mean(mu + h, sigma) - mean(mu - h, sigma), mean(mu, sigma + h) - mean(mu, sigma - h)]
    assert in_javascript[1][i]["exact"] == pytest.approx([s / (2 * h) for s in slopes], abs=2e-4, rel=2e-4)


REFUSED = {
    "objective": ({"objective": "hill"}, "objective must be one of bowl, waves, step, got 'hill'"),
    "mean": ({"mu": 5.0}, "mu must be a finite number from -3 to 3, got 5.0"),
    "scale": ({"sigma": 0.0}, "sigma must be a finite number from 0.1 to 2, got 0.0"),
    "draws": ({"n_samples": 1}, "n_samples must be a whole number from 2 to 1000, got 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        two_gradients(**arguments)


def state(page):
    page.evaluate(SETTLE)
    return page.evaluate("['mu', 'sigma'].map((name) => model.get(name))")


def numbers(page):
    page.evaluate(SETTLE)
    texts = page.locator(".vae-two-gradients").first.locator("output").all_text_contents()
    return [float(text.replace("−", "-")) for text in texts]


def test_the_gaussian_is_dragged_and_the_draw_goes_with_it(show):
    view = two_gradients(mu=0, sigma=1)
    page = show(view, views=2)
    eps = view.noise[view.which]
    assert numbers(page) == pytest.approx([1 - eps, 1 - eps, (1 - eps) * eps], abs=0.006)
    box = page.locator(".paper").first.bounding_box()
    x = lambda z: box["x"] + (z + 4) / 8 * box["width"]  # noqa: E731
    for name, start, end in (("μ", 0, -1), ("σ", 0, 0.5)):
        handle = page.locator(f"[role=slider][aria-label={name}]").first.bounding_box()
        y = handle["y"] + handle["height"] / 2
        page.mouse.move(x(start if name == "μ" else state(page)[0] + 1), y)
        page.mouse.down()
        page.mouse.move(x(end), y, steps=3)
        page.mouse.up()
    mu, sigma = state(page)
    assert [mu, sigma] == pytest.approx([-1, 1.5], abs=0.05)
    slope = 1 - (mu + sigma * eps)
    assert numbers(page) == pytest.approx([slope, slope, slope * eps], abs=0.006)
    page.get_by_role("button", name="Put it back").nth(1).click()
    assert state(page) == [0, 1]
    assert page.evaluate("saves") > 0


def test_keys_and_buttons_move_it(show):
    page = show(two_gradients(mu=2.9))
    page.locator("[role=slider][aria-label=μ]").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    assert state(page)[0] == 3  # held at the end of the slider
    page.locator("[role=slider][aria-label=σ]").focus()
    page.keyboard.press("ArrowUp")
    assert state(page)[1] == pytest.approx(0.85)
    before = numbers(page)
    page.get_by_role("button", name="another ε").click()
    assert numbers(page) != before
    page.get_by_role("button", name="step").click()
    assert numbers(page) == [0, 0, 0]
    assert page.get_by_role("button", name="step").get_attribute("aria-pressed") == "true"


def test_the_baseline_narrows_the_score_and_leaves_the_path(show):
    page = show(two_gradients(mu=-2))

    def spreads():
        texts = page.locator(".clouds text").all_text_contents()
        return [float(text[2:]) for text in texts if text.startswith("±")]

    before = spreads()
    page.get_by_role("button", name="baseline").click()
    page.evaluate(SETTLE)
    after = spreads()
    assert after[0] < before[0] and after[1] == before[1]  # score, then path, in μ
