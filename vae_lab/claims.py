"""A sentence of the book, checked where it is made."""

import html
from dataclasses import dataclass

from vae_lab.arguments import checked, shown


class ClaimFailedError(AssertionError):
    """A sentence of the book turned out to be false in this run."""


@dataclass(frozen=True)
class Claim:
    """A sentence that has been checked; shown as a line with a tick."""

    sentence: str

    def __repr__(self) -> str:
        return f"✓ {self.sentence}"

    def _repr_html_(self) -> str:
        return f'<p class="claim"><span>✓</span> {html.escape(self.sentence)}</p>'


@checked
def claim(sentence: str, condition) -> None:
    """Show `✓ sentence` if `condition` holds, and stop the notebook if it does not.

    `condition` is one truth value: a bool, or a Boolean NumPy or torch scalar. A number is not, so that
    a forgotten comparison is noticed. A comparison with NaN is false, so a claim about a diverged run fails.

    Raises `ClaimFailedError` with the sentence if it is false, `TypeError` if it is not one truth value.
    """
    known = getattr(condition, "ndim", None) == 0 and not getattr(condition, "is_meta", False)
    holds = condition.item() if known and not getattr(condition, "mask", False) else condition
    if not isinstance(holds, bool):
        raise TypeError(
            f"condition must be one truth value, got {shown(condition)}; compare, then use .all() or .any()"
        )
    if not holds:
        raise ClaimFailedError(f"this run does not bear out: {sentence}")
    kept = Claim(sentence)
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(kept)
    else:
        display(kept) if get_ipython() else print(kept)
