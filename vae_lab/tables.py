"""Results as a table: HTML with a caption in a notebook, aligned text elsewhere."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from vae_lab import notebook
from vae_lab.arguments import Words, checked, instance, shown

MISSING = "–"
Rows = Annotated[Mapping, instance(Mapping)]


@dataclass(frozen=True)
class Table:
    """Lines of words under a head; the first word of each line is its name."""

    caption: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        first, *others = zip(self.head, *self.lines, strict=True)
        columns = [[word.ljust(max(map(len, first))) for word in first]]
        columns += [[word.rjust(max(map(len, words))) for word in words] for words in others]
        return "\n".join([self.caption, *("  ".join(line) for line in zip(*columns, strict=True))])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in self.head)
        if not self.head[0]:
            head = head.replace('<th scope="col"></th>', "<td></td>", 1)  # it heads nothing
        lines = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>'
            + "".join(f"<td>{html.escape(word)}</td>" for word in words)
            + "</tr>"
            for name, *words in self.lines
        )
        return (
            f'<table class="results"><caption>{html.escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        )


@checked
def table(caption: str, columns: Words, rows: Rows, *, form: str | Words = ".3g") -> None:
    """Show what was found as a table.

    caption : what the numbers are, with their unit
    columns : the head: over the names of the rows, which may be "", then over each column
    rows : by name, the values of a row: numbers, a mean and its standard error as a pair, words, or None
        where there is nothing; a single column's values need no sequence
    form : how numbers are written, as in an f-string; one for all columns, or one for each

        table("Squared error an image", ("code", "PCA", "autoencoder"), {8: (23.1, 12.4)}, form=".1f")

    Raises `ValueError` if a row has more or fewer values than there are columns.
    """
    across = len(columns) - 1
    if across < 1:
        raise ValueError(f"columns must head the names of the rows and a column at least, got {columns}")
    if not rows:
        raise ValueError("rows must be one at least, got none")
    forms = [form] * across if isinstance(form, str) else list(form)
    if len(forms) != across:
        raise ValueError(f"form must be one for all, or one for each of {across} columns, got {len(forms)}")
    lines = []
    for name, values in rows.items():
        values = _values(values, across)
        if len(values) != across:
            raise ValueError(f"rows[{name!r}] must have {across} values like the head, got {len(values)}")
        lines.append((str(name), *map(_word, values, forms)))
    notebook.show(Table(caption, tuple(columns), tuple(lines)))


def _values(values: Any, across: int) -> list:
    """A row's values, of which each may be a pair."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        return [values]
    values = list(values)
    return [values] if across == 1 and len(values) == 2 else values


def _word(value: Any, form: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list):
        return " ± ".join(_word(part, form) for part in value)
    try:
        word = format(value.item() if hasattr(value, "item") else value, form)
    except (TypeError, ValueError):
        raise ValueError(
            f"a value of a table must be a number that can be written as {form!r}, got {shown(value)}"
        ) from None
    return word.replace("-", "−").replace("inf", "∞")
