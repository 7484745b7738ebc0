// The widgets of the static page, each rebuilt from the state that the notebook left in it: no Python, no kernel.
import { share } from "./shared_state.js";

const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

/** The model of a widget, as anywidget's modules use it. There is no kernel: what is saved goes nowhere. */
class PageModel {
  /** @param {Record<string, any>} state */
  constructor(state) {
    this.state = state;
    /** @type {Map<string, Set<() => void>>} */
    this.listeners = new Map();
  }
  /** @param {string} name */
  get(name) {
    return this.state[name];
  }
  /** @param {string} name @param {any} value */
  set(name, value) {
    if (JSON.stringify(value) === JSON.stringify(this.state[name])) return;
    this.state[name] = value;
    for (const call of this.listeners.get(`change:${name}`) ?? []) call();
  }
  save_changes() {}
  /** @param {string} event @param {() => void} call */
  on(event, call) {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(call));
  }
  /** @param {string} event @param {() => void} call */
  off(event, call) {
    this.listeners.get(event)?.delete(call);
  }
}

/** @type {Map<string, PageModel>} */
const models = new Map();
let count = 0; // of the widgets that stand

/** @param {string} base64 */
function decoded(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return new DataView(bytes.buffer);
}

/** The widgets of a state, into `models`; layouts and the like are left. @param {Record<string, any>} saved */
function read(saved) {
  for (const [id, { state, buffers = [] }] of Object.entries(saved)) {
    if (!state._esm) continue;
    for (const { path, data } of buffers) state[path[0]] = decoded(data);
    models.set(id, new PageModel(state));
  }
}

/** What is the same for all widgets of a kind: once a page. @type {Map<string, Promise<any>>} */
const modules = new Map();

/** The module of a widget, its style sheet in place. @param {PageModel} model @returns {Promise<any>} */
function moduleOf(model) {
  const source = model.get("_esm");
  if (!modules.has(source)) {
    document.head.append(Object.assign(document.createElement("style"), { textContent: model.get("_css") }));
    modules.set(source, import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))));
  }
  return /** @type {Promise<any>} */ (modules.get(source));
}

/** Put a widget where its script stands. @param {Element} script */
async function draw(script) {
  const model = models.get(JSON.parse(/** @type {string} */ (script.textContent)).model_id);
  if (!model) throw new Error("A page of the book shows widgets of vae_lab, and no others.");
  count += 1;
  const el = Object.assign(document.createElement("div"), { className: "widget-area", id: `widget-${count}` });
  script.replaceWith(el);
  (await moduleOf(model)).default.render({ model, el });
  share(el, model);
}

/** Whether something of the page that comes after this is there already. @param {Node | null} node @returns {boolean} */
const passed = (node) => node !== null && (node.nextSibling !== null || passed(node.parentNode));

/** The scripts of a kind that have come whole. @param {string} kind */
const whole = (kind) =>
  [...document.querySelectorAll(kind)].filter((script) => document.readyState !== "loading" || passed(script));

/** Show what has come of the page: each widget's state stands before it. */
async function showThese() {
  for (const state of whole(STATE)) {
    state.remove();
    read(JSON.parse(state.textContent).state);
  }
  await Promise.all(whole(VIEW).map((script) => draw(script).catch(reportError))); // one that fails stops no other
}

/** Show widgets while the page comes, and all of them when it has come. */
async function show() {
  while (document.readyState === "loading") {
    await showThese();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await showThese();
}

// What the page does not need for its widgets waits for this: the theme's scripts (page.js).
window.widgetsShown = new Promise((resolve) => show().finally(resolve));
