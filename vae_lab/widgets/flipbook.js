// Pictures computed beforehand: one at a time, with its caption and its place on a curve.
import { axisLabels } from "./scale.js";
import { makeSlider, makeSliders } from "./sliders.js";
import { asView, draggable, html, makeFoot, mount, pixelCanvas, svg } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */

const PLOT = { width: 240, height: 180 }; // pixels
const END = 0.05; // of the plot, kept free at both ends of an axis

/** The present frame, cut out of the sheet that holds all of them.
 * @param {Model} model @param {() => void} ready */
function makePicture(model, ready) {
  const [width, height] = model.get("size");
  const columns = model.get("columns");
  const { canvas, context } = pixelCanvas(width, height, 256);
  /** @type {ImageBitmap | undefined} */
  let sheet;
  createImageBitmap(new Blob([asView(model.get("sheet"))], { type: "image/png" })).then((bitmap) => {
    sheet = bitmap;
    ready();
  });
  const paint = (/** @type {number} */ frame) => {
    const left = (frame % columns) * width;
    const top = Math.floor(frame / columns) * height;
    if (sheet) context.drawImage(sheet, left, top, width, height, 0, 0, width, height);
  };
  return { canvas, paint };
}

/** One point a frame, joined by a line; the present one is marked, and pressing anywhere goes to the nearest.
 * @param {Model} model @param {(frame: number) => void} go */
function makeCurve(model, go) {
  const [xs, ys] = /** @type {Placed[]} */ (model.get("curve").map(placed));
  const [across, up] = model.get("axes");
  const { width, height } = PLOT;
  const points = xs.at.map((t, i) => [t * width, (1 - ys.at[i]) * height]);
  const paper = svg("rect", { class: "paper", width, height });
  const dot = svg("circle", { class: "dot", r: 7 });
  const line = svg("path", { class: "line", d: `M${points.join("L")}` });
  const marks = svg("path", { class: "points", d: `M${points.join("h0M")}h0` });
  const size = { viewBox: `-52 -24 ${width + 64} ${height + 60}`, width: width + 64, height: height + 60 };
  const role = { role: "img", "aria-label": `${up} against ${across}` };
  const root = svg(
    "svg",
    { class: "curve", ...size, ...role },
    paper,
    line,
    marks,
    ...curveTexts(xs, ys, across, up),
    dot,
  );
  draggable(root, paper, (tx, ty) => {
    const distances = points.map(([x, y]) => (x - tx * width) ** 2 + 0.1 * (y - ty * height) ** 2);
    go(distances.indexOf(Math.min(...distances)));
  });
  return {
    root,
    update: (/** @type {number} */ frame) => dot.setAttribute("transform", `translate(${points[frame]})`),
  };
}

/** Both axes' ends and names.
 * @param {Placed} xs @param {Placed} ys @param {string} across @param {string} up */
function curveTexts(xs, ys, across, up) {
  const { width, height } = PLOT;
  const below = { y: height + 17, "text-anchor": "middle" };
  const beside = { x: -8, "text-anchor": "end" };
  return [
    svg("text", { ...below, x: END * width }, xs.low),
    svg("text", { ...below, x: (1 - END) * width }, xs.high),
    svg("text", { ...beside, y: (1 - END) * height + 4 }, ys.low),
    svg("text", { ...beside, y: END * height + 4 }, ys.high),
    svg("text", { class: "name", x: width, y: height + 33, "text-anchor": "end" }, `${xs.name(across)} →`),
    svg("text", { class: "name", x: 0, y: -8 }, `↑ ${ys.name(up)}`),
  ];
}

/** @typedef {ReturnType<typeof placed>} Placed */

/** Numbers as places in [0, 1], and their ends as they are read.
 * @param {number[]} values */
function placed(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const { at, name } = axisLabels([low, high]);
  const places = values.map((v) => END + ((1 - 2 * END) * (v - low)) / (high - low || 1));
  return { at: places, low: at(low), high: at(high), name };
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const go = (/** @type {number} */ frame) => {
    model.set("frame", frame);
    model.save_changes();
  };
  const caption = html("div", { class: "caption", "aria-live": "polite" });
  const picture = makePicture(model, draw);
  const curve = model.get("curve").length ? makeCurve(model, go) : null;
  const stage = html(
    "div",
    { class: "stage" },
    html("div", {}, picture.canvas, caption),
    ...(curve ? [curve.root] : []),
  );
  const values = /** @type {string[]} */ (model.get("values"));
  const sliders = makeSliders(
    makeSlider({
      name: model.get("name"),
      last: values.length - 1,
      place: () => model.get("frame"),
      go,
      text: () => values[model.get("frame")],
    }),
  );
  const foot = makeFoot(model, () => go(model.get("start"))).root;
  const root = html("div", { class: "vae-widget vae-flipbook" }, stage, foot, sliders.root);

  function draw() {
    const frame = model.get("frame");
    if (!(frame in model.get("captions"))) throw new RangeError(`There is no frame ${frame}.`);
    picture.paint(frame);
    caption.textContent = model.get("captions")[frame];
    picture.canvas.setAttribute("aria-label", model.get("captions")[frame]);
    curve?.update(frame);
    sliders.update();
  }
  return mount(model, el, root, ["frame"], draw);
}

export default { render };
