"""Every color of the book, on light paper and on dark. One color, one meaning.

Figures are drawn in the light colors (`plotting`). In a page, figures and everything else use the variable
`--vae-NAME`, which has both; python -m vae_lab.colors prints the variables.
"""

import argparse

COLORS = {  # name: (on light paper, on dark)
    "paper": ("#ffffff", "#14171c"),
    "surface": ("#f6f8fa", "#1c2128"),  # behind code
    "ink": ("#24292f", "#dde2e8"),
    "muted": ("#57606a", "#a3adb8"),  # secondary text
    "faint": ("#8c959f", "#7d8792"),  # ticks and marks, too pale for text
    "line": ("#d0d7de", "#343b44"),
    # The roles: Okabe & Ito's palette, darkened to be read as text
    "q": ("#0072b2", "#5cb3ea"),  # encoder, φ, q
    "p": ("#c4500a", "#f0884a"),  # decoder, θ, p
    "prior": ("#6e7781", "#98a2ad"),
    "kl": ("#8f4a8b", "#d79bd0"),
    "rec": ("#00795c", "#3fbf98"),  # reconstruction
    # Ten classes, told apart by lightness as well as hue: Paul Tol's muted scheme and a gray
    "class-0": ("#332288", "#9a8fe8"),
    "class-1": ("#88ccee", "#88ccee"),
    "class-2": ("#44aa99", "#44aa99"),
    "class-3": ("#117733", "#4cb86f"),
    "class-4": ("#999933", "#b9b94e"),
    "class-5": ("#ddcc77", "#ddcc77"),
    "class-6": ("#cc6677", "#e58895"),
    "class-7": ("#882255", "#d9709c"),
    "class-8": ("#aa4499", "#cf7fc8"),
    "class-9": ("#888888", "#b4b4b4"),
}
LIGHT = {name: light for name, (light, _) in COLORS.items()}
CLASSES = tuple(LIGHT[f"class-{k}"] for k in range(10))
JUPYTER = {
    "ink": "ui-font-color0",
    "muted": "ui-font-color2",
    "line": "border-color2",
    "paper": "layout-color0",
}


def theme() -> str:
    """The variables of the book's theme; paper is white in print."""
    light, dark = (
        "".join(f"  --vae-{name}: {pair[k]};\n" for name, pair in COLORS.items()) for k in range(2)
    )
    dark = f'@media not print {{\nhtml[data-theme="dark"] {{\n{dark}}}\n}}\n'
    return f'html,\nhtml[data-theme="light"] {{\n{light}}}\n{dark}'


def fallbacks() -> str:
    """The variables of the widgets: the theme's, where there is none Jupyter's, else our own (`base.css`)."""

    def value(name: str) -> str:
        light, dark = COLORS[name]
        alone = light if light == dark else f"light-dark({light}, {dark})"
        jupyter = f"var(--jp-{JUPYTER[name]}, {alone})" if name in JUPYTER else alone
        return f"var(--vae-{name}, {jupyter})"

    return ".vae-widget {\n" + "".join(f"  --{name}: {value(name)};\n" for name in COLORS) + "}\n"


def main(arguments: list[str] | None = None) -> None:
    argparse.ArgumentParser("python -m vae_lab.colors", description="print the theme").parse_args(arguments)
    print(theme(), end="")


if __name__ == "__main__":
    main()
