// Sets the book's equations when it is built: equations.py starts this once, and it answers a line of JSON with a line.
//
//   {"tex": …, "display": …}   {"html": [[HTML, from, below], …], "error": …}: to be shown in a column at least `from`
//                              and less than `below` em wide; an equation in the text breaks by itself and has one
//   {"styles": the fonts' folder}   {"css": …}: what all that were asked for need
//
// Two passes over each formula that MathJax has parsed say which color it has and where its lines may break. They work
// on the tree, not on the TeX, so they cannot break a formula.

import { createInterface } from "node:readline";
import MathJax from "mathjax";

/** What a symbol stands for, as the class that theme/colors.css gives its color. */
/** @type {Record<string, string>} */
const SYMBOLS = { ϕ: "vae-q", φ: "vae-q", θ: "vae-p", KL: "vae-kl" };
/** @type {Record<string, string>} */
const LABELS = { reconstruction: "vae-rec", KL: "vae-kl" };

/** TeX's classes. */
const [ORDINARY, OPERATOR, OPENING, CLOSING] = [0, 1, 4, 5];
const TIGHT = [OPERATOR, OPENING, CLOSING];

/** Operators keep the ink and only their scripts take color: max_ϕ, and by their kind of letter ∇_ϕ, 𝔼_ϕ. */
const OPERATORS = ["max", "min", "sup", "inf", "lim", "arg", "arg max", "arg min", "log", "exp"];

const text = (/** @type {MathNode} */ node) =>
  node.isToken ? node.childNodes.map((child) => child.text ?? "").join("") : "";

/** The nodes of a row, looking through the groups that TeX's braces leave behind.
 * @param {MathNode} node @returns {MathNode[]} */
const row = (node) =>
  node.isInferred || ["mrow", "TeXAtom"].includes(node.kind) ? node.childNodes.flatMap(row) : [node];

const isLetter = (/** @type {MathNode} */ node) =>
  node.isKind("mi") &&
  /^\p{L}+$/u.test(text(node)) &&
  !OPERATORS.includes(text(node)) &&
  node.attributes.get("mathvariant") !== "double-struck";

/** The role that a script names, if it names exactly one: q_ϕ, μ_{ϕ,i}, D_{KL}, but not L_{θ,ϕ}.
 * @param {MathNode} script */
function roleOfScript(script) {
  const signs = row(script).map(text);
  if (signs.join("") === "KL") return SYMBOLS.KL;
  const roles = new Set(signs.map((sign) => SYMBOLS[sign]).filter(Boolean));
  return roles.size === 1 ? [...roles][0] : undefined;
}

/** The role of a symbol, together with its scripts.
 * @param {MathNode} node @returns {string | undefined} */
function roleOf(node) {
  if (node.isKind("mtext")) return LABELS[text(node).trim()];
  if (node.isToken) return SYMBOLS[text(node)];
  if (!["msub", "msup", "msubsup"].includes(node.kind)) return undefined;
  const [base, script] = node.childNodes;
  const letters = row(base);
  if (letters.length === 1 && roleOf(letters[0])) return roleOf(letters[0]);
  return !node.isKind("msup") && letters.every(isLetter) ? roleOfScript(script) : undefined;
}

/** Mark the p of each p(z), p(z_i): the prior has no parameters to tell it by.
 * @param {MathNode[]} nodes */
function markPriors(nodes) {
  nodes.forEach((p, i) => {
    const [open, z, close] = nodes.slice(i + 1);
    if (!close || text(p) !== "p" || text(open) !== "(" || text(close) !== ")") return;
    if (text(z.isKind("msub") ? row(z.childNodes[0])[0] : z) === "z") p.attributes.set("class", "vae-prior");
  });
}

/** Color what belongs to the encoder, the decoder, the prior, the KL and the reconstruction.
 * @param {MathNode | null} node */
function paint(node) {
  if (!node) return;
  const role = roleOf(node);
  if (role) node.attributes.set("class", role);
  if (role || node.isToken) return;
  markPriors(row(node));
  node.childNodes.forEach(paint);
}

/** Lines break neither at the bars of q(z | x) and KL(q ‖ p) and at thin spaces, nor between parentheses, nor in the
 * text, where there is another line to go to, between brackets of any kind. They never begin with a plus, a minus or
 * what closes, and never end with what opens, a sum, or a sign such as that of −ELBO; within the text they begin with no
 * relation either. Best they break between two equations.
 * @param {MathNode} root */
