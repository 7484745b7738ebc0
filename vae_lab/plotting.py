"""One look for every figure: SVG whose colors the page maps to its light or dark theme.

`plot_x(data, *, ax=None) -> ax`; nothing here calls `plt.show()`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_rgba
from matplotlib.mathtext import MathTextParser
from matplotlib.ticker import MaxNLocator

from vae_lab.arguments import Count, Points, Words, checked, one_line, shown, tensor
from vae_lab.colors import CLASSES, LIGHT
from vae_lab.data import Images
from vae_lab.data.pixels import as_labels, to_look_at

Q, P, PRIOR, KL, REC = (LIGHT[name] for name in ("q", "p", "prior", "kl", "rec"))
INK, MUTED, LINE = (LIGHT[name] for name in ("ink", "faint", "line"))

FARTHEST = 1e300  # a number that can be drawn
MOST_PIXELS = 50_000_000  # of a grid of images, 1.6 GB while it is drawn
WIDTH = 5.4  # inches: narrow enough for text to stay readable on a phone

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vae_lab",
    "font.family": "sans-serif",
    "font.sans-serif": ["Source Sans 3", "DejaVu Sans"],
    "font.size": 11.25,
    "axes.titlesize": 11.25,
    "axes.titlelocation": "left",
    "axes.labelsize": 11.25,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[Q, P, REC, KL, PRIOR]),
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": "gray",
    "image.interpolation": "none",
    "figure.figsize": (WIDTH, 2.9),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.pad_inches": 0.02,
    "figure.constrained_layout.use": True,
}


def use_style() -> None:
    """Set the book's style; in a notebook, show figures as SVG without a date, so that runs compare."""
    plt.rcParams.update(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython():  # else the next line would start a shell
        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})


