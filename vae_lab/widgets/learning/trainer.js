// One run: a model, its data, and what a page wants to see of them. It does a step when it is told to.
import { makeCurve } from "./curve.js";
import { simd } from "./kernels.js";
import { plain } from "./plain.js";
import { random, shuffle } from "./random.js";
import { LIMITS, LIVE } from "./settings.js";
import { makeVAE } from "./vae.js";

/** @typedef {import("./kernels.js").Numbers} Numbers */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./settings.js").Live} Live */
/** @typedef {import("./vae.js").Named} Named */

/** What a run needs. @typedef {object} Run
 * @property {Settings} settings
 * @property {Numbers} data examples to learn from (N × D), all known numbers; pixels in [0, 1]
 * @property {Numbers} heldOut others (M × D), perhaps none
 * @property {Partial<Named> | null} parameters to start from, instead of random ones
 * @property {boolean} plain whether to do without WebAssembly in any case
 * @property {Change[]} [changes] what is changed on the way: to repeat a run that somebody had a hand in */

/** After so many steps, what is other from then on. @typedef {[number, Partial<Live>]} Change */

/** What a frame shall hold beside its numbers. @typedef {object} View
 * @property {boolean} codes q(z|x) of all examples: `means` and `scales`, each (N × L)
 * @property {Numbers | null} decode codes (n × L): `decoded`, the means of p(x|z) there (n × D)
 * @property {Uint32Array | number[] | null} copies which examples: `copies`, their reconstructions (n × D)
 * @property {number} [tag] comes back with the frames that hold this */

/** @typedef {object} Frame
 * @property {number} steps done
 * @property {number} logLik of the ELBO's terms, of late, in nats: a mean over some thirty steps
 * @property {number} kl
 * @property {number | null} scale σ of a Gaussian likelihood
 * @property {Numbers} curve rows of COLUMNS
 * @property {Numbers} [means]
 * @property {Numbers} [scales]
 * @property {Numbers} [decoded]
 * @property {Numbers} [copies]
 * @property {Live} live
 * @property {Change[]} changes so far
 * @property {number} [tag]
 * @property {string} kernels "wasm" or "plain"
 * @property {string} failed why it cannot go on; empty if it can */

/** @typedef {ReturnType<typeof makeTrainer>} Trainer */

const SMOOTH = 0.03; // the share of a step in the terms of late
const SHARE = 1 / 20; // of the time, at most, goes to examples held out
const LONG = 16; // numbers of a row from which copying it at once is worth the call
const LEAST = 20; // steps a row of the curve

