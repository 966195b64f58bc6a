/** Write ZIP files without compression: PNG files are compressed already. */

import { crc32 } from "./crc32.js";

const VERSION = 20; // 2.0, the first with folders
const MOST_FILES = 65535;
const MOST_BYTES = 0xffffffff;
const UTF8 = 1 << 11;
const DAY = (1 << 5) | 1; // 1 January 1980: the same scans make the same file

/**
 * Lay out files as a ZIP.
 *
 * @param {{name: string, data: Uint8Array<ArrayBuffer>}[]} files at most 65,535, of 4 GB together
 * @returns {Blob}
 * @throws {RangeError} if there are too many, or they are too large
 */
export function zip(files) {
  if (files.length > MOST_FILES) throw new RangeError(`a ZIP holds at most ${MOST_FILES} files`);
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const directory = [];
  let at = 0;
  for (const { name, data } of files) {
    check(at + data.length);
    const path = new TextEncoder().encode(name);
    // Version, flags, method, time, day; checksum, both sizes; lengths of name and extra field.
    const facts = [VERSION, UTF8, 0, 0, DAY];
    const sizes = [crc32(data), data.length, data.length];
    const local = record(0x04034b50, facts, sizes, [path.length, 0]);
    // Comment, disk, kinds of attributes; attributes and offset.
    const entry = record(
      0x02014b50,
      [VERSION, ...facts],
      sizes,
      [path.length, 0, 0, 0, 0],
      [0, at],
    );
    parts.push(local, path, data);
    directory.push(entry, path);
    at += local.length + path.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  check(at + size);
  const end = record(0x06054b50, [0, 0, files.length, files.length], [size, at], [0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** @param {number} size */
function check(size) {
  if (size > MOST_BYTES) throw new RangeError("a ZIP holds at most 4 GB; ask for fewer scans");
}

/**
 * Lay out a signature and then numbers of 16 and of 32 bits in turn, least significant byte first.
 *
 * @param {number} signature
 * @param {number[][]} numbers
 */
function record(signature, ...numbers) {
  const bytes = numbers.map((group, n) => (n % 2 ? 4 : 2) * group.length);
  const out = new Uint8Array(4 + bytes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(out.buffer);
  view.setUint32(0, signature, true);
  let at = 4;
  numbers.forEach((group, n) => {
    for (const number of group) {
      if (n % 2) view.setUint32(at, number, true);
      else view.setUint16(at, number, true);
      at += n % 2 ? 4 : 2;
    }
  });
  return out;
}
