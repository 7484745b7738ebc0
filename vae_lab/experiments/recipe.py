"""How experiments train: by a recipe, to the last step or not at all."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import nn

from vae_lab.data import Images
from vae_lab.objectives import elbo
from vae_lab.training import History, fit


class Recipe(Protocol):
    """What every experiment says about training; as in `training.fit`."""

    epochs: int
    batch_size: int
    learning_rate: float


class Plain(NamedTuple):
    """A recipe by itself."""

    epochs: int
    batch_size: int
    learning_rate: float

    @classmethod
    def of_steps(cls, steps: int, images: Images, batch_size: int, learning_rate: float) -> "Plain":
        """As many passes over the images as so many steps complete, at least one."""
        return cls(max(1, steps // (len(images) // batch_size)), batch_size, learning_rate)


def fit_complete(
    model: nn.Module, images: Images, objective: Callable = elbo, *, recipe: Recipe, **options
) -> History:
    """`training.fit` by the recipe of an experiment; where that returns early, `KeyboardInterrupt`.

    So nothing is measured on a model whose training was stopped, and its checkpoint stays for the next time.
    """
    history = fit(
        model,
        images,
        objective,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        **options,
    )
    if not history.complete:
        raise KeyboardInterrupt
    return history
