"""The built book, in a real browser: `make book` first, or `make test`, which does."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from math import log
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import torch
import yaml
from built_book import DESKTOP, EXPLORERS, FILES, HTML, PAGES, PHONE, ROOT
from ipywidgets.embed import dependency_state
from sliders import by_keyboard, by_pointer, differs, picture
from torch import nn

from vae_lab.widgets import bound, latent_explorer

pytestmark = pytest.mark.site


@pytest.mark.parametrize(
    ("size", "scheme", "by"),
    [(DESKTOP, "light", "http"), (PHONE, "dark", "file")],
    ids=["desktop-light-http", "phone-dark-file"],
)
@pytest.mark.parametrize("name", PAGES)
def test_page(visit, name, size, scheme, by):
    page = visit(name, size=size, scheme=scheme, by=by)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0], "the page scrolls sideways"
    prose = page.evaluate(PROSE)
    assert not re.search(r"\$[^$\n]{1,80}\$", prose), "a raw equation in the text"
    assert not re.search(r"\|[-–—: ]+\|", prose), "a table that is left as text"
    assert page.evaluate(NAMELESS) == [], "pictures without alternative text"
    assert page.evaluate("document.documentElement.dataset.theme") == scheme


PROSE = """(() => {
  const article = document.querySelector('article')?.cloneNode(true);
  article?.querySelectorAll('pre, code, script').forEach((e) => e.remove());
  return article?.textContent ?? '';
})()"""
NAMELESS = """[...document.querySelectorAll('article :is(img, canvas, svg.figure):not([aria-hidden=true])')]
  .filter((e) => !(e.alt || e.getAttribute('aria-label'))?.trim()).map((e) => e.outerHTML.slice(0, 99))"""


# All but those that show only as a model learns (tests/test_train_in_page.py), and what is folded away
MOVING = "[role=slider]:visible, :not(.vae-train-in-page .slider) > input[type=range]"


@pytest.mark.parametrize(  # with those of test_page: every pair of size, scheme and origin
    ("size", "scheme", "by"),
    [(DESKTOP, "dark", "file"), (PHONE, "light", "http")],
    ids=["desktop-dark-file", "phone-light-http"],
)
@pytest.mark.parametrize("name", EXPLORERS)
def test_every_slider_moves_its_picture(visit, name, size, scheme, by, record_property):
    page = visit(name, size=size, scheme=scheme, by=by)
    times = []
    for step in page.locator(".vae-train-in-page").get_by_role("button", name="One step", exact=True).all():
        step.click()  # there is something to choose from
        page.wait_for_timeout(300)
    for i, handle in enumerate(page.locator(".widget-area").locator(MOVING).all()):
        area = handle.locator("xpath=ancestor::*[contains(@class, 'widget-area')]")
        handle.scroll_into_view_if_needed()
        for how, move in {"keyboard": by_keyboard, "pointer": by_pointer}.items():
            before = picture(area)
            for direction in (1, -1):  # it may stand at one end
                move(page, handle, direction)
                if changed := differs(page, area, before):
                    break
            assert changed, f"slider {i}: the {how} changes nothing"
            times += area.locator("[data-ms]").evaluate_all("all => all.map((e) => Number(e.dataset.ms))")
    if times:
        step = f"{sum(times) / len(times):.2f} ms a step, at most {max(times):.2f} ms"
        record_property("measured", f"{name} {size[0]} px: {step}")


def test_every_link_beside_the_text_shows_its_focus(visit):
    page = visit("book/11-kl-weight.html")
    page.keyboard.press("Tab")  # so that the browser shows where the focus is
    for link in page.locator(".bd-sidebar nav a").all():
        if link.is_visible():
            link.focus()
            assert link.evaluate("e => getComputedStyle(e).outlineStyle") == "solid", link.text_content()


NAMES = (
    """(all) => all.map((e) => e.getAttribute("aria-label") ?? e.textContent.replace(/\\s+/g, " ").trim())"""
)


def test_each_button_and_fold_has_a_name_of_its_own(visit):
    """But for two cells that begin alike."""
    page = visit("book/11-kl-weight.html")
    for kind in (".toggle-button", ".cell details > summary"):
        names = page.locator(f"article {kind}").evaluate_all(NAMES)
        assert len(names) > 2 and len(set(names)) > 0.9 * len(names), sorted(names)


class Anchors(HTMLParser):
    """What a page links to and what can be linked to in it."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes.get("id"), attributes.get("name")}
        self.links += [value for key in ("href", "src") if (value := attributes.get(key))]


