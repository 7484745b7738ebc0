"""Sphinx extension: code cells that leave the story its room, and are quick to lay out.

The code that checks a claim folds behind its tick, and that of a table behind the table. And each cell says
how many lines and columns it has, so that a browser can leave it for later (`content-visibility` in the
theme) and still give it its room.
"""

import ast
import re

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from pygments.formatters import HtmlFormatter
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Text
from selectolax.lexbor import LexborHTMLParser
from sphinx.highlighting import PygmentsBridge
from sphinx.transforms.post_transforms import SphinxPostTransform

SAID = re.compile(r"""(?:claim|table)\(\s*[fr]*["'](.+?)["']""")  # a claim's sentence, a table's caption
RESULTS = ("claim", "table")  # calls whose result the page shows first


class QuietFormatter(HtmlFormatter):
    """Marks only the code that the theme sets apart: marks for all would double the elements of a page."""

    SET_APART = (Keyword, Operator.Word, Name.Function, Name.Class, Comment, String, Number)

    def format_unencoded(self, tokensource, outfile):
        marked = (
            (kind if any(kind in apart for apart in self.SET_APART) else Text, text)
            for kind, text in tokensource
        )
        super().format_unencoded(marked, outfile)


def measure(page: LexborHTMLParser) -> None:
    """Tell the theme how many lines and columns each code cell has, and give each fold a name of its own."""
    for cell in page.css("div.cell_input"):
        lines = cell.css_first("pre").text().split("\n")
        cell.attrs["style"] = f"--lines: {len(lines) - 1}; --columns: {max(map(len, lines))}"
    for fold in page.css(
        "details.hide"
    ):  # they read alike: who does not see the cell hears how its code begins
        code = fold.css_first("pre")
        for title in fold.css("summary > .admonition-title") if code is not None else []:
            which = page.create_node("span")
            which.attrs["class"] = "visually-hidden"
            said = SAID.search(code.text())
            about = said[1] if said else f"what begins with {code.text().split(chr(10))[0]}"
            which.insert_child(f": {about}")
            title.insert_child(which)


class FoldResults(SphinxPostTransform):
    """Fold the code of claims and of tables, and put it behind their ticks and them."""

    default_priority = 198  # before myst-nb folds what is tagged
    formats = ("html",)

    def run(self):
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") != "cell_code" or len(cell.children) != 2 or cell.get("hide_mode"):
                continue
            code, output = cell.children
            source = next(iter(code.findall(nodes.literal_block)))
            before, results = ("", source.astext()) if only_ticks(output) else split(source.astext())
            if not results:
                continue
            prompt = "How we checked" if "claim(" in results else "Show the code"
            fold = HideCodeCellNode(prompt_show=prompt, prompt_hide=prompt, classes=["check"])
            fold.append(code)
            cell.children = [output, fold]
            if before:
                shown = code.deepcopy()
                cell.insert(0, shown)
                replace(next(iter(shown.findall(nodes.literal_block))), before)
                replace(source, results)


def only_ticks(output: nodes.Element) -> bool:
    shown = [raw.astext() for raw in output.findall(nodes.raw) if raw["format"] == "html"]
    other = [*output.findall(nodes.literal_block), *output.findall(nodes.image)]
    return bool(shown) and not other and all(html.startswith('<p class="claim"') for html in shown)


def split(source: str) -> tuple[str, str]:
    """A cell's code up to its first claim or table, and from there to the end."""
    lines = source.split("\n")
    for statement in ast.parse("\n".join(line if line[:1] not in "%!" else "" for line in lines)).body:
        call = getattr(statement, "value", None)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in RESULTS:
            first = statement.lineno - 1
            while first and lines[first - 1].startswith("#"):
                first -= 1
            return "\n".join(lines[:first]).strip("\n"), "\n".join(lines[first:])
    return source, ""


def replace(block: nodes.literal_block, text: str) -> None:
    block.rawsource, block.children = text, []
    block += nodes.Text(text)


def setup(app):
    app.add_post_transform(FoldResults)
    PygmentsBridge.html_formatter = QuietFormatter
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
