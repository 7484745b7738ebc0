// MathJax's configuration, from our own files alone.
import { keepTogether, paint } from "./equations.js";

window.MathJax = {
  ...window.MathJax, // what Sphinx has set
  loader: {
    load: ["core", "input/tex", "[tex]/html", "output/chtml", "a11y/assistive-mml"],
    versionWarnings: false, // the font's releases lag behind MathJax's
  },
  tex: { packages: { "[+]": ["html"] } },
  output: { font: "mathjax-stix2", fontPath: "[mathjax]/font", displayOverflow: "linebreak" },
  startup: {
    ready() {
      delete MathJax.config.options.menuOptions; // set by assistive-mml for the menu, which we leave out
      MathJax.Hub = MathJax.config.Hub; // by which ipywidgets asks for a label's (widgets.js)
      MathJax.startup.defaultReady();
      MathJax.startup.document.inputJax[0].postFilters.add((/** @type {{data: {root: MathNode}}} */ { data }) => {
        paint(data.root);
        keepTogether(data.root);
      });
    },
    // All at once would keep the page from answering for a second.
    async pageReady() {
      const equations = [...document.querySelectorAll(".math, .mathjax_process")];
      while (equations.length) {
        await MathJax.typesetPromise(equations.splice(0, 20));
        await new Promise((resolve) => setTimeout(resolve));
      }
    },
  },
};

// A long chapter's equations keep the page busy for a second: the widgets come first.
const script = /** @type {HTMLScriptElement} */ (document.currentScript);
const startup = new URL("startup.js", script.src).href;
document.addEventListener("DOMContentLoaded", async () => {
  await window.widgetsShown;
  document.head.append(Object.assign(document.createElement("script"), { src: startup }));
});
