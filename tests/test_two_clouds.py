"""Two clouds before their judges: numbers against the package's, clouds by their law, and in a browser."""

import json

import numpy as np
import pytest
import torch
from showing import SETTLE, run_node

from vae_lab import metrics
from vae_lab.widgets import two_clouds
from vae_lab.widgets.two_clouds import GENERATORS, LAWS

RUN = """
import { cloudsOf, judged } from "./two_clouds.js";
import { readFileSync } from "node:fs";
const { laws, generators, strokes } = JSON.parse(readFileSync("case.json"));
const found = generators.map((generator) => [0, 1, 2].map((r) => {
  const clouds = cloudsOf(laws, { generator, count: 60, seed: 3, strokes }, r);
  const lists = Object.entries(clouds).map(([name, points]) => [name, [...points]]);
  return { judged: judged(clouds), ...Object.fromEntries(lists) };
}));
const few = [20, 200].map((count) => Array.from({ length: 40 }, (_, r) =>
  judged(cloudsOf(laws, { generator: "honest", count, seed: 1, strokes }, r))));
process.stdout.write(JSON.stringify({ found, few }));
"""
STROKES = [[0.5, 0.5], [-1.0, 2.0]]


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    case = {"laws": LAWS, "generators": GENERATORS, "strokes": STROKES}
    (folder / "case.json").write_text(json.dumps(case))
    return json.loads(run_node(folder, RUN))


@pytest.mark.parametrize("i", range(len(GENERATORS)), ids=GENERATORS)
def test_judges_are_those_of_the_package(in_javascript, i):
    for each in in_javascript["found"][i]:
        clouds = (torch.tensor(each[k]).double().view(-1, 2) for k in ("training", "real", "generated"))
        training, real, generated = clouds
        fractions = metrics.precision_recall(real, generated, k=3)
        wanted = [
            metrics.frechet_distance(real, generated),
            metrics.kernel_distance(real, generated).value,
            fractions.precision,
            fractions.recall,
            metrics.nearest_distance(generated, training).mean().item(),
        ]
        assert each["judged"] == pytest.approx(wanted, abs=1e-6)


def test_generators_draw_by_their_laws(in_javascript):
    drawn = {
        name: np.concatenate([np.reshape(run["generated"], (-1, 2)) for run in runs])
        for name, runs in zip(GENERATORS, in_javascript["found"], strict=True)
    }
    centers = np.array(LAWS["centers"])
    near = lambda x: np.linalg.norm(x[:, None] - centers, axis=2).argmin(1)  # noqa: E731
    copies = in_javascript["found"][GENERATORS.index("copies")]
    assert all(run["generated"] == run["training"] != run["real"] for run in copies)
    assert set(near(drawn["a heap missing"])) == {0, 1} and set(near(drawn["honest"])) == {0, 1, 2}
    off = drawn["shifted"].mean(0) - centers.mean(0)
    assert off == pytest.approx([LAWS["shift"], 0], abs=4 * 1.3 / 180**0.5)
    wide, narrow = ((drawn[name] - centers[near(drawn[name])]).std() for name in ("blurred", "honest"))
    assert wide > 1.25 * narrow
    painted = np.linalg.norm(drawn["painted"][:, None] - np.array(STROKES), axis=2).min(1)
    assert painted.max() < 5 * LAWS["brush"]


def test_few_points_raise_the_frechet_distance_and_not_the_kernels(in_javascript):
    few, many = (np.array(rows) for rows in in_javascript["few"])
    assert few[:, 0].mean() > 4 * many[:, 0].mean()
    error = few[:, 1].std() / len(few) ** 0.5
    assert abs(few[:, 1].mean() - many[:, 1].mean()) < 4 * error


REFUSED = {
    "generator": ({"generator": "nobody"}, "generator must be one of honest, copies"),
    "count": ({"count": 1000}, "count must be a whole number from 20 to 200, got 1000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        two_clouds(**arguments)


def said(page):
    """Each judge's mean, when all pairs of clouds have been judged."""
    page.evaluate(SETTLE)
    page.wait_for_function("!document.querySelector('[aria-busy]')")
    texts = page.locator(".strips text:not(.name)").all_text_contents()
    return [float(text.split(" ±")[0].replace("−", "-")) for text in texts if "±" in text]


def test_a_cloud_is_painted_and_judged(show):
    page = show(two_clouds("honest", count=60))
    honest = said(page)
    page.get_by_role("button", name="copies").click()
    copies = said(page)
    assert copies[4] == 0 < honest[4] and copies[3] > 0.8
    box = page.locator(".frame").bounding_box()
    place = lambda x, y: (box["x"] + (x + 3) / 6 * box["width"], box["y"] + (3 - y) / 6 * box["height"])  # noqa: E731
    page.mouse.move(*place(-1.5, 2.2))
    page.mouse.down()
    page.mouse.move(*place(1.5, 2.2), steps=12)
    page.mouse.up()
    painted = said(page)
    assert page.evaluate("model.get('generator')") == "painted"
    assert len(page.evaluate("model.get('strokes')")) > 8
    assert painted[0] > honest[0] + 0.5 and painted[2] < 0.5
    brush = page.locator("[role=slider][aria-label^=spray]")
    brush.focus()
    for key in ("Shift+ArrowDown", "Shift+ArrowDown", " "):
        page.keyboard.press(key)
    page.evaluate(SETTLE)
    last = page.evaluate("model.get('strokes').at(-1)")
    assert last == pytest.approx([1.5, 1.2], abs=0.1)
    page.get_by_role("button", name="Put it back").click()
    assert said(page) == honest
