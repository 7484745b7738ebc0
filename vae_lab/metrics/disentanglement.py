"""Which coordinate of a code tells about which factor of the image."""

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from vae_lab.arguments import Points, checked, whole

MOST_CELLS = 20_000_000  # counted, 16 bytes each


class InformationGap(NamedTuple):
    """Mutual information of every coordinate with every factor, and by how much the best one leads."""

    information: Tensor  # (L, V) I(z_l; v) in nats
    entropy: Tensor  # (V,) H(v) in nats: the most that any code can know

    @property
    def normalized(self) -> Tensor:
        """I(z_l; v) / H(v), (L, V), from 0 to 1: how much of a factor's entropy one coordinate tells."""
        return self.information / self.entropy

    @property
    def gap(self) -> Tensor:
        """The largest minus the second largest of each column of `normalized`, (V,)."""
        best = torch.cat([self.normalized, torch.zeros_like(self.entropy)[None]]).topk(2, 0).values
        return best[0] - best[1]

    @property
    def value(self) -> float:
        """The mutual information gap, MIG: the mean of `gap` over the factors."""
        return self.gap.mean().item()


@checked
def mutual_information_gap(
    codes: Points, factors: Points, *, bins: Annotated[int, whole(2)] = 20
) -> InformationGap:
    """(I(z_(1); v) − I(z_(2); v)) / H(v), the best coordinate's lead at telling v (Chen et al. 2018, § 4).

    Each coordinate and each factor is cut into `bins` of equally many rows, and the mutual information is
    that of the bins. A column of at most `bins` values, a species say, is taken as it is.

    codes : (N, L), *drawn* from q(z|x), z = `model.encode(x).sample()`. Not its means: bins of equal counts
        see order, not scale, and the means of an inactive coordinate can be ordered like a factor although
        they vary by a thousandth of the noise that hides them. A coordinate that is constant tells nothing.
    factors : (N, V), numbers
    bins : more are finer, and need more rows: where z_l tells nothing, I is not 0 but on average about
        (bins − 1)² / 2N nats

    Raises `ValueError` for codes and factors that do not match, are not finite, fewer rows than `bins`, or a
    factor that is constant.
    """
    if len(codes) != len(factors):
        raise ValueError(
            f"codes and factors must be of the same images, got {len(codes)} and {len(factors)} rows"
        )
    if bins > len(codes):
        raise ValueError(f"bins must be at most as many as rows, got {bins} for {len(codes)} rows")
    if bins**2 * codes.shape[1] * factors.shape[1] > MOST_CELLS:
        raise ValueError(
            f"bins must be fewer: {bins}² for each of {codes.shape[1]} coordinates and {factors.shape[1]} "
            f"factors are more than {MOST_CELLS:.0e} counts"
        )
    z, v = ([_binned(column, bins) for column in columns.T] for columns in (codes.detach(), factors.detach()))
    counts = torch.stack([torch.bincount(i * bins + j, minlength=bins**2) for i in z for j in v])
    joint = counts.view(len(z), len(v), bins, bins) / counts[0].sum().double()  # (L, V, bin of z, bin of v)
    entropy = _entropy(joint[0].sum(-2))  # (V,)
    if (entropy == 0).any():
        constant = (entropy == 0).nonzero().flatten().tolist()
        raise ValueError(
            f"factors must vary, but of columns {constant} all rows are the same; leave them out"
        )
    information = _entropy(joint.sum(-1)) + entropy - _entropy(joint.flatten(2))
    return InformationGap(information.clamp(min=0), entropy)


def _binned(column: Tensor, bins: int) -> Tensor:
    """The place of each number's bin, (N,) of int64; equal numbers are in the same bin."""
    values, place = column.unique(return_inverse=True)
    if len(values) <= bins:
        return place
    ordered = column.sort().values
    edges = ordered[torch.arange(1, bins) * len(column) // bins]
    return torch.searchsorted(edges, column.contiguous(), right=True)


def _entropy(p: Tensor) -> Tensor:
    """−Σ p log p over the last axis, in nats."""
    return torch.special.entr(p).sum(-1)
