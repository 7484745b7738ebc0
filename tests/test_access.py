"""The built book for every reader: by ear, by keyboard, magnified, on a narrow screen, without motion.

`make book` first, or `make test`, which does.
"""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from built_book import FILES, HTML, PAGES, arrive
from playwright.sync_api import expect
from sliders import SLIDERS

from chromium import QUIET, find

pytestmark = pytest.mark.access

SITE = Path(__file__).parents[1] / "site"
AXE = SITE / "node_modules/axe-core/axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREEN = {"width": 1280, "height": 800}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in PAGES]
)
def page(browser, request):
    """A page loaded once for its tests: no motion, and all unfolded that is folded away."""
    context = browser.new_context(viewport=SCREEN, reduced_motion="reduce", color_scheme="light")
    page = context.new_page()
    page.goto(f"{HTML.as_uri()}/{request.param}", wait_until="load")
    arrive(page)
    page.evaluate(UNFOLD)
    page.add_script_tag(path=AXE)
    yield page
    context.close()


UNFOLD = """() => {
  document.querySelectorAll("article details").forEach((block) => (block.open = true));
  document.querySelectorAll("article .toggle-button-hidden").forEach((button) => button.click());
}"""


def violations(page, **options) -> list[str]:
    """What axe-core finds: a line for each rule and element."""
    found = page.evaluate("(options) => axe.run({resultTypes: ['violations'], ...options})", options)
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[1].strip()})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def only(*rules: str) -> dict:
    return {"runOnly": {"type": "rule", "values": rules}}


def test_axe_finds_nothing(page):
    assert violations(page, runOnly=WCAG) == []
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    try:
        assert violations(page, **only("color-contrast")) == []  # nothing else differs there
    finally:
        page.evaluate("document.documentElement.dataset.theme = 'light'")


