"""The cloud against the prior: its split of the KL against the package and closed forms, and in a browser."""

import json
from math import log

import pytest
import torch
from showing import SETTLE, run_node
from torch.distributions import Independent, Normal, kl_divergence

from vae_lab import information
from vae_lab.widgets import aggregate_posterior

RUN = """
import { cloud, surgery } from "./surgery.js";
import { readFileSync } from "node:fs";
const { cases, fine } = JSON.parse(readFileSync("case.json"));
const found = cases.map(({ centers, sigma }) => [101, fine].map((side) => {
  const axis = Float64Array.from({ length: side }, (_, i) => -4 + (8 * i) / (side - 1));
  return surgery(centers, sigma, cloud(centers, sigma, axis, axis), axis, axis);
}));
process.stdout.write(JSON.stringify(found));
"""
CASES = [(1, 0.5), (2, 0.15), (16, 0.3), (64, 0.8), (1, 1.0)]


def centers(count, sigma):
    view = aggregate_posterior()
    return [value * (1 - sigma**2) ** 0.5 for value in view.directions[: 2 * count]]


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    cases = [{"centers": centers(*case), "sigma": case[1]} for case in CASES]
    (folder / "case.json").write_text(json.dumps({"cases": cases, "fine": 801}))
    return json.loads(run_node(folder, RUN))


@pytest.mark.parametrize("i", range(len(CASES)))
def test_the_split_is_that_of_the_package(in_javascript, i):
    (count, sigma), (found, fine) = CASES[i], in_javascript[i]
    mu = torch.tensor(centers(count, sigma), dtype=torch.float64).view(-1, 2)
    q = Independent(Normal(mu, torch.full_like(mu, sigma)), 1)
    p = Independent(Normal(torch.zeros_like(mu[0]), torch.ones_like(mu[0])), 1)
    mean = kl_divergence(q, p.expand([count])).mean().item()
    assert found["mean"] == pytest.approx(mean, abs=1e-9)
    assert found["marginal"] == pytest.approx(fine["marginal"], abs=2e-3 + 0.01 * (sigma < 0.2))
    assert found["mass"] == pytest.approx(1, abs=1e-3)
    split = information.surgery(q, p, n_samples=20_000 // count, seed=1)
    for name in ("information", "marginal"):
        drawn = getattr(split, name)
        error = drawn.std() / len(drawn) ** 0.5 if len(drawn) > 1 else torch.tensor(0.02)
        assert fine[name] == pytest.approx(drawn.mean().item(), abs=5 * error.item() + 0.02)
    assert -1e-3 < found["information"] < log(count) + 1e-2 and found["marginal"] > -1e-3


def test_one_image_tells_nothing_and_many_wide_ones_are_the_prior(in_javascript):
    alone, wide = in_javascript[0][1], in_javascript[4][1]
    assert alone["information"] == pytest.approx(0, abs=1e-4)
    assert wide["mean"] == wide["information"] + wide["marginal"] == pytest.approx(0, abs=1e-3)


REFUSED = {
    "images": ({"power": 7}, "power must be a whole number from 0 to 6, got 7"),
    "width": ({"sigma": 0.1}, "sigma must be a finite number from 0.15 to 1, got 0.1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        aggregate_posterior(**arguments)


def nats(page):
    page.evaluate(SETTLE)
    return [float(text.split()[0].replace("−", "-")) for text in page.locator("output").all_text_contents()]


def test_wider_codes_tell_less_and_more_images_fill_the_prior(show):
    page = show(aggregate_posterior())
    information_, marginal, mean = nats(page)
    assert information_ + marginal == pytest.approx(mean, abs=0.011)
    images, width = page.locator(".slider input").all()
    width.fill("60")
    less = nats(page)
    assert less[0] < information_ and less[1] < marginal
    width.fill("15")
    images.fill("6")
    more = nats(page)
    assert more[0] > information_ and more[1] < marginal
    bar = page.locator(".bar rect.information").get_attribute("width")
    assert float(bar) == pytest.approx(more[0] * 232 / 5, abs=0.5)
    page.get_by_role("button", name="Put it back").click()
    assert nats(page) == [information_, marginal, mean]
