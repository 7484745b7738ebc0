"""Sphinx extension: what a public site has beside its pages.

Its address stands in _config.yml, as html.baseurl, and nowhere else. From it come each page's canonical
address, what a link to the page shows elsewhere (templates/social.html), the sitemap and robots.txt; and, as
pages of their own, 404.html and one for each name that a page had before it was renamed. Sections that
moved to another page lead on as well.
"""

import textwrap
from pathlib import Path
from xml.sax.saxutils import escape

from docutils import nodes
from sphinx.errors import ConfigError
from sphinx.util.osutil import relative_uri

from vae_lab.colors import COLORS


def describe(app, pagename, templatename, context, doctree):
    """Tell a page's template the site's address, its colors, and in a sentence or two what it is about."""
    context["site"], context["colors"] = app.config.html_baseurl, COLORS
    context.setdefault("description", first_words(doctree) if doctree else "")
    context["moved"] = {
        f"#{section}": f"{app.builder.get_relative_uri(pagename, new)}#{there}"
        for (page, _, section), (new, _, there) in renamed(app)
        if section and page == pagename
    }


def renamed(app):
    """Each old place and where it is now, split at #."""
    return [(old.partition("#"), new.partition("#")) for old, new in app.config.renamed.items()]


def first_words(document: nodes.document, *, most: int = 200) -> str:
    """The first paragraph without an equation, in at most so many characters."""
    for paragraph in document.findall(nodes.paragraph):
        if not list(paragraph.findall(nodes.math)):
            text = paragraph.astext().removeprefix("The question.")
            return textwrap.shorten(text, most, placeholder=" …")
    return ""


def other_pages(app):
    """404.html, and a way on from each name in `renamed` of _config.yml: {the old one: the new one}.

    From a section that moved, {page#section: page#section}, layout.html leads on.
    """
    yield "404", {}, "404.html"
    suffix = app.builder.out_suffix
    for old, new in {"index": app.config.root_doc, **app.config.renamed}.items():
        page, _, section = old.partition("#")
        if is_there(app, old) or not is_there(app, new) or (section and not is_there(app, page)):
            raise ConfigError(
                f"renamed: {{{old}: {new}}} must lead from a name that is free to a place that is there"
            )
        if section:
            continue
        about = {
            "there": relative_uri(old + suffix, new + suffix),
            "pageurl": app.config.html_baseurl + new + suffix,
            "title": app.env.titles[new].astext(),
            "description": first_words(app.env.get_doctree(new)),
        }
        yield old, about, "renamed.html"


def is_there(app, place: str) -> bool:
    """Whether the book has this page or page#section."""
    page, _, section = place.partition("#")
    if page not in app.env.found_docs:
        return False
    return not section or any(
        section in node["ids"] for node in app.env.get_doctree(page).findall(nodes.section)
    )


def list_pages(app, exception):
    """Write sitemap.xml, and robots.txt which names it."""
    if exception or app.builder.name != "html":
        return
    site, folder = app.config.html_baseurl, Path(app.outdir)
    pages = "".join(
        f"<url><loc>{escape(site + app.builder.get_target_uri(name))}</loc></url>\n"
        for name in sorted(app.env.found_docs)
    )
    (folder / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{pages}</urlset>\n',
        "utf8",
    )
    (folder / "robots.txt").write_text(f"User-agent: *\nAllow: /\n\nSitemap: {site}sitemap.xml\n", "utf8")


def setup(app):
    app.add_config_value("renamed", {}, "html")
    app.connect("html-page-context", describe)
    app.connect("html-collect-pages", other_pages)
    app.connect("build-finished", list_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
