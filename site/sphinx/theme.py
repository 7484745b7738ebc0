"""Sphinx extension: what of the theme no option and no template changes."""

import re
from pathlib import Path

from sphinx.errors import ExtensionError


def offer_colab(app, pagename, templatename, context, doctree):
    """Offer Colab by its name instead of behind a rocket, and only on what Colab can open: notebooks."""
    notebook = pagename in app.env.found_docs and app.env.doc2path(pagename).endswith(".ipynb")
    buttons = context.get("header_buttons", [])
    for group in [button for button in buttons if button.get("label") == "launch-buttons"]:
        buttons.remove(group)
        if notebook:
            buttons += [
                {**link, "text": f"Open in {link['text']}", "icon": None} for link in group["buttons"]
            ]


def calm(app, exception):
    """Stop the theme's script from asking each block how wide it is, after loading and after every change.

    Each answer lays out what `content-visibility` leaves for later: on a long chapter, for a third of a
    second. `templates/layout.html` does what the script wants by it.
    """
    if exception or app.builder.format != "html":
        return
    path = Path(app.outdir, "_static/scripts/pydata-sphinx-theme.js")
    start = r',"complete"===document\.readyState\?(\w+)\(\):window\.addEventListener\("load",\1\)'
    script, found = re.subn(start, "", path.read_text("utf8"))
    if not found:
        raise ExtensionError(
            f"{path.name} has changed: see what starts addTabStopsToScrollableElements now, for theme.calm"
        )
    path.write_text(script, "utf8")


def setup(app):
    app.connect("html-page-context", offer_colab, priority=900)  # after the theme has made its buttons
    app.connect("build-finished", calm)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