/** @param {Run} run */
export function makeTrainer({ settings, data, heldOut, parameters, plain: without, changes = [] }) {
  const { dims, latents, seed } = settings;
  const [N, M, rows] = [data.length / dims, heldOut.length / dims, LIMITS.batch[1]];
  const vae = makeModel(settings, rows, without);
  if (parameters) vae.write(parameters);
  const [x, noise] = [vae.kernels.space(rows * dims), vae.kernels.space(rows * latents)];
  const take = makeBatches(data, dims, random(seed, 1));
  const { normal } = random(seed, 2);
  const look = makeReader(vae, { data, dims, latents, x });
  const known = { means: new Float32Array(N * latents), scales: new Float32Array(N * latents), stale: true };
  /** @type {Live} */
  const live = pick(settings);
  const curve = makeCurve(
    Math.max(LEAST, Math.ceil(M / settings.batch / 3 / SHARE)), // a forward pass is a third of a step
    makeJudge(vae, { heldOut, dims, latents, live, x, noise, normal: random(seed, 3).normal }),
  );
  const late = { steps: 0, logLik: 0, kl: 0 };
  let failed = "";

  const script = makeScript(live, changes);

  const step = () => {
    script.follow(late.steps);
    const B = Math.min(live.batch, N, rows);
    const chosen = take(x, B);
    for (let i = 0; i < B * latents; i++) noise[i] = normal();
    const { terms, q } = vae.gradients(x, B, live, noise);
    if (!Number.isFinite(terms.logLik - terms.kl)) {
      failed = "The numbers have left what float32 can hold. Start again with a lower rate.";
      return;
    }
    vae.descend(live);
    keepCodes(known, chosen, q, vae.scales, latents);
    late.steps++;
    const share = Math.max(SMOOTH, 1 / late.steps);
    late.logLik += share * (terms.logLik - late.logLik);
    late.kl += share * (terms.kl - late.kl);
    curve.add(terms);
  };

  /** What a page draws. `fresh`: codes by the parameters of now; else each by those of its last batch, which is free.
   * @param {View} view @param {boolean} fresh @returns {Frame} */
  const frame = (view, fresh) => {
    if (view.codes && (fresh || known.stale)) look.codes(known);
    const codes = view.codes && { means: known.means.slice(), scales: known.scales.slice() };
    if (codes && live.autoencoder) codes.scales.fill(0);
    return {
      ...late,
      scale: vae.logScale && Math.exp(vae.logScale.value[0]),
      curve: curve.read(),
      ...codes,
      ...(view.decode && { decoded: look.decoded(view.decode) }),
      ...(view.copies && { copies: look.copies(view.copies) }),
      live: { ...live },
      changes: script.done(),
      tag: view.tag,
      kernels: vae.kernels.name,
      failed,
    };
  };
  const change = (/** @type {Partial<Live>} */ changed) => script.change(late.steps, changed);
  return { step, frame, change, live, read: vae.read, steps: () => late.steps, failed: () => failed };
}

/** What is changed on the way, by a script or by hand; a hand ends the script.
 * @param {Live} live @param {Change[]} changes */
function makeScript(live, changes) {
  const script = changes.map(([at, changed]) => /** @type {Change} */ ([at, { ...changed }]));
  let done = 0;
  return {
    follow(/** @type {number} */ steps) {
      for (; done < script.length && script[done][0] <= steps; done++) Object.assign(live, script[done][1]);
    },
    change(/** @type {number} */ steps, /** @type {Partial<Live>} */ changed) {
      this.follow(steps);
      Object.assign(live, changed);
      const { pace, ...matters } = changed; // how fast it goes does not change where
      if (!Object.keys(matters).length) return;
      script.length = done;
      const last = script[done - 1];
      if (last?.[0] === steps) Object.assign(last[1], matters);
      else done = script.push([steps, matters]);
    },
    done: () => script.slice(0, done),
  };
}

/** The model with the fastest kernels that there are. @param {Settings} settings @param {number} rows @param {boolean} without */
function makeModel(settings, rows, without) {
  if (!without) {
    try {
      return makeVAE(simd, settings, rows);
    } catch (error) {
      if (error instanceof RangeError) throw error; // no memory, which no other kernels have either
    }
  }
  return makeVAE(plain, settings, rows);
}

/** @param {Settings} settings @returns {Live} */
const pick = (settings) => {
  const entries = Object.entries(settings).filter(([name]) => LIVE.includes(name));
  return /** @type {any} */ (Object.fromEntries(entries));
};

/** A function that puts the next B examples into x (B × D) and returns which they are. Each is taken once before any is
 * taken again, but for those that do not fill a batch at the end.
 * @param {Numbers} data @param {number} dims @param {import("./random.js").Random} random */
function makeBatches(data, dims, { uniform }) {
  const order = Uint32Array.from({ length: data.length / dims }, (_, i) => i);
  let next = order.length;
  return (/** @type {Numbers} */ x, /** @type {number} */ B) => {
    if (next + B > order.length) {
      shuffle(order, uniform);
      next = 0;
    }
    const chosen = order.subarray(next, next + B);
    for (const [i, n] of chosen.entries()) copyRow(x, i, data, n, dims);
    next += B;
    return chosen;
  };
}

