// The bound of a Gaussian q over two codes, by sums over a grid; `bound.py` writes what this reads.

/** @typedef {{count: number, halfWidth: number, logJoint: Float32Array}} Grid  log p(x, z) at count² points that
 *   cover [−halfWidth, halfWidth]², the second coordinate varying fastest */
/** @typedef {[number, number, number, number, number]} Gaussian  two means, two scales, a correlation */

/** log p(x) = log ∫ p(x, z) dz. @param {Grid} grid */
export function logEvidence({ count, halfWidth, logJoint }) {
  const highest = logJoint.reduce((a, b) => Math.max(a, b));
  const h = (2 * halfWidth) / (count - 1);
  let sum = 0;
  for (const value of logJoint) sum += Math.exp(value - highest);
  return highest + Math.log(sum * h * h);
}

/** E_q[log p(x, z) − log q(z)] and E_q[log q(z) − log p(z | x)], and how much of q the grid holds.
 * @param {Grid} grid @param {number} evidence log p(x) @param {Gaussian} q */
export function bound({ count, halfWidth, logJoint }, evidence, [m0, m1, s0, s1, rho]) {
  const h = (2 * halfWidth) / (count - 1);
  const rest = 1 - rho * rho;
  const constant = -Math.log(2 * Math.PI * s0 * s1 * Math.sqrt(rest));
  let elbo = 0;
  let kl = 0;
  let mass = 0;
  for (let i = 0, n = 0; i < count; i++) {
    const u = (-halfWidth + i * h - m0) / s0;
    for (let j = 0; j < count; j++, n++) {
      const v = (-halfWidth + j * h - m1) / s1;
      const below = (u * u - 2 * rho * u * v + v * v) / (2 * rest); // nats, where q is densest
      if (below > 80) continue; // what is left out is below 1e-30 of that
      const logQ = constant - below;
      const q = Math.exp(logQ);
      mass += q;
      elbo += q * (logJoint[n] - logQ);
      kl += q * (logQ - (logJoint[n] - evidence));
    }
  }
  return { elbo: elbo * h * h, kl: kl * h * h, mass: mass * h * h };
}
