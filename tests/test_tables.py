import numpy as np
import pytest
import torch
from selectolax.lexbor import LexborHTMLParser

from vae_lab import table
from vae_lab.tables import Table


@pytest.fixture
def shown(monkeypatch):
    """The tables that were shown."""
    tables = []
    monkeypatch.setattr("vae_lab.notebook.show", tables.append)
    return tables


def test_a_script_prints_columns_that_stand_under_their_heads(capsys):
    rows = {"test images": (3.14, 0.98), "static": (-14.6, None)}
    table("How far away", ("", "nearest", "confidence"), rows, form=".1f")
    assert capsys.readouterr().out == (
        "How far away\n"
        "             nearest  confidence\n"
        "test images      3.1         1.0\n"
        "static         −14.6           –\n"
    )


@pytest.mark.parametrize("row", [(1, 2.5), [1, 2.5], np.array([1, 2.5]), torch.tensor([1, 2.5])])
def test_a_row_is_any_sequence(row, shown):
    table("Two numbers", ("n", "a", "b"), {4: row}, form=(".0f", ".2f"))
    assert shown == [Table("Two numbers", ("n", "a", "b"), (("4", "1", "2.50"),))]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0.5, "0.50"),
        (np.float64(0.5), "0.50"),
        (torch.tensor(0.5), "0.50"),
        ("all", "all"),
        ((0.5, 0.125), "0.50 ± 0.12"),
        (None, "–"),
        (float("-inf"), "−∞"),
    ],
)
def test_one_column_needs_no_sequence(value, word, shown):
    table("One number", ("", "a"), {"it": value}, form=".2f")
    assert shown[0].lines == (("it", word),)


def test_a_page_shows_what_each_number_is(shown):
    table("a < b", ("", "<i>"), {"<b>": "&"})
    page = LexborHTMLParser(shown[0]._repr_html_())
    assert page.css_first("table > caption").text() == "a < b"
    assert [(cell.tag, cell.attrs.get("scope"), cell.text()) for cell in page.css("tr > *")] == [
        ("td", None, ""),
        ("th", "col", "<i>"),
        ("th", "row", "<b>"),
        ("td", None, "&"),
    ]


@pytest.mark.parametrize(
    ("columns", "rows", "form", "message"),
    [
        (("",), {"a": 1}, ".1f", "columns must head the names of the rows and a column at least"),
        (("", "x"), {}, ".1f", "rows must be one at least"),
        (("", "x", "y"), {"a": (1, 2, 3)}, ".1f", r"rows\['a'\] must have 2 values like the head, got 3"),
        (("", "x", "y"), {"a": 1}, ".1f", "must have 2 values like the head, got 1"),
        (("", "x", "y"), {"a": (1, 2)}, (".1f",), "or one for each of 2 columns, got 1"),
        (("", "x"), {"a": {}}, ".1f", "must have 1 values like the head, got 0"),
        (("", "x"), {"a": object()}, ".1f", "a value of a table must be a number that can be written as"),
    ],
)
def test_what_is_no_table_is_refused(columns, rows, form, message):
    with pytest.raises(ValueError, match=message):
        table("It", columns, rows, form=form)
