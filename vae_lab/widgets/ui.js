// What the widgets share: making elements, following pointers and keys, drawing at most once a frame.

/** @typedef {{get(name: string): any, set(name: string, value: any): void, save_changes(): void,
 *   on(event: string, call: () => void): void, off(event: string, call: () => void): void}} Model */

/** An HTML element; a property that is a function listens, the others become attributes.
 * @param {string} tag @param {Record<string, any>} properties @param {(Node | string)[]} children */
export function html(tag, properties = {}, ...children) {
  return dress(document.createElement(tag), properties, children);
}

/** An SVG element.
 * @param {string} tag @param {Record<string, any>} properties @param {(Node | string)[]} children */
export function svg(tag, properties = {}, ...children) {
  const element = /** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag));
  return dress(element, properties, children);
}

/** @template {Element} E @param {E} element @param {Record<string, any>} properties @param {(Node | string)[]} children */
function dress(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A canvas of `width` × `height` pixels that fills about `room` on the page, a small one by whole multiples.
 * @param {number} width @param {number} height @param {number} room */
export function pixelCanvas(width, height, room) {
  const scale = Math.max(1, Math.floor(room / Math.max(width, height)));
  const style = `width: ${width * scale}px; image-rendering: ${scale > 2 ? "pixelated" : "auto"}`;
  const canvas = /** @type {HTMLCanvasElement} */ (
    html("canvas", { class: "image", role: "img", width, height, style })
  );
  return { canvas, context: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")) };
}

/** What arrived for a `Bytes` trait, as a DataView.
 * @param {DataView<ArrayBuffer> | Uint8Array<ArrayBuffer>} bytes */
export function asView(bytes) {
  return bytes instanceof DataView ? bytes : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `ask` for `draw` in the next frame, however often; `stop` takes that back.
 * @param {() => void} draw */
function oncePerFrame(draw) {
  let frame = 0;
  const run = () => {
    frame = 0;
    draw();
  };
  const ask = () => {
    frame ||= requestAnimationFrame(run);
  };
  return { ask, stop: () => cancelAnimationFrame(frame) };
}

/** Call `listener` whenever one of these traits changes; returns what ends that.
 * @param {Model} model @param {string[]} traits @param {() => void} listener */
function watch(model, traits, listener) {
  for (const name of traits) model.on(`change:${name}`, listener);
  return () => {
    for (const name of traits) model.off(`change:${name}`, listener);
  };
}

/** Put a widget's `root` on the page, drawn, and draw it anew in the frame after one of its traits changes; it
 * carries the milliseconds of the last drawing as data-ms, and the traits' names as data-state. A state that cannot be
 * drawn, such as a frame that a link names and that is not there, gives way to the last one. Returns what takes it away.
 * @param {Model} model @param {HTMLElement} el @param {HTMLElement | SVGElement} root @param {string[]} traits @param {() => void} draw */
export function mount(model, el, root, traits, draw) {
  const state = () => traits.map((name) => model.get(name));
  let drawn = state();
  const timed = () => {
    const began = performance.now();
    try {
      draw();
      drawn = state();
    } catch (error) {
      for (const [i, name] of traits.entries()) model.set(name, drawn[i]);
      model.save_changes();
      throw error;
    }
    root.dataset.ms = (performance.now() - began).toFixed(2);
  };
  const { ask, stop } = oncePerFrame(timed);
  root.dataset.state = traits.join(" "); // what a link to it must hold
  const end = watch(model, traits, ask);
  el.append(root); // first: only on the page has a canvas its colors
  timed();
  return () => {
    end();
    stop();
    root.remove();
  };
}

const SIDEWAYS = 8; // pixels that a finger goes before it drags rather than scrolls

/** Follow a pointer over `pad` from press to release: `move` gets its place in `box`, in [0, 1]² when inside. A finger
 * drags a handle at once, and the rest when it taps or goes sideways: up or down it scrolls the page.
 * @param {SVGElement} pad @param {SVGElement} box @param {(across: number, down: number) => void} move */
export function draggable(pad, box, move) {
  let drags = false;
  let [left, top] = [0, 0];
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pad.setPointerCapture(event.pointerId);
    [left, top] = [event.clientX, event.clientY];
    drags = event.pointerType !== "touch" || !!(/** @type {Element} */ (event.target).closest(".grip, .handle"));
    if (drags) move(...placeIn(box, event));
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    const across = Math.abs(event.clientX - left);
    drags ||= across > SIDEWAYS && across > Math.abs(event.clientY - top);
    if (drags) move(...placeIn(box, event));
  });
  pad.addEventListener("click", (event) => move(...placeIn(box, event)));
}

/** Where a pointer is in an element: 0 at its left or top, 1 at its right or bottom.
 * @param {Element} box @param {MouseEvent} event @returns {[number, number]} */
export function placeIn(box, event) {
  const { left, top, width, height } = box.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
}

const FAR = 1e6; // steps, beyond the end of every range

/** @type {Record<string, [number, number]>} */
const KEYS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowDown: [0, -1],
  ArrowUp: [0, 1],
  PageDown: [0, -10],
  PageUp: [0, 10],
  Home: [-FAR, 0],
  End: [FAR, 0],
};

/** Let keys move what has the focus: arrows by a step to the right or up, or back, with Shift by five; Page up and
 * down by ten; Home and End to the left and the right end.
 * @param {SVGElement | HTMLElement} handle @param {(right: number, up: number) => void} move in steps */
export function onArrows(handle, move) {
  handle.addEventListener("keydown", (/** @type {any} */ event) => {
    const by = KEYS[event.key];
    if (!by) return;
    event.preventDefault();
    const steps = event.shiftKey ? 5 : 1;
    move(by[0] * steps, by[1] * steps);
  });
}

/** What a handle tells those who do not see it.
 * @param {Element} handle @param {number} now @param {[number, number]} limits @param {string} text */
export function tell(handle, now, [low, high], text) {
  const told = {
    "aria-valuemin": low,
    "aria-valuemax": high,
    "aria-valuenow": Number(now.toPrecision(6)),
    "aria-valuetext": text,
  };
  for (const [name, value] of Object.entries(told)) handle.setAttribute(name, String(value));
}

/** The line below a widget: what to try, and the button that puts all back. `done` says, once, that it has been done.
 * @param {Model} model @param {() => void} back */
export function makeFoot(model, back) {
  const found = html("strong", { role: "status" });
  const hint = html("span", {}, model.get("hint"), " ", found);
  const root = html("div", { class: "foot" }, hint, button("Put it back", back));
  const done = (/** @type {string} */ how) => {
    if (!found.textContent) found.textContent = `✓ ${how}`;
  };
  return { root, done };
}

/** A button. @param {string} text @param {() => void} click */
export function button(text, click) {
  return html("button", { type: "button", click }, text);
}
