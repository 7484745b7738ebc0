"""Drawn faces against what their factors say: mirrored, enlarged, recolored, and the same at any size."""

import math

import pytest
import torch
from torch.nn import functional as F

from vae_lab.data import load
from vae_lab.data.toy_faces import FACTORS, SPECIES, _Painter, draw, draw_factors

COLUMN = {name: i for i, name in enumerate(FACTORS)}


def face(species=0, **others):
    """The factors of one face, all in the middle unless told otherwise, (1, 9)."""
    factors = torch.full((1, len(FACTORS)), 0.5)
    factors[0, 0] = species
    for name, value in others.items():
        factors[0, COLUMN[name]] = value
    return factors


def test_the_same_factors_draw_the_same_face_alone_or_among_others():
    factors = draw_factors(40, seed=3)
    pixels = draw(factors, side=32)
    assert pixels.dtype == torch.uint8 and pixels.shape == (40, 3, 32, 32)
    assert torch.equal(pixels, draw(factors, side=32))
    for i in (0, 17, 39):
        assert torch.equal(draw(factors[i : i + 1], side=32)[0], pixels[i])
    assert torch.equal(factors, draw_factors(40, seed=3))
    assert not torch.equal(factors, draw_factors(40, seed=4))


def test_the_number_of_threads_changes_nothing():
    factors = draw_factors(200, seed=5)
    alone = draw(factors, side=24)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert torch.equal(draw(factors, side=24), alone)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)


@pytest.mark.parametrize("side", [8, 31, 64])
def test_nothing_is_cut_off_where_only_a_part_is_painted(side, monkeypatch):
    """Each shape on its own rectangle of pixels, against each on all of them, factors at their extremes."""
    factors = draw_factors(96, seed=6).round()
    parts = draw(factors, side=side).int()
    monkeypatch.setattr(_Painter, "_part", lambda painter, paint, *_: paint(painter))
    assert (parts - draw(factors, side=side).int()).abs().max() <= 1  # a level, by rounding


@pytest.mark.parametrize("species", range(3))
def test_tilt_and_light_from_the_other_side_mirror_the_face(species):
    left = draw(face(species, tilt=0.2, light=0.9), side=48).int()
    right = draw(face(species, tilt=0.8, light=0.1), side=48).int()
    difference = (left.flip(-1) - right).abs()
    assert difference.float().mean() < (2.0 if species == 2 else 0.05)  # the mane's waves have a direction
    assert (left - right).abs().float().mean() > 5


@pytest.mark.parametrize("species", range(3))
@pytest.mark.parametrize("factor", FACTORS[1:])
def test_every_factor_shows_in_every_species(species, factor):
    low, high = (draw(face(species, **{factor: value})).int() for value in (0.0, 1.0))
    assert (low - high).abs().float().mean() > 0.5


def test_species_look_different():
    faces = torch.cat([draw(face(kind)) for kind in range(len(SPECIES))]).float()
    assert (torch.pdist(faces.flatten(1)) / faces[0].numel() ** 0.5 > 20).all()


def test_a_larger_picture_shows_the_same_face():
    """A pixel on an edge takes its part: four small pixels have the mean of the large one."""
    factors = draw_factors(12, seed=1)
    small, large = draw(factors, side=64).float(), draw(factors, side=128).float()
    assert (F.avg_pool2d(large, 2) - small).abs().mean() < 1.5


def test_the_covered_area_is_that_of_the_shape():
    painter = _Painter(face(tilt=0.3)[:, 1:], "cat", 128)
    painter.canvas = torch.zeros(1, 3, 128, 128)
    painter.paint(painter.ellipse(painter.x, painter.y, 0.5, 0.3), torch.ones(1, 3, 1, 1))
    area = painter.canvas[0, 0].sum().item() * (2 / 128) ** 2
    assert area == pytest.approx(math.pi * 0.5 * 0.3, rel=5e-3)


def test_the_middle_of_an_ellipse_is_inside():
    painter = _Painter(face()[:, 1:], "dog", 16)
    inside = painter.ellipse(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), 0.3, 0.2)
    assert inside.item() == pytest.approx(-0.3, rel=1e-3)


def test_factors_fill_their_ranges():
    factors = draw_factors(3000)
    counts = torch.bincount(factors[:, 0].long(), minlength=3)
    assert (counts > 900).all() and len(counts) == 3
    others = factors[:, 1:]
    assert (others.mean(0) - 0.5).abs().max() < 0.03 and others.min() >= 0 and others.max() <= 1
    assert torch.corrcoef(factors.T).fill_diagonal_(0).abs().max() < 0.07


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        (torch.rand(2, 4), "shape"),
        (face(species=3), "0, 1 or 2"),
        (face(fur=1.5), r"\[0, 1\]"),
        (face(fur=math.nan), "factors must be finite"),
    ],
    ids=["shape", "species", "range", "nan"],
)
def test_factors_that_are_none_are_refused(factors, told):
    with pytest.raises(ValueError, match=told):
        draw(factors)


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="side must be a whole number from 8"):
        draw(face(), side=4)
    with pytest.raises(ValueError, match="n must be a whole number of at least 1, got 0"):
        draw_factors(0)


def test_the_data_set_is_drawn_from_factors_that_can_be_had():
    faces = load("toy-faces", side=16)
    assert faces.train.shape == (3, 16, 16) and len(faces.train) == 4000 and len(faces.test) == 500
    for images, seed in ((faces.train, 0), (faces.test, 1)):
        factors = draw_factors(len(images), seed=seed)
        assert torch.equal(images.labels, factors[:, 0].long())
        assert torch.equal(images.pixels[::50], draw(factors[::50], side=16))
