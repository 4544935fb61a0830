"""An image to paint on: disks of skin or lesion color, and a disk that is moved. The list of stamps is its address."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from dashboard.components.scripts import script, source
from dashboard.images import data_uri
from skinlesion.explain import Stamp

MOST = 24  # stamps: an address has room for them
_TOOLS = {"e": "erase", "p": "paint", "m": "move"}
_NUMBER = r"[0-9]{1,3}"
_STAMP = rf"(?:[ep](?:\.{_NUMBER}){{3}}|m(?:\.{_NUMBER}){{5}})"
_EDITS = re.compile(rf"(?:{_STAMP}(?:_{_STAMP}){{0,{MOST - 1}}})?")

_stage = st.components.v2.component(
    "skinlesion_painter", html=source("paint.html"), css=source("paint.css"), js=script("paint.js")
)


def read_edits(text: str) -> str:
    """The text of a list of stamps, if it is one.

    Raises:
        ValueError: it isn't.
    """
    if not _EDITS.fullmatch(text):
        raise ValueError
    return text


def stamps(edits: str) -> list[Stamp]:
    """The stamps of a text that `read_edits` accepts; places are in thousandths."""
    found = []
    for part in filter(None, edits.split("_")):
        letter, *numbers = part.split(".")
        row, column, radius, *source = (int(number) / 1000 for number in numbers)
        found.append(Stamp(_TOOLS[letter], row, column, radius, (source[0], source[1]) if source else None))  # type: ignore[arg-type]
    return found


def painter(
    image: np.ndarray,
    edits: str,
    *,
    dark: Sequence[int],
    skin: Sequence[int],
    label: str,
    key: str,
    on_edits: Callable[[str], None],
) -> None:
    """Show it.

    Args:
        image: uint8 (H, W, 3).
        edits: what is painted already.
        dark: RGB color of the lesion brush.
        skin: RGB color of the eraser.
        label: what the image shows.
        key: the component's.
        on_edits: called with the new list before the page runs again.
    """

    def take() -> None:
        text = st.session_state[key].get("edits")
        if isinstance(text, str) and _EDITS.fullmatch(text):  # a browser may send anything
            on_edits(text)

    data = {
        "image": data_uri(image),
        "size": list(image.shape[:2]),
        "edits": edits,
        "dark": f"rgb({', '.join(map(str, dark))})",
        "skin": f"rgb({', '.join(map(str, skin))})",
        "label": label,
        "most": MOST,
    }
    _stage(key=key, data=data, on_edits_change=take)
