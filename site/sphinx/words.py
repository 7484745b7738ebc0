"""Sphinx extension: words lead somewhere.

On each page the first use of a term of the glossary becomes a link to its entry and carries its definition,
and the page has the equations of other pages that it refers to; `browser/previews.js` shows both. And each
entry says in which chapter the term is taught.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

import search_index

GLOSSARY = "glossary.html"
UNLINKED = {GLOSSARY, "bibliography.html", "index.html"}  # whose words are entries, works, or a map
EVERYDAY = {
    "baseline",
    "bit",
    "claim",
    "code",
    "coupling",
    "evidence",
    "factor",
    "floor",
    "rate",
    "sample",
    "score",
}  # which say something else as well
CLOSED = {"a", "code", "pre", "strong", "figcaption", "summary", "caption", "script", "svg", "th"}


def entries(glossary: LexborHTMLParser) -> dict[str, tuple[str, str]]:
    """{term: (its id, its definition)}"""
    return {
        name(term): (term.attrs["id"], search_index.prose(search_index.definition(term)))
        for term in glossary.css("dl.glossary > dt[id]")
    }


def name(term: LexborNode) -> str:
    return search_index.words(term).removesuffix("#").strip()


def forms(term: str) -> list[str]:
    """A term as it may stand in a sentence: in the plural, and, if it is no abbreviation, with a capital."""
    abbreviation = sum(map(str.isupper, term)) > 1
    starts = {term} if abbreviation else {term, term[0].upper() + term[1:]}
    return [start + end for start in starts for end in ("", "s")]


def any_of(words: Iterable[str]) -> re.Pattern:
    longest = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])")


def link_words(page: LexborHTMLParser, terms: dict[str, tuple[str, str]]) -> int:
    """Link the first use of each term in the running text; how many there were."""
    left = {form: term for term in terms if term not in EVERYDAY for form in forms(term)}
    found, linked = any_of(left), set()
    for block in page.css("article p, article li"):
        for node in list(block.traverse(include_text=True)):
            if not node.is_text_node or closed(node, block):
                continue
            text, start = node.text_content or "", 0
            for match in found.finditer(text):
                if (term := left[match[0]]) in linked:
                    continue
                linked.add(term)
                anchor, definition = terms[term]
                link = page.create_node("a")
                link.attrs["class"], link.attrs["href"] = "term", f"{GLOSSARY}#{anchor}"
                link.attrs["title"] = definition
                link.insert_child(match[0])
                node.insert_before(text[start : match.start()])
                node.insert_before(link, move=True)
                start = match.end()
            if start:
                node.replace_with(text[start:])
    return len(linked)


def closed(node: LexborNode, block: LexborNode) -> bool:
    """Whether text stands in an element that is no running text, or in an inner block with its own turn."""
    parent = node.parent
    while parent is not None and parent != block:
        if parent.tag in CLOSED or parent.tag in ("p", "li") or "math" in (parent.attrs.get("class") or ""):
            return True
        parent = parent.parent
    return "claim" in (block.attrs.get("class") or "") or block.tag in CLOSED


def elsewhere(page: LexborHTMLParser, folder: Path) -> str:
    """The equations of other pages that this one refers to, as they are set on a desktop, for previews."""
    links = {link.attrs["href"] for link in page.css('article a[href*=".html#equation-"]')}
    found = []
    for link in sorted(link for link in links if "://" not in link):  # of a part, others are published
        name, _, anchor = link.partition("#")
        equation = LexborHTMLParser((folder / name).read_text("utf8")).css_first(
            f'[id="{anchor}"] mjx-container'
        )
        if equation is not None:
            found.append(f'<template class="equation" data-of="{link}">{equation.html}</template>')
    return "".join(found)


def taught(term: str, places: list[dict]) -> dict | None:
    """The section of a chapter that sets a term in bold, has it in its title, or names it most often."""
    said = any_of(forms(term))
    chapters = [place for place in places if place["kind"] == "chapter"]
    for place in chapters:
        if any(said.fullmatch(words) for words in place["defines"].split(" · ")):
            return place
    best = max(
        chapters, key=lambda place: len(said.findall(f"{place['section']} {place['text']}")), default=None
    )
    return best if best and said.search(f"{best['section']} {best['text']}") else None


def connect(app, exception):
    if exception or app.builder.name != "html":
        return
    pages = {name: Path(app.outdir, app.builder.get_target_uri(name)) for name in sorted(app.env.found_docs)}
    glossaries = [path for path in pages.values() if path.name == GLOSSARY]
    for where in glossaries:
        glossary = LexborHTMLParser(where.read_text("utf8"))
        terms = entries(glossary)
        beside = [path for path in pages.values() if path.parent == where.parent]
        places = [
            place for path in beside for place in search_index.sections(path.read_text("utf8"), path.name)
        ]
        for term in glossary.css("dl.glossary > dt[id]"):
            if place := taught(name(term), places):
                line, link = glossary.create_node("p"), glossary.create_node("a")
                line.attrs["class"], link.attrs["href"] = "taught", place["url"]
                link.insert_child(", ".join(dict.fromkeys([place["page"], place["section"]])))
                line.insert_child(link, move=True)
                search_index.definition(term).insert_child(line, move=True)
        where.write_text(glossary.html, "utf8")
        for path in beside:
            page = LexborHTMLParser(path.read_text("utf8"))
            linked = path.name not in UNLINKED and link_words(page, terms)
            equations = elsewhere(page, where.parent)
            if linked or equations:
                path.write_text(page.html.replace("</article>", f"{equations}</article>", 1), "utf8")


def setup(app):
    app.connect("build-finished", connect)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
