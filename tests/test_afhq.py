"""AFHQ from a folder: what is read against Pillow itself; folders and pictures that are unfit."""

import io
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vae_lab import files
from vae_lab.data import DataError, afhq, cache, load


def save(path, color, size=(40, 30), noise=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), color, dtype=np.uint8)
    pixels[:, : size[0] // 2] += np.uint8(noise)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten cats, three dogs and two wild animals, of one color each; no part to test on, nothing at home."""
    for home in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(home, str(tmp_path / "home"))
    cache._say.cache_clear()
    for species, count, color in (("cat", 10, 100), ("dog", 3, 150), ("wild", 2, 200)):
        for i in range(count):
            save(tmp_path / "afhq" / "train" / species / f"{species}_{i:02}.png", color + i, noise=20)
    return tmp_path


def test_pictures_are_cropped_to_the_middle_and_resized(folder):
    (pixels, labels), _ = afhq.read("afhq-cat", folder, side=16)
    assert pixels.dtype == torch.uint8 and pixels.shape == (9, 3, 16, 16) and labels.tolist() == [0] * 9
    with Image.open(folder / "afhq/train/cat/cat_01.png") as picture:
        square = picture.crop((5, 0, 35, 30)).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pixels[0].permute(1, 2, 0).numpy(), np.asarray(square))


def test_labels_name_the_species_and_a_tenth_is_held_out(folder):
    (train, labels), (test, test_labels) = afhq.read("afhq", folder, side=8)
    assert len(train) == 13 and len(test) == 2 and sorted(labels.tolist()) == [0] * 9 + [1] * 2 + [2] * 2
    assert test_labels.tolist() == [0, 1]  # of the sorted list, the first and the eleventh
    assert not any(torch.equal(a, b) for a in train for b in test)


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_part_to_test_on_is_used_where_there_is_one(folder, part):
    save(folder / "afhq" / part / "dog" / "x.jpg", 90)
    (train, _), (test, labels) = afhq.read("afhq-dog", folder, side=8)
    assert len(train) == 3 and len(test) == 1 and labels.tolist() == [1]


