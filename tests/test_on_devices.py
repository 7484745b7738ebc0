"""Every public name of the package on a device: it runs there, and gives what it gives on the CPU.

The devices are pretended (`pretended.py`), and real where there are some. The calls are in `device_cases.py`;
a public name without one fails the first test, by name.
"""

import importlib
import inspect
import pkgutil
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial

import numpy as np
import pytest
import torch
from device_cases import ANYWHERE, NO_TENSORS, ON_CPU, ON_DEVICE, Things
from places import PLACES, missing, place
from pretended import pretended
from torch import Tensor, nn
from torch.distributions import Distribution

import vae_lab

CASES = ON_DEVICE | ON_CPU | ANYWHERE
TIMES = ("seconds", "clock", "saved")


def public() -> list[str]:
    """The full names of public functions and classes, and of the methods of these.

    Exceptions hold words. What a named tuple holds is looked at where a function gives it.
    """
    found = []
    for about in pkgutil.walk_packages(vae_lab.__path__, "vae_lab."):
        if about.name.endswith("__main__"):
            continue
        module = importlib.import_module(about.name)
        for name, it in vars(module).items():
            if name[0] == "_" or getattr(it, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(it):
                found.append(f"{module.__name__}.{name}")
            elif inspect.isclass(it) and not (
                issubclass(it, (BaseException, tuple)) or getattr(it, "_is_protocol", False)
            ):
                methods = [m for m, f in vars(it).items() if m[0] != "_" and inspect.isfunction(f)]
                found += [f"{module.__name__}.{name}", *(f"{module.__name__}.{name}.{m}" for m in methods)]
    return found


def patterns(key: str) -> list[str]:
    return [f"*.{pattern}" for pattern in key.split(":")[0].split()]


def test_every_public_name_has_a_case():
    known = [pattern for key in (*CASES, *NO_TENSORS) for pattern in patterns(key)]
    names = public()
    assert not [name for name in names if not any(fnmatch(name, pattern) for pattern in known)]
    assert not [pattern for pattern in known if not any(fnmatch(name, pattern) for name in names)]


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_real_device_takes_part(kind):
    if why := missing(kind):
        pytest.skip(f"{why}: the package runs on the pretended one alone")


def leaves(found, name: str = "result"):
    """(where in the result, the number or tensor there) of all that a result holds."""
    if isinstance(found, Tensor | np.ndarray | int | float | str | bytes):
        yield name, found
    elif isinstance(found, dict):
        for key, value in found.items():
            if key not in TIMES:
                yield from leaves(value, f"{name}[{key!r}]")
    elif isinstance(found, nn.Module):
        yield from leaves(dict(found.named_parameters()) | dict(found.named_buffers()), name)
    elif isinstance(found, list | tuple):
        for i, value in enumerate(found):
            yield from leaves(value, f"{name}[{i}]")
        if hasattr(found, "_fields"):
            properties = [k for k, v in vars(type(found)).items() if isinstance(v, property)]
            yield from leaves({k: getattr(found, k) for k in properties}, name)
    elif isinstance(found, Distribution) or type(found).__module__.startswith("vae_lab"):
        yield from leaves(vars(found), name)
    else:
        assert found is None or isinstance(found, torch.Size | type), f"what to do with {name}, {found!r}"


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("key", CASES)
def test_it_runs_on_the_device(key, where, tmp_path):
    with warned_every_time():
        runs_there(key, where, tmp_path)


def runs_there(key: str, where: str, folder) -> None:
    """Fail unless a case gives on the device what it gives on the CPU. Of `make gpu` too, without pytest."""
    expected, _ = result(key, "cpu", folder / "cpu")
    with place(where) as device:
        found, on = result(key, device, folder / "device")
    if key in ANYWHERE:
        assert len(set(on.values())) < 2, on
    else:
        home = device.type if key in ON_DEVICE else "cpu"
        assert {name: kind for name, kind in on.items() if kind != home} == {}
    assert found.keys() == expected.keys()
    if where.startswith("pretended"):
        same(found, expected, rtol=1e-5, atol=1e-6)
    elif not draws_there(key, device.type, expected, folder / "other numbers"):
        same(found, expected, rtol=1e-2, atol=1e-3)


def result(key: str, device, folder) -> tuple[dict, dict]:
    """The numbers that a case ends with, by where in the result they are, and the devices of its tensors."""
    folder.mkdir()
    things = Things(device, folder)
    torch.manual_seed(1)
    found = dict(leaves(CASES[key](things)))
    on = {name: a.device.type for name, a in found.items() if isinstance(a, Tensor)}
    return {name: a.detach().cpu() if isinstance(a, Tensor) else a for name, a in found.items()}, on


def draws_there(key: str, kind: str, expected: dict, folder) -> bool:
    """Whether the numbers depend on draws on the device, which on a real one are not those of the CPU."""
    with pretended(kind, shift=1) as device:
        found, _ = result(key, device, folder)
    try:
        same(found, expected, rtol=1e-5, atol=1e-6)
    except AssertionError:
        return True
    return False


def same(found: dict, expected: dict, **tolerance) -> None:
    for name, a in expected.items():
        if isinstance(a, str | bytes):
            assert found[name] == a, name
        else:
            a, b = torch.as_tensor(found[name]), torch.as_tensor(a)
            torch.testing.assert_close(a, b, equal_nan=True, msg=partial("{}: {}".format, name), **tolerance)


@contextmanager
def warned_every_time():
    """Warnings that torch gives once are given to every test."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        yield
    finally:
        torch.set_warn_always(before)
