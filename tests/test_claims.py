import sys

import numpy as np
import pytest
import torch

from vae_lab import claim
from vae_lab.claims import Claim, ClaimFailedError

NAN = float("nan")


@pytest.mark.parametrize("true", [True, np.True_, np.array(True), torch.tensor(2.0) > 1])
def test_a_true_claim_prints_a_tick(true, capsys):
    assert claim("one is less than two", true) is None
    assert capsys.readouterr().out == "✓ one is less than two\n"


@pytest.mark.parametrize("false", [False, np.False_, NAN < 1, NAN == NAN, torch.tensor(NAN) > 1])
def test_a_false_claim_raises_its_sentence(false, capsys):
    with pytest.raises(ClaimFailedError, match="this run does not bear out: pigs fly"):
        claim("pigs fly", false)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "vague", [None, 1, NAN, "yes", [True], np.array([True]), torch.ones(2) > 0, torch.tensor(0.5)]
)
def test_what_is_no_truth_value_is_refused(vague):
    with pytest.raises(
        TypeError, match=r"condition must be one truth value, got .*; compare, then use \.all"
    ):
        claim("it is so", vague)


def test_a_failed_claim_is_a_failed_assertion():
    assert issubclass(ClaimFailedError, AssertionError)


def test_html_is_escaped():
    shown = Claim("a < b & <script>")
    assert "a &lt; b &amp; &lt;script&gt;" in shown._repr_html_() and "<script>" not in shown._repr_html_()
    assert repr(shown) == "✓ a < b & <script>"


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


@pytest.mark.parametrize("hidden", [torch.tensor(True, device="meta"), np.ma.array(True, mask=True)])
def test_a_truth_value_that_is_not_there_is_refused(hidden):
    with pytest.raises(TypeError, match="condition must be one truth value"):
        claim("it holds", hidden)
