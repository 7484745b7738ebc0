// log p(x|z) of black-and-white pixels by logits, at many codes at once, and what follows from it over a grid of codes.

/** @typedef {import("./exact.js").CodeGrid} CodeGrid */

/** The logits of codes, and Σ log(1 + e^logit) of each, so that an image takes one product.
 * @param {number} count of codes @param {number} dims of an image */
export function makeCoins(count, dims) {
  const logits = new Float32Array(count * dims);
  const constants = new Float64Array(count);
  return {
    /** @param {number} n which code @param {ArrayLike<number>} values its logits (dims,) */
    set(n, values) {
      logits.set(values, n * dims);
      let sum = 0;
      for (let d = 0; d < dims; d++) sum += Math.max(0, values[d]) + Math.log1p(Math.exp(-Math.abs(values[d])));
      constants[n] = sum;
    },
    /** log p(x|z) at every code, in nats. @param {Float32Array} x (dims,) in [0, 1] */
    logLikelihoods(x) {
      const logs = new Float64Array(count);
      const seen = [...x.keys()].filter((d) => x[d] !== 0); // most pixels are black
      for (let n = 0; n < count; n++) {
        let sum = 0;
        for (const d of seen) sum += x[d] * logits[n * dims + d];
        logs[n] = sum - constants[n];
      }
      return logs;
    },
  };
}

/** log p(x), and the posterior's share of each place of a grid, in sum 1. @param {Float64Array} logs log p(x|z) (K,)
 * @param {CodeGrid} grid */
export function posteriorBy(logs, { logMass }) {
  const share = logs.map((log, k) => log + logMass[k]);
  const highest = share.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (let k = 0; k < share.length; k++) {
    share[k] = Math.exp(share[k] - highest);
    sum += share[k];
  }
  return { logP: highest + Math.log(sum), share: share.map((value) => value / sum) };
}

/** KL(N(mean, diag scale²) ‖ N(0, I)). @param {ArrayLike<number>} mean @param {ArrayLike<number>} scale */
export function klOfCode(mean, scale) {
  let kl = 0;
  for (let l = 0; l < mean.length; l++) kl += (mean[l] ** 2 + scale[l] ** 2 - 1) / 2 - Math.log(scale[l]);
  return kl;
}
