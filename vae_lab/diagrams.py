"""Drawings of the two models, in the colours of the book: encoder, decoder, prior."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from vae_lab.plotting import INK, KL, MUTED, PRIOR, REC, WIDTH, P, Q


def draw_autoencoder(*, ax: Axes | None = None) -> Axes:
    """x → encoder f_φ → code z → decoder g_θ → x̂, with the squared error between the two ends."""
    ax = _canvas(ax, (0, 10), (-2.1, 1.75))
    _label(ax, 0.45, 0, "$x$", INK)
    _wedge(ax, 1.1, 3.9, 1.5, 0.45, Q, "encoder", r"$f_\phi$")
    _label(ax, 5, 0, "$z$", INK)
    ax.text(5, 0.75, "code,\n$L$ numbers", ha="center", va="bottom", fontsize=10, color=MUTED)
    _wedge(ax, 6.1, 8.9, 0.45, 1.5, P, "decoder", r"$g_\theta$")
    _label(ax, 9.55, 0, r"$\hat{x}$", INK)
    for left, right in ((0.7, 1.05), (3.95, 4.7), (5.3, 6.05), (8.95, 9.3)):
        _arrow(ax, (left, 0), (right, 0))
    _bracket(ax, 0.45, 9.55, -1.75, REC, r"squared error  $\|x-\hat{x}\|^2$")
    return ax


def draw_vae(*, ax: Axes | None = None) -> Axes:
    """x → encoder → q(z|x) → a sample z → decoder → p(x|z), with the two terms of the ELBO."""
    ax = _canvas(ax, (0, 10), (-2.1, 2.6))
    _label(ax, 0.4, 0, "$x$", INK)
    _wedge(ax, 0.9, 3.0, 1.5, 0.6, Q, "encoder", r"$\phi$")
    _label(ax, 3.75, 0.35, r"$\mu(x)$", Q)
    _label(ax, 3.75, -0.35, r"$\sigma(x)$", Q)
    _label(ax, 5.55, 0, "$z$", INK)
    ax.text(4.95, -0.75, r"$z\sim q_\phi(z\,|\,x)$", ha="center", va="top", fontsize=10, color=Q)
    _wedge(ax, 6.2, 8.3, 0.6, 1.5, P, "decoder", r"$\theta$")
    _label(ax, 9.3, 0, r"$p_\theta(x\,|\,z)$", P)
    _label(ax, 5.55, 1.45, r"$p(z)=\mathrm{N}(0,I)$", PRIOR)
    for left, right in ((0.6, 0.85), (3.05, 3.3), (5.75, 6.15), (8.35, 8.6)):
        _arrow(ax, (left, 0), (right, 0))
    _arrow(ax, (4.2, 0), (5.3, 0), dashed=True)
    _arrow(ax, (5.55, 1.15), (5.55, 0.35), dashed=True)
    ax.annotate(
        "",
        (3.75, 0.7),
        (4.55, 1.5),
        arrowprops={"arrowstyle": "-", "color": KL, "connectionstyle": "arc3,rad=0.35"},
    )
    ax.text(3.7, 1.5, "KL", color=KL, ha="right", va="center", weight="bold")
    _bracket(ax, 0.4, 9.3, -1.75, REC, r"reconstruction  $\log p_\theta(x\,|\,z)$")
    return ax


def _canvas(ax: Axes | None, xlim: tuple, ylim: tuple) -> Axes:
    if ax is None:
        ax = plt.subplots(figsize=(WIDTH, WIDTH * (ylim[1] - ylim[0]) / (xlim[1] - xlim[0])))[1]
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _wedge(
    ax: Axes, left: float, right: float, tall: float, short: float, color: str, name: str, symbol: str
) -> None:
    corners = [(left, -tall), (right, -short), (right, short), (left, tall)]
    ax.add_patch(plt.Polygon(corners, closed=True, facecolor=color, alpha=0.14, edgecolor="none"))
    ax.add_patch(
        plt.Polygon(corners, closed=True, fill=False, edgecolor=color, linewidth=1.4, joinstyle="round")
    )
    ax.text((left + right) / 2, 0.22, name, ha="center", va="center", color=color)
    ax.text((left + right) / 2, -0.28, symbol, ha="center", va="center", color=color)


def _label(ax: Axes, x: float, y: float, text: str, color: str) -> None:
    ax.text(x, y, text, ha="center", va="center", color=color, fontsize=13)


def _arrow(ax: Axes, start: tuple, end: tuple, *, dashed: bool = False) -> None:
    style = {
        "arrowstyle": "-|>",
        "color": MUTED,
        "linewidth": 1.1,
        "linestyle": "--" if dashed else "-",
        "shrinkA": 0,
        "shrinkB": 0,
    }
    ax.annotate("", end, start, arrowprops=style)


def _bracket(ax: Axes, left: float, right: float, y: float, color: str, text: str) -> None:
    ax.plot([left, left, right, right], [-0.45, y, y, -0.45], color=color, linewidth=1.2)
    ax.text((left + right) / 2, y + 0.08, text, ha="center", va="bottom", color=color)
