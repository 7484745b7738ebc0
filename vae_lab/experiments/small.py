"""Small VAEs of small digits, many of which can be trained in a minute."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lab.data import Images, from_floats
from vae_lab.devices import seed_all
from vae_lab.models import VAE
from vae_lab.nets import mlp_decoder, mlp_encoder


class Variant(NamedTuple):
    """One of the things that are compared.

    encoder, decoder : sizes of the hidden layers
    latents : how many
    start : "default" for PyTorch's starting weights, "scaled" for those of He et al. (2015)
    objective : one of `budgets.OBJECTIVES`
    """

    name: str
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    latents: int
    start: str = "default"
    objective: str = "none"


def halved(images: Images) -> Images:
    """Half the side, every pixel black or white."""
    x = F.avg_pool2d(images.read(), 2) > 0.5
    return from_floats(x.float(), images.labels)


def build(variant: Variant, shape, seed: int) -> VAE:
    """The untrained model of a variant and a seed."""
    seed_all(seed)
    encoder = mlp_encoder(shape, 2 * variant.latents, hidden=variant.encoder)
    model = VAE(encoder, mlp_decoder(variant.latents, shape, hidden=variant.decoder), variant.latents)
    if variant.start == "scaled":
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
    return model


@torch.no_grad()
def copy_error(model: VAE, x: Tensor) -> float:
    """The squared error of copies decoded from mean codes, averaged over images."""
    return (x - model.decode(model.encode(x).mean).mean).square().flatten(1).sum(1).mean().item()
