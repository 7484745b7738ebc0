// A factory of rules about nothing: how many of them look like laws, by the way they are judged.
import { binomial, CRITERIA, factory } from "./chance.js";
import { colorsOf, makeChart, onTheme } from "./chart.js";
import { makeChoices, makeNumbers, traitsOf } from "./parts.js";
import { written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { button, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const GRID = { columns: 4, width: 276, row: 13, dot: 7 };
const CURVE = { width: 200, height: 110 };
const SHOWN = 0.999; // of the distribution

/** The rules, a row of dots each: filled above zero, hollow below; a law has a frame. */
function makeRows() {
  const inside = svg("g");
  const root = svg("svg", { class: "rules", role: "img", width: GRID.width }, inside);
  const cell = GRID.width / GRID.columns;
  /** @param {number[][]} rules differences by seed @param {boolean[]} laws */
  const update = (rules, laws) => {
    const height = GRID.row * Math.ceil(rules.length / GRID.columns) + 4;
    root.setAttribute("viewBox", `-2 -2 ${GRID.width + 4} ${height}`);
    root.setAttribute("height", String(height));
    const step = Math.min(GRID.dot, (cell - 12) / rules[0].length);
    inside.replaceChildren(
      ...rules.flatMap((seeds, n) => {
        const [x, y] = [(n % GRID.columns) * cell, GRID.row * Math.floor(n / GRID.columns)];
        const dots = seeds.map((difference, s) =>
          svg("circle", { class: difference > 0 ? "up" : "down", cx: x + 6 + s * step, cy: y + 5, r: step * 0.36 }),
        );
        const size = { x: x + 1, y: y - 0.5, width: seeds.length * step + 4, height: 11, rx: 3 };
        return laws[n] ? [svg("rect", { class: "law", ...size }), ...dots] : dots;
      }),
    );
    root.setAttribute("aria-label", `${rules.length} rules, ${laws.filter(Boolean).length} of them framed as laws`);
  };
  return { root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const { rules, seeds } = model.get("sizes");
  const state = traitsOf(model, ["rules", "seeds", "criterion", "seed"]);
  const names = Object.keys(CRITERIA);
  const choices = makeChoices(
    "a law has",
    names.map((name) => /** @type {[string, string]} */ ([name, name])),
    () => state.read().criterion,
    (criterion) => state.write({ criterion }),
  );
  const other = button("New factory", () => state.write({ seed: state.read().seed + 1 }));
  choices.root.append(other);
  const rows = makeRows();
  const curve = makeChart({ ...CURVE, x: "laws", y: "probability", label: "How many laws such a factory finds" });
  const numbers = makeNumbers([
    { name: "laws found", tone: "p" },
    { name: "expected of nothing" },
    { name: "one at least, with probability" },
  ]);
  const sliders = makeSliders(
    stepSlider(model, "rules", "rules n", rules.limits, rules.step),
    stepSlider(model, "seeds", "seeds S", seeds.limits, seeds.step),
  );
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const side = html("div", { class: "side" }, curve.root, numbers.root);
  const stage = html("div", { class: "stage" }, html("div", { class: "chart" }, rows.root), side);
  const root = html("div", { class: "vae-widget vae-empty-rules" }, choices.root, stage, foot.root, sliders.root);

  function draw() {
    const { rules: n, seeds: S, criterion, seed } = state.read();
    const judge = CRITERIA[criterion];
    if (!judge) throw new RangeError(`There is no criterion ${criterion}.`);
    const made = factory(n, S, seed);
    const laws = made.map(judge.passes);
    const found = laws.filter(Boolean).length;
    const p = judge.probability(S);
    const chances = binomial(n, p);
    let [most, sum] = [0, 0];
    while (sum < SHOWN && most < n) sum += chances[most++];
    const last = Math.max(most, found, 4);
    const best = (/** @type {number[][]} */ rule) => rule.find((setting) => judge.passes([setting])) ?? rule[0];
    rows.update(
      made.map((rule) => (judge.all ? best(rule) : rule[0])),
      laws,
    );
    const [muted, ofP] = colorsOf(root, ["muted", "p"]).map((rgb) => `rgb(${rgb.join(" ")})`);
    curve.show([-0.5, last + 0.5], [0, 1.1 * chances.reduce((a, b) => Math.max(a, b))]);
    curve.clear();
    const width = curve.across(1) - curve.across(0);
    for (let k = 0; k <= last; k++) {
      curve.context.fillStyle = k === found ? ofP : muted;
      const top = curve.down(chances[k] ?? 0);
      curve.context.fillRect(curve.across(k) - 0.4 * width, top, 0.8 * width, CURVE.height - top);
    }
    numbers.update(String(found), written(n * p, 0.1), written(1 - chances[0], 0.01));
    choices.update();
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
