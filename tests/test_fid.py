"""FID from tensors against `python -m pytorch_fid` on folders, with weights of the right shapes made here."""

import hashlib
import os
import pickle
import re
from importlib import import_module
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vae_lab.data import Images
from vae_lab.data.toy_faces import draw, draw_factors
from vae_lab.metrics import InceptionUnavailable, fid, fid_by_command, inception_features, write_images

inception = import_module("vae_lab.metrics.inception")
NAME = "pt_inception-2015-12-05-6726825d.pth"


def faces(n: int, *, seed: int = 0, channels: int = 3) -> Images:
    factors = draw_factors(n, seed=seed)
    return Images(draw(factors, side=32)[:, :channels], factors[:, 0].long())


def random_weights() -> dict[str, torch.Tensor]:
    """Weights of Inception that keep features of about the size of 1, and depend on what is seen."""
    from torchvision.models import Inception3

    with torch.device("meta"):  # shapes alone
        state = Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    g = torch.Generator().manual_seed(0)
    for name, shaped in state.items():
        normal = torch.randn(shaped.shape, generator=g)
        if normal.ndim > 1:
            state[name] = normal * (2 / normal[0].numel()) ** 0.5
        elif name.endswith(("weight", "running_var")):
            state[name] = 1 + 0.3 * normal.clamp(-2, 2)
        else:
            state[name] = 0.1 * normal if shaped.is_floating_point() else torch.tensor(1)
    return state


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A torch home whose file of weights, in the format of 2018, has the checksum that is asked for."""
    home = tmp_path_factory.mktemp("torch")
    path = home / "hub" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    torch.save(random_weights(), path, _use_new_zipfile_serialization=False)
    return home, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def weights(home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(home[0]))
    monkeypatch.setattr(inception, "SHA256", home[1])
    return home[0] / "hub" / "checkpoints" / NAME


class Means(nn.Module):
    """In place of Inception, the mean colors; it counts the pictures that it sees together."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        return [x.mean((2, 3), keepdim=True)]


@pytest.fixture
def means(monkeypatch):
    network = Means()
    monkeypatch.setattr(inception, "_weights", lambda: Path("means"))
    monkeypatch.setattr(inception, "_network", lambda *_: network)
    monkeypatch.setattr(inception, "_features", type(inception._features)())
    return network


