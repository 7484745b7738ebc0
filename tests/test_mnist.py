import errno
import gzip
import hashlib
import re
import sys
import urllib.error

import numpy as np
import pytest
import torch
import torchvision.datasets as published

from vae_lab import data
from vae_lab.data import DataError, mnist

RNG = np.random.default_rng(0)
SIZES = {"train": 5, "t10k": 3}
IMAGES = {part: RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in SIZES.items()}
LABELS = {part: RNG.integers(0, 10, n, dtype=np.uint8) for part, n in SIZES.items()}


def idx(values: np.ndarray) -> bytes:
    """Yann LeCun's format, written from its description."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()


FILES = {f"{part}-images-idx3-ubyte": idx(x) for part, x in IMAGES.items()}
FILES |= {f"{part}-labels-idx1-ubyte": idx(y) for part, y in LABELS.items()}
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
FIRST = "train-images-idx3-ubyte"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def no_network(url, root, name, md5):
    raise urllib.error.URLError("Name or service not known")


@pytest.fixture
def raw(monkeypatch, tmp_path):
    """The folder where eight tiny images stand for MNIST; nothing in it yet, and no network."""
    for source in (published.MNIST, published.FashionMNIST):
        monkeypatch.setattr(source, "resources", [(name, md5(content)) for name, content in PACKED.items()])
    monkeypatch.setattr(mnist, "UNPACKED", {name: md5(content) for name, content in FILES.items()})
    monkeypatch.setattr("torchvision.datasets.utils.download_url", no_network)
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    return folder


def put(folder, files: dict):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def serve(monkeypatch, download):
    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)


def assert_is_ours(dataset: data.Dataset):
    for part, images in (("train", dataset.train), ("t10k", dataset.test)):
        assert np.array_equal(images.pixels.numpy()[:, 0], IMAGES[part])
        assert np.array_equal(images.labels.numpy(), LABELS[part]) and images.labels.dtype == torch.int64


@pytest.mark.parametrize("files", [FILES, PACKED, FILES | PACKED], ids=["unpacked", "packed", "both"])
def test_a_folder_is_read(raw, files):
    put(raw, files)
    assert_is_ours(data.load("mnist"))


def test_a_folder_may_be_named(raw, tmp_path):
    put(tmp_path / "elsewhere" / "FashionMNIST" / "raw", PACKED)
    assert_is_ours(data.load("fashion-mnist", folder=str(tmp_path / "elsewhere")))


@pytest.mark.parametrize("name", [FIRST, f"{FIRST}.gz"])
@pytest.mark.parametrize("harm", [lambda b: b[:-7], lambda b: b[:20] + b"?" + b[21:], lambda b: b""])
def test_a_damaged_file_is_refused(raw, name, harm):
    put(raw, PACKED if name.endswith("gz") else FILES)
    content = harm((raw / name).read_bytes())
    (raw / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    assert f"{raw / name} is damaged: its {len(content):,} bytes" in str(caught.value)
    assert "Delete the file and load the data set again" in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="calls a folder no folder, but denied")
def test_an_unreadable_file_is_named(raw):
    put(raw, PACKED)
    (raw / f"{FIRST}.gz").unlink()
    (raw / f"{FIRST}.gz").mkdir()  # permissions do not stop root, this does
    with pytest.raises(DataError, match=rf"cannot read {raw}/{FIRST}.gz \(it is no file\); move"):
        data.load("mnist")


def test_without_network_the_way_out_is_named(raw):
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    message = str(caught.value)
    for words in (
        f"{raw / FIRST}.gz",
        "Name or service not known",
        "Connect to the network",
        'choose the data set "digits"',
    ):
        assert words in message
    assert list(raw.iterdir()) == []


def test_a_download_is_kept(raw, monkeypatch):
    def download(url, root, name, md5):
        put(root, {name: PACKED[url.rsplit("/")[-1]]})

    serve(monkeypatch, download)
    assert_is_ours(data.load("mnist"))
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == PACKED
    serve(monkeypatch, no_network)
    assert_is_ours(data.load("mnist"))


def test_the_next_mirror_is_tried(raw, monkeypatch):
    first, *_ = published.MNIST.mirrors

    def download(url, root, name, md5):
        if url.startswith(first):
            raise RuntimeError("File not found or corrupted.")
        put(root, {name: PACKED[url.rsplit("/")[-1]]})

    serve(monkeypatch, download)
    assert_is_ours(data.load("mnist"))


@pytest.mark.parametrize(
    "failure", [RuntimeError("corrupt"), KeyboardInterrupt(), ConnectionResetError("reset")]
)
def test_a_broken_download_leaves_nothing(raw, monkeypatch, failure):
    def download(url, root, name, md5):
        put(root, {name: b"half a fi"})
        raise failure

    serve(monkeypatch, download)
    with pytest.raises((KeyboardInterrupt, DataError)):
        data.load("mnist")
    assert list(raw.iterdir()) == []


def test_a_full_disk_is_not_blamed_on_the_network(raw, monkeypatch):
    def download(url, root, name, md5):
        put(root, {name: b"half a fi"})
        raise OSError(errno.ENOSPC, "No space left on device")

    serve(monkeypatch, download)
    with pytest.raises(
        DataError, match=rf"cannot write to {re.escape(str(raw))} \(No space left on device\); make room"
    ):
        data.load("mnist")
    assert list(raw.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(raw, tmp_path):
    (tmp_path / "FashionMNIST").write_text("a file where a folder should be")
    folder = re.escape(str(tmp_path / "FashionMNIST" / "raw"))
    with pytest.raises(DataError, match=f"cannot write to {folder} .*point VAE_LAB_DATA"):
        data.load("fashion-mnist")


def test_idx_of_any_rank_is_parsed():
    values = RNG.integers(0, 256, (2, 300, 3), dtype=np.uint8)  # 300 needs the second byte of a size
    assert np.array_equal(mnist._parse(idx(values)).numpy(), values)


@pytest.mark.mnist
def test_the_real_mnist_is_whole():
    real = data.load("mnist")
    assert (len(real.train), len(real.test), real.train.shape) == (60_000, 10_000, (1, 28, 28))
    assert real.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = real.train.pixels.double() / 255
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (0.1307, 0.3081)


@pytest.mark.mnist
def test_no_real_image_is_in_both_train_and_test():
    real = data.load("mnist")
    train, test = ({x.numpy().tobytes() for x in part.pixels} for part in (real.train, real.test))
    assert not train & test
