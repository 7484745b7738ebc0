"""The door of the package: what callers pass is converted to what functions need, or refused in one sentence.

A public function says in its annotations what it takes, and `checked` sees to it at every call:

    @checked
    def log_likelihood(model: VAELike, images: ImagesLike, *, n_samples: Count = 1000, seed: Seed = 0): ...

`int`, `float`, `bool`, `str`, `Path`, `Tensor`, `Callable` and classes are taken at their word; an annotation
with limits is one of the names below, or `Annotated[int, whole(2, 9)]`. A converter is a function of the
argument's name and value that returns what the function is to see, or raises `TypeError` or `ValueError`.
"""

import inspect
import math
import numbers
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache, wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

Converter = Callable[[str, Any], Any]
SMALLEST, LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max


def checked(function: Callable) -> Callable:
    """The same function; before its body runs, each argument is made what its annotation says, or refused.

    Within `torch.compile` nothing is checked: a function that is compiled was called before, or is called
    by one that was checked.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def wrapper(*args, **kwargs):
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        converters = _converters(function)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(_misnamed(function, signature, kwargs, error)) from None
        for name, value in bound.arguments.items():
            if name in converters:
                bound.arguments[name] = converters[name](name, value)
        return function(*bound.args, **bound.kwargs)

    wrapper.is_checked = True
    return wrapper


def check_fields(instance) -> None:
    """Do for the fields of a dataclass, even a frozen one, what `checked` does for arguments."""
    for name, convert in _converters(type(instance)).items():
        object.__setattr__(instance, name, convert(name, getattr(instance, name)))


def _misnamed(function: Callable, signature: inspect.Signature, given: dict, error: TypeError) -> str:
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [] if takes_any else [name for name in given if name not in signature.parameters]
    if not unknown:
        return f"{function.__name__}: {error}"
    near = get_close_matches(unknown[0], signature.parameters, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(signature.parameters)}"
    return f"{function.__name__} has no argument {unknown[0]!r}; {hint}"


@cache
def _converters(owner: Any) -> dict[str, Converter]:
    """A converter for each annotated argument of a function, or field of a class."""
    hints = get_type_hints(owner, include_extras=True)
    found = {name: _converter(hint) for name, hint in hints.items() if name != "return"}
    return {name: convert for name, convert in found.items() if convert is not None}


def _converter(hint: Any) -> Converter | None:
    """What an annotation asks for, or None if it says nothing that can be checked."""
    if get_origin(hint) is Annotated:
        return next((extra for extra in get_args(hint)[1:] if callable(extra)), _converter(get_args(hint)[0]))
    if get_origin(hint) in (Union, UnionType):
        return _either(get_args(hint))
    known = {int: whole(), float: real(), bool: flag, str: text, Path: path, Tensor: tensor}
    if hint in known:
        return known[hint]
    if get_origin(hint) is Callable or hint is Callable:
        return function
    return instance(hint) if isinstance(hint, type) and hint not in (object, Any) else None


def _either(hints: tuple) -> Converter | None:
    """Whatever the first of several fitting annotations makes of it; None stays None, a tensor a tensor."""
    rest = [hint for hint in hints if hint is not NoneType]
    if set(rest) == {Path, str}:
        rest = [Path]
    converters = [_converter(hint) for hint in rest]
    if not converters or None in converters:
        return None

    def convert(name: str, value: Any) -> Any:
        if value is None and NoneType in hints:
            return None
        if isinstance(value, Tensor) and Tensor in hints:
            return tensor(name, value)
        errors = []
        for attempt in converters:
            try:
                return attempt(name, value)
            except TypeError as error:  # of another kind; a ValueError says that it is of this one, but wrong
                errors.append(error)
        raise errors[0]

    return convert


# Converters


def whole(least: int | None = None, most: int | None = None) -> Converter:
    """A whole number within limits: an int, NumPy's, torch's, or a float such as 20.0; True is none."""

    def convert(name: str, value: Any) -> int:
        number = _scalar(value)
        if number is None or number != number or number in (math.inf, -math.inf) or number != int(number):
            raise _wrong(name, f"a whole number{_limits(least, most)}", value)
        if (least is not None and number < least) or (most is not None and number > most):
            raise _wrong(name, f"a whole number{_limits(least, most)}", value, ValueError)
        return int(number)

    return convert


def real(least: float = -math.inf, most: float = math.inf, *, above: float | None = None) -> Converter:
    """A number within limits, and within those of float32: a float, an int, NumPy's or torch's."""

    def convert(name: str, value: Any) -> float:
        number = _scalar(value)
        what = f"a finite number{_limits(least, most, above)}"
        if number is None:
            raise _wrong(name, what, value)
        if not (math.isfinite(number) and least <= number <= most and (above is None or number > above)):
            raise _wrong(name, what, value, ValueError)
        if number and not SMALLEST <= abs(number) <= LARGEST:
            raise _wrong(name, f"of a size from {SMALLEST:.2g} to {LARGEST:.2g}, or 0", value, ValueError)
        return float(number)

    return convert


def choice(*options: str) -> Converter:
    """One of a few words."""

    def convert(name: str, value: Any) -> str:
        if value in options if isinstance(value, str) else False:
            return value
        near = get_close_matches(str(value), options, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"{name} must be one of {', '.join(options)}, got {shown(value)}{hint}")

    return convert


def instance(kind: type, otherwise: str = "") -> Converter:
    """An object of a class; `otherwise` says what to write instead."""

    def convert(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise _wrong(name, f"of type {kind.__name__}", value, hint=otherwise)
        return value

    return convert


def having(*methods: str, like: str) -> Converter:
    """An object with these methods, whatever its class; `like` names one that has them."""

    def convert(name: str, value: Any) -> Any:
        missing = [method for method in methods if not callable(getattr(value, method, None))]
        if missing or isinstance(value, type):
            raise _wrong(name, f"an object with methods {', '.join(methods)}, such as {like}", value)
        return value

    return convert


def stepping(*methods: str, like: str) -> Converter:
    """An object with these methods, whose `step` needs no argument."""
    convert = having(*methods, like=like)

    def convert_stepping(name: str, value: Any) -> Any:
        step = getattr(type(convert(name, value)), "step", None)  # torch wraps that of the instance
        try:
            if step is not None:
                inspect.signature(step).bind(value)
        except TypeError as error:
            raise TypeError(
                f"{name} must be stepped without arguments, as {like} is, got {shown(value)} ({error})"
            ) from None
        return value

    return convert_stepping


def several(convert: Converter, count: int | None = None) -> Converter:
    """A sequence, a tuple say, each of whose items goes through `convert`."""

    def convert_all(name: str, value: Any) -> tuple:
        values = value.tolist() if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1 else value
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise _wrong(name, "a sequence" if count is None else f"a sequence of {count}", value)
        if count is not None and len(values) != count:
            raise _wrong(name, f"a sequence of {count}", value, ValueError)
        return tuple(convert(f"{name}[{i}]", item) for i, item in enumerate(values))

    return convert_all


def flag(name: str, value: Any) -> bool:
    """True or False, also NumPy's or torch's."""
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
    if not isinstance(plain, bool):
        raise _wrong(name, "True or False", value)
    return plain


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a string", value)
    return value


def path(name: str, value: Any) -> Path:
    """A path of the file system, `~` expanded."""
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise _wrong(name, "a path", value, ValueError if isinstance(value, str) else TypeError)
    try:
        return Path(value).expanduser()
    except RuntimeError:  # of a user that there is not
        raise _wrong(name, "a path in a home that is there", str(value), ValueError) from None


def function(name: str, value: Any) -> Callable:
    if not callable(value):
        raise _wrong(name, "a function", value)
    return value


def taking(*what: str) -> Converter:
    """A function that can be called with so many arguments; `what` are they, in words."""

    def convert(name: str, value: Any) -> Callable:
        try:
            inspect.signature(function(name, value)).bind(*what)
        except TypeError as error:
            if not callable(value):
                raise
            words = (
                f"{name} must be a function of {' and '.join(what)}, got {shown(value)} ({one_line(error)})"
            )
            raise TypeError(f"{words}; functools.partial sets what else it takes") from None
        except ValueError:  # of a function made in C
            pass
        return value

    return convert


def cpu_generator(name: str, value: Any) -> torch.Generator:
    """A generator of random numbers on the CPU, whose draws are the same for every device."""
    if not isinstance(value, torch.Generator) or value.device.type != "cpu":
        raise _wrong(
            name, "a torch.Generator on the CPU", value, hint="torch.Generator().manual_seed(0) is one"
        )
    return value


def device(name: str, value: Any) -> torch.device:
    """A device of torch's that this machine has."""
    try:
        found = torch.device(value)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError, ValueError) as error:
        raise ValueError(
            f"{name} must be a device that this machine has, such as 'cpu', got {shown(value)} "
            f"({one_line(error)})"
        ) from None
    return found


