// A VAE that learns in the page: buttons, sliders and menus over a run (learning_run.js), and its views
// (learning_views.js).
import { onTheme } from "./chart.js";
import { filesOf, ownPoints, PLANE_REACH, POINT_SETS, readPictures, scaled } from "./datasets.js";
import { makePad } from "./drawing.js";
import { errorOf, hasPoints, makeRun, usual } from "./learning_run.js";
import { makeCodes, makeCopies, makeCurves, makeDraws, makePoints, paletteOf, tableOf } from "./learning_views.js";
import { short } from "./scale.js";
import { makeSlider, makeSliders } from "./sliders.js";
import { download, pytorchCell } from "./takeaway.js";
import { button, html, makeFoot, mount } from "./ui.js";

/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./learning_run.js").Run} Run */
/** @typedef {{root: HTMLElement, update: () => void}} Control */

const BETA = { most: 20, places: 200 }; // dense where it is small
const RATE = { low: 1e-4, high: 1e-2, places: 40 };
const TELL_EVERY = 4000; // milliseconds between two summaries for those who listen
const AFRESH = { beta: 1, part: /** @type {"both"} */ ("both") }; // with other data
const APART = 0.1; // between points that are painted without lifting the pen
const ABOVE = ["data", "speed", "autoencoder", "part"];
const FOLDED = ["hidden", "latents", "likelihood", "activation", "batch", "freeBits", "seed", "beneath"];
const MANY = 4; // menus, of which some are folded
const TIMES = 20; // copies of a drawing that are added at once

/** @type {Record<string, string>} */
const DATA = {
  digits: "digits",
  images: "these images",
  ring: "points: a ring",
  grid: "points: a grid",
  moons: "points: two moons",
  pinwheel: "points: a pinwheel",
  spiral: "points: a spiral",
  points: "your own points",
  pictures: "your own pictures",
};
/** @type {Record<string, {likelihood: string, learnScale: boolean, scale?: number}>} */
const LIKELIHOODS = {
  Bernoulli: { likelihood: "bernoulli", learnScale: false },
  "Gaussian, σ learned": { likelihood: "gaussian", learnScale: true, scale: 0.3 },
  "Gaussian, σ = 0.05": { likelihood: "gaussian", learnScale: false, scale: 0.05 },
  "Gaussian, σ = 0.2": { likelihood: "gaussian", learnScale: false, scale: 0.2 },
  "Gaussian, σ = 1": { likelihood: "gaussian", learnScale: false, scale: 1 },
};
const HIDDEN = [[], [16], [64], [128], [256], [32, 32], [64, 64], [128, 64], [32, 32, 32]];

const NONE = "–"; // in place of a number

/** A number with so many decimals, and no minus before a zero. @param {number} value @param {number} decimals */
const decimal = (value, decimals) =>
  value
    .toFixed(decimals)
    .replace(/^-(?=[0.]*$)/, "")
    .replace("-", "−");

/** @param {number} value @param {number} digits */
const rounded = (value, digits) => Number(value.toPrecision(digits));

/** A menu of values by their words, and of the value of now if it is none of these. @template T @param {string} name
 * @param {[string, T][]} options @param {() => T} read @param {(value: T) => void} choose
 * @param {(value: T) => boolean} allowed @param {(value: T) => string} words @returns {Control} */
function menuOf(name, options, read, choose, allowed = () => true, words = String) {
  const items = options.map(([text], i) => html("option", { value: i }, text));
  const other = html("option", { value: -1, hidden: "" });
  const select = /** @type {HTMLSelectElement} */ (html("select", {}, ...items, other));
  select.onchange = () => choose(options[Number(select.value)][1]);
  const same = (/** @type {T} */ a) => JSON.stringify(a) === JSON.stringify(read());
  const update = () => {
    for (const [i, [, value]] of options.entries()) items[i].toggleAttribute("disabled", !allowed(value));
    const at = options.findIndex(([, value]) => same(value));
    if (at < 0) other.textContent = words(read());
    select.value = String(at);
  };
  return { root: html("label", {}, html("span", {}, name), select), update };
}

/** A whole number to write. @param {string} name @param {number} most @param {() => number} read
 * @param {(value: number) => void} choose @returns {Control} */
