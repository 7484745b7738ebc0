"""What is exact in the lab's page, against quadrature in double precision; and what its reader takes home."""

import base64
import contextlib
import io
import json
from functools import partial
from itertools import product
from math import log

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from showing import run_node
from test_learning import LIKELIHOODS, drawn, loss_of, through
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from torch.nn import functional as F

from vae_lab import inference, lab
from vae_lab.data import Images
from vae_lab.files import DamagedFileError
from vae_lab.metrics import log_likelihood
from vae_lab.objectives import elbo
from vae_lab.widgets import bundle

HEAD = """
import { readFileSync, writeFileSync } from "node:fs";
import * as exact from "./exact.js";
import { simd } from "./learning/kernels.js";
import { random } from "./learning/random.js";
import { checked } from "./learning/settings.js";
import { makeTrainer } from "./learning/trainer.js";
import { makeVAE } from "./learning/vae.js";
import { pytorchCell, safetensors } from "./takeaway.js";
const given = JSON.parse(readFileSync("given.json"));
const print = (found) => process.stdout.write(JSON.stringify(found));
const text = ({ buffer, byteOffset, byteLength }) =>
  Buffer.from(buffer, byteOffset, byteLength).toString("base64");
"""


def in_node(folder, script: str, given=None):
    """What a script prints that sees `given`."""
    (folder / "given.json").write_text(json.dumps(given))
    return json.loads(run_node(folder, HEAD + script))


def numbers(text: str, kind: str = "<f8") -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), kind).copy()).double()


# The grid.


def places(latents: int) -> Tensor:
    """The codes of the page's grid, as its file describes them, (K, L)."""
    if latents == 1:
        return torch.linspace(-5, 5, 241, dtype=torch.float64)[:, None]
    axis = torch.linspace(-4.5, 4.5, 49, dtype=torch.float64)
    down, across = torch.meshgrid(axis.flip(0), axis, indexing="ij")
    return torch.stack([across, down], -1).view(-1, 2)


@pytest.fixture(scope="module")
def grids(tmp_path_factory):
    script = """
    const said = (latents) => {
      try { exact.latentGrid(latents); } catch (error) { return [error.name, error.message]; }
    };
    const found = [1, 2].map((latents) => {
      const { codes, logMass, ...rest } = exact.latentGrid(latents);
      return { codes: text(codes), logMass: text(logMass), ...rest };
    });
    const nodes = [exact.hermite([0.5], [0.3]), exact.hermite([-1, 2], [0.1, 2])];
    const resolved = [[0.05, 0], [0.04, 0], [2, 0.19], [0.18, 2]].map((scale, i) =>
      exact.resolved(exact.latentGrid(i < 2 ? 1 : 2), i < 2 ? scale.slice(0, 1) : scale));
    print({ found, nodes: nodes.map(({ codes, weight }) => [text(codes), text(weight)]), resolved,
      said: [0, 3].map(said) });
    """
    return in_node(tmp_path_factory.mktemp("grids"), script)


@pytest.mark.parametrize("latents", [1, 2])
def test_the_grid_holds_the_prior(latents, grids):
    grid = grids["found"][latents - 1]
    codes, mass = numbers(grid["codes"], "<f4").view(-1, latents), numbers(grid["logMass"]).exp()
    torch.testing.assert_close(codes, places(latents), atol=1e-6, rtol=0)
    prior = Independent(Normal(torch.zeros(latents).double(), 1.0), 1)
    cell = (2 * grid["half"] / (grid["side"] - 1)) ** latents
    torch.testing.assert_close(mass, prior.log_prob(places(latents)).exp() * cell)
    assert mass.sum().item() == pytest.approx(1, abs=2e-5)
    assert (mass @ codes.square()).tolist() == pytest.approx([1] * latents, abs=4e-4)


def test_other_numbers_of_latents_are_refused(grids):
    words = "a grid is for one or two latents, got {}"
    assert grids["said"] == [["RangeError", words.format(n)] for n in (0, 3)]


def test_nine_places_an_axis_are_those_of_gauss_and_hermite(grids):
    t, w = np.polynomial.hermite_e.hermegauss(9)
    t, w = torch.tensor(t), torch.tensor(w / w.sum())
    (codes, weight), (pairs, weights) = (
        (numbers(codes, "<f4"), numbers(weight)) for codes, weight in grids["nodes"]
    )
    torch.testing.assert_close(codes, 0.5 + 0.3 * t, atol=1e-6, rtol=0)
    torch.testing.assert_close(weight, w)
    torch.testing.assert_close(weights.view(9, 9), torch.outer(w, w))
    pairs = pairs.view(9, 9, 2)
    torch.testing.assert_close(pairs[..., 0], (-1 + 0.1 * t).expand(9, 9), atol=1e-6, rtol=0)
    torch.testing.assert_close(pairs[..., 1], (2 + 2 * t)[:, None].expand(9, 9), atol=1e-6, rtol=0)


