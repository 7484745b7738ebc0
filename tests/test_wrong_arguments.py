"""Every public function, given what it should not be given: it says so in a sentence of ours, or it serves.

The right arguments are those with which the cases of `device_cases.py` call it. Each of them in turn is
replaced by values that are wrong for what its annotation says, which must be refused, and by values that may
be wrong: other shapes, types and scales, NaN. These are refused or give a result without NaN. What refuses is
`vae_lab`, in one sentence that names the argument, and no library that was handed the value.
"""

import copy
import importlib
import inspect
import math
import traceback
import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from device_cases import ANYWHERE, ON_CPU, ON_DEVICE, Things, seen, taken_home, written
from PIL import Image
from test_on_devices import leaves, patterns, public
from torch import Tensor, nn
from torch.distributions import Distribution

import vae_lab
from vae_lab import data, diagrams, lab, likelihoods, metrics, nets, records, schedules, variational, widgets

PACKAGE, TESTS = str(Path(vae_lab.__file__).parent), str(Path(__file__).parent)


def by_command(c: Things):
    """Where the weights are not there: it is called, and says so."""
    folder = metrics.write_images(c.x, c.folder / "pictures")
    with pytest.raises(metrics.InceptionUnavailable):
        metrics.fid_by_command(folder, folder, dims=64)


# Calls of what has nothing to do with devices.
MORE = {
    "claims.claim": lambda c: vae_lab.claim("it holds", True),
    "diagrams.draw_autoencoder": lambda c: diagrams.draw_autoencoder(ax=plt.subplots()[1]),
    "diagrams.draw_vae": lambda c: diagrams.draw_vae(ax=plt.subplots()[1]),
    "diagrams.draw_gradient_paths": lambda c: diagrams.draw_gradient_paths(ax=plt.subplots()[1]),
    "pictures.read": lambda c: data.pictures.read(Image.new("RGB", (9, 7), "red"), channels=3, side=4),
    "inception.fid_by_command": by_command,
    "lab.settings": lambda c: lab.settings(written(c, taken_home())),
    "likelihoods.GaussianWithScales": lambda c: likelihoods.GaussianWithScales(),
    "nets.conv_stages": lambda c: nets.conv_stages(32),
    "records.recorded": lambda c: records.recorded("mnist-conv", "metrics.json"),
    "records.metrics": lambda c: records.metrics("mnist-conv"),
    "records.build_decoder": lambda c: records.build_decoder(shape=(1, 4, 4), latents=2, hidden=(8,)),
    "schedules.Linear": lambda c: schedules.Linear(0.0, 1.0, until=0.5),
    "schedules.Cyclical": lambda c: schedules.Cyclical(0.0, 1.0, cycles=2, rising=0.5),
    "variational.BayesianMixture": lambda c: variational.BayesianMixture(2, 1.0, 5.0),
    "tables.table": lambda c: vae_lab.table("Numbers", ("", "a", "b"), {"it": (1, 2.5)}, form=".1f"),
    "aggregate_posterior": lambda c: widgets.aggregate_posterior(3, 0.5, seed=1, hint="x"),
    "bent_decoder": lambda c: widgets.bent_decoder(0.5, 0.5, x1=0.5, x2=0.5, hint="x"),
    "empty_rules": lambda c: widgets.empty_rules("one sign on all seeds", rules=8, seeds=5, seed=1, hint="x"),
    "phase_portrait": lambda c: widgets.phase_portrait(0.5, start=(0.1, 0.2)),
    "two_clouds": lambda c: widgets.two_clouds("honest", count=40, seed=1, hint="x"),
    "two_gradients": lambda c: widgets.two_gradients("bowl", mu=0.5, sigma=0.5, n_samples=20, seed=1),
    "two_optimizers": lambda c: widgets.two_optimizers(0.5, 0.5, latents=8, draws=2, seed=1, hint="x"),
}
CASES = ON_DEVICE | ON_CPU | ANYWHERE | MORE

# What is not called by people: patterns of names, and what they are.
INSIDE = {
    "arguments.* files.* identity.* colors.* notebook.*": "what others are made of, tested by themselves",
    "data.cache.* data.pixels.* data.fetch.* data.afhq.* data.mnist.*": "the inside of data.load and Images",
    "training.checkpoint.* training.memory.* training.run.* training.loop.ascend": "the inside of fit",
    "claims.written": "pages of this book, see test_claims.py",
    "marking.*": "what students wrote, right or wrong, see test_marking.py",
    "experiments.*": "recorded by name: python -m vae_lab.experiments, see test_experiments.py",
    "widgets.bundle.* widgets.scale.* widgets.decoder.to_halves *.flat": "inside widgets",
    "widgets.*.[A-Z]*": "made by functions",
    "devices.*_state devices.same_* devices.average devices.least devices.agree devices.in_precision": (
        "the inside of training"
    ),
    "devices.fused devices.short_of_memory devices.empty_cache devices.process devices.of": "the same",
    "data.images.as_images claims.Claim tables.Table": "made by functions that are checked",
    "models.through models.check_decoder models.evaluating models.gaussian": "parts that others share",
    "objectives.check_terms objectives.require_* wavelets.require_* metrics.*.require_*": "the same",
    "em.warn_singular inference.warn_* estimators.require_* schedules.one_cycle": "the same",
    "*.StackedLinear.forward *.Gate.forward *.Gated.forward *.Expect.forward": (
        "layers: the models that call them see to it"
    ),
    "colab.* *.quick *.extra_repr *.use_style *.pick_device data.sets.root data.sets.small_digits": (
        "they take nothing"
    ),
}

