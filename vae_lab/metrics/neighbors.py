"""What the nearest neighbors of drawings tell: are they copies, are they plausible, is anything missing?"""

from math import frexp
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.arguments import Count, Points, checked, finite
from vae_lab.metrics.distances import CHUNK_SIZE, require_comparable

DIGITS = 1e-4  # of a squared distance, that rounding may take


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
    largest = max((each.abs().max().item() for each in (rows, pool) if each.numel()), default=0)
    size = 2.0 ** frexp(largest)[1]  # a power of two rounds nothing
    rows, pool = rows / size, pool / size  # of any size the same answer
    middle = pool.mean(0)
    nearest = [_nearest(block - middle, pool - middle) for block in rows.split(chunk_size)]
    distance = size * torch.linalg.vector_norm(rows - pool[torch.cat(nearest)], dim=1)
    return finite("a distance", distance, "measure x and others in larger units")


def _nearest(rows: Tensor, pool: Tensor) -> Tensor:
    """Which of the pool is nearest to each row: by products, and where these round, by differences."""
    distance, found = torch.cdist(rows, pool).min(1)
    squares = rows.square().sum(1) + pool.square().sum(1).max()
    unclear = DIGITS * distance.square() < 16 * torch.finfo(rows.dtype).eps * squares
    if unclear.any():
        exactly = torch.cdist(rows[unclear], pool, compute_mode="donot_use_mm_for_euclid_dist")
        found[unclear] = exactly.argmin(1)
    return found


@checked
@torch.no_grad()
def precision_recall(
    real: Points, generated: Points, *, k: Count = 3, chunk_size: Count = CHUNK_SIZE
) -> PrecisionRecall:
    """The share of generated features that lie among the real ones, and of real ones among the generated.

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
    middle = real.mean(0)  # around which distances round least
    real, generated = real - middle, generated - middle
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
