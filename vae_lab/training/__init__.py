"""Training: `fit` a model, or go through the `steps` yourself; then `evaluate` it.

`loop`: the step, the loop, and `fit` around them. `run`: what has happened so far, and how to go back.
`checkpoint`: the file to resume from. `memory`: the batch that fits.
"""

from vae_lab.training.checkpoint import CheckpointError
from vae_lab.training.loop import evaluate, fit, steps
from vae_lab.training.memory import BatchTooLarge
from vae_lab.training.run import History, TrainingDiverged

__all__ = ["BatchTooLarge", "CheckpointError", "History", "TrainingDiverged", "evaluate", "fit", "steps"]
