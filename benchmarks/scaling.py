"""How the cost of a training step grows with the batch and the network, beside what the machine allows.

python -m benchmarks.scaling [--out FOLDER] [--quick]

For every point: the time of a step, measured, and two bounds on it.

limit : no step can be faster than its arithmetic at the rate of a large matrix product, nor than its memory
    traffic at the rate of a large copy. The two can go on at once, so the limit is the larger, not the sum.
issue : what is left of the step when it computes next to nothing: the same operations, one after the
    other, on a network whose layers have one number each and a batch of one image.

Work is counted, not guessed. Operations: torch's FlopCounterMode over the objective and its gradient, which
counts matrix products and convolutions. Bytes: parameters, their gradients and Adam's two moments, each
read once and written once in 32 bits, and what autograd keeps of every image for the backward pass, written
once and read once. More is moved in fact; what stays in a cache moves faster than the copy.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import matplotlib.pyplot as plt
import torch

from benchmarks import command
from benchmarks.machine import copy_rate, describe, matmul_rate, seconds
from benchmarks.work import bytes_moved, count
from vae_lab.data import Images
from vae_lab.devices import accelerated, pick_device, seed_all
from vae_lab.models import VAE
from vae_lab.nets import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder, parameter_count
from vae_lab.objectives import elbo
from vae_lab.plotting import CLASSES, INK, MUTED, WIDTH, use_style
from vae_lab.training import steps

TITLES = {"batch": "images a batch", "width": "width", "depth": "hidden layers", "side": "image side, pixels"}
COLORS = {"float32": INK, "bfloat16": CLASSES[6]}


@dataclass(frozen=True)
class Point:
    """A network, a batch and a precision. By default the book's dense VAE, 784–400–20, and its batch.

    varies : which of "batch", "width", "depth" and "side" this point is part of a row of; a row over the
        side is of the convolutional VAE on color images
    """

    varies: str
    batch: int = 128
    width: int = 400
    depth: int = 1
    side: int = 28
    precision: str = "float32"

    @property
    def value(self) -> int:
        return getattr(self, self.varies)


def points(quick: bool = False) -> list[Point]:
    """Four rows of points; the first in both precisions."""
    sizes = [16, 512] if quick else [2**k for k in range(4, 12)]
    widths = [100, 400] if quick else [100, 200, 400, 800, 1600]
    depths = [1, 3] if quick else [1, 2, 3, 4, 5]
    return [
        *[Point("batch", batch=b, precision=p) for p in ("float32", "bfloat16") for b in sizes],
        *[Point("width", width=w) for w in widths],
        *[Point("depth", depth=d) for d in depths],
        *[Point("side", side=s, batch=16, width=32) for s in ([32] if quick else [32, 64, 128])],
    ]


def build(point: Point, *, smallest: bool = False) -> tuple[VAE, tuple[int, int, int]]:
    """The point's VAE and the shape of its images; `smallest`: the same layers, as narrow as can be."""
    latents = width = channels = 1
    if not smallest:
        latents, width, channels = 20, point.width, 3 if point.varies == "side" else 1
    if point.varies == "side":
        shape = (channels, point.side, point.side)
        encoder = conv_encoder(shape, 2 * latents, width=width)
        return VAE(encoder, conv_decoder(latents, shape, width=width), latents), shape
    shape = (1, 1, 1) if smallest else (1, point.side, point.side)
    hidden = (width,) * point.depth
    encoder = mlp_encoder(shape, 2 * latents, hidden=hidden)
    return VAE(encoder, mlp_decoder(latents, shape, hidden=hidden), latents), shape


def step_seconds(
    point: Point, device: torch.device, *, smallest: bool = False, at_least: float = 1.0
) -> float:
    """The time of one training step of the point, in seconds; `smallest`: of the step that is all issue."""
    loop = training(replace(point, batch=1) if smallest else point, device, smallest=smallest)
    # A GPU is waited for once in 50 steps, as by `fit`, so that it can work while the next are issued.
    at_once = 1 if device.type == "cpu" else 50

    def some_steps():
        for _ in range(at_once):
            next(loop)

    for _ in range(3):
        some_steps()
    return seconds(some_steps, at_least=at_least) / at_once


def training(point: Point, device: torch.device, *, smallest: bool = False) -> Iterator[tuple]:
    """Endless training of the point's model on random images that lie on the device, as `fit` does it."""
    generator = seed_all(0, device)
    model, shape = build(point, smallest=smallest)
    model = model.to(device)
    n = max(4096, point.batch) if point.varies != "side" else max(256, point.batch)
    pixels = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, device=device)
    images = Images(pixels, torch.zeros(n, dtype=torch.int64, device=device))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    objective = accelerated(model, elbo, precision=point.precision)
    return steps(model, images.batches(point.batch, 10**12, generator), objective, optimizer)


def work(point: Point) -> dict[str, int]:
    """What a step must do: operations an image, bytes kept an image, and bytes moved a step."""
    model, shape = build(point)
    objective = accelerated(model, elbo, precision=point.precision)
    (flops_1, kept_1), (flops_2, kept_2) = (count(model, torch.rand(b, *shape), objective) for b in (1, 2))
    kept, parameters = kept_2 - kept_1, parameter_count(model)  # without what does not grow with the batch
    return {
        "parameters": parameters,
        "flops_per_image": flops_2 - flops_1,
        "kept_bytes_per_image": kept,
        "bytes_per_step": bytes_moved(parameters, kept, batch=point.batch),
    }


