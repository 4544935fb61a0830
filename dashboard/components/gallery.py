"""A strip of thumbnails to choose from, by pointer, finger or keyboard."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import streamlit as st

from dashboard.image_choice import Picture
from dashboard.images import data_uri

_CSS = """
.strip { display: flex; gap: .4rem; overflow-x: auto; padding: .2rem .15rem .5rem; scrollbar-width: thin; }
button { flex: none; padding: 0; border: 3px solid transparent; border-radius: 10px; background: none; cursor: pointer;
  position: relative; line-height: 0; }
button img { width: 54px; height: 54px; object-fit: cover; border-radius: 7px; display: block; }
.strip.wrap { flex-wrap: wrap; }
.strip.wrap button img { width: 132px; height: 132px; }
button:hover { border-color: var(--st-border-color, #8886); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
button[aria-pressed="true"] { border-color: var(--st-primary-color); }
button i { position: absolute; left: 3px; bottom: 3px; font: 600 9px/1.6 var(--st-font, sans-serif);
  color: #fff; background: #000a; padding: 0 .35em; border-radius: 4px; }
@media (max-width: 480px) {
  button img { width: 46px; height: 46px; }
  button i { font-size: 8px; padding: 0 .2em; }
  .strip.wrap { display: grid; grid-template-columns: 1fr 1fr 1fr; }
  .strip.wrap button img { width: 100%; height: auto; aspect-ratio: 1; }
}
"""

_JS = """
export default function ({ parentElement, data, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  strip.classList.toggle("wrap", data.wrap);
  const ids = data.items.map((item) => `${item.id} ${item.tag} ${item.src.length}`).join("\\n");
  if (strip.dataset.ids !== ids) {
    strip.dataset.ids = ids;
    strip.replaceChildren(...data.items.map((item) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = item.title;
      button.dataset.id = item.id;
      const image = document.createElement("img");
      image.src = item.src;
      image.alt = item.title;
      button.append(image);
      if (item.tag) {
        const tag = document.createElement("i");
        tag.textContent = item.tag;
        button.append(tag);
      }
      return button;
    }));
  }
  for (const button of strip.children) {
    const chosen = button.dataset.id === data.chosen;
    if (chosen && button.getAttribute("aria-pressed") !== "true") {
      const left = button.offsetLeft - strip.offsetLeft;
      if (left < strip.scrollLeft || left + button.offsetWidth > strip.scrollLeft + strip.clientWidth) {
        strip.scrollTo({ left: left - strip.clientWidth / 2 });
      }
    }
    button.setAttribute("aria-pressed", chosen);
    button.onclick = () => setTriggerValue("chosen", button.dataset.id);
  }
  // One stop for the Tab key; the arrow keys move on from it.
  const buttons = [...strip.children];
  const stop = (button) => {
    for (const each of buttons) each.tabIndex = each === button ? 0 : -1;
  };
  stop(buttons.find((each) => each.dataset.id === data.chosen) ?? buttons[0]);
  strip.onkeydown = (event) => {
    const at = buttons.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || !buttons[to]) return;
    event.preventDefault();
    stop(buttons[to]);
    buttons[to].focus();
  };
}
"""

_strip = st.components.v2.component(
    "skinlesion_gallery",
    html='<div class="strip" role="group" aria-label="Images: arrow keys move, Enter chooses"></div>',
    css=_CSS,
    js=_JS,
)


def gallery(pictures: Mapping[str, Picture], chosen: str, key: str, on_choice: Callable[[str], None]) -> None:
    """Show a strip of images.

    Args:
        pictures: what to show, by id.
        chosen: the id that is marked.
        key: the component's.
        on_choice: called with a known id before the page runs again.
    """
    tiles(
        [Tile(p.id, p.title, data_uri(p.tiny, quality=80), "yours" if p.mine else _tag(p)) for p in pictures.values()],
        chosen,
        key,
        on_choice,
    )


class Tile(NamedTuple):
    """One picture to choose: id, what it is called, a data URI, and a word on it."""

    id: str
    title: str
    src: str
    tag: str


def tiles(
    items: Sequence[Tile], chosen: str, key: str, on_choice: Callable[[str], None], *, wrap: bool = False
) -> None:
    """Show pictures to choose from.

    Args:
        items: what to show.
        chosen: the id that is marked.
        key: the component's.
        on_choice: called with a known id before the page runs again.
        wrap: whether they are larger and fill several rows.
    """
    known = {item.id for item in items}

    def choose() -> None:
        id = st.session_state[key].get("chosen")
        if isinstance(id, str) and id in known:  # a browser may send anything
            on_choice(id)

    data = {"items": [item._asdict() for item in items], "chosen": chosen, "wrap": wrap}
    _strip(key=key, data=data, on_chosen_change=choose)


def _tag(picture: Picture) -> str:
    return "synthetic" if picture.id.startswith("synthetic") else ""
