"""A sentence of the book, checked where it is made, and on rivals that must fail the same check."""

import ast
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from vae_lab import notebook
from vae_lab.arguments import checked, choice, shown

# Why a claim has no rival, by a word
NO_RIVAL = {
    "identity": "two ways to compute the same thing agree",
    "inequality": "a theorem says so, of anything",
    "comparison": "the sentence names both sides; each is the other's rival",
    "count": "a fact of the data or the setup, counted",
}


class ClaimFailedError(AssertionError):
    """A sentence of the book turned out to be false in this run, or true of a rival."""


@dataclass(frozen=True)
class Claim:
    """A sentence that has been checked, shown with a tick and with the rivals of which it is not true."""

    sentence: str
    rivals: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"✓ {self.sentence}" + (f" ({self.aside})" if self.rivals else "")

    def _repr_html_(self) -> str:
        aside = f" <small>{html.escape(self.aside)}</small>" if self.rivals else ""
        return f'<p class="claim"><span>✓</span> <span>{html.escape(self.sentence)}{aside}</span></p>'

    @property
    def aside(self) -> str:
        *most, last = self.rivals
        return f"not true of {', '.join(most)} or {last}" if most else f"not true of {last}"


@checked
def claim(
    sentence: str,
    condition,
    *,
    of: Any = None,
    rivals: Mapping[str, Any] | None = None,
    no_rival: Annotated[str, choice(*NO_RIVAL)] | None = None,
) -> None:
    """Show `✓ sentence` if `condition` holds, and stop the notebook if it does not.

    condition : one truth value: a bool, or a Boolean NumPy or torch scalar; or, beside `rivals`, a function
        that gives one. A number is not, so that a forgotten comparison is noticed. A comparison with NaN is
        false, so a claim about a diverged run fails.
    of : what the sentence is about, for the function
    rivals : by name, what takes no skill to produce: the function must be false for each, or the check says
        less than the sentence. The line then names the rivals
    no_rival : why there is none, a word of `NO_RIVAL`

        claim("little noise is left", lambda e: e < noise / 9, of=error, rivals={"the mean image": blind})

    Raises `ClaimFailedError` with the sentence if it is false, or true of a rival; `TypeError` if the
    condition is not one truth value.
    """
    if rivals is None and of is not None:
        raise TypeError(f"of goes with rivals, that the same function is asked about, got {shown(of)} alone")
    if callable(condition) == (rivals is None):
        raise TypeError(
            "condition must be a function where there are rivals, and a truth value where there are none"
        )
    if not _holds(condition(of) if rivals is not None else condition):
        raise ClaimFailedError(f"this run does not bear out: {sentence}")
    for name, rival in (rivals or {}).items():
        if _holds(condition(rival)):
            raise ClaimFailedError(f"{name} passes too, so the check says less than: {sentence}")
    notebook.show(Claim(sentence, tuple(rivals or ())))


def _holds(condition) -> bool:
    """One truth value as a bool."""
    known = getattr(condition, "ndim", None) == 0 and not getattr(condition, "is_meta", False)
    holds = condition.item() if known and not getattr(condition, "mask", False) else condition
    if not isinstance(holds, bool):
        raise TypeError(
            f"condition must be one truth value, got {shown(condition)}; compare, then use .all() or .any()"
        )
    return holds


# A code cell of a page of MyST Markdown: its source, without its options
MYST_CELL = re.compile(r"^```\{code-cell\}.*\n(?:---\n(?:.*\n)*?---\n|(?::.*\n)*)((?:.*\n)*?)```$", re.M)


class Written(NamedTuple):
    """A claim as it stands in a notebook: its sentence as it is written there, and one of the two, or none.

    rivals : their names; "…" where they are computed
    no_rival : why it has none
    """

    sentence: str
    rivals: tuple[str, ...]
    no_rival: str | None


@checked
def written(notebook: Path | str) -> list[Written]:
    """All claims of a notebook (.ipynb, or a page of MyST Markdown), in order."""
    text = Path(notebook).read_text("utf8")
    if Path(notebook).suffix == ".md":
        code = MYST_CELL.findall(text)
    else:
        cells = json.loads(text)["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    trees = [ast.parse("\n".join(_plain(line) for line in source.splitlines())) for source in code]
    calls = [node for tree in trees for node in ast.walk(tree) if _is_claim(node)]
    return [_written(call) for call in calls]


def _plain(line: str) -> str:
    """A line without IPython's own commands."""
    return line.replace(line.lstrip(), "pass") if line.lstrip().startswith(("%", "!")) else line


def _is_claim(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "claim"


def _written(call: ast.Call) -> Written:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    rivals, why = named.get("rivals"), named.get("no_rival")
    keys = rivals.keys if isinstance(rivals, ast.Dict) else [None] * (rivals is not None)
    names = tuple(key.value if isinstance(key, ast.Constant) else "…" for key in keys)
    sentence = call.args[0]
    text = sentence.value if isinstance(sentence, ast.Constant) else ast.unparse(sentence)
    return Written(text, names, why.value if isinstance(why, ast.Constant) else None)
