"""How fast a VAE learns in a reader's browser, against PyTorch on one thread with the same work.

python -m benchmarks.in_page [--repetitions 5] [--out FOLDER] [--quick]

Both train the same networks on the same data in batches of the same size: the page by the kernels in
WebAssembly and by those in plain JavaScript, PyTorch as one writes it, and with its fused Adam. They run in
turn, and of each turn the fastest steps count, which nothing else on the machine disturbed. Beside it, what a
reader waits for: seconds from a click until digits can be recognized, and the time between two frames of the
page meanwhile.
"""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import pi
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import command
from benchmarks.machine import describe
from vae_lab import data
from vae_lab.widgets import bundle

TOOLS = Path(__file__).parent.parent / "site/tools"
RECOGNIZED = 164.0  # nats, −ELBO of digits held out at which most of the copies can be read
SIGMA = 0.1  # of the toy's Gaussian

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Learning</title>
<script type="module">%s;
Object.assign(window, { learn, makeSession, checked });
window.numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
</script>"""

# Steps a second, of the fastest `few` steps in a row within `ms` milliseconds.
RATE = """([options, rows, plain, few, ms]) => {
  let kernels = "";
  const session = makeSession({ post: ({ frame }) => { kernels = frame.kernels; }, later() {}, slice: 0 });
  const heldOut = new Float32Array(0);
  session({ start: { settings: checked(options), data: numbers(rows), heldOut, parameters: null, plain } });
  session({ step: 100, ask: true });
  let fastest = Infinity;
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const began = performance.now();
    session({ step: few });
    fastest = Math.min(fastest, performance.now() - began);
  }
  return [kernels, (1000 * few) / fastest];
}"""

# Seconds until examples held out have −ELBO `nats`, and the milliseconds between frames until then.
WAIT = """([options, rows, held, nats]) => new Promise((done) => {
  const [clicked, frames] = [performance.now(), []];
  let last = clicked;
  const tick = (now) => { frames.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  const learner = learn({ ...options, data: numbers(rows), heldOut: numbers(held) }, ({ curve, steps }) => {
    const [logLik, kl] = curve.slice(-2);
    if (!(kl - logLik < nats)) return;
    learner.end();
    done({ seconds: (performance.now() - clicked) / 1000, steps, frames });
  });
  learner.view({ codes: true, copies: [0, 1, 2, 3, 4, 5, 6, 7] });
  learner.play();
})"""


@dataclass(frozen=True)
class Work:
    """A model and its data: as the page is told, and as PyTorch is."""

    name: str
    x: Tensor  # (N, D)
    hidden: tuple[int, ...]
    likelihood: str
    few: int  # steps that take the page some milliseconds, what its clock can tell
    batch: int = 64
    latents: int = 2

    def options(self) -> dict:
        given = {"dims": self.x.shape[1], "hidden": self.hidden, "latents": self.latents, "batch": self.batch}
        return {**given, "likelihood": self.likelihood, "scale": SIGMA}


def works() -> list[Work]:
    """Digits with 784-128-2-128-784, and points in the plane with 2-32-32-2-32-32-2."""
    angle = 2 * pi * torch.arange(512) / 8
    ring = torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(512, 2)
    return [
        Work("digits", pixels("train"), (128,), "bernoulli", 2),
        Work("points", ring, (32, 32), "gaussian", 80),
    ]


def pixels(part: str) -> Tensor:
    """The embedded digits, (N, 784)."""
    return getattr(data.load("digits"), part).pixels.flatten(1).float() / 255


def loop(work: Work, *, fused: bool) -> Iterator[Tensor]:
    """PyTorch's steps, with Adam in one operation or as it is by default: the loss after each."""
    dims, hidden = work.x.shape[1], work.hidden
    encoder = layers(dims, *hidden, 2 * work.latents)
    decoder = layers(work.latents, *hidden[::-1], dims)
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3, fused=fused)
    while True:
        for rows in torch.randperm(len(work.x)).split(work.batch):
            if len(rows) < work.batch:
                continue
            x = work.x[rows]
            mu, log_var = encoder(x).chunk(2, dim=1)
            raw = decoder(mu + (log_var / 2).exp() * torch.randn_like(mu))
            if work.likelihood == "bernoulli":
                distortion = F.binary_cross_entropy_with_logits(raw, x, reduction="sum")
            else:
                distortion = (x - raw).square().sum() / (2 * SIGMA**2)
            loss = (distortion + (mu.square() + log_var.exp() - log_var - 1).sum() / 2) / work.batch
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            yield loss.detach()


