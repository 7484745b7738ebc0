// One latent z ~ N(0, 1) and a bent line in the plane, f(z) = (z, c (z² − 1)), to which noise of scale σ is added.

/** @typedef {{c: number, sigma: number}} Model */

const REACH = 6; // how far out z is summed
const SIDE = 1201; // places
const LOG_TAU = Math.log(2 * Math.PI);
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** @param {number} z @param {number} c @returns {[number, number]} */
export const lineAt = (z, c) => [z, c * (z * z - 1)];

/** log p(x, z) as a polynomial in z: the coefficients of 1, z, z² and z⁴. @param {[number, number]} x @param {Model} model */
function polynomial([x1, x2], { c, sigma }) {
  const precision = 1 / (sigma * sigma);
  const up = x2 + c;
  return {
    constant: (-precision * (x1 * x1 + up * up)) / 2 - 1.5 * LOG_TAU - 2 * Math.log(sigma),
    first: precision * x1,
    second: precision * (up * c - 0.5) - 0.5,
    fourth: (-precision * c * c) / 2,
  };
}

/** log p(x) in nats, and the density of p(z|x) at `z`. @param {[number, number]} x @param {Model} model */
export function posterior(x, model) {
  const { constant, first, second, fourth } = polynomial(x, model);
  const step = (2 * REACH) / (SIDE - 1);
  const z = Float64Array.from({ length: SIDE }, (_, i) => -REACH + i * step);
  const density = z.map((at) => at * (first + at * (second + at * at * fourth)));
  const highest = density.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (let i = 0; i < SIDE; i++) {
    density[i] = Math.exp(density[i] - highest);
    sum += density[i];
  }
  for (let i = 0; i < SIDE; i++) density[i] /= sum * step;
  return { z, density, logP: constant + highest + Math.log(sum * step) };
}

/** The ELBO of q = N(mean, scale²) with the best scale, and that scale: E_q of the polynomial has a closed form.
 * @param {number} mean @param {[number, number]} x @param {Model} model */
export function boundAt(mean, x, model) {
  const { constant, first, second, fourth } = polynomial(x, model);
  const bend = second + 6 * fourth * mean * mean; // half the curvature that q feels
  const variance = 1 / (Math.sqrt(bend * bend - 12 * fourth) - bend);
  const squares = mean * mean + variance;
  const fourths = mean ** 4 + 6 * mean * mean * variance + 3 * variance * variance;
  const entropy = (LOG_TAU + 1 + Math.log(variance)) / 2;
  const elbo = constant + first * mean + second * squares + fourth * fourths + entropy;
  return { elbo, scale: Math.sqrt(variance) };
}

/** The Gaussian with the highest ELBO of all. @param {[number, number]} x @param {Model} model */
export function bestGaussian(x, model) {
  const worth = (/** @type {number} */ mean) => boundAt(mean, x, model).elbo;
  const places = 240;
  let at = 0;
  let most = -Infinity;
  for (let i = 0; i <= places; i++) {
    const mean = -REACH + (2 * REACH * i) / places;
    const elbo = worth(mean);
    if (elbo > most) [at, most] = [mean, elbo];
  }
  let [low, high] = [at - (2 * REACH) / places, at + (2 * REACH) / places];
  for (let i = 0; i < 60; i++) {
    const [a, b] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    if (worth(a) < worth(b)) low = a;
    else high = b;
  }
  const mean = (low + high) / 2;
  return { mean, ...boundAt(mean, x, model) };
}
