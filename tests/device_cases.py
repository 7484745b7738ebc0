"""Every public name of the package, called with things on a device: the table of `test_on_devices.py`.

A key names what its case is about, by the end of its full name; `*` stands for anything, and what follows a
colon tells two cases of one name apart. The three tables say where the tensors of a result belong.
"""

import importlib
import json
from functools import cache, cached_property, partial
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import save
from tiny import QUICK, SHAPE, at_step, gray, new_autoencoder, new_vae
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal
from torch.utils._pytree import tree_map

from vae_lab import (
    arguments,
    data,
    devices,
    em,
    ensembles,
    estimators,
    experiments,
    files,
    identity,
    inference,
    information,
    lab,
    likelihoods,
    metrics,
    models,
    multirate,
    nets,
    objectives,
    plotting,
    ppca,
    priors,
    records,
    schedules,
    training,
    variational,
    wavelets,
    widgets,
)
from vae_lab.data import cache as cached
from vae_lab.data import pixels, toy_faces
from vae_lab.experiments import (
    budgets,
    comparison,
    coordinates,
    digits,
    drawing,
    every_beta,
    faces,
    generation,
    judge,
    rate_distortion,
    recipe,
    recording,
    small,
    sources,
)
from vae_lab.experiments import gray as gray_faces
from vae_lab.experiments import pixels as gray_pixels
from vae_lab.metrics import distances
from vae_lab.training import checkpoint, loop, memory, run
from vae_lab.widgets import decoder as page
from vae_lab.widgets.em_stepper import flat

inception = importlib.import_module("vae_lab.metrics.inception")


class Things:
    """Small things to call functions with, on one device; the same numbers on every device."""

    def __init__(self, device: torch.device | str, folder):
        self.device, self.folder = torch.device(device), folder
        g = torch.Generator().manual_seed(0)
        self.images, self.vae = gray(40).to(device), new_vae().to(device)
        self.x = self.images.read(slice(0, 6))  # (6, 1, 4, 4)
        self.z = torch.randn(6, 2, generator=g).to(device)
        self.phi = torch.tensor([0.3, 0.7], device=device)
        clusters = torch.tensor([[0.0, 0.0, 0.0], [6.0, 0.0, 3.0]]).repeat(15, 1)
        self.points = (clusters + torch.randn(30, 3, generator=g)).to(device)
        self.rows, self.others = (torch.randn(20, 3, generator=g).to(device) for _ in range(2))
        self.raw = torch.randn(6, 2, 4, 4, generator=g).to(device)
        self.faces = _faces().to(device)
        self.autoencoder = new_autoencoder(hidden=(8,)).to(device)
        torch.manual_seed(0)
        encoder, decoder = nets.mlp_encoder(SHAPE, 4, hidden=(8,)), nets.mlp_decoder(2, SHAPE, hidden=(8,))
        self.multirate = multirate.MultiRateVAE(encoder, decoder, 2).to(device)
        self.face_vae = faces.build(FACES, (3, 32, 32)).to(device)

    @property
    def own(self) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(1)

    @cached_property
    def q(self):
        with torch.no_grad():
            return self.vae.encode(self.x)

    @cached_property
    def mixture(self) -> em.Mixture:
        return em.mixture_around(self.points, self.points[:2])

    @cached_property
    def ppca(self) -> ppca.PPCA:
        return ppca.random_start(self.points, 1, torch.Generator().manual_seed(0))

    @cached_property
    def judge(self) -> metrics.Classifier:
        torch.manual_seed(0)
        return metrics.Classifier((3, 32, 32), 8, features=4).to(self.device).eval()

    def log_joint(self, z):
        """log p(x, z) of one image, for codes (…, 2) of any kind."""
        z = z.to(self.x)
        return self.vae.decode(z).log_prob(self.x[0]) + self.vae.prior().log_prob(z)

    def normal(self, z):
        return -(z - self.phi).square().sum(-1)


@cache
def _faces() -> data.Images:
    factors = toy_faces.draw_factors(24)
    return data.Images(toy_faces.draw(factors, side=32), factors[:, 0].long())


FACES = faces.Faces("tiny", data="afhq-cat", side=32, width=2, epochs=1, latents=3)
GRAY_FACES = gray_faces.GrayAutoencoder("tiny", data="afhq-cat", side=32, width=2, epochs=1, latents=3)
GENERATION = generation.Generation(
    "tiny", "afhq-cat", 32, 2, 1, (0,), latents=3, components=2, second_steps=3, drawn=12, judge_steps=2
)
SINGLE = digits.Single("tiny", 2, hidden=(8,), decoder_hidden=(8,), epochs=1, n_samples=3, measured=9)
SWEEP = rate_distortion.RateDistortion(
    "tiny", 2, (8,), (0.5, 2.0), (0,), epochs=1, n_samples=2, measured=9, drawn=12, judge_steps=2
)
PLAIN = small.Variant("plain", (8,), (8,), 2)
BUDGETS = budgets.Budgets("tiny", (PLAIN,), (1, 2), (1e-3,), (0, 1), steps=4, batch_size=8)
GAPS = budgets.Amortization("tiny", 2, (8,), (0, 5), (0,), epochs=1, batch_size=8, images=3, search=5)
GRAY_PIXELS = gray_pixels.GrayPixels("tiny", 2, (8,), (1, 2), (0, 1), steps=4, batch_size=8)
DRAWING = drawing.Drawing("tiny", 2, (8,), (1, 2), (0, 1), steps=4, batch_size=8, judge_steps=2)
COORDINATES = coordinates.Coordinates(
    "tiny", 2, (8,), (1.0, 4.0), (1, 2), (0, 1), trained=20, measured=300, batch_size=10
)
MULTI_RATE = every_beta.MultiRate("tiny", 2, (8,), (0.5, 1.0, 2.0), (0,), epochs=1)