def layers(*sizes: int) -> nn.Sequential:
    made = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*made[:-1])


def torch_rate(work: Work, seconds: float, *, fused: bool) -> float:
    """Steps a second of PyTorch, of the fastest step within so many seconds."""
    steps, fastest = loop(work, fused=fused), float("inf")
    for _ in range(20):
        next(steps)
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        next(steps)
        fastest = min(fastest, time.perf_counter() - start)
    return 1 / fastest


def text_of(x: Tensor) -> str:
    return base64.b64encode(x.numpy().astype("<f4").tobytes()).decode()


def measure(work: Work, ask: Callable, *, repetitions: int, seconds: float) -> dict:
    """One row of the table: steps a second of each, in turn."""
    rates: dict[str, list[float]] = {"wasm": [], "plain": [], "torch": [], "fused": []}
    for _ in range(repetitions):
        for plain in (False, True):
            kernels, rate = ask(RATE, [work.options(), text_of(work.x), plain, work.few, 1000 * seconds])
            if kernels != ("plain" if plain else "wasm"):
                raise RuntimeError("this browser runs no WebAssembly with SIMD; try a newer one")
            rates[kernels].append(rate)
        for fused in (False, True):
            rates["fused" if fused else "torch"].append(torch_rate(work, seconds, fused=fused))
    sizes = [work.x.shape[1], *work.hidden, work.latents, *work.hidden[::-1], work.x.shape[1]]
    ratio = {
        f"{ours} / {theirs}": [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
        for ours in ("wasm", "plain")
        for theirs in ("torch", "fused")
    }
    return {"name": work.name, "sizes": sizes, "batch": work.batch, "steps_per_second": rates, "ratio": ratio}


def wait(work: Work, ask: Callable, *, repetitions: int) -> dict:
    """How long a reader waits for digits that can be read, and how smooth the page is meanwhile."""
    options, held = {**work.options(), "rate": 4e-3}, text_of(pixels("test"))
    runs = [ask(WAIT, [options, text_of(work.x), held, RECOGNIZED]) for _ in range(repetitions)]
    frames = sorted(ms for run in runs for ms in run["frames"])
    return {
        "nats": RECOGNIZED,
        "seconds": [run["seconds"] for run in runs],
        "steps": runs[0]["steps"],
        "frame_ms": {"median": median(frames), "p95": frames[int(0.95 * len(frames))]},
    }


@contextmanager
def page():
    """(a function that asks a page in Chromium, Chromium's version)"""
    sys.path.append(str(TOOLS))
    try:
        import chromium
    except ImportError:
        sys.exit("in_page needs a browser: pip install -e '.[test]', then python site/tools/chromium.py")
    with chromium.launch() as browser:
        opened = browser.new_page()
        opened.set_content(PAGE % bundle.learning())
        opened.wait_for_function("() => window.learn")
        yield opened.evaluate, browser.version


def line(row: dict) -> str:
    rates = "".join(f"{median(row['steps_per_second'][kind]):11,.0f}" for kind in row["steps_per_second"])
    ratios = "".join(f"   × {median(row['ratio'][f'wasm / {other}']):.2f}" for other in ("torch", "fused"))
    return f"{row['name']:10}{rates}{ratios}"


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser("in_page", __doc__, quick="once and in short, for tests")
    parser.add_argument("--repetitions", type=command.count, default=15)
    args = command.asked(parser, arguments)
    repetitions, seconds = (1, 0.2) if args.quick else (args.repetitions, 1.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        with page() as (ask, version):
            heads = "".join(f"{head:>11}" for head in ("wasm", "plain", "PyTorch", "fused"))
            print(f"steps/s   {heads}   wasm / PyTorch, / fused")
            rows = []
            for work in (all_works := works()):
                rows.append(measure(work, ask, repetitions=repetitions, seconds=seconds))
                print(line(rows[-1]), flush=True)
            waited = wait(all_works[0], ask, repetitions=repetitions)
        machine = {**describe("cpu"), "chromium": version}
    finally:
        torch.set_num_threads(threads)
    print(f"digits can be read after {median(waited['seconds']):.1f} s, {waited['steps']} steps")
    result = {"machine": machine, "rows": rows, "wait": waited}
    (args.out / "in_page.json").write_text(json.dumps(result, indent=1) + "\n", "utf8")
    print(f"\nWritten to {args.out}: in_page.json")


if __name__ == "__main__":
    main()
