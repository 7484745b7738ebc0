import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from vae_lab import nets

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128)]
RAMP = torch.linspace(0, 1, 2 * 784).view(2, 1, 28, 28)


def test_mlp_is_affine_maps_with_an_activation_between():
    net = nets.mlp([3, 5, 4, 2], nn.Tanh)
    x, (a, b, c) = torch.randn(7, 3), [layer for layer in net if isinstance(layer, nn.Linear)]
    by_hand = (((x @ a.weight.T + a.bias).tanh() @ b.weight.T + b.bias).tanh()) @ c.weight.T + c.bias
    torch.testing.assert_close(net(x), by_hand)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_bodies_map_images_to_numbers_and_back(shape, kind):
    small = {"hidden": (8,)} if kind == "mlp" else {"width": 2}
    encoder = getattr(nets, f"{kind}_encoder")(shape, 6, **small)
    decoder = getattr(nets, f"{kind}_decoder")(3, shape, **small)
    assert encoder(torch.rand(2, *shape)).shape == (2, 6)
    assert decoder(torch.randn(2, 3)).shape == (2, *shape)


@pytest.mark.parametrize("build", [nets.mlp_decoder, nets.conv_decoder])
def test_decoders_end_in_raw_numbers(build):
    raw = build(2, (1, 28, 28))(100 * torch.randn(20, 2))
    assert raw.min() < 0 and raw.max() > 1


@pytest.mark.parametrize(
    ("shape", "code"), [((1, 28, 28), (64, 7, 7)), ((3, 128, 128), (256, 4, 4))], ids=str
)
def test_convolutions_halve_sides_and_double_channels_up_to_eightfold(shape, code):
    body = nets.conv_encoder(shape, 5)
    assert body[:-2](torch.rand(1, *shape)).shape[1:] == code
    widths = [layer.out_channels for layer in body if isinstance(layer, nn.Conv2d)]
    decoder = nets.conv_decoder(5, shape)
    mirrored = [layer.in_channels for layer in decoder if isinstance(layer, nn.ConvTranspose2d)]
    assert widths == mirrored[::-1] == [32, 64, 128, 256, 256][: len(widths)]


@given(st.integers(1, 600))
def test_a_side_is_halved_to_four_to_seven_or_refused(side):
    fits = {rest << k: k for rest in (4, 5, 6, 7) for k in range(1, 8)}
    if side in fits:
        assert nets.conv_stages(side) == fits[side]
    else:
        words = f"a side of {side} pixels cannot be halved down to 4 … 7; resize to 28"
        with pytest.raises(ValueError, match=words):
            nets.conv_stages(side)


@pytest.mark.parametrize("build", [nets.conv_encoder, lambda shape, n: nets.conv_decoder(n, shape)])
def test_oblong_images_are_refused(build):
    with pytest.raises(ValueError, match="expected square images, got 28×32; crop or resize them"):
        build((1, 28, 32), 4)


def test_every_weight_gets_a_gradient():
    for encoder in (nets.mlp_encoder((1, 28, 28), 2), nets.conv_encoder((1, 28, 28), 2, width=4)):
        model = nn.Sequential(encoder, nets.conv_decoder(2, (1, 28, 28), width=4))
        model(torch.rand(8, 1, 28, 28)).square().sum().backward()
        assert all(p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (torch.rand(2, 3, 28, 28), ValueError, r"of shape \(B, 1, 28, 28\), got \(2, 3, 28, 28\); reshape"),
        (torch.rand(1, 28, 28), ValueError, r"got \(1, 28, 28\)"),
        (torch.rand(0, 1, 28, 28), ValueError, r"got \(0, 1, 28, 28\)"),
        ((RAMP * 255).byte(), TypeError, "expected float pixels .* got torch.uint8; divide by 255"),
        (RAMP * 255, ValueError, r"pixels in \[0, 1\], got 0 … 255; rescale"),
        (RAMP - 0.1, ValueError, r"got -0.1 … 0.9; rescale"),
        (RAMP.log() / 0, ValueError, "got nan … nan"),
    ],
)
def test_what_is_no_image_is_refused(x, error, words):
    for encoder in (nets.mlp_encoder((1, 28, 28), 2), nets.conv_encoder((1, 28, 28), 2)):
        with pytest.raises(error, match=words):
            encoder(x)


def test_one_nan_among_good_pixels_is_refused():
    x = torch.rand(2, 1, 28, 28)
    x[1, 0, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="got nan"):
        nets.Expect((1, 28, 28))(x)


def test_images_pass_the_entrance_unchanged():
    x = torch.rand(2, 1, 28, 28)
    assert nets.Expect((1, 28, 28))(x) is x
    assert repr(nets.Expect((1, 28, 28))) == "Expect(B, 1, 28, 28)"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_entrance_is_part_of_one_compiled_graph():
    """On the CPU the range is looked at there too, and the shape."""
    encoder = nets.mlp_encoder((1, 28, 28), 2, hidden=(4,))
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(RAMP), encoder(RAMP))
    with pytest.raises(RuntimeError, match=r"x must be pixels in \[0, 1\]; rescale them"):
        compiled(RAMP - 0.1)
    with pytest.raises(Exception, match=r"expected images of shape \(B, 1, 28, 28\)|Unsupported|raised"):
        compiled(torch.rand(2, 1, 28, 27))


def test_a_tensor_of_whole_numbers_is_refused_before_its_range_is_looked_at():
    with pytest.raises(TypeError, match=r"expected float pixels .* got torch.int64; divide by 255"):
        nets.Expect((1, 2, 2))(torch.full((1, 1, 2, 2), 300))


def test_parameters_are_counted_by_hand():
    assert nets.parameter_count(nets.mlp_encoder((1, 28, 28), 4)) == 785 * 400 + 401 * 4
    convs = (3 * 16 + 1) * 2 + (2 * 16 + 1) * 4 + (4 * 16 + 1) * 8
    body = nets.conv_encoder((3, 32, 32), 5, width=2)
    assert nets.parameter_count(body) == convs + (8 * 4 * 4 + 1) * 5


def test_frozen_parameters_are_not_counted():
    net = nets.mlp([3, 2, 1])
    net[0].requires_grad_(False)
    assert nets.parameter_count(net) == 3


def test_an_encoders_first_layer_is_a_stride_two_convolution():
    x, conv = torch.rand(1, 1, 28, 28), nets.conv_encoder((1, 28, 28), 2)[1]
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1))
    assert conv.kernel_size == (4, 4)


@pytest.mark.parametrize("activation", [torch.relu, F.relu, lambda: 3, dict, nn.Linear, "relu", nn.ReLU()])
def test_an_activation_that_makes_no_layer_is_refused(activation):
    for build in (nets.mlp_encoder, nets.conv_encoder):
        with pytest.raises(TypeError, match="activation must"):
            build((1, 28, 28), 4, activation=activation)