def test_a_grid_resolves_what_is_wider_than_its_spacing(grids):
    """1/24 with one latent, 3/16 with two."""
    assert grids["resolved"] == [True, False, True, False]


# log p(x), the posterior, and the three parts.

EXACT = """
print(given.map(({ settings, parameters, x, mean, scale }) => {
  const vae = makeVAE(simd, checked(settings), 4000);
  vae.write(Object.fromEntries(Object.entries(parameters).map(([name, { shape, values }]) =>
    [name, { shape, values: Float32Array.from(values.flat()) }])));
  const decode = (codes) => {
    const [n, z] = [codes.length / settings.latents, vae.kernels.space(codes.length)];
    z.set(codes);
    return vae.decode(z, n).slice(0, n * settings.dims);
  };
  const [point, sigma] = [Float32Array.from(x), vae.logScale ? Math.exp(vae.logScale.value[0]) : 1];
  const grid = exact.latentGrid(settings.latents);
  const { logP, share } = exact.posteriorOf(point, decode(grid.codes), grid, settings.likelihood, sigma);
  const { codes, weight } = exact.hermite(mean, scale);
  const decoded = decode(codes);
  const ledger = exact.ledgerOf(point, decoded, weight, mean, scale, logP, settings.likelihood, sigma);
  return { logP, share: text(share), ledger };
}));
"""


def case(settings: dict, size: float, q: tuple[float, float], seed: int) -> dict:
    """Parameters, their weights `size` times those of a start; an example; mean and scale of a q(z|x)."""
    torch.manual_seed(seed)
    parameters = {name: (size * p if "weight" in name else p).detach() for name, p in drawn(settings).items()}
    if "likelihood.log_scale" in parameters:
        parameters["likelihood.log_scale"] = torch.tensor(log(settings["scale"])).double()
    L = settings["latents"]
    mean, scale = torch.tensor(q[:1] * L).double(), torch.tensor(q[1:] * L).double()
    return {"settings": settings, "parameters": parameters, "x": torch.rand(settings["dims"]).double()} | {
        "mean": mean + 0.2 * torch.arange(L),
        "scale": scale * (1 + torch.arange(L)),
    }


def as_json(made: dict) -> dict:
    parameters = {
        name: {"shape": list(p.shape), "values": p.flatten().tolist()}
        for name, p in made["parameters"].items()
    }
    return {name: v.tolist() if isinstance(v, Tensor) else v for name, v in made.items()} | {
        "parameters": parameters
    }


def log_liks(made: dict, z: Tensor) -> Tensor:
    """log p(x|z) at codes (n, L) in double precision, (n,)."""
    settings, x = made["settings"], made["x"].float().double()
    raw = through({k: p.float().double() for k, p in made["parameters"].items()}, "decoder", z, settings)
    if settings["likelihood"] == "bernoulli":
        return -F.binary_cross_entropy_with_logits(raw, x.expand_as(raw), reduction="none").sum(1)
    means = raw.sigmoid() if settings.get("mean") == "sigmoid" else raw
    return Normal(means, made["parameters"]["likelihood.log_scale"].exp()).log_prob(x).sum(1)


def finely(log_joint, latents: int, like: Tensor | None = None) -> inference.GridPosterior:
    """p(z|x) on a grid of the package's, finer and wider than the page's."""
    points = {1: 20_000, 2: 400}[latents]
    return inference.grid_posterior(log_joint, latents, points=points, half_width=6.0, like=like)


def prior_at(z: Tensor) -> Tensor:
    return Normal(0.0, 1.0).log_prob(z).sum(1)


