/** Files that the page writes: checksums, PNG, ZIP and provenance. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";

import { crc32 } from "../../../runtime/web/crc32.js";
import { encodePng } from "../../../runtime/web/png.js";
import {
  fileName,
  manifestLine,
  recordOf,
  recordOfLatent,
} from "../../../runtime/web/provenance.js";
import { zip } from "../../../runtime/web/zip.js";

const DRAW = { seed: 2n ** 64n - 1n, truncation: 1, paired: false };

test("the checksum is the one of the standard's example", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

test("records are JSON as Python writes it", () => {
  assert.equal(
    recordOf("ab", DRAW, 'gr\u00f6\u00dfe "\u{1f9e0}"\u007f', 3n),
    '{"synthetic": true, "model": "ab", "seed": 18446744073709551615, "index": 3, ' +
      '"class": "gr\\u00f6\\u00dfe \\"\\ud83e\\udde0\\"\\u007f"}',
  );
  assert.match(recordOf("ab", { ...DRAW, truncation: 0.7 }, null, 0n), /null, "truncation": 0.7}$/);
  assert.match(
    recordOf("ab", { ...DRAW, truncation: 2, paired: true }, null, 0n),
    /"truncation": 2\.0, "paired": true}$/,
  );
  const walked = JSON.parse(recordOfLatent("ab", "cat", new Float32Array([0.5, -1])));
  assert.deepEqual(walked, { synthetic: true, model: "ab", class: "cat", latent: [0.5, -1] });
  assert.equal(fileName("cat", 7n), "cat/000000007.png");
  assert.equal(manifestLine("a/b.png", '{"seed": 0}'), '{"file": "a/b.png", "seed": 0}\n');
});

test("a PNG holds its pixels and texts, each with its checksum", () => {
  const image = Uint8Array.from({ length: 12 }, (_, n) => (n * 97) % 256);
  const file = encodePng(image, 4, [["Comment", "synthetic"]]);
  const view = new DataView(file.buffer);
  /** @type {Record<string, Uint8Array>} */
  const chunks = {};
  for (let at = 8; at < file.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...file.subarray(at + 4, at + 8));
    chunks[kind] = file.subarray(at + 8, at + 8 + length);
    assert.equal(view.getUint32(at + 8 + length), crc32(file.subarray(at + 4, at + 8 + length)));
    at += length + 12;
  }
  assert.deepEqual(Object.keys(chunks), ["IHDR", "tEXt", "IDAT", "IEND"]);
  assert.deepEqual([...chunks.IHDR], [0, 0, 0, 4, 0, 0, 0, 3, 8, 0, 0, 0, 0]);
  assert.equal(new TextDecoder("latin1").decode(chunks.tEXt), "Comment\0synthetic");
  const rows = inflateSync(chunks.IDAT);
  const back = image.map(() => 0);
  for (let y = 0; y < 3; y++) {
    assert.equal(rows[5 * y], 2);
    for (let x = 0; x < 4; x++)
      back[4 * y + x] = rows[5 * y + 1 + x] + (y ? back[4 * (y - 1) + x] : 0);
  }
  assert.deepEqual(back, image);
});

test("a ZIP of too many files is refused, as it would be damaged", () => {
  const file = { name: "a", data: new Uint8Array(0) };
  assert.throws(() => zip(Array(65536).fill(file)), /at most 65535 files/);
});

test("a ZIP of more than 4 GB is refused, as its offsets would be wrong", () => {
  const files = [1, 2 ** 32 - 1].map((size) => ({ name: "a", data: new Uint8Array(size) }));
  assert.throws(() => zip(files), /at most 4 GB; ask for fewer/);
});

test("an empty ZIP is one record, and the same files make the same ZIP", async () => {
  const bytes = async (blob) => Buffer.from(await blob.arrayBuffer());
  assert.equal((await bytes(zip([]))).toString("hex"), "504b0506" + "00".repeat(18));
  const files = [{ name: "ä/1.txt", data: new TextEncoder().encode("one") }];
  assert.deepEqual(await bytes(zip(files)), await bytes(zip(files)));
});
