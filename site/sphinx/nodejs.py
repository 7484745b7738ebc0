"""Where Node.js is, which `make` installs beside Python."""

import shutil
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

PACKAGES = Path(__file__).parents[1] / "node_modules"


def program() -> str:
    found = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    if found is None or not PACKAGES.is_dir():
        raise ExtensionError(
            "the pages want Node.js and the site's packages, which are not here: run make book"
        )
    return found