class Means(nn.Module):
    """In place of Inception: the mean colors."""

    def forward(self, x):
        return [x.mean((2, 3), keepdim=True)]


def seen(call):
    """With `Means` in place of Inception, and no weights looked for."""
    inception._features.clear()
    with (
        patch.object(inception, "_weights", lambda: "none"),
        patch.object(inception, "_network", lambda *_: Means()),
    ):
        return call()


def learned(model, terms):
    """The terms of an objective, and the gradient that they give."""
    model.zero_grad()
    terms.value.mean().backward()
    return terms, [p.grad for p in model.parameters() if p.grad is not None]


def evaluated(c: Things):
    """The way through a model that is only asked."""
    with models.evaluating(c.vae, seed=3):
        models.check_decoder(c.vae)
        return models.through(c.vae.decoder, c.z, "decoder", "codes"), torch.rand(2, device=c.device)


def described(distribution, x, *shape):
    """What a distribution says: log p(x), its mean, its draws."""
    return distribution.log_prob(x), distribution.mean, distribution.sample(shape)


def through(model, *inputs):
    """What a module gives, and its gradient."""
    y = model(*inputs)
    y.square().mean().backward()
    return y, [p.grad for p in model.parameters()]


def fitted(c: Things, objective=objectives.elbo, **options):
    """What `fit` leaves behind."""
    history = training.fit(c.vae, c.images.dynamic(), objective, **{**QUICK, "batch_size": 8, **options})
    return history, c.vae


def resumed(c: Things):
    """The same, stopped on the way and resumed, by a model built anew."""
    path, started = c.folder / "run", new_vae().to(c.device)
    options = {"checkpoint": path, "test": c.images.first(9)}
    with patch.object(checkpoint, "SAVE_EVERY", 0.0), patch.object(run, "LOG_EVERY", 2):
        with pytest.raises(KeyboardInterrupt), at_step(6, interrupt):
            fitted(c, **options)
        c.vae = started
        assert len(checkpoint.read(path)[1]["terms"]["value"]) == 4
        return fitted(c, **options)


def interrupt():
    raise KeyboardInterrupt


def out_of_memory(c: Things) -> str:
    def hungry(model, x):
        if len(x) > 5:
            raise RuntimeError(f"{c.device.type} out of memory")
        return objectives.elbo(model, x)

    try:
        training.fit(c.vae, c.images, hungry, batch_size=20)
    except training.BatchTooLarge as error:
        return str(error).split(". ")[1]


def recorded(c: Things):
    """A recorded run from end to end: its figures, but for those of the machine."""
    set_of_images = data.Dataset("digits", c.images.to("cpu"), c.images.first(12).to("cpu"))
    with (
        patch.object(sources, "load", lambda *_: set_of_images),
        patch.object(experiments, "pick_device", lambda: c.device),
        patch.object(experiments, "_scaled", lambda *_: SINGLE),
    ):
        folder = experiments.run("mnist-conv", scale="quick", out=c.folder)
    found = json.loads((folder / "metrics.json").read_text())
    return {k: found[k] for k in ("test", "importance_sampling", "data")}, records.load_decoder(
        folder / "decoder.safetensors"
    )


def second_stage(c: Things):
    p = priors.fit_second_stage(c.q, hidden=4, steps=3)
    return finite([p.sample((3,)), p.log_prob(c.z), *p.vae.parameters()])


def finite(found):
    """Not the numbers, where draws on the CPU are followed by others on the device."""
    return tree_map(lambda a: torch.as_tensor(a).isfinite() if isinstance(a, Tensor | float) else a, found)


def held(c: Things):
    """EM where a covariance is singular."""
    plane = c.points * torch.tensor([1.0, 1.0, 0.0], device=c.device)
    with pytest.warns(em.SingularCovarianceWarning):
        return em.fit(em.mixture_around(plane, plane[:2]), plane, max_iter=3)


def states(c: Things):
    """Random numbers of the device, and the same again."""
    state = devices.random_state(c.device)
    first = torch.rand(3, device=c.device)
    devices.set_random_state(state, c.device)
    assert torch.equal(first, torch.rand(3, device=c.device))
    with devices.same_random_numbers_after(c.device):
        torch.manual_seed(8)
        torch.rand(3, device=c.device)
    return first, torch.rand(3, device=c.device)


