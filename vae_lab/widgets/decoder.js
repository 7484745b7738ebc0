// The forward pass of a small PyTorch decoder in plain JavaScript; `decoder.py` writes what this reads.
//
// Every layer becomes a function from one Float32Array to the next that keeps its buffers between calls.
// Both convolutions are one matrix product (`product`), in blocks of 4×4 that stay in registers: about ten
// times faster than nested loops over the image.

import { asView } from "./ui.js";

/** @typedef {(x: Float32Array, t: number) => Float32Array} Step  from a layer's input to its output; t is for gates */
/** @typedef {{op: string, [option: string]: any}} Layer */
/** @typedef {(count: number) => Float32Array} Reader  the next `count` weights */

/** Half-precision numbers, little endian, as a Float32Array.
 * @param {DataView} view @param {number} start in bytes @param {number} count of numbers
 * @param {number} scale what to multiply them by */
export function halves(view, start, count, scale = 1) {
  const bits = new Uint32Array(count);
  const values = new Float32Array(bits.buffer);
  for (let i = 0; i < count; i++) {
    const half = view.getUint16(start + 2 * i, true);
    const sign = (half & 0x8000) << 16;
    const rest = half & 0x7fff;
    if (rest >= 0x400) bits[i] = sign | ((rest << 13) + (112 << 23));
    else values[i] = (sign ? -1 : 1) * rest * 2 ** -24;
  }
  return scale === 1 ? values : values.map((value) => value * scale);
}

/** The decoder as a function z → pixels, for one with gates (z, t) → pixels; the array it returns is written
 * over by the next call.
 * @param {Layer[]} layers @param {DataView<ArrayBuffer> | Uint8Array<ArrayBuffer>} weights float16, little endian
 * @returns {(z: ArrayLike<number>, t?: number) => Float32Array} */
export function decode(layers, weights) {
  const view = asView(weights);
  let at = 0;
  const steps = layers.map((layer) => {
    const scales = [...(layer.scales ?? [])];
    return STEPS[layer.op](layer, (count) => {
      at += 2 * count;
      return halves(view, at - 2 * count, count, scales.shift());
    });
  });
  if (at !== view.byteLength) throw new Error(`the layers need ${at} bytes of weights, there are ${view.byteLength}`);
  return (z, t = 0) => {
    /** @type {Float32Array} */
    let x = Float32Array.from(z);
    for (const step of steps) x = step(x, t);
    return x;
  };
}

/** @type {Record<string, (layer: Layer, read: Reader) => Step>} */
const STEPS = {
  linear,
  conv,
  conv_transpose: convTranspose,
  upsample,
  gate,
  relu: () => inPlace((v) => Math.max(0, v)),
  leaky_relu: ({ slope }) => inPlace((v) => (v > 0 ? v : slope * v)),
  tanh: () => inPlace(Math.tanh),
  sigmoid: () => inPlace((v) => 1 / (1 + Math.exp(-v))),
  silu: () => inPlace((v) => v / (1 + Math.exp(-v))),
};

/** @param {(v: number) => number} f @returns {Step} */
function inPlace(f) {
  return (x) => {
    for (let i = 0; i < x.length; i++) x[i] = f(x[i]);
    return x;
  };
}

/** y = W x + b, four partial sums at a time.
 * @param {Layer} layer @param {Reader} read @returns {Step} */
function linear({ in: n, out: m }, read) {
  const w = read(m * n);
  const b = read(m);
  const y = new Float32Array(m);
  const whole = n - (n % 4);
  return (x) => {
    for (let i = 0, row = 0; i < m; i++, row += n) {
      let s0 = b[i];
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      let j = 0;
      for (; j < whole; j += 4) {
        s0 += w[row + j] * x[j];
        s1 += w[row + j + 1] * x[j + 1];
        s2 += w[row + j + 2] * x[j + 2];
        s3 += w[row + j + 3] * x[j + 3];
      }
      for (; j < n; j++) s0 += w[row + j] * x[j];
      y[i] = s0 + s1 + (s2 + s3);
    }
    return y;
  };
}

