"""Take the pictures of the built book: for the README, for links to it, and of the lab as it learns.

python site/tools/screenshot.py FOLDER     screenshot.png, card.png and lab.webp
"""

import io
import sys
from pathlib import Path

from PIL import Image

from chromium import launch

BOOK = Path("_build/html/book").resolve()
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
LESS = """.vae-widget :is(details, .foot, .ledger, .menus, .message) { display: none !important; }
  header, .bd-header { display: none !important; }"""
FRAMES, APART = (
    22,
    210,
)  # pictures of the lab, and milliseconds between them: it plays once, in less than five seconds
HEIGHT = 572  # pixels of the lab
LEARNED = 700  # steps in the last one
STEPS = "() => Number(document.querySelector('.vae-train-in-page').dataset.steps)"


def opened(browser, name: str, width: int, height: int):
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto((BOOK / name).as_uri())
    page.wait_for_function("!document.querySelector('.math:not(:has(mjx-container))')")
    page.wait_for_timeout(1000)  # fonts and the first drawing
    return page


def film(page) -> list[Image.Image]:
    """The lab before its first step, and then while it learns, at a pace to watch."""
    page.locator(".vae-train-in-page select").nth(1).select_option(label="to watch")
    page.add_style_tag(content=LESS)
    page.locator("h1").evaluate("(e) => e.remove()")
    box = page.locator(".vae-train-in-page").bounding_box()
    clip = {**box, "x": box["x"] - 8, "y": box["y"] - 8, "width": box["width"] + 8, "height": HEIGHT}
    pictures = [page.screenshot(clip=clip)]
    page.get_by_role("button", name="Train", exact=True).click()
    for n in range(1, FRAMES):
        page.wait_for_function(f"({STEPS})() >= {LEARNED * (n / (FRAMES - 1)) ** 2}", polling=20)
        pictures.append(page.screenshot(clip=clip))
    return [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with launch() as browser:
        page = opened(browser, "index.html", 1280, 800)
        page.screenshot(path=folder / "screenshot.png")
        page.set_viewport_size({"width": 1200, "height": 630})
        page.evaluate(CARD)
        page.screenshot(path=folder / "card.png")
        first, *others = film(opened(browser, "lab.html", 900, 900))
    first.save(
        folder / "lab.webp", save_all=True, append_images=others, duration=APART, loop=1, quality=40, method=6
    )
