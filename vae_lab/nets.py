"""Encoder and decoder bodies: plain `nn.Sequential`s from images to numbers and back.

Every body ends in raw numbers, without a squashing function: its user decides what they mean
(codes, means and log-variances, logits). Images are (B, C, H, W), codes (B, L).
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Annotated

from torch import Tensor, nn

from vae_lab.arguments import Count, checked, several, shown, unit_interval, whole

Shape = Annotated[tuple[int, int, int], several(whole(1), 3)]
Sizes = Annotated[tuple[int, ...], several(whole(1))]


def _layer(name: str, value) -> Callable[[], nn.Module]:
    """A class of layers, or a function that makes one."""
    if isinstance(value, nn.Module) or not callable(value):
        raise TypeError(
            f"{name} must be a class of layers such as nn.ReLU, not one of them, got {shown(value)}"
        )
    return value


Activation = Annotated[Callable[[], nn.Module], _layer]


def _new(activation: Callable[[], nn.Module]) -> nn.Module:
    """A layer of this class."""
    try:
        made = activation()
    except TypeError:
        made = None
    if not isinstance(made, nn.Module):
        raise TypeError(
            "activation must make a layer when called without arguments, as nn.ReLU does, "
            f"got {shown(activation)}"
        )
    return made


class Expect(nn.Module):
    """The entrance of an encoder: passes its images on, and refuses anything else in one sentence.

    Their shape is always looked at, their range as `arguments.unit_interval` says.
    """

    @checked
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape or not len(x):
            c, h, w = self.shape
            raise ValueError(
                f"expected images of shape (B, {c}, {h}, {w}), got {tuple(x.shape)}; reshape or resize them"
            )
        if not x.is_floating_point():
            raise TypeError(f"expected float pixels in [0, 1], got {x.dtype}; divide by 255 first")
        return unit_interval("x", x)

    def extra_repr(self) -> str:
        return "B, " + ", ".join(map(str, self.shape))


@checked
def mlp(sizes: Sizes, activation: Activation = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with `activation` between them: (B, sizes[0]) → (B, sizes[-1])."""
    if len(sizes) < 2:
        raise ValueError(f"sizes must be at least two, of what comes in and of what goes out, got {sizes}")
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), _new(activation)]
    return nn.Sequential(*layers[:-1])


@checked
def mlp_encoder(
    shape: Shape, outputs: Count, *, hidden: Sizes = (400,), activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Images (B, C, H, W) → numbers (B, outputs) through fully connected layers."""
    return nn.Sequential(Expect(shape), nn.Flatten(), *mlp((prod(shape), *hidden, outputs), activation))


@checked
def mlp_decoder(
    latents: Count, shape: Shape, *, hidden: Sizes = (400,), activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Codes (B, L) → raw images (B, C, H, W) through fully connected layers."""
    return nn.Sequential(*mlp((latents, *hidden, prod(shape)), activation), nn.Unflatten(1, shape))


@checked
def conv_stages(side: Count) -> int:
    """How often an image side is halved: down to 7 from 28, down to 4 from 32, 64 or 128.

    Raises `ValueError` for a side that does not halve down to between 4 and 7.
    """
    stages, rest = 0, side
    while rest > 7 and rest % 2 == 0:
        stages, rest = stages + 1, rest // 2
    if not 4 <= rest <= 7 or not stages:
        words = f"a side of {side} pixels cannot be halved down to 4 … 7; resize to 28, 32, 64 or 128"
        raise ValueError(words)
    return stages


@checked
def conv_encoder(
    shape: Shape, outputs: Count, *, width: Count = 32, activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Images (B, C, H, W) → numbers (B, outputs): each 4×4 convolution of stride 2 halves the side.

    The channels are `width`, 2 `width`, … up to 8 `width`. H = W is 28, or a power of two such as 32 … 128.
    """
    channels, side = _plan(shape, width)
    layers: list[nn.Module] = [Expect(shape)]
    for c_in, c_out in zip([shape[0], *channels], channels, strict=False):
        layers += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), _new(activation)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side * side, outputs))


@checked
def conv_decoder(
    latents: Count, shape: Shape, *, width: Count = 32, activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Codes (B, L) → raw images (B, C, H, W): the mirror image of `conv_encoder`."""
    channels, side = _plan(shape, width)
    channels = channels[::-1]
    layers: list[nn.Module] = [
        nn.Linear(latents, channels[0] * side * side),
        nn.Unflatten(1, (channels[0], side, side)),
    ]
    for c_in, c_out in zip(channels, [*channels[1:], shape[0]], strict=True):
        layers += [_new(activation), nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


@checked
def parameter_count(module: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _plan(shape: Shape, width: int) -> tuple[list[int], int]:
    """The channels after each halving, and the side that is left."""
    if shape[1] != shape[2]:
        raise ValueError(f"expected square images, got {shape[1]}×{shape[2]}; crop or resize them")
    stages = conv_stages(shape[1])
    return [min(width * 2**i, 8 * width) for i in range(stages)], shape[1] // 2**stages
