"""What each lever of the engine gives by itself: the same training step with it and without it.

python -m benchmarks.levers [--repetitions 5] [--out FOLDER] [--quick]

Every row changes one thing about the setting that `vae_lab` would use. Times are of a few steps, run in
turn; where the answer may change, whole runs with several seeds are compared as well.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import mean, median
from unittest.mock import patch

import torch
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.utils.data import DataLoader

from benchmarks import command
from benchmarks.machine import describe
from benchmarks.time_to_elbo import OURS, Pictures, spread
from vae_lab import data, devices, likelihoods, models, nets
from vae_lab.objectives import elbo
from vae_lab.training import evaluate, steps


@dataclass(frozen=True)
class Setting:
    """How to train: the network, and the levers."""

    net: str = "dense"
    batch_size: int = 256
    epochs: float = 4
    learning_rate: float = 1.2e-2
    resident: bool = True
    fused: bool = True
    bfloat16: bool = True
    channels_last: bool = False
    one_cycle: bool = True
    beta_2: float = 0.98
    compiled: bool = False
    validated: bool = False
    binarized: bool = False  # torch's check refuses gray pixels under a Bernoulli


@dataclass(frozen=True)
class Lever:
    """One row: the setting without the lever and the one with it."""

    name: str
    without: Setting
    with_it: Setting
    default: bool  # whether `fit` does it unasked
    answers: bool = False  # whether it may change what is learnt


def levers(base: Setting) -> list[Lever]:
    """All rows. `base` is the setting of the benchmark against the reference."""
    conv = replace(base, net="conv", batch_size=128)
    strict = replace(base, binarized=True)
    plain = replace(base, one_cycle=False, batch_size=128, learning_rate=1e-3)
    return [
        Lever("resident data", replace(base, resident=False), base, True),
        Lever("fused optimizer", replace(base, fused=False), base, True),
        Lever("bfloat16", replace(base, bfloat16=False), base, False, answers=True),
        Lever("bfloat16", replace(conv, bfloat16=False), conv, False),
        Lever("channels last", conv, replace(conv, channels_last=True), False),
        Lever("one cycle, larger batch", plain, base, True, answers=True),
        Lever("β₂ = 0.98", replace(base, beta_2=0.999), base, True, answers=True),
        Lever("compiled", base, replace(base, compiled=True), False),
        Lever("validation off", replace(strict, validated=True), strict, True),
    ]


def new_model(setting: Setting, shape: tuple, device: torch.device) -> models.VAE:
    torch.manual_seed(0)
    if setting.net == "dense":
        bodies = nets.mlp_encoder(shape, 40), nets.mlp_decoder(20, shape)
    else:
        bodies = nets.conv_encoder(shape, 40), nets.conv_decoder(20, shape)
    model = models.VAE(*bodies, 20).to(device)
    return model.to(memory_format=torch.channels_last) if setting.channels_last else model


def loaded(images: data.Images, batch_size: int, total: int) -> Iterator[Tensor]:
    """Batches as a `DataLoader` with `ToTensor` gives them."""
    taken = 0
    while True:
        loader = DataLoader(Pictures(images), batch_size=batch_size, shuffle=True, drop_last=True)
        for x, _ in loader:
            yield x.to(images.pixels.device)
            taken += 1
            if taken == total:
                return


def training(setting: Setting, images: data.Images, *, seed: int = 0) -> tuple[models.VAE, Iterator]:
    """A model, and the loop that trains it under the setting."""
    generator = devices.seed_all(seed, images.pixels.device)
    images = images.binarized(generator) if setting.binarized else images
    model = new_model(setting, images.shape, images.pixels.device)
    torch.manual_seed(seed)
    total = round(setting.epochs * (len(images) // setting.batch_size))
    rate, betas = setting.learning_rate, (0.9, setting.beta_2)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=betas, fused=setting.fused)
    schedule = None
    if setting.one_cycle:
        cycle = torch.optim.lr_scheduler.OneCycleLR
        schedule = cycle(optimizer, rate, total_steps=total, cycle_momentum=False)
    read = images.batches(setting.batch_size, total, generator)
    batches = read if setting.resident else loaded(images, setting.batch_size, total)
    precision = "bfloat16" if setting.bfloat16 else "float32"
    objective = devices.accelerated(model, elbo, precision=precision, compile=setting.compiled)
    return model, steps(model, batches, objective, optimizer, schedule)


def validating(distribution: type, stack: ExitStack, where: str) -> None:
    """Switch torch's check of every argument and value on, which `vae_lab` switches off."""

    def checked(*args, validate_args=None, **keywords):
        return distribution(*args, validate_args=True, **keywords)

    stack.enter_context(patch(where, checked))


