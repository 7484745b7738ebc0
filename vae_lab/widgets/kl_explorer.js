// The weight β of the KL as one slider, and four views that move with it: images and their reconstructions,
// samples, the cloud of codes, the point on the rate–distortion curve.
import { decode, halves } from "./decoder.js";
import { makeHandle, makeNumbers, roundMark } from "./parts.js";
import { makeSheet } from "./pictures.js";
import { axisLabels, roundNumber, short, written } from "./scale.js";
import { makeSlider, makeSliders } from "./sliders.js";
import { asView, html, makeFoot, mount, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {ReturnType<typeof weightOf>} Weight */

const SIDE = 256;
const CHART = { width: 256, height: 128 };
const CLASSES = 10; // colors there are
const FINE = 200; // pieces of the curve that is drawn
const PLACES = 400; // of the slider, evenly spaced in log β

/** Where β lies between two ends on a logarithmic scale: 0 at the first, 1 at the second.
 * @param {number} beta @param {number[]} ends */
export function placeOf(beta, [low, high]) {
  return Math.log(beta / low) / Math.log(high / low);
}

/** A row between the rows of a table, evenly spaced over [0, 1], by the cubics of Catmull and Rom; beyond the
 * first and last row the table goes on in a straight line.
 * @template {Float32Array | Float64Array} T @param {T} table @param {number} place @param {T} row to fill */
export function between(table, place, row) {
  const width = row.length;
  const last = table.length / width - 1;
  const at = Math.min(1, Math.max(0, place)) * last;
  const i = Math.min(last - 1, Math.floor(at));
  const f = at - i;
  const w = [
    (((2 - f) * f - 1) * f) / 2,
    ((3 * f - 5) * f * f + 2) / 2,
    (((4 - 3 * f) * f + 1) * f) / 2,
    ((f - 1) * f * f) / 2,
  ];
  if (i === 0) [w[1], w[2], w[0]] = [w[1] + 2 * w[0], w[2] - w[0], 0];
  if (i === last - 1) [w[2], w[1], w[3]] = [w[2] + 2 * w[3], w[1] - w[3], 0];
  const first = Math.max(0, i - 1) * width;
  const here = i * width;
  const next = here + width;
  const beyond = Math.min(last, i + 2) * width;
  for (let k = 0; k < width; k++)
    row[k] = w[0] * table[first + k] + w[1] * table[here + k] + w[2] * table[next + k] + w[3] * table[beyond + k];
  return row;
}

/** β in the model, and where it lies: for the tables, and for the gates.
 * @param {Model} model */
function weightOf(model) {
  const ends = /** @type {number[]} */ (model.get("betas"));
  const trained = model.get("trained");
  const read = () => Math.min(ends[1], Math.max(ends[0], model.get("beta")));
  const at = (/** @type {number} */ place) => ends[0] * (ends[1] / ends[0]) ** Math.min(1, Math.max(0, place));
  const write = (/** @type {number} */ beta) => {
    model.set("beta", beta);
    model.save_changes();
  };
  return { ends, read, at, write, place: () => placeOf(read(), ends), t: () => 2 * placeOf(read(), trained) - 1 };
}

/** The images over their reconstructions, and the images of fixed draws from the prior.
 * @param {Model} model @param {Weight} weight */
function makePictures(model, weight) {
  const shape = /** @type {number[]} */ (model.get("shape"));
  const size = shape[0] * shape[1] * shape[2];
  const decoder = decode(model.get("layers"), model.get("weights"));
  const seen = asView(model.get("pictures"));
  const all = (/** @type {string} */ name) =>
    halves(asView(model.get(name)), 0, asView(model.get(name)).byteLength / 2, model.get("scales")[name]);
  const count = seen.byteLength / size;
  const codes = all("codes");
  const draws = all("samples");
  const now = new Float32Array(codes.length / model.get("curve").length);
  const latents = now.length / count;
  const rebuilt = makeSheet(shape, count, 2);
  const drawn = makeSheet(
    shape,
    Math.round(Math.sqrt(draws.length / latents)),
    Math.round(Math.sqrt(draws.length / latents)),
  );
  for (let n = 0; n < count; n++) rebuilt.put(n, new Uint8Array(seen.buffer, seen.byteOffset + n * size, size), 255);
  const update = () => {
    between(codes, weight.place(), now);
    for (let n = 0; n < count; n++)
      rebuilt.put(count + n, decoder(now.subarray(n * latents, (n + 1) * latents), weight.t()), 1);
    for (let n = 0; n < draws.length / latents; n++)
      drawn.put(n, decoder(draws.subarray(n * latents, (n + 1) * latents), weight.t()), 1);
    for (const sheet of [rebuilt, drawn]) sheet.show();
    rebuilt.canvas.setAttribute(
      "aria-label",
      `Images, and below them their reconstructions at β = ${short(weight.read())}`,
    );
    drawn.canvas.setAttribute("aria-label", `Images of random codes at β = ${short(weight.read())}`);
  };
  return { rebuilt: rebuilt.canvas, drawn: drawn.canvas, update };
}

/** The codes of images as dots, the posteriors of the images shown as ellipses, the prior as circles.
 * @param {Model} model @param {Weight} weight */
function makeCloud(model, weight) {
  const bytes = asView(model.get("cloud"));
  const labels = asView(model.get("labels"));
  const count = labels.byteLength;
  const names = model.get("names");
  const table = halves(bytes, 0, bytes.byteLength / 2);
  const now = new Float32Array(4 * count);
  const halfWidth = /** @type {number} */ (model.get("half_width"));
  const { at, name } = axisLabels([-halfWidth, halfWidth]);
  const middle = SIDE / 2; // and the pixels of a half width, in which the cloud is written down
  const place = (/** @type {number} */ share) => middle * (1 + share);
  const kind = (/** @type {number} */ n) => labels.getUint8(n) % CLASSES;
  const paths = Array.from({ length: CLASSES }, (_, k) => svg("path", { class: `codes class-${k}` }));
  const shown = Math.min(
    count,
    asView(model.get("pictures")).byteLength /
      model.get("shape").reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b),
  );
  const ellipses = Array.from({ length: shown }, (_, n) => svg("ellipse", { class: `posterior class-${kind(n)}` }));
  const marks = ellipses.map((_, n) =>
    svg("text", { class: `mark class-${kind(n)}`, "text-anchor": "middle" }, String(labels.getUint8(n))),
  );
  const prior = [1, 2].map((r) =>
    svg("circle", { class: "prior", cx: middle, cy: middle, r: (r * middle) / halfWidth }),
  );
  const zero = svg("path", { class: "zero", d: `M${middle} 0V${SIDE}M0 ${middle}H${SIDE}` });
  const paper = svg("rect", { class: "paper", width: SIDE, height: SIDE });
  const clipped = svg(
    "svg",
    { class: "clipped", width: SIDE, height: SIDE },
    zero,
    ...paths,
    ...ellipses,
    ...prior,
    ...marks,
  );
  const axes = [
    svg("text", { class: "name", x: SIDE, y: SIDE + 17, "text-anchor": "end" }, `${name(names[0])} →`),
    svg("text", { class: "name", x: 6, y: 16 }, `↑ ${name(names[1])}`),
    svg("text", { x: 0, y: SIDE + 17 }, `${at(-halfWidth)} … ${at(halfWidth)}`),
  ];
  const role = { role: "img", "aria-label": "Codes of images in two latent coordinates, with the prior’s circles" };
  const root = svg(
    "svg",
    { viewBox: `-2 -2 ${SIDE + 4} ${SIDE + 26}`, width: SIDE + 4, height: SIDE + 26, ...role },
    paper,
    clipped,
    ...axes,
  );
  const update = () => {
    between(table, weight.place(), now);
    const lines = paths.map(() => "");
    for (let n = 0; n < count; n++)
      lines[kind(n)] += `M${place(now[4 * n]).toFixed(1)} ${(SIDE - place(now[4 * n + 1])).toFixed(1)}h0`;
    for (const [k, path] of paths.entries()) path.setAttribute("d", lines[k]);
    ellipses.forEach((ellipse, n) => {
      const [x, y, rx, ry] = now.subarray(4 * n, 4 * n + 4);
      const numbers = { cx: place(x), cy: SIDE - place(y), rx: middle * rx, ry: middle * ry };
      for (const [key, value] of Object.entries(numbers)) ellipse.setAttribute(key, value.toFixed(2));
      marks[n].setAttribute("transform", `translate(${numbers.cx.toFixed(2)} ${(numbers.cy + 4).toFixed(2)})`);
    });
  };
  return { root, update };
}

