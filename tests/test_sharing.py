"""A widget's state in the page's address: written on request, and opened from."""

import json
from urllib.parse import quote

import pytest
from built_book import EXPLORERS
from playwright.sync_api import expect
from sliders import SLIDERS

pytestmark = pytest.mark.site

# What the widgets of a page show, without the drawings that follow their own clock
SHOWN = """() => [...document.querySelectorAll(".widget-area .vae-widget")].map((widget) =>
  [...widget.querySelectorAll("canvas, svg, .numbers, .caption")]
    .map((e) => e.toDataURL?.() ?? e.outerHTML.replace(" touched", "")).join())"""
ON_SCREEN = """(e) => {
  const { top, bottom } = e.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}"""
SETTLED = """async () => {
  const wait = (ms) => new Promise((done) => requestAnimationFrame(() => setTimeout(done, ms)));
  await wait(100);
  while (document.querySelector("[aria-busy]")) await wait(50);
}"""


def move(page, area):
    """Another state of a widget, by its first handle and, where there are some, a button of its own."""
    learns = area.locator(".vae-train-in-page").count()  # whose sliders show only as it learns
    handles = area.locator("[role=slider]" if learns else SLIDERS)
    if handles.count():
        handles.first.focus()
        for key in ("ArrowRight", "ArrowUp", "ArrowRight"):
            page.keyboard.press(key)
    for name in ("E-step", "M-step", "waves", "a box around them", "Take a digit"):
        if (button := area.get_by_role("button", name=name, exact=True)).count():
            button.click()
    page.evaluate(SETTLED)


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_link_opens_what_was_shown(visit, name):
    page = visit(name)
    places = page.locator(".widget-area").all()
    page.evaluate(SETTLED)
    begun = page.evaluate(SHOWN)
    for i, area in enumerate(places):
        move(page, area)
        page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        area.get_by_role("button", name="Copy link").click()
        expect(area.get_by_text("It is in the address")).to_be_visible()
        shown, link = page.evaluate(SHOWN), page.url
        assert shown[i] != begun[i] and f"#widget-{i + 1}&" in link and len(link) < 4000
        opened = visit(f"{name}#{link.partition('#')[2]}")
        opened.evaluate(SETTLED)
        assert opened.evaluate(SHOWN)[i] == shown[i]
        assert opened.locator(".widget-area").nth(i).evaluate(ON_SCREEN)
        opened.close()


def test_a_link_that_is_followed_in_the_same_page_opens_too(visit):
    page = visit("book/06-elbo.html")
    begun = page.evaluate(SHOWN)
    page.evaluate("() => { location.hash = 'widget-1&m0=1.5'; }")
    page.evaluate(SETTLED)
    assert page.evaluate(SHOWN) != begun


@pytest.mark.parametrize(
    "state",
    [
        "m0=1e999",
        "m0=null",
        "m0=%22far%22",
        "m0=[1]",
        "m0",
        "m0=%",
        "nothing=1",
        "log_joint=" + quote(json.dumps([0])),
        "constructor=1",
    ],
)
def test_a_broken_link_opens_the_page_as_it_is(visit, state):
    page = visit(f"book/06-elbo.html#widget-1&{state}")
    page.wait_for_function("!document.querySelector('.widget-area:not(:has(.vae-widget))')")
    page.evaluate(SETTLED)
    assert page.evaluate(SHOWN) == visit("book/06-elbo.html").evaluate(SHOWN)
