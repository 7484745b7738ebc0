"""The paper's other autoencoder: convolutional, without a distribution, on gray faces."""

import time
from pathlib import Path

import torch

from vae_lab.data import Images
from vae_lab.devices import seed_all
from vae_lab.experiments import recording, sources
from vae_lab.experiments.faces import SHOWN, OfFaces, average_face, pixel_error
from vae_lab.experiments.recipe import fit_complete
from vae_lab.experiments.scalars import seconds, sizes
from vae_lab.models import Autoencoder
from vae_lab.nets import Shape, conv_decoder, conv_encoder
from vae_lab.objectives import squared_error


class GrayAutoencoder(OfFaces):
    """An autoencoder of gray images that minimizes the squared error."""

    def run(self, train: Images, test: Images, folder: Path) -> tuple[dict, dict[str, bytes]]:
        """Train, with a checkpoint in `folder`, and measure: what was found, and a sheet of held-out ones."""
        train, test = sources.gray(train), sources.gray(test).to(train.pixels.device)
        seed_all(self.seed)
        model = build(self, train.shape).to(train.pixels.device)
        checkpoint = folder / "checkpoint.safetensors"
        history = fit_complete(
            model,
            train.mirrored(),
            squared_error,
            recipe=self,
            seed=self.seed,
            test=test,
            checkpoint=checkpoint,
        )
        return _measure(model.eval(), train, test, history)


def build(e: GrayAutoencoder, shape: Shape) -> Autoencoder:
    """The untrained model of an experiment, for images of `shape`; a sigmoid keeps pixels in [0, 1]."""
    decoder = conv_decoder(e.latents, shape, width=e.width)
    return Autoencoder(conv_encoder(shape, e.latents, width=e.width), decoder.append(torch.nn.Sigmoid()))


@torch.no_grad()
def _measure(model: Autoencoder, train: Images, test: Images, history) -> tuple[dict, dict[str, bytes]]:
    start, x = time.perf_counter(), test.read()
    average = average_face(train)
    copies = model.decode(model.encode(x)).cpu()
    found = {
        "parameters": sizes(model),
        "pixel_error": {
            "test": pixel_error(x, copies),
            "of the average face": pixel_error(x, average),
        },
        "curve": [
            {"step": step, "pixel_error": terms.squared_error / x[0].numel()} for step, terms in history.test
        ],
        "seconds": seconds(history, start),
    }
    return found, {"reconstructions.png": recording.sheet(copies[:SHOWN], columns=8)}
