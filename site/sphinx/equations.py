"""Sphinx extension: equations that are set when the book is built, so that no page runs a typesetter.

MathJax sets them, in `equations.js`. A page loads what they need as a style sheet and a font. A display is
set for several widths; the page shows the one that fits (`theme/text.css`).
"""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

import nodejs

SETTER = Path(__file__).with_name("equations.js")
FONT_PATH = "@mathjax/mathjax-stix2-font/chtml/woff2"  # as the style sheet of equations.js has it
FONT = nodejs.PACKAGES / FONT_PATH
SHEET = "equations.css"

log = logging.getLogger(__name__)


class Setter:
    """A running `equations.js`."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([nodejs.program(), str(SETTER)], text=True, encoding="utf8", **pipes)
        self.set = cache(self.set)  # most formulas come again and again

    def ask(self, **question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        if answer := self.process.stdout.readline():
            return json.loads(answer)
        raise ExtensionError(f"{SETTER.name} ended early: its message is above")

    def set(self, tex: str, display: bool) -> tuple[str, str | None]:
        """(HTML, what is wrong with the TeX) of a formula."""
        answer = self.ask(tex=tex, display=display)
        versions = [version(*each) for each in answer["html"]]
        return "".join(versions), answer.get("error")

    def write_styles(self, folder: Path) -> None:
        """Write what all the formulas need to `folder`; until a font has come, its signs are another's."""
        css = self.ask(styles=True)["css"].replace(f"{FONT_PATH}/", "equations/")
        css = css.replace("  src: url(", "  font-display: swap;\n  src: url(")
        (folder / SHEET).write_text(css, "utf8")
        shutil.copytree(FONT, folder / "equations", dirs_exist_ok=True)

    def close(self) -> None:
        with self.process:  # ends when there is nothing more to read
            pass


def version(html: str, least: float, below: float | None) -> str:
    """A display, marked for columns of at least, and of less than, so many em."""
    marks = [
        f"{word}-{bound:g}".replace(".", "_") for word, bound in (("from", least), ("below", below)) if bound
    ]
    return html.replace('class="MathJax"', f'class="{" ".join(marks)}"' if marks else "", 1)


def visit_math(writer, node):
    put(writer, node, "span", node.astext(), display=False)


def visit_displaymath(writer, node):
    parts = [part for part in node.astext().split("\n\n") if part.strip()]
    if len(parts) > 1:
        raise ExtensionError(f"{node.source}:{node.line}: an empty line within an equation")
    tex = node.astext()
    if "\\\\" in tex and not node["nowrap"]:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    put(writer, node, "div", tex, display=True)


def put(writer, node, tag: str, tex: str, *, display: bool):
    """Write an equation, and its number if it has one."""
    html, error = writer.builder.app.equations.set(tex.strip(), display)
    if error:
        log.warning("%s in the equation %s", error, tex.strip(), location=node)
    writer.body.append(writer.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
    if node.get("number"):
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append(f"{html}</{tag}>")
    raise nodes.SkipNode


def start(app):
    if app.builder.format == "html":
        app.equations = Setter()


def style(app, pagename, templatename, context, doctree):
    """Give the style sheet to the pages that have equations."""
    if app.env.get_domain("math").has_equations(pagename):
        app.add_css_file(SHEET)


def finish(app, exception):
    if hasattr(app, "equations"):
        if exception is None:
            app.equations.write_styles(Path(app.outdir, "_static"))
        app.equations.close()


def setup(app):
    app.add_html_math_renderer("equations", (visit_math, None), (visit_displaymath, None))
    app.connect("builder-inited", start)
    app.connect("html-page-context", style)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
