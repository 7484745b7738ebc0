// A digit to draw: the encoder's ellipse over the exact posterior, the copy, and log p(x) in three parts.
import { colorsOf, drawDots, drawField, makeChart, onTheme } from "./chart.js";
import { klOfCode, makeCoins, posteriorBy } from "./coins.js";
import { decode, halves } from "./decoder.js";
import { makePad } from "./drawing.js";
import { boxOf, gridOver, hermite, latentGrid } from "./exact.js";
import { makeEllipses, makeNumbers, traitsOf } from "./parts.js";
import { makeSheet } from "./pictures.js";
import { written } from "./scale.js";
import { asView, button, html, makeFoot, mount } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLANE = 232; // pixels
const SIDE = 28;
const GRAYS = 15; // steps from black to white
const SLICE = 300; // codes decoded a frame, until the grid is ready
const THICK = 1.7; // of the pen
const CLASSES = 10;
const NEAR = 5; // codes whose digits are named
const CLOSE = { pixels: 120, side: 41, rest: 120 }; // of the close-up: its size, places a side, and after how many ms without a stroke

/** A drawing as a hexadecimal digit a pixel. @param {ArrayLike<number>} pixels in [0, 1] */
const toText = (pixels) => Array.from(pixels, (value) => Math.round(GRAYS * value).toString(16)).join("");
/** @param {string} text */
const toPixels = (text) => Float32Array.from(text, (digit) => Number.parseInt(digit, 16) / GRAYS);

/** Shares as parts of the largest. @param {Float64Array} share */
function relative(share) {
  const most = share.reduce((a, b) => Math.max(a, b));
  return share.map((value) => value / most);
}

