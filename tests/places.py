"""Where the tests about devices run: on pretended devices everywhere, and on real ones where they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from pretended import pretended

mps_is_available = torch.backends.mps.is_available  # before conftest.py says no, for the other tests


def missing(kind: str) -> str:
    """Why no tests run on a real device of this kind; empty if they do."""
    if not (torch.cuda.is_available() if kind == "cuda" else mps_is_available()):
        return f"no {'CUDA device' if kind == 'cuda' else 'Apple GPU'} here"
    try:
        torch.ones(8, device=kind).sum().item()
    except RuntimeError as error:  # GitHub's Macs have shown a GPU without memory
        return f"there is {kind}, but: {str(error).splitlines()[0]}"
    return ""


PLACES = ["pretended cuda", "pretended mps", *(kind for kind in ("cuda", "mps") if not missing(kind))]


@contextmanager
def place(name: str) -> Iterator[torch.device]:
    """The device of one of `PLACES`."""
    *how, kind = name.split()
    with pretended(kind) if how else patch.object(torch.backends.mps, "is_available", mps_is_available):
        yield torch.device(kind)
