// A run in the page, as its reader chose it: its data, its settings, what was changed on the way, and what is asked of
// it for the views.
import { POINT_SETS, pointSet, scaled, split, unpackDigits } from "./datasets.js";
import { boxOf, densityMap, gridOver, hermite, latentGrid, ledgerOf, posteriorOf, resolved } from "./exact.js";
import { checked, LIVE, learn, random } from "./learning/learner.js";
import { copied, densityPlaces, drawsOf, mapCodes } from "./learning_views.js";
import { safetensors } from "./takeaway.js";
import { asView } from "./ui.js";

/** @typedef {import("./learning/kernels.js").Numbers} Numbers */
/** @typedef {import("./ui.js").Model} Model */
/** @typedef {import("./learning/learner.js").Learner} Learner */
/** @typedef {import("./learning/learner.js").Frame} Frame */
/** @typedef {import("./learning/trainer.js").Change} Change */
/** @typedef {import("./learning_views.js").Examples} Examples */
/** @typedef {import("./learning_views.js").Seen} Seen */
/** @typedef {ReturnType<typeof makeRun>} Run */

/** The engine's settings, and what else a link holds: the data by name, points of one's own, how many drawings are added,
 * how fast it is shown, and what lies beneath the codes.
 * @typedef {import("./learning/settings.js").Settings & {data: string, points: number[], drawn: number,
 *   speed: keyof typeof SPEEDS, beneath: "map" | "posterior" | "nothing"}} Chosen */

/** What the chosen example's exact posterior says, for one or two latents.
 * @typedef {object} Exact
 * @property {Float64Array} [share] of p(z|x) at the places of a grid
 * @property {number} side of the grid, in places
 * @property {number} half and in z
 * @property {Float64Array} [density] p(x) over the plane of points
 * @property {ReturnType<typeof ledgerOf>} [ledger]
 * @property {boolean} [rough] whether the posterior seems narrower than the grid resolves */

/** @typedef {{parts: Record<string, Numbers>, q: {mean: Numbers, scale: Numbers, n: number} | null,
 *   weight: Float64Array | null, grid: ReturnType<typeof latentGrid> | null, near: import("./exact.js").CodeGrid | null,
 *   of: string}} Asked  near: a grid where the posterior is, once that is known; of: which model's, of which example */

export const SPEEDS = { slow: 4, watch: 200, fast: Number.POSITIVE_INFINITY }; // steps a second
const OF_IMAGES = { hidden: [128], likelihood: "bernoulli", learnScale: false, mean: "sigmoid", rate: 2e-3 };
const OF_POINTS = { hidden: [32, 32], likelihood: "gaussian", learnScale: true, mean: "identity", rate: 3e-3 };
const SHOWN = ["speed", "beneath"]; // what changes no number
const SEEDS = { data: 7, draws: 5 };
const DENSE = 48; // places a side at which the density of points is found
const RUNNING = -1; // in place of the steps at which a run was paused
const SETTLED = 400; // milliseconds after which a frame knows what a hand has changed
const EXACT_EVERY = 350; // milliseconds, while points are learned; images wait for a pause

/** What a reader starts with who chooses other data. @param {string} data @returns {Partial<Chosen>} */
export const usual = (data) =>
  /** @type {any} */ (
    hasPoints(data)
      ? { ...OF_POINTS, scale: 0.3, speed: "watch", beneath: "posterior" }
      : { ...OF_IMAGES, scale: 0.2, speed: "fast", beneath: "map" }
  );

/** How an autoencoder's copies err, by what it is called: where σ stands still, by their squared error.
 * @param {Chosen} now @returns {Seen["error"]} */
export function errorOf({ autoencoder, likelihood, learnScale, scale, dims }) {
  if (!autoencoder) return null;
  if (likelihood === "bernoulli" || learnScale) return { name: "−log p(x|z)", of: (logLik) => -logLik };
  const most = -dims * (Math.log(scale) + Math.log(2 * Math.PI) / 2); // of a copy without an error
  return { name: "squared error", of: (logLik) => 2 * scale * scale * (most - logLik) };
}

