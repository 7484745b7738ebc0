"""Figures that several records contain, under the same names."""

import time

from vae_lab.nets import parameter_count
from vae_lab.training import History


def sizes(model) -> dict:
    """How many numbers each half of a model learned."""
    return {"encoder": parameter_count(model.encoder), "decoder": parameter_count(model.decoder)}


def bound(terms) -> dict:
    """The mean terms of an ELBO, in nats an image."""
    return {"negative_elbo": terms.kl - terms.log_lik, "log_lik": terms.log_lik, "kl": terms.kl}


def seconds(history: History, start: float) -> dict:
    """The seconds that training took, and those since measuring began at `start`."""
    return {"training": round(history.seconds, 3), "measuring": round(time.perf_counter() - start, 3)}
