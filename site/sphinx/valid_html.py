"""Sphinx extension: mend what the theme and others write that is not valid HTML or reads badly aloud.

`tests/test_access.py` finds what is left.
"""

from pathlib import Path

from selectolax.lexbor import LexborHTMLParser

import code_cells
import first_paint
from dom import put, rename, take, wrap

UNWANTED = {  # attributes, by the elements that have them
    # Ids that every theorem, exercise and solution of a page carries alike.
    "#proof, #proof-content, #exercise-content, #solution-content": ("id",),
    # A summary is a line of text, and its name is that text.
    'summary[aria-label="Toggle hidden content"]': ("aria-label",),
    # The button above the navigation says "Search Ctrl+K".
    "button.search-button-field": ("title", "aria-label"),
    "i.theme-switch": ("title",),
    # Headings begin with the chapter's own; main is a landmark already.
    'p.caption[role="heading"]': ("aria-level", "role"),
    'main[role="main"]': ("role",),
    # Roles that lists of works no longer have.
    'div[role="list"], div[role="doc-biblioentry"]': ("role",),
}
WANTED = {
    # Buttons that show an icon need a name.
    '[title="Toggle primary sidebar"]': dict.fromkeys(("title", "aria-label"), "Contents of the book"),
    '[title="Toggle secondary sidebar"]': dict.fromkeys(("title", "aria-label"), "Contents of the page"),
    # A button that is not said to be one submits a form.
    "button:not([type])": {"type": "button"},
    # A header says what it heads.
    "th.head": {"scope": "col"},
}


def mend(html: str, folder: Path = Path()) -> str:
    """The page, held to the standard; `folder` is where it lies."""
    page = LexborHTMLParser(html, scripting=True)
    for selector, names in UNWANTED.items():
        for element in page.css(selector):
            take(element, *names)
    for cell in page.css("th.head"):
        if cell.inner_html == "<p></p>":  # it heads nothing
            cell.replace_with(page.create_node("td"))
    for selector, attributes in WANTED.items():
        for element in page.css(selector):
            put(element, attributes)
    for title in page.css("summary > p.admonition-title"):
        rename(page, title, "span")
    # The logo belongs to a landmark; the theme's script asks for the div in it.
    for sidebar in page.css(":not(header) > #pst-primary-sidebar"):
        wrap(page, sidebar, "header")
    code_cells.measure(page)
    first_paint.give_room(page, folder)
    first_paint.put_off(page)
    return page.html


def mend_pages(app, exception):
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            if "_static" not in path.parts:
                path.write_text(mend(path.read_text("utf8"), path.parent), "utf8")


def setup(app):
    app.connect("build-finished", mend_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
