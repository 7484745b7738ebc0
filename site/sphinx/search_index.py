"""Sphinx extension: the places that a search finds, which are sections and the terms of the glossary.

They are written as a script, because a page opened from a folder may load one and cannot fetch data.
`browser/search.js` searches them.
"""

import json
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

INDEX = "search-index.js"
SPHINX_SEARCH = ("searchindex.js", "_static/searchtools.js", "_static/language_data.js")  # which find pages
# What of a section is no text to search: code and what it prints, figures, and what only helps to read.
NOT_TEXT = (
    "script, style, svg, pre, .cell_input, .widget-area, .headerlink, .eqno, details.above-input > summary"
)


def sections(html: str, address: str) -> list[dict]:
    """The places of one page, in its order."""
    page = LexborHTMLParser(html)
    title = page.css_first("article h1")
    if title is None:
        return []
    spell_out(page)
    for element in page.css(", ".join(f"article {kind}" for kind in NOT_TEXT.split(", "))):
        element.decompose()
    about = {"page": words(title), "kind": "chapter" if title.css_first(".section-number") else "other"}
    found = []
    for term in reversed(page.css("article dl.glossary > dt[id]")):
        text = words(definition(term))
        entry = {"section": words(term), "text": text, "defines": "", "kind": "term"}
        found.append(about | entry | {"url": f"{address}#{term.attrs['id']}"})
    for entries in page.css("article dl.glossary"):
        entries.decompose()
    for section in reversed(page.css("article section[id]")):  # the innermost first
        heading = section.css_first("h1, h2, h3, h4")
        if heading is not None:
            place = {"section": words(heading), "url": f"{address}#{section.attrs['id']}"}
            heading.decompose()
            defines = " · ".join(words(strong) for strong in section.css("strong"))
            found.append(about | place | {"text": words(section), "defines": defines})
            section.decompose()
    return found[::-1]


def definition(term: LexborNode) -> LexborNode:
    """What the glossary says of a term; several may share it."""
    entry = term.next
    while entry.tag != "dd":
        entry = entry.next
    return entry


def spell_out(page: LexborHTMLParser) -> None:
    """Leave of each equation its signs."""
    for equation in page.css(".math"):
        equation.replace_with(equation.css_first("math").text())


def prose(node: LexborNode) -> str:
    """The words of an element, with its equations spelled out; the element stays as it is."""
    copy = LexborHTMLParser(node.html)
    spell_out(copy)
    return words(copy.body)


def words(node: LexborNode) -> str:
    return " ".join(node.text().split())


def write(app, exception):
    if exception or app.builder.name != "html":
        return
    found = []
    for name in sorted(app.env.found_docs):
        address = app.builder.get_target_uri(name)
        found += sections(Path(app.outdir, address).read_text("utf8"), address)
    script = f"globalThis.searchable = {json.dumps(found, ensure_ascii=False, separators=(',', ':'))};\n"
    Path(app.outdir, "_static", INDEX).write_text(script, "utf8")
    for path in SPHINX_SEARCH:
        Path(app.outdir, path).unlink()


def setup(app):
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
