// The sums and products of training as WebAssembly with SIMD, on arrays in its memory; plain.js has the same without.
import { COMPILED } from "./compiled.js";

/** Numbers, rows one after the other. @typedef {Float32Array<ArrayBuffer>} Numbers */

/** What both sets of kernels can do; kernels.c says what each means. Arrays come from `space`, which gives `count`
 * zeros; m, n, k, B, L count rows, columns, terms of a product, examples and latents.
 * @typedef {object} Kernels
 * @property {string} name
 * @property {(count: number) => Numbers} space
 * @property {(C: Numbers, A: Numbers, B: Numbers, bias: Numbers | null, m: number, n: number, k: number,
 *   ai: number, al: number, bl: number, bj: number) => void} matmul
 * @property {(sums: Numbers, G: Numbers, m: number, n: number) => void} columns
 * @property {(x: number) => number} exp
 * @property {(x: Numbers, n: number) => void} relu
 * @property {(g: Numbers, y: Numbers, n: number) => void} reluBack
 * @property {(x: Numbers, n: number) => void} tanh
 * @property {(g: Numbers, y: Numbers, n: number) => void} tanhBack
 * @property {(x: Numbers, n: number) => void} sigmoid
 * @property {(g: Numbers, y: Numbers, n: number) => void} sigmoidBack
 * @property {(logits: Numbers, x: Numbers, n: number, scale: number) => number} bernoulli
 * @property {(means: Numbers, x: Numbers, n: number, scale: number) => number} squares
 * @property {(z: Numbers, scales: Numbers, q: Numbers, noise: Numbers, B: number, L: number) => void} sample
 * @property {(kls: Numbers, scales: Numbers, q: Numbers, B: number, L: number) => void} divergence
 * @property {(dq: Numbers, dz: Numbers, scales: Numbers, q: Numbers, noise: Numbers, prices: Numbers,
 *   B: number, L: number) => void} posteriorBack
 * @property {(p: Numbers, g: Numbers, m: Numbers, v: Numbers, n: number, rate: number, epsilon: number,
 *   b1: number, b2: number) => void} adam */

const PAGE = 65536; // bytes; the first holds the module's own constants and stack
const PANEL = 8; // columns that a product packs at a time

/** The kernels of kernels.c with room for so many numbers; `longest` is the largest k of a product. Throws where
 * WebAssembly is missing, lacks SIMD or is refused by the page's policy.
 * @param {number} room @param {number} longest @returns {Kernels} */
export function simd(room, longest) {
  const bytes = Uint8Array.from(atob(COMPILED), (letter) => letter.charCodeAt(0));
  const module = new WebAssembly.Module(bytes);
  const initial = 1 + Math.ceil((4 * (room + PANEL * longest)) / PAGE);
  const memory = new WebAssembly.Memory({ initial });
  const f = /** @type {Record<string, (...numbers: number[]) => number>} */ (
    /** @type {unknown} */ (new WebAssembly.Instance(module, { env: { memory } }).exports)
  );
  let top = PAGE;
  const space = (/** @type {number} */ count) => {
    const start = top;
    top += 4 * upToFour(count);
    return new Float32Array(memory.buffer, start, count);
  };
  const pack = space(PANEL * longest).byteOffset;
  return { name: "wasm", space, exp: (x) => f.exp(x), ...networkCalls(f, pack), ...modelCalls(f) };
}

/** The next multiple of four. @param {number} count */
export const upToFour = (count) => (count + 3) & ~3;

/** @param {Record<string, (...numbers: number[]) => number>} f what the module exports @param {number} pack address */
function networkCalls(f, pack) {
  return /** @type {Pick<Kernels, "matmul" | "columns" | "relu" | "reluBack" | "tanh" | "tanhBack" | "adam">} */ ({
    matmul: (C, A, B, bias, m, n, k, ai, al, bl, bj) =>
      void f.matmul(at(C), at(A), at(B), bias ? at(bias) : 0, pack, m, n, k, ai, al, bl, bj),
    columns: (sums, G, m, n) => void f.columns(at(sums), at(G), m, n),
    relu: (x, n) => void f.relu(at(x), n),
    reluBack: (g, y, n) => void f.reluBack(at(g), at(y), n),
    tanh: (x, n) => void f.tanh(at(x), n),
    tanhBack: (g, y, n) => void f.tanhBack(at(g), at(y), n),
    adam: (p, g, m, v, n, rate, epsilon, b1, b2) => void f.adam(at(p), at(g), at(m), at(v), n, rate, epsilon, b1, b2),
  });
}

/** @param {Record<string, (...numbers: number[]) => number>} f what the module exports */
function modelCalls(f) {
  return /** @type {Omit<Kernels, "name" | "space" | "exp" | keyof ReturnType<typeof networkCalls>>} */ ({
    sigmoid: (x, n) => void f.sigmoid(at(x), n),
    sigmoidBack: (g, y, n) => void f.sigmoidBack(at(g), at(y), n),
    bernoulli: (logits, x, n, scale) => f.bernoulli(at(logits), at(x), n, scale),
    squares: (means, x, n, scale) => f.squares(at(means), at(x), n, scale),
    sample: (z, scales, q, noise, B, L) => void f.sample(at(z), at(scales), at(q), at(noise), B, L),
    divergence: (kls, scales, q, B, L) => void f.divergence(at(kls), at(scales), at(q), B, L),
    posteriorBack: (dq, dz, scales, q, noise, prices, B, L) =>
      void f.posteriorBack(at(dq), at(dz), at(scales), at(q), at(noise), at(prices), B, L),
  });
}

/** An array's address. @param {Numbers} array */
const at = (array) => array.byteOffset;
