"""Drawn animal faces whose generating factors are known: shapes by their signed distance, smooth edges.

A face is painted from back to front on a square from −1 to 1, x to the right and y downward: background,
mane, ears, head, stripes, eyes, muzzle, nose, mouth, whiskers. Left and right are drawn at once, from |x|.
"""

import copy
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated

import torch
from torch import Tensor

from vae_lab.arguments import Count, Points, Seed, checked, whole

SPECIES = ("cat", "dog", "wild")
FACTORS = ("species", "fur", "stripes", "ears", "eyes", "iris", "tilt", "light", "background")
CHUNK_SIZE = 32  # faces drawn together, few enough to stay in the processor's cache
MIDDLE = 0.1  # how far the middle of the head is below that of the picture
LEAN = 0.35  # the largest tilt, in radians

# Each species' own measures: half-widths and half-heights of the head, the muzzle, the nose and the eye.
_HEAD = {"cat": (0.56, 0.47), "dog": (0.45, 0.55), "wild": (0.50, 0.49)}
_MUZZLE = {"cat": (0.22, 0.15), "dog": (0.25, 0.24), "wild": (0.28, 0.20)}
_NOSE = {"cat": (0.07, 0.05), "dog": (0.12, 0.085), "wild": (0.12, 0.07)}
_EYE = {"cat": (0.135, 0.115), "dog": (0.095, 0.095), "wild": (0.095, 0.075)}

# Colors from which a factor between 0 and 1 picks, in sRGB; neighbors are mixed.
_FUR = ((0.29, 0.30, 0.36), (0.62, 0.62, 0.66), (0.95, 0.88, 0.76), (0.93, 0.66, 0.33), (0.60, 0.35, 0.20))
_IRIS = ((0.45, 0.30, 0.14), (0.85, 0.62, 0.15), (0.48, 0.70, 0.32), (0.30, 0.62, 0.80))
_BACKGROUND = (
    (0.35, 0.53, 0.62),
    (0.58, 0.72, 0.60),
    (0.90, 0.82, 0.68),
    (0.80, 0.58, 0.56),
    (0.48, 0.44, 0.60),
)


@checked
def draw_factors(n: Count, *, seed: Seed = 0) -> Tensor:
    """n draws of the factors, (n, 9), as in `FACTORS`: species 0, 1 or 2, the others uniform in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.rand(n, len(FACTORS), generator=generator)
    factors[:, 0] = torch.randint(len(SPECIES), (n,), generator=generator)
    return factors


@checked
def draw(factors: Points, *, side: Annotated[int, whole(8, 4096)] = 64) -> Tensor:
    """Faces of the given factors (N, 9), uint8 of shape (N, 3, side, side); the same factors, the same face.

    Raises `ValueError` for a species that is not 0, 1 or 2, and for another factor outside [0, 1].
    """
    if factors.shape[1] != len(FACTORS):
        raise ValueError(
            f"factors must be of shape (N, {len(FACTORS)}), {', '.join(FACTORS)}, got {tuple(factors.shape)}"
        )
    factors = factors.float()
    species, others = factors[:, 0], factors[:, 1:]
    if not (torch.isin(species, torch.arange(3.0)).all() and ((others >= 0) & (others <= 1)).all()):
        raise ValueError(
            "factors must be 0, 1 or 2 in the first column and in [0, 1] elsewhere; use draw_factors"
        )
    pixels = torch.empty(len(factors), 3, side, side, dtype=torch.uint8)
    few = [
        (name, i) for k, name in enumerate(SPECIES) for i in (species == k).nonzero()[:, 0].split(CHUNK_SIZE)
    ]
    with _one_thread_each() as threads, ThreadPoolExecutor(threads) as pool:
        drawn = pool.map(lambda part: _Painter(others[part[1]].float(), part[0], side).face(), few)
        for (_, i), faces in zip(few, drawn, strict=True):
            pixels[i] = faces
    return pixels


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """How many threads torch has; meanwhile each operation takes one, so that rounding is always the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


