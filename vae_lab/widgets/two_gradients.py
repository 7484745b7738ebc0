"""A draw z = μ + σε to move, and two clouds of estimates of the gradient of E[f(z)]."""

from typing import Annotated

import anywidget
import torch
import traitlets

from vae_lab.arguments import Seed, checked, choice, real, whole
from vae_lab.widgets.bundle import script, style
from vae_lab.widgets.scale import on_step

OBJECTIVES = ("bowl", "waves", "step")
MEANS, SCALES, STEP = (-3.0, 3.0), (0.1, 2.0), 0.01
MOST_DRAWS = 1000
HINT = (
    "Drag the round handle to move μ, the square to change σ. The same ε stays. Which cloud is the narrower "
    "one on each f, and on which f is one of them wrong?"
)


class TwoGradients(anywidget.AnyWidget):
    """A Gaussian and one of its draws under an objective f, and what two estimators make of many draws.

    Traits mu and sigma hold the Gaussian; objective is "bowl" (−½ (z − 1)²), "waves" (sin 5z) or "step" (1
    where z > 1); noise holds the ε that are kept, which the number of the one shown, and baseline whether
    the score's f(z) is taken relative to its mean over the other draws. See `two_gradients`, which fills
    them.
    """

    _esm = script("ui.js", "scale.js", "sliders.js", "parts.js", "gradients.js", "two_gradients.js")
    _css = style("base.css", "parts.css", "two_gradients.css")
    mu = traitlets.Float().tag(sync=True)
    sigma = traitlets.Float().tag(sync=True)
    objective = traitlets.Unicode().tag(sync=True)
    noise = traitlets.List().tag(sync=True)
    which = traitlets.Int(0).tag(sync=True)
    baseline = traitlets.Bool(False).tag(sync=True)
    means = traitlets.List(list(MEANS)).tag(sync=True)
    scales = traitlets.List(list(SCALES)).tag(sync=True)
    step = traitlets.Float(STEP).tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __repr__(self) -> str:
        return f"TwoGradients({self.objective}, {len(self.noise)} draws)"


@checked
def two_gradients(
    objective: Annotated[str, choice(*OBJECTIVES)] = "bowl",
    *,
    mu: Annotated[float, real(*MEANS)] = 0.0,
    sigma: Annotated[float, real(*SCALES)] = 0.8,
    n_samples: Annotated[int, whole(2, MOST_DRAWS)] = 200,
    seed: Seed = 0,
) -> TwoGradients:
    """N(μ, σ²) to drag under f, a draw z = μ + σε that goes with it, and the gradients from many such draws.

    objective : "bowl", "waves" or "step"
    mu, sigma : where the Gaussian begins, on steps of 0.01
    n_samples, seed : how many ε are kept, and what they are drawn from

    Raises `ValueError` for another objective, a Gaussian beyond the sliders, too few or too many draws.
    """
    noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    start = {"mu": on_step(mu, MEANS, STEP), "sigma": on_step(sigma, SCALES, STEP), "objective": objective}
    start |= {"which": int((noise + 1.5).abs().argmin()), "baseline": False}
    return TwoGradients(noise=[round(e, 4) for e in noise.tolist()], start=start, **start)
