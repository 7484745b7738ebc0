"""Compiles the widgets' kernels from C to WebAssembly, with the compiler that the wheel `ziglang` brings.

pip install --group kernels && python site/tools/kernels.py
"""

import base64
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LEARNING = Path(__file__).parents[2] / "vae_lab/widgets/learning"
SOURCE, COMPILED = LEARNING / "kernels.c", LEARNING / "compiled.js"
ZIG = (
    "0.17.1"  # another version may give other bytes; the group `kernels` in pyproject.toml asks for this one
)
COMPILE = (
    "cc",
    "--target=wasm32-freestanding",
    "-std=c11",
    "-O3",
    "-msimd128",
    "-Wall",
    "-Wextra",
    "-Werror",
)
LINK = (
    "wasm-ld", "--no-entry", "--import-memory", "--stack-first", "-z", "stack-size=4096", "--strip-all",
)  # fmt: skip


def missing() -> str:
    """What is missing to compile, in a sentence; empty if nothing is."""
    try:
        found = version("ziglang")
    except PackageNotFoundError:
        found = "none"
    return "" if found == ZIG else f"needs ziglang {ZIG}, found {found}: pip install --group kernels"


def compiled() -> bytes:
    """The WebAssembly module of kernels.c."""
    with tempfile.TemporaryDirectory() as folder:
        module, out = Path(folder, "kernels.o"), Path(folder, "kernels.wasm")
        zig(*COMPILE, "-c", str(SOURCE), "-o", str(module))
        zig(*LINK, str(module), "-o", str(out))
        return out.read_bytes()


def zig(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ziglang", *arguments], check=True)


def as_script(module: bytes) -> str:
    """A JavaScript file that holds these bytes, for a page that can fetch nothing."""
    return (
        "// kernels.c as WebAssembly, in base64: written by `python site/tools/kernels.py`, not by hand.\n"
        f'export const COMPILED =\n  "{base64.b64encode(module).decode()}";\n'
    )


if __name__ == "__main__":
    if missing():
        sys.exit(f"kernels.py {missing()}")
    COMPILED.write_text(as_script(compiled()), "utf8")
    print(f"Written: {COMPILED.name}, {COMPILED.stat().st_size:,} bytes")