function wholeOf(name, most, read, choose) {
  const input = /** @type {HTMLInputElement} */ (html("input", { type: "number", min: 0, max: most, step: 1 }));
  input.onchange = () => {
    const value = Math.round(Number(input.value));
    if (value >= 0 && value <= most) choose(value);
    else input.value = String(read());
  };
  const update = () => {
    if (document.activeElement !== input) input.value = String(read());
  };
  return { root: html("label", {}, html("span", {}, name), input), update };
}

/** What can be chosen of a model and of how it learns, by name. @param {Model} model @param {Run} run
 * @returns {Record<string, () => Control>} */
function menus(model, run) {
  const { now } = run;
  const offered = ["digits", ...POINT_SETS].filter((name) => name !== "digits" || model.get("digits"));
  const data = [...(model.get("shape").length ? ["images"] : []), ...offered, "points", "pictures"];
  const numbers = (/** @type {number[]} */ ...values) =>
    values.map((value) => /** @type {[string, number]} */ ([String(value), value]));
  /** @param {string} name @param {string} trait @param {[string, any][]} options @returns {() => Control} */
  const of = (name, trait, options) => () =>
    menuOf(
      name,
      options,
      () => /** @type {any} */ (now())[trait],
      (value) => run.set({ [trait]: value }),
    );
  const part = ["both", "encoder", "decoder"];
  const parts = ["both networks", "the encoder only", "the decoder only"];
  return {
    data: () =>
      menuOf(
        "data",
        data.map((name) => [DATA[name], name]),
        () => now().data,
        (name) => run.again({ ...usual(name), ...AFRESH, data: name }),
        run.has,
      ),
    hidden: of(
      "hidden layers",
      "hidden",
      HIDDEN.map((widths) => [widths.join(", ") || "none (linear)", widths]),
    ),
    latents: of("latents", "latents", numbers(1, 2, 3, 4, 5, 6, 7, 8)),
    likelihood: () =>
      menuOf(
        "likelihood",
        Object.entries(LIKELIHOODS),
        () => Object.values(LIKELIHOODS).find((each) => fits(each, now())) ?? now(),
        (value) => run.again(/** @type {any} */ (value)),
        ({ likelihood }) => likelihood === "gaussian" || !hasPoints(now().data), // points are not in [0, 1]
        ({ scale = 1 }) => `Gaussian, σ = ${short(scale)}`,
      ),
    activation: of("activation", "activation", [
      ["ReLU", "relu"],
      ["tanh", "tanh"],
    ]),
    batch: of("batch", "batch", numbers(8, 16, 32, 64, 128, 256, 512)),
    part: of(
      "what learns",
      "part",
      part.map((name, i) => [parts[i], name]),
    ),
    autoencoder: of("model", "autoencoder", [
      ["VAE", false],
      ["autoencoder", true],
    ]),
    freeBits: of("free nats a latent", "freeBits", numbers(0, 0.1, 0.25, 0.5, 1, 2)),
    seed: () =>
      wholeOf(
        "seed",
        2 ** 32 - 1,
        () => now().seed,
        (seed) => run.again({ seed }),
      ),
    speed: of("speed", "speed", [
      ["slow motion", "slow"],
      ["to watch", "watch"],
      ["full speed", "fast"],
    ]),
    beneath: () =>
      menuOf(
        "under the codes",
        [
          ["a map of images", "map"],
          ["the exact posterior", "posterior"],
          ["nothing", "nothing"],
        ],
        () => now().beneath,
        (beneath) => run.set({ beneath: /** @type {any} */ (beneath) }),
        (beneath) => beneath !== "map" || !hasPoints(now().data),
      ),
  };
}

/** @param {Record<string, any>} some @param {Record<string, any>} all */
const fits = (some, all) =>
  Object.entries(some).every(([name, value]) => (name === "scale" && some.learnScale ? true : all[name] === value));

