// The score of round heaps in the plane under noise, and walkers that follow a score by Langevin's steps.
import { random } from "./learning/random.js";

/** @typedef {{centers: number[][], shares: number[], scale: number}} Heaps  each of standard deviation `scale` */
/** @typedef {(x: number, y: number) => [number, number]} Field */

/** log p_σ at a place, and its gradient, the score. @param {Heaps} heaps @param {number} sigma of the noise
 * @param {number} x @param {number} y */
export function scoreAt({ centers, shares, scale }, sigma, x, y) {
  const variance = scale * scale + sigma * sigma;
  const logs = centers.map(([a, b], k) => Math.log(shares[k]) - ((x - a) ** 2 + (y - b) ** 2) / (2 * variance));
  const highest = Math.max(...logs);
  const weights = logs.map((log) => Math.exp(log - highest));
  const sum = weights.reduce((a, b) => a + b);
  let [right, up] = [0, 0];
  for (const [k, [a, b]] of centers.entries()) {
    right += (weights[k] / sum) * (a - x);
    up += (weights[k] / sum) * (b - y);
  }
  const logP = highest + Math.log(sum) - Math.log(2 * Math.PI * variance);
  return { logP, score: /** @type {[number, number]} */ ([right / variance, up / variance]) };
}

/** Walkers that start at one place; `walk` lets all take some steps of size `eta`, each with fresh noise.
 * @param {number} count @param {number[]} start @param {number} seed @param {number} eta */
export function makeWalkers(count, start, seed, eta) {
  const { normal } = random(seed);
  const places = Float64Array.from({ length: 2 * count }, (_, i) => start[i % 2]);
  /** @param {Field} field the score @param {number} steps */
  const walk = (field, steps) => {
    for (let t = 0; t < steps; t++)
      for (let n = 0; n < 2 * count; n += 2) {
        const [right, up] = field(places[n], places[n + 1]);
        places[n] += (eta / 2) * right + Math.sqrt(eta) * normal();
        places[n + 1] += (eta / 2) * up + Math.sqrt(eta) * normal();
      }
  };
  return { places, walk };
}

/** The share of places nearest to each center. @param {Float64Array} places @param {number[][]} centers */
export function sharesOf(places, centers) {
  const found = centers.map(() => 0);
  for (let n = 0; n < places.length; n += 2) {
    const far = centers.map(([a, b]) => (places[n] - a) ** 2 + (places[n + 1] - b) ** 2);
    found[far.indexOf(Math.min(...far))] += 2 / places.length;
  }
  return found;
}
