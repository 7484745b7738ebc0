"""The widget with water among variances: its numbers against the package's linear model, and in a browser."""

import json

import numpy as np
import pytest
import torch
from showing import PIXELS, SETTLE, run_node

from vae_lab import data, ppca
from vae_lab.data import toy_faces
from vae_lab.widgets import water_filling

RUN = """
import { copy, errors, rates, share } from "./water.js";
import { readFileSync } from "node:fs";
const { mean, directions, codes, variances, noises } = JSON.parse(readFileSync("case.json"));
const found = noises.map((noise) => ({
  rates: rates(variances, noise), errors: errors(variances, noise),
  copies: codes.map((code) => copy(mean, directions.flat(), code, variances.map((v) => share(v, noise)))),
}));
process.stdout.write(JSON.stringify(found, (_, v) => (v instanceof Float64Array ? [...v] : v)));
"""
NOISES = [0.005, 0.3, 1.0, 5.0]
SCALES = torch.tensor([3.0, 1.5, 0.9, 0.4, 0.2, 0.1], dtype=torch.float64)
each_noise = pytest.mark.parametrize("i", range(len(NOISES)), ids=NOISES)


@pytest.fixture(scope="module")
def points():
    """(300, 6) of unequal variances, turned."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    return torch.randn(300, 6, generator=generator, dtype=torch.float64) * SCALES @ turn + 0.5


@pytest.fixture(scope="module")
def directions(points):
    """Eigenvalues (6,) and, in rows, eigenvectors of the covariance."""
    values, vectors = torch.linalg.eigh(points.T.cov(correction=0))
    return values.flip(0), vectors.T.flip(0)


@pytest.fixture(scope="module")
def in_javascript(points, directions, tmp_path_factory):
    folder, (values, vectors) = tmp_path_factory.mktemp("node"), directions
    case = {
        "mean": points.mean(0).tolist(),
        "directions": vectors.tolist(),
        "codes": ((points - points.mean(0)) @ vectors.T)[:10].tolist(),
        "variances": values.tolist(),
        "noises": NOISES,
    }
    (folder / "case.json").write_text(json.dumps(case))
    return json.loads(run_node(folder, RUN))


def optimum(points, directions, noise):
    """The linear model of equation (eq-critical)."""
    values, vectors = directions
    loadings = vectors[:5].T * (values[:5] - noise).clamp(min=0).sqrt()  # one latent fewer than numbers
    return ppca.PPCA(points.mean(0), loadings, torch.tensor(noise, dtype=torch.float64))


@each_noise
def test_no_step_from_the_model_is_likelier(points, directions, i):
    noise = NOISES[i]
    model = optimum(points, directions, noise)
    x = points - points.mean(0)

    def value(loadings):
        covariance = loadings @ loadings.T + noise * torch.eye(6, dtype=torch.float64)
        normal = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance)
        return normal.log_prob(x).mean()

    assert torch.func.grad(value)(model.loadings).abs().max() < 1e-6
    at = value(model.loadings)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 1e-2, 0.1) * 20:
        step = size * torch.randn(6, 5, generator=generator, dtype=torch.float64)
        assert value(model.loadings + step) < at


@each_noise
def test_rate_error_and_copies_are_those_of_the_linear_model(points, directions, in_javascript, i):
    noise, found = NOISES[i], in_javascript[i]
    model = optimum(points, directions, noise)
    q = model.e_step(points)
    terms = model.lower_bound(points, q)
    assert sum(found["rates"][:5]) == pytest.approx(terms.kl.mean().item(), abs=1e-6)
    misfit = -2 * noise * terms.log_lik.mean() - 6 * noise * np.log(2 * np.pi * noise)
    told = sum(found["errors"][:5]) + directions[0][5].item()  # the sixth is not told of at all
    assert told == pytest.approx(misfit.item(), abs=1e-6)
    if found["rates"][5] == 0:
        copies = model.mean + q.mean[:10] @ model.loadings.T
        np.testing.assert_allclose(found["copies"], copies, atol=1e-6)


def test_the_copies_are_told_by_six_latents_where_there_is_little_noise(points, directions, in_javascript):
    """What the model of five latents cannot: each direction is shortened to λ − σ² of its λ."""
    values, vectors = directions
    x = points[:10] - points.mean(0)
    shares = (1 - NOISES[0] / values).clamp(min=0)
    copies = points.mean(0) + x @ vectors.T @ torch.diag(shares) @ vectors
    np.testing.assert_allclose(in_javascript[0]["copies"], copies, atol=1e-6)


@pytest.fixture(scope="module")
def faces():
    factors = toy_faces.draw_factors(300)
    return data.Images(toy_faces.draw(factors, side=32))


@pytest.mark.parametrize("sigma", [1e-4, 0.06449, 0.5, 54.96])
def test_the_slider_has_room_for_every_sigma(faces, sigma):
    view = water_filling(faces, faces.first(1), latents=20, sigma=sigma, marks={"half": sigma / 2})
    low, high = view.sigmas
    assert low < sigma / 2 and sigma < high and view.sigma == sigma
    assert low < view.variances[-1] ** 0.5 and view.variances[0] ** 0.5 < high


def test_eight_bits_move_no_pixel_by_more_than_a_level(faces, show):
    view = water_filling(faces, faces.first(2), latents=40, sigma=0.3)
    page = show(view)
    page.get_by_role("button", name="2", exact=True).click()
    page.evaluate(SETTLE)
    drawn = np.array(page.locator(".sheet canvas").evaluate(PIXELS)).reshape(32, 66, 4)
    x = faces.read().double().flatten(1)
    _, lengths, vectors = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    shares = (1 - 0.09 / (lengths[:40] ** 2 / len(x))).clamp(min=0)
    assert 5 < (shares > 0).sum() < 40
    exact = x.mean(0) + ((x[1] - x.mean(0)) @ vectors[:40].T * shares) @ vectors[:40]
    expected = exact.clamp(0, 1).mul(255).reshape(3, 32, 32).movedim(0, 2).numpy()
    assert np.abs(drawn[:, 34:, :3] - expected).max() <= 1.5  # a half of which is the rounding of a pixel
    np.testing.assert_array_equal(drawn[:, :32, :3], faces.pixels[1].movedim(0, 2).numpy())
    assert sum(len(v) for v in view.get_state().values() if isinstance(v, bytes)) < 140_000


REFUSED = {
    "shape": (lambda f: (f, data.Images(torch.zeros(1, 1, 4, 4))), {}, r"got 1 of \(1, 4, 4\)"),
    "count": (lambda f: (f, f.first(13)), {}, "at most 12 images.*got 13"),
    "latents": (lambda f: (f.first(4), f.first(1)), {}, "latents must be at most 3"),
    "noise": (lambda f: (f, f.first(1)), {"sigma": 0.0}, "sigma must be a finite number above 0"),
    "mark": (
        lambda f: (f, f.first(1)),
        {"marks": {"a": -1}},
        r"marks\['a'\] must be a finite number above 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(faces, name):
    images, arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        water_filling(*images(faces), **arguments)


def numbers(page):
    page.evaluate(SETTLE)
    texts = page.locator(".numbers").first.locator("output").all_text_contents()
    return [float(text.split()[0].rstrip(",")) for text in texts]


def test_the_water_is_raised_by_hand_keys_and_slider(faces, show):
    page = show(water_filling(faces, faces.first(3), latents=20), views=2)
    variances = page.evaluate("model.get('variances')")
    before = numbers(page)
    assert before[0] == sum(v > 1 for v in variances)
    assert before[1] == pytest.approx(sum(np.log(v) / 2 for v in variances if v > 1), abs=0.06)
    error = sum(min(v, 1) for v in variances) + page.evaluate("model.get('beyond')")
    assert before[2] == pytest.approx(error, rel=0.01)
    handle = page.get_by_role("slider", name="water level σ²").first
    box = handle.locator("circle.dot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 40, steps=3)
    page.mouse.up()
    raised = numbers(page)
    assert raised[0] < before[0] and raised[1] < before[1] and raised[2] > before[2]
    sigma = page.evaluate("model.get('sigma')")
    handle.focus()
    page.keyboard.press("ArrowDown")
    page.evaluate(SETTLE)
    assert 0.9 * sigma < page.evaluate("model.get('sigma')") < sigma
    page.get_by_role("slider", name="σ", exact=True).first.fill("120")
    assert numbers(page)[:2] == [0, 0]  # all is under water
    page.get_by_role("button", name="Put it back").nth(1).click()
    assert numbers(page) == before
    assert page.evaluate("saves") > 0
