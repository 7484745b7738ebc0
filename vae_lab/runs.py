"""A training run as it goes: what has happened, which weights were good, and the file to resume from."""

import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median_high

import numpy as np
import torch
from torch import Tensor, nn

from vae_lab import devices
from vae_lab.checkpoints import Checkpoint

LOOK = 20  # steps between two looks at the numbers, each of which waits for the device
EXPLODED = 10.0  # times worse than at the first step


class TrainingDiverged(RuntimeError):
    """The objective is no finite number any more, or has exploded; the message says what to try.

    history : what happened until then. The model has its last good weights.
    """

    def __init__(self, message: str, history: "History"):
        super().__init__(message)
        self.history = history


@dataclass
class History:
    """What training went through: one entry a step, each the mean over that step's batch.

    terms : name of a term → list of its batch means; "value" is the objective itself
    test : the steps after which the test set was measured, and the mean terms found there
    seconds : time spent training
    """

    terms: dict[str, list[float]] = field(default_factory=dict)
    test: list[tuple[int, tuple]] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.terms.get("value", []))

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {np.mean(values[-20:]):.4g}" for name, values in self.terms.items())
        return f"History({len(self)} steps in {self.seconds:.1f} s; last 20 steps: {last})"


class Run:
    """Keeps the books of `training.fit`: notes every step, and can go back or go on.

    total : how many steps the run has
    measure : gives the mean terms on the test set, or is None
    """

    def __init__(self, model: nn.Module, optimizer, scheduler, *, total: int, measure: Callable | None):
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.device = next(model.parameters()).device
        self.total, self.measure = total, measure
        self.measure_at = {round(total * k / 10) for k in range(1, 11)} if measure else set()
        self.history, self.clock = History(), time.perf_counter()
        self.file: Checkpoint | None = None
        self.pending: list[tuple[float, Tensor]] = []  # (learning rate, terms) of steps not looked at yet
        self.good = [(0, self.weights())]  # (steps taken, weights) at the last two looks
        self.best: tuple[float, int, dict] | None = None  # (value on the test set, steps taken, weights)
        self.gradient = ""  # its norm at the last look, in words
        self.learning_rate = scheduler.get_last_lr()[0]

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return len(self.history) + len(self.pending)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's weights."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def note(self, terms: tuple) -> None:
        """Take down what a step gave; now and then look at it, measure and save."""
        named = {**terms._asdict(), "value": terms.value}
        self.names, row = tuple(named), torch.stack([term.mean() for term in named.values()])
        self.pending.append((self.learning_rate, row))
        self.learning_rate = self.scheduler.get_last_lr()[0]  # of the next step
        if self.steps % LOOK == 0 or self.steps in self.measure_at or self.steps == self.total:
            self.look()
            if self.steps in self.measure_at:
                self.history.test.append((self.steps, self.measure_now()))
            self.tick()
            if self.file is not None:
                self.file.save_when_due(self)

    def look(self) -> None:
        """Bring the pending steps from the device into the history; stop if training has diverged."""
        if not self.pending:
            return
        first, rates = len(self.history), [rate for rate, _ in self.pending]
        rows = devices.average(torch.stack([row for _, row in self.pending])).tolist()
        self.pending = []
        for row in rows:
            for name, number in zip(self.names, row, strict=True):
                self.history.terms.setdefault(name, []).append(number)
        values = self.history.terms["value"]
        bad = first_bad(values, first)
        if bad is not None:
            self.stop_diverged(f"objective became {values[bad]:.3g}", bad, rates[bad - first])
        gradients = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
        norm = torch.stack(gradients).norm().item()
        if not math.isfinite(norm):  # nor are the weights, though the objective has not been there yet
            self.stop_diverged(f"gradient became {norm}", self.steps - 1, rates[-1])
        self.gradient = f"; its gradient had norm {norm:.2g} at step {self.steps}"
        if values[-1] >= lowest(values):
            self.good = [self.good[-1], (self.steps, self.weights())]

    def stop_diverged(self, what: str, bad: int, learning_rate: float) -> None:
        """Go back to the last weights that gave a good number, and raise `TrainingDiverged`.

        bad : the first step, counted from 0, that did not
        """
        self.tick()
        taken, weights = next((pair for pair in reversed(self.good) if pair[0] < bad), self.good[0])
        self.model.load_state_dict(weights)
        raise TrainingDiverged(
            f"the {what} at step {bad + 1} of {self.total}, at a learning rate of {learning_rate:.2g}"
            f"{self.gradient}. Try a learning rate ten times smaller, then look at data and model. The model "
            f"has its weights after step {taken}",
            self.history,
        )

    def measure_now(self) -> tuple:
        """The terms on the test set; keeps the weights if none were better."""
        terms = self.measure()
        if self.best is None or terms.value > self.best[0] or math.isnan(self.best[0]):
            self.best = (terms.value, self.steps, self.weights())
        return terms

    def stop_early(self) -> None:
        """Save, then leave the weights that were best on the test set, or the latest if there is none."""
        self.look()
        self.tick()
        if self.file is not None:
            self.file.save(self)
        which = ""
        if self.measure and self.steps:
            self.measure_now()
            if self.file is not None:
                self.file.save(self, leaving=self.best[2])
            self.model.load_state_dict(self.best[2])
            which = f"; the model has its weights after step {self.best[1]}, the best on the test set"
        print(f"Stopped after {self.steps} of {self.total} steps{which}.")

    def tick(self) -> None:
        """Add the time since the last call to the history."""
        now = time.perf_counter()
        self.history.seconds, self.clock = self.history.seconds + now - self.clock, now


@contextmanager
def interruptible():
    """Yield a function that tells whether Ctrl-C was pressed; a second press interrupts at once.

    So a step that has begun is finished, and weights, optimizer and history belong together. Only the main
    thread is sent signals, and processes in a group would wait for one another: there it is always false.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread() or devices.place()[1] > 1:
        yield pressed.is_set
        return

    def note(number, frame):
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def first_bad(values: list[float], first: int) -> int | None:
    """The first step from `first` on whose value is not finite, or where the run of them has exploded.

    A single wild step is let pass: most of the steps since the last look, and of the last three, must be
    far below the first.
    """
    bad = [step for step in range(first, len(values)) if not math.isfinite(values[step])]
    if bad:
        return bad[0]
    if median_high(values[max(0, min(first, len(values) - 3)) :]) < lowest(values):
        return next((step for step in range(first, len(values)) if values[step] < lowest(values)), None)
    return None


def lowest(values: list[float]) -> float:
    """What is below this has exploded."""
    return values[0] - EXPLODED * (abs(values[0]) + 1)
