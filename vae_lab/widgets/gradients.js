// Two estimates of the gradient of E[f(z)], z ~ N(μ, σ²), from kept draws of ε; `two_gradients.py` has the same.

/** @typedef {{f: (z: number) => number, slope: (z: number) => number, exact: (mu: number, sigma: number) => number[],
 *   low: number, high: number}} Objective  f, f′, the gradient of E[f(z)] in μ and σ, what to show of f */

const WAVE = 5; // waves: sin(WAVE z)
const EDGE = 1; // step: 1 beyond EDGE

/** @param {number} u */
const bell = (u) => Math.exp((-u * u) / 2) / Math.sqrt(2 * Math.PI);

/** @type {Record<string, Objective>} */
export const OBJECTIVES = {
  bowl: {
    f: (z) => -((z - 1) ** 2) / 2,
    slope: (z) => 1 - z,
    exact: (mu, sigma) => [1 - mu, -sigma],
    low: -8,
    high: 1,
  },
  waves: {
    f: (z) => Math.sin(WAVE * z),
    slope: (z) => WAVE * Math.cos(WAVE * z),
    exact: (mu, sigma) => {
      const damped = Math.exp((-WAVE * WAVE * sigma * sigma) / 2);
      return [WAVE * Math.cos(WAVE * mu) * damped, -WAVE * WAVE * sigma * Math.sin(WAVE * mu) * damped];
    },
    low: -1.5,
    high: 1.5,
  },
  step: {
    f: (z) => Number(z > EDGE),
    slope: () => 0,
    exact: (mu, sigma) => [bell((EDGE - mu) / sigma) / sigma, (bell((EDGE - mu) / sigma) * (EDGE - mu)) / sigma ** 2],
    low: -0.4,
    high: 1.4,
  },
};

/** For every ε the gradient in μ and in σ by either way: {path: [μ, σ], score: [μ, σ]}, and f(z).
 * @param {Objective} objective @param {number} mu @param {number} sigma @param {number[]} noise
 * @param {boolean} baseline whether f(z) is taken relative to its mean over the other draws */
export function gradients({ f, slope }, mu, sigma, noise, baseline) {
  const values = noise.map((eps) => f(mu + sigma * eps));
  const slopes = noise.map((eps) => slope(mu + sigma * eps));
  const sum = values.reduce((a, b) => a + b, 0);
  const others = values.length - 1;
  const learned = values.map((value) => (baseline ? value - (sum - value) / others : value));
  return {
    values,
    path: [slopes, slopes.map((s, i) => s * noise[i])],
    score: [learned.map((v, i) => (v * noise[i]) / sigma), learned.map((v, i) => (v * (noise[i] ** 2 - 1)) / sigma)],
  };
}

/** @param {number[]} values */
export function spread(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return { mean, sd: Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (values.length - 1)) };
}
