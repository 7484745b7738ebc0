"""The same comparison at several budgets: what holds after one minute of training, and what after ten."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from vae_lab import objectives
from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.ensembles import Ensemble
from vae_lab.experiments.recipe import Plain, fit_complete
from vae_lab.experiments.small import Variant, build, halved
from vae_lab.experiments.sources import EMBEDDED, Source
from vae_lab.models import VAE
from vae_lab.schedules import Annealed, Cyclical, Linear
from vae_lab.training import evaluate
from vae_lab.variational import black_box


def three_draws(model, x: Tensor) -> objectives.ELBO:
    """The ELBO with three draws of each code."""
    terms = objectives.elbo(model, torch.cat([x, x, x], -4))  # an Ensemble takes one draw for each image
    return objectives.ELBO(*(term.unflatten(-1, (3, -1)).mean(-2) for term in terms))


# What is climbed in training, by name
OBJECTIVES: dict[str, Callable] = {
    "none": objectives.elbo,
    "annealed": Annealed(objectives.beta_elbo, "beta", Linear(0.0, 1.0, until=0.5)),
    "cyclical": Annealed(objectives.beta_elbo, "beta", Cyclical(0.0, 1.0, cycles=4, rising=0.5)),
    "free bits": partial(objectives.free_bits_elbo, free=0.25),
    "capacity": partial(objectives.capacity_elbo, capacity=8.0, weight=2.0),
    "three draws": three_draws,
}


@dataclass(frozen=True)
class Budgets:
    """Small VAEs of black-and-white digits: each variant at every budget, learning rate and seed.

    steps : of training at budget 1
    dynamic : pixels are drawn black or white, those of training images afresh at every use; otherwise images
        are halved in size, and rounded
    """

    source: ClassVar[Source] = EMBEDDED
    what: str
    variants: tuple[Variant, ...]
    budgets: tuple[int, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: int
    batch_size: int = 64
    dynamic: bool = False

    def quick(self) -> "Budgets":
        """The same in seconds."""
        return replace(self, budgets=(1, 2), seeds=self.seeds[:2], steps=20)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train the models of all seeds together, with checkpoints in `folder`; what was found."""
        start = time.perf_counter()
        train, test = self.drawn(train, test)
        rows = [
            {"variant": variant.name, "budget": budget, "learning_rate": rate} | found
            for variant, rate, budget in product(self.variants, self.learning_rates, self.budgets)
            for found in self._trained(variant, rate, budget, train, test, folder)
        ]
        return {"models": rows, "seconds": {"all": round(time.perf_counter() - start, 3)}}, {}

    def drawn(self, train: Images, test: Images) -> tuple[Images, Images]:
        """The training images and the measured ones, on one device."""
        if not self.dynamic:
            train, test = halved(train), halved(test)
        else:
            train, test = train.dynamic(), test.binarized(torch.Generator().manual_seed(0))
        return train, test.first(1000).to(train.device)

    def _trained(self, variant: Variant, rate: float, budget: int, train, test, folder) -> Iterator[dict]:
        """The mean terms of each seed's model on test images."""
        recipe = Plain.of_steps(self.steps * budget, train, self.batch_size, rate)
        model = Ensemble([build(variant, train.shape, seed) for seed in self.seeds]).to(train.device)
        name = f"checkpoint-{variant.name.replace(' ', '-')}-{rate:g}-{budget}.safetensors"
        fit_complete(model, train, OBJECTIVES[variant.objective], recipe=recipe, checkpoint=folder / name)
        for seed, member in zip(self.seeds, model.members(), strict=True):
            terms = evaluate(member, test)
            yield {"seed": seed, "negative_elbo": -terms.value, "kl": terms.kl}


@dataclass(frozen=True)
class Amortization:
    """How far an encoder is from the best Gaussian of each image, the longer it alone is trained.

    A small VAE of black-and-white digits is trained; then its decoder is frozen, and the encoder trained on.

    epochs : of the VAE
    steps : of the encoder alone, to the nearest pass over the images, after which it is measured; from one
        number to the next, the learning rate goes through one cycle
    images : how many training images, and how many new ones, get a Gaussian of their own
    search : steps from the encoder's Gaussian to the best diagonal one, twice
    """

    source: ClassVar[Source] = EMBEDDED
    what: str
    latents: int
    hidden: tuple[int, ...]
    steps: tuple[int, ...]
    seeds: tuple[int, ...]
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    images: int = 64
    search: int = 300

    def quick(self) -> "Amortization":
        """The same in seconds."""
        return replace(self, steps=(0, 20), seeds=self.seeds[:2], epochs=2, images=8, search=20)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train and measure each seed; what was found."""
        start = time.perf_counter()
        rows = [row for seed in self.seeds for row in self._measured(train, test, seed, folder)]
        return {"models": rows, "seconds": {"all": round(time.perf_counter() - start, 3)}}, {}

    def _measured(self, train: Images, test: Images, seed: int, folder: Path) -> Iterator[dict]:
        """The gaps of one seed after each number of steps, on images trained on and on new ones."""
        generator = seed_all(seed, train.device)
        model = build(Variant("", self.hidden, self.hidden, self.latents), train.shape, seed).to(train.device)
        seen = train.binarized(generator)
        new = test.to(train.device).binarized(generator)
        fit_complete(
            model, seen, recipe=self, seed=seed, checkpoint=folder / f"checkpoint-{seed}.safetensors"
        )
        model.decoder.requires_grad_(False)
        parts = {"training": seen.first(self.images).read(), "new": new.first(self.images).read()}
        x = torch.cat(list(parts.values()))
        best = bound(model, x, best_diagonal(model, x, steps=self.search))  # the decoder is held, so for good
        for before, steps in zip((0, *self.steps), self.steps, strict=False):
            if steps > before:
                epochs = max(1, round((steps - before) * self.batch_size / len(seen)))
                recipe = Plain(epochs, self.batch_size, self.learning_rate)
                path = folder / f"checkpoint-{seed}-{steps}.safetensors"
                fit_complete(model, seen, recipe=recipe, seed=seed, checkpoint=path)
            gaps = (best - bound(model, x)).unflatten(0, (len(parts), -1))
            elbo = -evaluate(model, new).value
            for name, gap in zip(parts, gaps, strict=True):
                error = gap.std().item() / len(gap) ** 0.5
                row = {"seed": seed, "steps": steps, "images": name, "gap": gap.mean().item()}
                yield row | {"standard_error": error, "negative_elbo_of_new": elbo}


def best_diagonal(model: VAE, x: torch.Tensor, *, steps: int):
    """The best diagonal Gaussian for every image, by two runs of gradient steps from the encoder's."""

    def log_joint(z):
        return model.decode(z).log_prob(x) + model.prior().log_prob(z)

    torch.manual_seed(0)
    with torch.no_grad():
        q = model.encode(x)
    for _ in range(2):
        q = black_box(log_joint, q, full=False, steps=steps, n_samples=4, learning_rate=0.03).q
    return q


@torch.no_grad()
def bound(model: VAE, x: torch.Tensor, q=None, *, n_samples: int = 200) -> torch.Tensor:
    """The ELBO of each image, by draws from its q; by default the encoder's."""
    torch.manual_seed(1)
    q = model.encode(x) if q is None else q
    blocks = []
    for _ in range(n_samples // 50):
        z = q.sample((50,))
        blocks.append(model.decode(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z))
    return torch.cat(blocks).mean(0)
