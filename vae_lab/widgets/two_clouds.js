// Real points and those of a generator, which a reader may paint, before five judges with their error bars.
import { colorsOf, drawDots, makeChart, onTheme } from "./chart.js";
import { frechetDistance, kernelDistance, nearestDistance, precisionRecall } from "./judges.js";
import { random } from "./learning/random.js";
import { makeChoices, makeHandle, roundMark, traitsOf } from "./parts.js";
import { short, written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { draggable, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLANE = 256; // pixels
const ROW = { width: 150, height: 40, left: 110 };
const REPLICATES = 20;
const NEIGHBOR = 3; // whose distance is a radius
const APART = 0.15; // between two places of a stroke
/** @type {[string, string, [number, number]][]} judges: a name, its words, what its axis shows */
const JUDGES = [
  ["frechet", "Fréchet distance", [0, 2]],
  ["kernel", "kernel distance", [-1, 5]],
  ["precision", "precision", [0, 1]],
  ["recall", "recall", [0, 1]],
  ["nearest", "to training point", [0, 0.6]],
];

/** Clouds of one replicate: training points, real ones, and what the generator makes.
 * @param {any} laws @param {{generator: string, count: number, seed: number, strokes: number[][]}} state @param {number} r */
export function cloudsOf(laws, { generator, count, seed, strokes }, r) {
  const { uniform, normal } = random(seed, r);
  const heaps = (/** @type {number[][]} */ centers, /** @type {number} */ scale) => {
    const points = new Float64Array(2 * count);
    for (let n = 0; n < 2 * count; n += 2) {
      const [x, y] = centers[Math.floor(uniform() * centers.length)];
      points[n] = x + scale * normal();
      points[n + 1] = y + scale * normal();
    }
    return points;
  };
  const { centers, scale, brush, shift, blur } = laws;
  const [training, real] = [heaps(centers, scale), heaps(centers, scale)];
  const makes = {
    honest: () => heaps(centers, scale),
    copies: () => training.slice(),
    shifted: () => heaps(centers, scale).map((value, i) => value + (i % 2 ? 0 : shift)),
    blurred: () => heaps(centers, Math.hypot(scale, blur)),
    "a heap missing": () => heaps(centers.slice(0, -1), scale),
    painted: () => heaps(strokes.length ? strokes : [[0, 0]], brush),
  };
  const make = makes[/** @type {keyof typeof makes} */ (generator)];
  if (!make) throw new RangeError(`There is no generator ${generator}.`);
  return { training, real, generated: make() };
}

/** Every judge's number. @param {ReturnType<typeof cloudsOf>} clouds @returns {number[]} */
export function judged({ training, real, generated }) {
  const { precision, recall } = precisionRecall(real, generated, NEIGHBOR);
  return [
    frechetDistance(real, generated),
    kernelDistance(real, generated),
    precision,
    recall,
    nearestDistance(generated, training),
  ];
}

/** A strip a judge: a dot for each replicate, their mean, and in words mean and spread. */
function makeStrips() {
  const rows = JUDGES.map(([, words, ends], j) => {
    const y = j * ROW.height;
    const dots = svg("path", { class: "dots" });
    const mean = svg("path", { class: "mean" });
    const usual = svg("path", { class: "usual" });
    const name = svg("text", { class: "name", x: -8, y: y + 17, "text-anchor": "end" }, words);
    const value = svg("text", { x: -8, y: y + 31, "text-anchor": "end" });
    const texts = ends.map((end, i) =>
      svg("text", { x: i * ROW.width, y: y + 38, "text-anchor": i ? "end" : "start" }, short(end)),
    );
    const paper = svg("rect", { class: "paper", y: y + 4, width: ROW.width, height: 20 });
    return { root: svg("g", {}, name, value, paper, dots, usual, mean, ...texts), dots, usual, mean, value, y };
  });
  const [width, height] = [ROW.left + ROW.width + 12, JUDGES.length * ROW.height + 6];
  const size = { viewBox: `${-ROW.left} 0 ${width} ${height}`, width, height };
  const root = svg("svg", { class: "strips", role: "img", ...size }, ...rows.map((row) => row.root));
  const meanOf = (/** @type {number[]} */ all) => all.reduce((a, b) => a + b, 0) / all.length;
  /** @param {number[][]} found by replicate @param {number[][]} honest the same of a generator that is as good as can be */
  const update = (found, honest) => {
    const said = rows.map(({ dots, usual, mean, value, y }, j) => {
      const [low, high] = JUDGES[j][2];
      const at = (/** @type {number} */ v) => ROW.width * Math.min(1.02, Math.max(-0.02, (v - low) / (high - low)));
      const all = found.map((row) => row[j]);
      const middle = meanOf(all);
      usual.setAttribute("d", `M${at(meanOf(honest.map((row) => row[j])))} ${y + 2}v24`);
      const spread = Math.sqrt(all.reduce((sum, v) => sum + (v - middle) ** 2, 0) / Math.max(1, all.length - 1));
      dots.setAttribute("d", all.map((v, i) => `M${at(v).toFixed(1)} ${y + 8 + ((i * 7) % 12)}h0`).join(""));
      mean.setAttribute("d", `M${at(middle)} ${y + 2}v24`);
      const text = `${written(middle, 0.01)} ± ${written(spread, 0.01)}`;
      value.textContent = text;
      return `${JUDGES[j][1]} ${text}`;
    });
    root.setAttribute("aria-label", said.join(", "));
    return said;
  };
  return { root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const laws = model.get("laws");
  const { half, least, most, step } = model.get("sizes");
  const scale = { limits: /** @type {[number, number]} */ ([-half, half]), step: 0.05 };
  const state = traitsOf(model, ["generator", "count", "seed", "strokes", "brush_x", "brush_y"], {
    brush_x: scale,
    brush_y: scale,
    count: { limits: [least, most], step },
  });
  const now = () => /** @type {any} */ (state.read());
  const label = "Real points, and those that a generator made";
  const chart = makeChart({ width: PLANE, height: PLANE, x: "x₁", y: "x₂", label, ticks: 4 });
  chart.show([-half, half], [-half, half]);
  /** @param {number} x @param {number} y */
  const spray = (x, y) => {
    const { strokes, generator } = now();
    const before = generator === "painted" ? strokes : [];
    const last = before.at(-1);
    if (!last || Math.hypot(last[0] - x, last[1] - y) > APART)
      state.write({ strokes: [...before, [x, y].map((v) => Number(v.toFixed(2)))], generator: "painted" });
    state.write({ brush_x: x, brush_y: y });
  };
  draggable(/** @type {any} */ (chart.drawing), chart.frame, (right, down) => spray(...chart.at(right, down)));
  const brush = makeHandle(
    {
      label: "spray; the space bar sprays",
      box: chart.frame,
      drag: (right, down) => spray(...chart.at(right, down)),
      nudge: (right, up) => state.write({ brush_x: now().brush_x + right * 0.1, brush_y: now().brush_y + up * 0.1 }),
    },
    roundMark(),
  );
  brush.root.addEventListener("keydown", (/** @type {any} */ event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    spray(now().brush_x, now().brush_y);
  });
  chart.hold(brush.root);
  const kinds = ["honest", "copies", "shifted", "blurred", "a heap missing", "painted"];
  const choices = makeChoices(
    "generator",
    kinds.map((kind) => /** @type {[string, string]} */ ([kind, kind])),
    () => now().generator,
    (generator) => state.write({ generator, strokes: generator === "painted" ? now().strokes : [] }),
  );
  const strips = makeStrips();
  const spoken = html("output", { class: "spoken" });
  const key = html(
    "div",
    { class: "caption" },
    html("span", { class: "real" }, "real points"),
    ", ",
    html("span", { class: "p" }, "generated points"),
    "; dashed: an honest generator’s",
  );
  const sliders = makeSliders(stepSlider(model, "count", "points N", [least, most], step));
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const right = html("div", { class: "side" }, key, strips.root, spoken);
  const stage = html("div", { class: "stage" }, chart.root, right);
  const root = html("div", { class: "vae-widget vae-two-clouds" }, choices.root, stage, foot.root, sliders.root);

  /** @type {number[][]} */
  let found = [];
  /** @type {number[][]} */
  let honest = [];
  let asked = "";
  let frame = 0;
  const more = () => {
    frame = 0;
    const r = found.length;
    found.push(judged(cloudsOf(laws, now(), r)));
    honest.push(judged(cloudsOf(laws, { ...now(), generator: "honest" }, r)));
    const said = strips.update(found, honest);
    if (found.length < REPLICATES) frame = requestAnimationFrame(more);
    else {
      spoken.textContent = said.join(", ");
      root.removeAttribute("aria-busy");
    }
  };
  function draw() {
    const { generator, count, seed, strokes, brush_x: x, brush_y: y } = now();
    const { real, generated } = cloudsOf(laws, now(), 0);
    const [ink, p] = colorsOf(root, ["ink", "p"]).map((rgb) => `rgb(${rgb.join(" ")})`);
    chart.clear();
    drawDots(chart, real, () => ink, 1.5);
    drawDots(chart, generated, () => p, 1.5);
    const text = `x₁ ${written(x, 0.05)}, x₂ ${written(y, 0.05)}`;
    brush.update(chart.across(x), chart.down(y), x, scale.limits, text);
    choices.update();
    sliders.update();
    const wanted = JSON.stringify([generator, count, seed, strokes]);
    if (wanted === asked) return;
    asked = wanted;
    [found, honest] = [[], []];
    cancelAnimationFrame(frame);
    root.setAttribute("aria-busy", "true");
    more();
  }
  const end = mount(model, el, root, state.names, draw);
  const stop = onTheme(draw);
  return () => {
    cancelAnimationFrame(frame);
    stop();
    end();
  };
}

export default { render };
