/** The dialog around one scan: its neighbours, its latents in every class, pins, and its file. */

import { get, save } from "./dom.js";
import { pngOf } from "./files.js";
import { neighbours } from "./latents.js";
import { fileName } from "./provenance.js";
import { scanButton } from "./scan.js";

/** @typedef {import("./scan.js").Scan} Scan */

const WHERE = [
  "above",
  "above right",
  "right",
  "below right",
  "below",
  "below left",
  "left",
  "above left",
];
const CENTRE = 4; // of the 3 x 3 pictures
const PLACES = [1, 2, 5, 8, 7, 6, 3, 0]; // of the neighbours, clockwise from the top
/** @type {Record<string, number>} */
const ARROWS = { ArrowUp: 0, ArrowRight: 2, ArrowDown: 4, ArrowLeft: 6 };

export class Viewer {
  /**
   * @param {import("./scan_model.js").ScanModel} model
   * @param {(which: "A" | "B", scan: Scan) => void} pin
   */
  constructor(model, pin) {
    this.model = model;
    this.dialog = get("viewer", HTMLDialogElement);
    this.step = get("step", HTMLInputElement);
    this.directions = 0n;
    this.shown = 0; // how many times something was shown: what is late is dropped
    /** @type {Scan[]} */
    this.around = [];
    /** @type {Scan | null} */
    this.scan = null;
    this.step.addEventListener("input", () => this.#show());
    get("turn", HTMLButtonElement).addEventListener("click", () => {
      this.directions += 1n;
      this.#show();
    });
    for (const which of /** @type {const} */ (["A", "B"])) {
      get(`pin-${which.toLowerCase()}`, HTMLButtonElement).addEventListener("click", () => {
        if (!this.scan) return;
        pin(which, this.scan);
        this.#say(`Pinned as ${which}. Pin two, close this window, and slide between them.`);
      });
    }
    get("save", HTMLButtonElement).addEventListener("click", () => this.#save());
    get("close", HTMLButtonElement).addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => this.#walk(event));
    get("others-heading", HTMLElement).hidden = !model.facts.classes.length;
  }

  /** @param {Scan} scan */
  open(scan) {
    this.dialog.showModal();
    this.#go(scan);
  }

  /** @param {Scan} scan */
  #go(scan) {
    this.scan = scan;
    this.#show().then(() => this.#centre()?.focus());
  }

  #centre() {
    const pictures = get("around", HTMLElement).querySelectorAll("button");
    return pictures[CENTRE];
  }

  async #show() {
    const { scan, model } = this;
    if (!scan) return;
    const turn = ++this.shown;
    this.#say("");
    get("around", HTMLElement).ariaBusy = "true";
    get("viewer-heading", HTMLElement).textContent = `Synthetic scan: ${this.#name(scan)}`;
    const near = neighbours(scan.latent, Number(this.step.value), this.directions);
    const labels = model.classes.map((_, label) => label);
    const latents = [...near, ...labels.map(() => scan.latent)];
    const images = await model.make(latents, [...near.map(() => scan.label), ...labels]);
    if (turn !== this.shown) return;
    const { draw } = scan;
    this.around = near.map((latent, n) => ({
      image: images[n],
      latent,
      label: scan.label,
      index: null,
      draw,
    }));
    const size = model.facts.size;
    /** @type {HTMLButtonElement[]} */
    const pictures = [];
    pictures[CENTRE] = scanButton(scan, size, "", this.#name(scan));
    pictures[CENTRE].setAttribute("aria-current", "true");
    this.around.forEach((each, n) => {
      const button = scanButton(each, size, "", `${WHERE[n]}, ${this.#name(each)}`);
      button.addEventListener("click", () => this.#go(each));
      pictures[PLACES[n]] = button;
    });
    const had = get("around", HTMLElement).contains(document.activeElement);
    get("around", HTMLElement).replaceChildren(...pictures);
    get("around", HTMLElement).ariaBusy = "false";
    if (had) this.#centre().focus();
    if (!model.facts.classes.length) return;
    const others = labels.map((label) => {
      const same = label === scan.label;
      const image = images[near.length + label];
      // Scans of two classes share latents only by index if they were drawn paired.
      const index = same || draw.paired ? scan.index : null;
      const other = same ? scan : { image, latent: scan.latent, label, index, draw };
      const name = String(model.classes[label]);
      const button = scanButton(other, size, name, this.#name(other));
      if (same) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.#go(other));
      return button;
    });
    get("others", HTMLElement).replaceChildren(...others);
  }

  /** @param {KeyboardEvent} event */
  #walk(event) {
    const to = this.around[ARROWS[event.key]];
    if (!to || event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    this.#go(to);
  }

  /** @param {Scan} scan */
  #name(scan) {
    return nameOf(this.model, scan);
  }

  #save() {
    const { scan, model } = this;
    if (!scan) return;
    const folder = model.facts.folders[scan.label];
    const name = scan.index === null ? `${folder}-walked.png` : fileName(folder, scan.index);
    save(name.replace("/", "-"), new Blob([pngOf(model, scan)], { type: "image/png" }));
    this.#say("Saved. The file says how the scan was made.");
  }

  /** @param {string} text */
  #say(text) {
    get("viewer-status", HTMLElement).textContent = text;
  }
}

/**
 * @param {import("./scan_model.js").ScanModel} model
 * @param {Scan} scan
 */
export function nameOf(model, scan) {
  const name = model.classes[scan.label];
  const from =
    scan.index === null ? "reached by walking" : `seed ${scan.draw.seed}, index ${scan.index}`;
  return name === null ? from : `${name}, ${from}`;
}
