// What the best denoiser answers, as a field of arrows: a point to drag, and walkers that follow the arrows.
import { colorsOf, drawArrows, drawDots, drawField, makeChart, onTheme } from "./chart.js";
import { decode } from "./decoder.js";
import { makeChoices, makeClock, makeHandle, makeNumbers, roundMark, traitsOf } from "./parts.js";
import { written } from "./scale.js";
import { makeWalkers, scoreAt, sharesOf } from "./score_field.js";
import { button, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./score_field.js").Field} Field */

const PLANE = 280; // pixels
const ARROWS = 17; // a side
const STRONG = 260; // pixels, of a score at which an arrow is longest
const LEVELS = 70; // places a side at which the density is shaded
const WALKERS = 200;
const SPEED = { exact: 12, learned: 2 }; // steps a frame

/** @param {number[]} shares */
const inWords = (shares) => shares.map((share) => written(share, 0.01)).join(", ");

/** An arrow between two places, in pixels. @param {number[]} from @param {number[]} to */
function arrowPath([x, y], [u, v]) {
  const turn = Math.atan2(v - y, u - x);
  const side = (/** @type {number} */ by) => `${u + 7 * Math.cos(turn + by)} ${v + 7 * Math.sin(turn + by)}`;
  return `M${x} ${y}L${u} ${v}M${side(2.6)}L${u} ${v}L${side(-2.6)}`;
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const heaps = model.get("heaps");
  const { half, step, eta, seed } = model.get("sizes");
  const levels = /** @type {number[]} */ (model.get("levels"));
  const scale = { limits: /** @type {[number, number]} */ ([-half, half]), step };
  const state = traitsOf(model, ["x1", "x2", "level", "follows", "walk"], { x1: scale, x2: scale });
  const networks = model.get("networks").map((/** @type {any} */ layers, /** @type {number} */ i) => {
    const bytes = model.get("weights");
    const view = bytes instanceof DataView ? bytes : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = view.byteLength / levels.length;
    return decode(layers, new DataView(view.buffer, view.byteOffset + i * size, size));
  });
  const read = () => {
    const now = state.read();
    if (!(now.level in levels)) throw new RangeError(`There is no noise ${now.level}.`);
    return now;
  };
  /** The score by the formula, or what a denoiser says. @param {number} level @param {string} kind @returns {Field} */
  const fieldOf = (level, kind) => {
    const sigma = levels[level];
    if (kind === "exact") return (x, y) => scoreAt(heaps, sigma, x, y).score;
    return (x, y) => {
      const [a, b] = networks[level]([x, y]);
      return [(a - x) / sigma ** 2, (b - y) / sigma ** 2];
    };
  };

  const label = "Arrows from spoiled points to the best guess, over the density of spoiled points";
  const chart = makeChart({ width: PLANE, height: PLANE, x: "x₁", y: "x₂", label, ticks: 4 });
  chart.show([-half, half], [-half, half]);
  const arrows = { exact: svg("path", { class: "guess exact" }), learned: svg("path", { class: "guess learned" }) };
  chart.over.append(arrows.exact, arrows.learned);
  const point = makeHandle(
    {
      label: "spoiled point",
      box: chart.frame,
      drag: (right, down) => {
        const [x1, x2] = chart.at(right, down);
        state.write({ x1, x2 });
      },
      nudge: (right, up) => state.write({ x1: read().x1 + 5 * right * step, x2: read().x2 + 5 * up * step }),
    },
    roundMark(),
  );
  chart.hold(point.root);

  let walkers = makeWalkers(WALKERS, heaps.centers.at(-1), seed, eta);
  /** @type {[number, string, number][]} phases of the walk so far: noise, field, steps */
  let walked = [];
  /** @param {number} level @param {string} follows @param {number} steps */
  const go = (level, follows, steps) => {
    walkers.walk(fieldOf(level, follows), steps);
    const last = walked.at(-1);
    if (last?.[0] === level && last[1] === follows) last[2] += steps;
    else walked.push([level, follows, steps]);
  };
  const clock = makeClock(
    "Let walkers go",
    () => {
      const { level, follows } = read();
      go(level, follows, SPEED[/** @type {"exact" | "learned"} */ (follows)]);
      paint();
      return true;
    },
    () => state.write({ walk: walked.map((phase) => [...phase]) }),
  );
  const again = button("Back to one heap", () => {
    clock.pause();
    state.write({ walk: [] });
  });
  const noise = makeChoices(
    "noise σ",
    levels.map((sigma, i) => /** @type {[number, string]} */ ([i, String(sigma)])),
    () => read().level,
    (level) => state.write({ level }),
  );
  const kinds = makeChoices(
    "arrows by",
    [
      ["exact", "formula"],
      ["learned", "network"],
    ],
    () => read().follows,
    (follows) => state.write({ follows }),
  );
  const numbers = makeNumbers([
    { name: "best guess lies at a distance of", tone: "p" },
    { name: "the network’s guess misses it by", tone: "q" },
    { name: "shares of the heaps" },
    { name: "walkers at each heap" },
    { name: "after steps" },
  ]);
  const foot = makeFoot(model, () => {
    clock.pause();
    state.write(model.get("start"));
  });
  const row = html("div", { class: "controls" }, clock.root, again);
  const side = html("div", { class: "side" }, noise.root, kinds.root, row, numbers.root);
  const stage = html("div", { class: "stage" }, chart.root, side);
  const root = html("div", { class: "vae-widget vae-vector-field" }, stage, foot.root);

  let shaded = -1;
  let shade = new Float64Array(0);
  /** The density at a noise, relative to its highest. @param {number} level */
  const density = (level) => {
    if (shaded === level) return shade;
    shaded = level;
    shade = Float64Array.from({ length: LEVELS ** 2 }, (_, i) => {
      const [x, y] = chart.at(((i % LEVELS) + 0.5) / LEVELS, (Math.floor(i / LEVELS) + 0.5) / LEVELS);
      return Math.exp(scoreAt(heaps, levels[level], x, y).logP);
    });
    const most = shade.reduce((a, b) => Math.max(a, b));
    shade = shade.map((value) => (0.45 * value) / most);
    return shade;
  };

  function paint() {
    const { level, follows } = read();
    const [p, muted, ink] = colorsOf(root, ["p", "muted", "ink"]);
    const css = (/** @type {number[]} */ rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;
    chart.clear();
    drawField(chart, density(level), LEVELS, p);
    drawArrows(chart, fieldOf(level, follows), ARROWS, css(muted, 0.8), STRONG);
    if (walked.length) drawDots(chart, walkers.places, () => css(ink), 1.5);
    const found = walked.length ? inWords(sharesOf(walkers.places, heaps.centers)) : "–";
    const steps = walked.reduce((sum, [, , count]) => sum + count, 0);
    numbers.update(...numbersNow(), inWords(heaps.shares), found, String(steps));
  }

  /** How far both guesses lie from the point, and from one another. */
  function numbersNow() {
    const { x1, x2, level } = read();
    const sigma = levels[level];
    const guess = ["exact", "learned"].map((kind) => {
      const [right, up] = fieldOf(level, kind)(x1, x2);
      return [x1 + right * sigma ** 2, x2 + up * sigma ** 2];
    });
    const from = [chart.across(x1), chart.down(x2)];
    for (const [i, arrow] of Object.values(arrows).entries())
      arrow.setAttribute("d", arrowPath(from, [chart.across(guess[i][0]), chart.down(guess[i][1])]));
    const text = `x₁ ${written(x1, step)}, x₂ ${written(x2, step)}`;
    point.update(from[0], from[1], x1, scale.limits, text);
    const [exact, learned] = guess;
    return [
      written(Math.hypot(exact[0] - x1, exact[1] - x2), 0.01),
      written(Math.hypot(exact[0] - learned[0], exact[1] - learned[1]), 0.01),
    ];
  }

  function draw() {
    const walk = /** @type {[number, string, number][]} */ (read().walk);
    if (!clock.playing() && JSON.stringify(walk) !== JSON.stringify(walked)) {
      walkers = makeWalkers(WALKERS, heaps.centers.at(-1), seed, eta);
      walked = [];
      for (const [level, follows, steps] of walk) go(level, follows, steps);
    }
    paint();
    noise.update();
    kinds.update();
  }
  const end = mount(model, el, root, state.names, draw);
  const stop = onTheme(draw);
  return () => {
    clock.end();
    stop();
    end();
  };
}

export default { render };
