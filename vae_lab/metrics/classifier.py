"""A classifier trained here, whose features judge drawings where no larger network is at hand."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lab import devices, nets
from vae_lab.data import Images


class Classifier(nn.Module):
    """A small convolutional network that names what an image shows, by features that judge other models.

    shape : (C, H, W) of its images; classes : how many names it knows; features : F, the numbers before
        the last layer
    """

    def __init__(self, shape: nets.Shape, classes: int, *, features: int = 32):
        super().__init__()
        self.body = nets.conv_encoder(shape, features, width=8)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(features, classes))

    def features(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) → features (B, F)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) → logits (B, classes)."""
        return self.head(self.features(x))


def fit_classifier(
    images: Images, *, features: int = 32, steps: int = 400, learning_rate: float = 5e-3, seed: int = 0
) -> Classifier:
    """A `Classifier` that minimizes the cross-entropy of the labels, then frozen, in evaluation mode.

    steps : of Adam under a one-cycle rate, each on 128 images drawn at random

    Leaves torch's random numbers as they were. Raises `ValueError` for images of fewer than two classes.
    """
    device, classes = images.pixels.device, int(images.labels.max()) + 1
    if images.labels.unique().numel() < 2:
        raise ValueError("every image has the same label; a classifier needs at least two to tell apart")
    generator = torch.Generator(device).manual_seed(seed)
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        model = Classifier(images.shape, classes, features=features).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        for _ in range(steps):
            index = torch.randint(len(images), (128,), generator=generator, device=device)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images.read(index, generator)), images.labels[index]).backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)
