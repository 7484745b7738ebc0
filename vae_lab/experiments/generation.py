"""Better faces from the same decoder: three likelihoods and three priors, compared by one table."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.distributions import Distribution

from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.experiments import recording, sources
from vae_lab.experiments.comparison import Comparison
from vae_lab.experiments.recipe import fit_complete
from vae_lab.experiments.scalars import sizes
from vae_lab.likelihoods import Gaussian, WaveletGaussian
from vae_lab.models import VAE
from vae_lab.nets import conv_decoder, conv_encoder, conv_stages
from vae_lab.priors import WithPrior, fit_mixture, fit_second_stage, posteriors

SHOWN = 12  # drawings of each model on the sheet
FIXED, LEARNED, WAVELETS = "scale fixed at 1", "one learned scale", "a learned scale for each size of detail"
NORMAL, MIXTURE, SECOND = "N(0, I)", "fitted mixture", "second VAE"


@dataclass(frozen=True)
class Generation:
    """VAEs of one architecture that differ in p(x|z), then in p(z), each trained and judged for every seed.

    data, side : the images, as in `data.load`
    width : of the convolutional nets; learning_rate : the highest of the one-cycle schedule
    components : of the mixture; second_steps : steps of training for the second VAE
    drawn : how many samples of each model are judged
    judge_steps : of training for the classifier whose features are compared (`judge`)
    """

    what: str
    data: str
    side: int
    width: int
    epochs: int
    seeds: tuple[int, ...]
    latents: int = 64
    batch_size: int = 32
    learning_rate: float = 2e-3
    components: int = 4
    second_steps: int = 1000
    drawn: int = 2000
    judge_steps: int = 600

    @property
    def source(self) -> sources.Source:
        return sources.faces(self.data, self.side)

    def quick(self) -> "Generation":
        """The same in seconds."""
        small = {"latents": 8, "components": 2, "second_steps": 20, "drawn": 100, "judge_steps": 20}
        return replace(self, side=32, width=8, epochs=1, seeds=self.seeds[:1], **small)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train each model, with a checkpoint in `folder`, and judge its samples: a table, and a sheet."""
        start, test = time.perf_counter(), test.to(train.pixels.device)
        compare = Comparison(train, test, drawn=self.drawn, steps=self.judge_steps)
        rows, drawings, size = [], [], {}
        for seed in self.seeds:
            for name in (FIXED, LEARNED, WAVELETS):
                vae = _trained(self, name, train, seed, folder)
                size = sizes(vae)
                q, about = posteriors(vae, train), {"likelihood": name, "seed": seed}
                for prior, model in _priors(self, vae, q, seed).items():
                    row, drawn = compare.sampled(model, seed)
                    rows.append(about | {"prior": prior} | row)
                    drawings += [drawn[:SHOWN]] if seed == self.seeds[0] else []
                rows.append(about | {"prior": None} | compare.copied(vae, q.mean))
        record = {
            "parameters": size,
            "models": rows,
            "judge": compare.trust,
            "nearest": compare.nearest(compare.held_out),
            "seconds": {"all": round(time.perf_counter() - start, 3)},
        }
        return record, {"samples.jpg": recording.color_sheet(torch.cat(drawings), columns=SHOWN)}


def _trained(e: Generation, likelihood: str, train: Images, seed: int, folder: Path) -> VAE:
    """The VAE of one likelihood and one seed."""
    levels = conv_stages(train.shape[1])
    noise = {
        FIXED: lambda: Gaussian(1.0),
        LEARNED: lambda: Gaussian(0.1, learn=True),
        WAVELETS: lambda: WaveletGaussian(0.1, levels=levels),
    }
    seed_all(seed)
    encoder = conv_encoder(train.shape, 2 * e.latents, width=e.width)
    decoder = conv_decoder(e.latents, train.shape, width=e.width)
    vae = VAE(encoder, decoder, e.latents, noise[likelihood]()).to(train.pixels.device)
    checkpoint = folder / f"checkpoint-{list(noise).index(likelihood)}-{seed}.safetensors"
    fit_complete(vae, train.mirrored(), recipe=e, seed=seed, checkpoint=checkpoint)
    return vae.eval()


def _priors(e: Generation, vae: VAE, q: Distribution, seed: int) -> dict:
    """The VAE under each prior; q are the posteriors of the training images."""
    return {
        NORMAL: vae,
        MIXTURE: WithPrior(vae, fit_mixture(q, e.components, seed=seed)),
        SECOND: WithPrior(vae, fit_second_stage(q, steps=e.second_steps, seed=seed)),
    }
