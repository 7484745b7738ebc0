// The kernels of kernels.c in plain JavaScript, for where WebAssembly is missing or refused: some seven times slower.

/** @typedef {import("./kernels.js").Kernels} Kernels */
/** @typedef {import("./kernels.js").Numbers} Numbers */

const BLOCK = 4; // rows and columns of a block of the product that stays in registers

/** @param {number} _room @param {number} _longest see `simd` @returns {Kernels} */
export function plain(_room = 0, _longest = 0) {
  return {
    name: "plain",
    space: (count) => new Float32Array(count),
    exp: Math.exp,
    matmul: makeMatmul(),
    columns,
    ...activations,
    ...likelihoods,
    sample,
    divergence,
    posteriorBack,
    adam,
  };
}

/** The matrix product, which keeps room for both factors in panels of four rows or columns. */
function makeMatmul() {
  let [panelsA, panelsB] = [new Float32Array(0), new Float32Array(0)];
  const sums = new Float32Array(BLOCK * BLOCK);
  return /** @type {Kernels["matmul"]} */ (
    (C, A, B, bias, m, n, k, ai, al, bl, bj) => {
      panelsA = pack(panelsA, A, m, k, ai, al);
      panelsB = pack(panelsB, B, n, k, bj, bl);
      for (let j = 0; j < n; j += BLOCK) {
        for (let i = 0; i < m; i += BLOCK) {
          multiply(sums, panelsA, i * k, panelsB, j * k, BLOCK * k);
          const [rows, wide] = [Math.min(BLOCK, m - i), Math.min(BLOCK, n - j)];
          for (let r = 0; r < rows; r++)
            for (let c = 0, to = (i + r) * n + j; c < wide; c++)
              C[to + c] = sums[BLOCK * r + c] + (bias ? bias[j + c] : 0);
        }
      }
    }
  );
}

/** Rows in panels of four, the last filled up with zeros; `panels` again if it is long enough.
 * @param {Numbers} panels @param {Numbers} from @param {number} rows @param {number} depth
 * @param {number} perRow @param {number} perDepth */
function pack(panels, from, rows, depth, perRow, perDepth) {
  const all = BLOCK * Math.ceil(rows / BLOCK);
  const to = panels.length >= all * depth ? panels : new Float32Array(all * depth);
  for (let row = 0; row < all; row++) {
    let target = (row - (row % BLOCK)) * depth + (row % BLOCK);
    for (let l = 0, source = row * perRow; l < depth; l++, source += perDepth, target += BLOCK)
      to[target] = row < rows ? from[source] : 0;
  }
  return to;
}

/** sums (4 × 4) = a panel of A times a panel of B, from these places on, `length` numbers each.
 * @param {Numbers} sums @param {Numbers} A @param {number} a @param {Numbers} B @param {number} b @param {number} length */
function multiply(sums, A, a, B, b, length) {
  let [s0, s1, s2, s3, s4, s5, s6, s7] = [0, 0, 0, 0, 0, 0, 0, 0];
  let [s8, s9, sA, sB, sC, sD, sE, sF] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (const end = a + length; a < end; a += BLOCK, b += BLOCK) {
    // one by one: taking arrays apart costs many times the products
    const a0 = A[a];
    const a1 = A[a + 1];
    const a2 = A[a + 2];
    const a3 = A[a + 3];
    const b0 = B[b];
    const b1 = B[b + 1];
    const b2 = B[b + 2];
    const b3 = B[b + 3];
    s0 += a0 * b0;
    s1 += a0 * b1;
    s2 += a0 * b2;
    s3 += a0 * b3;
    s4 += a1 * b0;
    s5 += a1 * b1;
    s6 += a1 * b2;
    s7 += a1 * b3;
    s8 += a2 * b0;
    s9 += a2 * b1;
    sA += a2 * b2;
    sB += a2 * b3;
    sC += a3 * b0;
    sD += a3 * b1;
    sE += a3 * b2;
    sF += a3 * b3;
  }
  sums.set([s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sA, sB, sC, sD, sE, sF]);
}

