// A small picture to draw on, with a mouse, a finger or the keys.
import { html, onArrows, pixelCanvas, placeIn, tell } from "./ui.js";

const PEN = { full: 0.9, edge: 1.9 }; // pixels from the middle of a stroke: white up to here, black from there

/** A black square on which a pen leaves white. `read` gives its pixels in [0, 1] (side²), `write` takes others. By keys, the arrows move the
 * pen, and the space bar puts it down and up.
 * @param {{side?: number, room?: number, label: string, thick?: number, change?: () => void}} about pixels a side, pixels on the
 *   page, what a screen reader says, how much thicker than usual the pen is, what to do after a stroke */
export function makePad({ side = 28, room = 196, label, thick = 1, change = () => {} }) {
  const pixels = new Float32Array(side * side);
  const { canvas, context } = pixelCanvas(side, side, room);
  const image = context.createImageData(side, side);
  const cursor = html("div", { class: "cursor", "aria-hidden": true });
  const root = html("div", { class: "pad" }, canvas, cursor);
  const pen = { x: side / 2, y: side / 2, down: false };
  for (const [name, value] of Object.entries({ tabindex: 0, role: "slider", "aria-label": label }))
    canvas.setAttribute(name, String(value));

  const show = () => {
    for (let i = 0; i < pixels.length; i++) {
      image.data.fill(255 * pixels[i], 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    const { x, y } = pen;
    cursor.style.cssText = `left: ${(100 * x) / side}%; top: ${(100 * y) / side}%`;
    cursor.classList.toggle("down", pen.down);
    const place = `pen ${pen.down ? "down" : "up"}, column ${Math.ceil(x)}, row ${Math.ceil(y)}`;
    tell(canvas, Math.ceil(x), [1, side], `${place}; the space bar puts it ${pen.down ? "up" : "down"}`);
  };
  /** The pen goes to a place, in pixels, and leaves a line if it is down. @param {number} x @param {number} y */
  const go = (x, y) => {
    if (pen.down) stroke(pixels, side, [pen.x, pen.y], [x, y], thick);
    [pen.x, pen.y] = [x, y];
    show();
    if (pen.down) change();
  };
  const place = (/** @type {PointerEvent} */ event) =>
    /** @type {[number, number]} */ (placeIn(canvas, event).map((share) => share * side));
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    pen.down = false;
    go(...place(event));
    pen.down = true;
    go(...place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) go(...place(event));
  });
  canvas.addEventListener("lostpointercapture", () => {
    pen.down = false;
    show();
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    pen.down = !pen.down;
    go(pen.x, pen.y);
  });
  const inside = (/** @type {number} */ value) => Math.min(side - 0.5, Math.max(0.5, value));
  onArrows(canvas, (right, up) => go(inside(pen.x + right), inside(pen.y - up)));
  show();
  return {
    root,
    read: () => pixels.slice(),
    /** @param {ArrayLike<number>} values (side²) in [0, 1] */
    write(values) {
      pixels.set(values);
      show();
    },
    empty: () => pixels.every((value) => value === 0),
    clear() {
      pixels.fill(0);
      pen.down = false;
      show();
      change();
    },
  };
}

/** A line with soft edges, over what is there. @param {Float32Array} pixels (side²) @param {number} side
 * @param {[number, number]} from @param {[number, number]} to @param {number} thick */
function stroke(pixels, side, [fromX, fromY], [toX, toY], thick) {
  const [along, down] = [toX - fromX, toY - fromY];
  const squared = along * along + down * down;
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [(i % side) + 0.5 - fromX, Math.floor(i / side) + 0.5 - fromY];
    const t = squared > 0 ? Math.min(1, Math.max(0, (x * along + y * down) / squared)) : 0;
    const distance = Math.hypot(x - t * along, y - t * down);
    const white = Math.min(1, Math.max(0, (PEN.edge - distance / thick) / (PEN.edge - PEN.full)));
    pixels[i] = Math.max(pixels[i], white);
  }
}
