"""What samples are worth: the measures by which models of the same faces are compared."""

from functools import partial

import torch
from torch import Tensor

from vae_lab import devices
from vae_lab.data import Images
from vae_lab.experiments.faces import pixel_error, reconstructions
from vae_lab.experiments.judge import fit_judge, judged, seen_by
from vae_lab.metrics import (
    InceptionUnavailable,
    frechet_distance,
    inception_features,
    kernel_distance,
    nearest_distance,
    precision_recall,
)
from vae_lab.models import VAE
from vae_lab.objectives import elbo
from vae_lab.priors import posteriors
from vae_lab.training import evaluate


class Comparison:
    """One judge and one set of held-out faces for all models.

    drawn : how many samples of each model are judged; steps : of training for the judge
    """

    def __init__(self, train: Images, test: Images, *, drawn: int, steps: int):
        self.drawn, self.test = drawn, test
        self.judge = fit_judge(train, steps=steps)
        self.held_out, self.known = test.read().cpu(), train.read().cpu()
        self.real, self.real_of_inception = seen_by(self.judge, self.held_out), _inception(self.held_out)
        self.trust = judged(self.judge, self.known[:drawn], test)

    def sampled(self, model, seed: int) -> tuple[dict, Tensor]:
        """What a model's samples are worth, and its bound under its prior; and the samples."""
        terms = evaluate(model, self.test, partial(elbo, analytic=False), seed=seed)
        x = draw(model, self.drawn, seed=seed)
        few = x[: len(self.held_out)]
        among = precision_recall(self.real, seen_by(self.judge, few))
        row = {
            "negative_elbo": -terms.value,
            "log_lik": terms.log_lik,
            "kl": terms.kl,
            "precision": among.precision,
            "recall": among.recall,
            "nearest": self.nearest(few),
        }
        return self.distances(x) | row, x

    def copied(self, vae: VAE, codes: Tensor) -> dict:
        """The same distances for reconstructions of training faces from their codes (N, L), the best that a
        prior can hope for; and the pixel error of held-out faces."""
        copies = reconstructions(vae, posteriors(vae, self.test).mean)
        error = pixel_error(self.held_out, copies)
        return self.distances(reconstructions(vae, codes[: self.drawn])) | {"pixel_error": error}

    def distances(self, x: Tensor) -> dict:
        """Fréchet and kernel distance of images from the held-out faces, in the judge's features.

        And the FID, the Fréchet distance in Inception's features, where its weights are there.
        """
        features = seen_by(self.judge, x)
        kernel = kernel_distance(features, self.real)
        found = {
            "frechet": frechet_distance(features, self.real),
            "kernel": kernel.value,
            "kernel_error": kernel.error,
        }
        if self.real_of_inception is None:
            return found
        return found | {"fid": frechet_distance(inception_features(x), self.real_of_inception)}

    def nearest(self, x: Tensor) -> float:
        """The mean over images of the root mean squared difference from the nearest training face."""
        return nearest_distance(x, self.known).mean().item() / x[0].numel() ** 0.5


def _inception(x: Tensor) -> Tensor | None:
    """Inception's features of images, or None where its weights are not."""
    try:
        return inception_features(x)
    except InceptionUnavailable as error:
        print(f"No FID: {error}")
        return None


@torch.no_grad()
def draw(model, n: int, *, seed: int, chunk_size: int = 250) -> Tensor:
    """The means of p(x|z) for n draws of z from the model's own prior, (n, C, H, W) on the CPU."""
    device = next(model.parameters()).device
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        z = model.prior().sample((n,))
        return torch.cat([model.decode(part).mean.cpu() for part in z.split(chunk_size)])
