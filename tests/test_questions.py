"""Every question of every assignment, answered: right in ten styles, and wrong in fifteen ways or more.

The answers are in `answers.toml` beside each master; what spoils any function is here. A right answer passes
all tests. A wrong one is told its own mistake, or what was found and expected, and never another's mistake.
"""

import copy
import functools
import inspect
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("otter", reason="no grader here: pip install -e '.[teach]'")

from answers import OURS, answers_to, configs, questions, results, run

pytestmark = [
    pytest.mark.teach,
    pytest.mark.filterwarnings("default"),  # a warning fails no answer in Otter either
]

RIGHT, WRONG = 10, 15  # answers to a question, at least


def numbers(change):
    """Change every number and tensor of a result."""

    def changed(found, *_):
        if isinstance(found, tuple | list):
            return type(found)([changed(each) for each in found])
        return change(found) if isinstance(found, int | float | torch.Tensor) else found

    return changed


def tensors(change):
    """Change every tensor of a result."""
    return numbers(lambda x: change(x) if torch.is_tensor(x) else x)


def opposite(x):
    boolean = isinstance(x, bool) or (torch.is_tensor(x) and x.dtype == torch.bool)
    return ~torch.as_tensor(x) if boolean else -x


def in_place(found, arguments):
    for value in arguments:
        if torch.is_tensor(value) and value.is_floating_point():
            value.data.add_(1)
    return found


def crash(*_):
    raise ValueError("spoiled")


def printed(found, _):
    print(found)


# What spoils any function: what is said to it.
FORMS = {
    "nothing is returned": (lambda *_: None, "returns nothing"),
    "printed, not returned": (printed, "a printed number cannot be used"),
    "not written": (lambda *_: ..., "not written yet"),
    "stops at an error": (crash, "with ValueError: spoiled"),
    "changed in place": (in_place, "changes its"),
    "an array": (tensors(lambda x: x.detach().numpy()), "should be a tensor"),
    "a list": (tensors(lambda x: x.tolist()), ""),
    "an axis more": (tensors(lambda x: x[None]), ""),
    "not a number": (numbers(lambda x: x * float("nan")), ""),
}
# The same, where it may be a mistake that a test knows.
VALUES = {
    "the other sign": numbers(opposite),
    "twice": numbers(lambda x: 2 * x),
    "the first only": tensors(lambda x: x[:1] if x.ndim else x),
    "summed": tensors(torch.sum),
    "averaged": tensors(lambda x: x.double().mean()),
}


def spoiled(function, how):
    """A function like `function` with other results, and a list of whether they were other, call by call."""
    other = []

    @functools.wraps(function)
    def wrong(*arguments, **options):
        before = copy.deepcopy([each for each in [*arguments, *options.values()] if torch.is_tensor(each)])
        found = function(*arguments, **options)
        other.append(True)  # should it stop there
        given = how(found, [*arguments, *options.values()])
        after = [each for each in [*arguments, *options.values()] if torch.is_tensor(each)]
        other[-1] = not (same(found, given) and same(before, after))
        return given

    return wrong, other


def deaf(function, name):
    """A function like `function` that goes on with an argument's first value; and whether that was other."""
    first, other = [], []

    @functools.wraps(function)
    def wrong(*arguments, **options):
        bound = inspect.signature(function).bind(*arguments, **options)
        bound.apply_defaults()
        first.append(bound.arguments[name])
        other.append(not same(first[0], first[-1]))
        bound.arguments[name] = first[0]
        return function(*bound.args, **bound.kwargs)

    return wrong, other


def same(one, two):
    if isinstance(one, tuple | list) and isinstance(two, tuple | list):
        return len(one) == len(two) and all(map(same, one, two))
    if torch.is_tensor(one) and torch.is_tensor(two):
        return one.shape == two.shape and one.allclose(two.to(one.dtype), equal_nan=True)
    if isinstance(one, int | float | np.generic) and isinstance(two, int | float | np.generic):
        return one == two
    return one is two


each_assignment = pytest.mark.parametrize("master", OURS, ids=lambda master: master.stem)


@pytest.fixture
def asked(made, master, tmp_path, monkeypatch):
    """(question, its solution's cells, what stands before them), all tests being in `tests`, beside them."""
    folder = made[master.stem]
    with zipfile.ZipFile(folder / "autograder.zip") as autograder:
        autograder.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)

    def walk():
        namespace = {}
        for question, before, answer in questions(folder / "solution.ipynb"):
            run(before, namespace)
            if question:
                yield question, answer, dict(namespace)
            run(answer, namespace)

    return walk()


