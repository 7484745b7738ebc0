// Judges of two clouds of points in the plane, as vae_lab.metrics has them: x and y, one after the other.

/** @typedef {Float64Array} Cloud  (2N,) */

/** Mean and covariance (xx, xy, yy), divided by N − 1. @param {Cloud} points */
function moments(points) {
  const N = points.length / 2;
  let [mx, my] = [0, 0];
  for (let n = 0; n < points.length; n += 2) {
    mx += points[n] / N;
    my += points[n + 1] / N;
  }
  let [xx, xy, yy] = [0, 0, 0];
  for (let n = 0; n < points.length; n += 2) {
    const [dx, dy] = [points[n] - mx, points[n + 1] - my];
    xx += (dx * dx) / (N - 1);
    xy += (dx * dy) / (N - 1);
    yy += (dy * dy) / (N - 1);
  }
  return { mx, my, xx, xy, yy };
}

/** ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). @param {Cloud} a @param {Cloud} b */
export function frechetDistance(a, b) {
  const [p, q] = [moments(a), moments(b)];
  const trace = p.xx * q.xx + 2 * p.xy * q.xy + p.yy * q.yy; // of Σ_a Σ_b
  const roots = Math.sqrt(Math.max(0, (p.xx * p.yy - p.xy ** 2) * (q.xx * q.yy - q.xy ** 2)));
  const overlap = Math.sqrt(Math.max(0, trace + 2 * roots)); // a root of two by two has this trace
  return Math.max(0, (p.mx - q.mx) ** 2 + (p.my - q.my) ** 2 + p.xx + p.yy + q.xx + q.yy - 2 * overlap);
}

/** The unbiased squared discrepancy by the kernel (xᵀy / 2 + 1)³. @param {Cloud} a @param {Cloud} b */
export function kernelDistance(a, b) {
  /** @param {Cloud} rows @param {Cloud} others */
  const sum = (rows, others) => {
    let all = 0;
    for (let i = 0; i < rows.length; i += 2)
      for (let j = 0; j < others.length; j += 2) {
        const t = (rows[i] * others[j] + rows[i + 1] * others[j + 1]) / 2;
        all += t * (3 + t * (3 + t));
      }
    return all;
  };
  /** Without the pairs of a point with itself. @param {Cloud} rows */
  const within = (rows) => {
    let own = 0;
    for (let i = 0; i < rows.length; i += 2) {
      const t = (rows[i] ** 2 + rows[i + 1] ** 2) / 2;
      own += t * (3 + t * (3 + t));
    }
    const N = rows.length / 2;
    return (sum(rows, rows) - own) / (N * (N - 1));
  };
  return within(a) + within(b) - (2 * sum(a, b)) / ((a.length * b.length) / 4);
}

/** The share of generated points within reach of a real one, and the other way round: a point reaches as far as its k-th
 * nearest neighbor in its own cloud. @param {Cloud} real @param {Cloud} generated @param {number} k */
export function precisionRecall(real, generated, k) {
  return { precision: among(generated, real, k), recall: among(real, generated, k) };
}

/** @param {Cloud} points @param {Cloud} others @param {number} k */
function among(points, others, k) {
  const N = others.length / 2;
  const far = new Float64Array(N);
  const radii = new Float64Array(N);
  for (let i = 0; i < N; i++) {
    for (let j = 0; j < N; j++)
      far[j] = i === j ? Infinity : (others[2 * i] - others[2 * j]) ** 2 + (others[2 * i + 1] - others[2 * j + 1]) ** 2;
    radii[i] = far.sort()[k - 1];
  }
  let inside = 0;
  for (let n = 0; n < points.length; n += 2)
    for (let i = 0; i < N; i++)
      if ((points[n] - others[2 * i]) ** 2 + (points[n + 1] - others[2 * i + 1]) ** 2 <= radii[i]) {
        inside++;
        break;
      }
  return (2 * inside) / points.length;
}

/** The mean distance of points from the nearest of others. @param {Cloud} points @param {Cloud} others */
export function nearestDistance(points, others) {
  let sum = 0;
  for (let n = 0; n < points.length; n += 2) {
    let least = Infinity;
    for (let i = 0; i < others.length; i += 2)
      least = Math.min(least, (points[n] - others[i]) ** 2 + (points[n + 1] - others[i + 1]) ** 2);
    sum += Math.sqrt(least);
  }
  return (2 * sum) / points.length;
}
