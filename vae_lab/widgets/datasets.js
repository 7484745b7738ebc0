// What a model in the page learns from: points in the plane, the book's small digits, and what its reader brings.
import { shuffle } from "./learning/learner.js";
import { html } from "./ui.js";

/** @typedef {import("./learning/kernels.js").Numbers} Numbers */
/** @typedef {import("./learning/random.js").Random} Random */
/** @typedef {{data: Numbers, heldOut: Numbers}} Parts  examples to learn from, and others, row by row */

const SET_SIZES = { train: 512, heldOut: 256 }; // points of a set
export const PLANE_REACH = 2.8; // half the side of the plane in which points are seen
const SMALL = { reach: 0.1, count: 8 }; // so many points that lie this close to 0 are made larger
const FARTHEST = 2.2; // and where it comes to lie otherwise
const MOST_POINTS = 2000; // of one's own
const HELD_OUT = { least: 10, every: 5 }; // of fewer examples none, of more every fifth
const PICTURES = 2000; // that are read at once
const FRAMED = { small: 8, large: 22, side: 28, white: 16 }; // the digits, before and after, in their frame
const CUBIC = -0.75; // the bicubic kernel's parameter, as PyTorch has it
const LUMA = [0.299, 0.587, 0.114]; // of red, green and blue (ITU-R BT.601), as Pillow turns color to gray

/** A point of each set and the part of the set that it is in, which is drawn as its color.
 * @type {Record<string, (random: Random) => [number, number, number]>} */
const SETS = {
  ring({ normal, uniform }) {
    const turn = uniform();
    const [x, y] = onCircle(turn);
    return [1.5 * x + 0.1 * normal(), 1.5 * y + 0.1 * normal(), Math.floor(8 * turn)];
  },
  grid({ normal, uniform }) {
    const [column, row] = [Math.floor(5 * uniform()), Math.floor(5 * uniform())];
    return [0.8 * (column - 2) + 0.1 * normal(), 0.8 * (row - 2) + 0.1 * normal(), column];
  },
  moons({ normal, uniform }) {
    const [x, y] = onCircle(uniform() / 2);
    const moon = uniform() < 0.5 ? 1 : -1;
    const at = [1.2 * moon * (x - 0.5), 1.2 * moon * (y - 0.25)];
    return [at[0] + 0.1 * normal(), at[1] + 0.1 * normal(), moon > 0 ? 0 : 1];
  },
  pinwheel({ normal, uniform }) {
    const [far, side] = [1 + 0.4 * normal(), 0.12 * normal()];
    const arm = Math.floor(5 * uniform());
    const [x, y] = onCircle(arm / 5 + (0.6 * far) / (2 * Math.PI));
    return [far * x - side * y, far * y + side * x, arm];
  },
  spiral({ normal, uniform }) {
    const along = Math.sqrt(uniform());
    const far = (3 * Math.PI * along) / 5;
    const [x, y] = onCircle(1.5 * along);
    return [far * x + 0.06 * normal(), far * y + 0.06 * normal(), Math.floor(8 * along)];
  },
};
export const POINT_SETS = Object.keys(SETS);

/** A set of points by its name, and for each point to learn from the part of the set that it is in (N,). Every browser
 * draws the same. @param {string} name @param {Random} random @returns {Parts & {labels: Uint8Array}} */
export function pointSet(name, random) {
  const labels = new Uint8Array(SET_SIZES.train);
  const draw = (/** @type {number} */ count) => {
    const points = new Float32Array(2 * count);
    for (let n = 0; n < count; n++) {
      const [x, y, part] = SETS[name](random);
      points.set([x, y], 2 * n);
      labels[n % SET_SIZES.train] = part;
    }
    return points;
  };
  const heldOut = draw(SET_SIZES.heldOut);
  return { data: draw(SET_SIZES.train), heldOut, labels };
}

/** cos and sin of a share of a whole turn, by sums and products alone, which all browsers round alike: a series for a
 * 64th of the angle, doubled six times. @param {number} turn @returns {[number, number]} */
