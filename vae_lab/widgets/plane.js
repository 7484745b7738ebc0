// A plane of two latent coordinates: axes, the codes of a data set, and a point to drag.
import { halves } from "./decoder.js";
import { axisLabels, onStep, written } from "./scale.js";
import { asView, draggable, html, onArrows, placeIn, svg, tell } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {ReturnType<typeof latentsOf>} Latents */
/** @typedef {ReturnType<typeof codesOf>} Codes */
/** @typedef {{i: number, name: string, low: number, high: number, step: number}} Axis */

const SIDE = 256; // of the plane, in pixels
const CLASSES = 10; // colors there are
const NEAR = 9; // pixels from a code at which its label is shown
const ARROWS = "M-4 -13 0 -17 4 -13M-4 13 0 17 4 13M-13 -4 -17 0 -13 4M13 -4 17 0 13 4";

/** The latent coordinates of a model: read together, and written within range, on the sliders' steps.
 * @param {Model} model */
export function latentsOf(model) {
  const names = /** @type {string[]} */ (model.get("names"));
  const traits = names.map((_, i) => `z${i}`);
  const ranges = model.get("ranges");
  const steps = model.get("steps");
  return {
    traits,
    axis(/** @type {number} */ i) {
      if (!(i in names)) throw new RangeError(`There is no coordinate ${i}.`);
      return { i, name: names[i], low: ranges[i][0], high: ranges[i][1], step: steps[i] };
    },
    read: () => traits.map((trait) => /** @type {number} */ (model.get(trait))),
    /** @param {Record<number, number>} values by coordinate */
    write(values) {
      for (const [i, value] of Object.entries(values)) model.set(traits[Number(i)], onStep(value, ranges[i], steps[i]));
      model.save_changes();
    },
  };
}

/** The plane as an element; call `layOut` when its coordinates change and `update` when the point moves.
 * @param {Model} model @param {Latents} latents @param {Codes} codes */
export function makePlane(model, latents, codes) {
  const { root, axes, paper, back, cross, handle, tip } = planeElements();
  const pair = () => [latents.axis(model.get("across")), latents.axis(model.get("up"))];
  const name = (/** @type {number} */ x, /** @type {number} */ y) => {
    tip.textContent = codes.near(x, y);
    tip.setAttribute("transform", `translate(${x} ${y < 40 ? y + 34 : y - 22})`);
  };

  function layOut() {
    const [x, y] = pair();
    codes.project(x, y);
    back.replaceChildren(...zeroLines(x, y), ...codes.paths, ...(model.get("prior") ? priorCircles(x, y) : []));
    axes.replaceChildren(...ticks(x, y));
    root.setAttribute("aria-label", `${x.name} across, ${y.name} up`);
    update();
  }

  function update() {
    const [x, y] = pair();
    const z = latents.read();
    const px = along(x, z[x.i]);
    const py = SIDE - along(y, z[y.i]);
    handle.setAttribute("transform", `translate(${px} ${py})`);
    cross.setAttribute("d", `M${px} 0V${SIDE}M0 ${py}H${SIDE}`);
    name(px, py);
    const near = tip.textContent && `, near a ${tip.textContent}`;
    const text = `${x.name} ${written(z[x.i], x.step)}, ${y.name} ${written(z[y.i], y.step)}${near}`;
    tell(root, z[x.i], [x.low, x.high], text);
  }

  root.addEventListener("pointerleave", update);
  root.addEventListener("pointermove", (event) => {
    const [x, y] = placeIn(paper, event);
    if (codes.near(x * SIDE, y * SIDE)) name(x * SIDE, y * SIDE);
    else update();
  });
  steer(root, paper, latents, pair);
  return { root, layOut, update, legend: codes.legend };
}

/** Let a pointer and the arrow keys move the point.
 * @param {SVGElement} root @param {SVGElement} paper @param {Latents} latents @param {() => Axis[]} pair */
function steer(root, paper, latents, pair) {
  draggable(root, paper, (across, down) => {
    const [x, y] = pair();
    root.classList.add("touched");
    latents.write({ [x.i]: x.low + across * (x.high - x.low), [y.i]: y.high - down * (y.high - y.low) });
  });
  onArrows(root, (right, above) => {
    const [x, y] = pair();
    const z = latents.read();
    root.classList.add("touched");
    latents.write({ [x.i]: z[x.i] + right * x.step, [y.i]: z[y.i] + above * y.step });
  });
}

/** The parts of the plane, nothing in them yet. */
function planeElements() {
  const axes = svg("g", { "aria-hidden": true });
  const back = svg("g");
  const cross = svg("path", { class: "cross" });
  const paper = svg("rect", { class: "paper", width: SIDE, height: SIDE });
  const clipped = svg("svg", { class: "clipped", "aria-hidden": true, width: SIDE, height: SIDE }, back, cross);
  const arrows = svg("path", { class: "arrows", d: ARROWS });
  const handle = svg(
    "g",
    { class: "grip" },
    svg("circle", { class: "halo", r: 22 }),
    arrows,
    svg("circle", { class: "dot", r: 8 }),
  );
  const tip = svg("text", { class: "tip", "text-anchor": "middle" });
  const size = { viewBox: `-34 -24 ${SIDE + 46} ${SIDE + 58}`, width: SIDE + 46, height: SIDE + 58 };
  const role = { tabindex: 0, role: "slider", "aria-roledescription": "point in a plane" };
  const root = svg("svg", { class: "plane", ...size, ...role }, axes, paper, clipped, handle, tip);
  return { root, axes, paper, back, cross, handle, tip };
}

