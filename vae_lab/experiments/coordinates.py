"""Whether a heavier KL gives factors of variation coordinates of their own, at several budgets."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from vae_lab.data import Images, toy_faces
from vae_lab.devices import seed_all
from vae_lab.ensembles import Ensemble
from vae_lab.experiments.recipe import Plain, fit_complete
from vae_lab.experiments.sources import DRAWN, Source
from vae_lab.likelihoods import Gaussian
from vae_lab.metrics import mutual_information_gap
from vae_lab.models import VAE
from vae_lab.nets import Shape, mlp_decoder, mlp_encoder
from vae_lab.objectives import beta_elbo


@dataclass(frozen=True)
class Coordinates:
    """The mutual information gap of small VAEs of drawn cats, whose eight factors are known.

    side : of the pictures, in pixels; trained, measured : how many pictures
    betas : weights of the KL; epochs : the budgets, each of which trains every model anew
    """

    source: ClassVar[Source] = DRAWN
    what: str
    latents: int
    hidden: tuple[int, ...]
    betas: tuple[float, ...]
    epochs: tuple[int, ...]
    seeds: tuple[int, ...]
    side: int = 16
    trained: int = 3000
    measured: int = 2000
    batch_size: int = 64
    learning_rate: float = 5e-3
    noise: float = 0.1

    def quick(self) -> "Coordinates":
        """The same in seconds."""
        return replace(self, epochs=(1, 2), seeds=self.seeds[:2], trained=200, measured=300)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train all models of a budget together, with a checkpoint in `folder`; what was found."""
        start, device = time.perf_counter(), train.device
        factors = cats(self.trained + self.measured)
        pixels = toy_faces.draw(factors, side=self.side)
        own, new = (Images(part).to(device) for part in (pixels[: self.trained], pixels[self.trained :]))
        truth = factors[self.trained :, 1:]
        rows = [row for epochs in self.epochs for row in self._measured(own, new, truth, epochs, folder)]
        ideal = {"mig": mutual_information_gap(truth, truth).value}
        seconds = {"all": round(time.perf_counter() - start, 3)}
        about = {"trained": len(own), "measured": len(new), "sha256": own.fingerprint()}
        return {"models": rows, "ideal": ideal, "cats": about, "seconds": seconds}, {}

    def _measured(self, own: Images, new: Images, truth: Tensor, epochs: int, folder: Path) -> Iterator[dict]:
        """The gap of every model after so many epochs, and what its best latent tells about each factor."""
        pairs = [(beta, seed) for beta in self.betas for seed in self.seeds]
        weights = torch.tensor([beta for beta, _ in pairs], device=own.device)[:, None]
        model = Ensemble([build(self, own.shape, seed) for _, seed in pairs]).to(own.device)
        fit_complete(
            model,
            own,
            partial(beta_elbo, beta=weights),
            recipe=Plain(epochs, self.batch_size, self.learning_rate),
            checkpoint=folder / f"checkpoint-{epochs}.safetensors",
        )
        for (beta, seed), member in zip(pairs, model.members(), strict=True):
            seed_all(0)
            with torch.no_grad():
                gap = mutual_information_gap(member.encode(new.read()).sample(), truth)
            told = dict(zip(toy_faces.FACTORS[1:], gap.normalized.max(0).values.tolist(), strict=True))
            yield {"epochs": epochs, "beta": beta, "seed": seed, "mig": gap.value, "told": told}


def cats(n: int) -> Tensor:
    """The factors of n faces, (n, 9): the first is the species, of cats 0."""
    factors = toy_faces.draw_factors(n, seed=2)
    factors[:, 0] = 0
    return factors


def build(e: Coordinates, shape: Shape, seed: int) -> VAE:
    """The untrained model of a seed."""
    seed_all(seed)
    encoder = mlp_encoder(shape, 2 * e.latents, hidden=e.hidden)
    return VAE(encoder, mlp_decoder(e.latents, shape, hidden=e.hidden), e.latents, Gaussian(e.noise))
