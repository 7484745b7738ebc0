"""How much a number computed from two sets of rows would vary, had other rows been drawn."""

from collections.abc import Callable

import torch
from torch import Tensor

from vae_lab.arguments import Count, Seed, checked, finite, shown


@checked
def bootstrap(function: Callable, a: Tensor, b: Tensor, *, replicates: Count = 100, seed: Seed = 0) -> Tensor:
    """function(a*, b*) for sets drawn from a and b with replacement, each as large as its own (Efron 1979).

    Their standard deviation estimates the standard error of function(a, b). Their mean and quantiles are
    honest only for a function without bias. A drawn set repeats rows: a Fréchet distance, which few rows
    bias upward, is biased a second time, so that most values lie above function(a, b); a row is its own
    nearest neighbor, so that precision and recall fall; and a kernel distance counts pairs of equal rows. For
    these take `subsample`.

    function : takes rows like a and rows like b, gives a number, or a tuple of numbers
    a, b : rows (N, …) and (M, …); both are drawn anew
    replicates : how many sets to draw

    Returns float64 of shape (replicates,), or (replicates, T) for tuples of T.
    """
    return _values(function, a, b, replicates, seed, lambda n, g: torch.randint(n, (n,), generator=g))


@checked
def subsample(
    function: Callable,
    a: Tensor,
    b: Tensor,
    *,
    size: Count | None = None,
    replicates: Count = 100,
    seed: Seed = 0,
) -> Tensor:
    """function(a*, b*) for sets drawn from a and b without replacement, so that no row appears twice.

    size : rows of each set; by default half of a's rows and half of b's. Then the standard deviation of the
        values estimates the standard error of function(a, b) at *all* rows (the delete-half jackknife, Shao
        & Wu 1989): with half the rows the variance doubles, and because the drawn halves share rows, it is
        halved again. That is exact for a mean. For a biased function the deviation is somewhat too large,
        and more so with few rows, and the mean of the values has the bias of half the rows: center the error
        on function(a, b)

    With a `size` it gives the curve of a biased distance over the number of images, or, of 1,000 rows, the
    subsets over which papers average the kernel distance.

    Returns float64 of shape (replicates,), or (replicates, T) for tuples of T.
    """
    _require_rows(a, b)
    if min(len(a), len(b)) < (size or 2):
        raise ValueError(
            f"size must be at most the rows of each set, got {size or 'half'} for {len(a)} and {len(b)} rows"
        )
    return _values(
        function, a, b, replicates, seed, lambda n, g: torch.randperm(n, generator=g)[: size or n // 2]
    )


def _values(function: Callable, a: Tensor, b: Tensor, replicates: int, seed: int, draw: Callable) -> Tensor:
    _require_rows(a, b)
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(replicates):
        i, j = (draw(len(rows), generator).to(rows.device) for rows in (a, b))
        values.append(function(a[i], b[j]))
    try:
        found = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"function must give a number, or a tuple of numbers, got {shown(values[0])}"
        ) from None
    if not found.numel():
        raise ValueError(f"function must give a number, or a tuple of numbers, got {shown(values[0])}")
    return finite("the values", found, "look at function, a and b")


def _require_rows(a: Tensor, b: Tensor) -> None:
    if not (a.ndim and b.ndim and len(a) and len(b)):
        raise ValueError(
            f"a and b must be rows (N, …) and (M, …), at least one each, got {shown(a)} and {shown(b)}"
        )