/** @param {Model} model */
function networksOf(model) {
  const encoder = decode(model.get("encoder"), model.get("encoder_weights"));
  const decoder = decode(model.get("decoder"), model.get("decoder_weights"));
  /** @param {Float32Array} x */
  const encode = (x) => {
    const [a, b, c, d] = encoder(x);
    return { mean: [a, b], scale: [Math.exp(c / 2), Math.exp(d / 2)] };
  };
  return { encode, decoder };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const state = traitsOf(model, ["drawing"]);
  const { encode, decoder } = networksOf(model);
  const grid = latentGrid(2, true);
  const coins = makeCoins(grid.logMass.length, SIDE * SIDE);
  const codes = halves(asView(model.get("codes")), 0, asView(model.get("codes")).byteLength / 2);
  const labels = new Uint8Array(asView(model.get("labels")).buffer, asView(model.get("labels")).byteOffset);

  const pad = makePad({
    room: 196,
    thick: THICK,
    label: "Draw a digit",
    change: () => state.write({ drawing: toText(pad.read()) }),
  });
  const shelf = makeSheet([1, SIDE, SIDE], 10, 1);
  const digits = /** @type {string[]} */ (model.get("shelf"));
  for (const [n, text] of digits.entries()) shelf.put(n, toPixels(text));
  shelf.show();
  shelf.canvas.setAttribute("aria-label", "Ten digits to take in place of a drawing");
  const take = (/** @type {number} */ n) => state.write({ drawing: digits[n] });
  shelf.canvas.onclick = (event) => {
    const { left, width } = shelf.canvas.getBoundingClientRect();
    take(Math.min(digits.length - 1, Math.floor((digits.length * (event.clientX - left)) / width)));
  };
  const next = button("Take a digit", () => take((digits.indexOf(state.read().drawing) + 1) % digits.length));
  const clear = button("Clear", () => state.write({ drawing: "0".repeat(SIDE * SIDE) }));

  const label = "The plane of codes: those of training images, the exact posterior, and the encoder’s ellipse";
  const chart = makeChart({ width: PLANE, height: PLANE, x: "z₁", y: "z₂", label, ticks: 4 });
  chart.show([-grid.half, grid.half], [-grid.half, grid.half]);
  const ellipses = makeEllipses("of-q");
  chart.over.append(...ellipses.all);
  const about = { x: "z₁", y: "z₂", ticks: 2 };
  const close = makeChart({ width: CLOSE.pixels, height: CLOSE.pixels, label: "Both from close by", ...about });
  const ellipsesClose = makeEllipses("of-q");
  close.over.append(...ellipsesClose.all);
  const copy = makeSheet([1, SIDE, SIDE], 1, 1);
  copy.canvas.setAttribute("aria-label", "The model’s copy");
  const numbers = makeNumbers([
    { name: "reconstruction", tone: "rec" },
    { name: "− KL", tone: "kl" },
    { name: "+ gap", tone: "q" },
    { name: "= log p(x)" },
    { name: "nearest codes belong to" },
  ]);
  const key = html(
    "div",
    { class: "caption" },
    html("span", { class: "p" }, "the exact posterior"),
    ", ",
    html("span", { class: "q" }, "the encoder’s q"),
  );
  const left = html(
    "div",
    { class: "drawn" },
    pad.root,
    html("div", { class: "controls" }, next, clear),
    html("div", { class: "caption" }, "or take one of these"),
    html("div", { class: "sheet" }, shelf.canvas),
  );
  const copied = html("div", { class: "copied" }, html("div", { class: "caption" }, "the copy"), copy.canvas);
  const middle = html("div", { class: "plane" }, key, chart.root);
  const closer = html("div", { class: "closer" }, html("div", { class: "caption" }, "both from close by"), close.root);
  const side = html("div", { class: "account" }, copied, closer, numbers.root);
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const stage = html("div", { class: "stage" }, left, middle);
  const root = html("div", { class: "vae-widget vae-draw-digit", "aria-busy": "true" }, stage, side, foot.root);

  let ready = 0; // codes of the grid that have been decoded
  let frame = 0;
  const prepare = () => {
    const end = Math.min(ready + SLICE, grid.logMass.length);
    for (; ready < end; ready++) coins.set(ready, decoder(grid.codes.subarray(2 * ready, 2 * ready + 2)));
    if (ready < grid.logMass.length) frame = requestAnimationFrame(prepare);
    else draw();
  };

  /** An ellipse of q in a chart. @param {ReturnType<typeof makeEllipses>} where @param {import("./chart.js").Chart} at
   * @param {{mean: number[], scale: number[]}} q */
  const outline = (where, at, { mean, scale }) => {
    const [a, b] = [at.across(scale[0]) - at.across(0), at.down(0) - at.down(scale[1])];
    where.update(at.across(mean[0]), at.down(mean[1]), [a * a, 0, b * b]);
  };
  let said = ["", "", "…", "…", ""];
  /** @param {number} logP @param {number} bound */
  const tellGap = (logP, bound) => {
    said[2] = written(Math.max(0, logP - bound), 0.01);
    said[3] = written(logP, 0.1);
    numbers.update(...said);
  };
  let resting = 0;
  /** When the pen rests: the posterior over a grid of its own size, which also makes log p(x) exact.
   * @param {Float32Array} x @param {{mean: number[], scale: number[]}} q @param {Float64Array} share @param {number} bound */
  const lookClosely = (x, q, share, bound) => {
    const [[x0, x1], [y0, y1]] = boxOf(share, grid, q.mean, q.scale);
    const half = Math.max(x1 - x0, y1 - y0) / 2;
    const box = /** @type {[number, number][]} */ ([
      [(x0 + x1) / 2 - half, (x0 + x1) / 2 + half],
      [(y0 + y1) / 2 - half, (y0 + y1) / 2 + half],
    ]);
    const local = gridOver(box, CLOSE.side);
    const near = makeCoins(local.logMass.length, SIDE * SIDE);
    for (let k = 0; k < local.logMass.length; k++) near.set(k, decoder(local.codes.subarray(2 * k, 2 * k + 2)));
    const exact = posteriorBy(near.logLikelihoods(x), local);
    close.show(box[0], box[1]);
    close.clear();
    drawField(close, relative(exact.share), CLOSE.side, colorsOf(root, ["p"])[0]);
    outline(ellipsesClose, close, q);
    tellGap(exact.logP, bound);
    root.removeAttribute("aria-busy");
  };

  /** The digits of the codes nearest to a place. @param {number[]} place */
  const namesNear = ([x, y]) =>
    Array.from(
      labels,
      (digit, n) => /** @type {[number, number]} */ ([digit, (codes[2 * n] - x) ** 2 + (codes[2 * n + 1] - y) ** 2]),
    )
      .sort((a, b) => a[1] - b[1])
      .slice(0, NEAR)
      .map(([digit]) => digit)
      .join(", ");

  function draw() {
    const text = state.read().drawing;
    if (!/^[0-9a-f]{784}$/.test(text)) throw new RangeError("A drawing has a hexadecimal digit for each pixel.");
    const x = toPixels(text);
    if (toText(pad.read()) !== text) pad.write(x);
    const q = encode(x);
    const done = ready === grid.logMass.length;
    const [p, ...classes] = colorsOf(root, ["p", ...Array.from({ length: CLASSES }, (_, k) => `class-${k}`)]);
    chart.clear();
    drawDots(chart, codes, (n) => `rgb(${classes[labels[n]].join(" ")} / 0.45)`, 1.2);
    outline(ellipses, chart, q);
    copy.put(
      0,
      decoder(q.mean).map((logit) => 1 / (1 + Math.exp(-logit))),
    );
    copy.show();
    const kl = klOfCode(q.mean, q.scale);
    const nodes = hermite(q.mean, q.scale);
    const few = makeCoins(nodes.weight.length, SIDE * SIDE);
    for (let n = 0; n < nodes.weight.length; n++) few.set(n, decoder(nodes.codes.subarray(2 * n, 2 * n + 2)));
    const reconstruction = few.logLikelihoods(x).reduce((sum, log, n) => sum + log * nodes.weight[n], 0);
    const nats = (/** @type {number} */ value) => written(value, 0.1);
    said = [nats(reconstruction), nats(kl), said[2], said[3], namesNear(q.mean)];
    numbers.update(...said);
    if (!done) return;
    const { share, logP } = posteriorBy(coins.logLikelihoods(x), grid);
    drawField(chart, relative(share), grid.side, p);
    tellGap(logP, reconstruction - kl);
    clearTimeout(resting);
    root.setAttribute("aria-busy", "true");
    resting = window.setTimeout(() => lookClosely(x, q, share, reconstruction - kl), CLOSE.rest);
  }
  const end = mount(model, el, root, state.names, draw);
  const stop = onTheme(draw);
  frame = requestAnimationFrame(prepare);
  return () => {
    cancelAnimationFrame(frame);
    clearTimeout(resting);
    stop();
    end();
  };
}

export default { render };
