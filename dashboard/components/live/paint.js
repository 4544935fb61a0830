// Painting stamps on an image: a drag leaves disks of one color, or moves one disk. The server gets the list when the
// pointer is let go, and answers with what the network makes of it.

const LETTERS = { erase: "e", paint: "p", move: "m" };
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const thousandths = (x) => clamp(Math.round(1000 * x), 0, 999);
const states = new WeakMap();

// "e.500.400.80_m.500.400.80.200.300": tool, row, column, radius, and for a move where the piece comes from.
function write(stamps) {
  return stamps.map((s) => [LETTERS[s.tool], s.row, s.column, s.radius, ...(s.source ?? [])].join(".")).join("_");
}

function parse(text) {
  const tools = Object.fromEntries(Object.entries(LETTERS).map(([tool, letter]) => [letter, tool]));
  return text.split("_").filter(Boolean).map((part) => {
    const [letter, ...numbers] = part.split("."), [row, column, radius, ...source] = numbers.map(Number);
    return { tool: tools[letter], row, column, radius, source: source.length ? source : null };
  });
}

function create(root) {
  const find = (name) => root.querySelector(name);
  const state = {
    find, stage: find(".stage"), canvas: find("canvas"), picture: new Image(), tool: "erase", stamps: [], server: null,
    at: null, from: null, down: false, waiting: 0,
  };
  for (const button of root.querySelectorAll("[data-tool]")) {
    button.onclick = () => {
      state.tool = button.dataset.tool;
      redraw(state);
    };
  }
  find(".undo").onclick = () => finish(state, state.stamps.slice(0, -1));
  find(".clear").onclick = () => finish(state, []);
  find(".size").oninput = () => redraw(state);
  listen(state);
  return state;
}

function listen(state) {
  const { stage } = state;
  const move = (event) => {
    const box = stage.getBoundingClientRect();
    state.at = [clamp((event.clientY - box.top) / box.height, 0, 0.999), clamp((event.clientX - box.left) / box.width, 0, 0.999)];
  };
  stage.onpointerdown = (event) => {
    stage.setPointerCapture(event.pointerId);
    move(event);
    begin(state);
  };
  stage.onpointermove = (event) => {
    move(event);
    if (state.down && state.tool !== "move") add(state);
    redraw(state);
  };
  stage.onpointerup = () => end(state);
  stage.onpointercancel = stage.onpointerleave = () => {
    state.at = state.down ? state.at : null;
    redraw(state);
  };
  stage.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) state.at = (state.at ?? [0.5, 0.5]).map((x, i) => clamp(x + step[i] * (event.shiftKey ? 0.1 : 0.02), 0, 0.999));
    else if (event.key === "Enter" || event.key === " ") {
      state.at ??= [0.5, 0.5];
      if (state.tool === "move" && !state.down) begin(state);
      else {
        if (state.tool !== "move") begin(state);
        end(state);
      }
    } else return;
    event.preventDefault();
    redraw(state);
  };
}

function stamp(state) {
  const radius = thousandths(state.find(".size").value / 100);
  return { tool: state.tool, row: thousandths(state.at[0]), column: thousandths(state.at[1]), radius, source: null };
}

function begin(state) {
  state.down = true;
  state.drawn = [];
  state.from = [...state.at];
  if (state.tool !== "move") add(state);
  redraw(state);
}

function add(state) {
  const next = stamp(state), last = state.drawn.at(-1), [tall, wide] = state.data.size, side = Math.min(tall, wide);
  const far = last && Math.hypot((next.row - last.row) * tall, (next.column - last.column) * wide) / side;
  if (last && far < 0.6 * next.radius) return;
  if (state.stamps.length + state.drawn.length < state.data.most) state.drawn.push(next);
}

function end(state) {
  if (!state.down) return;
  state.down = false;
  const drawn = state.drawn;
  if (state.tool === "move" && state.stamps.length < state.data.most) {
    drawn.push({ ...stamp(state), source: state.from.map(thousandths) });
  }
  state.drawn = [];
  finish(state, [...state.stamps, ...drawn]);
}

function finish(state, stamps) {
  state.stamps = stamps;
  state.tell("edits", write(stamps));
  redraw(state);
}

function redraw(state) {
  state.waiting ||= requestAnimationFrame(() => {
    state.waiting = 0;
    if (state.picture.complete && state.picture.naturalWidth) draw(state);
  });
}

function draw(state) {
  const { canvas, picture, data } = state, { width, height } = canvas, context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, width, height);
  const disk = (s, fill, at = [s.row, s.column]) => {
    context.beginPath();
    context.arc((at[1] / 1000) * width, (at[0] / 1000) * height, (s.radius / 1000) * Math.min(width, height), 0, 7);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    } else {
      for (const [color, thick] of [["#000", 4], ["#fff", 2]]) {
        context.strokeStyle = color;
        context.lineWidth = thick;
        context.stroke();
      }
    }
  };
  for (const s of [...state.stamps, ...(state.drawn ?? [])]) {
    if (s.tool !== "move") disk(s, s.tool === "paint" ? data.dark : data.skin);
    else {
      context.save();
      disk(s);
      context.clip();
      context.drawImage(picture, ((s.column - s.source[1]) / 1000) * width, ((s.row - s.source[0]) / 1000) * height, width, height);
      context.restore();
      disk(s, data.skin, s.source);
    }
  }
  if (state.at) {
    const cursor = stamp(state);
    if (state.down && state.tool === "move") disk(cursor, null, state.from.map((x) => 1000 * x));
    disk(cursor);
  }
  for (const button of state.canvas.getRootNode().querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === state.tool));
  }
  state.stage.dataset.drawn = write(state.stamps) || "nothing";
}

export default function ({ parentElement, data, setTriggerValue }) {
  let state = states.get(parentElement);
  if (!state) states.set(parentElement, (state = create(parentElement)));
  state.tell = setTriggerValue;
  if (state.data?.image !== data.image) {
    [state.canvas.height, state.canvas.width] = data.size;
    state.picture.onload = () => redraw(state);
    state.picture.src = data.image;
    const ratio = data.size[1] / data.size[0];
    state.stage.style.aspectRatio = ratio;
    state.stage.style.setProperty("--ratio", ratio);
    state.canvas.setAttribute("aria-label", data.label);
    state.stage.setAttribute("aria-label", `${data.label}. Arrow keys move the brush, Enter paints; to move a patch, press Enter at its old and at its new position.`);
  }
  state.data = data;
  if (state.server !== data.edits) {
    state.server = data.edits;
    if (!state.down) state.stamps = parse(data.edits);
  }
  redraw(state);
}
