/** The counter-based generator Philox4x64-10 (Salmon et al. 2011). */

const MASK = (1n << 64n) - 1n;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn]; // added to the key after each round
const ROUNDS = 10;

/**
 * Return four random 64-bit words.
 *
 * @param {bigint[]} counter four 64-bit words, least significant first
 * @param {bigint[]} key two 64-bit words
 * @returns {bigint[]}
 */
export function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const a = MULTIPLIERS[0] * c0;
    const b = MULTIPLIERS[1] * c2;
    [c0, c1, c2, c3] = [(b >> 64n) ^ c1 ^ k0, b & MASK, (a >> 64n) ^ c3 ^ k1, a & MASK];
    k0 = (k0 + WEYL[0]) & MASK;
    k1 = (k1 + WEYL[1]) & MASK;
  }
  return [c0, c1, c2, c3];
}