def test_tensors_give_what_the_command_gives_for_folders(weights, tmp_path):
    real, generated = faces(8, seed=1), faces(8, seed=2)
    generated = Images(generated.pixels // 2, generated.labels)
    folders = [write_images(x, tmp_path / name) for x, name in ((real, "real"), (generated, "generated"))]
    found = fid(real, generated, dims=64)
    assert found == pytest.approx(fid_by_command(*folders, dims=64), abs=1e-4)
    assert found > 0.1


def test_the_layers_are_pytorch_fids(weights):
    from pytorch_fid.inception import InceptionV3

    assert set(inception.DIMS) == set(InceptionV3.BLOCK_INDEX_BY_DIM)
    x = faces(2).read()
    maps, last = InceptionV3([1, 3]).eval()(x)
    torch.testing.assert_close(inception_features(x, dims=192), maps.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(inception_features(x), last[..., 0, 0], rtol=1e-4, atol=1e-5)


def test_gray_pictures_are_repeated_as_in_files(weights, tmp_path):
    from pytorch_fid.fid_score import get_activations
    from pytorch_fid.inception import InceptionV3

    gray = faces(3, channels=1)
    files = sorted(write_images(gray, tmp_path / "plain").iterdir())
    assert Image.open(files[0]).convert("RGB").getbands() == ("R", "G", "B")
    expected = get_activations(files, InceptionV3([0]), 3, 64, "cpu", 0)
    np.testing.assert_allclose(inception_features(gray, dims=64), expected, rtol=1e-5, atol=1e-6)


def test_the_device_sees_few_pictures_together(means):
    x = faces(23)
    whole = inception_features(x, chunk_size=7)
    assert means.seen == [7, 7, 7, 2]
    torch.testing.assert_close(whole, x.read().mean((2, 3)))
    assert whole.shape == (23, 3)


def test_features_are_kept_by_the_pixels(means):
    x = faces(5)
    first = inception_features(x)
    first.zero_()  # the caller's copy
    again = inception_features(Images(x.pixels.clone(), x.labels + 1))
    assert means.seen == [5]
    torch.testing.assert_close(again, x.read().mean((2, 3)))
    x.pixels[0, 0, 0, 0] ^= 1
    inception_features(x)
    inception_features(x, dims=64)
    assert means.seen == [5, 5, 5]
    for n in range(1, 10):
        inception_features(faces(n, seed=9))
    assert len(inception._features) == inception.KEPT


def test_numbers_are_rounded_as_in_a_file(means):
    x = torch.rand(4, 3, 8, 8)
    expected = (x * 255).round() / 255
    torch.testing.assert_close(inception_features(x), expected.mean((2, 3)))


def test_files_hold_the_pixels(tmp_path):
    x = faces(3)
    folder = write_images(x, tmp_path / "a" / "b")
    assert [path.name for path in sorted(folder.iterdir())] == ["00000.png", "00001.png", "00002.png"]
    for path, pixels in zip(sorted(folder.iterdir()), x.pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), pixels)
    with pytest.raises(FileExistsError, match="not empty"):
        write_images(x, folder)


def test_without_weights_and_network_it_says_what_to_do(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = re.escape(str(tmp_path / "torch" / "hub" / "checkpoints"))
    a, b = (write_images(faces(2, seed=seed), tmp_path / str(seed)) for seed in (0, 1))
    for ask in (lambda: fid(faces(2), faces(2)), lambda: fid_by_command(a, b)):
        with pytest.raises(InceptionUnavailable, match=rf"not in {folder} .*https://.*{NAME}"):
            ask()


def test_without_pytorch_fid_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InceptionUnavailable, match="pip install"):
        fid(faces(2), faces(2))


def test_other_weights_are_refused(weights, monkeypatch, tmp_path):
    """What they give would not be FID."""
    monkeypatch.setattr(inception, "SHA256", "6726825d" + "0" * 56)
    folder = write_images(faces(2), tmp_path / "a")
    for ask in (lambda: fid(faces(2), faces(2)), lambda: fid_by_command(folder, folder)):
        with pytest.raises(InceptionUnavailable, match="SHA-256 is not that of FID's"):
            ask()


def test_the_published_checksum_starts_as_the_files_name():
    from pytorch_fid.inception import FID_WEIGHTS_URL

    assert FID_WEIGHTS_URL.endswith(f"-{inception.SHA256[:8]}.pth") and len(inception.SHA256) == 64


class Harm:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_but_tensors_is_unpickled(tmp_path, monkeypatch):
    """Even from a file that has the checksum: pytorch-fid itself would run what is in it."""
    path = tmp_path / "hub" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    torch.save({"fc.bias": Harm(tmp_path / "harmed")}, path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        fid(faces(2), faces(2))
    folder = write_images(faces(2), tmp_path / "pictures")
    with pytest.raises(RuntimeError, match="pytorch_fid failed"):
        fid_by_command(folder, folder, dims=64)
    assert not (tmp_path / "harmed").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize(
    ("x", "options", "says"),
    [
        (torch.zeros(3, 2, 8, 8), {}, r"real must be .* C = 1 or 3, got shape \(3, 2, 8, 8\)"),
        (torch.full((3, 3, 8, 8), 2.0), {}, r"real must be in \[0, 1\], got 2 … 2"),
        (torch.zeros(3, 3, 8, 8), {"dims": 100}, "dims must be one of 64, 192, 768, 2048, got 100"),
        (
            torch.zeros(3, 3, 8, 8),
            {"chunk_size": 0},
            "chunk_size must be a whole number of at least 1, got 0",
        ),
        (torch.zeros(1, 3, 8, 8), {}, "at least 2 rows"),
    ],
    ids=["channels", "range", "dims", "chunks", "one picture"],
)
def test_what_cannot_be_judged_is_refused(means, x, options, says):
    with pytest.raises(ValueError, match=says):
        fid(x, x, **options)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([], "real must hold two pictures or more, but .* holds 0"),
        ([8], "holds 1"),
        ([8, 8, 9], "one size, but 0.png has 8×8 pixels and 2.png 9×9; resize them"),
        ([8, None], "cannot be read as one; take it out"),
        (None, "real must be a folder of pictures, but .* is none"),
    ],
)
def test_folders_that_the_command_cannot_read_are_refused_before_it_starts(
    tmp_path, sizes, says, monkeypatch
):
    monkeypatch.setattr(inception.subprocess, "run", lambda *_, **__: pytest.fail("it was started"))
    folder = tmp_path / "a"
    if sizes is not None:
        folder.mkdir()
    for i, side in enumerate(sizes or []):
        if side is None:
            (folder / f"{i}.png").write_text("no picture")
        else:
            Image.new("RGB", (side, side)).save(folder / f"{i}.png")
    with pytest.raises(ValueError, match=says) as caught:
        fid_by_command(folder, folder)
    assert "\n" not in str(caught.value)
