"""What is done to the pages' HTML and to the figures in it, before a browser sees it."""

import base64
import io
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vae_lab.plotting import use_style

pytest.importorskip("selectolax", reason="the book's tools are not here: pip install -e '.[book]'")
figures, valid_html = pytest.importorskip("figures"), pytest.importorskip("valid_html")


def page(body: str, head: str = "<title>A page</title>") -> str:
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>'


# Whatever is not mended stays, to the byte
KEPT = {
    "cases of SVG": '<svg viewBox="0 0 1 1" preserveAspectRatio="none"><clipPath id="a"></clipPath></svg>',
    "signs and spaces": "<p>a &lt; b &amp;&amp; c&nbsp;d ’ λ — &gt;</p>",
    "white space in code": "<pre><span></span>  a\n\n\tb  \n</pre>",
    "the state of widgets": '<script type="application/json">{"a": "<b> <\\/b> &amp; '
    '<button title=\'x\'> <th class=\\"head\\">"}</script>',
    "a script": '<script>if (1 < 2 && document.querySelector("<button >")) { x = "<summary>"; }</script>',
    "quotes": '<p title="a &quot;b&quot; &gt; c &amp; d">x</p>',
    "a comment": "<!-- <button> -->",
    "raw text": "<p>#0072b2</p><noscript><p>without scripts</p></noscript>",
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_mended_stays(name):
    assert valid_html.mend(page(KEPT[name])) == page(KEPT[name])


MENDED = {
    "ids that repeat": (
        '<div id="proof-content">a</div><section id="exercise-content">b</section><p id="mine">c</p>',
        '<div>a</div><section>b</section><p id="mine">c</p>',
    ),
    "a paragraph in a summary": (
        '<details><summary aria-label="Toggle hidden content">'
        '<p class="collapsed admonition-title">Show <b>x</b></p><p class="expanded admonition-title">Hide</p>'
        '</summary><p class="admonition-title">y</p></details>',
        '<details><summary><span class="collapsed admonition-title">Show <b>x</b></span>'
        '<span class="expanded admonition-title">Hide</span></summary>'
        '<p class="admonition-title">y</p></details>',
    ),
    "a button that would submit": ("<button>a</button>", '<button type="button">a</button>'),
    "a button with a sign in its name": (
        '<button title="a > b" type="reset">a</button>',
        '<button title="a &gt; b" type="reset">a</button>',
    ),
    "the search": (
        '<button class="search-button-field" title="Search" aria-label="Search" type="button">Find</button>',
        '<button class="search-button-field" type="button">Find</button>',
    ),
    "buttons that show an icon": (
        '<button title="Toggle primary sidebar" type="button"></button>',
        '<button title="Contents of the book" type="button" aria-label="Contents of the book"></button>',
    ),
    "landmarks": (
        '<div id="pst-primary-sidebar"><div>logo</div></div> <main id="main" role="main">text</main>',
        '<header><div id="pst-primary-sidebar"><div>logo</div></div></header> <main id="main">text</main>',
    ),
    "headers of a table": (
        '<table><tbody><tr><th class="head"><p></p></th><th class="head r">a</th></tr></tbody></table>',
        '<table><tbody><tr><td></td><th class="head r" scope="col">a</th></tr></tbody></table>',
    ),
    "the size of code": (
        '<div class="cell_input docutils"><pre><span>a</span> = "é&amp;"\nb\n</pre></div>',
        '<div class="cell_input docutils" style="--lines: 2; --columns: 8">'
        '<pre><span>a</span> = "é&amp;"\nb\n</pre></div>',
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_is_not_valid_is_mended_once(name):
    before, after = MENDED[name]
    assert valid_html.mend(page(before)) == page(after)
    assert valid_html.mend(page(after)) == page(after)


def saved(ax, **options) -> str:
    file = io.StringIO()
    ax.figure.savefig(file, format="svg", **options)
    return file.getvalue()


def test_a_figure_goes_into_the_page():
    use_style()
    _, ax = plt.subplots()
    ax.scatter([0, 1], [0, 1], c="#0072B2", edgecolors="#ffffff")
    ax.set_title("a <b> & c, in #0072b2")
    svg = saved(ax)
    first, second = (
        figures.inline(svg, alt='a "point" & another', prefix=prefix) for prefix in ("f0-", "f1-")
    )
    ids = [{e.get("id") for e in ElementTree.fromstring(f).iter()} - {None} for f in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', first)) == ids[0]
    assert ElementTree.fromstring(first).find("svg").get("aria-label") == 'a "point" & another'
    assert "var(--vae-q, #0072b2)" in first and "var(--vae-paper, #ffffff)" in first
    texts = ["".join(e.itertext()) for e in ElementTree.fromstring(first).iter("text")]
    assert "a <b> & c, in #0072b2" in texts
    assert not re.search(r"\s(xlink:href|xmlns|version)=|<metadata|<!--|>\s+<", first)


def test_a_picture_in_a_figure_keeps_its_pixels():
    _, ax = plt.subplots()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    ax.figure.figimage(pixels)
    before = saved(ax)
    png = re.search(r'href="data:image/png;base64,([^"]+)"', before)[1]
    after = re.search(r'href="data:image/webp;base64,([^"]+)"', figures.inline(before, alt="", prefix="a-"))[
        1
    ]
    first, second = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")) for text in (png, after)
    )
    np.testing.assert_array_equal(first, second)


def test_a_figure_says_how_wide_it_was_saved():
    html = figures.inline('<svg width="72pt" height="36pt" viewBox="0 0 72 36"></svg>', alt="", prefix="")
    assert 'style="--width: 96; aspect-ratio: 72 / 36"' in html
    html = figures.inline('<svg viewBox="0 0 50 20"></svg>', alt="", prefix="")
    assert 'style="--width: 50; aspect-ratio: 50 / 20"' in html and 'viewBox="0 0 50 20"' in html