/** Rate across, distortion up: the curve over all β, other models as dots, and the point at β with its tangent.
 * @param {Model} model @param {Weight} weight @param {Float64Array} curve */
function makeChart(model, weight, curve) {
  const { width, height } = CHART;
  const others = /** @type {number[][]} */ (model.get("separate"));
  const row = new Float64Array(2);
  const fine = Array.from({ length: FINE + 1 }, (_, n) => [...between(curve, n / FINE, row)]);
  const all = [...fine, ...others.map(([, rate, distortion]) => [rate, distortion])];
  const top = Math.max(...all.map((p) => p[1]));
  const bottom = Math.min(...all.map((p) => p[1]));
  const right = 1.06 * Math.max(...all.map((p) => p[0]));
  const x = (/** @type {number} */ rate) => (width * rate) / (right || 1);
  const y = (/** @type {number} */ distortion) => 6 + ((height - 12) * (top - distortion)) / (top - bottom || 1);
  const step = Math.min(0.1, roundNumber((Math.max(right, top - bottom) || 1) / 500)); // nats that can be told apart
  const path = svg("path", {
    class: "curve",
    d: `M${fine.map(([r, d]) => `${x(r).toFixed(1)} ${y(d).toFixed(1)}`).join("L")}`,
  });
  const dots = others.map(([beta, r, d]) =>
    svg(
      "circle",
      { class: "other", cx: x(r), cy: y(d), r: 3.5 },
      svg("title", {}, `trained for β = ${short(beta)} alone`),
    ),
  );
  const paper = svg("rect", { class: "paper", width, height });
  const tangent = svg("path", { class: "tangent" });
  const handle = makeHandle(
    {
      label: "β on the rate–distortion curve",
      box: paper,
      arrows: "along",
      drag: (across, down) => {
        const distances = fine.map(([r, d]) => Math.hypot(x(r) - across * width, y(d) - down * height));
        weight.write(weight.at(distances.indexOf(Math.min(...distances)) / FINE));
      },
      nudge: (more, up) => weight.write(weight.at(weight.place() + (2 * (more + up)) / FINE)),
    },
    roundMark(),
  );
  const [ofRate, ofDistortion] = [axisLabels([0, right]), axisLabels([bottom, top])];
  const rates = [0, 1, 2].map((n) => n * roundNumber((0.6 * right || 1) / 2));
  const ends = [bottom, top].map(ofDistortion.at);
  const texts = [
    svg(
      "text",
      { class: "name kl", x: width, y: height + 17, "text-anchor": "end" },
      `${ofRate.name("rate in nats")} →`,
    ),
    svg(
      "text",
      { class: "name rec", x: width - 6, y: 16, "text-anchor": "end" },
      `↑ ${ofDistortion.name("distortion in nats")}`,
    ),
    ...rates.map((r) => svg("text", { x: x(r), y: height + 17, "text-anchor": "middle" }, ofRate.at(r))),
    ...ends.map((text, i) => svg("text", { x: -6, y: y([bottom, top][i]) + 4, "text-anchor": "end" }, text)),
  ];
  const clipped = svg("svg", { class: "clipped", "aria-hidden": true, width, height }, tangent, path, ...dots);
  const beside = 8 * Math.max(4, ...ends.map((text) => text.length)); // pixels, for the ends of the distortion
  const size = {
    viewBox: `${-beside} -2 ${width + beside + 2} ${height + 26}`,
    width: width + beside + 2,
    height: height + 26,
  };
  const root = svg(
    "svg",
    { ...size, role: "group", "aria-label": "Rate and distortion" },
    paper,
    clipped,
    ...texts,
    handle.root,
  );
  const update = (/** @type {number} */ rate, /** @type {number} */ distortion) => {
    const beta = weight.read();
    const line = (/** @type {number} */ r) => `${x(r)} ${y(distortion + beta * (rate - r))}`;
    tangent.setAttribute("d", `M${line(0)}L${line(right)}`);
    const text = `β ${short(beta)}, rate ${written(rate, step)}, distortion ${written(distortion, step)}`;
    handle.update(x(rate), y(distortion), beta, [weight.ends[0], weight.ends[1]], text);
  };
  return { root, update, step };
}

