"""Everything that wants a CUDA device, in one command of under eight minutes.

python3 -m benchmarks.gpu [--out FOLDER]

Needs Python 3.11, torch and this folder; no network, and nothing installed: what was left out for want of
another library is said. MNIST is read from $VAE_LAB_DATA; without it as many drawn faces take its place.

checks : every public name of the package on the device, against the CPU (tests/device_cases.py)
race : seconds to an ELBO, against PyTorch's example on the same device
epochs : milliseconds for all training images, step by step and as CUDA graphs, by images a batch
memory : what batch_size="auto" takes where memory is short
recorded : one run of book/results again, trained and measured on the device
"""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks.absent import NotInstalled, importable, missing

with importable():
    from benchmarks import command, time_to_elbo
    from benchmarks.machine import describe
    from vae_lab import data, devices, models, nets, objectives, training
    from vae_lab.data import toy_faces
    from vae_lab.experiments import EXPERIMENTS
    from vae_lab.experiments.sources import gray
    from vae_lab.training import memory

    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import test_on_devices

RECORDED = "mnist-conv"  # the run that is made again
SECONDS = {"checks": 170, "parts": 400}  # after which no more is begun, so that all of it ends within 480


def load(device: torch.device, *, quick: bool) -> data.Dataset:
    """MNIST if it can be read, else drawn faces in gray, of its size and as many; some of them if `quick`."""
    n, n_test = (600, 100) if quick else (60_000, 10_000)
    if not quick and "torchvision" not in missing():
        if any((data.root() / "MNIST" / "raw").glob("train-images-idx3-ubyte*")):
            return data.load("mnist", device=device)
        print(f"No MNIST in {data.root()} (see VAE_LAB_DATA): drawn faces take its place.")
    parts = (drawn(n, 0), drawn(n_test, 1))
    return data.Dataset("drawn faces", *parts).to(device)


def drawn(n: int, seed: int) -> data.Images:
    """n drawn faces, gray, 28×28."""
    factors = toy_faces.draw_factors(n, seed=seed).split(2000)
    colored = torch.cat([toy_faces.draw(part, side=28) for part in factors])
    return gray(data.Images(colored))


def check(where: str, *, deadline: float, only: Callable[[str], bool]) -> dict:
    """Run the cases of the table there: how many passed, and of the others each name and why."""
    passed, failed, left_out = 0, {}, {}
    for key in filter(only, test_on_devices.CASES):
        if time.perf_counter() > deadline:
            left_out[key] = "time"
            continue
        try:
            with TemporaryDirectory() as folder:
                test_on_devices.runs_there(key, where, Path(folder))
            passed += 1
        except Exception as error:
            if library := _library(error):
                left_out[key] = library
            else:
                failed[key] = "".join(traceback.format_exception_only(error)).strip().splitlines()[0]
                print(f"  failed: {key}: {failed[key]}", flush=True)
    return {"passed": passed, "failed": failed, "left_out": left_out}


def _library(error: Exception) -> str:
    """The library for want of which something failed, or ""."""
    if isinstance(error, NotInstalled):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").split(".")[0]
    return "numpy" if "Numpy is not available" in str(error) else ""


def epochs(images: data.Images, *, sizes: tuple[int, ...], repetitions: int, compiled: bool) -> list[dict]:
    """How long all images take, in batches of each size, with bfloat16; step by step, and compiled."""
    rows = []
    for compile in (False, True)[: 1 + compiled]:
        for size in sizes:
            seconds, first = _epoch(images, size, repetitions, compile)
            value = {"batch": size, "cuda_graphs": compile, "seconds": seconds, "first_steps": first}
            rows.append(value)
            print(f"  {_row(value)}", flush=True)
    return rows


