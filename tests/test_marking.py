"""What a student is told: the mistake that was made, or what was found and expected, and nothing else."""

import math
import types

import numpy as np
import pytest
import torch
from torch import nn

from vae_lab import data
from vae_lab.marking import call, compare, fresh

ROWS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])


def said(check, *arguments, **options) -> str:
    with pytest.raises(AssertionError) as failure:
        check(*arguments, **options)
    return str(failure.value)


@pytest.mark.parametrize(
    ("got", "right"),
    [
        (2, 2.0),
        (2.00001, 2.0),
        (np.float32(2), 2.0),
        (torch.tensor(2.0), 2.0),
        (torch.tensor([2.0]), 2.0),
        (True, 1.0),
        (ROWS.double(), ROWS),
        (ROWS.requires_grad_(False), ROWS),
        (torch.tensor([True, False]), torch.tensor([True, False])),
        ((1.0, ROWS), (1.0, ROWS)),
        ([1.0, 2.0], (1.0, 2.0)),
        (torch.tensor([1.0, 2.0]), (1.0, 2.0)),
        (torch.tensor([1.0, math.inf]), torch.tensor([1.0, math.inf])),
    ],
)
def test_what_is_right_passes(got, right):
    compare(got, right, {"a mistake that gives the same": right})


@pytest.mark.parametrize(
    ("got", "right", "words"),
    [
        (6.0, 2.0, "the result should be 2, but you give 6: 3 times it"),
        (0.5, 2.0, "but you give 0.5: 0.25 times it"),
        (-2.0, 2.0, "but you give -2: the sign is the other"),
        (-ROWS, ROWS, "all signs are the other"),
        (ROWS / 6, ROWS, "0.1667 times each"),
        (ROWS + 1, ROWS, "should be [1, 2, 3, 4, 5, 7], but you give [2, 3, 4, 5, 6, 8]"),
        (ROWS, ROWS.sum(1), "should have shape (2,), and yours has (2, 3): take the sum over axis 1"),
        (ROWS, ROWS.mean(0), "take the mean over axis 0"),
        (ROWS.mean(), ROWS, "you take the mean over axes 0, 1"),
        (ROWS.sum(0), ROWS, "you take the sum over axis 0"),
        (ROWS[None], ROWS, "and yours has (1, 2, 3): the numbers are right, reshape them"),
        (ROWS[None] + 1, ROWS, "should have shape (2, 3), and yours has (1, 2, 3)"),
        (math.nan, 2.0, "is not finite"),
        (ROWS / 0, ROWS, "is not finite"),
        (ROWS, 2.0, "should have shape ()"),
        (None, 2.0, "the result is not there yet"),
        (..., ROWS, "the result is not there yet"),
        ("two", 2.0, "should be a number, and yours is a str"),
        (ROWS.numpy(), ROWS, "should be a tensor, and yours is a NumPy array of shape (2, 3)"),
        (ROWS.tolist(), ROWS, "should be a tensor, and yours is a list"),
        (torch.tensor([1, 0]), torch.tensor([True, False]), "should be True or False"),
        (1.0, (1.0, 2.0), "expected 2 values, the result, but you give a float"),
        ((1.0, 3.0), (1.0, 2.0), "number 2 of the result should be 2"),
        ((1.0, 2.0, 3.0), (1.0, 2.0), "but you give 3"),
    ],
)
def test_what_is_wrong_is_told_what_was_found_and_expected(got, right, words):
    told = said(compare, got, right, {"another mistake": 77.0} if not isinstance(right, tuple) else None)
    assert words in told and "another mistake" not in told


def test_a_mistake_is_named_only_where_it_gives_just_this():
    mistakes = {"you sum over the batch": 4.0, "the sign is wrong": -2.0}
    assert said(compare, 4.0, 2.0, mistakes) == "you sum over the batch"
    assert said(compare, -2.0, 2.0, mistakes) == "the sign is wrong"
    assert "sum over the batch" not in said(compare, 4.1, 2.0, mistakes)
    pair = {"the two are exchanged": (2.0, 1.0), "both are doubled": (2.0, 4.0)}
    assert said(compare, (2.0, 1.0), (1.0, 2.0), pair) == "the two are exchanged"
    one = pair | {"the second is doubled": (1.0, 4.0)}
    assert "number 2 of the result should be 2" in said(compare, (1.0, 4.0), (1.0, 2.0), pair)
    assert said(compare, (1.0, 4.0), (1.0, 2.0), one) == "the second is doubled"
    assert "number 1 of the result should be 1" in said(compare, (9.0, 4.0), (1.0, 2.0), one)
    assert "the rate should be 1" in said(compare, (5.0, 2.0), (1.0, 2.0), pair, of=("the rate", "the rest"))


def test_a_gradient_is_left_or_missing():
    carries = torch.ones(2, requires_grad=True)
    compare(carries, torch.ones(2))
    assert "still carries a gradient" in said(compare, carries, torch.ones(2), gradient=False)
    assert "no gradient comes through" in said(compare, torch.ones(2), torch.ones(2), gradient=True)


