// A decoder that bends, a point to drag, and the posterior of its code, which splits where the bend has two arms.
import { bestGaussian, lineAt, posterior } from "./bent.js";
import { colorsOf, drawLine, makeChart, onTheme } from "./chart.js";
import { makeHandle, makeNumbers, roundMark, traitsOf } from "./parts.js";
import { written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLANE = { width: 232, height: 232 };
const CODES = { width: 232, height: 150 };
const ENDS = 3; // of z
const CODE_TICKS = [-2, -1, 0, 1, 2];

/** The plane of points: the decoder's line, marks at whole codes, and x with a circle of σ around it.
 * @param {ReturnType<typeof traitsOf>} state */
function makePlane(state) {
  const label = "The decoder’s line in the plane, and the point x";
  const chart = makeChart({ ...PLANE, x: "x₁", y: "x₂", label, ticks: 4 });
  const { x1: across, x2: up } = state.scales;
  chart.show(across.limits, up.limits);
  const line = svg("path", { class: "line" });
  const marks = CODE_TICKS.map((z) => ({
    dot: svg("circle", { class: "code", r: 3 }),
    text: svg("text", { "text-anchor": "middle", y: 17 }, z < 0 ? `−${-z}` : String(z)),
  }));
  const circle = svg("circle", { class: "noise" });
  chart.over.append(line, ...marks.flatMap(({ dot, text }) => [dot, text]), circle);
  const handle = makeHandle(
    {
      label: "x",
      box: chart.frame,
      drag: (right, down) => {
        const [x1, x2] = chart.at(right, down);
        state.write({ x1, x2 });
      },
      nudge: (right, above) => {
        const { x1, x2 } = state.read();
        state.write({ x1: x1 + 5 * right * across.step, x2: x2 + 5 * above * up.step });
      },
    },
    roundMark(),
  );
  chart.hold(handle.root);
  const update = () => {
    const { x1, x2, c, sigma } = state.read();
    const place = (/** @type {number} */ z) => {
      const [a, b] = lineAt(z, c);
      return [chart.across(a), chart.down(b)];
    };
    line.setAttribute("d", `M${Array.from({ length: 121 }, (_, i) => place(-ENDS + i / 20)).join("L")}`);
    for (const [i, z] of CODE_TICKS.entries()) {
      const at = `translate(${place(z)})`;
      marks[i].dot.setAttribute("transform", at);
      marks[i].text.setAttribute("transform", at);
    }
    const [x, y] = [chart.across(x1), chart.down(x2)];
    circle.setAttribute("cx", String(x));
    circle.setAttribute("cy", String(y));
    circle.setAttribute("r", String(chart.across(sigma) - chart.across(0)));
    const text = `x₁ ${written(x1, across.step)}, x₂ ${written(x2, up.step)}`;
    handle.update(x, y, x1, across.limits, text);
  };
  return { root: chart.root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const scales = model.get("scales");
  const state = traitsOf(model, ["x1", "x2", "c", "sigma"], scales);
  const plane = makePlane(state);
  const codes = makeChart({
    ...CODES,
    x: "z",
    y: "density",
    label: "The posterior of the code, and the best q",
    ticks: 4,
  });
  const numbers = makeNumbers([
    { name: "log p(x)" },
    { name: "ELBO of the best q", tone: "q" },
    { name: "gap: KL(q ‖ posterior)", tone: "kl" },
  ]);
  const key = html(
    "div",
    { class: "caption" },
    html("span", { class: "p" }, "the posterior p(z|x)"),
    ", ",
    html("span", { class: "q" }, "the best Gaussian q"),
  );
  const sliders = makeSliders(
    stepSlider(model, "c", "bend c", scales.c.limits, scales.c.step),
    stepSlider(model, "sigma", "noise σ", scales.sigma.limits, scales.sigma.step),
  );
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const right = html("div", { class: "side" }, key, codes.root, numbers.root);
  const stage = html("div", { class: "stage" }, plane.root, right);
  const root = html("div", { class: "vae-widget vae-bent-decoder" }, stage, foot.root, sliders.root);

  function draw() {
    const { x1, x2, c, sigma } = state.read();
    const { z, density, logP } = posterior([x1, x2], { c, sigma });
    const q = bestGaussian([x1, x2], { c, sigma });
    const bell = z.map((at) => Math.exp(-(((at - q.mean) / q.scale) ** 2) / 2) / (q.scale * Math.sqrt(2 * Math.PI)));
    const [ofP, ofQ] = colorsOf(root, ["p", "q"]).map((rgb) => `rgb(${rgb.join(" ")})`);
    const top = [density, bell].map((all) => all.reduce((a, b) => Math.max(a, b)));
    codes.show([-ENDS, ENDS], [0, 1.1 * Math.max(0.5, ...top)]);
    codes.clear();
    drawLine(codes, z, density, ofP);
    drawLine(codes, z, bell, ofQ, [5, 3]);
    plane.update();
    const gap = Math.max(0, logP - q.elbo);
    numbers.update(...[logP, q.elbo, gap].map((nats) => `${written(nats, 0.01)} nats`));
    sliders.update();
    if (gap > model.get("goal")) foot.done(`A gap of ${written(gap, 0.01)} nats: the posterior has two lobes.`);
  }
  const end = mount(model, el, root, state.names, draw);
  const stop = onTheme(draw);
  return () => {
    stop();
    end();
  };
}

export default { render };
