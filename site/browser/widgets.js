// The widget manager of the static page: rebuilds ipywidgets and anywidgets from the state that the notebook left in it.
import * as base from "@jupyter-widgets/base";
import { ManagerBase } from "@jupyter-widgets/base-manager";
import * as controls from "@jupyter-widgets/controls";
import { Widget } from "@lumino/widgets";
import { share } from "./shared_state.js";

const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

// anywidget registers itself as an AMD module; esbuild renames its `define` to this.
const anywidget = new Promise((resolve) => {
  globalThis.defineAnywidget = (_names, factory) => resolve(factory(base));
});
import("anywidget");

/** A slider's view that tells those who do not see it what it shows: the label names its handle, and the handle's
 * value is the text beside it, which in most sliders can be typed too. @param {new (...rest: any[]) => any} View */
const spoken = (View) =>
  class extends View {
    render() {
      super.render();
      const handle = this.el.querySelector(".noUi-handle");
      const told = "aria-valuetext";
      this.label.id = `label-${this.cid}`;
      handle.setAttribute("aria-labelledby", this.label.id);
      if (this.readout.contentEditable === "true") {
        this.readout.setAttribute("role", "textbox");
        this.readout.setAttribute("aria-labelledby", this.label.id);
      }
      const tell = () => {
        if (handle.getAttribute(told) !== this.readout.textContent) handle.setAttribute(told, this.readout.textContent);
      };
      const watcher = new MutationObserver(tell); // noUiSlider writes all the digits there are
      watcher.observe(this.readout, { characterData: true, childList: true, subtree: true });
      watcher.observe(handle, { attributeFilter: [told] });
      tell();
    }
    // Whether its words overflow is not asked, which would lay out the whole page for each: in the book they wrap.
    readout_overflow() {}
  };

class PageManager extends ManagerBase {
  /** @param {string} name @param {string} module */
  async loadClass(name, module) {
    /** @type {Record<string, any>} */
    const modules = {
      "@jupyter-widgets/base": base,
      "@jupyter-widgets/controls": controls,
      anywidget: await anywidget,
    };
    const classes = modules[module];
    if (!classes?.[name]) throw new Error(`This page has no widget ${module}.${name}`);
    return name.endsWith("SliderView") ? spoken(classes[name]) : classes[name];
  }
  // There is no kernel: a widget may talk to it, and nobody listens.
  async _create_comm() {
    return /** @type {any} */ ({ on_close() {}, on_msg() {}, send() {}, close() {} });
  }
  async _get_comm_info() {
    return {};
  }
}

/** When a widget of ours stands in this place. @param {Element} place */
const drawn = (place) =>
  new Promise((resolve) => {
    const watcher = new MutationObserver(() => place.querySelector(".vae-widget") && resolve(watcher.disconnect()));
    watcher.observe(place, { childList: true, subtree: true });
  });

const manager = new PageManager();
/** @type {Map<string, any>} */
const models = new Map();
let count = 0; // of the widgets that stand

/** Whether something of the page that comes after this is there already. @param {Node | null} node @returns {boolean} */
const passed = (node) => node !== null && (node.nextSibling !== null || passed(node.parentNode));

/** The scripts of a kind that have come whole. @param {string} kind */
const whole = (kind) =>
  [...document.querySelectorAll(kind)].filter((script) => document.readyState !== "loading" || passed(script));

/** Show what has come of the page: each widget's state stands before it. */
async function showThese() {
  for (const state of whole(STATE)) {
    state.remove();
    for (const model of await manager.set_state(JSON.parse(state.textContent))) models.set(model.model_id, model);
  }
  const all = [];
  for (const script of whole(VIEW)) {
    const model = models.get(JSON.parse(script.textContent).model_id);
    if (!model) continue;
    count += 1;
    const place = Object.assign(document.createElement("div"), { className: "widget-area", id: `widget-${count}` });
    script.replaceWith(place);
    all.push(drawn(place).then(() => share(place, model)));
    Widget.attach((await manager.create_view(model)).luminoWidget, place);
  }
  const patience = new Promise((resolve) => setTimeout(resolve, 2000)); // should one fail
  await Promise.race([Promise.all(all), patience]);
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
