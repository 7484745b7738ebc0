import io
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from vae_lab import data, plotting
from vae_lab.plotting import plot_codes, plot_curves, plot_images, plot_reconstructions, smooth, use_style

GREY = torch.linspace(0.2, 0.8, 3 * 28 * 28).view(3, 1, 28, 28)
COLOR = torch.linspace(0.2, 0.8, 5 * 3 * 28 * 28).view(5, 3, 28, 28)
CODES = torch.linspace(-1, 1, 40).view(20, 2).flip(1) ** 3
LABELS = torch.arange(20) % 3
PLOTS = {
    "images": lambda ax=None: plot_images(GREY, captions=["a", "b", "c"], title="three", ax=ax),
    "reconstructions": lambda ax=None: plot_reconstructions(GREY, {"dense": GREY, "conv": GREY / 2}, ax=ax),
    "codes": lambda ax=None: plot_codes(CODES, LABELS, ax=ax),
    "curves": lambda ax=None: plot_curves({"up": [1, 2, 4], "down": ([0, 5], [3, 1])}, ax=ax),
}


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        use_style()
        yield


def sheet(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_it_draws_on_the_axes_it_is_given(plot):
    ours = plt.subplots()[1]
    assert plot(ours) is ours and len(plt.get_fignums()) == 1


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_it_makes_axes_if_given_none(plot):
    ax = plot()
    assert plt.get_fignums() == [ax.figure.number] and ax.has_data()


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_saved_twice_it_is_the_same_and_has_no_date(plot):
    def save():
        file = io.BytesIO()
        plot().figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return file.getvalue()

    first = save()
    assert first == save() and b"<dc:date>" not in first and b"<text" in first


def test_images_stand_side_by_side_with_nothing_between():
    rgba = sheet(plot_images(GREY))
    for i, left in enumerate((0, 30, 60)):
        np.testing.assert_allclose(
            rgba[:28, left : left + 28, :3], GREY[i, 0].numpy()[..., None].repeat(3, 2)
        )
        assert (rgba[:28, left : left + 28, 3] == 1).all() and (rgba[:, left + 28 : left + 30, 3] == 0).all()


def test_images_fill_row_by_row():
    rgba = sheet(plot_images(COLOR, columns=2))
    assert rgba.shape == (3 * 30, 2 * 30, 4)
    for i in range(5):
        top, left = i // 2 * 30, i % 2 * 30
        np.testing.assert_allclose(rgba[top : top + 28, left : left + 28, :3], COLOR[i].permute(1, 2, 0))
    assert not rgba[60:, 30:].any()  # the sixth place is empty


def test_colors_that_stray_a_little_are_clipped_to_what_can_be_shown():
    rgba = sheet(plot_images(torch.tensor([-0.05, 1.05]).view(2, 1, 1, 1).expand(2, 1, 28, 28)))
    assert (rgba[0, 0, :3] == 0).all() and (rgba[0, 30, :3] == 1).all()


def test_whole_numbers_lists_and_pictures_are_drawn_as_floats_are():
    drawn = sheet(plot_images(GREY))
    levels = GREY.mul(255).round().byte()
    for same in (
        levels,
        levels.numpy().tolist(),
        levels[:, 0],
        [Image.fromarray(x[0].numpy()) for x in levels],
    ):
        np.testing.assert_allclose(sheet(plot_images(same)), drawn, atol=0.51 / 255)
    np.testing.assert_allclose(sheet(plot_images(data.Images(levels))), drawn, atol=0.51 / 255)


def test_captions_stand_under_their_images():
    ax = plot_images(GREY, captions=["a", "b"], title="a title")
    assert texts(ax) == ["a", "b"] and ax.get_title(loc="left") == "a title"
    for i, text in enumerate(ax.texts):
        x, y = text.get_position()
        assert x == 30 * i + 14 and 28 < y < sheet(ax).shape[0]
    assert not ax.axison


def test_reconstructions_stand_under_originals_with_their_names():
    ax = plot_reconstructions(COLOR, {"half": COLOR / 2, "none": 0 * COLOR})
    rgba = sheet(ax)
    for row, images in enumerate((COLOR, COLOR / 2, 0 * COLOR)):
        for i in range(5):
            drawn = rgba[row * 30 : row * 30 + 28, i * 30 : i * 30 + 28, :3]
            np.testing.assert_allclose(drawn, images[i].permute(1, 2, 0))
    assert texts(ax) == ["original", "half", "none"]
    assert [text.get_position()[1] for text in ax.texts] == [14, 44, 74]
    assert texts(plot_reconstructions(COLOR, {}, first="noisy")) == ["noisy"]


def test_codes_are_colored_and_named_by_class():
    ax = plot_codes(CODES, LABELS)
    assert texts(ax) == ["0", "1", "2"] and (ax.get_xlabel(), ax.get_ylabel()) == ("$z_1$", "$z_2$")
    for k, (dots, text) in enumerate(zip(ax.collections, ax.texts, strict=True)):
        ours = CODES[LABELS.eq(k)]
        np.testing.assert_allclose(dots.get_offsets(), ours)
        np.testing.assert_allclose(text.get_position(), np.median(ours, 0))
        np.testing.assert_allclose(
            dots.get_facecolor()[0, :3], plt.matplotlib.colors.to_rgb(plotting.CLASSES[k])
        )


def test_of_many_latents_the_first_two_are_drawn():
    codes = torch.randn(20, 5)
    offsets = np.concatenate([dots.get_offsets() for dots in plot_codes(codes, 0 * LABELS).collections])
    np.testing.assert_allclose(offsets, codes[:, :2])


def test_curves_carry_their_names_at_their_ends():
    ax = plot_curves({"up": [1, 2, 4], "down": ([0, 5], [3, 1])}, ylabel="nats", colors={"down": plotting.KL})
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 1], [1, 2], [2, 4]])
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[0, 3], [5, 1]])
    assert [(t.get_text(), t.xy) for t in ax.texts] == [("up", (2, 4)), ("down", (5, 1))]
    for drawn in (ax.texts, ax.lines):
        assert [t.get_color() for t in drawn] == [plotting.Q, plotting.KL]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "nats")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: plot_images(GREY[0, 0]),
            ValueError,
            r"images must be at least one image.*got shape \(28, 28\)",
        ),
        (
            lambda: plot_images(torch.rand(2, 2, 8, 8)),
            ValueError,
            r"images must have 1 or 3 .*\(2, 2, 8, 8\)$",
        ),
        (lambda: plot_images(torch.rand(2, 8, 8, 3)), ValueError, r"numpy.moveaxis\(images, -1, -3\)"),
        (
            lambda: plot_images(torch.rand(9, 8, 3)),
            ValueError,
            r"images\[:, None\] if these are gray.*moveaxis",
        ),
        (lambda: plot_images(GREY[:0]), ValueError, "images must be at least one image"),
        (lambda: plot_images(GREY, captions=list("abcd")), ValueError, "captions must be .* got 4 for 3"),
        (lambda: plot_images(GREY, captions="abc"), TypeError, "captions must be a sequence, got 'abc'"),
        (lambda: plot_images(GREY * 255), ValueError, r"images must be pixels in \[0, 1\], .* write x / 255"),
        (lambda: plot_images(9 * GREY - 5), ValueError, "if they are logits"),
        (lambda: plot_images(GREY.log() / 0 * 0), ValueError, "got nan … nan; did training diverge"),
        (
            lambda: plot_reconstructions(GREY, {"few": GREY[:2]}),
            ValueError,
            r"rows\['few'\] must be of shape \(3, .* got \(2",
        ),
        (
            lambda: plot_codes(CODES[:, :1], LABELS),
            ValueError,
            r"codes must have two coordinates at least, got shape \(20, 1\)",
        ),
        (
            lambda: plot_codes(CODES, LABELS[:5]),
            ValueError,
            r"labels must be one for each of 20 codes, got shape \(5,\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_tensors_of_any_precision_can_be_drawn():
    images = GREY.bfloat16().requires_grad_()
    np.testing.assert_allclose(sheet(plot_images(images))[:28, :28, 0], GREY[0, 0], atol=0.01)


def test_smooth_is_the_mean_of_neighbors_at_their_middle():
    steps, means = smooth([1, 2, 6, 3, 3], 3)
    assert steps.tolist() == [1, 2, 3] and means.tolist() == pytest.approx([3, 11 / 3, 4])
    steps, means = smooth([1, 3], 20)  # shorter than the width
    assert steps.tolist() == [0.5] and means.tolist() == [2]


def test_the_style_is_transparent_text_stays_text():
    assert plt.rcParams["savefig.facecolor"] == "none" and plt.rcParams["svg.fonttype"] == "none"
    assert len(set(plotting.CLASSES)) == 10
    assert len({plotting.Q, plotting.P, plotting.PRIOR, plotting.KL, plotting.REC}) == 5


def test_outside_a_notebook_the_style_starts_no_shell():
    code = "import IPython, vae_lab.plotting as p; p.use_style(); assert not IPython.get_ipython()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_in_a_notebook_figures_are_undated_svg(monkeypatch):
    asked = []
    monkeypatch.setattr("IPython.get_ipython", object)
    monkeypatch.setattr(
        "matplotlib_inline.backend_inline.set_matplotlib_formats", lambda *a, **k: asked.append((a, k))
    )
    use_style()
    assert asked == [(("svg",), {"metadata": {"Date": None, "Creator": None}})]


BROKEN = r"$\bad{x}$"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_images(np.ones((2, 1, 8, 8)), title=BROKEN),
        lambda: plot_images(np.ones((2, 1, 8, 8)), captions=[BROKEN]),
        lambda: plot_reconstructions(np.ones((2, 1, 8, 8)), {BROKEN: np.ones((2, 1, 8, 8))}),
        lambda: plot_curves({BROKEN: [1, 2]}),
        lambda: plot_curves({"a": [1, 2]}, ylabel=BROKEN),
    ],
)
def test_a_formula_that_cannot_be_set_is_refused_before_it_is_drawn(draw):
    with pytest.raises(ValueError, match="has a formula that cannot be set"):
        draw()


