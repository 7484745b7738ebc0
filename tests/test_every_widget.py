"""What every widget does, whichever it is. A new one is found by itself, and wants a line in EXAMPLES."""

import importlib
import json
import pkgutil
import re

import anywidget
import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from showing import FILES, SETTLE, state_of
from tiny import SHAPE, gray
from torch import nn

from vae_lab import data, em, widgets
from vae_lab.models import VAE
from vae_lab.multirate import MultiRateVAE
from vae_lab.nets import mlp, mlp_decoder, mlp_encoder

EXAMPLES = {  # by class: one as a chapter makes it, and the trait that a reader moves first, and where to
    "AggregatePosterior": (widgets.aggregate_posterior, ("sigma", 0.8)),
    "BentDecoder": (widgets.bent_decoder, ("c", 0.8)),
    "Bound": (
        lambda: widgets.bound(lambda z: -z.square().sum(-1) / 2, presets={"one": (0, 0, 1, 1, 0)}),
        ("m0", 1.5),
    ),
    "DrawCodes": (
        lambda: widgets.draw_codes(
            nn.Sequential(mlp_decoder(3, (1, 4, 4)), nn.Sigmoid()),
            torch.eye(3),
            torch.eye(3),
            {"a Gaussian": ([1.0], torch.zeros(1, 3), torch.eye(3)[None])},
        ),
        ("source", "a Gaussian"),
    ),
    "DrawDigit": (
        lambda: widgets.draw_digit(
            VAE(mlp_encoder((1, 28, 28), 4, hidden=(8,)), mlp_decoder(2, (1, 28, 28), hidden=(8,)), 2),
            data.load("digits").train.first(30),
            data.load("digits").test.first(12),
        ),
        ("drawing", "8" * 784),
    ),
    "EMStepper": (
        lambda: widgets.em_stepper(
            torch.randn(60, 2, generator=torch.Generator().manual_seed(0)),
            em.mixture_around(torch.eye(2), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), variance=1.0),
        ),
        ("parameters", [-0.7, 0.5, 0.5, 1.0, 0.0, 1.0, -0.7, 1.0, 0.0, 1.0, 0.0, 1.0]),
    ),
    "EmptyRules": (widgets.empty_rules, ("seeds", 6)),
    "Flipbook": (
        lambda: widgets.flipbook(np.eye(4)[:, None] * np.ones((4, 3, 1)), curve=([1, 2, 3, 4], [4, 2, 1, 0])),
        ("frame", 2),
    ),
    "KLExplorer": (
        lambda: widgets.kl_explorer(
            MultiRateVAE(mlp_encoder(SHAPE, 6), mlp_decoder(3, SHAPE), 3), gray(40), separate=[(1, 0.3, 11)]
        ),
        ("beta", 5.0),
    ),
    "LatentExplorer": (
        lambda: widgets.latent_explorer(
            nn.Sequential(mlp_decoder(3, (1, 4, 4)), nn.Sigmoid()),
            codes=torch.randn(20, 3, generator=torch.Generator().manual_seed(0)),
            labels=torch.arange(20) % 10,
        ),
        ("z0", 1.0),
    ),
    "PhasePortrait": (lambda: widgets.phase_portrait(), ("noise", 1.5)),
    "TrainInPage": (
        lambda: widgets.train_in_page(data="ring"),
        ("settings", {"data": "moons", "beta": 4}),
    ),
    "TwoClouds": (widgets.two_clouds, ("generator", "honest")),
    "TwoGradients": (lambda: widgets.two_gradients("bowl"), ("mu", 1.0)),
    "TwoOptimizers": (widgets.two_optimizers, ("mu", 2.0)),
    "VectorField": (
        lambda: widgets.vector_field(
            [[-2, -1], [2, -1], [0, 2]], [0.6, 0.3, 0.1], {1.2: mlp((2, 5, 2)), 0.3: mlp((2, 5, 2))}
        ),
        ("x1", 1.0),
    ),
    "WaterFilling": (
        lambda: widgets.water_filling(gray(40), gray(3), latents=5, sigma=0.2, marks={"0.25": 0.25}),
        ("sigma", 0.3),
    ),
}


def classes() -> list[type]:
    """The widgets of the package, from all of its modules."""
    modules = [
        importlib.import_module(f"vae_lab.widgets.{m.name}") for m in pkgutil.iter_modules(widgets.__path__)
    ]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted(
        (c for c in found if issubclass(c, anywidget.AnyWidget) and c.__module__.startswith("vae_lab")),
        key=str,
    )


each_widget = pytest.mark.parametrize("widget", classes(), ids=lambda widget: widget.__name__)


def made(widget: type):
    """The example of a class."""
    torch.manual_seed(0)
    view = EXAMPLES[widget.__name__][0]()
    assert isinstance(view, widget)
    return view


def test_every_widget_has_an_example_and_is_offered():
    assert (
        {widget.__name__ for widget in classes()} == EXAMPLES.keys() == set(widgets.__all__) & EXAMPLES.keys()
    )
    files = {path.name for path in FILES.glob("*.js")}
    for widget in classes():
        stem = widget.__module__.rpartition(".")[2]
        assert f"{stem}.js" in files and (FILES / f"{stem}.css").exists(), f"{stem} wants its three files"


