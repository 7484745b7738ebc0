"""Sphinx extension: put SVG figures into the page, so that they take its colors, its type and its dark mode.

A notebook's figures keep plain colors, which any viewer shows. Here the colors of the book's palette become
the page's variables, each with the plain color behind it.

Each says how large it is, so that a browser lays out what is on the screen and leaves the rest of a long page
for later (`content-visibility` in the theme).
"""

import html
import re
from base64 import b64decode, b64encode
from functools import cache
from io import BytesIO
from pathlib import Path

from docutils import nodes
from fontTools.ttLib import TTFont
from matplotlib import get_data_path
from PIL import Image
from selectolax.lexbor import LexborHTMLParser, LexborNode
from sphinx.transforms.post_transforms import SphinxPostTransform

from dom import put, take
from vae_lab.colors import LIGHT

VARIABLES = {light: name for name, light in LIGHT.items()}
COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")
PNG = "data:image/png;base64,"
BACK, SPACE = (
    0.1,
    0.12,
)  # of the size of letters: a gap that is too small for one, and large enough for a space
NOT_IN_A_PAGE = ("width", "height", "version", "xmlns", "xmlns:xlink", "role", "aria-label")


def inline(svg: str, *, alt: str, prefix: str) -> str:
    """Return the SVG file `svg` as an HTML fragment that scales with the column, described by `alt`."""
    tree = LexborHTMLParser(svg[svg.index("<svg") :].strip(), is_fragment=True)
    root = tree.css_first("svg")
    _, _, width, height = map(float, root.attrs["viewBox"].split())
    pixels = length(root.attrs.get("width", str(width)))
    take(root, *NOT_IN_A_PAGE)
    put(root, {"class": "figure", "role": "img", "aria-label": alt})
    drop_unseen(root)
    elements = list(root.traverse())
    rename_ids(elements, prefix)
    for element in elements:
        tidy(element)
        recolor(element)
    for text in root.css("text:has(tspan)"):
        flow(text)
    size = f"--width: {pixels:.0f}; aspect-ratio: {width:.6g} / {height:.6g}"
    return f'<span class="drawing" style="{size}">{root.html}</span>'


def length(text: str) -> float:
    """A length of SVG in pixels."""
    return float(text.removesuffix("pt")) * 4 / 3 if text.endswith("pt") else float(text.removesuffix("px"))


def drop_unseen(root: LexborNode) -> None:
    """Remove metadata, comments, and the white space between elements that hold no text."""
    for metadata in root.css("metadata"):
        metadata.decompose()
    for node in list(root.traverse(include_text=True)):
        if node.is_comment_node or (node.is_empty_text_node and node.parent.tag not in ("text", "tspan")):
            node.decompose()


def rename_ids(elements: list[LexborNode], prefix: str) -> None:
    """Make ids unique in a page of many figures; drop those that nothing refers to."""
    reference = re.compile(r"^#(.+)|url\(#(.+?)\)")
    used = set()
    for element in elements:
        for name, value in list(element.attrs.items()):
            if name in ("href", "xlink:href") or "url(#" in (value or ""):
                used |= {a or b for a, b in reference.findall(value)}
                element.attrs[name] = re.sub(r"^#|(?<=url\()#", f"#{prefix}", value)
    for element in elements:
        own = element.attrs.get("id")
        if own in used:
            element.attrs["id"] = prefix + own
        elif own is not None:
            del element.attrs["id"]


def tidy(element: LexborNode) -> None:
    """Write one element as a page of HTML wants it, in fewer bytes."""
    attrs = element.attrs
    if "xlink:href" in attrs:
        attrs["href"] = take(element, "xlink:href")["xlink:href"]
    if attrs.get("href", "").startswith(PNG):
        attrs["href"] = lighter(attrs["href"].removeprefix(PNG))
    if "d" in attrs:
        attrs["d"] = " ".join(attrs["d"].split())
    if element.tag == "tspan" and "x" in attrs:
        attrs["x"] = attrs["x"].split()[0]  # each letter was placed as in another font


def flow(text: LexborNode) -> None:
    """Let the letters of a formula, each placed as in Matplotlib's font, follow one another in the page's.

    What stands above or below the line keeps its height; a gap that is no letter's becomes a space. A formula
    that goes back, such as a fraction, stays as it is.
    """
    letters = sorted(text.css("tspan"), key=lambda each: float(each.attrs["x"]))
    places = [(float(each.attrs["x"]), float(each.attrs.get("y", 0))) for each in letters]
    ends = [x + advance(each) for (x, _), each in zip(places, letters, strict=True)]
    gaps = [x - end for (x, _), end in zip(places[1:], ends, strict=False)]
    if min(gaps, default=0) < -BACK * size(letters[0]):
        return
    for node in list(text.iter(include_text=True)):
        if node.is_text_node:
            node.decompose()
    for each in letters:
        text.insert_child(each, move=True)
    runs = [(letters[0], [letters[0].text()])]
    for each, gap, (_, y), (_, last) in zip(letters[1:], gaps, places[1:], places, strict=False):
        run, words = runs[-1]
        if gap > SPACE * size(letters[0]):
            words.append(" ")
        if y == last and each.attrs["style"] == run.attrs["style"]:
            words.append(each.text())
            each.decompose()
        else:
            take(each, "x", "y")
            put(each, {"dy": f"{y - last:.6g}"})
            runs.append((each, [each.text()]))
    for run, words in runs:
        run.inner_html = html.escape("".join(words))
    put(letters[0], {"x": f"{ends[-1] / 2:.6g}"})
    put(text, {"text-anchor": "middle"})


def size(letter: LexborNode) -> float:
    return float(re.search(r"font-size: ([\d.]+)px", letter.attrs["style"])[1])


def advance(letters: LexborNode) -> float:
    """How far Matplotlib's font goes on for these letters."""
    slanted = "oblique" in letters.attrs["style"] or "italic" in letters.attrs["style"]
    names, widths, em = metrics("DejaVuSans-Oblique" if slanted else "DejaVuSans")
    known = [widths[names[ord(letter)]][0] for letter in letters.text() if ord(letter) in names]
    return sum(known) / em * size(letters)


@cache
def metrics(name: str) -> tuple[dict, dict, int]:
    """(names of glyphs by code point, their widths, units an em) of a font that Matplotlib brings along."""
    font = TTFont(Path(get_data_path(), "fonts/ttf", f"{name}.ttf"))
    return font.getBestCmap(), font["hmtx"].metrics, font["head"].unitsPerEm


def lighter(png: str) -> str:
    """A PNG inside a figure as a WebP of the very same pixels, in a third to a half fewer bytes."""
    file = BytesIO()
    Image.open(BytesIO(b64decode(png))).save(file, "WEBP", lossless=True)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def recolor(element: LexborNode) -> None:
    """Replace the palette's colors by the page's variables, which only a style can hold."""
    attrs = element.attrs
    plain = [name for name in ("fill", "stroke") if COLOR.fullmatch(attrs.get(name, ""))]
    paint = "".join(f"{name}: {color}; " for name, color in take(element, *plain).items())
    style = paint + attrs.get("style", "")
    if style:
        attrs["style"] = COLOR.sub(variable, style)


def variable(color: re.Match) -> str:
    name = VARIABLES.get(color[0].lower())
    return f"var(--vae-{name}, {color[0]})" if name else color[0]


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


def setup(app):
    app.add_post_transform(TidyOutputs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
