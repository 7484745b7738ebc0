"""The widgets: JavaScript against PyTorch, refusals, what a page is given, behavior in a browser."""

import base64
import io
import json
import struct

import ipywidgets
import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from PIL import Image
from showing import PIXELS, SETTLE, run_node
from torch import nn

from vae_lab import nets
from vae_lab.colors import COLORS
from vae_lab.widgets import flipbook, latent_explorer
from vae_lab.widgets.decoder import export, export_network, latents_of

RUN = """
import { decode } from "./decoder.js";
import { readFileSync } from "node:fs";
const { layers, codes } = JSON.parse(readFileSync("case.json"));
const decoder = decode(layers, readFileSync("weights"));
process.stdout.write(JSON.stringify(codes.map((z) => [...decoder(Float32Array.from(z))])));
"""


def rounded(decoder: nn.Module) -> nn.Module:
    """The same decoder with the float16 weights that travel."""
    for parameter in decoder.parameters():
        parameter.data = parameter.data.half().float()
    return decoder


def image_of(*layers) -> nn.Sequential:
    """A decoder of 3 latents to 4 channels of 5×6, then `layers`."""
    return nn.Sequential(nn.Linear(3, 120), nn.Unflatten(1, (4, 5, 6)), *layers, nn.Sigmoid())


def random_mlp(seed: int) -> nn.Sequential:
    g = np.random.default_rng(seed)
    c, h, w = int(g.choice([1, 3])), *(int(s) for s in g.integers(3, 12, 2))
    hidden = tuple(int(s) for s in g.integers(1, 40, g.integers(0, 4)))
    return nn.Sequential(nets.mlp_decoder(int(g.integers(1, 9)), (c, h, w), hidden=hidden), nn.Sigmoid())