@each_widget
def test_the_bundle_is_one_module(widget):
    esm = str(widget._esm)
    assert not re.search(r"^import\b.*[\"']", esm, re.MULTILINE) and esm.count("export default") == 1
    addresses = set(re.findall(r"https?://[^\s\"'`]+", esm))
    assert addresses <= {
        "http://www.w3.org/2000/svg",
        "https://github.com/vae-lab/vae-lab",
    }  # none is fetched
    names = re.findall(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", esm, re.MULTILINE)
    assert len(names) == len(set(names)), "two files of the bundle use a name twice"
    assert not re.search(r"^\s*/[/*]", esm, re.MULTILINE), "comments travel with every page"
    assert not re.search(r"\bid=|\bid:\s*[\"'`]", esm), "an id would be there twice with two views"


@each_widget
def test_the_style_stays_with_the_widget(widget):
    css = re.sub(r"/\*.*?\*/", "", str(widget._css), flags=re.DOTALL)
    for selector in re.findall(r"([^{}]+)\{", css):
        assert selector.strip().startswith("@") or all(
            ".vae-" in s for s in re.split(r",(?![^(]*\))", selector)
        )


@each_widget
def test_a_page_is_given_what_it_needs(widget):
    """As JSON, with no NaN in it, from which alone the page rebuilds it."""
    view = made(widget)
    json.dumps(state_of(view)[0], allow_nan=False)
    models = dependency_state([view], drop_defaults=False).values()
    modules = {model["model_module"] for model in models}
    assert modules == {"anywidget", "@jupyter-widgets/base"}
    assert sum("_esm" in model["state"] for model in models) == 1
    assert repr(view) == repr(made(widget)) and len(repr(view)) < 60
    assert view.hint and "\n" not in view.hint


@each_widget
def test_sliders_stand_where_the_view_does(widget, show):
    page = show(made(widget))
    for slider in page.locator(".slider").all():
        told = slider.locator("input").get_attribute("aria-valuetext")
        assert told == slider.locator(".value").text_content() and told


def move(page, widget):
    name, value = EXAMPLES[widget.__name__][1]
    page.evaluate("([name, value]) => { model.set(name, value); model.save_changes(); }", [name, value])
    settle(page)


def settle(page):
    """Wait for a sheet of pictures to be decoded, and for what is computed in many frames."""
    page.evaluate(SETTLE)
    page.wait_for_timeout(100)
    page.wait_for_function("!document.querySelector('[aria-busy]')")


WRONG = {  # what a link may name that is not there: by class, a trait and a value
    "EmptyRules": ("criterion", "luck"),
    "DrawDigit": ("drawing", "nothing"),
    "DrawCodes": ("source", "nowhere"),
    "TwoClouds": ("generator", "nobody"),
    "VectorField": ("level", 7),
    "AggregatePosterior": ("power", 9),
    "EMStepper": ("source", [1.0]),
    "Flipbook": ("frame", 99),
    "LatentExplorer": ("across", 7),
    "PhasePortrait": ("noise", 9.0),
    "TrainInPage": ("settings", {"latents": 99}),
    "TwoGradients": ("objective", "nonsense"),
    "TwoOptimizers": ("latents", 3),
    "WaterFilling": ("which", 9),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_is_not_there_gives_way_to_the_last_one(show, name):
    page = show(EXAMPLES[name][0]())
    settle(page)
    page.evaluate(
        "addEventListener('error', (event) => { event.preventDefault(); window.said = event.message; })"
    )
    before = page.locator(".vae-widget :is(canvas, svg)").evaluate_all(LOOK)
    trait, value = WRONG[name]
    held = page.evaluate("(name) => model.get(name)", trait)
    page.evaluate("([name, value]) => model.set(name, value)", [trait, value])
    page.evaluate(SETTLE)
    settle(page)
    assert page.evaluate("said").startswith("Uncaught RangeError: ")
    assert page.evaluate("(name) => model.get(name)", trait) == held
    assert page.locator(".vae-widget :is(canvas, svg)").evaluate_all(LOOK) == before


LOOK = "all => all.map((e) => e.toDataURL?.() ?? e.outerHTML).join()"


@each_widget
def test_moving_redraws_every_view_and_putting_it_back_restores_it(show, widget):
    page = show(made(widget), views=2)
    settle(page)
    look = lambda: page.locator(".vae-widget :is(canvas, svg)").evaluate_all(LOOK)  # noqa: E731
    before = look()
    move(page, widget)
    after = look()
    assert after != before
    page.get_by_role("button", name="Put it back").nth(1).click()
    settle(page)
    assert look() == before
    for root in page.locator(".vae-widget").all():
        assert float(root.get_attribute("data-ms")) >= 0


@each_widget
def test_handles_have_names_and_say_where_they_are(show, widget):
    page = show(made(widget))
    for handle in page.locator("[role=slider]:visible").all():
        assert handle.get_attribute("tabindex") == "0" and handle.get_attribute("aria-label").strip()
        low, now, high = (float(handle.get_attribute(f"aria-value{name}")) for name in ("min", "now", "max"))
        assert low <= now <= high
        text = handle.get_attribute("aria-valuetext")
        assert 0 < len(text) < 60
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Control+ArrowUp")
        page.evaluate(SETTLE)
        assert handle.get_attribute("aria-valuetext") != text
    assert page.locator(".vae-widget :is(output, [aria-live])").count(), "nothing tells of a change"
    for picture in page.locator(".vae-widget [role=img]").all():
        assert picture.get_attribute("aria-label").strip()


@each_widget
def test_it_fits_a_phone_and_cleans_up_after_itself(show, widget):
    page = show(made(widget), views=2)
    page.set_viewport_size({"width": 320, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    everything = page.evaluate("listening()")
    page.evaluate("ends[0]()")
    assert 0 < page.evaluate("listening()") == everything / 2
    assert page.locator(".vae-widget").count() == 1
    page.evaluate("ends[1]()")
    assert page.evaluate("listening()") == 0 and page.locator(".vae-widget").count() == 0
    page.evaluate(SETTLE)