def digit_vae():
    return models.VAE(
        nets.mlp_encoder((1, 28, 28), 4, hidden=(3,)), nets.mlp_decoder(2, (1, 28, 28), hidden=(3,)), 2
    )


def small_digits():
    return data.load("digits").train.first(12)


def without_page(view):
    """The traits of a widget that hold what was computed."""
    kinds = (list, bytes, float)
    return {k: v for k, v in view.trait_values().items() if k[0] != "_" and isinstance(v, kinds)}


# The tensors of the result are on the device.
ON_DEVICE = {
    "images.Images": lambda c: data.Images(c.images.pixels, c.images.labels),
    "images.Images.to": lambda c: c.images.to("cpu").to(c.device),
    "images.Images.first": lambda c: c.images.first(3),
    "images.Images.read": lambda c: c.images.read(torch.tensor([3, 1])),
    "images.Images.mirrored": lambda c: c.images.mirrored().read(slice(9), c.own),
    "images.Images.dynamic": lambda c: c.images.dynamic().read([0, 2], c.own),
    "images.Images.binarized": lambda c: c.images.binarized(c.own),
    "images.Images.batches": lambda c: list(c.images.dynamic().batches(8, 7, c.own)),
    "images.Images.batches: in an order from the CPU": lambda c: list(
        c.images.batches(8, 7, torch.Generator().manual_seed(0))
    ),
    "images.Images.fingerprint": lambda c: c.images.fingerprint(),
    "images.Dataset*": lambda c: data.Dataset("a", _faces(), _faces()).to(c.device),
    "images.as_images": lambda c: data.as_images("images", c.x).read(),
    "pixels.as_pixels": lambda c: pixels.as_pixels("images", c.x),
    "pixels.clipped": lambda c: pixels.clipped("x", c.x + 0.01),
    "pixels.as_labels": lambda c: pixels.as_labels("labels", c.images.labels, 40),
    "images.from_floats": lambda c: data.from_floats(c.x),
    "images.from_floats: with labels": lambda c: data.from_floats(c.x, c.images.labels[:6]),
    "sets.load": lambda c: data.load("digits", device=c.device).test.first(20),
    "devices.seed_all": lambda c: torch.rand(3, generator=devices.seed_all(3, c.device), device=c.device),
    "devices.random_state devices.set_random_state devices.same_random_numbers_after": states,
    "devices.average devices.agree devices.least": lambda c: (
        devices.average(c.z),
        devices.agree(True, c.device),
        devices.least(3, c.device),
    ),
    "devices.in_precision": lambda c: devices.in_precision(objectives.elbo, "bfloat16", c.device)(c.vae, c.x),
    "arguments.tensor": lambda c: arguments.tensor("z", c.z),
    "arguments.unit_interval": lambda c: arguments.unit_interval("x", c.x),
    "arguments.finite": lambda c: arguments.finite("z", c.z, "look"),
    "models.gaussian": lambda c: described(models.gaussian(c.z, c.z.exp()), c.z, 2),
    "models.through models.check_decoder models.evaluating": evaluated,
    "objectives.check_terms": lambda c: objectives.check_terms(objectives.elbo(c.vae, c.x), c.vae, c.x),
    "devices.accelerated": lambda c: learned(
        c.vae, devices.accelerated(c.vae, objectives.elbo, precision="bfloat16")(c.vae, c.x)
    ),
    "memory.largest_batch": lambda c: memory.largest_batch(
        c.vae, c.images.dynamic(), partial(loop.ascend, objective=objectives.elbo), at_most=9
    ),
    "memory.explained": out_of_memory,
    "ensembles.StackedLinear*": lambda c: through(
        ensembles.StackedLinear([c.vae.encoder[2], c.vae.encoder[2]]), c.x.flatten(1)
    ),
    "ensembles.Ensemble": lambda c: learned(
        model := ensembles.Ensemble([c.vae, c.vae]), objectives.elbo(model, c.x)
    ),
    "ensembles.Ensemble.members": lambda c: ensembles.Ensemble([c.vae, c.vae]).members(),
    "ensembles.Ensemble.members: of what was on the CPU": lambda c: [
        m.encode(c.x).mean for m in ensembles.Ensemble([new_vae(), new_vae()]).to(c.device).members()
    ],
    "estimators.score_function": lambda c: estimators.score_function(
        lambda p: Bernoulli(logits=p[:, 0]),
        c.phi,
        torch.square,
        n_samples=5,
        baseline=estimators.leave_one_out,
    ),
    "estimators.pathwise": lambda c: estimators.pathwise(
        lambda p: Normal(p[:, 0], p[:, 1]), c.phi, torch.square, n_samples=5
    ),
    "estimators.leave_one_out": lambda c: estimators.leave_one_out(c.z),
    "estimators.best_constant": lambda c: estimators.best_constant(c.z[:, 0], c.z),
    "estimators.score_function_elbo": lambda c: learned(
        c.vae, estimators.score_function_elbo(c.vae, c.x, n_samples=2, baseline=True)
    ),
    "inference.grid": lambda c: inference.grid(2, points=3, half_width=2.0, like=c.z),
    "inference.grid_posterior": lambda c: inference.grid_posterior(c.normal, 2, points=12, like=c.z),
    "inference.metropolis": lambda c: inference.metropolis(
        c.log_joint, c.z, steps=3, step_size=0.5, generator=c.own
    ),
    "inference.mala": lambda c: inference.mala(
        c.log_joint, c.z, steps=3, step_size=0.5 * torch.ones(6, 1, device=c.device)
    ),
    "information.activity": lambda c: information.activity(c.q),
    "information.active_units": lambda c: information.active_units(c.q),
    "information.kl_by_coordinate": lambda c: information.kl_by_coordinate(c.q, c.vae.prior()),
    "likelihoods.Bernoulli*": lambda c: described(likelihoods.Bernoulli()(c.raw[:, :1]), c.x, 2),
    "likelihoods.ContinuousBernoulli*": lambda c: described(
        likelihoods.ContinuousBernoulli()(c.raw[:, :1]), c.x, 2
    ),
    "likelihoods.Gaussian*": lambda c: described(
        likelihoods.Gaussian(learn=True).to(c.device)(c.raw[:, :1]), c.x, 2
    ),
    "likelihoods.GaussianWithScales.*": lambda c: described(likelihoods.GaussianWithScales()(c.raw), c.x, 2),
    "likelihoods.WaveletGaussian*": lambda c: described(
        likelihoods.WaveletGaussian(levels=2).to(c.device)(c.raw[:, :1]), c.x, 2
    ),
    "classifier.Classifier*": lambda c: (c.judge(c.faces.read()), c.judge.features(c.faces.read())),
    "classifier.fit_classifier": lambda c: metrics.fit_classifier(c.faces, features=4, steps=3),
    "likelihood.log_likelihood": lambda c: metrics.log_likelihood(c.vae, c.images.dynamic(), n_samples=5),
    "neighbors.nearest_distance": lambda c: metrics.nearest_distance(c.rows, c.others, chunk_size=7),
    "models.Autoencoder*": lambda c: c.autoencoder.decode(c.autoencoder.encode(c.x)),
    "models.VAE*": lambda c: (c.vae.prior(), c.vae.encode(c.x), described(c.vae.decode(c.z), c.x)),
    "multirate.Gate": lambda c: through(multirate.Gate(2).to(c.device), c.z, c.phi[:1]),
    "multirate.Gate.*": lambda c: multirate.Gate(2).to(c.device)(c.raw, c.z[:, 0]),
    "multirate.Gated*": lambda c: through(c.multirate.decoder, c.z, c.z[:, 0]),
    "multirate.MultiRateVAE*": lambda c: (
        c.multirate.draw(5),
        c.multirate.at(2.0).encode(c.x),
        c.multirate.at(torch.ones(6)).encode(c.x),
        c.multirate.at(torch.ones(6, device=c.device)).decode(c.z),
    ),
    "multirate.multi_rate_elbo": lambda c: learned(c.multirate, multirate.multi_rate_elbo(c.multirate, c.x)),
    "nets.Expect*": lambda c: nets.Expect(SHAPE)(c.x),
    "nets.mlp": lambda c: through(nets.mlp([2, 3, 4]).to(c.device), c.z),
    "nets.mlp_encoder": lambda c: through(nets.mlp_encoder(SHAPE, 3).to(c.device), c.x),
    "nets.mlp_decoder": lambda c: through(nets.mlp_decoder(2, SHAPE).to(c.device), c.z),
    "nets.conv_encoder": lambda c: through(
        nets.conv_encoder((3, 32, 32), 3, width=2).to(c.device), c.faces.read()
    ),
    "nets.conv_decoder": lambda c: through(nets.conv_decoder(2, (3, 32, 32), width=2).to(c.device), c.z),
    "nets.parameter_count": lambda c: nets.parameter_count(c.vae),
    "objectives.squared_error": lambda c: learned(
        c.autoencoder, objectives.squared_error(c.autoencoder, c.x)
    ),
    "objectives.denoising_error": lambda c: learned(
        c.autoencoder,
        objectives.denoising_error(c.autoencoder, c.x, lambda x: (x + 0.1 * torch.randn_like(x)).clamp(0, 1)),
    ),
    "objectives.contractive_error": lambda c: learned(
        c.autoencoder, objectives.contractive_error(c.autoencoder, c.x, 0.1)
    ),
    "objectives.sparse_error": lambda c: learned(
        c.autoencoder, objectives.sparse_error(c.autoencoder, c.x, 0.1)
    ),
    "objectives.jacobian_norm": lambda c: (
        objectives.jacobian_norm(torch.sin, c.z),
        objectives.jacobian_norm(torch.sin, c.z, probes=2),
    ),
    "objectives.elbo": lambda c: learned(c.vae, objectives.elbo(c.vae, c.x, n_samples=2, analytic=False)),
    "objectives.beta_elbo": lambda c: learned(c.vae, objectives.beta_elbo(c.vae, c.x, 2.0)),
    "objectives.beta_elbo: one an image": lambda c: learned(
        c.vae, objectives.beta_elbo(c.vae, c.x, torch.ones(6, device=c.device))
    ),
    "objectives.free_bits_elbo": lambda c: learned(c.vae, objectives.free_bits_elbo(c.vae, c.x, 0.5)),
    "objectives.capacity_elbo": lambda c: learned(
        c.vae, objectives.capacity_elbo(c.vae, c.x, 1.0, weight=2.0)
    ),
    "priors.WithPrior*": lambda c: learned(
        model := priors.WithPrior(c.vae, c.vae.prior()), objectives.elbo(model, c.x, analytic=False)
    ),
    "priors.posteriors": lambda c: priors.posteriors(c.vae, c.images, chunk_size=9),
    "priors.fit_mixture": lambda c: (
        p := priors.fit_mixture(c.q, 2, max_iter=3),
        p.log_prob(c.z),
        p.sample((3,)),
    ),
    "priors.SecondStage* priors.fit_second_stage": second_stage,
    "schedules.Annealed*": lambda c: fitted(
        c, schedules.Annealed(objectives.beta_elbo, "beta", schedules.Linear())
    ),
    "loop.steps loop.ascend": lambda c: (
        list(training.steps(c.vae, [c.x] * 3, objectives.elbo, torch.optim.Adam(c.vae.parameters()))),
        c.vae,
    ),
    "loop.fit run.Run*": lambda c: fitted(c, test=c.images.first(9)),
    "loop.fit checkpoint.Checkpoint* checkpoint.read checkpoint.weights: resumed": resumed,
    "loop.fit: auto": lambda c: fitted(c, batch_size="auto"),
    "loop.fit: bfloat16": lambda c: fitted(c, precision="bfloat16"),
    "loop.fit: mirrored faces": lambda c: training.fit(
        c.face_vae, c.faces.mirrored(), epochs=1, batch_size=8
    ),
    "loop.evaluate": lambda c: training.evaluate(c.vae, c.images.dynamic(), batch_size=9),
    "variational.gaussian": lambda c: (
        variational.gaussian(c.z, c.z.exp()).log_prob(c.z),
        variational.gaussian(c.phi, torch.eye(2, device=c.device)).log_prob(c.z),
    ),
    "variational.log_integral": lambda c: variational.log_integral(c.z, 0.1),
    "variational.kl_on_grid": lambda c: variational.kl_on_grid(
        c.z.log_softmax(0) + 1, (c.z / 2).log_softmax(0) + 1, 1 / torch.e
    ),
    "variational.monte_carlo_elbo": lambda c: variational.monte_carlo_elbo(c.normal, c.q, n_samples=4),
    "variational.black_box": lambda c: variational.black_box(c.log_joint, c.q, steps=3, n_samples=4),
    "variational.black_box: mean-field": lambda c: variational.black_box(
        c.log_joint, c.q, full=False, steps=3, n_samples=4
    ),
    "wavelets.haar": lambda c: wavelets.haar(c.x, 2),
    "wavelets.unhaar": lambda c: wavelets.unhaar(wavelets.haar(c.x, 2)),
    "faces.build": lambda c: objectives.elbo(c.face_vae, c.faces.read(slice(3))),
    "faces.principal_axes": lambda c: faces.principal_axes(c.rows, 2),
    "gray.build": lambda c: objectives.squared_error(
        gray_faces.build(GRAY_FACES, (1, 32, 32)).to(c.device), sources.gray(c.faces).read()
    ),
    "digits.build": lambda c: digits.build(SINGLE, SHAPE).to(c.device).decode(c.z),
    "small.halved": lambda c: small.halved(c.images),
    "small.build": lambda c: small.build(PLAIN, SHAPE, 0).to(c.device).decode(c.z),
    "coordinates.build": lambda c: coordinates.build(COORDINATES, SHAPE, 0).to(c.device).decode(c.z),
    "drawing.copying": lambda c: learned(c.vae, drawing.copying(c.vae, c.x)),
    "drawing.codes": lambda c: drawing.codes(c.vae, c.images, 5, components=0, noisy=True),
    "drawing.codes: fitted": lambda c: drawing.codes(c.vae, c.images, 5, components=2, noisy=False),
    "budgets.best_diagonal": lambda c: budgets.best_diagonal(c.vae, c.x.round(), steps=5),
    "budgets.bound": lambda c: budgets.bound(c.vae, c.x.round()),
    "budgets.three_draws": lambda c: budgets.three_draws(c.vae, c.x),
    "judge.turned_and_blurred": lambda c: judge.turned_and_blurred(c.faces),
    "judge.blur": lambda c: judge.blur(c.faces.read(), 4),
    "judge.fit_judge": lambda c: judge.fit_judge(c.faces, steps=2),
    "sources.gray": lambda c: sources.gray(c.faces),
    "recipe.fit_complete": lambda c: (recipe.fit_complete(c.vae, c.images, recipe=SINGLE), c.vae),
}

