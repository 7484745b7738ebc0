// What is seen of a model while it learns: the plane of codes, images or points, and the curves.
import { colorsOf, drawDots, drawField, drawLine, makeChart } from "./chart.js";
import { PLANE_REACH } from "./datasets.js";
import { COLUMNS } from "./learning/learner.js";
import { makeSheet } from "./pictures.js";
import { roundNumber } from "./scale.js";
import { draggable, html, onArrows, placeIn, svg, tell } from "./ui.js";

/** @typedef {import("./learning/kernels.js").Numbers} Numbers */
/** @typedef {import("./learning/learner.js").Frame} Frame */
/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./chart.js").Ends} Ends */

/** What there is to learn from. @typedef {object} Examples
 * @property {Numbers} data (N × D)
 * @property {Numbers} heldOut (M × D)
 * @property {Uint8Array | null} labels (N,), for their colors
 * @property {number[] | null} shape C, H, W of images; null for points in the plane
 * @property {number} dims D
 * @property {number} count N
 * @property {string} words what they are */

/** What the views draw. @typedef {object} Seen
 * @property {Examples} examples
 * @property {number} chosen the example of which more is shown
 * @property {number} latents L
 * @property {Frame | null} frame nothing before the first step
 * @property {{map?: Numbers, draws?: Numbers}} decoded images or points, by what they are for
 * @property {{share?: Float64Array, side: number, half: number, density?: Float64Array}} exact the chosen example's
 *   posterior over a grid of codes, and the model's density over the plane of points
 * @property {{name: string, of: (logLik: number) => number} | null} error of an autoencoder's copies
 * @property {boolean} prior whether the prior is shown
 * @property {Palette} palette */

const PLANE = 232; // pixels of the plane of codes, and of that of points
const CURVE = { width: 190, height: 96 };
const MAP = { side: 11, reach: 3 }; // images a side, and how far out they are decoded
const COPIES = 8; // examples beside their copies
const DRAWS = { columns: 8, rows: 3 };
const CLASS_COLORS = 10;
const REACH = [4, 8, 16, 32, 64, 128, 256]; // half widths of the plane of codes
const SHRINKS = 0.9; // of the next smaller plane: the codes must lie this well inside it before it is taken
const SKIPPED = 0.06; // the share of a run's first steps whose numbers may leave the chart

/** @typedef {ReturnType<typeof paletteOf>} Palette */

/** The colors of the moment, for canvases. @param {Element} root */
export function paletteOf(root) {
  const names = ["q", "p", "kl", "rec", "ink", "muted"];
  const classes = Array.from({ length: CLASS_COLORS }, (_, k) => `class-${k}`);
  const found = colorsOf(root, [...names, ...classes]);
  const css = found.map((rgb) => `rgb(${rgb.join(" ")})`);
  return {
    rgb: Object.fromEntries(names.map((name, i) => [name, found[i]])),
    of: Object.fromEntries(names.map((name, i) => [name, css[i]])),
    classes: css.slice(names.length),
  };
}

/** The codes that the map decodes, row by row from the top left (n × L); the other latents are 0. @param {number} latents */
export function mapCodes(latents) {
  const codes = new Float32Array(MAP.side ** 2 * latents);
  if (latents > 1)
    for (let n = 0; n < MAP.side ** 2; n++) {
      codes[n * latents] = MAP.reach * ((2 * (n % MAP.side)) / (MAP.side - 1) - 1);
      codes[n * latents + 1] = MAP.reach * (1 - (2 * Math.floor(n / MAP.side)) / (MAP.side - 1));
    }
  return codes;
}

/** How many images, or points, are drawn from the prior. @param {Examples} examples */
export const drawsOf = ({ shape, count }) => (shape ? DRAWS.columns * DRAWS.rows : Math.min(300, count));

/** Which examples are shown beside their copies: the one chosen, and others. @param {Examples} examples @param {number} chosen */
export function copied({ count }, chosen) {
  const spread = Array.from({ length: Math.min(COPIES, count) }, (_, i) => Math.floor((i * count) / COPIES));
  return [chosen, ...spread.filter((n) => n !== chosen)].slice(0, spread.length);
}

