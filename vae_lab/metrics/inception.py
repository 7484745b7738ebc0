"""The Fréchet Inception distance of pytorch-fid, from tensors instead of folders.

pytorch-fid's own network does the work, with its weights and its resizing. Without them there is no FID: the
features of another network give another number, although by the same formula.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from vae_lab.arguments import Count, checked, whole
from vae_lab.data import ImagesLike
from vae_lab.files import environment, raw_bytes
from vae_lab.metrics.distances import frechet_distance

DIMS = (64, 192, 768, 2048)  # numbers a picture after Inception's first, second and third stage, and the last
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # the file's name has its start
ENDINGS = ("bmp", "jpg", "jpeg", "pgm", "png", "ppm", "tif", "tiff", "webp")  # that pytorch-fid reads
KEPT = 4  # sets of pictures whose features are kept, each at most 8 kB a picture
ONLY_TENSORS = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}  # pytorch-fid would unpickle whatever a file holds

_features: OrderedDict[tuple, Tensor] = OrderedDict()


class InceptionUnavailable(RuntimeError):
    """No pytorch-fid or no weights for it, so no FID; the message says what to do."""


def _layer(name: str, value) -> int:
    """The number of features of one of Inception's layers."""
    if (dims := whole()(name, value)) not in DIMS:
        raise ValueError(f"{name} must be one of {', '.join(map(str, DIMS))}, got {dims}")
    return dims


Dims = Annotated[int, _layer]


@checked
def fid(real: ImagesLike, generated: ImagesLike, *, dims: Dims = 2048, chunk_size: Count = 50) -> float:
    """The Fréchet distance of Inception features (Heusel et al. 2017), as `python -m pytorch_fid` gives it.

    It is biased upward, and more so with fewer pictures: compare only equal numbers of pictures, and of one
    size, since every picture is resized to 299×299 (bilinear, without antialiasing). Of fewer than 2,048
    pictures the covariance of 2,048 features is singular; the command's matrix root then rounds, in the
    fourth decimal of a distance of hundreds, where this sum of singular values does not.

    real, generated : see `inception_features`, which says the rest

    Raises `InceptionUnavailable` without pytorch-fid or its weights, `ValueError` for fewer than two pictures
    on either side.
    """
    return frechet_distance(
        *(inception_features(images, dims=dims, chunk_size=chunk_size) for images in (real, generated))
    )


@checked
@torch.no_grad()
def inception_features(images: ImagesLike, *, dims: Dims = 2048, chunk_size: Count = 50) -> Tensor:
    """The features of each picture in pytorch-fid's Inception network, (N, dims), on the CPU.

    images : `Images` or what they are made of, numbers in [0, 1] say, rounded to 256 levels as in a PNG file.
        One channel is repeated to three. A view that draws black and white at random is ignored: the stored
        pixels count
    dims : 2048, the last layer before the classes, which "FID" means where nothing else is said; 64, 192 and
        768 are the means over the picture of earlier ones, whose distances are on other scales
    chunk_size : pictures that go through the network together, on the device of `images`

    The features of the last few sets are kept. The first call fetches the weights into torch's hub folder,
    $TORCH_HOME/hub/checkpoints; a file with another checksum is refused.

    Raises `InceptionUnavailable` without pytorch-fid or its weights.
    """
    pixels = _pixels(images)
    path, device = _weights(), pixels.device
    key = (hashlib.sha256(raw_bytes(pixels)).hexdigest(), tuple(pixels.shape), dims, device.type, path)
    if key not in _features:
        network = _network(path, dims, device)
        _features[key] = torch.cat([_seen_by(network, part) for part in pixels.split(chunk_size)])
        while len(_features) > KEPT:
            _features.popitem(last=False)
    _features.move_to_end(key)
    return _features[key].clone()


