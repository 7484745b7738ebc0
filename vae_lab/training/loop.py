"""Training: a loop short enough to keep in mind, and a convenience around it that loses nothing."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vae_lab import devices, identity
from vae_lab.arguments import (
    Count,
    Positive,
    Seed,
    checked,
    choice,
    finite,
    shown,
    stepping,
    taking,
    whole,
)
from vae_lab.data import Images, ImagesLike
from vae_lab.models import check_decoder, evaluating
from vae_lab.objectives import check_terms, elbo
from vae_lab.schedules import one_cycle
from vae_lab.training import memory
from vae_lab.training.checkpoint import Checkpoint, CheckpointError
from vae_lab.training.checkpoint import weights as weights_in
from vae_lab.training.run import History, Run, interruptible, progress_bar


def _batches(name: str, value: Any) -> Iterable:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(
            f"{name} must be tensors of images (B, C, H, W), one after another, got {shown(value)}"
        )
    return value


OptimizerLike = Annotated[Any, stepping("zero_grad", "step", like="torch.optim.Adam")]
SchedulerLike = Annotated[Any, stepping("step", like="torch.optim.lr_scheduler.OneCycleLR")]
ObjectiveLike = Annotated[Callable, taking("model", "images")]


def ascend(model: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer, *, objective: Callable):
    """One step up the objective: its terms at the batch x, detached; the weights have moved."""
    terms = check_terms(objective(model, x), model, x)
    loss = -terms.value.mean()  # the one minus sign and the one mean over the batch
    if not loss.requires_grad:
        raise ValueError(
            "objective's value does not depend on any parameter that may change; look for a detach"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return type(terms)(*(term.detach() for term in terms))


@checked
def steps(
    model: nn.Module,
    batches: Annotated[Iterable, _batches],
    objective: ObjectiveLike,
    optimizer: OptimizerLike,
    scheduler: SchedulerLike | None = None,
) -> Iterator[tuple]:
    """Yield (step, terms) after each ascent step on `objective`; the caller logs, draws or stops.

    terms : the objective's named terms, each (B,) and detached

    Raises `ValueError` for terms of another shape, for a decoder that squashes what its likelihood will
    squash again, and for an optimizer of another model's parameters, or one set to maximize.
    """
    groups = getattr(optimizer, "param_groups", [])
    if groups and not {id(p) for group in groups for p in group["params"]} & set(map(id, model.parameters())):
        raise ValueError(
            "optimizer holds none of the model's parameters; build it anew, of model.parameters()"
        )
    if any(group.get("maximize") for group in groups):
        raise ValueError("optimizer must minimize, for the minus sign is set here; leave out maximize=True")
    model.train()
    check_decoder(model)
    for step, x in enumerate(batches):
        terms = ascend(model, x, optimizer, objective=objective)
        if scheduler is not None:
            scheduler.step()
        yield step, terms


def _batch_size(name: str, value: Any) -> int | str:
    return value if isinstance(value, str) and value == "auto" else whole(1)(f'{name}, if not "auto",', value)


@checked
def fit(
    model: nn.Module,
    images: ImagesLike,
    objective: ObjectiveLike = elbo,
    *,
    epochs: Count = 20,
    batch_size: Annotated[int | str, _batch_size] = 128,
    learning_rate: Positive = 2e-3,
    seed: Seed = 0,
    test: ImagesLike | None = None,
    checkpoint: Path | str | None = None,
    extend: bool = False,
    init_from: Path | str | None = None,
    precision: Annotated[str, choice(*devices.PRECISIONS)] = "float32",
    compile: bool = False,
) -> History:
    """Maximize `objective` by Adam under a one-cycle learning rate, and return what happened.

    images, test : `Images`, or what they are made of; moved to the device of the model. The terms are
        measured on `test`, ten times along the way and at the end
    objective : a function of model and images; one with a method `at(progress)`, such as
        `schedules.Annealed`, is replaced before every step by what that returns
    batch_size : images a step, for each process; "auto" takes what fits in memory (a power of two, at
        most 128 or a fiftieth of the images)
    learning_rate : the highest rate, reached after three tenths of the steps and then brought to zero
    seed : of the order of the images and of every random draw, so that a run can be repeated
    checkpoint : a file to resume from, written every half minute and at the end; called again with the same
        arguments, `fit` goes on where the file says it was, and ends with the same weights. Objective and
        model are compared by what they do
    extend : go on for longer: the file may be of fewer epochs, and the missing ones form one more cycle of
        the learning rate
    init_from : another run's checkpoint, with whose weights this run begins
    precision, compile : see `devices.accelerated`

    Ctrl-C (the stop button) ends training early and leaves the weights that were best on `test`, or the
    latest if it is not given. Raises `TrainingDiverged` when the objective is not finite or has exploded,
    `BatchTooLarge` when memory is short, `CheckpointError` for a file that is damaged or another run's.
    """
    device, (rank, processes) = devices.of(model), devices.process()
    images, test = images.to(device), test and test.to(device)
    _check(model, images, test, objective, processes, compile)
    trial = partial(ascend, objective=devices.in_precision(objective, precision, device))
    if batch_size == "auto":
        most = min(len(images), max(128, len(images) // 50))
        batch_size = memory.largest_batch(model, images, trial, at_most=most)
    file = None
    if checkpoint is not None:
        settings = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        settings |= {"precision": precision, "device": device.type, "processes": processes}
        parts = {"images": images, "test": test}
        settings |= {name: part and f"sha256 {part.fingerprint()}" for name, part in parts.items()}
        behavior = partial(identity.describe, model=model, objective=objective)
        file = Checkpoint(checkpoint, settings, behavior, epochs=epochs, extend=extend)
    if init_from is not None:
        _load_weights(model, init_from)
    generator = devices.seed_all(seed, device)
    torch.manual_seed(seed + rank * 1_000_003)  # the same order of images in all processes, other noise
    epoch = max(1, len(images) // (batch_size * processes))  # in steps
    optimizer, scheduler = _adam(
        model, learning_rate, [n * epoch for n in (file.cycles if file else [epochs])]
    )
    test_size = test and len(test)
    measure = test and (lambda n=test_size: evaluate(model, test.first(n), objective, seed=seed))
    run = Run(model, optimizer, scheduler, total=epochs * epoch, measure=measure)
    if file is not None:
        run.keep_in(file)
    if hasattr(objective, "at"):
        now = lambda model, x: objective.at(run.steps / run.history.total)(model, x)  # noqa: E731
    else:
        now = objective
    fast = devices.accelerated(model, now, precision=precision, compile=compile)
    batches = images.batches(
        batch_size, run.history.total, generator, start=run.steps, part=(rank, processes)
    )
    with memory.explained(model, images, trial, batch_size=batch_size):
        _train(run, batches, fast)
    return run.history


def _train(run: Run, batches: Iterable[Tensor], objective: Callable) -> None:
    """Take the steps that are left; stop between two of them if Ctrl-C is pressed."""
    rate, total = run.rate(), run.history.total
    with interruptible() as interrupted, progress_bar(total, run.steps) as bar:
        for _, terms in steps(run.model, batches, objective, run.optimizer, run.scheduler):
            run.record(terms, rate)
            rate = run.rate()
            bar.update()
            if interrupted() and run.steps < total:
                bar.close()
                run.stop_early()
                break


def _adam(model: nn.Module, learning_rate: float, ends: list[int]) -> tuple:
    """Adam, and a cycle of the learning rate up to each of these numbers of steps.

    A β₂ of 0.98 in place of 0.999 forgets the large gradients of the start sooner: at the same number of
    steps the bound ends higher (python -m benchmarks.levers).
    """

    def rate(step: int) -> float:
        begin, end = next((cycle for cycle in pairwise([0, *ends]) if step < cycle[1]), (0, ends[-1]))
        return one_cycle(step - begin, end - begin, learning_rate)

    parameters = [p for p in model.parameters() if p.requires_grad]
    # A step's learning rate is lr times `rate`
    optimizer = torch.optim.Adam(parameters, lr=1.0, betas=(0.9, 0.98), fused=devices.fused(model))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _check(model, images: Images, test: Images | None, objective, processes: int, compile: bool) -> None:
    """Refuse in one sentence what does not fit together, before anything is changed."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model has no parameter that may change; unfreeze some with requires_grad_()")
    if any(map(nn.parameter.is_lazy, model.parameters())):
        raise ValueError(
            "model has layers that do not know their sizes yet; run it once, model.encode(x) say"
        )
    places = {str(each.device) for each in (*model.parameters(), *model.buffers())}
    if len(places) > 1:
        raise ValueError(f"model must be on one device, got {' and '.join(sorted(places))}; move it by .to()")
    if test is not None and test.shape != images.shape:
        raise ValueError(
            f"test must be images of the same shape as images, got {test.shape} and {images.shape}; "
            "resize one"
        )
    if len(images) < processes:
        raise ValueError(f"images must be at least one for each of {processes} processes, got {len(images)}")
    if compile and hasattr(objective, "at"):
        raise ValueError(
            "compile must be False where the objective follows a schedule, for it changes at each step"
        )


