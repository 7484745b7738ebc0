"""A training run as it goes: what has happened, which weights were good, and what it takes to go on."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean, median_high

import torch
from torch import Tensor, nn

from vae_lab import devices
from vae_lab.arguments import NotFiniteError, written
from vae_lab.training.checkpoint import Checkpoint

LOG_EVERY = 20  # steps between two readings of the numbers, each of which waits for the device
EXPLODED = 10.0  # times worse than at the first step


class TrainingDiverged(RuntimeError):
    """The objective is no longer finite, or has exploded; the message says what to try.

    history : what happened until then. The model has its last good weights.
    """

    def __init__(self, message: str, history: "History"):
        super().__init__(message)
        self.history = history


@dataclass
class History:
    """What training went through: one entry per step, each the mean over that step's batch.

    terms : name of a term → its batch means, each a number, or for M models in one (`Ensemble`) a list of M;
        "value" is the objective itself
    test : the steps after which the test set was measured, and the mean terms found there
    total : how many steps the run has
    seconds : time spent training
    """

    terms: dict[str, list] = field(default_factory=dict)
    test: list[tuple[int, tuple]] = field(default_factory=list)
    total: int = 0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all steps have been taken."""
        return len(self) == self.total

    def __len__(self) -> int:
        return len(self.terms.get("value", []))

    def __repr__(self) -> str:
        last = {name: fmean(map(mean, values[-20:])) for name, values in self.terms.items()}
        words = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        return f"History({len(self)} steps in {self.seconds:.1f} s; last 20 steps: {words})"


