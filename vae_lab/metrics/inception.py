"""The Fréchet Inception distance of pytorch-fid, from tensors in place of folders.

pytorch-fid's own network does the work, with its weights and its resizing. Without them there is no FID: what
another network's features give is another number, whatever the formula.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections import OrderedDict
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from vae_lab.data import Images, from_floats
from vae_lab.metrics.distances import frechet_distance

DIMS = (64, 192, 768, 2048)  # numbers a picture after Inception's first, second and third stage, and the last
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # the file's name has its start
KEPT = 4  # sets of pictures whose features are kept, each at most 8 kB a picture
ONLY_TENSORS = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}  # pytorch-fid would unpickle whatever a file holds

_features: OrderedDict[tuple, Tensor] = OrderedDict()


class InceptionUnavailable(RuntimeError):
    """No pytorch-fid or no weights for it, so no FID; the message says what to do."""


def fid(real: Images | Tensor, generated: Images | Tensor, *, dims: int = 2048, at_once: int = 50) -> float:
    """The Fréchet distance of Inception features (Heusel et al. 2017), as `python -m pytorch_fid` gives it.

    It is biased upward, the more the fewer pictures: compare only equal numbers of them, and of one size,
    since every picture is resized to 299×299 (bilinear, without antialiasing). Of fewer than 2,048 pictures
    the covariance of 2,048 features is singular; the command's matrix root then rounds, in the fourth decimal
    of a distance of hundreds, where this sum of singular values does not.

    real, generated : see `inception_features`, which says the rest

    Raises `InceptionUnavailable` without pytorch-fid or its weights, `ValueError` for fewer than two pictures
    on either side.
    """
    return frechet_distance(
        *(inception_features(images, dims=dims, at_once=at_once) for images in (real, generated))
    )


@torch.no_grad()
def inception_features(images: Images | Tensor, *, dims: int = 2048, at_once: int = 50) -> Tensor:
    """What pytorch-fid's Inception network says of each picture, (N, dims), on the CPU.

    images : `Images`, or numbers in [0, 1] of shape (N, C, H, W), rounded to 256 levels as in a PNG file. One
        channel is repeated to three. A view that draws black and white is not drawn: its pixels count
    dims : 2048, the last layer before the classes, which "FID" means where nothing else is said; 64, 192 and
        768 are the means over the picture of earlier ones, whose distances are on other scales
    at_once : pictures in the network together, on the device where `images` are

    The features of the last few sets are kept. The first call fetches the weights into torch's hub folder,
    $TORCH_HOME/hub/checkpoints; a file with another checksum is refused.

    Raises `InceptionUnavailable` without pytorch-fid or its weights.
    """
    if dims not in DIMS or at_once < 1:
        raise ValueError(f"dims must be one of {DIMS} and at_once at least 1, got {dims=} and {at_once=}")
    pixels = _pixels(images)
    path, device = _weights(), pixels.device
    key = (_digest(pixels), tuple(pixels.shape), dims, device.type, path)
    if key not in _features:
        network = _network(path, dims, device)
        _features[key] = torch.cat([_seen_by(network, part) for part in pixels.split(at_once)])
        while len(_features) > KEPT:
            _features.popitem(last=False)
    _features.move_to_end(key)
    return _features[key].clone()


def fid_by_command(real: Path | str, generated: Path | str, *, dims: int = 2048) -> float:
    """What `python -m pytorch_fid REAL GENERATED` prints for two folders of pictures (see `write_images`).

    Raises `InceptionUnavailable` without pytorch-fid or its weights, `RuntimeError` if the command fails.
    """
    _weights()
    command = [sys.executable, "-m", "pytorch_fid", real, generated, "--dims", str(dims), "--num-workers=0"]
    done = subprocess.run(command, env=os.environ | ONLY_TENSORS, capture_output=True, text=True)
    if done.returncode or "FID:" not in done.stdout:
        raise RuntimeError(f"python -m pytorch_fid failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return float(done.stdout.split("FID:")[1])


def write_images(images: Images | Tensor, folder: Path | str) -> Path:
    """Write each picture as a PNG file, 00000.png and so on, into a folder that is empty or not there yet.

    images : as `inception_features` takes them; the files hold the very pixels that it sees

    Returns the folder. Raises `FileExistsError` if something is in it, which would be counted with them.
    """
    from torchvision.transforms.functional import to_pil_image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder, for all in it would be counted")
    for i, picture in enumerate(_pixels(images).cpu()):
        to_pil_image(picture).save(folder / f"{i:05}.png")
    return folder


def _pixels(images: Images | Tensor) -> Tensor:
    """uint8 of shape (N, 3, H, W)."""
    pixels = (images if isinstance(images, Images) else from_floats(images)).pixels
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"expected pictures of 1 or 3 channels, got {pixels.shape[1]}")
    return pixels.expand(-1, 3, -1, -1)


def _seen_by(network: nn.Module, pixels: Tensor) -> Tensor:
    """Features (B, dims) of pixels (B, 3, H, W); of maps, the mean over the picture."""
    return network(pixels.float().div_(255))[0].mean((2, 3)).cpu()


@lru_cache(maxsize=1)
def _network(path: Path, dims: int, device: torch.device) -> nn.Module:
    """pytorch-fid's network up to the layer of so many features, the weights from `path`."""
    from pytorch_fid.inception import InceptionV3

    with _environment(ONLY_TENSORS):
        return InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[dims]]).eval().to(device)


def _weights() -> Path:
    """The file of weights where pytorch-fid looks for it, fetched if need be and verified."""
    if importlib.util.find_spec("pytorch_fid") is None:
        raise InceptionUnavailable('FID needs pytorch-fid: install it with pip install "vae-lab[book]"')
    from pytorch_fid.inception import FID_WEIGHTS_URL

    from vae_lab.downloads import DataError, download

    path = Path(torch.hub.get_dir(), "checkpoints", FID_WEIGHTS_URL.rsplit("/", 1)[1])
    try:
        download(FID_WEIGHTS_URL, path)
        about = path.stat()
    except (DataError, OSError) as error:
        raise InceptionUnavailable(
            f"the weights of FID's Inception network are not in {path.parent} and cannot be fetched; put "
            f"{FID_WEIGHTS_URL} there, from a machine that has a network"
        ) from error
    if _checksum(path, about.st_size, about.st_mtime_ns) != SHA256:
        raise InceptionUnavailable(
            f"{path} is damaged or another file: its SHA-256 is not that of FID's Inception weights; delete "
            "it to fetch a whole copy"
        )
    return path


@lru_cache(maxsize=1)
def _checksum(path: Path, size: int, changed: int) -> str:
    """The SHA-256 of the file that has this size and was last changed then."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(pixels: Tensor) -> str:
    return hashlib.sha256(memoryview(pixels.cpu().contiguous().numpy())).hexdigest()


@contextmanager
def _environment(settings: dict[str, str]):
    """The process's environment with these settings, as it was afterwards."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
