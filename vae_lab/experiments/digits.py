"""One VAE of MNIST's digits, trained at length and measured."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from vae_lab import records
from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.experiments import recording
from vae_lab.experiments.recipe import fit_complete
from vae_lab.experiments.scalars import bound, seconds, sizes
from vae_lab.experiments.sources import DIGITS, Source
from vae_lab.metrics import log_likelihood
from vae_lab.models import VAE
from vae_lab.nets import Shape, conv_encoder, mlp_encoder
from vae_lab.training import History, evaluate


@dataclass(frozen=True)
class Single:
    """A VAE of digits that are binarized afresh at every use, and how it is trained and measured.

    hidden, decoder_hidden : sizes of the hidden layers; none if the nets are convolutional, of `width`
    learning_rate : the highest of the one-cycle schedule
    n_samples : K of the importance-sampled log p(x) of `measured` test images
    published : −log p(x) in nats of the same model in print, and where
    """

    source: ClassVar[Source] = DIGITS
    what: str
    latents: int
    hidden: tuple[int, ...] = ()
    decoder_hidden: tuple[int, ...] = ()
    width: int = 0
    activation: str = "relu"
    epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 4e-3
    precision: str = "float32"
    n_samples: int = 1000
    measured: int = 10_000
    seed: int = 0
    published: tuple[float, str] | None = None

    def quick(self) -> "Single":
        """The same in seconds."""
        return replace(self, epochs=2, n_samples=20, measured=100)

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train, with a checkpoint in `folder`, and measure: what was found, and the files that show it."""
        model, found = self.train_and_measure(train, test, checkpoint=folder / "checkpoint.safetensors")
        return found, _files(model, self)

    def train_and_measure(
        self, train: Images, test: Images, *, checkpoint: Path | None = None
    ) -> tuple[VAE, dict]:
        """The trained model, on the device of `train`, and what was found."""
        test = test.binarized(torch.Generator().manual_seed(self.seed)).to(train.pixels.device)
        seed_all(self.seed)
        model = build(self, train.shape).to(train.pixels.device)
        history = fit_complete(
            model,
            train.dynamic(),
            recipe=self,
            seed=self.seed,
            test=test,
            checkpoint=checkpoint,
            precision=self.precision,
        )
        return model, _measure(model, test, self, history)


def build(experiment: Single, shape: Shape) -> VAE:
    """The untrained model of an experiment, for images of `shape`."""
    e = experiment
    outputs, unit = 2 * e.latents, records.ACTIVATIONS[e.activation]
    if e.width:
        encoder = conv_encoder(shape, outputs, width=e.width, activation=unit)
    else:
        encoder = mlp_encoder(shape, outputs, hidden=e.hidden, activation=unit)
    return VAE(encoder, records.build_decoder(**_architecture(e, shape)), e.latents)


def _architecture(experiment: Single, shape: Shape) -> dict:
    """The decoder in plain numbers."""
    e = experiment
    sizes = {"width": e.width} if e.width else {"hidden": e.decoder_hidden}
    return {"shape": shape, "latents": e.latents, "activation": e.activation} | sizes


def _measure(model: VAE, test: Images, experiment: Single, history: History) -> dict:
    """Everything that the run found out, in nats an image."""
    start = time.perf_counter()
    terms, part = evaluate(model, test, seed=experiment.seed), test.first(experiment.measured)
    log_p = log_likelihood(model, part, n_samples=experiment.n_samples, seed=experiment.seed).cpu().double()
    return {
        "parameters": sizes(model),
        "test": {"images": len(test)} | bound(terms),
        "importance_sampling": {
            "negative_log_likelihood": -log_p.mean().item(),
            "standard_error": log_p.std().item() / len(log_p) ** 0.5,
            "negative_elbo": -evaluate(model, part, seed=experiment.seed).value,  # of the same images
            "n_samples": experiment.n_samples,
            "images": len(part),
        },
        "curve": [{"step": step} | bound(terms) for step, terms in history.test],
        "seconds": seconds(history, start),
    }


def _files(model: VAE, experiment: Single) -> dict[str, bytes]:
    """A sheet of samples, and the decoder if it is small, by file name."""
    architecture = _architecture(experiment, model.encoder[0].shape)
    samples = recording.prior_means(model, 60, seed=experiment.seed)
    decoder = recording.decoder_bytes(model.decoder, architecture)
    small = {"decoder.safetensors": decoder} if len(decoder) <= recording.LARGEST_DECODER else {}
    return {"samples.png": recording.sheet(samples)} | small