/** The plane of codes: a dot for each example, q's ellipse of the one chosen, and beneath them a map of what is decoded
 * or the chosen one's exact posterior. @param {(n: number) => void} choose */
export function makeCodes(choose) {
  const about = { x: "z₁", y: "z₂", label: "Codes", tone: "q", ticks: 4 };
  const chart = makeChart({ width: PLANE, height: PLANE, ...about });
  const circles = [1, 2].map(() => svg("ellipse", { class: "prior" }));
  const ellipses = [1, 2].map(() => svg("ellipse", { class: "posterior" }));
  chart.over.append(...circles, ...ellipses);
  const notes = [0, 1].map((i) => svg("text", { x: PLANE - 6, y: PLANE - 24 + 16 * i, "text-anchor": "end" }));
  chart.over.append(...notes);
  notes[0].setAttribute("class", "name p");
  notes[1].setAttribute("class", "name q");
  let half = REACH[0];
  /** @type {Numbers} */
  let places = new Float32Array(0); // (N × 2), as drawn
  let [now, count] = [0, 1];
  const near = (/** @type {number} */ x, /** @type {number} */ y) => {
    if (places.length) choose(nearest(chart, places, x, y));
  };
  const { drawing } = chart;
  onChoice(chart, near, (by) => {
    choose((now + by + count) % count);
  });
  /** @param {Seen} seen */
  const draw = ({ frame, latents: L, examples, chosen, decoded, exact, error, prior, palette }) => {
    const { means, scales } = frame ?? {};
    half = means && frame?.steps ? reachOf(half, farthest(means)) : REACH[0];
    for (const [i, note] of notes.entries()) note.setAttribute("y", String((L > 1 ? PLANE - 24 : 18) + 16 * i));
    notes[0].textContent = exact.share ? "p(z|x), exact" : "";
    notes[1].textContent = means && !error ? "q(z|x)" : "";
    chart.show([-half, half], L > 1 ? [-half, half] : [0, 1.25]);
    chart.name(L > 1 ? "z₂" : "σ of q(z|x)");
    chart.clear();
    if (exact.share && L <= 2) drawShare(chart, exact, L, palette);
    else if (decoded.map && examples.shape && L > 1) drawMap(chart, decoded.map, examples.shape);
    if (means && scales) {
      places = placesOf(means, scales, L);
      const color = examples.labels
        ? (/** @type {number} */ n) => palette.classes[examples.labels?.[n] ?? -1] ?? palette.of.p // of drawings
        : () => palette.of.q;
      drawDots(chart, places, color, examples.count > 600 ? 1.5 : 2);
    } else places = new Float32Array(0);
    [now, count] = [chosen, examples.count];
    for (const [i, circle] of circles.entries()) ellipse(chart, circle, [0, 0], L > 1 && prior ? [i + 1, i + 1] : null);
    const q = means && scales ? { center: places.subarray(2 * chosen), radius: scales.subarray(chosen * L) } : null;
    for (const [i, mark] of ellipses.entries())
      ellipse(
        chart,
        mark,
        q?.center ?? [0, 0],
        q && (L > 1 ? [(i + 1) * q.radius[0], (i + 1) * q.radius[1]] : [0.1, 0.02]),
      );
    tell(drawing, chosen + 1, [1, count], `example ${chosen + 1} of ${count}`);
  };
  drawing.setAttribute("aria-label", "The codes of the examples in a plane; arrows choose an example");
  return { root: chart.root, draw };
}

/** Images, and what the model makes of them. @param {(n: number) => void} choose */
export function makeCopies(choose) {
  /** @type {import("./pictures.js").Sheet | null} */
  let sheet = null;
  const root = html("div", { class: "sheet" });
  let shown = "";
  /** @param {Seen} seen */
  const draw = ({ examples, frame, chosen }) => {
    const { shape, data, dims } = examples;
    if (!shape) return;
    const which = copied(examples, chosen);
    const kind = `${shape} ${which.length}`;
    if (kind !== shown || !sheet) {
      sheet = makeSheet(shape, which.length, 2);
      const { canvas, at } = sheet;
      canvas.onclick = (event) => choose(copied(examples, chosen)[at(...placeIn(canvas, event)) % which.length]);
      root.replaceChildren(canvas);
      shown = kind;
    }
    for (const [i, n] of which.entries()) sheet.put(i, data.subarray(n * dims, (n + 1) * dims));
    const copies = frame?.copies;
    for (let i = 0; copies && i < which.length; i++)
      sheet.put(which.length + i, copies.subarray(i * dims, (i + 1) * dims));
    sheet.show();
    sheet.canvas.setAttribute("aria-label", "Images, and below them the model’s copies");
  };
  return { root, draw };
}

