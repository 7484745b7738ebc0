// EM for a mixture of Gaussians in the plane, as vae_lab/em.py does it: logarithms throughout, held above zero.

/** Six numbers a component, one after the other: log weight, mean (2), covariance (xx, xy, yy).
 * @typedef {number[]} Parameters */

const SIZE = 6;
const LOG_2PI = Math.log(2 * Math.PI);

/** log Σ exp of `count` values from `first` on, `step` apart; −∞ if all are.
 * @param {ArrayLike<number>} values @param {number} first @param {number} count @param {number} step */
function logSumExp(values, first, count, step) {
  let most = -Infinity;
  let sum = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, values[first + i * step]);
  if (most === -Infinity) return most;
  for (let i = 0; i < count; i++) sum += Math.exp(values[first + i * step] - most);
  return most + Math.log(sum);
}

/** log N(x; μ_k, Σ_k), and log w_k added to it where `weighted`: (N, K), row by row.
 * @param {Parameters} parameters @param {number[]} points @param {boolean} weighted */
function logDensities(parameters, points, weighted) {
  const K = parameters.length / SIZE;
  const N = points.length / 2;
  const out = new Float64Array(N * K);
  for (let k = 0; k < K; k++) {
    const [logW, mx, my, xx, xy, yy] = parameters.slice(SIZE * k, SIZE * (k + 1));
    const a = Math.sqrt(xx);
    const b = xy / a;
    const c = Math.sqrt(yy - b * b); // Σ = root rootᵀ, root = [[a, 0], [b, c]]
    const constant = (weighted ? logW : 0) - LOG_2PI - Math.log(a) - Math.log(c);
    for (let n = 0; n < N; n++) {
      const u = (points[2 * n] - mx) / a;
      const v = (points[2 * n + 1] - my - b * u) / c;
      out[n * K + k] = constant - (u * u + v * v) / 2;
    }
  }
  return out;
}

/** Mean log p(x), in nats a point. @param {Parameters} parameters @param {number[]} points */
export function logEvidence(parameters, points) {
  const K = parameters.length / SIZE;
  const N = points.length / 2;
  const logJoint = logDensities(parameters, points, true);
  let sum = 0;
  for (let n = 0; n < N; n++) sum += logSumExp(logJoint, n * K, K, 1);
  return sum / N;
}

/** Log responsibilities (N, K): the posterior of each point's component.
 * @param {Parameters} parameters @param {number[]} points */
export function eStep(parameters, points) {
  const K = parameters.length / SIZE;
  const N = points.length / 2;
  const out = logDensities(parameters, points, true);
  for (let n = 0; n < N; n++) {
    const total = logSumExp(out, n * K, K, 1);
    for (let k = 0; k < K; k++) out[n * K + k] -= total;
  }
  return out;
}

/** Log responsibilities of one who knows nothing: 1/K each. @param {number} N @param {number} K */
export function uniform(N, K) {
  return new Float64Array(N * K).fill(-Math.log(K));
}

/** The parameters that maximize the bound; one that owns nothing stays where it is. In units of `least` by column, no
 * variance falls below 1, nor below the component's own least where that was less: so the bound never falls.
 * @param {Parameters} parameters @param {number[]} points @param {Float64Array} logResp @param {number[]} least
 * @returns {Parameters} */
export function mStep(parameters, points, logResp, least) {
  const K = parameters.length / SIZE;
  const N = points.length / 2;
  const out = [...parameters];
  for (let k = 0; k < K; k++) {
    const logN = logSumExp(logResp, k, N, K);
    const at = SIZE * k;
    out[at] = logN - Math.log(N);
    if (logN === -Infinity) continue;
    const share = Array.from({ length: N }, (_, n) => Math.exp(logResp[n * K + k] - logN));
    const mx = share.reduce((sum, s, n) => sum + s * points[2 * n], 0);
    const my = share.reduce((sum, s, n) => sum + s * points[2 * n + 1], 0);
    let xx = 0;
    let xy = 0;
    let yy = 0;
    share.forEach((s, n) => {
      const dx = points[2 * n] - mx;
      const dy = points[2 * n + 1] - my;
      xx += s * dx * dx;
      xy += s * dx * dy;
      yy += s * dy * dy;
    });
    const [before] = eigenvalues(inUnits(parameters.slice(at + 3, at + SIZE), least));
    const held = heldAbove(inUnits([xx, xy, yy], least), Math.min(1, before));
    out.splice(at + 1, 5, mx, my, ...inUnits(held, [1 / least[0], 1 / least[1]]));
  }
  return out;
}

/** Both eigenvalues of a covariance, the smaller first. @param {number[]} covariance */
export function eigenvalues([xx, xy, yy]) {
  const middle = (xx + yy) / 2;
  const half = Math.hypot((xx - yy) / 2, xy);
  return [middle - half, middle + half];
}

/** A covariance where each column is counted in units of √ its own. @param {number[]} covariance @param {number[]} units */
function inUnits([xx, xy, yy], [a, b]) {
  return [xx / a, xy / Math.sqrt(a * b), yy / b];
}

/** A covariance with its eigenvalues raised to `least` where they are below. @param {number[]} covariance @param {number} least */
function heldAbove([xx, xy, yy], least) {
  const [small, large] = eigenvalues([xx, xy, yy]);
  if (small >= least) return [xx, xy, yy];
  const stretch = large > small ? (Math.max(large, least) - least) / (large - small) : 0;
  return [least + stretch * (xx - small), stretch * xy, least + stretch * (yy - small)];
}

/** The mean bound E_q[log p(x|z)] − KL(q ‖ w), in nats a point, for any log responsibilities q.
 * @param {Parameters} parameters @param {number[]} points @param {Float64Array} logResp */
export function lowerBound(parameters, points, logResp) {
  const logJoint = logDensities(parameters, points, true);
  let sum = 0;
  logResp.forEach((logQ, i) => {
    if (logQ > -700) sum += Math.exp(logQ) * (logJoint[i] - logQ);
  });
  return sum / (points.length / 2);
}
