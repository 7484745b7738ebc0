"""Figures and tables of the built book: numbered, said in words, and legible on a phone."""

import re

import pytest
from built_book import DESKTOP, FILES, PAGES, PHONE
from selectolax.lexbor import LexborHTMLParser

pytestmark = pytest.mark.site

DRAWN = [name for name in PAGES if 'class="drawing"' in FILES[name]]
RESULTS = [name for name in PAGES if 'class="results"' in FILES[name]]
LEAST = 11  # pixels, of a letter on a phone; what stands above or below the line is smaller

# Where each drawing is that is not folded away, and its smallest letters as they are on the screen.
MEASURE = """() => {
  const seen = [...document.querySelectorAll(".drawing")].filter((e) => e.checkVisibility());
  return seen.map((drawing) => {
    const svg = drawing.querySelector("svg");
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const size = (e) => parseFloat(getComputedStyle(e).fontSize);
    const largest = (text) => Math.max(...[text, ...text.querySelectorAll("tspan")].map(size));
    const sizes = [...svg.querySelectorAll("text")].map(largest);
    const { left, right } = drawing.getBoundingClientRect();
    return { left, right, letters: Math.min(...sizes, 1e3) * scale, label: svg.getAttribute("aria-label") };
  });
}"""
COLUMN = """() => {
  const { left, right } = document.querySelector("article section > p").getBoundingClientRect();
  return { left, right };
}"""


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_has_a_number_and_a_caption(name):
    page = LexborHTMLParser(FILES[name])
    figures = page.css("article figure")
    for figure in figures:
        assert figure.css_first("svg, img") is not None, "a figure without a picture"
        assert re.match(r"Figure [\d.]+$", figure.css_first("figcaption .caption-number").text().strip())
        assert len(figure.css_first("figcaption .caption-text").text().split()) >= 3
    inside = {svg.attrs["aria-label"] for figure in figures for svg in figure.css(".drawing > svg")}
    assert {svg.attrs["aria-label"] for svg in page.css(".drawing > svg")} == inside, (
        "a drawing without a caption"
    )


@pytest.mark.parametrize("name", DRAWN)
def test_letters_are_legible_on_a_phone_and_no_drawing_leaves_the_screen(visit, name):
    page = visit(name, size=PHONE)
    for found in page.evaluate(MEASURE):
        assert found["letters"] >= LEAST, found
        assert found["left"] >= 0 and found["right"] <= PHONE[0], found


@pytest.mark.parametrize("name", DRAWN)
def test_drawings_keep_to_the_column(visit, name):
    page = visit(name, size=DESKTOP)
    column, found = page.evaluate(COLUMN), page.evaluate(MEASURE)
    assert all(each["left"] >= column["left"] - 1 and each["right"] <= column["right"] + 1 for each in found)
    width = column["right"] - column["left"]
    assert max(each["right"] - each["left"] for each in found) > 0.95 * width, "none fills it"


@pytest.mark.parametrize("name", DRAWN)
def test_letters_of_a_formula_follow_one_another(name):
    """Matplotlib places each by itself, as in its own font; only a hat must stay where it is put."""
    for text in LexborHTMLParser(FILES[name]).css(".drawing text:has(tspan)"):
        apart = [each.text() for each in text.css("tspan[x]")]
        assert len(apart) == 1 or "\N{COMBINING CIRCUMFLEX ACCENT}" in apart, text.text()


@pytest.mark.parametrize("name", RESULTS)
def test_a_table_says_what_its_numbers_are(name):
    for table in LexborHTMLParser(FILES[name]).css("table.results"):
        assert table.css_first("caption").text().strip()
        assert all(
            head.attrs.get("scope") in ("col", "row") and head.text().strip() for head in table.css("th")
        )


@pytest.mark.parametrize("name", [name for name in RESULTS if re.search(r"/\d\d-", name)])
def test_results_are_no_lists_of_print(name):
    """Output in columns, three lines or more that each hold two numbers or more, is a table."""
    for block in LexborHTMLParser(FILES[name]).css(".output.stream pre"):
        lines = [line for line in block.text().splitlines() if len(re.findall(r"-?\d[\d.,]*", line)) >= 2]
        aligned = [line for line in lines if re.search(r"\S {2,}\S", line)]
        assert len(aligned) < 3, block.text()
