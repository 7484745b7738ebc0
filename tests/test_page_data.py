"""What a model in the page learns from: its sets of points, the digits, and what a reader brings or draws."""

import json

import numpy as np
import pytest
from PIL import Image
from showing import SETTLE, run_node

from vae_lab import data
from vae_lab.widgets.bundle import learning, script
from vae_lab.widgets.train_in_page import POINTS, train_in_page

HEAD = """
import { readFileSync } from "node:fs";
import * as sets from "./datasets.js";
import { random } from "./learning/random.js";
const given = JSON.parse(readFileSync("given.json"));
const print = (found) => process.stdout.write(JSON.stringify(found));
const attempt = (call) => { try { return call(); } catch (error) { return [error.name, error.message]; } };
"""
NAMES = "POINT_SETS, pointSet, ownPoints, scaled, split, unpackDigits, readPictures, makePad, random"


def in_node(folder, code: str, given=None):
    (folder / "given.json").write_text(json.dumps(given))
    return json.loads(run_node(folder, HEAD + code))


@pytest.fixture
def page(browser):
    """A page that has the functions of both files."""
    opened, errors = browser.new_page(viewport={"width": 600, "height": 500}), []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    esm = learning() + script("ui.js", "datasets.js", "drawing.js") + f"Object.assign(window, {{ {NAMES} }});"
    opened.set_content(f"<!doctype html><title>data</title><body></body><script type=module>{esm}</script>")
    opened.wait_for_function("() => window.makePad")
    yield opened
    opened.close()
    assert errors == []


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Each set, as Node draws it: {name: (train (512, 2), held out (256, 2), labels (512,))}."""
    code = """print(Object.fromEntries(sets.POINT_SETS.map((name) => {
      const { data, heldOut, labels } = sets.pointSet(name, random(7));
      return [name, [data, heldOut, labels].map((all) => Array.from(all))];
    })));"""
    found = in_node(tmp_path_factory.mktemp("points"), code)
    return {
        name: (np.reshape(a, (-1, 2)), np.reshape(b, (-1, 2)), np.array(c))
        for name, (a, b, c) in found.items()
    }


def test_the_sets_are_those_that_python_names(points):
    assert tuple(points) == POINTS
    for train, held, labels in points.values():
        assert train.shape == (512, 2) and held.shape == (256, 2) and labels.shape == (512,)
        assert np.abs(train).max() < 2.8 and np.abs(held).max() < 2.8  # inside the page's plane
        assert len(np.unique(np.concatenate([train, held]), axis=0)) == 512 + 256
        assert len(np.unique(labels)) <= 10


def test_points_have_the_law_of_their_set(points):
    both = {name: np.concatenate([train, held]) for name, (train, held, _) in points.items()}
    radius = np.linalg.norm(both["ring"], axis=1)
    assert radius.mean() == pytest.approx(1.5, abs=0.02) and radius.std() == pytest.approx(0.1, abs=0.012)
    angle = np.arctan2(*both["ring"].T)
    assert abs(np.exp(1j * angle).mean()) < 0.11  # three standard errors of a uniform angle
    nodes = np.round(both["grid"] / 0.8)
    assert (both["grid"] - 0.8 * nodes).std() == pytest.approx(0.1, abs=0.012)
    assert len(np.unique(nodes[np.abs(nodes).max(1) <= 2], axis=0)) == 25
    assert (np.abs(nodes).max(1) <= 2).mean() > 0.99  # 4 of the noise's standard deviations
    far = np.linalg.norm(both["spiral"], axis=1)
    turn = np.unwrap(np.arctan2(both["spiral"][:, 1], both["spiral"][:, 0]))
    wound = (far * 5 - turn + np.pi) % (2 * np.pi) - np.pi  # the radius is a fifth of the angle
    assert np.median(np.abs(wound[far > 0.5])) < 0.4
    train, _, moon = points["moons"]
    center = 1.2 * np.where(moon == 0, 1, -1)[:, None] * np.array([-0.5, -0.25])
    assert np.linalg.norm(train - center, axis=1).mean() == pytest.approx(1.2, abs=0.03)
    assert 0.4 < moon.mean() < 0.6
    train, _, arm = points["pinwheel"]
    far = np.linalg.norm(train, axis=1)
    back = np.arctan2(train[:, 1], train[:, 0]) - 2 * np.pi * arm / 5 - 0.6 * far
    assert np.abs(np.exp(1j * back).mean() - 1) < 0.15


def test_every_engine_draws_the_same_points(points, page):
    for name, (train, held, _) in points.items():
        found = page.evaluate(
            "(name) => { const { data, heldOut } = pointSet(name, random(7));"
            "return [Array.from(data), Array.from(heldOut)]; }",
            name,
        )
        assert found == [train.ravel().tolist(), held.ravel().tolist()]


def test_digits_are_those_of_the_book(tmp_path):
    digits = data.load("digits")
    view = train_in_page()
    code = "print(Array.from(sets.unpackDigits(given), (v) => Math.round(255 * v)));"
    found = np.reshape(in_node(tmp_path, code, view.digits), (-1, 1, 28, 28))
    known = np.concatenate([part.pixels.numpy() for part in (digits.train, digits.test)])
    assert found.shape == known.shape
    assert np.abs(found - known.astype(int)).max() <= 1 and (found != known).mean() < 1e-3
    assert list(view.labels) == [*digits.train.labels.tolist(), *digits.test.labels.tolist()]
    assert view.held == len(digits.test)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1, 2\n3, 4", [1, 2, 3, 4]),
        ("x;y\n1;2\r\n\n3\t-4.5e-1\n", [1, 2, 3, -0.45]),
        ("[[0.5, −1.5],\n [2, 3]]", [0.5, -1.5, 2, 3]),
        ("(1 2)", [1, 2]),
        ("", []),
    ],
)
def test_a_text_of_points(tmp_path, text, points):
    assert in_node(tmp_path, "print(sets.ownPoints(given));", text) == points


@pytest.mark.parametrize(
    ("text", "line"),
    [("1, 2\n3", 2), ("1 2 3", 1), ("1, 2\n\n4, five", 3), ("1, 2\nNaN, 3", 2), ("1, 2\n3, Infinity", 2)],
)
def test_a_wrong_line_is_named(tmp_path, text, line):
    kind, said = in_node(tmp_path, "print(attempt(() => sets.ownPoints(given)));", text)
    assert kind == "RangeError" and f"Line {line} must be two numbers" in said


def test_points_that_fit_stay_where_they_are(tmp_path):
    code = "print(given.map((points) => { const { points: p, words } = sets.scaled(points);"
    code += " return [Array.from(p), words]; }));"
    fits, far, small = [1.5, -0.5, 0.25, 2.75], [100, 200, 300, 600, 200, 400], [1e-3, 0, -1e-3, 0] * 4
    (a, said), (b, moved), (c, _) = in_node(tmp_path, code, [fits, far, small])
    assert a == fits and said == ""
    assert "200, 400 is now its middle, and 90.9 is 1" in moved
    np.testing.assert_allclose(b, (np.reshape(far, (-1, 2)) - [200, 400]).ravel() / (200 / 2.2), rtol=1e-6)
    np.testing.assert_allclose(c, [2.2, 0, -2.2, 0] * 4, atol=1e-6)
    (few, _), *_ = in_node(tmp_path, code, [small[:4]])
    np.testing.assert_allclose(few, small[:4], rtol=1e-6)  # somebody has begun to paint


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "There must be 1 to 2,000 points; there are 0"),
        ([0.1] * 4002, "there are 2001"),
        ([1, 2, 3], "two finite numbers each"),
        ([1, None], "two finite numbers each"),
        (["a", 1], "two finite numbers each"),
        ([9, 9, 9, 9], "all one point"),
        ([1e308, 0, -1e308, 0], "too far apart"),
    ],
)
def test_points_that_cannot_be_shown_are_refused(tmp_path, points, words):
    code = "print(attempt(() => sets.scaled(given.map((v) => v ?? NaN))));"
    kind, said = in_node(tmp_path, code, points)
    assert kind == "RangeError" and words in said


@pytest.mark.parametrize(("count", "held"), [(1, 0), (9, 0), (10, 2), (57, 11)])
def test_every_fifth_is_held_out(tmp_path, count, held):
    code = """const { data, heldOut } = sets.split(Float32Array.from(given), 3, random(2));
    print([data, heldOut].map((all) => Array.from(all)));"""
    rows = [[n, n + 0.5, -n] for n in range(count)]
    train, other = (np.reshape(part, (-1, 3)) for part in in_node(tmp_path, code, list(np.ravel(rows))))
    assert len(other) == held
    assert sorted(map(list, [*train, *other])) == rows
    assert count < 57 or list(train[:, 0]) != sorted(train[:, 0])


def test_pictures_become_small_and_gray(page, tmp_path):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = (200, 100, 50)  # its middle square
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.new("RGBA", (5, 5), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    draw = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(draw).save(tmp_path / "exact.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    (tmp_path / ".hidden.png").write_bytes(b"none")
    names = ("wide.png", "clear.png", "exact.png", "broken.jpg", ".hidden.png")
    page.evaluate("() => { document.body.innerHTML = '<input type=file multiple>'; }")
    page.locator("input").set_input_files([tmp_path / name for name in names])
    read = """async (most) => {
      const files = [...document.querySelector("input").files];
      const { pictures, broken, left } = await readPictures(files, most ?? undefined);
      return [pictures.map((picture) => Array.from(picture)), broken, left];
    }"""
    (wide, clear, exact), broken, left = page.evaluate(read)
    gray = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    np.testing.assert_allclose(wide, gray, atol=1e-3)
    np.testing.assert_allclose(clear, 1)
    np.testing.assert_allclose(exact, draw.ravel() / 255, atol=1e-6)
    assert broken == ["broken.jpg"] and left == 0
    some, broken, left = page.evaluate(read, 2)
    assert len(some) == 2 and broken == [] and left == 2


@pytest.fixture
def pad(page):
    page.evaluate("() => { window.pad = makePad({ label: 'a pad' }); document.body.append(pad.root); }")
    page.evaluate(SETTLE)
    return page


def drawn(pad) -> np.ndarray:
    return np.reshape(pad.evaluate("() => Array.from(pad.read())"), (28, 28))


def test_a_pen_leaves_a_line_where_it_went(pad):
    assert pad.evaluate("() => pad.empty()")
    box = pad.locator("canvas").bounding_box()
    side = box["width"] / 28
    pad.mouse.move(box["x"] + 5.5 * side, box["y"] + 10.5 * side)
    pad.mouse.down()
    pad.mouse.move(box["x"] + 20.5 * side, box["y"] + 10.5 * side)
    pad.mouse.up()
    pad.mouse.move(box["x"] + 20.5 * side, box["y"] + 20 * side)  # the pen is up
    x = drawn(pad)
    assert (x[10, 5:21] == 1).all() and 0 < x[11, 12] < 1 and x.min() == 0 and x.max() == 1
    assert (x[13:] == 0).all() and (x[:, :3] == 0).all()
    pad.evaluate("() => pad.clear()")
    assert pad.evaluate("() => pad.empty()") and drawn(pad).max() == 0


def test_a_pad_by_keyboard(pad):
    pad.keyboard.press("Tab")
    canvas = pad.locator("canvas")
    assert "pen up" in canvas.get_attribute("aria-valuetext")
    pad.keyboard.press("ArrowLeft")
    assert drawn(pad).max() == 0
    pad.keyboard.press("Space")
    assert "pen down" in canvas.get_attribute("aria-valuetext")
    for _ in range(6):
        pad.keyboard.press("ArrowDown")
    x = drawn(pad)
    assert (x[15:20, 12:14].max(1) > 0.9).all() and (x[:, :10] == 0).all()
    for _ in range(40):
        pad.keyboard.press("ArrowDown")  # it stays inside
    assert drawn(pad)[27].max() > 0.9
