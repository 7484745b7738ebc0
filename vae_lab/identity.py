"""What a function or a model does, by code, constants and numbers: equal descriptions, equal behavior.

Names do not count, so an edited cell of a notebook defines another function even under the same name. What
comes with Python or from an installed package is described by its name; everything else by what it holds:
bytecode, defaults, closures, the globals it reads, attributes, the bytes of tensors. The weights of a
described model do not count; its architecture does.
"""

import dis
import functools
import hashlib
import inspect
import logging
import os
import re
import site
import sys
import sysconfig
import types
from collections import namedtuple
from collections.abc import Iterator
from enum import Enum
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vae_lab.files import raw_bytes

OURS = str(Path(__file__).parent)
DOORS = "vae_lab.arguments"  # they look at what is given, and change none of it that is right
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice, PurePath, Enum)
PLAIN += (torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, np.generic, np.dtype)
PLAIN += (re.Pattern, logging.Logger)
CONTAINERS = (list, tuple, dict, set, frozenset)
MAY_DIFFER = (bool, int, float, complex, str, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
CALLED = (types.FunctionType, types.MethodType, functools.partial, nn.Module)
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)
DESCRIPTORS += (type(namedtuple("_", "field").field),)
BOOKKEEPING = {"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
BOOKKEEPING |= {"_is_full_backward_hook", "_compiled_call_impl"}
OF_CLASSES = {"__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"}
OF_CLASSES |= {"__static_attributes__", "__slots__", "__orig_bases__", "__parameters__", "__match_args__"}
OF_CLASSES |= {"__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__hash__"}
OF_CLASSES |= {"__qualname__", "__annotate_func__", "__annotations_cache__", "__conditional_annotations__"}


class UnidentifiableError(TypeError):
    """Something whose behavior cannot be described by what it holds; the message says what and where."""


def describe(**things: Any) -> dict[str, str]:
    """{where: what} for each thing, by the name it is given here; models among them come without weights.

    Raises `UnidentifiableError` for generators, files, random-number generators and the like, whose state
    neither shows nor can be brought back.
    """
    teller = _Teller()
    for name, thing in things.items():
        if isinstance(thing, nn.Module):
            teller.pass_over_weights(name, thing)
    for name, thing in things.items():
        teller.tell(name, thing)
    return teller.told


def differences(there: dict[str, str], here: dict[str, str], *, most: int = 3) -> list[str]:
    """The differences, each as "where: what there, what here", short and readable ones first."""

    def rank(name: str) -> tuple:
        values = [side.get(name, "") for side in (there, here)]
        digests, references = (
            any("sha256" in v for v in values),
            any(" of " in v or v[:3] == "as " for v in values),
        )
        return digests, references, "keywords" not in name, name.count("."), name

    names = sorted((name for name in {**there, **here} if there.get(name) != here.get(name)), key=rank)
    found = []
    for name in names[:most]:
        a, b = (side.get(name, "nothing") for side in (there, here))
        readable = len(a) + len(b) < 80 and "sha256" not in a + b
        found.append(f"{name} {a} there, {b} here" if readable else f"not the same {name}")
    return found + [f"and {len(names) - most} more"] * (len(names) > most)


class _Teller:
    """Walks through what things hold, each only once."""

    def __init__(self):
        self.told: dict[str, str] = {}
        self.seen: dict[int, tuple[str, Any]] = {}  # id → (where, the thing itself, which keeps its id)

    def pass_over_weights(self, name: str, model: nn.Module) -> None:
        """What training changes is no part of what a model is: its parameters and what it saves."""
        for key, weight in model.state_dict(keep_vars=True).items():
            if isinstance(weight, Tensor):
                self.seen.setdefault(id(weight), (f"{name}.{key}", weight))

    def tell(self, where: str, thing: Any) -> None:
        if isinstance(thing, PLAIN):
            self.told[where] = f"{type(thing).__name__} {thing!r}" if isinstance(thing, Enum) else repr(thing)
            if not _is_installed_class(type(thing)) and not isinstance(
                thing, Enum
            ):  # a number that can do more
                self.tell_type(f"{where}.class", type(thing))
                self.tell_attributes(where, thing)
            return
        if id(thing) in self.seen:
            self.told[where] = f"as {self.seen[id(thing)][0]}"
            return
        self.seen[id(thing)] = (where, thing)
        for kind, tell in KINDS.items():
            if isinstance(thing, kind):
                tell(self, where, thing)
                return
        self.tell_instance(where, thing)

    def tell_tensor(self, where: str, x: Tensor) -> None:
        if x.layout != torch.strided or x.is_nested or x.is_quantized:
            raise UnidentifiableError(
                f"{where} is a tensor of which not all numbers are there; make it dense"
            )
        about = f"{x.dtype} {tuple(x.shape)}"
        self.told[where] = f"{about} sha256 {hashlib.sha256(raw_bytes(x)).hexdigest()}"

    def tell_array(self, where: str, x: np.ndarray) -> None:
        if x.dtype == object:
            self.tell(where, x.tolist())
            return
        digest = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
        self.told[where] = f"{x.dtype} {x.shape} sha256 {digest}"
        if isinstance(x, np.ma.MaskedArray):
            self.tell_array(f"{where}.mask", np.ma.getmaskarray(x))

    def tell_container(self, where: str, items: Any) -> None:
        self.told[where] = f"{type(items).__name__} of {len(items)}"
        if isinstance(items, dict):
            for i, (key, value) in enumerate(items.items()):
                plain = isinstance(key, str | int)
                self.tell(f"{where}.{key if plain else i}", value if plain else (key, value))
        else:
            ordered = sorted(items, key=repr) if isinstance(items, set | frozenset) else items
            for i, item in enumerate(ordered):
                self.tell(f"{where}[{i}]", item)
        if type(items) not in CONTAINERS and hasattr(items, "__dict__"):
            self.tell_attributes(where, items)

    def tell_partial(self, where: str, thing: functools.partial) -> None:
        self.tell(where, thing.func)
        for name, value in (("args", thing.args), ("keywords", thing.keywords)):
            if value:
                self.tell(f"{where}.{name}" if name == "args" else where + ".keywords", value)

    def tell_function(self, where: str, function: types.FunctionType) -> None:
        if getattr(function, "is_checked", False):
            function = function.__wrapped__
        if _is_installed(function.__code__.co_filename) or function.__module__ == DOORS:
            self.told[where] = f"{function.__module__}.{function.__qualname__}"
            self.tell_decorated(where, function)
            return
        self.told[where] = f"code sha256 {_digest_of_code(function.__code__)}"
        parameters = inspect.getfullargspec(function)
        defaults = dict(zip(reversed(parameters.args), reversed(function.__defaults__ or ()), strict=False))
        for name, value in {**defaults, **(function.__kwdefaults__ or {})}.items():
            self.tell(f"{where}.{name}", value)
        for name, value in _closure(function).items():
            self.tell(f"{where}.{name}", value)
        for name, value in _globals_read(function):
            self.tell(f"{where}.{name}", value)
        for name, value in vars(function).items():
            if name != "__wrapped__":
                self.tell(f"{where}.{name}", value)

    def tell_decorated(self, where: str, function: types.FunctionType) -> None:
        """Of a function that an installed one made of somebody's, as `torch.no_grad()` does: of what."""
        if _is_of_installed(function):  # torch itself decorates its functions, some of them later than others
            return
        for name, value in _made_of(function).items():
            if isinstance(
                value, types.FunctionType | functools.partial | nn.Module | dict | int | float | str
            ):
                self.tell(f"{where}.{name}", value)

    def tell_method(self, where: str, method: types.MethodType) -> None:
        self.tell(where, method.__func__)
        self.tell(f"{where}.self", method.__self__)

    def tell_builtin(self, where: str, function: Any) -> None:
        if function in (eval, exec, globals):
            raise UnidentifiableError(f"{where} reads names that cannot be told")
        owner = getattr(function, "__self__", None)
        self.told[where] = f"{getattr(function, '__module__', None)}.{function.__qualname__}"
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            self.tell(f"{where}.self", owner)

    def tell_wrapped(self, where: str, thing: Any) -> None:
        """A cached function, a static or class method, a property: what they wrap."""
        self.told[where] = type(thing).__name__
        for name in ("__wrapped__", "__func__", "fget", "fset", "func"):
            if callable(inner := getattr(thing, name, None)):
                self.tell(f"{where}.{name.strip('_')}", inner)

    def tell_module_file(self, where: str, module: types.ModuleType) -> None:
        """A module that is held as a whole: by name if it is installed, else all that it has."""
        self.told[where] = f"module {module.__name__}"
        if not _is_installed_module(module):
            for name, value in vars(module).items():
                if not (name.startswith("__") and name.endswith("__")):
                    self.tell(f"{where}.{name}", value)

    def tell_class(self, where: str, kind: type, *, built: bool = False) -> None:
        """What a class does; of one whose instance is there already, all but how to build another."""
        if _is_installed_class(kind):
            self.told[where] = f"{kind.__module__}.{kind.__qualname__}"
            return
        self.told[where] = f"class of {', '.join(base.__name__ for base in kind.__bases__)}"
        for base in kind.__bases__:
            if not _is_installed_class(base):
                self.tell_type(f"{where}.{base.__name__}", base) if built else self.tell(
                    f"{where}.{base.__name__}", base
                )
        for name, value in vars(kind).items():
            passed_over = name in OF_CLASSES or (built and name in ("__init__", "__new__", "__post_init__"))
            if not passed_over and not isinstance(value, DESCRIPTORS):
                self.tell(f"{where}.{name}", value)

    def tell_type(self, where: str, kind: type) -> None:
        """What the instances of a class do."""
        key = -id(kind)  # apart from the class itself
        if key in self.seen:
            self.told[where] = f"as {self.seen[key][0]}"
            return
        self.seen[key] = (where, kind)
        self.tell_class(where, kind, built=True)

    def tell_model(self, where: str, model: nn.Module) -> None:
        self.tell_type(f"{where}.class", type(model))
        self.told[where] = type(model).__name__
        for name, value in vars(model).items():
            if "_hooks" in name:
                for i, hook in enumerate(value.values()):
                    self.tell(f"{where}.{name}[{i}]", hook)
            elif name not in BOOKKEEPING:
                self.tell(f"{where}.{name}", value)
        for name, weight in [*model._parameters.items(), *model._buffers.items()]:
            if weight is not None:
                self.tell(f"{where}.{name}", weight)
                self.told[f"{where}.{name}"] += f" {tuple(weight.shape)} {weight.dtype}"
                self.told[f"{where}.{name}"] += ", frozen" * (
                    name in model._parameters and not weight.requires_grad
                )
        for name, part in model._modules.items():
            self.tell(f"{where}.{name}", part)

    def tell_instance(self, where: str, thing: Any) -> None:
        kind = type(thing)
        if any(map(_hides_state, kind.__mro__)) or thing is os.environ:
            raise UnidentifiableError(
                f"{where} is {'an' if kind.__name__[0] in 'aeiouAEIOU' else 'a'} {kind.__name__}, "
                "whose state cannot be told, nor brought back"
            )
        self.tell_type(f"{where}.class", kind)
        self.told.setdefault(where, kind.__name__)
        self.tell_attributes(where, thing)

    def tell_attributes(self, where: str, thing: Any) -> None:
        slots = [name for base in type(thing).__mro__ for name in _slots(base) if hasattr(thing, name)]
        held = {**getattr(thing, "__dict__", {}), **{name: getattr(thing, name) for name in slots}}
        for name, value in held.items():
            self.tell(f"{where}.{name}", value)


KINDS = {
    Tensor: _Teller.tell_tensor,
    np.ndarray: _Teller.tell_array,
    nn.Module: _Teller.tell_model,
    CONTAINERS: _Teller.tell_container,
    functools.partial: _Teller.tell_partial,
    types.FunctionType: _Teller.tell_function,
    types.MethodType: _Teller.tell_method,
    (types.BuiltinFunctionType, types.MethodDescriptorType, np.ufunc): _Teller.tell_builtin,
    (functools._lru_cache_wrapper, staticmethod, classmethod, property, functools.cached_property): (
        _Teller.tell_wrapped
    ),
    types.ModuleType: _Teller.tell_module_file,
    type: _Teller.tell_class,
}


def _digest_of_code(code: types.CodeType) -> str:
    """SHA-256 of what the code does: instructions, constants and names; no line numbers, no docstring."""
    arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_exceptiontable)
    found = hashlib.sha256(repr((arguments, code.co_varnames, code.co_freevars)).encode())
    for step in dis.get_instructions(code):
        what = step.argval if step.opcode in (*dis.hasconst, *dis.hasname) else step.arg
        if isinstance(what, types.CodeType):
            what = _digest_of_code(what)
        elif isinstance(what, frozenset):
            what = sorted(what, key=repr)
        found.update(repr((step.opname, type(step.argval).__name__, what)).encode())
    return found.hexdigest()


