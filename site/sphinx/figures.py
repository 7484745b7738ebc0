"""Sphinx extension: put SVG figures into the page, so that they take its colors, its type and its dark mode.

A notebook's figures keep plain colors, which any viewer shows. Here the colors of the book's palette become
the page's variables, each with the plain color behind it.

Each says how large it is, so that a browser lays out what is on the screen and leaves the rest of a long page
for later (`content-visibility` in the theme).
"""

import re
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

from docutils import nodes
from PIL import Image
from selectolax.lexbor import LexborHTMLParser, LexborNode
from sphinx.transforms.post_transforms import SphinxPostTransform

from dom import put, take
from vae_lab.colors import LIGHT

VARIABLES = {light: name for name, light in LIGHT.items()}
COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")
PNG = "data:image/png;base64,"
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
