"""Likelihoods of gray pixels: what each makes of the same networks, at several budgets."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar

from torch import nn

from vae_lab import likelihoods
from vae_lab.data import Images
from vae_lab.ensembles import Ensemble
from vae_lab.experiments.recipe import Plain, fit_complete
from vae_lab.experiments.small import Variant, build, copy_error
from vae_lab.experiments.sources import EMBEDDED, Source
from vae_lab.models import VAE
from vae_lab.training import evaluate

LIKELIHOODS: dict[str, Callable[[], nn.Module]] = {
    "Bernoulli": likelihoods.Bernoulli,
    "continuous Bernoulli": likelihoods.ContinuousBernoulli,
    "Gaussian, scale 1": partial(likelihoods.Gaussian, 1.0),
    "Gaussian, learned scale": partial(likelihoods.Gaussian, 0.2, learn=True),
}


@dataclass(frozen=True)
class GrayPixels:
    """Small VAEs of gray digits, each likelihood at every budget and seed.

    steps : of training at budget 1
    """

    source: ClassVar[Source] = EMBEDDED
    what: str
    latents: int
    hidden: tuple[int, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    batch_size: int = 128
    learning_rate: float = 1e-2

    def quick(self) -> "GrayPixels":
        """The same in seconds."""
        return replace(self, budgets=(1, 2), seeds=self.seeds[:2], steps=20)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train and measure all models, with checkpoints in `folder`; what was found."""
        start = time.perf_counter()
        test = test.to(train.device)
        rows = [
            {"likelihood": name, "budget": budget} | found
            for name, budget in product(LIKELIHOODS, self.budgets)
            for found in self._measured(name, budget, train, test, folder)
        ]
        return {"models": rows, "seconds": {"all": round(time.perf_counter() - start, 3)}}, {}

    def _measured(self, name: str, budget: int, train, test, folder: Path) -> Iterator[dict]:
        """The terms of each seed's model on test images, the error of its copies, and its scale."""
        for seed, model in zip(self.seeds, self.trained(name, budget, train, folder), strict=True):
            terms, scale = evaluate(model, test), getattr(model.likelihood, "scale", None)
            row = {"seed": seed, "log_lik": terms.log_lik, "kl": terms.kl}
            row["copy_error"] = copy_error(model, test.read())
            yield row | ({} if scale is None else {"scale": scale.item()})

    def trained(self, name: str, budget: int, train: Images, folder: Path) -> list[VAE]:
        """The trained model of each seed; all in one ensemble where the likelihood has nothing to learn."""
        variant = Variant(name, self.hidden, self.hidden, self.latents)
        recipe = Plain.of_steps(self.steps * budget, train, self.batch_size, self.learning_rate)
        members = [build(variant, train.shape, seed) for seed in self.seeds]
        for model in members:
            model.likelihood = LIKELIHOODS[name]()
            model.to(train.device)
        learned = any(p.requires_grad for p in members[0].likelihood.parameters())
        models = members if learned else [Ensemble(members).to(train.device)]
        for i, model in enumerate(models):
            path = folder / f"checkpoint-{name.replace(' ', '-')}-{budget}-{i}.safetensors"
            fit_complete(model, train, recipe=recipe, checkpoint=path)
        return members if learned else models[0].members()