function keepTogether(root) {
  const inText = root.attributes.get("display") !== "block";
  const bracket = (/** @type {MathNode} */ node, /** @type {string} */ sign, /** @type {number} */ kind) =>
    text(node) === sign || (inText && node.texClass === kind);
  const keep = (/** @type {MathNode} */ node) => node.attributes.set("linebreak", "nobreak");
  let depth = 0;
  /** @type {MathNode | null} */
  let before = null;
  root.walkTree((node) => {
    if (node.isKind("mspace") && !node.attributes.isSet("linebreak")) {
      if (parseFloat(node.attributes.get("width")) < 1) keep(node);
      else if (!inText) node.attributes.set("linebreak", "goodbreak");
    }
    if (!node.isToken || node.isKind("mspace")) return;
    if (node.isKind("mo")) {
      if (bracket(node, "(", OPENING)) depth += 1;
      const follows = before !== null && (!before.isKind("mo") || before.texClass === CLOSING);
      const sign = ["+", "−"].includes(text(node)) && !follows;
      const tight = ["∣", "‖", "∥", "."].includes(text(node)) || TIGHT.includes(node.texClass ?? ORDINARY);
      if (sign || tight || depth > 0) keep(node);
      if (inText || ["+", "−"].includes(text(node))) node.attributes.set("linebreakstyle", "after");
      if (depth > 0 && bracket(node, ")", CLOSING)) depth -= 1;
    }
    if (before && /^const/.test(text(node))) keep(before); // or the next line would begin with "const = …"
    if (node.isKind("mtext") && depth > 0)
      for (const words of node.childNodes) words.setText?.(words.text?.replaceAll(" ", "\u00a0"));
    before = node;
  });
}

/** Take away MathJax's notes on where in the TeX each node comes from, but for the whole formula's.
 * @param {MathNode} root */
function forget(root) {
  root.walkTree((node) => {
    if (node !== root) node.attributes.unset("data-latex");
  });
}

/** The widths in em at which a display is set: a desktop's column, a tablet's, and two phones'. */
const WIDTHS = [34, 25, 18.5, 15];

await MathJax.init({
  loader: {
    load: [
      "adaptors/liteDOM",
      "core",
      "input/tex",
      "[tex]/html",
      "[tex]/boldsymbol",
      "output/chtml",
      "a11y/assistive-mml",
    ],
    versionWarnings: false, // the font's releases lag behind MathJax's
  },
  tex: { packages: { "[+]": ["html", "boldsymbol"], "[-]": ["noundefined", "autoload", "require"] } },
  output: { font: "mathjax-stix2", fontPath: "@mathjax/mathjax-stix2-font", displayOverflow: "linebreak" },
  options: { enableAssistiveMml: true },
  startup: {
    typeset: false,
    ready() {
      delete globalThis.MathJax.config.options.menuOptions; // set by assistive-mml for the menu, which we leave out
      globalThis.MathJax.startup.defaultReady();
    },
  },
});
const { tex2chtmlPromise, chtmlStylesheet, startup } = globalThis.MathJax;
const { adaptor, document } = startup;
document.inputJax[0].postFilters.add((/** @type {{data: {root: MathNode}}} */ { data: { root } }) => {
  for (const pass of [paint, keepTogether, forget]) pass(root);
});

/** A formula as HTML, for a column so many em wide. @param {string} tex @param {boolean} display @param {number} width */
async function set(tex, display, width) {
  const em = 16;
  return adaptor.outerHTML(await tex2chtmlPromise(tex, { display, em, ex: em / 2, containerWidth: width * em }));
}

/** One and the same formula for each range of widths. @param {string} tex @param {boolean} display */
async function setForAll(tex, display) {
  /** @type {[string, number, number | null][]} */
  const found = [];
  for (const width of display ? WIDTHS : [1000]) {
    const html = await set(tex, display, width);
    const last = found.at(-1);
    if (last && last[0] === html) last[1] = width;
    else found.push([html, width, last ? last[1] : null]);
  }
  found[found.length - 1][1] = 0;
  const error = /data-mjx-error="([^"]*)"/.exec(found[0][0])?.[1];
  return { html: found, error };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { tex, display, styles } = JSON.parse(line);
  console.log(JSON.stringify(styles ? { css: adaptor.cssText(chtmlStylesheet()) } : await setForAll(tex, display)));
}