# The tensors of the result are on the CPU, or there are none.
ON_CPU = {
    "cache.load_or_make": lambda c: cached.load_or_make("a", [c.folder], lambda: {"x": c.x.cpu()}),
    "files.save_tensors files.load_tensors": lambda c: (
        files.save_tensors(c.folder / "a", c.vae.state_dict()),
        files.load_tensors(c.folder / "a")[0],
    ),
    "arguments.points": lambda c: arguments.points()("x", c.points),
    "files.digest": lambda c: files.digest(c.vae.state_dict()),
    "files.raw_bytes": lambda c: bytes(files.raw_bytes(c.x)),
    "identity.describe identity.differences": lambda c: (
        found := identity.describe(model=c.vae, batch=c.x),
        identity.differences(found, identity.describe(model=c.vae, batch=c.x + 1)),
    ),
    "devices.pick_device": lambda c: devices.pick_device().type == c.device.type,
    "experiments.run": recorded,
    "comparison.Comparison*": lambda c: seen(
        lambda: (
            it := comparison.Comparison(c.faces, c.faces.first(12), drawn=12, steps=2),
            it.trust,
            it.sampled(c.face_vae, 0),
            it.copied(c.face_vae, priors.posteriors(c.face_vae, c.faces).mean),
        )[1:]
    ),
    "comparison.draw": lambda c: comparison.draw(c.vae, 5, seed=0),
    "faces.pixel_error": lambda c: faces.pixel_error(c.x, c.x.flip(0)),
    "faces.average_face": lambda c: faces.average_face(c.faces),
    "faces.reconstructions": lambda c: faces.reconstructions(c.vae, c.z),
    "faces.Faces*": lambda c: FACES.run(c.faces, c.faces.first(12), c.folder),
    "generation.Generation generation.Generation.run": lambda c: seen(
        lambda: finite(GENERATION.run(c.faces, c.faces.first(14), c.folder)[0])
    ),
    "gray.GrayAutoencoder*": lambda c: GRAY_FACES.run(c.faces, c.faces.first(12), c.folder),
    "judge.seen_by": lambda c: judge.seen_by(c.judge, c.faces.read().cpu()),
    "judge.judged": lambda c: judge.judged(c.judge, c.faces.read().cpu(), c.faces),
    "budgets.Budgets budgets.Budgets.run budgets.Budgets.drawn": lambda c: BUDGETS.run(
        c.images, c.images.first(9).to("cpu"), c.folder
    ),
    "small.copy_error": lambda c: small.copy_error(c.vae, c.x),
    "pixels.GrayPixels*": lambda c: GRAY_PIXELS.run(c.images, c.images.first(9).to("cpu"), c.folder),
    "drawing.Drawing drawing.Drawing.run": lambda c: finite(
        DRAWING.run(static(c.device), static(c.device).first(15).to("cpu"), c.folder)[0]
    ),
    "coordinates.Coordinates coordinates.Coordinates.run": lambda c: finite(
        COORDINATES.run(c.faces, c.faces.to("cpu"), c.folder)[0]
    ),
    "coordinates.cats": lambda c: coordinates.cats(3),
    "budgets.Amortization budgets.Amortization.run": lambda c: finite(
        GAPS.run(c.images, c.images.first(9).to("cpu"), c.folder)[0]
    ),
    "every_beta.MultiRate every_beta.MultiRate.run": lambda c: MULTI_RATE.run(
        c.images, c.images.first(9).to("cpu"), c.folder
    ),
    "rate_distortion.RateDistortion rate_distortion.RateDistortion.run": lambda c: SWEEP.run(
        wide(c.images), wide(c.images).first(15).to("cpu"), c.folder
    ),
    "digits.Single digits.Single.run digits.Single.train_and_measure": lambda c: SINGLE.run(
        c.images, c.images.to("cpu"), c.folder
    ),
    "information.log_aggregate": lambda c: information.log_aggregate(c.q, c.z),
    "information.log_aggregate_by_coordinate": lambda c: information.log_aggregate_by_coordinate(c.q, c.z),
    "information.surgery": lambda c: information.surgery(c.q, c.vae.prior(), n_samples=9),
    "disentanglement.mutual_information_gap": lambda c: metrics.mutual_information_gap(
        c.rows, c.others, bins=4
    ),
    "distances.frechet_distance": lambda c: metrics.frechet_distance(c.rows, c.others),
    "distances.kernel_distance": lambda c: metrics.kernel_distance(c.rows, c.others),
    "distances.require_comparable": lambda c: distances.require_comparable(c.rows, c.others, least=2),
    "inception.fid": lambda c: seen(lambda: metrics.fid(c.faces, c.faces.first(5).read())),
    "inception.inception_features": lambda c: seen(lambda: metrics.inception_features(c.x)),
    "inception.write_images": lambda c: [
        path.read_bytes() for path in sorted(metrics.write_images(c.x, c.folder / "out").iterdir())
    ],
    "neighbors.precision_recall": lambda c: metrics.precision_recall(c.rows, c.others),
    "resampling.bootstrap": lambda c: metrics.bootstrap(
        metrics.frechet_distance, c.rows, c.others, replicates=2
    ),
    "resampling.subsample": lambda c: metrics.subsample(
        lambda a, b: (a - b).mean(), c.rows, c.others, replicates=2
    ),
    "pixels.to_look_at": lambda c: pixels.to_look_at("x", c.x),
    "plotting.plot_images": lambda c: plotting.plot_images(c.x).images[0].get_array(),
    "plotting.plot_reconstructions": lambda c: (
        plotting.plot_reconstructions(c.x, {"a": c.x}).images[0].get_array()
    ),
    "plotting.plot_codes": lambda c: [
        dots.get_offsets() for dots in plotting.plot_codes(c.z, c.images.labels[:6]).collections
    ],
    "plotting.plot_curves": lambda c: plotting.plot_curves({"a": c.z[:, 0]}).lines[0].get_data(),
    "plotting.smooth": lambda c: plotting.smooth(c.z[:, 0], 3),
    "recording.provenance": lambda c: recording.provenance(data.Dataset("a", c.images, c.images), c.device)[
        "data"
    ],
    "recording.decoder_bytes records.load_decoder": lambda c: records.load_decoder(
        written(c, recording.decoder_bytes(c.vae.decoder, {"shape": SHAPE, "latents": 2, "hidden": [8]}))
    ),
    "recording.prior_means": lambda c: recording.prior_means(c.vae, 4),
    "recording.sheet": lambda c: recording.sheet(c.x),
    "recording.color_sheet": lambda c: recording.color_sheet(c.faces.read()),
    "recording.codes_bytes": lambda c: recording.codes_bytes(z=c.z),
    "toy_faces.draw_factors": lambda c: toy_faces.draw_factors(3),
    "variational.square_grid": lambda c: variational.square_grid(2.0, 3),
    "widgets.bound.bound": lambda c: without_page(widgets.bound(c.log_joint, start=(0, 0, 0.5, 0.5, 0))),
    "decoder.export": lambda c: page.export(c.vae.decoder, 2),
    "draw_digit.draw_digit": lambda c: without_page(
        widgets.draw_digit(digit_vae().to(c.device), small_digits().to(c.device), small_digits().to(c.device))
    ),
    "draw_codes.draw_codes": lambda c: without_page(
        widgets.draw_codes(
            nn.Sequential(c.vae.decoder, nn.Sigmoid()),
            c.z,
            c.z,
            {"one": ([1.0], c.z[:1], torch.eye(2)[None])},
        )
    ),
    "vector_field.vector_field": lambda c: without_page(
        widgets.vector_field(
            c.points[:3, :2].clamp(-3, 3),
            [0.5, 0.3, 0.2],
            {0.5: nets.mlp((2, 4, 2)).to(c.device)},
        )
    ),
    "decoder.export_network": lambda c: page.export_network(c.vae.encoder, tuple(c.x.shape[1:])),
    "decoder.latents_of": lambda c: page.latents_of(c.vae.decoder),
    "em_stepper.em_stepper": lambda c: (
        it := widgets.em_stepper(c.points[:, :2], em.mixture_around(c.points[:, :2], c.points[:2, :2])),
        it.parameters,
        it.points,
        it.ranges,
        it.least,
    )[1:],
    "em_stepper.flat": lambda c: flat(em.mixture_around(c.points[:, :2], c.points[:2, :2])),
    "flipbook.flipbook": lambda c: without_page(widgets.flipbook(c.x[:, 0], curve=(c.z[:, 0], c.z[:, 1]))),
    "data.sets.small_digits": lambda c: data.sets.small_digits(),
    "lab.load": lambda c: list(lab.load(written(c, taken_home())).parameters()),
    "lab.loads": lambda c: list(lab.loads(taken_home()).parameters()),
    "train_in_page.train_in_page": lambda c: without_page(
        widgets.train_in_page(c.images, held_out=c.images, encoder_alone_after=9)
    ),
    "water_filling.water_filling": lambda c: without_page(
        widgets.water_filling(c.images, c.images.first(2), latents=3)
    ),
    "kl_explorer.kl_explorer": lambda c: without_page(widgets.kl_explorer(c.multirate, c.images)),
    "latent_explorer.latent_explorer": lambda c: without_page(
        widgets.latent_explorer(
            nn.Sequential(c.vae.decoder, nn.Sigmoid()), codes=c.z, labels=c.images.labels[:6]
        )
    ),
}

