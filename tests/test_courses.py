"""A part of the book for a course: numbers stay, and what is left out is linked where it is published."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from selectolax.lexbor import LexborHTMLParser

pytestmark = pytest.mark.site

ROOT = Path(__file__).parent.parent
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
SITE = CONFIG["html"]["baseurl"]

TOC = """format: jb-book
root: book/index
parts:
  - caption: First
    numbered: 1
    chapters: [{file: book/01-one}]
  - caption: Second
    numbered: 1
    chapters: [{file: book/02-two}, {file: book/03-three}, {file: book/04-four}]
  - caption: At the back
    chapters: [{file: book/glossary}]
"""
PAGES = {
    "index": "# The book\n\nIt has [one](01-one.md), [two](02-two.md) and {term}`apple`.\n\n"
    "1. **[One](01-one.md)**\n2. **[Two](02-two.md)**\n",
    "01-one": "# One\n\n$$ a = b $$ (ab)\n\nFirst words, and [](deep).\n",
    "02-two": "# Two\n\n$$ c = d $$\n\n" + "And so on. " * 240 + "\n\n"
    "Words on an apple, {eq}`ab`, {ref}`deep`, [one](01-one.md) and [four](04-four.md).\n",
    "03-three": "# Three\n\n(deep)=\n## Deep\n\nAn **apple** is taught here.\n",
    "04-four": "# Four\n\nLast words, after [two](02-two.md).\n",
    "glossary": "# Glossary\n\n```{glossary}\napple\n  A fruit.\n```\n",
}


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A book of chapters 2 and 4, of four."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "site").symlink_to(ROOT / "site")
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "_toc.yml").write_text(TOC, "utf8")
    (folder / "book").mkdir()
    shutil.copy(ROOT / "book/references.bib", folder / "book")
    for name, text in PAGES.items():
        (folder / f"book/{name}.md").write_text(text, "utf8")
    command = [Path(sys.executable).parent / "jupyter-book", "build", "-q", "-W", "-n", "--keep-going", "."]
    settings = os.environ | {"LEFT_OUT": "book/01-one.md book/03-three.md"}
    run = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "_build/html"


def page(course: Path, name: str) -> LexborHTMLParser:
    return LexborHTMLParser((course / f"book/{name}.html").read_text("utf8"))


def test_only_what_the_course_needs_is_written(course):
    written = {path.stem for path in (course / "book").iterdir()}
    assert written == {"index", "02-two", "04-four", "glossary"}
    tree = ElementTree.parse(course / "sitemap.xml")
    listed = {e.text for e in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")}
    assert listed == {f"{SITE}book/{name}.html" for name in written}
    found = set(re.findall(r"book/([\w-]+)\.html", (course / "_static/search-index.js").read_text("utf8")))
    assert found == written


def test_chapters_keep_their_numbers_and_follow_one_another(course):
    contents = page(course, "02-two").css_first(".bd-docs-nav").text(separator=" ")
    assert re.findall(r"\d\. \w+", contents) == ["2. Two", "4. Four"]
    assert "First" not in contents and "Second" in contents
    assert page(course, "04-four").css_first("h1 .section-number").text().strip() == "4."
    assert page(course, "02-two").css_first(".right-next").attrs["href"] == "04-four.html"
    assert page(course, "index").css_first(".right-next").attrs["href"] == "02-two.html"


def test_the_map_says_how_long_pages_take(course):
    """Two has an equation, and 720 words and a few; one is left out."""
    items = page(course, "index").css("article ol > li")
    assert [item.text().split() for item in items] == [["One"], ["Two", "4", "min"]]


def test_what_is_left_out_leads_to_the_published_book(course):
    links = page(course, "02-two").css("article a")
    elsewhere = [link for link in links if link.attrs["href"].startswith(SITE)]
    assert [link.attrs["href"].removeprefix(f"{SITE}book/") for link in elsewhere] == [
        "01-one.html#equation-ab",
        "03-three.html#deep",
        "01-one.html",
    ]
    assert all("external" in link.attrs["class"] for link in elsewhere)
    assert {"04-four.html", "glossary.html#term-apple"} <= {link.attrs["href"] for link in links}


def test_every_page_says_that_it_is_a_part(course):
    assert f'A part of <a href="{SITE}">the whole book</a>.' in (course / "book/index.html").read_text("utf8")


def make(chapters: str) -> subprocess.CompletedProcess:
    command = ["make", "--dry-run", "--print-data-base", "book", f"CHAPTERS={chapters}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_make_leaves_out_the_other_chapters_and_what_is_for_teachers():
    said = make("6 08").stdout
    left_out = re.search(r"^LEFT_OUT := (.*)$", said, re.M)[1].split()
    assert "book/05-intractable.ipynb" in left_out and "book/teaching.md" in left_out
    assert not {"book/06-elbo.ipynb", "book/08-vae.ipynb", "book/glossary.md"} & set(left_out)
    assert all((ROOT / path).exists() for path in left_out)
    assert f"The book: file://{ROOT}/_build/course/" in said


def test_make_refuses_a_chapter_that_there_is_not():
    run = make("6 15")
    assert run.returncode != 0 and "There is no chapter 15" in run.stderr
