"""Take two pictures of the first page of the built book: for the README, and for links that are shared.

python site/tools/screenshot.py SCREENSHOT.png CARD.png
"""

import sys
from pathlib import Path

from chromium import launch

INDEX = Path("_build/html/book/index.html").resolve()
CARD = """() => {
  const card = document.createElement("main");
  card.innerHTML = `<style>
    body > main { display: grid; grid-template-columns: 25rem 1fr; gap: 3.5rem; align-items: center;
      position: fixed; inset: 0; z-index: 9999; background: var(--vae-paper); padding: 0 3.5rem; }
    body > main h1 { font: 600 3.5rem/1.1 var(--vae-serif); margin: 0 0 1.5rem; }
    body > main .foot { display: none !important; }
    body > main p { font: 400 1.75rem/1.35 var(--vae-serif); margin: 0; }
  </style><div><h1></h1><p>A textbook that runs</p></div>`;
  card.querySelector("h1").textContent = document.querySelector("h1").firstChild.textContent;
  card.append(document.querySelector(".vae-widget"));
  document.body.append(card);
}"""

if __name__ == "__main__":
    with launch() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(INDEX.as_uri())
        page.wait_for_function("!document.querySelector('.math:not(:has(mjx-container))')")
        page.wait_for_timeout(1000)  # fonts and the first drawing
        page.screenshot(path=sys.argv[1])
        page.set_viewport_size({"width": 1200, "height": 630})
        page.evaluate(CARD)
        page.screenshot(path=sys.argv[2])
