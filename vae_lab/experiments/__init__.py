"""Recorded runs: experiments that take minutes, measured once and kept with all it takes to repeat them.

    python -m vae_lab.experiments mnist-dense      train, measure, write book/results/mnist-dense
    python -m vae_lab.experiments --all            every one of them
    python -m vae_lab.experiments --list           what there is
    python -m vae_lab.experiments mnist-dense --scale quick     seconds, into _build/quick-results

A run that was stopped goes on where it was when it is started again.
"""

from dataclasses import asdict
from pathlib import Path

from vae_lab.arguments import checked, written
from vae_lab.devices import pick_device, process
from vae_lab.experiments import recording, sources
from vae_lab.experiments.budgets import Amortization, Budgets
from vae_lab.experiments.coordinates import Coordinates
from vae_lab.experiments.digits import Single
from vae_lab.experiments.drawing import Drawing
from vae_lab.experiments.every_beta import MultiRate
from vae_lab.experiments.faces import Faces
from vae_lab.experiments.generation import Generation
from vae_lab.experiments.gray import GrayAutoencoder
from vae_lab.experiments.pixels import GrayPixels
from vae_lab.experiments.rate_distortion import RateDistortion
from vae_lab.experiments.small import Variant

__all__ = ["EXPERIMENTS", "NOT_RECORDED", "QUICK", "RECORDED", "ExperimentError", "run"]

RECORDED, QUICK = Path("book/results"), Path("_build/quick-results")

EXPERIMENTS = {
    "mnist-dense": Single(
        "50 latents, two hidden layers of 200 tanh units in encoder and decoder",
        latents=50,
        hidden=(200, 200),
        decoder_hidden=(200, 200),
        activation="tanh",
        epochs=200,
        n_samples=5000,  # as many as in print
        published=(86.76, "burda2016"),
    ),
    "mnist-conv": Single(
        "32 latents, two convolutions in encoder and decoder",
        latents=32,
        width=32,
        epochs=20,
        learning_rate=6e-3,
        precision="bfloat16",
        n_samples=200,
    ),
    "mnist-plane": Single(
        "2 latents, a plane of digits; a decoder small enough for a page",
        latents=2,
        hidden=(512, 256),
        decoder_hidden=(128, 224),
        epochs=50,
        learning_rate=3e-3,
    ),
    "mnist-rate-distortion": RateDistortion(
        "20 latents, one hidden layer of 400 units, trained apart for each weight of the KL and each seed",
        latents=20,
        hidden=(400,),
        betas=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        seeds=(0, 1, 2),
    ),
    "mnist-multi-rate": MultiRate(
        "20 latents, one hidden layer of 400 units, gated by the weight of the KL: one network for all",
        latents=20,
        hidden=(400,),
        betas=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        seeds=(0, 1, 2),
    ),
    "digits-depth": Budgets(
        "one, two and four hidden layers of 64 units, from two starts, with and without annealing",
        variants=(
            *(
                Variant(f"{start} {depth}", (64,) * depth, (64,) * depth, 8, start)
                for start in ("default", "scaled")
                for depth in (1, 2, 4)
            ),
            *(Variant(f"annealed {d}", (64,) * d, (64,) * d, 8, "scaled", "annealed") for d in (1, 2, 4)),
        ),
        budgets=(1, 3, 10),
        learning_rates=(2e-3, 5e-3),
        seeds=tuple(range(8)),
        steps=300,
    ),
    "digits-collapse": Budgets(
        "32 latents and a deep decoder, with four cures and without; and shallower or shorter ones",
        variants=(
            *(
                Variant(cure, (64,), (64, 64, 64), 32, "default", cure)
                for cure in ("none", "annealed", "cyclical", "free bits", "capacity")
            ),
            Variant("shallow", (64,), (64,), 8),
            Variant("shallow, 32", (64,), (64,), 32),
            Variant("shallow, 32, annealed", (64,), (64,), 32, "default", "annealed"),
            Variant("deep, 8", (64,), (64, 64, 64), 8),
        ),
        budgets=(1, 3, 8),
        learning_rates=(5e-3,),
        seeds=tuple(range(5)),
        steps=320,
        dynamic=True,
    ),
    "digits-draws": Budgets(
        "16 latents, one hidden layer of 100 units: one draw of the code for each image, and three",
        variants=(
            Variant("1 draw", (100,), (100,), 16),
            Variant("3 draws", (100,), (100,), 16, "default", "three draws"),
        ),
        budgets=(1, 3, 9, 27),
        learning_rates=(5e-3,),
        seeds=tuple(range(5)),
        steps=100,
        batch_size=128,
        dynamic=True,
    ),
    "digits-likelihoods": GrayPixels(
        "8 latents, one hidden layer of 100 units, four likelihoods of gray pixels",
        latents=8,
        hidden=(100,),
        budgets=(1, 3, 10),
        seeds=tuple(range(5)),
        steps=120,
    ),
    "digits-drawing": Drawing(
        "8 latents, one hidden layer of 64 units: a VAE, one whose codes cost nothing, an autoencoder",
        latents=8,
        hidden=(64,),
        budgets=(1, 3, 10),
        seeds=tuple(range(8)),
        steps=600,
    ),
    "faces-coordinates": Coordinates(
        "10 latents, one hidden layer of 64 units, three weights of the KL, on drawn cats",
        latents=10,
        hidden=(64,),
        betas=(1.0, 4.0, 16.0),
        epochs=(8, 24, 80),
        seeds=tuple(range(8)),
    ),
    "digits-amortization": Amortization(
        "8 latents, one hidden layer of 128 units; then the encoder alone is trained on",
        latents=8,
        hidden=(128,),
        steps=(0, 300, 1000, 4000, 12000),
        seeds=tuple(range(5)),
    ),
    "cat-64": Faces(
        "64 latents, four convolutions in encoder and decoder, one learned scale of the noise",
        data="afhq-cat",
        side=64,
        width=12,  # the decoder then takes 0.4 MB of the page in which it runs
        epochs=100,
    ),
    "cat-128": Faces(
        "64 latents, five convolutions in encoder and decoder, one learned scale of the noise",
        data="afhq-cat",
        side=128,
        width=8,
        epochs=40,
    ),
    "cat-gray": GrayAutoencoder(
        "an autoencoder of 64 latents, four convolutions in encoder and decoder, gray images",
        data="afhq-cat",
        side=64,
        width=16,
        epochs=10,
    ),
    "cat-generation": Generation(
        "64 latents, three convolutions in encoder and decoder: three likelihoods, three priors",
        data="afhq-cat",
        side=32,
        width=24,
        epochs=24,
        seeds=(0, 1, 2),
    ),
    "wild-128": Faces(
        "as cat-128, on wild animals",
        data="afhq-wild",
        side=128,
        width=8,
        epochs=70,
    ),
    "faces-128": Faces(
        "as cat-128, on cats, dogs and wild animals",
        data="afhq",
        side=128,
        width=8,
        epochs=40,
    ),
}

