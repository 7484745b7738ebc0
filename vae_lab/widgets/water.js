// A linear VAE at its optimum: what is told of each direction of the data, and what is not. noise is βσ².

/** By how much the copy is shorter than the image along a direction: the posterior mean is (w/λ) u·(x − x̄), the decoder
 * multiplies by w, and w² = λ − noise where that is above 0. @param {number} variance λ @param {number} noise */
export const share = (variance, noise) => Math.max(0, 1 - noise / variance);

/** The KL of each direction, in nats. @param {number[]} variances @param {number} noise */
export const rates = (variances, noise) => variances.map((variance) => Math.max(0, Math.log(variance / noise) / 2));

/** The mean squared error along each direction, where the code is a draw. @param {number[]} variances @param {number} noise */
export const errors = (variances, noise) => variances.map((variance) => Math.min(variance, noise));

/** The image decoded from the mean code. @param {ArrayLike<number>} mean (D,) @param {ArrayLike<number>} directions (K × D)
 * @param {number[]} code of an image, along each direction, (K,) @param {number[]} shares (K,) */
export function copy(mean, directions, code, shares) {
  const D = mean.length;
  const x = Float64Array.from(mean);
  for (let k = 0; k < code.length; k++) {
    const length = shares[k] * code[k];
    if (length !== 0) for (let d = 0; d < D; d++) x[d] += length * directions[k * D + d];
  }
  return x;
}