def _closure(function: types.FunctionType) -> dict[str, Any]:
    """What the function holds of those around it."""
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held[name] = cell.cell_contents
        except ValueError:  # empty, as of a function that is not defined yet
            held[name] = None
    return held


def _made_of(function: types.FunctionType) -> dict[str, Any]:
    """What a function that decorates another holds of it."""
    return {**_closure(function), "wrapped": getattr(function, "__wrapped__", None)}


def _is_of_installed(function: types.FunctionType, seen: tuple = ()) -> bool:
    """Whether a function, and all those that it decorates, are installed."""
    if function in seen:
        return True
    parts = [part for part in _made_of(function).values() if isinstance(part, CALLED)]
    installed = isinstance(function, types.FunctionType) and _is_installed(function.__code__.co_filename)
    return installed and all(
        isinstance(part, types.FunctionType) and _is_of_installed(part, (*seen, function)) for part in parts
    )


def _globals_read(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """(name, value) of the globals that the code reads and of what it imports; of a module, of what it reads.

    What an installed module holds is told where somebody may have changed it, or a hidden state is behind it.
    """
    found: dict[str, Any] = {}
    seen = {"eval": eval, "exec": exec, "globals": globals} | function.__globals__  # of the built-in ones
    for code in _codes(function.__code__):
        steps = list(dis.get_instructions(code))
        for at, step in enumerate(steps):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in seen:
                chain = [then.argval for then in takewhile(_reads_attribute, steps[at + 1 :])]
                found |= [_followed(step.argval, seen[step.argval], chain)]
            elif step.opname == "IMPORT_NAME":
                names = [then.argval for then in steps[at + 1 :] if then.opname == "IMPORT_FROM"]
                found |= _imported(step.argval, names)
    for name, value in sorted(found.items()):
        if not isinstance(value, types.ModuleType) or not _is_installed_module(value):
            yield name, value


def _reads_attribute(step: dis.Instruction) -> bool:
    return step.opname in ("LOAD_ATTR", "LOAD_METHOD")


def _followed(name: str, value: Any, chain: list[str]) -> tuple[str, Any]:
    """What a chain of attributes leads to, from module to module; of installed ones, only what may differ."""
    for attribute in chain:
        if not isinstance(value, types.ModuleType):
            break
        installed, value = _is_installed_module(value), getattr(value, attribute, None)
        name = f"{name}.{attribute}"
        if installed and not isinstance(value, (types.ModuleType, *MAY_DIFFER)) and value is not os.environ:
            return name, None
    return name, value


def _imported(module: str, names: list[str]) -> dict[str, Any]:
    """What a function imports when it is called, from modules that are there: the names, or the module."""
    value = sys.modules.get(module)
    if value is None or _is_installed_module(value):
        return {}
    return {f"{module}.{name}": getattr(value, name, None) for name in names} or {module: value}


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    folders = [
        paths["stdlib"],
        paths["platstdlib"],
        paths["purelib"],
        paths["platlib"],
        *site.getsitepackages(),
    ]
    return tuple({str(Path(folder)) for folder in [*folders, *users]})


def _is_installed(file: str) -> bool:
    """Whether code comes with Python or from an installed package, this one apart."""
    return file.startswith(("<frozen", *_installed_folders())) and not file.startswith(OURS)


def _is_installed_module(module: types.ModuleType) -> bool:
    """Whether a module is of an installed package, or of those without a file that come with Python."""
    package = module.__name__.partition(".")[0]
    for each in (sys.modules.get(package), module):
        if file := getattr(each, "__file__", None):
            return _is_installed(file)
    return package in sys.stdlib_module_names


def _is_installed_class(kind: type) -> bool:
    """Whether this is the class that a built-in or installed module has under its name."""
    module = sys.modules.get(kind.__module__)
    found: Any = module
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    file = getattr(module, "__file__", None)
    return found is kind and kind.__module__ != "__main__" and (file is None or _is_installed(file))


def _hides_state(kind: type) -> bool:
    """Whether instances hold what no attribute shows, as those of types made in C do: by their size."""
    if kind is object:
        return False
    added, slots = kind.__basicsize__ - kind.__base__.__basicsize__, vars(kind).get("__slots__", ())
    slots = 1 if isinstance(slots, str) else len(slots)
    has_attributes = slots > 0 or (hasattr(kind, "__dict__") and kind.__dictoffset__ != 0)
    return added > 8 * (slots + 2) or (added > 0 and not has_attributes)


def _slots(kind: type) -> list[str]:
    """The names of attributes that are no part of __dict__, private ones as Python spells them."""
    slots = vars(kind).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    private = f"_{kind.__name__.lstrip('_')}"
    hidden = {name for name in names if name.startswith("__")}
    return [private + name if name in hidden else name for name in names if not name.endswith("__")]
