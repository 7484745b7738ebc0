"""Two ways up one bound: slopes against the package's estimators, ascents by their law, and in a browser."""

import json

import numpy as np
import pytest
import torch
from showing import SETTLE, run_node
from torch.distributions import Independent, Normal

from vae_lab import estimators
from vae_lab.widgets import two_optimizers

RUN = """
import { ascend, noiseOf, shortOf, slopesBy } from "./ascent.js";
import { readFileSync } from "node:fs";
const { cases, sizes, rate } = JSON.parse(readFileSync("case.json"));
const slopes = cases.map(({ mu, sigma, eps }) => Object.fromEntries(
  [["path", false], ["score", false], ["score", true]].map(([way, baseline]) => [
    `${way} ${baseline}`,
    [...slopesBy(way, Float64Array.from(mu), Float64Array.from(sigma), Float64Array.from(eps), baseline)],
  ]),
));
const ends = sizes.map(([latents, draws, way, baseline]) => {
  const size = { latents, draws, steps: 150 };
  return Array.from({ length: 12 }, (_, seed) => {
    const { short, path } = ascend(way, -1, 0.5, noiseOf(size, seed), size, rate, baseline);
    return [short.slice(75).reduce((a, b) => a + b) / 76, path.length, short[0]];
  });
});
process.stdout.write(JSON.stringify({ slopes, ends, first: shortOf(-1, 0.5) }));
"""
SIZES = [(1, 32, "path", False), (8, 8, "path", False), (8, 8, "score", False), (8, 8, "score", True)]


def case(seed, latents, draws):
    g = np.random.default_rng(seed)
    mu, sigma = g.normal(size=latents), g.uniform(0.2, 2, latents)
    return {
        "mu": mu.tolist(),
        "sigma": sigma.tolist(),
        "eps": g.normal(size=(draws, latents)).ravel().tolist(),
    }


CASES = [case(0, 1, 2), case(1, 8, 8), case(2, 3, 32)]


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "case.json").write_text(json.dumps({"cases": CASES, "sizes": SIZES, "rate": 0.05}))
    return json.loads(run_node(folder, RUN))


@pytest.mark.parametrize("i", range(len(CASES)))
def test_slopes_are_those_of_the_packages_estimators(in_javascript, i):
    """On the same ε; the entropy's slope, 1/σ, is known and added."""
    mu, sigma = (torch.tensor(CASES[i][name], dtype=torch.float64) for name in ("mu", "sigma"))
    eps = torch.tensor(CASES[i]["eps"], dtype=torch.float64).view(-1, len(mu))

    def kept(phi):
        q = Independent(Normal(*phi.chunk(2, 1)), 1)
        q.rsample = lambda: phi[:, : len(mu)] + phi[:, len(mu) :] * eps
        q.sample = lambda: q.rsample().detach()
        return q

    phi, f = torch.cat([mu, sigma]), lambda z: -(z - 1).square().sum(1) / 2
    entropy = torch.cat([0 * mu, 1 / sigma])
    options = {"n_samples": len(eps)}
    wanted = {
        "path false": estimators.pathwise(kept, phi, f, **options),
        "score false": estimators.score_function(kept, phi, f, **options),
        "score true": estimators.score_function(kept, phi, f, baseline=estimators.leave_one_out, **options),
    }
    for name, samples in wanted.items():
        np.testing.assert_allclose(in_javascript["slopes"][i][name], samples.mean(0) + entropy, atol=1e-9)


def test_ascents_start_at_the_closed_form_and_end_by_their_noise(in_javascript):
    start = torch.distributions.kl_divergence(Normal(-1.0, 0.5), Normal(1.0, 1.0)).item()
    assert in_javascript["first"] == pytest.approx(start, abs=1e-6)
    quiet, path, score, steadied = ([run[0] for run in runs] for runs in in_javascript["ends"])
    assert max(quiet) < 0.01 and max(path) < 0.02
    assert min(score) > 5 * max(path) and max(steadied) < min(score)
    assert all(run[1:] == [302, pytest.approx(start)] for runs in in_javascript["ends"] for run in runs)


REFUSED = {
    "mean": ({"mu": 9.0}, "mu must be a finite number from -2 to 4, got 9.0"),
    "latents": ({"latents": 3}, "latents must be one of 1, 8, 64, got 3"),
    "draws": ({"draws": 1}, "draws must be one of 2, 8, 32, got 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        two_optimizers(**arguments)


def nats(page):
    page.evaluate(SETTLE)
    return [float(text.split()[0]) for text in page.locator(".numbers output").all_text_contents()]


def test_latents_lead_the_score_astray_and_a_baseline_brings_it_back(show):
    page = show(two_optimizers())
    page.get_by_role("group", name="latents L").get_by_role("button", name="8").click()
    page.get_by_role("group", name="draws a step").get_by_role("button", name="32").click()
    path, score = nats(page)
    assert score > 3 * path
    page.get_by_role("button", name="baseline for the score").click()
    again, steadied = nats(page)
    assert again == path and steadied < score / 2
    before = nats(page)
    page.get_by_role("button", name="other noise").click()
    assert nats(page) != before
    handle = page.locator("[role=slider][aria-label=start]")
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.evaluate(SETTLE)
    assert page.evaluate("model.get('mu')") == pytest.approx(-0.95)
    assert float(page.locator(".vae-widget").get_attribute("data-ms")) < 200  # one core of a busy machine
    page.get_by_role("button", name="Put it back").click()
    page.evaluate(SETTLE)
    assert page.evaluate("['mu', 'latents', 'seed'].map((n) => model.get(n))") == [-1, 1, 0]