# The tensors of the result are on one device, of which the function decides: there is no float64 on some.
ANYWHERE = {
    "em.column_variances": lambda c: em.column_variances(c.points),
    "em.kmeans_plus_plus": lambda c: em.kmeans_plus_plus(c.points, 3, torch.Generator().manual_seed(0)),
    "em.mixture_around em.Mixture": lambda c: c.mixture,
    "em.iterate": lambda c: list(em.iterate(c.mixture, c.points, 2)),
    "em.fit": lambda c: em.fit(c.mixture, c.points),
    "em.fit: a variance held": held,
    "em.Mixture.log_joint": lambda c: c.mixture.log_joint(c.points),
    "em.Mixture.log_evidence": lambda c: c.mixture.log_evidence(c.points),
    "em.Mixture.e_step": lambda c: c.mixture.e_step(c.points),
    "em.Mixture.m_step": lambda c: c.mixture.m_step(c.points, c.mixture.e_step(c.points)),
    "em.Mixture.lower_bound": lambda c: c.mixture.lower_bound(c.points, c.mixture.e_step(c.points)),
    "ppca.random_start ppca.PPCA": lambda c: c.ppca,
    "ppca.closed_form": lambda c: ppca.closed_form(c.points, 2),
    "ppca.PPCA.e_step": lambda c: c.ppca.e_step(c.points),
    "ppca.PPCA.m_step": lambda c: c.ppca.m_step(c.points, c.ppca.e_step(c.points)),
    "ppca.PPCA.lower_bound": lambda c: c.ppca.lower_bound(c.points, c.ppca.e_step(c.points)),
    "ppca.PPCA.rescaled": lambda c: c.ppca.rescaled(c.points),
    "ppca.PPCA.log_evidence": lambda c: c.ppca.log_evidence(c.points),
    "em.fit: ppca": lambda c: em.fit(c.ppca, c.points, max_iter=3),
    "toy_faces.draw": lambda c: toy_faces.draw(toy_faces.draw_factors(3).to(c.device), side=16),
    "variational.cavi": lambda c: variational.cavi(BAYES, c.points, c.points[:2], max_iter=3),
    "variational.update_assignments": lambda c: variational.update_assignments(
        BAYES, c.points, c.points[:2], c.phi
    ),
    "variational.update_means": lambda c: variational.update_means(
        BAYES, c.points, c.points[:, :2].softmax(1)
    ),
    "variational.mixture_elbo": lambda c: variational.mixture_elbo(
        BAYES, c.points, variational.MixtureQ(c.points[:2], c.phi, c.points[:, :2].softmax(1))
    ),
    "variational.mixture_log_evidence": lambda c: variational.mixture_log_evidence(BAYES, c.points[:5]),
}

