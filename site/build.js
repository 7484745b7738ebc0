// Builds dist/, everything the book's pages load that is not Sphinx's own: nothing comes from another host.
import { build } from "esbuild";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";

const dist = "dist";
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);

// ipywidgets-7 copies of the packages are imported by base-manager, but no notebook of ours can need them.
const noOldWidgets = {
  name: "no-old-widgets",
  setup(b) {
    b.onResolve({ filter: /^@jupyter-widgets\/(base7|controls7)/ }, ({ path }) => ({ path, namespace: "empty" }));
    b.onLoad({ filter: /.*/, namespace: "empty" }, () => ({ contents: "module.exports = {}" }));
  },
};

const shared = { bundle: true, minify: true, legalComments: "none", logLevel: "warning", target: "es2022" };

// The style sheet, and beside it the fonts that it names.
await build({
  ...shared,
  entryPoints: ["theme/book.css"],
  outdir: dist,
  assetNames: "fonts/[name]",
  loader: { ".woff2": "file" },
});

// The widget manager: one classic script, loaded only by pages with widgets; its style travels inside it.
const style = await build({
  ...shared,
  entryPoints: ["widgets.css"],
  write: false,
  loader: { ".svg": "dataurl", ".png": "dataurl" },
});
await build({
  ...shared,
  entryPoints: ["widgets.js"],
  outdir: dist,
  format: "iife",
  define: {
    define: "defineAnywidget", // anywidget's front end is an AMD module
    WIDGET_CSS: JSON.stringify(style.outputFiles[0].text),
    global: "globalThis",
    "process.env": "{}",
    "process.env.NODE_ENV": '"production"',
  },
  loader: { ".svg": "dataurl" },
  plugins: [noOldWidgets],
});

// MathJax: its loader behind our configuration, the components it names, one font.
const setup = await build({ ...shared, entryPoints: ["mathjax.js"], write: false, format: "iife" });
const component = (name) => `node_modules/mathjax/${name}`;
mkdirSync(`${dist}/mathjax`);
writeFileSync(`${dist}/mathjax/mathjax.js`, setup.outputFiles[0].text + readFileSync(component("startup.js"), "utf8"));
for (const name of ["core.js", "input/tex.js", "input/tex/extensions", "output/chtml.js", "a11y/assistive-mml.js"])
  cpSync(component(name), `${dist}/mathjax/${name}`, { recursive: true });
const font = "node_modules/@mathjax/mathjax-stix2-font";
for (const name of ["chtml.js", "chtml"]) cpSync(`${font}/${name}`, `${dist}/mathjax/font/${name}`, { recursive: true });

// The licenses of what the pages load ask to travel with it; tools for development stay here.
const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
const licenses = [];
for (const folder of Object.keys(packages).filter((name) => name && !packages[name].dev)) {
  for (const entry of readdirSync(folder, { recursive: true })) {
    if (/(^|\/)licen[cs]e(\.\w+)?$/i.test(entry) && !entry.includes("node_modules/"))
      licenses.push(`== ${folder.slice("node_modules/".length)}/${entry}\n\n${readFileSync(`${folder}/${entry}`, "utf8").trim()}\n`);
  }
}
writeFileSync(`${dist}/third-party-licenses.txt`, licenses.sort().join("\n\n"));
