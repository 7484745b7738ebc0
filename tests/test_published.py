"""What is published beside the pages: how a link to one looks, search, ways on from old addresses, a PDF."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from built_book import FILES, HTML, PAGES, ROOT
from PIL import Image
from pypdf import PdfReader

pytestmark = pytest.mark.site

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
SITE = CONFIG["html"]["baseurl"]
BOOK = [name for name in PAGES if name.startswith("book/")]


# What a link to a page shows


def said(name: str) -> dict[str, str]:
    """{property: content} of the tags at the head's beginning, where those who look for them stop reading."""
    tags = re.findall(
        r'<(?:meta (?:property|name)|link rel)="([\w:]+)" (?:content|href)="([^"]*)"', FILES[name][:5000]
    )
    return dict(tags)


@pytest.mark.parametrize("name", [*BOOK, "index.html"])
def test_a_link_to_a_page_shows_what_it_is_about(name):
    tags, page = said(name), "book/index.html" if name == "index.html" else name
    assert tags["og:url"] == SITE + page and f'<link rel="canonical" href="{SITE + page}"' in FILES[name]
    heading = re.search(r"<h1>(.*?)<a", FILES[page].split("<article")[1], re.DOTALL)[1]
    assert tags["og:title"] == re.sub(r"<.*?>", "", heading).strip()
    assert 20 < len(tags["og:description"]) <= 200 and tags["og:description"] == tags["description"]
    assert not re.search(r"[\\$]", tags["og:description"]), "a raw equation"
    assert tags["twitter:card"] == "summary_large_image"
    with Image.open(HTML / tags["og:image"].removeprefix(SITE)) as card:
        assert card.size == (1200, 630) == (int(tags["og:image:width"]), int(tags["og:image:height"]))


def test_no_two_pages_say_the_same():
    assert len({said(name)["og:description"] for name in BOOK}) == len(BOOK)


def test_the_sitemap_lists_the_book():
    tree = ElementTree.parse(HTML / "sitemap.xml")
    listed = [e.text for e in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert listed == [SITE + name for name in BOOK]
    assert f"Sitemap: {SITE}sitemap.xml" in (HTML / "robots.txt").read_text("utf8").splitlines()


def test_the_site_has_one_address():
    """Notebooks name it to those who read them in Colab; tests/test_notebooks.py holds them to it."""
    assert SITE.startswith("https://") and SITE.endswith("/")
    files = [ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "CITATION.cff"]
    for folder in (".github", "site", "book", "tests", "vae_lab"):
        files += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.suffix in {".py", ".js", ".html", ".md", ".yml"} and "node_modules" not in path.parts
        ]
    name = urlsplit(SITE).hostname
    assert [str(path) for path in files if name in path.read_text("utf8")] == []


# Search


# Addresses that are none, or none any more


@pytest.fixture
def pages_host():
    """As GitHub Pages serves a repository: below its name, and 404.html for whatever is not there."""
    below = urlsplit(SITE).path

    class Pages(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            path = HTML / unquote(urlsplit(self.path).path).removeprefix(below)
            found = self.path.startswith(below) and path.is_file()
            content = (path if found else HTML / "404.html").read_bytes()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{below}"
        server.shutdown()


@pytest.mark.parametrize("address", ["none.html", "book/none.html", "a/b/c/d"])
def test_a_wrong_address_leads_on_from_wherever_it_lies(browser, pages_host, address):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    assert page.goto(pages_host + address).status == 404
    assert [url for url in asked if not url.endswith("favicon.ico")] == [pages_host + address]
    links = [link.get_attribute("href") for link in page.get_by_role("link").all()]
    assert len(links) == 2 and all(link.startswith(SITE) for link in links)
    for link in links:
        assert page.goto(pages_host + link.removeprefix(SITE)).status == 200
    page.close()


def tiny_book(folder: Path, renamed: dict) -> subprocess.CompletedProcess:
    """Build a book of two pages whose names and sections have changed."""
    (folder / "site").symlink_to(ROOT / "site")
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    config["sphinx"]["config"]["renamed"] = renamed
    (folder / "_config.yml").write_text(yaml.safe_dump(config), "utf8")
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/chapter\nchapters: [{file: book/other}]\n", "utf8"
    )
    (folder / "book").mkdir()
    shutil.copy(ROOT / "book/references.bib", folder / "book")
    (folder / "book/chapter.md").write_text("# One\n\nWords about it.\n\n## Two\n\nMore.\n", "utf8")
    (folder / "book/other.md").write_text("# Three\n\nOther words.\n\n## Four\n\nMore.\n", "utf8")
    command = [Path(sys.executable).parent / "jupyter-book", "build", "-q", "-W", "-n", "--keep-going", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_old_name_of_a_page_leads_to_the_new_one(tmp_path, browser):
    run = tiny_book(tmp_path, {"book/old": "book/chapter"})
    assert run.returncode == 0, run.stdout + run.stderr
    html = tmp_path / "_build/html"
    assert f'<link rel="canonical" href="{SITE}book/chapter.html"' in (html / "book/old.html").read_text(
        "utf8"
    )
    assert "old" not in (html / "sitemap.xml").read_text("utf8")
    for script in (True, False):
        page = browser.new_page(java_script_enabled=script)
        page.goto((html / "book/old.html").as_uri() + "#two")
        page.wait_for_url("**/book/chapter.html" + "#two" * script)
        page.close()


def test_a_section_that_moved_leads_to_its_new_page(tmp_path, browser):
    run = tiny_book(tmp_path, {"book/chapter#before": "book/other#four", "book/old": "book/other"})
    assert run.returncode == 0, run.stdout + run.stderr
    html = tmp_path / "_build/html/book"
    page = browser.new_page()
    places = {"chapter.html#before": "other.html#four", "old.html#four": "other.html#four"}
    for place, there in places.items():
        page.goto(f"{html.as_uri()}/{place}")
        page.wait_for_url(f"**/book/{there}")
    page.goto(f"{html.as_uri()}/chapter.html#two")
    page.wait_for_load_state()
    assert page.url.endswith("chapter.html#two")
    page.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"book/old": "book/none"},
        {"book/chapter": "book/chapter"},
        {"book/chapter#two": "book/other#four"},
        {"book/chapter#before": "book/other#five"},
        {"book/none#before": "book/other#four"},
    ],
)
def test_a_name_that_leads_nowhere_stops_the_build(tmp_path, wrong):
    run = tiny_book(tmp_path, wrong)
    assert run.returncode != 0 and "must lead from a name that is free" in run.stdout + run.stderr


