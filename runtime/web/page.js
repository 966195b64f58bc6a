/** The page: scans of a model, as its controls say. */

import { lacking } from "./browser_needs.js";
import { get, save } from "./dom.js";
import { embeddedFile, embeddedJson, sha256 } from "./embedded.js";
import { makeScans, zipOfScans } from "./files.js";
import { between } from "./latents.js";
import { scanButton } from "./scan.js";
import { ScanModel } from "./scan_model.js";
import { Viewer, nameOf } from "./viewer.js";

/** @typedef {import("./scan.js").Scan} Scan */

const SHOWN = 64; // scans at first, and with each "More scans"
const MOST_SHOWN = 1024;
const MOST_IN_ZIP = 65535; // and the manifest
const LARGEST_SEED = 2n ** 64n - 1n;
const PAUSE = 120; // ms after the last move of a slider

class Page {
  /** @param {ScanModel} model */
  constructor(model) {
    this.model = model;
    this.viewer = new Viewer(model, (which, scan) => this.#pin(which, scan));
    this.started = 0; // how many times scans were asked for: an older request stops
    this.shown = 0;
    this.waiting = 0;
    /** @type {Partial<Record<"A" | "B", Scan>>} */
    this.pins = {};
    this.wanted = get("class", HTMLSelectElement);
    this.seed = get("seed", HTMLInputElement);
    this.slider = get("seed-slider", HTMLInputElement);
    this.truncation = get("truncation", HTMLInputElement);
    this.paired = get("paired", HTMLInputElement);
    this.#fillClasses();
    this.#listen();
  }

  #fillClasses() {
    const { classes } = this.model.facts;
    this.wanted.append(new Option("all classes", "all"));
    classes.forEach((name, label) => this.wanted.append(new Option(name, String(label))));
    for (const hidden of [this.wanted.parentElement, get("paired-choice", HTMLElement)])
      if (hidden) hidden.hidden = classes.length < 2;
  }

  #listen() {
    this.slider.addEventListener("input", () => {
      this.seed.value = this.slider.value;
      this.#soon();
    });
    this.seed.addEventListener("input", () => {
      this.slider.value = this.seed.value;
      this.#soon();
    });
    this.truncation.addEventListener("input", () => {
      get("truncation-value", HTMLOutputElement).value = this.truncation.value;
      this.#soon();
    });
    this.wanted.addEventListener("change", () => this.show());
    this.paired.addEventListener("change", () => this.show());
    get("controls", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    get("more", HTMLButtonElement).addEventListener("click", () => this.#add());
    get("way", HTMLInputElement).addEventListener("input", () => this.#showBetween());
    get("download", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#zip();
    });
  }

  #soon() {
    clearTimeout(this.waiting);
    this.started += 1; // what is being made is not wanted any more
    get("more-scans", HTMLElement).hidden = true; // nor more of it
    say("Making scans…");
    this.waiting = setTimeout(() => this.show(), PAUSE);
  }

  /** @returns {import("./latents.js").Draw} */
  get draw() {
    const truncation = Number(this.truncation.value);
    return { seed: BigInt(this.seed.value), truncation, paired: this.paired.checked };
  }

  get labels() {
    const { value } = this.wanted;
    return value === "all" ? this.model.classes.map((_, label) => label) : [Number(value)];
  }