@checked
def fid_by_command(real: Path | str, generated: Path | str, *, dims: Dims = 2048) -> float:
    """What `python -m pytorch_fid REAL GENERATED` prints for two folders of pictures (see `write_images`).

    Raises `ValueError` for a folder that the command cannot read, `InceptionUnavailable` without pytorch-fid
    or its weights, `RuntimeError` if the command fails all the same.
    """
    real, generated = (_checked_folder(*each) for each in (("real", real), ("generated", generated)))
    _weights()
    command = [sys.executable, "-m", "pytorch_fid", real, generated, "--dims", str(dims), "--num-workers=0"]
    done = subprocess.run(command, env=os.environ | ONLY_TENSORS, capture_output=True, text=True)
    if done.returncode or "FID:" not in done.stdout:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"python -m pytorch_fid failed: {' '.join(last)}")
    return float(done.stdout.split("FID:")[1])


def _checked_folder(name: str, folder: Path) -> Path:
    """The absolute path of a folder, checked for what the command would refuse after half a minute."""
    from PIL import Image

    if not folder.is_dir():
        raise ValueError(f"{name} must be a folder of pictures, but {folder} is none")
    sizes, paths = {}, sorted(path for kind in ENDINGS for path in folder.glob(f"*.{kind}"))
    for path in paths:
        try:
            with Image.open(path) as picture:
                sizes.setdefault(picture.size, path.name)
        except Exception as error:
            raise ValueError(
                f"{name} must hold pictures, but {path} cannot be read as one; take it out"
            ) from error
    if len(paths) < 2:
        raise ValueError(f"{name} must hold two pictures or more, but {folder} holds {len(paths)}")
    if len(sizes) > 1:
        (a, first), (b, second), *_ = sizes.items()
        raise ValueError(
            f"{name} must hold pictures of one size, but {first} has {a[0]}×{a[1]} pixels and {second} "
            f"{b[0]}×{b[1]}; resize them, or give both sets to fid as Images"
        )
    return folder.resolve()


@checked
def write_images(images: ImagesLike, folder: Path | str) -> Path:
    """Write each picture as a PNG file, 00000.png and so on, into a folder that is empty or not there yet.

    images : as `inception_features` takes them; the files hold the very pixels that it sees

    Returns the folder. Raises `FileExistsError` if something is in it, which would be counted with them.
    """
    from torchvision.transforms.functional import to_pil_image

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise type(error)(f"folder must be a folder, but {error.filename} is a file or lies in one") from None
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder, for all in it would be counted")
    for i, picture in enumerate(_pixels(images).cpu()):
        to_pil_image(picture).save(folder / f"{i:05}.png")
    return folder


def _pixels(images) -> Tensor:
    """uint8 of shape (N, 3, H, W)."""
    if images.shape[0] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {images.shape[0]}")
    return images.pixels.expand(-1, 3, -1, -1)


def _seen_by(network: nn.Module, pixels: Tensor) -> Tensor:
    """Features (B, dims) of pixels (B, 3, H, W); of maps, the mean over the picture."""
    return network(pixels.float().div_(255))[0].mean((2, 3)).cpu()


@lru_cache(maxsize=1)
def _network(path: Path, dims: int, device: torch.device) -> nn.Module:
    """pytorch-fid's network up to the layer of so many features, the weights from `path`."""
    from pytorch_fid.inception import InceptionV3

    with environment(ONLY_TENSORS):
        return InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[dims]]).eval().to(device)


def _weights() -> Path:
    """The file of weights where pytorch-fid looks for it, fetched if need be and verified."""
    if importlib.util.find_spec("pytorch_fid") is None:
        raise InceptionUnavailable('FID needs pytorch-fid: install it with pip install "vae-lab[book]"')
    from pytorch_fid.inception import FID_WEIGHTS_URL

    path = Path(torch.hub.get_dir(), "checkpoints", FID_WEIGHTS_URL.rsplit("/", 1)[1])
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(FID_WEIGHTS_URL, str(path), SHA256, progress=False)
        about = path.stat()
    except (OSError, RuntimeError) as error:
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