/** @param {string} data */
export const hasPoints = (data) => data === "points" || POINT_SETS.includes(data);

/** @param {Model} model @param {Element} root @param {() => void} draw */
export function makeRun(model, root, draw) {
  const own = { pictures: /** @type {Numbers[]} */ ([]), drawn: /** @type {Numbers[]} */ ([]), times: 0 };
  const kept = { key: "", examples: /** @type {Examples | null} */ (null) };
  const asking = makeQuestions();
  /** @type {Learner | null} */
  let learner = null;
  let now = chosenIn(model.get("settings"), model);
  let known = "";
  let [touched, playing] = [0, false];
  const state = {
    frame: /** @type {Frame | null} */ (null),
    decoded: /** @type {Record<string, Numbers>} */ ({}),
    exact: /** @type {Exact} */ ({ side: 0, half: 0 }),
    chosen: 0,
    checksum: "",
    pace: { steps: 0, at: 0, rate: 0 },
  };

  const examples = () => {
    const key = [now.data, own.times, now.drawn, now.points.join()].join(" ");
    if (key !== kept.key || !kept.examples) Object.assign(kept, { examples: examplesOf(model, now, own), key });
    return /** @type {Examples} */ (kept.examples);
  };
  const write = (/** @type {Chosen} */ { pace, dims, ...settings }, /** @type {Change[]} */ changes, until = 0) => {
    model.set("settings", settings);
    model.set("changes", changes);
    model.set("until", until);
    known = stateOf(model);
    model.save_changes();
  };
  const chosen = () => Math.max(0, Math.min(model.get("chosen"), examples().count - 1));
  const forget = () => {
    Object.assign(state, { frame: null, decoded: {}, exact: { side: 0, half: 0 }, checksum: "" });
    state.chosen = chosen();
    asking.forget();
  };
  const ask = (/** @type {boolean} */ whole) => {
    if (!learner) return;
    const question = asking.about(examples(), now, state, whole);
    if (question) learner.view(question);
  };
  /** @param {Frame} frame */
  const take = (frame) => {
    Object.assign(state, { frame });
    if (!touched || performance.now() - touched > SETTLED) Object.assign(now, frame.live, { pace: now.pace }); // as a link has it
    asking.answer(frame, examples(), now, state);
    measure(state.pace, frame.steps);
    const other = touched > 0 && JSON.stringify(frame.changes) !== JSON.stringify(model.get("changes"));
    if (frame.failed || other) write(model.get("settings"), frame.changes, learner?.playing() ? RUNNING : frame.steps);
    ask(!learner?.playing());
    if (playing && !learner?.playing()) rest(); // by itself
    playing = !!learner?.playing();
    draw();
  };
  const begin = (/** @type {Change[]} */ changes) => {
    const { data, heldOut, dims } = examples();
    now = { ...now, dims };
    touched = 0; // by a hand, since it began
    forget();
    const options = { ...checked(engineOf(now)), data, heldOut, changes };
    if (learner) learner.restart(options);
    else learner = learn({ ...options, element: root }, take);
    ask(true);
  };
  const begun = () => {
    if (!learner) begin(model.get("changes"));
    return /** @type {Learner} */ (learner);
  };
  /** Start anew, with other settings or data. @param {Partial<Chosen>} [changed] */
  const again = (changed = {}) => {
    const wanted = { ...now, ...changed };
    wanted.pace = SPEEDS[wanted.speed];
    if (changed.hidden) wanted.decoderHidden = undefined;
    checked(engineOf({ ...wanted, dims: hasPoints(wanted.data) ? 2 : now.dims }));
    now = wanted;
    now = { ...now, dims: examples().dims };
    write({ ...now }, []);
    if (learner) begin([]);
    else forget();
    draw();
  };
  const read = async () => {
    const told = await begun().read();
    const { pace, points, drawn, speed, beneath, ...settings } = now;
    const { shape } = examples();
    const about = { vae_lab_lab: JSON.stringify({ ...settings, ...(shape && { shape }) }), steps: String(told.steps) };
    return { checksum: told.checksum, steps: told.steps, bytes: safetensors(told.parameters, about) };
  };
  const rest = async () => {
    ask(true);
    const { checksum, steps, bytes } = await read();
    if (learner?.playing()) return;
    state.checksum = checksum;
    model.set("weights", new DataView(bytes.buffer)); // for the notebook
    write(model.get("settings"), model.get("changes"), steps);
    draw();
  };

  return {
    state,
    now: () => now,
    examples,
    playing: () => !!learner?.playing(),
    again,
    /** From the beginning: as it stands now if a hand has changed it on the way, and else by its script again. */
    restart() {
      if (touched) return again();
      now = chosenIn(model.get("settings"), model);
      write(model.get("settings"), model.get("changes"));
      if (learner) begin(model.get("changes"));
      draw();
    },
    /** On, or, in a run that a link names, to where the link was made. */
    play() {
      const goal = model.get("until");
      begun().play(goal > (state.frame?.steps ?? 0) ? goal : undefined);
      playing = true;
      write(model.get("settings"), model.get("changes"), RUNNING);
      draw();
    },
    pause() {
      if (!learner) return;
      learner.pause();
      playing = false;
      rest();
      draw();
    },
    step() {
      begun().step();
      rest();
      draw();
    },
    /** As it was made. */
    reset() {
      const { settings, changes } = model.get("start");
      model.set("settings", settings);
      model.set("changes", changes);
      model.set("until", 0);
      model.set("chosen", 0);
      known = "";
      model.save_changes();
      this.follow();
      draw();
    },
    /** What can be changed while it learns, is; the rest starts anew. @param {Partial<Chosen>} changed */
    set(changed) {
      const names = Object.keys(changed);
      if (changed.speed) now.pace = SPEEDS[changed.speed];
      if (names.every((name) => SHOWN.includes(name))) {
        Object.assign(now, changed);
        write({ ...model.get("settings"), ...changed }, model.get("changes"), model.get("until"));
        learner?.change({ pace: now.pace });
        ask(true);
      } else if (!learner || !names.every((name) => LIVE.includes(name)) || "autoencoder" in changed) again(changed);
      else {
        touched = performance.now();
        Object.assign(now, changed);
        learner.change(/** @type {any} */ (changed));
      }
      draw();
    },
    /** Whether there are data of this name. @param {string} name */
    has: (name) => (name === "points" ? now.points.length : name === "pictures" ? own.pictures.length : 1) > 0,
    choose(/** @type {number} */ n) {
      model.set("chosen", n);
      model.save_changes();
      state.chosen = n;
      ask(true);
      draw();
    },
    /** Pictures of one's own (28×28 each) in place of all. @param {Numbers[]} pictures */
    bring(pictures) {
      Object.assign(own, { pictures, times: own.times + 1 });
      again({ ...usual("pictures"), data: "pictures", drawn: 0 });
    },
    /** A drawing, so many times, beside the images. @param {Numbers} picture @param {number} times */
    add(picture, times) {
      const drawn = [...own.drawn.slice(0, now.drawn), ...Array.from({ length: times }, () => picture)];
      Object.assign(own, { drawn, times: own.times + 1 });
      again({ drawn: drawn.length });
    },
    /** Follow what a link or the notebook says; returns what must be said of it, or null if it is known. */
    follow() {
      if (stateOf(model) === known) {
        if (state.chosen !== chosen()) this.choose(chosen());
        return null;
      }
      let wanted = chosenIn(model.get("settings"), model);
      const lacks = wanted.data === "pictures" && !own.pictures.length;
      if (lacks) wanted = chosenIn({ ...wanted, ...usual("digits"), data: "digits", decoderHidden: undefined }, model);
      now = wanted;
      known = stateOf(model);
      learner?.pause();
      playing = false;
      if (learner) begin(model.get("changes"));
      else forget();
      if (lacks) return "The link is of pictures that stayed with their owner; here are digits in their place.";
      const missing = now.drawn - own.drawn.length;
      return missing > 0 ? `The link is of a run with ${missing} drawings that stayed with their owner.` : "";
    },
    /** The parameters of now, as a file, and what they are together. */
    read,
    end: () => learner?.end(),
  };
}

