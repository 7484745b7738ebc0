"""Print the built book: one PDF with a title page, contents, bookmarks, and links that lead to its own pages.

python site/tools/pdf.py BOOK.pdf [PAGE ...]      every page in the order of _toc.yml, or those named: 08-vae
"""

import json
import sys
from html import escape
from pathlib import Path
from tempfile import NamedTemporaryFile

import yaml
from selectolax.lexbor import LexborHTMLParser

from chromium import launch

HTML = Path("_build/html").resolve()
WAIT = 60_000  # milliseconds for a page to be whole

ARTICLE = Path(__file__).with_name("pdf.js").read_text("utf8")
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>
{styles}<style>{rules}</style></head><body class="whole-book">
<section class="bd-article title-page">
<h1>{title}</h1><p>{author}</p><p><a href="{site}">{site}</a></p><p>{license}</p>
</section>
<nav class="bd-article book-contents"><h2>Contents</h2>{contents}</nav>
{chapters}</body></html>"""


def table_of_contents() -> list[tuple[str, list[str]]]:
    """[(caption of the part, its pages by name)], in the book's order."""
    toc = yaml.safe_load(Path("_toc.yml").read_text("utf8"))
    parts = toc.get("parts") or [{"chapters": toc.get("chapters", [])}]
    first = [("", [Path(toc["root"]).name])]
    return first + [
        (part.get("caption", ""), [Path(c["file"]).name for c in part["chapters"]]) for part in parts
    ]


def read(browser, name: str, pages: list[str], site: str) -> tuple[str, str, list[str]]:
    """(title, HTML, styles that scripts brought) of a page."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto((HTML / "book" / f"{name}.html").as_uri())
    page.wait_for_function("!document.querySelector('script[type$=\"widget-view+json\"]')", timeout=WAIT)
    page.wait_for_timeout(500)  # the first drawing
    result = page.evaluate(ARTICLE, [name, pages, site])
    page.close()
    return tuple(result)


def whole(parts, texts: dict[str, tuple[str, str, list[str]]], config: dict) -> str:
    """The book as one page of HTML."""
    first = HTML / "book" / f"{next(iter(texts))}.html"
    links = LexborHTMLParser(first.read_text("utf8")).css('link[rel="stylesheet"]')
    sheets = [(first.parent / link.attrs["href"].partition("?")[0]).resolve() for link in links]
    rules = list(dict.fromkeys(style for _, _, styles in texts.values() for style in styles))
    contents, chapters = [], []
    for caption, names in parts:
        contents.append(f"<h3>{escape(caption)}</h3>" if caption else "")
        for name in names:
            title, text, _ = texts[name]
            rules.append(f"@page page-{name} {{ @top-center {{ content: {json.dumps(title)} }} }}")
            contents.append(f'<p><a href="#{name}">{escape(title)}</a></p>')
            chapters.append(
                f'<article class="bd-article" id="{name}" style="page: page-{name}">{text}</article>'
            )
    return PAGE.format(
        title=escape(config["title"]),
        author=escape(config["author"]),
        license=escape(config["html"]["extra_footer"]),
        site=config["html"]["baseurl"],
        styles="\n".join(f'<link rel="stylesheet" href="{sheet.as_uri()}">' for sheet in sheets),
        rules="\n".join(rules),
        contents="\n".join(contents),
        chapters="\n".join(chapters),
    )


def print_book(out: str, wanted: list[str]) -> None:
    """Write the PDF of the pages that are wanted, or of all."""
    config = yaml.safe_load(Path("_config.yml").read_text("utf8"))
    parts = [
        (caption, chosen)
        for caption, names in table_of_contents()
        if (chosen := [name for name in names if name in wanted or not wanted])
    ]
    pages = [name for _, names in parts for name in names]
    if unknown := set(wanted) - set(pages):
        sys.exit(f"no page of _toc.yml is called {', '.join(sorted(unknown))}; name pages as in 08-vae")
    with launch() as browser, NamedTemporaryFile("w", suffix=".html", encoding="utf8") as file:
        texts = {name: read(browser, name, pages, config["html"]["baseurl"]) for name in pages}
        file.write(whole(parts, texts, config))
        file.flush()
        page = browser.new_page()
        page.goto(Path(file.name).as_uri(), timeout=WAIT)
        page.evaluate("document.fonts.ready")
        page.pdf(path=out, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    print_book(sys.argv[1], sys.argv[2:])
