"""What the nearest neighbors of drawings tell: are they copies, are they plausible, is anything missing?"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.arguments import Count, Points, checked, finite
from vae_lab.metrics.distances import CHUNK_SIZE, require_comparable


class PrecisionRecall(NamedTuple):
    """Two fractions, each from 0 to 1."""

    precision: float  # of the generated that lie among the real: fidelity
    recall: float  # of the real that lie among the generated: diversity


@checked
@torch.no_grad()
def nearest_distance(x: Tensor, others: Tensor, *, chunk_size: Count = CHUNK_SIZE) -> Tensor:
    """min_i ‖x − others_i‖: how far each x (B, …) is from the nearest of others (N, …), of shape (B,).

    For images or for codes; the unit is theirs, a Euclidean length over all their numbers.

    chunk_size : how many of x to compare with all others at a time
    """
    if min(x.ndim, others.ndim) < 2 or x.shape[1:] != others.shape[1:] or not len(others):
        raise ValueError(
            f"others must be like x, at least one, got shapes {tuple(x.shape)} and {tuple(others.shape)}"
        )
    kind = torch.promote_types(torch.promote_types(x.dtype, others.dtype), torch.float32)
    rows, pool = (
        finite("a distance", each.to(x.device, kind).flatten(1), "x and others must be finite")
        for each in (x, others)
    )
    nearest = torch.cat([torch.cdist(block, pool).argmin(1) for block in rows.split(chunk_size)])
    # cdist finds the nearest fast, but rounds: of equal rows to above 0
    return torch.linalg.vector_norm(rows - pool[nearest], dim=1)


@checked
@torch.no_grad()
def precision_recall(
    real: Points, generated: Points, *, k: Count = 3, chunk_size: Count = CHUNK_SIZE
) -> PrecisionRecall:
    """How many generated features lie among the real ones, and how many real among the generated.

    To lie among a set is to be no farther from one of its members than that member's own k-th nearest
    neighbor in the set (Kynkäänniemi et al. 2019, eq. 1 and 2). Both depend on how many rows there are:
    compare only equal N, and equal M.

    real : features (N, F); generated : features (M, F) of the same layer
    k : the neighbor whose distance is the radius; larger balls give larger fractions
    chunk_size : rows to compare with all others at a time

    Raises `ValueError` for features that do not match, too few rows for k, or numbers that are not finite.
    """
    if k >= min(len(real), len(generated)):
        raise ValueError(
            f"k must be less than the rows of each set, got {k} for {len(real)} and {len(generated)} rows"
        )
    require_comparable(real, generated, least=2)
    inside = [
        _among(x, others, _radii(others, k, chunk_size), chunk_size)
        for x, others in ((generated, real), (real, generated))
    ]
    return PrecisionRecall(*(found.double().mean().item() for found in inside))


def _radii(rows: Tensor, k: int, chunk_size: int) -> Tensor:
    """The distance of each row from the k-th nearest other one, (N,)."""
    radii = []
    for start in range(0, len(rows), chunk_size):
        distance = torch.cdist(rows[start : start + chunk_size], rows)
        distance.diagonal(start).fill_(torch.inf)  # not its own neighbor
        radii.append(distance.kthvalue(k).values)
    return torch.cat(radii)


def _among(x: Tensor, others: Tensor, radii: Tensor, chunk_size: int) -> Tensor:
    """Whether each x is within the radius of any other, (N,) of bool."""
    return torch.cat([(torch.cdist(part, others) <= radii).any(1) for part in x.split(chunk_size)])
