// Parts that widgets are made of: traits as one state, handles, ellipses, numbers in words, rows of choices, a clock.
import { onStep } from "./scale.js";
import { button, draggable, html, onArrows, svg, tell } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {ReturnType<typeof makeHandle>} Handle */
/** @typedef {{limits: [number, number], step: number}} Scale  of a number that a slider holds */

const SENSES = {
  both: "M-4 -13 0 -17 4 -13M-4 13 0 17 4 13M-13 -4 -17 0 -13 4M13 -4 17 0 13 4",
  across: "M-13 -4 -17 0 -13 4M13 -4 17 0 13 4",
  upright: "M-4 -13 0 -17 4 -13M-4 13 0 17 4 13",
  along: "", // a curve, which shows itself where it leads
  none: "",
};

/** Traits, read together, and written together: numbers that have a scale keep to its limits and steps.
 * @param {Model} model @param {string[]} names @param {Record<string, Scale>} scales */
export function traitsOf(model, names, scales = {}) {
  return {
    names,
    scales,
    read: () => /** @type {Record<string, any>} */ (Object.fromEntries(names.map((name) => [name, model.get(name)]))),
    /** @param {Record<string, any>} values by trait; the others stay */
    write(values) {
      for (const [name, value] of Object.entries(values)) {
        const scale = scales[name];
        model.set(name, scale ? onStep(value, scale.limits, scale.step) : value);
      }
      model.save_changes();
    },
  };
}

/** The marks of handles. */
export const roundMark = () => svg("circle", { class: "dot", r: 7 });
export const squareMark = () => svg("rect", { class: "dot", x: -6, y: -6, width: 12, height: 12 });

/** Something to drag, or to focus and move by the arrow keys. `drag` gets a place in `box`, in [0, 1]² when inside;
 * `nudge` gets steps to the right and up.
 * @param {{label: string, box: SVGElement, drag: (across: number, down: number) => void,
 *   nudge: (right: number, up: number) => void, arrows?: keyof typeof SENSES}} about @param {Element[]} marks */
export function makeHandle({ label, box, drag, nudge, arrows = "both" }, ...marks) {
  const sense = ["across", "upright", "along"].includes(arrows) ? {} : { "aria-roledescription": "point in a plane" };
  const root = svg(
    "g",
    { class: `handle ${arrows}`, tabindex: 0, role: "slider", "aria-label": label, ...sense },
    svg("circle", { class: "halo", r: 20 }),
    svg("path", { class: "arrows", d: SENSES[arrows] }),
    ...marks,
  );
  const touch = () => root.classList.add("touched");
  root.addEventListener("pointerdown", touch);
  draggable(root, box, drag);
  onArrows(root, (right, up) => {
    touch();
    nudge(right, up);
  });
  /** Where it stands, in pixels, and what it tells. @param {number} x @param {number} y @param {number} now
   * @param {[number, number]} limits @param {string} text */
  const update = (x, y, now, limits, text) => {
    root.setAttribute("transform", `translate(${x} ${y})`);
    tell(root, now, limits, text);
  };
  return { root, update };
}

/** Half axes of a Gaussian's ellipse at one standard deviation, and its turn from the first axis to the second, in degrees.
 * @param {[number, number, number]} covariance xx, xy, yy */
export function axesOf([xx, xy, yy]) {
  const middle = (xx + yy) / 2;
  const half = Math.hypot((xx - yy) / 2, xy);
  const angle = (Math.atan2(2 * xy, xx - yy) / 2) * (180 / Math.PI);
  return { major: Math.sqrt(middle + half), minor: Math.sqrt(Math.max(0, middle - half)), angle };
}

/** Ellipses at some standard deviations, drawn in pixels; the class says which is meant (`at-1`, `at-2`).
 * @param {string} name their class @param {number[]} deviations */
export function makeEllipses(name, deviations = [1, 2]) {
  const all = deviations.map((r) => svg("ellipse", { class: `${name} at-${r}` }));
  /** @param {number} x @param {number} y @param {[number, number, number]} covariance in pixels², y upward */
  const update = (x, y, covariance) => {
    const { major, minor, angle } = axesOf(covariance);
    for (const [i, ellipse] of all.entries()) {
      ellipse.setAttribute("rx", String(deviations[i] * major));
      ellipse.setAttribute("ry", String(deviations[i] * minor));
      ellipse.setAttribute("transform", `translate(${x} ${y}) rotate(${-angle})`);
    }
  };
  return { all, update };
}

/** Numbers, a line for each, told to those who do not see them. @param {{name: string, tone?: string}[]} lines the
 * class of a line is its tone */
export function makeNumbers(lines) {
  const values = lines.map(() => html("output"));
  const rows = lines.map(({ name, tone = "" }, i) =>
    html("div", { class: tone, "aria-atomic": true }, html("span", {}, name), values[i]),
  );
  const root = html("div", { class: "numbers", "aria-live": "polite" }, ...rows);
  const update = (/** @type {string[]} */ ...texts) => {
    for (const [i, text] of texts.entries()) if (values[i].textContent !== text) values[i].textContent = text;
  };
  return { root, update };
}

/** A row of buttons, of which one is pressed. @template T @param {string} name @param {[T, string][]} options values, and
 * their words @param {() => T} read @param {(value: T) => void} choose */
export function makeChoices(name, options, read, choose) {
  const buttons = options.map(([value, words]) => button(words, () => choose(value)));
  const label = name ? [html("span", { class: "what" }, name)] : [];
  const root = html("div", { class: "controls choices", role: "group", "aria-label": name }, ...label, ...buttons);
  const update = () => {
    for (const [i, [value]] of options.entries()) buttons[i].setAttribute("aria-pressed", String(value === read()));
  };
  return { root, update };
}

/** A button that plays and pauses: `step` is called in each frame with the milliseconds since the last one, at most 50,
 * and stops all when it returns false. `end` when the view goes. @param {string} words
 * @param {(milliseconds: number) => boolean | undefined} step @param {() => void} [paused] */
export function makeClock(words, step, paused = () => {}) {
  let frame = 0;
  let before = 0;
  const root = button(words, () => (frame ? pause() : play()));
  const run = (/** @type {number} */ now) => {
    frame = requestAnimationFrame(run);
    if (step(Math.min(50, Math.max(0, now - before))) === false) pause(); // a first frame may have begun before the click
    before = now;
  };
  const play = () => {
    if (frame) return;
    before = performance.now();
    frame = requestAnimationFrame(run);
    root.textContent = "Pause";
  };
  const pause = () => {
    if (!frame) return;
    cancelAnimationFrame(frame);
    frame = 0;
    root.textContent = words;
    paused();
  };
  return { root, play, pause, playing: () => frame !== 0, end: () => cancelAnimationFrame(frame) };
}
