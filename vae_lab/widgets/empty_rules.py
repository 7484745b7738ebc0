"""A factory of rules about nothing, and how many of them look like laws."""

from typing import Annotated

import anywidget
import traitlets

from vae_lab.arguments import Seed, checked, choice, whole
from vae_lab.widgets.bundle import script, style

CRITERIA = (
    "one sign on all seeds",
    "a mean two errors from 0",
    "one seed left out afterward",
    "the best of three settings",
)
SIZES = {"rules": {"limits": [4, 100], "step": 4}, "seeds": {"limits": [3, 10], "step": 1}}
HINT = "Ask for one sign on all seeds, and count the laws. Then leave a seed out, or try three settings."


class EmptyRules(anywidget.AnyWidget):
    """Rules whose differences are pure noise, those that pass as laws, and how many are to be expected.

    Traits rules (n), seeds (S), criterion and seed say which. See `empty_rules`.
    """

    _esm = script(
        "ui.js", "scale.js", "sliders.js", "parts.js", "chart.js", "learning/random.js", "chance.js",
        "empty_rules.js",
    )  # fmt: skip
    _css = style("base.css", "parts.css", "empty_rules.css")
    rules = traitlets.Int().tag(sync=True)
    seeds = traitlets.Int().tag(sync=True)
    criterion = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    sizes = traitlets.Dict(SIZES).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"EmptyRules({self.rules} rules, {self.seeds} seeds)"


@checked
def empty_rules(
    criterion: Annotated[str, choice(*CRITERIA)] = CRITERIA[0],
    *,
    rules: Annotated[int, whole(4, 100)] = 60,
    seeds: Annotated[int, whole(3, 10)] = 4,
    seed: Seed = 0,
    hint: str = HINT,
) -> EmptyRules:
    """n rules that compare like with like, S seeds each, and a way to call some of them laws.

    criterion : what a law must have; `CRITERIA` has all four
    rules, seeds : n, on steps of 4, and S; seed : of the noise; hint : one line on what to try

    Raises `ValueError` for another criterion, and for numbers beyond the sliders.
    """
    start = {"rules": max(4, round(rules / 4) * 4), "seeds": seeds, "criterion": criterion, "seed": seed}
    return EmptyRules(start=start, hint=hint, **start)