/** Pixels from the low end of an axis. @param {Axis} axis @param {number} value */
function along({ low, high }, value) {
  return ((value - low) / (high - low)) * SIDE;
}

/** The codes of a data set, seen along two coordinates: one path a label.
 * @param {Model} model */
export function codesOf(model) {
  const latents = model.get("names").length;
  const bytes = asView(model.get("codes"));
  const labels = asView(model.get("labels"));
  const places = halves(bytes, 0, bytes.byteLength / 2);
  const count = places.length / latents;
  const names = /** @type {string[]} */ (model.get("label_names"));
  const x = new Float32Array(count);
  const y = new Float32Array(count);
  const kind = (/** @type {number} */ n) => (names.length ? labels.getUint8(n) : 0);
  const colors = names.length ? names.map((_, k) => `class-${k % CLASSES}`) : ["class-none"];
  const paths = colors.map((color) => svg("path", { class: `codes ${color}` }));

  /** @param {Axis} across @param {Axis} up */
  function project(across, up) {
    const lines = paths.map(() => "");
    for (let n = 0; n < count; n++) {
      x[n] = (SIDE / 2) * (1 + places[n * latents + across.i]);
      y[n] = (SIDE / 2) * (1 - places[n * latents + up.i]);
      lines[kind(n)] += `M${x[n].toFixed(1)} ${y[n].toFixed(1)}h0`;
    }
    for (const [k, path] of paths.entries()) path.setAttribute("d", lines[k]);
  }
  /** The label of the nearest code, or "" where none is near. @param {number} px @param {number} py */
  function near(px, py) {
    let best = -1;
    let least = NEAR ** 2;
    for (let n = 0; n < count; n++) {
      const distance = (x[n] - px) ** 2 + (y[n] - py) ** 2;
      if (distance < least) [least, best] = [distance, n];
    }
    return best >= 0 && names.length ? names[kind(best)] : "";
  }
  /** The label of the code that is nearest in all coordinates. @param {Latents} of @param {number[]} z */
  function nearest(of, z) {
    const at = z.map((value, i) => {
      const { low, high } = of.axis(i);
      return (2 * (value - low)) / (high - low) - 1;
    });
    const wide = at.map((_, i) => (of.axis(i).high - of.axis(i).low) / 2);
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let n = 0; n < count; n++) {
      let distance = 0;
      for (let i = 0; i < latents; i++) distance += ((places[n * latents + i] - at[i]) * wide[i]) ** 2;
      if (distance < least) [least, best] = [distance, n];
    }
    return best >= 0 && names.length ? names[kind(best)] : "";
  }
  return { paths, project, near, nearest, legend: legend(names, colors, paths) };
}

/** The labels beside their colors; pointing at one, or pressing it, leaves only its codes.
 * @param {string[]} names @param {string[]} colors @param {SVGElement[]} paths */
function legend(names, colors, paths) {
  const only = (/** @type {number} */ chosen) => {
    for (const [k, path] of paths.entries()) path.classList.toggle("faint", chosen >= 0 && chosen !== k);
  };
  const keys = names.map((name, k) => {
    const events = {
      pointerenter: () => only(k),
      focus: () => only(k),
      pointerleave: () => only(-1),
      blur: () => only(-1),
    };
    return html(
      "button",
      { class: `key ${colors[k]}`, type: "button", "aria-label": `show only ${name}`, ...events },
      name,
    );
  });
  return html("div", { class: "legend" }, ...keys);
}

/** @param {Axis} x @param {Axis} y */
function zeroLines(x, y) {
  return [svg("path", { class: "zero", d: `M${along(x, 0)} 0V${SIDE}M0 ${SIDE - along(y, 0)}H${SIDE}` })];
}

/** The prior N(0, I): one, two and three standard deviations around its mean.
 * @param {Axis} x @param {Axis} y */
function priorCircles(x, y) {
  const center = { class: "prior", cx: along(x, 0), cy: SIDE - along(y, 0) };
  const circles = [1, 2, 3].map((r) =>
    svg("ellipse", { ...center, rx: along(x, r) - center.cx, ry: along(y, r) - along(y, 0) }),
  );
  return [...circles, svg("text", { class: "of-prior", x: 6, y: SIDE - 7 }, "prior: 1, 2, 3 σ")];
}

/** Both axes' names, ends and zeros. @param {Axis} x @param {Axis} y */
function ticks(x, y) {
  const at = (/** @type {Axis} */ { low, high }) => (low < 0 && high > 0 ? [low, 0, high] : [low, high]);
  const [ofX, ofY] = [x, y].map(({ low, high }) => axisLabels([low, high]));
  return [
    ...at(x).map((v) => svg("text", { x: along(x, v), y: SIDE + 17, "text-anchor": "middle" }, ofX.at(v))),
    ...at(y).map((v) => svg("text", { x: -8, y: SIDE - along(y, v) + 4, "text-anchor": "end" }, ofY.at(v))),
    svg("text", { class: "name", x: SIDE, y: SIDE + 33, "text-anchor": "end" }, `${ofX.name(x.name)} →`),
    svg("text", { class: "name", x: 0, y: -8 }, `↑ ${ofY.name(y.name)}`),
  ];
}