/** What goes beside the numbers of a frame: asked for in one piece, and taken apart again. */
function makeQuestions() {
  /** @type {Map<number, Asked>} */
  const asked = new Map();
  let [tag, key, exactly] = [0, "", 0];
  const found = { of: "", box: /** @type {[number, number][]} */ ([]) };
  return {
    forget() {
      asked.clear();
      [key, exactly] = ["", 0];
    },
    /** What to ask next, if it is other than the last time.
     * @param {Examples} examples @param {Chosen} now @param {Run["state"]} state @param {boolean} whole all that can be known */
    about(examples, now, { frame, chosen }, whole) {
      const L = now.latents;
      const due =
        L <= 2 && !now.autoencoder && (whole || (!examples.shape && performance.now() - exactly > EXACT_EVERY));
      const q = due && frame?.means && frame.scales ? qOf(frame, chosen, L) : null;
      const nodes = q ? hermite(q.mean, q.scale) : null;
      const which = copied(examples, chosen);
      const grid = q && latentGrid(L, whole && !examples.shape); // points take little time
      const of = q ? [frame?.steps, q.n, ...q.mean, ...q.scale].join() : "";
      const near = q && whole && found.of === of ? gridOver(found.box) : null;
      const wanted = [now.seed, L, now.beneath, which, examples.shape, grid?.side, !!near, of].join(" ");
      if (wanted === key) return null;
      key = wanted;
      /** @type {Record<string, Numbers>} */
      const parts = { draws: fromPrior(drawsOf(examples), L) };
      if (examples.shape && now.beneath === "map" && L > 1) parts.map = mapCodes(L);
      if (grid && nodes) Object.assign(parts, { grid: grid.codes, nodes: nodes.codes });
      if (near) parts.near = near.codes;
      if (q) exactly = performance.now();
      asked.set(++tag, { parts, q, grid, near, of, weight: nodes?.weight ?? null });
      return { codes: true, copies: which, decode: joined(Object.values(parts)), tag };
    },
    /** @param {Frame} frame @param {Examples} examples @param {Chosen} now @param {Run["state"]} state */
    answer(frame, examples, now, state) {
      const about = asked.get(frame.tag ?? 0);
      if (!about || !frame.decoded) return;
      for (const old of asked.keys()) if (old < (frame.tag ?? 0)) asked.delete(old);
      const L = now.latents;
      /** @type {Record<string, Numbers>} */
      const decoded = {};
      let from = 0;
      for (const [name, codes] of Object.entries(about.parts)) {
        const length = (codes.length / L) * examples.dims;
        decoded[name] = frame.decoded.subarray(from, from + length);
        from += length;
      }
      state.decoded = decoded;
      if (about.q) state.exact = exactOf(examples, now, frame, decoded, about);
      else if (examples.shape || now.autoencoder) state.exact = { side: 0, half: 0 }; // of an older model
      const { share } = state.exact;
      if (about.q && about.grid && share)
        Object.assign(found, { of: about.of, box: boxOf(share, about.grid, about.q.mean, about.q.scale) });
    },
  };
}

