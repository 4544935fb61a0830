"""Cross-region attention: the gates of every skip, what they do to it, and how they follow a change of the image."""

import numpy as np
import streamlit as st

from dashboard import explanations, frame, state
from dashboard.gate_response import Limits, gate_response, what_gates
from dashboard.image_choice import Picture
from dashboard.picker import choose_picture
from dashboard.predict import predict
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion import explain
from skinlesion.plots import interactive

VIEW = "attention"
PICK = {"mean": "Mean", "strongest": "Largest variance", "channel": "One channel"}


def show() -> None:
    frame.heading(
        "Cross-region attention",
        "do the strips along the sides brighten or darken where the lesion is? Then cover the lesion: gates that don't "
        "change don't depend on it.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    if not explanations.has(weights, "cra"):
        st.info(
            f"**{plain(weights.name)} has no cross-region attention**: its skips pass the encoder's features on "
            "unchanged. Choose weights of the paper's network in the sidebar.",
            icon=":material/info:",
        )
        return
    _gates(weights, picture)


@st.fragment
def _gates(weights: Weights, picture: Picture) -> None:
    """All that follows the choice of skip, channel and change."""
    found = explanations.gates(weights, picture)
    skip, channel = _controls(found)
    what = what_gates(skip.name, channel)
    st.markdown(_relation(skip, channel, predict(weights, picture).probability >= weights.threshold))
    left, right = st.columns(2, gap="large")
    with left:
        limits = _limits(found, channel)
        drawn = interactive.cra_gates(
            picture.image, *skip.profiles(channel), skip.product(channel), what=what, limits=limits
        )
        frame.figure(drawn, "gates", tall=True)
        st.caption(_scale(limits, channel))
    with right:
        _before_after(skip, channel)
        _meaning(skip, channel)
    st.divider()
    gate_response(weights, picture, skip.name, channel, limits)
    state.publish(VIEW)


def _relation(skip: explain.SkipGates, channel: int | None, mask: np.ndarray) -> str:
    """The finding in one line: whether the gates have to do with the lesion."""
    if not mask.any() or mask.all():
        return "The predicted mask is empty, or the whole image: the gates can't be compared with it."
    r = explain.map_correlation(skip.product(channel), mask)
    strength = next(word for least, word in _STRENGTHS if abs(r) >= least)
    so = (
        "so they hardly distinguish it from skin"
        if abs(r) < 0.1
        else f"so they keep {'more' if r > 0 else 'less'} of the features there than elsewhere"
    )
    sign = "" if abs(r) < 0.1 else "positive " if r > 0 else "negative "
    said = f"{what_gates(skip.name, channel)}: {strength} {sign}correlation with the predicted lesion"
    return f"**{said} (r = {r:+.2f} over the grid)**, {so}."


_STRENGTHS = ((0.5, "strong"), (0.3, "moderate"), (0.1, "weak"), (0.0, "no clear"))


def _limits(found: dict[str, explain.SkipGates], channel: int | None) -> Limits:
    """One scale for all skips of an image and for what a change makes of them, in tenths."""
    if channel is not None:
        return (0.0, 1.0), (0.0, 1.0)
    strips = np.concatenate([profile for skip in found.values() for profile in skip.profiles()])
    products = np.concatenate([skip.product().ravel() for skip in found.values()])
    return _tenths(strips), _tenths(products)


def _tenths(values: np.ndarray) -> tuple[float, float]:
    return float(np.floor(10 * values.min()) / 10), float(np.ceil(10 * values.max()) / 10)


def _scale(limits: Limits, channel: int | None) -> str:
    (low, high), (dark, light) = limits
    if channel is not None:
        return "The color scale runs from 0 to 1 for every channel of every skip."
    return (
        f"All skips and the changed image below share one color scale: strips from {low:.1f} to {high:.1f}, product "
        f"from {dark:.1f} to {light:.1f}."
    )


def _controls(found: dict[str, explain.SkipGates]) -> tuple[explain.SkipGates, int | None]:
    """The skip, and the channel; None for the mean."""
    names = list(found)
    state.settle("skip", names, names[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Skip", names, key="skip", help="Named after the encoder stage whose input it is; S2 is the finest."
        )
        st.segmented_control(
            "Gates of",
            list(PICK),
            key="pick",
            format_func=lambda key: PICK[key],
            help="The mean over channels, the channel whose gate product has the largest spatial variance, or any "
            "channel.",
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
        f"**row's gate times its column's gate**: here by {product.min():.2f} to {product.max():.2f}. Within one "
        "channel, these products form crosses and bands: they can't outline a lesion, and they can't highlight two "
        "positions in different rows and columns without also highlighting the other two corners of the rectangle."
    )
    if channel is not None:
        st.caption(f"The channel of {skip.name} with the largest spatial variance is {skip.strongest}.")


show()