/** Images decoded from draws of the prior. */
export function makeDraws() {
  /** @type {import("./pictures.js").Sheet | null} */
  let sheet = null;
  const root = html("div", { class: "sheet" });
  let shown = "";
  /** @param {Seen} seen */
  const draw = ({ examples: { shape, dims }, decoded: { draws } }) => {
    if (!shape) return;
    if (String(shape) !== shown || !sheet) {
      sheet = makeSheet(shape, DRAWS.columns, DRAWS.rows);
      sheet.canvas.setAttribute("aria-label", "Images of random codes");
      root.replaceChildren(sheet.canvas);
      shown = String(shape);
    }
    if (draws) for (let n = 0; n * dims < draws.length; n++) sheet.put(n, draws.subarray(n * dims, (n + 1) * dims));
    else sheet.clear();
    sheet.show();
  };
  return { root, draw, canvas: () => sheet?.canvas ?? null };
}

/** The plane of points: the examples, draws from the model, and its density. @param {(n: number) => void} choose
 * @param {(x: number, y: number) => boolean} paint takes a place where somebody paints, or does not */
export function makePoints(choose, paint) {
  const chart = makeChart({ width: PLANE, height: PLANE, x: "x₁", y: "x₂", label: "Points", tone: "p", ticks: 4 });
  const mark = svg("circle", { class: "chosen", r: 6 });
  chart.over.append(mark);
  chart.show([-PLANE_REACH, PLANE_REACH], [-PLANE_REACH, PLANE_REACH]);
  chart.drawing.setAttribute("aria-label", "Points, and the model’s density; arrows choose a point");
  /** @type {Examples | null} */
  let known = null;
  let now = 0;
  onChoice(
    chart,
    (x, y) => {
      if (!paint(x, y) && known) choose(nearest(chart, known.data, x, y));
    },
    (by) => known && choose((now + by + known.count) % known.count),
  );
  /** @param {Seen} seen */
  const draw = ({ examples, chosen, decoded, exact, palette }) => {
    if (examples.shape) return;
    [known, now] = [examples, chosen];
    chart.clear();
    const { density } = exact;
    if (density) {
      const most = density.reduce((a, b) => Math.max(a, b), 0) || 1;
      drawField(
        chart,
        density.map((p) => Math.sqrt(p / most)),
        Math.sqrt(density.length),
        palette.rgb.p,
      );
    }
    const { labels } = examples;
    drawDots(chart, examples.data, (n) => (labels ? palette.classes[labels[n]] : palette.of.ink), 1.6);
    if (decoded.draws && !density) drawDots(chart, decoded.draws, () => palette.of.p, 1.6);
    mark.setAttribute("cx", String(chart.across(examples.data[2 * chosen])));
    mark.setAttribute("cy", String(chart.down(examples.data[2 * chosen + 1])));
    const [x, y] = examples.data.subarray(2 * chosen, 2 * chosen + 2);
    tell(chart.drawing, chosen + 1, [1, examples.count], `point ${chosen + 1} at ${x.toFixed(2)}, ${y.toFixed(2)}`);
  };
  return { root: chart.root, draw };
}

/** The places a side of the density, from low to high. @param {number} count */
export function densityPlaces(count) {
  return Float64Array.from({ length: count }, (_, i) => PLANE_REACH * ((2 * i + 1) / count - 1));
}

/** The bound and its terms over the steps, in training and held out, and the run's path in the plane of rate and
 * distortion. */