def test_a_factor_that_says_nothing_is_not_said():
    assert said(compare, 3.1, 2.0) == "the result should be 2, but you give 3.1"
    assert "times" not in said(compare, 1e-9, 1.0) + said(compare, 1.0, 1e-9)


def test_a_sum_is_named_only_if_it_is_one_however_roughly_the_numbers_are_drawn():
    nearly = ROWS.sum(1) * 1.02
    assert compare(ROWS.sum(1), nearly, tolerance=0.05) is None
    assert said(compare, ROWS, nearly, tolerance=0.05).endswith("and yours has (2, 3)")


def test_small_numbers_are_compared_too():
    assert "should be" in said(compare, torch.full((3,), 1e-2), torch.zeros(3))
    assert "should be 1e+06" in said(compare, 1e6 + 1e3, 1e6)


def written(source, name="answer", file="<cell>"):
    """What a notebook's cell defines; its lines are known if it is a file."""
    if file != "<cell>":
        file.write_text(source)
    scope = types.ModuleType("cell").__dict__
    exec(compile(source, file, "exec"), scope)
    return scope[name]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "def answer(x):\n  x.nothing",
            "answer stops at its line 2, with AttributeError: 'Tensor' object has",
        ),
        (
            "import torch\n@torch.no_grad()\ndef answer(x):\n  return x.nothing",
            "answer stops at its line 4, with AttributeError: 'Tensor' object has",
        ),
        ("def answer(x):\n  print('it is 3')", "it prints 'it is 3', and a printed number cannot be used"),
        ("def answer(x):\n  x + 1", "answer returns nothing: end it with return"),
        ("def answer(x):\n  return ...", "it is not written yet"),
        ("answer = ...", "the answer is not written yet"),
        ("answer = 3", "a function was expected, and this is an int"),
        ("def answer(x, y):\n  return x", "answer cannot be called as it should: TypeError"),
        ("def answer(x):\n  x -= 1\n  return x", "answer changes its first argument: work on a copy"),
        (
            "def answer(x):\n  x.unsqueeze_(0)\n  return x",
            "answer changes its first argument: work on a copy",
        ),
    ],
)
def test_what_a_function_does_wrong(source, words):
    assert words in said(call, written(source), torch.ones(3))


def test_the_students_own_line_is_shown_and_not_that_of_a_library(tmp_path):
    answer = written(
        "import torch\ndef answer(x):\n    return inner(x)\ndef inner(x):\n    return x @ torch.ones(7)\n",
        file=tmp_path / "cell.py",
    )
    assert "answer stops at its line `return x @ torch.ones(7)`, with RuntimeError" in said(
        call, answer, torch.ones(3)
    )


def test_the_line_of_a_network_is_shown_if_it_is_the_students(tmp_path):
    net = written(
        "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x.nothing\n",
        "Net",
        tmp_path / "network.py",
    )
    assert "Net stops at its line `return x.nothing`, with" in said(call, net(), torch.ones(3))
    layers = nn.Sequential(nn.Linear(2, 2))
    assert "Sequential cannot be called as it should: Runtime" in said(call, layers, torch.ones(1, 3))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def answer(m):\n  m.eval()\n  return 1", "left in another mode"),
        ("def answer(m):\n  m.weight.data += 1\n  return 1", "weights are others"),
        ("def answer(m):\n  m.weight.sum().backward()\n  return 1", "leaves gradients"),
    ],
)
def test_a_model_is_left_as_it_was_unless_it_is_to_change(source, words):
    model = nn.Linear(2, 2)
    assert words in said(call, written(source), model)
    model = nn.Linear(2, 2)
    assert call(written(source), model, changes=(model,)) == 1


def test_lists_and_arrays_are_left_as_they_were_too():
    for value in ([3, 1], np.array([3, 1]), {"a": torch.ones(2)}, [torch.ones(2)]):
        change = "def answer(x):\n  first = x['a'] if isinstance(x, dict) else x\n  first[0] = 9\n  return 1"
        assert "changes its first argument" in said(call, written(change), value)
    assert call(written("def answer(x):\n  return sorted(x)"), [3, 1]) == [1, 3]


def test_a_set_of_images_is_left_as_it_was_too():
    images = data.from_floats(torch.full((2, 1, 3, 3), 0.5))
    change = written("def answer(images):\n  images.pixels.zero_()\n  return 1")
    assert "changes its first argument" in said(call, change, images)
    assert call(written("def answer(images):\n  return images.read().zero_()"), images) is not None


def test_an_argument_beyond_the_sixth_is_told_too():
    change = written("def answer(*x):\n  x[7][0] = 9\n  return 1")
    assert "changes its argument `8`" in said(call, change, *range(7), [3])


def test_what_it_prints_besides_is_shown(capsys):
    assert call(written("def answer(x):\n  print('debugging')\n  return x"), 1) == 1
    assert capsys.readouterr().out == "debugging\n"


def test_fresh_numbers_are_new_each_time():
    assert not torch.equal(torch.rand(5, generator=fresh()), torch.rand(5, generator=fresh()))
