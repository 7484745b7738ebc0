// The cloud of all codes against the prior: what codes tell of their images, and what the cloud lacks of the prior.
import { colorsOf, drawDots, drawField, makeChart, onTheme } from "./chart.js";
import { makeNumbers, traitsOf } from "./parts.js";
import { written } from "./scale.js";
import { makeSlider, makeSliders, stepSlider } from "./sliders.js";
import { cloud, surgery } from "./surgery.js";
import { html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLANE = 232; // pixels
const SIDE = 101; // places a side of the grid
const BAR = { width: 232, height: 26 };
const MOST_NATS = 5; // nats of the bar
const FULL = 0.2; // of a density that is drawn at full strength

/** The mean KL as a bar of two parts, and log N as a mark that the first cannot pass. */
function makeBar() {
  const unit = BAR.width / MOST_NATS;
  const information = svg("rect", { class: "information", height: BAR.height });
  const marginal = svg("rect", { class: "marginal", height: BAR.height });
  const mark = svg("path", { class: "mark" });
  const name = svg("text", { class: "name", y: -6, "text-anchor": "middle" }, "log N");
  const nats = [0, 1, 2, 3, 4, 5].map((n) =>
    svg("text", { x: n * unit, y: BAR.height + 16, "text-anchor": "middle" }, String(n)),
  );
  const axis = svg("text", { class: "name", x: BAR.width, y: BAR.height + 31, "text-anchor": "end" }, "nats →");
  const size = { viewBox: `-34 -22 ${BAR.width + 44} ${BAR.height + 60}`, width: BAR.width + 44 };
  const role = { role: "img", "aria-label": "The mean KL as the sum of information and marginal KL" };
  const inside = svg("svg", { class: "clipped", width: BAR.width, height: BAR.height }, information, marginal);
  const root = svg("svg", { class: "bar", ...size, ...role }, inside, mark, name, ...nats, axis);
  /** @param {import("./surgery.js").Split} split @param {number} count */
  const update = (split, count) => {
    const middle = unit * split.information;
    information.setAttribute("width", String(Math.max(0, middle)));
    marginal.setAttribute("x", String(middle));
    marginal.setAttribute("width", String(Math.max(0, unit * split.marginal)));
    const most = unit * Math.log(count);
    mark.setAttribute("d", `M${most} -3V${BAR.height + 3}`);
    name.setAttribute("x", String(most));
  };
  return { root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const { limits, step, powers } = model.get("sizes");
  const half = model.get("half_width");
  const state = traitsOf(model, ["power", "sigma"], { sigma: { limits, step } });
  const all = Float64Array.from(model.get("directions"));
  const axis = Float64Array.from({ length: SIDE }, (_, i) => -half + (2 * half * i) / (SIDE - 1));
  const down = axis.toReversed(); // as a picture is drawn
  const label = "The codes’ Gaussians, their sum as a shade, and the prior’s circles at one and two σ";
  const chart = makeChart({ width: PLANE, height: PLANE, x: "z₁", y: "z₂", label, ticks: 4 });
  chart.show([-half, half], [-half, half]);
  const circles = [1, 2].map((r) =>
    svg("circle", { class: "prior", cx: chart.across(0), cy: chart.down(0), r: (PLANE / 2 / half) * r }),
  );
  chart.over.append(...circles);
  const bar = makeBar();
  const numbers = makeNumbers([
    { name: "information", tone: "q" },
    { name: "marginal KL", tone: "kl" },
    { name: "mean KL, their sum" },
  ]);
  const sliders = makeSliders(
    makeSlider({
      name: "images N",
      last: powers,
      place: () => state.read().power,
      go: (power) => state.write({ power }),
      text: () => String(2 ** state.read().power),
    }),
    stepSlider(model, "sigma", "width σ", limits, step),
  );
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const right = html("div", { class: "side" }, bar.root, numbers.root);
  const stage = html("div", { class: "stage" }, chart.root, right);
  const root = html("div", { class: "vae-widget vae-aggregate-posterior" }, stage, foot.root, sliders.root);

  function draw() {
    const { power, sigma } = state.read();
    const count = 2 ** power;
    if (!(2 * count <= all.length)) throw new RangeError(`There are no ${count} images.`);
    const spread = Math.sqrt(1 - sigma * sigma); // so that the cloud is about as wide as the prior
    const centers = all.subarray(0, 2 * count).map((value) => value * spread);
    const density = cloud(centers, sigma, axis, down);
    const split = surgery(centers, sigma, density, axis, axis);
    const [q, ink] = colorsOf(root, ["q", "ink"]);
    chart.clear();
    drawField(
      chart,
      density.map((value) => value / FULL),
      SIDE,
      q,
    );
    drawDots(chart, centers, () => `rgb(${ink.join(" ")})`, 1.5);
    bar.update(split, count);
    numbers.update(...[split.information, split.marginal, split.mean].map((nats) => `${written(nats, 0.01)} nats`));
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