function onCircle(turn) {
  const angle = (2 * Math.PI * turn) / 64;
  const square = angle * angle;
  let x = 1 - (square / 2) * (1 - (square / 12) * (1 - (square / 30) * (1 - square / 56)));
  let y = angle * (1 - (square / 6) * (1 - (square / 20) * (1 - (square / 42) * (1 - square / 72))));
  for (let i = 0; i < 6; i++) [x, y] = [x * x - y * y, 2 * x * y];
  return [x, y];
}

/** The points in a text, two numbers a line, one after the other. Throws a RangeError that says what is wrong where.
 * @param {string} text @returns {number[]} */
export function ownPoints(text) {
  const lines = text.split(/\r?\n/);
  /** @type {number[]} */
  const points = [];
  for (const [i, line] of lines.entries()) {
    const words = line
      .replaceAll("−", "-")
      .replace(/[[\](){}]/g, " ")
      .split(/[\s,;]+/)
      .filter(Boolean);
    if (!words.length || (!points.length && !/\d/.test(line))) continue; // an empty line, or a heading
    const pair = words.map(Number);
    if (pair.length !== 2 || !pair.every(Number.isFinite))
      throw new RangeError(`Line ${i + 1} must be two numbers, such as 0.5, 1.2; it is “${line.trim().slice(0, 40)}”.`);
    points.push(...pair);
  }
  return points;
}

/** Points as the page's plane can show them, the same way up, and what was done to them in words; as they are if they
 * fit. @param {ArrayLike<number>} points two numbers each */
export function scaled(points) {
  const values = Float64Array.from(points);
  if (values.length % 2 || !values.every(Number.isFinite))
    throw new RangeError("Points must be two finite numbers each.");
  if (!values.length || values.length > 2 * MOST_POINTS)
    throw new RangeError(
      `There must be 1 to ${MOST_POINTS.toLocaleString("en")} points; there are ${values.length / 2}.`,
    );
  const range = [0, 1].map((axis) => {
    const along = values.filter((_, i) => i % 2 === axis);
    return { middle: (Math.min(...along) + Math.max(...along)) / 2, low: Math.min(...along), high: Math.max(...along) };
  });
  const farthest = Math.max(...values.map(Math.abs));
  const small = farthest < SMALL.reach && values.length >= 2 * SMALL.count;
  if (farthest <= PLANE_REACH && !small) return { points: Float32Array.from(values), words: "" };
  const unit = Math.max(...range.map(({ low, high }) => (high - low) / 2)) / FARTHEST;
  if (!(unit > 0 && unit < Number.POSITIVE_INFINITY))
    throw new RangeError("The points are all one point, or too far apart to be shown.");
  const few = (/** @type {number} */ value) => String(Number(value.toPrecision(3))).replace("-", "−");
  return {
    points: Float32Array.from(values, (value, i) => (value - range[i % 2].middle) / unit),
    words: `To fit the plane, ${few(range[0].middle)}, ${few(range[1].middle)} is now its middle, and ${few(unit)} is 1.`,
  };
}

/** Examples to learn from and, of ten or more, every fifth to judge by, in a new order. @param {Numbers} rows (N × D)
 * @param {number} dims D @param {Random} random @returns {Parts} */
export function split(rows, dims, { uniform }) {
  const order = Uint32Array.from({ length: rows.length / dims }, (_, n) => n);
  shuffle(order, uniform);
  const held = order.length < HELD_OUT.least ? 0 : Math.floor(order.length / HELD_OUT.every);
  const taken = (/** @type {Uint32Array} */ some) => {
    const part = new Float32Array(some.length * dims);
    for (const [i, n] of some.entries()) part.set(rows.subarray(n * dims, (n + 1) * dims), i * dims);
    return part;
  };
  return { data: taken(order.subarray(held)), heldOut: taken(order.subarray(0, held)) };
}

/** The book's digits, (N × 784): 8×8 pixels of 0 … 16 a digit as letters from A on, made 22×22 by bicubic
 * interpolation, steeper, and framed, as `data.load("digits")` has them. @param {string} letters */
