// Rules about nothing: differences that are pure noise, ways to call one a law, and how often each way does.
import { random } from "./learning/random.js";

/** @typedef {number[][]} Rule  settings × seeds, differences from N(0, 1) */

export const SETTINGS = 3; // that may be tried
const CRITICAL = 2; // standard errors of a mean

const alike = (/** @type {number[]} */ all) =>
  Math.max(all.filter((d) => d > 0).length, all.filter((d) => d < 0).length);
const strong = (/** @type {number[]} */ all) =>
  Math.abs(all.reduce((a, b) => a + b, 0)) / Math.sqrt(all.length) > CRITICAL;

/** By name: whether a rule passes, and the probability that one about nothing does, on S seeds.
 * @type {Record<string, {passes: (rule: Rule) => boolean, probability: (S: number) => number, all?: boolean}>}  `all`
 *   if all settings are tried, and not only the first */
export const CRITERIA = {
  "one sign on all seeds": {
    passes: ([first]) => alike(first) === first.length,
    probability: (S) => 2 ** (1 - S),
  },
  "a mean two errors from 0": {
    passes: ([first]) => strong(first),
    probability: () => 0.0455002638963584, // 2 (1 − Φ(2))
  },
  "one seed left out afterward": {
    passes: ([first]) => alike(first) >= first.length - 1,
    probability: (S) => Math.min(1, (1 + S) * 2 ** (1 - S)),
  },
  "the best of three settings": {
    passes: (rule) => rule.some((setting) => alike(setting) === setting.length),
    probability: (S) => 1 - (1 - 2 ** (1 - S)) ** SETTINGS,
    all: true,
  },
};

/** Rules about nothing. @param {number} n @param {number} S seeds each @param {number} seed @returns {Rule[]} */
export function factory(n, S, seed) {
  const { normal } = random(seed);
  return Array.from({ length: n }, () =>
    Array.from({ length: SETTINGS }, () => Array.from({ length: S }, () => normal())),
  );
}

/** The probability of k laws among n rules, for k = 0 … n. @param {number} n @param {number} p */
export function binomial(n, p) {
  const logs = new Float64Array(n + 1);
  for (let k = 1; k <= n; k++) logs[k] = logs[k - 1] + Math.log((n - k + 1) / k);
  const log = (/** @type {number} */ times, /** @type {number} */ x) => (times ? times * Math.log(x) : 0);
  return logs.map((value, k) => Math.exp(value + log(k, p) + log(n - k, 1 - p)));
}
