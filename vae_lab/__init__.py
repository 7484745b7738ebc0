"""The package behind *Variational Autoencoders: a textbook that runs*.

One noun a module: `data`, `nets`, `likelihoods`, `models`, `multirate`, `objectives`, `schedules`,
`training`, `metrics`, `information`, `em`, `ppca`, `inference`, `variational`, `estimators`, `plotting`,
`widgets`; behind training stand `devices`, `runs` and `checkpoints`.
Shapes are written with fixed letters: `B` batch, `K` samples, `L` latents, `D` data dimensions, `C, H, W`
channels, height and width. Log-probabilities are in nats, pixels in [0, 1].
"""

from vae_lab.claims import claim

__version__ = "0.1.0"
__all__ = ["claim"]
