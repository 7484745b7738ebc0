"""What test_devices.py runs under torchrun, and in one process to compare: python two_processes.py FOLDER."""

import os
import sys
from functools import partial
from pathlib import Path

import torch
from tiny import at_step, gray, new_autoencoder, new_vae

from vae_lab import devices
from vae_lab.objectives import ELBO, elbo, squared_error
from vae_lab.training import checkpoint as checkpoints
from vae_lab.training import fit


def still_elbo(model, x) -> ELBO:
    """The ELBO with a noise that is a fixed function of the image, whichever process draws it."""
    q_z = model.encode(x)
    z = q_z.mean + q_z.stddev * (300 * x.flatten(1)[:, :2]).cos()
    prior = model.prior()
    return ELBO(model.decode(z).log_prob(x), torch.distributions.kl_divergence(q_z, prior))


CASES = {
    "autoencoder": (partial(new_autoencoder, hidden=(8,)), squared_error),
    "vae": (new_vae, still_elbo),
}


def train(case: str, batch_size: int):
    build, objective = CASES[case]
    model = build()
    history = fit(model, gray(70), objective, epochs=6, batch_size=batch_size, test=gray(30, seed=1))
    return model, history


def train_with_noise(checkpoint: Path | None = None):
    """60 steps, noise and pixels drawn by each process for itself."""
    model = new_vae()
    history = fit(
        model, gray(64).dynamic(), elbo, epochs=15, batch_size=8, test=gray(30), checkpoint=checkpoint
    )
    return model, history


def main(folder: Path) -> None:
    devices.pick_device()
    rank, _ = devices.process()
    checkpoints.SAVE_EVERY = 0.0

    def keep(name: str, model, history) -> None:
        test = [(step, tuple(terms)) for step, terms in history.test]
        numbers = torch.get_rng_state()
        torch.save((model.state_dict(), history.terms, test, numbers), folder / f"{name}.{rank}")

    if (folder / "run").exists():
        keep("resumed", *train_with_noise(checkpoint=folder / "run"))
        return
    for case in CASES:
        keep(case, *train(case, 8))
    keep("whole", *train_with_noise())

    def die() -> None:
        (folder / f"died.{rank}").touch()
        os._exit(3)

    with at_step(47, die):
        train_with_noise(checkpoint=folder / "run")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
