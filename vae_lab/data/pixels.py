"""The door for pixels and labels: makes tensors of what callers pass, or says in a sentence what is wrong."""

from typing import Any

import torch
from torch import Tensor

from vae_lab.arguments import digits, shown, tensor
from vae_lab.data import pictures

STRAY, FARTHEST = 0.05, 2.0  # how far values to look at may lie beyond [0, 1]: on average, and any of them
COLORS = (1, 3)  # channels of images that nobody need be asked about
WIDE = 8  # pixels from which (H, W, 3) may be one picture in color


def as_pixels(name: str, value: Any, *, channels: str | None = None) -> Tensor:
    """uint8 of shape (N, C, H, W), or one sentence that says why these may not be the pixels of N images."""
    if channels not in (None, "first", "last"):
        raise ValueError(f'channels must be "first", "last" or None, got {shown(channels)}')
    if _is_picture(value):
        raise ValueError(f"{name} must be several images, got one picture; write [picture]")
    if isinstance(value, list | tuple) and any(map(_is_picture, value)):
        return _of_pictures(name, value)
    _require_one_scale(name, value)
    x = tensor(name, value).detach()
    x = _channels_first(name, x, channels)
    if x.dtype == torch.bool:
        return x.to(torch.uint8) * 255
    return _of_floats(name, x) if x.is_floating_point() else _of_whole(name, x)


def to_look_at(name: str, value: Any) -> Tensor:
    """float32 (N, C, H, W) in [0, 1], on the CPU: as for `as_pixels`, but what strays a little is clipped."""
    if _is_picture(value) or (isinstance(value, list | tuple) and any(map(_is_picture, value))):
        return as_pixels(name, value).float() / 255
    x = tensor(name, value).detach().cpu()
    shape, colors_last = tuple(x.shape), x.ndim in (3, 4) and x.shape[-1] in (1, 3, 4)
    if (x.ndim == 4 and shape[1] not in COLORS) or (x.ndim == 3 and colors_last and shape[1] >= WIDE):
        first = "first axis of an image" if x.ndim == 4 else f"axes said, {name}[:, None] if these are gray"
        colors = f"; of the last axis make it by numpy.moveaxis({name}, -1, -3)" if colors_last else ""
        raise ValueError(f"{name} must have 1 or 3 colors as the {first}, got shape {shape}{colors}")
    if x.is_floating_point():
        return clipped(name, _channels_first(name, x, None).float())
    return as_pixels(name, x).float() / 255


def clipped(name: str, x: Tensor, *, stray: float = STRAY, far: float = FARTHEST, hint: str = "") -> Tensor:
    """Values to look at, cut off at 0 and 1: a decoder without a squash strays. Refuses those far outside.

    Trained by squared error, such a decoder strays by under a hundredth on average where there were data, and
    by a tenth elsewhere; one that was trained to give logits by several, anywhere.
    """
    inside = x.clamp(0, 1)
    beyond = (x - inside).abs()
    if not (beyond.mean() <= stray and beyond.max() <= far):  # written so that NaN is refused too
        low, high = x.min().item(), x.max().item()
        raise ValueError(
            f"{name} must be pixels in [0, 1], got {digits(low, 0, 1)} … {digits(high, 0, 1)}; "
            + ("did training diverge?" if beyond.isnan().any() else hint or _meant(low, high))
        )
    return inside


def as_labels(name: str, value: Any, count: int, *, of: str = "images") -> Tensor:
    """int64 of shape (count,), or one sentence that says why these may not be whole numbers, one an image."""
    if value is None:
        return torch.zeros(count, dtype=torch.int64)
    try:
        y = tensor(name, value)
    except TypeError as error:
        raise TypeError(
            f"{error}; of words make numbers: names, labels = numpy.unique(words, return_inverse=True)"
        ) from None
    if y.shape == (count, 1) and count > 1:
        y = y[:, 0]
    if y.shape != (count,):
        hint = f"; if a row has a 1 for its class, write {name}.argmax(1)" if y.ndim == 2 else ""
        raise ValueError(f"{name} must be one for each of {count} {of}, got shape {tuple(y.shape)}{hint}")
    floats = y.is_floating_point()  # those from 2⁶³ on would turn negative as int64
    bad = (y != y.trunc()) | ~(y.abs() < 2.0**63) if floats else torch.zeros_like(y, dtype=torch.bool)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{name} must be whole numbers below 2⁶³, but {int(bad.sum())} of {count} are not, the first "
            f"in row {first}: {y[first].item()}"
        )
    return y.to(torch.int64)


def _require_one_scale(name: str, value: Any) -> None:
    """Each image of a list is on the scale of its type; as one tensor they would be on a single one."""
    images = value if isinstance(value, list | tuple) else ()
    kinds = {str(image.dtype).removeprefix("torch.") for image in images if hasattr(image, "dtype")}
    if len({_scale(kind) for kind in kinds}) > 1:
        raise ValueError(f"{name} mixes images of {' and '.join(sorted(kinds))}; make them of one type")


