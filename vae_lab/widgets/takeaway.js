// What a reader takes home from a model that learned in the page: its parameters as a file, and a cell of PyTorch.
import { html } from "./ui.js";

/** @typedef {import("./learning/settings.js").Settings} Settings */
/** @typedef {import("./learning/vae.js").Named} Named */

const ALIGNED = 8; // bytes of which a header's length is a multiple
const SAVE_WITHIN = 10000; // milliseconds that a browser may take to fetch what it saves
const FEW_POINTS = 200; // points that are written out in a cell
const LEAST_LOG_SCALE = -6.9; // as in learning/likelihoods.js

/** Points in the plane, in PyTorch, by the name of their shape. @type {Record<string, string>} */
const POINT_LINES = {
  ring: `angle = 2 * torch.pi * torch.rand(1000)
x = 1.5 * torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(1000, 2)`,
  grid: "x = torch.randint(-2, 3, (1000, 2)) * 0.8 + 0.1 * torch.randn(1000, 2)",
  moons: `angle = torch.pi * torch.rand(500)
moon = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], 1)
x = 1.2 * torch.cat([moon, -moon]) + 0.1 * torch.randn(1000, 2)`,
  pinwheel: `far, side = 1 + 0.4 * torch.randn(1000), 0.12 * torch.randn(1000)
turn = 2 * torch.pi / 5 * torch.randint(5, (1000,)) + 0.6 * far
x = torch.stack([far * turn.cos() - side * turn.sin(), far * turn.sin() + side * turn.cos()], 1)`,
  spiral: `turn = 3 * torch.pi * torch.rand(1000).sqrt()
x = (turn / 5)[:, None] * torch.stack([turn.cos(), turn.sin()], 1) + 0.06 * torch.randn(1000, 2)`,
};

/** Named arrays as a file of the public format: the header's length, the header in JSON, the numbers in float32
 * (huggingface.co/docs/safetensors). @param {Named} named @param {Record<string, string>} metadata */
