// Sliders below a widget, each over one of its traits: the browser's own, with a name and the value in words.
import { atRatio, onStep, placeOfRatio, written } from "./scale.js";
import { html } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {ReturnType<typeof makeSlider>} Slider */

/** A slider of places 0 … last, some of which may have words below them.
 * @param {{name: string, last: number, place: () => number, go: (place: number) => void, text: () => string,
 *   marks?: [number, string][]}} parts */
export function makeSlider({ name, last, place, go, text, marks = [] }) {
  const input = /** @type {HTMLInputElement} */ (
    html("input", { type: "range", min: 0, max: last, step: 1, "aria-label": name })
  );
  input.addEventListener("input", () => go(Number(input.value)));
  let before = 0; // a finger that goes on to scroll the page has moved nothing
  input.addEventListener("pointerdown", () => {
    before = place();
  });
  input.addEventListener("pointercancel", () => go(before));
  const value = html("span", { class: "value", "aria-hidden": true });
  const label = html("span", { class: "name", "aria-hidden": true }, name);
  const words = marks.map(([at, word]) =>
    html("span", { class: "mark", "aria-hidden": true, style: `--at: ${at / last}` }, word),
  );
  const track = marks.length ? html("span", { class: "track" }, input, ...words) : input;
  const root = html("div", { class: "slider" }, label, track, value);
  const update = () => {
    input.value = String(place());
    input.style.setProperty("--share", `${(100 * Number(input.value)) / last}%`);
    value.textContent = text();
    input.setAttribute("aria-valuetext", text());
  };
  return { root, update };
}

/** A slider over a number that keeps to steps between two ends.
 * @param {Model} model @param {string} trait @param {string} name @param {[number, number]} limits @param {number} step */
export function stepSlider(model, trait, name, limits, step) {
  const [low, high] = limits;
  const read = () => model.get(trait);
  const go = (/** @type {number} */ place) => {
    model.set(trait, onStep(low + place * step, limits, step));
    model.save_changes();
  };
  const last = Math.ceil((high - low) / step - 1e-9);
  return makeSlider({
    name,
    last,
    place: () => (read() < high ? Math.round((read() - low) / step) : last),
    go,
    text: () => written(read(), step),
  });
}

/** A slider over a number above zero, which each of its steps multiplies by the same.
 * @param {Model} model @param {string} trait @param {string} name @param {[number, number]} limits @param {number} last
 * @param {(value: number) => string} text @param {[number, string][]} marks numbers, and their words */
export function ratioSlider(model, trait, name, limits, last, text, marks = []) {
  return makeSlider({
    name,
    last,
    place: () => placeOfRatio(model.get(trait), limits, last),
    go: (place) => {
      model.set(trait, atRatio(place, limits, last));
      model.save_changes();
    },
    text: () => text(model.get(trait)),
    marks: marks.map(([value, word]) => [placeOfRatio(value, limits, last), word]),
  });
}

/** Sliders side by side where there is room. @param {Slider[]} sliders */
export function makeSliders(...sliders) {
  const root = html("div", { class: "sliders" }, ...sliders.map((slider) => slider.root));
  const update = () => {
    for (const slider of sliders) slider.update();
  };
  return { root, update };
}
