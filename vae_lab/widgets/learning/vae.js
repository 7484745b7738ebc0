// A variational autoencoder that learns by gradients written out by hand: no autodiff, no library.
import { upToFour } from "./kernels.js";
import { bernoulli, gaussian } from "./likelihoods.js";
import { network, parameterCount, parameters } from "./network.js";
import { random } from "./random.js";

/** @typedef {import("./kernels.js").Kernels} Kernels */
/** @typedef {import("./kernels.js").Numbers} Numbers */
/** @typedef {import("./settings.js").Model} Model */
/** @typedef {import("./settings.js").Live} Live */
/** @typedef {{logLik: number, kl: number}} Terms  of the ELBO, logLik − kl: means over the batch, in nats */
/** @typedef {Record<string, {shape: number[], values: Numbers}>} Named  parameters by their names in a PyTorch model */
/** @typedef {ReturnType<typeof makeVAE>} VAE */

/** The model that `model` describes, for batches of at most `rows`.
 * @param {(room: number, longest: number) => Kernels} makeKernels @param {Model} model @param {number} rows */
export function makeVAE(makeKernels, model, rows) {
  const { dims, latents, activation } = model;
  const [encoderSizes, decoderSizes] = sizesOf(model);
  const kernels = makeKernels(roomFor(model, rows), Math.max(rows, ...encoderSizes, ...decoderSizes));
  const { uniform } = random(model.seed, 0);
  const part = (/** @type {number[]} */ sizes, /** @type {number} */ more) => {
    const own = parameters(kernels, parameterCount(sizes) + more);
    return { own, ...network(kernels, sizes, { activation, rows, own, uniform }) };
  };
  const [encoder, decoder] = [part(encoderSizes, 0), part(decoderSizes, 4)];
  const logScale = decoder.own.add(1, () => Math.log(model.scale));
  const likelihood =
    model.likelihood === "bernoulli"
      ? bernoulli(kernels)
      : gaussian(kernels, logScale, { learn: model.learnScale, squash: model.mean === "sigmoid", room: rows * dims });
  const [z, none] = [kernels.space(rows * latents), kernels.space(rows * latents)];
  const [scales, dq] = [kernels.space(2 * rows * latents), kernels.space(2 * rows * latents)];
  const [kls, prices] = [kernels.space(latents), kernels.space(latents)];

  /** The terms for examples x (B × D), z = μ + σ · noise; what `observe` says of them stays for `gradients`.
   * @param {Numbers} x @param {number} B @param {Live} live @param {Numbers} noise (B × L) */
  const forward = (x, B, live, noise) => {
    const eps = live.autoencoder ? none : noise;
    const q = encoder.forward(x, B);
    kernels.sample(z, scales, q, eps, B, latents);
    const { nats, slope } = likelihood.observe(decoder.forward(z, B), x, B * dims, B);
    kernels.divergence(kls, scales, q, B, latents);
    const kl = live.autoencoder ? 0 : kls.reduce((a, b) => a + b, 0) / B;
    return { terms: /** @type {Terms} */ ({ logLik: nats / B, kl }), q, eps, slope };
  };

  return {
    kernels,
    encoder,
    decoder,
    /** What q(z|x) of the last call had in the place of its log-variances: standard deviations (B × 2L). */
    scales,
    /** log σ of a Gaussian likelihood. */
    logScale: likelihood.logScale,
    /** The terms of the ELBO. @param {Numbers} x @param {number} B @param {Live} live @param {Numbers} noise (B × L) */
    evaluate: (x, B, live, noise) => forward(x, B, live, noise).terms,
    /** The terms, and the slopes of −(logLik − β kl) in every parameter that learns; q (B × 2L), means and log-variances.
     * @param {Numbers} x @param {number} B @param {Live} live @param {Numbers} noise (B × L) */
    gradients(x, B, live, noise) {
      const { terms, q, eps, slope } = forward(x, B, live, noise);
      const dz = decoder.backward(slope, B, live.part !== "encoder", live.part !== "decoder");
      if (live.part !== "decoder") {
        const weight = live.autoencoder ? 0 : live.beta / B;
        for (let l = 0; l < latents; l++) prices[l] = live.freeBits && kls[l] / B <= live.freeBits ? 0 : weight;
        kernels.posteriorBack(dq, dz, scales, q, eps, prices, B, latents);
        encoder.backward(dq, B, true, false);
      }
      return { terms, q };
    },
    /** A step of Adam down those slopes. @param {Live} live */
    descend({ part, rate }) {
      if (part !== "decoder") encoder.own.descend(rate);
      if (part !== "encoder") {
        decoder.own.descend(rate);
        likelihood.keep();
      }
    },
    /** q(z|x) of examples x (B × D): means and log-variances (B × 2L); see `scales`. @param {Numbers} x @param {number} B */
    encode(x, B) {
      const q = encoder.forward(x, B);
      kernels.sample(z, scales, q, none, B, latents);
      return q;
    },
    /** The means of p(x|z) for codes (B × L): (B × D). @param {Numbers} codes @param {number} B */
    decode: (codes, B) => likelihood.means(decoder.forward(codes, B), B * dims),
    ...naming(encoder, decoder, likelihood),
  };
}

