// The search: finds sections and the terms of the glossary in what search_index.py has written, and shows each with
// the words around what was found.
import MiniSearch from "minisearch";

/** @typedef {{ id: number, url: string, page: string, section: string, text: string, defines: string, kind: "chapter" | "other" | "term" }} Place */

/** Other words for a thing that the book calls by the second. */
const CALLED = [
  ["iwae", "importance weights"],
  ["importance weighted autoencoder", "importance weights"],
  ["beta vae", "kl weight"],
  ["kl vanishing", "posterior collapse"],
  ["reparameterization trick", "reparameterization"],
  ["reparametrization", "reparameterization"],
  ["reparametrization trick", "reparameterization"],
  ["log sum exp", "logarithms of sums"],
  ["logsumexp", "logarithms of sums"],
  ["blurry", "blurs"],
  ["pathwise", "path"],
  ["score function", "reinforce"],
  ["likelihood ratio estimator", "reinforce"],
  ["kid", "kernel distance"],
  ["mmd", "kernel distance"],
  ["frechet inception distance", "fid"],
  ["aggregated posterior", "aggregate posterior"],
  ["disentangle", "mutual information gap"],
  ["disentanglement", "mutual information gap"],
  ["mcmc", "metropolis"],
  ["principal component analysis", "pca"],
  ["expectation maximization", "em"],
  ["em algorithm", "em"],
  ["variational autoencoder", "vae"],
  ["evidence lower bound", "elbo"],
  ["warm up", "annealing"],
  ["oom", "out of memory"],
];

/** Chapters come before other pages, and what teaches a word before the glossary. */
const WEIGHTS = { chapter: 1, other: 0.3, term: 0.08 };

/** Sections that come back to what others have said. */
const LATE = ["What we now know", "Exercises", "Where to read more"];

const GREEK = { α: "alpha", β: "beta", γ: "gamma", θ: "theta", λ: "lambda", μ: "mu", σ: "sigma", φ: "phi", ϕ: "phi" };

const SAYING_NOTHING = new Set(
  "a an and are be can do does for from how i in is it my of on or that the this to what when where which why with".split(
    " ",
  ),
);