def test_nothing_moves_where_no_motion_is_wanted(page):
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("width", [640, 320])  # a zoom of 200 % and of 400 %
def test_everything_fits(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(500)  # the theme looks for what scrolls now
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
        assert page.evaluate(CUT) == []
        if width == 320:
            assert violations(page, **only("scrollable-region-focusable", "target-size")) == []
    finally:
        page.set_viewport_size(SCREEN)


# Text that ends beyond the page or beyond a box that hides it, and that no scrolling brings back.
CUT = """() => {
  const cut = [], range = document.createRange(), boxes = new Map();
  const silent = "mjx-assistive-mml, .visually-hidden, .for-listeners, svg svg";
  const boxOf = (e) => { // the nearest that hides what overflows it; none if it scrolls
    if (boxes.has(e)) return boxes.get(e);
    const { overflowX } = getComputedStyle(e);
    const box =
      e === document.documentElement || (overflowX !== "visible" && e.localName !== "svg")
        ? ["auto", "scroll"].includes(overflowX) ? null : e.getBoundingClientRect()
        : boxOf(e.parentElement);
    boxes.set(e, box);
    return box;
  };
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    if (!text.data.trim() || text.parentElement.closest(silent)) continue;
    range.selectNodeContents(text);
    const { left, right } = range.getBoundingClientRect(), box = boxOf(text.parentElement);
    if (box && right > left + 2 && (right > box.right + 1 || left < box.left - 1)) cut.push(text.data.trim());
  }
  return cut;
}"""


def test_each_control_has_a_name_and_is_reached_by_tab(page):
    for control in (
        page.locator(".widget-area").locator(f"button, select, {SLIDERS}").filter(visible=True).all()
    ):
        expect(control).to_have_accessible_name(re.compile(r"\S"))
        assert control.evaluate("e => e.tabIndex === 0"), control.inner_html()


def test_each_slider_says_where_it_stands(page):
    for slider in page.locator(".widget-area").locator(SLIDERS).filter(visible=True).all():
        before = told(slider)
        assert len(before) < 60 and not re.search(r"\d\.\d{4}", before), f"too many digits: {before}"
        slider.focus()
        for key in ("ArrowRight", "ArrowLeft"):  # it may stand at one end
            page.keyboard.press(key)
            page.wait_for_timeout(30)
            if told(slider) != before:
                break
        else:
            pytest.fail(f"the arrow keys move it, and it still says {before}")


def test_a_change_is_announced_and_the_focus_is_seen(page):
    for area in page.locator(".widget-area").all():
        learns = area.locator(".vae-train-in-page").count()  # whose sliders show only as it learns
        handle = area.locator("[role=slider]" if learns else SLIDERS).first
        page.evaluate("document.activeElement.blur()")
        handle.scroll_into_view_if_needed()
        plain, before = around(page, handle), announced(area)
        page.keyboard.press("Tab")  # so that the browser shows where the focus is
        handle.focus()
        assert around(page, handle) != plain, "nothing shows where the focus is"
        for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
            page.wait_for_timeout(60)
        assert announced(area) != before, "a picture changes and nothing says so"


def told(slider) -> str:
    """What a screen reader says of a slider's value."""
    return slider.evaluate("e => e.getAttribute('aria-valuetext') ?? e.getAttribute('aria-valuenow')")


def announced(area) -> str:
    """What a screen reader speaks whenever it changes."""
    return "|".join(area.locator("output, [aria-live]").all_text_contents())


def around(page, handle) -> bytes:
    """A picture of a handle and of what surrounds it."""
    box = handle.bounding_box()
    clip = {"x": max(0, box["x"] - 12), "y": max(0, box["y"] - 12)}
    return page.screenshot(clip=clip | {"width": box["width"] + 24, "height": box["height"] + 24})


def test_em_needs_no_dragging(page):
    """A press moves the nearest mean (WCAG 2.5.7): there are no sliders beside it."""
    for widget in page.locator(".vae-em-stepper").all():
        widget.scroll_into_view_if_needed()
        means, paper = widget.locator("[role=slider]").all(), widget.locator(".plane .paper").bounding_box()
        x, y = paper["x"] + 20, paper["y"] + 20
        far = [abs(complex(*center(mean)) - complex(x, y)) for mean in means]
        before = [told(mean) for mean in means]
        page.mouse.click(x, y)
        page.wait_for_timeout(100)
        moved = [old != told(mean) for old, mean in zip(before, means, strict=True)]
        assert moved == [distance == min(far) for distance in far]


def center(handle) -> tuple[float, float]:
    box = handle.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_nothing_moves_by_itself(browser):
    """Also for those who have not asked for it."""
    page = browser.new_page(viewport=SCREEN)
    page.goto(f"{HTML.as_uri()}/book/index.html", wait_until="load")
    arrive(page)
    page.wait_for_timeout(2000)
    first = page.screenshot()
    page.wait_for_timeout(500)
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.screenshot() == first
    page.close()


def test_letters_of_twice_the_size_fit(browser):
    """Chosen in the browser's settings; the width of the window stays."""
    large = browser.browser_type.launch(
        executable_path=find(), args=[*QUIET, "--blink-settings=defaultFontSize=32"]
    )
    for name in ("book/index.html", "book/04-em.html"):
        page = large.new_page(viewport=SCREEN)
        page.goto(f"{HTML.as_uri()}/{name}", wait_until="load")
        arrive(page)
        assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
        assert page.evaluate("document.documentElement.scrollWidth") <= SCREEN["width"], name
        assert page.evaluate(CUT) == [], name
        assert page.locator("article").bounding_box()["width"] > SCREEN["width"] / 2, name
    large.close()


class Pictures(HTMLParser):
    """What stands for each picture in the text of a page, where it is not seen."""

    def __init__(self, text: str):
        super().__init__()
        self.texts = []
        self.feed(text[text.index("<article") : text.rindex("</article>")])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img" or "figure" in attributes.get("class", "").split():
            self.texts.append(attributes.get("alt") or attributes.get("aria-label") or "")


@pytest.mark.parametrize("name", PAGES)
def test_each_picture_is_described(name):
    for text in Pictures(FILES[name]).texts:
        assert len(text.split()) >= 5 and not re.search(r"\.(svg|png|jpe?g)\b", text), (
            f"says little: {text!r}"
        )


def test_html_validates():
    """By html-validate; site/.htmlvalidate.mjs says what it checks."""
    node = shutil.which("node", path=Path(sys.executable).parent) or shutil.which("node")
    program = SITE / "node_modules/html-validate/bin/html-validate.mjs"
    options = ["--config", SITE / ".htmlvalidate.mjs", "--formatter", "text", "--max-warnings", "0"]
    run = subprocess.run(
        [node, program, *options, *map(HTML.joinpath, FILES)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr
