"""What the assignments' tests are made of: call a student's function, and say what is wrong with its result.

A mistake is named only where the result is what that mistake gives. Anything else is told what was found and
what was expected, so that no test accuses falsely. Each message is the sentence of an `AssertionError`.
"""

import contextlib
import inspect
import io
import itertools
import linecache
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def call(function: Callable, *arguments: Any, changes: tuple = (), **options: Any) -> Any:
    """What a student's function gives for these arguments.

    changes : those of the arguments that it is there to change, such as a model to be trained

    Raises `AssertionError` if it is not written yet, stops at an error (the student's own line is told),
    returns nothing, or changes an argument: a tensor, an array, a list or a set of images in place; a model's
    mode, weights or gradients.
    """
    name = getattr(function, "__name__", type(function).__name__)
    assert function is not ..., "the answer is not written yet: it is still `...`"
    assert callable(function), f"a function was expected, and this is {_kind(function)}"
    given = {**dict(enumerate(arguments, 1)), **options}
    before = {
        key: _state(value) for key, value in given.items() if not any(value is each for each in changes)
    }
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            got = function(*arguments, **options)
    except Exception as error:
        raise AssertionError(_crash(name, function, error)) from None
    sys.stdout.write(printed.getvalue())
    said = f"it prints {printed.getvalue().strip()[:40]!r}, and a printed number cannot be used: "
    assert got is not None, f"{name} returns nothing: {said if printed.getvalue() else ''}end it with return"
    assert got is not ..., f"{name} returns `...`: it is not written yet"
    for key, state in before.items():
        changed = _change(state, _state(given[key]))
        assert not changed, (
            f"{name} changes its {_ordinal(key)}: {changed}. Whoever called it does not expect that"
        )
    return got


def compare(
    got: Any,
    right: Any,
    mistakes: Mapping[str, Any] | None = None,
    *,
    of: str | Sequence[str] = "the result",
    tolerance: float = 1e-4,
    because: str = "",
    gradient: bool | None = None,
) -> None:
    """Accept `got` if it is right; else say which mistake gives just this, or what was found and expected.

    right : a number, a tensor of any shape, or a tuple or list of such parts
    mistakes : what each of them would give, by the sentence that names it; the first that fits is said
    of : what was asked for, or the names of the parts; because : why the right value is right
    tolerance : relative to the largest number of `right`, or absolute if that is smaller than one
    gradient : whether the result must, or must not, carry a gradient; None if that is no matter

    A number may be a float, or a tensor or an array that holds one. A tensor may have another dtype.
    """
    if isinstance(right, tuple | list):
        _compare_parts(
            got, right, mistakes or {}, of=of, tolerance=tolerance, because=because, gradient=gradient
        )
        return
    value, target = _numbers(got, right, of), _tensor(right)
    if not _equal(value, target, tolerance):
        for sentence, wrong in (mistakes or {}).items():
            assert not _equal(value, _tensor(wrong), tolerance), sentence
        raise AssertionError(_difference(value, target, of, because, tolerance))
    carries = torch.is_tensor(got) and got.requires_grad
    assert gradient is not False or not carries, (
        f"{of} is right, and still carries a gradient: compute it under torch.no_grad()"
    )
    assert gradient is not True or carries, (
        f"{of} is right, but no gradient comes through it: leave out detach(), item() and no_grad()"
    )


def fresh() -> torch.Generator:
    """Random numbers that nobody has seen, for tests whose answers cannot be learned by heart."""
    return torch.Generator().manual_seed(int.from_bytes(os.urandom(6), "little"))


def _compare_parts(
    got: Any, right: Sequence, mistakes: Mapping[str, Any], *, of: str | Sequence[str], **how: Any
) -> None:
    """Each of several results; a mistake gives a value for each too."""
    names = [f"number {i + 1} of {of}" for i in range(len(right))] if isinstance(of, str) else of
    several = isinstance(got, tuple | list) or (torch.is_tensor(got) and got.ndim > 0)
    together = of if isinstance(of, str) else " and ".join(of)
    assert several and len(got) == len(right), (
        f"expected {len(right)} values, {together}, but you give {len(got) if several else _kind(got)}"
    )

    def alike(some: Sequence, others: Sequence) -> list[bool]:
        return [_same_part(*parts, how["tolerance"]) for parts in zip(some, others, strict=True)]

    for sentence, wrong in mistakes.items():
        assert all(alike(got, right)) or not all(alike(got, wrong)), sentence
    for i, (name, one, target) in enumerate(zip(names, got, right, strict=True)):
        of_this_alone = {
            sentence: wrong[i]
            for sentence, wrong in mistakes.items()
            if all(same for j, same in enumerate(alike(wrong, right)) if j != i)
        }
        compare(one, target, of_this_alone, of=name, **how)


def _same_part(got: Any, value: Any, tolerance: float) -> bool:
    with contextlib.suppress(AssertionError, TypeError, ValueError):
        return _equal(_numbers(got, value, ""), _tensor(value), tolerance)
    return False


def _numbers(got: Any, right: Any, of: str) -> Tensor:
    """The student's numbers; where a tensor is asked for, it must be one."""
    wanted = torch.is_tensor(right)
    assert got is not None and got is not ..., f"{of} is not there yet"
    assert not wanted or torch.is_tensor(got), f"{of} should be a tensor, and yours is {_kind(got)}"
    assert not (wanted and right.dtype == torch.bool) or got.dtype == torch.bool, (
        f"{of} should be True or False, and yours are numbers: compare"
    )
    try:
        value = _tensor(got)
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"{of} should be a number, and yours is {_kind(got)}") from None
    return value.reshape(()) if not wanted and value.numel() == 1 else value


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().cpu().double()


def _equal(value: Tensor, target: Tensor, tolerance: float) -> bool:
    if value.shape != target.shape:
        return False
    scale = target[target.isfinite()].abs().max().item() if target.isfinite().any() else 1.0
    return torch.allclose(value, target, rtol=0, atol=tolerance * max(scale, 1.0), equal_nan=True)


def _difference(value: Tensor, target: Tensor, of: str, because: str, tolerance: float) -> str:
    """What is found and what was expected, and how the one comes from the other where that is plain."""
    reason = f" ({because})" if because else ""
    if value.shape != target.shape:
        return f"{of} should have shape {tuple(target.shape)}, and yours has {tuple(value.shape)}{reason}" + (
            _reduced(value, target, tolerance)
        )
    if not value.isfinite().all() and target.isfinite().all():
        return f"{of} should be {_shown(target)}{reason}, and yours is not finite: {_shown(value)}"
    return f"{of} should be {_shown(target)}{reason}, but you give {_shown(value)}" + (
        _multiple(value, target, tolerance)
    )


def _reduced(value: Tensor, target: Tensor, tolerance: float) -> str:
    """By which sum or mean over which axes the one shape comes from the other, if it does."""
    tolerance = min(tolerance, 1e-4)  # of a formula, even where the numbers are drawn
    if value.numel() == target.numel() and _equal(value.reshape(target.shape), target, tolerance):
        return ": the numbers are right, reshape them"
    for larger, smaller, words in ((value, target, ": take the {}"), (target, value, ": you take the {}")):
        for n in range(1, larger.ndim + 1):
            for axes in itertools.combinations(range(larger.ndim), n):
                for how in ("sum", "mean"):
                    if _equal(getattr(larger, how)(axes), smaller, tolerance):
                        over = ", ".join(map(str, axes))
                        return words.format(f"{how} over {'axis' if n == 1 else 'axes'} {over}")
    return ""


def _multiple(value: Tensor, target: Tensor, tolerance: float) -> str:
    """The factor between the two, if it is one."""
    largest = target.abs().argmax()
    factor = (value.flatten()[largest] / target.flatten()[largest]).item() if target.numel() else 1.0
    if not (1e-4 < abs(factor) < 1e4 and _equal(value, factor * target, tolerance)):
        return ""
    many = target.numel() > 1
    if abs(factor + 1) < 1e-6:
        return ": all signs are the other" if many else ": the sign is the other"
    whole = max(abs(factor), 1 / abs(factor))
    plain = many or (
        abs(whole / round(whole) - 1) < 1e-5 and target.abs() > tolerance
    )  # a number has any factor
    return f": {factor:.4g} times {'each' if many else 'it'}" if plain else ""


def _shown(value: Tensor) -> str:
    """A few numbers, in digits to read."""
    few = value.flatten()[:6].tolist()
    words = ", ".join(f"{number:.4g}" for number in few)
    return words if value.ndim == 0 else f"[{words}{', …' if value.numel() > 6 else ''}]"


def _kind(value: Any) -> str:
    """What a thing is, for a sentence."""
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}"
    if torch.is_tensor(value):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return {"ellipsis": "`...`"}.get(name, f"{'an' if name[0] in 'aeiou' else 'a'} {name}")


def _ordinal(key: int | str) -> str:
    words = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth"}
    return f"{words[key]} argument" if key in words else f"argument `{key}`"


def _state(value: Any) -> Any:
    """A copy of what can be changed in place."""
    if torch.is_tensor(value):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, nn.Module):
        modes = [module.training for module in value.modules()]
        weights = [weight.detach().clone() for weight in value.state_dict().values()]
        slopes = [None if weight.grad is None else weight.grad.clone() for weight in value.parameters()]
        return {"its mode": modes, "its weights": weights, "its gradients": slopes}
    if is_dataclass(value) and not isinstance(value, type):  # as a set of images
        return [_state(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, dict):
        return {key: _state(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_state(each) for each in value]
    return value if isinstance(value, int | float | str) else None


def _change(before: Any, after: Any) -> str:
    """What of an argument is another than before, or nothing."""
    if isinstance(before, dict) and "its mode" in before:
        changed = [what for what in before if _change(before[what], after[what])]
        hints = {
            "its mode": "the model is left in another mode: remember `training` and restore it",
            "its weights": "the model's weights are others than before",
            "its gradients": "it leaves gradients in the model: measure under torch.no_grad()",
        }
        return hints[changed[0]] if changed else ""
    if isinstance(before, dict):
        before, after = [*before.items()], [*after.items()]
    if isinstance(before, list | tuple):
        same = len(before) == len(after) and not any(map(_change, before, after))
    elif torch.is_tensor(before):
        same = (
            torch.is_tensor(after)
            and before.shape == after.shape
            and before.allclose(after, 0, 0, equal_nan=True)
        )
    elif isinstance(before, np.ndarray):
        same = np.array_equal(before, after)
    else:
        same = before is after or before == after
    return "" if same else "work on a copy, for example `x = x - y` for `x -= y`"


def _crash(name: str, function: Callable, error: Exception) -> str:
    """The error, and the line of the student's at which it arose."""
    runs = type(function).forward if isinstance(function, nn.Module) else type(function).__call__
    scope = getattr(function, "__globals__", None) or getattr(runs, "__globals__", None) or {}
    if scope.get("__name__", "").startswith("torch."):  # of a function under @torch.no_grad()
        scope = getattr(inspect.unwrap(function), "__globals__", scope)
    library = scope.get("__name__", "").startswith("torch.")  # as of nn.Sequential: no line is the student's
    own, trace = None, error.__traceback__.tb_next
    while trace is not None:
        if trace.tb_frame.f_globals is scope and not library:
            own = trace
        trace = trace.tb_next
    words = str(error).strip().split("\n")[0]
    what = f"{type(error).__name__}{f': {words}' if words else ''}"
    if own is None:
        return f"{name} cannot be called as it should: {what}"
    line = linecache.getline(own.tb_frame.f_code.co_filename, own.tb_lineno).strip()
    return f"{name} stops at its line {f'`{line}`' if line else own.tb_lineno}, with {what}"