@checked
def plot_images(
    images,
    *,
    columns: Count | None = None,
    captions: Words = (),
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw images (N, C, H, W) as a grid, row by row, each over its caption if it has one.

    images : `Images`, or numbers in [0, 1], or uint8; numbers slightly outside [0, 1] are clipped
    columns : images in a row; by default all are in one row
    """
    x = _pixels("images", images)
    for name, words in (("title", title), *((f"captions[{i}]", words) for i, words in enumerate(captions))):
        _legible(name, words)
    if len(captions) > len(x):
        raise ValueError(f"captions must be one an image at the most, got {len(captions)} for {len(x)}")
    n, h, w = len(x), *x.shape[2:]
    columns = columns or n
    rows, gap = -(-n // columns), max(1, w // 14)
    drop = h // 3 if len(captions) else gap
    if rows * (h + drop) * columns * (w + gap) > MOST_PIXELS:
        raise ValueError(
            f"images in {columns} columns make a picture of more than {MOST_PIXELS:.0e} pixels; take fewer"
        )
    sheet = np.zeros((rows * (h + drop), columns * (w + gap), 4))  # RGBA, transparent between the images
    for i in range(n):
        top, left = i // columns * (h + drop), i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = 1
        sheet[top : top + h, left : left + w, :3] = x[i].transpose(1, 2, 0)
    if ax is None:
        width = min(WIDTH, 0.75 * columns)
        ax = plt.subplots(figsize=(width, width * sheet.shape[0] / sheet.shape[1] + (0.3 if title else 0)))[1]
    ax.imshow(sheet)
    for i, caption in enumerate(captions):
        top, left = i // columns * (h + drop), i % columns * (w + gap)
        ax.text(left + w / 2, top + h + drop * 0.45, caption, ha="center", va="center")
    ax.set_title(title)
    ax.set_axis_off()
    return ax


@checked
def plot_reconstructions(x, rows: dict, *, first: str = "original", ax: Axes | None = None) -> Axes:
    """Draw named rows of images: `x` (N, C, H, W), called `first`, over what models make of it, by name."""
    x = _pixels("x", x)
    for name in (first, *rows):
        _legible("rows", str(name))
    made = {name: _pixels(f"rows[{name!r}]", images) for name, images in rows.items()}
    for name, images in made.items():
        if images.shape != x.shape:
            raise ValueError(f"rows[{name!r}] must be of shape {x.shape} like x, got {images.shape}")
    stacked = np.concatenate([x, *made.values()])
    n, h, w = len(x), *x.shape[2:]
    if ax is None:
        ax = plt.subplots(figsize=(WIDTH, WIDTH / (n + 1.5) * (len(rows) + 1)))[1]
    ax = plot_images(stacked, columns=n, ax=ax)
    for i, name in enumerate([first, *rows]):
        ax.text(-h / 5, i * (h + max(1, w // 14)) + h / 2, str(name), ha="right", va="center")
    return ax


@checked
def plot_codes(codes: Points, labels, *, ax: Axes | None = None) -> Axes:
    """Scatter the first two coordinates of codes (N, L), colored by class (N,) and named at its median."""
    z, y = codes.numpy(), as_labels("labels", labels, len(codes), of="codes").cpu().numpy()
    if z.shape[1] < 2:
        raise ValueError(f"codes must have two coordinates at least, got shape {z.shape}")
    if abs(z).max() > FARTHEST:
        raise ValueError(f"codes must lie within ±{FARTHEST:.0e} to be drawn, got {abs(z).max():.3g}")
    ax = ax or plt.subplots(figsize=(4.6, 4.2))[1]
    for k in np.unique(y):
        ax.scatter(*z[y == k, :2].T, s=7, color=CLASSES[k % 10], linewidths=0, alpha=0.8, rasterized=True)
    for k in np.unique(y):
        halo = [patheffects.withStroke(linewidth=3, foreground=CLASSES[k % 10])]
        ax.text(
            *np.median(z[y == k, :2], 0),
            str(k),
            color="white",
            ha="center",
            va="center",
            weight="bold",
            path_effects=halo,
        )
    ax.set_xlabel("$z_1$")
    ax.set_ylabel("$z_2$")
    ax.set_aspect("equal", "datalim")
    return ax


@checked
def plot_curves(
    curves: dict,
    *,
    xlabel: str = "step",
    ylabel: str = "",
    colors: dict | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw named curves, each `(x, y)` or `y`, and write its name where it ends."""
    named = {name: _curve(f"curves[{name!r}]", curve) for name, curve in curves.items()}
    colors = {} if colors is None else colors
    if unknown := [name for name in colors if name not in named]:
        raise ValueError(f"colors must be of curves, {', '.join(map(str, named))}, got one of {unknown[0]!r}")
    for name, color in colors.items():
        _require_color(f"colors[{name!r}]", color)
    for what, words in (("xlabel", xlabel), ("ylabel", ylabel), *(("curves", str(name)) for name in named)):
        _legible(what, words)
    ax = ax or plt.subplots()[1]
    for name, (x, y) in named.items():
        (line,) = ax.plot(x, y, color=colors.get(name))
        end = np.flatnonzero(np.isfinite(x) & np.isfinite(y))[-1]
        ax.annotate(
            str(name),
            (x[end], y[end]),
            (5, 0),
            textcoords="offset points",
            color=line.get_color(),
            va="center",
        )
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    return ax


@checked
def smooth(values, width: Count = 20) -> tuple[np.ndarray, np.ndarray]:
    """Means over runs of `width` neighboring steps: (the middle step of each run, the mean)."""
    values = _row("values", values)
    width = min(width, len(values))
    means = np.convolve(values, np.ones(width) / width, mode="valid")
    return np.arange(len(means)) + (width - 1) / 2, means


def _pixels(name: str, images) -> np.ndarray:
    """(N, 1 or 3, H, W) in [0, 1]."""
    return to_look_at(name, images.read() if isinstance(images, Images) else images).numpy()


def _curve(name: str, curve) -> tuple[np.ndarray, np.ndarray]:
    """The numbers across and up."""
    if isinstance(curve, tuple) and len(curve) != 2:
        raise ValueError(f"{name} must be numbers, or a pair (x, y) of them, got {len(curve)} rows")
    if isinstance(curve, tuple):
        x, y = _row(f"{name}[0]", curve[0]), _row(f"{name}[1]", curve[1])
    else:
        y = _row(name, curve)
        x = np.arange(len(y))
    if len(x) != len(y):
        raise ValueError(f"{name} must be a pair of rows of one length, got {len(x)} and {len(y)} numbers")
    shows = np.isfinite(x) & np.isfinite(y)
    if not shows.any() or max(abs(x[shows]).max(), abs(y[shows]).max()) > FARTHEST:
        raise ValueError(
            f"{name} must have a finite number at least, and none beyond ±{FARTHEST:.0e}, which is too far "
            "to be drawn"
        )
    return x, y


def _require_color(name: str, color) -> None:
    """Refuse what is not a color, before drawing it fails; None stands for the next color."""
    try:
        right = color is None or all(0 <= part <= 1 for part in to_rgba(color))
    except (ValueError, TypeError):
        right = False
    if not right:
        raise ValueError(f"{name} must be a color of matplotlib's, got {shown(color)}")


def _legible(name: str, words: str) -> None:
    """Refuse a formula between dollars that cannot be set, before drawing it fails."""
    try:
        if is_math_text(words):
            MathTextParser("path").parse(words)
    except ValueError as error:
        raise ValueError(
            f"{name} has a formula that cannot be set, {shown(words)}: {one_line(error)}; a dollar is \\$"
        ) from None


def _row(name: str, values) -> np.ndarray:
    """A row of at least one number; NaN and infinity are drawn as gaps."""
    row = tensor(name, values).detach().cpu()
    if row.ndim != 1 or not len(row):
        raise ValueError(f"{name} must be a row of numbers, got {shown(values)}")
    return row.double().numpy()
