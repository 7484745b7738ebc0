"""How good a model is, measured after training on images it has never seen."""

from contextlib import contextmanager
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lab import devices, nets
from vae_lab.data import Images
from vae_lab.objectives import require_same_shape

AT_ONCE = 1000  # codes drawn together; also what `evaluate` reads at once


@torch.no_grad()
def log_likelihood(
    model: nn.Module, images: Images, *, samples: int = 1000, seed: int = 0, at_once: int = AT_ONCE
) -> Tensor:
    """log p(x) ≈ log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) with z_k ~ q(z|x) (Burda et al. 2016, eq. 8).

    Its mean over draws never exceeds log p(x), rises with K and tends to log p(x) (their theorem 1).

    images : read once each, so the dynamic view draws one x an image, the same for every K
    samples : K, the draws of a code for each image
    seed : of the images' draws, as in `training.evaluate`, and, by its successor, of the codes
    at_once : codes to decode at once, fewer for less memory: 1,000 MNIST digits take some 30 MB. The
        draws do not depend on it, the result only by rounding

    Returns nats, one number an image, of shape (N,) on the images' device. Leaves the mode of the model and
    torch's random numbers as they were.
    """
    if samples < 1 or at_once < 1:
        raise ValueError(f"need at least one sample, and one code at once, got {samples=} and {at_once=}")
    generator, group = torch.Generator(images.pixels.device).manual_seed(seed), _group(samples)
    with _undisturbed(model, images.pixels.device, seed + 1):  # the same seed would tie codes to pixels
        return torch.cat(
            [
                _log_mean_weight(model, x, samples, at_once)
                for start in range(0, len(images), AT_ONCE)
                for x in images.read(slice(start, start + AT_ONCE), generator).split(group)
            ]
        )


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


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) of Gaussians fitted to features a (N, F) and b (M, F).

    The squared Wasserstein-2 distance of the two Gaussians (Dowson & Landau 1982); over features of an
    Inception network it is the FID (Heusel et al. 2017). Zero for equal means and covariances, never
    negative, in squared units of a feature. Few rows bias it upward: compare only equal N, and equal M.

    Raises `ValueError` for features that do not match, fewer than two rows, or numbers that are not finite.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"expected features (N, F) and (M, F), at least two rows each, got {tuple(a.shape)} and "
            f"{tuple(b.shape)}; take both from the same layer"
        )
    a, b = (features.detach().cpu().double() for features in (a, b))  # MPS has no double
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("some features are not finite; look at the images before judging them")
    # Σ = RᵀR, so the eigenvalues of Σ_a Σ_b are the squared singular values of R_a R_bᵀ: no matrix root.
    R_a, R_b = (
        torch.linalg.qr((rows - rows.mean(0)) / (len(rows) - 1) ** 0.5, mode="r").R for rows in (a, b)
    )
    overlap = torch.linalg.svdvals(R_a @ R_b.T).sum()
    spread = R_a.square().sum() + R_b.square().sum() - 2 * overlap
    return max(0.0, ((a.mean(0) - b.mean(0)).square().sum() + spread).item())


@torch.no_grad()
def nearest_distance(x: Tensor, others: Tensor, *, at_once: int = AT_ONCE) -> Tensor:
    """min_i ‖x − others_i‖: how far each x (B, …) is from the nearest of others (N, …), of shape (B,).

    For images or for codes; the unit is theirs, a Euclidean length over all their numbers.

    at_once : how many of x to compare with all others at a time
    """
    if x.shape[1:] != others.shape[1:] or not len(others):
        raise ValueError(
            f"expected others like x, at least one, got shapes {tuple(x.shape)} and {tuple(others.shape)}"
        )
    rows, pool = x.flatten(1), others.flatten(1)
    nearest = torch.cat([torch.cdist(block, pool).argmin(1) for block in rows.split(at_once)])
    return (rows - pool[nearest]).norm(dim=1)  # cdist finds the nearest fast, but its zero is not zero


def _group(samples: int) -> int:
    """How many images to draw codes for together: up to 100, and no more than `AT_ONCE` codes."""
    return max(1, min(100, AT_ONCE // samples))


def _log_mean_weight(model: nn.Module, x: Tensor, samples: int, at_once: int) -> Tensor:
    """log 1/K Σ_k w_k for images x (B, C, H, W), shape (B,), from blocks of `AT_ONCE` codes."""
    q_z, block = model.encode(x), max(1, AT_ONCE // len(x))
    log_sum = None  # (B,)
    for start in range(0, samples, block):
        z = q_z.sample((min(block, samples - start),))  # (k, B, L)
        for part in z.split(max(1, at_once // len(x))):
            total = _log_weights(model, x, q_z, part).logsumexp(0)
            log_sum = total if log_sum is None else log_sum.logaddexp(total)
    return log_sum - log(samples)


def _log_weights(model: nn.Module, x: Tensor, q_z, z: Tensor) -> Tensor:
    """log p(x|z) + log p(z) − log q(z|x) for codes z (K, B, L), shape (K, B)."""
    p_x = model.decode(z)
    require_same_shape(p_x.event_shape, x.shape[1:])
    return p_x.log_prob(x) + model.prior().log_prob(z) - q_z.log_prob(z)


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device, seed: int):
    """Evaluation mode and random numbers of our own; all as before afterwards, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
