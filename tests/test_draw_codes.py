"""Codes from a source to choose: draws by their law, distances against torch, and in a browser."""

import json

import numpy as np
import pytest
import torch
from showing import PIXELS, SETTLE, run_node
from torch import nn

from vae_lab.metrics import nearest_distance
from vae_lab.nets import mlp_decoder
from vae_lab.widgets import draw_codes

RUN = """
import { fromBox, fromMixture, nearest } from "./code_sources.js";
import { random } from "./learning/random.js";
import { readFileSync } from "node:fs";
const { mixture, box, codes, asked } = JSON.parse(readFileSync("case.json"));
const chance = random(5);
const drawn = Array.from({ length: 20000 }, () => [...fromMixture(mixture, 3, chance)]);
const even = Array.from({ length: 5000 }, () => [...fromBox(box, chance.uniform)]);
process.stdout.write(JSON.stringify({ drawn, even, far: asked.map((z) => nearest(z, codes)) }));
"""


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    roots = torch.randn(2, 3, 3, dtype=torch.float64).tril() / 3 + torch.eye(3)
    weights, means = torch.tensor([0.3, 0.7]).double(), torch.tensor([[4.0, 0, 0], [-2, 1, 0]]).double()
    return weights, means, roots @ roots.mT


@pytest.fixture(scope="module")
def in_javascript(parts, tmp_path_factory):
    folder, (weights, means, covariances) = tmp_path_factory.mktemp("node"), parts
    torch.manual_seed(1)
    codes, asked = torch.randn(50, 3).double(), torch.randn(20, 3).double()
    mixture = {"weights": weights, "means": means, "roots": torch.linalg.cholesky(covariances)}
    case = {name: part.flatten().tolist() for name, part in mixture.items()}
    box = [[-1.0, 2.0], [0.0, 0.5], [3.0, 4.0]]
    given = {"mixture": case, "box": box, "codes": codes.flatten().tolist(), "asked": asked.tolist()}
    (folder / "case.json").write_text(json.dumps(given))
    found = json.loads(run_node(folder, RUN))
    return found | {"wanted": nearest_distance(asked, codes).tolist(), "box": box}


def test_draws_have_the_moments_of_the_mixture(in_javascript, parts):
    weights, means, covariances = parts
    mean = weights @ means
    off = means - mean
    covariance = (weights[:, None, None] * (covariances + off[:, :, None] * off[:, None])).sum(0)
    drawn = np.array(in_javascript["drawn"])
    error = covariance.diagonal().sqrt() / len(drawn) ** 0.5
    assert (np.abs(drawn.mean(0) - mean.numpy()) < 4.5 * error.numpy()).all()
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.25)
    first = np.linalg.norm(drawn - means[0].numpy(), axis=1) < np.linalg.norm(
        drawn - means[1].numpy(), axis=1
    )
    assert first.mean() == pytest.approx(0.3, abs=0.03)


def test_a_box_is_filled_evenly_and_distances_are_torchs(in_javascript):
    even, box = np.array(in_javascript["even"]), np.array(in_javascript["box"])
    assert (even >= box[:, 0]).all() and (even <= box[:, 1]).all()
    assert even.mean(0) == pytest.approx(box.mean(1), abs=0.06)
    assert in_javascript["far"] == pytest.approx(in_javascript["wanted"], abs=1e-6)


def example():
    torch.manual_seed(2)
    decoder = nn.Sequential(mlp_decoder(3, (1, 4, 4), hidden=(8,)), nn.Sigmoid())
    codes, new = torch.randn(2, 200, 3) + 6
    fitted = [1.0], codes.mean(0, keepdim=True), codes.T.cov()[None]
    return decoder, codes, new, {"fitted": fitted}


def refused(i, part):
    parts = list(example())
    parts[i] = part
    return parts


REFUSED = {
    "new codes": (refused(2, torch.randn(5, 2)), r"new_codes must be \(M, 3\)"),
    "no mixture": (refused(3, {"one": 3}), "mixtures\\['one'\\] must be weights, means and covariances"),
    "sizes": (
        refused(3, {"one": ([1.0], torch.zeros(1, 2), torch.eye(2)[None])}),
        r"must be \(K,\), \(K, 3\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        draw_codes(*arguments)


def told(page):
    page.evaluate(SETTLE)
    return page.locator(".numbers output").all_text_contents()


def test_a_source_that_knows_where_codes_are_draws_near_them(show):
    page = show(draw_codes(*example()))
    pixels = lambda: page.locator("canvas").first.evaluate(PIXELS)  # noqa: E731
    before = pixels()
    assert told(page) == ["0 of 24", "0 ± 0%"]
    page.get_by_role("button", name="fitted").click()
    near, share = told(page)
    assert int(near.split()[0]) > 16 and int(share.split()[0]) > 80 and pixels() != before
    first = pixels()
    page.get_by_role("button", name="Draw again").click()
    page.evaluate(SETTLE)
    assert pixels() != first and page.evaluate("model.get('seed')") == 1
    assert told(page)[1] == share  # of the source, whatever is shown
    page.get_by_role("button", name="Put it back").click()
    page.evaluate(SETTLE)
    assert pixels() == before
