// One image with its probability map on a canvas: threshold, style, opacity and wipe follow the pointer without the
// server, which is told when a control is let go. resize.js and mask.js stand above this in the same module.

const ZOOM = [1, 12];
const HEAT = { Probability: "p", Uncertainty: "u" };
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const states = new WeakMap();

// What is computed once an image: maps at the size that is measured and at the size that is drawn.
function prepare(data) {
  const { rows, columns } = data.grid, [height, width] = data.size, [tall, wide] = data.drawn;
  const raw = floats(data.probability);
  const at = (map, h, w) => resizeMap(map, rows, columns, h, w);
  const bits = data.truth && bytes(data.truth);
  const truth = bits && Uint8Array.from({ length: height * width }, (_, i) => (bits[i >> 3] >> (7 - (i & 7))) & 1);
  const scaled = truth && Uint8Array.from({ length: tall * wide }, (_, i) => {
    const y = Math.floor(((Math.floor(i / wide) + 0.5) * height) / tall);
    return truth[y * width + Math.floor((((i % wide) + 0.5) * width) / wide)];
  });
  const spread = data.spread && at(floats(data.spread), tall, wide);
  return {
    measured: calibrate(at(raw, height, width), data.temperature),
    shown: calibrate(at(raw, tall, wide), data.temperature),
    truth, scaled, spread,
    most: spread && Math.max(1e-6, spread.reduce((a, b) => Math.max(a, b))),
  };
}

function create(root) {
  const find = (name) => root.querySelector(name);
  const state = {
    find, zoom: 1, x: 0.5, y: 0.5, probe: null, pointers: new Map(), waiting: 0, sending: 0, sent: "", server: "",
    settings: {}, stage: find(".stage"), canvas: find("canvas"), layer: document.createElement("canvas"),
    picture: new Image(),
  };
  const change = (values) => {
    Object.assign(state.settings, values);
    redraw(state);
    clearTimeout(state.sending);
    state.sending = setTimeout(() => {
      state.sent = JSON.stringify(state.settings);
      state.tell("settings", { ...state.settings });
    }, 300);
  };
  for (const name of ["threshold", "opacity", "wipe"]) {
    find(`.${name} input`).oninput = (event) => change({ [name]: Number(event.target.value) });
  }
  find(".styles").onchange = (event) => change({ show: event.target.value });
  const toggle = () => change({ overlay: !state.settings.overlay });
  find(".overlay").onclick = toggle;
  find(".in").onclick = () => zoomBy(state, 1.5);
  find(".out").onclick = () => zoomBy(state, 1 / 1.5);
  find(".whole").onclick = () => zoomBy(state, 0);
  state.keys = (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.composedPath()[0].tagName ?? "");
    if (event.key.toLowerCase() === "o" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) toggle();
  };
  document.addEventListener("keydown", state.keys);
  point(state);
  return state;
}

// ------------------------------------------------------------------ pointer and keyboard

function place(state, event) {
  const box = state.stage.getBoundingClientRect();
  const across = (event.clientX - box.left) / box.width - 0.5, down = (event.clientY - box.top) / box.height - 0.5;
  return [clamp(state.y + down / state.zoom, 0, 0.9999), clamp(state.x + across / state.zoom, 0, 0.9999)];
}

