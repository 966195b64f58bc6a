/** What the page holds: files in base64, compressed with gzip, and facts in JSON. */

/** @param {string} id */
export function embeddedJson(id) {
  return JSON.parse(element(id).textContent ?? "");
}

/**
 * Return an embedded file, and drop it from the page.
 *
 * @param {string} id
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function embeddedFile(id) {
  const holder = element(id);
  const text = atob(holder.textContent ?? "");
  holder.remove();
  const packed = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) packed[n] = text.charCodeAt(n);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * @param {Uint8Array<ArrayBuffer>} data
 * @returns {Promise<string>} in hexadecimal
 */
export async function sha256(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`this page lacks its part "${id}"; make it again`);
  return found;
}
