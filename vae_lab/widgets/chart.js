// A chart: axes and what stands still in SVG, and beneath it a canvas for what moves while a model learns.
import { axisLabels, roundNumber } from "./scale.js";
import { html, svg } from "./ui.js";

/** @typedef {ReturnType<typeof makeChart>} Chart */
/** @typedef {[number, number]} Ends */

const ROOM = { left: 34, right: 10, top: 28, bottom: 34 }; // pixels, for the axes' words
const SHARP = 2; // pixels of the canvas for one of the page

/** @param {{width: number, height: number, x: string, y: string, label: string, ticks?: number, tone?: string}} about
 *   pixels, the axes' names, what a screen reader says, numbers on an axis, the class of the name that stands above */
export function makeChart({ width, height, x, y, label, ticks = 2, tone = "" }) {
  const [right, below] = [ROOM.left + width + ROOM.right, ROOM.top + height + ROOM.bottom];
  const canvas = /** @type {HTMLCanvasElement} */ (
    html("canvas", { width: SHARP * width, height: SHARP * height, "aria-hidden": true })
  );
  canvas.style.cssText = `left: ${(100 * ROOM.left) / right}%; top: ${(100 * ROOM.top) / below}%;
    width: ${(100 * width) / right}%; height: ${(100 * height) / below}%`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(SHARP, SHARP);
  const axes = svg("g", { "aria-hidden": true });
  const frame = svg("rect", { class: "frame", width, height });
  const over = svg("svg", { class: "clipped", "aria-hidden": true, width, height });
  const inside = svg("g", { transform: `translate(${ROOM.left} ${ROOM.top})` }, axes, frame, over);
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${right} ${below}`, width: right, height: below, role: "img", "aria-label": label },
    inside,
  );
  const root = html("div", { class: "chart", style: `max-width: ${right}px` }, canvas, drawing);
  /** @type {{x: Ends, y: Ends}} */
  const ends = { x: [0, 1], y: [0, 1] };
  let written = "";
  let nameY = y;

  const across = (/** @type {number} */ value) => (width * (value - ends.x[0])) / (ends.x[1] - ends.x[0]);
  const down = (/** @type {number} */ value) => (height * (ends.y[1] - value)) / (ends.y[1] - ends.y[0]);
  return {
    root,
    drawing,
    frame,
    context,
    /** SVG above the canvas, cut at the frame. */
    over,
    /** Put a handle above all, to drag over the frame. @param {SVGElement} handle */
    hold(handle) {
      inside.append(handle);
      drawing.setAttribute("role", "group"); // a picture would hide what is in it
    },
    width,
    height,
    ends,
    across,
    down,
    /** Pixels of a place in [0, 1]² of the frame, as numbers of the axes. @param {number} right @param {number} low @returns {[number, number]} */
    at: (right, low) => [ends.x[0] + right * (ends.x[1] - ends.x[0]), ends.y[1] - low * (ends.y[1] - ends.y[0])],
    /** Another name for the axis that goes up. @param {string} name */
    name(name) {
      if (name === nameY) return;
      [nameY, written] = [name, ""];
      this.show(ends.x, ends.y);
    },
    clear: () => context.clearRect(0, 0, width, height),
    /** Between which numbers it shows. @param {Ends} ofX @param {Ends} ofY */
    show(ofX, ofY) {
      [ends.x, ends.y] = [ofX, ofY];
      const now = [...ofX, ...ofY].join();
      if (now === written) return;
      written = now;
      const [labelX, labelY] = [axisLabels(ofX), axisLabels(ofY)];
      axes.replaceChildren(
        ...places(ofX, ticks).map((v) =>
          svg("text", { x: across(v), y: height + 16, "text-anchor": "middle" }, labelX.at(v)),
        ),
        ...places(ofY, ticks).map((v) => svg("text", { x: -6, y: down(v) + 4, "text-anchor": "end" }, labelY.at(v))),
        svg("text", { class: "name", x: width, y: height + 31, "text-anchor": "end" }, `${labelX.name(x)} →`),
        svg("text", { class: `name ${tone}`, x: -ROOM.left, y: -13 }, `↑ ${labelY.name(nameY)}`),
      );
    },
  };
}

/** Round numbers between two ends, some `count` steps of them. @param {Ends} ends @param {number} count */
function places([low, high], count) {
  const step = roundNumber((high - low) / count);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** A line through points; what is not finite interrupts it.
 * @param {Chart} chart @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {string} color
 * @param {number[]} [dash] */
export function drawLine({ context, across, down }, xs, ys, color, dash = []) {
  context.strokeStyle = color;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.setLineDash(dash);
  context.beginPath();
  let begun = false;
  for (let i = 0; i < xs.length; i++) {
    const [px, py] = [across(xs[i]), down(ys[i])];
    if (!Number.isFinite(px + py)) begun = false;
    else if (begun) context.lineTo(px, py);
    else {
      context.moveTo(px, py);
      begun = true;
    }
  }
  context.stroke();
  context.setLineDash([]);
}

/** Dots. @param {Chart} chart @param {ArrayLike<number>} points x and y, one after the other
 * @param {(n: number) => string} color @param {number} radius */
export function drawDots({ context, across, down }, points, color, radius) {
  for (let n = 0; 2 * n < points.length; n++) {
    context.fillStyle = color(n);
    context.fillRect(across(points[2 * n]) - radius, down(points[2 * n + 1]) - radius, 2 * radius, 2 * radius);
  }
}

/** A field over the whole chart, as strong as its values are, 1 at most: (rows × columns), the first row on top.
 * @param {Chart} chart @param {ArrayLike<number>} values @param {number} columns @param {number[]} rgb */
export function drawField({ context, width, height }, values, columns, [r, g, b]) {
  const rows = values.length / columns;
  const field = document.createElement("canvas");
  [field.width, field.height] = [columns, rows];
  const paint = /** @type {CanvasRenderingContext2D} */ (field.getContext("2d"));
  const image = paint.createImageData(columns, rows);
  for (let i = 0; i < values.length; i++) image.data.set([r, g, b, 255 * Math.min(1, values[i])], 4 * i);
  paint.putImageData(image, 0, 0);
  context.drawImage(field, 0, 0, width, height);
}

const [SHORTEST, LONGEST, HEAD] = [6, 18, 4]; // pixels of an arrow

/** Arrows of a field over the whole chart, `side` of them a side, longer where it is stronger.
 * @param {Chart} chart @param {(x: number, y: number) => [number, number]} field in the axes' numbers @param {number} side
 * @param {string} color @param {number} strong pixels from which on an arrow grows no longer */
export function drawArrows({ context, width, height, ends, at, across, down }, field, side, color, strong) {
  const [perX, perY] = [width / (ends.x[1] - ends.x[0]), height / (ends.y[1] - ends.y[0])];
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 0; i < side * side; i++) {
    const [x, y] = at(((i % side) + 0.5) / side, (Math.floor(i / side) + 0.5) / side);
    const [dx, dy] = field(x, y);
    const [right, low] = [dx * perX, -dy * perY];
    const size = Math.hypot(right, low);
    if (!size) continue;
    const half = (SHORTEST + (LONGEST - SHORTEST) * Math.min(1, size / strong)) / 2;
    const [ux, uy] = [right / size, low / size];
    const [ex, ey] = [across(x) + half * ux, down(y) + half * uy];
    context.moveTo(across(x) - half * ux, down(y) - half * uy);
    context.lineTo(ex, ey);
    for (const turn of [-2.6, 2.6]) {
      const [cos, sin] = [HEAD * Math.cos(turn), HEAD * Math.sin(turn)];
      context.moveTo(ex, ey);
      context.lineTo(ex + cos * ux - sin * uy, ey + sin * ux + cos * uy);
    }
  }
  context.stroke();
}

/** Level curves over the whole chart, where a field passes a whole number: (rows × columns), the first row on top.
 * @param {Chart} chart @param {ArrayLike<number>} values @param {number} columns @param {string} color */
export function drawContours({ context, width, height }, values, columns, color) {
  const rows = values.length / columns;
  const [cellX, cellY] = [width / (columns - 1), height / (rows - 1)];
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.beginPath();
  for (let r = 1; r < rows; r++)
    for (let c = 1; c < columns; c++) {
      const corners = CORNERS.map(([right, low]) => values[(r - 1 + low) * columns + c - 1 + right]);
      for (let level = Math.ceil(Math.min(...corners)); level <= Math.max(...corners); level++) {
        let pen = false;
        for (const [i, from] of corners.entries()) {
          const to = corners[(i + 1) % 4];
          if (from < level === to < level) continue;
          const t = (level - from) / (to - from);
          const [[x, y], [nextX, nextY]] = [CORNERS[i], CORNERS[(i + 1) % 4]];
          const place = /** @type {Ends} */ ([
            (c - 1 + x + t * (nextX - x)) * cellX,
            (r - 1 + y + t * (nextY - y)) * cellY,
          ]);
          if (pen) context.lineTo(...place);
          else context.moveTo(...place);
          pen = !pen;
        }
      }
    }
  context.stroke();
}

const CORNERS = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1],
]; // of a cell, clockwise from its upper left

const THEMES = ["class", "data-theme", "data-mode", "data-jp-theme-light"]; // attributes that say which colors hold

/** Call when the page may have other colors; returns what ends that. @param {() => void} call */
export function onTheme(call) {
  const observer = new MutationObserver(call);
  for (const element of [document.documentElement, document.body])
    observer.observe(element, { attributes: true, attributeFilter: THEMES });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", call);
  return () => {
    observer.disconnect();
    dark.removeEventListener("change", call);
  };
}

/** What a CSS color variable is here and now, as red, green and blue. @param {Element} element @param {string[]} names */
export function colorsOf(element, names) {
  const probe = html("span", { hidden: "" });
  element.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return (
      getComputedStyle(probe)
        .color.match(/[\d.]+/g)
        ?.slice(0, 3)
        .map(Number) ?? [0, 0, 0]
    );
  });
  probe.remove();
  return found;
}
