"""What a recorded run leaves behind: its figures, a sheet of samples and its decoder, whole or not at all.

`write` puts into a folder: metrics.json, every figure with what it takes to find it again; samples.png or, in
color, samples.jpg; decoder.safetensors, the decoder's weights in float16 with its architecture; of faces also
reconstructions and codes.safetensors, codes to start from.
"""

import hashlib
import io
import json
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import vae_lab
from vae_lab.data import Dataset
from vae_lab.nets import conv_decoder, mlp_decoder

LARGEST_DECODER = 1_000_000  # bytes; a larger one is not kept
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class RecordError(RuntimeError):
    """Results that cannot be written, or must not be replaced; the message says what to do."""


def provenance(dataset: Dataset, device: torch.device) -> dict:
    """On which data a figure was found, by which software, on which machine."""
    pixels = hashlib.sha256()
    for images in (dataset.train, dataset.test):
        pixels.update(memoryview(images.pixels.cpu().contiguous().numpy()))
    return {
        "data": {
            "name": dataset.name,
            "train": len(dataset.train),
            "test": len(dataset.test),
            "sha256": pixels.hexdigest(),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "vae_lab": vae_lab.__version__,
        },
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
        },
    }


def build_decoder(
    *, shape: list[int], latents: int, hidden: list[int] = (), width: int = 0, activation: str = "relu"
) -> nn.Sequential:
    """A decoder from its description in plain numbers; convolutional if it has a `width`."""
    unit = ACTIVATIONS[activation]
    if width:
        return conv_decoder(latents, tuple(shape), width=width, activation=unit)
    return mlp_decoder(latents, tuple(shape), hidden=tuple(hidden), activation=unit)


def decoder_bytes(decoder: nn.Module, architecture: dict) -> bytes:
    """The weights in float16, as a safetensors file that says how to build the decoder."""
    from safetensors.torch import save

    half = {name: tensor.detach().cpu().half() for name, tensor in decoder.state_dict().items()}
    return save(half, {"architecture": json.dumps(architecture)})


def load_decoder(path: Path | str) -> nn.Sequential:
    """The decoder that a run wrote: codes (B, L) → logits (B, C, H, W)."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        decoder = build_decoder(**json.loads(file.metadata()["architecture"]))
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no dict)
    decoder.load_state_dict(weights)
    return decoder.eval()


def recorded(name: str, file: str = "metrics.json") -> Path:
    """A file of a recorded run, of those that come with the package: metrics.json and the .safetensors.

    Raises `RecordError` if there is no such file.
    """
    here = Path(__file__).parent
    inside, beside = here / "results", here.parent / "book/results"  # installed; in the repository
    folder = inside if inside.is_dir() else beside
    if not (folder / name / file).is_file():
        there = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{file}")))
        raise RecordError(f"no recorded run {name!r} with a {file}; choose one of {there or 'none'}")
    return folder / name / file


def figures(name: str) -> dict:
    """What a recorded run found: its metrics.json."""
    return json.loads(recorded(name).read_text("utf8"))


@torch.no_grad()
def prior_means(model, n: int, *, seed: int = 0) -> Tensor:
    """The means of p(x|z) for n draws of z from N(0, I): (n, C, H, W) on the CPU."""
    z = torch.randn(n, model.latents, generator=torch.Generator().manual_seed(seed))
    return model.eval().decode(z.to(next(model.parameters()).device)).mean.cpu()


def sheet(x: Tensor, *, columns: int = 12) -> bytes:
    """Gray images (N, 1, H, W) in rows, as a PNG in which a pixel is two wide and two high."""
    return _picture(_grid(x, columns)[..., 0].repeat(2, 0).repeat(2, 1), "png", optimize=True)


def color_sheet(x: Tensor, *, columns: int = 12) -> bytes:
    """Color images (N, 3, H, W) in rows, as a JPEG that keeps what can be seen, in a fraction of a PNG."""
    return _picture(_grid(x, columns), "jpeg", quality=92, subsampling=0, optimize=True)


def _grid(x: Tensor, columns: int) -> np.ndarray:
    """Images (N, C, H, W) side by side, uint8 of shape (H', W', 3)."""
    from torchvision.utils import make_grid

    return make_grid(x, columns, padding=1).mul(255).round().byte().permute(1, 2, 0).numpy()


def _picture(pixels: np.ndarray, kind: str, **options) -> bytes:
    """The file of a picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def codes_bytes(**codes: Tensor) -> bytes:
    """Named tables of codes in float16, as a safetensors file; `safetensors.torch.load_file` reads them."""
    from safetensors.torch import save

    return save({name: table.detach().cpu().half().contiguous() for name, table in codes.items()})


def as_json(record: dict) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def require_writable(folder: Path, scale: str) -> None:
    """Find out before training that results could not be written, or would replace better ones."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        recorded = folder / "metrics.json"
        there = json.loads(recorded.read_bytes())["scale"] if recorded.exists() else scale
    except OSError as error:
        raise RecordError(
            f"cannot write to {folder} ({error.strerror}); choose another folder with --out"
        ) from error
    if scale == "quick" and there == "full":
        raise RecordError(f"{folder} holds a full run, which a quick one must not replace; leave out --out")


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write every file beside its place, then put all of them there, in their order.

    Raises `RecordError` if that fails; the files from before are then still there.
    """
    aside = {folder / name: folder / f"{name}.part" for name in files}
    try:
        for part, content in zip(aside.values(), files.values(), strict=True):
            part.write_bytes(content)
        for path, part in aside.items():
            os.replace(part, path)
    except OSError as error:
        for part in aside.values():
            part.unlink(missing_ok=True)
        raise RecordError(
            f"cannot write to {folder} ({error.strerror}); make room and start the same command again"
        ) from error
