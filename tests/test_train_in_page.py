"""A VAE that trains in the page: what its reader does, sees, links to and takes home."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image
from showing import SETTLE
from tiny import gray

from vae_lab import lab
from vae_lab.data import Images
from vae_lab.objectives import elbo
from vae_lab.widgets import train_in_page

STEPS = "() => Number(document.querySelector('.vae-train-in-page').dataset.steps)"


@pytest.fixture
def train(show):
    """Open a widget, and functions that use it as its reader does."""

    class Trained:
        def __init__(self, view):
            self.page = show(view)

        def press(self, name):
            self.page.get_by_role("button", name=name, exact=True).click()

        def until(self, steps):
            """Train until so many steps are done, and pause."""
            self.press(self.page.locator("button.go").text_content())
            self.page.wait_for_function(f"({STEPS})() >= {steps}", timeout=60_000)
            self.press("Pause")
            self.page.wait_for_function("document.querySelector('[data-checksum]').dataset.checksum")

        def get(self, trait):
            return self.page.evaluate("(name) => model.get(name)", trait)

        def set(self, **traits):
            self.page.evaluate(
                "(all) => { for (const [k, v] of all) model.set(k, v); model.save_changes(); }",
                list(traits.items()),
            )
            self.page.evaluate(SETTLE)

        def number(self, name):
            text = self.page.locator(f".numbers .{name} output").text_content()
            return None if text == "–" else float(text.split()[0].replace("−", "-").replace(",", ""))

        def checksum(self):
            return self.page.locator("[data-checksum]").get_attribute("data-checksum")

        def choose(self, menu, option):
            self.page.locator("label", has=self.page.get_by_text(menu, exact=True)).locator(
                "select"
            ).select_option(label=option)

        def weights(self) -> bytes:
            return bytes(
                self.page.evaluate(
                    "() => { const v = model.get('weights');"
                    "return [...new Uint8Array(v.buffer, v.byteOffset, v.byteLength)]; }"
                )
            )

    return Trained


def test_nothing_runs_before_a_click(train):
    t = train(train_in_page())
    t.page.wait_for_timeout(300)
    assert t.page.workers == [] and t.page.evaluate(STEPS) == 0
    assert t.page.locator("button.go").text_content() == "Train"
    t.until(1)
    assert len(t.page.workers) == 1


def test_digits_are_learned_in_so_many_steps(train):
    t = train(train_in_page())
    t.until(300)
    assert t.number("loss") < 190 and t.number("held") < 195  # 173 and 175 after 300 steps
    assert t.number("rec") < -100 and 2 < t.number("kl") < 15
    assert t.page.locator("[data-ms]").get_attribute("data-ms")


def test_beta_moves_the_kl_while_it_learns(train):
    t = train(train_in_page())
    t.until(300)
    assert t.number("kl") > 4
    slider = t.page.get_by_label("β", exact=True)
    slider.fill("200")
    t.until(700)
    assert t.number("kl") < 2
    assert [change for _, change in t.get("changes")] == [{"beta": 20}]
    slider.fill("74")
    t.until(1100)
    assert t.number("kl") > 3


def test_a_link_leads_to_the_same_parameters(train):
    t = train(train_in_page(data="moons", seed=5))
    t.choose("speed", "full speed")
    t.until(200)
    t.page.get_by_label("β", exact=True).fill("120")
    t.until(t.page.evaluate(STEPS) + 300)
    t.choose("what learns", "the encoder only")
    t.until(t.page.evaluate(STEPS) + 300)
    state = {name: t.get(name) for name in ("settings", "changes", "until")}
    end, found = t.page.evaluate(STEPS), t.checksum()
    assert state["until"] == end and len(state["changes"]) == 2 and found
    other = train(train_in_page())
    other.set(**json.loads(json.dumps(state)))
    assert other.page.evaluate(STEPS) == 0
    other.press("Train")
    other.page.wait_for_function("document.querySelector('[data-checksum]').dataset.checksum", timeout=60_000)
    assert other.page.evaluate(STEPS) == end and other.checksum() == found
    other.press("Go on")
    other.page.wait_for_function(f"({STEPS})() > {end}")


def test_a_link_that_is_followed_beside_a_run_leads_there_too(train):
    """Also by its script of changes, of which nothing is lost on the way; a hand then ends the script."""
    state = {
        "settings": {"data": "ring", "speed": "fast"},
        "changes": [[30, {"beta": 4}], [60, {"part": "encoder"}]],
    }
    t = train(train_in_page(data="moons"))
    t.press("Train")
    t.page.wait_for_function(f"({STEPS})() > 5")
    found = []
    for _ in range(2):
        t.set(**state, until=90)
        t.page.wait_for_timeout(200)
        assert t.page.locator("button.go").text_content() == "Train" and t.page.evaluate(STEPS) == 0
        t.press("Train")
        t.page.wait_for_function("document.querySelector('[data-checksum]').dataset.checksum")
        assert t.page.evaluate(STEPS) == 90 and t.get("until") == 90 and t.get("changes") == state["changes"]
        found.append(t.checksum())
        t.press("Go on")
        t.page.wait_for_function(f"({STEPS})() > 100")
    assert found[0] == found[1]
    t.set(**state, until=0)
    t.page.get_by_label("β", exact=True).fill("100")
    t.until(90)
    assert t.get("changes") == [[0, {"beta": 2.5}]] and t.checksum() != found[0]


def test_what_is_taken_home_gives_the_same_bound(train, digits, tmp_path):
    t = train(train_in_page(hidden=(64, 32), latents=3))
    t.until(400)
    t.page.get_by_label("learning rate").fill(
        "0"
    )  # so that what is held out is judged nearly by the last weights
    t.until(t.page.evaluate(STEPS) + 60)
    t.page.get_by_text("Take it with you").click()
    with t.page.expect_download() as saved:
        t.press("Weights")
    saved.value.save_as(tmp_path / "vae.safetensors")
    model = lab.load(tmp_path / "vae.safetensors")
    assert t.weights() == (tmp_path / "vae.safetensors").read_bytes()
    with torch.no_grad():
        torch.manual_seed(0)
        bounds = torch.stack([torch.stack(elbo(model, digits.test.read())) for _ in range(20)]).mean((0, 2))
    t.page.wait_for_timeout(100)
    curve = -(bounds[0] - bounds[1]).item()
    assert curve == pytest.approx(t.number("held"), abs=1.5)  # one draw for each of 360 images
    with t.page.expect_download() as saved:
        t.press("Pictures")
    with Image.open(saved.value.path()) as picture:
        assert picture.size == (8 * 30 - 2, 3 * 30 - 2)
    t.press("PyTorch cell")
    assert "torch" in t.page.locator("pre").text_content()


def test_the_notebook_reads_the_weights_back(train):
    view = train_in_page(data="ring", latents=1)
    with pytest.raises(ValueError, match="press Train"):
        view.model()
    t = train(view)
    t.until(50)
    view.weights = t.weights()
    assert view.model().latents == 1


def test_a_hundred_settings_without_an_error(train):
    draw = random.Random(3)
    t = train(train_in_page())
    for n in range(100):
        points = draw.random() < 0.7
        settings = {
            "data": draw.choice(["ring", "grid", "moons", "pinwheel", "spiral"]) if points else "digits",
            "hidden": draw.choice([[], [16], [32, 32], [64], [9, 7, 5]]),
            "latents": draw.randint(1, 8),
            "activation": draw.choice(["relu", "tanh"]),
            "likelihood": "gaussian" if points or draw.random() < 0.4 else "bernoulli",
            "learnScale": draw.random() < 0.5,
            "scale": draw.choice([0.05, 0.3, 2]),
            "beta": draw.choice([0, 0.1, 1, 20]),
            "rate": draw.choice([0, 1e-4, 0.01]),
            "batch": draw.choice([1, 8, 512]),
            "part": draw.choice(["both", "encoder", "decoder"]),
            "autoencoder": draw.random() < 0.2,
            "freeBits": draw.choice([0, 0.5]),
            "seed": draw.randint(0, 2**32 - 1),
            "beneath": draw.choice(["map", "posterior", "nothing"]),
        }
        t.set(settings=settings, changes=[], until=0)
        t.press("One step")
        t.page.wait_for_function(f"({STEPS})() === 1", timeout=20_000)
        assert np.isfinite([t.number("rec"), t.number("kl"), t.number("loss")]).all(), (n, settings)


def test_the_ledger_adds_up(train):
    t = train(train_in_page(data="pinwheel", latents=1))
    t.until(600)
    t.page.wait_for_function("document.querySelectorAll('.ledger .part').length === 4")
    parts = [
        float(text.split()[-1].replace("−", "-"))
        for text in t.page.locator(".ledger .part").all_text_contents()
    ]
    log_p, reconstruction, kl, gap = parts
    assert log_p == pytest.approx(reconstruction - kl + gap, abs=0.02) and gap > -0.005


def test_points_of_ones_own(train):
    t = train(train_in_page(data="ring"))
    t.page.get_by_text("Your own data").click()
    box = t.page.get_by_label("points, two numbers a line")
    box.fill("1, 2\n3")
    t.press("Use these points")
    assert "line 2" in t.page.locator(".message").text_content().lower()
    rows = "\n".join(f"{np.cos(a):.3f}, {np.sin(a):.3f}" for a in np.linspace(0, 6, 40))
    box.fill(rows)
    t.press("Use these points")
    assert t.get("settings")["data"] == "points" and len(t.get("settings")["points"]) == 80
    t.until(30)


def test_points_are_painted(train):
    t = train(train_in_page(data="ring"))
    t.page.get_by_text("Your own data").click()
    t.page.get_by_label("paint them in the plane").check()
    frame = t.page.locator(".points .frame").bounding_box()
    for n in range(9):
        t.page.mouse.click(frame["x"] + 20 + 20 * n, frame["y"] + 40 + 11 * n)
    assert len(t.get("settings")["points"]) == 18
    t.page.mouse.move(frame["x"] + 30, frame["y"] + 200)
    t.page.mouse.down()
    t.page.mouse.move(frame["x"] + 200, frame["y"] + 200, steps=40)
    t.page.mouse.up()
    assert 18 + 20 < len(t.get("settings")["points"]) <= 18 + 80
    t.until(20)


def test_strokes_are_undone_and_the_frame_is_the_end(train):
    t = train(train_in_page())
    t.page.get_by_text("Your own data").click()
    t.page.get_by_label("paint them in the plane").check()
    assert t.get("settings")["data"] == "ring"  # there is a plane now
    frame = t.page.locator(".points .frame").bounding_box()
    t.page.mouse.click(frame["x"] + 50, frame["y"] + frame["height"] + 12)
    assert t.get("settings")["data"] == "ring"
    for n in range(2):
        t.page.mouse.move(frame["x"] + 30, frame["y"] + 60 + 80 * n)
        t.page.mouse.down()
        t.page.mouse.move(frame["x"] + 180, frame["y"] + 60 + 80 * n, steps=10)
        t.page.mouse.up()
        t.page.wait_for_timeout(600)
    two = len(t.get("settings")["points"])
    assert t.page.locator("select").first.evaluate("(e) => e.selectedOptions[0].text") == "your own points"
    t.press("Undo")
    assert 8 < len(t.get("settings")["points"]) < two
    t.press("Undo")
    assert t.get("settings")["data"] == "ring"
    t.press("Undo")
    assert "nothing to undo" in t.page.locator(".message").text_content()
    t.choose("data", "points: a grid")
    assert t.page.locator(".message").text_content() == ""


def test_other_data_come_with_their_speed_and_without_the_beta_of_before(train):
    t = train(train_in_page())
    t.page.get_by_label("β", exact=True).fill("200")
    t.choose("data", "points: a ring")
    assert t.get("settings")["beta"] == 1
    t.press("Train")
    t.page.wait_for_timeout(1500)
    assert 10 < t.page.evaluate(STEPS) < 600  # 200 a second
    t.choose("data", "digits")
    t.page.wait_for_timeout(1500)
    assert t.get("settings")["speed"] == "fast"


def test_menus_say_what_is_even_if_they_do_not_offer_it(train):
    t = train(train_in_page(likelihood="gaussian", scale=0.7, hidden=(9, 7)))
    now = "(all) => all.map((e) => e.selectedOptions[0].text)"
    shown = t.page.locator("select").evaluate_all(now)
    assert "Gaussian, σ = 0.7" in shown and "9,7" in shown and "Bernoulli" not in shown
    t.page.get_by_text("The model, and how it learns").click()
    t.choose("likelihood", "Bernoulli")
    assert "Bernoulli" in t.page.locator("select").evaluate_all(now)


def test_it_starts_again_by_its_script_and_otherwise_as_a_hand_has_left_it(train):
    t = train(train_in_page(encoder_alone_after=30, controls=("part", "beta", "speed"), views=("curves",)))
    t.until(60)
    part = t.page.locator("label", has_text="what learns").locator("select")
    learns = lambda: part.evaluate("(e) => e.selectedOptions[0].text")  # noqa: E731
    assert learns() == "the encoder only"
    t.press("Start again")
    assert learns() == "both networks" and t.get("changes") == [[30, {"part": "encoder"}]]
    t.until(60)
    assert learns() == "the encoder only"
    t.page.get_by_label("β", exact=True).fill("150")
    t.until(t.page.evaluate(STEPS) + 20)
    t.press("Start again")
    assert learns() == "the encoder only" and t.get("changes") == [] and t.get("settings")["beta"] > 8


def test_an_autoencoder_has_no_posterior_and_its_numbers_are_its_own(train):
    t = train(train_in_page(data="ring"))
    t.choose("speed", "full speed")
    t.until(200)
    t.page.wait_for_function("document.querySelectorAll('.ledger .part').length === 4")
    t.choose("model", "autoencoder")
    assert t.page.evaluate(STEPS) == 0 and t.number("loss") is None
    t.until(200)
    assert not t.page.locator(".ledger").is_visible()
    assert t.page.locator(".views text", has_text="p(z|x), exact").count() == 0


def test_pictures_of_ones_own_and_drawings(train, tmp_path):
    t = train(train_in_page())
    t.page.get_by_text("Your own data").click()
    draw = np.random.default_rng(0)
    names = []
    for n in range(12):
        names.append(tmp_path / f"{n}.png")
        Image.fromarray(draw.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(names[-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    t.page.get_by_label("files").set_input_files([*names, tmp_path / "broken.png"])
    t.page.wait_for_function("document.querySelector('.message').textContent.includes('12 pictures')")
    assert "broken.png" in t.page.locator(".message").text_content()
    t.until(20)
    t.press("Add it")
    assert "Draw something first" in t.page.locator(".message").text_content()
    pad = t.page.locator(".own .image").bounding_box()
    t.page.mouse.move(pad["x"] + 30, pad["y"] + 30)
    t.page.mouse.down()
    t.page.mouse.move(pad["x"] + 90, pad["y"] + 90, steps=5)
    t.page.mouse.up()
    t.press("Add it")
    assert "20 times" in t.page.locator(".message").text_content()
    t.until(20)


def test_a_link_of_what_stayed_elsewhere_says_so(train):
    t = train(train_in_page())
    t.set(settings={"data": "pictures"}, changes=[], until=0)
    assert "stayed with their owner; here are digits" in t.page.locator(".note").text_content()
    t.until(5)
    t.set(settings={"data": "digits", "drawn": 40}, changes=[], until=0)
    assert "40 drawings that stayed with their owner" in t.page.locator(".note").text_content()
    t.set(settings={"data": "digits"}, changes=[], until=0)
    assert t.page.locator(".note").text_content() == ""


def test_frames_while_it_learns(train, record_property):
    t = train(train_in_page())
    t.press("Train")
    t.page.wait_for_function(f"({STEPS})() > 20")
    times = t.page.evaluate("""() => new Promise((done) => {
      const times = [];
      const next = (time) => (times.push(time) < 121 ? requestAnimationFrame(next) : done(times));
      requestAnimationFrame(next);
    })""")
    apart = np.diff(times)
    drawing = float(t.page.locator("[data-ms]").get_attribute("data-ms"))
    words = f"{1000 / np.median(apart):.0f} frames/s, 95% within {np.quantile(apart, 0.95):.0f} ms"
    record_property("measured", f"the lab: {words}; the last was drawn in {drawing:.1f} ms")
    assert np.median(apart) < 100


def test_images_of_the_notebook(train):
    images = gray(40)
    view = train_in_page(images, held_out=gray(10), hidden=(16,), latents=2)
    t = train(view)
    t.until(60)
    assert t.number("held") > 0 and t.number("loss") > 0
    shown = t.page.locator(".sheet canvas").first.evaluate(
        "(c) => [...c.getContext('2d').getImageData(0, 0, 4, 4).data].filter((_, i) => i % 4 === 0)"
    )
    assert shown == images.pixels[0].flatten().tolist()


def test_by_keyboard_alone(train):
    t = train(train_in_page(data="moons"))
    t.page.keyboard.press("Tab")
    t.page.keyboard.press("Enter")
    t.page.wait_for_function(f"({STEPS})() > 5")
    t.page.keyboard.press("Enter")
    t.page.wait_for_function("document.querySelector('[data-checksum]').dataset.checksum")
    assert "steps" in t.page.locator("[aria-live=polite]").first.text_content()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"controls": ("beta", "gamma")}, "controls must be some of"),
        ({"views": ("all",)}, "views must be some of"),
        ({"data": "ring", "likelihood": "bernoulli"}, "likelihood must be 'gaussian' for points"),
        ({"latents": 9}, "latents must be"),
        ({"beta": 21.0}, "beta must be"),
        ({"data": "faces"}, "data must be"),
        ({"held_out": gray(3)}, "held_out goes with images"),
        ({"images": Images(torch.zeros(3, 3, 64, 64, dtype=torch.uint8))}, "at most 4,096 numbers"),
        (
            {"images": gray(4), "held_out": Images(torch.zeros(3, 1, 9, 9, dtype=torch.uint8))},
            "the shape of images",
        ),
    ],
)
def test_what_the_page_cannot_run_is_told(wrong, words):
    with pytest.raises(ValueError, match=words):
        train_in_page(**wrong)