def tensor(name: str, value: Any) -> Tensor:
    """Numbers in any array, frame or list, as a tensor; a tensor stays the one that it is.

    NumPy's memory may be in any order, of any stride and byte order, and read-only; it is shared where torch
    can. Refuses what holds no real numbers: words, dates, masked or missing entries, sparse and lazy arrays.
    """
    x = _as_tensor(name, value)
    if x.is_complex():
        raise _wrong(name, "real numbers", value)
    return x


def floats(name: str, value: Any) -> Tensor:
    """As `tensor`; whole numbers and truth values become float32."""
    x = tensor(name, value)
    return x if x.is_floating_point() else x.float()


def points(width: int | None = None, least: int = 1, *, rows: str = "N") -> Converter:
    """The door for points: N rows of D finite numbers as float64 on the CPU (an Apple GPU has none)."""

    def convert(name: str, value: Any) -> Tensor:
        x = tensor(name, value)
        wanted = f"{name} must be points of shape ({rows}, {width or 'D'}), {rows} at least {least}"
        if x.ndim == 1 and x.numel():
            raise ValueError(f"{wanted}, got {tuple(x.shape)}; write {name}[:, None] if each has one number")
        if x.ndim != 2 or len(x) < least or not x.shape[1] or (width or x.shape[1]) != x.shape[1]:
            raise ValueError(f"{wanted}, got {tuple(x.shape)}")
        x = x.to("cpu").double()
        bad = ~x.isfinite().all(1)
        if bad.any():
            raise ValueError(
                f"{name} must be finite, but {int(bad.sum())} of {len(x)} points are not finite, the first "
                f"in row {int(bad.nonzero()[0])}; leave them out"
            )
        return x

    return convert