def measure(grid: list[Point], device: torch.device, *, rounds: int, at_least: float) -> dict:
    """Time every point, the machine's rates and the issue of operations, `rounds` times in turn.

    Each time is a median over many steps. Of the rounds the fastest counts, for steps and for rates alike:
    other processes on the machine only ever slow things down. The record keeps all rounds.
    """
    rates = {"float32": [], "bfloat16": [], "copy": []}
    took, issued = {point: [] for point in grid}, {point: [] for point in grid}
    for _ in range(rounds):
        for name in ("float32", "bfloat16"):
            rates[name].append(matmul_rate(getattr(torch, name), device, at_least=at_least / 5))
        rates["copy"].append(copy_rate(device, at_least=at_least / 5))
        for point in grid:
            took[point].append(step_seconds(point, device, at_least=at_least))
        for point in {_kind(point): point for point in grid}.values():
            time = step_seconds(point, device, smallest=True, at_least=at_least / 2)
            for same in grid:
                if _kind(same) == _kind(point):
                    issued[same].append(time)
    best = {name: max(found) for name, found in rates.items()}
    found = [summary(point, took[point], issued[point], best) for point in grid]
    return {"machine": describe(device), "rates": best, "rounds": rounds, "points": found}


def summary(point: Point, took: list[float], issued: list[float], rates: dict[str, float]) -> dict:
    """One point of the record: what was measured, what was counted, and how the two compare."""
    counted, step = work(point), min(took)
    arithmetic = counted["flops_per_image"] * point.batch / rates[point.precision]
    memory = counted["bytes_per_step"] / rates["copy"]
    return {
        **asdict(point),
        "value": point.value,
        **counted,
        "seconds": took,
        "step_seconds": step,
        "images_per_second": point.batch / step,
        "arithmetic_seconds": arithmetic,
        "memory_seconds": memory,
        "limit_seconds": max(arithmetic, memory),
        "fraction": max(arithmetic, memory) / step,
        "issue_seconds": min(issued),
    }


def table(record: dict) -> str:
    """The record as lines of text, one a point."""
    head = "varies  value  precision  images/s   step ms  MFLOP/image  MB/step  limit ms  reached  issue ms"
    return "\n".join(
        [
            head,
            *(
                f"{p['varies']:6} {p['value']:6}  {p['precision']:9} {p['images_per_second']:9.0f} "
                f"{1e3 * p['step_seconds']:9.2f} {p['flops_per_image'] / 1e6:12.2f} "
                f"{p['bytes_per_step'] / 1e6:8.1f} {1e3 * p['limit_seconds']:9.2f} {p['fraction']:8.0%} "
                f"{1e3 * p['issue_seconds']:9.2f}"
                for p in record["points"]
            ),
        ]
    )


def plot_scaling(record: dict):
    """Images a second against batch, width, depth and side, four panels; what the machine allows behind.

    Returns the figure. Dotted: the limit of arithmetic and memory. Dashed: that of issuing operations.
    """
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.0))
    for ax, (varies, title) in zip(axes.flat, TITLES.items(), strict=True):
        for precision in COLORS:
            row = [p for p in record["points"] if (p["varies"], p["precision"]) == (varies, precision)]
            if row:
                plot_row(row, color=COLORS[precision], ax=ax)
        values = sorted({p["value"] for p in record["points"] if p["varies"] == varies})
        shown = values if len(values) < 6 else values[::2]
        ax.set(xscale="log", yscale="log", xlabel=title)
        ax.set_xticks(shown, [str(value) for value in shown])
        ax.set_xticks([], minor=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("images a second")
    return figure


def plot_row(row: list[dict], *, color: str, ax):
    """Draw one row of points in one precision, and its two limits; name the precision in the first panel."""
    values = [p["value"] for p in row]
    ax.plot(values, [p["batch"] / p["limit_seconds"] for p in row], color=color, lw=1, ls=":")
    if row[0]["precision"] == "float32":
        ax.plot(values, [p["batch"] / p["issue_seconds"] for p in row], color=MUTED, lw=1, ls="--")
    ax.plot(values, [p["images_per_second"] for p in row], color=color, marker="o", ms=4)
    if row[0]["varies"] == "batch":  # upper left, where no curve goes
        place = (0.04, 0.96 - 0.13 * list(COLORS).index(row[0]["precision"]))
        ax.text(*place, row[0]["precision"], color=color, va="top", transform=ax.transAxes)
    return ax


def _kind(point: Point) -> tuple:
    """Points of one kind run the same operations, only on tensors of other sizes."""
    return point.varies == "side", point.depth, point.side, point.precision


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser("scaling", __doc__, quick="few points, once, in seconds")
    options = command.asked(parser, arguments)
    use_style()
    device = pick_device()
    rounds, at_least = (1, 0.05) if options.quick else (5, 0.4)
    record = measure(points(options.quick), device, rounds=rounds, at_least=at_least)
    print(table(record))
    (options.out / "scaling.json").write_text(json.dumps(record, indent=1) + "\n", "utf8")
    plot_scaling(record).savefig(options.out / "scaling.svg", metadata={"Date": None, "Creator": None})
    print(f"Written to {options.out}")


if __name__ == "__main__":
    main()
