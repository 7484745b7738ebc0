// A latent space to walk through: a plane with a point to drag, and the image a decoder makes of it.
import { decode } from "./decoder.js";
import { codesOf, latentsOf, makePlane } from "./plane.js";
import { written } from "./scale.js";
import { makeSliders, stepSlider } from "./sliders.js";
import { html, makeFoot, mount, pixelCanvas } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./plane.js").Latents} Latents */
/** @typedef {(z: ArrayLike<number>) => Float32Array} Decoder */

/** Decoders by the weights they came from: several views of a model share one.
 * @type {WeakMap<object, Decoder>} */
const decoders = new WeakMap();

/** @param {Model} model */
function decoderOf(model) {
  const weights = model.get("weights");
  if (!decoders.has(weights)) decoders.set(weights, decode(model.get("layers"), weights));
  return /** @type {Decoder} */ (decoders.get(weights));
}

/** The decoded image: gray as white on black in every theme, color as it is.
 * @param {Model} model */
function makeImage(model) {
  const [channels, height, width] = model.get("shape");
  const decoder = decoderOf(model);
  const area = width * height;
  const { canvas, context } = pixelCanvas(width, height, 256);
  const image = context.createImageData(width, height);
  image.data.fill(255);
  const paint = (/** @type {number[]} */ z) => {
    const x = decoder(z);
    for (let channel = 0; channel < 3; channel++) {
      let from = channels === 3 ? channel * area : 0;
      for (let i = channel; i < 4 * area; i += 4) image.data[i] = 255 * x[from++]; // the array rounds and clamps
    }
    context.putImageData(image, 0, 0);
  };
  return { canvas, paint };
}

/** A menu for one of the plane's coordinates; choosing the other's swaps the two.
 * @param {Model} model @param {"across" | "up"} trait */
function menu(model, trait) {
  const other = trait === "across" ? "up" : "across";
  const names = /** @type {string[]} */ (model.get("names"));
  const options = names.map((name, i) => html("option", { value: i }, name));
  const select = /** @type {HTMLSelectElement} */ (html("select", { "aria-label": `coordinate ${trait}` }, ...options));
  select.onchange = () => {
    if (Number(select.value) === model.get(other)) model.set(other, model.get(trait));
    model.set(trait, Number(select.value));
    model.save_changes();
  };
  return { root: html("label", {}, `${trait} `, select), update: () => (select.value = String(model.get(trait))) };
}

/** z in numbers: all of a short code; of a long one the plane's two, and the one that was moved last.
 * @param {Model} model @param {Latents} latents @param {number[]} z @param {number} moved */
function inNumbers(model, latents, z, moved) {
  const shown = z.length <= 3 ? z.keys() : new Set([model.get("across"), model.get("up"), moved]);
  return [...shown]
    .map(latents.axis)
    .map(({ name, i, step }) => `${name} = ${written(z[i], step)}`)
    .join(", ");
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const latents = latentsOf(model);
  const codes = codesOf(model);
  const image = makeImage(model);
  const plane = latents.traits.length > 1 ? makePlane(model, latents, codes) : null;
  const menus = latents.traits.length > 2 ? [menu(model, "across"), menu(model, "up")] : [];
  const numbers = html("div", { class: "numbers", "aria-live": "polite" });
  const choose = html("div", { class: "controls" }, ...menus.map((m) => m.root));
  const left = plane ? [html("div", {}, plane.root, plane.legend, choose)] : [];
  const right = html(
    "div",
    { class: "decoded" },
    html("div", { class: "caption" }, "the decoder’s image"),
    image.canvas,
    numbers,
  );
  const foot = makeFoot(model, () => latents.write({ ...model.get("start") }));
  const sliders = makeSliders(
    ...latents.traits.map((trait, i) => {
      const { name, low, high, step } = latents.axis(i);
      return stepSlider(model, trait, name, [low, high], step);
    }),
  );
  const stage = html("div", { class: "stage" }, ...left, right);
  const root = html("div", { class: "vae-widget vae-latent-explorer" }, stage, foot.root, sliders.root);
  let turned = "";
  let before = latents.read();
  let moved = model.get("across");

  function draw() {
    const z = latents.read();
    const changed = z.findIndex((value, i) => value !== before[i]);
    if (changed >= 0) moved = changed;
    before = z;
    image.paint(z);
    sliders.update();
    numbers.textContent = inNumbers(model, latents, z, moved);
    image.canvas.setAttribute("aria-label", `The decoder’s image at ${numbers.textContent}`);
    if (model.get("goal") && codes.nearest(latents, z) === model.get("goal"))
      foot.done(`The nearest code is one of ${model.get("goal")}.`);
    const turn = `${model.get("across")} ${model.get("up")}`;
    if (turn === turned) return plane?.update();
    turned = turn;
    for (const m of menus) m.update();
    plane?.layOut();
  }
  return mount(model, el, root, [...latents.traits, "across", "up"], draw);
}

export default { render };
