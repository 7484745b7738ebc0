"""Sphinx extension: put SVG figures into the page, so that they take its colors, its type and its dark mode.

A notebook's figures keep plain colors, which any viewer shows. Here the colors of the book's palette become
the variables of `theme/colors.css`, each with the plain color behind it.

Figures and code say how large they are, so that a browser lays out what is on the screen and leaves the rest
of a long page for later (`content-visibility` in the theme).
"""

import re
from base64 import b64decode, b64encode
from html import escape, unescape
from io import BytesIO
from pathlib import Path

from docutils import nodes
from PIL import Image
from pygments.formatters import HtmlFormatter
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Text
from sphinx.errors import ExtensionError
from sphinx.highlighting import PygmentsBridge
from sphinx.transforms.post_transforms import SphinxPostTransform

PALETTE = {
    "#0072b2": "--vae-q",
    "#c4500a": "--vae-p",
    "#6e7781": "--vae-prior",
    "#8f4a8b": "--vae-kl",
    "#00795c": "--vae-rec",
    "#24292f": "--vae-ink",
    "#8c959f": "--vae-faint",
    "#d0d7de": "--vae-line",
    "#ffffff": "--vae-paper",
    # ten classes
    "#332288": "--vae-class-0",
    "#88ccee": "--vae-class-1",
    "#44aa99": "--vae-class-2",
    "#117733": "--vae-class-3",
    "#999933": "--vae-class-4",
    "#ddcc77": "--vae-class-5",
    "#cc6677": "--vae-class-6",
    "#882255": "--vae-class-7",
    "#aa4499": "--vae-class-8",
    "#888888": "--vae-class-9",
}


PAINT = r' (fill|stroke)="(#[0-9a-fA-F]{6})"'


def paint_by_style(tag: re.Match) -> str:
    """Move a tag's fill="#…" and stroke="#…" into its style: an attribute cannot hold a CSS variable."""
    paint = "".join(f"{name}: {color}; " for name, color in re.findall(PAINT, tag[0]))
    rest = re.sub(PAINT, "", tag[0])
    if ' style="' in rest:
        return rest.replace(' style="', f' style="{paint}', 1)
    return re.sub(r"^<\w+", rf'\g<0> style="{paint}"', rest) if paint else rest


def recolor(svg: str) -> str:
    """Replace the palette's colors by the page's variables; other colors stay."""

    def variable(color: re.Match) -> str:
        name = PALETTE.get(color[0].lower())
        return f"var({name}, {color[0]})" if name else color[0]

    return re.sub(r"#[0-9a-fA-F]{6}\b", variable, re.sub(r"<\w[^>]*>", paint_by_style, svg))


def rename_ids(svg: str, prefix: str) -> str:
    """Make ids unique in a page of many figures; drop those that nothing refers to."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)


def lighter(png: re.Match) -> str:
    """A PNG inside a figure as a WebP of the very same pixels, in a third to a half fewer bytes."""
    file = BytesIO()
    Image.open(BytesIO(b64decode(png[1]))).save(file, "WEBP", lossless=True)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def inline(svg: str, *, alt: str, prefix: str) -> str:
    """Return the SVG file `svg` as an HTML fragment that scales with the column, described by `alt`."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"data:image/png;base64,([\w+/=\s]+)", lighter, svg)
    svg = re.sub(r'(<tspan x="[-\d.]+) [-\d. ]+"', r'\1"', svg)  # each letter placed as in another font
    head, body = recolor(rename_ids(svg, prefix)).replace("xlink:href", "href").split(">", 1)
    width, height = map(float, re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', head).groups())
    pixels = re.search(r'\bwidth="([\d.]+)(pt|px)?"', head)
    pixels = float(pixels[1]) * (4 / 3 if pixels[2] == "pt" else 1) if pixels else width
    head = re.sub(r'\s(width|height|version|xmlns(:xlink)?|role|aria-label)="[^"]*"', "", head)
    svg = f'{head} class="figure" role="img" aria-label="{escape(alt)}">{body}'
    size = f"width: {pixels:.0f}px; aspect-ratio: {width:.6g} / {height:.6g}"
    return f'<span class="drawing" style="{size}">{svg}</span>'


class TidyOutputs(SphinxPostTransform):
    """Replace each image that is an SVG file by its source; drop empty outputs, which progress bars leave."""

    default_priority = 900
    formats = ("html",)

    def run(self):
        for number, image in enumerate(list(self.document.findall(nodes.image))):
            path = Path(self.app.srcdir, image["uri"])
            if path.suffix == ".svg" and path.is_file():
                svg = inline(path.read_text("utf8"), alt=image.get("alt", ""), prefix=f"f{number}-")
                image.replace_self(nodes.raw("", svg, format="html"))
        for block in list(self.document.findall(nodes.literal_block)):
            if "output" in block["classes"] and not block.astext().strip():
                block.parent.remove(block)


class QuietFormatter(HtmlFormatter):
    """Marks only the code that the theme sets apart: marks for all would double the elements of a page."""

    SET_APART = (Keyword, Operator.Word, Name.Function, Name.Class, Comment, String, Number)

    def format_unencoded(self, tokensource, outfile):
        marked = (
            (kind if any(kind in apart for apart in self.SET_APART) else Text, text)
            for kind, text in tokensource
        )
        super().format_unencoded(marked, outfile)


def measure_code(app, pagename, templatename, context, doctree):
    """Tell the theme how many lines and columns each code cell has."""

    def measured(cell: re.Match) -> str:
        lines = unescape(re.sub(r"<[^>]*>", "", cell[3])).split("\n")
        size = f"--lines: {len(lines) - 1}; --columns: {max(map(len, lines))}"
        return f'{cell[1]} style="{size}"{cell[2]}{cell[3]}</pre>'

    start = r'(<div class="cell_input docutils container")(>\s*(?:<div [^>]*>)+<pre>)'
    context["body"] = re.sub(rf"{start}(.*?)</pre>", measured, context.get("body", ""), flags=re.DOTALL)


def offer_colab(app, pagename, templatename, context, doctree):
    """Offer Colab by its name instead of behind a rocket, and only on what Colab can open: notebooks."""
    notebook = pagename in app.env.found_docs and app.env.doc2path(pagename).endswith(".ipynb")
    buttons = context.get("header_buttons", [])
    for group in [button for button in buttons if button.get("label") == "launch-buttons"]:
        buttons.remove(group)
        if notebook:
            buttons += [
                {**link, "text": f"Open in {link['text']}", "icon": None} for link in group["buttons"]
            ]


def calm_theme(app, exception):
    """Stop the theme's script from asking each block how wide it is, after loading and after every change.

    Each answer lays out what `content-visibility` leaves for later: on a long chapter, for a third of a
    second. `templates/layout.html` does what the script wants by it.
    """
    if exception or app.builder.format != "html":
        return
    path = Path(app.outdir, "_static/scripts/pydata-sphinx-theme.js")
    start = r',"complete"===document\.readyState\?(\w+)\(\):window\.addEventListener\("load",\1\)'
    script, found = re.subn(start, "", path.read_text("utf8"))
    if not found:
        raise ExtensionError(
            f"{path.name} has changed: see what starts addTabStopsToScrollableElements now, for calm_theme"
        )
    path.write_text(script, "utf8")


def setup(app):
    PygmentsBridge.html_formatter = QuietFormatter
    app.add_post_transform(TidyOutputs)
    app.connect("html-page-context", measure_code)
    app.connect("html-page-context", offer_colab, priority=900)  # after the theme has made its buttons
    app.connect("build-finished", calm_theme)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
