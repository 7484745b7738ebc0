// Two weights of a linear VAE: the objective over both, where gradient ascent leads from a start, and when.
import { colorsOf, drawContours, drawField, drawLine, makeChart, onTheme } from "./chart.js";
import { answeredEncoders, ascend, best, bestEncoder, curvatures, elbo, gradient, kl, wait } from "./flow.js";
import { makeClock, makeHandle, makeNumbers, roundMark, traitsOf } from "./parts.js";
import { short, written } from "./scale.js";
import { makeSlider, makeSliders, ratioSlider } from "./sliders.js";
import { html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./flow.js").Weights} Weights */
/** @typedef {ReturnType<typeof stateOf>} State */

const TRAITS = ["noise", "w", "v", "steps"];
const HALF_WIDTH = 1.25; // of the plane, in both weights
const TALLEST = 0.75; // nats
const GRID = 49; // places a side at which the objective is computed
const FLOW = 11; // a side
const FINEST = 0.01; // nats below the optimum: the first level curve; each of the next lies twice as far below
const NUDGE = 0.02;
const DECADES = 6;
const BY_DECADE = 10; // places of a slider
const PACE = 0.1; // steps a millisecond

/** What the traits say. @param {Model} model */
function stateOf(model) {
  const traits = traitsOf(model, TRAITS);
  const [low, high] = model.get("noises");
  const places = model.get("places");
  const most = model.get("most_weight");
  const least = model.get("least_distance");
  const last = model.get("most_steps");
  const read = () => {
    const { noise, w, v, steps } = traits.read();
    const inside = [noise >= low && noise <= high, Math.hypot(w, v) >= least, Math.max(w, v, -w, -v) <= most];
    if (!inside.every(Boolean) || !(steps >= 0 && steps <= last)) throw new RangeError("There is no such place.");
    return { noise, steps, start: /** @type {Weights} */ ([w, v]) };
  };
  /** Start elsewhere, never quite at 0. @param {number} w @param {number} v */
  const begin = (w, v) => {
    const [x, y] = [w, v].map((weight) => Math.min(most, Math.max(-most, weight)));
    if (Math.hypot(x, y) >= least) traits.write({ w: x, v: y, steps: 0 });
    else approach(least);
  };
  /** The same direction from 0, at another distance. @param {number} distance */
  const approach = (distance) => {
    const [w, v] = toward(read().start, distance);
    traits.write({ w, v, steps: 0 });
  };
  return { read, write: traits.write, begin, approach, places, noises: model.get("noises"), most, last };
}

/** @param {Weights} start @param {number} distance @returns {Weights} */
function toward([w, v], distance) {
  const now = Math.hypot(w, v);
  return [(w * distance) / now, (v * distance) / now];
}

/** The plane of both weights. @param {State} state */
function makePlane(state) {
  const label = "mean ELBO over the decoder's weight w and the encoder's weight v, with a path of gradient ascent";
  const chart = makeChart({ width: 270, height: 270, x: "decoder w", y: "encoder v", label });
  chart.show([-HALF_WIDTH, HALF_WIDTH], [-HALF_WIDTH, HALF_WIDTH]);
  const [ofDecoder, ofEncoder, ahead, behind] = ["null p", "null q", "ahead", "behind"].map((name) =>
    svg("path", { class: name }),
  );
  const silent = svg("circle", { class: "silent", cx: chart.across(0), cy: chart.down(0), r: 4.5 });
  const tops = [1, -1].map(() => svg("path", { class: "top", d: "M-5 0H5M0 -5V5" }));
  const dot = svg("circle", { class: "now", r: 5 });
  chart.over.append(ofDecoder, ofEncoder, ahead, behind, silent, ...tops, dot);
  const handle = makeHandle(
    {
      label: "start",
      box: chart.frame,
      drag: (right, low) => state.begin(...chart.at(right, low)),
      nudge: (right, up) => {
        const [w, v] = state.read().start;
        state.begin(w + right * NUDGE, v + up * NUDGE);
      },
    },
    roundMark(),
  );
  chart.hold(handle.root);
  const line = (/** @type {Weights[]} */ points) =>
    points.length
      ? `M${points.map(([w, v]) => `${chart.across(w).toFixed(1)} ${chart.down(v).toFixed(1)}`).join("L")}`
      : "";
  const ws = Array.from({ length: chart.width + 1 }, (_, i) => HALF_WIDTH * ((2 * i) / chart.width - 1));
  const curve = (/** @type {(w: number) => number} */ f) =>
    line(ws.map((w) => /** @type {Weights} */ ([w, f(w)])).filter(([, v]) => Math.abs(v) < 2 * HALF_WIDTH));

  /** What depends on the noise alone. @param {number} noise @param {number[][]} colors ink, line, muted */
  function field(noise, [ink, faint, muted]) {
    const end = best(noise);
    const top = elbo(end, noise);
    const at = (/** @type {number} */ i, /** @type {number} */ n) => HALF_WIDTH * ((2 * i) / (n - 1) - 1);
    const heights = Float64Array.from({ length: GRID * GRID }, (_, n) =>
      Math.log2((top - elbo([at(n % GRID, GRID), -at(Math.floor(n / GRID), GRID)], noise)) / FINEST + 1e-9),
    );
    chart.clear();
    drawField(
      chart,
      heights.map((height) => 0.16 - 0.02 * Math.max(0, height)),
      GRID,
      ink,
    );
    drawContours(chart, heights, GRID, `rgb(${faint})`);
    chart.context.strokeStyle = `rgb(${muted})`;
    chart.context.lineWidth = 1;
    for (let n = 0; n < FLOW * FLOW; n++) {
      const [w, v] = [n % FLOW, Math.floor(n / FLOW)].map((i) => at(i + 0.5, FLOW + 1));
      const [dw, dv] = gradient([w, v], noise);
      drawArrow(chart, w, v, dw, dv);
    }
    const branches = [1, -1].map((sign) => {
      const there = ws.slice(chart.width / 2 + 1).filter((w) => answeredEncoders(w, noise)[0] >= 0); // no NaN
      const [low, high] = [0, 1].map((i) =>
        there.map((w) => /** @type {Weights} */ ([sign * w, sign * answeredEncoders(w, noise)[i]])),
      );
      const folds = there.length < chart.width / 2; // within the plane: the two are one line
      return folds ? line([...low, ...high.reverse()]) : line(low) + line(high);
    });
    ofDecoder.setAttribute("d", branches.join(""));
    ofEncoder.setAttribute(
      "d",
      curve((w) => bestEncoder(w, noise)),
    );
    for (const [i, mark] of tops.entries()) {
      const sign = i ? -1 : 1;
      mark.setAttribute("transform", `translate(${chart.across(sign * end[0])} ${chart.down(sign * end[1])})`);
      mark.classList.toggle("none", end[0] === 0);
    }
  }

  /** @param {Weights[]} path @param {number} steps */
  function update(path, steps) {
    behind.setAttribute("d", line(path.slice(0, steps + 1)));
    ahead.setAttribute("d", line(path.slice(steps)));
    dot.setAttribute("cx", String(chart.across(path[steps][0])));
    dot.setAttribute("cy", String(chart.down(path[steps][1])));
    const [w, v] = path[0];
    handle.update(chart.across(w), chart.down(v), w, [-state.most, state.most], `w ${short(w)}, v ${short(v)}`);
  }
  return { root: chart.root, field, update };
}

/** An arrow around a place, the longer the steeper it is there. @param {import("./chart.js").Chart} chart
 * @param {number} w @param {number} v @param {number} dw @param {number} dv */
function drawArrow({ context, across, down }, w, v, dw, dv) {
  const slope = Math.hypot(dw, dv);
  const length = 15 * (slope / (slope + 0.5)); // pixels
  const [x, y] = [(length * dw) / slope, (-length * dv) / slope];
  const [endX, endY] = [across(w) + x / 2, down(v) + y / 2];
  context.beginPath();
  context.moveTo(endX - x, endY - y);
  context.lineTo(endX, endY);
  for (const side of [1, -1]) {
    context.moveTo(endX - 0.3 * (x + side * y), endY - 0.3 * (y - side * x));
    context.lineTo(endX, endY);
  }
  context.stroke();
}

/** The KL over the steps, now and from starts at other distances. @param {State} state @param {(steps: number) => void} go */
function makeHistory(state, go) {
  const label = "KL against steps of gradient ascent";
  const chart = makeChart({ width: 210, height: 210, x: "steps", y: "KL, nats", label, tone: "kl" });
  chart.show([0, state.last], [0, TALLEST]);
  const final = svg("path", { class: "final" });
  chart.over.append(final);
  const mark = svg("circle", { class: "now", r: 5 });
  const handle = makeHandle(
    {
      label: "steps",
      box: chart.frame,
      arrows: "across",
      drag: (right) => go(Math.round(chart.at(right, 0)[0])),
      nudge: (right, up) => go(state.read().steps + 10 * (right + up)),
    },
    mark,
  );
  chart.hold(handle.root);
  const steps = Array.from({ length: state.last + 1 }, (_, i) => i);

  /** @param {Weights[]} path @param {number} noise @param {number[][]} colors of the KL, and of the other lines */
  function lines(path, noise, [color, faint]) {
    chart.clear();
    for (let decade = 1; decade <= DECADES; decade++) {
      const other = ascend(toward(path[0], 10 ** -decade), noise, state.last);
      drawLine(
        chart,
        steps,
        other.map((weights) => kl(weights, noise)),
        `rgb(${faint})`,
      );
    }
    drawLine(
      chart,
      steps,
      path.map((weights) => kl(weights, noise)),
      `rgb(${color})`,
    );
    final.setAttribute("d", `M0 ${chart.down(kl(best(noise), noise))}H${chart.width}`);
  }
  /** @param {number} now @param {number} spent nats */
  function update(now, spent) {
    const y = Math.max(0, chart.down(spent));
    handle.update(chart.across(now), y, now, [0, state.last], `step ${now}, KL ${spent.toFixed(3)} nats`);
  }
  return { root: chart.root, lines, update };
}

/** @param {number} largest eigenvalue */
function verdict(largest) {
  if (largest === 0) return "level along one direction";
  return largest > 0 ? "a saddle: one direction leads up" : "a maximum: no direction leads up";
}

function makeReadout() {
  const numbers = makeNumbers([
    { name: "The silent point, w = v = 0, is" },
    { name: "curvatures there" },
    { name: "KL now, and at the optimum", tone: "kl" },
    { name: "steps until it stays above half of that" },
  ]);
  /** @param {number} noise @param {number} spent @param {number} needed */
  const update = (noise, spent, needed) => {
    const both = curvatures(noise);
    numbers.update(
      verdict(both[0]),
      both.map((value) => (value > 0 ? "+" : "") + written(value, 0.01)).join(", "),
      `${written(spent, 0.001)}, ${written(kl(best(noise), noise), 0.001)} nats`,
      best(noise)[0] === 0
        ? "never"
        : needed === Number.POSITIVE_INFINITY
          ? "over 100,000"
          : needed.toLocaleString("en"),
    );
  };
  return { root: numbers.root, update };
}

/** @param {Model} model @param {State} state */
function slidersOf(model, state) {
  const text = (/** @type {number} */ noise) => `${written(noise, 0.01)} λ`;
  const noise = ratioSlider(model, "noise", "βσ²", state.noises, state.places, text, [[1, "λ"]]);
  const distance = () => Math.hypot(...state.read().start);
  const near = makeSlider({
    name: "start’s distance",
    last: DECADES * BY_DECADE,
    place: () => Math.min(DECADES, DECADES + Math.log10(distance())) * BY_DECADE,
    go: (place) => state.approach(10 ** (place / BY_DECADE - DECADES)),
    text: () => short(Number(distance().toPrecision(2))),
  });
  return makeSliders(noise, near);
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const state = stateOf(model);
  const go = (/** @type {number} */ steps) => state.write({ steps: Math.min(state.last, Math.max(0, steps)) });
  const plane = makePlane(state);
  const history = makeHistory(state, go);
  const readout = makeReadout();
  /** @type {number | undefined} */
  let played;
  /** @type {Weights[]} */
  let path = [];
  let needed = 0;
  const clock = makeClock(
    "Play",
    (milliseconds) => {
      const from = played ?? state.read().steps % state.last;
      played = Math.min(state.last, from + PACE * milliseconds);
      move();
      return played < state.last;
    },
    () => {
      go(Math.round(played ?? state.read().steps));
      played = undefined;
      move();
    },
  );
  const key = html("div", { class: "caption" });
  key.append(
    "Dashed: the gradient is zero ",
    html("span", { class: "p" }, "in w"),
    ", ",
    html("span", { class: "q" }, "in v"),
    ". Gray curves: the KL from the same start at distances 0.1, 0.01, … 0.000001.",
  );
  const stage = html("div", { class: "stage" }, plane.root, html("div", {}, history.root, clock.root));
  const sliders = slidersOf(model, state);
  const foot = makeFoot(model, () => {
    clock.pause();
    state.write(model.get("start"));
  });
  const root = html(
    "div",
    { class: "vae-widget vae-phase-portrait" },
    stage,
    key,
    readout.root,
    foot.root,
    sliders.root,
  );

  function move() {
    const { noise, steps } = state.read();
    const now = Math.round(played ?? steps);
    const spent = kl(path[now], noise);
    plane.update(path, now);
    history.update(now, spent);
    readout.root.setAttribute("aria-live", clock.playing() ? "off" : "polite");
    readout.update(noise, spent, needed);
  }
  let drawn = 0; // the noise of the field that is on the canvas
  const dress = () => {
    drawn = 0;
    draw();
  };
  function draw() {
    const { noise, start } = state.read();
    path = ascend(start, noise, state.last);
    needed = wait(start, noise);
    const [ink, line, muted, ofKl, faint] = colorsOf(root, ["ink", "line", "muted", "kl", "faint"]);
    if (drawn !== noise) plane.field(noise, [ink, line, muted]);
    drawn = noise;
    history.lines(path, noise, [ofKl, faint]);
    move();
    sliders.update();
  }
  const end = mount(model, el, root, TRAITS, draw);
  dress();
  const dressed = onTheme(dress);
  return () => {
    clock.end();
    dressed();
    end();
  };
}

export default { render };