function point(state) {
  const { stage, pointers } = state;
  stage.onpointermove = (event) => {
    const before = pointers.get(event.pointerId);
    if (before && pointers.size === 2) pinch(state, event);
    else if (before && state.zoom > 1) {
      const box = stage.getBoundingClientRect();
      state.x -= (event.clientX - before.clientX) / box.width / state.zoom;
      state.y -= (event.clientY - before.clientY) / box.height / state.zoom;
    }
    if (before) pointers.set(event.pointerId, event);
    state.probe = place(state, event);
    redraw(state);
  };
  stage.onpointerdown = (event) => {
    pointers.set(event.pointerId, event);
    state.probe = place(state, event);
    redraw(state);
  };
  stage.onpointerup = stage.onpointercancel = (event) => pointers.delete(event.pointerId);
  stage.onpointerleave = (event) => {
    pointers.delete(event.pointerId);
    state.probe = null;
    redraw(state);
  };
  stage.ondblclick = (event) => {
    [state.y, state.x] = place(state, event);
    zoomBy(state, state.zoom > 1 ? 0 : 3);
  };
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls; a trackpad's pinch comes with ctrlKey
    event.preventDefault();
    zoomBy(state, Math.exp(-event.deltaY / 200));
  }, { passive: false });
  stage.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      const size = (event.shiftKey ? 0.1 : 0.01) / Math.sqrt(state.zoom), [y, x] = state.probe ?? [state.y, state.x];
      state.probe = [clamp(y + step[0] * size, 0, 0.9999), clamp(x + step[1] * size, 0, 0.9999)];
      if (state.zoom > 1) [state.y, state.x] = state.probe;
    } else if (event.key === "+" || event.key === "=") zoomBy(state, 1.5);
    else if (event.key === "-") zoomBy(state, 1 / 1.5);
    else if (event.key === "0") zoomBy(state, 0);
    else return;
    event.preventDefault();
    redraw(state);
  };
}

function pinch(state, event) {
  const [a, b] = [...state.pointers.values()], distance = (p, q) => Math.hypot(p.clientX - q.clientX, p.clientY - q.clientY);
  const other = a.pointerId === event.pointerId ? b : a;
  zoomBy(state, distance(event, other) / Math.max(1, distance(a, b)));
}

function zoomBy(state, factor) {
  state.zoom = factor ? clamp(state.zoom * factor, ...ZOOM) : 1;
  state.stage.style.touchAction = state.zoom > 1 ? "none" : "pan-y";
  redraw(state);
}

// ------------------------------------------------------------------ drawing

function redraw(state) {
  state.waiting ||= requestAnimationFrame(() => {
    state.waiting = 0;
    if (!state.maps || !state.picture.complete || !state.picture.naturalWidth) return;
    const started = performance.now();
    draw(state);
    state.stage.dataset.frame = (performance.now() - started).toFixed(2); // milliseconds
    state.stage.dataset.drawn = state.data.id;
  });
}

function paint(state) {
  const { maps, settings, data, layer } = state, { show, threshold } = settings, opacity = settings.opacity / 100;
  const key = JSON.stringify([show, threshold, opacity, data.id]);
  if (state.painted === key) return;
  state.painted = key;
  const context = layer.getContext("2d");
  const image = (state.image ??= context.createImageData(layer.width, layer.height));
  const pixels = new Uint32Array(image.data.buffer);
  if (HEAT[show] === "u") paintHeat(pixels, maps.spread, maps.most, Math.max(opacity, 0.3));
  else if (HEAT[show]) paintHeat(pixels, maps.shown, 1, Math.max(opacity, 0.3));
  else paintMask(pixels, maps.shown, maps.scaled, threshold, layer.width, { style: show, opacity, colors: data.colors });
  context.putImageData(image, 0, 0);
}

function draw(state) {
  const { canvas, layer, picture, settings, zoom } = state;
  const { width, height } = canvas, context = canvas.getContext("2d");
  const half = 0.5 / zoom;
  state.x = clamp(state.x, half, 1 - half);
  state.y = clamp(state.y, half, 1 - half);
  context.setTransform(zoom, 0, 0, zoom, (0.5 - state.x * zoom) * width, (0.5 - state.y * zoom) * height);
  context.drawImage(picture, 0, 0, width, height);
  if (settings.overlay) {
    paint(state);
    const from = Math.round((settings.wipe / 100) * width);
    if (from < width) context.drawImage(layer, from, 0, width - from, height, from, 0, width - from, height);
    if (from) {
      context.fillStyle = "#fff";
      context.fillRect(from - 1 / zoom, 0, 2 / zoom, height);
    }
  }
  cross(state, context, width, height);
  state.find(".probe").textContent = read(state);
  say(state);
}

function cross(state, context, width, height) {
  if (!state.probe || state.stage.matches(":hover")) return; // the pointer itself marks the place
  const [y, x] = [state.probe[0] * height, state.probe[1] * width], arm = 9 / state.zoom;
  for (const [color, thick] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = color;
    context.lineWidth = thick / state.zoom;
    context.beginPath();
    context.moveTo(x - arm, y);
    context.lineTo(x + arm, y);
    context.moveTo(x, y - arm);
    context.lineTo(x, y + arm);
    context.stroke();
  }
}

