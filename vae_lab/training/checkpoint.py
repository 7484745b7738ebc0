"""The file of a training run: what ties it to that run, and when it is written."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from warnings import warn

import torch
from torch import Tensor

from vae_lab import devices, files, identity

SAVE_EVERY = 30.0  # seconds
ANEW = "delete it, or choose another path, to start anew"


class CheckpointError(RuntimeError):
    """A file that is damaged, or of another run; the message says what to do. It is never overwritten."""


class Resumable(Protocol):
    """Something that can be kept in a file and restored: `run.Run`."""

    device: torch.device

    def weights(self) -> dict[str, Tensor]: ...
    def state(self) -> tuple[dict[str, Tensor], dict]: ...
    def restore(self, tensors: dict[str, Tensor], record: dict) -> None: ...


class Checkpoint:
    """The file of one run, from which no other run may go on.

    settings : the arguments that make a run this one
    behavior : what objective and model do, as `identity.describe` says; called again later, to see that
        they still do the same
    epochs : of the whole run; `cycles` are those at which a cycle of the learning rate ends, the last of them
    extend : whether to go on from a file of fewer epochs, by one more cycle
    """

    def __init__(
        self, path: Path, settings: dict, behavior: Callable[[], dict], *, epochs: int, extend: bool = False
    ):
        self.path, self.behavior, self.settled, self.saved = path, behavior, None, time.monotonic()
        try:
            self.identity = {name: str(value) for name, value in settings.items()} | behavior()
        except identity.UnidentifiableError as error:
            raise CheckpointError(
                f"{error}: without it, or without checkpoint=, this can be trained"
            ) from error
        self.tensors, self.record = read(path) if path.exists() else ({}, {})
        there = self.record.get("cycles", []) if self.record.get("terms") else []  # else it took no step
        self.cycles = [*there, epochs] if extend and there and there[-1] < epochs else there or [epochs]
        if there and (others := identity.differences(self.record["run"], self.identity)):
            raise self._of_another("; ".join(others))
        if self.cycles[-1] != epochs:
            more = "; extend=True goes on from there" if there[-1] < epochs else ""
            raise self._of_another(f"epochs {there[-1]} there, {epochs} here{more}")

    def open(self, run: Resumable) -> bool:
        """Put the run where its file says it was, or write the first file; returns whether there was one.

        Raises `CheckpointError` for a file that is not this run's, `OSError` if it cannot be written.
        """
        found, self.starts = bool(self.record.get("terms")), [files.digest(run.weights())]
        if devices.agree(found, run.device) != found:
            raise CheckpointError(f"{self.path} is not there for every process; use a folder that all share")
        if found:
            if self.starts[0] not in self.record["starts"]:
                raise self._of_another("the model started from other weights (build it anew to resume)")
            self.starts = self.record["starts"][:1]
            run.restore(self.tensors, self.record)
            self.tensors = {}
            return True
        try:  # a path that cannot be written is noticed before training
            self.path.parent.mkdir(parents=True, exist_ok=True)
            files.remove_parts(self.path)
            self._write(run)
        except OSError as error:
            words = f"cannot write {self.path} ({error.strerror or error}); make room, or choose another path"
            raise OSError(error.errno, words) from error
        return False

    def save_when_due(self, run: Resumable, *, last: bool) -> None:
        """Write the file if it is time, or the run is over.

        Raises `CheckpointError` if objective or model have changed otherwise than by training.
        """
        now = self.behavior()
        if self.settled not in (None, now):
            raise CheckpointError(
                "what is trained changes while training goes on "
                f"({'; '.join(identity.differences(self.settled, now))}), "
                "which no checkpoint can bring back; let a number follow a schedule (schedules.Annealed), "
                "or leave checkpoint= out"
            )
        self.settled = now
        if devices.agree(last or time.monotonic() - self.saved >= SAVE_EVERY, run.device):
            self.save(run)

    def save(self, run: Resumable, *, left: dict[str, Tensor] | None = None) -> None:
        """Write the file; if that fails, say so, keep the old one and go on.

        left : the weights that the model is left with, if not those that training goes on from
        """
        try:
            self._write(run, left)
        except OSError as error:
            warn(
                f"cannot write {self.path} ({error.strerror or error}); the checkpoint from before is still "
                "there, and training goes on. Make room to be safe again",
                RuntimeWarning,
                stacklevel=2,
            )
        self.saved = time.monotonic()

    def _write(self, run: Resumable, left: dict[str, Tensor] | None = None) -> None:
        tensors, record = run.state()
        starts = [*self.starts, files.digest(left or run.weights())]
        if devices.process()[0] == 0:
            record |= {"run": self.identity, "cycles": self.cycles, "starts": starts}
            files.save_tensors(self.path, tensors, record)

    def _of_another(self, words: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is of another run: {words}. {ANEW.capitalize()}")


def read(path: Path, advice: str = ANEW) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the record of a checkpoint, on the CPU.

    Raises `CheckpointError`, with some advice, for any other file.
    """
    try:
        tensors, record = files.load_tensors(path)
    except files.DamagedFileError as error:
        raise CheckpointError(f"{error}; {advice}") from error
    if not (isinstance(record, dict) and {"run", "cycles", "starts", "terms"} <= record.keys()):
        raise CheckpointError(f"{path} is no checkpoint; {advice}")
    return tensors, record


def weights(path: Path) -> dict[str, Tensor]:
    """The model's weights in a checkpoint. Raises `CheckpointError` for any other file."""
    tensors = read(path, "name a checkpoint of training.fit")[0]
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