@pytest.mark.parametrize(
    "color", ["nocolor", (2, 0, 0), np.array([np.nan, 0, 0]), torch.ones(3), 3, np.ones((2, 3))]
)
def test_what_is_no_color_is_refused(color):
    with pytest.raises(ValueError, match=r"colors\['a'\] must be a color"):
        plot_curves({"a": [1, 2]}, colors={"a": color})


def test_colors_are_those_of_curves():
    assert plot_curves({"a": [1, 2]}, colors={"a": np.array([1.0, 0, 0])}).lines[0].get_color().tolist() == [
        1,
        0,
        0,
    ]
    with pytest.raises(ValueError, match="colors must be of curves, a, got one of 'b'"):
        plot_curves({"a": [1, 2]}, colors={"b": "red"})


def test_a_curve_that_ends_in_a_gap_has_its_name_before_it():
    (name,) = plot_curves({"a": [1.0, 2.0, np.nan, np.inf]}).texts
    assert name.xy == (1, 2.0)


@pytest.mark.parametrize("curve", [[np.nan, np.nan], [np.inf], ([np.nan, 1], [1, np.nan]), [0, 1e305]])
def test_a_curve_that_cannot_be_seen_is_refused(curve):
    with pytest.raises(ValueError, match="must have a finite number at least"):
        plot_curves({"a": curve})


def test_a_grid_without_end_is_refused():
    with pytest.raises(ValueError, match="make a picture of more than"):
        plot_images(np.ones((2, 1, 8, 8)), columns=10**12)
