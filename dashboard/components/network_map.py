"""The network as a diagram: a button for each block and skip, with its feature map of this image."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import streamlit as st

from dashboard.components.scripts import script, source


class Node(NamedTuple):
    """One button.

    Attributes:
        id: unique: a layer's name, "image" or "mask".
        label: what it is called.
        shape: "20 × 20 × 48".
        title: a sentence, shown on hover and read by screen readers.
        src: its map, as a data URI.
    """

    id: str
    label: str
    shape: str
    title: str
    src: str


Row = Mapping[str, Sequence[Node]]  # "encoder", "skip" and "decoder" -> nodes, side by side

_map = st.components.v2.component(
    "skinlesion_network",
    html='<div class="network" role="group" aria-label="The network"></div>',
    css=source("network.css"),
    js=script("network.js"),
)


def network_map(
    rows: Sequence[Row], *, chosen: str, lit: Sequence[str], key: str, on_choice: Callable[[str], None]
) -> None:
    """Show it.

    Args:
        rows: from the finest grid to the coarsest.
        chosen: the id that is marked.
        lit: ids that the tour is about; the others are dimmed, unless it is empty.
        key: the component's.
        on_choice: called with a known id before the page runs again.
    """
    known = {node.id for row in rows for nodes in row.values() for node in nodes}

    def choose() -> None:
        id = st.session_state[key].get("chosen")
        if isinstance(id, str) and id in known:  # a browser may send anything
            on_choice(id)

    plain = [{kind: [node._asdict() for node in nodes] for kind, nodes in row.items()} for row in rows]
    data: dict[str, Any] = {"rows": plain, "chosen": chosen, "lit": list(lit)}
    data["id"] = hashlib.sha256(repr(plain).encode()).hexdigest()[:16]
    _map(key=key, data=data, on_chosen_change=choose)
