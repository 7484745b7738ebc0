import json
import sys

import numpy as np
import pytest
import torch

from vae_lab import claim
from vae_lab.claims import NO_RIVAL, Claim, ClaimFailedError, Written, written

NAN = float("nan")


@pytest.mark.parametrize("true", [True, np.True_, np.array(True), torch.tensor(2.0) > 1])
def test_a_true_claim_prints_a_tick(true, capsys):
    assert claim("one is less than two", true) is None
    assert capsys.readouterr().out == "✓ one is less than two\n"


@pytest.mark.parametrize("false", [False, np.False_, NAN < 1, NAN == NAN, torch.tensor(NAN) > 1])
def test_a_false_claim_raises_its_sentence(false, capsys):
    with pytest.raises(ClaimFailedError, match="this run does not bear out: pigs fly"):
        claim("pigs fly", false)
    with pytest.raises(ClaimFailedError, match="this run does not bear out: pigs fly"):
        claim("pigs fly", lambda found: found, of=false, rivals={"stones": False})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "vague", [None, 1, NAN, "yes", [True], np.array([True]), torch.ones(2) > 0, torch.tensor(0.5)]
)
def test_what_is_no_truth_value_is_refused(vague):
    message = r"condition must be one truth value, got .*; compare, then use \.all"
    with pytest.raises(TypeError, match=message):
        claim("it is so", vague)
    with pytest.raises(TypeError, match=message):
        claim("it is so", lambda found: found, of=vague, rivals={"another": False})
    with pytest.raises(TypeError, match=message):
        claim("it is so", lambda found: found, of=True, rivals={"another": vague})


def test_a_rival_must_fail_the_same_check(capsys):
    errors = {"the mean image": 39.7, "the image itself": 100.0}
    claim("little noise is left", lambda error: error < 20, of=12.0, rivals=errors)
    line = "✓ little noise is left (not true of the mean image or the image itself)\n"
    assert capsys.readouterr().out == line
    with pytest.raises(ClaimFailedError, match=r"^the mean image passes too, .* than: little noise is left$"):
        claim("little noise is left", lambda error: error < 40, of=12.0, rivals=errors)


def test_a_rival_whose_number_is_lost_proves_nothing_and_stops_nothing(capsys):
    claim("it is small", lambda error: error < 1, of=0.5, rivals={"one that diverged": NAN})
    assert "one that diverged" in capsys.readouterr().out


@pytest.mark.parametrize(("condition", "rivals"), [(True, {"a": 1}), (lambda x: True, None)])
def test_a_function_goes_with_rivals_and_a_truth_value_without(condition, rivals):
    with pytest.raises(TypeError, match="a function where there are rivals, and a truth value where"):
        claim("it is so", condition, rivals=rivals)


def test_a_thing_without_rivals_is_refused():
    with pytest.raises(TypeError, match=r"^of goes with rivals"):
        claim("it is so", True, of=3)


def test_why_there_is_no_rival_is_one_of_a_few_words(capsys):
    claim("the sum is the sum", True, no_rival="identity")
    assert capsys.readouterr().out == "✓ the sum is the sum\n"
    with pytest.raises(ValueError, match=f"^no_rival must be one of {', '.join(NO_RIVAL)}, got 'laziness'"):
        claim("it is so", True, no_rival="laziness")


def test_a_failed_claim_is_a_failed_assertion():
    assert issubclass(ClaimFailedError, AssertionError)


def test_html_is_escaped():
    shown = Claim("a < b & <script>", ("<the mean>",))
    page = shown._repr_html_()
    assert "a &lt; b &amp; &lt;script&gt;" in page and "<script>" not in page and "<the" not in page
    assert repr(shown) == "✓ a < b & <script> (not true of <the mean>)"
    assert "<small>" not in Claim("a")._repr_html_()


def test_in_a_notebook_it_is_displayed(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("IPython.get_ipython", object)
    monkeypatch.setattr("IPython.display.display", shown.append)
    claim("rich", True)
    assert shown == [Claim("rich")] and capsys.readouterr().out == ""


def test_without_ipython_it_is_printed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", None)
    claim("plain", True)
    assert capsys.readouterr().out == "✓ plain\n"


def test_the_claims_of_a_notebook_are_found_as_they_are_written(tmp_path):
    cells = [
        "%pip install vae_lab\nfor name in 'ab':\n    claim(f'{name} is one', True, no_rival='count')",
        "claim('a', lambda e: e < 1, of=0.5, rivals={'the mean': 2, 'nothing': 3})\nprint(claim)",
        "claim(\n    'b '\n    'c',\n    True,\n)\n!ls",
        "claim('d', test, of=1, rivals=others)",
    ]
    found = [
        Written("f'{name} is one'", (), "count"),
        Written("a", ("the mean", "nothing"), None),
        Written("b c", (), None),
        Written("d", ("…",), None),
    ]
    notebook = {"cells": [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]}
    notebook["cells"].insert(1, {"cell_type": "markdown", "source": ["claim('no', False)"]})
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook), "utf8")
    assert written(tmp_path / "a.ipynb") == found
    options = ["", ":tags: [hide-input]\n\n", "---\ntags: [remove-input]\n---\n", ":tags: []\n:name: x\n"]
    parts = [f"```{{code-cell}} python3\n{o}{c}\n```\n" for o, c in zip(options, cells, strict=True)]
    shown = "```python\nclaim('only shown', False)\n```\n"
    (tmp_path / "a.md").write_text("# A page\n\n" + shown + "\nWords.\n\n".join(parts), "utf8")
    assert written(tmp_path / "a.md") == found


@pytest.mark.parametrize("hidden", [torch.tensor(True, device="meta"), np.ma.array(True, mask=True)])
def test_a_truth_value_that_is_not_there_is_refused(hidden):
    with pytest.raises(TypeError, match="condition must be one truth value"):
        claim("it holds", hidden)
