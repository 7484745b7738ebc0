"""Where codes should come from: what a VAE and an autoencoder draw with the same networks, by budget."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from vae_lab.data import Images
from vae_lab.ensembles import Ensemble
from vae_lab.experiments.recipe import Plain, fit_complete
from vae_lab.experiments.small import Variant, build, copy_error, halved
from vae_lab.experiments.sources import EMBEDDED, Source
from vae_lab.metrics import fit_classifier, frechet_distance, nearest_distance
from vae_lab.models import VAE
from vae_lab.objectives import ELBO, beta_elbo, elbo


def copying(model: VAE, x: Tensor) -> ELBO:
    """log p(x|z) at the mean code, without noise and without a price: the objective of an autoencoder."""
    log_lik = model.decode(model.encode(x).mean).log_prob(x)
    return ELBO(log_lik, torch.zeros_like(log_lik))


OBJECTIVES: dict[str, Callable] = {
    "VAE": elbo,
    "unpriced": partial(beta_elbo, beta=0.0),  # noisy codes that cost nothing
    "autoencoder": copying,
}
SOURCES = {"N(0, I)": 0, "Gaussian": 1, "mixture": 10}  # how many components are fitted to the codes


@dataclass(frozen=True)
class Drawing:
    """Digits rounded to black and white at half their side, copied and drawn by small models.

    Codes come from N(0, I), and from a Gaussian and a mixture of ten, fitted to the codes of training images.
    Two judges: the Fréchet distance by the features of a classifier of these digits, and the mean distance
    from a drawing to the nearest training image.

    steps : of training at budget 1
    """

    source: ClassVar[Source] = EMBEDDED
    what: str
    latents: int
    hidden: tuple[int, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    batch_size: int = 64
    learning_rate: float = 5e-3
    judge_steps: int = 300

    def quick(self) -> "Drawing":
        """The same in seconds."""
        return replace(self, budgets=(1, 2), seeds=self.seeds[:2], steps=40, judge_steps=20)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train the models of all seeds together, with checkpoints in `folder`; what was found."""
        start = time.perf_counter()
        train, test = halved(train), halved(test).to(train.device)
        judge = fit_classifier(train, steps=self.judge_steps)
        rows = [
            {"objective": name, "budget": budget} | found
            for name, budget in product(OBJECTIVES, self.budgets)
            for found in self._measured(name, budget, train, test, judge, folder)
        ]
        return {"models": rows, "seconds": {"all": round(time.perf_counter() - start, 3)}}, {}

    def _measured(self, name: str, budget: int, train, test, judge, folder: Path) -> Iterator[dict]:
        """What each seed's model copies and draws."""
        variant = Variant(name, self.hidden, self.hidden, self.latents)
        model = Ensemble([build(variant, train.shape, seed) for seed in self.seeds]).to(train.device)
        fit_complete(
            model,
            train,
            OBJECTIVES[name],
            recipe=Plain.of_steps(self.steps * budget, train, self.batch_size, self.learning_rate),
            checkpoint=folder / f"checkpoint-{name}-{budget}.safetensors",
        )
        x, seen = test.read(), train.read().flatten(1)
        real = judge.features(x)
        for seed, member in zip(self.seeds, model.members(), strict=True):
            row = {"seed": seed, "copy_error": copy_error(member, x), "frechet": {}, "nearest": {}}
            for source, components in SOURCES.items():
                z = codes(member, train, len(x), components=components, noisy=name != "autoencoder")
                with torch.no_grad():
                    drawn = member.decode(z).mean
                    row["frechet"][source] = frechet_distance(judge.features(drawn), real)
                row["nearest"][source] = nearest_distance(drawn.flatten(1), seen).mean().item()
            yield row


@torch.no_grad()
def codes(model: VAE, images: Images, n: int, *, components: int, noisy: bool) -> Tensor:
    """n codes (n, L) from N(0, I), or from that many Gaussians fitted to the codes of images.

    noisy : fit to codes drawn from the encoder's q(z|x); else to its means
    """
    from sklearn.mixture import GaussianMixture

    torch.manual_seed(0)
    if not components:
        return torch.randn(n, model.latents).to(images.device)
    q = model.encode(images.read())
    z = (q.sample() if noisy else q.mean).cpu().double().numpy()
    thinnest = 0.01 * z.var(0).mean()
    mixture = GaussianMixture(components, reg_covar=thinnest, tol=1e-2, random_state=0).fit(z)
    return torch.tensor(mixture.sample(n)[0]).float().to(images.device)
