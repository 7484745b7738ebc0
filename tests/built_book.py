"""The built book, for tests that open it: its pages, and a browser's visit to one of them.

Where no book is built, a module that imports this one is skipped, and says why.
"""

import functools
import http.server
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HTML = ROOT / "_build/html"
FILES = {
    path.relative_to(HTML).as_posix(): path.read_text("utf8")
    for path in sorted(HTML.rglob("*.html"))
    if "_static" not in path.parts
}
PAGES = [name for name, text in FILES.items() if "<article" in text]
EXPLORERS = [name for name in PAGES if "widget-view+json" in FILES[name]]
DESKTOP, PHONE = (1280, 800), (390, 844)

if not PAGES:
    pytest.skip("there is no built book in _build/html: run make book", allow_module_level=True)


def serve():
    """The fixture `host`: the book served below a sub-path, as GitHub Pages does."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=HTML.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{HTML.name}"
        server.shutdown()


def arrive(page):
    """Wait until a page's widgets stand, and all its sections."""
    page.wait_for_function("!document.querySelector('script[type$=\"widget-view+json\"]')")
    page.wait_for_function("!document.querySelector('.widget-area:not(:has(.vae-widget))')")
    page.wait_for_function("!document.documentElement.matches('.arriving, .unpainted')")


def visits(browser, host):
    """The fixture `visit`: open a page and wait until its widgets stand.

    What goes wrong there fails the test.
    """
    complaints, contexts = [], []

    def visit(name, *, size=DESKTOP, scheme="light", by="file"):
        origin = HTML.as_uri() if by == "file" else host
        context = browser.new_context(
            viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on("response", lambda r: complaints.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on(
            "request",
            lambda r: (
                None
                if r.url.startswith((origin, "data:", "blob:"))
                else complaints.append(f"off-host: {r.url}")
            ),
        )
        page.goto(f"{origin}/{name}", wait_until="load")
        arrive(page)
        if name in PAGES:  # the theme's scripts come last
            page.wait_for_function("document.documentElement.dataset.loaded === 'pydata-sphinx-theme'")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)
