"""What the nearest neighbors of drawings tell: are they copies, are they plausible, is anything missing?"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.metrics.distances import AT_ONCE, comparable


class PrecisionRecall(NamedTuple):
    """Two fractions, each from 0 to 1."""

    precision: float  # of the generated that lie among the real: fidelity
    recall: float  # of the real that lie among the generated: diversity


@torch.no_grad()
def nearest_distance(x: Tensor, others: Tensor, *, at_once: int = AT_ONCE) -> Tensor:
    """min_i ‖x − others_i‖: how far each x (B, …) is from the nearest of others (N, …), of shape (B,).

    For images or for codes; the unit is theirs, a Euclidean length over all their numbers.

    at_once : how many of x to compare with all others at a time
    """
    if x.shape[1:] != others.shape[1:] or not len(others):
        raise ValueError(
            f"expected others like x, at least one, got shapes {tuple(x.shape)} and {tuple(others.shape)}"
        )
    rows, pool = x.flatten(1), others.flatten(1)
    nearest = torch.cat([torch.cdist(block, pool).argmin(1) for block in rows.split(at_once)])
    return (rows - pool[nearest]).norm(dim=1)  # cdist finds the nearest fast, but its zero is not zero


@torch.no_grad()
def precision_recall(
    real: Tensor, generated: Tensor, *, k: int = 3, at_once: int = AT_ONCE
) -> PrecisionRecall:
    """How many generated features lie among the real ones, and how many real among the generated.

    To lie among a set is to be no farther from one of its members than that member's own k-th nearest
    neighbor in the set (Kynkäänniemi et al. 2019, eq. 1 and 2). Both depend on how many rows there are:
    compare only equal N, and equal M.

    real : features (N, F); generated : features (M, F) of the same layer
    k : the neighbor whose distance is the radius; larger balls give larger fractions
    at_once : rows to compare with all others at a time

    Raises `ValueError` for features that do not match, too few rows for k, or numbers that are not finite.
    """
    if not 1 <= k < min(len(real), len(generated)):
        raise ValueError(
            f"k must be at least 1 and less than the rows of each set, got {k=} for {len(real)} and "
            f"{len(generated)} rows"
        )
    real, generated = comparable(real, generated, at_least=2)
    inside = [
        _among(x, others, _radii(others, k, at_once), at_once)
        for x, others in ((generated, real), (real, generated))
    ]
    return PrecisionRecall(*(found.double().mean().item() for found in inside))


def _radii(rows: Tensor, k: int, at_once: int) -> Tensor:
    """The distance of each row from the k-th nearest other one, (N,)."""
    radii = []
    for start in range(0, len(rows), at_once):
        distance = torch.cdist(rows[start : start + at_once], rows)
        distance.diagonal(start).fill_(torch.inf)  # not its own neighbor
        radii.append(distance.kthvalue(k).values)
    return torch.cat(radii)


def _among(x: Tensor, others: Tensor, radii: Tensor, at_once: int) -> Tensor:
    """Whether each x is within the radius of any other, (N,) of bool."""
    return torch.cat([(torch.cdist(part, others) <= radii).any(1) for part in x.split(at_once)])
