/** Say where a scan comes from, as gen-scans does: in the file itself, and in manifest.jsonl. */

/** @typedef {import("./latents.js").Draw} Draw */

export const NOTICE = "Synthetic image made by a generative model. Not a scan of any person.";

/**
 * Return the path of a scan.
 *
 * @param {string} folder
 * @param {bigint} index
 */
export function fileName(folder, index) {
  return `${folder}/${index.toString().padStart(9, "0")}.png`;
}

/**
 * Return all that is needed to make a scan again, as JSON.
 *
 * @param {string} model SHA-256 of the model file
 * @param {Draw} draw
 * @param {string | null} className
 * @param {bigint} index
 */
export function recordOf(model, draw, className, index) {
  return json([
    ["synthetic", true],
    ["model", model],
    ["seed", draw.seed],
    ["index", index],
    ["class", className],
    ...(draw.truncation === 1 ? [] : [pair("truncation", new Real(draw.truncation))]),
    ...(draw.paired ? [pair("paired", true)] : []),
  ]);
}

/**
 * Return what a scan was made from that has no index, as JSON.
 *
 * @param {string} model SHA-256 of the model file
 * @param {string | null} className
 * @param {Float32Array} latent
 */
export function recordOfLatent(model, className, latent) {
  const values = Array.from(latent, (value) => new Real(value));
  return json([
    ["synthetic", true],
    ["model", model],
    ["class", className],
    ["latent", values],
  ]);
}

/**
 * Return a line of manifest.jsonl.
 *
 * @param {string} file
 * @param {string} record
 */
export function manifestLine(file, record) {
  return `{"file": ${value(file)}, ${record.slice(1)}\n`;
}

/** A number that Python writes with a decimal point. */
class Real {
  /** @param {number} number */
  constructor(number) {
    this.number = number;
  }

  toString() {
    return Number.isInteger(this.number) ? this.number.toFixed(1) : String(this.number);
  }
}

/** @typedef {string | boolean | bigint | null | Real | Real[]} Value */

/**
 * @param {string} key
 * @param {Value} value
 * @returns {[string, Value]}
 */
function pair(key, value) {
  return [key, value];
}

/**
 * Write JSON as Python does: a space after colons and commas, and ASCII alone.
 *
 * @param {[string, Value][]} members
 */
function json(members) {
  return `{${members.map(([key, told]) => `"${key}": ${value(told)}`).join(", ")}}`;
}

/**
 * @param {Value} told
 * @returns {string}
 */
function value(told) {
  if (Array.isArray(told)) return `[${told.map(value).join(", ")}]`;
  if (typeof told !== "string") return String(told);
  const escaped = (/** @type {string} */ letter) =>
    `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(told).replace(/[\u007f-\uffff]/g, escaped);
}
