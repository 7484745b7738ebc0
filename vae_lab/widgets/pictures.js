// Sheets of images: gray as white on black in every theme, color as it is.
import { pixelCanvas } from "./ui.js";

/** @typedef {ReturnType<typeof makeSheet>} Sheet */

const GAP = 2; // pixels between two images

/** Images side by side on one canvas. @param {number[]} shape C, H, W @param {number} columns @param {number} rows */
export function makeSheet([channels, height, width], columns, rows) {
  const across = columns * (width + GAP) - GAP;
  const down = rows * (height + GAP) - GAP;
  const area = width * height;
  const { canvas, context } = pixelCanvas(across, down, across);
  const image = context.createImageData(across, down);
  canvas.style.removeProperty("image-rendering");
  /** @param {number} n @param {ArrayLike<number>} x (C × H × W) @param {number} white what is white in x */
  const put = (n, x, white = 1) => {
    const top = Math.floor(n / columns) * (height + GAP);
    const left = (n % columns) * (width + GAP);
    for (let i = 0; i < area; i++) {
      const target = 4 * ((top + Math.floor(i / width)) * across + left + (i % width));
      for (let c = 0; c < 3; c++) image.data[target + c] = (255 / white) * x[channels === 3 ? c * area + i : i];
      image.data[target + 3] = 255;
    }
  };
  /** Which image is at a place in [0, 1]². @param {number} right @param {number} low */
  const at = (right, low) =>
    columns * Math.min(rows - 1, Math.floor(low * rows)) + Math.min(columns - 1, Math.floor(right * columns));
  return { canvas, put, at, clear: () => image.data.fill(0), show: () => context.putImageData(image, 0, 0) };
}
