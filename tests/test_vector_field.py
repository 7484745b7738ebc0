"""The field of the best denoiser: its score against autograd, walkers by their law, and in a browser."""

import json

import numpy as np
import pytest
import torch
from showing import SETTLE, run_node
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vae_lab.nets import mlp
from vae_lab.widgets import vector_field

CENTERS, SHARES, SCALE = [[-2.0, -1.1], [1.9, -0.8], [0.1, 2.0]], [0.6, 0.3, 0.1], 0.35
HEAPS = {"centers": CENTERS, "shares": SHARES, "scale": SCALE}
CASES = [(1.2, 0.3, -0.7), (0.25, 2.5, 2.5), (0.6, -3.9, 3.1), (0.25, 0.1, 2.0)]
RUN = """
import { makeWalkers, scoreAt, sharesOf } from "./score_field.js";
import { readFileSync } from "node:fs";
const { heaps, cases } = JSON.parse(readFileSync("case.json"));
const found = cases.map(([sigma, x, y]) => scoreAt(heaps, sigma, x, y));
const field = (sigma) => (x, y) => scoreAt(heaps, sigma, x, y).score;
const runs = Array.from({ length: 8 }, (_, seed) => {
  const stuck = makeWalkers(200, heaps.centers[2], seed, 0.02);
  stuck.walk(field(0.25), 500);
  const annealed = makeWalkers(200, heaps.centers[2], seed, 0.02);
  for (const [sigma, steps] of [[1.2, 2000], [0.6, 1000], [0.25, 400]]) annealed.walk(field(sigma), steps);
  const wide = makeWalkers(200, heaps.centers[2], seed, 0.02);
  wide.walk(field(1.2), 2000);
  return [stuck, annealed, wide].map(({ places }) => [...places]);
});
const shares = sharesOf(Float64Array.of(-2, -1, 0, 2, 0, 3, 2, -1), heaps.centers);
process.stdout.write(JSON.stringify({ found, runs, shares }));
"""


def density(sigma):
    parts = Independent(Normal(torch.tensor(CENTERS).double(), (SCALE**2 + sigma**2) ** 0.5), 1)
    return MixtureSameFamily(Categorical(torch.tensor(SHARES).double()), parts)


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "case.json").write_text(json.dumps({"heaps": HEAPS, "cases": CASES}))
    return json.loads(run_node(folder, RUN))


@pytest.mark.parametrize("i", range(len(CASES)))
def test_the_score_is_that_of_autograd(in_javascript, i):
    sigma, *x = CASES[i]
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    log_p = density(sigma).log_prob(x)
    found = in_javascript["found"][i]
    assert found["logP"] == pytest.approx(log_p.item(), abs=1e-6)
    assert found["score"] == pytest.approx(torch.autograd.grad(log_p, x)[0].tolist(), abs=1e-6)


def test_walkers_stay_at_weak_noise_and_find_the_shares_from_strong_to_weak(in_javascript):
    middles = torch.tensor(CENTERS).double()

    def shares(kind):
        places = torch.tensor([run[kind] for run in in_javascript["runs"]]).double().view(-1, 2)
        return torch.cdist(places, middles).argmin(1).bincount(minlength=3) / len(places), places

    stuck, annealed, (_, wide) = shares(0)[0], shares(1)[0], shares(2)
    assert stuck[2] > 0.75 and (annealed - torch.tensor(SHARES)).abs().max() < 0.08
    drawn = density(1.2).sample((100_000,))
    error = drawn.std(0) / len(wide) ** 0.5
    assert ((wide.mean(0) - drawn.mean(0)).abs() < 4 * error + 0.05).all()
    assert wide.std(0).tolist() == pytest.approx(drawn.std(0).tolist(), rel=0.08)
    np.testing.assert_allclose(in_javascript["shares"], [0.25, 0.25, 0.5])


def denoisers():
    torch.manual_seed(0)
    return {1.2: mlp((2, 8, 2), nn.SiLU), 0.25: mlp((2, 8, 2), nn.SiLU)}


REFUSED = {
    "centers": ({"centers": [[9.0, 0.0]], "shares": [1.0]}, r"centers must be \(K, 2\) within ±4"),
    "shares": ({"shares": [0.6, 0.3, 0.3]}, "shares must be 3 numbers above 0 in sum 1"),
    "none": ({"denoisers": {}}, "denoisers must hold networks by the σ"),
    "outputs": ({"denoisers": {1.0: mlp((2, 3))}}, r"denoisers must all lead from \(B, 2\) to \(B, 2\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    changed, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        vector_field(**{"centers": CENTERS, "shares": SHARES, "denoisers": denoisers()} | changed)


def told(page):
    page.evaluate(SETTLE)
    return page.locator(".numbers output").all_text_contents()


def test_guesses_follow_the_point_and_walkers_the_field(show):
    view = vector_field(CENTERS, SHARES, denoisers())
    page = show(view)
    x = torch.tensor([view.x1, view.x2], dtype=torch.float64, requires_grad=True)
    (score,) = torch.autograd.grad(density(1.2).log_prob(x), x)
    assert float(told(page)[0]) == pytest.approx((1.44 * score.norm()).item(), abs=0.006)
    with torch.no_grad():
        learned = view_denoiser()(x.float())
    missed = (x + 1.44 * score - learned).norm().item()
    assert float(told(page)[1]) == pytest.approx(missed, abs=0.02)
    page.get_by_role("button", name="0.25").click()
    page.get_by_role("button", name="Let walkers go").click()
    page.wait_for_function("() => document.querySelectorAll('.numbers output')[4].textContent > 60")
    page.get_by_role("button", name="Pause").click()
    walk = page.evaluate("model.get('walk')")
    assert [phase[:2] for phase in walk] == [[1, "exact"]] and walk[0][2] == int(told(page)[4])
    shares = [float(share) for share in told(page)[3].split(", ")]
    assert sum(shares) == pytest.approx(1, abs=0.011) and shares[2] > 0.9
    before = told(page)
    page.evaluate("(walk) => { model.set('walk', []); model.set('walk', walk); }", walk)
    assert told(page) == before  # a link leads to the same walkers
    page.get_by_role("button", name="Back to one heap").click()
    assert told(page)[3:] == ["–", "0"]
    page.locator("[role=slider]").focus()
    page.keyboard.press("ArrowLeft")
    page.evaluate(SETTLE)
    assert page.evaluate("model.get('x1')") == pytest.approx(view.x1 - 0.05)


def view_denoiser():
    network = denoisers()[1.2]
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    return network
