"""A headless Chromium for the tests and the README's picture.

python site/tools/chromium.py      make sure that there is one: the system's, apt's or Playwright's own
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-sandbox",
)


def find() -> str | None:
    """The path of the system's Chromium, if it has one that starts."""
    for path in filter(None, (*map(shutil.which, NAMES), str(MAC) if MAC.exists() else None)):
        if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


def is_here() -> bool:
    """Whether there is one to launch."""
    with sync_playwright() as playwright:
        return bool(find()) or Path(playwright.chromium.executable_path).exists()


@contextmanager
def launch():
    """A running browser: the system's, or Playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=QUIET)
        yield browser
        browser.close()


def install() -> None:
    """Get a Chromium where there is none, asking for no password."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if (
        shutil.which("apt-get")
        and shutil.which("sudo" if sudo else "true")
        and subprocess.run([*sudo, "true"]).returncode == 0
    ):
        print("Installing Chromium with apt ...", flush=True)
        subprocess.run([*sudo, "apt-get", "update", "-qq"])
        subprocess.run([*sudo, "apt-get", "install", "-y", "-qq", "chromium"], stdout=subprocess.DEVNULL)
    if not find():
        print("Installing Playwright's Chromium ...", flush=True)
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    if not find():
        install()
    with launch() as browser:
        print(f"Chromium {browser.version}")
