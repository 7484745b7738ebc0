"""Libraries that are not installed, in name only, so that code can be imported which can do without them.

    with importable():
        from vae_lab import widgets      # also where there is no ipywidgets

What was imported so raises `NotInstalled` where it is used.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

LIBRARIES = (
    "IPython", "PIL", "anywidget", "contourpy", "ipywidgets", "kagglehub", "matplotlib", "numpy", "pytest",
    "safetensors", "scipy", "sklearn", "torchvision", "tqdm", "traitlets",
)  # fmt: skip


class NotInstalled(RuntimeError):
    """What was asked for is of a library that is not installed; the message is its name."""


class _Name(type):
    """Whatever a library may hold. It can be named, derived from, decorated with and called at import."""

    importing, library = False, ""

    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls.used()

    def __call__(cls, *args, **kwargs):
        return cls.used()

    def __instancecheck__(cls, instance) -> bool:
        return False

    def used(cls):
        if _Name.importing:
            return cls
        raise NotInstalled(cls.library)


class _Module(ModuleType):
    """A module of such names."""

    __path__: list[str] = []  # noqa: RUF012 (so that it has modules within)

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(name, (), {"library": self.__name__.split(".")[0]})


class _Finder(MetaPathFinder, Loader):
    """Finds what nobody else found."""

    def __init__(self, libraries: tuple[str, ...]):
        self.libraries = libraries

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        known = name.split(".")[0] in self.libraries
        return ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "numpy":  # nothing is drawn there
            module.random = SimpleNamespace(seed=lambda seed: None)
        if module.__name__ == "tqdm":  # nobody looks
            module.tqdm = _NoBar


class _NoBar:
    """A progress bar that is not drawn."""

    def __init__(self, **options):
        pass

    def __enter__(self) -> "_NoBar":
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self) -> None:
        pass

    close = update


def missing() -> tuple[str, ...]:
    """Those of `LIBRARIES` that are not installed."""
    return tuple(
        name for name in LIBRARIES if isinstance(sys.modules.get(name), _Module) or not find_spec(name)
    )


@contextmanager
def importable(libraries: tuple[str, ...] | None = None) -> Iterator[None]:
    """Within, what is not installed can be imported. Torch, which asks what there is, is imported before."""
    import_module("torch._dynamo")
    finder = _Finder(missing() if libraries is None else libraries)
    sys.meta_path.append(finder)
    _Name.importing = True
    try:
        yield
        if "tqdm" in finder.libraries:
            import_module("tqdm")  # which `fit` looks for
    finally:
        _Name.importing = False
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Module)]:
            if name != "tqdm":
                del sys.modules[name]
