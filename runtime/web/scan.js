/** A scan, and how the page shows it. */

/**
 * A scan and what it was made from.
 *
 * @typedef {object} Scan
 * @property {Uint8Array} image grey levels, row by row
 * @property {import("./latents.js").Latent} latent
 * @property {number} label class number
 * @property {bigint | null} index null if it was not drawn by index
 * @property {import("./latents.js").Draw} draw
 */

/**
 * Make a button that shows a scan: always with the word SYNTHETIC, for eyes and for screen readers.
 *
 * @param {Scan} scan
 * @param {number} size width in pixels
 * @param {string} name such as its index
 * @param {string} what the same in full, such as class, seed and index
 */
export function scanButton(scan, size, name, what) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "scan";
  button.setAttribute("aria-label", `${`SYNTHETIC ${name}`.trim()}: ${what}`); // it says what is seen
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const mark = document.createElement("b");
  mark.textContent = "SYNTHETIC";
  const caption = document.createElement("span");
  caption.append(mark, ` ${name}`);
  button.append(canvas, caption);
  paint(canvas, scan.image);
  return button;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} image
 */
export function paint(canvas, image) {
  const pixels = new ImageData(canvas.width, canvas.height);
  image.forEach((grey, n) => pixels.data.set([grey, grey, grey, 255], 4 * n));
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(pixels, 0, 0);
}