/** @param {Examples} examples @param {Chosen} now @param {Frame} frame @param {Record<string, Numbers>} decoded
 * @param {Asked} asked @returns {Exact} */
function exactOf({ data, dims, shape }, now, frame, decoded, { q, weight, grid, near }) {
  if (!q || !weight || !grid) return { side: 0, half: 0 };
  const x = data.subarray(q.n * dims, (q.n + 1) * dims);
  const sigma = frame.scale ?? 1;
  const { logP: roughly, share } = posteriorOf(x, decoded.grid, grid, now.likelihood, sigma);
  const logP = near ? posteriorOf(x, decoded.near, near, now.likelihood, sigma).logP : roughly;
  const ledger = ledgerOf(x, decoded.nodes, weight, q.mean, q.scale, logP, now.likelihood, sigma);
  const places = densityPlaces(DENSE);
  const density = shape ? undefined : densityMap(decoded.grid, grid, sigma, places, places.slice().reverse());
  return { share, ledger, density, rough: !resolved(near ?? grid, q.scale), side: grid.side, half: grid.half };
}

/** @param {Frame} frame @param {number} n @param {number} L */
function qOf({ means, scales }, n, L) {
  const of = (/** @type {Numbers | undefined} */ all) => Float32Array.from(all?.subarray(n * L, (n + 1) * L) ?? []);
  return { mean: of(means), scale: of(scales), n };
}

