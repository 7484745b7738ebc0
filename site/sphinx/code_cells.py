"""Sphinx extension: code cells that are quick to lay out.

Each says how many lines and columns it has, so that a browser can leave it for later (`content-visibility` in
the theme) and still give it its room.
"""

from pygments.formatters import HtmlFormatter
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Text
from selectolax.lexbor import LexborHTMLParser
from sphinx.highlighting import PygmentsBridge


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
    """Tell the theme how many lines and columns each code cell has."""
    for cell in page.css("div.cell_input"):
        lines = cell.css_first("pre").text().split("\n")
        cell.attrs["style"] = f"--lines: {len(lines) - 1}; --columns: {max(map(len, lines))}"


def setup(app):
    PygmentsBridge.html_formatter = QuietFormatter
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
