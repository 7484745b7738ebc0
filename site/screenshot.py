"""Take the README's picture: the first page of the built book, as a reader meets it.

python site/screenshot.py FILE.png
"""

import sys
from pathlib import Path

from browser import launch

INDEX = Path("_build/html/book/index.html").resolve()

if __name__ == "__main__":
    with launch() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(INDEX.as_uri())
        page.wait_for_function("!document.querySelector('.math:not(:has(mjx-container))')")
        page.wait_for_timeout(1000)  # fonts and the first drawing
        page.screenshot(path=sys.argv[1])
