// Builds dist/, everything the book's pages load that is not Sphinx's own: nothing comes from another host.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const dist = "dist";
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);

/** @type {import("esbuild").BuildOptions} */
const shared = { bundle: true, minify: true, legalComments: "none", logLevel: "warning", target: "es2022" };

// The style sheet, and beside it the fonts that it names.
await build({
  ...shared,
  entryPoints: ["browser/theme/book.css"],
  outdir: dist,
  assetNames: "fonts/[name]",
  loader: { ".woff2": "file", ".svg": "dataurl", ".png": "dataurl" },
});

// What every page runs.
await build({ ...shared, entryPoints: ["browser/page.js"], outdir: dist, format: "iife" });

// The search: loaded by its own page.
await build({ ...shared, entryPoints: ["browser/search.js"], outdir: dist, format: "iife" });

// The widgets' host: one classic script, loaded only by pages with widgets.
await build({ ...shared, entryPoints: ["browser/widgets.js"], outdir: dist, format: "iife" });

// The licenses of what the pages load ask to travel with it; tools for development stay here.
const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
/** @type {string[]} */
const licenses = [];
for (const folder of Object.keys(packages).filter((name) => name && !packages[name].dev)) {
  for (const entry of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (/(^|\/)licen[cs]e(\.\w+)?$/i.test(entry) && !entry.includes("node_modules/"))
      licenses.push(
        `== ${folder.slice("node_modules/".length)}/${entry}\n\n${readFileSync(`${folder}/${entry}`, "utf8").trim()}\n`,
      );
  }
}
writeFileSync(`${dist}/third-party-licenses.txt`, licenses.sort().join("\n\n"));
