"""A decoder, or another network, as layers and weights that `decoder.js` runs in the browser."""

from math import floor, log2
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vae_lab.arguments import Count, checked, one_line, shown
from vae_lab.multirate import Gate, Gated
from vae_lab.nets import Expect, Sizes

LARGEST = 65504.0  # of the finite float16 numbers
SMALL = 2.0**-12  # where all of a tensor is below, float16 would keep fewer digits of it
SUPPORTED = (
    "Linear, ConvTranspose2d, Conv2d, Upsample (nearest), ReLU, LeakyReLU, SiLU, Tanh, Sigmoid, "
    "Identity, Flatten and Unflatten, in nn.Sequential, also with gates (multirate.Gated)"
)


class Export(NamedTuple):
    """A network ready to travel.

    layers : one JSON object a layer, in order: its name ("op"), sizes and options; "scales", what its weights
        are to be multiplied by, where float16 would not reach
    weights : all weights and biases in the same order, float16, little endian
    shape : of what comes out, (C, H, W) for an image
    """

    layers: list[dict]
    weights: bytes
    shape: tuple[int, int, int]


class _Step(NamedTuple):
    options: dict
    weights: tuple[Tensor, ...] = ()


@checked
def export(decoder: nn.Module, latents: Count) -> Export:
    """Write down what `decoder` computes from a code (L,) to an image (C, H, W), C 1 or 3.

    Weights are rounded to float16. Raises `ValueError` for a layer the page cannot run, for a weight that
    is not finite, and for an output that is no image.
    """
    if latents != latents_of(decoder):
        takes = latents_of(decoder)
        raise ValueError(f"latents must be {takes}, as many numbers as the decoder takes, got {latents}")
    layers, weights, shape = export_network(decoder, (latents,))
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            f"the decoder gives shape {shape}, but a picture is (1 or 3, H, W); "
            "end it with nn.Unflatten(1, (C, H, W))"
        )
    return Export(layers, weights, shape)


@checked
def export_network(network: nn.Module, takes: Sizes) -> Export:
    """Write down what `network`, such as an encoder, computes from one example of shape `takes`.

    Weights are rounded to float16. Raises `ValueError` for a layer the page cannot run, and for a weight
    that is not finite.
    """
    first = next(network.parameters(), None)
    if first is None:
        raise ValueError(f"network must have a layer with weights, such as nn.Linear, got {shown(network)}")
    x, steps = torch.zeros(2, *takes, dtype=first.dtype, device=first.device), []
    with torch.no_grad():
        for layer in _flat(network):
            try:
                y = x if isinstance(layer, Gate) else layer(x)  # a gate keeps the shape, and needs a place t
            except (RuntimeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"the network must take what `takes` says, {shown(takes)}, but {layer} cannot take what "
                    f"comes before it, of shape {tuple(x.shape[1:])}: {one_line(error)}"
                ) from error
            if step := _step(layer, x, y):
                steps.append(step)
            x = y
    layers, weights = [], []
    for step in steps:
        halves = [to_halves(weight.detach().cpu().double().numpy()) for weight in step.weights]
        scales = [scale for _, scale in halves]
        layers.append(step.options | ({"scales": scales} if set(scales) - {1.0} else {}))
        weights += [half for half, _ in halves]
    return Export(layers, b"".join(weights), tuple(x.shape[1:]))


@checked
def latents_of(decoder: nn.Module) -> int:
    """L, as many numbers as the decoder's first layer with weights takes."""
    for layer in _flat(decoder):
        for size in ("in_features", "in_channels"):
            if hasattr(layer, size):
                return getattr(layer, size)
    raise ValueError("the decoder has no layer with weights; expected one that starts with nn.Linear(L, …)")


def _flat(module: nn.Module) -> list[nn.Module]:
    """The layers inside nested `nn.Sequential`s and gated bodies, in order; refuses what changes them."""
    changed = "forward" in vars(module) or type(module).forward is not _kind(module).forward
    if changed or module._forward_hooks or module._forward_pre_hooks:
        raise ValueError(
            f"the page cannot run {type(module).__name__} with a forward or hooks of its own; it can run "
            f"{SUPPORTED}"
        )
    if isinstance(module, Gated):
        return list(module.layers)
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _flat(child)]
    return [module]


def _kind(module: nn.Module) -> type:
    """The layer of torch or of this package that this is, or from which it is derived."""
    ours = ("torch.nn.modules.", Gated.__module__, Expect.__module__)
    return next(base for base in type(module).__mro__ if base.__module__.startswith(ours))


def _step(layer: nn.Module, x: Tensor, y: Tensor) -> _Step | None:
    """What the page has to do for one layer that made `y` from `x`; nothing if only the shape changes."""
    match layer:
        case nn.Identity() | nn.Flatten() | nn.Unflatten() | Expect():
            return None
        case Gate():
            hidden, out = layer.hidden, layer.out
            sizes = {"width": hidden.out_features, "features": out.out_features // 2}
            return _Step({"op": "gate", **sizes}, (hidden.weight, hidden.bias, out.weight, out.bias))
        case nn.ReLU() | nn.SiLU() | nn.Tanh() | nn.Sigmoid():
            return _Step({"op": _kind(layer).__name__.lower()})
        case nn.LeakyReLU():
            return _Step({"op": "leaky_relu", "slope": layer.negative_slope})
        case nn.Linear() if x.ndim == 2:
            return _Step(
                {"op": "linear", "in": layer.in_features, "out": layer.out_features},
                _weights(layer, layer.out_features),
            )
        case nn.ConvTranspose2d() | nn.Conv2d() if _plain(layer):
            return _convolution(layer, x, y)
        case nn.Upsample(mode="nearest") if y.shape[2] % x.shape[2] == 0 and y.shape[3] % x.shape[3] == 0:
            return _Step({"op": "upsample", "in": list(x.shape[1:]), "out": list(y.shape[1:])})
    raise ValueError(f"the page cannot run {layer} on shape {tuple(x.shape[1:])}; it can run {SUPPORTED}")


def _convolution(layer: nn.ConvTranspose2d | nn.Conv2d, x: Tensor, y: Tensor) -> _Step:
    options = {
        "op": "conv_transpose" if isinstance(layer, nn.ConvTranspose2d) else "conv",
        "in": list(x.shape[1:]),
        "out": list(y.shape[1:]),
        "kernel": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
    }
    return _Step(options, _weights(layer, layer.out_channels))


def _plain(layer: nn.ConvTranspose2d | nn.Conv2d) -> bool:
    """Whether a convolution is of the kind the page knows: one group, no dilation, zeros around."""
    zeros = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return zeros and layer.groups == 1 and tuple(layer.dilation) == (1, 1)


def _weights(layer: nn.Module, outputs: int) -> tuple[Tensor, Tensor]:
    """Weight and bias; zeros for a bias that is not there."""
    bias = layer.bias if layer.bias is not None else torch.zeros(outputs)
    return layer.weight, bias


def to_halves(numbers: np.ndarray) -> tuple[bytes, float]:
    """Numbers as float16, little endian, and what to multiply them by: a power of two, mostly 1."""
    largest = np.abs(numbers).max(initial=0)
    if not np.isfinite(largest):
        raise ValueError(
            f"a weight of {largest:.3g} does not fit into float16; train with a smaller learning rate"
        )
    serves = largest == 0 or SMALL <= largest <= LARGEST
    scale = 1.0 if serves else 2.0 ** floor(log2(largest))
    return (numbers / scale).astype("<f2").tobytes(), scale
