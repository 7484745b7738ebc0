"""Numbers that follow a schedule while training goes on, and objectives that have one.

Progress runs from 0, before the first step, to 1, after the last.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from vae_lab.arguments import Count, Share, check_fields, checked, real

Progress = Annotated[float, real(0, 1)]


def one_cycle(step: int, total: int, highest: float) -> float:
    """The learning rate of a step: up from a 25th of the highest along a cosine, then down to nearly nothing.

    Source: Smith & Topin 2019, as torch's `OneCycleLR`, which this equals; a pure function of the step needs
    no state. The highest rate is reached after three tenths of the steps; the last is a 250,000th of it.
    """
    low, peak = highest / 25, float(0.3 * total) - 1
    if step <= peak:
        return highest + (low - highest) / 2.0 * (math.cos(math.pi * (step / peak)) + 1)
    done = (min(step, total - 1) - peak) / (total - 1 - peak)
    return low / 1e4 + (highest - low / 1e4) / 2.0 * (math.cos(math.pi * done) + 1)


@dataclass(frozen=True)
class Linear:
    """From `start` to `end` in a straight line, then constant (KL annealing: Bowman et al. 2016).

    until : the progress at which `end` is reached, in (0, 1]
    """

    start: float = 0.0
    end: float = 1.0
    until: Share = 0.5

    def __post_init__(self):
        check_fields(self)

    @checked
    def __call__(self, progress: Progress) -> float:
        return self.start + (self.end - self.start) * min(1.0, progress / self.until)


@dataclass(frozen=True)
class Cyclical:
    """Again and again from `start` to `end`, each time in a straight line, then constant (Fu et al. 2019).

    cycles : how often
    rising : the share of a cycle in which the number rises, in (0, 1]
    """

    start: float = 0.0
    end: float = 1.0
    cycles: Count = 4
    rising: Share = 0.5

    def __post_init__(self):
        check_fields(self)

    @checked
    def __call__(self, progress: Progress) -> float:
        within = progress * self.cycles % 1.0 if progress < 1 else 1.0
        return Linear(self.start, self.end, self.rising)(within)


@dataclass(frozen=True)
class Annealed:
    """An objective one of whose numbers follows a schedule: `Annealed(beta_elbo, "beta", Linear(0, 1))`.

    objective : a function of model, images and the number, by keyword
    name : the keyword
    schedule : progress → the number

    `training.fit` asks for `at(progress)` before every step. Called itself, it is the objective at the end of
    training: a test set is measured by that on the way, too, so that its numbers can be compared.
    """

    objective: Callable
    name: str
    schedule: Callable[[float], float]

    def __post_init__(self):
        check_fields(self)

    @checked
    def at(self, progress: Progress) -> Callable:
        """The objective as it is when this share of the steps has been taken."""
        return partial(self.objective, **{self.name: self.schedule(progress)})

    def __call__(self, model, x):
        return self.at(1.0)(model, x)