NOT_RECORDED = ("wild-128", "faces-128")  # book/results holds nothing of them


class ExperimentError(ValueError):
    """An experiment that does not exist; the message says which there are."""


@checked
def run(name: str, *, scale: str = "full", out: Path | str | None = None) -> Path:
    """Train and measure one experiment, write what came out, and return the folder it is in.

    scale : "full", or "quick" for a few seconds of it on a few images
    out : where the folder `name` is made; by default `RECORDED`, or `QUICK` at quick scale

    Raises `ExperimentError` for an unknown name or scale, `RecordError` if the results cannot be written, and
    `KeyboardInterrupt` if training was stopped. Then, too, the same call goes on from its checkpoint.
    """
    experiment = _scaled(name, scale)
    folder = Path(out or (RECORDED if scale == "full" else QUICK)) / name
    recording.require_writable(folder, scale)
    dataset, device = sources.load(experiment.source, scale), pick_device()
    record = _description(name, scale, experiment) | recording.provenance(dataset, device)
    found, files = experiment.run(dataset.train.to(device), dataset.test, folder)
    whole = dict(**record, **found)  # a name that both had would be an error
    if process()[0] == 0:
        recording.write(folder, files | {"metrics.json": recording.as_json(whole)})
        print(f"Wrote {written(folder)}")
    return folder


def _scaled(name: str, scale: str):
    if name not in EXPERIMENTS:
        raise ExperimentError(f"unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    if scale not in ("full", "quick"):
        raise ExperimentError(f"unknown scale {scale!r}; choose full or quick")
    return EXPERIMENTS[name].quick() if scale == "quick" else EXPERIMENTS[name]


def _description(name: str, scale: str, experiment) -> dict:
    """What is run, and how to run it again."""
    return {
        "name": name,
        "scale": scale,
        "command": f"python -m vae_lab.experiments {name}" + " --scale quick" * (scale == "quick"),
        **experiment.source.drawn,
        "configuration": asdict(experiment),
    }
