// MathJax's configuration, and the colors of the roles: see `paint`.

/** What a symbol stands for; the style sheet gives each role its color. */
const SYMBOLS = { ϕ: "vae-q", φ: "vae-q", θ: "vae-p", KL: "vae-kl" };
const LABELS = { reconstruction: "vae-rec", KL: "vae-kl" };
const OPERATORS = new Set(["max", "min", "sup", "inf", "arg", "arg max", "arg min", "argmax", "argmin", "log", "exp", "lim"]);
const SCRIPTS = new Set(["msub", "msup", "msubsup"]);

const isToken = (node) => node.isToken;
const text = (node) => (isToken(node) ? node.childNodes.map((child) => child.text ?? "").join("") : "");

/** The nodes of a row, looking through the groups that TeX's braces leave behind. */
const row = (node) => (node.isKind("mrow") || node.isKind("TeXAtom") || node.isInferred ? node.childNodes.flatMap(row) : [node]);

/** The role that the symbols of a script name, if they name exactly one: q_ϕ, μ_{ϕ,i}, but not L_{θ,ϕ}. */
function roleOfScript(node) {
  const letters = row(node).map(text).join("").trim();
  const roles = new Set(row(node).map((part) => SYMBOLS[text(part)] ?? (letters === "KL" ? "vae-kl" : undefined)).filter(Boolean));
  return roles.size === 1 ? [...roles][0] : undefined;
}

/** An operator (∇_ϕ, max_ϕ, 𝔼_ϕ) keeps the ink: only its script takes color. @returns whether `node` is a plain letter */
const isSymbol = (node) =>
  node.isKind("mi") && /^\p{L}+$/u.test(text(node)) && !OPERATORS.has(text(node)) && node.attributes.get("mathvariant") !== "double-struck";

/** The role of a symbol together with its scripts. */
function roleOf(node) {
  if (isToken(node)) return node.isKind("mtext") ? LABELS[text(node).trim()] : SYMBOLS[text(node)];
  if (!SCRIPTS.has(node.kind)) return undefined;
  const [base, ...scripts] = node.childNodes;
  const own = row(base).length === 1 && roleOf(row(base)[0]);
  if (own) return own;
  return row(base).every(isSymbol) && !node.isKind("msup") ? roleOfScript(scripts[0]) : undefined;
}

const isLetter = (node, letter) => node && text(node.isKind("msub") ? row(node.childNodes[0])[0] : node) === letter;

/** Walk the parsed formula and mark what belongs to the encoder, the decoder, the prior and the KL. */
function paint(node) {
  if (!node || isToken(node)) {
    const role = node && roleOf(node);
    if (role) node.attributes.set("class", role);
    return;
  }
  const role = roleOf(node);
  if (role) {
    node.attributes.set("class", role);
    return;
  }
  const parts = row(node);
  parts.forEach((part, i) => {
    const [open, z, close] = parts.slice(i + 1);
    if (part.isKind("mi") && text(part) === "p" && text(open ?? part) === "(" && isLetter(z, "z") && close && text(close) === ")")
      part.attributes.set("class", "vae-prior");
  });
  node.childNodes.forEach(paint);
}

window.MathJax = {
  ...window.MathJax,
  loader: {
    load: ["core", "input/tex", "[tex]/html", "output/chtml", "a11y/assistive-mml"],
    versionWarnings: false, // the font's releases lag behind MathJax's
  },
  tex: { packages: { "[+]": ["html"] } },
  output: { font: "mathjax-stix2", fontPath: "[mathjax]/font", displayOverflow: "linebreak" },
  startup: {
    ready() {
      delete MathJax.config.options.menuOptions; // set by assistive-mml for the menu, which we leave out
      MathJax.startup.defaultReady();
      MathJax.startup.document.inputJax[0].postFilters.add(({ data }) => paint(data.root));
    },
  },
};
