"""A model that learns in the page: gradients, runs and terms against PyTorch; in Node and in a browser."""

import base64
import gzip
import json
from itertools import pairwise, product
from math import log, pi

import numpy as np
import pytest
import torch
from scipy import stats
from showing import FILES, run_node
from torch import Tensor
from torch.nn import functional as F

from kernels import COMPILED, as_script, compiled, missing
from vae_lab import likelihoods, models, nets
from vae_lab.objectives import elbo
from vae_lab.widgets import bundle

LIVE = {"beta": 1.0, "rate": 2e-3, "part": "both", "autoencoder": False, "freeBits": 0}

# Runs every case: a model takes parameters, and then a step for each row of noise, or only finds the slopes.
RUN = """
import { readFileSync } from "node:fs";
import { simd } from "./learning/kernels.js";
import { plain } from "./learning/plain.js";
import { checked } from "./learning/settings.js";
import { makeVAE } from "./learning/vae.js";
const { buffer, byteOffset } = readFileSync("numbers");
const array = ([start, ...shape]) => ({ shape, values: new Float32Array(
  buffer.slice(byteOffset + 4 * start, byteOffset + 4 * (start + shape.reduce((a, b) => a * b, 1)))) });
const bytes = (named) => Object.fromEntries(Object.entries(named).map(([name, { values }]) =>
  [name, Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64")]));
const done = JSON.parse(readFileSync("cases.json")).map((given) => {
  const { settings, batches, lives, learn } = given;
  const vae = makeVAE({ simd, plain }[given.kernels], checked(settings), 512);
  const named = Object.entries(given.parameters ?? {}).map(([name, place]) => [name, array(place)]);
  vae.write(Object.fromEntries(named));
  const [data, eps] = [array(given.x), array(given.noise)];
  const [steps, B, L] = eps.shape;
  const [batch, drawn] = [vae.kernels.space(B * settings.dims), vae.kernels.space(B * L)];
  const terms = [];
  for (let step = 0; step < steps; step++) {
    const rows = batches[step];
    const row = (n) => data.values.subarray(n * settings.dims, (n + 1) * settings.dims);
    for (let i = 0; i < B; i++) batch.set(row(rows[i]), i * settings.dims);
    drawn.set(eps.values.subarray(step * B * L, (step + 1) * B * L));
    const live = { ...settings, ...lives[step % lives.length] };
    terms.push(vae.gradients(batch, B, live, drawn).terms);
    if (learn) vae.descend(live);
  }
  return { terms, slopes: learn ? {} : bytes(vae.read("slope")), parameters: bytes(vae.read()) };
});
process.stdout.write(JSON.stringify(done));
"""


class Numbers:
    """Arrays for Node, one after the other in one file, each known by its place and shape."""

    def __init__(self):
        self.parts, self.count = [], 0

    def place(self, values: Tensor) -> list[int]:
        start = self.count
        self.parts.append(values.detach().float().numpy().astype("<f4").tobytes())
        self.count += values.numel()
        return [start, *values.shape]


def sizes_of(settings: dict) -> tuple[list[int], list[int]]:
    hidden, dims, latents = settings["hidden"], settings["dims"], settings["latents"]
    decoder = settings.get("decoderHidden", hidden[::-1])
    return [dims, *hidden, 2 * latents], [latents, *decoder, dims]


def drawn(settings: dict, dtype=torch.float64) -> dict[str, Tensor]:
    """Parameters under the names that `vae_lab.models.VAE` has for them, as nn.Linear draws them."""
    made = {}
    for part, sizes, first in zip(("encoder", "decoder"), sizes_of(settings), (2, 0), strict=True):
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            layer = torch.nn.Linear(inputs, outputs, dtype=torch.float32)
            made[f"{part}.{first + 2 * i}.weight"] = layer.weight.data
            made[f"{part}.{first + 2 * i}.bias"] = layer.bias.data
    if settings["likelihood"] == "gaussian":
        made["likelihood.log_scale"] = torch.tensor(log(settings.get("scale", 0.1)))
    return {name: value.to(dtype).requires_grad_() for name, value in made.items()}


def through(parameters: dict, part: str, x: Tensor, settings: dict) -> Tensor:
    names = [n for n in parameters if n.startswith(part) and n.endswith("weight")]
    for name in names:
        x = F.linear(x, parameters[name], parameters[name.replace("weight", "bias")])
        if name != names[-1]:
            x = {"relu": torch.relu, "tanh": torch.tanh}[settings.get("activation", "relu")](x)
    return x


