"""One ES module and one style sheet per widget, out of files that share code.

A static page cannot resolve a relative import, so the files are joined in order, without their imports of one
another and without their comments, which every page would carry. On disk each stays a module of its own that
Node can load.
"""

import re
from pathlib import Path

from vae_lab import colors

HERE = Path(__file__).parent
RELATIVE_IMPORT = re.compile(r'^import [^;]* from "\.{1,2}/[\w./]+";\n', re.MULTILINE)
# What a model that learns in the page consists of, apart from engine.js and learner.js
ENGINE = (
    "compiled", "kernels", "plain", "random", "settings", "network", "likelihoods", "vae", "curve", "trainer",
    "session", "serve",
)  # fmt: skip
# Comments of whole lines, and types within a line
COMMENT = re.compile(
    r"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/[ \t]*)\n|/\*\* @[^\n]*?\*/ ?", re.MULTILINE | re.DOTALL
)


def script(*names: str) -> str:
    """The JavaScript files of these names as one module; a file comes after those it imports."""
    return "".join(COMMENT.sub("", RELATIVE_IMPORT.sub("", read(name))) for name in names)


def learning() -> str:
    """`learn` of learner.js, and all that it needs, to put before the JavaScript of a widget.

    The engine's files stand inside the function `engine`, whose text is then what a worker runs.
    """
    inside = re.sub(r"^export ", "", script(*(f"learning/{name}.js" for name in ENGINE)), flags=re.MULTILINE)
    head = "function engine() {\n"
    return script("learning/engine.js").replace(head, head + inside, 1) + script("learning/learner.js")


def style(*names: str) -> str:
    """The CSS files of these names as one sheet, after the colors."""
    return colors.fallbacks() + "".join(COMMENT.sub("", read(name)) for name in names)


def read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
