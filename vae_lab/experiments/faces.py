"""One VAE of animal faces in color, trained at length and measured."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.experiments import recording, sources
from vae_lab.experiments.recipe import fit_complete
from vae_lab.experiments.scalars import bound, seconds, sizes
from vae_lab.information import active_units, kl_by_coordinate
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.nets import Shape, conv_decoder, conv_encoder
from vae_lab.priors import posteriors
from vae_lab.training import History, evaluate

SHOWN = 24  # faces on each sheet, and codes of held-out faces in the file
AXES = 12  # directions in which the codes vary most, in the file


@dataclass(frozen=True)
class OfFaces:
    """What every experiment on faces states: what is trained, on which faces, and how.

    data, side : the images, as in `data.load`
    width : of the convolutional nets; they are `nets.conv_encoder` and `nets.conv_decoder`
    learning_rate : the highest of the one-cycle schedule
    """

    what: str
    data: str
    side: int
    width: int
    epochs: int
    latents: int = 64
    batch_size: int = 32
    learning_rate: float = 2e-3
    seed: int = 0

    @property
    def source(self) -> sources.Source:
        return sources.faces(self.data, self.side)

    def quick(self) -> Self:
        """The same in seconds."""
        return replace(self, side=32, width=8, epochs=2)


class Faces(OfFaces):
    """A VAE of color images whose noise has one learned scale."""

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train, with a checkpoint in `folder`, and measure: what was found, and the files that show it."""
        test = test.to(train.pixels.device)
        seed_all(self.seed)
        model = build(self, train.shape).to(train.pixels.device)
        checkpoint = folder / "checkpoint.safetensors"
        history = fit_complete(
            model, train.mirrored(), recipe=self, seed=self.seed, test=test, checkpoint=checkpoint
        )
        return _measure(model.eval(), train, test, self, history), _files(model, train, test, self)


def build(e: Faces, shape: Shape) -> VAE:
    """The untrained model of an experiment, for images of `shape`."""
    encoder = conv_encoder(shape, 2 * e.latents, width=e.width)
    decoder = conv_decoder(e.latents, shape, width=e.width)
    return VAE(encoder, decoder, e.latents, Gaussian(0.1, learn=True))


@torch.no_grad()
def pixel_error(x: Tensor, drawn: Tensor) -> float:
    """The mean of (x − drawn)² over images, channels and pixels in [0, 1]."""
    return (x.cpu() - drawn.cpu()).square().mean().item()


def average_face(images: Images) -> Tensor:
    """The mean of all images, (1, C, H, W): the baseline that a code must beat."""
    return images.pixels.cpu().sum(0, keepdim=True, dtype=torch.float64) / (255 * len(images))


@torch.no_grad()
def reconstructions(model, codes: Tensor, *, chunk_size: int = 250) -> Tensor:
    """The means of p(x|z) at codes (N, L), here the means of q(z|x): (N, C, H, W) on the CPU."""
    return torch.cat([model.decode(z).mean.cpu() for z in codes.split(chunk_size)])


def _measure(model: VAE, train: Images, test: Images, e: Faces, history: History) -> dict:
    """Everything that the run found out; the bound is on a density of pixels in [0, 1], in nats an image."""
    start, q = time.perf_counter(), posteriors(model, test)
    average = average_face(train)
    return {
        "parameters": sizes(model),
        "test": {"images": len(test)} | bound(evaluate(model, test, seed=e.seed)),
        "pixel_error": {
            "test": pixel_error(test.read(), reconstructions(model, q.mean)),
            "of the average face": pixel_error(test.read(), average),
        },
        "noise": model.likelihood.scale.item(),
        "active_units": int(active_units(q).sum()),
        "kl_by_latent": [round(nats, 4) for nats in kl_by_coordinate(q, model.prior()).mean(0).tolist()],
        "curve": [{"step": step} | bound(terms) for step, terms in history.test],
        "seconds": seconds(history, start),
    }


def _files(model: VAE, train: Images, test: Images, e: Faces) -> dict[str, bytes]:
    """Sheets of samples and of reconstructions, the decoder if it is small, and codes for it."""
    shown, columns = posteriors(model, test.first(SHOWN)).mean, 8
    mean, axes = principal_axes(posteriors(model, train).mean, AXES)
    architecture = {"shape": train.shape, "latents": e.latents, "width": e.width}
    decoder = recording.decoder_bytes(model.decoder, architecture)
    small = {"decoder.safetensors": decoder} if len(decoder) <= recording.LARGEST_DECODER else {}
    samples = recording.prior_means(model, SHOWN, seed=e.seed)
    return {
        "samples.jpg": recording.color_sheet(samples, columns=columns),
        "reconstructions.jpg": recording.color_sheet(reconstructions(model, shown), columns=columns),
        "codes.safetensors": recording.codes_bytes(faces=shown, mean=mean, axes=axes),
        **small,
    }


def principal_axes(codes: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The mean (L,) of codes (N, L), and the n directions (n, L) in which they vary most.

    Each is as long as the codes' standard deviation along it; its largest number is positive.
    """
    mean = codes.mean(0)
    _, spread, directions = (
        part.to(mean) for part in torch.linalg.svd((codes - mean).cpu(), full_matrices=False)
    )
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    axes = directions * largest.sign() * spread[:, None] / (len(codes) - 1) ** 0.5
    return mean, axes[:n]
