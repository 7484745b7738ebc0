// How a run went: the terms of the ELBO over the steps, never more than a few hundred rows of them.

/** @typedef {import("./vae.js").Terms} Terms */
/** @typedef {ReturnType<typeof makeCurve>} Curve */

export const COLUMNS = ["step", "logLik", "kl", "heldLogLik", "heldKl"];
const MOST = 512; // rows; then two become one

/** A row for every `every` steps: means over these steps, and what `look` says of examples held out at their end (NaN
 * where it says nothing).
 * @param {number} every @param {() => Terms | null} look */
export function makeCurve(every, look) {
  /** @type {number[][]} */
  let rows = [];
  let [steps, inRow, logLik, kl] = [0, 0, 0, 0];
  /** @param {Terms} terms of one more step */
  const add = (terms) => {
    steps++;
    inRow++;
    logLik += terms.logLik;
    kl += terms.kl;
    if (inRow < every) return;
    const held = look() ?? { logLik: Number.NaN, kl: Number.NaN };
    rows.push([steps, logLik / inRow, kl / inRow, held.logLik, held.kl]);
    [inRow, logLik, kl] = [0, 0, 0];
    if (rows.length === MOST) {
      rows = rows.flatMap((row, i) => (i % 2 ? [merged(rows[i - 1], row)] : []));
      every *= 2;
    }
  };
  /** All rows, one after the other, each of COLUMNS. */
  const read = () => Float32Array.from(rows.flat());
  return { add, read };
}

/** Two rows as one. @param {number[]} first @param {number[]} second */
function merged([, logLik, kl], [step, logLik2, kl2, ...held]) {
  return [step, (logLik + logLik2) / 2, (kl + kl2) / 2, ...held];
}
