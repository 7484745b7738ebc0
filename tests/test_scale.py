"""What widgets show may be of any scale: steps, places, pictures and words are as at scale 1."""

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from showing import PIXELS, SETTLE, run_node
from torch import nn

from vae_lab.widgets import bound, flipbook, latent_explorer, two_gradients
from vae_lab.widgets.decoder import export
from vae_lab.widgets.scale import decimals, on_ratio, on_step, round_number

SCALES = [1e-6, 1e-3, 1.0, 1e3, 1e6]
sizes = st.floats(-12, 12).map(lambda power: 10.0**power)
each_scale = pytest.mark.parametrize("scale", SCALES)


# The arithmetic


@given(sizes)
def test_a_round_number_is_round_and_near(x):
    found = round_number(x)
    assert x / 2.51 < found <= x * (1 + 1e-9)
    first, *rest = f"{found:.5e}".partition("e")[0].replace(".", "")
    assert first in "125" and set(rest) == {"0"}


@given(sizes, st.floats(-1, 1), st.floats(0.01, 1), st.floats(-0.5, 1.5))
def test_a_place_is_on_a_step_and_never_beyond_the_limits(size, middle, span, share):
    low, high = size * (middle - span), size * (middle + span)
    step = round_number((high - low) / 120)
    place = on_step(low + share * (high - low), (low, high), step)
    assert low <= place <= high
    count = (place - low) / step
    assert abs(count - round(count)) < 1e-4 or place == high
    assert on_step(place, (low, high), step) == pytest.approx(place, abs=1e-5 * step)
    if 0 <= share <= 1:
        assert abs(place - (low + share * (high - low))) <= (0.5 + 1e-4) * step


@pytest.mark.parametrize("value", [0.01, 0.3, 1.0, 2.5, 70.0])
def test_a_place_of_equal_ratio_is_the_nearest_within_the_limits(value):
    places = [0.25 * 16 ** (k / 120) for k in range(121)]
    nearest = min(places, key=lambda place: abs(np.log(place / value)))
    assert on_ratio(value, (0.25, 4.0), 120) == pytest.approx(nearest, rel=1e-5)


NODE = """
import { atRatio, axisLabels, onStep, placeOfRatio, roundNumber, short, written } from "./scale.js";
import { readFileSync } from "node:fs";
const found = JSON.parse(readFileSync("case.json")).map(([value, low, high, step, size]) => {
  const { at, name } = axisLabels([low, high]);
  const place = onStep(value, [low, high], step);
  const steps = [written(high, step), written(high - step, step)];
  const ends = [size, 1000 * size];
  const ratio = atRatio(placeOfRatio(500 * high, ends, 90), ends, 90);
  return [place, roundNumber(size), ratio, steps, written(value, step),
    short(value), at(low), at(high), name("z")];
});
process.stdout.write(JSON.stringify(found));
"""


def test_javascript_counts_and_writes_as_python_does(tmp_path):
    g, cases = np.random.default_rng(0), []
    for size in 10.0 ** g.uniform(-12, 12, 300):
        low, high = size * g.uniform(-1, 0.1), size * g.uniform(0.2, 1)
        step = round_number((high - low) / g.integers(2, 500))
        cases.append([g.uniform(low - step, high + step), low, high, step, size])
    (tmp_path / "case.json").write_text(json.dumps(cases))
    for case, found in zip(cases, json.loads(run_node(tmp_path, NODE)), strict=True):
        value, low, high, step, size = case
        place, round_, ratio, steps, text, short, *labels, name = found
        assert steps[0] != steps[1] and max(map(len, steps)) < 16, "a slider shows each of its steps"
        assert place == pytest.approx(on_step(value, (low, high), step), abs=1e-5 * step)
        assert round_ == pytest.approx(round_number(size), rel=1e-9)
        assert ratio == pytest.approx(on_ratio(500 * high, (size, 1000 * size), 90), rel=1e-5)
        assert number(text) == pytest.approx(value, abs=max(0.51 * 10.0 ** -decimals(step), step)), case
        assert number(short) == pytest.approx(value, rel=0.0051) and len(short) < 14, case
        unit = number(name.removeprefix("z / ")) if "/" in name else 1.0
        for end, label in zip((low, high), labels, strict=True):
            assert number(label) * unit == pytest.approx(end, abs=0.011 * (high - low)), case
            assert len(label) <= 8, case