export function makeCurves() {
  const bound = makeChart({ ...CURVE, x: "steps", y: "−ELBO, nats", label: "", tone: "ink" });
  const rate = makeChart({ ...CURVE, x: "steps", y: "KL, nats", label: "", tone: "kl" });
  const path = makeChart({ ...CURVE, x: "KL (rate)", y: "−reconstruction (distortion)", label: "", tone: "rec" });
  const charts = [bound, rate, path];
  bound.drawing.setAttribute(
    "aria-label",
    "−ELBO over the steps: training solid, held out dashed, and its reconstruction term",
  );
  rate.drawing.setAttribute("aria-label", "The KL over the steps: training solid, held out dashed");
  path.drawing.setAttribute("aria-label", "The path of the run: rate across, distortion up");
  /** @param {Seen} seen */
  const draw = ({ frame, error, palette: { of } }) => {
    const rows = frame ? tableOf(frame.curve) : null;
    for (const chart of charts) chart.clear();
    for (const only of [rate.root, path.root, legend]) only.hidden = !!error;
    bound.name(error?.name ?? "−ELBO, nats");
    if (!frame || !rows || rows.step.length < 2) {
      for (const chart of charts) chart.show([0, 1], [0, 1]);
      return;
    }
    const minus = (/** @type {number[]} */ a, /** @type {number[]} */ b) => a.map((value, i) => value - b[i]);
    const distortion = rows.logLik.map((value) => -value);
    const loss = error ? rows.logLik.map(error.of) : minus(rows.kl, rows.logLik);
    const held = error ? rows.heldLogLik.map(error.of) : minus(rows.heldKl, rows.heldLogLik);
    const steps = /** @type {Ends} */ ([0, nice(frame.steps)]);
    const shown = error ? [loss, held] : [loss, held, distortion];
    bound.show(steps, around(rows.step, shown, SKIPPED));
    if (!error) drawLine(bound, rows.step, distortion, of.rec);
    drawLine(bound, rows.step, held, of.ink, [4, 3]);
    drawLine(bound, rows.step, loss, of.ink);
    if (error) return;
    rate.show(steps, [0, around(rows.step, [rows.kl, rows.heldKl], 0)[1]]);
    drawLine(rate, rows.step, rows.heldKl, of.kl, [4, 3]);
    drawLine(rate, rows.step, rows.kl, of.kl);
    path.show([0, around(rows.step, [rows.kl], SKIPPED)[1]], around(rows.step, [distortion], SKIPPED));
    drawLine(path, rows.kl, distortion, of.muted);
    const last = rows.kl.length - 1;
    drawDots(path, [rows.kl[last], distortion[last]], () => of.ink, 3.5);
  };
  const legend = html(
    "div",
    { class: "legend" },
    html("span", { class: "rec" }, "−reconstruction"),
    " + ",
    html("span", { class: "kl" }, "KL"),
    " = −ELBO. Solid: what is learned from. Dashed: what is held out.",
  );
  return { root: html("div", { class: "curves" }, ...charts.map((chart) => chart.root), legend), draw };
}

/** The columns of a run's curve. @param {Numbers} curve @returns {Record<string, number[]>} */
export function tableOf(curve) {
  const width = COLUMNS.length;
  return Object.fromEntries(
    COLUMNS.map((name, k) => [name, Array.from({ length: curve.length / width }, (_, i) => curve[i * width + k])]),
  );
}

/** Let a pointer choose on a chart, and the arrows step. @param {Chart} chart
 * @param {(x: number, y: number) => void} near @param {(by: number) => void} step */
function onChoice({ drawing, frame, at }, near, step) {
  for (const [name, value] of Object.entries({ tabindex: 0, role: "slider" }))
    drawing.setAttribute(name, String(value));
  draggable(drawing, frame, (right, low) => near(...at(right, low)));
  onArrows(drawing, (right, up) => step(right + up));
}

/** The number of the point that is drawn nearest. @param {Chart} chart @param {Numbers} points (N × 2) @param {number} x @param {number} y */
function nearest(chart, points, x, y) {
  let [best, least] = [0, Number.POSITIVE_INFINITY];
  for (let n = 0; 2 * n < points.length; n++) {
    const across = chart.across(points[2 * n]) - chart.across(x);
    const distance = Math.hypot(across, chart.down(points[2 * n + 1]) - chart.down(y));
    if (distance < least) [least, best] = [distance, n];
  }
  return best;
}