LINEAR = [
    case(
        {"dims": 3, "hidden": [], "latents": L, "likelihood": "gaussian", "scale": scale, "mean": "identity"},
        1.5,
        q,
        seed,
    )
    for seed, (L, scale, q) in enumerate(product((1, 2), (0.4, 1.0), ((0.3, 0.5), (-0.5, 0.05))))
]
CURVED = {
    f"{name}, {activation}, {L} latents": case(
        {"dims": 6, "hidden": [12], "latents": L, "activation": activation, **given}, 2.0, (0.3, 0.25), L
    )
    for (name, given), activation, L in product(LIKELIHOODS.items(), ("tanh", "relu"), (1, 2))
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the page finds for all cases of `LINEAR` and `CURVED`."""
    cases = [as_json(made) for made in (*LINEAR, *CURVED.values())]
    return in_node(tmp_path_factory.mktemp("exact"), EXACT, cases)


@pytest.mark.parametrize("i", range(len(LINEAR)))
def test_a_linear_model_has_its_closed_forms(i, found):
    made, page = LINEAR[i], found[i]
    W, b = (made["parameters"][f"decoder.0.{kind}"].float().double() for kind in ("weight", "bias"))
    variance, x, L = made["settings"]["scale"] ** 2, made["x"].float().double(), W.shape[1]
    marginal = MultivariateNormal(b, W @ W.T + variance * torch.eye(3).double())
    assert page["logP"] == pytest.approx(marginal.log_prob(x).item(), abs=2e-5)
    precision = torch.eye(L).double() + W.T @ W / variance
    posterior = MultivariateNormal(
        torch.linalg.solve(precision, W.T @ (x - b)) / variance, precision_matrix=precision
    )
    share, z = numbers(page["share"]), places(L)
    assert share.sum().item() == pytest.approx(1)
    mean = share @ z
    torch.testing.assert_close(mean, posterior.mean, atol=1e-4, rtol=0)
    spread = (z - mean).T @ ((z - mean) * share[:, None])
    torch.testing.assert_close(spread, posterior.covariance_matrix, atol=1e-4, rtol=1e-4)
    m, s = made["mean"], made["scale"]
    ledger = page["ledger"]
    expected = Normal(W @ m + b, variance**0.5).log_prob(x).sum() - (W @ s.diag()).square().sum() / (
        2 * variance
    )
    assert ledger["reconstruction"] == pytest.approx(expected.item(), abs=2e-5)
    q = MultivariateNormal(m, s.square().diag())
    prior = MultivariateNormal(torch.zeros(L).double(), torch.eye(L).double())
    assert ledger["kl"] == pytest.approx(kl_divergence(q, prior).item(), abs=1e-6)
    assert ledger["gap"] == pytest.approx(kl_divergence(q, posterior).item(), abs=5e-5)
    sums_up(ledger)


def sums_up(ledger: dict) -> None:
    parts = ledger["reconstruction"] - ledger["kl"] + ledger["gap"]
    assert ledger["logP"] == pytest.approx(parts, abs=1e-9)


def test_where_q_is_the_posterior_there_is_no_gap(tmp_path):
    made = LINEAR[0]
    w, b = (made["parameters"][f"decoder.0.{kind}"].float().double() for kind in ("weight", "bias"))
    variance = made["settings"]["scale"] ** 2
    precision = 1 + w.square().sum() / variance
    mean = (w[:, 0] @ (made["x"].float().double() - b) / variance / precision)[None]
    made = made | {"mean": mean, "scale": precision[None] ** -0.5}
    (page,) = in_node(tmp_path, EXACT, [as_json(made)])
    assert page["ledger"]["gap"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", CURVED)
def test_every_model_has_what_a_finer_grid_finds(name, found):
    made, page = CURVED[name], found[len(LINEAR) + list(CURVED).index(name)]
    L = made["settings"]["latents"]
    like = torch.zeros((), dtype=torch.float64)
    finer = finely(lambda z: log_liks(made, z) + prior_at(z), L, like)
    corners = "relu" in name  # where a sum over places is less exact
    assert page["logP"] == pytest.approx(finer.log_evidence.item(), abs=3e-2 if corners else 1e-4)
    share = (log_liks(made, places(L)) + prior_at(places(L))).softmax(0)
    torch.testing.assert_close(numbers(page["share"]), share, atol=1e-5, rtol=0)
    q = Independent(Normal(made["mean"], made["scale"]), 1)
    mass = (q.log_prob(finer.codes) + finer.log_cell).exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    ledger = page["ledger"]
    expected = (mass @ log_liks(made, finer.codes)).item()
    assert ledger["reconstruction"] == pytest.approx(expected, abs=5e-2 if corners else 1e-3)
    gap = (mass * (q.log_prob(finer.codes) - finer.log_density)).sum().item()
    assert gap > 0 and ledger["gap"] == pytest.approx(gap, abs=5e-2 if corners else 1e-3)
    sums_up(ledger)


def test_a_narrow_posterior_is_found_by_a_grid_of_its_own(tmp_path):
    """A decoder f(z) = w z with little noise: log p(x) is known, and the first grid misses it."""
    script = """
    const { w, x, sigma, mean, scale } = given;
    const decode = ({ codes }) => Float32Array.from(codes, (z, k) => w[k % 2] * z);
    const of = (grid) => exact.posteriorOf(Float64Array.from(x), decode(grid), grid, "gaussian", sigma);
    const first = exact.latentGrid(2);
    const rough = of(first);
    const box = exact.boxOf(rough.share, first, mean, scale);
    const near = exact.gridOver(box);
    print({ rough: rough.logP, box, found: of(near).logP, spacing: near.spacing,
      resolved: [first, near].map((grid) => exact.resolved(grid, scale)) });
    """
    w, x, sigma = torch.tensor([2.0, -3.0]).double(), torch.tensor([1.3, 2.0]).double(), 0.05
    variance = 1 / (1 + w.square() / sigma**2)
    mean = variance * w * x / sigma**2
    given = {
        "w": w.tolist(),
        "x": x.tolist(),
        "sigma": sigma,
        "mean": mean.tolist(),
        "scale": variance.sqrt().tolist(),
    }
    found = in_node(tmp_path, script, given)
    known = Normal(0.0, (w.square() + sigma**2).sqrt()).log_prob(x).sum().item()
    assert found["resolved"] == [False, True]
    assert abs(found["rough"] - known) > 0.05 > 1e-4 > abs(found["found"] - known)
    for (low, high), m, s in zip(found["box"], mean.tolist(), variance.sqrt().tolist(), strict=True):
        assert low <= m - 5 * s < m + 5 * s <= high


def test_a_mean_that_float32_takes_for_sure_leaves_log_p_finite(tmp_path):
    settings = {"dims": 2, "hidden": [], "latents": 1, "likelihood": "bernoulli"}
    made = case(settings, 1.0, (0.0, 1.0), 0) | {"x": torch.tensor([0.0, 1.0])}
    made["parameters"]["decoder.0.weight"] = torch.zeros(2, 1)
    made["parameters"]["decoder.0.bias"] = torch.tensor([200.0, -200.0])  # sure of the opposite
    (page,) = in_node(tmp_path, EXACT, [as_json(made)])
    assert page["logP"] == pytest.approx(2 * log(1e-7), abs=1e-3)


# The density over the plane.

DENSITY = """
const vae = makeVAE(simd, checked(given.settings), 2401);
vae.write(Object.fromEntries(Object.entries(given.parameters).map(([name, { shape, values }]) =>
  [name, { shape, values: Float32Array.from(values) }])));
const [grid, z] = [exact.latentGrid(given.settings.latents), vae.kernels.space(2401 * 2)];
z.set(grid.codes);
const K = grid.logMass.length;
const decoded = vae.decode(z, K).slice(0, 2 * K);
const run = (xs, ys) => exact.densityMap(decoded, grid, given.settings.scale, xs, ys);
const times = Array.from({ length: 8 }, () => {
  const began = performance.now();
  run(given.xs.slice(0, 56), given.ys.slice(0, 56));
  return performance.now() - began;
});
print({ decoded: text(decoded), density: text(run(given.xs, given.ys)), ms: Math.min(...times) });
"""


@pytest.mark.parametrize(
    ("latents", "scale", "activation"),
    [(1, 0.1, "tanh"), (2, 0.05, "relu"), (2, 0.3, "tanh"), (2, 1, "tanh")],
)
def test_the_density_is_the_sum_over_codes_and_integrates_to_one(latents, scale, activation, tmp_path):
    settings = {"dims": 2, "hidden": [16], "latents": latents, "likelihood": "gaussian", "scale": scale}
    made = case({**settings, "activation": activation, "mean": "identity"}, 1.5, (0, 1), 3)
    # a box without a tie between its axes, large enough for all decoded points
    xs, ys = torch.linspace(-9, 9, 301).double(), torch.linspace(-8, 8, 271).double().flip(0)
    page = in_node(tmp_path, DENSITY, as_json(made) | {"xs": xs.tolist(), "ys": ys.tolist()})
    density = numbers(page["density"]).view(271, 301)
    means, mass = numbers(page["decoded"], "<f4").view(-1, 2), prior_at(places(latents)).exp()
    mass = mass * (1 / 24 if latents == 1 else (3 / 16) ** 2)
    across = Normal(means[:, :1], scale).log_prob(xs).exp()  # (K, 301)
    down = Normal(means[:, 1:], scale).log_prob(ys).exp()
    torch.testing.assert_close(density, (down * mass[:, None]).T @ across, atol=1e-8, rtol=1e-6)
    cell = (xs[1] - xs[0]) * (ys[0] - ys[1])
    assert (density.sum() * cell).item() == pytest.approx(1, abs=1e-4)
    print(f"56 × 56 places of {len(mass)} codes: {page['ms']:.1f} ms")
    assert page["ms"] < 100


# The file.

HIDDEN = ([], [5], [9, 4], [6, 7, 3])
SHAPES = {2: (2,), 7: (7,), 9: (1, 3, 3), 12: (3, 2, 2)}


def models() -> list[dict]:
    """Settings of every likelihood, activation and depth, of several numbers of latents and of inputs."""
    found = []
    for i, (given, activation, hidden) in enumerate(product(LIKELIHOODS.values(), ("relu", "tanh"), HIDDEN)):
        dims = list(SHAPES)[(i + i // 4) % 4]
        made = {"dims": dims, "hidden": hidden, "latents": 1 + (3 * i + i // 8) % 8, "activation": activation}
        made |= {**given, "seed": i} | ({"shape": [3, 2, 2]} if dims == 12 else {})
        found.append(made | ({"decoderHidden": [[], [8, 3]][i % 2]} if i % 5 == 0 else {}))
    return found


TAKEN = models()
TAKE = """
print(given.map(({ settings, x, noise }, i) => {
  const whole = checked(settings);
  const vae = makeVAE(simd, whole, 6);
  const [batch, eps] = [vae.kernels.space(x.length), vae.kernels.space(noise.length)];
  batch.set(x);
  eps.set(noise);
  for (let step = 0; step < 3; step++) {
    vae.gradients(batch, 6, whole, eps);
    vae.descend(whole);
  }
  const chosen = { ...whole, shape: settings.shape, data: "ring" };
  const about = { vae_lab_lab: JSON.stringify(chosen), steps: "3" };
  writeFileSync(`${i}.safetensors`, safetensors(vae.read(), about));
  const arrays = Object.entries(vae.read()).map(([name, { shape, values }]) => [name, [shape, text(values)]]);
  return { terms: vae.evaluate(batch, 6, whole, eps), arrays: Object.fromEntries(arrays),
    cell: pytorchCell({ ...whole, batch: 6 }, "images") };
}));
"""


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """(folder, what the page says of each model, examples and noise)."""
    folder, generator = tmp_path_factory.mktemp("taken"), torch.Generator().manual_seed(0)
    inputs = [
        (torch.rand(6, s["dims"], generator=generator), torch.randn(6, s["latents"], generator=generator))
        for s in TAKEN
    ]
    given = [
        {"settings": s, "x": x.flatten().tolist(), "noise": noise.flatten().tolist()}
        for s, (x, noise) in zip(TAKEN, inputs, strict=True)
    ]
    return folder, in_node(folder, TAKE, given), inputs


@pytest.fixture
def drawing(monkeypatch):
    """A function that makes torch draw this noise, for a model of the package and for `torch.randn_like`."""

    def draw(noise: Tensor) -> None:
        name = "torch.distributions.normal._standard_normal"
        monkeypatch.setattr(name, lambda shape, dtype, device: noise.view(shape))
        monkeypatch.setattr(torch, "randn_like", lambda like: noise.view(like.shape))

    return draw


@pytest.mark.parametrize("i", range(len(TAKEN)), ids=lambda i: f"model {i}")
def test_a_file_is_the_model_with_its_terms(i, taken, drawing):
    folder, pages, inputs = taken
    path, page, (x, noise), settings = folder / f"{i}.safetensors", pages[i], inputs[i], TAKEN[i]
    arrays = load_file(path)
    assert arrays.keys() == page["arrays"].keys()
    for name, (shape, text) in page["arrays"].items():
        assert list(arrays[name].shape) == shape
        assert torch.equal(arrays[name].double().flatten(), numbers(text, "<f4"))
    model = lab.load(path)
    assert not model.training and model.latents == settings["latents"]
    shape = SHAPES[settings["dims"]]
    drawing(noise)
    with torch.no_grad():
        log_lik, kl = elbo(model, x.view(6, *shape))
    assert log_lik.mean().item() == pytest.approx(page["terms"]["logLik"], rel=1e-5, abs=1e-5)
    assert kl.mean().item() == pytest.approx(page["terms"]["kl"], rel=1e-5, abs=1e-5)
    assert model.decode(noise).mean.shape == (6, *shape)
    learned = [name for name, p in model.named_parameters() if "log_scale" in name and p.requires_grad]
    assert bool(learned) == settings.get("learnScale", False)
    same = lab.loads(path.read_bytes())
    assert all(torch.equal(p, same.state_dict()[name]) for name, p in model.state_dict().items())


def test_the_settings_of_a_file_are_those_of_the_page(taken):
    for i, settings in enumerate(TAKEN):
        known = lab.settings(taken[0] / f"{i}.safetensors")
        assert known["steps"] == 3 and known["beta"] == 1 and known["data"] == "ring"
        assert {name: known[name] for name in settings} == settings


def test_the_header_is_padded_so_that_numbers_are_aligned(taken):
    for i in range(len(TAKEN)):
        content = (taken[0] / f"{i}.safetensors").read_bytes()
        length = int.from_bytes(content[:8], "little")
        assert length % 8 == 0 and content[8 : 8 + length].rstrip(b" ").endswith(b"}")


def joint(model, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) of images x (B, C, H, W) at codes (K, L), (K, B)."""
    return model.decode(z[:, None]).log_prob(x) + prior_at(z)[:, None]


def test_a_model_that_learned_in_the_page_has_the_log_p_that_importance_sampling_finds(tmp_path):
    """The page's sum over a grid, the package's estimate from draws of the encoder: two ways, one number."""
    script = """
    const { uniform } = random(1, 0);
    const center = () => [Math.floor(4 * uniform()) + 1, Math.floor(4 * uniform()) + 1];
    const image = (_, n) => {
      const [a, b] = center();
      return Array.from({ length: 36 }, (_, d) =>
        Math.round(255 / (1 + (Math.floor(d / 6) - a) ** 2 + ((d % 6) - b) ** 2)) / 255);
    };
    const data = Float32Array.from(Array.from({ length: 200 }, image).flat());
    print(given.map((settings, i) => {
      const whole = checked(settings);
      const trainer = makeTrainer({ settings: whole, data, heldOut: new Float32Array(0), parameters: null });
      for (let step = 0; step < 800; step++) trainer.step();
      const grid = exact.latentGrid(whole.latents);
      const { means, scales, decoded, scale } = trainer.frame({ codes: true, decode: grid.codes }, true);
      const about = { vae_lab_lab: JSON.stringify(whole), steps: "800" };
      writeFileSync(`${i}.safetensors`, safetensors(trainer.read(), about));
      return Array.from({ length: 10 }, (_, n) => {
        const x = data.subarray(36 * n, 36 * (n + 1));
        const at = (all) => all.slice(whole.latents * n, whole.latents * (n + 1));
        const { codes, weight } = exact.hermite(at(means), at(scales));
        const nodes = trainer.frame({ decode: codes }, true).decoded;
        const p = [whole.likelihood, scale ?? 1];
        const { logP } = exact.posteriorOf(x, decoded, grid, ...p);
        const ledger = exact.ledgerOf(x, nodes, weight, at(means), at(scales), logP, ...p);
        return { x: Array.from(x), resolved: exact.resolved(grid, at(scales)), ledger };
      });
    }));
    """
    common = {"dims": 36, "hidden": [32], "activation": "tanh", "rate": 0.005}
    gaussian = {"likelihood": "gaussian", "scale": 0.3, "mean": "sigmoid"}
    given = [{**common, "latents": 2, **gaussian}, {**common, "latents": 1}, {**common, "latents": 2}]
    for i, rows in enumerate(in_node(tmp_path, script, given)):
        model = lab.load(tmp_path / f"{i}.safetensors")
        x = torch.tensor([row["x"] for row in rows]).view(-1, 1, 6, 6)
        sampled = log_likelihood(model, Images(x), n_samples=4000)
        summed = finely(partial(joint, model, x), model.latents).log_evidence
        ledgers = [row["ledger"] for row in rows]
        assert all(row["resolved"] for row in rows)
        assert [ledger["logP"] for ledger in ledgers] == pytest.approx(sampled.tolist(), abs=0.1)
        assert [ledger["logP"] for ledger in ledgers] == pytest.approx(summed.tolist(), abs=1e-3)
        assert all(ledger["gap"] > -1e-3 and ledger["kl"] > 0 for ledger in ledgers)
        assert sum(ledger["kl"] for ledger in ledgers) > 5  # so it has learned


# Files that are none of ours.

ABOUT = {
    "dims": 4,
    "hidden": [3],
    "latents": 1,
    "activation": "relu",
    "likelihood": "gaussian",
    "mean": "identity",
    "scale": 0.3,
    "learnScale": True,
}


def tensors_of(**changes: Tensor | None) -> dict[str, Tensor]:
    made = drawn({"dims": 4, "hidden": [3], "latents": 1, "likelihood": "gaussian"}, torch.float32)
    made = {name: p.detach().clone() for name, p in made.items()} | {
        name.replace("_in_", "."): p for name, p in changes.items()
    }
    return {name: p for name, p in made.items() if p is not None}


def metadata(**changes) -> dict[str, str]:
    settings = {name: value for name, value in {**ABOUT, **changes}.items() if value is not ...}
    return {"vae_lab_lab": json.dumps(settings), "steps": "7"}


NAN = torch.tensor([1.0, torch.nan, 0.0])
BAD = {
    "no metadata": (tensors_of(), None, "is no file of the lab: its metadata have no 'vae_lab_lab'; save"),
    "other metadata": (
        tensors_of(),
        {"format": "pt"},
        "is no file of the lab: its metadata have no 'vae_lab_lab'",
    ),
    "no steps": (tensors_of(), {"vae_lab_lab": "{}"}, "is no file of the lab: its metadata have no 'steps'"),
    "no whole steps": (
        tensors_of(),
        {**metadata(), "steps": "x"},
        "its metadata are damaged .invalid literal",
    ),
    "no JSON": (tensors_of(), {"vae_lab_lab": "{", "steps": "1"}, r"its metadata are damaged \(Expecting"),
    "no table": (tensors_of(), {"vae_lab_lab": "[1]", "steps": "1"}, "its settings are no table"),
    "no dims": (tensors_of(), metadata(dims=...), "its settings have no 'dims'"),
    "negative": (
        tensors_of(),
        metadata(latents=-1),
        "of its settings, latents must be a whole number from 1 to 8",
    ),
    "huge": (
        tensors_of(),
        metadata(hidden=[10**12]),
        r"of its settings, hidden\[0\] must be a whole number from 1",
    ),
    "deep": (tensors_of(), metadata(decoderHidden=[3] * 5), "decoderHidden must be at most 4 widths, got 5"),
    "nested": (tensors_of(), {"vae_lab_lab": "[" * 10**5, "steps": "1"}, "its metadata are damaged"),
    "unknown": (
        tensors_of(),
        metadata(activation="gelu"),
        "of its settings, activation must be one of relu, tanh",
    ),
    "no list": (tensors_of(), metadata(hidden=None), "of its settings, hidden must be a sequence, got None"),
    "another shape": (
        tensors_of(),
        metadata(shape=[1, 2, 3]),
        "of its settings, shape must be D or C, H, W of 4",
    ),
    "too many": (tensors_of(), metadata(hidden=[3, 3]), "is damaged: it lacks the tensor 'decoder.4.bias'"),
    "too few": (
        tensors_of(extra=NAN),
        metadata(),
        "is damaged: it has, beyond its settings, the tensor 'extra'",
    ),
    "wide": (
        tensors_of(),
        metadata(hidden=[5]),
        r"is damaged: 'encoder.2.weight' must be floats of shape \(5, 4\), got torch.float32 of shape \(3, 4",
    ),
    "whole": (
        tensors_of(encoder_in_2_in_bias=torch.zeros(3, dtype=torch.int64)),
        metadata(),
        r"is damaged: 'encoder.2.bias' must be floats of shape \(3,\), got torch.int64",
    ),
    "NaN": (
        tensors_of(encoder_in_2_in_bias=NAN),
        metadata(),
        "holds numbers that are not finite, in 'encoder.2.bias': the run had failed",
    ),
}


def test_a_good_file_beside_the_bad_ones(tmp_path):
    save_file(tensors_of(), tmp_path / "vae.safetensors", metadata())
    assert lab.load(tmp_path / "vae.safetensors").likelihood.scale.item() == pytest.approx(0.1)
    assert lab.settings(str(tmp_path / "vae.safetensors")) == {**ABOUT, "steps": 7}


@pytest.mark.parametrize("name", BAD)
def test_other_files_are_refused_in_a_sentence(name, tmp_path):
    tensors, about, words = BAD[name]
    save_file(tensors, tmp_path / "vae.safetensors", about)
    with pytest.raises(DamagedFileError, match=f"vae.safetensors.*{words}"):
        lab.load(tmp_path / "vae.safetensors")
    with pytest.raises(DamagedFileError, match=f"^the content .*{words}"):
        lab.loads((tmp_path / "vae.safetensors").read_bytes())


@pytest.mark.parametrize("read", [lab.load, lab.settings])
def test_what_is_no_whole_file_is_refused_in_a_sentence(read, tmp_path):
    path = tmp_path / "vae.safetensors"
    with pytest.raises(
        DamagedFileError, match=r"vae.safetensors cannot be read \(No such file or directory\)"
    ):
        read(path)
    with pytest.raises(DamagedFileError, match=r"cannot be read \(it is no file\)"):
        read(tmp_path)
    save_file(tensors_of(), path, metadata())
    content = path.read_bytes()
    head = json.dumps({"a": {"dtype": "F8_E8M0", "shape": [1], "data_offsets": [0, 1]}}).encode()
    strange = len(head).to_bytes(8, "little") + head + b"\0"
    for bad in (
        b"",
        b"no such thing as a file of ours",
        content[:50],
        content[:-4],
        content + b"\0",
        strange,
    ):
        path.write_bytes(bad)
        with pytest.raises(DamagedFileError, match=r"vae.safetensors cannot be read \(.*\); save it again"):
            read(path)


# The cell.


def executed(cell: str, steps: int) -> tuple[dict, str]:
    """The names that a cell leaves, and what it prints."""
    assert "STEPS = 2000\n" in cell
    names, said = {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(cell.replace("STEPS = 2000", f"STEPS = {steps}"), "cell", "exec"), names)
    return names, said.getvalue()


@pytest.mark.parametrize("i", range(len(TAKEN)), ids=lambda i: f"model {i}")
def test_a_cell_makes_the_same_model(i, taken, drawing):
    """With the page's parameters it has the page's terms."""
    _, pages, inputs = taken
    (x, noise), page, settings = inputs[i], pages[i], TAKEN[i]
    names, said = executed(page["cell"], 1)
    assert said.startswith("step 1: ELBO ") and said.count("\n") == 1
    assert 35 <= page["cell"].count("\n") <= 65 and max(map(len, page["cell"].splitlines())) <= 110
    for name, (shape, text) in page["arrays"].items():
        part, _, rest = name.partition(".")
        values = numbers(text, "<f4").float().view(shape)
        if part == "likelihood":
            names["log_scale"].data.copy_(values)
        else:
            layer, kind = rest.split(".")
            getattr(names[part][int(layer) - 2 * (part == "encoder")], kind).data.copy_(values)
    drawing(noise)
    with torch.no_grad():
        log_lik, kl = names["terms"](x)
    assert log_lik.mean().item() == pytest.approx(page["terms"]["logLik"], rel=1e-5, abs=1e-5)
    assert kl.sum(1).mean().item() == pytest.approx(page["terms"]["kl"], rel=1e-5, abs=1e-5)
    assert names["drawn"].shape == (16, settings["dims"])


WAYS = [
    {"beta": 4, "batch": 10},
    {"part": "encoder"},
    {"part": "decoder", "likelihood": "gaussian", "learnScale": True, "scale": 0.5},
    {"autoencoder": True, "likelihood": "gaussian", "scale": 0.2, "mean": "sigmoid"},
    {"autoencoder": True},
    {"freeBits": 0.3, "likelihood": "gaussian", "learnScale": True, "scale": 10},
    {"freeBits": 0.3, "beta": 0.05, "rate": 0.0007, "latents": 5},
]
POINTS = ("ring", "grid", "moons", "pinwheel", "spiral")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    common = {"dims": 6, "hidden": [8], "latents": 2, "seed": 4}
    plane = {
        "dims": 2,
        "hidden": [8],
        "latents": 2,
        "likelihood": "gaussian",
        "scale": 0.3,
        "learnScale": True,
    }
    given = [({**common, **way}, "pictures") for way in WAYS]
    given += [({**plane, "points": [0.5, -1, 2, 3.25]}, "points"), (plane, "points")]
    given += [({"dims": 784, "hidden": [16], "latents": 2}, "digits")] + [(plane, name) for name in POINTS]
    script = (
        "print(given.map(([settings, words]) =>"
        " pytorchCell({ ...checked(settings), points: settings.points }, words)));"
    )
    found = in_node(tmp_path_factory.mktemp("cells"), script, given)
    return {
        (i if i < len(WAYS) else words): cell
        for i, ((_, words), cell) in enumerate(zip(given, found, strict=True))
    }


@pytest.mark.parametrize("i", range(len(WAYS)))
def test_a_cell_minimizes_what_the_page_does(i, cells):
    """The first step's loss is that of the page, and only what learns there learns here."""
    way = {"likelihood": "bernoulli", "hidden": [8], "latents": 2, "dims": 6} | WAYS[i]
    live = {"beta": 1, "part": "both", "autoencoder": False, "freeBits": 0} | WAYS[i]
    names, said = executed(cells[i], 1)
    assert ("log p(x|z)" if live["autoencoder"] else "ELBO") in said
    group = names["optimizer"].param_groups[0]
    assert group["lr"] == WAYS[i].get("rate", 0.002)
    parts = {"both": ("encoder", "decoder")}.get(live["part"], (live["part"],))
    learns = [p for part in parts for p in names[part].parameters()]
    sigma = [names["log_scale"]] if way.get("learnScale") and live["part"] != "encoder" else []
    assert [id(p) for p in group["params"]] == [id(p) for p in [*learns, *sigma]]
    # Up to the first step once more, and then, from the same random numbers, as the tests of learning do
    start, _ = executed(cells[i][: cells[i].index("optimizer = ")], 1)
    nets = {
        f"{part}.{key}": p for part in ("encoder", "decoder") for key, p in start[part].named_parameters()
    }
    parameters = nets | {"likelihood.log_scale": start.get("log_scale")}
    x = start["x"][torch.randperm(len(start["x"]))[: way.get("batch", 64)]]
    noise = torch.zeros(()) if live["autoencoder"] else torch.randn(len(x), way["latents"])
    loss, *_ = loss_of(parameters, way, live, x, noise)
    assert names["loss"].item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["digits", "points", *POINTS])
def test_a_cell_finds_or_makes_its_data(name, cells):
    names, said = executed(cells[name], 2)
    assert names["x"].shape[1] == (784 if name == "digits" else 2) and names["x"].isfinite().all()
    assert names["x"].dtype == torch.float32 and said.startswith("step 1: ELBO ")
    if name in POINTS:
        assert len(names["x"]) > 300 and names["x"].abs().max() < 4


# A download.


def test_a_browser_saves_what_it_is_given(browser, tmp_path):
    page = browser.new_page()
    page.set_content(
        f"<script type=module>{bundle.script('ui.js', 'takeaway.js')}; window.save = download;</script>"
    )
    page.wait_for_function("() => window.save")
    with page.expect_download() as waiting:
        page.evaluate(
            "() => save('vae.safetensors', new Uint8Array([1, 2, 255]), 'application/octet-stream')"
        )
    assert waiting.value.suggested_filename == "vae.safetensors"
    waiting.value.save_as(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == bytes([1, 2, 255])
    page.close()
