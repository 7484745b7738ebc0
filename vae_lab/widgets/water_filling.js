// Bars of variance with a level of water among them, and what a linear VAE with that much noise copies of an image.
import { makeChart } from "./chart.js";
import { makeChoices, makeHandle, makeNumbers, traitsOf } from "./parts.js";
import { makeSheet } from "./pictures.js";
import { atRatio, placeOfRatio, short } from "./scale.js";
import { makeSliders, ratioSlider } from "./sliders.js";
import { asView, html, makeFoot, mount, svg } from "./ui.js";
import { copy, errors, rates, share } from "./water.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {ReturnType<typeof stateOf>} State */

const TRAITS = ["sigma", "which"];
const BAR = 0.76; // of the room for one
const WHITE = 65535;

/** @param {number[]} values */
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** What the traits say. @param {Model} model */
function stateOf(model) {
  const traits = traitsOf(model, TRAITS);
  const limits = /** @type {[number, number]} */ (model.get("sigmas"));
  const places = /** @type {number} */ (model.get("places"));
  const variances = /** @type {number[]} */ (model.get("variances"));
  const codes = /** @type {number[][]} */ (model.get("codes"));
  const read = () => {
    const { sigma, which } = traits.read();
    if (!(sigma >= limits[0] && sigma <= limits[1]) || !codes[which])
      throw new RangeError("There is no such σ, or image.");
    return { sigma, which, noise: sigma * sigma, code: codes[which] };
  };
  const placeOf = (/** @type {number} */ sigma) => placeOfRatio(sigma, limits, places);
  /** @param {number} place of the slider */
  const go = (place) => traits.write({ sigma: atRatio(Math.min(places, Math.max(0, place)), limits, places) });
  return { read, write: traits.write, go, placeOf, limits, places, variances, count: codes.length };
}

/** @param {State} state */
function makeBars(state) {
  const { variances, limits } = state;
  const label = "variance of the images along each direction, and the level of the noise";
  const chart = makeChart({ width: 276, height: 210, x: "direction k", y: "log₁₀ variance λₖ", label });
  const ends = limits.map((sigma) => 2 * Math.log10(sigma));
  const room = 0.04 * (ends[1] - ends[0]);
  chart.show([0.5, variances.length + 0.5], [ends[0] - room, ends[1] + room]);
  const [dry, wet] = ["dry", "wet"].map((name) => svg("path", { class: name }));
  const water = svg("rect", { class: "water", width: chart.width });
  const level = svg("path", { class: "level", d: `M0 0H${chart.width}` });
  const name = svg("text", { class: "of-level", x: chart.width - 40, y: -6, "text-anchor": "end" }, "σ²");
  const line = svg("g", {}, level, name);
  chart.over.append(wet, water, dry, line);
  const handle = makeHandle(
    {
      label: "water level σ²",
      box: chart.frame,
      arrows: "upright",
      drag: (_, low) => state.go(state.placeOf(10 ** (chart.at(0, low)[1] / 2))),
      nudge: (right, up) => state.go(state.placeOf(state.read().sigma) + right + up),
    },
    svg("circle", { class: "dot", r: 7 }),
  );
  chart.hold(handle.root);
  const wide = BAR * (chart.across(2) - chart.across(1));
  const tops = variances.map((variance) => chart.down(Math.log10(variance)));
  const bars = (/** @type {number} */ from, /** @type {number} */ to) =>
    tops
      .map((top, k) => [chart.across(k + 1) - wide / 2, Math.max(from, top), to])
      .filter(([, top, bottom]) => top < bottom)
      .map(
        ([x, top, bottom]) =>
          `M${x.toFixed(1)} ${top.toFixed(1)}h${wide.toFixed(1)}V${bottom.toFixed(1)}h${(-wide).toFixed(1)}Z`,
      )
      .join("");
  wet.setAttribute("d", bars(0, chart.height));

  function update() {
    const { sigma, noise } = state.read();
    const y = chart.down(Math.log10(noise));
    dry.setAttribute("d", bars(0, y));
    water.setAttribute("y", String(y));
    water.setAttribute("height", String(chart.height - y));
    line.setAttribute("transform", `translate(0 ${y})`);
    handle.update(
      chart.width - 16,
      y,
      noise,
      [limits[0] ** 2, limits[1] ** 2],
      `σ² ${short(noise)}, σ ${short(sigma)}`,
    );
  }
  return { root: chart.root, update };
}