def loss_of(parameters: dict, settings: dict, live: dict, x: Tensor, noise: Tensor):
    """What is minimized, and the two terms of the ELBO, all means over the batch."""
    mu, log_var = through(parameters, "encoder", x, settings).chunk(2, dim=1)
    z = mu if live["autoencoder"] else mu + (log_var / 2).exp() * noise
    raw = through(parameters, "decoder", z, settings)
    if settings["likelihood"] == "bernoulli":
        log_lik = -F.binary_cross_entropy_with_logits(raw, x, reduction="none").sum(1).mean()
    else:
        means = raw.sigmoid() if settings.get("mean") == "sigmoid" else raw
        log_scale = parameters["likelihood.log_scale"]
        if not settings.get("learnScale"):
            log_scale = log_scale.detach()
        squares = (x - means).square() / (2 * (2 * log_scale).exp())
        log_lik = -(squares + log_scale + log(2 * pi) / 2).sum(1).mean()
    kls = ((mu.square() + log_var.exp() - log_var - 1) / 2).mean(0)  # (L,)
    if live["autoencoder"]:
        return -log_lik, log_lik, torch.zeros(())
    priced = kls.clamp(min=live["freeBits"]) if live["freeBits"] else kls
    return live["beta"] * priced.sum() - log_lik, log_lik, kls.sum()


def unpacked(found: dict[str, str], like: dict[str, Tensor]) -> dict[str, Tensor]:
    arrays = {name: np.frombuffer(base64.b64decode(text), "<f4").copy() for name, text in found.items()}
    return {name: torch.from_numpy(a).view(like[name].shape).double() for name, a in arrays.items()}


def in_node(folder, cases: list[dict], numbers: Numbers) -> list[dict]:
    (folder / "numbers").write_bytes(b"".join(numbers.parts))
    (folder / "cases.json").write_text(json.dumps(cases))
    return json.loads(run_node(folder, RUN))


# Every gradient.

LIKELIHOODS = {
    "bernoulli": {"likelihood": "bernoulli"},
    "gaussian": {"likelihood": "gaussian", "scale": 0.3},
    "learned sigma": {"likelihood": "gaussian", "scale": 0.5, "learnScale": True},
    "squashed means": {"likelihood": "gaussian", "scale": 0.2, "learnScale": True, "mean": "sigmoid"},
}
SHAPES = [  # D, B, hidden, L: few and odd numbers, so that blocks of four end in the middle
    (7, 5, [6], 1),
    (2, 64, [32, 32], 2),
    (13, 3, [9, 10, 4], 8),
    (5, 6, [], 3),
    (30, 17, [12], 5),
]
PRICES = [{"beta": 1.0}, {"beta": 0.0}, {"beta": 4.0}, {"freeBits": 0.2}]
GRADIENTS = {
    f"{name}, {activation}, {'autoencoder' if autoencoder else 'VAE'}, {part}": (
        {**given, "activation": activation},
        {**LIVE, "part": part, "autoencoder": autoencoder},
    )
    for (name, given), activation, autoencoder, part in product(
        LIKELIHOODS.items(), ("relu", "tanh"), (False, True), ("both", "encoder", "decoder")
    )
}