def test_links_resolve():
    pages = {HTML / name: Anchors(text) for name, text in FILES.items()}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchor = unquote(url.fragment)
            if state := re.match(r"widget-(\d+)&", anchor):  # of a widget: a page numbers them when it opens
                if int(state[1]) > path.read_text("utf8").count("widget-view+json"):
                    broken.append(f"{path.relative_to(HTML)}: {link}")
                continue
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                broken.append(f"{path.relative_to(HTML)}: {link}")
    assert not broken, "\n".join(broken)


def test_the_folder_opens_on_the_first_page(visit):
    visit("index.html").wait_for_url("**/book/index.html")


def test_the_menus_open_on_a_phone_and_fold_away_on_a_desktop(visit):
    name = next(page for page in EXPLORERS if "index" not in page)
    for size in (PHONE, DESKTOP):
        page = visit(name, size=size)
        bar, menu = page.locator(".bd-header-article"), page.get_by_role("link", name="Notation").first
        shown = menu.is_visible()
        assert shown is (size == DESKTOP)
        bar.locator(".primary-toggle").click()
        menu.wait_for(state="hidden" if shown else "visible")


def test_the_drawer_of_a_phone_closes_by_its_button_and_by_a_link(visit):
    page = visit("book/08-vae.html", size=PHONE)
    drawer = page.locator("dialog[id$=primary-sidebar-modal]")
    for leave in (".close-drawer", "a[href='#']"):
        page.locator(".bd-header-article .primary-toggle").click()
        drawer.locator(leave).first.click()
        assert not drawer.is_visible()


def test_buttons_that_copy_have_names_of_their_own(visit):
    page = visit("book/08-vae.html")
    names = page.locator("button.copybtn").evaluate_all("all => all.map((e) => e.getAttribute('aria-label'))")
    assert len(names) > 20 and all(name.startswith("Copy the code that begins with ") for name in names)
    assert len(set(names)) > 0.8 * len(names)


def test_pages_without_widgets_do_not_load_the_widget_manager():
    for name in set(PAGES) - set(EXPLORERS):
        assert "widgets.js" not in FILES[name], name


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_is_laid_out_later_takes_the_room_it_was_given(visit, size):
    """Else the page jumps under its reader, and a link to a heading lands beside it."""
    page = visit("book/08-vae.html", size=size)
    before, after = page.evaluate("""[true, false].map((later) => {
      const all = [...document.querySelectorAll(".drawing, .cell_input")].filter((e) => e.checkVisibility());
      if (!later) all.forEach((e) => { e.style.contentVisibility = "visible"; });
      return all.map((e) => e.getBoundingClientRect().height);
    })""")
    assert len(before) > 20
    assert before == pytest.approx(after, abs=1)
    wide, unreached = page.evaluate("""(async () => {
      document.querySelectorAll("details").forEach((e) => { e.open = true; });
      for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
      const code = [...document.querySelectorAll(".cell_input pre")];
      const wide = code.filter((e) => e.scrollWidth > e.clientWidth);
      return [wide.length, wide.filter((e) => e.tabIndex !== 0).map((e) => e.textContent)];
    })()""")
    assert not unreached, "the keyboard cannot scroll this code"
    assert wide > 5 or size == DESKTOP


@pytest.mark.parametrize("name", [name for name in PAGES if re.search(r"/\d\d-", name)])
def test_a_chapter_opens_with_its_toy(visit, name):
    page = visit(name)
    top = page.locator(".widget-area").first.evaluate("e => e.getBoundingClientRect().top + scrollY")
    assert top < 2 * DESKTOP[1], "the first widget begins below the second screen"
    assert "?" in page.locator("section:has(> h2)").first.inner_text(), "nothing is asked"


OPEN_COLUMNS = """() => [...document.querySelectorAll(".cell_input")]
  .filter((cell) => cell.checkVisibility() && !cell.closest("details"))
  .map((cell) => Number(cell.style.getPropertyValue("--columns")))"""


