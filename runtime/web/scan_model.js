/** A model file that runs in this page, on one thread of WebAssembly. */

import * as ort from "onnxruntime-web/wasm";

/** @typedef {import("./latents.js").Latent} Latent */

/**
 * What the page is told about its model.
 *
 * @typedef {object} ModelFacts
 * @property {string} name
 * @property {string} sha256 of the model file, in hexadecimal
 * @property {string[]} classes empty for a model without classes
 * @property {string[]} folders a folder for each class, or one
 * @property {number} size width and height in pixels
 * @property {number} latent
 * @property {string} version of scangan
 */

export class ScanModel {
  /**
   * @param {ort.InferenceSession} session
   * @param {ModelFacts} facts
   */
  constructor(session, facts) {
    this.session = session;
    this.facts = facts;
    /** @type {Promise<unknown>} */
    this.turn = Promise.resolve();
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} runtime onnxruntime's WebAssembly
   * @param {Uint8Array<ArrayBuffer>} model
   * @param {ModelFacts} facts
   */
  static async open(runtime, model, facts) {
    ort.env.wasm.numThreads = 1; // a page from disk may not share memory between threads
    ort.env.wasm.wasmBinary = runtime.buffer;
    ort.env.logLevel = "error";
    return new ScanModel(await ort.InferenceSession.create(model), facts);
  }

  /** @returns {(string | null)[]} the classes; null for a model without */
  get classes() {
    return this.facts.classes.length ? this.facts.classes : [null];
  }

  /**
   * Make a scan of each latent: grey levels, row by row.
   *
   * @param {Latent[]} latents
   * @param {number[]} labels class numbers, as many
   * @returns {Promise<Uint8Array[]>}
   */
  make(latents, labels) {
    const made = this.turn.then(() => this.#run(latents, labels)); // one call at a time
    this.turn = made.catch(() => {});
    return made;
  }

  /**
   * @param {Latent[]} latents
   * @param {number[]} labels
   */
  async #run(latents, labels) {
    const { latent, size, classes } = this.facts;
    const z = new Float32Array(latents.length * latent);
    latents.forEach((each, n) => z.set(each, n * latent));
    /** @type {Record<string, ort.Tensor>} */
    const feeds = { z: new ort.Tensor("float32", z, [latents.length, latent]) };
    if (classes.length)
      feeds.label = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]);
    const { image } = await this.session.run(feeds);
    const pixels = /** @type {Uint8Array} */ (image.data);
    const scans = latents.map((_, n) => pixels.slice(n * size ** 2, (n + 1) * size ** 2));
    image.dispose();
    return scans;
  }
}