def random_conv_transpose(seed: int) -> nn.Sequential:
    g = np.random.default_rng(seed)
    layers: list[nn.Module] = [nn.Linear(3, 120), nn.Unflatten(1, (4, 5, 6))]
    channels = 4
    for maps in (int(g.integers(1, 7)), 3):
        kernel, stride = g.integers(1, 6, 2), g.integers(1, 4, 2)
        padding = [int(g.integers(0, min(3, (k + 1) // 2))) for k in kernel]
        extra = [int(g.integers(0, s)) for s in stride]
        layers += [
            nn.ConvTranspose2d(channels, maps, kernel.tolist(), stride.tolist(), padding, extra),
            nn.LeakyReLU(0.2),
        ]
        channels = maps
    return nn.Sequential(*layers)


DECODERS = {
    "mlp of two layers": lambda: nn.Sequential(nets.mlp_decoder(2, (1, 28, 28)), nn.Sigmoid()),
    "mlp with tanh": lambda: nn.Sequential(
        nets.mlp_decoder(5, (3, 8, 8), hidden=(17, 30), activation=nn.Tanh), nn.Sigmoid()
    ),
    "mlp with SiLU": lambda: nn.Sequential(
        nets.mlp_decoder(5, (1, 9, 7), hidden=(33,), activation=nn.SiLU), nn.Sigmoid()
    ),
    "mlp without biases": lambda: nn.Sequential(
        nn.Linear(4, 12, bias=False), nn.ReLU(), nn.Linear(12, 49), nn.Unflatten(-1, (1, 7, 7))
    ),
    "conv-transpose 28": lambda: nn.Sequential(nets.conv_decoder(2, (1, 28, 28), width=8), nn.Sigmoid()),
    "conv-transpose 64 RGB": lambda: nn.Sequential(nets.conv_decoder(16, (3, 64, 64), width=8), nn.Sigmoid()),
    "from 1×1": lambda: nn.Sequential(
        nn.Unflatten(1, (6, 1, 1)), nn.ConvTranspose2d(6, 5, 4), nn.ReLU(), nn.ConvTranspose2d(5, 1, 4, 2, 1)
    ),
    "output padding": lambda: image_of(nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1)),
    "stride above kernel": lambda: image_of(nn.ConvTranspose2d(4, 1, 2, 3, bias=False)),
    "oblong kernel": lambda: image_of(nn.ConvTranspose2d(4, 3, (2, 5), (1, 2), (0, 2))),
    "conv": lambda: image_of(nn.Conv2d(4, 3, 3, padding=1)),
    "conv with stride": lambda: image_of(
        nn.ConvTranspose2d(4, 6, 4, 2, 1), nn.ReLU(), nn.Conv2d(6, 1, (3, 2), (2, 1), (2, 0), bias=False)
    ),
    "upsample": lambda: image_of(
        nn.Upsample(scale_factor=(2, 3)), nn.Conv2d(4, 3, 3, padding=1), nn.SiLU(), nn.Upsample(size=(20, 18))
    ),
    "nested, flattened, no-ops": lambda: nn.Sequential(
        nn.Sequential(
            nn.Identity(), nn.Sequential(nn.Linear(3, 120), nn.LeakyReLU(0.3)), nn.Unflatten(1, (4, 5, 6))
        ),
        nn.Sequential(
            nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Tanh(), nn.Linear(24, 12), nn.Unflatten(1, (3, 2, 2))
        ),
    ),
    **{f"random mlp {seed}": lambda seed=seed: random_mlp(seed) for seed in range(3)},
    **{f"random conv-transpose {seed}": lambda seed=seed: random_conv_transpose(seed) for seed in range(5)},
}


@pytest.mark.parametrize("name", DECODERS)
def test_javascript_decodes_as_pytorch_does(name, tmp_path):
    decoder = DECODERS[name]()
    latents = latents_of(decoder)
    codes = torch.randn(3, latents)
    codes = torch.cat([codes, codes[:1]])  # the first once more: buffers are used again
    layers, weights, shape = export(decoder, latents)
    (tmp_path / "case.json").write_text(json.dumps({"layers": layers, "codes": codes.tolist()}))
    (tmp_path / "weights").write_bytes(weights)
    ours = torch.tensor(json.loads(run_node(tmp_path, RUN))).view(-1, *shape)
    with torch.no_grad():
        assert (ours - decoder(codes)).abs().max() < 1e-3
        assert (ours - rounded(decoder)(codes)).abs().max() < 2e-6  # so the rest was rounding to float16
    assert torch.equal(ours[0], ours[3])
    assert len(weights) == 2 * sum(p.numel() for p in decoder.parameters()) + 2 * missing_biases(decoder)


ENCODERS = {
    "mlp": lambda: (nets.mlp_encoder((1, 5, 6), 4, hidden=(7,)), (1, 5, 6)),
    "mlp of color": lambda: (nets.mlp_encoder((3, 4, 4), 6, hidden=(8, 5)), (3, 4, 4)),
    "conv": lambda: (nets.conv_encoder((1, 28, 28), 4, width=3), (1, 28, 28)),
    "conv of color": lambda: (nets.conv_encoder((3, 16, 16), 8, width=4), (3, 16, 16)),
    "from points": lambda: (nets.mlp((2, 9, 9, 2), nn.Tanh), (2,)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_javascript_encodes_as_pytorch_does(name, tmp_path):
    encoder, takes = ENCODERS[name]()
    x = torch.rand(3, *takes)
    layers, weights, shape = export_network(encoder, takes)
    (tmp_path / "case.json").write_text(json.dumps({"layers": layers, "codes": x.flatten(1).tolist()}))
    (tmp_path / "weights").write_bytes(weights)
    ours = torch.tensor(json.loads(run_node(tmp_path, RUN))).view(-1, *shape)
    with torch.no_grad():
        assert (ours - encoder(x)).abs().max() < 1e-3
        assert (ours - rounded(encoder)(x)).abs().max() < 2e-6


def missing_biases(decoder: nn.Module) -> int:
    return sum(
        len(m.weight) if isinstance(m, nn.Linear) else m.out_channels
        for m in decoder.modules()
        if getattr(m, "bias", 0) is None
    )


def test_javascript_reads_every_finite_float16(tmp_path):
    bits = [b for b in range(2**16) if b & 0x7C00 != 0x7C00]
    expected = np.array(bits, np.uint16).view(np.float16).astype(np.float32)
    script = f"""
    import {{ halves }} from "./decoder.js";
    const bytes = Uint8Array.from({json.dumps(list(np.array(bits, "<u2").tobytes()))});
    process.stdout.write(JSON.stringify([...halves(new DataView(bytes.buffer), 0, {len(bits)})]));
    """
    np.testing.assert_array_equal(np.array(json.loads(run_node(tmp_path, script)), np.float32), expected)


def test_javascript_refuses_weights_of_another_decoder(tmp_path):
    layers = json.dumps(export(image_of(nn.Conv2d(4, 1, 1)), 3).layers)
    script = f"""
    import {{ decode }} from "./decoder.js";
    try {{ decode({layers}, new Uint8Array(5000)); }} catch (error) {{ process.stdout.write(error.message); }}
    """
    assert (
        run_node(tmp_path, script)
        == f"the layers need {2 * (3 * 120 + 120 + 4 + 1)} bytes of weights, there are 5000"
    )


def huge(value: float) -> nn.Sequential:
    decoder = image_of(nn.Conv2d(4, 1, 1))
    decoder[0].weight.data[5, 1] = value
    return decoder


REFUSED = {
    "Dropout": (
        lambda: image_of(nn.Conv2d(4, 1, 1), nn.Dropout()),
        r"cannot run Dropout.*Linear, ConvTranspose2d",
    ),
    "a custom module": (
        lambda: nn.Sequential(nn.Linear(3, 4), nets.Expect((1, 2, 2))),
        r"cannot run Expect|expected images",
    ),
    "dilation": (lambda: image_of(nn.Conv2d(4, 1, 3, dilation=2)), "cannot run Conv2d.*dilation"),
    "groups": (
        lambda: image_of(nn.ConvTranspose2d(4, 4, 3, groups=2), nn.Conv2d(4, 1, 1)),
        "cannot run ConvTranspose2d.*groups",
    ),
    "reflected edges": (
        lambda: image_of(nn.Conv2d(4, 1, 3, padding=1, padding_mode="reflect")),
        "cannot run Conv2d.*reflect",
    ),
    "padding in words": (lambda: image_of(nn.Conv2d(4, 1, 3, padding="same")), "cannot run Conv2d.*same"),
    "smooth upsampling": (
        lambda: image_of(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 1, 1)),
        "cannot run Upsample.*bilinear",
    ),
    "a broken factor across": (
        lambda: image_of(nn.Upsample(scale_factor=(2, 1.5)), nn.Conv2d(4, 1, 1)),
        "cannot run Upsample.*1.5",
    ),
    "a broken factor": (
        lambda: image_of(nn.Upsample(scale_factor=1.5), nn.Conv2d(4, 1, 1)),
        "cannot run Upsample.*1.5",
    ),
    "Linear on images": (lambda: image_of(nn.Linear(6, 6)), "cannot run Linear.*on shape"),
    "layers that do not fit": (
        lambda: image_of(nn.Conv2d(5, 1, 1)),
        r"Conv2d\(5, 1.* cannot take .*\(4, 5, 6\)",
    ),
    "no image": (lambda: nets.mlp([3, 784]), r"gives shape \(784,\).*Unflatten"),
    "four channels": (lambda: image_of(), r"gives shape \(4, 5, 6\)"),
    "not a number": (lambda: huge(float("nan")), "weight of nan does not fit into float16"),
    "infinity": (lambda: huge(float("-inf")), "weight of inf does not fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_export_refuses_in_one_sentence(name):
    decoder, says = REFUSED[name]
    with pytest.raises(ValueError, match=says) as refusal:
        export(decoder(), 3)
    assert "\n" not in str(refusal.value)


def test_export_takes_the_largest_float16():
    assert struct.pack("<e", 65504) in export(huge(65504.0), 3).weights


def test_a_decoder_without_weights_has_no_latents():
    with pytest.raises(ValueError, match="no layer with weights"):
        latents_of(nn.Sequential(nn.Sigmoid()))


@pytest.fixture
def tiny():
    """3 latents → 1×4×4."""
    return nn.Sequential(nets.mlp_decoder(3, (1, 4, 4), hidden=(5,)), nn.Sigmoid())


def models(widget) -> list[dict]:
    """The models that a page needs to show this widget."""
    return list(dependency_state([widget], drop_defaults=False).values())


def test_reprs_are_short_and_do_not_change(tiny):
    assert {repr(latent_explorer(tiny)) for _ in range(2)} == {"LatentExplorer(L=3, 1×4×4)"}
    assert repr(flipbook(np.zeros((2, 4, 5)))) == "Flipbook(2 frames of 4×5)"
    assert latent_explorer(tiny)._repr_mimebundle_()[0]["text/plain"] == "LatentExplorer(L=3, 1×4×4)"


def test_a_page_holds_the_weights_once(tiny):
    view = latent_explorer(tiny, codes=torch.randn(50, 3), labels=torch.arange(50) % 10)
    buffers = [base64.b64decode(b["data"]) for model in models(view) for b in model.get("buffers", [])]
    assert buffers.count(view.weights) == 1
    assert view.weights == export(tiny, 3).weights
    assert sum(map(len, buffers)) == len(view.weights) + 50 * 3 * 2 + 50


def test_each_slider_moves_its_trait_from_end_to_end(tiny, show):
    ranges, names = [(-1, 1), (-2, 2.05), (0, 100)], ["ear", "eye", "fur"]
    page = show(latent_explorer(tiny, ranges=ranges, names=names, start=[0.5, -1, 40]))
    sliders = page.locator(".slider input").all()
    assert [each.get_attribute("aria-label") for each in sliders] == names
    for i, (slider, ends) in enumerate(zip(sliders, ranges, strict=True)):
        slider.focus()
        for key, value in zip(("Home", "End"), ends, strict=True):
            page.keyboard.press(key)
            assert page.evaluate(f"model.get('z{i}')") == value
        page.keyboard.press("ArrowLeft")
        assert 0 < ends[1] - page.evaluate(f"model.get('z{i}')") < (ends[1] - ends[0]) / 50
    assert page.locator(".slider .value").all_text_contents() == [
        each.get_attribute("aria-valuetext") for each in sliders
    ]


def test_sliders_follow_what_is_moved_elsewhere(tiny, show):
    page = show(latent_explorer(tiny, ranges=(-2, 2), start=[0, 0, 1]))
    page.evaluate("model.set('z2', -2)")
    page.evaluate(SETTLE)
    assert page.locator(".slider input").nth(2).input_value() == "0"
    book = show(flipbook(np.zeros((3, 2, 2)), name="step", values=["one", "ten", "all"], start=1))
    slider = book.locator(".slider input")
    assert (slider.get_attribute("aria-label"), slider.get_attribute("aria-valuetext")) == ("step", "ten")
    slider.fill("2")
    assert book.evaluate("model.get('frame')") == 2
    book.evaluate(SETTLE)
    assert slider.get_attribute("aria-valuetext") == "all"


def test_a_trait_can_be_linked_to_a_slider_of_ipywidgets(tiny):
    """As to any other widget: in a notebook our views stand beside sliders of one's own."""
    view, slider = latent_explorer(tiny), ipywidgets.FloatSlider(min=-3, max=3)
    ipywidgets.link((slider, "value"), (view, "z1"))
    slider.value = 1.5
    assert view.z1 == 1.5
    assert {m["model_module"] for m in models(latent_explorer(tiny))} == {
        "anywidget",
        "@jupyter-widgets/base",
    }


def test_codes_keep_their_labels_when_thinned(tiny):
    codes = torch.arange(4000.0)[:, None].repeat(1, 3) / 1000
    words = np.array(["cat", "dog", "wild"])[np.arange(4000) % 3]
    view = latent_explorer(tiny, codes=codes, labels=words, prior=False)
    low, high = np.array(view.ranges).T
    places = np.frombuffer(view.codes, "<f2").reshape(-1, 3).astype(float)  # −1 … 1 from end to end
    points = (low + high) / 2 + places * (high - low) / 2
    kinds = np.frombuffer(view.labels, np.uint8)
    assert len(points) == len(kinds) == 1500
    assert view.label_names == ["cat", "dog", "wild"]
    exact = codes.numpy()[np.linspace(0, 3999, 1500).astype(int), 0]
    np.testing.assert_allclose(points[:, 0], exact, atol=2e-3)
    np.testing.assert_array_equal(kinds, np.round(exact * 1000).astype(int) % 3)


def test_ranges_hold_the_codes_and_the_prior(tiny):
    codes = torch.randn(500, 3) * torch.tensor([0.1, 5.0, 1.0]) + torch.tensor([10.0, 0.0, 0.0])
    for i, (low, high) in enumerate(latent_explorer(tiny, codes=codes, prior=False).ranges):
        inside = (codes[:, i] >= low) & (codes[:, i] <= high)
        assert inside.float().mean() > 0.98
        assert high - low < 1.5 * (codes[:, i].max() - codes[:, i].min())
    assert latent_explorer(tiny).ranges == [[-3, 3]] * 3
    (low, high), *others = latent_explorer(tiny, codes=codes / 4).ranges
    assert low == -high and others == [[low, high]] * 2 and 3 < high < 5


@pytest.mark.parametrize("start", [None, [0.123, 9.0, -9.0]])
def test_the_point_starts_on_the_sliders_steps(tiny, start):
    view = latent_explorer(tiny, codes=torch.randn(20, 3), start=start, ranges=(-2, 2.5))
    for i, (value, (low, high), step) in enumerate(zip(view.start, view.ranges, view.steps, strict=True)):
        assert getattr(view, f"z{i}") == value and low <= value <= high
        assert abs((value - low) / step - round((value - low) / step)) < 1e-6
    if start:
        assert view.start == pytest.approx([0.12, 2.5, -2], abs=0.011)


WRONG = {
    "codes must fit the decoder": ({"codes": np.zeros((5, 2))}, r"shape \(N, 3\).*got \(5, 2\)"),
    "no codes at all": ({"codes": np.zeros((0, 3))}, r"got \(0, 3\)"),
    "codes that are not numbers": ({"codes": np.full((5, 3), np.nan)}, "not finite"),
    "a label for each": ({"codes": np.zeros((5, 3)), "labels": [1, 2]}, "each of 5 codes"),
    "labels without codes": ({"labels": [1, 2]}, "each of 0 codes"),
    "ranges upside down": ({"ranges": (1, -1)}, "low < high"),
    "too few ranges": ({"ranges": [(-1, 1), (-1, 1)]}, "one .* or 3 of them"),
    "too few names": ({"names": ["a"]}, "names must hold 3"),
    "too short a start": ({"start": [1]}, "start must hold 3"),
    "a start that is no number": ({"start": [0, np.nan, 0]}, r"start\[1\] must be a finite number, got nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_explorer_refuses(name, tiny):
    arguments, says = WRONG[name]
    with pytest.raises(ValueError, match=says):
        latent_explorer(tiny, **arguments)


def trained(last: str) -> tuple[nn.Sequential, torch.Tensor]:
    """A decoder of 64 patterns from codes of theirs, trained until they are told apart, and the codes."""
    torch.manual_seed(0)
    x = torch.rand(64, 16).round()
    codes = nn.Parameter(torch.randn(64, 3))
    decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 16), nn.Unflatten(1, (1, 4, 4)))
    optimizer = torch.optim.Adam([codes, *decoder.parameters()], 0.02)
    loss = nn.functional.binary_cross_entropy_with_logits if last == "logits" else nn.functional.mse_loss
    for _ in range(300):
        optimizer.zero_grad()
        loss(decoder(codes).flatten(1), x).backward()
        optimizer.step()
    return decoder, codes.detach()


def test_a_decoder_of_logits_is_refused():
    decoder, codes = trained("logits")
    found = r"images for the codes must be pixels in \[0, 1\], got -\d+ … \d+; append nn.Sigmoid\(\)"
    with pytest.raises(ValueError, match=found) as refusal:
        latent_explorer(decoder, codes=codes, prior=False)
    assert "\n" not in str(refusal.value)
    for arguments in ({}, {"start": codes[0].tolist(), "ranges": (-9, 9)}):
        with pytest.raises(
            ValueError, match=r"images (at the start|for draws from N\(0, I\)) must be pixels"
        ):
            latent_explorer(decoder, **arguments)
    latent_explorer(nn.Sequential(decoder, nn.Sigmoid()), codes=codes)
    # Pixels in [−1, 1], as of other books' data
    with pytest.raises(ValueError, match=r"for the codes must be pixels in \[0, 1\], got -\d"):
        latent_explorer(nn.Sequential(decoder, nn.Tanh()), codes=codes)
    nothing = nn.Sequential(decoder, nn.ReLU())
    nothing[0][0].bias.data.fill_(torch.inf)
    with pytest.raises(ValueError, match="does not fit"):
        latent_explorer(nothing, codes=codes)


def test_a_decoder_without_a_squash_that_strays_a_little_is_shown():
    decoder, codes = trained("pixels")
    with torch.no_grad():
        images = decoder(codes)
    assert images.min() < -0.02 and images.max() > 1.02  # it does stray
    latent_explorer(decoder, codes=codes)
    latent_explorer(decoder, codes=codes, prior=False)
    latent_explorer(decoder)


@pytest.mark.parametrize("shape", [(1, 5, 4), (7, 5, 4), (6, 5, 4, 3)])
def test_a_sheet_holds_every_frame(shape):
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    view = flipbook(frames)
    sheet = np.asarray(Image.open(io.BytesIO(view.sheet)))
    for i, frame in enumerate(frames):
        top, left = i // view.columns * 5, i % view.columns * 4
        np.testing.assert_array_equal(sheet[top : top + 5, left : left + 4], frame)
    as_floats = flipbook(torch.tensor(frames / 255))
    assert as_floats.sheet == view.sheet


NO_BOOKS = {
    "shape": ({"frames": np.zeros((3, 4))}, r"\(T, H, W\).*got \(3, 4\)"),
    "range": ({"frames": np.full((1, 2, 2), 7.0)}, "7 … 7"),
    "captions": ({"frames": np.zeros((3, 2, 2)), "captions": ["one"]}, "captions must be 3"),
    "curve": ({"frames": np.zeros((3, 2, 2)), "curve": ([1, 2, 3], [1, 2])}, r"curve\[1\] must be 3.*got 2"),
    "start": ({"frames": np.zeros((3, 2, 2)), "start": 3}, "0 … 2; got 3"),
}


@pytest.mark.parametrize("name", NO_BOOKS)
def test_the_flipbook_refuses(name):
    arguments, says = NO_BOOKS[name]
    with pytest.raises(ValueError, match=says):
        flipbook(**arguments)


# In a browser


def coordinates(page, latents: int) -> list[float]:
    page.evaluate(SETTLE)
    return page.evaluate(f"() => Array.from({{ length: {latents} }}, (_, i) => model.get(`z${{i}}`))")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 12)])
def test_the_picture_in_the_page_is_the_decoders(show, shape):
    decoder = nn.Sequential(nets.mlp_decoder(2, shape), nn.Sigmoid())
    page = show(latent_explorer(decoder, start=[1, -1]))
    pixels = np.array(page.locator("canvas").evaluate(PIXELS)).reshape(*shape[1:], 4)
    with torch.no_grad():
        expected = rounded(decoder)(torch.tensor([[1.0, -1.0]]))[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(pixels[..., :3] - expected).max() <= 0.51
    assert (pixels[..., 3] == 255).all()
    assert float(page.locator(".vae-latent-explorer").get_attribute("data-ms")) >= 0


def test_the_point_is_dragged_and_put_back(show, tiny):
    page = show(latent_explorer(tiny, ranges=(-2, 2), start=[0, 0, 1]), views=2)
    before = page.locator("canvas").nth(1).evaluate(PIXELS)
    box = page.locator(".paper").first.bounding_box()
    x, y, side = box["x"], box["y"], box["width"]
    page.mouse.move(x + side / 2, y + side / 2)
    page.mouse.down()
    page.mouse.move(x + 0.75 * side, y + 0.75 * side, steps=4)
    assert coordinates(page, 3) == pytest.approx([1, -1, 1], abs=0.03)
    assert page.locator("canvas").nth(1).evaluate(PIXELS) != before  # the other view keeps in step
    page.mouse.move(x + 3 * side, y - 3 * side)
    assert coordinates(page, 3) == [2, 2, 1]  # held at the edge
    page.mouse.up()
    page.mouse.move(x, y)
    assert coordinates(page, 3) == [2, 2, 1]
    assert page.evaluate("saves") > 0
    page.get_by_role("button", name="Put it back").nth(1).click()
    assert coordinates(page, 3) == [0, 0, 1]
    assert page.locator("canvas").first.evaluate(PIXELS) == before


def test_the_point_is_moved_by_keys_and_said_aloud(show, tiny):
    page = show(latent_explorer(tiny, start=[0, 0, 0]))
    plane = page.locator("[role=slider]")
    plane.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown", "Tab"):
        page.keyboard.press(key)
    step = 0.05
    assert coordinates(page, 3) == pytest.approx([2 * step, -4 * step, 0])
    assert plane.get_attribute("aria-valuetext") == "z₁ 0.10, z₂ −0.20"
    assert plane.get_attribute("aria-valuenow") == "0.1"
    assert plane.get_attribute("aria-label") == "z₁ across, z₂ up"
    assert (
        page.get_by_role("img").get_attribute("aria-label")
        == "The decoder’s image at z₁ = 0.10, z₂ = −0.20, z₃ = 0.00"
    )


def test_the_plane_turns_to_other_coordinates(show, tiny):
    page = show(latent_explorer(tiny, start=[0, 0, 1.5]))
    across, up = page.get_by_label("coordinate across"), page.get_by_label("coordinate up")
    across.select_option("z₃")
    assert coordinates(page, 3) == [0, 0, 1.5]
    assert page.locator("[role=slider]").get_attribute("aria-valuetext") == "z₃ 1.50, z₂ 0.00"
    up.select_option("z₃")  # taken by the other: they change places
    page.evaluate(SETTLE)
    assert (across.input_value(), up.input_value()) == ("1", "2")
    assert page.locator("[role=slider]").get_attribute("aria-valuetext") == "z₂ 0.00, z₃ 1.50"


def test_of_a_long_code_the_coordinate_that_was_moved_is_in_the_numbers_too(show):
    page = show(latent_explorer(nn.Sequential(nets.mlp_decoder(5, (1, 4, 4)), nn.Sigmoid()), start=[0.0] * 5))
    numbers = page.locator(".decoded .numbers")
    assert numbers.text_content() == "z₁ = 0.00, z₂ = 0.00"
    for name, expected in (("z4", "z₁ = 0.00, z₂ = 0.00, z₅ = 1.00"), ("z0", "z₁ = 1.00, z₂ = 0.00")):
        page.evaluate("(name) => model.set(name, 1)", name)
        page.evaluate(SETTLE)
        assert numbers.text_content() == expected


def test_codes_say_their_labels(show, tiny):
    codes = np.array([[0, 0, 0], [2, 2, 0], [-2, 1, 0]])
    page = show(latent_explorer(tiny, codes=codes, labels=["cat", "dog", "wild"]))
    assert page.locator(".codes").evaluate_all("paths => paths.map((p) => p.getAttribute('d'))") == [
        "M128.0 128.0h0",
        f"M{256 * 5 / 6:.1f} {256 / 6:.1f}h0",
        f"M{256 / 6:.1f} {256 / 3:.1f}h0",
    ]
    assert page.locator("[role=slider]").get_attribute("aria-valuetext").endswith("near a cat")
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 5 / 6 + 3, box["y"] + box["height"] / 6)
    assert page.locator(".tip").text_content() == "dog"
    page.mouse.move(box["x"] + 9, box["y"] + 9)
    assert page.locator(".tip").text_content() == "cat"
    page.get_by_role("button", name="show only wild").focus()
    assert page.locator(".codes.faint").count() == 2


def test_a_task_is_done_at_the_code_that_is_nearest_in_all_coordinates(show, tiny):
    codes = np.array([[0, 0, 0], [1, 1, 0], [1, 1, 2]])
    task = {"codes": codes, "labels": ["3", "5", "8"], "goal": "8"}
    page = show(latent_explorer(tiny, start=[0, 0, 0], **task))
    page.evaluate("() => { model.set('z0', 1); model.set('z1', 1); }")
    page.evaluate(SETTLE)
    assert page.locator(".tip").text_content() in ("5", "8")  # two codes in one place of the plane
    assert page.get_by_role("status").text_content() == ""
    page.evaluate("() => model.set('z2', 1.2)")
    page.evaluate(SETTLE)
    assert page.get_by_role("status").text_content() == "✓ The nearest code is one of 8."


@pytest.mark.parametrize("labels", [None, [1, 2]])
def test_a_task_needs_a_label_of_that_name(tiny, labels):
    with pytest.raises(ValueError, match="goal must be one of the labels"):
        latent_explorer(tiny, codes=np.zeros((2, 3)), labels=labels, goal="8")


def test_one_latent_has_no_plane(show):
    decoder = nn.Sequential(nets.mlp_decoder(1, (1, 4, 4)), nn.Sigmoid())
    page = show(latent_explorer(decoder))
    assert page.locator("svg").count() == 0
    assert page.locator(".numbers").text_content() == "z₁ = 0.80"


def test_a_flipbook_shows_the_frame_that_is_set(show):
    frames = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    page = show(flipbook(frames, name="step", curve=([1, 2, 3, 4], [9, 5, 3, 2]), start=2))
    canvas, caption = page.locator("canvas"), page.locator(".caption")

    def shown():
        page.evaluate(SETTLE)
        return np.array(canvas.evaluate(PIXELS)).reshape(6, 5, 4)[..., :3]

    page.wait_for_function(
        "() => document.querySelector('canvas').getContext('2d').getImageData(0, 0, 1, 1).data[3]"
    )
    np.testing.assert_array_equal(shown(), frames[2])
    page.evaluate("model.set('frame', 1)")
    np.testing.assert_array_equal(shown(), frames[1])
    assert caption.text_content() == canvas.get_attribute("aria-label") == "step 2"
    box = page.locator(".paper").bounding_box()
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 0.9 * box["height"])
    np.testing.assert_array_equal(shown(), frames[3])
    page.get_by_role("button", name="Put it back").click()
    np.testing.assert_array_equal(shown(), frames[2])


@pytest.mark.parametrize(
    ("scheme", "theme", "k"),
    [("light", "", 0), ("dark", "", 1), ("light", "dark", 1), ("dark", "light", 0)],
)
def test_colors_follow_the_theme(show, tiny, scheme, theme, k):
    page = show(latent_explorer(tiny))
    page.emulate_media(color_scheme=scheme)
    if theme:
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    for name, pair in COLORS.items():
        probe = "(e, name) => { e.style.fill = `var(--${name})`; return getComputedStyle(e).fill; }"
        red, green, blue = (int(pair[k][i : i + 2], 16) for i in (1, 3, 5))
        assert page.locator(".dot").evaluate(probe, name) == f"rgb({red}, {green}, {blue})", name


class Halved(nn.Sequential):
    def forward(self, x):
        return super().forward(x) / 2


class Absolute(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight.abs(), self.bias)


class Renamed(nn.ReLU):
    pass


def changed(how) -> nn.Sequential:
    decoder = random_mlp(0)
    how(decoder)
    return decoder


CHANGED = {
    "a Sequential's own forward": lambda: Halved(*random_mlp(0)),
    "a layer's own forward": lambda: nn.Sequential(Absolute(2, 16), nn.Unflatten(1, (1, 4, 4))),
    "a forward of one layer alone": lambda: changed(lambda d: setattr(d[0], "forward", lambda x: x)),
    "a hook": lambda: changed(lambda d: d[0].register_forward_hook(lambda *_: None)),
    "a hook before": lambda: changed(lambda d: d[0].register_forward_pre_hook(lambda *_: None)),
    "a hook on the whole": lambda: changed(lambda d: d.register_forward_hook(lambda *_: None)),
}


@pytest.mark.parametrize("make", CHANGED.values(), ids=CHANGED)
def test_a_layer_that_computes_something_of_its_own_is_refused(make):
    decoder = make()
    with pytest.raises(ValueError, match="with a forward or hooks of its own"):
        latents_of(decoder)


def test_a_layer_of_another_name_is_what_it_is_derived_from():
    layers = export(nn.Sequential(nn.Linear(2, 16), Renamed(), nn.Unflatten(1, (1, 4, 4))), 2).layers
    assert layers[1] == {"op": "relu"}


@pytest.mark.parametrize(
    "labels",
    [
        [None, "a"] * 10,
        [float("nan")] * 20,
        [object()] * 20,
        [[1], [1, 2]] * 10,
        np.ma.array([1] * 20, mask=[True] * 20),
    ],
    ids=["None", "NaN", "objects", "lists", "masked"],
)
def test_labels_that_are_missing_are_refused(tiny, labels):
    with pytest.raises(
        ValueError, match="labels must be a number or a word for each of 20 codes, none missing"
    ):
        latent_explorer(tiny, codes=torch.randn(20, 3), labels=labels)


def test_a_decoder_that_mixes_images_is_refused():
    mixing = nn.Sequential(nn.Linear(2, 16), nn.Flatten(0), nn.Unflatten(0, (1, 1, 4, 4)), nn.Sigmoid())
    with pytest.raises(ValueError, match="cannot take what comes before it"):
        latent_explorer(mixing)


def test_ranges_without_a_size_are_refused(tiny):
    with pytest.raises(ValueError, match="ranges must be"):
        latent_explorer(tiny, ranges=(-1e308, 1e308))