# Functions that make numbers of numbers, one by one: NaN of NaN.
MAPS = [
    *(
        "*.forward",
        "*.encode",
        "*.decode",
        "*.log_prob",
        "*.sample",
        "*.e_step",
        "*.log_joint",
        "*.lower_bound",
    ),
    *("wavelets.*", "variational.gaussian", "objectives.jacobian_norm", "plotting.*"),
    *("estimators.leave_one_out", "estimators.best_constant"),
]
WORDS = {  # how a sentence may name an argument otherwise
    "x": ("images", "points", "resp"),
    "z": ("codes", "images"),
    "raw": ("x must",),
    "q": ("posteriors",),
    "phi": ("family",),
    "real": ("a and b",),
    "generated": ("a and b", "images"),
    "batches": ("x must", "images"),
    "source": ("as a picture",),
    "width": ("side",),
}


def api() -> list[str]:
    inside = [f"vae_lab.{pattern}" for key in INSIDE for pattern in key.split()]
    return [name for name in public() if not any(fnmatch(name, pattern) for pattern in inside)]


def found(name: str) -> tuple[Any, str]:
    """The module or class that holds a public name, and the name there."""
    parts = name.split(".")
    at = next(k for k in range(len(parts), 0, -1) if _is_module(".".join(parts[:k])))
    owner: Any = importlib.import_module(".".join(parts[:at]))
    for part in parts[at:-1]:
        owner = getattr(owner, part)
    return owner, parts[-1]


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
        return True
    except ImportError:
        return False


def right_call(name: str, folder) -> tuple[Callable, inspect.BoundArguments]:
    """The function, and the arguments of the first call of it that one of its cases makes."""
    owner, last = found(name)
    target, calls = getattr(owner, last), []
    holder, attribute = (target, "__init__") if inspect.isclass(target) else (owner, last)
    plain = getattr(holder, attribute)

    def watched(*args, **options):
        if not calls:
            bound = inspect.signature(plain).bind(*args, **options)
            calls.append(copied(bound))
        return plain(*args, **options)

    homes = [(holder, attribute)]
    if not inspect.isclass(holder):  # a function stands in the modules that import it too
        homes += [
            (module, key)
            for path, module in list(importlib.sys.modules.items())
            if path.startswith(("vae_lab", "device_cases"))
            for key, value in list(vars(module).items())
            if value is plain and (module, key) != (holder, attribute)
        ]
    for key, case in CASES.items():
        if any(fnmatch(name, pattern) for pattern in patterns(key)):
            with warnings.catch_warnings(action="ignore"):
                undo = [patch.object(home, attribute, watched) for home, attribute in homes]
                for one in undo:
                    one.start()
                try:
                    torch.manual_seed(0)
                    case(Things("cpu", folder))
                finally:
                    for one in undo:
                        one.stop()
            if calls:
                return (target if inspect.isclass(target) else plain), calls[0]
    raise AssertionError(f"no case of device_cases.py calls {name}")


def copied(bound: inspect.BoundArguments) -> inspect.BoundArguments:
    """The same arguments, none of which the call before can have changed."""
    other = copy.copy(bound)
    memo: dict = {}  # so that an optimizer is still that of its model
    other.arguments = {name: _copied(value, memo) for name, value in bound.arguments.items()}
    return other


def _copied(value, memo: dict | None = None):
    try:
        return copy.deepcopy(value, memo)
    except (TypeError, RuntimeError):  # generators, tensors of a graph
        return value.detach().clone() if isinstance(value, Tensor) else value


NO_NUMBER = ["3", None, [1, 2], {"a": 1}, math.nan, math.inf, 1j, torch.zeros(2), object(), len]
WRONG = {
    int: [*NO_NUMBER, 2.5],
    float: NO_NUMBER,
    bool: ["yes", 2, None, 0.5, [True]],
    str: [3, None, b"x", ["x"], "nonsense"],
    Path: [3.5, None, object(), "", b"\xff", "a\0b"],
    Callable: [3, "f", None, torch.zeros(2)],
    Tensor: ["words", object(), ["a", "b"], {"a": 1}, len, None, 1j * torch.ones(3)],
    nn.Module: [None, 3, "model", nn.Linear, torch.zeros(2)],
    Distribution: [None, 3, "q", torch.zeros(3), Distribution],
    dict: [None, 3, "rows", [1]],
}


