"""The network: the U with this image's feature maps in it, a guided tour, and what is inside each block."""

from typing import NamedTuple

import numpy as np
import streamlit as st

from dashboard import explanations, frame, state
from dashboard.components.network_map import Node, Row, network_map
from dashboard.image_choice import Picture
from dashboard.images import data_uri
from dashboard.picker import choose_picture
from dashboard.predict import predict
from dashboard.weights import Weights, load
from skinlesion import explain
from skinlesion.model import CMSSMUNet
from skinlesion.overlay import thumbnail
from skinlesion.plots import interactive
from skinlesion.plots.rasters import masked
from skinlesion.segmenter import Segmenter

VIEW = "network"
SIDE = 96  # pixels of a thumbnail


class Step(NamedTuple):
    """A step of the tour: what is lit (kinds of `Part`, or "image" and "mask"), and what is said."""

    title: str
    text: str
    lit: tuple[str, ...]


TOUR = (
    Step(
        "Your image becomes a grid of tokens",
        "The image is cut into patches of 4 × 4 pixels. Each becomes a token: a vector of numbers. From here on the "
        "network works on a grid of tokens, {grid} of them.",
        ("image",),
    ),
    Step(
        "The encoder describes larger and larger regions",
        "Each block scans the grid along four directions with a running state, so that a token can depend on any other "
        "one. SE then scales the channels, and CMN mixes them. From stage to stage, the grid is halved and the number "
        "of channels is doubled. Each tile shows that block's output for this image, averaged over channels.",
        ("encoder",),
    ),
    Step(
        "Each skip is gated by rows and columns",
        "The encoder's features reach the decoder through a skip connection. Cross-region attention (CRA) multiplies "
        "them by a gate for each row and one for each column: here {skip} keeps {low:.0%} to {high:.0%} of the "
        "features.",
        ("skip",),
    ),
    Step(
        "The decoder restores the detail",
        "The same blocks, on grids that double from stage to stage. The skips supply where the border is; the deeper "
        "levels supply what counts as lesion.",
        ("decoder",),
    ),
    Step(
        "One probability per pixel, and a threshold",
        "The network's output is a probability for each pixel. Pixels of at least {threshold:.2f} form the mask: "
        "{area:.1f}% of this image. You can move that threshold in Segment.",
        ("mask",),
    ),
)


