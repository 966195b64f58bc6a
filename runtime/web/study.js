/** A blind reader study: one scan after the other, and the answers to save at the end. */

import { insecure } from "./browser_needs.js";
import { get, save } from "./dom.js";
import { embeddedJson, sha256 } from "./embedded.js";

/** @typedef {{id: string, class: string | null, png: string}} StudyScan */
/** @typedef {{id: string, answer: string, ms: number}} Answer */

/** @type {Record<string, string>} */
const KEYS = { r: "real", s: "synthetic", u: "unsure" };

class Study {
  constructor() {
    /** @type {{study: string, format_version: number, scans: StudyScan[]}} */
    this.facts = embeddedJson("facts");
    /** @type {Answer[]} */
    this.answers = [];
    this.reader = "";
    this.started = "";
    this.shownAt = 0;
    this.saved = false;
    const why = insecure(); // without checksums, nothing could be saved at the end
    if (why) {
      get("intro", HTMLElement).textContent = why;
      return;
    }
    get("intro", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#begin();
    });
    document.querySelectorAll("[data-answer]").forEach((button) => {
      const { answer } = /** @type {HTMLButtonElement} */ (button).dataset;
      button.addEventListener("click", (event) => {
        // The second click of two was meant for the scan before.
        if (/** @type {MouseEvent} */ (event).detail < 2) this.#answer(String(answer));
      });
    });
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("beforeunload", (event) => {
      if (this.started && !this.saved) event.preventDefault(); // answers would be lost
    });
    get("save", HTMLButtonElement).addEventListener("click", () => this.#save());
  }

  #begin() {
    this.reader = get("reader", HTMLInputElement).value.trim();
    if (!this.reader) return;
    this.started = new Date().toISOString();
    get("intro", HTMLElement).hidden = true;
    get("question", HTMLElement).hidden = false;
    this.#ask();
  }

  async #ask() {
    const { scans } = this.facts;
    const at = this.answers.length;
    const scan = scans[at];
    const picture = get("scan", HTMLImageElement);
    picture.src = `data:image/png;base64,${scan.png}`;
    get("place", HTMLElement).textContent = `Scan ${at + 1} of ${scans.length}`;
    get("said-to-be", HTMLElement).textContent = scan.class === null ? "" : `Class: ${scan.class}`;
    get("done", HTMLProgressElement).value = at;
    this.#enable(false);
    await picture.decode().catch(() => {});
    this.shownAt = performance.now();
    this.#enable(true);
  }

  /** @param {boolean} on whether an answer counts */
  #enable(on) {
    document
      .querySelectorAll("[data-answer]")
      .forEach((button) => button.toggleAttribute("disabled", !on));
    if (!on) this.shownAt = 0;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.repeat && !get("question", HTMLElement).hidden) event.preventDefault(); // no clicks of a held Enter
    const answer = KEYS[event.key.toLowerCase()];
    if (!answer || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    this.#answer(answer);
  }

  /** @param {string} answer */
  #answer(answer) {
    const { scans } = this.facts;
    // Nothing counts before the scan is there, or after the last.
    if (get("question", HTMLElement).hidden || !this.shownAt) return;
    const ms = Math.round(performance.now() - this.shownAt);
    this.answers.push({ id: scans[this.answers.length].id, answer, ms });
    if (this.answers.length < scans.length) {
      this.#ask();
      return;
    }
    get("question", HTMLElement).hidden = true;
    get("end", HTMLElement).hidden = false;
    get("thanks", HTMLElement).focus();
  }

  async #save() {
    const { study, format_version } = this.facts;
    const { reader, started, answers } = this;
    const lines = answers.map(({ id, answer, ms }) => `${id} ${answer} ${ms}`);
    const text = new TextEncoder().encode([study, reader, started, ...lines].join("\n"));
    const check = await sha256(text);
    const told = { format_version, study, reader, started, answers, check };
    const name = `study-${study}-${reader.replace(/[^\p{L}\p{N}]+/gu, "-")}.json`;
    save(name, new Blob([`${JSON.stringify(told, null, 1)}\n`], { type: "application/json" }));
    this.saved = true;
    get("saved", HTMLElement).textContent = `Saved as ${name}.`;
  }
}

new Study();