def number(text: str) -> float:
    """What a reader reads: a true minus sign, powers of ten in superscript."""
    plain = text.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--"))
    if "·" in plain:
        return float(plain.replace("·10", "e"))
    return float(f"1e{plain[2:]}") if plain != text.replace("−", "-") else float(plain)


# The widgets


def gaussian(scale):
    return lambda z: -(z / scale).square().sum(-1) / 2 - 2 * np.log(scale)


def outputs(page) -> list[float]:
    page.evaluate(SETTLE)
    return [number(text) for text in page.locator(".vae-bound output").all_text_contents()]


def drawn_inside(page) -> bool:
    """Whether each label of a drawing has room on the page."""
    return page.evaluate("""[...document.querySelectorAll(".vae-widget svg text")].every((text) => {
      const { left, right } = text.getBoundingClientRect(), page = document.documentElement.clientWidth;
      return left >= -8 && right <= page;
    })""")


@each_scale
def test_the_bound_is_the_same_in_other_units(show, scale):
    start = [0.3, -0.2, 0.5, 0.4]
    page = show(bound(gaussian(1), start=[*start, 0.3]))
    before = outputs(page)
    page = show(bound(gaussian(scale), start=[*(v * scale for v in start), 0.3], half_width=3 * scale))
    assert outputs(page) == pytest.approx(before, abs=0.011)
    page.get_by_role("slider", name="mean of q").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.evaluate(SETTLE)
    at = page.evaluate("[model.get('m0'), model.get('m1')]")
    assert at == pytest.approx([0.35 * scale, 0.05 * scale], rel=1e-9)
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + box["width"] * (3 + 0.35) / 6, box["y"] + box["height"] * (3 - 0.05) / 6)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 4 / 6, box["y"] + box["height"] * 2 / 6, steps=3)
    page.mouse.up()
    page.evaluate(SETTLE)
    assert page.evaluate("[model.get('m0'), model.get('m1')]") == pytest.approx([scale, scale], rel=0.05)
    assert drawn_inside(page)


@pytest.mark.parametrize("half_width", [1.7, 1e-6, 0.123456, 7e5])
def test_the_bounds_settings_stay_within_their_limits(half_width):
    ends = [half_width, -half_width, half_width / 2, half_width / 20, 0.95]
    low = [-half_width, half_width, half_width / 20, half_width / 2, -0.95]
    view = bound(gaussian(half_width / 3), half_width=half_width, start=ends, presets={"low": low})
    for given_, values in ((ends, view.start), (low, view.presets[0][1])):
        assert values == pytest.approx(given_, rel=1e-6)
        for value, (least, most) in zip(values, view.limits, strict=True):
            assert least <= value <= most


@pytest.mark.parametrize("half_width", [0, -1, float("nan"), float("inf")])
def test_a_half_width_is_above_zero(half_width):
    with pytest.raises(ValueError, match="half_width must be a finite number from 1e-15"):
        bound(gaussian(1), half_width=half_width)


def scaled_decoder(scale: float) -> nn.Sequential:
    """Draws the same picture for z·scale as at scale 1 for z."""
    torch.manual_seed(0)
    layers = nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 16), nn.Unflatten(1, (1, 4, 4)), nn.Sigmoid()
    with torch.no_grad():
        layers[0].weight /= scale
    return nn.Sequential(*layers)