def _scale(kind: str) -> str:
    """Truths, whole numbers or floats: each has a white of its own."""
    return next((scale for scale in ("bool", "int", "float") if scale in kind), kind)


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getbands") and hasattr(value, "convert")  # Pillow's, without importing it


def _of_pictures(name: str, several_of_them) -> Tensor:
    """Pillow's pictures of one size; gray ones among those in color are made color."""
    if not all(map(_is_picture, several_of_them)):
        raise TypeError(f"{name} mixes pictures of Pillow's with other things; make all of them pictures")
    read = [pictures.read(picture) for picture in several_of_them]
    sizes = sorted({tuple(pixels.shape[1:]) for pixels in read})
    if len(sizes) > 1:
        raise ValueError(
            f"{name} must be pictures of one size, got {len(sizes)} sizes, {sizes[0]} and {sizes[-1]} among "
            "them (height, width); pictures.read(picture, side=64) makes them one"
        )
    most = max(len(pixels) for pixels in read)
    return torch.stack([pixels.expand(most, -1, -1) for pixels in read])


def _channels_first(name: str, x: Tensor, channels: str | None) -> Tensor:
    """(N, C, H, W) from what is (N, H, W) or (N, C, H, W); asks where the last axis may be the channels."""
    shape = tuple(x.shape)
    if x.ndim not in (3, 4) or not x.numel():
        rows = "; of rows of numbers make images: x.reshape(-1, 1, height, width)" if x.ndim == 2 else ""
        raise ValueError(
            f"{name} must be at least one image, of shape (N, H, W) or (N, C, H, W), got shape {shape}{rows}"
        )
    if x.ndim == 3:
        if channels == "last":
            raise ValueError(
                f"{name} of shape {shape} have no axis of channels to be the last; leave channels out if "
                f"these are {shape[0]} gray images, write {name}[None] if it is one in color"
            )
        if channels is None and shape[2] in (1, 3, 4) and shape[1] >= WIDE:
            raise ValueError(
                f"{name} of shape {shape} may be {shape[0]} gray images or one in color; "
                f'write {name}[:, None] for the first, {name}[None] and channels="last" for the second'
            )
        return x[:, None].contiguous()
    if channels == "last":
        return x.permute(0, 3, 1, 2).contiguous()
    if channels is None and shape[1] not in COLORS:
        if shape[3] in (1, 3, 4):
            hint = f'channels="last" if the last axis is the colors, "first" if there are {shape[1]} of them'
        else:
            hint = f'channels="first" if there really are {shape[1]}'
        raise ValueError(f"{name} must be (N, C, H, W) with C = 1 or 3, got shape {shape}; write {hint}")
    return x.contiguous()


def _of_whole(name: str, x: Tensor) -> Tensor:
    """Whole numbers 0 … 255 as uint8; refuses 0 and 1 alone, which as 255ths are two blacks."""
    if x.is_meta:
        return x.to(torch.uint8)
    low, high = (int(v) for v in x.aminmax())
    if low < 0 or high > 255:
        raise ValueError(
            f"{name} of whole numbers must be from 0 to 255, got {low} to {high}"
            + ("; of 16 bits, write x // 257" if low >= 0 and 255 < high < 65536 else "")
        )
    if high == 1:
        raise ValueError(
            f"{name} are whole numbers 0 and 1, which of 255 would be nearly black; "
            "write x * 255 if 1 is white"
        )
    return x.to(torch.uint8)


def _of_floats(name: str, x: Tensor) -> Tensor:
    """Numbers in [0, 1] as 255ths; refuses any beyond, or so dark that they must have been divided twice."""
    broken = x.isnan().flatten(1).any(1)
    if broken.any():
        raise ValueError(
            f"{name} must be in [0, 1], but {int(broken.sum())} of {len(x)} images hold NaN, the first "
            f"is number {int(broken.nonzero()[0])}; leave them out"
        )
    low, high = (
        (float(v) for v in x.double().aminmax()) if x.device.type != "mps" else map(float, x.aminmax())
    )
    if low < 0 or high > 1:
        outside = int(((x < 0) | (x > 1)).sum())
        raise ValueError(
            f"{name} must be in [0, 1], got {digits(low, 0, 1)} … {digits(high, 0, 1)}, "
            f"{outside:,} of {x.numel():,} numbers outside; {_meant(low, high)}"
        )
    if 0 < high < 1.5 / 255:
        raise ValueError(
            f"{name} are at most {high:.3g}, darker than one of 255 levels; were they divided by 255 twice?"
        )
    return x.float().mul(255).round().to(torch.uint8)


def _meant(low: float, high: float) -> str:
    """What numbers beyond [0, 1] may be, and what to write then."""
    if low >= 0 and 2 < high <= 255:
        return "if 255 is white, write x / 255"
    if -1 <= low < -0.5 and high <= 1:
        return "if -1 is black, write (x + 1) / 2"
    if low >= -0.2 and high <= 1.2:
        return "if they overshoot by a little, write x.clip(0, 1)"
    return "if they are logits, write 1 / (1 + exp(-x)), else rescale them"
