"""A picture that reports the position of a click and marks the chosen position."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from dashboard.images import data_uri

_HTML = """
<div class="stage" tabindex="0" role="application"><img alt=""><div class="mark"></div></div>
"""

_CSS = """
.stage { position: relative; margin: 0 auto; max-width: 100%; border-radius: 10px; overflow: hidden; line-height: 0;
  cursor: crosshair; user-select: none; }
.stage:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
img { width: 100%; height: 100%; display: block; }
.mark { position: absolute; width: 22px; height: 22px; margin: -11px; border: 2px solid #fff; border-radius: 50%;
  box-shadow: 0 0 0 2px #000c, inset 0 0 0 2px #000c; pointer-events: none; }
.mark::before, .mark::after { content: ""; position: absolute; background: #fff; box-shadow: 0 0 0 1px #000c; }
.mark::before { left: 8px; top: 8px; width: 2px; height: 2px; }
"""

_JS = """
export default function ({ parentElement, data, setTriggerValue }) {
  const stage = parentElement.querySelector(".stage"), image = stage.querySelector("img");
  const mark = stage.querySelector(".mark");
  if (image.src !== data.src) image.src = data.src;
  image.alt = data.label;
  stage.setAttribute("aria-label", `${data.label}. Click, or move with the arrow keys.`);
  stage.style.aspectRatio = data.ratio;
  stage.style.width = `min(100%, calc(${data.ratio} * 72vh))`;
  let [row, column] = data.at;
  const show = () => {
    mark.style.top = `${100 * row}%`;
    mark.style.left = `${100 * column}%`;
  };
  const tell = () => { show(); setTriggerValue("place", [row, column]); };
  const inside = (value) => Math.min(0.9999, Math.max(0, value));
  stage.onclick = (event) => {
    const box = stage.getBoundingClientRect();
    row = inside((event.clientY - box.top) / box.height);
    column = inside((event.clientX - box.left) / box.width);
    tell();
  };
  stage.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    row = inside(row + step[0] * data.step);
    column = inside(column + step[1] * data.step);
    tell();
  };
  show();
}
"""

_stage = st.components.v2.component("skinlesion_spot", html=_HTML, css=_CSS, js=_JS)


def spot(
    image: np.ndarray,
    at: tuple[float, float],
    *,
    label: str,
    key: str,
    on_place: Callable[[float, float], None],
    step: float = 1 / 32,
) -> None:
    """Show the picture.

    Args:
        image: uint8 (H, W, 3).
        at: the marked place, (row, column), as parts of height and width in [0, 1).
        label: what the picture shows.
        key: the component's.
        on_place: called with (row, column) in [0, 1) before the page runs again.
        step: of an arrow key.
    """

    def place() -> None:
        where = st.session_state[key].get("place")
        valid = isinstance(where, list) and len(where) == 2  # a browser may send anything
        if valid and all(isinstance(v, int | float) and 0 <= v < 1 for v in where):
            on_place(float(where[0]), float(where[1]))

    height, width = image.shape[:2]
    data = {
        "src": data_uri(image),
        "at": list(at),
        "label": label,
        "ratio": round(width / height, 4),
        "step": step,
    }
    _stage(key=key, data=data, on_place_change=place)