def _epoch(images: data.Images, size: int, repetitions: int, compile: bool) -> tuple[list[float], float]:
    """Seconds of an epoch, each of the repetitions; and of the steps before, that warm up."""
    generator = devices.seed_all(0, images.device)
    model = dense(images)
    objective = devices.accelerated(model, objectives.elbo, precision="bfloat16", compile=compile)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=devices.fused(model))
    steps = len(images) // size
    loop = training.steps(model, images.batches(size, 10**12, generator), objective, optimizer)
    start = time.perf_counter()
    _take(loop, 5, images.device)
    first = time.perf_counter() - start
    return [_take(loop, steps, images.device) for _ in range(repetitions)], first


def _take(loop: Iterator, steps: int, device: torch.device) -> float:
    """Take so many steps; the seconds until the device has done them."""
    start = time.perf_counter()
    for _ in range(steps):
        next(loop)
    torch.get_device_module(device).synchronize()
    return time.perf_counter() - start


def dense(images: data.Images) -> models.VAE:
    """The network of the race, on the device of the images."""
    encoder = nets.mlp_encoder(images.shape, 40)
    return models.VAE(encoder, nets.mlp_decoder(20, images.shape), 20).to(images.device)


def graphs_learn_the_same(dataset: data.Dataset, settings: dict) -> dict:
    """−ELBO of the test set after the same training, step by step and as CUDA graphs."""
    found = {}
    for name, compile in (("step by step", False), ("as CUDA graphs", True)):
        devices.seed_all(0)
        model = dense(dataset.train)
        history = training.fit(model, dataset.train, **settings, compile=compile)
        found[name] = {"nats": -training.evaluate(model, dataset.test).value, "seconds": history.seconds}
    return found


def short_of_memory(images: data.Images, *, gib: float) -> dict:
    """Train a wide network with so little memory; which batch "auto" takes, and whether twice that fits."""
    encoder = nets.mlp_encoder(images.shape, 40, hidden=(2048,))
    decoder = nets.mlp_decoder(20, images.shape, hidden=(2048,))
    model = models.VAE(encoder, decoder, 20).to(images.device)
    some = images.first(min(len(images), 8192))

    def wasteful(model, x):
        """The bound, of 64 draws of the code."""
        return objectives.elbo(model, x, n_samples=64)

    with at_most(gib, images.device):
        step = memory.largest_batch(model, some, _step(wasteful), at_most=len(some))
        history = training.fit(model, some, wasteful, batch_size=step, epochs=1, learning_rate=1e-5)
        try:
            training.fit(model, some, wasteful, batch_size=2 * step, epochs=1, learning_rate=1e-5)
            twice = "it fits too"
        except training.BatchTooLarge as error:
            twice = str(error)
    return {"gib": gib, "batch": step, "steps": len(history), "twice": twice}


def _step(objective: Callable) -> Callable:
    return lambda model, x, optimizer: training.loop.ascend(model, x, optimizer, objective=objective)


@contextmanager
def at_most(gib: float, device: torch.device) -> Iterator[None]:
    """Within, torch takes no more memory than so much."""
    torch.cuda.empty_cache()
    _, there = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / there), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def again(dataset: data.Dataset, *, quick: bool) -> dict:
    """The recorded run made again: its figures, and those in book/results."""
    experiment = EXPERIMENTS[RECORDED].quick() if quick else EXPERIMENTS[RECORDED]
    _, found = experiment.train_and_measure(dataset.train, dataset.test)
    file = Path(__file__).parents[1] / "book/results" / RECORDED / "metrics.json"
    before = json.loads(file.read_text("utf8"))
    keys = ("test", "importance_sampling", "seconds")
    return {"name": RECORDED} | {
        label: {key: figures[key] for key in keys}
        for label, figures in (("here", found), ("recorded", before))
    }


