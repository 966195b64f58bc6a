// Run a model file in onnxruntime-web (WebAssembly): node run.mjs MODEL < {"z": [[...]], "label": [...]}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const ort = createRequire(new URL("../../../runtime/web/", import.meta.url))("onnxruntime-web");

const [model] = process.argv.slice(2);
const given = JSON.parse(readFileSync(0, "utf-8"));
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model));
const feeds = { z: new ort.Tensor("float32", given.z.flat(), [given.z.length, given.z[0].length]) };
if (given.label) feeds.label = new ort.Tensor("int64", given.label.map(BigInt), [given.label.length]);
const { image } = await session.run(feeds);
process.stdout.write(JSON.stringify({ dims: image.dims, data: Array.from(image.data) }));