/** β and the rate. @param {Model} model @param {Run} run */
function slidersOf(model, run) {
  const has = (/** @type {string} */ name) => model.get("controls").includes(name);
  const { most, places } = BETA;
  const span = Math.log(RATE.high / RATE.low);
  const beta = makeSlider({
    name: "β",
    last: places,
    place: () => Math.round(places * Math.cbrt(run.now().beta / most)),
    go: (place) => run.set({ beta: rounded(most * (place / places) ** 3, 2) }),
    text: () => short(run.now().beta),
  });
  const rate = makeSlider({
    name: "learning rate",
    last: RATE.places,
    place: () => Math.round((RATE.places * Math.log(Math.max(run.now().rate, RATE.low) / RATE.low)) / span),
    go: (place) => run.set({ rate: rounded(RATE.low * Math.exp((span * place) / RATE.places), 2) }),
    text: () => short(run.now().rate),
  });
  return makeSliders(...[has("beta") && beta, has("rate") && rate].filter((slider) => !!slider));
}

/** Go, stop, a step, from the beginning. @param {Run} run @returns {Control} */
function makeButtons(run) {
  const go = button("", () => (run.playing() ? run.pause() : run.play()));
  go.classList.add("go");
  const root = html(
    "div",
    { class: "buttons" },
    go,
    button("One step", () => run.step()),
    button("Start again", () => run.restart()),
  );
  const update = () => {
    const words = run.playing() ? "Pause" : run.state.frame?.steps ? "Go on" : "Train";
    if (go.textContent !== words) go.textContent = words;
    go.classList.toggle("playing", run.playing());
  };
  return { root, update };
}

/** The numbers of now, a line each. @param {Run} run @returns {Control & {spoken: () => string}} */
function makeNumbersOf(run) {
  const lines = { steps: "", loss: "−ELBO", held: "held out", rec: "reconstruction", kl: "KL", sigma: "σ of p(x|z)" };
  const names = Object.keys(lines);
  const heads = Object.fromEntries(Object.entries(lines).map(([name, words]) => [name, html("span", {}, words)]));
  const outputs = Object.fromEntries(names.map((name) => [name, html("output", {})]));
  const rows = Object.fromEntries(
    names.map((name) => [name, html("div", { class: name }, heads[name], outputs[name])]),
  );
  const update = () => {
    const { frame, pace } = run.state;
    const error = errorOf(run.now());
    const told = (/** @type {number} */ value) =>
      Number.isFinite(value) ? decimal(value, Math.abs(value) < 100 ? 2 : 1) : NONE;
    const speed = run.playing() && pace.rate ? ` (${Math.round(pace.rate)}/s)` : "";
    const said = { steps: "0 steps", loss: NONE, held: NONE, rec: NONE, kl: NONE, sigma: NONE };
    if (frame) said.steps = `${frame.steps.toLocaleString("en")} ${frame.steps === 1 ? "step" : "steps"}${speed}`;
    if (frame?.steps) {
      const { logLik, kl, scale } = frame;
      const held = heldIn(frame);
      said.loss = told(error ? error.of(logLik) : kl - logLik);
      said.held = held ? told(error ? error.of(held.logLik) : held.kl - held.logLik) : NONE;
      said.rec = told(logLik);
      said.kl = `${told(kl)} nats`;
      said.sigma = scale ? short(scale) : NONE;
    }
    heads.loss.textContent = error?.name ?? lines.loss;
    for (const [name, text] of Object.entries(said)) outputs[name].textContent = text;
    for (const name of ["rec", "kl"]) rows[name].hidden = !!error;
    rows.sigma.hidden = run.now().likelihood === "bernoulli" || !!error;
    rows.held.hidden = !run.examples().heldOut.length;
  };
  const spoken = () => {
    const shown = names.filter((name) => !rows[name].hidden && outputs[name].textContent !== NONE);
    return shown.map((name) => `${heads[name].textContent} ${outputs[name].textContent}`).join(", ");
  };
  return { root: html("div", { class: "numbers" }, ...Object.values(rows)), update, spoken };
}

/** The terms of what is held out, at the last time they were found. @param {import("./learning/learner.js").Frame} frame */
function heldIn({ curve }) {
  const { heldLogLik, heldKl } = tableOf(curve);
  const last = heldKl.length - 1;
  return last >= 0 && Number.isFinite(heldKl[last]) ? { logLik: heldLogLik[last], kl: heldKl[last] } : null;
}

