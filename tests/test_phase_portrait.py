"""The widget with the two weights of a linear VAE: its numbers against PyTorch, and in a browser."""

import json
from math import hypot, log

import pytest
import torch
from showing import SETTLE, run_node

from vae_lab.widgets import phase_portrait

RUN = """
import { answeredEncoders, ascend, best, bestEncoder, curvatures, elbo, gradient, kl, wait } from "./flow.js";
import { readFileSync } from "node:fs";
const { noises, places, starts } = JSON.parse(readFileSync("case.json"));
const found = noises.map((noise) => ({
  best: best(noise), curvatures: curvatures(noise), atBest: kl(best(noise), noise),
  places: places.map((p) => ({ elbo: elbo(p, noise), gradient: gradient(p, noise), kl: kl(p, noise),
    encoder: bestEncoder(p[0], noise), answered: answeredEncoders(p[0], noise) })),
  path: ascend(places[0], noise, 50), waits: starts.map((p) => wait(p, noise)),
}));
process.stdout.write(JSON.stringify(found, (_, v) => (v === Infinity ? "never" : v)));
"""
NOISES = [0.25, 0.5, 0.8, 1.0, 1.5, 4.0]
PLACES = [(0.3, -0.25), (1.2, 0.7), (-0.01, 0.4), (-1.1, -1.2)]
DISTANCES = [10.0**-k for k in range(1, 8)]
each_noise = pytest.mark.parametrize("i", range(len(NOISES)), ids=NOISES)


def one_latent(weights, noise):
    """The mean ELBO of chapter 11, of w, v and s, where the data have the variance 1."""
    w, v, s = weights
    error = (1 - w * v) ** 2 + w**2 * s**2
    return -error / (2 * noise) - (v**2 + s**2 - 1 - 2 * s.log()) / 2


def best_scale(w, v, noise):
    """By bisection: the root of the derivative by s."""
    slope = torch.func.grad(lambda s: one_latent((w, v, s), noise))
    low, high = torch.tensor([1e-3, 2.0], dtype=torch.float64)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return low


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    starts = [(d * 0.8, d * 0.6) for d in DISTANCES]
    (folder / "case.json").write_text(json.dumps({"noises": NOISES, "places": PLACES, "starts": starts}))
    return json.loads(run_node(folder, RUN))


@each_noise
def test_objective_gradient_and_kl_are_those_of_pytorch_at_the_best_scale(in_javascript, i):
    """By the envelope theorem the scale may be held while w and v are derived by."""
    noise = NOISES[i]
    for place, told in zip(PLACES, in_javascript[i]["places"], strict=True):
        w, v = torch.tensor(place, dtype=torch.float64)
        s = best_scale(w, v, noise)
        weights = torch.stack([w, v, s])
        assert told["elbo"] == pytest.approx(one_latent(weights, noise).item(), abs=1e-6)
        slopes = torch.func.grad(one_latent)(weights, noise)
        assert told["gradient"] == pytest.approx(slopes[:2].tolist(), abs=1e-6)
        q = torch.distributions.Normal(v, s)  # for x = 1, and the mean of x² is 1
        prior = torch.distributions.Normal(torch.zeros_like(s), 1)
        assert told["kl"] == pytest.approx(torch.distributions.kl_divergence(q, prior).item(), abs=1e-6)


@each_noise
def test_the_dashed_lines_are_where_a_gradient_is_zero(in_javascript, i):
    noise = NOISES[i]
    for (w, _), told in zip(PLACES, in_javascript[i]["places"], strict=True):
        encoders = [(told["encoder"], 1), *((v, 0) for v in told["answered"] if v is not None)]
        for v, weight in encoders:
            place = torch.tensor([w, v], dtype=torch.float64)
            s = best_scale(*place, noise)
            slopes = torch.func.grad(one_latent)(torch.stack([*place, s]), noise)
            assert slopes[weight].item() == pytest.approx(0, abs=1e-6)


@each_noise
def test_the_optimum_is_that_of_the_formula(in_javascript, i):
    noise = NOISES[i]
    w, v = in_javascript[i]["best"]
    assert w**2 == pytest.approx(max(0, 1 - noise)) and v == pytest.approx(w)  # λ = 1: v = w/λ
    assert in_javascript[i]["atBest"] == pytest.approx(max(0, log(1 / noise) / 2), abs=1e-12)
    place = torch.tensor([w, v], dtype=torch.float64)
    slopes = torch.func.grad(one_latent)(torch.stack([*place, best_scale(*place, noise)]), noise)
    assert slopes.abs().max() < 1e-6


@each_noise
def test_the_curvatures_are_eigenvalues_of_the_hessian(in_javascript, i):
    """Those of all three weights but −2, which is that of the scale."""
    silent = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    hessian = torch.func.jacrev(torch.func.grad(one_latent))(silent, NOISES[i])
    assert hessian[2].tolist() == pytest.approx([0, 0, -2])
    expected = torch.linalg.eigvalsh(hessian[:2, :2]).flip(0)
    assert in_javascript[i]["curvatures"] == pytest.approx(expected.tolist(), abs=1e-12)


