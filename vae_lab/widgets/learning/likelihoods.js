// What the decoder's numbers say about an example: log p(x | z), its derivative, and the mean, a picture to look at.

/** @typedef {import("./kernels.js").Kernels} Kernels */
/** @typedef {import("./kernels.js").Numbers} Numbers */
/** @typedef {import("./network.js").Parameter} Parameter */

/** @typedef {object} Likelihood
 * @property {(raw: Numbers, x: Numbers, n: number, B: number) => {nats: number, slope: Numbers}} observe
 *   log p(x | z) of n numbers, B examples, summed; and the derivative of −1/B times that in raw, which it may overwrite
 * @property {(raw: Numbers, n: number) => Numbers} means of p(x | z), made of raw
 * @property {() => void} keep brings σ back to where float32 can hold its precision
 * @property {Parameter | null} logScale log σ of a Gaussian */

const SMALLEST = -6.9; // log σ: 0.001 of the data's unit; on data that a model can copy exactly, σ falls without end

/** Every pixel is a coin. On gray pixels the same expression is a cross-entropy and no density.
 * @param {Kernels} kernels @returns {Likelihood} */
export function bernoulli(kernels) {
  return {
    observe: (raw, x, n, B) => ({ nats: -kernels.bernoulli(raw, x, n, 1 / B), slope: raw }),
    means: (raw, n) => {
      kernels.sigmoid(raw, n);
      return raw;
    },
    keep: () => {},
    logScale: null,
  };
}

/** x = mean + σ · noise, with one σ for all numbers.
 * @param {Kernels} kernels @param {Parameter} logScale one number
 * @param {{learn: boolean, squash: boolean, room: number}} more whether σ is learned and whether means are squashed
 *   into [0, 1]; of how many numbers at most @returns {Likelihood} */
export function gaussian(kernels, logScale, { learn, squash, room }) {
  const slope = squash ? kernels.space(room) : null;
  const means = (/** @type {Numbers} */ raw, /** @type {number} */ n) => {
    if (squash) kernels.sigmoid(raw, n);
    return raw;
  };
  const observe = (
    /** @type {Numbers} */ raw,
    /** @type {Numbers} */ x,
    /** @type {number} */ n,
    /** @type {number} */ B,
  ) => {
    const log = logScale.value[0];
    const precision = kernels.exp(-2 * log);
    const errors = slope ?? raw;
    means(raw, n);
    if (slope) slope.set(raw.subarray(0, n));
    const squares = precision * kernels.squares(errors, x, n, precision / B);
    if (slope) kernels.sigmoidBack(slope, raw, n);
    if (learn) logScale.slope[0] = (n - squares) / B;
    return { nats: -squares / 2 - n * (log + Math.log(2 * Math.PI) / 2), slope: errors };
  };
  const keep = () => {
    logScale.value[0] = Math.max(SMALLEST, logScale.value[0]);
  };
  return { observe, means, keep, logScale };
}
