"""What of a student's meddling with the grader can be seen, and be undone.

Tests run in the process of the student's code, so nothing here stops somebody determined.
"""

import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType

from .assignment import Assignment

# What tests call, and what could be replaced to please them: these modules, and all within these packages.
MODULES = {
    *(
        "builtins",
        "inspect",
        "json",
        "json.encoder",
        "linecache",
        "math",
        "os",
        "random",
        "traceback",
    ),
    *(
        "numpy",
        "numpy.linalg",
        "torch",
        "torch.autograd",
        "torch.linalg",
        "torch.nn",
        "torch.testing",
    ),
    "torch.nn.functional",
}
PACKAGES = ("assignments", "otter", "torch.distributions", "vae_lab")

SUSPICIOUS = re.compile(
    r"""_getframe|currentframe|\binspect\b|\bgc\b|\bctypes\b|__import__|\bimportlib\b|\bsys\.modules\b
    |\btb_|\bf_(?:back|globals|locals|code)\b|__(?:traceback|globals|closure|code|builtins|subclasses)__
    |\bsetattr\(|(?<![.\w])(?:exec|eval)\(|/proc/|["']tests["'/]|\bos\.(?:write|fork|_exit)\b
    |\botter\.(?!Notebook\(\))|\b(?:from|import)\s+otter\.""",
    re.X,
)


class Guard:
    """Remembers every function of those modules and their classes, and puts back what was replaced."""

    def __init__(self):
        self.modules = {
            name: module
            for name, module in list(sys.modules.items())
            if isinstance(module, ModuleType) and (name in MODULES or _within(name))
        }
        self.held, self.codes = {}, {}
        for module in self.modules.values():
            for name, value in list(vars(module).items()):
                self._hold(module, name, value)
                for owner in value.__mro__[:-1] if isinstance(value, type) else ():
                    for member, method in (
                        vars(owner).items() if owner.__module__ in self.modules else ()
                    ):
                        self._hold(owner, member, method)

    def _hold(self, owner, name: str, value) -> None:
        if callable(value) or hasattr(type(value), "__get__"):
            self.held[owner, name] = value
        if type(value) is FunctionType:  # what wraps one only looks like one
            self.codes[value] = value.__code__

    def restore(self) -> list[str]:
        """The names of what was replaced since, all of it put back."""
        replaced = []
        for name, module in self.modules.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module
                replaced.append(name)
        for function, code in self.codes.items():
            if function.__code__ is not code:
                function.__code__ = code
                replaced.append(f"{function.__module__}.{function.__qualname__}")
        for (owner, name), value in self.held.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)
                replaced.append(f"{_name(owner)}.{name}")
        return replaced


def suspicious(cells: list[str], given: tuple[str, ...]) -> list[str]:
    """Notes on what the student wrote that reaches for the grader, or seems to."""
    known = {line.strip() for source in given for line in source.splitlines()}
    lines = {line.strip(): None for source in cells for line in source.splitlines()}
    return [
        f"mentions {line[:60]}" for line in lines if line not in known and SUSPICIOUS.search(line)
    ]


def tests_changed(room: Path, assignment: Assignment) -> list[str]:
    """Notes on files in `tests` that are others than those put there."""
    now = {f"tests/{path.name}": path for path in (room / "tests").glob("*.py")}
    return [
        f"tests changed: {name}"
        for name, source in assignment.handout.items()
        if name not in now or now[name].read_bytes() != source
    ]


def _within(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in PACKAGES)


def _name(owner) -> str:
    return (
        owner.__name__
        if isinstance(owner, ModuleType)
        else f"{owner.__module__}.{owner.__qualname__}"
    )
