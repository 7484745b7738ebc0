// Dense layers that learn: a forward and a backward pass, and Adam.
import { upToFour } from "./kernels.js";

/** @typedef {import("./kernels.js").Kernels} Kernels */
/** @typedef {import("./kernels.js").Numbers} Numbers */
/** @typedef {{value: Numbers, slope: Numbers}} Parameter  its numbers, and the derivative of the loss */
/** @typedef {ReturnType<typeof parameters>} Parameters */
/** @typedef {ReturnType<typeof network>} Network */

/** Numbers that a network of these sizes learns, each array filled up to a multiple of four. @param {number[]} sizes */
export function parameterCount(sizes) {
  let count = 0;
  for (let i = 1; i < sizes.length; i++) count += upToFour(sizes[i - 1] * sizes[i]) + upToFour(sizes[i]);
  return count;
}

/** The parameters of one part of a model, one after the other, and Adam's moments of them (Kingma & Ba 2015).
 * @param {Kernels} kernels @param {number} count */
export function parameters(kernels, count) {
  const [theta, slopes, first, second] = [0, 0, 0, 0].map(() => kernels.space(count));
  const [b1, b2] = [0.9, 0.999];
  let [used, power1, power2] = [0, 1, 1]; // b1 and b2 to the power of the steps taken
  return {
    theta,
    /** The next `length` of them, filled by `draw`. @param {number} length @param {() => number} draw @returns {Parameter} */
    add(length, draw) {
      const [from, to] = [used, used + length];
      used += upToFour(length);
      for (let i = from; i < to; i++) theta[i] = draw();
      return { value: theta.subarray(from, to), slope: slopes.subarray(from, to) };
    },
    /** One step down the slopes. @param {number} rate */
    descend(rate) {
      power1 *= b1;
      power2 *= b2;
      const root = Math.sqrt(1 - power2);
      kernels.adam(theta, slopes, first, second, count, (rate * root) / (1 - power1), 1e-8 * root, b1, b2);
    },
  };
}

/** Linear layers with activations between them, for batches of at most `rows`; they start as PyTorch's nn.Linear does.
 * Weights are kept by input, (inputs × outputs).
 * @param {Kernels} kernels @param {number[]} sizes @param {{activation: "relu" | "tanh", rows: number,
 *   own: Parameters, uniform: () => number}} more */
export function network(kernels, sizes, { activation, rows, own, uniform }) {
  const [bend, bendBack] = [kernels[activation], kernels[activation === "relu" ? "reluBack" : "tanhBack"]];
  const layers = sizes.slice(1).map((outputs, i) => {
    const inputs = sizes[i];
    const draw = () => (2 * uniform() - 1) / Math.sqrt(inputs);
    const [W, b] = [own.add(inputs * outputs, draw), own.add(outputs, draw)];
    return { inputs, outputs, W, b, y: kernels.space(rows * outputs), dx: kernels.space(rows * inputs) };
  });
  let input = /** @type {Numbers} */ (layers[0].y);
  /** x (B × first size) → numbers (B × last size), written over by the next call. @param {Numbers} x @param {number} B */
  const forward = (x, B) => {
    input = x;
    for (const [i, { inputs, outputs, W, b, y }] of layers.entries()) {
      kernels.matmul(y, x, W.value, b.value, B, outputs, inputs, inputs, 1, outputs, 1);
      if (i < layers.length - 1) bend(y, B * outputs);
      x = y;
    }
    return x;
  };
  /** From dy, the derivative in the output of the last `forward`, to those in the parameters, if it learns, and in the
   * input (B × first size), if `further`. @param {Numbers} dy @param {number} B @param {boolean} learns @param {boolean} further */
  const backward = (dy, B, learns, further) => {
    for (let i = layers.length - 1; i >= 0; i--) {
      const { inputs, outputs, W, b, dx } = layers[i];
      const x = i ? layers[i - 1].y : input;
      if (learns) {
        kernels.matmul(W.slope, x, dy, null, inputs, outputs, B, 1, inputs, outputs, 1);
        kernels.columns(b.slope, dy, B, outputs);
      }
      if (!i && !further) break;
      kernels.matmul(dx, dy, W.value, null, B, inputs, outputs, outputs, 1, 1, outputs);
      if (i) bendBack(dx, x, B * inputs);
      dy = dx;
    }
    return dy;
  };
  return { layers, forward, backward };
}