class _Painter:
    """The canvas of a few faces of one species, (N, 3, S, S), and where on it each point lies."""

    def __init__(self, factors: Tensor, species: str, side: int):
        columns = dict(zip(FACTORS[1:], factors[:, :, None, None].unbind(1), strict=True))  # each (N, 1, 1)
        self.of, self.species, self.side = columns, species, side
        at = (torch.arange(side) + 0.5) / side * 2 - 1
        angle = (columns["tilt"] - 0.5) * (2 * LEAN)
        across, down = at[None, None, :], at[None, :, None] - MIDDLE
        self.x = across * angle.cos() + down * angle.sin()  # (N, S, S), in the frame of the head
        self.y = down * angle.cos() - across * angle.sin()
        self.half = self.x.abs()
        self.head = self.ellipse(self.x, self.y, *_HEAD[species])
        if species == "cat":  # cheeks
            self.head = torch.minimum(self.head, self.ellipse(self.half - 0.30, self.y - 0.16, 0.33, 0.26))
        self.fur = _pick(_FUR, columns["fur"])  # (N, 3, 1, 1)

    def face(self) -> Tensor:
        """Paint everything, from back to front, each where it can be: |x| up to, y from, y to."""
        self._background()
        self._part(_Painter._shoulders, 0.62, 0.43, 1.67)
        if self.species == "wild":
            self._mane()
        if self.species != "dog":
            self._part(_Painter._ears, 0.68, -0.80, 0.02)
        self._part(_Painter._head, 0.63, -0.55, 0.55)
        if self.species == "dog":
            self._part(_Painter._ears, 0.75, -0.58, 0.48)
        self._part(_Painter._stripes, 0.63, -0.55, 0.24)
        self._part(_Painter._eyes, 0.43, -0.30, 0.16)
        self._part(_Painter._muzzle, 0.31, 0.05, 0.55)
        if self.species != "dog":
            self._part(_Painter._whiskers, 0.70, 0.12, 0.35)
        self._light()
        return self.canvas.clamp_(0, 1).mul_(255).round_().to(torch.uint8)

    def _part(self, paint: Callable[["_Painter"], None], width: float, top: float, bottom: float) -> None:
        """Paint on the pixels around |x| ≤ width, top ≤ y ≤ bottom alone, enough of them for any tilt."""
        sine, cosine = math.sin(LEAN), math.cos(LEAN)
        reach = width + sine * max(-top, bottom)
        low, high = min(top, top * cosine) - sine * width, max(bottom, bottom * cosine) + sine * width
        columns, rows = self._pixels(-reach, reach), self._pixels(low + MIDDLE, high + MIDDLE)
        small = copy.copy(self)
        for name in ("x", "y", "half", "head", "canvas"):
            setattr(small, name, getattr(self, name)[..., rows, columns].contiguous())
        paint(small)
        self.canvas[..., rows, columns] = small.canvas

    def _pixels(self, low: float, high: float) -> slice:
        """The pixels of a row or column from `low` to `high`, and two more for soft edges."""
        first, last = ((at + 1) / 2 * self.side for at in (low, high))
        return slice(max(0, math.floor(first) - 2), math.ceil(last) + 2)

    def paint(self, distance: Tensor, color: Tensor, opacity: float | Tensor | None = None) -> None:
        """Fill where the signed distance (N, S, S) is negative; a pixel on the edge takes its part of it."""
        cover = (distance * (-self.side / 2)).add_(0.5).clamp_(0, 1)
        if opacity is not None:
            cover *= opacity
        self.canvas.lerp_(color, cover[:, None])

    def ellipse(self, x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
        """The distance from an ellipse around (0, 0), to first order: (r² − r) / |∇r²/2|, r = 1 on it."""
        x, y = x.square().add_(1e-12), y.square()  # in the very middle the slope would be 0
        square = (x * width**-2).add_(y * height**-2)
        slope = x.mul_(width**-4).add_(y.mul_(height**-4))
        return square.sub_(square.sqrt()).mul_(slope.rsqrt_())

    def _background(self) -> None:
        color = _pick(_BACKGROUND, self.of["background"])
        fade = 1.08 - 0.16 * torch.linspace(0, 1, self.side)[None, None, :, None]
        self.canvas = (color * fade).expand(-1, -1, -1, self.side).clone()

    def _shoulders(self) -> None:
        self.paint(self.ellipse(self.x, self.y - 1.05, 0.62, 0.62), self.fur * 0.82)

    def _mane(self) -> None:
        angle, radius = torch.atan2(self.y, self.x), torch.hypot(self.x, self.y)
        radius -= 0.02 * torch.sin(angle * 5)
        for size, shade, waves in ((0.86, 0.50, 17), (0.74, 0.64, 13)):
            self.paint(radius - size - 0.035 * torch.sin(angle * waves), self.fur * shade)

    def _ears(self) -> None:
        size = 0.75 + 0.5 * self.of["ears"]
        inside = 0.55 * self.fur + 0.45 * _color(0.93, 0.62, 0.60)
        if self.species == "cat":
            for scale, color in ((1.0, self.fur * 0.88), (0.62, inside)):
                self.paint(self._pointed_ear(size * scale), color)
        elif self.species == "wild":
            for scale, color in ((0.20, self.fur * 0.85), (0.12, inside)):
                self.paint(self.ellipse(self.half - 0.42, self.y + 0.46, scale * size, scale * size), color)
        else:
            x, y = self.half - 0.47, self.y + 0.10
            hanging = self.ellipse(x * 0.96 - y * 0.27, y * 0.96 + x * 0.27 - 0.05, 0.17 * size, 0.40 * size)
            self.paint(hanging, self.fur * 0.66)

    def _pointed_ear(self, size: Tensor) -> Tensor:
        """A triangle with round corners, standing on the head: the largest distance from one of its sides."""
        x, y = (self.half - 0.34).div_(size), (self.y + 0.32).div_(size)
        corners = ((0.11, -0.33), (0.20, 0.22), (-0.21, 0.10))
        distances = []
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            length = math.hypot(x1 - x0, y1 - y0)
            right, down = (y1 - y0) / length, (x0 - x1) / length
            distances.append((x * right).add_(y, alpha=down).sub_(x0 * right + y0 * down))
        return torch.maximum(torch.maximum(*distances[:2]), distances[2]).sub_(0.03).mul_(size)

    def _head(self) -> None:
        self.paint(self.head, self.fur)

    def _stripes(self) -> None:
        bend = (self.y + 0.5).sub_(self.half.square(), alpha=0.9)
        gaps = bend.mul_(21).sin_().mul_(-0.045).sub_((self.half < 0.10) * 0.055 - 0.012)
        low = (self.y + 0.10).sub_(self.half, alpha=0.5)
        beyond = torch.maximum(self.head + 0.02, low)  # the forehead, down to the temples
        self.paint(torch.maximum(beyond, gaps), self.fur * 0.42, self.of["stripes"])

    def _eyes(self) -> None:
        width, height = _EYE[self.species]
        size = 0.75 + 0.5 * self.of["eyes"]
        x, y = self.half - {"cat": 0.235, "dog": 0.19, "wild": 0.20}[self.species], self.y + 0.07
        y = y + 0.25 * x if self.species != "dog" else y  # slanted
        self.paint(self.ellipse(x, y, width * size + 0.022, height * size + 0.022), self.fur * 0.28)
        iris = _pick(_IRIS, self.of["iris"])
        self.paint(self.ellipse(x, y, width * size, height * size), iris)
        pupil = 0.34 if self.species == "cat" else 0.58
        self.paint(self.ellipse(x, y, width * size * pupil, height * size * 0.86), _color(0.05, 0.05, 0.07))
        self.paint(self.ellipse(x + 0.03, y + 0.04, 0.026 * size, 0.026 * size), _color(1, 1, 1), 0.9)

    def _muzzle(self) -> None:
        (width, height), (nose, tip) = _MUZZLE[self.species], _NOSE[self.species]
        top = {"cat": 0.14, "dog": 0.17, "wild": 0.15}[self.species]
        pale = 0.45 * self.fur + 0.55 * _color(1, 0.97, 0.92)
        y = self.y - top
        self.paint(self.ellipse(self.half - width * 0.42, y - height * 0.55, width * 0.68, height), pale)
        dark = _color(0.16, 0.11, 0.11)
        lip = self.ellipse(self.half - width * 0.36, y - height * 0.72, width * 0.36, height * 0.42)
        self.paint(torch.maximum(lip.abs_() - 0.011, height * 0.72 - y), dark)
        self.paint(torch.maximum(self.half - 0.010, (y - height * 0.45).abs() - height * 0.32), dark)
        pink = _color(0.80, 0.45, 0.45) if self.species == "cat" else dark
        self.paint(self.ellipse(self.x, y, nose, tip), pink)

    def _whiskers(self) -> None:
        y = self.y - {"cat": 0.215, "wild": 0.25}[self.species]
        length = (self.half - 0.46).abs_().sub_(0.24)
        for slope in (0.10, -0.12):
            thread = y.sub(self.half, alpha=slope).add_(0.03 * slope).abs_().sub_(0.006)
            self.paint(torch.maximum(thread, length), _color(1, 1, 1), 0.55)

    def _light(self) -> None:
        """Brighter on the side that the light comes from, on the head more than behind it."""
        angle = (self.of["light"] - 0.5) * math.pi
        side = self.x * angle.sin() - self.y * angle.cos() * 0.8
        self.canvas *= (side * (0.34 * (0.35 + 0.65 * (self.head < 0)))).add_(1)[:, None]


def _color(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue], dtype=torch.float32)[None, :, None, None]


def _pick(colors: tuple, at: Tensor) -> Tensor:
    """The color at `at` (N, 1, 1) in [0, 1] along the row of colors, (N, 3, 1, 1)."""
    row, place = torch.tensor(colors), at[:, 0, 0] * (len(colors) - 1)
    low = place.floor().clamp(max=len(colors) - 2).long()
    return torch.lerp(row[low], row[low + 1], (place - low)[:, None])[..., None, None]
