"""Channels: the squeeze-and-excitation gates of every block, channel by channel, and the channels' redundancy."""

from typing import Any

import numpy as np
import streamlit as st

from dashboard import explanations, frame, state
from dashboard.gate_ranges import gate_ranges
from dashboard.image_choice import Picture, all_pictures
from dashboard.picker import choose_picture
from dashboard.redundancy import redundancy
from dashboard.text import plain
from dashboard.weights import Weights, catalogue
from skinlesion.plots import caption, interactive

VIEW = "channels"
AGAINST = {"nothing": "Nothing", "image": "Another image", "model": "Other weights"}


def show() -> None:
    frame.heading(
        "Channels",
        "does a block keep some channels and suppress others, or treat them all alike? And does it keep the same "
        "channels in every image? Gates that never change are just constants.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    if explanations.has(weights, "se"):
        _excitation(weights, picture)
        st.divider()
        gate_ranges(weights)
    else:
        st.info(
            f"**{plain(weights.name)} has no squeeze-and-excitation**: every channel passes unchanged. Choose weights "
            "of the paper's network in the sidebar. Redundancy, below, can be measured in any network.",
            icon=":material/info:",
        )
    st.divider()
    redundancy(weights, picture, VIEW)


@st.fragment
def _excitation(weights: Weights, picture: Picture) -> None:
    """All that follows the choice of block, channel and what to compare with."""
    gates = explanations.channel_gates(weights, picture)
    block, against = _controls(gates)
    other_name, other_gates = _other(weights, picture, against)
    channel = state.get("channel")
    here = gates[block]
    if other_gates is None:
        frame.figure(interactive.se_overview(gates), "overview")
    else:
        for column, name, each in zip(
            st.columns(2, gap="large"),
            (_this(weights, picture, against), other_name),
            (gates, other_gates),
            strict=True,
        ):
            with column:
                st.markdown(f"**{plain(name)}**")
                frame.figure(interactive.se_overview(each), f"overview-{'this' if each is gates else 'other'}")
    left, right = st.columns(2, gap="large")
    with left:
        compared = _aligned(here, None if other_gates is None else other_gates.get(block), against)
        ranked = f"{other_name}, sorted separately" if against == "model" else other_name
        _bars(here, block, channel, compared, ranked, by_rank=against == "model" and compared is not None)
        _table(here, block, compared if against == "image" else None)
    with right:
        _maps(weights, picture, block, channel)
    state.publish(VIEW)


def _controls(gates: dict[str, np.ndarray]) -> tuple[str, str]:
    blocks = list(gates)
    state.settle("block", blocks, blocks[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Block", blocks, key="block", width=110, help="E: encoder, D: decoder, in the order they run.")
        block = state.get("block")
        channels = len(gates[block])
        state.settle("channel", range(channels), int(np.argmax(gates[block])))
        st.number_input("Channel", 0, channels - 1, key="channel", width=130)
        st.segmented_control("Compare with", list(AGAINST), key="against", format_func=lambda key: AGAINST[key])
        st.button(
            "Next block",
            icon=":material/skip_next:",
            shortcut="B",
            key="next-block",
            on_click=state.step,
            args=("block", blocks, 1),
        )
        st.button(
            "Next channel",
            icon=":material/arrow_forward:",
            shortcut="K",
            key="next-se",
            on_click=_next_open,
            args=(gates[block],),
            help="The channel with the next smaller gate.",
        )
    return block, state.get("against")


def _next_open(gates: np.ndarray) -> None:
    order = np.argsort(-gates, kind="stable").tolist()
    st.session_state["channel"] = order[(order.index(state.get("channel")) + 1) % len(order)]


def _other(weights: Weights, picture: Picture, against: str) -> tuple[str, dict[str, np.ndarray] | None]:
    """What is compared with: its name, and its gates."""
    if against == "image":
        pictures = all_pictures()
        ids = [id for id in pictures if id != picture.id]
        state.settle("versus", ids, ids[0])
        st.selectbox("Other image", ids, key="versus", format_func=lambda id: pictures[id].title, width=420)
        other = pictures[state.get("versus")]
        return other.title, explanations.channel_gates(weights, other)
    if against == "model":
        found = {name: each for name, each in catalogue()[0].items() if name != weights.name}
        found = {name: each for name, each in found.items() if explanations.has(each, "se")}
        if not found:
            st.info("There are no other weights with squeeze-and-excitation here.")
            return "", None
        state.settle("other", list(found), next(iter(found)))
        st.selectbox("Other weights", list(found), key="other", width=420)
        name = state.get("other")
        return name, explanations.channel_gates(found[name], picture)
    return "", None


def _this(weights: Weights, picture: Picture, against: str) -> str:
    return weights.name if against == "model" else picture.title


def _aligned(gates: np.ndarray, other: np.ndarray | None, against: str) -> np.ndarray | None:
    """What to draw beside the bars. The channels of two networks do not correspond: theirs are paired by rank."""
    if other is None or other.shape != gates.shape:
        return None
    if against == "image":
        return other
    paired = np.empty_like(other)
    paired[np.argsort(-gates, kind="stable")] = -np.sort(-other)
    return paired


def _bars(
    gates: np.ndarray, block: str, channel: int, other: np.ndarray | None, other_name: str, *, by_rank: bool
) -> None:
    drawn = interactive.se_bars(gates, block=block, channel=channel, other=other, other_name=other_name or "other")
    if by_rank:
        same = f"Dots: the same channels, {other_name}."
        drawn.layout.meta["caption"] = caption(drawn).replace(same, f"Dots: {other_name}.")
        drawn.data[1].update(hovertemplate="gate %{y:.3f}<extra></extra>")  # of no channel of this network
    key = f"bars-{block}-{channel}"  # a new one forgets what was selected: another channel may be chosen elsewhere
    order = np.argsort(-gates, kind="stable")
    frame.figure(drawn, key, on_select=lambda: _take(key, order), selection_mode="points")
    said = " The channels of two networks don't correspond, so their gates are paired by rank." if by_rank else ""
    st.caption(f"**Click a bar** to see that channel's map.{said}")


def _take(key: str, order: np.ndarray) -> None:
    points = st.session_state[key]["selection"]["points"]
    index = points[0].get("point_index") if points else None
    if isinstance(index, int) and 0 <= index < len(order):
        st.session_state["channel"] = int(order[index])


def _table(gates: np.ndarray, block: str, other: np.ndarray | None) -> None:
    columns: dict[str, Any] = {"channel": np.arange(len(gates)), "gate": gates}
    if other is not None:
        columns |= {"other": other, "difference": gates - other}
    with st.expander(f"All {len(gates)} channels of {block} as a table", icon=":material/table:"):
        st.dataframe(
            columns,
            hide_index=True,
            height=260,
            column_config={
                "gate": st.column_config.ProgressColumn("gate", format="%.3f", min_value=0.0, max_value=1.0),
                "other": st.column_config.NumberColumn("other image", format="%.3f"),
                "difference": st.column_config.NumberColumn("this - other", format="%+.3f"),
            },
        )
        st.caption("Click a heading to sort.")


def _maps(weights: Weights, picture: Picture, block: str, channel: int) -> None:
    found = explanations.excitation(weights, picture, block)
    maps = np.stack([found.before[..., channel], found.after[..., channel]], axis=-1)  # (H, W, 2)
    drawn = interactive.channel_maps(
        maps,
        titles=["before the gate", f"after: × {found.gate[channel]:.2f}"],
        what=f"{block}, channel {channel}",
        columns=2,
    )
    drawn.update_layout(height=360)
    frame.figure(drawn, "maps")
    st.caption(
        "The same map before and after, on one scale: squeeze-and-excitation multiplies the whole channel by one "
        "number, the same at every position. Weighting positions is the job of cross-region attention."
    )


show()