def time_steps(setting: Setting, images: data.Images, number: int) -> tuple[float, float]:
    """Seconds a step, over `number` of them after two to warm up, and the seconds of the first of all."""
    with ExitStack() as stack:
        if setting.validated:
            validating(Normal, stack, "vae_lab.models.Normal")
            validating(Independent, stack, "vae_lab.models.Independent")
            validating(likelihoods._Coins, stack, "vae_lab.likelihoods._Coins")
            validating(Independent, stack, "vae_lab.likelihoods.Independent")
        _, loop = training(setting, images)
        synchronize = torch.get_device_module(images.pixels.device).synchronize

        def seconds(steps: int) -> float:
            start = time.perf_counter()
            for _ in range(steps):
                next(loop)
            synchronize()
            return time.perf_counter() - start

        first, _ = seconds(1), seconds(1)
        return seconds(number) / number, first


def final(setting: Setting, dataset: data.Dataset, seed: int) -> float:
    """−ELBO of the test set at the end of a run, in nats an image."""
    model, loop = training(setting, dataset.train, seed=seed)
    for _ in loop:
        pass
    return -evaluate(model, dataset.test).value


def measure(lever: Lever, dataset: data.Dataset, *, repetitions: int, seeds: int, number: int) -> dict:
    """One row of the table: seconds an epoch, in turn, and what is learnt if that may differ."""
    pairs = (lever.without, lever.with_it)
    seconds: list[list[float]] = [[], []]
    first: list[float] = []
    for _ in range(repetitions):
        for kept, setting in zip(seconds, pairs, strict=True):
            share = max(2, number * 256 // setting.batch_size // (1 if setting.net == "dense" else 10))
            epoch = len(dataset.train) / setting.batch_size
            step, waited = time_steps(setting, dataset.train, share)
            kept.append(step * epoch)
            first.append(waited)
    finals: list[list[float] | None] = [None, None]
    if lever.answers and seeds:
        finals = [[final(setting, dataset, seed) for seed in range(seeds)] for setting in pairs]
    return {
        "lever": lever.name,
        "model": lever.with_it.net,
        "seconds_without": seconds[0],
        "seconds_with": seconds[1],
        "unit": f"epoch of {len(dataset.train):,} images",
        "ratio": [a / b for a, b in zip(*seconds, strict=True)],
        "final_without": finals[0],
        "final_with": finals[1],
        "default": lever.default,
        "note": f"the first step of all took {max(first):.0f} s" if lever.with_it.compiled else "",
    }


def line(row: dict) -> str:
    text = f"{row['lever'] + ', ' + row['model']:44} {median(row['seconds_without']):7.2f} s "
    text += f"{median(row['seconds_with']):7.2f} s   × {spread(row['ratio'], 2):22}"
    if row["final_with"]:
        text += f" {mean(row['final_without']):8.2f} {mean(row['final_with']):8.2f} nats"
    return text


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser("levers", __doc__, quick="the digits, a few steps, for tests")
    parser.add_argument("--repetitions", type=command.count, default=5)
    parser.add_argument("--seeds", type=command.count, default=3, help="of whole runs")
    args = command.asked(parser, arguments)
    device = devices.pick_device()
    dataset = command.mnist_or_digits(device, quick=args.quick)
    base = Setting(**OURS[dataset.name])
    counts = {"repetitions": args.repetitions, "seeds": args.seeds, "number": 60}
    if args.quick:
        counts, base = {"repetitions": 1, "seeds": 1, "number": 4}, replace(base, epochs=2)
    print(f"\n{'lever, network':44} {'without':>9} {'with':>9}   {'times faster':24} −ELBO without, with")
    rows = []
    for lever in levers(base):
        if args.quick and lever.with_it.compiled:
            continue  # takes half a minute
        rows.append(measure(lever, dataset, **counts))
        print(line(rows[-1]), flush=True)
    result = {"machine": describe(device), "dataset": dataset.name, "base": base.__dict__, "rows": rows}
    (args.out / "levers.json").write_text(json.dumps(result, indent=1) + "\n", "utf8")
    print(f"\nWritten to {args.out}: levers.json")


if __name__ == "__main__":
    main()