def test_code_that_is_read_is_cut_nowhere_on_a_desktop(visit):
    for name in [name for name in PAGES if "cell_input" in FILES[name]]:
        page = visit(name)
        assert max(page.evaluate(OPEN_COLUMNS), default=0) <= 80, name
    page = visit("book/10-latent-space.html")
    wide = page.locator(".cell_input").evaluate_all(
        """(cells) => cells.filter((cell) => cell.style.getPropertyValue("--columns") === "80")
          .map((cell) => cell.querySelector("pre"))
          .filter((pre) => pre.checkVisibility() && pre.scrollWidth > pre.clientWidth).length"""
    )
    assert wide == 0


@pytest.mark.parametrize(("condition", "passes"), [("1 < 2", True), ("2 < 1", False)])
def test_a_false_claim_fails_the_build_and_the_notebook_test(tmp_path, condition, passes):
    """The sentinel, and its control: the same tiny book with a claim that holds."""
    (tmp_path / "site").symlink_to(ROOT / "site")
    (tmp_path / "book").mkdir()
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    config["sphinx"]["config"]["renamed"] = {}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config), "utf8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/chapter\n")
    shutil.copy(ROOT / "book/references.bib", tmp_path / "book")
    source = f"from vae_lab import claim\n\nclaim('one is less than two', {condition})"
    claimed = {
        "text/plain": "✓ one is less than two",
        "text/html": '<p class="claim"><span>✓</span> <span>one is less than two</span></p>',
    }
    cell = nbformat.v4.new_code_cell(
        source, execution_count=1, outputs=[nbformat.v4.new_output("display_data", claimed)]
    )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    chapter = nbformat.v4.new_notebook(
        metadata={"kernelspec": kernel}, cells=[nbformat.v4.new_markdown_cell("# One"), cell]
    )
    nbformat.write(chapter, tmp_path / "book/chapter.ipynb")

    bin = Path(sys.executable).parent
    build = [bin / "jupyter-book", "build", "-q", "-W", "-n", "--keep-going", "."]
    nbval = [
        bin / "pytest",
        "-q",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "--rootdir=.",
        "book",
    ]
    for command in (build, nbval):
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (run.returncode == 0) is passes, run.stdout + run.stderr
        assert passes or "does not bear out: one is less than two" in run.stdout + run.stderr


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_sliders_of_any_scale_move_their_pictures(browser, tmp_path, scale):
    """The host of the book's widgets, with two that no chapter has, in other units."""
    decoder = nn.Sequential(nn.Linear(2, 16), nn.Unflatten(1, (1, 4, 4)), nn.Sigmoid())
    with torch.no_grad():
        decoder[0].weight /= scale
    views = [
        bound(lambda z: -(z / scale).square().sum(-1) / 2 - 2 * log(scale), half_width=3 * scale),
        latent_explorer(decoder, ranges=(-2 * scale, 2 * scale), start=[0, 0], prior=False),
    ]
    host = f'<script src="{(HTML / "_static/widgets.js").as_uri()}" defer></script>'
    style = f'<link rel="stylesheet" href="{(HTML / "_static/styles.css").as_uri()}">'
    html = f"<!doctype html><title>test</title>{style}{host}<body>{scripts_of(views)}</body>"
    (tmp_path / "page.html").write_text(html, "utf8")
    page, errors = browser.new_page(viewport={"width": 900, "height": 1600}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.vae-widget').length === 2")
    handles = page.locator(".slider input").all()
    assert len(handles) == 7
    for handle in handles:
        area = handle.locator("xpath=ancestor::*[contains(@class, 'widget-area')]")
        for move in (by_keyboard, by_pointer):
            before, told = picture(area), handle.get_attribute("aria-valuetext")
            move(page, handle, 1)
            if not differs(page, area, before):
                move(page, handle, -1)
                assert differs(page, area, before), f"{move.__name__} changes nothing"
            now = handle.get_attribute("aria-valuetext")
            assert now != told and len(now) < 12
    page.close()
    assert errors == []


def scripts_of(views) -> str:
    """The scripts that a page is given for these widgets: their state, and a view of each."""
    state = dependency_state(views, drop_defaults=False)
    scripts = "".join(
        '<script type="application/vnd.jupyter.widget-view+json">'
        f'{{"version_major": 2, "version_minor": 0, "model_id": "{view.model_id}"}}</script>'
        for view in views
    )
    whole = {"version_major": 2, "version_minor": 0, "state": state}
    text = json.dumps(whole, default=str).replace("</", "<\\/")
    return f'<script type="application/vnd.jupyter.widget-state+json">{text}</script>{scripts}'
