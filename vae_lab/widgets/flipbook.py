"""Pictures computed beforehand, leafed through by a slider."""

from collections.abc import Sequence
from io import BytesIO

import anywidget
import numpy as np
import traitlets
from PIL import Image

from vae_lab.arguments import Natural, Words, checked, shown, tensor
from vae_lab.data.pixels import as_pixels
from vae_lab.widgets.bundle import script, style

HINT = "Drag the slider."


class Flipbook(anywidget.AnyWidget):
    """One of T frames, its caption, and where it lies on a curve.

    Trait frame holds its number. See `flipbook`, which fills the others.
    """

    _esm = script("ui.js", "scale.js", "sliders.js", "flipbook.js")
    _css = style("base.css", "flipbook.css")
    sheet = traitlets.Bytes().tag(sync=True)
    count = traitlets.Int().tag(sync=True)
    columns = traitlets.Int().tag(sync=True)
    size = traitlets.List().tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    name = traitlets.Unicode().tag(sync=True)
    values = traitlets.List().tag(sync=True)
    captions = traitlets.List().tag(sync=True)
    curve = traitlets.List().tag(sync=True)
    axes = traitlets.List().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        width, height = self.size
        return f"Flipbook({self.count} frames of {height}×{width})"


@checked
def flipbook(
    frames,
    *,
    name: str = "frame",
    values: Sequence | None = None,
    captions: Words | None = None,
    curve: tuple | None = None,
    axes: Words = ("", ""),
    start: Natural = 0,
    hint: str = HINT,
) -> Flipbook:
    """Pictures with one slider over them: the training step, the width of a bottleneck, the KL weight.

    frames : (T, H, W) gray or (T, H, W, 3) RGB; uint8, or floating-point numbers in [0, 1]
    name : what the slider sets; values : T values of it, as they are shown, default 1 … T
    captions : T lines, each shown under its frame, and read aloud by screen readers
    curve : T numbers across and T numbers up, one point a frame, joined by a line; press on it to go there
    axes : what the curve's two numbers are; start : the frame shown first

    Raises `ValueError` for arguments that do not fit together.
    """
    frames = _frames(frames)
    count = len(frames)
    values = [str(v) for v in (range(1, count + 1) if values is None else values)]
    captions = [f"{name} {value}" for value in values] if captions is None else list(captions)
    if curve is not None and len(curve) != 2:
        raise ValueError(f"curve must be two rows of numbers, across and up, got {len(curve)}")
    curve = [_finite_row(f"curve[{i}]", row) for i, row in enumerate(curve or ())]
    for what, given in (
        ("values", values),
        ("captions", captions),
        *((f"curve[{i}]", row) for i, row in enumerate(curve)),
    ):
        if len(given) != count:
            raise ValueError(f"{what} must be {count}, one a frame; got {len(given)}")
    if len(axes) != 2:
        raise ValueError(f"axes must be two words, of what the curve's numbers are; got {len(axes)}")
    if start >= count:
        raise ValueError(f"start must be a frame, 0 … {count - 1}; got {start}")
    columns = int(np.ceil(np.sqrt(count)))
    height, width = frames.shape[1:3]
    return Flipbook(
        sheet=_sheet(frames, columns),
        count=count,
        columns=columns,
        size=[width, height],
        frame=start,
        start=start,
        name=name,
        values=values,
        captions=captions,
        curve=curve,
        axes=list(axes),
        hint=hint,
    )


def _frames(frames) -> np.ndarray:
    """uint8 (T, H, W) or (T, H, W, 3)."""
    frames = tensor("frames", frames).detach().cpu()
    colored = frames.ndim == 4 and frames.shape[3] == 3
    if not (frames.ndim == 3 or colored) or not frames.numel():
        channels = "; write frames.movedim(1, 3)" if frames.ndim == 4 and frames.shape[1] == 3 else ""
        raise ValueError(
            f"frames must be of shape (T, H, W) or (T, H, W, 3), got {tuple(frames.shape)}{channels}"
        )
    pixels = as_pixels("frames", frames, channels="last" if colored else None)
    return (pixels.movedim(1, 3) if colored else pixels[:, 0]).numpy()


def _finite_row(name: str, row) -> list[float]:
    row = tensor(name, row).detach().cpu().double()
    if row.ndim != 1 or not row.isfinite().all():
        raise ValueError(
            f"{name} must be a row of finite numbers, got {shown(row)}; leave out the frames that have none"
        )
    return row.tolist()


def _sheet(frames: np.ndarray, columns: int) -> bytes:
    """All frames side by side in rows, as one PNG."""
    count, height, width, *colors = frames.shape
    rows = -(-count // columns)
    grid = np.zeros((rows * columns, height, width, *colors), np.uint8)
    grid[:count] = frames
    grid = grid.reshape(rows, columns, height, width, *colors).swapaxes(1, 2)
    file = BytesIO()
    Image.fromarray(grid.reshape(rows * height, columns * width, *colors)).save(file, "PNG", optimize=True)
    return file.getvalue()
