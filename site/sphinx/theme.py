"""Sphinx extension: what of the theme no option and no template changes."""

import html
import re
import shutil
import string
import subprocess
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer
from sphinx.errors import ExtensionError

import nodejs


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
    second. `browser/page.js` does what the script wants by it.
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


ICON = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}')
FACE = re.compile(r"@font-face\{[^}]*Font Awesome[^}]*\}")


def few_icons(app, exception):
    """Leave of Font Awesome what the pages use: a dozen of its two thousand icons, which weigh 200 kB."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    sheet, fonts = static / "styles/pydata-sphinx-theme.css", static / "vendor/fontawesome/webfonts"
    files = [*Path(app.outdir).rglob("*.html"), static / "scripts/pydata-sphinx-theme.js"]
    used = {name for path in files for name in re.findall(r"\bfa-[\w-]+", path.read_text("utf8"))}
    css, kept = sheet.read_text("utf8"), {}

    def keep(rule: re.Match) -> str:
        names = set(re.findall(r"fa-[\w-]+", rule[1]))
        if names & used:
            kept[int(rule[2], 16)] = names
        return rule[0] if names & used else ""

    css = ICON.sub(keep, css)
    css, faces = FACE.subn("", css)
    if not kept or faces < 1:
        raise ExtensionError(f"{sheet.name} has changed: see where its icons are now, for theme.few_icons")
    font = subset.load_font(fonts / "fa-solid-900.ttf", subset.Options())
    maker = subset.Subsetter()
    maker.populate(unicodes=kept)
    maker.subset(font)
    shutil.rmtree(fonts)
    font.save(static / "vendor/fontawesome/icons.ttf")
    face = (
        "@font-face{font-family:'Font Awesome 6 Free';font-weight:900;font-display:block;"
        "src:url(../vendor/fontawesome/icons.ttf)}"
    )
    sheet.write_text(face + css, "utf8")


WEIGHTS = {"wght": (400, 700)}  # of the fonts, that the pages use
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


def few_letters(app, exception):
    """Leave of the fonts the letters and weights that the pages use, half: a page waits for them."""
    if exception or app.builder.format != "html":
        return
    folder, used = Path(app.outdir), set(map(ord, string.printable))
    for path in [each for kind in ("html", "js", "css") for each in folder.rglob(f"*.{kind}")]:
        text = html.unescape(path.read_text("utf8"))
        used |= set(map(ord, text)) | {int("".join(code), 16) for code in ESCAPED.findall(text)}
    for path in (folder / "_static/fonts").glob("*.woff2"):
        font = TTFont(path)
        maker = subset.Subsetter()
        maker.populate(unicodes=used & font.getBestCmap().keys())
        maker.subset(font)
        instancer.instantiateVariableFont(font, WEIGHTS, inplace=True)
        font.save(path)


def one_sheet(app, exception):
    """Join the style sheets, with the theme's rules that some page can meet: a third of 400 kB."""
    if exception is None and app.builder.format == "html":
        subprocess.run(
            [nodejs.program(), str(Path(__file__).with_name("one_sheet.js")), str(app.outdir)], check=True
        )


def setup(app):
    app.connect("html-page-context", offer_colab, priority=900)  # after the theme has made its buttons
    app.connect("build-finished", calm)
    app.connect("build-finished", few_icons)
    app.connect("build-finished", few_letters, priority=900)
    app.connect("build-finished", one_sheet, priority=900)  # when the pages are as they will be
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
