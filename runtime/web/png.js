/** Encode grey PNG files: of the same pixels, the bytes are those of gen-scans. */

import { zlib } from "libdeflate";

import { crc32 } from "./crc32.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const UP = 2; // filter type: difference to the row above

/**
 * @param {Uint8Array} image grey levels, row by row
 * @param {number} width in pixels
 * @param {[string, string][]} texts keywords and values of tEXt chunks, in Latin-1
 * @returns {Uint8Array<ArrayBuffer>} the whole file
 */
export function encodePng(image, width, texts) {
  const height = image.length / width;
  const rows = new Uint8Array(height * (width + 1));
  for (let y = 0; y < height; y++) {
    rows[y * (width + 1)] = UP;
    for (let x = 0; x < width; x++) {
      const above = y ? image[(y - 1) * width + x] : 0;
      rows[y * (width + 1) + 1 + x] = image[y * width + x] - above; // modulo 256
    }
  }
  const head = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
  new DataView(head.buffer).setUint32(0, width);
  new DataView(head.buffer).setUint32(4, height);
  return joined([
    new Uint8Array(SIGNATURE),
    chunk("IHDR", head),
    ...texts.map(([keyword, value]) => chunk("tEXt", latin1(`${keyword}\0${value}`))),
    chunk("IDAT", zlib(rows, 1)),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

/**
 * @param {string} kind
 * @param {Uint8Array} data
 */
function chunk(kind, data) {
  const out = new Uint8Array(data.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(latin1(kind), 4);
  out.set(data, 8);
  view.setUint32(data.length + 8, crc32(out.subarray(4, data.length + 8)));
  return out;
}

/** @param {string} text */
function latin1(text) {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
