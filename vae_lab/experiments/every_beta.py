"""One VAE for every weight of the KL, to compare with those that were trained for one weight each."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.experiments import recording
from vae_lab.experiments.recipe import fit_complete
from vae_lab.experiments.sources import DIGITS, Source
from vae_lab.multirate import MultiRateVAE, multi_rate_elbo
from vae_lab.nets import mlp_decoder, mlp_encoder
from vae_lab.training import evaluate

SHOWN = 12  # drawings for each weight on the sheet


@dataclass(frozen=True)
class MultiRate:
    """A network gated by log β, trained on all β between two ends at once, on digits binarized afresh.

    hidden : sizes of the encoder's hidden layers; the decoder has them in the opposite order
    betas : where it is measured; the first and the last are the ends of what it is trained for
    learning_rate : the highest of the one-cycle schedule
    """

    source: ClassVar[Source] = DIGITS
    what: str
    latents: int
    hidden: tuple[int, ...]
    betas: tuple[float, ...]
    seeds: tuple[int, ...]
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 6e-3

    def quick(self) -> "MultiRate":
        """The same in seconds."""
        return replace(self, seeds=self.seeds[:2], epochs=2)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train one for each seed, with a checkpoint in `folder`; what was found, and a sheet."""
        start, device = time.perf_counter(), train.pixels.device
        test = test.binarized(torch.Generator().manual_seed(0)).to(device)
        found, drawings = [], []
        for seed in self.seeds:
            model = _trained(self, train.dynamic(), seed, folder)
            for beta in self.betas:
                terms = evaluate(model.at(beta), test, seed=seed)
                found.append({"beta": beta, "seed": seed, "rate": terms.kl, "distortion": -terms.log_lik})
                if seed == self.seeds[0]:
                    drawings.append(recording.prior_means(model.at(beta), SHOWN, seed=seed))
        seconds = {"all": round(time.perf_counter() - start, 3)}
        sheet = recording.sheet(torch.cat(drawings), columns=SHOWN)
        return {"models": found, "seconds": seconds}, {"samples.png": sheet}


def _trained(e: MultiRate, train: Images, seed: int, folder: Path) -> MultiRateVAE:
    """The network of one seed."""
    seed_all(seed)
    encoder = mlp_encoder(train.shape, 2 * e.latents, hidden=e.hidden)
    decoder = mlp_decoder(e.latents, train.shape, hidden=e.hidden[::-1])
    model = MultiRateVAE(encoder, decoder, e.latents, betas=(e.betas[0], e.betas[-1]))
    fit_complete(
        model.to(train.pixels.device),
        train,
        multi_rate_elbo,
        recipe=e,
        seed=seed,
        checkpoint=folder / f"checkpoint-{seed}.safetensors",
    )
    return model.eval()
