"""Sphinx extension: put SVG figures into the page, so that they take its colors, its type and its dark mode.

A notebook's figures keep plain colors, which any viewer shows. Here the colors of the book's palette become
the variables of `theme/colors.css`, each with the plain color behind it.
"""

import re
from pathlib import Path

from docutils import nodes
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
}


def paint_by_style(tag: re.Match) -> str:
    """Move a tag's fill="#…" and stroke="#…" into its style: an attribute cannot hold a CSS variable."""
    attribute = r' (fill|stroke)="(#[0-9a-fA-F]{6})"'
    paint = "; ".join(f"{name}: {color}" for name, color in re.findall(attribute, tag[0]))
    rest = re.sub(attribute, "", tag[0])
    if not paint:
        return rest
    return (
        rest.replace('style="', f'style="{paint}; ', 1)
        if " style=" in rest
        else re.sub(r"^<\w+", rf'\g<0> style="{paint}"', rest)
    )


def recolor(svg: str) -> str:
    """Replace the palette's colors by the page's variables; other colors stay."""
    svg = re.sub(r"<\w[^>]*>", paint_by_style, svg)
    return re.sub(
        r"#[0-9a-fA-F]{6}\b", lambda m: f"var({v}, {m[0]})" if (v := PALETTE.get(m[0].lower())) else m[0], svg
    )


def rename_ids(svg: str, prefix: str) -> str:
    """Make ids unique in a page of many figures; drop those that nothing refers to."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)


def inline(svg: str, *, alt: str, prefix: str) -> str:
    """Return the SVG file `svg` as an HTML fragment that scales with the column, described by `alt`."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<tspan x="[-\d.]+) [-\d. ]+"', r'\1"', svg)  # each letter placed as in another font
    svg = recolor(rename_ids(svg, prefix))
    head, body = svg.split(">", 1)
    width = re.search(r'\bwidth="([\d.]+)(pt|px)?"', head)
    head = re.sub(r'\s(width|height|version|xmlns(:xlink)?|role|aria-label)="[^"]*"', "", head)
    size = f' style="width: {float(width[1]) * (4 / 3 if width[2] == "pt" else 1):.0f}px"' if width else ""
    label = nodes.Text(alt).astext().replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'{head} class="figure" role="img" aria-label="{label}"{size}>{body.replace("xlink:href", "href")}'


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


def offer_colab(app, pagename, templatename, context, doctree):
    """Offer Colab by its name instead of behind a rocket, and only on what Colab can open: notebooks."""
    notebook = pagename in app.env.found_docs and app.env.doc2path(pagename).endswith(".ipynb")
    for button in [b for b in context.get("header_buttons", []) if b.get("label") == "launch-buttons"]:
        context["header_buttons"].remove(button)
        links = button["buttons"] if notebook else []
        context["header_buttons"] += [
            {**link, "text": f"Open in {link['text']}", "icon": None} for link in links
        ]


def setup(app):
    app.add_post_transform(TidyOutputs)
    app.connect("html-page-context", offer_colab, priority=900)  # after the theme has made its buttons
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
