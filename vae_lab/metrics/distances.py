"""Distances between two sets of features: between fitted Gaussians, and by a kernel."""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.arguments import Count, Points, checked, finite

SIZES = (1e-100, 1e100)  # of the largest number: its square must be one of float64
CHUNK_SIZE = 1000  # rows compared with all others together


class KernelDistance(NamedTuple):
    """A squared distance and its standard error, in units of the kernel."""

    value: float  # unbiased, so on average zero where both sets are alike, and often below
    error: float  # of the value, over new features a and b: by the jackknife


@checked
def frechet_distance(a: Points, b: Points) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) of Gaussians fitted to features a (N, F) and b (M, F).

    The squared Wasserstein-2 distance of the two Gaussians (Dowson & Landau 1982); over features of an
    Inception network it is the FID (Heusel et al. 2017). Zero for equal means and covariances, never
    negative, in squared units of a feature. Few rows bias it upward: compare only equal N, and equal M.

    Raises `ValueError` for features that do not match, fewer than two rows, or numbers that are not finite.
    """
    require_comparable(a, b, least=2)
    # Σ = RᵀR, so the eigenvalues of Σ_a Σ_b are the squared singular values of R_a R_bᵀ: no matrix root.
    R_a, R_b = (
        torch.linalg.qr((rows - rows.mean(0)) / (len(rows) - 1) ** 0.5, mode="r").R for rows in (a, b)
    )
    overlap = torch.linalg.svdvals(R_a @ R_b.T).sum()
    spread = R_a.square().sum() + R_b.square().sum() - 2 * overlap
    distance = (a.mean(0) - b.mean(0)).square().sum() + spread
    return finite("the distance", distance, "the features are too large").clamp(min=0).item()


@checked
@torch.no_grad()
def kernel_distance(a: Points, b: Points, *, chunk_size: Count = CHUNK_SIZE) -> KernelDistance:
    """mean k(a, a′) + mean k(b, b′) − 2 mean k(a, b) over all pairs of rows, none with itself.

    The kernel is k(x, y) = (xᵀy/F + 1)³. The three means estimate, without bias whatever N and M, the squared
    maximum mean discrepancy (Gretton et al. 2012, lemma 6); over features of an Inception network it is the
    kernel Inception distance, KID (Bińkowski et al. 2018). Averages over random subsets, which papers take
    to save memory, estimate the same number: `subsample` makes them.

    a : features (N, F); b : features (M, F) of the same layer
    chunk_size : rows to compare with all others at a time; the result depends on it only by rounding

    The standard error is the jackknife's, which leaves out each row once; where both sets have the same
    distribution, it is too large.

    Raises `ValueError` for features that do not match, fewer than three rows, or numbers that are not finite.
    """
    require_comparable(a, b, least=3)
    aa = _kernel_sums(a, a, chunk_size) - _kernel(a.square().mean(1))  # (N,), without k(a, a) itself
    bb = _kernel_sums(b, b, chunk_size) - _kernel(b.square().mean(1))  # (M,)
    ab, ba = _kernel_sums(a, b, chunk_size), _kernel_sums(b, a, chunk_size)  # (N,), (M,)
    n, m = len(a), len(b)
    whole = _mmd(aa.sum(), bb.sum(), ab.sum(), n, m)
    without_a = _mmd(aa.sum() - 2 * aa, bb.sum(), ab.sum() - ab, n - 1, m)  # (N,)
    without_b = _mmd(aa.sum(), bb.sum() - 2 * bb, ab.sum() - ba, n, m - 1)  # (M,)
    variance = sum((len(left) - 1) * left.var(correction=0) for left in (without_a, without_b))
    finite("the distance", torch.stack([whole, variance]), "the features are too large")
    return KernelDistance(whole.item(), variance.clamp(min=0).sqrt().item())


def require_comparable(a: Tensor, b: Tensor, *, least: int) -> None:
    """Refuse features (N, F) and (M, F) of another F, too few, or too large or small to be squared."""
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < least:
        raise ValueError(
            f"a and b must be features (N, F) and (M, F) of at least {least} rows each, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}; take both from the same layer"
        )
    largest = max(rows.abs().max().item() for rows in (a, b))
    if largest and not SIZES[0] <= largest <= SIZES[1]:
        raise ValueError(
            f"a and b must be of a size from {SIZES[0]:g} to {SIZES[1]:g}, got up to {largest:.3g}, whose "
            "squares are lost; measure in other units"
        )


def _kernel_sums(rows: Tensor, others: Tensor, chunk_size: int) -> Tensor:
    """Σ_j k(rows_i, others_j), one number a row."""
    return torch.cat([_kernel(part @ others.T / rows.shape[1]).sum(1) for part in rows.split(chunk_size)])


def _kernel(product: Tensor) -> Tensor:
    """(t + 1)³ − 1: the 1, which a distance does not see, would drown small features."""
    return product * (3 + product * (3 + product))


def _mmd(aa: Tensor, bb: Tensor, ab: Tensor, n: int, m: int) -> Tensor:
    """The unbiased squared discrepancy from the sums of the kernel within and across."""
    return aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m)
