"""Haar's wavelets as the rotation that they are, and the Gaussian noise that has a scale for each size."""

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from vae_lab.likelihoods import Gaussian, WaveletGaussian
from vae_lab.wavelets import haar, unhaar


def matrix(levels: int, side: int = 8) -> torch.Tensor:
    """The map of `haar` on images of 1×side×side, row by row: (side², side²)."""
    basis = torch.eye(side * side, dtype=torch.float64).view(-1, 1, side, side)
    return torch.cat([part.flatten(1) for part in haar(basis, levels)], 1).T


@pytest.mark.parametrize("levels", range(4))
def test_the_map_is_a_rotation(levels):
    W = matrix(levels)
    torch.testing.assert_close(W @ W.T, torch.eye(64, dtype=torch.float64))


def test_there_and_back():
    x = torch.rand(2, 5, 3, 16, 24, dtype=torch.float64)
    for levels in range(4):
        torch.testing.assert_close(unhaar(haar(x, levels)), x)


def test_shapes_go_from_coarse_to_fine():
    shapes = [tuple(part.shape) for part in haar(torch.rand(2, 3, 16, 32), 2)]
    assert shapes == [(2, 3, 4, 8), (2, 3, 3, 4, 8), (2, 3, 3, 8, 16)]


def test_a_level_image_has_no_details():
    average, *details = haar(torch.full((1, 8, 8), 0.3), 3)
    assert average.item() == pytest.approx(8 * 0.3) and all(part.abs().max() < 1e-6 for part in details)


@pytest.mark.parametrize(("axis", "place"), [(-1, 0), (-2, 1)])
def test_stripes_are_details_in_one_direction(axis, place):
    stripes = torch.tensor([0.0, 1.0] * 4).view((1, 1, 8) if axis == -1 else (1, 8, 1)).expand(1, 8, 8)
    _, fine = haar(stripes, 1)
    assert (fine[place] == -1).all() and (fine[[i for i in range(3) if i != place]] == 0).all()


@pytest.mark.parametrize(("shape", "levels"), [((1, 6, 8), 2), ((1, 8, 7), 1), ((8, 8), 1), ((1, 8, 8), -1)])
def test_what_cannot_be_halved_is_refused(shape, levels):
    with pytest.raises(ValueError, match=r"to be halved|levels must be"):
        haar(torch.rand(shape), levels)


def wavelet_gaussian(*scales: float) -> WaveletGaussian:
    noise = WaveletGaussian(levels=len(scales) - 1).double()
    noise.log_scales.data = torch.tensor(scales, dtype=torch.float64).log()
    return noise


def test_log_prob_is_that_of_the_full_covariance():
    raw, x = torch.randn(2, 1, 4, 4).double(), torch.rand(3, 2, 1, 4, 4).double()
    p_x = wavelet_gaussian(0.5, 0.2, 0.05)(raw)
    W, variance = matrix(2, 4), torch.tensor([0.5] + 3 * [0.2] + 12 * [0.05]).double() ** 2
    dense = MultivariateNormal(raw.sigmoid().flatten(1), W.T @ (variance[:, None] * W))
    assert p_x.event_shape == (1, 4, 4)
    torch.testing.assert_close(p_x.log_prob(x), dense.log_prob(x.flatten(2)))


def test_with_all_scales_equal_it_is_the_gaussian():
    raw, x = torch.randn(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    ours, plain = WaveletGaussian(0.3, levels=3)(raw), Gaussian(0.3)(raw)
    torch.testing.assert_close(ours.log_prob(x), plain.log_prob(x))
    assert torch.equal(ours.mean, plain.mean)


def test_samples_have_each_sizes_scale():
    p_x = wavelet_gaussian(0.5, 0.2, 0.05)(torch.zeros(1, 4, 4).double())
    parts = haar(p_x.sample((20_000,)) - 0.5, 2)
    for part, scale in zip(parts, (0.5, 0.2, 0.05), strict=True):
        assert part.std().item() == pytest.approx(scale, rel=0.02) and abs(part.mean()) < 0.02


def test_the_best_scales_are_those_of_the_residuals():
    """d log p / d log s_j = Σ r_j² / s_j² − D_j is zero at the root mean square of r_j."""
    raw, x = torch.randn(50, 1, 8, 8).double(), torch.rand(50, 1, 8, 8).double()
    scales = [part.square().mean().sqrt().item() for part in haar(x - raw.sigmoid(), 2)]
    noise = wavelet_gaussian(*scales)
    noise(raw).log_prob(x).mean().backward()
    assert noise.log_scales.grad.abs().max() < 1e-9
    assert torch.allclose(noise.scales, torch.tensor(scales).double())


def test_gradients_reach_the_decoder_as_finite_differences_say():
    raw = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda raw: wavelet_gaussian(0.5, 0.2, 0.05)(raw).log_prob(x), raw)


def test_what_is_no_image_or_no_scale_is_refused():
    with pytest.raises(ValueError, match="three axes"):
        WaveletGaussian()(torch.zeros(2, 4), event_dims=1)
    with pytest.raises(ValueError, match="scale must be a finite number from 1e-15"):
        WaveletGaussian(0.0)
    with pytest.raises(ValueError, match=r"to be halved|levels must be"):
        WaveletGaussian(levels=3, mean=nn.Identity())(torch.zeros(1, 4, 4))


@pytest.mark.parametrize("levels", [3, 2000, 10**7, 10**15])
@pytest.mark.parametrize("side", [4, 0])
def test_levels_that_a_side_has_not_are_refused_at_once(levels, side):
    with pytest.raises(ValueError, match=rf"divisible by 2\^{levels}"):
        haar(torch.zeros(1, side, side), levels)


def test_parts_of_other_images_are_refused():
    parts = haar(torch.rand(2, 1, 4, 4), 1)
    for wrong in ([parts[0], parts[1][0]], [parts[0], parts[1].repeat(2, 1, 1, 1, 1)], [torch.ones(3)]):
        with pytest.raises(ValueError, match="parts must"):
            unhaar(wrong)
