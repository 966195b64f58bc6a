/** Bundle the page's script, and pack the runtime: what the wheel holds, in built/. */

import { build } from "esbuild";
import { gzip } from "libdeflate";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const modules = `${here}node_modules`;
const out = `${here}built`;
mkdirSync(out, { recursive: true });
await build({
  entryPoints: [`${here}page.js`, `${here}study.js`],
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome115", "firefox113", "safari16.4"],
  // Where the script came from, which nothing is fetched from. Not file:, as there Firefox has no origin.
  define: { "import.meta.url": '"https://localhost/"' },
  external: ["module", "fs", "path", "url", "worker_threads"], // only asked for under node
  legalComments: "none",
  logLevel: "warning",
  outdir: out,
});
const runtime = readFileSync(`${modules}/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm`);
writeFileSync(`${out}/runtime.wasm.gz`, gzip(runtime, 12));
