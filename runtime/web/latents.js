/** Latents by seed, class and index, as docs/model-format.md defines them, and paths between them. */

import { philox } from "./philox.js";

/** @typedef {Float32Array} Latent standard normals, as many as the model's card says */
/** @typedef {{seed: bigint, truncation: number, paired: boolean}} Draw how to draw latents */

const WORDS = 4; // 64-bit words in a block
const NO_CLASS = 2 ** 52; // directions are drawn as if of this class: no scan has their latents

/**
 * Draw the latent of a scan.
 *
 * @param {Draw} draw
 * @param {number} label the class number; 0 for a model without classes
 * @param {bigint} index
 * @param {number} length
 * @returns {Latent}
 */
export function drawLatent(draw, label, index, length) {
  const key = [draw.seed, draw.paired ? 0n : BigInt(label)];
  const z = new Float32Array(Math.ceil(length / WORDS) * WORDS);
  for (let at = 0; at < length; at += WORDS) {
    const words = philox([BigInt(at / WORDS), index, 0n, 0n], key);
    z.set(normals(words[0], words[1]), at);
    z.set(normals(words[2], words[3]), at + 2);
  }
  const factor = Math.fround(draw.truncation);
  return z.subarray(0, length).map((value) => value * factor);
}

/**
 * Turn two random words into two standard normals, by Box-Muller.
 *
 * @param {bigint} u
 * @param {bigint} v
 */
function normals(u, v) {
  const radius = Math.sqrt(-2 * Math.log((Number(u >> 11n) + 1) * 2 ** -53));
  const angle = 2 * Math.PI * (Number(v >> 11n) * 2 ** -53);
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/**
 * Return a point between two latents, along the sphere that they lie near (Shoemake 1985).
 *
 * @param {Latent} a
 * @param {Latent} b
 * @param {number} t from 0, which is a, to 1, which is b
 * @returns {Latent}
 */
export function between(a, b, t) {
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  const [x, y] =
    sine < 1e-6 ? [1 - t, t] : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  return a.map((value, i) => x * value + y * b[i]);
}

/**
 * Return the eight neighbours of a latent, at one distance from it and as far from the origin.
 *
 * They lie around it on a plane that two random directions span.
 *
 * @param {Latent} z
 * @param {number} angle how far to go, in radians
 * @param {bigint} seed of the directions
 * @returns {Latent[]} clockwise from the top
 */
export function neighbours(z, angle, seed) {
  const length = Math.sqrt(dot(z, z));
  const draw = { seed, truncation: 1, paired: false };
  const u = unit(without(drawLatent(draw, NO_CLASS, 0n, z.length), [z]));
  const v = unit(without(drawLatent(draw, NO_CLASS, 1n, z.length), [z, u]));
  return Array.from({ length: 8 }, (_, k) => {
    const [x, y] = [Math.sin((k * Math.PI) / 4), Math.cos((k * Math.PI) / 4)];
    const [along, aside] = [Math.cos(angle), Math.sin(angle) * length];
    return z.map((value, i) => along * value + aside * (x * u[i] + y * v[i]));
  });
}

/**
 * Remove the parts of a vector along others, which are at right angles to each other.
 *
 * @param {Latent} vector
 * @param {Latent[]} others
 */
function without(vector, others) {
  for (const other of others) {
    const part = dot(vector, other) / dot(other, other);
    vector = vector.map((value, i) => value - part * other[i]);
  }
  return vector;
}

/** @param {Latent} vector */
function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((value) => value / length);
}

/**
 * @param {Latent} a
 * @param {Latent} b
 */
function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}
