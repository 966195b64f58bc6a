/** What the page needs of a browser. */

// (module (func (result v128) (v128.const i32x4 0 0 0 0))), the smallest one with a vector
const VECTORS = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11,
];

// Chrome and Edge compile the encoder of PNG files from 115 on; all have the rest.
const ENOUGH = "Chrome and Edge 115, Firefox 113 and Safari 16.4 can.";

/** @returns {string} why a page cannot compute checksums; empty if it can */
export function insecure() {
  return isSecureContext
    ? ""
    : "This page must be opened from disk or over https. Save it and open the file.";
}

/** @returns {string} what this browser lacks and which ones have it; empty if it lacks nothing */
export function lacking() {
  if (insecure()) return insecure();
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(VECTORS)))
    return `This browser cannot run the model: it lacks WebAssembly SIMD. ${ENOUGH}`;
  if (typeof DecompressionStream !== "function")
    return `This browser cannot unpack the model: it lacks DecompressionStream. ${ENOUGH}`;
  return "";
}
