"""The command line of the data sets.

python -m vae_lab.data            what is on this disk
python -m vae_lab.data --fetch    Animal Faces-HQ, version 1, from Kaggle (0.7 GB)
"""

import argparse
import sys

from vae_lab.data import DataError, root
from vae_lab.data.fetch import describe, fetch


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked for: 0 if all is well, 1 and a sentence if not, 130 if stopped."""
    command = argparse.ArgumentParser("python -m vae_lab.data", description="Animal Faces-HQ on your disk")
    command.add_argument("--fetch", action="store_true", help="fetch version 1 from Kaggle, 0.7 GB")
    asked = command.parse_args(arguments)
    try:
        if asked.fetch:
            fetch(root())
        else:
            print(f"{describe(root())}.")
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What has arrived is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