def wrong_for(hint: Any, right: Any) -> list:
    """Values that an annotation, and the value that is right, exclude."""
    kinds = _kinds(hint)
    if not kinds:
        kinds = {Tensor} if isinstance(right, Tensor) else {dict} if isinstance(right, dict) else set()
    lists = [WRONG.get(kind, [object(), "nonsense"]) for kind in kinds if kind is not NoneType]
    wrong = [value for value in lists[0] if all(_in(value, other) for other in lists[1:])] if lists else []
    free_text = kinds & {str} and get_origin(hint) is not Annotated
    return [
        value
        for value in wrong
        if not (value is None and NoneType in kinds) and not (free_text and value == "nonsense")
    ]


def _in(value, others: list) -> bool:
    return any(
        value is other or (type(value) is type(other) and repr(value) == repr(other)) for other in others
    )


def _kinds(hint: Any) -> set:
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return set().union(*map(_kinds, get_args(hint)))
    if get_origin(hint) is not None:
        hint = get_origin(hint)
    for kind in WRONG:
        if hint is kind or (isinstance(hint, type) and isinstance(kind, type) and issubclass(hint, kind)):
            return {kind}
    if getattr(hint, "__name__", "") == "Callable":
        return {Callable}
    return {hint} if isinstance(hint, type) else set()


def doubtful(value: Any) -> list:
    """What may be wrong in place of a right value."""
    if isinstance(value, Tensor):
        x, last = value.detach(), (..., slice(None, -1))
        there = [x[None], x[..., None], x.flatten(), x * 0, x.double(), x.numpy(), x.tolist()]
        there += [x[:0], x[last], torch.cat([x, x[-1:]]), x[..., 0]] if x.ndim else []
        if x.is_floating_point():
            there += [x * math.nan, x / 0, x * 1e30, -x, x + 1000, x.long(), x.bool(), x.half(), x.bfloat16()]
        return there
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        return [0, -1, 1, value + 1, float(value), np.int8(value % 100), torch.tensor(value), True]
    if isinstance(value, float):
        return [0.0, -0.0, -1.0, 1e300, 5e-324, int(value), np.float32(value), torch.tensor(value)]
    if isinstance(value, tuple | list):
        return [[], (), value[:1], [*value, *value], [math.nan] * len(value), ["x"] * len(value)]
    if isinstance(value, nn.Module):
        return [nn.Linear(2, 2), nn.Sequential()]
    return []


def described(value) -> str:
    return f"{type(value).__name__} {value!r:.80}".replace("\n", " ")


@pytest.mark.parametrize("name", api())
def test_wrong_arguments_are_refused_in_one_sentence(name, tmp_path):
    function, right = right_call(name, tmp_path)
    owner = found(name)[0]
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    parameters = inspect.signature(function.__init__ if inspect.isclass(function) else function).parameters
    skipped = {"self"} if inspect.isclass(owner) or inspect.isclass(function) else set()
    faults = []
    for argument, parameter in parameters.items():
        if argument in skipped or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        value = right.arguments.get(argument, parameter.default)
        hint = hints.get(argument, Any)
        wrong = wrong_for(hint, value)
        for which, replacement in [(True, v) for v in wrong] + [(False, v) for v in doubtful(value)]:
            call = copied(right)
            call.arguments[argument] = _copied(replacement)
            order = {k: call.arguments[k] for k in parameters if k in call.arguments}
            call.arguments = order
            args = call.args[1:] if inspect.isclass(function) else call.args
            what = fault(name, function, args, call.kwargs, argument, must=which)
            if what:
                faults.append(f"{argument} = {described(replacement)}: {what}")
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults)


def fault(name: str, function, args, options, argument: str, *, must: bool) -> str:
    """What is wrong with what the function makes of these arguments; empty if nothing."""
    look = (lambda call: call()) if name.endswith("by_command") else seen
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.manual_seed(0)
            given = look(lambda: function(*args, **options))
            given = list(given) if inspect.isgenerator(given) else given
    except BaseException as error:
        words, frames = str(error), [f.filename for f in traceback.extract_tb(error.__traceback__)]
        entered = next((k for k, file in enumerate(frames) if file.startswith(PACKAGE)), len(frames))
        if any(file.startswith(TESTS) for file in frames[entered:]):
            return ""  # a function of the caller's own was given it, and failed
        if not frames[-1].startswith(PACKAGE):
            return f"{type(error).__name__} from {Path(frames[-1]).name}: {words[:120]!r}"
        if "\n" in words or len(words) > 400:
            return f"not one sentence: {words!r}"
        if isinstance(error, metrics.InceptionUnavailable):
            return "accepted" if must else ""
        known = [argument, *WORDS.get(argument, ())] + (
            [] if must else [*inspect.signature(function).parameters]
        )
        return "" if any(word in words for word in known) else f"does not name {argument}: {words[:150]!r}"
    if must:
        return f"accepted, gives {described(given)}"
    if any(fnmatch(name, f"vae_lab.{pattern}") for pattern in MAPS):
        return ""
    try:
        bad = [where for where, a in leaves(given) if isinstance(a, Tensor | float) and _has_nan(a)]
    except AssertionError:  # another kind of thing: a figure, a widget
        return ""
    return f"NaN in {bad[0]}" if bad else ""


def _has_nan(a) -> bool:
    return (
        bool(torch.as_tensor(a).isnan().any())
        if not isinstance(a, Tensor) or a.is_floating_point()
        else False
    )
