"""A classifier trained here, whose features judge drawings where no larger network is at hand."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lab import devices, nets
from vae_lab.arguments import Count, Positive, Seed, checked, finite
from vae_lab.data import ImagesLike
from vae_lab.models import through

BATCH = 128  # images a step


class Classifier(nn.Module):
    """A small convolutional network that names what an image shows, by features that judge other models.

    shape : (C, H, W) of its images; classes : how many labels it tells apart; features : F, the numbers
        before the last layer
    """

    @checked
    def __init__(self, shape: nets.Shape, classes: Count, *, features: Count = 32):
        super().__init__()
        self.body = nets.conv_encoder(shape, features, width=8)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(features, classes))

    @checked
    def features(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) → features (B, F)."""
        return through(self.body, x, "classifier", "images")

    @checked
    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) → logits (B, classes)."""
        return self.head(self.features(x))


@checked
def fit_classifier(
    images: ImagesLike,
    *,
    features: Count = 32,
    steps: Count = 400,
    learning_rate: Positive = 5e-3,
    seed: Seed = 0,
) -> Classifier:
    """A `Classifier` that minimizes the cross-entropy of the labels, then frozen, in evaluation mode.

    steps : of Adam under a one-cycle rate, each on 128 images drawn at random

    Leaves torch's random numbers as they were. Raises `ValueError` for images of fewer than two classes, and
    `NotFiniteError` if training diverges.
    """
    device, classes = images.device, int(images.labels.max()) + 1
    if images.labels.unique().numel() < 2 or images.labels.min() < 0:
        raise ValueError(
            "images must have labels from 0 on, at least two of them to tell apart; see images.labels"
        )
    if classes > len(images):
        raise ValueError(
            f"images must have labels below their number, {len(images)}, got {classes - 1}; count them from "
            "0 on, by labels.unique(return_inverse=True)[1]"
        )
    generator = torch.Generator(device).manual_seed(seed)
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        model = Classifier(images.shape, classes, features=features).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        for _ in range(steps):
            index = torch.randint(len(images), (BATCH,), generator=generator, device=device)
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(images.read(index, generator)), images.labels[index])
            loss.backward()
            optimizer.step()
            schedule.step()
    finite("the cross-entropy", loss.detach(), "try a learning rate ten times smaller")
    return model.eval().requires_grad_(False)
