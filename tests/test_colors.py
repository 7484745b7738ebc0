"""The colors: in one file, told apart, and the same in figures, pages and widgets."""

import re
import subprocess
from pathlib import Path

import pytest

from vae_lab import colors, plotting
from vae_lab.widgets import bundle

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "vae_lab/colors.py",
    "site/pictures/logo.svg",  # shown by itself, by browsers and viewers that know no variable of ours
    "site/browser/theme/print.css",  # the margins of a printed page know no variable
}


def sources() -> list[Path]:
    """Every text file that is written by hand, but for tests."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout: git says " + listed.stderr.strip())
    kinds = {".py", ".js", ".css", ".html", ".svg", ".json", ".jsonc", ".toml", ".yml", ".md", ".mjs"}
    return [
        ROOT / name
        for name in listed.stdout.splitlines()
        if Path(name).suffix in kinds and not name.startswith("tests/") and (ROOT / name).is_file()
    ]


def test_no_other_file_holds_a_color():
    palette = {color for pair in colors.COLORS.values() for color in pair}
    held = {}
    for path in sources():
        found = set(re.findall(r"#[0-9a-f]{6}\b", path.read_text("utf8").lower()))
        if found & palette:
            held[path.relative_to(ROOT).as_posix()] = found
    assert held.keys() == ELSEWHERE
    for name, found in held.items():
        assert found <= palette, f"{name} has a color of its own"


def test_the_theme_has_every_color_light_and_dark():
    light, dark = colors.theme().split("@media not print")
    for name, pair in colors.COLORS.items():
        assert f"--vae-{name}: {pair[0]};" in light and f"--vae-{name}: {pair[1]};" in dark


def test_figures_and_widgets_have_the_colors_of_the_page():
    assert tuple(colors.LIGHT[f"class-{k}"] for k in range(10)) == plotting.CLASSES
    assert (colors.LIGHT["q"], colors.LIGHT["ink"]) == (plotting.Q, plotting.INK)
    sheet = bundle.style("base.css")
    for name in colors.COLORS:
        assert re.search(rf"--{name}: var\(--vae-{name}, .*{colors.LIGHT[name]}.*\);", sheet)
    used = {
        name
        for path in bundle.HERE.glob("*.css")
        for name in re.findall(r"var\(--([\w-]+)", path.read_text())
    }
    own = {"at", "class", "share", "vae-sans", "jp-ui-font-family"}
    assert used - own <= colors.COLORS.keys() | {"vae-sans"}


def contrast(one: str, other: str) -> float:
    """Of two colors, as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("k", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "q", "p", "prior", "kl", "rec"])
def test_what_is_read_stands_out_from_the_paper(name, k):
    assert contrast(colors.COLORS[name][k], colors.COLORS["paper"][k]) >= 4.5
