"""Equations, which are set when the book is built: their colors, their lines, what a reader copies."""

import re
from functools import cache
from itertools import pairwise

import pytest
from built_book import DESKTOP, FILES, PAGES, PHONE
from selectolax.lexbor import LexborHTMLParser

from equations import Setter

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def setter():
    setter = Setter()
    yield setter
    setter.close()


ROLES = {
    r"q_\phi(z \mid x)": [("vae-q", "qϕ")],
    r"q_{\phi}^{*}": [("vae-q", "qϕ∗")],
    r"\log \sigma^2_\phi(x)": [("vae-q", "σϕ2")],
    r"\boldsymbol\mu_{\phi,i}": [("vae-q", "μϕ,i")],
    r"\mathrm{Enc}_\phi(x)": [("vae-q", "Encϕ")],
    r"p_\theta(x \mid z)\, p(z)": [("vae-p", "pθ"), ("vae-prior", "p")],
    r"p(\mathbf{z}) p(z_i) p(x)": [("vae-prior", "p"), ("vae-prior", "p")],
    r"\mathcal{L}_{\theta,\phi}": [("vae-p", "θ"), ("vae-q", "ϕ")],
    r"\mathbb{E}_{z \sim q_\phi(z|x)}[f]": [("vae-q", "qϕ")],
    r"\nabla_\phi \max_\theta": [("vae-q", "ϕ"), ("vae-p", "θ")],
    r"\frac\phi2 + \hat\theta^{(t)}": [("vae-q", "ϕ"), ("vae-p", "θ")],
    r"D_{\mathrm{KL}}(q \| p) + \operatorname{KL}": [("vae-kl", "DKL"), ("vae-kl", "KL")],
    r"\underbrace{x}_{\text{reconstruction}} - \underbrace{y}_{\text{KL}}": [
        ("vae-rec", "reconstruction"),
        ("vae-kl", "KL"),
    ],
    r"\class{vae-rec}{x}": [("vae-rec", "x")],
    r"x^2 + \sum_i q_i \log p_i": [],
}


@pytest.mark.parametrize("tex", ROLES)
def test_equations_carry_the_colors_of_the_roles(setter, tex):
    html, error = setter.set(tex, False)
    tree = LexborHTMLParser(html).css_first("math")
    marked = [
        (e.attrs["class"], "".join(e.text().split()).replace("\u2061", "")) for e in tree.css("[class]")
    ]
    assert error is None
    assert marked == ROLES[tex]


def test_a_color_of_a_role_is_another_in_the_dark(visit):
    q = visit("book/notation.html").locator("mjx-math .vae-q").first
    light = q.evaluate("e => getComputedStyle(e).color")
    q.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert q.evaluate("e => getComputedStyle(e).color") != light


@pytest.mark.parametrize("tex", [r"\frac{x", r"\nosuch{x}", r"\left( x"])
def test_what_is_no_tex_is_said_when_the_book_is_built(setter, tex):
    assert setter.set(tex, True)[1]
    assert setter.set("x", True)[1] is None  # and the next is set


@cache
def lines_of(page: str) -> list[list[str]]:
    """Each equation of a page as the pieces that a line can end after: where it may break, or does."""
    found = []
    tree = LexborHTMLParser(FILES[page])
    for hidden in tree.css("mjx-assistive-mml"):
        hidden.decompose()
    for equation in tree.css(".math mjx-container"):
        for end in equation.css("mjx-break"):
            end.replace_with("⏎")
        for box in equation.css("mjx-linebox"):
            box.insert_child("⏎")
        text = "".join(equation.text().replace("\u2061", "").split())
        found.append([line for line in text.split("⏎") if line])
    return found


@pytest.mark.parametrize("page", PAGES)
def test_lines_break_where_a_reader_expects_it(page):
    """No line begins with a plus or ends with the sign of a number, and no KL is torn apart."""
    for lines in lines_of(page):
        for line, after in pairwise(lines):
            assert not re.match(r"[+)\]∣]", after), lines
            assert not re.search(r"(^|[=≤≥≈(,∼])[−+]$", line), lines
        for line in lines:
            assert line.count("(") == line.count(")"), lines


def test_no_page_runs_a_typesetter(browser, host):
    """Not even a page without scripts shows TeX."""
    for name in PAGES:
        assert "mathjax.js" not in FILES[name], name
        tree = LexborHTMLParser(FILES[name])
        raw = [e.text() for e in tree.css(".math") if "\\" in e.text() or not e.css_first("mjx-math")]
        assert raw == [], name


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_one_version_of_each_display_is_seen_and_fits(visit, size):
    page = visit("book/derivations.html", size=size)
    page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    shown = page.locator("div.math").evaluate_all("""all => all.map((e) => {
      const seen = [...e.querySelectorAll("mjx-container")].filter((c) => c.checkVisibility());
      return [seen.length, seen[0].scrollWidth - seen[0].clientWidth];
    })""")
    assert len(shown) > 20 and {count for count, _ in shown} == {1}
    assert sum(over > 0 for _, over in shown) <= len(shown) / (4 if size == PHONE else 10)


COPY = """(whole) => {
  const [first, last] = whole;
  const range = document.createRange();
  range.setStart(first.nodeType === 1 ? first : first.firstChild, 0);
  range.setEndAfter(last);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  const data = new DataTransfer();
  document.dispatchEvent(new ClipboardEvent("copy", { clipboardData: data, cancelable: true }));
  return [data.getData("text/plain"), data.getData("text/html")];
}"""


def test_equations_are_copied_as_tex(visit):
    page = visit("book/08-vae.html")
    copied = page.evaluate(f"""() => {{
      const display = document.querySelector("div.math");
      return ({COPY})([display.previousElementSibling.querySelector("mjx-c"), display]);
    }}""")
    for text in copied:
        assert re.search(r"(?<!\$)\$[^$]+\$(?!\$)", text) and "$$" in text and r"\log p_\theta" in text
        assert "mjx" not in text
