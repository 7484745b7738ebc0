"""Sphinx extension: mend what the theme and others write that is not valid HTML or reads badly aloud.

`tests/test_access.py` finds what is left.
"""

import re
from pathlib import Path

MENDS = [
    # Ids that every theorem, exercise and solution of a page carries alike.
    (r' id="(?:proof|(?:proof|exercise|solution)-content)"', ""),
    # A summary is a line of text, and its name is that text.
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (
        r'<p class="(collapsed|expanded) admonition-title">(.*?)</p>(?=\s*(?:<p class="expanded|</summary>))',
        r'<span class="\1 admonition-title">\2</span>',
    ),
    # The button above the navigation says "Search Ctrl+K"; those that show an icon need a name.
    (r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"', r"\1"),
    (r' title="Toggle primary sidebar"', ' title="Contents of the book" aria-label="Contents of the book"'),
    (r' title="Toggle secondary sidebar"', ' title="Contents of the page" aria-label="Contents of the page"'),
    (r'(<i class="theme-switch [^>]*?) title="[^"]*"', r"\1"),
    # A button that is not said to be one submits a form.
    (r"<button (?![^>]*\btype=)", '<button type="button" '),
    # Headings begin with the chapter's own; the logo belongs to a landmark, and main is one already.
    (r'<p aria-level="2" class="caption" role="heading">', '<p class="caption">'),
    (
        # The theme's script asks for the div.
        r'(?s)(<div id="pst-primary-sidebar".*?</div>)(\s*<main [^>]*?) role="main"',
        r"<header>\1</header>\2",
    ),
    # Roles that lists of works no longer have.
    (r'(<div[^>]*) role="(?:list|doc-biblioentry)"', r"\1"),
    # A header says what it heads; an empty one heads nothing.
    (r'<th class="head"><p></p></th>', "<td></td>"),
    (r'<th class="head\b', '<th scope="col" class="head'),
]


def mend(page: str) -> str:
    """The page with each of MENDS applied."""
    for pattern, instead in MENDS:
        page = re.sub(pattern, instead, page)
    return page


def mend_pages(app, exception):
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            if "_static" not in path.parts:
                path.write_text(mend(path.read_text("utf8")), "utf8")


def setup(app):
    app.connect("build-finished", mend_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
