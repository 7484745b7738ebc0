"""Training: a loop to hold in the head, and a convenience around it."""

import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vae_lab.data import Images
from vae_lab.objectives import elbo


class TrainingDivergedError(RuntimeError):
    """The objective is no longer a finite number; the message says where and what to try."""


def steps(
    model: nn.Module, batches: Iterable[Tensor], objective: Callable, optimizer, scheduler=None
) -> Iterator[tuple]:
    """Yield (step, terms) after each ascent step on `objective`; the caller logs, draws or stops.

    terms : the objective's named terms, each (B,) and detached
    """
    model.train()
    for step, x in enumerate(batches):
        terms = objective(model, x)
        loss = -terms.value.mean()  # the one minus sign and the one mean over the batch
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        yield step, type(terms)(*(term.detach() for term in terms))


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


def fit(
    model: nn.Module,
    images: Images,
    objective: Callable = elbo,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    test: Images | None = None,
) -> History:
    """Maximize `objective` by Adam under a one-cycle learning rate, and return what happened.

    learning_rate : the highest rate, reached after three tenths of the steps and then brought to zero
    seed : of the order of the images and of every random draw, so that a run can be repeated
    test : images to measure the terms on, ten times along the way and at the end

    An interrupt (Ctrl-C, the stop button) ends training early and keeps the model as it is. Raises
    `TrainingDivergedError` when the objective is no longer finite.
    """
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"need at least one epoch and one image a batch, got {epochs=} and {batch_size=}")
    generator = seed_all(seed, images.pixels.device)
    total = epochs * max(1, len(images) // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=total)
    measure_at = {round(total * k / 10) - 1 for k in range(1, 11)} if test is not None else set()
    history, kept, start = History(), [], time.perf_counter()
    bar = tqdm(total=total, desc="training", unit="step", leave=False, file=sys.stdout)
    try:
        for step, terms in steps(
            model, images.batches(batch_size, total, generator), objective, optimizer, scheduler
        ):
            kept.append(torch.stack([term.mean() for term in (*terms, terms.value)]))
            bar.update()
            if (step + 1) % 50 == 0 or step + 1 == total:
                _stop_if_diverged(kept[-1][-1].item(), step, learning_rate)
            if step in measure_at:
                history.test.append((step + 1, evaluate(model, test, objective, seed=seed)))
    except KeyboardInterrupt:
        print(f"Stopped after {len(kept)} of {total} steps; the model is kept as it is.")
    finally:
        bar.close()
    if kept:
        columns = torch.stack(kept).T.tolist()
        history.terms = dict(zip((*terms._fields, "value"), columns, strict=True))
    history.seconds = time.perf_counter() - start
    return history


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Images, objective: Callable = elbo, *, batch_size: int = 1000, seed: int = 0
):
    """The mean of each named term over `images`, as the objective's own tuple of Python floats.

    Leaves the state of training as it was: the model's mode, and torch's random numbers.
    """
    device, was_training = images.pixels.device, model.training
    generator, sums = torch.Generator(device).manual_seed(seed), 0
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        model.eval()
        for start in range(0, len(images), batch_size):
            terms = objective(model, images.read(slice(start, start + batch_size), generator))
            sums += torch.stack([term.sum() for term in terms]).cpu().double()  # MPS has no double
    model.train(was_training)
    return type(terms)(*(sums / len(images)).tolist())


def pick_device() -> torch.device:
    """The fastest device there is, CUDA before MPS before CPU; prints which."""
    if torch.cuda.is_available():
        device, name = torch.device("cuda"), torch.cuda.get_device_name()
    elif torch.backends.mps.is_available():
        device, name = torch.device("mps"), "Apple GPU"
    else:
        device, name = torch.device("cpu"), f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    print(f"Computing on {device.type} ({name})")
    return device


def seed_all(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Seed Python, NumPy and torch, and return a generator on `device` for explicit draws."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return torch.Generator(device).manual_seed(seed)


def _stop_if_diverged(value: float, step: int, learning_rate: float) -> None:
    if not np.isfinite(value):
        raise TrainingDivergedError(
            f"the objective is {value} after step {step + 1} at learning rates of up to {learning_rate:.2g}; "
            "try a learning rate ten times smaller, and check that the data are finite"
        )
