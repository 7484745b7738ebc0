"""A classifier that needs no names, to judge faces of a single species by its features.

It learns to tell how a picture was turned and whether it was blurred, a task that makes its own labels
(after Gidaris et al. 2018, who only turn pictures). To know which way is up it has to know how a face is put
together; to notice that a picture was blurred it has to look at what is fine. Distances in its features are
in units of their own, which no other network shares.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lab.data import Images
from vae_lab.metrics import Classifier, fit_classifier, frechet_distance

BLURS = (2, 4, 8)  # widths of the damages that the distance must see, each worse than the one before
NOISES = (0.05, 0.1, 0.2)


def turned_and_blurred(images: Images) -> Images:
    """Every image in eight versions, labeled: by 0 … 3 quarter turns, and from 4 on the same, blurred."""
    blurred = torch.cat([blur(part.float(), 2).round().byte() for part in images.pixels.split(500)])
    versions = [p.rot90(k, (2, 3)) for p in (images.pixels, blurred) for k in range(4)]
    labels = torch.arange(8, device=images.labels.device).repeat_interleave(len(images))
    return Images(torch.cat(versions), labels, images.view)


def blur(x: Tensor, factor: int) -> Tensor:
    """Images (B, C, H, W), shrunk by averaging squares of pixels and enlarged again by interpolation."""
    small = F.avg_pool2d(x, factor)
    return F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)


def fit_judge(images: Images, *, steps: int, seed: int = 0) -> Classifier:
    """The classifier, trained on the versions of these images."""
    return fit_classifier(turned_and_blurred(images), steps=steps, seed=seed)


@torch.no_grad()
def seen_by(judge: Classifier, x: Tensor) -> Tensor:
    """The judge's features of images (N, C, H, W), (N, F), on the CPU."""
    device = next(judge.parameters()).device
    return torch.cat([judge.features(part.to(device)).cpu() for part in x.split(500)])


@torch.no_grad()
def judged(judge: Classifier, train: Tensor, test: Images) -> dict:
    """Whether the judge can be trusted, for the record.

    accuracy : how often it names the version of a held-out image correctly; by chance, 1/8
    train : the Fréchet distance of training images (N, C, H, W) from held-out ones, the least to hope for
    blurred, noisy : that of held-out images damaged more and more; it should rise
    """
    versions, x = turned_and_blurred(test), test.read().cpu()
    named = torch.cat(
        [judge(versions.read(part)).argmax(1) for part in torch.arange(len(versions)).split(500)]
    )
    real, noise = seen_by(judge, x), torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    def away(y: Tensor) -> float:
        return frechet_distance(seen_by(judge, y), real)

    return {
        "accuracy": (named == versions.labels).float().mean().item(),
        "train": away(train),
        "blurred": {str(factor): away(blur(x, factor)) for factor in BLURS},
        "noisy": {str(scale): away((x + scale * noise).clamp(0, 1)) for scale in NOISES},
    }
