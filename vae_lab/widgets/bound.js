// A Gaussian to lay over a posterior by hand, and the bound it reaches.
import { bound, logEvidence } from "./quadrature.js";
import { axisLabels, onStep, written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { asView, button, draggable, html, makeFoot, mount, onArrows, svg, tell } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./quadrature.js").Gaussian} Gaussian */
/** @typedef {ReturnType<typeof gaussianOf>} Q */

const SIDE = 256; // pixels
const BAR = { width: 64, height: 256 }; // pixels
const NAMES = { m0: "mean of z₁", m1: "mean of z₂", s0: "scale of z₁", s1: "scale of z₂", rho: "correlation" };
const TRAITS = Object.keys(NAMES);
const ARROWS = "M-4 -13 0 -17 4 -13M-4 13 0 17 4 13M-13 -4 -17 0 -13 4M13 -4 17 0 13 4";

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

/** A handle: a shape to drag, or to focus and move by the arrow keys.
 * @param {string} label @param {Element[]} shapes */
function makeHandle(label, ...shapes) {
  const role = { tabindex: 0, role: "slider", "aria-label": label, "aria-roledescription": "point in a plane" };
  return svg("g", { class: "handle", ...role }, svg("circle", { class: "halo", r: 20 }), ...shapes);
}

/** The posterior, q's ellipses over it, and two handles: for the mean, and for both scales.
 * @param {Model} model @param {Q} q */
function makePlane(model, q) {
  const unit = SIDE / (2 * q.halfWidth);
  const place = (/** @type {number} */ value) => SIDE / 2 + value * unit;
  const paper = svg("rect", { class: "paper", width: SIDE, height: SIDE });
  const regions = model.get("regions").map((/** @type {string} */ d) => svg("path", { class: "region", d }));
  const posterior = svg("g", { transform: `translate(${SIDE / 2} ${SIDE / 2}) scale(${SIDE / 200})` }, ...regions);
  const ellipses = [1, 2].map((r) => svg("ellipse", { class: "of-q", "data-r": r }));
  const box = svg("path", { class: "box" });
  const inside = svg(
    "svg",
    { class: "clipped", "aria-hidden": true, width: SIDE, height: SIDE },
    posterior,
    box,
    ...ellipses,
  );
  const mean = makeHandle(
    "mean of q",
    svg("path", { class: "arrows", d: ARROWS }),
    svg("circle", { class: "dot", r: 7 }),
  );
  const corner = makeHandle("scales of q", svg("rect", { class: "dot", x: -6, y: -6, width: 12, height: 12 }));
  const size = { viewBox: `-34 -24 ${SIDE + 46} ${SIDE + 58}`, width: SIDE + 46, height: SIDE + 58 };
  const role = { role: "group", "aria-label": "The posterior, and q over it" };
  const root = svg("svg", { class: "plane", ...size, ...role }, ...ticks(q.halfWidth), paper, inside, corner, mean);

  const codeAt = (/** @type {number} */ across, /** @type {number} */ down) => [
    (2 * across - 1) * q.halfWidth,
    (1 - 2 * down) * q.halfWidth,
  ];
  const to = (/** @type {number} */ x, /** @type {number} */ y) => q.write([x, y]);
  const stretch = (/** @type {number} */ x, /** @type {number} */ y) => {
    const [m0, m1] = q.read();
    q.write([undefined, undefined, x - m0, y - m1]);
  };
  draggable(mean, paper, (across, down) => to(...pair(codeAt(across, down))));
  draggable(corner, paper, (across, down) => stretch(...pair(codeAt(across, down))));
  const key = 5 * q.step;
  const touch = () => root.classList.add("touched");
  for (const handle of [mean, corner]) handle.addEventListener("pointerdown", touch);
  onArrows(mean, (right, up) => {
    touch();
    to(q.read()[0] + right * key, q.read()[1] + up * key);
  });
  onArrows(corner, (right, up) => {
    touch();
    q.write([undefined, undefined, q.read()[2] + right * key, q.read()[3] + up * key]);
  });

  function update() {
    const [m0, m1, s0, s1, rho] = q.read();
    const x = place(m0);
    const y = place(-m1);
    const across = s0 * unit;
    const up = s1 * unit;
    const { major, minor, angle } = axesOf(across, up, rho);
    for (const ellipse of ellipses) {
      const r = Number(ellipse.dataset.r);
      ellipse.setAttribute("rx", String(r * major));
      ellipse.setAttribute("ry", String(r * minor));
      ellipse.setAttribute("transform", `translate(${x} ${y}) rotate(${-angle})`);
    }
    box.setAttribute("d", `M${x - across} ${y - up}H${x + across}V${y + up}H${x - across}Z`);
    mean.setAttribute("transform", `translate(${x} ${y})`);
    corner.setAttribute("transform", `translate(${Math.min(x + across, SIDE + 6)} ${Math.max(y - up, -6)})`);
    tell(mean, m0, q.limits[0], `z₁ ${written(m0, q.step)}, z₂ ${written(m1, q.step)}`);
    tell(corner, s0, q.limits[2], `z₁ ${written(s0, q.step)}, z₂ ${written(s1, q.step)}`);
  }
  return { root, update };
}

/** @param {number[]} values @returns {[number, number]} */
const pair = ([x, y]) => [x, y];

/** Half-axes of an ellipse of one standard deviation, and how far it is turned, in degrees.
 * @param {number} s0 @param {number} s1 @param {number} rho */
function axesOf(s0, s1, rho) {
  const a = s0 * s0;
  const b = s1 * s1;
  const c = rho * s0 * s1;
  const middle = (a + b) / 2;
  const half = Math.hypot((a - b) / 2, c);
  const angle = (Math.atan2(2 * c, a - b) / 2) * (180 / Math.PI);
  return { major: Math.sqrt(middle + half), minor: Math.sqrt(Math.max(0, middle - half)), angle };
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

/** The sum in numbers, one line for each.
 * @param {number} evidence */
function makeNumbers(evidence) {
  const elbo = html("output", { class: "elbo" });
  const kl = html("output", { class: "kl" });
  const total = html("output");
  const line = (/** @type {string} */ name, /** @type {Element} */ value) =>
    html("div", { "aria-atomic": true }, html("span", {}, name), value);
  const root = html(
    "div",
    { class: "numbers", "aria-live": "polite" },
    line("ELBO", elbo),
    line("+ KL", kl),
    line("= log p(x)", total),
  );
  const update = (/** @type {{elbo: number, kl: number}} */ terms) => {
    elbo.textContent = written(terms.elbo, 0.01);
    kl.textContent = written(terms.kl, 0.01);
    total.textContent = written(terms.elbo + terms.kl, 0.01);
    root.title = `log p(x) by itself: ${written(evidence, 0.01)} nats`;
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
  const numbers = makeNumbers(evidence);
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
    numbers.update(terms);
    sliders.update();
    if (terms.kl < model.get("goal")) foot.done(`KL ${written(terms.kl, 0.01)} nats.`);
  }
  return mount(model, el, root, TRAITS, draw);
}

export default { render };
