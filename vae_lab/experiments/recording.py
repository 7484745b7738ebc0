"""What an experiment leaves behind: its figures, a sheet of samples and its decoder, whole or not at all."""

import hashlib
import io
import json
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import vae_lab
from vae_lab import devices
from vae_lab.data import Dataset
from vae_lab.files import raw_bytes, replace_files
from vae_lab.records import RecordError

LARGEST_DECODER = 1_000_000  # bytes; a larger one is not kept
OWN = (
    "metrics.json",
    "samples.*",
    "reconstructions.*",
    "decoder.safetensors",
    "codes.safetensors",
    "checkpoint*",
)


def provenance(dataset: Dataset, device: torch.device) -> dict:
    """On which data, by which software and on which machine a figure was found."""
    pixels = hashlib.sha256()
    for images in (dataset.train, dataset.test):
        pixels.update(raw_bytes(images.pixels))
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


def decoder_bytes(decoder: nn.Module, architecture: dict) -> bytes:
    """The weights in float16, as a safetensors file that says how to build the decoder."""
    from safetensors.torch import save

    half = {name: tensor.detach().cpu().half() for name, tensor in decoder.state_dict().items()}
    return save(half, {"architecture": json.dumps(architecture)})


@torch.no_grad()
def prior_means(model, n: int, *, seed: int = 0) -> Tensor:
    """The means of p(x|z) for n draws of z from N(0, I): (n, C, H, W) on the CPU."""
    z = torch.randn(n, model.latents, generator=torch.Generator().manual_seed(seed))
    return model.eval().decode(z.to(devices.of(model))).mean.cpu()


def sheet(x: Tensor, *, columns: int = 12) -> bytes:
    """Gray images (N, 1, H, W) in rows, as a PNG in which a pixel is two wide and two high."""
    return _picture(_grid(x, columns)[..., 0].repeat(2, 0).repeat(2, 1), "png", optimize=True)


def color_sheet(x: Tensor, *, columns: int = 12) -> bytes:
    """Color images (N, 3, H, W) in rows, as a JPEG that keeps what can be seen, in a fraction of a PNG."""
    return _picture(_grid(x, columns), "jpeg", quality=92, subsampling=0, optimize=True)


def _grid(x: Tensor, columns: int) -> np.ndarray:
    """Images (N, C, H, W) side by side, uint8 of shape (H', W', 3)."""
    from torchvision.utils import make_grid

    return make_grid(x.cpu(), columns, padding=1).mul(255).round().byte().permute(1, 2, 0).numpy()


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
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{recorded} is no record; move it away, or choose another folder with --out"
        ) from error
    if scale == "quick" and there == "full":
        raise RecordError(f"{folder} holds a full run, which a quick one must not replace; leave out --out")


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Put the files of a record in place of those of an earlier one, whose checkpoints are removed.

    Raises `RecordError` if that fails; the folder is then as it was.
    """
    try:
        replace_files(folder, files, own=OWN)
    except OSError as error:
        raise RecordError(
            f"cannot write to {folder} ({error.strerror or error}); make room and start the same command "
            "again"
        ) from error
