"""A digit to draw: log p(x) and its parts against torch, and drawing in a browser."""

import json

import pytest
import torch
from showing import SETTLE, run_node
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_lab import data, inference
from vae_lab.models import VAE
from vae_lab.nets import conv_encoder, mlp_decoder, mlp_encoder
from vae_lab.widgets import draw_digit
from vae_lab.widgets.draw_digit import GRAYS

SHAPE = (1, 28, 28)
RUN = """
import { klOfCode, makeCoins, posteriorBy } from "./coins.js";
import { latentGrid } from "./exact.js";
import { decode } from "./decoder.js";
import { readFileSync } from "node:fs";
const { layers, x, mean, scale } = JSON.parse(readFileSync("case.json"));
const decoder = decode(layers, readFileSync("weights")), grid = latentGrid(2, true);
const coins = makeCoins(grid.logMass.length, 784);
for (let k = 0; k < grid.logMass.length; k++) coins.set(k, decoder(grid.codes.subarray(2 * k, 2 * k + 2)));
const logs = coins.logLikelihoods(Float32Array.from(x));
const { logP, share } = posteriorBy(logs, grid);
const sums = [0, 0];
share.forEach((s, k) => { sums[0] += s * grid.codes[2 * k]; sums[1] += s * grid.codes[2 * k + 1]; });
const total = share.reduce((a, b) => a + b), kl = klOfCode(mean, scale);
const codes = [...grid.codes.slice(0, 100)];
process.stdout.write(JSON.stringify({ logs: [...logs.slice(0, 50)], codes, logP, sums, total, kl }));
"""


def model(encoder=None):
    torch.manual_seed(0)
    made = VAE(encoder or mlp_encoder(SHAPE, 4, hidden=(8,)), mlp_decoder(2, SHAPE, hidden=(8,)), 2)
    for parameter in made.parameters():
        parameter.data = (2 * parameter.data).half().float()  # as the weights travel
    return made


def view(**parts):
    digits = data.load("digits")
    return draw_digit(parts.get("made", model()), digits.train.first(60), digits.test.first(40))


def image(text):
    return torch.tensor([int(level, 16) / GRAYS for level in text]).view(1, *SHAPE)


def test_the_account_is_that_of_torch(tmp_path):
    shown, made = view(), model()
    x, mean, scale = image(shown.drawing), [0.7, -1.3], [0.2, 0.9]
    case = {"layers": shown.decoder, "x": x.flatten().tolist(), "mean": mean, "scale": scale}
    (tmp_path / "case.json").write_text(json.dumps(case))
    (tmp_path / "weights").write_bytes(shown.decoder_weights)
    found = json.loads(run_node(tmp_path, RUN))

    def log_joint(z):
        pixels = Bernoulli(logits=made.decoder(z.float()).double(), validate_args=False).log_prob(x.double())
        return pixels.flatten(1).sum(1) + Normal(0.0, 1.0).log_prob(z.double()).sum(1)

    with torch.no_grad():
        codes = torch.tensor(found["codes"]).view(-1, 2)
        logs = log_joint(codes) - Normal(0.0, 1.0).log_prob(codes.double()).sum(1)
        exact = inference.grid_posterior(log_joint, 2, points=201, half_width=5.0)
    assert found["logs"] == pytest.approx(logs.tolist(), rel=1e-6)
    assert found["logP"] == pytest.approx(float(exact.log_evidence), abs=1e-3)
    assert found["total"] == pytest.approx(1)
    assert found["sums"] == pytest.approx((exact.mass @ exact.codes.double()).tolist(), abs=1e-3)
    q = Normal(torch.tensor(mean), torch.tensor(scale))
    assert found["kl"] == pytest.approx(kl_divergence(q, Normal(0.0, 1.0)).sum().item(), abs=1e-6)


REFUSED = {
    "latents": (
        lambda d: (VAE(mlp_encoder(SHAPE, 6), mlp_decoder(3, SHAPE), 3), d.train, d.test),
        "two latents, got 3",
    ),
    "shape": (
        lambda d: (model(), data.Images(d.train.pixels[:9, :, :8, :8], d.train.labels[:9]), d.test),
        r"seen must be images \(1, 28, 28\) with labels 0 … 9, got \(1, 8, 8\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    make, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        draw_digit(*make(data.load("digits")))


def told(page):
    page.evaluate(SETTLE)
    page.wait_for_function("!document.querySelector('[aria-busy]')", timeout=60_000)
    texts = page.locator(".numbers output").all_text_contents()
    return [float(text.replace("−", "-")) for text in texts[:4]] + texts[4:]


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_what_is_drawn_is_encoded_and_accounted_for(show, kind):
    made = model(conv_encoder(SHAPE, 4, width=3) if kind == "convolutional" else None)
    page = show(view(made=made))
    reconstruction, kl, gap, log_p, near = told(page)
    with torch.no_grad():
        q = made.encode(image(page.evaluate("model.get('drawing')")))
        wanted = kl_divergence(q, made.prior()).item()
    assert kl == pytest.approx(wanted, abs=0.06) and len(near.split(", ")) == 5
    assert log_p == pytest.approx(reconstruction - kl + gap, abs=0.16) and gap >= 0
    page.get_by_role("button", name="Clear").click()
    assert set(page.evaluate("model.get('drawing')")) == {"0"}
    empty = told(page)
    pad = page.locator(".pad canvas").bounding_box()
    page.mouse.move(pad["x"] + 60, pad["y"] + 40)
    page.mouse.down()
    page.mouse.move(pad["x"] + 60, pad["y"] + 150, steps=6)
    page.mouse.up()
    drawn = page.evaluate("model.get('drawing')")
    assert 20 < sum(level == "f" for level in drawn) < 120 and told(page) != empty
    page.get_by_role("button", name="Take a digit").click()
    assert page.evaluate("model.get('drawing') === model.get('shelf')[0]")
    page.locator(".sheet canvas").click(position={"x": 200, "y": 10})
    assert page.evaluate("model.get('drawing') === model.get('shelf')[6]")
    page.get_by_role("button", name="Put it back").click()
    assert told(page) == [reconstruction, kl, gap, log_p, near]
    page.evaluate("(text) => model.set('drawing', text)", drawn)  # as a link would
    page.evaluate(SETTLE)
    assert (
        page.locator(".pad canvas").evaluate("(c) => c.getContext('2d').getImageData(8, 12, 1, 1).data[0]")
        > 200
    )