/** A word as it is compared: without accents and the plural's s. @param {string} word */
function plain(word) {
  const bare = word
    .toLowerCase()
    .normalize("NFD")
    .replace(/\p{Mn}/gu, "")
    .replace(/’s$|'s$/, "");
  const latin = bare.replace(/[α-ϕ]/gu, (letter) => GREEK[/** @type {keyof typeof GREEK} */ (letter)] ?? letter);
  return latin.length > 3 ? latin.replace(/(?<![si])s$/, "") : latin;
}

const split = (/** @type {string} */ text) => text.match(/[\p{L}\p{M}\p{N}’']+/gu) ?? [];
const phrase = (/** @type {string} */ text) => ` ${split(text).map(plain).join(" ")} `;

/** @param {Place[]} places */
export function searcher(places) {
  const mini = new MiniSearch({
    fields: ["section", "defines", "page", "text"],
    tokenize: split,
    processTerm: (word) => (SAYING_NOTHING.has(word.toLowerCase()) ? null : plain(word)),
    searchOptions: {
      boost: { section: 4, defines: 4, page: 1.5 },
      prefix: (term) => term.length > 3,
      weights: { prefix: 0.4, fuzzy: 0.3 },
    },
  });
  places.forEach((place, id) => {
    place.id = id;
  });
  mini.addAll(places);
  const said = places.map(({ section, defines, text }) => ({
    title: phrase(section),
    defines: phrase(defines),
    text: phrase(text),
  }));

  /** How much more a place counts whose title has all the words, or that has them in their order.
   * @param {number} id @param {string[]} words */
  const fits = (id, words) => {
    const { title, defines, text } = said[id];
    const inOrder = ` ${words.join(" ")} `;
    const times = Math.min(4, text.split(inOrder).length - 1);
    const titled = words.every((word) => title.includes(` ${word} `)) ? 2 : 1;
    return titled * (title.includes(inOrder) ? 1.5 : 1) * (defines.includes(inOrder) ? 2 : 1) * (1 + times / 2);
  };

  /** The places for some words, the best first. @param {string} query @returns {{ place: Place, terms: string[] }[]} */
  return (query) => {
    const asked = phrase(query);
    const other = CALLED.filter(([alias]) => asked.includes(phrase(alias))).map(([alias, name]) =>
      asked.replace(phrase(alias), phrase(name)),
    );
    for (const options of [{}, { fuzzy: 0.2 }]) {
      /** @type {Map<number, { place: Place, terms: string[], score: number }>} */
      const found = new Map();
      for (const words of [asked, ...other]) {
        const told = words.split(" ").filter((word) => word && !SAYING_NOTHING.has(word));
        for (const { id, score, terms, queryTerms } of mini.search(words, options)) {
          const place = places[id];
          const share = new Set(queryTerms).size / told.length;
          const weight = WEIGHTS[place.kind] * (LATE.includes(place.section) ? 0.5 : 1);
          const value = score * share ** 3 * weight * fits(id, told);
          if (share >= 0.5 && value > (found.get(id)?.score ?? 0)) found.set(id, { place, terms, score: value });
        }
      }
      if (found.size) return [...found.values()].sort((a, b) => b.score - a.score);
    }
    return [];
  };
}

/** @param {string} tag @param {object} properties @param {(Node | string)[]} inner */
const element = (tag, properties, ...inner) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inner);
  return made;
};

/** The words around the first that was found, with what was found marked. @param {string} text @param {string[]} terms */
function excerpt(text, terms) {
  const pieces = text.split(/([\p{L}\p{M}\p{N}’']+)/u); // every other one is a word
  const hit = pieces.map((piece, i) => i % 2 === 1 && terms.includes(plain(piece)));
  let [best, most] = [0, -1];
  for (let start = 0; start < pieces.length; start += 2) {
    const count = new Set(pieces.slice(start, start + 60).filter((_, i) => hit[start + i])).size;
    if (count > most) [best, most] = [start, count];
  }
  const first = hit.indexOf(true, best);
  const start = Math.max(0, first - 16);
  const parts = pieces
    .slice(start, start + 76)
    .map((piece, i) => (hit[start + i] ? element("mark", {}, piece) : piece));
  return element("p", {}, start > 0 ? "… " : "", ...parts, start + 76 < pieces.length ? " …" : "");
}

/** @param {{ place: Place, terms: string[] }} found */
function shown({ place, terms }) {
  const surface = new Set(split(`${place.text} ${place.section}`).filter((word) => terms.includes(plain(word))));
  const [page, section] = place.url.split("#");
  const marks = encodeURIComponent([...new Set([...surface].map((word) => word.toLowerCase()))].join(" "));
  const href = `${page}?highlight=${marks}#${section}`;
  const title = place.section === place.page ? [place.page] : [place.section, element("span", {}, place.page)];
  return element("li", {}, element("a", { href }, ...title), excerpt(place.text, terms));
}

const MOST = 40;

function start() {
  const results = document.querySelector("#search-results");
  const input = /** @type {HTMLInputElement | null} */ (document.querySelector(".bd-search-container input"));
  if (!results || !input) return;
  const search = searcher(globalThis.searchable);
  const show = () => {
    const query = input.value.trim();
    const found = query ? search(query) : [];
    const count = found.length === 1 ? "One place" : `${found.length || "No"} places`;
    const told = query
      ? `${count} for “${query}”${found.length > MOST ? `, of which these are the first ${MOST}` : ""}.`
      : "";
    results.replaceChildren(
      element("p", { role: "status" }, told),
      element("ol", {}, ...found.slice(0, MOST).map(shown)),
    );
  };
  input.value = new URLSearchParams(location.search).get("q") ?? "";
  input.addEventListener("input", show);
  show();
}

if (globalThis.document) start();
