// Steps and words for numbers that follow the range of what is shown, be it a millionth or a million.

const CLEAN = 6; // digits after those of a step at which a number is cut: what is beyond is rounding

/** @typedef {[number, number]} Limits */

/** The power of ten of a number's first digit. @param {number} value */
const powerOf = (value) => Math.floor(Math.log10(Math.abs(value)) + 1e-12);

/** The largest of 1, 2 and 5 times a power of ten that does not exceed a number above zero. @param {number} value */
export function roundNumber(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [5, 2, 1, 0.5].find((m) => m * power <= value * (1 + 1e-9)) ?? 0.5;
  return Number((factor * power).toPrecision(12));
}

/** Digits after the point that whole steps need. @param {number} step */
const decimals = (step) => Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));

/** @param {number} value @param {number} digits after the point, more than JavaScript allows or fewer */
const fixed = (value, digits) => value.toFixed(Math.min(100, digits));

/** The nearest place of a slider, counted in steps from its low end; the high end is one too.
 * @param {number} value @param {Limits} limits @param {number} step */
export function onStep(value, [low, high], step) {
  const inside = Math.min(high, Math.max(low, value));
  const nearest = Number(fixed(low + Math.floor((inside - low) / step + 0.5) * step, decimals(step) + CLEAN));
  return Math.min(high, Math.max(low, nearest));
}

/** The number at a place 0 … last of a slider whose steps are of equal ratio.
 * @param {number} place @param {Limits} limits @param {number} last */
export function atRatio(place, [low, high], last) {
  return Number((low * (high / low) ** (place / last)).toPrecision(CLEAN));
}

/** The place nearest to a number. @param {number} value @param {Limits} limits @param {number} last */
export function placeOfRatio(value, [low, high], last) {
  return Math.round((last * Math.log(value / low)) / Math.log(high / low));
}

/** A true minus sign, and 1.5e-7 as 1.5·10⁻⁷. @param {string} text */
function typeset(text) {
  const [digits, power] = text.split("e");
  return digits.replace("-", "−") + (power ? `·${tenTo(Number(power))}` : "");
}

/** @param {number} power */
function tenTo(power) {
  const digits = Array.from(String(Math.abs(power)), (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
  return `10${power < 0 ? "⁻" : ""}${digits.join("")}`;
}

/** A number with as many digits as a slider's step needs. @param {number} value @param {number} step */
export function written(value, step) {
  const steps = Math.round(value / step);
  if (steps === 0 || (step >= 1e-5 && step < 1e5))
    return typeset(fixed(steps === 0 ? 0 : value, decimals(Math.max(step, 1e-5))));
  return typeset(value.toExponential(Math.max(0, powerOf(value) - powerOf(step))));
}

/** A number to three digits. @param {number} value */
export function short(value) {
  const rounded = Number(value.toPrecision(3));
  const plain = rounded === 0 || (Math.abs(rounded) >= 1e-4 && Math.abs(rounded) < 1e6);
  return typeset(plain ? String(rounded) : rounded.toExponential());
}

/** How to name the places on an axis: in a unit, a power of a thousand, that leaves few digits.
 * @param {Limits} limits */
export function axisLabels([low, high]) {
  const most = Math.max(Math.abs(low), Math.abs(high));
  const power = most > 0 ? powerOf(most) : 0;
  const exponent = power >= 5 || power <= -3 ? 3 * Math.floor(power / 3) : 0;
  const unit = 10 ** exponent;
  const step = (high - low) / 50 / unit;
  return {
    at: (/** @type {number} */ value) => typeset(String(Number(fixed(value / unit, decimals(step || 1))))),
    name: (/** @type {string} */ name) => (exponent ? `${name} / ${tenTo(exponent)}` : name),
  };
}
