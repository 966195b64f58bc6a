/** Elements of the page by their ids. */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function get(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} "${id}"`);
  return found;
}

/**
 * Offer a file to save.
 *
 * @param {string} name
 * @param {Blob} data
 */
export function save(name, data) {
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(data);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
