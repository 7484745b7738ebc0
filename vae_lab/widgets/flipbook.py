"""Pictures computed beforehand, leafed through by a slider."""

from collections.abc import Sequence
from io import BytesIO

import anywidget
import ipywidgets
import numpy as np
import traitlets
from PIL import Image

from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.panel import Panel

HINT = "Drag the slider."


class Flipbook(anywidget.AnyWidget):
    """One of T frames, its caption, and where it lies on a curve.

    Trait frame holds its number; link a slider to it. See `flipbook`, which does.
    """

    _esm = script("ui.js", "scale.js", "flipbook.js")
    _css = style("base.css", "flipbook.css")
    sheet = traitlets.Bytes().tag(sync=True)
    count = traitlets.Int().tag(sync=True)
    columns = traitlets.Int().tag(sync=True)
    size = traitlets.List().tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    captions = traitlets.List().tag(sync=True)
    curve = traitlets.List().tag(sync=True)
    axes = traitlets.List().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        width, height = self.size
        return f"Flipbook({self.count} frames of {height}×{width})"


def flipbook(
    frames,
    *,
    name: str = "frame",
    values: Sequence | None = None,
    captions: Sequence[str] | None = None,
    curve: tuple[Sequence[float], Sequence[float]] | None = None,
    axes: tuple[str, str] = ("", ""),
    start: int = 0,
    hint: str = HINT,
) -> Panel:
    """Pictures with one slider over them: the training step, the width of a bottleneck, the KL weight.

    frames : (T, H, W) gray or (T, H, W, 3) RGB; uint8, or floating-point numbers in [0, 1]
    name : what the slider sets; values : T of it as they are to be read, default 1 … T
    captions : T lines, each shown under its frame and read to those who do not see it
    curve : T numbers across and T numbers up, one point a frame, joined by a line; press on it to go there
    axes : what the curve's two numbers are; start : the frame shown first

    Raises `ValueError` for arguments that do not fit together.
    """
    frames = _frames(frames)
    count = len(frames)
    values = [str(v) for v in (range(1, count + 1) if values is None else values)]
    captions = [f"{name} {value}" for value in values] if captions is None else [str(c) for c in captions]
    for what, given in (
        ("values", values),
        ("captions", captions),
        *(("a curve's coordinates", c) for c in curve or ()),
    ):
        if len(given) != count:
            raise ValueError(f"{what} must be {count}, one a frame; got {len(given)}")
    if curve and not np.isfinite(np.array(curve, dtype=float)).all():
        raise ValueError("a curve's coordinates must be finite numbers; leave out the frames that have none")
    if not 0 <= start < count:
        raise ValueError(f"start must be a frame, 0 … {count - 1}; got {start}")
    columns = int(np.ceil(np.sqrt(count)))
    height, width = frames.shape[1:3]
    view = Flipbook(
        sheet=_sheet(frames, columns),
        count=count,
        columns=columns,
        size=[width, height],
        frame=start,
        start=start,
        captions=captions,
        curve=[[float(v) for v in c] for c in curve] if curve else [],
        axes=list(axes),
        hint=hint,
    )
    slider = ipywidgets.SelectionSlider(
        options=[(value, i) for i, value in enumerate(values)],
        index=start,
        description=name,
        style={"description_width": "initial"},
        layout=ipywidgets.Layout(width="auto"),
    )
    return Panel(view, {"frame": slider}, linked="index")


def _frames(frames) -> np.ndarray:
    """uint8 (T, H, W) or (T, H, W, 3)."""
    frames = np.asarray(frames.detach().cpu() if hasattr(frames, "detach") else frames)
    if not (frames.ndim == 3 or (frames.ndim == 4 and frames.shape[3] == 3)) or not frames.size:
        raise ValueError(f"expected frames of shape (T, H, W) or (T, H, W, 3), got {frames.shape}")
    if frames.dtype == np.uint8:
        return frames
    if not (frames.min() >= 0 and frames.max() <= 1):  # written so that NaN is refused too
        raise ValueError(
            f"expected uint8 frames or numbers in [0, 1], got {frames.min():.3g} … {frames.max():.3g}"
        )
    return np.round(frames * 255).astype(np.uint8)


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