def show() -> None:
    frame.heading(
        "The network",
        "follow your image down the left side, across, and up the right: where does the lesion appear? Click a tile to "
        "look inside.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    if not isinstance(load(weights).model, CMSSMUNet):
        st.info("This view shows the paper's network only: choose its weights in the sidebar.", icon=":material/info:")
        return
    _picture(weights, picture)


@st.fragment
def _picture(weights: Weights, picture: Picture) -> None:
    nodes = _nodes(weights.digest, picture.key, load(weights), weights, picture)
    kinds = {"image": "image", "mask": "mask"} | {part.name: part.kind for part in _parts(weights)}
    ids = list(nodes)
    state.settle("tile", ids, ids[0])
    step = state.get("tour")
    lit = [id for id in ids if kinds.get(id.split(".")[0]) in TOUR[step - 1].lit] if step else []
    _tour(weights, picture, step)
    network_map(
        _rows(nodes, weights),
        chosen=state.get("tile"),
        lit=lit,
        key="network",
        on_choice=lambda id: st.session_state.update(tile=id),
    )
    st.caption(
        "Each tile shows the output at that point, averaged over channels, from dark (smallest) to light (largest), "
        "each on its own scale."
    )
    _inside(weights, picture, state.get("tile"))
    state.publish(VIEW)


# ------------------------------------------------------------------ the tour


def _tour(weights: Weights, picture: Picture, step: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if not step:
            st.button("Start the tour: what happens to your image", icon=":material/tour:", on_click=_go, args=(1,))
            return
        back = {"on_click": _go, "args": (step - 1,)}
        st.button("Back", icon=":material/arrow_back:", shortcut="Left", key="tour-back", **back)
        if step < len(TOUR):
            on = {"on_click": _go, "args": (step + 1,)}
            st.button("Next", icon=":material/arrow_forward:", shortcut="Right", key="tour-next", **on)
        else:
            st.page_link("views/segment.py", label="Open in Segment", icon=":material/center_focus_strong:")
        st.button("End", icon=":material/close:", on_click=_go, args=(0,), key="tour-end")
    stop = TOUR[step - 1]
    st.markdown(f"**{step} of {len(TOUR)}: {stop.title}.** {stop.text.format(**_facts(weights, picture))}")


def _go(step: int) -> None:
    st.session_state["tour"] = step


def _facts(weights: Weights, picture: Picture) -> dict[str, object]:
    """What the tour says of this image."""
    embedding = next(part for part in _parts(weights) if part.kind == "embedding")
    facts: dict[str, object] = {"grid": f"{embedding.shape[0]} × {embedding.shape[1]}"}
    if explanations.has(weights, "cra"):
        skip = next(iter(explanations.gates(weights, picture).values()))
        product = skip.product()
        facts |= {"skip": skip.name, "low": float(product.min()), "high": float(product.max())}
    else:
        facts |= {"skip": "each skip, without CRA in these weights,", "low": 1.0, "high": 1.0}
    found = predict(weights, picture).segmentation(picture.image, weights.threshold)
    return facts | {"threshold": weights.threshold, "area": 100 * found.area_fraction}


# ------------------------------------------------------------------ the picture


def _parts(weights: Weights) -> list[explain.Part]:
    return explanations.parts(weights)


@st.cache_resource(max_entries=explanations.LARGE, show_spinner="Running the network …")
def _nodes(digest: str, key: str, _segmenter: Segmenter, _weights: Weights, _picture: Picture) -> dict[str, Node]:
    maps = explain.feature_maps(_segmenter.model, explanations.image_of(_weights, _picture))
    height, width = _picture.image.shape[:2]
    found = predict(_weights, _picture).segmentation(_picture.image, _weights.threshold)
    image = data_uri(thumbnail(_picture.image, SIDE))
    mask = data_uri(thumbnail(masked(_picture.image, found.mask, None, 0.4, "fill"), SIDE))
    nodes = {"image": Node("image", "image", f"{height} × {width}", "The image", image)}
    for name, features in maps.items():
        h, w, channels = features.shape[1:]  # (1, h, w, C)
        if channels > 1:
            shape = f"{h} × {w} × {channels}"
            nodes[name] = Node(
                name, name, shape, f"Output of {name}: {shape}", _tile(features[0].mean(-1).cpu().numpy())
            )
    nodes["mask"] = Node("mask", "mask", f"{100 * found.area_fraction:.1f}%", "The predicted mask", mask)
    return nodes


def _tile(values: np.ndarray) -> str:
    """A map as a small picture in the colors of the charts."""
    from matplotlib import colormaps

    scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    return data_uri((255 * colormaps["cividis"](scaled)[..., :3]).astype(np.uint8))


def _rows(nodes: dict[str, Node], weights: Weights) -> list[Row]:
    rows: list[Row] = [{"encoder": [nodes["image"]], "skip": [], "decoder": [nodes["mask"]]}]
    parts = _parts(weights)
    for level in sorted({part.level for part in parts}):
        names = {kind: [p.name for p in parts if p.level == level and p.kind == kind] for kind in _KINDS}
        row = {kind: [node for id, node in nodes.items() if id.split(".")[0] in names[kind]] for kind in _KINDS}
        if any(row.values()):
            rows.append(row)
    return rows


_KINDS = ("encoder", "skip", "decoder")


# ------------------------------------------------------------------ inside a tile


def _inside(weights: Weights, picture: Picture, id: str) -> None:
    if id in ("image", "mask"):
        return
    frame.section(f"Inside {id}")
    if id.startswith("S"):
        if not explanations.has(weights, "cra"):
            st.info("The skips of these weights have no CRA: they reach the decoder unchanged.")
            return
        skip = explanations.gates(weights, picture)[id]
        left, right = st.columns(2, gap="large")
        with left:
            drawn = interactive.cra_gates(picture.image, *skip.profiles(), skip.product(), what=f"{id}, mean gates")
            frame.figure(drawn, "inside-cra")
        with right:
            maps = np.stack([skip.before.mean(-1), skip.after.mean(-1)], axis=-1)
            what = f"The skip {id}, mean over channels"
            frame.figure(
                interactive.channel_maps(maps, titles=["before", "after"], what=what, columns=2), "inside-skip"
            )
        st.page_link("views/attention.py", label="Open in Cross-region attention", icon=":material/grid_3x3:")
        return
    scan, se, cmn = st.tabs(["Scan", "SE", "CMN"])
    with scan:
        inputs = explanations.scan(weights, picture, id)
        frame.figure(interactive.step_maps(picture.image, explain.step_maps(inputs)), "inside-scan")
        st.page_link("views/scan.py", label="Open in The scan", icon=":material/route:", query_params={"block": id})
    with se:
        if explanations.has(weights, "se"):
            gates = explanations.channel_gates(weights, picture)[id]
            drawn = interactive.se_bars(gates, block=id, channel=int(np.argmax(gates)))
            frame.figure(drawn, "inside-se")
            st.page_link("views/channels.py", label="Open in Channels", icon=":material/equalizer:")
        else:
            st.info("These weights have no SE: every channel passes unchanged.")
    with cmn:
        if explanations.has(weights, "cmn"):
            maps = np.stack(explanations.mixing(weights, picture, id), axis=-1)
            titles = ["into CMN", "what CMN adds"]
            what = f"{id}, mean over channels"
            frame.figure(interactive.channel_maps(maps, titles=titles, what=what, columns=2), "inside-cmn")
        else:
            st.info("These weights have no CMN.")


show()
