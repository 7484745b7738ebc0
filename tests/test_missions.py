"""The lab's page: its links lead to what is recorded, it learns wherever it may, and it is light."""

import gzip
import json
import re
from functools import partial
from urllib.parse import quote, unquote

import pytest
from built_book import FILES, ROOT
from playwright.sync_api import expect
from selectolax.lexbor import LexborHTMLParser
from showing import SETTLE

from benchmarks.missions import RUNS

pytestmark = pytest.mark.site

LAB = "book/lab.html"
RECORD = json.loads((ROOT / "book/results/lab/missions.json").read_text("utf8"))["runs"]
LINKS = {
    a.attributes["data-run"]: a.attributes["href"] for a in LexborHTMLParser(FILES[LAB]).css("a[data-run]")
}


def numbers(page) -> dict[str, str]:
    names = {"loss": "loss", "reconstruction": "rec", "kl": "kl", "sigma": "sigma"}
    return {k: page.locator(f".numbers .{v} output").text_content().split(" ")[0] for k, v in names.items()}


def shown(value: float) -> str:
    return f"{value:.{2 if abs(value) < 100 else 1}f}".replace("-", "−").replace("−0.00", "0.00")


def go_to(page, state: dict) -> None:
    """Open a link in the page that is open, press Train, and wait until it is where the link was made."""
    parts = [f"{name}={quote(json.dumps(value))}" for name, value in state.items()]
    page.evaluate("(hash) => { location.hash = hash; }", "&".join(["widget-1", *parts]))
    page.evaluate(SETTLE)
    page.get_by_role("button", name="Train", exact=True).click()
    done = re.compile(".")
    expect(page.locator("[data-checksum]")).to_have_attribute("data-checksum", done, timeout=20_000)


def test_there_are_links_to_all_runs():
    assert LINKS.keys() == RUNS.keys() == RECORD.keys()


@pytest.mark.parametrize("run", LINKS)
def test_a_link_leads_to_the_run_that_is_recorded(visit, run):
    """As far as the first of its recorded steps, from the state of another run."""
    page = visit(LAB)
    page.get_by_role("button", name="One step", exact=True).click()
    expect(page.locator(".numbers .steps output")).to_have_text("1 step")
    page.locator(f"a[data-run='{run}']").first.click()
    expect(page.locator("button.go")).to_be_in_viewport()
    expect(page.locator(".numbers .steps output")).not_to_have_text("1 step")
    state = dict(part.split("=") for part in LINKS[run].split("&")[1:])
    faster = json.loads(unquote(state["settings"])) | {"speed": "fast"}
    script = json.loads(unquote(state["changes"]))
    go_to(page, {"settings": faster, "changes": script, "until": RUNS[run].at[0]})
    found = RECORD[run]["found"][0][0]  # of seed 1
    seen = numbers(page)
    assert seen["loss"] == shown(found["loss"])
    if not RUNS[run].settings.get("autoencoder"):
        assert [seen[name] for name in ("reconstruction", "kl")] == [
            shown(found[name]) for name in ("reconstruction", "kl")
        ]
    assert (seen["sigma"] != "–") == ("sigma" in found)


def test_a_link_takes_nothing_of_the_run_before_with_it(visit):
    """Neither what a hand changed nor what a script would have."""
    page = visit(LAB)
    for run in ("moons collapse", "collapse", "mean"):
        page.locator(f"a[data-run='{run}']").first.click()
        page.evaluate(SETTLE)
        page.get_by_role("button", name="One step", exact=True).click()
        page.get_by_label("β", exact=True).fill("150")
        page.evaluate(SETTLE)
    link = page.locator("a[data-run='two latents']").first
    link.click()
    page.evaluate(SETTLE)
    page.get_by_label("speed").select_option(label="full speed")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator("[data-checksum]")).to_have_attribute(
        "data-checksum", re.compile("."), timeout=20_000
    )
    assert numbers(page)["loss"] == shown(RECORD["two latents"]["found"][0][-1]["loss"])


def test_the_same_link_opens_again(visit):
    page = visit(LAB)
    link = page.locator("a[data-run='one latent']").first
    for _ in range(2):
        link.click()
        page.get_by_role("button", name="One step", exact=True).click()
        expect(page.locator(".numbers .steps output")).to_have_text("1 step")
        page.get_by_role("button", name="One step", exact=True).click()
        expect(page.locator(".numbers .steps output")).to_have_text("2 steps")


OURS = "script-src 'self' 'unsafe-inline' blob: data:"
POLICIES = {  # what the page's server allows, and how the model then learns
    "": "in a worker, by WebAssembly",
    f"{OURS} 'wasm-unsafe-eval'; worker-src 'none'": "in this page, by WebAssembly",
    f"{OURS}; worker-src 'self' blob:": "in a worker, by plain JavaScript",
    f"{OURS}; worker-src 'none'": "in this page, by plain JavaScript",
}


def learned(page, until: int) -> tuple[str, str]:
    """The checksum after so many steps of points, and how it came about."""
    go_to(page, {"settings": {"data": "ring", "speed": "fast"}, "changes": [], "until": until})
    page.locator(".takeaway summary").click()
    found = page.locator("[data-checksum]").get_attribute("data-checksum")
    return found, page.locator(".takeaway .hint").text_content()


def under(policy: str, route) -> None:
    response = route.fetch()
    own = {"Content-Security-Policy": policy} if policy else {}
    route.fulfill(response=response, headers={**response.headers, **own})


def test_it_learns_under_any_policy_and_from_a_folder(browser, host, visit):
    found = {}
    for policy, words in POLICIES.items():
        page = browser.new_page()
        page.route("**/lab.html", partial(under, policy))
        page.goto(f"{host}/{LAB}")
        found[policy], said = learned(page, 60)
        assert words in said
        page.close()
    wasm, plain = ({v for k, v in found.items() if kind in POLICIES[k]} for kind in ("WebAssembly", "plain"))
    assert len(wasm) == len(plain) == 1
    folder, said = learned(visit(LAB, by="file"), 60)
    assert {folder} == wasm and "WebAssembly" in said


def test_the_page_is_light(record_property):
    size = len(gzip.compress(FILES[LAB].encode())) / 1000
    record_property("measured", f"the lab: {size:.0f} kB gzipped, beyond what all pages share")
    assert size < 300