def measure(device: torch.device, *, quick: bool = False) -> dict:
    """All of it; a part that fails says why, and the others go on."""
    start = time.perf_counter()
    real = device.type == "cuda"
    result = {"machine": describe(device), "not_installed": list(missing())}

    def part(name: str, call: Callable[[], object]) -> None:
        spent = time.perf_counter() - start
        print(f"\n{name}, after {spent:.0f} s", flush=True)
        try:
            result[name] = call() if spent < SECONDS["parts"] else {"failed": "no time was left for it"}
        except Exception as error:
            traceback.print_exc()
            result[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}

    where = "cuda" if real else "pretended cuda"
    only = (lambda key: key.startswith("em.")) if quick else (lambda key: True)
    part("checks", lambda: check(where, deadline=start + SECONDS["checks"], only=only))
    dataset = load(device, quick=quick)
    result["images"] = f"{dataset.name}, {len(dataset.train):,}"
    settings = time_to_elbo.OURS[dataset.name] | {"precision": "bfloat16"}
    part(
        "race",
        lambda: time_to_elbo.measure(dataset, repetitions=1 if quick else 2, patience=2 if quick else 15),
    )
    sizes, count = ((100,), 1) if quick else ((128, 256, 1024), 5)
    part("epochs", lambda: epochs(dataset.train, sizes=sizes, repetitions=count, compiled=real))
    if real:
        part("graphs", lambda: graphs_learn_the_same(dataset, settings))
        part("memory", lambda: short_of_memory(dataset.train, gib=4.0))
    if quick or dataset.name == "mnist":
        part("recorded", lambda: again(dataset, quick=quick))
    result["minutes"] = (time.perf_counter() - start) / 60
    return result


def summary(result: dict) -> str:
    """What was found, in lines of text."""
    lines = [f"{result['machine']['name']}, torch {result['machine']['torch']}; {result['minutes']:.1f} min"]
    for name in ("checks", "race", "epochs", "graphs", "memory", "recorded"):
        found = result.get(name, "not measured here")
        if isinstance(found, dict) and isinstance(found.get("failed"), str):
            found = f"failed: {found['failed']}"
        lines += [
            f"{name}:",
            *(f"  {line}" for line in (SHOWN[name](found) if found != str(found) else [found])),
        ]
    return "\n".join(lines)


def _checked(found: dict) -> list[str]:
    left = {why: list(found["left_out"].values()).count(why) for why in found["left_out"].values()}
    words = [f"{count} left out for want of {why}" for why, count in left.items()]
    return ["; ".join([f"{found['passed']} names pass, {len(found['failed'])} fail", *words])]


def _again(found: dict) -> list[str]:
    def figures(of: dict) -> str:
        sampled = of["importance_sampling"]["negative_log_likelihood"]
        nats = f"−ELBO {of['test']['negative_elbo']:.2f} nats, −log p(x) {sampled:.2f} nats"
        return f"{nats}, trained in {of['seconds']['training']:.0f} s"

    return [found["name"], *(f"{label}: {figures(found[label])}" for label in ("here", "recorded"))]


SHOWN = {
    "checks": _checked,
    "race": lambda found: time_to_elbo.table(found).splitlines(),
    "epochs": lambda rows: [_row(row) for row in rows],
    "graphs": lambda found: [f"{k}: {v['nats']:.2f} nats in {v['seconds']:.1f} s" for k, v in found.items()],
    "memory": lambda found: [
        f"with {found['gib']:g} GiB, {found['batch']} images a batch; twice as many: {found['twice']}"
    ],
    "recorded": _again,
}


def _row(row: dict) -> str:
    how = "as CUDA graphs" if row["cuda_graphs"] else "step by step"
    return f"{row['batch']:5} images a batch, {how}: {1e3 * median(row['seconds']):.0f} ms"


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser("gpu", __doc__, quick="on the CPU, a little of it, for tests")
    options = command.asked(parser, arguments)
    if not (options.quick or torch.cuda.is_available()):
        parser.exit(1, "There is no CUDA device here that torch can use, so there is nothing to measure.\n")
    device = torch.device("cpu") if options.quick else devices.pick_device()
    result = measure(device, quick=options.quick)
    (options.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", "utf8")
    print(f"\n{summary(result)}\nWritten to {options.out}: gpu.json")
    if failed := [name for name, found in result.items() if isinstance(found, dict) and found.get("failed")]:
        parser.exit(1, f"Not everything holds on this device; look at: {', '.join(failed)}\n")


if __name__ == "__main__":
    main()
