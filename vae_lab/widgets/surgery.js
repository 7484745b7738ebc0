// A cloud of round Gaussians in the plane against the prior N(0, I): the mean KL and its two parts, by sums over a grid.

/** @typedef {{mean: number, information: number, marginal: number, mass: number}} Split  in nats; `mass` is the share of
 *   the cloud that the grid holds */

const LOG_TAU = Math.log(2 * Math.PI);

/** The density of the cloud at all of xs × ys: (ys.length × xs.length), a row for each y.
 * @param {ArrayLike<number>} centers x and y, one after the other @param {number} sigma @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys */
export function cloud(centers, sigma, xs, ys) {
  const N = centers.length / 2;
  const density = new Float64Array(xs.length * ys.length);
  const across = new Float64Array(xs.length);
  const bell = (/** @type {number} */ error) => Math.exp(-(error * error) / (2 * sigma * sigma));
  const constant = 1 / (2 * Math.PI * sigma * sigma * N);
  for (let n = 0; n < N; n++) {
    for (let i = 0; i < xs.length; i++) across[i] = bell(xs[i] - centers[2 * n]);
    for (let j = 0, to = 0; j < ys.length; j++) {
      const share = constant * bell(ys[j] - centers[2 * n + 1]);
      for (let i = 0; i < xs.length; i++) density[to++] += share * across[i];
    }
  }
  return density;
}

/** The mean over the centers of KL(N(center, σ²I) ‖ N(0, I)), and its parts: what a code tells of its image, and the KL of
 * the whole cloud. @param {ArrayLike<number>} centers @param {number} sigma @param {Float64Array} density of `cloud`
 * @param {ArrayLike<number>} xs evenly spaced @param {ArrayLike<number>} ys @returns {Split} */
export function surgery(centers, sigma, density, xs, ys) {
  let squares = 0;
  for (let i = 0; i < centers.length; i++) squares += centers[i] ** 2;
  const mean = squares / centers.length + sigma * sigma - 1 - 2 * Math.log(sigma);
  const cell = (xs[1] - xs[0]) * (ys[1] - ys[0]);
  let [marginal, mass] = [0, 0];
  for (let j = 0, k = 0; j < ys.length; j++)
    for (let i = 0; i < xs.length; i++, k++) {
      const q = density[k];
      if (q < 1e-300) continue;
      marginal += q * (Math.log(q) + LOG_TAU + (xs[i] ** 2 + ys[j] ** 2) / 2);
      mass += q;
    }
  return { mean, information: mean - marginal * cell, marginal: marginal * cell, mass: mass * cell };
}
