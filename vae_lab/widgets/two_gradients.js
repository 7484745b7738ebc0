// One draw z = μ + σε on a density to drag, the slope it feels, and two clouds of gradient estimates.
import { gradients, OBJECTIVES, spread } from "./gradients.js";
import { makeChoices, makeHandle, makeNumbers, roundMark, squareMark, traitsOf } from "./parts.js";
import { roundNumber, short, written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { button, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {ReturnType<typeof stateOf>} State */

const HALF_WIDTH = 4; // z from −4 to 4
const WIDTH = 312; // pixels, as all that follow
const UNIT = WIDTH / (2 * HALF_WIDTH);
const BAND = 116; // how high f's band is
const BASE = 236; // how far down the axis of the density is
const PEAK = 78; // how high the density is
const HEIGHT = BASE + 58; // of all
const CLOUD = { width: 170, row: 44, group: 146, left: 48 };
const PARAMETERS = ["μ", "σ"];
const WAYS = /** @type {("score" | "path")[]} */ (["score", "path"]);
const TRAITS = ["mu", "sigma", "objective", "which", "baseline"];

/** @param {number} z */
const across = (z) => WIDTH / 2 + z * UNIT;

/** What the traits say. @param {Model} model */
function stateOf(model) {
  const step = /** @type {number} */ (model.get("step"));
  const noise = /** @type {number[]} */ (model.get("noise"));
  const scales = { mu: { limits: model.get("means"), step }, sigma: { limits: model.get("scales"), step } };
  const traits = traitsOf(model, TRAITS, scales);
  const read = () => {
    const { mu, sigma, which, baseline, objective: name } = traits.read();
    const eps = noise[which];
    const objective = OBJECTIVES[name];
    if (!objective || eps === undefined) throw new RangeError("There is no such f, or no such ε.");
    return { mu, sigma, eps, z: mu + sigma * eps, baseline, objective, name, which };
  };
  return { read, write: traits.write, scales, step, noise };
}

/** A handle on the density, to drag sideways.
 * @param {{label: string, trait: "mu" | "sigma", mark: Element, box: SVGElement}} parts @param {State} state
 * @param {(z: number) => number} valueAt what the trait is when the handle is at z */
function handleOf({ label, trait, mark, box }, state, valueAt) {
  const handle = makeHandle(
    {
      label,
      box,
      arrows: "across",
      drag: (share) => state.write({ [trait]: valueAt((2 * share - 1) * HALF_WIDTH) }),
      nudge: (more, up) => state.write({ [trait]: state.read()[trait] + (more + up) * 5 * state.step }),
    },
    mark,
  );
  const update = (/** @type {number} */ x, /** @type {number} */ y) => {
    const value = state.read()[trait];
    handle.update(x, y, value, state.scales[trait].limits, `${label} ${written(value, state.step)}`);
  };
  return { root: handle.root, update };
}

/** The density with its draw, and above it f with its slope there. @param {State} state */
function makePlane(state) {
  const paper = svg("rect", { class: "paper", width: WIDTH, height: HEIGHT });
  const ground = svg("path", { class: "ground", d: `M0 ${BASE}H${WIDTH}` });
  const [curve, tangent, drop, density, offset, byMu, bySigma] = [
    "curve",
    "tangent",
    "drop",
    "density",
    "offset",
    "move",
    "move",
  ].map((name) => svg("path", { class: name }));
  const onCurve = svg("circle", { class: "on-curve", r: 5 });
  const draw = svg("circle", { class: "draw", r: 6 });
  const texts = ["∂z/∂μ = 1", "∂z/∂σ = ε"].map((text, i) => svg("text", { y: BASE + 24 + 20 * i }, text));
  const names = [
    svg("text", { class: "of-f", x: 8, y: 18 }, "f(z)"),
    svg("text", { class: "of-q", x: 8, y: BASE - 62 }, "N(μ, σ²)"),
  ];
  const inside = svg(
    "svg",
    { class: "clipped", "aria-hidden": true, width: WIDTH, height: HEIGHT },
    density,
    curve,
    ground,
    drop,
    offset,
    tangent,
    onCurve,
    byMu,
    bySigma,
    ...texts,
    ...names,
  );
  const mean = handleOf({ label: "μ", trait: "mu", box: paper, mark: roundMark() }, state, (z) => z);
  const scale = handleOf(
    { label: "σ", trait: "sigma", box: paper, mark: squareMark() },
    state,
    (z) => z - state.read().mu,
  );
  const ticks = [-HALF_WIDTH, 0, HALF_WIDTH].map((z) =>
    svg("text", { x: across(z), y: HEIGHT + 16, "text-anchor": "middle" }, short(z)),
  );
  const axis = svg("text", { class: "name", x: WIDTH - 18, y: HEIGHT + 16, "text-anchor": "end" }, "z →");
  const size = { viewBox: `-10 -6 ${WIDTH + 20} ${HEIGHT + 28}`, width: WIDTH + 20, height: HEIGHT + 28 };
  const role = { role: "group", "aria-label": "f, and below it the density with one draw" };
  const root = svg(
    "svg",
    { class: "plane", ...size, ...role },
    paper,
    inside,
    draw,
    scale.root,
    mean.root,
    ...ticks,
    axis,
  );

  function update() {
    const { mu, sigma, eps, z, objective } = state.read();
    const { f, slope, low, high } = objective;
    const x = across(z);
    const up = (/** @type {number} */ value) => BAND - ((value - low) / (high - low)) * (BAND - 12);
    const bell = (/** @type {number} */ at) => BASE - PEAK * Math.exp(-(((at - mu) / sigma) ** 2) / 2);
    curve.setAttribute(
      "d",
      trace((at) => up(f(at))),
    );
    density.setAttribute("d", `${trace(bell)}V${BASE}H0Z`);
    const rise = up(f(z) + slope(z)) - up(f(z));
    const half = 30 / Math.hypot(UNIT, rise); // 30 pixels either way
    tangent.setAttribute("d", `M${x - half * UNIT} ${up(f(z)) - half * rise}l${2 * half * UNIT} ${2 * half * rise}`);
    drop.setAttribute("d", `M${x} ${BASE}V${up(f(z))}`);
    offset.setAttribute("d", `M${across(mu)} ${BASE}H${x}`);
    byMu.setAttribute("d", arrow(x, BASE + 20, UNIT));
    bySigma.setAttribute("d", arrow(x, BASE + 40, eps * UNIT));
    const left = x > WIDTH / 2;
    const beyond = [UNIT, eps * UNIT].map((by) => (left ? Math.min(0, by) - 8 : Math.max(0, by) + 8));
    texts.forEach((text, i) => {
      text.setAttribute("x", String(x + beyond[i]));
      text.setAttribute("text-anchor", left ? "end" : "start");
    });
    for (const [dot, y] of /** @type {[Element, number][]} */ ([
      [onCurve, up(f(z))],
      [draw, BASE],
    ])) {
      dot.setAttribute("cx", String(x));
      dot.setAttribute("cy", String(y));
    }
    mean.update(across(mu), bell(mu));
    scale.update(Math.min(WIDTH + 4, across(mu + sigma)), bell(mu + sigma));
  }
  return { root, update };
}

/** A curve over the whole width. @param {(z: number) => number} height in pixels */
function trace(height) {
  const points = Array.from(
    { length: 2 * WIDTH + 1 },
    (_, i) => `${i / 2} ${height((i / 2 - WIDTH / 2) / UNIT).toFixed(1)}`,
  );
  return `M${points.join("L")}`;
}

/** @param {number} x @param {number} y @param {number} by */
function arrow(x, y, by) {
  const head = Math.sign(by) * Math.min(5, Math.abs(by));
  return `M${x} ${y}h${by}m${-head} -4l${head} 4l${-head} 4`;
}

/** The two clouds of one parameter's derivative: by the score and by the path, around the exact value.
 * @param {number} k 0 for μ, 1 for σ */
function makeClouds(k) {
  const { width, row, group, left } = CLOUD;
  const exact = svg("path", { class: "exact" });
  const ends = [0, width / 2, width].map((x, i) =>
    svg("text", { x, y: 2 * row + 18, "text-anchor": ["start", "middle", "end"][i] }),
  );
  const rows = WAYS.map((way, j) => {
    const y = j * row;
    const parts = {
      cloud: svg("path", { class: `cloud ${way}` }),
      mean: svg("path", { class: `mean ${way}` }),
      now: svg("circle", { class: `now ${way}`, r: 5, cy: y + row / 2 }),
      sd: svg("text", { class: way, x: width + 8, y: y + row / 2 + 4 }),
    };
    const label = svg("text", { class: way, x: -8, y: y + row / 2 + 4, "text-anchor": "end" }, way);
    return { ...parts, y, root: svg("g", {}, label, parts.cloud, parts.mean, parts.now, parts.sd) };
  });
  const title = svg("text", { class: "name", x: 0, y: -8 }, `∂ E[f(z)] / ∂${PARAMETERS[k]}`);
  const paper = svg("rect", { class: "paper", width, height: 2 * row });
  const inside = [title, paper, ...rows.map((r) => r.root), exact, ...ends];
  const root = svg("g", { transform: `translate(${left} ${20 + k * group})` }, ...inside);

  /** @param {Record<"score" | "path", number[]>} samples @param {number} truth @param {number} which */
  function update(samples, truth, which) {
    const spreads = WAYS.map((way) => spread(samples[way]));
    const halfWidth = rounded(2.5 * (Math.max(...spreads.map((s) => s.sd)) || 0.04)); // of what is shown
    const at = (/** @type {number} */ v) =>
      Math.min(width - 2, Math.max(2, width / 2 + ((v - truth) / halfWidth) * (width / 2)));
    rows.forEach(({ cloud, mean, now, sd, y }, j) => {
      const values = samples[WAYS[j]];
      const error = spreads[j].sd / Math.sqrt(values.length);
      cloud.setAttribute(
        "d",
        values
          .map((v, i) => `M${at(v).toFixed(1)} ${(y + 6 + (row - 12) * ((i * 0.618034) % 1)).toFixed(1)}h0`)
          .join(""),
      );
      mean.setAttribute(
        "d",
        `M${at(spreads[j].mean - error)} ${y + row / 2}H${at(spreads[j].mean + error)}M${at(spreads[j].mean)} ${y + 7}v${row - 14}`,
      );
      now.setAttribute("cx", String(at(values[which])));
      sd.textContent = `± ${short(spreads[j].sd)}`;
    });
    exact.setAttribute("d", `M${width / 2} -3V${2 * row + 3}`);
    for (const [i, v] of [truth - halfWidth, truth, truth + halfWidth].entries())
      ends[i].textContent = (i === 1 ? "exact " : "") + written(v, roundNumber(halfWidth / 50));
  }
  return { root, update };
}

/** The next round number. @param {number} value */
function rounded(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * /** @type {number} */ ([1, 1.5, 2, 3, 4, 6, 8, 10].find((m) => m * power >= value * (1 - 1e-9)));
}

/** One draw's derivatives by the path, as products. @param {State} state */
function makeProducts(state) {
  const names = ["slope  f′(z)", "∂f/∂μ = f′(z) · 1", "∂f/∂σ = f′(z) · ε"];
  const numbers = makeNumbers(names.map((name) => ({ name })));
  const noise = html("div", { class: "noise" });
  numbers.root.prepend(noise);
  const update = () => {
    const { mu, sigma, eps, z, objective } = state.read();
    const { step } = state;
    const slope = objective.slope(z);
    noise.textContent = `z = μ + σε = ${written(mu, step)} + ${written(sigma, step)} · (${written(eps, step)}) = ${written(z, step)}`;
    numbers.update(...[slope, slope, slope * eps].map((value) => written(value, step)));
  };
  return { root: numbers.root, update };
}

/** Buttons: which f, another ε, the baseline. @param {State} state */
function makeButtons(state) {
  const kinds = Object.keys(OBJECTIVES).map((name) => /** @type {[string, string]} */ ([name, name]));
  const which = makeChoices(
    "f:",
    kinds,
    () => state.read().name,
    (objective) => state.write({ objective }),
  );
  const other = button("another ε", () => state.write({ which: (state.read().which + 1) % state.noise.length }));
  const baseline = button("baseline", () => state.write({ baseline: !state.read().baseline }));
  which.root.append(html("div", { class: "controls" }, other, baseline));
  const update = () => {
    which.update();
    baseline.setAttribute("aria-pressed", String(state.read().baseline));
  };
  return { root: which.root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const state = stateOf(model);
  const plane = makePlane(state);
  const numbers = makeProducts(state);
  const buttons = makeButtons(state);
  const clouds = PARAMETERS.map((_, k) => makeClouds(k));
  const width = CLOUD.left + CLOUD.width + 66;
  const height = 2 * CLOUD.group + 6;
  const chart = svg(
    "svg",
    { class: "clouds", role: "img", viewBox: `0 0 ${width} ${height}`, width, height },
    ...clouds.map((c) => c.root),
  );
  const stage = html("div", { class: "stage" }, html("div", {}, plane.root, numbers.root), html("div", {}, chart));
  const foot = makeFoot(model, () => state.write(model.get("start"))).root;
  const { mu: ofMu, sigma: ofSigma } = state.scales;
  const sliders = makeSliders(
    stepSlider(model, "mu", "μ", ofMu.limits, state.step),
    stepSlider(model, "sigma", "σ", ofSigma.limits, state.step),
  );
  const root = html("div", { class: "vae-widget vae-two-gradients" }, buttons.root, stage, foot, sliders.root);

  function draw() {
    const { mu, sigma, objective, baseline, which } = state.read();
    const found = gradients(objective, mu, sigma, state.noise, baseline);
    const exact = objective.exact(mu, sigma);
    const sds = WAYS.map((way) => spread(found[way][0]).sd);
    plane.update();
    numbers.update();
    buttons.update();
    sliders.update();
    for (const [k, cloud] of clouds.entries())
      cloud.update({ score: found.score[k], path: found.path[k] }, exact[k], which);
    chart.setAttribute(
      "aria-label",
      `Gradients in μ: exact ${short(exact[0])}, spread by the score ${short(sds[0])}, by the path ${short(sds[1])}`,
    );
  }
  return mount(model, el, root, TRAITS, draw);
}

export default { render };
