"""The text comes first, and each widget's state with it.

The book's tools put the state of all the widgets of a page, a megabyte, before its text, and scripts that a
browser stops for. Here a widget's state stands right before the widget, so that it moves as soon as its part
of the page has come; and scripts wait. A picture that comes late says what room it will take.
"""

import json
from pathlib import Path

from PIL import Image
from selectolax.lexbor import LexborHTMLParser

from dom import put

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"


def give_room(page: LexborHTMLParser, folder: Path) -> None:
    """Write its size in pixels on each picture that is fetched when it is near; `folder` holds the page."""
    for picture in page.css("img[loading=lazy]"):
        with Image.open(folder / picture.attrs["src"]) as file:
            put(picture, {"width": str(file.width), "height": str(file.height)})


def put_off(page: LexborHTMLParser) -> None:
    """Move the widgets' state to where they stand; let no script of the page's head hold up its text."""
    for script in page.css("head script[src]"):
        if not {"defer", "async", "type"} & set(script.attrs):
            put(script, {"defer": "defer"})
    for script in page.css("script:not([src])"):
        if (
            script.text().lstrip().startswith("DOCUMENTATION_OPTIONS")
        ):  # it waits for the script that makes them
            put(script, {"type": "module"})
    whole = page.css_first(f'head script[type="{STATE}"]')
    if whole is None:
        return
    notebook = json.loads(whole.text())
    left = notebook["state"]
    for view in page.css(f'script[type="{VIEW}"]'):
        name = json.loads(view.text())["model_id"]
        if name not in left:  # it is shown for a second time
            continue
        part = notebook | {"state": {name: left.pop(name)}}  # and no layout, which ours do not have
        script = page.create_node("script")
        put(script, {"type": STATE})
        text = json.dumps(part, separators=(",", ":")).replace("</", "<\\/")
        script.insert_child(text)
        view.insert_before(script, move=True)
    whole.decompose()
