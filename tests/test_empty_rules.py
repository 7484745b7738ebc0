"""A factory of empty rules: counts against enumeration and the binomial law, and in a browser."""

import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, norm
from showing import SETTLE, run_node

from vae_lab.widgets import empty_rules
from vae_lab.widgets.empty_rules import CRITERIA

RUN = """
import { binomial, CRITERIA, factory } from "./chance.js";
import { readFileSync } from "node:fs";
const { signs } = JSON.parse(readFileSync("case.json"));
const names = Object.keys(CRITERIA);
const found = names.map((name) => [3, 5, 8].map((S) => {
  const { passes, probability } = CRITERIA[name];
  const counts = Array.from({ length: 300 }, (_, seed) => factory(40, S, seed).filter(passes).length);
  return { counts, probability: probability(S) };
}));
const judged = signs.map((rule) => names.map((name) => CRITERIA[name].passes([rule, rule, rule])));
const chances = [...binomial(40, 0.3)], none = [...binomial(7, 0)];
process.stdout.write(JSON.stringify({ names, found, judged, chances, none }));
"""
SEEDS = (3, 5, 8)
SIGNS = [list(signs) for signs in product((-1.0, 1.0), repeat=4)]


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "case.json").write_text(json.dumps({"signs": SIGNS}))
    return json.loads(run_node(folder, RUN))


def test_criteria_count_signs_as_enumeration_does(in_javascript):
    assert tuple(in_javascript["names"]) == CRITERIA
    judged = np.array(in_javascript["judged"])
    ups = np.array([sum(sign > 0 for sign in rule) for rule in SIGNS])
    np.testing.assert_array_equal(judged[:, 0], np.isin(ups, (0, 4)))
    np.testing.assert_array_equal(judged[:, 1], np.abs(2 * ups - 4) / 2 > 2)
    np.testing.assert_array_equal(judged[:, 2], np.isin(ups, (0, 1, 3, 4)))
    np.testing.assert_array_equal(judged[:, 3], judged[:, 0])  # of three settings that are one


@pytest.mark.parametrize("i", range(len(CRITERIA)), ids=CRITERIA)
def test_laws_are_found_as_often_as_the_probability_says(in_javascript, i):
    same = [2 ** (1 - S) for S in SEEDS]
    wanted = {
        CRITERIA[0]: same,
        CRITERIA[1]: [2 * norm.sf(2)] * 3,
        CRITERIA[2]: [(1 + S) * p for S, p in zip(SEEDS, same, strict=True)],
        CRITERIA[3]: [1 - (1 - p) ** 3 for p in same],
    }[CRITERIA[i]]
    for found, p in zip(in_javascript["found"][i], wanted, strict=True):
        assert found["probability"] == pytest.approx(min(1, p), abs=1e-9)
        counts, spread = np.array(found["counts"]), binom(40, min(1, p)).std()
        assert counts.mean() == pytest.approx(40 * min(1, p), abs=4.5 * spread / 300**0.5 + 1e-9)
        assert counts.std() == pytest.approx(spread, abs=0.25 * spread + 1e-9)


def test_the_distribution_is_the_binomial(in_javascript):
    np.testing.assert_allclose(in_javascript["chances"], binom(40, 0.3).pmf(range(41)), rtol=1e-9)
    assert in_javascript["none"] == [1] + [0] * 7


REFUSED = {
    "criterion": ({"criterion": "luck"}, "criterion must be one of one sign on all seeds"),
    "seeds": ({"seeds": 2}, "seeds must be a whole number from 3 to 10, got 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        empty_rules(**arguments)


def told(page):
    page.evaluate(SETTLE)
    return [float(text) for text in page.locator(".numbers output").all_text_contents()]


def test_laws_are_framed_and_counted(show):
    page = show(empty_rules())
    found, expected, _ = told(page)
    assert found == page.locator(".law").count() > 0 and expected == 60 / 8
    page.get_by_role("button", name="one seed left out afterward").click()
    more, expected, _ = told(page)
    assert more > found and expected == pytest.approx(60 * 5 / 8, abs=0.06)
    page.locator(".slider input").nth(1).fill("7")
    assert page.evaluate("model.get('seeds')") == 10 and told(page)[0] < found
    before = told(page), page.locator(".rules").inner_html()
    page.get_by_role("button", name="New factory").click()
    assert page.locator(".rules").inner_html() != before[1]
    page.get_by_role("button", name="Put it back").click()
    assert told(page)[0] == found