/** Row i of `to` = row n of `from`. @param {Numbers} to @param {number} i @param {Numbers} from @param {number} n @param {number} width */
function copyRow(to, i, from, n, width) {
  if (width > LONG) to.set(from.subarray(n * width, (n + 1) * width), i * width);
  else for (let k = 0, a = i * width, b = n * width; k < width; k++) to[a++] = from[b++];
}

/** @typedef {{means: Numbers, scales: Numbers, stale: boolean}} Known */

/** Note q (B × 2L) of the examples that were chosen. @param {Known} known @param {Uint32Array} chosen
 * @param {Numbers} q @param {Numbers} scales (B × 2L) @param {number} L */
function keepCodes(known, chosen, q, scales, L) {
  for (let b = 0; b < chosen.length; b++)
    for (let l = 0, to = chosen[b] * L; l < L; l++, to++) {
      known.means[to] = q[2 * L * b + l];
      known.scales[to] = scales[2 * L * b + L + l];
    }
}

/** Functions that ask the model, between two steps, about any number of examples or codes.
 * @param {import("./vae.js").VAE} vae @param {{data: Numbers, dims: number, latents: number, x: Numbers}} about */
function makeReader(vae, { data, dims, latents, x }) {
  const rows = x.length / dims;
  const z = vae.kernels.space(rows * latents);
  const all = Uint32Array.from({ length: data.length / dims }, (_, i) => i);
  /** @param {ArrayLike<number>} which @param {(chosen: Uint32Array, q: Numbers, from: number) => void} use */
  const encode = (which, use) => {
    for (let from = 0; from < which.length; from += rows) {
      const chosen = Uint32Array.from({ length: Math.min(rows, which.length - from) }, (_, i) => which[from + i]);
      for (const [i, n] of chosen.entries()) copyRow(x, i, data, n, dims);
      use(chosen, vae.encode(x, chosen.length), from);
    }
  };
  /** @param {Numbers} codes */
  const decoded = (codes) => {
    const count = codes.length / latents;
    const to = new Float32Array(count * dims);
    for (let from = 0; from < count; from += rows) {
      const B = Math.min(rows, count - from);
      z.set(codes.subarray(from * latents, (from + B) * latents));
      to.set(vae.decode(z, B).subarray(0, B * dims), from * dims);
    }
    return to;
  };
  return {
    decoded,
    codes(/** @type {Known} */ known) {
      encode(all, (chosen, q) => keepCodes(known, chosen, q, vae.scales, latents));
      known.stale = false;
    },
    copies(/** @type {ArrayLike<number>} */ which) {
      const means = new Float32Array(which.length * latents);
      encode(which, (chosen, q, from) => {
        for (let b = 0; b < chosen.length; b++)
          for (let l = 0; l < latents; l++) means[(from + b) * latents + l] = q[2 * latents * b + l];
      });
      return decoded(means);
    },
  };
}

/** A function that finds the terms of the ELBO for the examples held out, with the same noise at every time, so that
 * what changes is the model; null without such examples.
 * @param {import("./vae.js").VAE} vae @param {{heldOut: Numbers, dims: number, latents: number, live: Live, x: Numbers,
 *   noise: Numbers, normal: () => number}} about */
function makeJudge(vae, { heldOut, dims, latents, live, x, noise, normal }) {
  const [M, rows] = [heldOut.length / dims, x.length / dims];
  const same = Float32Array.from({ length: M * latents }, normal);
  return () => {
    if (!M) return null;
    const total = { logLik: 0, kl: 0 };
    for (let from = 0; from < M; from += rows) {
      const B = Math.min(rows, M - from);
      x.set(heldOut.subarray(from * dims, (from + B) * dims));
      noise.set(same.subarray(from * latents, (from + B) * latents));
      const { logLik, kl } = vae.evaluate(x, B, live, noise);
      total.logLik += (logLik * B) / M;
      total.kl += (kl * B) / M;
    }
    return total;
  };
}
