// MathJax's configuration, from our own files alone.
import { keepTogether, paint } from "./equations.js";

const parsed = new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve));

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
      MathJax.startup.defaultReady();
      MathJax.startup.document.inputJax[0].postFilters.add(({ data }) => {
        paint(data.root);
        keepTogether(data.root);
      });
    },
    // A long chapter's equations keep the page busy for a second: the widgets come first.
    pageReady: () => parsed.then(() => window.widgetsShown).then(() => MathJax.startup.defaultPageReady()),
  },
};
