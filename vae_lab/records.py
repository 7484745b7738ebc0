"""What recorded runs found: the figures and files that come with the package, to read.

`experiments.recording` writes them: metrics.json, every figure with what it takes to find it again;
samples.png or, in color, samples.jpg; decoder.safetensors, the decoder's weights in float16 with its
architecture; of faces also reconstructions and codes.safetensors, codes to start from.
"""

import json
from pathlib import Path
from typing import Annotated

from torch import nn

from vae_lab.arguments import Count, Natural, checked, choice, finite, one_line
from vae_lab.nets import Shape, Sizes, conv_decoder, mlp_decoder

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class RecordError(RuntimeError):
    """Results that do not exist, cannot be written, or must not be replaced; the message says what to do."""


@checked
def recorded(name: str, file: str = "metrics.json") -> Path:
    """A file of a recorded run, of those that come with the package: metrics.json and the .safetensors.

    Raises `RecordError` if there is no such file.
    """
    here = Path(__file__).parent
    inside, beside = here / "results", here.parent / "book/results"  # installed; in the repository
    folder = inside if inside.is_dir() else beside
    paths = [path for path in folder.glob("*/*") if file == path.name or name == path.parent.name]
    there = sorted(path.parent.name for path in paths if path.name == file)
    if name not in there and (others := sorted(p.name for p in paths if p.parent.name == name)):
        raise RecordError(f"the recorded run {name!r} has no file {file!r}; it has {', '.join(others)}")
    if name not in there:
        raise RecordError(
            f"no recorded run {name!r} with a {file}; choose one of {', '.join(there) or 'none'}"
        )
    return folder / name / file


@checked
def metrics(name: str) -> dict:
    """What a recorded run found: its metrics.json."""
    return json.loads(recorded(name).read_text("utf8"))


@checked
def build_decoder(
    *,
    shape: Shape,
    latents: Count,
    hidden: Sizes = (),
    width: Natural = 0,
    activation: Annotated[str, choice(*ACTIVATIONS)] = "relu",
) -> nn.Sequential:
    """A decoder from its description in plain numbers; convolutional if it has a `width`."""
    unit = ACTIVATIONS[activation]
    if width and hidden:
        raise ValueError("hidden is for decoders without a width, got both; leave one out")
    if width:
        return conv_decoder(latents, shape, width=width, activation=unit)
    return mlp_decoder(latents, shape, hidden=hidden, activation=unit)


@checked
def load_decoder(path: Path | str) -> nn.Sequential:
    """The decoder that a run wrote: codes (B, L) → logits (B, C, H, W).

    Raises `RecordError` for any other file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            decoder = build_decoder(**json.loads(file.metadata()["architecture"]))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no dict)
        decoder.load_state_dict(weights)
        finite(
            "the decoder's weights", nn.utils.parameters_to_vector(decoder.parameters()), "the run diverged"
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RecordError(
            f"{path} cannot be read as a decoder ({one_line(error)}); record it again"
        ) from error
    return decoder.eval()
