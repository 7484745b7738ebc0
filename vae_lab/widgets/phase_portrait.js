// The phase portrait of the smallest VAE: where gradient ascent leads from any start, and how long it waits on the way.
import { colorsOf, drawArrows, drawField, drawLine, makeChart, onTheme } from "./chart.js";
import { boundOf, climb, curvatures, slopes, summit, wait } from "./linear_climb.js";
import { makeHandle, makeNumbers, roundMark, traitsOf } from "./parts.js";
import { short, written } from "./scale.js";
import { makeSlider, makeSliders } from "./sliders.js";
import { html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLANE = { width: 232, height: 232 };
const CURVE = { width: 232, height: 130 };
const REACH = { w: 2, v: 1 }; // of the plane
const SCALE = { w: { limits: [-2, 2], step: 0.001 }, v: { limits: [-1, 1], step: 0.001 } };
const PLACES = 120; // of the slider, evenly spaced in log λ
const ARROWS = 15; // a side
const STRONG = 150; // pixels
const SHADED = 0.25; // nats below the summit at which the shade is a third of its strongest
const LEVELS = 60; // places a side at which the bound is shaded

/** Between the least and the greatest λ on a logarithmic scale. @param {Model} model */
function ratioOf(model) {
  const [low, high] = model.get("ratios");
  return {
    name: "λ / βσ²",
    last: PLACES,
    place: () => Math.round((PLACES * Math.log(model.get("ratio") / low)) / Math.log(high / low)),
    go: (/** @type {number} */ place) => {
      model.set("ratio", low * (high / low) ** (place / PLACES));
      model.save_changes();
    },
    text: () => short(model.get("ratio")),
  };
}

/** The plane of both weights: the bound as a shade, the way up as arrows, the path from the start.
 * @param {ReturnType<typeof traitsOf>} state */
function makePlane(state) {
  const label = "The weights of decoder and encoder, and the way up from each place";
  const chart = makeChart({ ...PLANE, x: "decoder’s weight w", y: "encoder’s weight v", label, ticks: 4 });
  chart.show([-REACH.w, REACH.w], [-REACH.v, REACH.v]);
  const silent = svg("circle", { class: "silent", cx: chart.across(0), cy: chart.down(0), r: 5 });
  const tops = [1, -1].map(() => svg("path", { class: "top", d: "M-5 0H5M0 -5V5" }));
  chart.over.append(silent, ...tops);
  const to = (/** @type {number} */ w, /** @type {number} */ v) => state.write({ w, v });
  const start = makeHandle(
    {
      label: "start",
      box: chart.frame,
      drag: (across, down) => to(...chart.at(across, down)),
      nudge: (right, up) => to(state.read().w + 0.01 * right, state.read().v + 0.01 * up),
    },
    roundMark(),
  );
  chart.hold(start.root);
  let colors = [[0], [0], [0]];
  const css = (/** @type {number[]} */ rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;

  /** How near the bound comes to its summit, in [0, 1], row by row. @param {number} lambda */
  const heights = (lambda) => {
    const best = summit(lambda);
    const top = boundOf(best.w, best.v, lambda);
    return Float64Array.from({ length: LEVELS ** 2 }, (_, i) => {
      const [w, v] = chart.at(((i % LEVELS) + 0.5) / LEVELS, (Math.floor(i / LEVELS) + 0.5) / LEVELS);
      return 0.5 * Math.exp((boundOf(w, v, lambda) - top) / SHADED);
    });
  };
  /** @param {Float64Array} path @param {number} lambda */
  const update = (path, lambda) => {
    const { w, v } = state.read();
    const best = summit(lambda);
    colors = colorsOf(chart.root, ["rec", "muted", "ink"]);
    chart.clear();
    drawField(chart, heights(lambda), LEVELS, colors[0]);
    drawArrows(chart, (w, v) => slopes(w, v, lambda), ARROWS, css(colors[1], 0.75), STRONG);
    const xs = path.filter((_, i) => i % 2 === 0);
    const ys = path.filter((_, i) => i % 2 === 1);
    drawLine(chart, xs, ys, css(colors[2]));
    silent.classList.toggle("maximum", lambda <= 1);
    for (const [i, sign] of [1, -1].entries()) {
      const place = `translate(${chart.across(sign * best.w)} ${chart.down(sign * best.v)})`;
      tops[i].setAttribute("transform", place);
      tops[i].toggleAttribute("hidden", lambda <= 1);
    }
    start.update(
      chart.across(w),
      chart.down(v),
      w,
      [-REACH.w, REACH.w],
      `w ${written(w, 0.01)}, v ${written(v, 0.01)}`,
    );
  };
  return { root: chart.root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const state = traitsOf(model, ["w", "v", "ratio"], /** @type {any} */ (SCALE));
  const { steps, rate } = model.get("ascent");
  const plane = makePlane(state);
  const curve = makeChart({ ...CURVE, x: "steps", y: "KL, nats", label: "The KL along the path", tone: "kl" });
  const numbers = makeNumbers([
    { name: "the ring is" },
    { name: "its curvatures" },
    { name: "KL at the summit", tone: "kl" },
    { name: "half of it is reached" },
  ]);
  const sliders = makeSliders(makeSlider(ratioOf(model)));
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const right = html("div", { class: "side" }, curve.root, numbers.root);
  const stage = html("div", { class: "stage" }, plane.root, right);
  const root = html("div", { class: "vae-widget vae-phase-portrait" }, stage, foot.root, sliders.root);
  const times = Float64Array.from({ length: steps + 1 }, (_, t) => t);

  function draw() {
    const { w, v, ratio } = state.read();
    const { path, kl } = climb(w, v, ratio, steps, rate);
    const { kl: most } = summit(ratio);
    const at = wait(kl, ratio);
    plane.update(path, ratio);
    curve.clear();
    curve.show(
      [0, steps],
      [
        0,
        Math.max(
          0.1,
          1.15 *
            Math.max(
              most,
              kl.reduce((a, b) => Math.max(a, b)),
            ),
        ),
      ],
    );
    const [ofKl, muted] = colorsOf(root, ["kl", "muted"]).map((rgb) => `rgb(${rgb.join(" ")})`);
    drawLine(curve, [0, steps], [most, most], muted, [4, 3]);
    drawLine(curve, times, kl, ofKl);
    const both = curvatures(ratio);
    numbers.update(
      both[1] > 0 ? "a saddle: a plateau" : "a maximum: collapse",
      both.map((value) => (value > 0 ? "+" : "") + written(value, 0.01)).join(" and "),
      `${written(most, 0.001)} nats`,
      at < 0 ? (most > 0 ? "not yet" : "never") : `after ${at} steps`,
    );
    sliders.update();
  }
  const end = mount(model, el, root, state.names, draw);
  const stop = onTheme(draw);
  return () => {
    stop();
    end();
  };
}

export default { render };