/** β, rate, distortion and ELBO, in a line each. @param {number} step nats that can be told apart */
function makeLedger(step) {
  const names = {
    beta: "β",
    rate: "rate, the KL",
    distortion: "distortion",
    elbo: "ELBO, −distortion − rate",
    priced: "−distortion − β · rate",
  };
  const numbers = makeNumbers(Object.entries(names).map(([tone, name]) => ({ tone, name })));
  const update = (/** @type {number} */ beta, /** @type {number} */ rate, /** @type {number} */ distortion) => {
    const nats = [rate, distortion, -distortion - rate, -distortion - beta * rate];
    numbers.update(short(beta), ...nats.map((value) => `${written(value, step)} nats`));
  };
  return { root: numbers.root, update };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const weight = weightOf(model);
  const curve = Float64Array.from(model.get("curve").flat());
  const point = new Float64Array(2);
  const pictures = makePictures(model, weight);
  const cloud = makeCloud(model, weight);
  const chart = makeChart(model, weight, curve);
  const numbers = makeLedger(chart.step);
  const part = (/** @type {string} */ name, /** @type {string} */ caption, /** @type {Element[]} */ ...parts) =>
    html("div", { class: name }, html("div", { class: "caption" }, caption), ...parts);
  const stage = html(
    "div",
    { class: "views" },
    part("rebuilt", "images, and what the model rebuilds", pictures.rebuilt),
    part("drawn", "the same random codes, decoded", pictures.drawn),
    part("cloud", "codes, and the prior at 1 and 2 σ", cloud.root),
    part("chart", model.get("separate").length ? "curve: this model; dots: trained for one β" : "every β", chart.root),
    part("read", "", numbers.root),
  );
  const sliders = makeSliders(
    makeSlider({
      name: "β",
      last: PLACES,
      place: () => Math.round(weight.place() * PLACES),
      go: (place) => weight.write(weight.at(place / PLACES)),
      text: () => short(weight.read()),
    }),
  );
  const foot = makeFoot(model, () => weight.write(model.get("start"))).root;
  const root = html("div", { class: "vae-widget vae-kl-explorer" }, stage, foot, sliders.root);

  function draw() {
    const [rate, distortion] = between(curve, weight.place(), point);
    pictures.update();
    cloud.update();
    chart.update(rate, distortion);
    sliders.update();
    numbers.update(weight.read(), rate, distortion);
  }
  return mount(model, el, root, ["beta"], draw);
}

export default { render };
