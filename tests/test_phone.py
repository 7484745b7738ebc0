"""Widgets on a phone: what a control changes is seen while it is moved, and a swipe scrolls."""

import pytest
from built_book import EXPLORERS, FILES, HTML, arrive
from playwright.sync_api import expect

pytestmark = pytest.mark.site

BAR = 56  # pixels at the top that the page's own bar covers
SIZE = {"width": 390, "height": 600}
SHOWN = "canvas, .numbers, .bar, .chart, .strips"  # what moves with a control


@pytest.fixture
def phone(browser):
    context = browser.new_context(viewport=SIZE, has_touch=True, is_mobile=True, device_scale_factor=2)
    page = context.new_page()

    def open_page(name):
        page.goto(f"{HTML.as_uri()}/{name}", wait_until="load")
        arrive(page)
        return page

    yield open_page
    context.close()


TOGETHER = """([bar, shown]) => [...document.querySelectorAll(".widget-area")].map((area) => {
  const seen = (e) => {
    const { top, bottom, height } = e.getBoundingClientRect();
    return top >= Math.min(bar, innerHeight - height) - 1 && bottom <= innerHeight + 1;
  };
  const all = area.querySelector(".vae-widget").querySelectorAll(shown);
  const parts = [...all].filter((e) => e.checkVisibility());
  const sliders = [...area.querySelectorAll("[role=slider], input[type=range]")];
  return sliders.filter((e) => e.checkVisibility()).map((slider) => {
    const name = slider.getAttribute("aria-label") ?? slider.getAttribute("aria-valuetext");
    slider.scrollIntoView({ block: "nearest" }); // within its row of sliders
    const fits = parts.some((part) => [
      () => scrollBy(0, part.getBoundingClientRect().top - bar - 4),
      () => scrollBy(0, slider.getBoundingClientRect().bottom - innerHeight + 8),
      () => scrollBy(0, slider.getBoundingClientRect().top - bar - 4),
    ].some((scroll) => { scroll(); return seen(slider) && seen(part); }));
    return fits ? "" : name;
  }).filter(Boolean);
})"""


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_control_and_what_it_changes_are_seen_together(phone, name):
    page = phone(name)
    apart = page.evaluate(TOGETHER, [BAR, SHOWN])
    assert apart and not any(apart), apart


def swipe_up(page, x, y):
    """A finger that goes up, rests, and leaves."""
    chrome = page.context.new_cdp_session(page)
    for up in range(0, 181, 20):
        touch = [{"x": x, "y": y - up}]
        chrome.send(
            "Input.dispatchTouchEvent", {"type": "touchMove" if up else "touchStart", "touchPoints": touch}
        )
    page.wait_for_timeout(200)  # or the page would go on by itself
    chrome.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)


SCROLLED = "e => scrollY + e.closest('.sliders').scrollTop"  # the page, or the sliders where there are many


@pytest.mark.parametrize("name", [name for name in EXPLORERS if "makeSliders" in FILES[name]])
def test_a_swipe_over_a_slider_scrolls_and_moves_nothing(phone, name):
    page = phone(name)
    slider = page.locator(".slider input").first
    slider.evaluate("e => scrollBy(0, e.getBoundingClientRect().top - 400)")
    box, value, scrolled = slider.bounding_box(), slider.input_value(), slider.evaluate(SCROLLED)
    swipe_up(page, box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert slider.evaluate(SCROLLED) > scrolled + 20
    assert slider.input_value() == value


@pytest.mark.parametrize("name", [name for name in EXPLORERS if "latent_explorer" in FILES[name]])
def test_a_swipe_over_a_plane_scrolls_and_moves_no_point(phone, name):
    page = phone(name)
    plane = page.locator(".vae-latent-explorer .plane").first
    plane.evaluate("e => scrollBy(0, e.getBoundingClientRect().top - 200)")
    box, grip = plane.bounding_box(), plane.locator(".grip").bounding_box()
    x = box["x"] + box["width"] * (0.25 if grip["x"] > box["x"] + box["width"] / 2 else 0.75)
    before = page.evaluate("scrollY"), plane.get_attribute("aria-valuetext")
    swipe_up(page, x, box["y"] + box["height"] * 0.7)
    assert page.evaluate("scrollY") > before[0] + 100
    assert plane.get_attribute("aria-valuetext") == before[1]
    plane.evaluate("e => scrollBy(0, e.getBoundingClientRect().top - 200)")
    page.touchscreen.tap(x, plane.bounding_box()["y"] + box["height"] / 3)  # a tap does move it
    expect(plane).not_to_have_attribute("aria-valuetext", before[1])
