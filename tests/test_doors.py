"""What people hold, and what comes of it: pixels, labels and points in every form, or one true sentence."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vae_lab import data
from vae_lab.arguments import points
from vae_lab.data import Images, from_floats

G = np.random.default_rng(0)
PIXELS = G.integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)  # (N, C, H, W), nothing about them symmetric
FLOATS = (PIXELS / 255).astype(np.float64)
NAN = float("nan")


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "as it is": lambda x: x,
    "Fortran": np.asfortranarray,
    "backward": lambda x: x[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "every second": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "from channels last": lambda x: x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "read-only": read_only,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "lists": lambda x: x.tolist(),
    "list of arrays": list,
    "objects": lambda x: x.astype(object),
    "unmasked": np.ma.masked_array,
    "torch": lambda x: torch.from_numpy(x.copy()),
    "list of tensors": lambda x: [torch.from_numpy(part.copy()) for part in x],
    "torch, transposed": lambda x: torch.from_numpy(x.transpose(0, 3, 2, 1).copy()).transpose(1, 3),
    "with gradient": lambda x: torch.from_numpy(x.copy()).requires_grad_() if x.dtype.kind == "f" else x,
}
WHOLE = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
REAL = ["float16", "float32", "float64", "longdouble"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_pixels_in_any_layout(layout):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = Images(LAYOUTS[layout](PIXELS))
    assert torch.equal(images.pixels, torch.from_numpy(PIXELS)) and images.pixels.is_contiguous()


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_pixels_of_any_type(kind):
    x = PIXELS // 2 if kind == "int8" else PIXELS
    assert torch.equal(Images(x.astype(kind)).pixels, torch.from_numpy(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [Images, from_floats])
def test_float_pixels_in_any_layout(make, layout):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = make(LAYOUTS[layout](FLOATS))
    assert torch.equal(images.pixels, torch.from_numpy(PIXELS)) and images.pixels.is_contiguous()


@pytest.mark.parametrize("kind", [*REAL, torch.bfloat16])
def test_float_pixels_of_any_type_are_rounded_to_256_levels(kind):
    x = torch.from_numpy(FLOATS).to(kind) if isinstance(kind, torch.dtype) else FLOATS.astype(kind)
    found = from_floats(x).pixels.double() / 255
    torch.testing.assert_close(
        found, torch.tensor(FLOATS), atol=0.5001 / 255 + 2**-8 * ("b" in str(kind)), rtol=0
    )


def test_images_without_an_axis_of_channels_and_truths():
    assert Images(PIXELS[:, 0]).shape == (1, 5, 4)
    assert Images(PIXELS[:, :1] > 99).pixels.unique().tolist() == [0, 255]


def test_channels_where_the_shape_does_not_tell():
    last = PIXELS.transpose(0, 2, 3, 1)
    assert torch.equal(Images(last, channels="last").pixels, torch.from_numpy(PIXELS))
    assert Images(G.integers(2, 256, (6, 2, 5, 4)), channels="first").shape == (2, 5, 4)
    assert Images(PIXELS[:, 0, :, :3], channels="first").shape == (1, 5, 3)
    assert Images(G.integers(2, 256, (6, 4, 5, 3)), channels="first").first(2).dynamic().to("cpu").shape == (
        4,
        5,
        3,
    )


def test_pictures_of_pillow():
    gray, color = Image.fromarray(PIXELS[0, 0]), Image.fromarray(PIXELS[1].transpose(1, 2, 0).copy())
    assert Images([gray, gray]).shape == (1, 5, 4)
    images = Images([gray, color])
    assert torch.equal(images.pixels[1], torch.from_numpy(PIXELS[1]))
    assert torch.equal(images.pixels[0], torch.from_numpy(PIXELS[0, :1]).expand(3, -1, -1))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (G.random((64, 32, 32, 3)), r'C = 1 or 3, got shape \(64, 32, 32, 3\); write channels="last"'),
        (G.random((64, 28, 28, 1)), 'write channels="last"'),
        (G.random((64, 32, 32, 4)), 'write channels="last"'),
        (G.random((64, 7, 32, 32)), 'write channels="first" if there really are 7'),
        (G.random((32, 32, 3)), "may be 32 gray images or one in color"),
        (G.random((32, 32)), r"of rows of numbers make images: x.reshape"),
        (pd.DataFrame(G.random((10, 784))), r"got shape \(10, 784\); of rows of numbers make images"),
        (G.random((2, 3, 4, 5, 6)), r"got shape \(2, 3, 4, 5, 6\)"),
        (G.random((0, 4, 4)), r"at least one image.*got shape \(0, 4, 4\)"),
        (G.random((3, 0, 4)), "at least one image"),
        ([], "at least one image"),
        (G.random((2, 4, 5)) * 255, r"got \d.* … 2\d\d, .* numbers outside; if 255 is white, write x / 255"),
        (G.random((2, 4, 5)) * 2 - 1, r"if -1 is black, write \(x \+ 1\) / 2"),
        (
            np.full((2, 4, 5), 1.0000001),
            r"got 1\.0000001 … 1\.0000001, 40 of 40 numbers outside.*clip\(0, 1\)",
        ),
        (np.where(np.arange(40).reshape(2, 4, 5) > 5, 0.5, -1e-9), "got -1e-09 … 0.5, 6 of 40 numbers"),
        (G.normal(size=(2, 4, 5)) * 9, r"if they are logits, write 1 / \(1 \+ exp\(-x\)\)"),
        (G.random((2, 4, 5)) / 255, "were they divided by 255 twice"),
        (
            np.where(np.arange(40).reshape(2, 4, 5) == 39, NAN, 0.5),
            "1 of 2 images hold NaN, the first is number 1",
        ),
        (G.random((2, 4, 5)) * np.inf, "must be in"),
        (G.integers(0, 2, (2, 4, 5)), r"whole numbers 0 and 1, .* write x \* 255"),
        (G.integers(0, 4000, (2, 4, 5)), r"from 0 to 255, got \d+ to \d+; of 16 bits, write x // 257"),
        (G.integers(-9, 99, (2, 4, 5)), r"from 0 to 255, got -\d to \d\d$"),
        (G.random((2, 4, 5)) + 1j, "must be real numbers"),
        (Image.new("L", (4, 4)), r"several images, got one picture; write \[picture\]"),
        ([Image.new("L", (4, 4)), Image.new("L", (4, 5))], r"one size, got 2 sizes, \(4, 4\) and \(5, 4\)"),
        ([Image.new("L", (4, 4)), np.zeros((4, 4))], "mixes pictures of Pillow's"),
        ([G.random((4, 4)), G.random((4, 5))], "must be numbers in an array"),
        ([torch.rand(4, 4), torch.rand(4, 5)], "several shapes"),
        (np.array([["a", "b"]]), "must be numbers in an array"),
        (pd.DataFrame({"a": ["x"]}), r"a frame or a list, got a DataFrame \(it holds words, 'x' say\)"),
        (np.ma.masked_less(G.random((2, 4, 5)), 0.5), "fill or leave out the masked entries"),
        (torch.rand(2, 4, 5).to_sparse(), "plain, dense tensor"),
        (np.datetime64("2026-01-01"), "must be numbers"),
        (None, "must be numbers .* got None"),
        ("digits", "must be numbers .* got 'digits'"),
        ({"x": 1}, "must be numbers"),
        ((i for i in range(3)), "must be numbers .* got a generator"),
        (torch.nn.Linear(1, 1), "must be numbers .* got a Linear"),
    ],
)
def test_what_may_not_be_pixels_is_refused_in_one_sentence(pixels, words):
    with pytest.raises((ValueError, TypeError), match=f"^pixels.*{words}") as caught:
        Images(pixels)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert caught.traceback[-1].path.parts[-2] in ("vae_lab", "data")


def test_from_floats_takes_no_whole_numbers():
    with pytest.raises(
        TypeError, match=r"pixels must be float numbers .* uint8 .*; whole numbers 0 … 255 go into Images"
    ):
        from_floats(PIXELS)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1, 4, 1, 5, 9],
        (3, 1, 4, 1, 5, 9),
        np.array([3, 1, 4, 1, 5, 9], dtype="uint8"),
        np.array([3, 1, 4, 1, 5, 9], dtype=">i2"),
        np.array([9, 5, 1, 4, 1, 3])[::-1],
        np.array([3.0, 1, 4, 1, 5, 9]),
        np.array([[3], [1], [4], [1], [5], [9]]),
        pd.Series([3, 1, 4, 1, 5, 9], index=range(6, 0, -1)),
        pd.Series([3, 1, 4, 1, 5, 9], dtype="Int64"),
        pd.Series([3, 1, 4, 1, 5, 9], dtype="category"),
        torch.tensor([3, 1, 4, 1, 5, 9], dtype=torch.float16),
        [torch.tensor(k) for k in (3, 1, 4, 1, 5, 9)],
        [np.int32(k) for k in (3, 1, 4, 1, 5, 9)],
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)
def test_labels_of_any_kind(labels):
    images = Images(PIXELS, labels)
    assert images.labels.tolist() == [3, 1, 4, 1, 5, 9] and images.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 2, 3, 4, 5, NAN], "1 of 6 are not, the first in row 5: nan"),
        ([1, 2, 0.5, 4, 5, np.inf], "2 of 6 are not, the first in row 2: 0.5"),
        (["cat"] * 6, "numpy.unique"),
        (np.array(["1"] * 6), "numpy.unique"),
        (pd.Series(["cat"] * 6), "numpy.unique"),
        (pd.Series(["cat"] * 6, dtype="category"), "numpy.unique"),
        (pd.Series([1, 2, None, 4, 5, 6], dtype="Int64"), "must be"),
        (pd.Series([None] * 6), "must be"),
        (pd.to_datetime(["2026-01-01"] * 6), "must be numbers"),
        (np.eye(6), r"got shape \(6, 6\); if a row has a 1 for its class, write labels.argmax\(1\)"),
        ([1, 2, 3], r"one for each of 6 images, got shape \(3,\)"),
        (7, r"got shape \(\)"),
        (np.array([1, 2, 3, 4, 5, 2**64 - 1], dtype="uint64"), "below 2⁶³"),
        ([1j] * 6, "must be real numbers"),
        ({}, "must be numbers"),
    ],
)
@pytest.mark.parametrize("make", [lambda y: Images(PIXELS, y), lambda y: from_floats(FLOATS, y)])
def test_labels_that_are_not_whole_numbers_are_refused(make, labels, words):
    with pytest.raises((ValueError, TypeError), match=f"^labels.*{words}") as caught:
        make(labels)
    assert "\n" not in str(caught.value)


ROWS = LAYOUTS | {
    "backward": lambda x: x[::-1].copy()[::-1],
    "every second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "from channels last": lambda x: x.T.copy().T,
    "torch, transposed": lambda x: torch.from_numpy(x.T.copy()).T,
}


@given(layout=st.sampled_from(sorted(ROWS)), kind=st.sampled_from([*REAL, *WHOLE]), scale=st.integers(-6, 6))
def test_points_in_any_layout_and_of_any_type(layout, kind, scale):
    x = PIXELS[:, 0, :, 0].astype(np.float64) // 2
    x = x * 10.0**scale if kind == "float64" else x
    of_torch = "torch" in layout or layout in ("list of tensors", "with gradient")
    given_so = ROWS[layout](x if of_torch and kind == "longdouble" else x.astype(kind))
    found = points()("x", given_so)
    assert found.dtype == torch.float64 and found.device.type == "cpu"
    np.testing.assert_array_equal(found.detach().numpy(), x)


@pytest.mark.parametrize(
    "x",
    [pd.DataFrame({"a": [1, 2], "b": [0.5, 4]}), pd.DataFrame({"a": [1, 2], "b": [0.5, 4]}, dtype="Float64")],
    ids=["plain", "nullable"],
)
def test_points_from_a_frame(x):
    assert points()("x", x).tolist() == [[1, 0.5], [2, 4]]


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (
            [[0.0, NAN], [1.0, 2.0], [np.inf, 0]],
            "2 of 3 points are not finite, the first in row 0; leave them out",
        ),
        ([1.0, 2.0], r"got \(2,\); write x\[:, None\] if each has one number"),
        (np.zeros((0, 2)), r"N at least 1, got \(0, 2\)"),
        (np.zeros((2, 0)), r"got \(2, 0\)"),
        (np.zeros((2, 2, 2)), r"got \(2, 2, 2\)"),
        (np.zeros((2, 2)) * 1j, "real numbers"),
        ([[1, 2], [3]], "numbers in an array.*inhomogeneous"),
        ([["1", "2"]], "numbers in an array"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "it holds words, 'x' say"),
        (pd.DataFrame({"a": [1, None]}, dtype="Int64"), "1 of 2 points are not finite"),
        (None, "got None"),
    ],
)
def test_what_are_no_points_is_refused(x, words):
    with pytest.raises((ValueError, TypeError), match=f"^x must be.*{words}"):
        points()("x", x)


def test_every_function_that_takes_images_takes_arrays():
    """They go through the same door: the result is that of `Images`."""
    from tiny import new_vae, weights

    from vae_lab import metrics, priors, training

    x, y = G.random((40, 4, 4)), np.arange(40) % 2
    images = Images(x, y)
    models = new_vae(), new_vae()
    for model, given_images in zip(models, (images, x), strict=True):
        training.fit(model, given_images, epochs=1, batch_size=20, test=given_images)
    assert torch.equal(*map(weights, models))
    model = models[0].eval()
    assert training.evaluate(model, x) == training.evaluate(model, images)
    for function in (
        lambda i: metrics.log_likelihood(model, i, n_samples=3),
        lambda i: priors.posteriors(model, i).mean,
    ):
        assert torch.equal(function(x), function(images))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (G.random((40, 4, 4, 3)), 'write channels="last"'),
        (G.random((40, 4, 5)) * 255, "if 255 is white"),
        (
            data.Dataset("d", Images(PIXELS), Images(PIXELS)),
            "got the data set 'd'; write .train or .test after it",
        ),
        ([1, 2], "at least one image"),
    ],
    ids=["channels", "range", "data set", "shape"],
)
def test_every_function_refuses_what_images_refuses(images, words):
    from tiny import new_vae

    from vae_lab import metrics, priors, training

    model = new_vae()
    for call in (training.fit, training.evaluate, metrics.log_likelihood, priors.posteriors):
        with pytest.raises((ValueError, TypeError), match=f"^images.*{words}"):
            call(model, images)
    with pytest.raises((ValueError, TypeError), match=f"^images.*{words}"):
        metrics.fit_classifier(images)


@pytest.mark.parametrize(
    "labels", [[1e300, 1, 2], [2.0**63, 1, 2], torch.tensor([1e19, 1, 2]), [-1e19, 0, 1]]
)
def test_labels_that_int64_cannot_hold_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be whole numbers below 2⁶³, but 1 of 3 are not"):
        Images(PIXELS[:3], labels)


@pytest.mark.parametrize(
    "kinds", [("uint8", "float32"), ("bool", "uint8"), ("float64", "int16"), ("bool", "float32")]
)
@pytest.mark.parametrize("make", [np.asarray, lambda x: torch.from_numpy(x)])
def test_images_of_several_scales_are_not_mixed(kinds, make):
    images = [make(np.eye(8).astype(kind)) for kind in kinds]
    with pytest.raises(ValueError, match=r"pixels mixes images of .* and .*; make them of one type"):
        Images(images)


def test_channels_are_not_asked_for_in_vain():
    with pytest.raises(ValueError, match=r"no axis of channels .* pixels\[None\] if it is one in color"):
        Images(G.integers(2, 256, (28, 28, 3)), channels="last")


@pytest.mark.parametrize("value", [Images(PIXELS), [Images(PIXELS)], [object()], range, object()])
def test_what_holds_no_numbers_is_not_said_to_have_rows(value):
    with pytest.raises(TypeError, match=r"^pixels must be numbers") as caught:
        Images(value)
    assert "several lengths" not in str(caught.value)


@pytest.mark.parametrize("index", [slice("a", "b"), slice(0.5, 2), slice(0, 5, 0)])
def test_a_slice_is_of_whole_numbers(index):
    with pytest.raises(TypeError, match="index must be a slice of whole numbers, got"):
        Images(PIXELS).read(index)


def test_a_slice_may_run_backward():
    images = Images(PIXELS)
    assert torch.equal(images.read(slice(None, None, -1)), images.read().flip(0))


def test_train_and_test_are_of_one_shape():
    with pytest.raises(ValueError, match="train and test must be of one shape"):
        data.Dataset("d", Images(PIXELS), Images(PIXELS[..., :3]))


@pytest.mark.parametrize("load", [lambda home: data.load("afhq-cat", folder=home), lambda home: data.root()])
def test_a_home_that_is_not_there_is_named(load, monkeypatch):
    monkeypatch.setenv("VAE_LAB_DATA", "~nobody-of-this-name/x")
    with pytest.raises((ValueError, data.DataError), match="must be a path in a home that is there"):
        load("~nobody-of-this-name/x")