/** Where codes are drawn (N × 2): by their first two latents, or by the only one and q's σ.
 * @param {Numbers} means @param {Numbers} scales @param {number} L */
function placesOf(means, scales, L) {
  const places = new Float32Array((2 * means.length) / L);
  for (let n = 0; 2 * n < places.length; n++) {
    places[2 * n] = means[n * L];
    places[2 * n + 1] = L > 1 ? means[n * L + 1] : scales[n];
  }
  return places;
}

/** How far nearly all numbers lie from 0. @param {Numbers} values */
export function farthest(values) {
  const sizes = values.map(Math.abs).sort();
  return sizes[Math.floor(0.99 * (sizes.length - 1))];
}

/** The plane's half width for codes that lie so far out. @param {number} half of now @param {number} far */
function reachOf(half, far) {
  const fitting = (/** @type {number} */ far) => REACH.find((reach) => reach >= far) ?? REACH[REACH.length - 1];
  return Math.max(fitting(far), Math.min(half, fitting(far / SHRINKS)));
}

/** @param {Chart} chart @param {SVGElement} mark @param {ArrayLike<number>} center @param {number[] | null} radii nothing to hide it */
function ellipse(chart, mark, center, radii) {
  const { across, down } = chart;
  const numbers = {
    cx: across(center[0]),
    cy: down(center[1]),
    rx: radii ? across(radii[0]) - across(0) : 0,
    ry: radii ? down(0) - down(radii[1]) : 0,
  };
  for (const [name, value] of Object.entries(numbers)) mark.setAttribute(name, value.toFixed(2));
}

/** The images of the map, each at its code. @param {Chart} chart @param {Numbers} images @param {number[]} shape */
function drawMap({ context, across, down }, images, shape) {
  const sheet = makeSheet(shape, 1, 1);
  const dims = shape.reduce((a, b) => a * b);
  const side = across((2 * MAP.reach) / (MAP.side - 1)) - across(0);
  context.globalAlpha = 0.75;
  for (let n = 0; n < MAP.side ** 2; n++) {
    sheet.put(0, images.subarray(n * dims, (n + 1) * dims));
    sheet.show();
    const x = across(MAP.reach * ((2 * (n % MAP.side)) / (MAP.side - 1) - 1));
    const y = down(MAP.reach * (1 - (2 * Math.floor(n / MAP.side)) / (MAP.side - 1)));
    context.drawImage(sheet.canvas, x - side / 2, y - side / 2, side, side);
  }
  context.globalAlpha = 1;
}

/** The exact posterior over the plane, or over the line as a curve. @param {Chart} chart
 * @param {Seen["exact"]} exact @param {number} L @param {Palette} palette */
function drawShare(chart, { share, side, half }, L, palette) {
  if (!share) return;
  const most = share.reduce((a, b) => Math.max(a, b), 0) || 1;
  if (L === 1) {
    const xs = Array.from(share, (_, i) => half * ((2 * i) / (side - 1) - 1));
    drawLine(
      chart,
      xs,
      Array.from(share, (p) => (1.2 * p) / most),
      palette.of.p,
    );
    return;
  }
  const { context, across, down } = chart;
  context.save();
  context.translate(across(-half), down(half));
  const [width, height] = [across(half) - across(-half), down(-half) - down(half)];
  drawField(
    { ...chart, width, height },
    share.map((p) => Math.sqrt(p / most)),
    side,
    palette.rgb.p,
  );
  context.restore();
}

/** A round number that a count does not exceed. @param {number} count */
function nice(count) {
  const step = roundNumber(Math.max(count, 10));
  return Math.ceil(count / step) * step;
}

/** The ends of what curves show, but for a share of their first steps, where they may be far off.
 * @param {number[]} steps @param {number[][]} curves @param {number} skipped @returns {Ends} */
function around(steps, curves, skipped) {
  const from = steps.findIndex((step) => step >= skipped * steps[steps.length - 1]);
  const values = curves.flatMap((curve) => curve.slice(from)).filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const step = roundNumber(Math.max(high - low, 1e-3 * Math.abs(high), 1e-6) / 2);
  return [Math.floor(low / step) * step, Math.ceil(high / step + 1e-9) * step];
}