def test_the_second_time_nothing_is_decoded(folder, monkeypatch):
    first = afhq.read("afhq-cat", folder, side=8)
    monkeypatch.setattr(afhq, "_read_one", lambda *_: pytest.fail("decoded again"))
    for (a, b), (c, d) in zip(first, afhq.read("afhq-cat", folder, side=8), strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_a_changed_picture_or_side_is_read_anew(folder):
    before = afhq.read("afhq-cat", folder, side=8)[0][0]
    save(folder / "afhq/train/cat/cat_03.png", 7)
    os.utime(folder / "afhq/train/cat/cat_03.png", ns=(1, 1))
    after = afhq.read("afhq-cat", folder, side=8)[0][0]
    assert torch.equal(before[0], after[0]) and not torch.equal(before[2], after[2])
    assert (after[2] == 7).all()
    assert afhq.read("afhq-cat", folder, side=12)[0][0].shape[-1] == 12


def test_a_damaged_cache_is_made_anew(folder):
    expected = afhq.read("afhq-cat", folder, side=8)[0][0]
    caches = sorted((folder / "afhq" / ".cache").glob("*.safetensors"))
    assert len(caches) == 2
    for at in (10, 200, -1):
        for path in caches:
            content = bytearray(path.read_bytes())
            content[at] ^= 255
            path.write_bytes(content)
        assert torch.equal(afhq.read("afhq-cat", folder, side=8)[0][0], expected)
    for path in caches:
        path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(afhq.read("afhq-cat", folder, side=8)[0][0], expected)


def test_broken_pictures_are_named_and_left_out_only_when_asked(folder, capsys):
    whole = (folder / "afhq/train/cat/cat_05.png").read_bytes()
    (folder / "afhq/train/cat/cat_05.png").write_bytes(whole[: len(whole) // 2])
    (folder / "afhq/train/cat/cat_06.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2 of 9 pictures.*cat_05.png.*cat_06.png.*skip_broken=True"):
        afhq.read("afhq-cat", folder, side=8)
    (pixels, labels), _ = afhq.read("afhq-cat", folder, side=8, skip_broken=True)
    assert len(pixels) == len(labels) == 7
    told = capsys.readouterr().out
    assert "Left out 2 of 9" in told and "cat_05.png" in told
    for path in (folder / "afhq/train/dog").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 2 pictures can be read"):
        afhq.read("afhq-dog", folder, side=8, skip_broken=True)


def test_an_empty_folder_says_what_to_put_there(tmp_path):
    with pytest.raises(DataError, match=r"no pictures in .*afhq.train.wild.*toy-faces"):
        afhq.read("afhq-wild", tmp_path)
    with pytest.raises(ValueError, match="side must be a whole number from 8 to 1024, got 3"):
        afhq.read("afhq", tmp_path, side=3)


def decoded_again(monkeypatch):
    monkeypatch.setattr(afhq, "_read_one", lambda *_: pytest.fail("decoded again"))


def test_a_folder_that_is_read_only_is_left_alone(folder, tmp_path, monkeypatch, capsys):
    """As a course's shared folder is, and also for root, whom its mode would not stop."""
    (folder / "afhq").chmod(0o555)
    try:
        first = afhq.read("afhq", folder, side=8)
        assert sorted(path.name for path in (folder / "afhq").iterdir()) == ["train"]
        told = capsys.readouterr().out
        assert told.count("\n") == 1 and f"{folder / 'afhq' / '.cache'} (marked read-only)" in told
        home = tmp_path / "home/.cache/vae_lab/afhq/.cache"
        assert f"kept in {home} instead" in told and len(list(home.iterdir())) == 2
        decoded_again(monkeypatch)
        for (a, b), (c, d) in zip(first, afhq.read("afhq", folder, side=8), strict=True):
            assert torch.equal(a, c) and torch.equal(b, d)
        assert capsys.readouterr().out == ""
    finally:
        (folder / "afhq").chmod(0o755)


def test_a_cache_that_comes_with_a_read_only_folder_is_used(folder, monkeypatch):
    afhq.read("afhq", folder, side=8)
    (folder / "afhq").chmod(0o555)
    decoded_again(monkeypatch)
    try:
        assert len(afhq.read("afhq", folder, side=8)[0][0]) == 13
    finally:
        (folder / "afhq").chmod(0o755)


def test_a_disk_that_cannot_keep_the_cache_stops_nothing(folder, tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    assert len(afhq.read("afhq-cat", folder, side=8)[0][0]) == 9
    told = capsys.readouterr().out
    assert (
        told.count("No space left on device") == 2 and told.count("\n") == 1 and "read anew next time" in told
    )
    assert [
        *(folder / "afhq/.cache").iterdir(),
        *(tmp_path / "home/.cache/vae_lab/afhq/.cache").iterdir(),
    ] == []


def test_load_knows_it_by_name(folder, monkeypatch):
    monkeypatch.setenv("VAE_LAB_DATA", str(folder))
    cats = load("afhq-cat", side=16)
    assert cats.name == "afhq-cat" and cats.train.shape == (3, 16, 16) and len(cats.test) == 1
    assert set(load("afhq", side=8).train.labels.tolist()) == {0, 1, 2}


def test_load_leaves_out_broken_pictures_when_asked(folder):
    (folder / "afhq/train/cat/cat_05.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1 of 9 pictures .*cat_05\.png"):
        load("afhq-cat", side=8, folder=folder)
    assert len(load("afhq-cat", side=8, folder=folder, skip_broken=True).train) == 8


def test_hidden_files_and_other_formats(folder):
    """A Mac's hidden companions are no pictures; what Pillow reads is one, whatever its ending."""
    (folder / "afhq/train/dog/._dog_00.png").write_bytes(b"of a Mac")
    for ending in ("webp", "bmp", "tiff", "GIF"):
        save(folder / "afhq/train/dog" / f"more.{ending}", 60)
    (pixels, _), (test, _) = afhq.read("afhq-dog", folder, side=8)
    assert len(pixels) + len(test) == 7


def test_a_picture_is_turned_as_a_viewer_does(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    above = np.zeros((8, 8, 3), np.uint8)
    above[:4] = 200
    Image.fromarray(np.rot90(above)).save(folder / "afhq/train/wild/a.jpg", exif=exif, quality=100)
    (_, _), (test, _) = afhq.read("afhq-wild", folder, side=8)
    assert test[0, :, :3].min() > 150 and test[0, :, 5:].max() < 50


def test_a_single_picture_cannot_be_split(folder):
    for path in sorted((folder / "afhq/train/wild").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match=r"wild_00\.png is the only picture; put at least two there"):
        afhq.read("afhq-wild", folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: os.symlink("gone", path), lambda path: os.symlink(path, path)]
)
def test_what_is_no_file_is_named_and_left_out_when_asked(folder, make):
    make(folder / "afhq/train/cat/cat_005.jpg")
    with pytest.raises(DataError, match=r"1 of 9 pictures cannot be read: .*cat_005\.jpg"):
        afhq.read("afhq-cat", folder, side=8)
    assert len(afhq.read("afhq-cat", folder, side=8, skip_broken=True)[0][0]) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="names are in Unicode here")
@pytest.mark.parametrize("encoding", ["utf8", "ascii"])
def test_names_in_any_encoding(folder, monkeypatch, encoding):
    cats, told = folder / "afhq/train/cat", io.TextIOWrapper(io.BytesIO(), encoding)
    (cats / os.fsdecode(b"\xff.png")).write_bytes((cats / "cat_01.png").read_bytes())
    (cats / os.fsdecode(b"\xfe.png")).write_bytes(b"no picture")
    (cats / "ä.png").write_bytes(b"no picture")
    monkeypatch.setattr(sys, "stdout", told)
    (train, _), (test, _) = afhq.read("afhq-cat", folder, side=8, skip_broken=True)
    told.flush()
    assert len(train) + len(test) == 11 and b"Left out" in told.buffer.getvalue()


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot look into|no pictures in"):
        load("afhq-cat", folder=tmp_path / ("a" * 300))
