"""Cross-region attention: the gates of every skip, what they do to it, and how they follow a change of the image."""

import numpy as np
import streamlit as st

from dashboard import explanations, frame, state
from dashboard.image_choice import Picture
from dashboard.picker import choose_picture
from dashboard.predict import predict
from dashboard.text import plain
from dashboard.weights import Weights, load
from skinlesion import explain
from skinlesion.plots import interactive

VIEW = "attention"
PICK = {"mean": "Mean", "strongest": "Sharpest", "channel": "One channel"}
CHANGES = {"shift": "Shift it", "turn": "Turn it", "cover": "Cover the lesion"}


def show() -> None:
    frame.heading(
        "Cross-region attention",
        "do the strips along the sides brighten or darken where the lesion is? Then cover the lesion: gates that do "
        "not change were not looking at it.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        st.image(picture.image, caption=plain(picture.note))
        return
    if not explanations.has(weights, "cra"):
        st.info(
            f"**{plain(weights.name)} has no cross-region attention**: its skips arrive as they left the encoder. "
            "Choose weights of the paper's network in the sidebar.",
            icon=":material/info:",
        )
        return
    _gates(weights, picture)


@st.fragment
def _gates(weights: Weights, picture: Picture) -> None:
    """All that follows the choice of skip, channel and change."""
    found = explanations.gates(weights, picture)
    skip, channel = _controls(found)
    what = _what(skip.name, channel)
    left, right = st.columns(2, gap="large")
    with left:
        drawn = interactive.cra_gates(picture.image, *skip.profiles(channel), skip.product(channel), what=what)
        frame.figure(drawn, "gates", tall=True)
    with right:
        _before_after(skip, channel)
        _meaning(skip, channel)
    st.divider()
    _change(weights, picture, skip.name, channel)
    state.publish(VIEW)


def _what(name: str, channel: int | None) -> str:
    return f"{name}, " + ("mean gates" if channel is None else f"gates of channel {channel}")


def _controls(found: dict[str, explain.SkipGates]) -> tuple[explain.SkipGates, int | None]:
    """The skip, and the channel; None for the mean."""
    names = list(found)
    state.settle("skip", names, names[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Skip", names, key="skip", help="By the encoder stage whose input it is; S2 is the finest."
        )
        st.segmented_control(
            "Gates of",
            list(PICK),
            key="pick",
            format_func=lambda key: PICK[key],
            help="The mean over channels; the channel whose product varies most over the image; or any.",
        )
        skip = found[state.get("skip")]
        channels = skip.gate_h.shape[1]
        if state.get("pick") == "channel" or state.get("channel") >= 0:
            state.settle("channel", range(channels), skip.strongest)
        if state.get("pick") == "channel":
            st.number_input("Channel", 0, channels - 1, key="channel", width=130)
        st.button(
            "Next skip",
            icon=":material/skip_next:",
            shortcut="S",
            key="next-skip",
            on_click=state.step,
            args=("skip", names, 1),
        )
        st.button(
            "Next channel",
            icon=":material/arrow_forward:",
            shortcut="K",
            key="next-channel",
            on_click=_next_channel,
            args=(channels, skip.strongest),
        )
    if state.get("pick") == "mean":
        return skip, None
    return skip, skip.strongest if state.get("pick") == "strongest" else state.get("channel")


def _next_channel(channels: int, first: int) -> None:
    going_on = st.session_state["pick"] == "channel"
    st.session_state["channel"] = (state.get("channel") + 1) % channels if going_on else first
    st.session_state["pick"] = "channel"


def _before_after(skip: explain.SkipGates, channel: int | None) -> None:
    pair = [skip.before, skip.after]
    maps = np.stack([m.mean(-1) if channel is None else m[..., channel] for m in pair], axis=-1)  # (H, W, 2)
    which = "mean over channels" if channel is None else f"channel {channel}"
    drawn = interactive.channel_maps(
        maps, titles=["before the gate", "after"], what=f"The skip {skip.name}, {which}", columns=2
    )
    drawn.update_layout(height=360)
    frame.figure(drawn, "before-after")


def _meaning(skip: explain.SkipGates, channel: int | None) -> None:
    product = skip.product(channel)
    rows, columns = product.shape
    st.markdown(
        f"Each cell of this {rows} × {columns} grid is {skip.cell} × {skip.cell} pixels. It is multiplied by its "
        f"**row's gate times its column's gate**: here by {product.min():.2f} to {product.max():.2f}. One channel's "
        "product of rows and columns makes crosses and bands: it cannot outline a lesion, nor light up two places in "
        "different rows and columns without lighting up the other two corners between them."
    )
    if channel is not None:
        st.caption(f"The channel that attends most sharply in {skip.name} is {skip.strongest}.")


def _change(weights: Weights, picture: Picture, name: str, channel: int | None) -> None:
    st.subheader("How the gates follow when the image changes", anchor=False)
    found = _response(weights, picture)
    if found is None:
        return
    skip = found.skips[name]
    left, right = st.columns(2, gap="large")
    with left:
        changed = interactive.cra_gates(
            _visible(found.image),
            *skip.after.profiles(channel),
            skip.after.product(channel),
            what=f"changed image, {_what(name, channel)}",
        )
        frame.figure(changed, "changed")
    with right:
        expected = [_profile(gate, channel) for gate in (skip.expected_h, skip.expected_w)]
        drawn = interactive.gate_profiles(
            {
                "image": skip.before.profiles(channel),
                "expected": (expected[0], expected[1]),
                "changed image": skip.after.profiles(channel),
            }
        )
        drawn.update_layout(height=330, legend={"y": 1.12, "yanchor": "bottom"})  # clear of the axes' titles
        frame.figure(drawn, "profiles")
        with st.container(horizontal=True, gap="medium"):
            for label, value, help in _distances(skip, state.get("change")):
                st.metric(label, f"{value:.4f}", help=help, width="content")
        st.caption(_verdict(skip, state.get("change")))


def _profile(gate: np.ndarray, channel: int | None) -> np.ndarray:
    return gate.mean(1) if channel is None else gate[:, channel]


def _response(weights: Weights, picture: Picture) -> explain.GateResponse | None:
    """The widgets, and what they ask; None where it cannot be asked."""
    size = load(weights).size
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("The image", list(CHANGES), key="change", format_func=lambda key: CHANGES[key])
        change = state.get("change")
        if change == "shift":
            for key, label in (("down", "Down, pixels"), ("right", "Right, pixels")):
                st.slider(
                    label, -96, 96, step=16, key=key, width=200, help="Of the network's image. Up or left if negative."
                )
        elif change == "turn":
            turns = [1, 2, 3] if size[0] == size[1] else [2]
            state.settle("quarters", turns, turns[0])
            st.segmented_control("Counterclockwise", turns, key="quarters", format_func=lambda n: f"{90 * n}°")
    if change == "shift":
        return explanations.response(weights, picture, explain.Shift(state.get("down"), state.get("right")))
    if change == "turn":
        return explanations.response(weights, picture, explain.Rotate(state.get("quarters")))
    mask = predict(weights, picture).probability >= weights.threshold
    if not mask.any() or mask.all():
        st.info("The predicted mask is empty, or the whole image: there is nothing to cover.")
        return None
    return explanations.covered(weights, picture, explain.Cover(mask))


def _visible(image: np.ndarray) -> np.ndarray:
    """The network's image as it can be shown, uint8 (H, W, 3)."""
    low, high = float(image.min()), float(image.max())
    return (255 * (image - low) / max(high - low, 1e-6)).astype(np.uint8)


def _distances(skip: explain.SkipResponse, change: str) -> list[tuple[str, float, str]]:
    moved = ("Moved by", skip.to_before, "Mean difference between the gates of the changed image and of the image.")
    if change == "cover":
        return [moved]
    far = "Mean difference from gates that follow the change exactly, the dashed line. Smaller is better."
    return [("Off the dashed line by", skip.to_expected, far), moved]


def _verdict(skip: explain.SkipResponse, change: str) -> str:
    """What the two distances say, over all channels of the skip."""
    every = f"Mean absolute differences over all channels of {skip.before.name}, in units of the gate (0 to 1)."
    if change == "cover":
        return f"{every} The dashed line, the gates as they were, is what is expected if the lesion made no difference."
    if skip.to_expected < skip.to_before:
        return f"{every} **The gates follow**: they are closer to gates that move with the image than to those before."
    return f"{every} **The gates do not follow**: they are no closer to gates that move with the image."


show()
