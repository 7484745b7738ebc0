"""The explorer of the KL's weight: gates and tables against Python, and in a browser."""

import json
import re
import sys

import numpy as np
import pytest
import test_widgets
import torch
from showing import PIXELS, SETTLE, run_node
from tiny import SHAPE, gray
from torch import nn

from vae_lab import training
from vae_lab.data import Images
from vae_lab.likelihoods import Gaussian
from vae_lab.multirate import Gate, MultiRateVAE
from vae_lab.nets import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder
from vae_lab.widgets import KLExplorer, kl_explorer
from vae_lab.widgets.decoder import export
from vae_lab.widgets.kl_explorer import CODES, PICTURES, PLACES, SAMPLES

DECODE = """
import { decode } from "./decoder.js";
import { placeOf } from "./kl_explorer.js";
import { readFileSync } from "node:fs";
const { layers, trained, cases } = JSON.parse(readFileSync("case.json"));
const decoder = decode(layers, readFileSync("weights"));
const run = ([beta, z]) => [...decoder(Float32Array.from(z), 2 * placeOf(beta, trained) - 1)];
process.stdout.write(JSON.stringify(cases.map(run)));
"""
BETWEEN = """
import { between } from "./kl_explorer.js";
import { readFileSync } from "node:fs";
const { table, width, places } = JSON.parse(readFileSync("case.json"));
const rows = places.map((place) => [...between(Float64Array.from(table), place, new Float64Array(width))]);
process.stdout.write(JSON.stringify(rows));
"""


def bent(kind: str = "mlp", **options) -> MultiRateVAE:
    """A model whose gates differ from feature to feature and from β to β."""
    torch.manual_seed(0)
    shape = SHAPE if kind == "mlp" else (3, 8, 8)
    if kind == "mlp":
        encoder, decoder = mlp_encoder(shape, 6, hidden=(8,)), mlp_decoder(3, shape, hidden=(8,))
    else:
        encoder, decoder = conv_encoder(shape, 6, width=3), conv_decoder(3, shape, width=3)
    model = MultiRateVAE(encoder, decoder, 3, **options)
    with torch.no_grad():
        for gate in (m for m in model.modules() if isinstance(m, Gate)):
            gate.out.weight.normal_(std=0.3)
            gate.out.bias.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def model():
    return bent()


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_javascript_decodes_at_every_weight_as_pytorch_does(kind, tmp_path):
    model = bent(kind)
    layers, weights, shape = export(nn.Sequential(model.decoder, nn.Sigmoid()), 3)
    betas, z = [0.05, 0.7, 20.0, 0.7], torch.randn(3, 3)
    z = z[[0, 1, 2, 1]]  # the second once more: buffers and gates are used again
    case = {"layers": layers, "trained": model.betas, "cases": list(zip(betas, z.tolist(), strict=True))}
    (tmp_path / "case.json").write_text(json.dumps(case))
    (tmp_path / "weights").write_bytes(weights)
    ours = torch.tensor(json.loads(run_node(tmp_path, DECODE))).view(-1, *shape)
    with torch.no_grad():
        assert (ours - model.at(torch.tensor(betas)).decode(z).mean).abs().max() < 1e-3
        test_widgets.rounded(model.decoder)
        # The rest was float16
        assert (ours - model.at(torch.tensor(betas)).decode(z).mean).abs().max() < 1e-6
    assert torch.equal(ours[1], ours[3]) and not torch.allclose(ours[0], ours[1], atol=0.01)


def test_gates_are_written_down_with_their_layers(model):
    layers = export(model.decoder, 3).layers
    assert [layer["op"] for layer in layers] == ["linear", "gate", "relu", "linear", "gate"]
    assert layers[1] == {"op": "gate", "width": 8, "features": 8}


def cubic(table: np.ndarray, place: float) -> np.ndarray:
    """Catmull and Rom's cubic as Hermite's: its slopes are half the difference of the neighbors."""
    table = np.vstack([2 * table[0] - table[1], table, 2 * table[-1] - table[-2]])
    at = min(max(place, 0), 1) * (len(table) - 3)
    i = min(int(at), len(table) - 4)
    f, (before, here, after, beyond) = at - i, table[i : i + 4]
    left, right = (after - before) / 2, (beyond - here) / 2
    return (
        (2 * f**3 - 3 * f**2 + 1) * here
        + (f**3 - 2 * f**2 + f) * left
        + (3 * f**2 - 2 * f**3) * after
        + (f**3 - f**2) * right
    )


