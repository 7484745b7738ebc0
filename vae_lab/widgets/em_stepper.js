// EM by hand: means to drag, an E-step and an M-step to press, and the bound meeting the likelihood.
import { eStep, logEvidence, lowerBound, mStep, uniform } from "./mixture.js";
import { makeEllipses, makeHandle, makeNumbers } from "./parts.js";
import { roundNumber, short, written } from "./scale.js";
import { button, html, makeFoot, mount, placeIn, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {[string, number, number]} Entry */

const SQUARE = 270; // pixels
const CHART = { width: 230, height: 150 }; // pixels
const NUMBERS = 6; // a component
const KINDS = [0, 6, 2, 5, 8, 3]; // colors of the components: classes of base.css
const SHOWN = 9; // of the last half-rounds, in the chart
const MET = 1e-9; // nats: a gap that counts as none
const ROOM = 1.5; // gaps: how far the chart reaches beyond where a record starts, on either side
const LEAST_GAP = 0.2; // nats: for that
const KEY = 1 / 60; // of the plane: how far an arrow key moves a mean

/** @param {number} k */
const letter = (k) => String.fromCharCode(65 + k);

/** What the traits say, and what the steps do to them. q is kept as the parameters that it is the posterior of.
 * @param {Model} model */
function stateOf(model) {
  const points = model.get("points");
  const N = points.length / 2;
  const K = model.get("start").length / NUMBERS;
  const q = () => {
    const source = model.get("source");
    if (source.length && source.length !== NUMBERS * K) throw new RangeError("q is the posterior of another mixture.");
    return source.length ? eStep(source, points) : uniform(N, K);
  };
  const now = (/** @type {string} */ name) => {
    const parameters = model.get("parameters");
    return /** @type {Entry} */ ([name, lowerBound(parameters, points, q()), logEvidence(parameters, points)]);
  };
  const write = (/** @type {Record<string, any>} */ values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  /** Take a step, and enter it in the record. @param {"E" | "M"} name */
  const step = (name) => {
    const trace = model.get("trace").length ? model.get("trace") : [now("")];
    const parameters = model.get("parameters");
    if (name === "E") model.set("source", [...parameters]);
    else model.set("parameters", mStep(parameters, points, q(), model.get("least")));
    write({ trace: [...trace, now(name)] });
  };
  /** Put a mean elsewhere, within the plane; the record begins anew. @param {number} k @param {number} x @param {number} y */
  const move = (k, x, y) => {
    const parameters = [...model.get("parameters")];
    const [[x0, x1], [y0, y1]] = model.get("ranges");
    parameters[NUMBERS * k + 1] = Math.min(x1, Math.max(x0, x));
    parameters[NUMBERS * k + 2] = Math.min(y1, Math.max(y0, y));
    write({ parameters, trace: [] });
  };
  /** Put the nearest mean there, for those who press rather than drag. @param {number} x @param {number} y */
  const moveNearest = (x, y) => {
    const parameters = model.get("parameters");
    const [[x0, x1], [y0, y1]] = model.get("ranges");
    const distances = Array.from({ length: K }, (_, k) =>
      Math.hypot((parameters[NUMBERS * k + 1] - x) / (x1 - x0), (parameters[NUMBERS * k + 2] - y) / (y1 - y0)),
    );
    move(distances.indexOf(Math.min(...distances)), x, y);
  };
  const back = () => write({ parameters: [...model.get("start")], source: [], trace: [] });
  const trace = () => /** @type {Entry[]} */ (model.get("trace").length ? model.get("trace") : [now("")]);
  const untouched = () =>
    !(model.get("source").length || model.get("trace").length) &&
    model
      .get("start")
      .every((/** @type {number} */ value, /** @type {number} */ i) => value === model.get("parameters")[i]);
  return { points, N, K, q, step, move, moveNearest, back, trace, untouched };
}

/** @typedef {ReturnType<typeof stateOf>} State */

/** A color between the components', by responsibility. @param {number[]} resp */
function mixed(resp) {
  let color = `var(--kind-0)`;
  let sum = resp[0];
  for (let k = 1; k < resp.length; k++) {
    sum += resp[k];
    color = `color-mix(in srgb, var(--kind-${k}) ${((100 * resp[k]) / (sum || 1)).toFixed(1)}%, ${color})`;
  }
  return color;
}

/** The points, the components' ellipses, and their means as handles.
 * @param {Model} model @param {State} state */
function makePlane(model, state) {
  const [[x0, x1], [y0, y1]] = model.get("ranges");
  const units = [SQUARE / (x1 - x0), SQUARE / (y1 - y0)]; // pixels
  const { points, N, K } = state;
  const place = (/** @type {number} */ x, /** @type {number} */ y) => [(x - x0) * units[0], (y1 - y) * units[1]];
  const dots = Array.from({ length: N }, (_, n) => {
    const [cx, cy] = place(points[2 * n], points[2 * n + 1]);
    return svg("circle", { class: "point", cx: cx.toFixed(1), cy: cy.toFixed(1), r: 2.8 });
  });
  const paper = svg("rect", { class: "paper", width: SQUARE, height: SQUARE });
  const parts = Array.from({ length: K }, (_, k) => component(state, k, { model, place, paper }));
  const ellipses = parts.flatMap((part) => part.ellipses);
  const inside = { class: "clipped", "aria-hidden": true, width: SQUARE, height: SQUARE };
  const clipped = svg("svg", inside, ...dots, ...ellipses);
  const names = model.get("names");
  const size = { viewBox: `-16 -20 ${SQUARE + 22} ${SQUARE + 42}`, width: SQUARE + 22, height: SQUARE + 42 };
  const axes = [
    svg(
      "text",
      { class: "name", x: SQUARE, y: SQUARE + 17, "text-anchor": "end", "aria-hidden": true },
      `${names[0]} →`,
    ),
    svg("text", { class: "name", x: 0, y: -7, "aria-hidden": true }, `↑ ${names[1]}`),
  ];
  const role = { role: "group", "aria-label": "Points, and the components over them" };
  const root = svg(
    "svg",
    { class: "plane", ...size, ...role },
    ...axes,
    paper,
    clipped,
    ...parts.map((part) => part.handle),
  );
  paper.addEventListener("click", (event) => {
    const [right, down] = placeIn(paper, event);
    state.moveNearest(x0 + right * (x1 - x0), y1 - down * (y1 - y0));
  });
  const update = () => {
    const logResp = state.q();
    dots.forEach((dot, n) => {
      const resp = [...logResp.subarray(n * K, (n + 1) * K)].map(Math.exp);
      dot.setAttribute("style", `fill: ${mixed(resp)}`);
    });
    for (const part of parts) part.update();
  };
  return { root, update };
}

/** One component: ellipses at one and two standard deviations, and its mean to drag or to move by the arrow keys.
 * @param {State} state @param {number} k
 * @param {{model: Model, place: (x: number, y: number) => number[], paper: SVGElement}} plane */
function component(state, k, { model, place, paper }) {
  const color = `color: var(--kind-${k})`;
  const [[x0, x1], [y0, y1]] = model.get("ranges");
  const [across, up] = model.get("names");
  const ellipses = makeEllipses("component");
  for (const ellipse of ellipses.all) ellipse.setAttribute("style", color);
  const numbers = () => model.get("parameters").slice(NUMBERS * k, NUMBERS * (k + 1));
  const handle = makeHandle(
    {
      label: `mean of component ${letter(k)}`,
      box: paper,
      arrows: "none",
      drag: (right, down) => state.move(k, x0 + right * (x1 - x0), y1 - down * (y1 - y0)),
      nudge: (right, above) => {
        const [, mx, my] = numbers();
        state.move(k, mx + right * KEY * (x1 - x0), my + above * KEY * (y1 - y0));
      },
    },
    svg("circle", { class: "letter", r: 12 }),
    svg("text", { "text-anchor": "middle", y: 5 }, letter(k)),
  );
  handle.root.setAttribute("style", color);
  const steps = [x1 - x0, y1 - y0].map((range) => roundNumber(range / 200));
  const update = () => {
    const [, mx, my, xx, xy, yy] = numbers();
    const [cx, cy] = place(mx, my);
    const [a, b] = [SQUARE / (x1 - x0), SQUARE / (y1 - y0)]; // pixels
    ellipses.update(cx, cy, [xx * a * a, xy * a * b, yy * b * b]);
    handle.update(cx, cy, mx, [x0, x1], `${across} ${written(mx, steps[0])}, ${up} ${written(my, steps[1])}`);
  };
  return { ellipses: ellipses.all, handle: handle.root, update };
}

/** What of the vertical axis the chart shows. While the start of the record is in sight it only ever grows, until all is
 * put back: so the gap can be compared from drag to drag. Later it is as narrow as the record allows.
 * @param {State} state @returns {(entries: Entry[]) => [number, number]} */
function makeLimits(state) {
  /** @type {[number, number] | undefined} */
  let seen;
  return (entries) => {
    const [[step, bound, evidence]] = entries;
    const values = entries.flatMap(([, ...both]) => both);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    if (step) return [least, Math.max(most, least + 1e-6)];
    const room = ROOM * Math.max(evidence - bound, LEAST_GAP);
    if (!seen || state.untouched()) seen = [bound - room, evidence + room];
    seen = [Math.min(seen[0], least), Math.max(seen[1], most)];
    return seen;
  };
}

/** The record of half-rounds: log-likelihood above, bound below, the gap between them a bar.
 * @param {State} state */
function makeChart(state) {
  const { width, height } = CHART;
  const inside = svg("g");
  const low = svg("text", { x: -6, y: height, "text-anchor": "end" });
  const high = svg("text", { x: -6, y: 12, "text-anchor": "end" });
  const paper = svg("rect", { class: "paper", width, height });
  const size = { viewBox: `-44 -20 ${width + 52} ${height + 44}`, width: width + 52, height: height + 44 };
  const name = svg("text", { class: "name", x: 0, y: -7 }, "↑ nats a point");
  const root = svg("svg", { class: "chart", role: "img", ...size }, name, paper, low, high, inside);
  const limits = makeLimits(state);
  const update = () => {
    const entries = state.trace().slice(-SHOWN);
    const [least, most] = limits(entries);
    const span = most - least;
    const x = (/** @type {number} */ i) => 14 + (i * (width - 28)) / (SHOWN - 1);
    const y = (/** @type {number} */ value) => height - 12 - ((value - least) / span) * (height - 24);
    const step = Math.min(0.01, Math.max(1e-4, roundNumber(span / 50))); // nats
    low.textContent = written(least, step);
    high.textContent = written(most, step);
    const lines = [2, 1].map((j) =>
      svg("path", {
        class: j === 2 ? "evidence" : "bound",
        d: `M${entries.map((e, i) => `${x(i)} ${y(Number(e[j]))}`).join("L")}`,
      }),
    );
    const gaps = entries.map(([, bound, evidence], i) =>
      svg("path", { class: "gap", d: `M${x(i)} ${y(bound)}V${y(evidence)}` }),
    );
    const marks = entries.flatMap(([step, bound, evidence], i) => [
      svg("circle", { class: "evidence", cx: x(i), cy: y(evidence), r: 4.5 }),
      svg("circle", { class: "bound", cx: x(i), cy: y(bound), r: 2.8 }),
      svg(
        "text",
        { x: x(i) + (step ? 0 : 8), y: height + 16, "text-anchor": step ? "middle" : "end" },
        step || "start",
      ),
    ]);
    inside.replaceChildren(...gaps, ...lines, ...marks);
    root.setAttribute(
      "aria-label",
      `The last ${entries.length} half-rounds; the bound and the log-likelihood never fall`,
    );
  };
  return { root, update };
}

/** The three numbers of the present. @param {State} state */
function makeLedger(state) {
  const names = { evidence: "log p(x)", bound: "bound", gap: "gap: KL(q ‖ posterior)" };
  const numbers = makeNumbers(Object.entries(names).map(([tone, name]) => ({ tone, name })));
  const update = () => {
    const [, b, e] = state.trace()[state.trace().length - 1];
    const touching = e - b < MET;
    numbers.update(written(e, 0.0001), written(b, 0.0001), touching ? "0: they touch" : short(e - b));
    return touching;
  };
  return { root: numbers.root, update };
}

/** Everything on the page, and what redraws it. @param {Model} model @param {State} state */
function build(model, state) {
  const plane = makePlane(model, state);
  const chart = makeChart(state);
  const numbers = makeLedger(state);
  const e = button("E-step", () => state.step("E"));
  const m = button("M-step", () => state.step("M"));
  const both = button("Ten rounds", () => {
    for (let round = 0; round < 10; round++) {
      state.step("E");
      state.step("M");
    }
  });
  const row = html("div", { class: "controls" }, e, m, both);
  const right = html("div", { class: "side" }, row, numbers.root, chart.root);
  const foot = makeFoot(model, state.back).root;
  const kinds = Array.from({ length: state.K }, (_, k) => `--kind-${k}: var(--class-${KINDS[k]})`).join("; ");
  const stage = html("div", { class: "stage" }, plane.root, right);
  const root = html("div", { class: "vae-widget vae-em-stepper", style: kinds }, stage, foot);
  const draw = () => {
    plane.update();
    chart.update();
    const touching = numbers.update();
    m.classList.toggle("next", touching);
    e.classList.toggle("next", !touching);
  };
  return { root, draw };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const { root, draw } = build(model, stateOf(model));
  return mount(model, el, root, ["parameters", "source", "trace"], draw);
}

export default { render };