/** log p(x) of the chosen example in its three parts. @param {Run} run */
function makeLedger(run) {
  const root = html("div", { class: "ledger" });
  const update = () => {
    const { exact, chosen, frame } = run.state;
    const { ledger } = exact;
    const what = run.examples().shape ? "image" : "point";
    root.hidden = run.now().autoencoder; // it has no p(x)
    if (!ledger || !frame?.steps) {
      const few = run.now().latents <= 2;
      const words = `Pause to see the exact log p(x) of ${what} ${chosen + 1}.`;
      root.replaceChildren(
        html("span", { class: "hint" }, few ? words : "With one or two latents, log p(x) is found too."),
      );
      return;
    }
    const part = (/** @type {string} */ kind, /** @type {string} */ name, /** @type {string} */ text) =>
      html("span", { class: `part ${kind}` }, `${name} ${text}`);
    root.replaceChildren(
      html("span", {}, `${what[0].toUpperCase()}${what.slice(1)} ${chosen + 1}: `),
      part("logp", "log p(x)", decimal(ledger.logP, 2)),
      " = ",
      part("rec", "reconstruction", decimal(ledger.reconstruction, 2)),
      " − ",
      part("kl", "KL", decimal(ledger.kl, 2)),
      " + ",
      part("gap", "gap", decimal(ledger.gap, 2)),
      exact.rough ? " nats, roughly: the posterior is narrower than the grid" : " nats",
    );
  };
  return { root, update };
}

/** Points and pictures of one's own. @param {Run} run */
function makeOwn(run) {
  const message = html("div", { class: "message", role: "status" });
  let about = run.examples();
  const say = (/** @type {string} */ words) => {
    message.textContent = words;
    about = run.examples();
  };
  const before = { fresh: true, states: /** @type {{data: string, points: number[]}[]} */ ([]) };
  const text = /** @type {HTMLTextAreaElement} */ (
    html("textarea", { rows: 3, "aria-label": "points, two numbers a line", placeholder: "0.5, 1.2\n−0.3, 0.8\n…" })
  );
  const painting = /** @type {HTMLInputElement} */ (html("input", { type: "checkbox" }));
  const usePoints = (/** @type {number[]} */ points) => {
    const { data, points: old } = run.now();
    run.again({ ...(data === "points" ? {} : { ...usual("points"), ...AFRESH }), data: "points", points });
    if (before.fresh) before.states.push({ data, points: old });
  };
  const undo = () => {
    const last = before.states.pop();
    if (!last) return say("There is nothing to undo.");
    run.again(last.data === "points" ? last : { ...usual(last.data), ...AFRESH, ...last });
    text.value = last.points.map((value, i) => `${value}${i % 2 ? "\n" : ", "}`).join("");
  };
  painting.onchange = () => {
    if (!painting.checked || hasPoints(run.now().data)) return;
    run.again({ ...usual("ring"), ...AFRESH, data: "ring" });
    say("In the plane above is a ring; your first point takes its place.");
  };
  const attempt = (/** @type {() => void} */ call) => {
    try {
      call();
      say(run.examples().words);
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
  };
  const take = async (/** @type {ArrayLike<File>} */ files) => {
    say("Reading …");
    const { pictures, broken, left } = await readPictures(Array.from(files));
    const unread = broken.length
      ? ` Could not be read: ${broken.slice(0, 3).join(", ")}${broken.length > 3 ? " …" : ""}.`
      : "";
    if (!pictures.length) return say(`No picture was found there.${unread} Choose files such as PNG or JPEG.`);
    run.bring(pictures);
    say(
      `${pictures.length} pictures, now 28×28 and gray; they stay in this page.${left ? ` ${left} more were left out.` : ""}${unread}`,
    );
  };
  const chooser = (/** @type {string} */ words, /** @type {Record<string, any>} */ how) => {
    const input = /** @type {HTMLInputElement} */ (html("input", { type: "file", multiple: "", ...how }));
    input.onchange = () => input.files && take(input.files);
    return html("label", {}, html("span", {}, words), input);
  };
  const pad = makePad({ label: "A picture to draw, 28×28" });
  const addDrawing = () => {
    if (pad.empty())
      return say("Draw something first: with a finger or the mouse, or with the arrows and the space bar.");
    if (hasPoints(run.now().data)) return say("The data are points now: choose digits or pictures first.");
    run.add(pad.read(), TIMES);
    pad.clear();
    say(`It was added ${TIMES} times to what is learned from; it starts again with ${run.examples().count} images.`);
  };
  const root = html(
    "details",
    { class: "own" },
    html("summary", {}, "Your own data"),
    html(
      "div",
      { class: "columns" },
      html(
        "div",
        {},
        html("strong", {}, "Points"),
        text,
        html(
          "div",
          { class: "buttons" },
          button("Use these points", () => {
            press();
            attempt(() => usePoints(ownPoints(text.value)));
          }),
          html("label", {}, painting, html("span", {}, "paint them in the plane")),
          button("Undo", undo),
        ),
      ),
      html(
        "div",
        {},
        html("strong", {}, "Pictures"),
        chooser("files", { accept: "image/*" }),
        chooser("a folder", { webkitdirectory: "" }),
        html("span", { class: "hint" }, "Or drop them here. They become 28×28 and gray, and nothing leaves this page."),
      ),
      html(
        "div",
        {},
        html("strong", {}, "Draw"),
        pad.root,
        html(
          "div",
          { class: "buttons" },
          button("Add it", addDrawing),
          button("Clear", () => pad.clear()),
        ),
      ),
    ),
  );
  root.append(message);
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", async (event) => {
    event.preventDefault();
    if (event.dataTransfer) take(await filesOf(event.dataTransfer));
  });
  /** A point where a pointer presses, and further ones as it is dragged. @param {number} x @param {number} y */
  const paint = (x, y) => {
    if (!painting.checked) return false;
    if (Math.max(Math.abs(x), Math.abs(y)) > PLANE_REACH) return true;
    const points = run.now().data === "points" ? Array.from(scaled(run.now().points).points) : [];
    const [lastX, lastY] = points.slice(-2);
    if (Math.hypot(x - lastX, y - lastY) < APART) return true;
    const more = [x, y].map((value) => rounded(value, 3));
    attempt(() => usePoints([...points, ...more]));
    before.fresh = false; // what follows belongs to the same stroke
    text.value += `${more.join(", ")}\n`;
    return true;
  };
  const update = () => {
    if (run.examples() !== about) say(""); // of other data
  };
  const press = () => {
    before.fresh = true;
  };
  return { root, paint, press, update };
}