/** The same codes from the prior each time (n × L). @param {number} n @param {number} L */
function fromPrior(n, L) {
  const { normal } = random(SEEDS.draws);
  return Float32Array.from({ length: n * L }, normal);
}

/** @param {Numbers[]} arrays */
function joined(arrays) {
  const all = new Float32Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}

/** Steps a second, of late. @param {{steps: number, at: number, rate: number}} pace @param {number} steps */
function measure(pace, steps) {
  const at = performance.now();
  if (steps < pace.steps || at - pace.at > 2000) Object.assign(pace, { steps, at, rate: 0 });
  else if (at - pace.at > 500) Object.assign(pace, { steps, at, rate: (1000 * (steps - pace.steps)) / (at - pace.at) });
}

/** @param {Model} model */
const stateOf = (model) => JSON.stringify(["settings", "changes", "until"].map((trait) => model.get(trait)));

/** Settings as a model holds them, whole. @param {Partial<Chosen>} settings @param {Model} model @returns {Chosen} */
function chosenIn({ data = "digits", points = [], drawn = 0, speed, beneath, pace: _, ...settings }, model) {
  const given = { ...usual(data), ...settings, dims: hasPoints(data) ? 2 : imageDims(model, data) };
  const shown = {
    speed: speed && speed in SPEEDS ? speed : usual(data).speed,
    beneath: beneath ?? usual(data).beneath,
  };
  const pace = SPEEDS[/** @type {keyof typeof SPEEDS} */ (shown.speed)];
  return /** @type {Chosen} */ ({ ...checked(given), data, points, drawn, ...shown, pace });
}

/** @param {Model} model @param {string} data */
function imageDims(model, data) {
  return data === "images"
    ? model.get("shape").reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1)
    : 784;
}

/** @param {Chosen} chosen */
const engineOf = ({ data, points, drawn, speed, beneath, ...settings }) => settings;

/** What is learned from. @param {Pick<Model, "get">} model @param {Chosen} now @param {{pictures: Numbers[], drawn: Numbers[]}} own
 * @returns {Examples} */
export function examplesOf(model, now, own) {
  const mix = random(SEEDS.data);
  if (POINT_SETS.includes(now.data)) {
    const { data, heldOut, labels } = pointSet(now.data, mix);
    return { data, heldOut, labels, shape: null, dims: 2, count: data.length / 2, words: "" };
  }
  if (now.data === "points") {
    const { points, words } = scaled(now.points);
    const { data, heldOut } = split(points, 2, mix);
    return { data, heldOut, labels: null, shape: null, dims: 2, count: data.length / 2, words };
  }
  const shape = now.data === "images" ? model.get("shape") : [1, 28, 28];
  const dims = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
  const { data: given, heldOut, labels } = imagesOf(model, now.data, own.pictures, dims);
  const drawn = dims === 784 ? own.drawn.slice(0, now.drawn) : [];
  const data = drawn.length ? joined([given, ...drawn]) : given;
  return { data, heldOut, labels, shape, dims, count: data.length / dims, words: "" };
}

/** @param {Pick<Model, "get">} model @param {string} name @param {Numbers[]} pictures @param {number} dims */
function imagesOf(model, name, pictures, dims) {
  if (name === "pictures") return { ...split(joined(pictures), dims, random(SEEDS.data)), labels: null };
  const held = model.get("held") * dims;
  const all =
    name === "images"
      ? Float32Array.from(bytesOf(asView(model.get("images"))), (v) => v / 255)
      : unpackDigits(model.get("digits"));
  const labels = bytesOf(asView(model.get("labels")));
  return {
    data: all.slice(0, all.length - held),
    heldOut: all.slice(all.length - held),
    labels: labels.length ? labels : null,
  };
}

/** @param {DataView<ArrayBuffer>} view */
const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