/** Every feature of x scaled and shifted, (1 + s(t)) x + c(t), by one hidden layer on t, which is run when t changes.
 * @param {Layer} layer @param {Reader} read @returns {Step} */
function gate({ width, features }, read) {
  const slope = read(width);
  const level = read(width);
  const w = read(2 * features * width);
  const b = read(2 * features);
  const numbers = new Float64Array(2 * features);
  const hidden = new Float64Array(width);
  let at = NaN;
  const open = (/** @type {number} */ t) => {
    for (let j = 0; j < width; j++) hidden[j] = Math.tanh(slope[j] * t + level[j]);
    for (let i = 0, n = 0; i < 2 * features; i++) {
      numbers[i] = b[i];
      for (let j = 0; j < width; j++) numbers[i] += w[n++] * hidden[j];
    }
    at = t;
  };
  return (x, t) => {
    if (t !== at) open(t);
    const each = x.length / features; // pixels of a channel
    for (let f = 0, i = 0; f < features; f++)
      for (let k = 0; k < each; k++, i++) x[i] = (1 + numbers[f]) * x[i] + numbers[features + f];
    return x;
  };
}

/** Every pixel of x (channels last in the sum) times all kernels, then each product added where it falls.
 * @param {Layer} layer @param {Reader} read @returns {Step} */
function convTranspose(layer, read) {
  const {
    in: [channels, h, w],
    out: [maps, H, W],
    kernel: [kh, kw],
    stride,
    padding,
  } = layer;
  const rows = maps * kh * kw;
  const pixels = h * w;
  const kernels = panels(read(channels * rows), rows, channels, 1, rows);
  const bias = read(maps);
  const packed = new Float32Array(up4(pixels) * channels);
  const products = new Float32Array(up4(rows) * up4(pixels));
  const y = new Float32Array(maps * H * W);
  return (x) => {
    product(kernels, panels(x, pixels, channels, 1, pixels, packed), channels, products);
    for (let map = 0, row = 0; map < maps; map++) {
      y.fill(bias[map], map * H * W, (map + 1) * H * W);
      for (let ky = 0; ky < kh; ky++)
        for (let kx = 0; kx < kw; kx++, row++) {
          const left = kx - padding[1];
          const [from, to] = inside(left, stride[1], w, W);
          for (let iy = 0, oy = ky - padding[0]; iy < h; iy++, oy += stride[0]) {
            if (oy < 0 || oy >= H) continue;
            let source = row * up4(pixels) + iy * w + from;
            let target = (map * H + oy) * W + from * stride[1] + left;
            for (let ix = from; ix < to; ix++, source++, target += stride[1]) y[target] += products[source];
          }
        }
    }
    return y;
  };
}

/** Every patch of x times all kernels.
 * @param {Layer} layer @param {Reader} read @returns {Step} */
function conv(layer, read) {
  const {
    in: [channels, h, w],
    out: [maps, H, W],
    kernel: [kh, kw],
    stride,
    padding,
  } = layer;
  const depth = channels * kh * kw;
  const pixels = H * W;
  const kernels = panels(read(maps * depth), maps, depth, depth, 1);
  const bias = read(maps);
  const patches = new Float32Array(up4(pixels) * depth);
  const y = new Float32Array(up4(maps) * up4(pixels));
  const image = up4(pixels) === pixels ? y.subarray(0, maps * pixels) : new Float32Array(maps * pixels);
  return (x) => {
    for (let oy = 0, n = 0; oy < H; oy++)
      for (let ox = 0; ox < W; ox++, n++) {
        const top = oy * stride[0] - padding[0];
        const left = ox * stride[1] - padding[1];
        let target = (n >> 2) * 4 * depth + (n & 3);
        for (let c = 0; c < channels; c++)
          for (let iy = top; iy < top + kh; iy++)
            for (let ix = left; ix < left + kw; ix++, target += 4)
              patches[target] = iy >= 0 && iy < h && ix >= 0 && ix < w ? x[(c * h + iy) * w + ix] : 0;
      }
    product(kernels, patches, depth, y);
    for (let map = 0; map < maps; map++)
      for (let n = 0; n < pixels; n++) image[map * pixels + n] = y[map * up4(pixels) + n] + bias[map];
    return image;
  };
}

