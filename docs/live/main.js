// The page: user input, and what the network returns.

import { bars, layer, maskFile, maskOf, meanOverChannels, strip } from "./draw.js";
import { Problem, decode } from "./files.js";
import { calibrate } from "./mask.js";
import { resizeMap } from "./resize.js";

const MAX_SHOWN = 2_000_000; // pixels: a larger image is shown and measured at this size
const START = 5; // the sample that is segmented first: a medium-sized lesion
const $ = (id) => document.getElementById(id);
const percent = (x) => `${(100 * x).toFixed(1)}%`;

const state = {
  job: 0, // of the latest image; results of earlier ones are dropped
  shown: null, // {name, title, width, height, note} of the image on the page
  result: null, // what the worker returned
  temperature: 1, // of the checkpoint, which the probability is calibrated with
  probability: null, // at the size that is shown
  mask: null,
};

function say(text) {
  $("status").textContent = text;
}

function fail(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// ---------------------------------------------------------------- the image

async function open(blob, name, title = name) {
  const job = ++state.job;
  fail("");
  say(`Reading ${title} …`);
  try {
    const bitmap = await decode(blob, name);
    if (job !== state.job) return bitmap.close();
    show(bitmap, title);
    say(`Segmenting ${title} …`);
    worker.postMessage({ image: bitmap, job }, [bitmap]);
  } catch (error) {
    if (job !== state.job) return;
    fail(error instanceof Problem ? error.message : `${name} can't be shown (${error.message}): choose another image.`);
    say(state.shown ? `Still showing ${state.shown.title}.` : "No image yet.");
  }
}

function show(bitmap, title) {
  const scale = Math.min(1, Math.sqrt(MAX_SHOWN / (bitmap.width * bitmap.height)));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  for (const id of ["image", "layer"]) Object.assign($(id), { width, height });
  const context = $("image").getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  // As large as fits, and never so high that the controls leave the screen.
  $("frame").style.setProperty("--shown", `${Math.round(Math.min(480, (430 * width) / height))}px`);
  const size = `${bitmap.width} × ${bitmap.height} pixels`;
  const note = scale < 1 ? `${size}, shown and measured at ${width} × ${height}` : size;
  state.shown = { title, width, height, note };
  state.result = state.probability = state.mask = null;
  $("save").disabled = true;
  $("image").setAttribute("aria-label", `${title}, not segmented yet`);
  for (const id of ["fraction", "confidence", "time"]) $(id).textContent = "–";
  for (const id of ["rows", "columns"]) $(id).hidden = true;
}

// ---------------------------------------------------------------- the network

const worker = typeof WebAssembly === "object" ? new Worker("worker.js", { type: "module" }) : null;

function unusable(reason) {
  state.job++;
  fail(reason);
  say("The network can't run here.");
  $("progress").hidden = true;
  $("file").disabled = true;
}

function receive({ data }) {
  if (data.progress) {
    const [count, all] = data.progress;
    if (all) $("progress").value = Math.min(1, count / all);
    say(`Loading the network: ${(count / 1e6).toFixed(1)} MB …`);
  } else if (data.failed) {
    unusable(`The network could not be loaded (${data.failed}): reload the page, or use a current browser.`);
  } else if (data.ready) {
    ready(data.ready);
  } else if (data.job === state.job) {
    if (data.error) {
      fail(`${state.shown.title} could not be segmented (${data.error}): try a smaller image, or reload the page.`);
      say("");
    } else {
      finished(data);
    }
  }
}

function ready(card) {
  $("progress").hidden = true;
  $("parameters").textContent = `${(card.parameters / 1e6).toFixed(1)} million`;
  $("threshold").value = card.threshold;
  state.temperature = card.temperature;
  say("Ready: choose an image or a sample.");
  fill($("skip"), "cra.gate_h", card.onnx.points.slice().sort()); // the finest skip first
  fill($("block"), "se.gate", card.onnx.points);
  labels();
  if (!state.job) $("samples").children[START]?.click();
}

function fill(select, suffix, points) {
  const names = points.filter((point) => point.endsWith(suffix)).map((point) => point.split(".").slice(0, -2).join("."));
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

function finished(result) {
  const { title, width, height, note } = state.shown;
  state.result = result;
  const map = resizeMap(result.probability, ...result.size, height, width);
  state.probability = calibrate(map, state.temperature);
  $("time").textContent = `${result.seconds.toFixed(2)} s`;
  $("save").disabled = false;
  drawMask();
  drawStrips();
  drawBars();
  say(`${title}: ${note}`);
}

// ---------------------------------------------------------------- drawing

function labels() {
  $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
  $("opacity-value").textContent = `${Math.round(100 * $("opacity").value)}%`;
}

function drawMask() {
  if (!state.probability) return;
  const { title, width, height } = state.shown;
  const { mask, fraction, confidence } = maskOf(state.probability, Number($("threshold").value));
  state.mask = mask;
  const options = { opacity: Number($("opacity").value), contour: $("contour").checked };
  $("layer").getContext("2d").putImageData(layer(mask, width, height, options), 0, 0);
  $("fraction").textContent = percent(fraction);
  $("confidence").textContent = fraction ? confidence.toFixed(2) : "no lesion";
  $("image").setAttribute("aria-label", `${title}; the mask covers ${percent(fraction)} of it`);
}

let scheduled = 0;
function drawSoon() {
  labels();
  scheduled ||= requestAnimationFrame(() => {
    scheduled = 0;
    drawMask();
  });
}

function drawStrips() {
  if (!state.result) return;
  const name = $("skip").value;
  const rows = meanOverChannels(state.result.gates[`${name}.cra.gate_h`]);
  const columns = meanOverChannels(state.result.gates[`${name}.cra.gate_w`]);
  const range = [Math.min(...rows, ...columns), Math.max(...rows, ...columns)];
  strip($("rows"), rows, range, true);
  strip($("columns"), columns, range, false);
  const where = (values) => Math.round((100 * (values.indexOf(Math.max(...values)) + 0.5)) / values.length);
  const span = (values) => `${Math.min(...values).toFixed(3)} to ${Math.max(...values).toFixed(3)}`;
  const about = {
    rows: `Row gates of ${name}: ${span(rows)}, largest ${where(rows)}% down from the top.`,
    columns: `Column gates of ${name}: ${span(columns)}, largest ${where(columns)}% across from the left.`,
  };
  for (const [id, text] of Object.entries(about)) {
    $(id).hidden = false;
    $(id).setAttribute("aria-label", text);
  }
  [$("gate-low").textContent, $("gate-high").textContent] = range.map((x) => x.toFixed(3));
  $("cra-text").textContent = `${about.rows} ${about.columns}`;
}

function drawBars() {
  if (!state.result) return;
  const name = $("block").value;
  const gates = Array.from(state.result.gates[`${name}.se.gate`].data);
  bars($("bars"), gates);
  const mean = gates.reduce((sum, gate) => sum + gate, 0) / gates.length;
  const text =
    `${name}: ${gates.length} channels, gates ${Math.min(...gates).toFixed(2)} to ` +
    `${Math.max(...gates).toFixed(2)}, mean ${mean.toFixed(2)}. One bar per channel, from 0 to 1.`;
  $("bars").setAttribute("aria-label", text);
  $("se-text").textContent = text;
}

// ---------------------------------------------------------------- user input

async function offerSamples() {
  const samples = await (await fetch("samples.json")).json();
  const buttons = samples.map(({ file, title }) => {
    const button = Object.assign(document.createElement("button"), { type: "button", title });
    const picture = Object.assign(new Image(), { src: `samples/${file}`, alt: title });
    button.append(picture);
    button.addEventListener("click", async () => {
      choose(button);
      open(await (await fetch(picture.src)).blob(), file, title);
    });
    return button;
  });
  $("samples").replaceChildren(...buttons);
}

function choose(button) {
  for (const other of $("samples").children) other.setAttribute("aria-pressed", String(other === button));
}

function openFirst(files) {
  const file = files?.[0];
  if (!file || $("file").disabled) return;
  choose(null);
  open(file, file.name || "The pasted image");
}

async function save() {
  drawMask(); // the latest threshold may still wait for its frame
  const { title, width, height } = state.shown;
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(await maskFile(state.mask, width, height)),
    download: `${title.replace(/\.\w+$/, "").replace(/[^\w-]+/g, "-")}_mask.png`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("file").addEventListener("change", (event) => {
  openFirst(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
addEventListener("paste", (event) => openFirst(event.clipboardData?.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("frame").classList.add("dropping");
});
addEventListener("dragleave", (event) => event.relatedTarget || $("frame").classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("frame").classList.remove("dropping");
  openFirst(event.dataTransfer.files);
});
for (const id of ["threshold", "opacity", "contour"]) $(id).addEventListener("input", drawSoon);
$("skip").addEventListener("change", drawStrips);
$("block").addEventListener("change", drawBars);
$("save").addEventListener("click", save);
addEventListener("resize", drawBars);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawBars);
labels();

if (worker) {
  const offered = offerSamples();
  worker.addEventListener("message", (message) => offered.then(() => receive(message)));
  worker.addEventListener("error", () => unusable("The network could not be started: use a current browser."));
} else {
  unusable("The network needs WebAssembly, which this browser lacks or has switched off: use a current browser.");
}
