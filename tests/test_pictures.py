"""A picture is read as a viewer shows it: against pixels that are known, in every form that Pillow writes."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from vae_lab.data import DataError, Images, pictures

# Twelve pixels of their own colors: nothing is symmetric.
COLOR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
CHW = torch.from_numpy(COLOR).permute(2, 0, 1)


def file_of(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def linear_profile() -> bytes:
    """An ICC profile (version 2) of sRGB's primaries whose numbers are light itself: a gamma of 1."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    name = b"linear light\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ " + bytes(4) + fixed(0.4361, 0.2225, 0.0139),
        b"gXYZ": b"XYZ " + bytes(4) + fixed(0.3851, 0.7169, 0.0971),
        b"bXYZ": b"XYZ " + bytes(4) + fixed(0.1431, 0.0606, 0.7141),
    }
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", offset + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + body


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_it_is_turned_as_its_exif_data_say(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.kron(COLOR, np.ones((8, 8, 1), np.uint8))  # blocks, which JPEG keeps nearly
    stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[orientation](upright)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    found = pictures.read(file_of(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    off = (found.int() - torch.from_numpy(upright).permute(2, 0, 1).int()).abs().max()
    assert found.shape == (3, 24, 32) and off <= (6 if kind == "JPEG" else 0)


def palette(transparent: int | None = None) -> bytes:
    picture = Image.new("P", (4, 3))
    picture.putdata(range(12))
    picture.putpalette(COLOR.reshape(-1).tolist())
    return file_of(picture, **({} if transparent is None else {"transparency": transparent}))


def on_white(alpha: np.ndarray) -> torch.Tensor:
    laid = COLOR * (alpha / 255)[..., None] + 255 * (1 - alpha / 255)[..., None]
    return torch.from_numpy(laid.round().astype(np.uint8)).permute(2, 0, 1)


ALPHA = np.linspace(0, 255, 12).round().astype(np.uint8).reshape(3, 4)
CLEAR_FIRST = np.where(np.arange(12).reshape(3, 4) == 0, 0, 255)
FORMS = {
    "RGB": (lambda: file_of(Image.fromarray(COLOR)), CHW),
    "BMP": (lambda: file_of(Image.fromarray(COLOR), "BMP"), CHW),
    "TIFF": (lambda: file_of(Image.fromarray(COLOR), "TIFF"), CHW),
    "lossless WebP": (lambda: file_of(Image.fromarray(COLOR), "WEBP", lossless=True), CHW),
    "palette": (palette, CHW),
    "palette, one entry clear": (lambda: palette(0), on_white(CLEAR_FIRST)),
    "color with alpha": (lambda: file_of(Image.fromarray(np.dstack([COLOR, ALPHA]))), on_white(ALPHA)),
    "one color clear": (
        lambda: file_of(Image.fromarray(COLOR), transparency=tuple(COLOR[0, 0].tolist())),
        on_white(CLEAR_FIRST),
    ),
    "gray": (lambda: file_of(Image.fromarray(GRAY)), torch.from_numpy(GRAY)[None]),
    "one gray clear": (
        lambda: file_of(Image.fromarray(GRAY), transparency=0),
        torch.from_numpy(np.where(GRAY == 0, 255, GRAY))[None],
    ),
    "gray with alpha": (
        lambda: file_of(
            Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(CLEAR_FIRST.astype(np.uint8))])
        ),
        torch.from_numpy(np.where(CLEAR_FIRST == 0, 255, GRAY).astype(np.uint8))[None],
    ),
    "black and white": (
        lambda: file_of(Image.fromarray(GRAY > 99)),
        torch.from_numpy((GRAY > 99).astype(np.uint8) * 255)[None],
    ),
    "16 bits": (lambda: file_of(Image.fromarray(GRAY.astype(np.uint16) * 257)), torch.from_numpy(GRAY)[None]),
    "16 bits, TIFF": (
        lambda: file_of(Image.fromarray(GRAY.astype(np.uint16) * 257), "TIFF"),
        torch.from_numpy(GRAY)[None],
    ),
    "32 bits": (
        lambda: file_of(Image.fromarray(GRAY.astype(np.int32) * 257), "TIFF"),
        torch.from_numpy(GRAY)[None],
    ),
    "floats": (
        lambda: file_of(Image.fromarray(GRAY.astype(np.float32) / 255), "TIFF"),
        torch.from_numpy(GRAY)[None],
    ),
    "of several frames the first": (
        lambda: file_of(
            Image.fromarray(COLOR), "TIFF", save_all=True, append_images=[Image.fromarray(255 - COLOR)]
        ),
        CHW,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_what_was_written(form):
    make, expected = FORMS[form]
    found = pictures.read(make())
    assert found.dtype == torch.uint8 and found.is_contiguous()
    assert (found.int() - expected.int()).abs().max() <= (1 if "alpha" in form else 0), (found, expected)


def test_its_color_profile_is_taken_into_account():
    """Half of the light is the number 188 in sRGB."""
    half = np.full((4, 4, 3), 128, np.uint8)
    found = pictures.read(file_of(Image.fromarray(half), icc_profile=linear_profile()))
    light = (128 / 255 + 0.0) ** (1 / 2.4) * 1.055 - 0.055
    assert found.unique().tolist() == pytest.approx([light * 255], abs=1)
    alpha = np.dstack([half, np.full((4, 4), 0, np.uint8)])
    assert pictures.read(file_of(Image.fromarray(alpha), icc_profile=linear_profile())).unique().tolist() == [
        255
    ]


def test_a_profile_of_srgb_or_a_damaged_one_changes_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all", srgb[:200]):
        assert torch.equal(pictures.read(file_of(Image.fromarray(COLOR), icc_profile=profile)), CHW)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV"])
def test_other_color_spaces(mode):
    """White, black and red are white, black and red in all of them."""
    colors = np.array([[[255, 255, 255], [0, 0, 0], [254, 0, 0]]], np.uint8)
    if mode == "LAB":
        to = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        picture = ImageCms.applyTransform(Image.fromarray(colors), to)
    else:
        picture = Image.fromarray(colors).convert(mode)
    source = picture if mode in ("YCbCr", "HSV") else file_of(picture, "TIFF")
    found = pictures.read(source).permute(1, 2, 0).int()
    assert (found - torch.from_numpy(colors).int()).abs().max() <= 6  # LAB in 8 bits is coarse


def test_it_comes_from_a_path_bytes_a_file_or_pillow(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(file_of(Image.fromarray(COLOR)))
    with path.open("rb") as file:
        for source in (path, str(path), path.read_bytes(), file, Image.open(path), Image.fromarray(COLOR)):
            assert torch.equal(pictures.read(source), CHW)
    assert Images([Image.open(path)]).shape == (3, 3, 4)


def test_gray_or_color_is_as_asked():
    color, gray = Image.fromarray(COLOR), Image.fromarray(GRAY)
    assert pictures.read(color, channels=1).shape == (1, 3, 4)
    assert torch.equal(pictures.read(gray, channels=3), torch.from_numpy(GRAY).expand(3, -1, -1))


def test_its_middle_square_is_resized():
    wide = Image.fromarray(np.tile(np.repeat(np.uint8([0, 200, 0]), [10, 20, 10]), (10, 1)))
    assert pictures.read(wide, side=4).unique().tolist() == [200]
    assert pictures.read(wide, side=4).shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as a picture"),
        (b"GIF89a", "cannot be read as a picture"),
        (b"<svg></svg>", "cannot be read as a picture"),
        (file_of(Image.fromarray(COLOR))[:-30], "cannot be read as a picture"),
        (
            file_of(Image.fromarray(GRAY.astype(np.float32)), "TIFF"),
            "holds numbers from 0 to 220, and no viewer",
        ),
        (file_of(Image.fromarray(GRAY.astype(np.int32) - 9), "TIFF"), "holds numbers from -9 to 211"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"a.png.* {words}") as caught:
        pictures.read(path)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(DataError, match="cannot be read as a picture"):
            pictures.read(path)
    with pytest.raises(
        TypeError, match="source must be a path, bytes, a file or a picture of Pillow's, got 7"
    ):
        pictures.read(7)


def test_a_picture_too_large_for_any_memory_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(DataError, match=r"cannot be read as a picture .*decompression bomb"):
        pictures.read(file_of(Image.fromarray(COLOR)))