def seen(show, scale: float):
    """Pixels, where codes are drawn, where the handle is, and the ranges in units of the scale."""
    codes = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 0.6] * scale
    view = latent_explorer(scaled_decoder(scale), codes=codes, labels=np.arange(200) % 3, prior=False)
    page = show(view)
    page.locator("[role=slider]").focus()
    for key in ("Shift+ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    page.evaluate(SETTLE)
    assert drawn_inside(page)
    paths = page.locator("path.codes").evaluate_all("all => all.map((p) => p.getAttribute('d')).join('')")
    handle = page.locator(".dot").evaluate("e => e.parentElement.getAttribute('transform')")
    places, at = (
        np.array(re.findall(r"-?[\d.]+", text), float) for text in (paths.replace("h0", " "), handle)
    )
    pixels = np.array(page.locator("canvas").evaluate(PIXELS)).astype(int)
    return pixels, places, at, np.array(view.ranges) / scale


@each_scale
def test_a_latent_space_is_the_same_in_other_units(show, scale):
    tolerances = 1, 0.21, 1e-3, 1e-6
    for one, other, tolerance in zip(seen(show, 1.0), seen(show, scale), tolerances, strict=True):
        np.testing.assert_allclose(other, one, atol=tolerance)


def test_codes_that_are_one_have_a_range(show):
    view = latent_explorer(scaled_decoder(1.0), codes=np.full((5, 2), 1e-6), prior=False)
    for low, high in view.ranges:
        assert low <= 1e-6 <= high and high - low < 1e-5


@pytest.mark.parametrize("value", [5e-9, 1e-6, 1.0, 7e4, 1e9])
def test_weights_of_any_scale_travel(value, tmp_path):
    decoder = nn.Sequential(nn.Linear(2, 6), nn.Linear(6, 3), nn.Unflatten(1, (3, 1, 1)))
    with torch.no_grad():
        decoder[0].weight *= value
        decoder[0].bias *= value
        decoder[1].weight /= value
    layers, weights, _ = export(decoder, 2)
    codes = torch.randn(5, 2)
    (tmp_path / "case.json").write_text(json.dumps({"layers": layers, "codes": codes.tolist()}))
    (tmp_path / "weights").write_bytes(weights)
    script = """
    import { decode } from "./decoder.js";
    import { readFileSync } from "node:fs";
    const { layers, codes } = JSON.parse(readFileSync("case.json"));
    const decoder = decode(layers, readFileSync("weights"));
    process.stdout.write(JSON.stringify(codes.map((z) => [...decoder(z)])));
    """
    found = torch.tensor(json.loads(run_node(tmp_path, script)))
    with torch.no_grad():
        torch.testing.assert_close(found, decoder(codes).flatten(1), atol=2e-3, rtol=2e-3)


@each_scale
def test_a_curve_is_the_same_in_other_units(show, scale):
    places = []
    for s in (1.0, scale):
        curve = (np.array([1.0, 2, 4, 7]) * s, np.array([9.0, 5, 3, 2]) * s)
        page = show(flipbook(np.zeros((4, 6, 5)), curve=curve))
        places.append(page.locator(".points").get_attribute("d"))
        texts = page.locator(".curve text").all_text_contents()
        assert len({*texts[:2]}) == 2 and all(len(text) < 9 for text in texts[:4])
        assert drawn_inside(page)
    one, other = (np.array(re.findall(r"-?\d+\.?\d*", d), float) for d in places)
    np.testing.assert_allclose(other, one, atol=1e-6)


def test_a_curve_far_from_zero_tells_its_ends_apart(show):
    page = show(flipbook(np.zeros((2, 4, 4)), curve=([1e6, 1e6 + 1], [0.5, 0.500001])))
    texts = page.locator(".curve text").all_text_contents()
    assert len({*texts[:4]}) == 4


def test_a_curve_is_of_numbers():
    with pytest.raises(ValueError, match="finite numbers"):
        flipbook(np.zeros((2, 4, 4)), curve=([1, 2], [1, float("nan")]))


@pytest.mark.parametrize("mu", [-2.999, 0.123456, 3.0])
def test_two_gradients_start_on_a_step(mu):
    view = two_gradients(mu=mu, sigma=0.104)
    assert view.mu == pytest.approx(mu, abs=0.0051) and -3 <= view.mu <= 3
    assert view.mu == round(view.mu, 2) and view.sigma == 0.1
