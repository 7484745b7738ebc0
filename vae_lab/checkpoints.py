"""Files to resume training from: tensors and a JSON record, whole or not there, checked when read.

No pickle: a file can be wrong, but it cannot run code.
"""

import hashlib
import json
import os
import time
from pathlib import Path
from warnings import warn

import torch
from torch import Tensor

from vae_lab import devices

FORMAT = "vae_lab checkpoint 1"
EVERY = 30.0  # seconds between two savings


class CheckpointError(RuntimeError):
    """A file that is damaged, or of another run; the message says what to do. It is never overwritten."""


class Checkpoint:
    """The file of one `runs.Run`, and when it was last written.

    identity : what makes a run this one; a file that says otherwise is refused
    """

    def __init__(self, path: Path | str, identity: dict):
        self.path = Path(path)
        self.identity = json.loads(json.dumps(identity))
        self.saved = time.monotonic()

    def resume(self, run) -> None:
        """Put the run where its file says it was; write the file if there is none.

        Raises `CheckpointError` for a file that is not this run's, `OSError` if it cannot be written.
        """
        self.start = fingerprint(run.weights())
        found = self.path.exists()
        if devices.agree(found, run.device) != found:
            raise CheckpointError(f"{self.path} is not there for every process; use a folder that all share")
        if not found:
            self._begin(run)
            return
        tensors, record = load(self.path)
        if not record["terms"]:  # of a run that never took a step: nothing to lose, nothing to resume
            self._begin(run)
            return
        self._refuse_others(record)
        self.start = record["starts"][0]
        _restore(run, tensors, record)
        print(f"Resuming {self.path} after step {run.steps} of {run.total}.")

    def _begin(self, run) -> None:
        """Write the file for the first time: a path that cannot be written is noticed before training."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(run)
        except OSError as error:
            words = f"cannot write {self.path} ({error.strerror or error}); make room, or choose another path"
            raise OSError(error.errno, words) from error

    def save_when_due(self, run) -> None:
        """Write the file if it is time, or the run is over."""
        due = time.monotonic() - self.saved >= EVERY or run.steps == run.total
        if devices.agree(due, run.device):
            self.save(run)

    def save(self, run, *, leaving: dict[str, Tensor] | None = None) -> None:
        """Write the file; if that fails, say so, keep the old one and go on.

        leaving : the weights that the model is left with, if not those that training goes on from
        """
        try:
            self._write(run, leaving)
        except OSError as error:
            warn(
                f"cannot write {self.path} ({error.strerror or error}); the checkpoint from before is still "
                "there, and training goes on. Make room to be safe again",
                RuntimeWarning,
                stacklevel=2,
            )
        self.saved = time.monotonic()

    def _write(self, run, leaving: dict[str, Tensor] | None = None) -> None:
        tensors, record = _state(run)
        record["run"] = self.identity
        record["starts"] = [self.start, fingerprint(leaving or run.weights())]
        if devices.place()[0] == 0:
            save(self.path, tensors, record)

    def _refuse_others(self, record: dict) -> None:
        other = []
        for name, here in self.identity.items():
            there = record["run"].get(name)
            if there != here:
                words = f"{name} {there!r} there, {here!r} here"
                other.append(words if len(words) < 100 else f"not the same {name}")
        if not other and self.start not in record["starts"]:
            other = ["the model started from other weights (build it anew to resume)"]
        if other:
            raise CheckpointError(f"{self.path} is of another run: {'; '.join(other)}. {_ASIDE.capitalize()}")


def _state(run) -> tuple[dict[str, Tensor], dict]:
    """Everything that the rest of a run depends on."""
    optimizer, history = run.optimizer.state_dict(), run.history
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    for index, state in optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    tensors |= {f"random.{name}": state for name, state in devices.random_state(run.device).items()}
    if run.best is not None:
        tensors |= {f"best.{name}": tensor for name, tensor in run.best[2].items()}
    return tensors, {
        "terms": history.terms,
        "test": history.test,
        "seconds": history.seconds,
        "best": run.best and run.best[:2],
        "groups": optimizer["param_groups"],
        "scheduler": run.scheduler.state_dict(),
    }


def _restore(run, tensors: dict[str, Tensor], record: dict) -> None:
    def part(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(f"{name}."): t for k, t in tensors.items() if k.startswith(f"{name}.")}

    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer").items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    run.model.load_state_dict(part("model"))
    run.optimizer.load_state_dict({"state": state, "param_groups": record["groups"]})
    run.scheduler.load_state_dict(record["scheduler"])
    devices.set_random_state(part("random"), run.device)
    history = run.history
    history.terms, history.seconds = record["terms"], record["seconds"]
    if record["test"]:
        kind = type(run.measure())
        history.test = [(step, kind(*terms)) for step, terms in record["test"]]
    if record["best"]:
        run.best = (*record["best"], {k: t.to(run.device) for k, t in part("best").items()})
    run.good, run.learning_rate = [(run.steps, run.weights())], run.scheduler.get_last_lr()[0]


def save(path: Path | str, tensors: dict[str, Tensor], record: dict) -> None:
    """Write tensors and record as one safetensors file: the new one whole, or the old one still there.

    Raises `OSError` if the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save as to_bytes

    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(record)
    header = {"format": FORMAT, "record": text, "sha256": _digest(tensors, text)}
    aside = path.with_name(path.name + ".part")
    try:
        with open(aside, "wb") as file:
            file.write(to_bytes(tensors, header))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def load(path: Path | str) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the record of a file that `save` wrote, on the CPU.

    Raises `CheckpointError` if the file is something else, or not what was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            # Copies, for what is mapped onto the file changes with it, and Windows replaces no mapped file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({error!s:.100}); {_ASIDE}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of vae_lab, or one of another version; {_ASIDE}")
    if header.get("sha256") != _digest(tensors, header.get("record", "")):
        raise CheckpointError(f"{path} is damaged: its content does not have its checksum; {_ASIDE}")
    return tensors, json.loads(header["record"])


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and numbers."""
    return _digest({name: tensor.detach().cpu() for name, tensor in tensors.items()}, "")


_ASIDE = "delete it, or choose another path, to start anew"


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(memoryview(tensor.contiguous().flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()