/** The weights, a cell that trains the same model, and the pictures. @param {Run} run @param {() => HTMLCanvasElement | null} sheet
 * @param {(words: string) => void} say */
function makeTakeaway(run, sheet, say) {
  const code = html("pre", { tabindex: 0, "aria-label": "a PyTorch cell that trains the same model", hidden: "" });
  const mark = html("span", { class: "hint" });
  const weights = async () => {
    download("vae.safetensors", (await run.read()).bytes, "application/octet-stream");
    say('In Python: vae_lab.lab.load("vae.safetensors")');
  };
  const cell = () => {
    code.hidden = !code.hidden;
    update();
  };
  const pictures = () =>
    sheet()?.toBlob(
      async (blob) => blob && download("draws.png", new Uint8Array(await blob.arrayBuffer()), "image/png"),
    );
  const buttons = [button("Weights", weights), button("PyTorch cell", cell), button("Pictures", pictures)];
  const root = html(
    "details",
    { class: "takeaway" },
    html("summary", {}, "Take it with you"),
    html("div", { class: "buttons" }, ...buttons, mark),
    code,
  );
  const update = () => {
    const { checksum, frame } = run.state;
    const where = frame?.where === "worker" ? "in a worker" : "in this page";
    const how = frame?.kernels === "wasm" ? "WebAssembly" : "plain JavaScript";
    const found = `After ${frame?.steps} steps, ${where}, by ${how}, all parameters together are ${checksum}.`;
    mark.textContent = checksum ? found : "";
    if (!code.hidden) code.textContent = pytorchCell(run.now(), run.now().data, frame?.steps || undefined);
    buttons[2].hidden = !run.examples().shape;
  };
  return { root, update };
}

/** Which menus stand above, and which are folded: none, if there are few. @param {string[]} controls */
function menusIn(controls) {
  const above = controls.filter((name) => ABOVE.includes(name));
  const more = controls.filter((name) => FOLDED.includes(name));
  return above.length + more.length > MANY ? [above, more] : [[...above, ...more], []];
}

