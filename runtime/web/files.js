/** The files of scans: a PNG, or a ZIP of many with their manifest. */

import { drawLatent } from "./latents.js";
import { encodePng } from "./png.js";
import { NOTICE, fileName, manifestLine, recordOf, recordOfLatent } from "./provenance.js";
import { zip } from "./zip.js";

/** @typedef {import("./scan.js").Scan} Scan */
/** @typedef {import("./scan_model.js").ScanModel} ScanModel */

const BATCH = 8;

/**
 * Return the PNG of a scan, with its notice and what it was made from.
 *
 * @param {ScanModel} model
 * @param {Scan} scan
 */
export function pngOf(model, scan) {
  const { sha256, size } = model.facts;
  const name = model.classes[scan.label];
  const record =
    scan.index === null
      ? recordOfLatent(sha256, name, scan.latent)
      : recordOf(sha256, scan.draw, name, scan.index);
  return encodePng(scan.image, size, [
    ["Comment", NOTICE],
    ["scangan", record],
  ]);
}

/**
 * Make the first scans of some classes.
 *
 * @param {ScanModel} model
 * @param {import("./latents.js").Draw} draw
 * @param {number[]} labels
 * @param {bigint} start first index
 * @param {number} count of each class
 * @returns {AsyncGenerator<Scan[]>} a few at a time, class after class
 */
export async function* makeScans(model, draw, labels, start, count) {
  for (const label of labels) {
    for (let at = 0; at < count; at += BATCH) {
      const indices = Array.from(
        { length: Math.min(BATCH, count - at) },
        (_, n) => start + BigInt(at + n),
      );
      const latents = indices.map((index) => drawLatent(draw, label, index, model.facts.latent));
      const images = await model.make(
        latents,
        latents.map(() => label),
      );
      await new Promise((resume) => setTimeout(resume)); // so that the page is drawn meanwhile
      yield images.map((image, n) => ({
        image,
        latent: latents[n],
        label,
        index: indices[n],
        draw,
      }));
    }
  }
}

/**
 * Make a ZIP of the first scans of some classes, with manifest.jsonl: the files of gen-scans.
 *
 * @param {ScanModel} model
 * @param {import("./latents.js").Draw} draw
 * @param {number[]} labels
 * @param {number} count of each class
 * @param {(made: number) => void} advance
 */
export async function zipOfScans(model, draw, labels, count, advance) {
  const files = [];
  let manifest = "";
  for await (const scans of makeScans(model, draw, labels, 0n, count)) {
    for (const scan of scans) {
      const index = /** @type {bigint} */ (scan.index);
      const name = fileName(model.facts.folders[scan.label], index);
      files.push({ name, data: pngOf(model, scan) });
      const record = recordOf(model.facts.sha256, draw, model.classes[scan.label], index);
      manifest += manifestLine(name, record);
    }
    advance(files.length);
  }
  files.push({ name: "manifest.jsonl", data: new TextEncoder().encode(manifest) });
  return zip(files);
}