def interpolated(folder, table: np.ndarray, places: list[float]) -> np.ndarray:
    case = {"table": table.ravel().tolist(), "width": table.shape[1], "places": places}
    (folder / "case.json").write_text(json.dumps(case))
    return np.array(json.loads(run_node(folder, BETWEEN)))


@pytest.mark.parametrize("rows", [2, 3, 9])
def test_javascript_interpolates_by_cubics(rows, tmp_path):
    table = np.random.default_rng(0).normal(size=(rows, 3)) * 50
    places = [-0.1, 0.0, 0.01, 0.2, 0.5, 0.731, 0.99, 1.0, 1.2, *np.linspace(0, 1, rows)]
    ours = interpolated(tmp_path, table, places)
    np.testing.assert_allclose(ours, [cubic(table, place) for place in places], atol=1e-6)
    np.testing.assert_allclose(ours[9:], table, atol=1e-9)  # at its places, the table itself


def test_between_the_places_the_tables_are_what_the_model_says(model, tmp_path):
    """Halfway between two weights of the tables, where interpolation is worst."""
    images = gray(24)
    view = kl_explorer(model, images)
    places = [(i + 0.5) / (PLACES - 1) for i in range(PLACES - 1)]
    low, high = view.betas
    betas = [low * (high / low) ** place for place in places]
    measured = [training.evaluate(model.at(beta), images) for beta in betas]
    ours = interpolated(tmp_path, np.array(view.curve), places)
    np.testing.assert_allclose(ours, [[t.kl, -t.log_lik] for t in measured], atol=2e-3)
    codes = np.frombuffer(view.codes, "<f2").astype(float).reshape(PLACES, -1)
    with torch.no_grad():
        exact = [model.at(beta).encode(images.read()[:PICTURES]).mean.numpy().ravel() for beta in betas]
    np.testing.assert_allclose(interpolated(tmp_path, codes, places), exact, atol=4e-3)