@each_noise
def test_the_path_is_gradient_ascent(in_javascript, i):
    place = torch.tensor(PLACES[0], dtype=torch.float64)
    for told in in_javascript[i]["path"]:
        assert told == pytest.approx(place.tolist(), abs=1e-6)
        weights = torch.stack([*place, best_scale(*place, NOISES[i])])
        place = place + 0.1 * torch.func.grad(one_latent)(weights, NOISES[i])[:2]


@each_noise
def test_the_wait_grows_as_the_logarithm_of_the_distance_or_has_no_end(in_javascript, i):
    found, noise = in_javascript[i], NOISES[i]
    if noise >= 1:
        assert found["waits"] == ["never"] * len(DISTANCES)
        return
    a_decade = log(10) / log(1 + 0.1 * found["curvatures"][0])
    more = [b - a for a, b in zip(found["waits"][1:], found["waits"][2:], strict=False)]
    assert more == pytest.approx([a_decade] * len(more), abs=1.5)


REFUSED = {
    "noise": ({"noise": 5.0}, "noise must be a finite number from 0.25 to 4, got 5.0"),
    "weight": ({"start": (0.1, 2.0)}, r"start\[1\] must be a finite number from -1.2 to 1.2, got 2.0"),
    "count": ({"start": (0.1,)}, "start must be a sequence of 2"),
    "silence": ({"start": (0.0, 0.0)}, "start must be at least 1e-06 away from"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        phase_portrait(**arguments)


def state(page):
    page.evaluate(SETTLE)
    return page.evaluate("['noise', 'w', 'v', 'steps'].map((name) => model.get(name))")


def numbers(page):
    page.evaluate(SETTLE)
    return page.locator(".numbers").first.locator("output").all_text_contents()


def test_the_start_is_dragged_and_brought_near(show):
    page = show(phase_portrait(), views=2)
    box = page.locator(".frame").first.bounding_box()
    at = lambda w, v: (  # noqa: E731
        box["x"] + (w + 1.25) / 2.5 * box["width"],
        box["y"] + (1.25 - v) / 2.5 * box["height"],
    )
    page.mouse.move(*at(0.3, -0.25))
    page.mouse.down()
    page.mouse.move(*at(0.6, 0.8), steps=3)
    page.mouse.up()
    assert state(page) == pytest.approx([0.5, 0.6, 0.8, 0], abs=0.02)
    before = int(numbers(page)[3])
    slider = page.get_by_role("slider", name="start’s distance").first
    slider.fill("20")
    _, w, v, _ = state(page)
    assert hypot(w, v) == pytest.approx(1e-4) and v / w == pytest.approx(0.8 / 0.6, abs=0.1)
    assert int(numbers(page)[3]) > before + 100
    page.get_by_role("slider", name="start", exact=True).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert state(page)[1:3] == pytest.approx([0.02, -0.1], abs=1e-3)
    page.get_by_role("button", name="Put it back").nth(1).click()
    assert state(page) == [0.5, 0.3, -0.25, 60]
    assert page.evaluate("saves") > 0


def test_it_never_starts_at_the_silent_point_itself(show):
    page = show(phase_portrait(start=(0.02, 0.0)))
    page.get_by_role("slider", name="start", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    assert state(page)[1:3] == pytest.approx([1e-6, 0])


def test_the_verdict_turns_where_the_noise_passes_the_variance(show):
    page = show(phase_portrait())
    slider = page.get_by_role("slider", name="βσ²")
    for place, verdict, wait in (
        ("59", "a saddle", None),
        ("60", "level", "never"),
        ("61", "a maximum", "never"),
    ):
        slider.fill(place)
        told = numbers(page)
        assert told[0].startswith(verdict)
        assert (told[3] == "never") is (wait == "never")
    mark = page.locator(".mark").bounding_box()
    box = slider.bounding_box()
    middle = mark["x"] + mark["width"] / 2
    assert middle == pytest.approx(box["x"] + box["width"] / 2, abs=1)  # λ is halfway between λ/4 and 4 λ


def test_it_plays_pauses_and_is_wound_back_by_hand(show):
    page = show(phase_portrait(start=(0.01, 0.01)))
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(600)
    page.get_by_role("button", name="Pause").click()
    paused = state(page)[3]
    assert 60 < paused < 800
    handle = page.get_by_role("slider", name="steps")
    assert handle.get_attribute("aria-valuenow") == str(paused)
    handle.focus()
    page.keyboard.press("Home")
    assert state(page)[3] == 0
    assert numbers(page)[2].startswith("0.000,")
    page.keyboard.press("End")
    assert state(page)[3] == 800
    assert numbers(page)[2] == "0.347, 0.347 nats"
