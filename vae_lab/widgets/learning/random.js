// Random numbers that every browser draws alike: only sums, products, quotients and roots, which the standard fixes to
// the last bit. Math.log and its like may differ from one engine to the next.

/** @typedef {ReturnType<typeof random>} Random */

/** Numbers in [0, 1), and standard normal ones, by a seed; streams of one seed have nothing to do with one another
 * (Doty-Humphrey's sfc32; Marsaglia's polar method).
 * @param {number} seed @param {number} stream */
export function random(seed, stream = 0) {
  let [a, b, c, counter] = [seed | 0, stream | 0, Math.floor(seed / 2 ** 32) | 0, 1];
  const uniform = () => {
    const t = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return (t >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) uniform();
  let kept = 0;
  let has = false;
  const normal = () => {
    if (has) {
      has = false;
      return kept;
    }
    for (;;) {
      const [u, v] = [2 * uniform() - 1, 2 * uniform() - 1];
      const s = u * u + v * v;
      if (s >= 1 || s === 0) continue;
      const factor = Math.sqrt((-2 * logarithm(s)) / s);
      kept = v * factor;
      has = true;
      return u * factor;
    }
  };
  return { uniform, normal };
}

/** log x for x in (0, 1], to 13 digits: a power of two, and 2 artanh of what remains. @param {number} x */
function logarithm(x) {
  let power = 0;
  for (; x < Math.SQRT1_2; x *= 2) power--;
  const t = (x - 1) / (x + 1); // at most 0.172
  let series = 0;
  for (let k = 15; k > 0; k -= 2) series = series * t * t + 1 / k;
  return power * Math.LN2 + 2 * t * series;
}

/** The numbers 0 … n − 1 in a new order, in place. @param {Uint32Array} order @param {() => number} uniform */
export function shuffle(order, uniform) {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
}
