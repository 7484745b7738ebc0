"""Training: a loop to hold in the head, and a convenience around it that loses nothing."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vae_lab import devices
from vae_lab.checkpoints import Checkpoint
from vae_lab.data import Images
from vae_lab.objectives import elbo
from vae_lab.runs import History, Run, TrainingDiverged, interruptible

__all__ = ["History", "TrainingDiverged", "evaluate", "fit", "steps"]


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


def fit(
    model: nn.Module,
    images: Images,
    objective: Callable = elbo,
    *,
    epochs: int = 20,
    batch_size: int | str = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    test: Images | None = None,
    checkpoint: Path | str | None = None,
    precision: str = "float32",
    compile: bool = False,
) -> History:
    """Maximize `objective` by Adam under a one-cycle learning rate, and return what happened.

    objective : a function of model and images; one with a method `at(progress)`, such as
        `schedules.Annealed`, is asked before every step what it is then
    batch_size : images a step, for each process; "auto" takes what fits in memory (a power of two, at
        most 128 or a fiftieth of the images)
    learning_rate : the highest rate, reached after three tenths of the steps and then brought to zero
    seed : of the order of the images and of every random draw, so that a run can be repeated
    test : images to measure the terms on, ten times along the way and at the end
    checkpoint : a file to resume from, written every half minute and at the end; called again with the same
        arguments, `fit` goes on where the file says it was, and ends with the same weights
    precision, compile : see `devices.accelerated`

    Ctrl-C (the stop button) ends training early and leaves the weights that were best on `test`, or the
    latest if it is not given. Raises `TrainingDiverged` when the objective is not finite or has exploded,
    `BatchTooLarge` when memory is short, `CheckpointError` for a file that is damaged or another run's.
    """
    _refuse(images, test, epochs, batch_size)
    if batch_size == "auto":
        most = min(len(images), max(128, len(images) // 50))
        batch_size = devices.largest_batch(model, images, objective, at_most=most)
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    rank, processes = devices.place()
    generator = devices.seed_all(seed, images.pixels.device)
    torch.manual_seed(seed + rank * 1_000_003)  # the same order of images in all processes, other noise
    total = epochs * max(1, len(images) // (batch_size * processes))
    run = Run(
        model,
        *_adam(model, learning_rate, total),
        total=total,
        measure=test and partial(evaluate, model, test, objective, seed=seed),
    )
    now = _following(objective, run, compile)
    fast = devices.accelerated(model, now, precision=precision, compile=compile)
    if checkpoint is not None:
        identity = settings | _identity(model, images, test, objective, precision)
        run.file = Checkpoint(checkpoint, identity)
        run.file.resume(run)
    batches = images.batches(batch_size, total, generator, start=run.steps, part=(rank, processes))
    with devices.memory_explained(model, images, objective, batch_size=batch_size):
        _train(run, batches, fast)
    return run.history


def _following(objective: Callable, run: Run, compile: bool) -> Callable:
    """An objective that follows a schedule, as it is at each step of the run; any other as it is."""
    if not hasattr(objective, "at"):
        return objective
    if compile:
        raise ValueError("an objective that follows a schedule changes at every step; leave compile off")
    return lambda model, x: objective.at(run.steps / run.total)(model, x)


def _train(run: Run, batches: Iterable[Tensor], objective: Callable) -> None:
    """Take the steps that are left; stop between two of them if Ctrl-C is pressed."""
    bar = tqdm(total=run.total, initial=run.steps, desc="training", unit="step", leave=False, file=sys.stdout)
    with interruptible() as interrupted, bar:
        for _, terms in steps(run.model, batches, objective, run.optimizer, run.scheduler):
            run.note(terms)
            bar.update()
            if interrupted() and run.steps < run.total:
                bar.close()
                run.stop_early()
                break


def _adam(model: nn.Module, learning_rate: float, total: int) -> tuple:
    """Adam and its one-cycle schedule (Smith & Topin 2019).

    A β₂ of 0.98 in place of 0.999 forgets the large gradients of the start sooner: at the same number of
    steps the bound ends higher (python -m benchmarks.levers).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.98), fused=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=total, cycle_momentum=False
    )


def _identity(model, images: Images, test: Images | None, objective: Callable, precision: str) -> dict:
    """What else makes a run this one, for its checkpoint."""
    given = (objective.args, objective.keywords) if isinstance(objective, partial) else ()
    function = objective.func if isinstance(objective, partial) else objective
    words = f"{getattr(function, '__qualname__', function)} {given}"
    return {
        "objective": re.sub(" at 0x[0-9a-f]+", "", words),  # an address is another in every process
        "model": re.sub(" at 0x[0-9a-f]+", "", str(model)),
        "device": images.pixels.device.type,
        "images": images.fingerprint(),
        "test": test and test.fingerprint(),
        "precision": precision,
        "processes": devices.place()[1],
    }


def _refuse(images: Images, test: Images | None, epochs: int, batch_size: int | str) -> None:
    """Say in one sentence what is wrong with the data, before anything is changed."""
    for name, given in {"images": images, "test": test}.items():
        if not isinstance(given, Images) and not (name == "test" and given is None):
            raise TypeError(f"{name} must be data.Images, got {type(given).__name__}; see data.from_floats")
    if test is not None and test.shape != images.shape:
        raise ValueError(
            f"the test images have shape {test.shape}, those to train on {images.shape}; resize one of them"
        )
    if epochs < 1 or (batch_size != "auto" and (isinstance(batch_size, str) or batch_size < 1)):
        raise ValueError(f"need at least one epoch and one image a batch, got {epochs=} and {batch_size=}")


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Images, objective: Callable = elbo, *, batch_size: int = 1000, seed: int = 0
):
    """The mean of each named term over `images`, as the objective's own tuple of Python floats.

    Leaves the state of training as it was: the model's mode, and torch's random numbers.
    """
    device, was_training = images.pixels.device, model.training
    generator, sums = torch.Generator(device).manual_seed(seed), 0
    with devices.same_random_numbers_after(device):
        torch.manual_seed(seed)
        model.eval()
        for start in range(0, len(images), batch_size):
            terms = objective(model, images.read(slice(start, start + batch_size), generator))
            sums += torch.stack([term.sum() for term in terms]).cpu().double()  # MPS has no double
    model.train(was_training)
    return type(terms)(*(sums / len(images)).tolist())
