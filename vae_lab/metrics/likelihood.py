"""log p(x) of images that a model has never seen, by importance sampling."""

from math import log

import torch
from torch import Tensor, nn

from vae_lab import devices
from vae_lab.arguments import Count, Seed, VAELike, checked, finite
from vae_lab.data import ImagesLike
from vae_lab.estimators import require_batch
from vae_lab.models import check_decoder, evaluating
from vae_lab.objectives import require_same_shape

CHUNK_SIZE = 1000  # codes drawn together; also what `evaluate` reads at once


@checked
@torch.no_grad()
def log_likelihood(
    model: VAELike,
    images: ImagesLike,
    *,
    n_samples: Count = 1000,
    seed: Seed = 0,
    chunk_size: Count = CHUNK_SIZE,
) -> Tensor:
    """log p(x) ≈ log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) with z_k ~ q(z|x) (Burda et al. 2016, eq. 8).

    Its mean over draws never exceeds log p(x), rises with K and tends to log p(x) (their theorem 1).

    images : read once each, so the dynamic view draws one x an image, the same for every K
    n_samples : K, the draws of a code for each image
    seed : of the images' draws, as in `training.evaluate`; seed + 1 is that of the codes
    chunk_size : codes to decode at once, fewer for less memory: 1,000 MNIST digits take some 30 MB. The
        draws do not depend on it, the result only by rounding

    Returns nats, one number an image, of shape (N,) on the model's device. Leaves the mode of the model and
    torch's random numbers as they were. Raises `NotFiniteError` if an estimate is not finite.
    """
    images = images.to(devices.of(model))
    if getattr(model, "batch_shape", ()):
        raise ValueError("model must be a single one, got an ensemble; take its members() one by one")
    check_decoder(model)
    generator, group = torch.Generator(images.device).manual_seed(seed), _group(n_samples)
    # Filled in place: results kept one by one would lie between the large blocks that are freed, and hold on
    # to the memory of every one of them (18 GB for 10,000 digits of 5,000 codes each).
    found, done = None, 0
    with evaluating(model, seed + 1):  # the same seed would tie codes to pixels
        for start in range(0, len(images), CHUNK_SIZE):
            for x in images.read(slice(start, start + CHUNK_SIZE), generator).split(group):
                part = _log_mean_weight(model, x, n_samples, chunk_size)
                found = part.new_empty(len(images)) if found is None else found
                found[done : done + len(x)] = part
                done += len(x)
    return finite("log p(x)", found, "look at data and model; did training diverge?")


def _group(n_samples: int) -> int:
    """How many images to draw codes for together: up to 100, and no more than `CHUNK_SIZE` codes."""
    return max(1, min(100, CHUNK_SIZE // n_samples))


def _log_mean_weight(model: nn.Module, x: Tensor, n_samples: int, chunk_size: int) -> Tensor:
    """log 1/K Σ_k w_k for images x (B, C, H, W), shape (B,), from blocks of `CHUNK_SIZE` codes."""
    q_z, block = require_batch("model.encode", model.encode(x), (len(x),)), max(1, CHUNK_SIZE // len(x))
    log_sum = None  # (B,)
    for start in range(0, n_samples, block):
        z = q_z.sample((min(block, n_samples - start),))  # (k, B, L)
        for part in z.split(max(1, chunk_size // len(x))):
            total = _log_weights(model, x, q_z, part).logsumexp(0)
            log_sum = total if log_sum is None else log_sum.logaddexp(total)
    return log_sum - log(n_samples)


def _log_weights(model: nn.Module, x: Tensor, q_z, z: Tensor) -> Tensor:
    """log p(x|z) + log p(z) − log q(z|x) for codes z (K, B, L), shape (K, B)."""
    p_x = require_batch("model.decode", model.decode(z), z.shape[:-1])
    prior = require_batch("model.prior", model.prior(), (), q_z.event_shape)
    require_same_shape(p_x.event_shape, x.shape[1:])
    return p_x.log_prob(x) + prior.log_prob(z) - q_z.log_prob(z)
