"""What the benchmarks' command lines have in common: where results go, how often, of which images."""

import argparse
import sys
import tempfile

import torch

from vae_lab import data
from vae_lab.arguments import one_line, path


def parser(name: str, about: str, quick: str) -> argparse.ArgumentParser:
    """For `python -m benchmarks.NAME`: --out and --quick; `about` is the module's docstring."""
    if hasattr(sys.stdout, "reconfigure"):  # a − is not in every encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about.split("\n")[0])
    made.add_argument("--out", default="_build/benchmarks", help="where the results go")
    made.add_argument("--quick", action="store_true", help=quick)
    return made


def asked(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """What is asked for; `out` is a folder that can be written to, which is found out before measuring."""
    given = parser.parse_args(arguments)
    try:
        folder = path("it", given.out)
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (ValueError, OSError) as error:
        parser.error(f"argument --out: cannot write to {given.out!r}: {one_line(error)}")
    given.out = folder
    return given


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def mnist_or_digits(device: torch.device, *, quick: bool) -> data.Dataset:
    """MNIST; the embedded digits if `quick`, or, saying so, where it cannot be had."""
    try:
        return data.load("digits" if quick else "mnist", device=device)
    except data.DataError as error:
        print(f"{error}\nMeasuring on the embedded digits instead.")
        return data.load("digits", device=device)
