// The network, in a thread of its own, so that the page never freezes.
//
// In:  {image: ImageBitmap, job}
// Out: {progress: [bytes, all]} .. {ready: card}, then for each image
//      {job, probability, size, gates, seconds}, or {job, error}.

import * as ort from "./ort/ort.wasm.min.mjs";
import { StripResizer, normalize } from "./resize.js";

const STRIP_BYTES = 16e6; // of pixels that are in memory at a time

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more would need headers that a static host doesn't send

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const all = Number(response.headers.get("Content-Length"));
  const parts = [];
  let count = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    count += value.length;
    postMessage({ progress: [count, all] });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function load() {
  const [card, bytes] = await Promise.all([fetch("card.json").then((r) => r.json()), download("model.onnx")]);
  // "basic": more optimization takes half a second more to load, and gains nothing for this network.
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "basic",
  });
  return { card, session };
}

// The image at the network's size. It is laid on white, as the package does with transparent pixels.
function shrink(image, [height, width]) {
  const rows = Math.max(1, Math.min(image.height, Math.floor(STRIP_BYTES / (4 * image.width))));
  const canvas = new OffscreenCanvas(image.width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  const resizer = new StripResizer(image.height, image.width, height, width);
  for (let top = 0; top < image.height; top += rows) {
    const count = Math.min(rows, image.height - top);
    context.fillStyle = "white";
    context.fillRect(0, 0, image.width, count);
    context.drawImage(image, 0, top, image.width, count, 0, 0, image.width, count);
    resizer.add(context.getImageData(0, 0, image.width, count).data);
  }
  return resizer.finish();
}

async function segment(image, { card, session }) {
  const { size, normalize: mode } = card.preprocessing;
  const pixels = shrink(image, size);
  image.close();
  const input = new ort.Tensor("float32", normalize(pixels, mode === "minmax255" ? 255 : 1), [1, 3, ...size]);
  const start = performance.now();
  const { logits, ...points } = await session.run({ image: input });
  const seconds = (performance.now() - start) / 1000;
  if (!logits.data.every(Number.isFinite)) throw new Error("the network's output is not finite");
  const probability = logits.data.map((x) => 1 / (1 + Math.exp(-x)));
  const gates = {};
  for (const [name, { data, dims }] of Object.entries(points)) gates[name] = { data, dims };
  return { probability, size, gates, seconds };
}

const loading = load();
loading.then(
  ({ card }) => postMessage({ ready: card }),
  (error) => postMessage({ failed: String(error.message ?? error) }),
);

addEventListener("message", async ({ data: { image, job } }) => {
  try {
    postMessage({ job, ...(await segment(image, await loading)) });
  } catch (error) {
    postMessage({ job, error: String(error.message ?? error) });
  }
});