# On paper


@pytest.mark.slow
@pytest.mark.parametrize("name", BOOK)
def test_nothing_is_cut_off_on_paper(visit, name):
    page = visit(name, size=(627, 900))  # CSS pixels between the margins of A4
    page.emulate_media(media="print")
    page.wait_for_timeout(300)
    assert page.evaluate(CUT) == []


CUT = """[...document.querySelectorAll('article :is(p, pre, table, img, svg, canvas, mjx-container)')]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.outerHTML.slice(0, 99))"""


@pytest.fixture(scope="module")
def pdf(tmp_path_factory):
    """The PDF of the first page, which has a widget, and of the notation, which has equations."""
    path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    command = [sys.executable, ROOT / "site/tools/pdf.py", path, "index", "notation"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return PdfReader(path)


def test_the_pdf_has_a_title_contents_numbers_and_bookmarks(pdf):
    texts = [page.extract_text() for page in pdf.pages]
    assert len(texts) > 4 and pdf.metadata.title == CONFIG["title"] and CONFIG["author"] in texts[0]
    for number, text in enumerate(texts[1:], start=2):
        assert str(number) in text.split()
    starts = {
        mark.title: pdf.get_destination_page_number(mark)
        for mark in pdf.outline
        if not isinstance(mark, list)
    }
    assert {"Variational Autoencoders", "Notation"} <= starts.keys()
    assert "Every symbol, letter and unit of the book" in texts[starts["Notation"]]
    assert "Notation" in texts[1]


def test_the_pdf_shows_a_widget_as_it_starts_and_where_it_moves(pdf):
    text = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    for words in ("the decoder’s image", "prior: 1, 2, 3 σ", "Drag the point", f"{SITE}book/index.html"):
        assert words in text
    pictures = [image.image.convert("L").getextrema() for page in pdf.pages for image in page.images]
    assert any(low < 30 and high > 200 for low, high in pictures), "no digit is drawn"


def test_the_pdf_brings_its_fonts(pdf):
    fonts = {}
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            font = font.get_object()
            inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            drawn = font["/Subtype"] == "/Type3"  # its letters are drawings in the file
            fonts[str(inner.get("/BaseFont"))] = drawn or any(
                k.startswith("/FontFile") for k in inner["/FontDescriptor"]
            )
    assert fonts and all(fonts.values()), fonts


def test_links_of_the_pdf_lead_to_its_own_pages_or_to_the_web(pdf):
    links = [link.get_object() for page in pdf.pages for link in page.get("/Annots", [])]
    addresses = [str(link["/A"]["/URI"]) for link in links if "/A" in link]
    assert addresses and all(address.startswith("https://") for address in addresses), addresses
    assert any("/Dest" in link for link in links)


def test_a_page_that_is_none_is_named():
    run = subprocess.run(
        [sys.executable, "site/tools/pdf.py", "x.pdf", "08-vea"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 1 and "no page of _toc.yml is called 08-vea" in run.stderr
