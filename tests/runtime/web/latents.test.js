/** Latents in JavaScript are those of the model format. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { between, drawLatent, neighbours } from "../../../runtime/web/latents.js";

const FORMAT = new URL("../../../docs/model-format.md", import.meta.url);
const PLAIN = { seed: 0n, truncation: 1, paired: false };

const norm = (z) => Math.sqrt(z.reduce((sum, value) => sum + value ** 2, 0));
const angle = (a, b) =>
  Math.acos(a.reduce((sum, value, i) => sum + value * b[i], 0) / (norm(a) * norm(b)));
const near = (a, b, error = 1e-5) => assert.ok(Math.abs(a - b) < error, `${a} is not ${b}`);

test("latents are the known answers of docs/model-format.md", () => {
  const text = readFileSync(FORMAT, "utf-8").split("Known answers")[1];
  const rows = [...text.matchAll(/^\| (\d+) \| (\d+) \| (\d+) \| (.*) \|$/gm)];
  assert.equal(rows.length, 4);
  for (const [, seed, label, index, values] of rows) {
    const draw = { ...PLAIN, seed: BigInt(seed) };
    const z = drawLatent(draw, Number(label), BigInt(index), 6);
    values.split(", ").forEach((value, n) => near(z[n] / Number(value), 1, 1e-6));
    assert.equal(z.length, 6);
  }
});

test("paired classes share the latents of class 0, and truncation shrinks them", () => {
  const own = drawLatent(PLAIN, 2, 5n, 100);
  const shared = drawLatent({ ...PLAIN, paired: true }, 2, 5n, 100);
  assert.notDeepEqual(own, shared);
  assert.deepEqual(shared, drawLatent(PLAIN, 0, 5n, 100));
  const small = drawLatent({ ...PLAIN, truncation: 0.7 }, 2, 5n, 100);
  assert.deepEqual(
    small,
    own.map((value) => Math.fround(value * Math.fround(0.7))),
  );
});

test("a path between two latents keeps to the sphere", () => {
  const [a, other] = [0n, 1n].map((index) => drawLatent(PLAIN, 0, index, 100));
  const b = other.map((value) => (value * norm(a)) / norm(other));
  assert.deepEqual(between(a, b, 0), a);
  for (const t of [0.25, 0.5, 0.75]) {
    near(angle(a, between(a, b, t)), t * angle(a, b));
    near(norm(between(a, b, t)), norm(a));
  }
  near(norm(between(a, a, 0.5)), norm(a)); // no angle at all
});

test("neighbours are one step away, as far from the origin, and around the latent", () => {
  const z = drawLatent(PLAIN, 0, 0n, 100);
  const around = neighbours(z, 0.3, 0n);
  assert.equal(around.length, 8);
  for (const each of around) {
    near(angle(z, each), 0.3, 1e-4);
    near(norm(each), norm(z), 1e-4);
  }
  for (let k = 0; k < 4; k++) {
    const middle = z.map((_, i) => (around[k][i] + around[k + 4][i]) / 2);
    near(angle(z, middle), 0, 1e-3); // opposite each other
  }
  near(angle(around[0], around[1]), angle(around[3], around[4]), 1e-4);
  assert.notDeepEqual(neighbours(z, 0.3, 1n), around);
});
