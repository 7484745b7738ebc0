// Codes drawn from a source that a reader chooses, what the decoder makes of them, and how far they lie from images' codes.
import { fromBox, fromMixture, nearest } from "./code_sources.js";
import { decode, halves } from "./decoder.js";
import { random } from "./learning/random.js";
import { makeChoices, makeNumbers, traitsOf } from "./parts.js";
import { makeSheet } from "./pictures.js";
import { short, written } from "./scale.js";
import { asView, button, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const COUNT = { columns: 8, rows: 3 };
const STRIP = { width: 232, height: 30 };
const MANY = 500; // codes for the share

/** The sources by name: each draws one code. @param {Model} model @param {number} L */
function sourcesOf(model, L) {
  const numbers = halves(asView(model.get("mixtures")), 0, asView(model.get("mixtures")).byteLength / 2);
  let at = 0;
  const next = (/** @type {number} */ count) => {
    at += count;
    return numbers.subarray(at - count, at);
  };
  const mixtures = model.get("sizes").map((/** @type {[string, number]} */ [name, K]) => {
    const mixture = { weights: next(K), means: next(K * L), roots: next(K * L * L) };
    return [name, (/** @type {any} */ chance) => fromMixture(mixture, L, chance)];
  });
  const box = model.get("box");
  return new Map([
    ["N(0, I)", (/** @type {any} */ { normal }) => Float64Array.from({ length: L }, normal)],
    ["a box around them", (/** @type {any} */ { uniform }) => fromBox(box, uniform)],
    ...mixtures,
  ]);
}

/** Where the distances of the codes shown lie, beside that of nineteen in twenty new images' codes.
 * @param {number} usual */
function makeStrip(usual) {
  const { width, height } = STRIP;
  const [paper, dots] = [svg("rect", { class: "paper", width, height }), svg("path", { class: "dots" })];
  const mark = svg("path", { class: "mark", d: `M${width / 3} -3V${height + 3}` });
  const texts = [
    svg("text", { x: 0, y: height + 16 }, "0"),
    svg("text", { x: width / 3, y: height + 16, "text-anchor": "middle" }, `near: ${short(usual)}`),
    svg("text", { class: "name", x: width, y: height + 32, "text-anchor": "end" }, "distance from images’ codes →"),
  ];
  const size = { viewBox: `-4 -6 ${width + 8} ${height + 44}`, width: width + 8, height: height + 44 };
  const root = svg("svg", { class: "strips", role: "img", ...size }, paper, dots, mark, ...texts);
  const update = (/** @type {number[]} */ far) => {
    const at = (/** @type {number} */ d) => Math.min(width, ((d / usual) * width) / 3);
    dots.setAttribute("d", far.map((d, i) => `M${at(d).toFixed(1)} ${5 + ((i * 7) % (height - 9))}h0`).join(""));
    root.setAttribute("aria-label", `Distances of ${far.length} codes from the nearest image’s code`);
  };
  return { root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const shape = /** @type {number[]} */ (model.get("shape"));
  const L = model.get("box").length;
  const codes = halves(asView(model.get("codes")), 0, asView(model.get("codes")).byteLength / 2);
  const decoder = decode(model.get("layers"), model.get("weights"));
  const sources = sourcesOf(model, L);
  const state = traitsOf(model, ["source", "seed"]);
  const usual = model.get("usual");
  const sheet = makeSheet(shape, COUNT.columns, COUNT.rows);
  const choices = makeChoices(
    "codes from",
    [...sources.keys()].map((name) => /** @type {[string, string]} */ ([name, name])),
    () => state.read().source,
    (source) => state.write({ source }),
  );
  const strip = makeStrip(usual);
  const numbers = makeNumbers([{ name: "near an image’s code" }, { name: `of ${MANY} such codes` }]);
  const fresh = button("Draw again", () => state.write({ seed: state.read().seed + 1 }));
  choices.root.append(fresh);
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const pictures = html("div", { class: "sheet" }, sheet.canvas);
  const side = html("div", { class: "side" }, strip.root, numbers.root);
  const stage = html("div", { class: "stage" }, pictures, side);
  const root = html("div", { class: "vae-widget vae-draw-codes" }, choices.root, stage, foot.root);

  /** Of all codes of a source, the share that is as near as usual, found once. @type {Map<string, number>} */
  const shares = new Map();
  const shareOf = (/** @type {string} */ name, /** @type {(chance: any) => Float64Array} */ draw) => {
    if (!shares.has(name)) {
      const chance = random(0, 1);
      let near = 0;
      for (let n = 0; n < MANY; n++) if (nearest(draw(chance), codes) <= usual) near++;
      shares.set(name, near / MANY);
    }
    return Number(shares.get(name));
  };
  function draw() {
    const { source, seed } = state.read();
    const from = sources.get(source);
    if (!from) throw new RangeError(`There is no source ${source}.`);
    const chance = random(seed);
    const drawn = Array.from({ length: COUNT.columns * COUNT.rows }, () => from(chance));
    for (const [n, z] of drawn.entries()) sheet.put(n, decoder(z));
    sheet.show();
    const far = drawn.map((z) => nearest(z, codes));
    strip.update(far);
    const share = shareOf(source, from);
    const error = Math.sqrt((share * (1 - share)) / MANY);
    numbers.update(
      `${far.filter((d) => d <= usual).length} of ${far.length}`,
      `${written(100 * share, 1)} ± ${written(100 * error, 1)}%`,
    );
    choices.update();
    sheet.canvas.setAttribute("aria-label", `Images decoded from codes drawn from ${source}`);
  }
  return mount(model, el, root, state.names, draw);
}

export default { render };