def _load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of another run's checkpoint into the model."""
    found, own = weights_in(path), model.state_dict()
    wrong = [
        name
        for name in {**own, **found}
        if getattr(own.get(name), "shape", 0) != getattr(found.get(name), "shape", 1)
    ]
    if wrong:
        raise CheckpointError(
            f"{path} is of another model: not the same {', '.join(wrong[:3])}; build that model"
        )
    model.load_state_dict(found)


@checked
@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: ImagesLike,
    objective: ObjectiveLike = elbo,
    *,
    batch_size: Count = 1000,
    seed: Seed = 0,
):
    """The mean of each named term over `images`, as the objective's own tuple of Python floats.

    For M models in one (`Ensemble`), each is a tensor (M,), one mean per model. Leaves the model's modes and
    torch's random numbers as they were.

    Raises `NotFiniteError` where the objective is not finite on average.
    """
    images, sums = images.to(devices.of(model)), 0
    generator = torch.Generator(images.device).manual_seed(seed)
    check_decoder(model)
    with evaluating(model, seed):
        for start in range(0, len(images), batch_size):
            x = images.read(slice(start, start + batch_size), generator)
            terms = check_terms(objective(model, x), model, x)
            # First to the CPU: MPS has no double
            sums += torch.stack([term.sum(-1) for term in (*terms, terms.value)]).cpu().double()
    means = sums / len(images)  # (terms and value,) or (…, M)
    look = "look at data and model; did training diverge?"
    for name, values in zip([*terms._fields, "value"], means, strict=True):
        finite(f"the mean {name}", values if name == "value" else values[~values.isinf()], look)
    return type(terms)(*(values.tolist() if values.ndim == 0 else values for values in means[:-1]))
