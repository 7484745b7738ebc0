// A Gaussian to lay over a posterior by hand, and the bound it reaches.
import { makeEllipses, makeHandle, makeNumbers, roundMark, squareMark } from "./parts.js";
import { bound, logEvidence } from "./quadrature.js";
import { axisLabels, onStep, written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { asView, button, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./quadrature.js").Gaussian} Gaussian */
/** @typedef {ReturnType<typeof gaussianOf>} Q */

const SIDE = 256; // pixels
const BAR = { width: 64, height: 256 }; // pixels
const NAMES = { m0: "mean of z₁", m1: "mean of z₂", s0: "scale of z₁", s1: "scale of z₂", rho: "correlation" };
const TRAITS = Object.keys(NAMES);

/** q in the model: read together, written within limits and on the sliders' steps.
 * @param {Model} model */
function gaussianOf(model) {
  const limits = /** @type {[number, number][]} */ (model.get("limits"));
  const steps = /** @type {number[]} */ (model.get("steps"));
  const read = () => /** @type {Gaussian} */ (TRAITS.map((trait) => model.get(trait)));
  /** @param {(number | undefined)[]} values in the order of TRAITS; those missing stay */
  const write = (values) => {
    values.forEach((value, i) => {
      if (value !== undefined) model.set(TRAITS[i], onStep(value, limits[i], steps[i]));
    });
    model.save_changes();
  };
  return { read, write, limits, steps, step: steps[0], halfWidth: /** @type {number} */ (model.get("half_width")) };
}

/** The posterior, q's ellipses over it, and two handles: for the mean, and for both scales.
 * @param {Model} model @param {Q} q */
function makePlane(model, q) {
  const unit = SIDE / (2 * q.halfWidth);
  const place = (/** @type {number} */ value) => SIDE / 2 + value * unit;
  const paper = svg("rect", { class: "paper", width: SIDE, height: SIDE });
  const key = 5 * q.step;
  const codeAt = (/** @type {number} */ across, /** @type {number} */ down) => [
    (2 * across - 1) * q.halfWidth,
    (1 - 2 * down) * q.halfWidth,
  ];
  const mean = makeHandle(
    {
      label: "mean of q",
      box: paper,
      drag: (across, down) => q.write(codeAt(across, down)),
      nudge: (right, up) => q.write([q.read()[0] + right * key, q.read()[1] + up * key]),
    },
    roundMark(),
  );
  const corner = makeHandle(
    {
      label: "scales of q",
      box: paper,
      arrows: "none",
      drag: (across, down) => {
        const [x, y] = codeAt(across, down);
        q.write([undefined, undefined, x - q.read()[0], y - q.read()[1]]);
      },
      nudge: (right, up) => q.write([undefined, undefined, q.read()[2] + right * key, q.read()[3] + up * key]),
    },
    squareMark(),
  );
  const regions = model.get("regions").map((/** @type {string} */ d) => svg("path", { class: "region", d }));
  const posterior = svg("g", { transform: `translate(${SIDE / 2} ${SIDE / 2}) scale(${SIDE / 200})` }, ...regions);
  const ellipses = makeEllipses("of-q");
  const box = svg("path", { class: "box" });
  const inside = svg(
    "svg",
    { class: "clipped", "aria-hidden": true, width: SIDE, height: SIDE },
    posterior,
    box,
    ...ellipses.all,
  );
  const size = { viewBox: `-34 -24 ${SIDE + 46} ${SIDE + 58}`, width: SIDE + 46, height: SIDE + 58 };
  const role = { role: "group", "aria-label": "The posterior, and q over it" };
  const root = svg(
    "svg",
    { class: "plane", ...size, ...role },
    ...ticks(q.halfWidth),
    paper,
    inside,
    corner.root,
    mean.root,
  );

  function update() {
    const [m0, m1, s0, s1, rho] = q.read();
    const x = place(m0);
    const y = place(-m1);
    const across = s0 * unit;
    const up = s1 * unit;
    ellipses.update(x, y, [across * across, rho * across * up, up * up]);
    box.setAttribute("d", `M${x - across} ${y - up}H${x + across}V${y + up}H${x - across}Z`);
    const texts = [
      [m0, m1],
      [s0, s1],
    ].map(([first, second]) => `z₁ ${written(first, q.step)}, z₂ ${written(second, q.step)}`);
    mean.update(x, y, m0, q.limits[0], texts[0]);
    corner.update(Math.min(x + across, SIDE + 6), Math.max(y - up, -6), s0, q.limits[2], texts[1]);
  }
  return { root, update };
}

/** @param {number} halfWidth */
function ticks(halfWidth) {
  const ends = [-halfWidth, 0, halfWidth];
  const { at, name } = axisLabels([-halfWidth, halfWidth]);
  const place = (/** @type {number} */ value) => (SIDE / 2) * (1 + value / halfWidth);
  return [
    ...ends.map((v) => svg("text", { x: place(v), y: SIDE + 17, "text-anchor": "middle" }, at(v))),
    ...ends.map((v) => svg("text", { x: -8, y: place(-v) + 4, "text-anchor": "end" }, at(v))),
    svg("text", { class: "name", x: SIDE, y: SIDE + 33, "text-anchor": "end" }, `${name("z₁")} →`),
    svg("text", { class: "name", x: 0, y: -8 }, `↑ ${name("z₂")}`),
  ];
}

/** The bar: the ELBO up to where it is, the KL from there to log p(x).
 * @param {number} evidence @param {number} depth */
function makeBar(evidence, depth) {
  const { width, height } = BAR;
  const lower = svg("rect", { class: "elbo", width });
  const upper = svg("rect", { class: "kl", width, y: 0 });
  const names = [
    svg("text", { class: "elbo", x: width + 10 }, "ELBO"),
    svg("text", { class: "kl", x: width + 10 }, "KL"),
  ];
  const line = svg("path", { class: "evidence", d: `M-6 0H${width + 6}` });
  const top = svg("text", { class: "name", x: width + 10, y: 5 }, "log p(x)");
  const torn = svg("path", { class: "torn", d: `M-4 ${height}l9 -5 9 10 9 -10 9 10 9 -10 9 10 9 -10 9 5` });
  const size = { viewBox: `-34 -24 170 ${height + 58}`, width: 170, height: height + 58 };
  const role = { role: "img", "aria-label": "log p(x) as the sum of ELBO and KL" };
  const root = svg("svg", { class: "bar", ...size, ...role }, lower, upper, line, torn, top, ...names);
  const update = (/** @type {number} */ kl) => {
    const y = Math.min(1, kl / depth) * (height - 12);
    upper.setAttribute("height", String(y));
    lower.setAttribute("y", String(y));
    lower.setAttribute("height", String(height - y));
    names[0].setAttribute("y", String(Math.min(height - 2, (y + height) / 2 + 4)));
    names[1].setAttribute("y", String(Math.max(y / 2 + 4, 24)));
    root.dataset.evidence = String(evidence);
  };
  return { root, update };
}

/** @param {Model} model */
function gridOf(model) {
  const bytes = asView(model.get("log_joint"));
  const count = model.get("count");
  const logJoint = Float32Array.from({ length: count * count }, (_, n) => bytes.getFloat32(4 * n, true));
  return { count, halfWidth: model.get("grid_half_width"), logJoint };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const q = gaussianOf(model);
  const grid = gridOf(model);
  const evidence = logEvidence(grid);
  const plane = makePlane(model, q);
  const bar = makeBar(evidence, model.get("depth"));
  const numbers = makeNumbers([{ name: "ELBO" }, { name: "+ KL", tone: "kl" }, { name: "= log p(x)" }]);
  const presets = model
    .get("presets")
    .map((/** @type {[string, number[]]} */ [name, values]) => button(name, () => q.write(values)));
  const key = html(
    "div",
    { class: "caption" },
    html("span", { class: "of-p" }, "the posterior"),
    ", ",
    html("span", { class: "of-q" }, "q at 1 and 2 σ"),
  );
  const right = html("div", { class: "side" }, bar.root, numbers.root);
  const stage = html("div", { class: "stage" }, html("div", {}, key, plane.root), right);
  const foot = makeFoot(model, () => q.write(model.get("start")));
  const sliders = makeSliders(
    ...Object.entries(NAMES).map(([trait, name], i) => stepSlider(model, trait, name, q.limits[i], q.steps[i])),
  );
  const root = html(
    "div",
    { class: "vae-widget vae-bound" },
    html("div", { class: "presets" }, ...presets),
    stage,
    foot.root,
    sliders.root,
  );

  function draw() {
    const terms = bound(grid, evidence, q.read());
    plane.update();
    bar.update(terms.kl);
    numbers.update(...[terms.elbo, terms.kl, terms.elbo + terms.kl].map((nats) => written(nats, 0.01)));
    sliders.update();
    if (terms.kl < model.get("goal")) foot.done(`KL ${written(terms.kl, 0.01)} nats.`);
  }
  return mount(model, el, root, TRAITS, draw);
}

export default { render };
