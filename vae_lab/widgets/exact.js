// What is exact where a code has one or two numbers: log p(x), the posterior and the density, by sums over a grid of codes.

/** @typedef {import("./learning/kernels.js").Numbers} Numbers */
/** @typedef {"bernoulli" | "gaussian"} Kind  of likelihood; a Gaussian has one σ for all numbers */

/** Codes that cover a box, the same number on each axis. Of two numbers each, they go row by row: z₁ rises along a row, z₂
 * falls from row to row, as a picture of the plane is drawn. @typedef {object} CodeGrid
 * @property {Numbers} codes (K × L)
 * @property {Float64Array} logMass (K,) log of the prior's density there times the size of a cell
 * @property {number} side places a side
 * @property {number[]} spacing of the places, by axis */

/** @typedef {{reconstruction: number, kl: number, gap: number, logP: number}} Ledger
 *   in nats: logP = reconstruction − kl + gap */

const GRIDS = [
  { side: 241, fine: 481, half: 5 }, // of one latent
  { side: 49, fine: 97, half: 4.5 },
];
const [WITHIN, NEGLIGIBLE] = [5, 1e-6]; // q's standard deviations, and a share of the highest, beyond which nothing counts
const NO_MASS = 1e-12; // of the prior, seen from a row of places through a code's bell: that row is left to the others
const LEAST_MEAN = 1e-7; // of a coin, and of its other side: about what float32 can tell from 1
const HALF_LOG_TAU = Math.log(2 * Math.PI) / 2;
// Gauss and Hermite's nine places for N(0, 1): those from 0 upward, and their weights (Abramowitz & Stegun, table 25.10)
const NODES = [0, 1.0232556637891326, 2.07684797867783, 3.2054290028564703, 4.512745863399783];
const WEIGHTS = [
  0.4063492063492064, 0.2440975028949394, 0.04991640676521791, 0.0027891413212317653, 2.2345844007746576e-5,
];

/** The grid for one or two latents that covers what the prior can draw, [−half, half]ᴸ, and one twice as fine: its mass is
 * in sum nearly 1. Throws a RangeError for more latents. @param {number} latents @param {boolean} fine */
export function latentGrid(latents, fine = false) {
  const { half, ...sides } = GRIDS[mustBeFew(latents) - 1];
  const box = Array.from({ length: latents }, () => /** @type {[number, number]} */ ([-half, half]));
  return { ...gridOver(box, fine ? sides.fine : sides.side), half };
}

/** @param {[number, number][]} box low and high of each axis @param {number} side places on each @returns {CodeGrid} */
export function gridOver(box, side = GRIDS[mustBeFew(box.length) - 1].side) {
  const spacing = box.map(([low, high]) => (high - low) / (side - 1));
  const axes = box.map(([low], l) => Float64Array.from({ length: side }, (_, i) => low + i * spacing[l]));
  const logs = axes.map((axis, l) => axis.map((z) => Math.log(spacing[l]) - HALF_LOG_TAU - (z * z) / 2));
  if (box.length === 1) return { codes: Float32Array.from(axes[0]), logMass: logs[0], side, spacing };
  const codes = new Float32Array(2 * side * side);
  const logMass = new Float64Array(side * side);
  for (let row = side - 1, k = 0; row >= 0; row--)
    for (let column = 0; column < side; column++, k++) {
      codes[2 * k] = axes[0][column];
      codes[2 * k + 1] = axes[1][row];
      logMass[k] = logs[0][column] + logs[1][row];
    }
  return { codes, logMass, side, spacing };
}

/** The box that holds nearly all of a posterior, by its share at a grid's places and by q, which may be narrower than the
 * grid can tell. @param {Float64Array} share (K,) @param {CodeGrid} grid @param {ArrayLike<number>} mean of q (L,)
 * @param {ArrayLike<number>} scale (L,) @returns {[number, number][]} */
export function boxOf(share, { codes, spacing }, mean, scale) {
  const most = share.reduce((a, b) => Math.max(a, b), 0);
  const L = spacing.length;
  return spacing.map((step, l) => {
    let [low, high] = [mean[l] - WITHIN * scale[l], mean[l] + WITHIN * scale[l]];
    for (let k = 0; k < share.length; k++)
      if (share[k] > NEGLIGIBLE * most) {
        low = Math.min(low, codes[k * L + l] - step);
        high = Math.max(high, codes[k * L + l] + step);
      }
    return [low, high];
  });
}

/** Whether the grid's places lie closer than a Gaussian is wide, so that sums over them are integrals.
 * @param {CodeGrid} grid @param {ArrayLike<number>} scale standard deviations (L,) */
export function resolved({ spacing }, scale) {
  return spacing.every((step, l) => step < scale[l]);
}

/** p(x) of points in the plane under a Gaussian of one σ, at all of xs × ys: (ys.length × xs.length), a row for each y.
 * N(x; f, σ²I) is a product of two densities, one of x and one of y, so that a code takes few exponentials.
 * @param {Numbers} decoded means at the grid's codes (K × 2) @param {CodeGrid} grid @param {number} sigma
 * @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys */
