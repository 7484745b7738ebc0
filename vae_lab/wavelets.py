"""Haar's wavelets: an image as averages and details of several sizes, and back, without loss.

Every step replaces a square of 2×2 pixels by four numbers through an orthonormal matrix. So the whole map is
a rotation: lengths, and with them densities, are the same before and after.
"""

from typing import Annotated

import torch
from torch import Tensor

from vae_lab.arguments import Floats, Natural, checked, instance, several


@checked
def haar(x: Floats, levels: Natural) -> list[Tensor]:
    """Images (…, C, H, W) as [averages, coarsest details, …, finest details] (Haar 1910; Mallat 1989).

    levels : how often the averages are halved again. Averages are (…, C, H/2^levels, W/2^levels); the details
        of a level are (…, 3, C, h, w): left against right, top against bottom, one diagonal against the other

    Raises `ValueError` if a side is not divisible by 2^levels.
    """
    require_divisible(x.shape, levels)
    details = []
    for _ in range(levels):
        a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
        c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
        top, bottom, left, right = a + b, c + d, a - b, c - d  # sums and differences of each row of two
        x = (top + bottom) / 2
        details.append(torch.stack([left + right, top - bottom, left - right], dim=-4) / 2)
    return [x, *details[::-1]]


@checked
def unhaar(parts: Annotated[list[Tensor], several(instance(Tensor))]) -> Tensor:
    """The images (…, C, H, W) from which `haar` made these parts."""
    if not parts:
        raise ValueError("parts must be those that haar gave, at least the averages, got none")
    x = parts[0]
    if x.ndim < 3:
        raise ValueError(f"parts must begin with averages (…, C, H, W), got shape {tuple(x.shape)}")
    for part in parts[1:]:
        if part.shape != (*x.shape[:-3], 3, *x.shape[-3:]):
            raise ValueError(
                f"parts must be those that haar gave, got {tuple(part.shape)} after {tuple(x.shape)}"
            )
        across, down, diagonal = part.unbind(-4)
        rows = torch.stack(
            [
                torch.stack([x + across + down + diagonal, x - across + down - diagonal], -1).flatten(-2),
                torch.stack([x + across - down - diagonal, x - across - down + diagonal], -1).flatten(-2),
            ],
            dim=-2,
        )  # (…, C, h, 2, 2w)
        x = rows.flatten(-3, -2) / 2
    return x


def require_divisible(shape: tuple[int, ...], levels: int) -> None:
    """Refuse images that cannot be halved that often."""
    halvings = [(side & -side).bit_length() - 1 for side in shape[-2:]]  # that each side stands; none of 0
    if len(shape) < 3 or any(levels > most for most in halvings):
        raise ValueError(
            f"x must be images (…, C, H, W) whose sides are divisible by 2^{levels}, to be halved {levels} "
            f"times, got shape {tuple(shape)}; take fewer levels, or resize them"
        )