// The value under the pointer, in the image's own pixels.
function read(state) {
  if (!state.probe) return "";
  const [height, width] = state.data.size, [h, w] = state.data.drawn, [y, x] = state.probe;
  const row = Math.floor(y * height), column = Math.floor(x * width);
  const spread = state.maps.spread?.[Math.floor(y * h) * w + Math.floor(x * w)];
  const doubt = spread === undefined ? "" : ` ± ${spread.toFixed(2)}`;
  return `row ${row}, column ${column}: probability ${state.maps.measured[row * width + column].toFixed(2)}${doubt}`;
}

function say(state) {
  const { find, settings, data, maps } = state;
  const key = `${settings.threshold} ${data.id}`;
  if (state.said !== key) {
    state.said = key;
    const found = (state.found = measure(maps.measured, maps.truth, settings.threshold));
    const put = (name, text) => (find(`.${name} dd`).textContent = text);
    put("area", `${(100 * found.fraction).toFixed(1)}%`);
    put("confidence", found.fraction ? found.confidence.toFixed(3) : "no lesion");
    for (const name of ["dice", "iou"]) {
      find(`.${name}`).hidden = !maps.truth;
      if (maps.truth) put(name, found[name].toFixed(3));
    }
    find(".counts").textContent = maps.truth
      ? `${found.right.toLocaleString("en")} true positives, ${found.wrong.toLocaleString("en")} false positives, ` +
        `${found.missed.toLocaleString("en")} false negatives, in pixels.`
      : "The true border of this image isn't known here, so there is no score.";
  }
  find(".threshold output").textContent = settings.threshold.toFixed(2);
  find(".opacity output").textContent = `${settings.opacity}%`;
  find(".wipe output").textContent = `${settings.wipe}%`;
  find(".overlay").setAttribute("aria-pressed", String(settings.overlay));
  find(".legend").textContent = data.legends[settings.show] ?? "";
  const area = `${(100 * state.found.fraction).toFixed(1)}% of it is predicted to be lesion`;
  state.canvas.setAttribute("aria-label", `${data.title}; ${area} at threshold ${settings.threshold.toFixed(2)}`);
}

// ------------------------------------------------------------------ what the server sends

function adopt(state, settings) {
  const text = JSON.stringify(settings);
  if (text === state.server) return; // nothing new: the visitor's own settings stay
  state.server = text;
  if (text === state.sent) return; // an answer to what was sent; the visitor may have moved on
  state.settings = { ...settings };
  for (const name of ["threshold", "opacity", "wipe"]) state.find(`.${name} input`).value = settings[name];
}

function styles(state) {
  const group = state.find(".styles"), { data, settings } = state;
  const key = data.styles.join();
  if (group.dataset.styles !== key) {
    group.dataset.styles = key;
    group.replaceChildren(...data.styles.map((name) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: name });
      label.append(input, name);
      return label;
    }));
  }
  for (const input of group.querySelectorAll("input")) input.checked = input.value === settings.show;
}

export default function ({ parentElement, data, setTriggerValue }) {
  let state = states.get(parentElement);
  if (!state) states.set(parentElement, (state = create(parentElement)));
  state.tell = setTriggerValue;
  if (state.data?.id !== data.id) {
    state.maps = prepare(data);
    [state.layer.height, state.layer.width] = [state.canvas.height, state.canvas.width] = data.drawn;
    state.image = state.painted = state.said = null;
    if (state.data?.image !== data.image) Object.assign(state, { zoom: 1, x: 0.5, y: 0.5, probe: null });
    state.picture.onload = () => redraw(state);
    state.picture.src = data.image;
    const ratio = data.drawn[1] / data.drawn[0];
    state.stage.style.aspectRatio = ratio;
    state.stage.style.setProperty("--ratio", ratio);
  }
  state.data = data;
  adopt(state, data.settings);
  styles(state);
  const notes = state.find(".notes");
  notes.replaceChildren(...data.notes.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  notes.hidden = !data.notes.length;
  redraw(state);
  return () => {
    document.removeEventListener("keydown", state.keys);
    states.delete(parentElement);
  };
}