export function densityMap(decoded, { logMass }, sigma, xs, ys) {
  const width = xs.length;
  const density = new Float64Array(width * ys.length);
  const across = new Float64Array(width);
  const bell = (/** @type {number} */ error) => Math.exp(-(error * error) / (2 * sigma * sigma));
  const constant = 1 / (2 * Math.PI * sigma * sigma);
  for (let k = 0; k < logMass.length; k++) {
    const mass = Math.exp(logMass[k]);
    for (let i = 0; i < width; i++) across[i] = bell(xs[i] - decoded[2 * k]);
    for (let j = 0; j < ys.length; j++) {
      const share = mass * bell(ys[j] - decoded[2 * k + 1]);
      if (share < NO_MASS) continue;
      for (let i = 0, to = j * width; i < width; i++) density[to++] += constant * share * across[i];
    }
  }
  return density;
}

/** log p(x) in nats, and p(z|x)'s mass at every place of the grid (K,), in sum 1.
 * @param {Numbers} x (D,), for coins in [0, 1] @param {Numbers} decoded means at the grid's codes (K × D)
 * @param {CodeGrid} grid @param {Kind} likelihood @param {number} sigma of a Gaussian */
export function posteriorOf(x, decoded, { logMass }, likelihood, sigma) {
  const share = logLikelihoods(x, decoded, likelihood, sigma);
  let highest = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < share.length; k++) {
    share[k] += logMass[k];
    highest = Math.max(highest, share[k]);
  }
  let sum = 0;
  for (let k = 0; k < share.length; k++) {
    share[k] = Math.exp(share[k] - highest);
    sum += share[k];
  }
  for (let k = 0; k < share.length; k++) share[k] /= sum;
  return { logP: highest + Math.log(sum), share };
}

/** Nine places an axis whose weighted mean is a mean under N(mean, diag scale²), exact for polynomials of degree 17:
 * their codes (n × L), and weights (n,) in sum 1. @param {ArrayLike<number>} mean (L,) @param {ArrayLike<number>} scale (L,) */
export function hermite(mean, scale) {
  const L = mustBeFew(mean.length);
  const last = NODES.length - 1;
  const side = 2 * last + 1;
  const codes = new Float32Array(side ** L * L);
  const weight = new Float64Array(side ** L).fill(1);
  for (let n = 0; n < weight.length; n++)
    for (let l = 0, rest = n; l < L; l++, rest = Math.floor(rest / side)) {
      const place = (rest % side) - last;
      codes[n * L + l] = mean[l] + scale[l] * Math.sign(place) * NODES[Math.abs(place)];
      weight[n] *= WEIGHTS[Math.abs(place)];
    }
  return { codes, weight };
}

/** log p(x) in three parts: what q(z|x) reconstructs, its KL from the prior, and its KL from the exact posterior, the
 * gap, which is what is left. Where the grid does not resolve the posterior, log p(x) and the gap are rough.
 * @param {Numbers} x (D,) @param {Numbers} decodedAtHermite means at the codes of `hermite` (n × D)
 * @param {Float64Array} weight theirs @param {ArrayLike<number>} mean of q (L,) @param {ArrayLike<number>} scale (L,)
 * @param {number} logP log p(x), of `posteriorOf` @param {Kind} likelihood @param {number} sigma of a Gaussian
 * @returns {Ledger} */
export function ledgerOf(x, decodedAtHermite, weight, mean, scale, logP, likelihood, sigma) {
  const logs = logLikelihoods(x, decodedAtHermite, likelihood, sigma);
  const reconstruction = logs.reduce((sum, log, n) => sum + weight[n] * log, 0);
  let kl = 0;
  for (let l = 0; l < mean.length; l++) kl += (mean[l] ** 2 + scale[l] ** 2 - 1) / 2 - Math.log(scale[l]);
  return { reconstruction, kl, gap: logP - (reconstruction - kl), logP };
}

/** log p(x|z) of one example at many codes, in nats. @param {Numbers} x (D,) @param {Numbers} decoded means (n × D)
 * @param {Kind} likelihood @param {number} sigma @returns {Float64Array} (n,) */
function logLikelihoods(x, decoded, likelihood, sigma) {
  const D = x.length;
  const logs = new Float64Array(decoded.length / D);
  const constant = D * (Math.log(sigma) + HALF_LOG_TAU);
  const of = (/** @type {number} */ n) =>
    likelihood === "bernoulli"
      ? coins(x, decoded, n * D)
      : -squaresOf(x, decoded, n * D) / (2 * sigma * sigma) - constant;
  return logs.map((_, n) => of(n));
}

/** @param {Numbers} x @param {Numbers} means @param {number} from */
function squaresOf(x, means, from) {
  let sum = 0;
  for (let d = 0; d < x.length; d++) sum += (x[d] - means[from + d]) ** 2;
  return sum;
}

/** Σ x log p + (1 − x) log(1 − p). @param {Numbers} x @param {Numbers} means @param {number} from */
function coins(x, means, from) {
  let sum = 0;
  for (let d = 0; d < x.length; d++) {
    const p = Math.min(1 - LEAST_MEAN, Math.max(LEAST_MEAN, means[from + d]));
    if (x[d] > 0) sum += x[d] * Math.log(p);
    if (x[d] < 1) sum += (1 - x[d]) * Math.log(1 - p);
  }
  return sum;
}

/** @param {number} latents */
function mustBeFew(latents) {
  if (latents === 1 || latents === 2) return latents;
  throw new RangeError(`a grid is for one or two latents, got ${latents}`);
}
