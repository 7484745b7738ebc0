// Where codes may be drawn from, and how far they lie from the codes of images.

/** @typedef {{weights: ArrayLike<number>, means: ArrayLike<number>, roots: ArrayLike<number>}} Mixture  of K Gaussians over L
 *   numbers: (K,), (K × L), and lower triangular roots of the covariances (K × L × L) */

/** One code from a mixture. @param {Mixture} mixture @param {number} L
 * @param {{uniform: () => number, normal: () => number}} random */
export function fromMixture({ weights, means, roots }, L, { uniform, normal }) {
  let k = 0;
  for (let left = uniform() - weights[0]; left > 0 && k < weights.length - 1; left -= weights[++k]);
  const noise = Float64Array.from({ length: L }, normal);
  return Float64Array.from({ length: L }, (_, i) => {
    let sum = means[k * L + i];
    for (let j = 0; j <= i; j++) sum += roots[(k * L + i) * L + j] * noise[j];
    return sum;
  });
}

/** One code from a box. @param {number[][]} ends low and high of each number @param {() => number} uniform */
export function fromBox(ends, uniform) {
  return Float64Array.from(ends, ([low, high]) => low + uniform() * (high - low));
}

/** The distance of a code from the nearest of others. @param {ArrayLike<number>} z (L,) @param {ArrayLike<number>} others (N × L) */
export function nearest(z, others) {
  const L = z.length;
  let least = Infinity;
  for (let at = 0; at < others.length; at += L) {
    let far = 0;
    for (let i = 0; i < L && far < least; i++) far += (z[i] - others[at + i]) ** 2;
    least = Math.min(least, far);
  }
  return Math.sqrt(least);
}