export function safetensors(named, metadata) {
  /** @type {Record<string, object>} */
  const header = { __metadata__: metadata };
  let end = 0;
  for (const [name, { shape, values }] of Object.entries(named)) {
    const begin = end;
    end += values.byteLength;
    header[name] = { dtype: "F32", shape, data_offsets: [begin, end] };
  }
  const encoded = new TextEncoder().encode(JSON.stringify(header));
  const length = ALIGNED * Math.ceil(encoded.length / ALIGNED);
  const bytes = new Uint8Array(ALIGNED + length + end).fill(" ".charCodeAt(0), 0, ALIGNED + length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(encoded, ALIGNED);
  let at = ALIGNED + length;
  for (const { values } of Object.values(named)) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}

/** Save a file where the browser saves files. @param {string} name @param {Uint8Array<ArrayBuffer>} bytes @param {string} type */
export function download(name, bytes, type) {
  const href = URL.createObjectURL(new Blob([bytes], { type }));
  const link = /** @type {HTMLAnchorElement} */ (html("a", { href, download: name }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(href), SAVE_WITHIN);
}

/** A cell of a notebook that trains the same model, from other random numbers: PyTorch alone, and vae_lab for its digits.
 * @param {Settings & {points?: number[]}} settings points are one's own, two numbers each
 * @param {string} dataWords the data: digits, ring, …; of others the cell says where to put them
 * @param {number} steps to train */
export function pytorchCell(settings, dataWords, steps = 2000) {
  const { dims, latents, seed, rate, batch, autoencoder } = settings;
  const encode = autoencoder ? "mu  # an autoencoder: no noise" : "mu + (log_var / 2).exp() * torch.randn_like(mu)";
  const told = autoencoder
    ? 'print(f"step {step}: log p(x|z) {log_lik.mean():.2f} nats")'
    : `elbo = (log_lik - kl.sum(1)).mean()
        print(f"step {step}: ELBO {elbo:.2f} nats, KL {kl.sum(1).mean():.2f}")`;
  const sigma = cellLearns(settings).includes("log_scale")
    ? `    log_scale.data.clamp_(min=${LEAST_LOG_SCALE})  # where data can be copied, it would fall for ever\n`
    : "";
  return `# The page's model in PyTorch. Shapes: B examples of D = ${dims} numbers, L = ${latents} of a code.
import torch
from torch import nn

torch.manual_seed(${seed})
STEPS = ${steps}

${cellData(settings, dataWords)}

${cellNetworks(settings)}


${cellLikelihood(settings)}


def terms(x):
    """log p(x|z), (B,), and the KL of q(z|x) from the prior in each latent, (B, L), in nats."""
    mu, log_var = encoder(x).chunk(2, dim=1)
    z = ${encode}
    kl = (mu**2 + log_var.exp() - log_var - 1) / 2
    return log_likelihood(x, z), kl


optimizer = torch.optim.Adam([${cellLearns(settings).join(", ")}], lr=${rate})
for step in range(1, STEPS + 1):
    log_lik, kl = terms(x[torch.randperm(len(x))[:${batch}]])
    loss = ${cellLoss(settings)}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
${sigma}    if step == 1 or step % 200 == 0:
        ${told}

with torch.no_grad():
    drawn = means(torch.randn(16, ${latents}))  # what codes from the prior become, (16, ${dims})
`;
}

/** @param {Settings & {points?: number[]}} settings @param {string} name */
function cellData({ dims, likelihood, points = [] }, name) {
  if (name === "digits")
    return `# The data, (N, D), pixels in [0, 1]; images of your own can take their place.
from vae_lab import data  # pip install git+https://github.com/vae-lab/vae-lab

x = data.load("digits").train.pixels.flatten(1) / 255`;
  if (name in POINT_LINES) return `# The data, (N, 2): points in the plane\n${POINT_LINES[name]}`;
  if (name === "points" && points.length && points.length <= 2 * FEW_POINTS)
    return `# The data, (N, 2): your own points\nx = torch.tensor([${points.join(", ")}]).view(-1, 2)`;
  const pixels = likelihood === "bernoulli" || dims > 2;
  return `# The data, (N, D)${pixels ? ", pixels in [0, 1]" : ""}: put the page's (${name}) here. These are noise.
x = torch.${pixels ? "rand" : "randn"}(500, ${dims})`;
}

/** @param {Settings} settings */
function cellNetworks({ dims, latents, hidden, decoderHidden, activation, likelihood, mean, scale, learnScale }) {
  const unit = { relu: "nn.ReLU()", tanh: "nn.Tanh()" }[activation];
  /** @param {string} name @param {number[]} sizes @param {string} what */
  const body = (name, sizes, what) => {
    const layers = sizes.slice(1).map((size, i) => `    nn.Linear(${sizes[i]}, ${size}),`);
    return `${name} = nn.Sequential(\n${layers.join(` ${unit},\n`)}  # ${what}\n)`;
  };
  const raw =
    likelihood === "bernoulli" || mean === "sigmoid" ? "means of p(x|z), not yet squashed" : "means of p(x|z)";
  const bodies = [
    body("encoder", [dims, ...hidden, 2 * latents], "means and log-variances of q(z|x)"),
    body("decoder", [latents, ...(decoderHidden ?? [...hidden].reverse()), dims], raw),
  ];
  const log = `torch.tensor(${scale}).log()`;
  const sigma = learnScale ? `nn.Parameter(${log})  # log σ of p(x|z), learned` : `${log}  # log σ of p(x|z)`;
  return [...bodies, ...(likelihood === "gaussian" ? [`log_scale = ${sigma}`] : [])].join("\n");
}

/** @param {Settings} settings */
function cellLikelihood({ likelihood, mean }) {
  const coins = likelihood === "bernoulli";
  return `def means(z):
    """The means of p(x|z), (B, D)."""
    return decoder(z)${coins || mean === "sigmoid" ? ".sigmoid()" : ""}


def log_likelihood(x, z):
    """log p(x|z), (B,)."""
    ${coins ? "raw = decoder(z)  # logits" : "p_x = torch.distributions.Normal(means(z), log_scale.exp())"}
    return ${coins ? '-nn.functional.binary_cross_entropy_with_logits(raw, x, reduction="none")' : "p_x.log_prob(x)"}.sum(1)`;
}

/** @param {Settings} settings */
function cellLoss({ beta, autoencoder, freeBits }) {
  if (autoencoder) return "-log_lik.mean()";
  const price = freeBits ? `kl.mean(0).clamp(min=${freeBits}).sum()` : "kl.mean(0).sum()";
  return `${beta} * ${price} - log_lik.mean()${freeBits ? `  # ${freeBits} nats a latent are free` : ""}`;
}

/** What the optimizer is given, in Python. @param {Settings} settings */
function cellLearns({ part, likelihood, learnScale }) {
  const encoder = part === "decoder" ? [] : ["*encoder.parameters()"];
  const decoder = part === "encoder" ? [] : ["*decoder.parameters()"];
  return [...encoder, ...decoder, ...(decoder.length && likelihood === "gaussian" && learnScale ? ["log_scale"] : [])];
}
