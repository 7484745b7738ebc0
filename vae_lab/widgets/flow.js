// A linear VAE with one latent: its mean ELBO, how that curves at the silent point, and gradient ascent in it.
// x is one number of variance λ, measured so that λ = 1; noise is βσ² in the same unit. The decoder is wz, the encoder
// N(vx, s²), where s² is the best for w and v: the derivative −w²s/βσ² − s + 1/s is zero at βσ² / (βσ² + w²).

/** @typedef {[number, number]} Weights  w of the decoder, v of the encoder */

export const RATE = 0.1; // of gradient ascent
const PATIENCE = 100_000; // steps after which nobody waits any longer
const ARRIVED = 0.1; // of the optimum's distance from 0: so near to it is at the end

/** The best s². @param {number} w @param {number} noise */
const variance = (w, noise) => noise / (noise + w * w);

/** In nats, up to a constant. @param {Weights} weights @param {number} noise */
export function elbo([w, v], noise) {
  return -((1 - w * v) ** 2) / (2 * noise) - (v * v - Math.log(variance(w, noise))) / 2;
}

/** @param {Weights} weights @param {number} noise @returns {Weights} */
export function gradient([w, v], noise) {
  const missed = (1 - w * v) / noise;
  return [missed * v - w / (noise + w * w), missed * w - v];
}

/** Averaged over x, in nats. @param {Weights} weights @param {number} noise */
export function kl([w, v], noise) {
  const s2 = variance(w, noise);
  return (v * v + s2 - 1 - Math.log(s2)) / 2;
}

/** The optimum, or that of two which has w > 0. @param {number} noise @returns {Weights} */
export function best(noise) {
  const w = Math.sqrt(Math.max(0, 1 - noise));
  return [w, w];
}

/** Eigenvalues of the Hessian at w = v = 0, the larger first. @param {number} noise */
export function curvatures(noise) {
  const middle = -(1 / noise + 1) / 2;
  const half = Math.hypot((1 / noise - 1) / 2, 1 / noise);
  return [middle + half, middle - half];
}

/** Where the gradient in v is zero: the encoder's best answer to a decoder. @param {number} w @param {number} noise */
export const bestEncoder = (w, noise) => w / (noise + w * w);

/** Where the gradient in w is zero: the two v to which w ≠ 0 is the decoder's best answer, NaN if there are none.
 * @param {number} w @param {number} noise */
export function answeredEncoders(w, noise) {
  const root = Math.sqrt(1 - (4 * noise * w * w) / (noise + w * w));
  return [(1 - root) / (2 * w), (1 + root) / (2 * w)];
}

/** @param {Weights} weights @param {number} noise @returns {Weights} */
function step(weights, noise) {
  const [dw, dv] = gradient(weights, noise);
  return [weights[0] + RATE * dw, weights[1] + RATE * dv];
}

/** The weights before the first step and after each. @param {Weights} start @param {number} noise @param {number} steps */
export function ascend(start, noise, steps) {
  const path = [start];
  for (let i = 0; i < steps; i++) path.push(step(path[i], noise));
  return path;
}

/** Steps until the KL is over half of its optimum's and stays there, or Infinity. @param {Weights} start @param {number} noise */
export function wait(start, noise) {
  const [end] = best(noise);
  const half = kl([end, end], noise) / 2;
  let weights = start;
  let below = 0;
  for (let i = 0; end > 0 && i < PATIENCE; i++) {
    if (kl(weights, noise) < half) below = i + 1;
    const [w, v] = weights[0] < 0 ? [-weights[0], -weights[1]] : weights;
    if (Math.hypot(w - end, v - end) < ARRIVED * Math.SQRT2 * end) return below;
    weights = step(weights, noise);
  }
  return Number.POSITIVE_INFINITY;
}