/** The image, and its copy. @param {Model} model @param {State} state */
function makePair(model, state) {
  const shape = /** @type {number[]} */ (model.get("shape"));
  const D = shape.reduce((a, b) => a * b, 1);
  const [ofMean, ofDirections, pictures] = ["mean", "directions", "pictures"].map((name) => asView(model.get(name)));
  const steps = /** @type {number[]} */ (model.get("steps"));
  const mean = Float64Array.from({ length: D }, (_, d) => ofMean.getUint16(2 * d, true) / WHITE);
  const directions = Float32Array.from(
    { length: steps.length * D },
    (_, i) => steps[Math.floor(i / D)] * ofDirections.getInt8(i),
  );
  const sheet = makeSheet(shape, 2, 1);
  const names = html(
    "div",
    { class: "names", "aria-hidden": true },
    html("span", {}, "image"),
    html("span", {}, "copy"),
  );
  const root = html("div", { class: "sheet" }, sheet.canvas, names);
  function update() {
    const { which, noise, code, sigma } = state.read();
    const shares = state.variances.map((variance) => share(variance, noise));
    sheet.put(
      0,
      Uint8Array.from({ length: D }, (_, d) => pictures.getUint8(which * D + d)),
      255,
    );
    sheet.put(1, copy(mean, directions, code, shares));
    sheet.show();
    sheet.canvas.setAttribute("aria-label", `image ${which + 1}, and its copy at σ ${short(sigma)}`);
  }
  return { root, update };
}

/** @param {State} state @param {number} beyond */
function makeReadout({ read, variances }, beyond) {
  const numbers = makeNumbers([
    { name: "directions above the water" },
    { name: "rate: ½ log(λₖ/σ²), summed above it", tone: "kl" },
    { name: "squared error: min(λₖ, σ²), summed over all", tone: "rec" },
  ]);
  const update = () => {
    const { noise } = read();
    const told = variances.filter((variance) => variance > noise).length;
    const error = sum(errors(variances, noise)) + beyond;
    const part = (100 * error) / (sum(variances) + beyond);
    numbers.update(
      `${told} of ${variances.length}`,
      `${sum(rates(variances, noise)).toFixed(1)} nats`,
      `${short(error)}, ${part.toFixed(0)} % of the variance`,
    );
  };
  return { root: numbers.root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const state = stateOf(model);
  const bars = makeBars(state);
  const pair = makePair(model, state);
  const readout = makeReadout(state, model.get("beyond"));
  const options = Array.from({ length: state.count }, (_, i) => /** @type {[number, string]} */ ([i, String(i + 1)]));
  const choices = makeChoices(
    "image",
    options,
    () => state.read().which,
    (which) => state.write({ which }),
  );
  const sigma = ratioSlider(
    model,
    "sigma",
    "σ",
    state.limits,
    state.places,
    (value) => short(value),
    model.get("marks"),
  );
  const sliders = makeSliders(sigma);
  const stage = html("div", { class: "stage" }, bars.root, html("div", {}, pair.root, choices.root));
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const root = html("div", { class: "vae-widget vae-water-filling" }, stage, readout.root, foot.root, sliders.root);
  const parts = [bars, pair, choices, readout, sliders];
  return mount(model, el, root, TRAITS, () => {
    for (const part of parts) part.update();
  });
}

export default { render };