/** Nearest neighbors, by whole factors.
 * @param {Layer} layer @returns {Step} */
function upsample({ in: [channels, h, w], out: [, H, W] }) {
  const y = new Float32Array(channels * H * W);
  return (x) => {
    for (let row = 0, i = 0; row < channels * H; row++) {
      const source = Math.floor((row * h) / H) * w;
      for (let ox = 0; ox < W; ox++) y[i++] = x[source + Math.floor((ox * w) / W)];
    }
    return y;
  };
}

const up4 = (/** @type {number} */ n) => (n + 3) & ~3;

/** The columns whose products land inside a row of `width` pixels: the first, and one past the last.
 * @param {number} left @param {number} stride @param {number} columns @param {number} width */
function inside(left, stride, columns, width) {
  const from = Math.max(0, Math.ceil(-left / stride));
  return [from, Math.max(from, Math.min(columns, Math.ceil((width - left) / stride)))];
}

/** A matrix of `rows` × `depth` numbers cut into panels of four rows, each stored depth by depth; missing
 * rows are zeros. The number at (row, k) is found at row·perRow + k·perDepth.
 * @param {Float32Array} matrix @param {number} rows @param {number} depth @param {number} perRow
 * @param {number} perDepth @param {Float32Array} packed where to write, all zeros at first */
function panels(matrix, rows, depth, perRow, perDepth, packed = new Float32Array(up4(rows) * depth)) {
  for (let row = 0; row < rows; row++) {
    let target = (row >> 2) * 4 * depth + (row & 3);
    for (let k = 0, source = row * perRow; k < depth; k++, source += perDepth, target += 4)
      packed[target] = matrix[source];
  }
  return packed;
}

/** C = A Bᵀ for matrices in panels of the same depth; C gets the padded rows and columns too.
 * @param {Float32Array} A @param {Float32Array} B @param {number} depth @param {Float32Array} C */
function product(A, B, depth, C) {
  const span = 4 * depth;
  const columns = B.length / depth;
  for (let start = 0, row = 0; start < A.length; start += span, row += 4)
    for (let b = 0, o = row * columns; b < B.length; o += 4) {
      let c00 = 0;
      let c01 = 0;
      let c02 = 0;
      let c03 = 0;
      let c10 = 0;
      let c11 = 0;
      let c12 = 0;
      let c13 = 0;
      let c20 = 0;
      let c21 = 0;
      let c22 = 0;
      let c23 = 0;
      let c30 = 0;
      let c31 = 0;
      let c32 = 0;
      let c33 = 0;
      for (let a = start; a < start + span; a += 4, b += 4) {
        const b0 = B[b];
        const b1 = B[b + 1];
        const b2 = B[b + 2];
        const b3 = B[b + 3];
        let v = A[a];
        c00 += v * b0;
        c01 += v * b1;
        c02 += v * b2;
        c03 += v * b3;
        v = A[a + 1];
        c10 += v * b0;
        c11 += v * b1;
        c12 += v * b2;
        c13 += v * b3;
        v = A[a + 2];
        c20 += v * b0;
        c21 += v * b1;
        c22 += v * b2;
        c23 += v * b3;
        v = A[a + 3];
        c30 += v * b0;
        c31 += v * b1;
        c32 += v * b2;
        c33 += v * b3;
      }
      C[o] = c00;
      C[o + 1] = c01;
      C[o + 2] = c02;
      C[o + 3] = c03;
      const p = o + columns;
      const q = p + columns;
      const r = q + columns;
      C[p] = c10;
      C[p + 1] = c11;
      C[p + 2] = c12;
      C[p + 3] = c13;
      C[q] = c20;
      C[q + 1] = c21;
      C[q + 2] = c22;
      C[q + 3] = c23;
      C[r] = c30;
      C[r + 1] = c31;
      C[r + 2] = c32;
      C[r + 3] = c33;
    }
}
