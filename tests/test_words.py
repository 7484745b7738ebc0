"""Words lead somewhere: the glossary's terms from each page, its entries to chapters; what a link shows."""

import re

import pytest
from built_book import DESKTOP, FILES, PAGES, PHONE
from selectolax.lexbor import LexborHTMLParser

import search_index
import words

pytestmark = pytest.mark.site

GLOSSARY = LexborHTMLParser(FILES["book/glossary.html"])
CHAPTERS = [name for name in FILES if re.match(r"book/\d\d-", name) and "<article" in FILES[name]]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_leads_to_the_glossary_once_a_term(name):
    links = LexborHTMLParser(FILES[name]).css("article a.term")
    targets = [link.attrs["href"] for link in links]
    assert len(targets) >= 10 and len(set(targets)) == len(targets)
    assert all(
        GLOSSARY.css_first(target.partition("#")[2] and f"[id='{target.partition('#')[2]}']")
        for target in targets
    )


def test_most_entries_say_where_they_are_taught():
    entries = GLOSSARY.css("dl.glossary > dd")
    assert sum(bool(entry.css_first(".taught a")) for entry in entries) > 0.8 * len(entries)


def test_only_the_first_use_in_running_text_is_linked():
    terms = {"encoder": ("term-encoder", "A network."), "KL divergence": ("term-KL", "A distance.")}
    page = LexborHTMLParser(
        "<article><h2>Encoder</h2><p><code>encoder</code> <a href='x'>encoder</a> autoencoder, "
        "Encoders here, an encoder there, <em>KL divergences</em>.</p><p>encoder</p></article>"
    )
    assert words.link_words(page, terms) == 2
    assert [link.text() for link in page.css("a.term")] == ["Encoders", "KL divergences"]
    assert page.css_first("a.term").attrs["title"] == "A network."
    assert "autoencoder, Encoders here, an encoder there, KL divergences." in page.css_first("p").text()


def test_terms_that_share_a_definition_have_it_both():
    glossary = LexborHTMLParser(
        '<dl class="glossary"><dt id="a">EM<a>#</a></dt><dt id="b">the algorithm</dt><dd>Two steps.</dd>'
        '<dt id="c">bound</dt><dd>Below.</dd></dl>'
    )
    found = {"EM": ("a", "Two steps."), "the algorithm": ("b", "Two steps."), "bound": ("c", "Below.")}
    assert words.entries(glossary) == found
    places = search_index.sections(f"<article><h1>Glossary</h1>{glossary.html}</article>", "glossary.html")
    said = [place["text"] for place in places if place["kind"] == "term"]
    assert said == ["Two steps.", "Two steps.", "Below."]


ELSEWHERE = [name for name in PAGES if 'class="equation" data-of' in FILES[name]]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_equation_is_shown_once_wherever_it_stands(visit, name):
    page = visit(name)
    here = page.locator("article a[href^='#equation-']:not(.headerlink)")
    for link in page.locator("article a[href*='.html#equation-']").all() + here.all()[:3]:
        link.scroll_into_view_if_needed()
        link.hover()
        page.locator(".preview").wait_for()
        assert page.locator(".preview mjx-container").count() == 1
        page.keyboard.press("Escape")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_link_shows_what_it_leads_to(visit, size):
    page = visit("book/08-vae.html", size=size)
    preview = page.locator(".preview")
    for kind, shown in (("a.term", "."), ("a.reference[title]", "."), ("a[href^='#equation-']", "mjx")):
        link = page.locator(f"article :is({kind}):not(.headerlink)").first
        link.scroll_into_view_if_needed()
        link.hover()
        preview.wait_for()
        assert shown in preview.inner_html()
        box = preview.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
        page.keyboard.press("Escape")
        assert preview.is_hidden()
    link = page.locator("article a.term").first
    link.focus()
    preview.wait_for()
    assert link.get_attribute("aria-describedby") == "preview"


def test_a_first_tap_shows_and_a_second_follows(browser):
    from built_book import HTML

    context = browser.new_context(viewport={"width": 390, "height": 600}, has_touch=True)
    page = context.new_page()
    page.goto(f"{HTML.as_uri()}/book/08-vae.html")
    link = page.locator("article a.term").first
    link.tap()
    assert page.locator(".preview").is_visible() and page.url.endswith("08-vae.html")
    link.tap()
    page.wait_for_url("**/glossary.html#term-*")
    context.close()
