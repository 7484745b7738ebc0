// Two passes over each formula that MathJax has parsed: colors for its roles, and where its lines may break.
// They work on the tree, not on the TeX, so they cannot break a formula.

/** What a symbol stands for, as the class that theme/colors.css gives its color. */
/** @type {Record<string, string>} */
const SYMBOLS = { ϕ: "vae-q", φ: "vae-q", θ: "vae-p", KL: "vae-kl" };
/** @type {Record<string, string>} */
const LABELS = { reconstruction: "vae-rec", KL: "vae-kl" };

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
export function paint(node) {
  if (!node) return;
  const role = roleOf(node);
  if (role) node.attributes.set("class", role);
  if (role || node.isToken) return;
  markPriors(row(node));
  node.childNodes.forEach(paint);
}

/** Lines break neither at the bars of q(z | x) and KL(q ‖ p) nor between parentheses; and within the text, where there
 * is another line to go to, neither at thin spaces nor between brackets of any kind.
 * @param {MathNode} root */
export function keepTogether(root) {
  const inText = root.attributes.get("display") !== "block";
  const opening = 4;
  const closing = 5; // TeX's classes
  const bracket = (/** @type {MathNode} */ node, /** @type {string} */ sign, /** @type {number} */ kind) =>
    text(node) === sign || (inText && node.texClass === kind);
  const thin = (/** @type {MathNode} */ node) =>
    !node.attributes.isSet("linebreak") && parseFloat(node.attributes.get("width")) < 1;
  let depth = 0;
  root.walkTree((node) => {
    const sign = node.isKind("mo");
    if (sign && bracket(node, "(", opening)) depth += 1;
    const keep = sign ? ["∣", "‖", "∥"].includes(text(node)) : inText && node.isKind("mspace") && thin(node);
    if (keep || (sign && depth > 0)) node.attributes.set("linebreak", "nobreak");
    if (sign && depth > 0 && bracket(node, ")", closing)) depth -= 1;
  });
}
