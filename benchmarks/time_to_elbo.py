"""How long until a VAE is good: what one would otherwise write, against `vae_lab`, on the same network.

python -m benchmarks.time_to_elbo [--repetitions 5] [--out FOLDER] [--quick]

The reference follows the protocol of PyTorch's public VAE example: 784-400-20, `DataLoader` with
`ToTensor`, batches of 128, Adam at 1e-3, gray pixels through the Bernoulli. Both are measured on the
same test set, off the clock, and run in turn. Where torchvision is not installed, the reference is spared
the making of PIL images, and is faster than it would be.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks import command
from benchmarks.machine import describe
from vae_lab import data, devices, models, nets, training
from vae_lab.objectives import elbo

LEVELS = {  # nats an image
    "mnist": (112.0, 108.0, 105.5),
    "digits": (170.0, 150.0, 140.0),
    "drawn faces": (495.0, 491.0, 489.5),
}
OURS = {
    "mnist": {"epochs": 4, "batch_size": 256, "learning_rate": 1.2e-2},
    "digits": {"epochs": 30, "batch_size": 64, "learning_rate": 8e-3},
    "drawn faces": {"epochs": 8, "batch_size": 256, "learning_rate": 5e-3},
}
PATIENCE = 100

Curve = list[tuple[float, float]]  # (seconds of training, −ELBO of the test set in nats an image)


class Pictures(Dataset):
    """A data set as torchvision's MNIST gives it: a PIL image at a time, made a tensor."""

    def __init__(self, images: data.Images):
        self.images, self.transform = images.to("cpu"), picture_to_tensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels, label = self.images.pixels[index, 0], int(self.images.labels[index])
        return self.transform(pixels), label


def picture_to_tensor() -> Callable[[Tensor], Tensor]:
    """(H, W) of bytes to (1, H, W) in [0, 1], by way of a PIL image if that can be."""
    try:
        from PIL import Image
        from torchvision.transforms import ToTensor
    except ImportError:
        return lambda pixels: pixels[None].float() / 255
    to_tensor = ToTensor()
    return lambda pixels: to_tensor(Image.fromarray(pixels.numpy()))


