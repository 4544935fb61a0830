// The U of the network as buttons with this image's feature maps in them; those of the tour's step are lit.

function node(item, tell) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: item.title });
  button.dataset.id = item.id;
  const image = Object.assign(new Image(), { src: item.src, alt: "" });
  const name = Object.assign(document.createElement("b"), { textContent: item.label });
  const shape = Object.assign(document.createElement("span"), { textContent: item.shape });
  button.append(image, name, shape);
  button.onclick = () => tell("chosen", item.id);
  return button;
}

function cell(items, kind, tell) {
  const box = document.createElement("div");
  box.className = `cell ${kind}`;
  box.append(...items.map((item) => node(item, tell)));
  return box;
}

export default function ({ parentElement, data, setTriggerValue }) {
  const root = parentElement.querySelector(".network");
  if (root.dataset.id !== data.id) {
    root.dataset.id = data.id;
    root.replaceChildren(...["Encoder ↓", "Skips", "Decoder ↑"].map((text, i) =>
      Object.assign(document.createElement("p"), { textContent: text, className: ["encoder", "skip", "decoder"][i] })));
    for (const row of data.rows) {
      for (const kind of ["encoder", "skip", "decoder"]) root.append(cell(row[kind], kind, setTriggerValue));
    }
  }
  for (const button of root.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.id === data.chosen));
    button.classList.toggle("lit", data.lit.includes(button.dataset.id));
    button.classList.toggle("dim", data.lit.length > 0 && !data.lit.includes(button.dataset.id));
  }
}