def _as_tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_nested:
            raise _wrong(name, "a plain, dense tensor", value, hint="call to_dense() or dequantize() first")
        return value
    if isinstance(value, list | tuple) and value and any(isinstance(item, Tensor) for item in value):
        parts = [tensor(f"{name}[{i}]", item) for i, item in enumerate(value)]
        if len({(part.shape, part.device) for part in parts}) > 1:
            raise ValueError(
                f"{name} holds tensors of several shapes or devices, {_several(parts)}; pad them"
            )
        return torch.stack([part.to(torch.result_type(part, parts[0])) for part in parts])
    return _from_numpy(name, value)


def _from_numpy(name: str, value: Any) -> Tensor:
    import numpy as np

    what = "numbers in an array, a tensor, a frame or a list"
    if value is None or isinstance(value, str | bytes | dict | set | frozenset | type | nn.Module):
        raise _wrong(name, what, value)
    if hasattr(value, "toarray"):  # SciPy's sparse ones
        raise _wrong(name, what, value, hint="call toarray() first")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise _wrong(name, what, value, ValueError, hint="fill or leave out the masked entries")
    try:
        array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
        if array.dtype == object and array.size:
            array = _numbers(array)
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise TypeError(f"{name} must be {what}, got {shown(value)} ({one_line(error)})") from None
    if array.dtype.kind not in "biufc":
        raise _wrong(name, what, value)
    if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
        raise _wrong(name, "numbers below 2⁶³", value, ValueError)
    wider = {"uint16": "int32", "uint32": "int64", "uint64": "int64", "longdouble": "float64"}
    kind = wider.get(array.dtype.name, array.dtype.newbyteorder("="))
    if array.dtype.name.startswith(("float128", "float96", "longdouble")):
        kind = "float64"
    array = np.ascontiguousarray(array, kind).reshape(array.shape)  # ascontiguousarray has at least one axis
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _numbers(array):
    """An array of Python objects as numbers; words that look like numbers are words."""
    import numpy as np

    for item in array.flat:
        if isinstance(item, str | bytes):
            raise ValueError(f"it holds words, {str(item)[:20]!r} say")
        if isinstance(item, list | tuple | np.ndarray):
            raise ValueError("its rows are of several lengths")
        if not isinstance(item, numbers.Number | None):
            raise ValueError(f"{_kind(item)} is no number")
    return np.asarray(array.tolist(), dtype=None if _all_whole(array) else np.float64)


def _all_whole(array) -> bool:
    return all(isinstance(item, numbers.Integral) for item in array.flat)


# Words


