"""Things to drag: in a notebook with a kernel, and in a published page without one."""

from vae_lab.widgets.flipbook import Flipbook, flipbook
from vae_lab.widgets.latent_explorer import LatentExplorer, latent_explorer

__all__ = ["Flipbook", "LatentExplorer", "flipbook", "latent_explorer"]
