// Leaves of the theme's style sheets the rules that some page can meet: few_rules.js FOLDER, the built pages.
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { PurgeCSS } from "purgecss";

const folder = process.argv[2];
const THEIRS = ["styles/*.css", "basic.css", "mystnb.*.css", "sphinx-design.min.css"];
const LONGEST = 40; // letters of a name; pictures in base64 have longer words

/** @type {Set<string>} */
const words = new Set();
for (const name of globSync(["**/*.html", "_static/**/*.js"], { cwd: folder })) {
  const text = readFileSync(`${folder}/${name}`, "utf8");
  const parts = name.endsWith(".html") ? (text.match(/<[a-z][^<>]*>|<script>.*?<\/script>/gs) ?? []) : [text];
  for (const part of parts) for (const [word] of part.matchAll(/[\w-]+/g)) if (word.length <= LONGEST) words.add(word);
}
const css = globSync(
  THEIRS.map((name) => `_static/${name}`),
  { cwd: folder },
).map((name) => ({ name, raw: readFileSync(`${folder}/${name}`, "utf8") }));
const content = [{ raw: [...words].join(" "), extension: "html" }];
const kept = await new PurgeCSS().purge({ content, css });
for (const [i, { name }] of css.entries()) writeFileSync(`${folder}/${name}`, kept[i].css);
