// Gradient ascent on a bound by noisy gradients: q = N(μ, diag σ²) climbs to N(1, I), whose L coordinates are independent.
import { random } from "./learning/random.js";

/** @typedef {{latents: number, draws: number, steps: number}} Size */
/** @typedef {"path" | "score"} Way */

export const SUMMIT = 1; // of each μ and each σ
const RANGES = { mu: [-4, 6], sigma: [0.05, 4] }; // what a step may reach
const FARTHEST = 0.25; // that one step may go

/** The noise of a whole ascent: (steps × draws × L). @param {Size} size @param {number} seed */
export function noiseOf({ latents, draws, steps }, seed) {
  const { normal } = random(seed);
  return Float64Array.from({ length: steps * draws * latents }, normal);
}

/** KL(q ‖ N(1, 1)) of one coordinate, in nats: how far the bound is from its summit. @param {number} mu @param {number} sigma */
export function shortOf(mu, sigma) {
  return ((mu - SUMMIT) ** 2 + sigma * sigma - 1) / 2 - Math.log(sigma);
}

/** What the draws of one step say of the bound's slopes, a mean over them: in every μ, then in every σ (2L).
 * @param {Way} way @param {Float64Array} mu (L,) @param {Float64Array} sigma (L,) @param {Float64Array} eps (draws × L)
 * @param {boolean} baseline of the score: the mean of f over the other draws is taken from each f */
export function slopesBy(way, mu, sigma, eps, baseline) {
  const L = mu.length;
  const K = eps.length / L;
  const slopes = new Float64Array(2 * L);
  const f = new Float64Array(K);
  for (let k = 0, n = 0; k < K; k++)
    for (let l = 0; l < L; l++, n++) f[k] -= (mu[l] + sigma[l] * eps[n] - SUMMIT) ** 2 / 2;
  const sum = f.reduce((a, b) => a + b, 0);
  for (let k = 0, n = 0; k < K; k++) {
    const weight = baseline ? f[k] - (sum - f[k]) / (K - 1) : f[k];
    for (let l = 0; l < L; l++, n++) {
      const e = eps[n];
      const slope = SUMMIT - mu[l] - sigma[l] * e; // of f in z
      slopes[l] += (way === "path" ? slope : (weight * e) / sigma[l]) / K;
      slopes[L + l] += (way === "path" ? slope * e : (weight * (e * e - 1)) / sigma[l]) / K;
    }
  }
  for (let l = 0; l < L; l++) slopes[L + l] += 1 / sigma[l]; // of the entropy, which is known
  return slopes;
}

/** The first coordinate's μ and σ along an ascent (2 × (steps + 1)), and the mean shortfall of all coordinates.
 * @param {Way} way @param {number} mu where all coordinates start @param {number} sigma @param {Float64Array} noise
 * @param {Size} size @param {number} rate @param {boolean} baseline */
export function ascend(way, mu, sigma, noise, { latents: L, draws, steps }, rate, baseline) {
  const at = { mu: new Float64Array(L).fill(mu), sigma: new Float64Array(L).fill(sigma) };
  const path = new Float64Array(2 * (steps + 1));
  const short = new Float64Array(steps + 1);
  const within = (/** @type {number} */ value, /** @type {number[]} */ [low, high]) =>
    Math.min(high, Math.max(low, value));
  for (let t = 0; t <= steps; t++) {
    path.set([at.mu[0], at.sigma[0]], 2 * t);
    for (let l = 0; l < L; l++) short[t] += shortOf(at.mu[l], at.sigma[l]) / L;
    if (t === steps) break;
    const eps = noise.subarray(t * draws * L, (t + 1) * draws * L);
    const slopes = slopesBy(way, at.mu, at.sigma, eps, baseline);
    for (let l = 0; l < L; l++) {
      const [a, b] = [slopes[l], slopes[L + l]].map((s) => within(rate * s, [-FARTHEST, FARTHEST]));
      at.mu[l] = within(at.mu[l] + a, RANGES.mu);
      at.sigma[l] = within(at.sigma[l] + b, RANGES.sigma);
    }
  }
  return { path, short };
}
