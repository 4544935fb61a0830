"""Two pictures in one frame and a handle that wipes between them. Nothing is fetched: the pictures come as data."""

import numpy as np
import streamlit as st

from dashboard.images import data_uri

_HTML = """
<div class="stage">
  <img class="before" alt=""><img class="after" alt="">
  <div class="bar"><div class="knob"></div></div>
  <span class="tag left"></span><span class="tag right"></span>
  <input type="range" min="0" max="100" step="0.5" value="50">
</div>
"""

_CSS = """
.stage { position: relative; margin: 0 auto; max-width: 100%; border-radius: 10px; overflow: hidden; line-height: 0;
  --at: 50%; background: var(--st-secondary-background-color); user-select: none; touch-action: pan-y; }
img { width: 100%; height: 100%; display: block; }
.after { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)); }
.bar { position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 4px #000a; pointer-events: none; }
.knob { position: absolute; top: 50%; left: 1px; width: 34px; height: 34px; margin: -17px; border-radius: 50%;
  background: #fff; box-shadow: 0 1px 5px #0009; }
.knob::before { content: "\\2039\\2009\\203a"; position: absolute; inset: 0; color: #333; text-align: center;
  font: 600 20px/30px sans-serif; }
.tag { position: absolute; top: 8px; font: 600 13px/1 var(--st-font, sans-serif); color: #fff; background: #000a;
  padding: .4em .6em; border-radius: 6px; pointer-events: none; }
.left { left: 8px; } .right { right: 8px; } .tag:empty { display: none; }
input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }
.stage:has(input:focus-visible) { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""

_JS = """
export default function ({ parentElement, data }) {
  const find = (name) => parentElement.querySelector(name);
  const stage = find(".stage"), range = find("input");
  const set = (image, source, text) => { if (image.src !== source) image.src = source; image.alt = text; };
  set(find(".before"), data.before, data.labels[0]);
  set(find(".after"), data.after, data.labels[1]);
  find(".left").textContent = data.labels[0];
  find(".right").textContent = data.labels[1];
  stage.style.aspectRatio = data.ratio;
  stage.style.width = `min(100%, calc(${data.ratio} * 72vh))`;
  range.setAttribute("aria-label", `Wipe between ${data.labels[0]} and ${data.labels[1]}`);
  if (stage.dataset.start !== String(data.start)) {  // the reader's own position survives new pictures
    stage.dataset.start = data.start;
    range.value = data.start;
  }
  const move = () => stage.style.setProperty("--at", `${range.value}%`);
  range.oninput = move;
  move();
}
"""

_stage = st.components.v2.component("skinlesion_wipe", html=_HTML, css=_CSS, js=_JS)


def wipe(before: np.ndarray, after: np.ndarray, *, labels: tuple[str, str], key: str, start: int = 50) -> None:
    """Show both pictures.

    Args:
        before: on the left of the handle, uint8 (H, W, 3).
        after: on the right of it, of the same size.
        labels: their names.
        key: the component's.
        start: where the handle is at first, in percent from the left.
    """
    height, width = before.shape[:2]
    data = {
        "before": data_uri(before),
        "after": data_uri(after),
        "labels": list(labels),
        "ratio": round(width / height, 4),
        "start": start,
    }
    _stage(key=key, data=data)