/** @param {{model: Model, el: HTMLElement}} view */
function render({ model, el }) {
  const root = html("div", { class: "vae-widget vae-train-in-page" });
  const has = (/** @type {string} */ name) => model.get("controls").includes(name);
  const shows = (/** @type {string} */ name) => model.get("views").includes(name);
  let redraw = () => {};
  const run = makeRun(model, root, () => redraw());
  const note = html("div", { class: "note", role: "status" });
  const say = (/** @type {string} */ words) => {
    note.textContent = words;
  };
  const summary = html("div", { class: "for-listeners", "aria-live": "polite" });
  const own = has("own") ? makeOwn(run) : null;
  const codes = makeCodes((n) => run.choose(n));
  const copies = makeCopies((n) => run.choose(n));
  const draws = makeDraws();
  const points = makePoints((n) => run.choose(n), own?.paint ?? (() => false));
  if (own) points.root.addEventListener("pointerdown", own.press, { capture: true });
  const curves = makeCurves();
  const buttons = makeButtons(run);
  const sliders = slidersOf(model, run);
  const numbers = makeNumbersOf(run);
  const ledger = makeLedger(run);
  const all = menus(model, run);
  const [above, more] = menusIn(model.get("controls")).map((names) => names.map((name) => all[name]()));
  const takeaway = has("takeaway") ? makeTakeaway(run, draws.canvas, say) : null;
  const caption = (/** @type {string} */ kind, /** @type {string} */ words) =>
    html("div", { class: `caption ${kind}` }, words);
  const ofImages = html(
    "div",
    { class: "images" },
    caption("", "the chosen image and others, and their copies"),
    copies.root,
    ...(shows("draws") ? [caption("p", "decoded from draws of the prior"), draws.root] : []),
  );
  const ofPoints = html("div", { class: "points" }, points.root);
  const stage = html(
    "div",
    { class: "views" },
    codes.root,
    html("div", { class: "beside" }, ofImages, ofPoints),
    numbers.root,
  );
  const fold = html(
    "details",
    { class: "more" },
    html("summary", {}, "The model, and how it learns"),
    html("div", { class: "menus" }, ...more.map((each) => each.root)),
  );
  const foot = makeFoot(model, () => run.reset());
  root.append(
    html("div", { class: "head" }, buttons.root, html("div", { class: "menus" }, ...above.map((each) => each.root))),
    sliders.root,
    stage,
    ...(shows("ledger") ? [ledger.root] : []),
    ...(shows("curves") ? [curves.root] : []),
    note,
    summary,
    ...(more.length ? [fold] : []),
    ...(own ? [own.root] : []),
    ...(takeaway ? [takeaway.root] : []),
    foot.root,
  );
  const controls = [
    buttons,
    sliders,
    numbers,
    ledger,
    ...above,
    ...more,
    ...(own ? [own] : []),
    ...(takeaway ? [takeaway] : []),
  ];
  let told = 0;

  const paint = () => {
    const began = performance.now();
    const { frame, decoded, exact, chosen } = run.state;
    const examples = run.examples();
    const beneath = run.now().beneath === "posterior" ? exact : { ...exact, share: undefined };
    const seen = {
      examples,
      chosen,
      latents: run.now().latents,
      frame,
      decoded,
      exact: beneath,
      error: errorOf(run.now()),
      prior: shows("draws"),
      palette: paletteOf(root),
    };
    ofImages.hidden = !examples.shape;
    ofPoints.hidden = !!examples.shape;
    codes.draw(seen);
    copies.draw(seen);
    draws.draw(seen);
    points.draw(seen);
    if (shows("curves")) curves.draw(seen);
    for (const control of controls) control.update();
    if (frame?.failed) say(frame.failed);
    if (began - told > TELL_EVERY || !run.playing()) {
      const what = examples.shape ? "image" : "point";
      summary.textContent = `${numbers.spoken()}; ${what} ${chosen + 1} of ${examples.count}`;
      told = began;
    }
    root.dataset.ms = (performance.now() - began).toFixed(2);
    root.dataset.steps = String(frame?.steps ?? 0);
    root.dataset.checksum = run.state.checksum;
  };
  redraw = paint;
  const end = mount(model, el, root, ["settings", "changes", "until", "chosen"], () => {
    const said = run.follow();
    if (said !== null) say(said);
    paint();
  });
  const first = requestAnimationFrame(paint); // colors are known only in the page
  const unwatch = onTheme(paint);
  return () => {
    cancelAnimationFrame(first);
    unwatch();
    run.end();
    end();
  };
}

export default { render };