/** @type {Kernels["columns"]} */
function columns(sums, G, m, n) {
  sums.fill(0, 0, n);
  for (let i = 0, at = 0; i < m; i++) for (let j = 0; j < n; j++) sums[j] += G[at++];
}

/** @type {Pick<Kernels, "relu" | "reluBack" | "tanh" | "tanhBack" | "sigmoid" | "sigmoidBack">} */
const activations = {
  relu(x, n) {
    for (let i = 0; i < n; i++) if (x[i] < 0) x[i] = 0;
  },
  reluBack(g, y, n) {
    for (let i = 0; i < n; i++) if (!(y[i] > 0)) g[i] = 0;
  },
  tanh(x, n) {
    for (let i = 0; i < n; i++) x[i] = Math.tanh(x[i]);
  },
  tanhBack(g, y, n) {
    for (let i = 0; i < n; i++) g[i] *= 1 - y[i] * y[i];
  },
  sigmoid(x, n) {
    for (let i = 0; i < n; i++) x[i] = 1 / (1 + Math.exp(-x[i]));
  },
  sigmoidBack(g, y, n) {
    for (let i = 0; i < n; i++) g[i] *= y[i] * (1 - y[i]);
  },
};

/** @type {Pick<Kernels, "bernoulli" | "squares">} */
const likelihoods = {
  bernoulli(logits, x, n, scale) {
    let total = 0;
    for (let i = 0; i < n; i++) {
      const logit = logits[i];
      const e = Math.exp(-Math.abs(logit));
      total += Math.max(logit, 0) - logit * x[i] + Math.log1p(e);
      logits[i] = scale * ((logit >= 0 ? 1 : e) / (1 + e) - x[i]);
    }
    return total;
  },
  squares(means, x, n, scale) {
    let total = 0;
    for (let i = 0; i < n; i++) {
      const error = means[i] - x[i];
      total += error * error;
      means[i] = scale * error;
    }
    return total;
  },
};

/** @type {Kernels["sample"]} */
function sample(z, scales, q, noise, B, L) {
  for (let b = 0; b < B; b++)
    for (let l = 0; l < L; l++) {
      const [mu, s] = [2 * L * b + l, 2 * L * b + L + l];
      scales[s] = Math.exp(Math.min(88, q[s] / 2));
      z[L * b + l] = q[mu] + scales[s] * noise[L * b + l];
    }
}

/** @type {Kernels["divergence"]} */
function divergence(kls, scales, q, B, L) {
  for (let l = 0; l < L; l++) {
    let total = 0;
    for (let b = 0; b < B; b++) {
      const [mu, s] = [2 * L * b + l, 2 * L * b + L + l];
      total += (q[mu] * q[mu] + scales[s] * scales[s] - q[s] - 1) / 2;
    }
    kls[l] = total;
  }
}

/** @type {Kernels["posteriorBack"]} */
function posteriorBack(dq, dz, scales, q, noise, prices, B, L) {
  for (let b = 0; b < B; b++)
    for (let l = 0; l < L; l++) {
      const [i, mu, s] = [L * b + l, 2 * L * b + l, 2 * L * b + L + l];
      const sigma = scales[s];
      dq[mu] = dz[i] + prices[l] * q[mu];
      dq[s] = (dz[i] * noise[i] * sigma + prices[l] * (sigma * sigma - 1)) / 2;
    }
}

/** @type {Kernels["adam"]} */
function adam(p, g, m, v, n, rate, epsilon, b1, b2) {
  for (let i = 0; i < n; i++) {
    m[i] = b1 * m[i] + (1 - b1) * g[i];
    v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
    p[i] -= (rate * m[i]) / (Math.sqrt(v[i]) + epsilon);
  }
}
