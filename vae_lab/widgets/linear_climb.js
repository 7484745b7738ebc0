// The linear VAE with one latent: its bound over the decoder's weight w and the encoder's v, with the posterior's scale at
// its best. Errors are counted in units of τ = βσ², λ is the variance of the data along the direction.

/** The bound, up to a constant, in nats. @param {number} w @param {number} v @param {number} lambda */
export function boundOf(w, v, lambda) {
  return -(lambda * ((1 - w * v) ** 2 + v * v) + Math.log1p(w * w)) / 2;
}

/** Its slopes in w and v. @param {number} w @param {number} v @param {number} lambda @returns {[number, number]} */
export function slopes(w, v, lambda) {
  const missed = lambda * (1 - w * v);
  return [v * missed - w / (1 + w * w), w * missed - lambda * v];
}

/** The KL from the prior, in nats. @param {number} w @param {number} v @param {number} lambda */
export function klOf(w, v, lambda) {
  const s2 = 1 / (1 + w * w);
  return (v * v * lambda + s2 - 1 - Math.log(s2)) / 2;
}

/** The Hessian's eigenvalues at the silent point w = v = 0, the smaller first. @param {number} lambda @returns {[number, number]} */
export function curvatures(lambda) {
  const [middle, half] = [-(1 + lambda) / 2, Math.hypot((lambda - 1) / 2, lambda)];
  return [middle - half, middle + half];
}

/** Where the bound is highest with w ≥ 0, and the KL there. @param {number} lambda */
export function summit(lambda) {
  const w = Math.sqrt(Math.max(0, lambda - 1));
  return { w, v: w / lambda, kl: Math.log(Math.max(1, lambda)) / 2 };
}

/** Gradient ascent from (w, v): the places (2 × (steps + 1)), and the KL at each.
 * @param {number} w @param {number} v @param {number} lambda @param {number} steps @param {number} rate */
export function climb(w, v, lambda, steps, rate) {
  const path = new Float64Array(2 * (steps + 1));
  const kl = new Float64Array(steps + 1);
  for (let t = 0; t <= steps; t++) {
    path.set([w, v], 2 * t);
    kl[t] = klOf(w, v, lambda);
    const [a, b] = slopes(w, v, lambda);
    w += rate * a;
    v += rate * b;
  }
  return { path, kl };
}

/** The first step at which the KL exceeds half of what it has at the summit; −1 if it never does.
 * @param {Float64Array} kl @param {number} lambda */
export function wait(kl, lambda) {
  const half = summit(lambda).kl / 2;
  return half > 0 ? kl.findIndex((nats) => nats > half) : -1;
}