export function unpackDigits(letters) {
  const { small, large, side, white } = FRAMED;
  const area = small * small;
  const count = letters.length / area;
  const images = new Float32Array(count * side * side);
  const weights = cubicWeights(small, large);
  const edge = (side - large) / 2;
  const rows = new Float64Array(small * large);
  for (let n = 0; n < count; n++) {
    const pixel = (/** @type {number} */ i) => (letters.charCodeAt(n * area + i) - 65) / white;
    for (let i = 0; i < rows.length; i++) {
      const [row, to] = [Math.floor(i / large), i % large];
      rows[i] = weights[to].reduce((sum, [from, w]) => sum + w * pixel(row * small + from), 0);
    }
    for (let row = 0; row < large; row++)
      for (let column = 0; column < large; column++) {
        const value = weights[row].reduce((sum, [from, w]) => sum + w * rows[from * large + column], 0);
        const steep = Math.min(1, Math.max(0, (value - 0.15) / 0.7));
        images[n * side * side + (row + edge) * side + column + edge] = Math.round(255 * steep) / 255;
      }
  }
  return images;
}

/** For every place of a longer row, the places of a shorter one that it is made of, and their weights.
 * @param {number} small @param {number} large @returns {[number, number][][]} */
function cubicWeights(small, large) {
  const near = (/** @type {number} */ t) => ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1;
  const far = (/** @type {number} */ t) => ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC;
  return Array.from({ length: large }, (_, to) => {
    const at = ((to + 0.5) * small) / large - 0.5;
    const left = Math.floor(at);
    const t = at - left;
    return [far(t + 1), near(t), near(1 - t), far(2 - t)].map((weight, i) => [
      Math.min(small - 1, Math.max(0, left - 1 + i)),
      weight,
    ]);
  });
}

/** The middle square of a picture, gray, in [0, 1] (side²); what is transparent is white.
 * @param {ImageBitmap} picture @param {number} side */
export function grayPicture(picture, side = 28) {
  const { width, height } = picture;
  const edge = Math.min(width, height);
  const canvas = /** @type {HTMLCanvasElement} */ (html("canvas", { width: side, height: side }));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "white";
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (width - edge) / 2, (height - edge) / 2, edge, edge, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  return Float32Array.from({ length: side * side }, (_, i) =>
    LUMA.reduce((sum, weight, c) => sum + (weight * data[4 * i + c]) / 255, 0),
  );
}

/** What can be read of the files, as 28×28 gray pictures; the names of those that cannot; and how many were left out.
 * Hidden files are passed over. @param {File[]} files @param {number} most */
export async function readPictures(files, most = PICTURES) {
  /** @type {Numbers[]} */
  const pictures = [];
  /** @type {string[]} */
  const broken = [];
  const seen = files.filter(({ name }) => !name.startsWith("."));
  for (const file of seen.slice(0, most)) {
    try {
      const picture = await createImageBitmap(file);
      pictures.push(grayPicture(picture));
      picture.close();
    } catch {
      broken.push(file.name);
    }
  }
  return { pictures, broken, left: Math.max(0, seen.length - most) };
}

/** All files that were dropped, those in folders too. @param {DataTransfer} dropped @returns {Promise<File[]>} */
export async function filesOf({ items, files }) {
  const entries = Array.from(items, (item) => item.webkitGetAsEntry()); // at once: they are gone after the first wait
  if (!entries.some((entry) => entry?.isDirectory)) return Array.from(files);
  const found = await Promise.all(entries.filter((entry) => !!entry).map(filesIn));
  return found.flat();
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function filesIn(entry) {
  if (entry.isFile)
    return [
      await new Promise((done, fail) => {
        /** @type {FileSystemFileEntry} */ (entry).file(done, fail);
      }),
    ];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {File[]} */
  const all = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at a time
    if (!some.length) return all;
    for (const each of some) all.push(...(await filesIn(each)));
  }
}
