"""Training for a record: to the last step, or not at all."""

from collections.abc import Callable
from typing import Protocol

from torch import nn

from vae_lab.data import Images
from vae_lab.objectives import elbo
from vae_lab.training import History, fit


class Schedule(Protocol):
    """What every experiment says about training; as in `training.fit`."""

    epochs: int
    batch_size: int
    learning_rate: float


def fit_whole(
    model: nn.Module, images: Images, objective: Callable = elbo, *, schedule: Schedule, **options
) -> History:
    """`training.fit` by the schedule of an experiment; where that returns early, `KeyboardInterrupt`.

    So nothing is measured on a model that was stopped, and its checkpoint stays for the next time.
    """
    s = schedule
    history = fit(
        model,
        images,
        objective,
        epochs=s.epochs,
        batch_size=s.batch_size,
        learning_rate=s.learning_rate,
        **options,
    )
    if len(history) < s.epochs * max(1, len(images) // s.batch_size):
        raise KeyboardInterrupt
    return history
