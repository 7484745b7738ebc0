// Joins a page's dozen of style sheets, for nothing is shown before the last has come, and leaves of the theme's the
// rules that some page can meet: one_sheet.js FOLDER, the built pages.
import { createHash } from "node:crypto";
import { globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { buildSync } from "esbuild";
import { PurgeCSS } from "purgecss";

const folder = resolve(process.argv[2]);
const THEIRS = ["styles/*.css", "basic.css", "mystnb.*.css", "sphinx-design.min.css"];
const LONGEST = 40; // letters of a name; pictures in base64 have longer words
const LINK = /<link[^>]*rel="stylesheet"[^>]*>\s*/g;
const ASSETS = [".woff2", ".ttf", ".png", ".svg"];

const pages = globSync("**/*.html", { cwd: folder, exclude: ["_static"] }).map((name) => ({ name, html: read(name) }));

/** @type {Set<string>} */
const words = new Set();
for (const { html } of pages) for (const [part] of html.matchAll(/<[a-z][^<>]*>|<script>.*?<\/script>/gs)) note(part);
for (const name of globSync("_static/**/*.js", { cwd: folder })) note(read(name));
const css = globSync(
  THEIRS.map((name) => `_static/${name}`),
  { cwd: folder },
).map((name) => ({ name, raw: read(name) }));
const content = [{ raw: [...words].join(" "), extension: "html" }];
const kept = await new PurgeCSS().purge({ content, css });
for (const [i, { name }] of css.entries()) writeFileSync(`${folder}/${name}`, kept[i].css);

// All sheets, in the order of a page that has all; one without an equation has one less.
const lists = pages.map(({ html }) => sheets(html));
const all = lists.reduce((most, list) => (list.length > most.length ? list : most));
for (const [i, list] of lists.entries())
  if (list.join() !== all.filter((name) => list.includes(name)).join())
    throw new Error(`${pages[i].name} has style sheets that others have not, or in another order: ${list.join(", ")}`);
const { metafile } = buildSync({
  stdin: {
    contents: all.map((name) => `@import "./${name}";`).join("\n"),
    resolveDir: `${folder}/_static`,
    loader: "css",
  },
  outfile: `${folder}/_static/styles.css`,
  bundle: true,
  minify: true,
  metafile: true,
  allowOverwrite: true,
  absWorkingDir: folder,
  outbase: `${folder}/_static`,
  assetNames: "[dir]/[name]",
  loader: Object.fromEntries(ASSETS.map((kind) => [kind, "file"])),
  logLevel: "error",
});
for (const name of Object.keys(metafile.inputs)) if (name.endsWith(".css")) rmSync(`${folder}/${name}`);
const version = createHash("sha256").update(read("_static/styles.css")).digest("hex").slice(0, 8);
for (const { name, html } of pages) {
  let first = true;
  const joined = html.replace(LINK, (link) => {
    const href = link.match(/href="((?:\.\.\/)*)_static/);
    const one = first && href ? `<link rel="stylesheet" href="${href[1]}_static/styles.css?v=${version}">\n` : "";
    first = false;
    return one;
  });
  writeFileSync(`${folder}/${name}`, joined);
}

/** @param {string} name */
function read(name) {
  return readFileSync(`${folder}/${name}`, "utf8");
}

/** @param {string} text */
function note(text) {
  for (const [word] of text.matchAll(/[\w-]+/g)) if (word.length <= LONGEST) words.add(word);
}

/** The style sheets of a page, as names in _static. @param {string} html */
function sheets(html) {
  return [...html.matchAll(LINK)].map(([link]) => {
    const name = link.match(/href="(?:\.\.\/)*_static\/([^"?]*)/)?.[1];
    if (!name) throw new Error(`a style sheet that is not in _static: ${link}`);
    return name;
  });
}
