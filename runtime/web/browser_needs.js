/** What the page needs of a browser. */

// (module (func (result v128) (v128.const i32x4 0 0 0 0))), the smallest one with a vector
const VECTORS = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11,
];

/** @returns {string} what this browser lacks and which ones have it; empty if it lacks nothing */
export function lacking() {
  const simd = typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(VECTORS));
  if (!simd)
    return "This browser cannot run the model: it lacks WebAssembly SIMD. Chrome and Edge 91, Firefox 89 and Safari 16.4 have it.";
  if (typeof DecompressionStream !== "function")
    return "This browser cannot unpack the model: it lacks DecompressionStream. Chrome and Edge 80, Firefox 113 and Safari 16.4 have it.";
  return "";
}