/** Sizes of the encoder's and of the decoder's layers. @param {Model} model */
function sizesOf({ dims, latents, hidden, decoderHidden }) {
  return [
    [dims, ...hidden, 2 * latents],
    [latents, ...(decoderHidden ?? [...hidden].reverse()), dims],
  ];
}

/** Numbers that a model and its trainer keep. @param {Model} model @param {number} rows */
function roomFor(model, rows) {
  const { dims, latents } = model;
  let room = 1024; // for what is rounded up
  for (const sizes of sizesOf(model)) {
    room += 4 * parameterCount(sizes);
    for (let i = 1; i < sizes.length; i++) room += upToFour(rows * sizes[i - 1]) + upToFour(rows * sizes[i]);
  }
  return room + rows * (2 * dims + 8 * latents); // errors, examples; codes, noise and what belongs to them
}

/** Parameters by name, as `vae_lab.models.VAE` with dense networks names them; weights are (outputs × inputs) there.
 * @param {import("./network.js").Network} encoder @param {import("./network.js").Network} decoder
 * @param {import("./likelihoods.js").Likelihood} likelihood */
function naming(encoder, decoder, { logScale }) {
  /** @type {[string, import("./network.js").Parameter, number[]][]} */
  const all = [];
  const parts = /** @type {const} */ ([
    ["encoder", encoder, 2],
    ["decoder", decoder, 0],
  ]);
  for (const [part, { layers }, first] of parts)
    for (const [i, { W, b, inputs, outputs }] of layers.entries())
      all.push(
        [`${part}.${first + 2 * i}.weight`, W, [outputs, inputs]],
        [`${part}.${first + 2 * i}.bias`, b, [outputs]],
      );
  if (logScale) all.push(["likelihood.log_scale", logScale, []]);
  /** @param {"value" | "slope"} which @returns {Named} */
  const read = (which = "value") =>
    Object.fromEntries(
      all.map(([name, p, shape]) => [name, { shape, values: transposed(p[which], shape.toReversed()) }]),
    );
  /** Take these parameters; those that are not named stay. @param {Partial<Named>} named */
  const write = (named) => {
    for (const [name, p, shape] of all) {
      const given = named[name];
      if (!given) continue;
      if (String(given.shape) !== String(shape)) throw new RangeError(`${name} must be ${shape}, got ${given.shape}`);
      p.value.set(transposed(given.values, shape));
    }
  };
  return { read, write };
}

/** A copy, turned around its diagonal where it is a matrix. @param {Numbers} values @param {number[]} shape */
function transposed(values, [rows, columns]) {
  const to = values.slice();
  if (columns === undefined) return to;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) to[j * rows + i] = values[i * columns + j];
  return to;
}
