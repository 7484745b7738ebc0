"""The command line of the recorded runs."""

import argparse
import sys
from pathlib import Path

from vae_lab import experiments
from vae_lab.arguments import path
from vae_lab.data import DataError
from vae_lab.experiments import EXPERIMENTS, QUICK, RECORDED, ExperimentError
from vae_lab.records import RecordError
from vae_lab.training import BatchTooLarge, CheckpointError, TrainingDiverged

FAILURES = (
    ExperimentError,
    RecordError,
    DataError,
    CheckpointError,
    TrainingDiverged,
    BatchTooLarge,
    OSError,
)


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m vae_lab.experiments", description=experiments.__doc__.splitlines()[0]
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--all", action="store_true", help="run every experiment")
    parser.add_argument(
        "--scale", choices=("full", "quick"), default="full", help="quick: seconds, to try it"
    )
    parser.add_argument("--out", type=_folder, help=f"default: {RECORDED}, for quick runs {QUICK}")
    given = parser.parse_args(arguments)
    if given.list + given.all + (given.name is not None) != 1:
        parser.error("give the name of one experiment, or --all, or --list")
    if given.list:
        width = max(map(len, EXPERIMENTS)) + 2
        print("\n".join(f"{name:{width}}{experiment.what}" for name, experiment in EXPERIMENTS.items()))
        return 0
    try:
        for name in EXPERIMENTS if given.all else [given.name]:
            experiments.run(name, scale=given.scale, out=given.out)
    except FAILURES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def _folder(text: str) -> Path:
    """The path that is written here, or a sentence of ours in argparse's own way."""
    try:
        return path("--out", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