  /** Whether the seed is one; says so if not. */
  #seedIsRight() {
    const text = this.seed.value.trim();
    const right = /^\d{1,20}$/.test(text) && BigInt(text) <= LARGEST_SEED;
    this.seed.setCustomValidity(right ? "" : "A seed is a whole number from 0 to 2^64 - 1.");
    this.seed.setAttribute("aria-invalid", String(!right));
    if (!right) say(this.seed.validationMessage);
    return right;
  }

  /** Show the first scans. */
  async show() {
    clearTimeout(this.waiting);
    if (!this.#seedIsRight()) return;
    this.shown = 0;
    const sections = this.labels.map((label) => {
      const section = document.createElement("section");
      const heading = document.createElement("h2");
      heading.textContent = this.model.classes[label] ?? "Scans";
      const row = document.createElement("ul");
      row.className = "row";
      row.dataset.label = String(label);
      section.append(heading, row);
      return section;
    });
    get("scans", HTMLElement).replaceChildren(...sections);
    await this.#add();
  }

  /** Show more of the scans. */
  async #add() {
    const turn = ++this.started;
    const { labels, draw, model } = this;
    const each = Math.max(1, Math.floor(SHOWN / labels.length));
    const total = each * labels.length;
    get("more-scans", HTMLElement).hidden = true;
    let made = 0;
    for await (const scans of makeScans(model, draw, labels, BigInt(this.shown), each)) {
      if (turn !== this.started) return;
      for (const scan of scans) this.#append(scan);
      made += scans.length;
      say(`Making scans: ${made} of ${total}`);
    }
    if (turn !== this.started) return;
    this.shown += each;
    const shown = this.shown * labels.length;
    say(`${shown} synthetic scans, seed ${draw.seed}. Click one to look around it.`);
    get("more-scans", HTMLElement).hidden = shown >= MOST_SHOWN;
  }

  /** @param {Scan} scan */
  #append(scan) {
    const row = document.querySelector(`.row[data-label="${scan.label}"]`);
    const name = nameOf(this.model, scan);
    const button = scanButton(scan, this.model.facts.size, String(scan.index), name);
    button.addEventListener("click", () => this.viewer.open(scan));
    const item = document.createElement("li");
    item.append(button);
    row?.append(item);
  }

  /**
   * @param {"A" | "B"} which
   * @param {Scan} scan
   */
  #pin(which, scan) {
    this.pins[which] = scan;
    this.#showBetween();
  }

  async #showBetween() {
    const { A, B } = this.pins;
    const section = get("between", HTMLElement);
    section.hidden = !(A && B);
    section.ariaBusy = "true";
    if (!A || !B) return;
    const way = get("way", HTMLInputElement).value;
    const latent = between(A.latent, B.latent, Number(way));
    const label = Number(way) < 0.5 ? A.label : B.label; // there is no class between two
    const [image] = await this.model.make([latent], [label]);
    if (way !== get("way", HTMLInputElement).value) return; // it has moved on
    const middle = { image, latent, label, index: null, draw: A.draw };
    const pictures = [
      { scan: A, name: "A" },
      { scan: middle, name: `${Math.round(100 * Number(way))}% of the way` },
      { scan: B, name: "B" },
    ].map(({ scan, name }) => {
      const what = `${name}, ${nameOf(this.model, scan)}`;
      const button = scanButton(scan, this.model.facts.size, name, what);
      button.addEventListener("click", () => this.viewer.open(scan));
      return button;
    });
    get("between-scans", HTMLElement).replaceChildren(...pictures);
    section.ariaBusy = "false";
  }

  async #zip() {
    if (!this.#seedIsRight()) return;
    const { labels, draw, model } = this;
    const count = Number(get("count", HTMLInputElement).value);
    if (count * labels.length >= MOST_IN_ZIP) {
      say(`A ZIP holds fewer than ${MOST_IN_ZIP} scans; ask for fewer, or use gen-scans.`);
      return;
    }
    const bar = get("zip-progress", HTMLProgressElement);
    const button = /** @type {HTMLButtonElement} */ (document.querySelector("#download button"));
    bar.max = count * labels.length;
    bar.value = 0;
    bar.hidden = false;
    button.disabled = true;
    try {
      const made = await zipOfScans(model, draw, labels, count, (n) => (bar.value = n));
      save(`${model.facts.name}-synthetic-seed-${draw.seed}.zip`, made);
      say(`A ZIP of ${bar.max} synthetic scans was made.`);
    } catch (error) {
      say(`No ZIP was made: ${error instanceof Error ? error.message : error}.`);
    } finally {
      bar.hidden = true;
      button.disabled = false;
    }
  }
}

/** @param {string} text */
function say(text) {
  get("status", HTMLElement).textContent = text;
}

async function start() {
  const lack = lacking();
  if (lack) throw new Error(lack);
  const facts = embeddedJson("facts");
  const damaged = "The model in this page is damaged; copy or make the page again.";
  const [runtime, bytes] = await Promise.all([
    embeddedFile("runtime"),
    embeddedFile("model"),
  ]).catch(() => {
    throw new Error(damaged);
  });
  if ((await sha256(bytes)) !== facts.sha256) throw new Error(damaged);
  const page = new Page(await ScanModel.open(runtime, bytes, facts));
  await page.show();
}

start().catch((error) => say(error instanceof Error ? error.message : String(error)));
