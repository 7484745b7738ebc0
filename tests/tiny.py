"""Models and images small enough to train in a blink, for tests of training and their programs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_lab.data import Images
from vae_lab.models import VAE, Autoencoder
from vae_lab.nets import mlp_decoder, mlp_encoder
from vae_lab.training import loop

SHAPE = (1, 4, 4)
QUICK = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-2}  # 64 patterns: 3 steps an epoch, 9 in all


class Level(NamedTuple):
    """An objective of one term."""

    level: Tensor

    @property
    def value(self) -> Tensor:
        return self.level


def new_vae(seed: int = 0, hidden: tuple[int, ...] = (8,)) -> VAE:
    torch.manual_seed(seed)
    return VAE(mlp_encoder(SHAPE, 4, hidden=hidden), mlp_decoder(2, SHAPE, hidden=hidden), 2)


def new_autoencoder(hidden: tuple[int, ...] = ()) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(mlp_encoder(SHAPE, 2, hidden=hidden), mlp_decoder(2, SHAPE, hidden=hidden))


def weights(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def gray(n: int = 64, seed: int = 0) -> Images:
    """n gray images of SHAPE: one of two gradients each, and noise."""
    g = torch.Generator().manual_seed(seed)
    ramps = torch.stack([torch.linspace(0, 150, 16), torch.linspace(200, 50, 16)])
    labels = torch.arange(n) % 2
    pixels = ramps[labels] + 50 * torch.rand(n, 16, generator=g)
    return Images(pixels.to(torch.uint8).view(n, *SHAPE), labels)


@contextmanager
def at_step(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Call `act` at the beginning of a training step, counted from 1, without objective or model knowing."""
    plain, taken = loop.ascend, []

    def watched(*args, **options):
        taken.append(None)
        if len(taken) == number:
            act()
        return plain(*args, **options)

    loop.ascend = watched
    try:
        yield
    finally:
        loop.ascend = plain


def same_but_for_time(a, b) -> bool:
    """Whether two histories tell the same."""
    return (a.terms, a.test) == (b.terms, b.test)