def test_what_a_page_is_given(model):
    images = gray(40)
    view = kl_explorer(model, images, separate=[(1.0, 2.0, 3.0)], betas=(0.1, 10), start=2)
    assert view.beta == view.start == 2 and view.separate == [[1, 2, 3]] and view.trained == [0.05, 20]
    pictures = np.frombuffer(view.pictures, np.uint8).reshape(-1, *SHAPE)
    np.testing.assert_array_equal(pictures, images.pixels[:PICTURES].numpy())
    samples = np.frombuffer(view.samples, "<f2").astype(float).reshape(SAMPLES, 3)
    assert abs(samples.mean()) < 0.4 and 0.7 < samples.std() < 1.3
    cloud = np.frombuffer(view.cloud, "<f2").astype(float).reshape(PLACES, 40, 4) * view.half_width
    chosen = ["z₁z₂z₃".index(name[1]) // 2 for name in view.names]
    with torch.no_grad():
        q_z = model.at(10.0).encode(images.read())
        means = [model.at(beta).encode(images.read()).mean for beta in np.geomspace(0.1, 10, PLACES)]
    np.testing.assert_allclose(cloud[-1, :, :2], q_z.mean[:, chosen].numpy(), atol=2e-3)
    np.testing.assert_allclose(cloud[-1, :, 2:], q_z.stddev[:, chosen].numpy(), atol=2e-3)
    spread = torch.stack(means).std(1).mean(0)
    assert sorted(chosen) == sorted(spread.argsort(descending=True)[:2].tolist())
    assert np.frombuffer(view.labels, np.uint8).tolist() == images.labels.tolist()
    many = kl_explorer(model, gray(CODES + 9))
    assert len(many.labels) == CODES
    assert repr(view) == "KLExplorer(β 0.1 … 10, 1×4×4)"


def test_a_set_that_is_drawn_afresh_is_drawn_once(model):
    view = kl_explorer(model, gray(30).dynamic())
    pictures = np.frombuffer(view.pictures, np.uint8).reshape(-1, *SHAPE)
    assert set(np.unique(pictures)) <= {0, 255}
    codes = torch.tensor(np.frombuffer(view.codes, "<f2").astype(np.float32).reshape(PLACES, -1, 3))
    with torch.no_grad():  # of these very pictures
        q_z = model.at(20.0).encode(torch.tensor(pictures / 255).float())
    torch.testing.assert_close(codes[-1], q_z.mean, atol=2e-3, rtol=0)


def test_the_slider_is_logarithmic(model, show):
    page = show(kl_explorer(model, gray(), betas=(0.1, 10)))
    for place, beta in ((0, 0.1), (100, 10**-0.5), (200, 1), (400, 10)):
        page.locator(".slider input").fill(str(place))
        assert page.evaluate("model.get('beta')") == pytest.approx(beta)


REFUSED = {
    "beyond": ({"betas": (0.01, 1)}, "rise within 0.05 … 20"),
    "falling": ({"betas": (2, 1)}, "betas must rise"),
    "start": ({"betas": (0.1, 1), "start": 2}, "start must be a β from 0.1 to 1, got 2"),
    "no weight": ({"separate": [(0, 1, 2)]}, "separate must be rows"),
    "not finite": ({"separate": [(1, 1, float("nan"))]}, "separate must be finite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name, model):
    arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        kl_explorer(model, gray(), **arguments)


def test_refuses_models_and_labels_that_it_cannot_draw():
    with pytest.raises(ValueError, match="Bernoulli"):
        kl_explorer(bent(likelihood=Gaussian()), gray())
    one = MultiRateVAE(mlp_encoder(SHAPE, 2), mlp_decoder(1, SHAPE), 1)
    with pytest.raises(ValueError, match="takes raw numbers and squashes them itself"):
        squashed = nn.Sequential(mlp_decoder(3, SHAPE), nn.Sigmoid())
        kl_explorer(MultiRateVAE(mlp_encoder(SHAPE, 6), squashed, 3), gray())
    with pytest.raises(ValueError, match="at least two latents"):
        kl_explorer(one, gray())
    with pytest.raises(ValueError, match="images must have labels from 0 to 255"):
        kl_explorer(bent(), Images(gray().pixels, gray().labels - 1))


def beta(page) -> float:
    page.evaluate(SETTLE)
    return page.evaluate("model.get('beta')")


def numbers(page) -> list[float]:
    page.evaluate(SETTLE)
    texts = page.locator(".vae-kl-explorer").first.locator("output").all_text_contents()
    return [float(text.replace("−", "-").removesuffix(" nats")) for text in texts]


def test_everything_moves_with_the_weight(show, model):
    page = show(kl_explorer(model, gray(40), separate=[(1, 0.3, 11)]))
    canvas, cloud = page.locator("canvas"), page.locator("ellipse.posterior").first
    look = lambda: (  # noqa: E731
        *canvas.evaluate_all(f"all => all.map({PIXELS})"),
        page.locator("path.codes").evaluate_all("all => all.map((p) => p.getAttribute('d'))"),
        cloud.get_attribute("rx"),
        page.locator(".chart .handle").get_attribute("transform"),
        numbers(page),
    )
    before = look()
    page.evaluate("model.set('beta', 9)")
    page.evaluate(SETTLE)
    assert all(a != b for a, b in zip(before, look(), strict=True))
    assert page.locator(".chart .other").count() == 1
    page.get_by_role("button", name="Put it back").click()
    assert beta(page) == 1 and look() == before


def test_the_pictures_are_those_of_the_model(show):
    model = bent()
    test_widgets.rounded(model.decoder)
    images = gray(40)
    view = kl_explorer(model, images, start=5)
    page = show(view)
    sheet = np.array(page.locator("canvas").first.evaluate(PIXELS)).reshape(10, 58, 4)
    with torch.no_grad():
        vae = model.at(5.0)
        expected = vae.decode(vae.encode(images.read()[:PICTURES]).mean).mean[:, 0].numpy() * 255
    for n in range(PICTURES):
        assert np.array_equal(sheet[:4, 6 * n : 6 * n + 4, 0], images.pixels[n, 0])
        assert np.abs(sheet[6:, 6 * n : 6 * n + 4, 1] - expected[n]).max() < 1.5
    drawn = np.array(page.locator("canvas").nth(1).evaluate(PIXELS)).reshape(28, 28, 4)
    z = torch.tensor(np.frombuffer(view.samples, "<f2").astype(np.float32).reshape(SAMPLES, 3))
    with torch.no_grad():
        last = vae.decode(z).mean[-1, 0].numpy() * 255
    assert np.abs(drawn[-4:, -4:, 0] - last).max() < 0.6
    terms = training.evaluate(vae, images)
    expected = [5, terms.kl, -terms.log_lik, terms.value, terms.log_lik - 5 * terms.kl]
    assert numbers(page) == pytest.approx(expected, abs=0.06)


def test_the_dot_is_dragged_along_the_curve_and_moved_by_keys(show, model):
    page = show(kl_explorer(model, gray(40), betas=(0.1, 10)), views=2)
    handle, paper = page.locator(".chart .handle").first, page.locator(".chart .paper").first
    box, dot = paper.bounding_box(), handle.bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    page.mouse.down()
    fine = [float(v) for v in re.findall(r"[\d.]+", page.locator("path.curve").first.get_attribute("d"))]
    unit = box["width"] / 256
    page.mouse.move(box["x"] + fine[-2] * unit, box["y"] + fine[-1] * unit, steps=3)
    page.mouse.up()
    assert beta(page) == pytest.approx(10) and page.evaluate("saves") > 0
    handle.focus()
    page.keyboard.press("ArrowLeft")
    assert beta(page) == pytest.approx(10 * 100 ** (-2 / 200))
    page.keyboard.press("Shift+ArrowRight")
    assert beta(page) == pytest.approx(10)  # held at the end
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(10)
    assert handle.get_attribute("aria-valuetext").startswith("β 10, rate ")


def test_it_cleans_up_and_fits_a_phone(show, model):
    page = show(kl_explorer(model, gray(40)), views=2)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # One screen, less the bar of the page
    assert page.locator(".vae-kl-explorer").first.bounding_box()["height"] < 844 - 56
    everything = page.evaluate("listening()")
    page.evaluate("ends[0]()")
    assert 0 < page.evaluate("listening()") == everything / 2
    assert page.locator(".vae-widget").count() == 1


def test_a_page_of_digits_stays_small():
    """What travels, of a model as large as the chapter's: 8 latents and 28×28 pixels."""
    shape = (1, 28, 28)
    model = MultiRateVAE(mlp_encoder(shape, 16, hidden=(64,)), mlp_decoder(8, shape, hidden=(64,)), 8)
    pixels = torch.randint(256, (CODES, *shape), dtype=torch.uint8)
    view = kl_explorer(model, Images(pixels, torch.arange(CODES) % 10))
    sent = [value for value in view.get_state().values() if isinstance(value, bytes)]
    weights = 2 * sum(p.numel() for p in model.decoder.parameters())
    assert (
        sum(map(len, sent))
        == weights + 2 * PLACES * (4 * CODES + 8 * PICTURES) + 2 * 8 * SAMPLES + 784 * PICTURES + CODES
    )
    assert sum(map(len, sent)) < 250_000


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_codes_of_any_scale_travel(show, scale, monkeypatch):
    """What the page is given of an encoder's codes, to a thousandth of their size."""
    model, images = bent(), gray(40)
    exact = [model.at(beta).encode(images.read()) for beta in np.geomspace(0.05, 20, PLACES)]
    means = np.stack([q_z.mean.detach().numpy() for q_z in exact]) * scale
    scales = np.stack([q_z.stddev.detach().numpy() for q_z in exact]) * scale
    monkeypatch.setattr(sys.modules[KLExplorer.__module__], "_codes", lambda *_: (means, scales))
    view = kl_explorer(model, images)
    codes = np.frombuffer(view.codes, "<f2").astype(float).reshape(PLACES, PICTURES, 3) * view.scales["codes"]
    np.testing.assert_allclose(codes, means[:, :PICTURES], atol=1e-3 * abs(means).max())
    cloud = np.frombuffer(view.cloud, "<f2").astype(float).reshape(PLACES, 40, 4) * view.half_width
    chosen = ["z₁z₂z₃".index(name[1]) // 2 for name in view.names]
    np.testing.assert_allclose(cloud[..., :2], means[..., chosen], atol=1e-3 * view.half_width)
    page = show(view)
    places = page.locator("path.codes").evaluate_all("all => all.map((p) => p.getAttribute('d')).join('')")
    found = np.array(re.findall(r"-?\d+\.\d", places), float).reshape(-1, 2)
    assert len(found) == 40 and ((found > -30) & (found < 286)).all()