@each_assignment
def test_an_untouched_notebook_passes_no_test(made, master, asked):
    with zipfile.ZipFile(made[master.stem] / f"{master.stem}.zip") as handout:
        handout.extract(master.name, "student")
    namespace = {}
    for _, before, answer in questions(Path("student", master.name)):
        for cell in before + answer:
            with suppress(Exception):  # as when graded: a cell that fails does not stop the next
                run([cell], namespace)
    for question in answers_to(master):
        said = results(question, namespace)
        assert said and all(said.values()), question
        assert "NOT A SENTENCE" not in spoken(said), question


@each_assignment
def test_right_answers_pass_in_every_style(master, asked):
    problems = []
    for question, answer, namespace in asked:
        styles = [("the solution", "\n".join(answer))] + [
            (right["style"], right["code"]) for right in answers_to(master)[question].get("right", [])
        ]
        for style, code in styles:
            said = told(question, [code], namespace)
            problems += [f"{question}, {style}: {test} says {words}" for test, words in said.items() if words]
    assert not problems, "\n".join(problems)


@each_assignment
def test_wrong_answers_are_told_their_own_mistake(master, asked):
    problems = []
    for question, answer, namespace in asked:
        wrong = answers_to(master)[question]["wrong"]
        for mistake in wrong:
            words = spoken(told(question, changed(mistake, answer), namespace))
            others = {each["saying"] for each in wrong} - {mistake["saying"]}
            false = [each for each in others if each in words and each not in mistake["saying"]]
            if mistake["saying"] not in words or false:
                problems.append(f"{question}, {mistake['mistake']}: {words or 'passes'} {false or ''}")
        problems += spoiling(question, answer, namespace, wrong)
    assert not problems, "\n".join(problems)


def spoiling(question, answer, namespace, wrong):
    """What is wrong with what is said to spoiled functions; and if they are too few."""
    scope, problems, spoils = dict(namespace), [], 0
    run(answer, scope)
    known = {mistake["saying"] for mistake in wrong}
    for name in functions(answer, scope):
        ways = {how: (*spoiled(scope[name], change), saying) for how, (change, saying) in FORMS.items()}
        ways |= {how: (*spoiled(scope[name], change), None) for how, change in VALUES.items()}
        for argument in inspect.signature(scope[name]).parameters:
            ways[f"deaf to {argument}"] = (*deaf(scope[name], argument), None)
        for how, (function, other, saying) in ways.items():
            words = spoken(results(question, scope | {name: function}))
            spoils += any(other)
            false = [] if saying is None else [each for each in known if each in words]
            if any(other) and (not words or (saying or "") not in words or false):
                problems.append(f"{question}, {name} {how}: {words or 'passes'} {false or ''}")
        double = spoiled(scope[name], tensors(lambda x: x.double() if x.is_floating_point() else x))[0]
        if words := spoken(results(question, scope | {name: double})):
            problems.append(f"{question}, {name} in float64: {words}")
    if spoils + len(wrong) < WRONG:
        problems.append(f"{question}: {spoils} + {len(wrong)} wrong answers, where {WRONG} are asked for")
    return problems


def functions(answer, scope):
    """The functions that an answer defines."""
    return [
        name
        for name in scope
        if any(cell.startswith(f"def {name}(") or f"\ndef {name}(" in cell for cell in answer)
    ]


def told(question, cells, namespace):
    """What the tests say to an answer; a cell that stops says so itself."""
    scope = dict(namespace)
    try:
        run(cells, scope)
    except Exception as error:
        return {"the cell": f"{type(error).__name__}: {error}"}
    return results(question, scope)


def spoken(said):
    """The messages, which must be sentences of ours."""
    words = [message for message in said.values() if message]
    strange = [message for message in words if "AssertionError" not in message]
    return "\n".join(f"NOT A SENTENCE: {message}" for message in strange) or "\n".join(words)


def changed(mistake, answer):
    """The cells of a wrong answer: code of its own, or the solution with one place replaced."""
    if "code" in mistake:
        return [mistake["code"]]
    assert sum(cell.count(mistake["replace"]) for cell in answer) == 1, (
        f"{mistake['replace']!r} should stand once in the solution"
    )
    return [cell.replace(mistake["replace"], mistake["by"]) for cell in answer]


@each_assignment
def test_every_question_has_its_answers(master):
    given = answers_to(master)
    assert given.keys() == {question["name"] for question in configs(master) if not question.get("manual")}
    for question, answers in given.items():
        right = {answer["code"] for answer in answers["right"]}
        wrong = {(answer.get("code"), answer.get("replace"), answer.get("by")) for answer in answers["wrong"]}
        assert len(right) == len(answers["right"]) >= RIGHT, question
        assert len(wrong) == len(answers["wrong"]) >= 4, question
        assert all(len(mistake["saying"].split()) > 1 for mistake in answers["wrong"]), question
