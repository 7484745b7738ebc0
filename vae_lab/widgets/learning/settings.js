// What can be chosen: the model, once a run; how it learns, at any time.

/** The model. @typedef {object} Model
 * @property {number} dims numbers of an example, D
 * @property {number[]} hidden widths of the encoder's hidden layers; none makes it linear
 * @property {number[]} [decoderHidden] those of the decoder; the encoder's in reverse if not given
 * @property {number} latents L
 * @property {"relu" | "tanh"} activation
 * @property {"bernoulli" | "gaussian"} likelihood
 * @property {"identity" | "sigmoid"} mean what makes a Gaussian's means of the decoder's numbers
 * @property {number} scale σ of the Gaussian, where it starts
 * @property {boolean} learnScale whether σ is learned
 * @property {number} seed of the first parameters, the order of examples and the noise */

/** How it learns. @typedef {object} Live
 * @property {number} beta the weight of the KL
 * @property {number} rate Adam's
 * @property {number} batch examples a step, B; all of them where there are fewer
 * @property {"both" | "encoder" | "decoder"} part what learns; σ is the decoder's
 * @property {boolean} autoencoder neither noise nor KL: a code is the mean of q
 * @property {number} freeBits nats that each latent may use without a price (Kingma et al. 2016, eq. 15)
 * @property {number} pace steps a second at most; Infinity is as many as there is time for */

/** @typedef {Model & Live} Settings */

/** @type {Settings} */
export const DEFAULTS = {
  dims: 784,
  hidden: [128],
  latents: 2,
  activation: "relu",
  likelihood: "bernoulli",
  mean: "identity",
  scale: 0.1,
  learnScale: false,
  seed: 1,
  beta: 1,
  rate: 2e-3,
  batch: 64,
  part: "both",
  autoencoder: false,
  freeBits: 0,
  pace: Number.POSITIVE_INFINITY,
};

/** Between which ends a number may lie. Beyond, some run was seen to fail: to leave the numbers that float32 holds, or
 * never to recover from what it had been dragged to.
 * @type {Record<string, [number, number]>} */
export const LIMITS = {
  dims: [1, 4096],
  latents: [1, 8],
  scale: [0.01, 10],
  seed: [0, 2 ** 32 - 1],
  beta: [0, 20],
  rate: [0, 0.01],
  batch: [1, 512],
  freeBits: [0, 10],
  pace: [0.1, Number.POSITIVE_INFINITY],
};

const WHOLE = ["dims", "latents", "seed", "batch"];
const WIDTHS = { most: 1024, layers: 4 };

/** @type {Record<string, unknown[]>} */
export const CHOICES = {
  activation: ["relu", "tanh"],
  likelihood: ["bernoulli", "gaussian"],
  mean: ["identity", "sigmoid"],
  learnScale: [false, true],
  part: ["both", "encoder", "decoder"],
  autoencoder: [false, true],
};

export const LIVE = ["beta", "rate", "batch", "part", "autoencoder", "freeBits", "pace"];

/** The same settings, with the defaults where none is given. Throws a RangeError that names what cannot be.
 * @param {Partial<Settings>} given what is no setting is left out @returns {Settings} */
export function checked(given) {
  const settings = /** @type {Record<string, any>} */ ({ ...DEFAULTS });
  for (const [name, value] of Object.entries(given))
    if (name in DEFAULTS && value !== undefined) settings[name] = value;
  const hidden = given.decoderHidden ?? [...settings.hidden].reverse();
  for (const [name, widths] of Object.entries({ hidden: settings.hidden, decoderHidden: hidden }))
    mustBeWidths(name, widths);
  for (const name of Object.keys(LIMITS)) mustLieWithin(name, settings[name]);
  for (const [name, choices] of Object.entries(CHOICES))
    if (!choices.includes(settings[name])) refuse(name, `one of ${choices.join(", ")}`, settings[name]);
  return /** @type {Settings} */ ({ ...settings, decoderHidden: hidden });
}

/** @param {string} name @param {unknown} value */
function mustLieWithin(name, value) {
  const [low, high] = LIMITS[name];
  const kind = WHOLE.includes(name) ? "a whole number" : "a number";
  const fits = typeof value === "number" && value >= low && value <= high;
  if (!fits || (WHOLE.includes(name) && !Number.isInteger(value)))
    refuse(name, `${kind} from ${low} to ${high}`, value);
}

/** @param {string} name @param {unknown} widths */
function mustBeWidths(name, widths) {
  const fits = (/** @type {unknown} */ n) => Number.isInteger(n) && Number(n) >= 1 && Number(n) <= WIDTHS.most;
  if (!Array.isArray(widths) || widths.length > WIDTHS.layers || !widths.every(fits))
    refuse(name, `at most ${WIDTHS.layers} whole numbers from 1 to ${WIDTHS.most}`, widths);
}

/** @param {string} name @param {string} wanted @param {unknown} got */
function refuse(name, wanted, got) {
  throw new RangeError(`${name} must be ${wanted}, got ${got}`);
}