class Run:
    """Keeps the books of `training.fit`: records every step, and can go back or go on.

    total : how many steps the run has
    measure : gives the mean terms on the test set, or on its first n images; None without one
    """

    def __init__(self, model: nn.Module, optimizer, scheduler, *, total: int, measure: Callable | None):
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.device = next(model.parameters()).device
        self.measure, self.file = measure, None  # the second by keep_in
        self.measure_at = {round(total * k / 10) for k in range(1, 11)} if measure else set()
        self.history, self.clock = History(total=total), time.perf_counter()
        self.pending: list[tuple[float, Tensor]] = []  # (learning rate, terms) of steps not read yet
        self.good = [(0, self.weights())]  # (steps taken, weights) at the last two readings
        self.best: tuple[float, int, dict] | None = None  # (value on the test set, steps taken, weights)
        self.gradient = ""  # its norm at the last reading, in words

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return len(self.history) + len(self.pending)

    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.optimizer.param_groups[0]["lr"]

    def keep_in(self, file: Checkpoint) -> None:
        """Go on from what is in the file, and keep writing to it."""
        self.file = file
        if file.open(self):
            print(f"Resuming {written(file.path)} after step {self.steps} of {self.history.total}.")

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's weights."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def record(self, terms: tuple, learning_rate: float) -> None:
        """Record what a step gave; now and then read the numbers, measure and save."""
        named = {**terms._asdict(), "value": terms.value}
        self.names, row = tuple(named), torch.stack([term.mean(-1) for term in named.values()])
        self.pending.append((learning_rate, row))
        measure, last = self.steps in self.measure_at, self.steps == self.history.total
        if self.steps % LOG_EVERY == 0 or measure or last:
            self.sync()
            if measure:
                self.history.test.append((self.steps, self.measure_now()))
            if self.file is not None:
                self.file.save_when_due(self, last=last)

    def sync(self) -> None:
        """Bring the pending steps from the device into the history; stop if training has diverged."""
        now = time.perf_counter()
        self.history.seconds, self.clock = self.history.seconds + now - self.clock, now
        if self.pending:
            first, rates = len(self.history), [rate for rate, _ in self.pending]
            rows = devices.average(torch.stack([row for _, row in self.pending])).tolist()
            self.pending = []
            for row in rows:
                for name, number in zip(self.names, row, strict=True):
                    self.history.terms.setdefault(name, []).append(number)
            self.check(first, rates)

    def check(self, first: int, rates: list[float]) -> None:
        """Keep the weights if the steps from `first` on were good; stop if not."""
        values = self.history.terms["value"]
        members = list(zip(*map(each, values), strict=True))  # of each model, its values
        found = [step for member in members if (step := first_bad(member, first)) is not None]
        if found:
            bad = min(found)
            self.stop_diverged(f"objective became {mean(values[bad]):.3g}", bad, rates[bad - first])
        lost = [
            (step, name)
            for name, rows in self.history.terms.items()
            for step in range(first, len(rows))
            if any(map(math.isnan, each(rows[step])))
        ]
        if lost:  # though the value, in which this term does not count, is fine
            bad, name = min(lost)
            self.stop_diverged(f"objective's {name} became nan", bad, rates[bad - first])
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])).item()
        if not math.isfinite(norm):  # nor are the weights, though the objective has not been there yet
            self.stop_diverged(f"gradient became {norm}", self.steps - 1, rates[-1])
        self.gradient = f"; its gradient had norm {norm:.2g} at step {self.steps}"
        if all(member[-1] >= lowest(member) for member in members):
            self.good = [self.good[-1], (self.steps, self.weights())]

    def stop_diverged(self, what: str, bad: int, learning_rate: float) -> None:
        """Go back to the last weights that gave a good number, and raise `TrainingDiverged`.

        bad : the first step, counted from 0, that gave a bad one
        """
        taken, weights = next((pair for pair in reversed(self.good) if pair[0] < bad), self.good[0])
        self.model.load_state_dict(weights)
        raise TrainingDiverged(
            f"the {what} at step {bad + 1} of {self.history.total}, at a learning rate of {learning_rate:.2g}"
            f"{self.gradient}. Try a learning rate ten times smaller, then look at data and model. The model "
            f"has its weights after step {taken}",
            self.history,
        )

    def measure_now(self) -> tuple:
        """The terms on the test set; keeps the weights if none were better."""
        try:
            terms = self.measure()
        except NotFiniteError:  # though the batches were fine
            self.stop_diverged("objective became not finite on the test set", self.steps - 1, self.rate())
        if self.best is None or mean(terms.value) > self.best[0]:
            self.best = (mean(terms.value), self.steps, self.weights())
        return terms

    def stop_early(self) -> None:
        """Save, then leave the weights that were best on the test set, or the latest if there is none."""
        self.sync()
        if self.file is not None:
            self.file.save(self)
        which = ""
        if self.measure and self.steps:
            self.measure_now()
            if self.file is not None:
                self.file.save(self, left=self.best[2])
            self.model.load_state_dict(self.best[2])
            which = f"; the model has its weights after step {self.best[1]}, the best on the test set"
        print(f"Stopped after {self.steps} of {self.history.total} steps{which}.")

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Everything that the rest of the run depends on: tensors, and plain values."""
        optimizer, history = self.optimizer.state_dict(), self.history
        groups = {"model": self.model.state_dict(), "random": devices.random_state(self.device)}
        groups["best"] = self.best[2] if self.best else {}
        groups |= {f"optimizer.{index}": of for index, of in optimizer["state"].items()}
        return {f"{name}.{key}": t for name, group in groups.items() for key, t in group.items()}, {
            "terms": history.terms,
            "test": [(step, [each(term) for term in terms]) for step, terms in history.test],
            "seconds": history.seconds,
            "best": self.best and self.best[:2],
            "groups": optimizer["param_groups"],
            "scheduler": self.scheduler.last_epoch,
        }

    def restore(self, tensors: dict[str, Tensor], record: dict) -> None:
        """Go on from a `state`."""

        def group(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}."): t for k, t in tensors.items() if k.startswith(f"{name}.")}

        numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("optimizer.")})
        state = {number: group(f"optimizer.{number}") for number in numbers}
        self.model.load_state_dict(group("model"))
        self.optimizer.load_state_dict({"state": state, "param_groups": record["groups"]})
        self.scheduler.last_epoch = record["scheduler"]
        for parameters, rate in zip(self.optimizer.param_groups, self.scheduler.lr_lambdas, strict=True):
            parameters["lr"] = rate(record["scheduler"])  # in an extended run another than there
        self.history.terms, self.history.seconds = record["terms"], record["seconds"]
        if record["test"]:
            one = self.measure(1)  # of the class that the terms are of
            several = isinstance(one[0], Tensor)
            for step, terms in record["test"]:
                values = [torch.tensor(term, dtype=torch.float64) if several else term[0] for term in terms]
                self.history.test.append((step, type(one)(*values)))
        if record["best"]:
            self.best = (*record["best"], {k: t.to(self.device) for k, t in group("best").items()})
        self.good = [(self.steps, self.weights())]
        devices.set_random_state(group("random"), self.device)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed; a second press interrupts at once.

    So a step that has begun is finished, and weights, optimizer and history belong together. Always false
    outside the main thread, which alone gets signals, and in a group, whose processes would wait for one
    another.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread() or devices.process()[1] > 1:
        yield pressed.is_set
        return

    def press(number, frame):
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def progress_bar(total: int, begun: int):
    """A bar where somebody can see it, at a terminal or in a notebook; elsewhere none."""
    from tqdm import tqdm

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    looked_at = sys.stdout.isatty() or hasattr(shell, "kernel")
    options = {"desc": "training", "unit": "step", "leave": False, "file": sys.stdout}
    return tqdm(total=total, initial=begun, disable=not looked_at, **options)


def first_bad(values: list[float], first: int) -> int | None:
    """The first step from `first` on whose value is not finite, or at which the values have exploded.

    A single wild step is let pass: most of the steps since the last reading, and of the last three, must be
    far below the first.
    """
    bad = [step for step in range(first, len(values)) if not math.isfinite(values[step])]
    if bad:
        return bad[0]
    if median_high(values[max(0, min(first, len(values) - 3)) :]) < lowest(values):
        return next((step for step in range(first, len(values)) if values[step] < lowest(values)), None)
    return None


def lowest(values: list[float]) -> float:
    """The value below which a run has exploded."""
    return values[0] - EXPLODED * (abs(values[0]) + 1)


def each(value: float | list | Tensor) -> list[float]:
    """The number of each model: of one, or of the M of an ensemble."""
    return value.tolist() if isinstance(value, Tensor) else value if isinstance(value, list) else [value]


def mean(value: float | list | Tensor) -> float:
    """The mean over the models."""
    return fmean(each(value))
