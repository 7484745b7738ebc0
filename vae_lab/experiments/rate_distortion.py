"""VAEs that differ in the weight of the KL alone: what each pays in nats, and how well it draws."""

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.experiments import recording
from vae_lab.experiments.recipe import fit_complete
from vae_lab.experiments.sources import DIGITS, Source
from vae_lab.information import active_units
from vae_lab.metrics import Classifier, fit_classifier, frechet_distance, log_likelihood
from vae_lab.models import VAE
from vae_lab.nets import mlp_decoder, mlp_encoder
from vae_lab.objectives import beta_elbo
from vae_lab.training import evaluate

SHOWN = 12  # drawings for each weight on the sheet


@dataclass(frozen=True)
class RateDistortion:
    """One model for each weight β of the KL and each seed, on digits that are binarized afresh at every use.

    hidden : sizes of the encoder's hidden layers; the decoder has them in the opposite order
    learning_rate : the highest of the one-cycle schedule
    n_samples : K of the importance-sampled log p(x) of `measured` test images
    drawn : how many drawings, and test images, the Fréchet distance compares
    """

    source: ClassVar[Source] = DIGITS
    what: str
    latents: int
    hidden: tuple[int, ...]
    betas: tuple[float, ...]
    seeds: tuple[int, ...]
    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 6e-3
    n_samples: int = 200
    measured: int = 1000
    drawn: int = 10_000
    judge_steps: int = 2000

    def quick(self) -> "RateDistortion":
        """The same in seconds."""
        ends = (self.betas[0], self.betas[-1])
        small = {"epochs": 2, "n_samples": 5, "measured": 50, "drawn": 100, "judge_steps": 20}
        return replace(self, betas=ends, seeds=self.seeds[:2], **small)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train each model, with a checkpoint in `folder`, and measure: what was found, and a sheet."""
        start, device = time.perf_counter(), train.pixels.device
        judge = fit_classifier(train, steps=self.judge_steps)
        seen = judge.features(test.to(device).first(self.drawn).read())
        binarized = test.binarized(torch.Generator().manual_seed(0)).to(device)
        found, drawings = [], []
        for seed in self.seeds:
            for beta in self.betas:
                model = _trained(self, train.dynamic(), beta, seed, folder)
                row = {"beta": beta, "seed": seed} | _measure(self, model, binarized, seed)
                found.append(row | {"frechet": frechet_distance(_drawn(self, model, judge, seed), seen)})
                if seed == self.seeds[0]:
                    drawings.append(recording.prior_means(model, SHOWN, seed=seed))
        floor = judge.features(train.first(len(seen)).read())
        record = {
            "models": found,
            "judge": {"accuracy": _accuracy(judge, test.to(device)), "train": frechet_distance(floor, seen)},
            "seconds": {"all": round(time.perf_counter() - start, 3)},
        }
        return record, {"samples.png": recording.sheet(torch.cat(drawings), columns=SHOWN)}


def _trained(e: RateDistortion, train: Images, beta: float, seed: int, folder: Path) -> VAE:
    """The model of one weight and one seed."""
    seed_all(seed)
    encoder = mlp_encoder(train.shape, 2 * e.latents, hidden=e.hidden)
    decoder = mlp_decoder(e.latents, train.shape, hidden=e.hidden[::-1])
    model = VAE(encoder, decoder, e.latents).to(train.pixels.device)
    fit_complete(
        model,
        train,
        partial(beta_elbo, beta=beta),
        recipe=e,
        seed=seed,
        checkpoint=folder / f"checkpoint-{beta:g}-{seed}.safetensors",
    )
    return model.eval()


@torch.no_grad()
def _measure(e: RateDistortion, model: VAE, test: Images, seed: int) -> dict:
    """Rate, distortion, their sum and what it bounds, in nats an image; and how many coordinates are used."""
    terms, part = evaluate(model, test, seed=seed), test.first(e.measured)
    log_p = log_likelihood(model, part, n_samples=e.n_samples, seed=seed).cpu().double()
    return {
        "rate": terms.kl,
        "distortion": -terms.log_lik,
        "negative_elbo": -terms.value,
        "negative_log_likelihood": -log_p.mean().item(),
        "active_units": int(active_units(model.encode(test.read())).sum()),
    }


@torch.no_grad()
def _drawn(e: RateDistortion, model: VAE, judge: Classifier, seed: int) -> Tensor:
    """The classifier's features of drawings from the prior, (drawn, F)."""
    device = next(model.parameters()).device
    return judge.features(recording.prior_means(model, e.drawn, seed=seed).to(device))


@torch.no_grad()
def _accuracy(judge: Classifier, test: Images) -> float:
    """The share of test images that the classifier names correctly."""
    return (judge(test.read()).argmax(1) == test.labels).float().mean().item()