# Names that no case is about, and why.
NO_TENSORS = {
    "afhq.* fetch.* mnist.* colab.* sets.root pictures.read": "files and the network",
    "arguments.*": "words, and what is asked of arguments: by test_doors.py",
    "devices.of devices.fused devices.short_of_memory devices.empty_cache": "devices, errors and memory",
    "files.replacing files.remove_parts files.replace_files files.environment": "files",
    "claims.*": "sentences and truth values",
    "notebook.* tables.*": "words",
    "devices.process": "the number of a process",
    "diagrams.* plotting.use_style": "drawings without data",
    "em.warn_singular inference.warn_of_unresolved": "words",
    "estimators.require_batch": "shapes",
    "experiments.scalars.* experiments.sources.load experiments.sources.faces": "words, numbers, files",
    "*.quick OfFaces": "settings",
    "marking.*": "what students wrote, on the CPU",
    "inception.fid_by_command": "folders of pictures, in another process",
    "nets.conv_stages wavelets.require_divisible objectives.require_same_shape": "shapes",
    "lab.settings *.TrainInPage *.TrainInPage.model": "settings, and what a page has found",
    "records.build_decoder records.recorded records.metrics recording.as_json": "settings and files",
    "recording.require_writable recording.write": "files",
    "run.History run.interruptible run.progress_bar run.first_bad run.lowest run.each run.mean": (
        "Python's numbers"
    ),
    "schedules.Linear schedules.Cyclical schedules.one_cycle": "Python's numbers",
    "variational.BayesianMixture": "settings",
    "AggregatePosterior BentDecoder Bound Draw* EMStepper EmptyRules Flipbook KLExplorer": "traits only",
    "LatentExplorer PhasePortrait Two* VectorField WaterFilling": "traits only",
    "aggregate_posterior bent_decoder empty_rules phase_portrait": "pages",
    "two_clouds two_gradients two_optimizers bundle.* colors.*": "pages",
    "scale.* decoder.to_halves": "Python's and NumPy's numbers",
}
BAYES = variational.BayesianMixture(2)


def wide(images: data.Images) -> data.Images:
    """The same images at 28×28, which the classifier takes."""
    return data.Images(images.pixels.repeat(1, 1, 7, 7), images.labels)


def static(device) -> data.Images:
    """Images without a pattern, no two of which are alike."""
    pixels = torch.randint(256, (40, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    return data.Images(pixels.to(torch.uint8), torch.arange(40) % 10).to(device)


def taken_home() -> bytes:
    """A model of the lab, as its page writes it."""
    model = models.VAE(
        nets.mlp_encoder((1, 2, 2), 2, hidden=(3,)), nets.mlp_decoder(1, (1, 2, 2), hidden=(3,)), 1
    )
    about = {"dims": 4, "hidden": [3], "latents": 1, "activation": "relu", "likelihood": "bernoulli"}
    about |= {"mean": "sigmoid", "scale": 0.3, "learnScale": False}
    return save(model.state_dict(), {"vae_lab_lab": json.dumps(about), "steps": "7"})


def written(c: Things, content: bytes):
    (c.folder / "decoder").write_bytes(content)
    return c.folder / "decoder"
