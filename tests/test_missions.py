"""The lab's page: its links lead to what is recorded, it learns wherever it may, and it is light."""

import gzip
import json
import re

import pytest
from built_book import FILES, ROOT
from playwright.sync_api import expect
from selectolax.lexbor import LexborHTMLParser

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
    return f"{value:.{2 if abs(value) < 100 else 1}f}".replace("-", "−")


def test_there_are_links_to_all_runs():
    assert LINKS.keys() == RUNS.keys() == RECORD.keys()


@pytest.mark.parametrize("run", LINKS)
def test_a_link_leads_to_the_run_that_is_recorded(visit, run):
    """As far as the first of its recorded steps, from the state of another run."""
    page = visit(LAB)
    page.get_by_role("button", name="One step", exact=True).click()
    expect(page.locator(".numbers .steps output")).to_have_text("1 steps")
    page.locator(f"a[data-run='{run}']").first.click()
    expect(page.locator("button.go")).to_be_in_viewport()
    expect(page.locator(".numbers .steps output")).not_to_have_text("1 steps")
    until = RUNS[run].at[0]
    page.evaluate("(hash) => { location.hash = hash; }", LINKS[run].replace("until=0", f"until={until}"))
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator("[data-checksum]")).to_have_attribute(
        "data-checksum", re.compile("."), timeout=60_000
    )
    found = RECORD[run]["found"][0][0]  # of seed 1
    for name, text in numbers(page).items():
        if name == "sigma":
            assert (name in found and text) or not text
        elif text:
            assert text == shown(found[name]), name


def test_the_same_link_opens_again(visit):
    page = visit(LAB)
    link = page.locator("a[data-run='one latent']").first
    for _ in range(2):
        link.click()
        page.get_by_role("button", name="One step", exact=True).click()
        expect(page.locator(".numbers .steps output")).to_have_text("1 steps")
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
    state = {"settings": {"data": "ring"}, "changes": [], "until": until}
    hash_ = "&".join(["widget-1", *(f"{k}={json.dumps(v)}" for k, v in state.items())])
    page.evaluate("(hash) => { location.hash = hash; }", hash_)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator("[data-checksum]")).to_have_attribute(
        "data-checksum", re.compile("."), timeout=60_000
    )
    page.get_by_text("Take it with you", exact=True).last.click()
    return page.locator("[data-checksum]").get_attribute("data-checksum"), page.locator(
        ".takeaway .hint"
    ).text_content()


def test_it_learns_under_any_policy_and_from_a_folder(browser, host, visit):
    found = {}
    for policy, words in POLICIES.items():
        page = browser.new_page()
        headers = {"Content-Security-Policy": policy} if policy else {}

        def strict(route, headers=headers):
            response = route.fetch()
            route.fulfill(response=response, headers={**response.headers, **headers})

        page.route("**/lab.html", strict)
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