class Reference(nn.Module):
    """The network of the example, with its layers by name."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x))
        mu, log_var = self.fc21(h), self.fc22(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, log_var


def negative_elbo(model: Reference, x: Tensor) -> Tensor:
    """Cross-entropy plus KL, summed over the batch."""
    drawn, mu, log_var = model(x.view(-1, 784))
    cross_entropy = F.binary_cross_entropy(drawn, x.view(-1, 784), reduction="sum")
    return cross_entropy - 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())


def reference_epochs(images: data.Images, device: torch.device, seed: int) -> Iterator[tuple]:
    """Train; after every epoch yield the seconds it took and the model."""
    torch.manual_seed(seed)
    model = Reference().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(Pictures(images), batch_size=128, shuffle=True)
    while True:
        start, total = time.perf_counter(), 0.0
        for x, _ in loader:
            x = x.to(device)
            optimizer.zero_grad()
            loss = negative_elbo(model, x)
            loss.backward()
            total += loss.item()
            optimizer.step()
        yield time.perf_counter() - start, model


@torch.no_grad()
def measured(model: Reference, test: data.Images) -> float:
    """−ELBO of the test set in nats an image."""
    parts = [negative_elbo(model, test.read(slice(i, i + 1000))).item() for i in range(0, len(test), 1000)]
    return sum(parts) / len(test)


def reference_curve(dataset: data.Dataset, seed: int, *, until: float, patience: int) -> Curve:
    """Train until the level is reached, and measure after every epoch."""
    curve, seconds = [], 0.0
    for spent, model in reference_epochs(dataset.train, dataset.test.pixels.device, seed):
        seconds += spent
        curve.append((seconds, measured(model, dataset.test)))
        if curve[-1][1] <= until or len(curve) == patience:
            break
    return curve


def our_curve(dataset: data.Dataset, seed: int, **settings) -> Curve:
    """`vae_lab.training.fit` on the same network, measured ten times along the way."""
    shape, device = dataset.train.shape, dataset.train.pixels.device
    devices.seed_all(seed)
    model = models.VAE(nets.mlp_encoder(shape, 40), nets.mlp_decoder(20, shape), 20).to(device)
    measured, paused = [], 0.0

    def watched(model, x):
        """The objective; stops the clock while the test set is measured."""
        nonlocal paused
        if model.training:
            return elbo(model, x)
        before = time.perf_counter()
        terms = elbo(model, x)
        torch.get_device_module(device).synchronize()
        measured.append(before - start - paused)
        paused += time.perf_counter() - before
        return terms

    start = time.perf_counter()
    history = training.fit(model, dataset.train, watched, test=dataset.test, seed=seed, **settings)
    batches = len(measured) // len(history.test)
    return [(s, -terms.value) for s, (_, terms) in zip(measured[::batches], history.test, strict=True)]


def seconds_to(curve: Curve, level: float) -> float | None:
    """Seconds of training at the first measurement that was at or below the level."""
    return next((seconds for seconds, nats in curve if nats <= level), None)


def measure(dataset: data.Dataset, *, repetitions: int, patience: int = PATIENCE) -> dict:
    """Both, in turn, with a new seed each time; after a short run of each to warm up.

    patience : epochs after which the reference is given up
    """
    levels, settings = LEVELS[dataset.name], {**OURS[dataset.name], "precision": "bfloat16"}
    our_curve(dataset, 0, **{**settings, "epochs": 1})
    reference_curve(dataset, 0, until=1e9, patience=1)
    curves: dict[str, list[Curve]] = {"reference": [], "ours": []}
    for seed in range(repetitions):
        curves["reference"].append(reference_curve(dataset, seed, until=levels[-1], patience=patience))
        curves["ours"].append(our_curve(dataset, seed, **settings))
        print(
            f"repetition {seed + 1}: "
            + ", ".join(
                f"{name} {runs[-1][-1][1]:.2f} nats in {runs[-1][-1][0]:.1f} s"
                for name, runs in curves.items()
            ),
            flush=True,
        )
    names = {"reference": "PyTorch's VAE example", "ours": "vae_lab.training.fit"}
    result = {
        "machine": describe(dataset.train.pixels.device),
        "dataset": dataset.name,
        "levels": levels,
        "repetitions": repetitions,
    }
    result["settings"] = settings
    for key, runs in curves.items():
        seconds = {f"{level:g}": [seconds_to(curve, level) for curve in runs] for level in levels}
        final = [curve[-1][1] for curve in runs]
        result[key] = {"name": names[key], "seconds": seconds, "final": final, "curve": runs}
    pairs = {
        level: zip(slow, result["ours"]["seconds"][level], strict=True)
        for level, slow in result["reference"]["seconds"].items()
    }
    result["ratio"] = {level: [a / b if a and b else None for a, b in pair] for level, pair in pairs.items()}
    return result


def spread(numbers: list[float | None], digits: int = 1) -> str:
    """Median, and the smallest and largest."""
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers) or not known:
        return "not reached"
    return f"{median(known):.{digits}f} ({min(known):.{digits}f} … {max(known):.{digits}f})"


def table(result: dict) -> str:
    """Seconds of training to each level, and how many times faster."""
    lines = [f"{'−ELBO, nats':>12}  {'reference, s':>22}  {'ours, s':>20}  {'times faster':>22}"]
    for level in result["ratio"]:
        cells = [
            result["reference"]["seconds"][level],
            result["ours"]["seconds"][level],
            result["ratio"][level],
        ]
        lines.append(f"{level:>12}  {spread(cells[0]):>22}  {spread(cells[1]):>20}  {spread(cells[2]):>22}")
    finals = [spread(result[key]["final"], 2) for key in ("reference", "ours")]
    lines.append(f"{'at the end':>12}  {finals[0]:>22}  {finals[1]:>20}")
    return "\n".join(lines)


def draw(result: dict, path: Path) -> None:
    """The two curves of every repetition."""
    import matplotlib.pyplot as plt

    from vae_lab import plotting

    plotting.use_style()
    figure, ax = plt.subplots(figsize=(plotting.WIDTH, 3))
    for key, color in (("reference", plotting.MUTED), ("ours", plotting.Q)):
        for number, curve in enumerate(result[key]["curve"]):
            label = result[key]["name"] if not number else None
            ax.plot(*zip(*curve, strict=True), color=color, label=label, marker=".", lw=1)
    ax.set(xscale="log", xlabel="seconds of training", ylabel="−ELBO of the test set, nats")
    ax.set_ylim(top=result["levels"][0] + 15)
    ax.legend()
    figure.savefig(path)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser("time_to_elbo", __doc__, quick="the digits once, for tests")
    parser.add_argument("--repetitions", type=command.count, default=5)
    args = command.asked(parser, arguments)
    dataset = command.mnist_or_digits(devices.pick_device(), quick=args.quick)
    if args.quick:
        result = measure(dataset, repetitions=1, patience=2)
    else:
        result = measure(dataset, repetitions=args.repetitions)
    print(f"\n{dataset}, {result['machine']}\n{table(result)}")
    (args.out / "time_to_elbo.json").write_text(json.dumps(result, indent=1) + "\n", "utf8")
    draw(result, args.out / "time_to_elbo.svg")
    print(f"\nWritten to {args.out}: time_to_elbo.json, time_to_elbo.svg")


if __name__ == "__main__":
    main()
