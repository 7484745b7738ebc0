"""A model that learned in a reader's page, taken home: its file as the package's own VAE.

The page writes safetensors in float32, with the names that `models.VAE` of dense networks has. Its metadata
hold "vae_lab_lab", the settings in JSON as the page names them, and "steps", how many were done.
"""

import json
import os
from dataclasses import MISSING, dataclass, fields
from math import isqrt, prod
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from vae_lab.arguments import check_fields, checked, choice, one_line, several, whole, written
from vae_lab.files import DamagedFileError
from vae_lab.likelihoods import Bernoulli, Gaussian, Scale
from vae_lab.models import VAE
from vae_lab.nets import mlp, mlp_decoder, mlp_encoder

KEY = "vae_lab_lab"
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
MEANS = {"identity": nn.Identity, "sigmoid": lambda: torch.sigmoid}
LAYERS = 4  # at most, and their widths, as in learning/settings.js
Widths = Annotated[tuple[int, ...], several(whole(1, 1024))]
Axes = Annotated[tuple[int, ...], several(whole(1, 4096))]


@checked
def load(path: Path | str) -> VAE:
    """The model in a file that the page wrote, with its weights, in evaluation mode.

    Points go in as (B, D), images as (B, C, H, W): of the settings' shape, or else a square of one channel
    where D is a square number.

    Raises `DamagedFileError` for a file that cannot be read, that is none of the lab, or whose tensors are
    not those of its settings or not finite.
    """
    return _model(_bytes(path), written(path))


@checked
def loads(content: bytes) -> VAE:
    """The model in the content of such a file; as `load`."""
    return _model(content, "the content")


@checked
def settings(path: Path | str) -> dict:
    """The settings of a file that the page wrote, as the page names them, and "steps", how many were done.

    Raises `DamagedFileError` as `load` does.
    """
    return _opened(_bytes(path), written(path))[1]


def _model(content: bytes, name: str) -> VAE:
    tensors, chosen = _opened(content, name)
    try:
        model = _built(chosen)
    except KeyError as error:
        raise _of_none(name, f"its settings have no {error}") from error
    except (TypeError, ValueError) as error:
        raise _of_none(name, f"of its settings, {one_line(error)}") from error
    _require_fit(tensors, model, name)
    model.load_state_dict(tensors)
    return model.eval()


def _bytes(path: Path) -> bytes:
    if os.path.exists(path) and not os.path.isfile(path):  # from a pipe nothing may ever come
        raise DamagedFileError(f"{written(path)} cannot be read (it is no file)")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedFileError(f"{written(path)} cannot be read ({error.strerror or error})") from error


def _opened(content: bytes, name: str) -> tuple[dict[str, Tensor], dict]:
    """The tensors, and the settings with the steps."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: of a type that torch does not have
        raise DamagedFileError(f"{name} cannot be read ({one_line(error)}); save it again") from error
    length = int.from_bytes(content[:8], "little")
    about = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    try:
        chosen, steps = json.loads(about[KEY]), int(about["steps"])
    except KeyError as error:
        raise _of_none(name, f"its metadata have no {error}") from error
    except (ValueError, RecursionError) as error:
        raise _of_none(name, f"its metadata are damaged ({one_line(error)})") from error
    if not isinstance(chosen, dict):
        raise _of_none(name, "its settings are no table")
    return tensors, {**chosen, "steps": steps}


@dataclass(frozen=True)
class _Model:
    """What makes the model, of the settings; named and limited as in learning/settings.js."""

    dims: Annotated[int, whole(1, 4096)]
    hidden: Widths
    latents: Annotated[int, whole(1, 8)]
    activation: Annotated[str, choice(*ACTIVATIONS)]
    likelihood: Annotated[str, choice("bernoulli", "gaussian")]
    mean: Annotated[str, choice(*MEANS)]
    scale: Scale
    learnScale: bool
    decoderHidden: Widths | None = None
    shape: Axes | None = None

    def __post_init__(self):
        check_fields(self)
        for name, widths in (("hidden", self.hidden), ("decoderHidden", self.decoderHidden or ())):
            if len(widths) > LAYERS:
                raise ValueError(f"{name} must be at most {LAYERS} widths, got {len(widths)}")
        if self.shape is not None and (len(self.shape) not in (1, 3) or prod(self.shape) != self.dims):
            raise ValueError(f"shape must be D or C, H, W of {self.dims} numbers, got {self.shape}")

    def axes(self) -> tuple[int, ...]:
        """The shape of an example."""
        side = isqrt(self.dims)
        return self.shape or ((1, side, side) if side * side == self.dims > 1 else (self.dims,))


def _built(chosen: dict) -> VAE:
    """A new model of these settings."""
    s = _Model(
        **{f.name: chosen[f.name] if f.default is MISSING else chosen.get(f.name) for f in fields(_Model)}
    )
    shape, unit = s.axes(), ACTIVATIONS[s.activation]
    back = s.hidden[::-1] if s.decoderHidden is None else s.decoderHidden
    if len(shape) == 3:
        encoder = mlp_encoder(shape, 2 * s.latents, hidden=s.hidden, activation=unit)
        decoder = mlp_decoder(s.latents, shape, hidden=back, activation=unit)
    else:  # points, which may be any numbers; the layers have the same names
        layers = mlp((s.dims, *s.hidden, 2 * s.latents), unit)
        encoder = nn.Sequential(nn.Identity(), nn.Flatten(), *layers)
        decoder = mlp((s.latents, *back, s.dims), unit)
    gaussian = s.likelihood == "gaussian"
    p_x = Gaussian(s.scale, learn=s.learnScale, mean=MEANS[s.mean]()) if gaussian else Bernoulli()
    return VAE(encoder, decoder, s.latents, p_x)


def _require_fit(tensors: dict[str, Tensor], model: VAE, name: str) -> None:
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if found := sorted(wanted.keys() ^ tensors.keys()):
        words = "lacks" if found[0] in wanted else "has, beyond its settings,"
        raise DamagedFileError(f"{name} is damaged: it {words} the tensor {found[0]!r}")
    for key, shape in wanted.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            got = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            raise DamagedFileError(f"{name} is damaged: {key!r} must be floats of shape {shape}, got {got}")
        if not tensor.isfinite().all():
            raise DamagedFileError(
                f"{name} holds numbers that are not finite, in {key!r}: the run had failed"
            )


def _of_none(name: str, words: str) -> DamagedFileError:
    return DamagedFileError(f"{name} is no file of the lab: {words}; save the weights in its page")
