"""One picture from a file, as a viewer shows it."""

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from vae_lab.arguments import checked, one_line, shown, whole, written

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class DataError(RuntimeError):
    """Data that is missing, damaged or cannot be fetched; the message says what to do."""


@checked
def read(
    source,
    *,
    channels: Annotated[int, whole(1, 3)] | None = None,
    side: Annotated[int, whole(1, 16384)] | None = None,
) -> Tensor:
    """One picture, uint8 of shape (C, H, W), turned, colored and laid on white as a viewer does.

    What makes a file look as it does is taken into account: the orientation in its EXIF data, its color
    profile (shown in sRGB), palette, transparency (on white), bits (of 16, the upper half), and of several
    frames the first.

    source : a path, the bytes of a file, an open file, or a picture of Pillow's
    channels : 1 for gray or 3 for color; by default 1 if the picture is gray
    side : cut out the middle square, and make it `side` pixels wide and high by Pillow's Lanczos filter; by
        default the picture stays as it is

    Raises `DataError` if it cannot be read, or does not say what its numbers mean.
    """
    import numpy as np

    if channels == 2:
        raise ValueError("channels must be 1 for gray or 3 for color, got 2")
    opened, name = _opened(source)
    try:
        picture = _as_seen(opened)
        if channels is not None:
            picture = picture.convert("L" if channels == 1 else "RGB")
        pixels = torch.from_numpy(np.array(_middle(picture, side) if side else picture))
    except DataError as error:
        raise DataError(f"{name} {error}") from None
    except Exception as error:  # Pillow raises what its many readers raise
        raise DataError(f"{name} cannot be read as a picture ({one_line(error)})") from error
    finally:
        if opened is not source:
            opened.close()
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def _opened(source) -> tuple["Image", str]:
    """The picture, its pixels not decoded yet, and what to call it."""
    from PIL import Image

    if isinstance(source, Image.Image):
        return source, f"the {source.mode} picture"
    name = "the file"
    if isinstance(source, str | Path):
        source = name = Path(source).expanduser()
    elif isinstance(source, bytes | bytearray):
        source = BytesIO(source)
    elif not hasattr(source, "read"):
        raise TypeError(f"source must be a path, bytes, a file or a picture of Pillow's, got {shown(source)}")
    if isinstance(source, Path) and os.path.exists(source) and not os.path.isfile(source):
        raise DataError(
            f"{written(name)} cannot be read as a picture (it is no file)"
        )  # of a pipe, say, nothing may ever come
    try:
        return Image.open(source), written(name)
    except Exception as error:
        raise DataError(f"{written(name)} cannot be read as a picture ({one_line(error)})") from error


def _as_seen(picture: "Image") -> "Image":
    """A picture of mode L or RGB that looks as this one does."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _of_eight_bits(picture)
    transparent = picture.has_transparency_data
    if transparent or picture.mode in ("1", "P", "PA", "RGBX", "YCbCr", "HSV"):
        plain = "L" if picture.mode in ("1", "L", "LA", "La") else "RGB"
        picture = picture.convert(plain + "A" * transparent)
    alpha = picture.getchannel("A") if transparent else None
    picture = _in_srgb(picture.convert(picture.mode[:-1]) if transparent else picture, profile)
    white = Image.new(picture.mode, picture.size, "white")
    return Image.composite(picture, white, alpha) if transparent else picture


def _of_eight_bits(picture: "Image") -> "Image":
    """Numbers of 16 bits, or floats whose range says what they are, as a gray picture of 8."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.float64)
    low, high = values.min(), values.max()
    if picture.mode == "F" and low >= 0 and high <= 1:
        eight = values * 255
    elif picture.mode.startswith("I") and low >= 0 and high <= 65535:
        eight = values / 257
    else:
        raise DataError(
            f"holds numbers from {low:.6g} to {high:.6g}, and no viewer knows which is white; scale them to "
            "0 … 1 and use data.from_floats"
        )
    gray = Image.fromarray(eight.round().astype(np.uint8))
    if isinstance(clear := picture.info.get("transparency"), int):  # the number that is transparent
        gray.putalpha(Image.fromarray(np.uint8(255) * (values != clear)))
    return gray


def _in_srgb(picture: "Image", profile: bytes | None) -> "Image":
    """The colors that the profile means, in sRGB; a damaged profile is passed over, as viewers do."""
    from PIL import ImageCms

    wanted = "L" if picture.mode == "L" else "RGB"
    srgb = ImageCms.createProfile("sRGB")
    try:
        if picture.mode == "LAB":
            return ImageCms.profileToProfile(picture, ImageCms.createProfile("LAB"), srgb, outputMode="RGB")
        if profile:
            given = ImageCms.ImageCmsProfile(BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(given).lower():
                picture = ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return picture if picture.mode == wanted else picture.convert(wanted)


def _middle(picture: "Image", side: int) -> "Image":
    """The middle square, `side` pixels wide and high."""
    from PIL import Image

    (width, height), edge = picture.size, min(picture.size)
    left, top = (width - edge) // 2, (height - edge) // 2
    square = picture.crop((left, top, left + edge, top + edge))  # so that what is beside it does not bleed in
    return square.resize((side, side), Image.Resampling.LANCZOS)