def shown(value: Any) -> str:
    """A value in a few words: numbers and strings as they are written, arrays by kind and shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = type(value).__name__ if not isinstance(value, Tensor) else "tensor"
        if math.prod(value.shape) == 1 and not str(getattr(value, "device", "")).startswith("meta"):
            return f"{value.item()!r}"
        return f"{kind} of {str(value.dtype).removeprefix('torch.')} and shape {tuple(value.shape)}"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        written = repr(value)
        return written if len(written) <= 60 else f"{written[:57]}…"
    if isinstance(value, list | tuple | dict | set):
        written = repr(value)
        return written if len(written) <= 60 and "\n" not in written else f"{_kind(value)} of {len(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return _kind(value)


def written(path: Path | str) -> str:
    """A path in letters that standard output can take, also one whose name is in another encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf8"
    return str(path).encode(encoding, "backslashreplace").decode(encoding)


def digits(value: float, *limits: float) -> str:
    """A number in three digits, or in as many as tell it from limits that it is beyond."""
    for count in range(3, 18):
        written = f"{value:.{count}g}"
        if value in limits or float(written) not in limits:
            return written
    return repr(value)


def one_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _several(parts: list[Tensor]) -> str:
    return ", ".join(sorted({f"{tuple(part.shape)} on {part.device}" for part in parts})[:3])


def _limits(least=None, most=None, above=None) -> str:
    least, most, above = (
        None if x in (None, -math.inf, math.inf) else f"{x:g}" if isinstance(x, float) else x
        for x in (least, most, above)
    )
    if above is not None:
        return f" above {above}" + (f" and at most {most}" if most is not None else "")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else f" of at most {most}" if most is not None else ""


def _scalar(value: Any) -> Any:
    """A plain number from Python, NumPy or torch; None if it is none, or more than one."""
    if isinstance(value, Tensor) or (hasattr(value, "item") and hasattr(value, "dtype")):
        if math.prod(value.shape) != 1 or getattr(value, "is_meta", False):
            return None
        value = value.item()
    return value if isinstance(value, numbers.Real) and not isinstance(value, bool) else None


def _wrong(name: str, what: str, value: Any, kind: type = TypeError, *, hint: str = "") -> Exception:
    return kind(f"{name} must be {what}, got {shown(value)}" + (f"; {hint}" if hint else ""))


# What arguments are in this package


Count = Annotated[int, whole(1)]
Natural = Annotated[int, whole(0)]
Seed = Annotated[int, whole(-(2**63), 2**63 - 1)]
Positive = Annotated[float, real(above=0)]
NonNegative = Annotated[float, real(0)]
Share = Annotated[float, real(above=0, most=1)]
Floats = Annotated[Tensor, floats]
Points = Annotated[Tensor, points()]
Device = Annotated[torch.device, device]
Numbers = Annotated[Sequence[float], several(real())]
Words = Annotated[Sequence[str], several(text)]
VAELike = Annotated[nn.Module, having("prior", "encode", "decode", like="models.VAE")]
AutoencoderLike = Annotated[nn.Module, having("encode", "decode", like="models.Autoencoder")]


def unit_interval(name: str, x: Tensor) -> Tensor:
    """The same pixels, if they lie in [0, 1]; checked wherever that does not make a training step wait.

    That is on the CPU, compiled or not, and elsewhere where no gradient is asked for.
    """
    if torch.compiler.is_compiling():
        if x.device.type == "cpu":
            torch._assert_async(((x >= 0) & (x <= 1)).all(), f"{name} must be pixels in [0, 1]; rescale them")
        return x
    if x.numel() and not x.is_meta and (x.device.type == "cpu" or not torch.is_grad_enabled()):
        low, high = x.aminmax()
        if not (low >= 0 and high <= 1):  # written so that NaN is refused too
            found = f"{digits(low.item(), 0, 1)} … {digits(high.item(), 0, 1)}"
            raise ValueError(f"{name} must be pixels in [0, 1], got {found}; rescale them")
    return x


class NotFiniteError(ValueError):
    """A result that is not finite, and is therefore refused instead of returned."""


def finite(what: str, values: Tensor, hint: str) -> Tensor:
    """The same values, unless some are NaN or infinite.

    what : the result, in the plural or singular that goes before "of"; hint : what to look at

    Raises `NotFiniteError`. Within `torch.compile` nothing is looked at.
    """
    if torch.compiler.is_compiling() or values.is_meta:
        return values
    bad = ~values.isfinite()
    if bad.any():
        worst = values[bad].flatten()[0].item()
        share = f"{int(bad.sum())} of {values.numel()} numbers" if values.numel() > 1 else "it"
        raise NotFiniteError(f"{what} cannot be told: {share} would be {worst}; {hint}")
    return values
