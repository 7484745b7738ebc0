"""log p(x) of images that a model has never seen, by importance sampling."""

from contextlib import contextmanager
from math import log

import torch
from torch import Tensor, nn

from vae_lab import devices
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
    # Filled in place: results kept one by one would lie between the large blocks that are freed, and hold on
    # to the memory of every one of them (18 GB for 10,000 digits of 5,000 codes each).
    found, done = None, 0
    with _undisturbed(model, images.pixels.device, seed + 1):  # the same seed would tie codes to pixels
        for start in range(0, len(images), AT_ONCE):
            for x in images.read(slice(start, start + AT_ONCE), generator).split(group):
                part = _log_mean_weight(model, x, samples, at_once)
                found = part.new_empty(len(images)) if found is None else found
                found[done : done + len(x)] = part
                done += len(x)
    return found


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
