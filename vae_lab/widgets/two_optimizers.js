// One bound, climbed twice from the same start by the same noise: with the path's gradient, and with the score's.
import { ascend, noiseOf, SUMMIT, shortOf } from "./ascent.js";
import { colorsOf, drawField, drawLine, makeChart, onTheme } from "./chart.js";
import { makeChoices, makeHandle, makeNumbers, roundMark, traitsOf } from "./parts.js";
import { short, written } from "./scale.js";
import { button, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLANE = { width: 232, height: 200 };
const CURVE = { width: 232, height: 130 };
const LEVELS = 58; // places a side at which the bound is shaded
const SHADED = 0.5; // nats
const WAYS = /** @type {("path" | "score")[]} */ (["path", "score"]);
const TRAITS = ["mu", "sigma", "latents", "draws", "baseline", "seed"];

/** The plane of μ and σ: the bound as a shade, two ways up.
 * @param {ReturnType<typeof traitsOf>} state */
function makePlane(state) {
  const label = "The mean and the scale of q, and two ways up to the summit";
  const chart = makeChart({ ...PLANE, x: "μ", y: "σ", label, ticks: 4 });
  const { mu: ofMu, sigma: ofSigma } = state.scales;
  chart.show(ofMu.limits, ofSigma.limits);
  const place = `translate(${chart.across(SUMMIT)} ${chart.down(SUMMIT)})`;
  chart.over.append(svg("path", { class: "top", d: "M-5 0H5M0 -5V5", transform: place }));
  const start = makeHandle(
    {
      label: "start",
      box: chart.frame,
      drag: (right, down) => {
        const [mu, sigma] = chart.at(right, down);
        state.write({ mu, sigma });
      },
      nudge: (right, up) => {
        const { mu, sigma } = state.read();
        state.write({ mu: mu + 5 * right * ofMu.step, sigma: sigma + 5 * up * ofSigma.step });
      },
    },
    roundMark(),
  );
  chart.hold(start.root);
  const heights = Float64Array.from({ length: LEVELS ** 2 }, (_, i) => {
    const [mu, sigma] = chart.at(((i % LEVELS) + 0.5) / LEVELS, (Math.floor(i / LEVELS) + 0.5) / LEVELS);
    return 0.45 * Math.exp(-shortOf(mu, sigma) / SHADED);
  });
  /** @param {Float64Array[]} paths by way @param {string[]} colors theirs @param {number[]} shade */
  const update = (paths, colors, shade) => {
    chart.clear();
    drawField(chart, heights, LEVELS, shade);
    for (const [i, path] of paths.entries()) {
      const ofAxis = (/** @type {number} */ axis) => path.filter((_, n) => n % 2 === axis);
      drawLine(chart, ofAxis(0), ofAxis(1), colors[i]);
    }
    const { mu, sigma } = state.read();
    const text = `μ ${written(mu, ofMu.step)}, σ ${written(sigma, ofSigma.step)}`;
    start.update(chart.across(mu), chart.down(sigma), mu, ofMu.limits, text);
  };
  return { root: chart.root, update };
}

/** The noise of the present size and seed, drawn once. @param {number} steps */
function makeNoise(steps) {
  let drawn = "";
  let noise = new Float64Array(0);
  return (/** @type {number} */ latents, /** @type {number} */ draws, /** @type {number} */ seed) => {
    const size = { latents, draws, steps };
    const wanted = JSON.stringify([size, seed]);
    if (wanted !== drawn) [drawn, noise] = [wanted, noiseOf(size, seed)];
    return { noise, size };
  };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const { steps, rate, latents, draws } = model.get("sizes");
  const state = traitsOf(model, TRAITS, model.get("scales"));
  const read = () => {
    const now = state.read();
    if (!latents.includes(now.latents) || !draws.includes(now.draws))
      throw new RangeError("There is no such number of latents, or of draws.");
    return now;
  };
  const plane = makePlane(state);
  const curve = makeChart({
    ...CURVE,
    x: "steps",
    y: "below the summit, nats a latent",
    label: "How far below its summit the bound is, by steps",
  });
  const words = (/** @type {number[]} */ all) => all.map((n) => /** @type {[number, string]} */ ([n, String(n)]));
  const rows = [
    makeChoices(
      "latents L",
      words(latents),
      () => read().latents,
      (n) => state.write({ latents: n }),
    ),
    makeChoices(
      "draws a step",
      words(draws),
      () => read().draws,
      (n) => state.write({ draws: n }),
    ),
  ];
  const baseline = button("baseline for the score", () => state.write({ baseline: !read().baseline }));
  const other = button("other noise", () => state.write({ seed: read().seed + 1 }));
  const numbers = makeNumbers([{ name: "second half, by the path", tone: "q" }, { name: "by the score" }]);
  const noiseNow = makeNoise(steps);
  const foot = makeFoot(model, () => state.write(model.get("start")));
  const controls = html("div", { class: "controls" }, ...rows.map((row) => row.root), baseline, other);
  const right = html("div", { class: "side" }, curve.root, numbers.root);
  const stage = html("div", { class: "stage" }, plane.root, right);
  const root = html("div", { class: "vae-widget vae-two-optimizers" }, controls, stage, foot.root);
  const times = Float64Array.from({ length: steps + 1 }, (_, t) => t);

  function draw() {
    const { mu, sigma, latents: L, draws: K, baseline: steadied, seed } = read();
    const { noise, size } = noiseNow(L, K, seed);
    const ways = WAYS.map((way) => ascend(way, mu, sigma, noise, size, rate, steadied));
    const [rec, ...both] = colorsOf(root, ["rec", "q", "ink"]);
    const colors = both.map((rgb) => `rgb(${rgb.join(" ")})`);
    plane.update(
      ways.map((way) => way.path),
      colors,
      rec,
    );
    curve.clear();
    curve.show([0, steps], [0, 1.1 * Math.max(0.2, ways[0].short[0])]);
    for (const [i, way] of ways.entries()) drawLine(curve, times, way.short, colors[i]);
    const late = ways.map(({ short: all }) => {
      const last = all.subarray(Math.floor(all.length / 2));
      return last.reduce((sum, nats) => sum + nats, 0) / last.length;
    });
    numbers.update(...late.map((nats) => `${short(nats)} nats`));
    for (const row of rows) row.update();
    baseline.setAttribute("aria-pressed", String(steadied));
  }
  const end = mount(model, el, root, TRAITS, draw);
  const stop = onTheme(draw);
  return () => {
    stop();
    end();
  };
}

export default { render };
