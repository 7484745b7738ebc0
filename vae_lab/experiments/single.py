"""Recorded runs: experiments that take minutes, measured once and kept with all it takes to repeat them.

    python -m vae_lab.experiments mnist-dense      train, measure, write book/results/mnist-dense
    python -m vae_lab.experiments --all            every one of them
    python -m vae_lab.experiments --list           what there is
    python -m vae_lab.experiments mnist-dense --scale quick     seconds, into _build/quick-results

A run that was stopped goes on where it was when it is started again.
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from vae_lab import data, records
from vae_lab.checkpoints import CheckpointError
from vae_lab.data import Images
from vae_lab.devices import pick_device, seed_all
from vae_lab.metrics import log_likelihood
from vae_lab.mnist import DataError
from vae_lab.models import VAE
from vae_lab.nets import Shape, conv_encoder, mlp_encoder, parameter_count
from vae_lab.records import ACTIVATIONS, RecordError
from vae_lab.training import History, TrainingDiverged, evaluate, fit

RECORDED, QUICK = Path("book/results"), Path("_build/quick-results")


class ExperimentError(ValueError):
    """An experiment that there is not; the message says which there are."""


@dataclass(frozen=True)
class Experiment:
    """A VAE of MNIST's digits, binarized afresh at every use, and how it is trained and measured.

    hidden, decoder_hidden : sizes of the hidden layers; none if the nets are convolutional, of `width`
    learning_rate : the highest of the one-cycle schedule
    samples : K of the importance-sampled log p(x) of `measured` test images
    published : −log p(x) in nats of the same model in print, and where
    """

    what: str
    latents: int
    hidden: tuple[int, ...] = ()
    decoder_hidden: tuple[int, ...] = ()
    width: int = 0
    activation: str = "relu"
    epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 4e-3
    precision: str = "float32"
    samples: int = 1000
    measured: int = 10_000
    seed: int = 0
    published: tuple[float, str] | None = None


EXPERIMENTS = {
    "mnist-dense": Experiment(
        "50 latents, two hidden layers of 200 tanh units in encoder and decoder",
        latents=50,
        hidden=(200, 200),
        decoder_hidden=(200, 200),
        activation="tanh",
        epochs=80,
        samples=5000,  # as many as in print
        published=(86.76, "burda2016"),
    ),
    "mnist-conv": Experiment(
        "32 latents, two convolutions in encoder and decoder",
        latents=32,
        width=32,
        epochs=20,
        learning_rate=6e-3,
        precision="bfloat16",
        samples=200,
    ),
    "mnist-plane": Experiment(
        "2 latents, a plane of digits; a decoder small enough for a page",
        latents=2,
        hidden=(512, 256),
        decoder_hidden=(128, 224),
        epochs=50,
        learning_rate=3e-3,
    ),
}


def run(name: str, *, scale: str = "full", out: Path | str | None = None) -> Path:
    """Train and measure one experiment, write what came out, and return the folder it is in.

    scale : "full", or "quick" for a few seconds of it on a few images
    out : where the folder `name` is made; by default `RECORDED`, or `QUICK` at quick scale

    Raises `ExperimentError` for an unknown name or scale, `RecordError` if the results cannot be written, and
    `KeyboardInterrupt` if training was stopped. Then, too, the same call goes on from its checkpoint.
    """
    experiment = _scaled(name, scale)
    folder = Path(out or (RECORDED if scale == "full" else QUICK)) / name
    records.require_writable(folder, scale)
    dataset, device = _images(scale), pick_device()
    record = _description(name, scale, experiment) | records.provenance(dataset, device)
    train = dataset.train.dynamic().to(device)
    test = dataset.test.binarized(torch.Generator().manual_seed(experiment.seed)).to(device)
    seed_all(experiment.seed)
    model = build(experiment, train.shape).to(device)
    checkpoint = folder / "checkpoint.safetensors"
    history = _train(model, train, test, experiment, checkpoint)
    record |= _measure(model, test, experiment, history)
    records.write(folder, _files(model, experiment, record))
    checkpoint.unlink()
    print(f"Wrote {folder}")
    return folder


def build(experiment: Experiment, shape: Shape) -> VAE:
    """The untrained model of an experiment, for images of `shape`."""
    e = experiment
    outputs, unit = 2 * e.latents, ACTIVATIONS[e.activation]
    if e.width:
        encoder = conv_encoder(shape, outputs, width=e.width, activation=unit)
    else:
        encoder = mlp_encoder(shape, outputs, hidden=e.hidden, activation=unit)
    return VAE(encoder, records.build_decoder(**_architecture(e, shape)), e.latents)


def _architecture(experiment: Experiment, shape: Shape) -> dict:
    """The decoder in plain numbers."""
    e = experiment
    sizes = {"width": e.width} if e.width else {"hidden": e.decoder_hidden}
    return {"shape": shape, "latents": e.latents, "activation": e.activation} | sizes


def _scaled(name: str, scale: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise ExperimentError(f"unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    if scale not in ("full", "quick"):
        raise ExperimentError(f"unknown scale {scale!r}; choose full or quick")
    experiment = EXPERIMENTS[name]
    return replace(experiment, epochs=2, samples=20, measured=100) if scale == "quick" else experiment


def _images(scale: str) -> data.Dataset:
    """MNIST; at quick scale a few of its images, or of the embedded digits where it is not on disk."""
    if scale == "full":
        return data.load("mnist")
    if any((data.root() / "MNIST" / "raw").glob("train-images-idx3-ubyte*")):
        whole = data.load("mnist")
    else:
        print(f"No MNIST in {data.root()}: a quick run takes the embedded digits.")
        whole = data.load("digits")
    return replace(whole, train=_first(whole.train, 1000), test=_first(whole.test, 200))


def _first(images: Images, n: int) -> Images:
    return replace(images, pixels=images.pixels[:n], labels=images.labels[:n])


def _train(model: VAE, train: Images, test: Images, experiment: Experiment, checkpoint: Path) -> History:
    e = experiment
    history = fit(
        model,
        train,
        epochs=e.epochs,
        batch_size=e.batch_size,
        learning_rate=e.learning_rate,
        seed=e.seed,
        test=test,
        checkpoint=checkpoint,
        precision=e.precision,
    )
    if len(history) < e.epochs * (len(train) // e.batch_size):
        raise KeyboardInterrupt
    return history


def _measure(model: VAE, test: Images, experiment: Experiment, history: History) -> dict:
    """Everything that the run found out, in nats an image."""
    start = time.perf_counter()
    terms, part = evaluate(model, test, seed=experiment.seed), _first(test, experiment.measured)
    log_p = log_likelihood(model, part, samples=experiment.samples, seed=experiment.seed).cpu().double()
    return {
        "parameters": {"encoder": parameter_count(model.encoder), "decoder": parameter_count(model.decoder)},
        "test": {"images": len(test)} | _bound(terms),
        "importance_sampling": {
            "negative_log_likelihood": -log_p.mean().item(),
            "standard_error": log_p.std().item() / len(log_p) ** 0.5,
            "negative_elbo": -evaluate(model, part, seed=experiment.seed).value,  # of the same images
            "samples": experiment.samples,
            "images": len(part),
        },
        "curve": [{"step": step} | _bound(terms) for step, terms in history.test],
        "seconds": {
            "training": round(history.seconds, 3),
            "measuring": round(time.perf_counter() - start, 3),
        },
    }


def _bound(terms) -> dict:
    return {"negative_elbo": -terms.value, "log_lik": terms.log_lik, "kl": terms.kl}


def _description(name: str, scale: str, experiment: Experiment) -> dict:
    """What is run, and how to run it again."""
    return {
        "name": name,
        "scale": scale,
        "command": f"python -m vae_lab.experiments {name}" + " --scale quick" * (scale == "quick"),
        "binarized": "training images afresh at every use, test images once, by the seed",
        "configuration": asdict(experiment),
    }


def _files(model: VAE, experiment: Experiment, record: dict) -> dict[str, bytes]:
    """What the run leaves behind, by file name; the record last: where it is, all are."""
    architecture = _architecture(experiment, model.encoder[0].shape)
    files = {
        "samples.png": records.sheet(records.prior_means(model, 60, seed=experiment.seed)),
        "decoder.safetensors": records.decoder_bytes(model.decoder, architecture),
        "metrics.json": records.as_json(record),
    }
    if len(files["decoder.safetensors"]) > records.LARGEST_DECODER:
        del files["decoder.safetensors"]
    return files


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m vae_lab.experiments", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--all", action="store_true", help="run every experiment")
    parser.add_argument(
        "--scale", choices=("full", "quick"), default="full", help="quick: seconds, to try it"
    )
    parser.add_argument("--out", type=Path, help=f"default: {RECORDED}, for quick runs {QUICK}")
    given = parser.parse_args(arguments)
    if given.list + given.all + (given.name is not None) != 1:
        parser.error("give the name of one experiment, or --all, or --list")
    if given.list:
        print("\n".join(f"{name:14}{experiment.what}" for name, experiment in EXPERIMENTS.items()))
        return 0
    try:
        for name in EXPERIMENTS if given.all else [given.name]:
            run(name, scale=given.scale, out=given.out)
    except (ExperimentError, RecordError, DataError, CheckpointError, TrainingDiverged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
