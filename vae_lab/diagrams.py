"""Drawings of the models and of their gradients, in the colors of the book: encoder, decoder, prior."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from vae_lab.arguments import checked
from vae_lab.plotting import INK, KL, MUTED, PRIOR, REC, WIDTH, P, Q


@checked
def draw_autoencoder(*, ax: Axes | None = None) -> Axes:
    """x → encoder f_φ → code z → decoder g_θ → x̂, with the squared error between the two ends."""
    ax = _canvas(ax, (0, 10), (-2.1, 1.75))
    _label(ax, 0.45, 0, "$x$", INK)
    _wedge(ax, 1.1, 3.9, 1.5, 0.45, Q, "encoder", r"$f_\phi$")
    _label(ax, 5, 0, "$z$", INK)
    ax.text(5, 0.75, "code,\n$L$ numbers", ha="center", va="bottom", color=MUTED)
    _wedge(ax, 6.1, 8.9, 0.45, 1.5, P, "decoder", r"$g_\theta$")
    _label(ax, 9.55, 0, r"$\hat{x}$", INK)
    for left, right in ((0.7, 1.05), (3.95, 4.7), (5.3, 6.05), (8.95, 9.3)):
        _arrow(ax, (left, 0), (right, 0))
    _bracket(ax, 0.45, 9.55, -1.75, REC, r"squared error  $\|x-\hat{x}\|^2$")
    return ax


@checked
def draw_vae(*, ax: Axes | None = None) -> Axes:
    """x → encoder → q(z|x) → a sample z → decoder → p(x|z), with the two terms of the ELBO."""
    ax = _canvas(ax, (0, 10), (-2.1, 2.6))
    _label(ax, 0.4, 0, "$x$", INK)
    _wedge(ax, 0.9, 3.0, 1.5, 0.6, Q, "encoder", r"$\phi$")
    _label(ax, 3.75, 0.35, r"$\mu(x)$", Q)
    _label(ax, 3.75, -0.35, r"$\sigma(x)$", Q)
    _label(ax, 5.55, 0, "$z$", INK)
    ax.text(4.95, -0.75, r"$z\sim q_\phi(z\,|\,x)$", ha="center", va="top", color=Q)
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
        (4.3, 1.5),
        arrowprops={"arrowstyle": "-", "color": KL, "connectionstyle": "arc3,rad=0.35"},
    )
    ax.text(3.7, 1.5, "KL", color=KL, ha="right", va="center", weight="bold")
    _bracket(ax, 0.4, 9.3, -1.75, REC, r"reconstruction  $\log p_\theta(x\,|\,z)$")
    return ax


@checked
def draw_gradient_paths(*, ax: Axes | None = None) -> Axes:
    """φ → μ, σ → z → f(z) three times: the gradient stops at a draw, goes around it, or goes through it."""
    ax = _canvas(ax, (0, 10), (-8.5, 1.5))
    for y, title, drawn in (
        (0.0, "sample, then backpropagate", True),
        (-2.8, "score function: around the draw", True),
        (-7.0, "path: through the draw", False),
    ):
        ax.text(0.1, y + 1.25, title, va="center", color=INK, weight="bold")
        for x, text, color in ((0.5, r"$\phi$", Q), (2.5, r"$\mu,\ \sigma$", Q), (8.9, "$f(z)$", REC)):
            _node(ax, x, y, text, color)
        _node(ax, 5.6, y, "$z$", INK, drawn=drawn)
        for left, right in ((1.0, 1.75), (3.25, 5.05), (6.15, 8.15)):
            _arrow(ax, (left, y), (right, y), dashed=drawn and left == 3.25)
    _back(ax, (8.6, -0.55), (5.75, -0.6))
    ax.text(4.2, -0.62, r"$\times$", ha="center", va="center", color=INK, fontsize=17)
    _node(ax, 5.6, -4.3, r"$\log q_\phi(z)$", Q)
    _arrow(ax, (5.6, -3.4), (5.6, -3.85))
    ax.annotate("", (6.75, -4.3), (8.9, -3.3), arrowprops=_bent(MUTED, -0.35, "--"))
    ax.text(9.0, -4.15, r"times $f(z)$", ha="center", va="center", color=REC)
    _back(ax, (4.5, -4.4), (2.6, -3.4))
    _back(ax, (2.2, -3.35), (0.6, -3.3))
    _node(ax, 5.6, -5.75, r"$\varepsilon$", PRIOR, drawn=True)
    _arrow(ax, (5.6, -6.2), (5.6, -6.55))
    for start, end in ((8.6, 5.75), (5.4, 2.7), (2.3, 0.6)):
        _back(ax, (start, -7.55), (end, -7.55))
    return ax


def _node(ax: Axes, x: float, y: float, text: str, color: str, *, drawn: bool = False) -> None:
    """A quantity of a graph: in a circle if it is drawn at random."""
    if drawn:
        ax.add_patch(plt.Circle((x, y), 0.42, facecolor="none", edgecolor=color, linewidth=1.4))
    _label(ax, x, y, text, color)


def _back(ax: Axes, start: tuple, end: tuple) -> None:
    """A gradient on its way back."""
    ax.annotate("", end, start, arrowprops=_bent(Q, -0.25, "-"))


def _bent(color: str, bend: float, line: str) -> dict:
    style = {
        "arrowstyle": "-|>",
        "color": color,
        "linewidth": 1.6,
        "linestyle": line,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    return style | {"connectionstyle": f"arc3,rad={bend}"}


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