@pytest.fixture(scope="module")
def slopes(tmp_path_factory):
    """(ours, exact, terms, trained) of every case, with both sets of kernels."""
    numbers, cases, exact = Numbers(), [], {}
    generator = torch.Generator().manual_seed(3)
    for i, (name, (given, live)) in enumerate(GRADIENTS.items()):
        dims, B, hidden, latents = SHAPES[i % len(SHAPES)]
        settings = {"dims": dims, "hidden": hidden, "latents": latents, **given}
        if i % 3 == 0 and hidden:
            settings["decoderHidden"] = [11, 3]
        live = {**live, **PRICES[(i // 3) % len(PRICES)]}
        torch.manual_seed(i)
        parameters = drawn(settings)
        x = torch.rand(B, dims, generator=generator).float()
        noise = torch.randn(1, B, latents, generator=generator)
        loss, *terms = loss_of(parameters, settings, live, x.double(), noise[0].double())
        loss.backward()
        places = {name: numbers.place(p) for name, p in parameters.items()}
        case = {"settings": settings, "parameters": places, "x": numbers.place(x), "lives": [live]}
        case |= {"noise": numbers.place(noise), "batches": [list(range(B))], "learn": False}
        cases += [{**case, "kernels": kernels} for kernels in ("simd", "plain")]
        exact[name] = parameters, [t.item() for t in terms], live["part"]
    found = in_node(tmp_path_factory.mktemp("slopes"), cases, numbers)
    return {name: (found[2 * i : 2 * i + 2], *exact[name]) for i, name in enumerate(GRADIENTS)}


@pytest.mark.parametrize("name", GRADIENTS)
def test_every_gradient_is_that_of_pytorch_in_double_precision(name, slopes):
    both, parameters, terms, part = slopes[name]
    for found in both:
        ours = unpacked(found["slopes"], parameters)
        for key, p in parameters.items():
            if part == "encoder" and not key.startswith("encoder"):
                continue
            if part == "decoder" and key.startswith("encoder"):
                continue
            grad = torch.zeros_like(p) if p.grad is None else p.grad
            largest = max(grad.abs().max().item(), 1e-3)
            assert (ours[key] - grad).abs().max() < 5e-6 * largest, key
        mine = [found["terms"][0][key] for key in ("logLik", "kl")]
        assert mine == pytest.approx(terms, rel=3e-6, abs=1e-5)


# Whole runs, on the same batches and noise.


def ring(count: int, generator: torch.Generator) -> Tensor:
    """Points around eight places on a circle, (count, 2)."""
    angle = torch.randint(8, (count,), generator=generator) * pi / 4
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(count, 2, generator=generator)


TOY = {
    "dims": 2,
    "hidden": [32, 32],
    "latents": 2,
    "likelihood": "gaussian",
    "scale": 0.3,
    "learnScale": True,
}
DIGITS = {"dims": 784, "hidden": [128], "latents": 2, "likelihood": "bernoulli"}
ACTS = [*[{}] * 60, *[{"part": "encoder"}] * 60, *[{"part": "decoder", "beta": 4.0}] * 60]
ACTS += [*[{"beta": 0.2, "rate": 5e-3}] * 60, *[{"freeBits": 0.1}] * 60]
RUNS = {  # settings, data, batch, what is changed on the way
    "toy": (TOY, lambda g, digits: ring(500, g), 64, [{}] * 600),
    "toy, parts and prices change": ({**TOY, "activation": "tanh"}, lambda g, digits: ring(500, g), 64, ACTS),
    "digits": (DIGITS, lambda g, digits: digits.train.pixels.flatten(1) / 255, 64, [{}] * 60),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, digits):
    """(found in Node with SIMD and in plain JavaScript, PyTorch's parameters and terms) of every run."""
    numbers, cases, expected = Numbers(), [], []
    for name, (settings, data, B, changes) in RUNS.items():
        generator = torch.Generator().manual_seed(5)
        torch.manual_seed(0)
        parameters, x = drawn(settings, torch.float32), data(generator, digits)
        batches = [torch.randperm(len(x), generator=generator)[:B] for _ in changes]
        noise = torch.randn(len(changes), B, settings["latents"], generator=generator)
        lives = [{**LIVE, **change} for change in changes]
        case = {"settings": settings, "x": numbers.place(x), "noise": numbers.place(noise), "lives": lives}
        case |= {"parameters": {key: numbers.place(p) for key, p in parameters.items()}, "learn": True}
        case["batches"] = [batch.tolist() for batch in batches]
        cases += [{**case, "kernels": kernels} for kernels in ("simd", "plain")[: 1 + (name != "digits")]]
        expected.append((name, parameters, trained(parameters, settings, lives, x, batches, noise)))
    found = iter(in_node(tmp_path_factory.mktemp("runs"), cases, numbers))
    return {
        name: ([next(found) for _ in range(1 + (name != "digits"))], p, terms) for name, p, terms in expected
    }


def trained(parameters: dict, settings: dict, lives: list[dict], x: Tensor, batches, noise) -> list:
    """PyTorch's terms at every step; the parameters are changed in place."""
    adam = torch.optim.Adam(parameters.values())
    terms = []
    for live, batch, eps in zip(lives, batches, noise, strict=True):
        adam.param_groups[0]["lr"] = live["rate"]
        adam.zero_grad()
        loss, *now = loss_of(parameters, settings, live, x[batch], eps)
        loss.backward()
        other = {"encoder": "decoder", "decoder": "encoder"}.get(live["part"])
        for name, p in parameters.items():
            if other and (name.startswith(other) or (other == "decoder" and name.startswith("likelihood"))):
                p.grad = None
        adam.step()
        terms.append([term.item() for term in now])
    return terms


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_that_of_pytorch_on_the_same_batches_and_noise(name, runs):
    both, parameters, terms = runs[name]
    for found in both:
        ours = torch.tensor([[t["logLik"], t["kl"]] for t in found["terms"]])
        bound, exact = ours[:, 0] - ours[:, 1], torch.tensor(terms)[:, 0] - torch.tensor(terms)[:, 1]
        assert (bound - exact)[:20].abs().max() < 1e-4 * exact[:20].abs().max()
        assert (bound - exact).abs().mean() < 0.01
        assert exact[-20:].mean() > exact[:20].mean() + 0.5  # so it has learned
        final = unpacked(found["parameters"], parameters)
        errors = torch.cat([(final[key] - p.detach()).abs().flatten() for key, p in parameters.items()])
        assert errors.mean() < (1e-2 if name == "toy" else 1e-4)  # rounding grows at the corners of a ReLU


def test_both_terms_are_those_of_the_package_on_the_same_parameters(runs, digits, tmp_path, monkeypatch):
    """Under the names that they are read out with, the parameters fit `vae_lab`'s own model."""
    for likelihood, given in {
        likelihoods.Bernoulli(): {"likelihood": "bernoulli"},
        likelihoods.Gaussian(0.2, learn=True): LIKELIHOODS["squashed means"],
    }.items():
        settings = {**DIGITS, **given, "latents": 4, "hidden": [40, 20]}
        x = digits.test.pixels[:32].float() / 255
        noise = torch.randn(1, 32, 4)
        numbers = Numbers()
        case = {"settings": settings, "kernels": "simd", "lives": [LIVE], "batches": [list(range(32))]}
        case |= {"x": numbers.place(x.flatten(1)), "noise": numbers.place(noise), "learn": False}
        (found,) = in_node(tmp_path, [case], numbers)
        shape = (1, 28, 28)
        bodies = nets.mlp_encoder(shape, 8, hidden=(40, 20)), nets.mlp_decoder(4, shape, hidden=(20, 40))
        model = models.VAE(*bodies, 4, likelihood)
        model.load_state_dict(
            {k: v.float() for k, v in unpacked(found["parameters"], model.state_dict()).items()}
        )
        draw = "torch.distributions.normal._standard_normal"
        monkeypatch.setattr(draw, lambda shape, dtype, device, noise=noise: noise.view(shape))
        with torch.no_grad():
            log_lik, kl = elbo(model, x)
        assert found["terms"][0]["logLik"] == pytest.approx(log_lik.mean().item(), rel=1e-5)
        assert found["terms"][0]["kl"] == pytest.approx(kl.mean().item(), rel=1e-5, abs=1e-5)


# Random numbers.


def test_random_numbers_are_uniform_and_normal_and_streams_differ(tmp_path):
    script = """
    import { random } from "./learning/random.js";
    const streams = [[1, 0], [1, 1], [2, 0]].map(([seed, stream]) => random(seed, stream));
    process.stdout.write(JSON.stringify([
      streams.map(({ uniform }) => Array.from({ length: 20000 }, uniform)),
      streams.map(({ normal }) => Array.from({ length: 20000 }, normal))]));
    """
    uniform, normal = (np.array(rows) for rows in json.loads(run_node(tmp_path, script)))
    for u, n in zip(uniform, normal, strict=True):
        assert u.min() >= 0 and u.max() < 1
        assert stats.kstest(u, "uniform").pvalue > 0.01 and stats.kstest(n, "norm").pvalue > 0.01
        assert abs(np.corrcoef(n[:-1], n[1:])[0, 1]) < 0.03
    for rows in (uniform, normal):
        assert np.abs(np.corrcoef(rows) - np.eye(3)).max() < 0.03


def test_layers_start_as_those_of_pytorch(tmp_path):
    settings = {**DIGITS, "seed": 9}
    numbers = Numbers()
    case = {"settings": settings, "kernels": "simd", "lives": [LIVE], "batches": [[0]], "learn": False}
    case |= {"x": numbers.place(torch.zeros(1, 784)), "noise": numbers.place(torch.zeros(1, 1, 2))}
    (found,) = in_node(tmp_path, [case], numbers)
    for name, values in unpacked(found["parameters"], drawn(settings)).items():
        if name.endswith("weight"):
            end = values.shape[1] ** -0.5
            assert stats.kstest(values.flatten().numpy(), "uniform", (-end, 2 * end)).pvalue > 0.001
            bias = unpacked(found["parameters"], drawn(settings))[name.replace("weight", "bias")]
            assert end / 2 < bias.abs().max() <= end


# What a page does with it, in Node.

TRAIN = """
import { makeTrainer } from "./learning/trainer.js";
import { checked } from "./learning/settings.js";
import { checksum } from "./learning/learner.js";
import { random } from "./learning/random.js";
const { uniform, normal } = random(11, 0);
const pixel = () => Math.min(1, Math.max(0, uniform() * 1.6 - 0.3));
const points = (count, dims) => Float32Array.from({ length: count * dims }, pixel);
const make = (given, more = {}) => {
  const settings = checked(given);
  const [data, heldOut] = [points(200, settings.dims), points(70, settings.dims)];
  return makeTrainer({ settings, data, heldOut, parameters: null, plain: false, ...more });
};
const one = (options) => options[Math.floor(uniform() * options.length)];
const sound = (...arrays) => arrays.every((array) => array.every(Number.isFinite));
const finite = (trainer) => sound(...Object.values(trainer.read()).map(({ values }) => values));
const print = (found) => process.stdout.write(JSON.stringify(found));
"""


def test_nothing_that_a_reader_drags_makes_it_fail(tmp_path):
    script = """
    const found = [];
    const [likelihood, learnScale] = ["gaussian", true];
    for (const given of [
      { dims: 2, hidden: [32, 32], likelihood, scale: 0.1 },
      { dims: 2, hidden: [16], likelihood, scale: 0.05, learnScale, activation: "tanh", latents: 1 },
      { dims: 20, hidden: [16], likelihood, learnScale, mean: "sigmoid", latents: 8 },
      { dims: 20, hidden: [32], latents: 3 },
    ]) {
      const trainer = make(given);
      for (let i = 0; i < 2500; i++) {
        if (i % 7 === 0)
          trainer.change({ beta: one([0, 20, 20 * uniform()]), rate: one([0.01, 0.01 * uniform()]),
            batch: one([1, 3, 64, 512]), part: one(["both", "both", "encoder", "decoder"]),
            autoencoder: uniform() < 0.2, freeBits: one([0, 0, 1]) });
        trainer.step();
      }
      found.push([trainer.failed(), finite(trainer)]);
    }
    print(found);
    """
    assert json.loads(run_node(tmp_path, TRAIN + script)) == [["", True]] * 4


def test_what_a_high_price_pressed_flat_comes_back(tmp_path):
    script = """
    const circle = (i) => (i % 2 ? Math.sin(i - 1) : Math.cos(i));
    const data = Float32Array.from({ length: 800 }, (_, i) => circle(i) + 0.1 * normal());
    const trainer = make({ dims: 2, hidden: [32], likelihood: "gaussian", scale: 0.3, rate: 0.01 }, { data });
    const kls = [1, 20, 1].map((beta) => {
      trainer.change({ beta });
      for (let i = 0; i < 600; i++) trainer.step();
      return trainer.frame({}, true).kl;
    });
    print(kls);
    """
    before, pressed, after = json.loads(run_node(tmp_path, TRAIN + script))
    assert before > 1 and pressed < 0.2 and after > 0.8 * before


def test_data_that_can_be_copied_exactly_do_not_break_a_learned_scale(tmp_path):
    """σ would fall without end, and its precision would leave float32."""
    script = """
    const data = new Float32Array(20 * 4).fill(0.5);
    const settings = { dims: 4, hidden: [8], likelihood: "gaussian", learnScale: true, rate: 0.01 };
    const trainer = make(settings, { data });
    for (let i = 0; i < 3000; i++) trainer.step();
    const { scale, failed } = trainer.frame({}, true);
    print({ scale, failed, finite: finite(trainer) });
    """
    found = json.loads(run_node(tmp_path, TRAIN + script))
    assert found["failed"] == "" and found["finite"] and 5e-4 < found["scale"] < 0.01


def test_a_hundred_random_settings_run_and_show_what_is_asked(tmp_path):
    script = """
    const found = [];
    for (let n = 0; n < 100; n++) {
      const upTo = (most) => 1 + Math.floor(most * uniform());
      const widths = () => Array.from({ length: upTo(4) - 1 }, () => upTo(60));
      const [dims, latents] = [upTo(40), upTo(8)];
      const settings = {
        dims, latents, hidden: widths(), decoderHidden: widths(), seed: n, activation: one(["relu", "tanh"]),
        likelihood: one(["bernoulli", "gaussian"]), mean: one(["identity", "sigmoid"]),
        learnScale: uniform() < 0.5, scale: one([0.01, 0.1, 10]), beta: 20 * uniform(),
        rate: 0.01 * uniform(), batch: upTo(300), autoencoder: uniform() < 0.3 };
      const trainer = make(settings, { plain: n % 10 === 0 });
      for (let i = 0; i < 25; i++) trainer.step();
      const decode = Float32Array.from({ length: 600 * latents }, normal); // more than fit in one pass
      const view = { codes: true, decode, copies: [0, 7, 199] };
      const { means, scales, decoded, copies, failed, curve } = trainer.frame(view, true);
      const again = trainer.frame({ ...view, decode: means.slice(7 * latents, 8 * latents) }, true);
      const error = Math.max(...again.decoded.map((v, i) => Math.abs(v - copies[dims + i])));
      const codes = [means.length / latents, scales.length / latents];
      const lengths = [...codes, decoded.length / dims, copies.length / dims];
      found.push({ lengths, error, failed, sound: sound(means, scales, decoded, copies, curve) });
    }
    print(found);
    """
    for run in json.loads(run_node(tmp_path, TRAIN + script)):
        assert run["lengths"] == [200, 200, 600, 3]
        assert run["failed"] == "" and run["sound"] and run["error"] < 1e-5


def test_the_curve_keeps_few_rows_whose_means_are_those_of_all_steps(tmp_path):
    script = """
    import { COLUMNS, makeCurve } from "./learning/curve.js";
    let step = 0;
    const curve = makeCurve(2, () => ({ logLik: -step, kl: 2 * step }));
    for (step = 1; step <= 5000; step++) curve.add({ logLik: -step, kl: 1 });
    print([COLUMNS.length, [...curve.read()]]);
    """
    width, numbers = json.loads(run_node(tmp_path, TRAIN + script))
    rows = np.array(numbers).reshape(-1, width)
    every = rows[0, 0]
    assert 256 <= len(rows) < 512 and np.all(np.diff(rows[:, 0]) == every)
    assert np.allclose(rows[:, 1], -(rows[:, 0] - (every - 1) / 2)) and np.all(rows[:, 2] == 1)
    assert np.array_equal(rows[:, 3], -rows[:, 0]) and np.array_equal(rows[:, 4], 2 * rows[:, 0])


def test_a_session_posts_a_frame_only_when_it_is_asked_and_has_something_new(tmp_path):
    script = """
    import { makeSession } from "./learning/session.js";
    const [posted, queue] = [[], []];
    const [post, later] = [(tells) => posted.push(tells), (call) => queue.push(call)];
    const session = makeSession({ post, later, slice: 2 });
    const frames = () => posted.splice(0).map(({ frame }) => frame.steps);
    const run = (n) => { for (let i = 0; i < n; i++) queue.shift()?.(); };
    const settings = checked({ dims: 3, hidden: [4] });
    const found = {};
    const start = { settings, data: points(50, 3), heldOut: new Float32Array(0), parameters: null };
    session({ start, run: 1 });
    found.unasked = frames();
    session({ ask: true });
    found.first = frames();
    session({ ask: true });
    found.nothingNew = frames();
    session({ step: 3 });
    found.afterSteps = frames();
    session({ play: true });
    run(5);
    found.playing = frames();
    session({ ask: true });
    run(3);
    found.playingAsked = frames().length;
    session({ play: false });
    run(3);
    found.left = queue.length;
    session({ change: { pace: 2 }, ask: true });
    const before = frames()[0];
    session({ play: true, ask: true });
    run(1);
    found.slow = frames().map((steps) => steps - before);
    print(found);
    """
    found = json.loads(run_node(tmp_path, TRAIN + script))
    assert found["unasked"] == [] and found["first"] == [0] and found["nothingNew"] == []
    assert found["afterSteps"] == [3] and found["playing"] == [] and found["playingAsked"] == 1
    assert found["left"] == 0 and found["slow"] == [1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"beta": 21}, "beta must be a number from 0 to 20, got 21"),
        ({"rate": "fast"}, "rate must be a number from 0 to 0.01, got fast"),
        ({"batch": 2.5}, "batch must be a whole number from 1 to 512, got 2.5"),
        ({"hidden": [0]}, "hidden must be at most 4 whole numbers from 1 to 1024, got 0"),
        ({"decoderHidden": "wide"}, "decoderHidden must be at most 4 whole numbers from 1 to 1024, got wide"),
        ({"part": "prior"}, "part must be one of both, encoder, decoder, got prior"),
        ({"latents": None}, "latents must be a whole number from 1 to 8, got null"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(given, words, tmp_path):
    script = (
        f"try {{ checked({json.dumps(given)}); }} catch (error) {{ process.stdout.write(error.message); }}"
    )
    assert run_node(tmp_path, TRAIN + script) == words


# In a browser.

OPTIONS = {"dims": 784, "hidden": [32], "latents": 2, "seed": 7, "batch": 50}
CHECKSUM = f"""
const data = Float32Array.from({{ length: 784 * 120 }}, (_, i) => ((i * i) % 97) / 97);
const options = {{ ...{json.dumps(OPTIONS)}, data }};
"""


@pytest.fixture(scope="module")
def checksums(tmp_path_factory):
    """After 60 steps in Node: with WebAssembly, in plain JavaScript; and how far the two are apart."""
    script = """
    const [fast, slow] = [false, true].map((plain) => {
      const trainer = make(options, { data, heldOut: new Float32Array(0), plain });
      for (let i = 0; i < 60; i++) trainer.step();
      return trainer.read();
    });
    const error = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));
    const apart = Object.keys(fast).map((name) => error(fast[name].values, slow[name].values));
    print({ wasm: checksum(fast), plain: checksum(slow), apart: Math.max(...apart) });
    """
    return json.loads(run_node(tmp_path_factory.mktemp("checksums"), TRAIN + CHECKSUM + script))


def test_both_sets_of_kernels_learn_the_same(checksums):
    assert checksums["wasm"] != checksums["plain"] and checksums["apart"] < 1e-4


POLICIES = {  # where it learns, and with which kernels
    "": ("worker", "wasm"),
    "script-src 'unsafe-inline' 'wasm-unsafe-eval'": ("page", "wasm"),
    "script-src 'unsafe-inline'; worker-src blob:": ("worker", "plain"),
    "script-src 'unsafe-inline'": ("page", "plain"),
}
TRIED = """
() => new Promise((resolve) => {
  const learner = learn(options, async (frame) => {
    if (frame.steps !== 60) return;
    const { checksum, steps } = await learner.read();
    learner.end();
    resolve([frame.where, frame.kernels, checksum, steps]);
  });
  learner.step(60);
})
"""


def page_of(policy: str = "", body: str = "") -> str:
    """A page that has `learn` and the options, under a Content Security Policy."""
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    script = bundle.learning() + CHECKSUM + "Object.assign(window, { learn, options, LIMITS });"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{meta}<title>test</title>{body}'
        f'<script type="module">{script}</script>'
    )


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page from a folder or from a server; its errors fail the test."""
    page, errors = browser.new_page(viewport={"width": 500, "height": 400}), []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def go(text: str, scheme: str = "file"):
        if scheme == "file":
            (tmp_path / "page.html").write_text(text, "utf8")
            page.goto((tmp_path / "page.html").as_uri())
        else:
            page.route("http://lab.test/**", lambda route: route.fulfill(body=text, content_type="text/html"))
            page.goto("http://lab.test/")
        page.wait_for_function("() => window.learn")
        return page

    yield go
    page.close()
    assert errors == []


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p or "no policy")
def test_it_learns_the_same_bits_wherever_it_may_run(policy, scheme, opened, checksums):
    where, kernels, checksum, steps = opened(page_of(policy), scheme).evaluate(TRIED)
    assert (where, kernels) == POLICIES[policy] and steps == 60
    assert checksum == checksums[kernels]


PLAY = """
(worker) => {
  window.seen = [];
  window.learner = learn({ ...options, worker, element: document.querySelector("#stage") ?? undefined },
    (frame) => { window.seen.push(frame); window.last = frame; });
}
"""


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "page"])
def test_play_pause_step_change_and_start_again(worker, opened):
    page = opened(page_of())
    page.evaluate(PLAY, worker)
    page.wait_for_function("() => window.last?.steps === 0")
    page.evaluate("() => learner.step()")
    page.wait_for_function("() => last.steps === 1 && !learner.playing()")
    page.evaluate("() => learner.play()")
    page.wait_for_function("() => last.steps > 20")
    page.evaluate("() => learner.change({ beta: 4, batch: 10 })")
    page.wait_for_function("() => last.live.beta === 4 && last.live.batch === 10")
    page.evaluate("() => learner.pause()")
    rests(page)
    page.evaluate("() => learner.change({ pace: 20 })")
    page.evaluate("() => { window.from = last.steps; window.began = performance.now(); learner.play(); }")
    page.wait_for_function("() => last.steps >= from + 8")
    took = page.evaluate("() => (performance.now() - began) / (last.steps - from)")
    assert took > 30  # milliseconds a step: slow motion
    page.evaluate("() => { seen.length = 0; learner.restart({ hidden: [5], latents: 3, pace: Infinity }); }")
    page.wait_for_function(
        "() => seen.some(({ steps }) => steps === 0) && last.steps > 3 && learner.playing()"
    )
    page.evaluate("() => learner.view({ codes: true, decode: new Float32Array(6), copies: [1, 2] })")
    page.wait_for_function(
        "() => last.copies && last.decoded.length === 2 * 784 && last.means.length === 360"
    )
    named = page.evaluate(
        "async () => { const { parameters } = await learner.read(); return Object.keys(parameters); }"
    )
    assert named[:2] == ["encoder.2.weight", "encoder.2.bias"] and len(named) == 8
    page.evaluate("() => { learner.end(); window.count = seen.length; }")
    page.wait_for_timeout(200)
    assert page.evaluate("() => seen.length === count")


def rests(page) -> None:
    """Soon nothing new comes any more."""
    for _ in range(20):
        steps = page.evaluate("() => last.steps")
        page.wait_for_timeout(250)
        if page.evaluate("() => last.steps") == steps:
            return
    pytest.fail("it goes on")


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "page"])
def test_it_rests_off_the_screen_and_in_a_hidden_page(worker, opened):
    page = opened(
        page_of(body="<div id=stage style='height: 100px'></div><div style='height: 3000px'></div>")
    )
    page.evaluate(PLAY, worker)
    page.evaluate("() => learner.play()")
    page.wait_for_function("() => window.last?.steps > 5")
    page.evaluate("""() => { window.hide = (hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange")); }; }""")
    for away, back in (("scrollTo(0, 2000)", "scrollTo(0, 0)"), ("hide(true)", "hide(false)")):
        page.evaluate(away)
        rests(page)
        page.evaluate(back)
        page.wait_for_function("(steps) => last.steps > steps + 5", arg=page.evaluate("() => last.steps"))
    page.evaluate("() => learner.end()")


def test_a_page_draws_at_most_once_a_frame_and_stays_free(opened):
    page = opened(page_of())
    page.evaluate(PLAY, True)
    found = page.evaluate("""async () => {
      learner.view({ codes: true });
      learner.play();
      const times = [];
      await new Promise((done) => {
        const next = () => requestAnimationFrame((time) => {
          times.push(time);
          times.length < 60 ? next() : done();
        });
        next();
      });
      learner.end();
      const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
      return { drawn: seen.length, median: gaps[29], p95: gaps[56], steps: last.steps };
    }""")
    print(
        f"frames of {found['median']:.1f} ms, 95 % below {found['p95']:.1f} ms; drawn {found['drawn']} of 60"
    )
    assert 0 < found["drawn"] <= 62 and found["steps"] > 10


def test_data_that_do_not_fit_are_refused_in_a_sentence(opened):
    page = opened(page_of())
    said = page.evaluate("""() => [[5, 0], [0, 0], [784, NaN]].map(([length, value]) => {
      try { learn({ ...options, data: new Float32Array(length).fill(value) }, () => {}); }
      catch (error) { return error.message; } })""")
    assert said == [f"data must be rows of 784 finite numbers, got {n} numbers" for n in (5, 0, 784)]


# The compiled kernels.


def test_the_compiled_kernels_are_those_of_the_source():
    if missing():
        pytest.skip(f"compiling the kernels {missing()}")
    assert COMPILED.read_text("utf8") == as_script(compiled())


def test_the_engine_is_one_function_whose_text_is_a_program():
    """No import, no export and no name from outside is left in it."""
    text = bundle.learning()
    inside = text.split("function engine() {\n")[1].split("\nexport const {")[0]
    assert "import " not in inside and "export " not in inside
    assert {file.stem for file in (FILES / "learning").glob("*.js")} == {*bundle.ENGINE, "engine", "learner"}
    assert len(gzip.compress(text.encode())) < 20_000
