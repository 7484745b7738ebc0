"""Trains in a child whenever a folder is named on stdin, for test_checkpoints.py to kill.

Importing torch takes seconds, a fork of one thread milliseconds. Each child is reaped only when asked for
with an empty line, so that its process id is its own until then.
"""

import os
import sys
import traceback
from pathlib import Path

import torch
from tiny import gray, new_vae

from vae_lab import files
from vae_lab.training import checkpoint as checkpoints
from vae_lab.training import fit


def train(folder: Path) -> None:
    os.dup2(os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    checkpoints.SAVE_EVERY = 0.0
    model, images, test = new_vae(hidden=(64,)), gray(200).dynamic(), gray(40, seed=1).dynamic()
    fit(model, images, epochs=60, batch_size=8, test=test, seed=3, checkpoint=folder / "run")
    print("ended with", files.digest(model.state_dict()))


def main() -> None:
    torch.set_num_threads(1)
    torch.optim.Adam(new_vae().parameters())  # the first one imports for seconds
    child = 0
    for line in sys.stdin:
        if folder := line.strip():
            child = os.fork()
            if child == 0:
                try:
                    train(Path(folder))
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            print(child)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
