"""Cross-region attention: the gates of every skip, what they do to it, and how they follow a change of the image."""

import numpy as np
import streamlit as st

from dashboard import explanations, frame, state
from dashboard.image_choice import Picture
from dashboard.images import enlarge, large
from dashboard.picker import choose_picture
from dashboard.predict import predict
from dashboard.text import plain
from dashboard.weights import Weights, load
from skinlesion import explain
from skinlesion.data.images import resize_mask
from skinlesion.plots import interactive
from skinlesion.plots.rasters import masked

VIEW = "attention"
PICK = {"mean": "Mean", "strongest": "Largest variance", "channel": "One channel"}
CHANGES = {"shift": "Shift it", "turn": "Rotate it", "cover": "Cover the lesion"}


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
    what = _what(skip.name, channel)
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
    _change(weights, picture, skip.name, channel, limits)
    state.publish(VIEW)


def _what(name: str, channel: int | None) -> str:
    return f"{name}, " + ("mean gates" if channel is None else f"gates of channel {channel}")


Limits = tuple[tuple[float, float], tuple[float, float]]


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


def _change(weights: Weights, picture: Picture, name: str, channel: int | None, limits: Limits) -> None:
    frame.section("Do the gates follow when the image changes?")
    found = _response(weights, picture)
    if found is None:
        return
    skip = found.skips[name]
    st.markdown(_verdict(weights, picture, skip))
    left, right = st.columns(2, gap="large")
    with left:
        _changed_image(weights, picture, found)
    with right:
        changed = interactive.cra_gates(
            _visible(found.image),
            *skip.after.profiles(channel),
            skip.after.product(channel),
            what=f"changed image, {_what(name, channel)}",
            limits=limits,
        )
        frame.figure(changed, "changed")
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


def _changed_image(weights: Weights, picture: Picture, found: explain.GateResponse) -> None:
    before = predict(weights, picture).probability >= weights.threshold
    after = explanations.masked_after(weights, found.image) >= weights.threshold
    caption = (
        f"The changed image and its predicted mask, {100 * after.mean():.1f} % of the image; before the change, "
        f"{100 * before.mean():.1f} %."
    )
    frame.picture(masked(enlarge(_visible(found.image)), _enlarged(after), None, 0.35, "fill"), caption)


def _enlarged(mask: np.ndarray) -> np.ndarray:
    return resize_mask(mask, large(mask.shape))


def _profile(gate: np.ndarray, channel: int | None) -> np.ndarray:
    return gate.mean(1) if channel is None else gate[:, channel]


def _asked(size: tuple[int, int]) -> explain.Shift | explain.Rotate | None:
    """The widgets; None for a covered lesion."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("The image", list(CHANGES), key="change", format_func=lambda key: CHANGES[key])
        change = state.get("change")
        if change == "shift":
            for key, label in (("down", "Down, pixels"), ("right", "Right, pixels")):
                st.slider(
                    label,
                    -96,
                    96,
                    step=16,
                    key=key,
                    width=200,
                    help="In pixels of the network's input. Negative values shift up or left.",
                )
            return explain.Shift(state.get("down"), state.get("right"))
        if change == "turn":
            turns = [1, 2, 3] if size[0] == size[1] else [2]
            state.settle("quarters", turns, turns[0])
            st.segmented_control("Counterclockwise", turns, key="quarters", format_func=lambda n: f"{90 * n}°")
            return explain.Rotate(state.get("quarters"))
    return None


def _response(weights: Weights, picture: Picture) -> explain.GateResponse | None:
    """What the widgets choose; None where it can't be done."""
    change = _asked(load(weights).size)
    if change is not None:
        return explanations.response(weights, picture, change)
    mask = predict(weights, picture).probability >= weights.threshold
    if not mask.any() or mask.all():
        st.info("The predicted mask is empty, or the whole image: there is nothing to cover.")
        return None
    return explanations.covered(weights, picture, explain.Cover(mask))


def _visible(image: np.ndarray) -> np.ndarray:
    """The network's image as it can be shown, uint8 (H, W, 3)."""
    low, high = float(image.min()), float(image.max())
    return (255 * (image - low) / max(high - low, 1e-6)).astype(np.uint8)


def _verdict(weights: Weights, picture: Picture, skip: explain.SkipResponse) -> str:
    """The finding, over all channels of the skip, against a control."""
    name, change = skip.before.name, state.get("change")
    if change == "cover":
        return _covering(weights, picture, skip)
    asked = explain.Shift(state.get("down"), state.get("right"))
    if change == "turn":
        asked = explain.Rotate(state.get("quarters"))
    elif asked == explain.Shift():
        return "The image isn't shifted yet, so there is nothing to measure: move a slider."
    found = explain.following(skip, [each[name] for each in explanations.other_responses(weights, picture, asked)])
    low, high = found.interval
    evidence = (
        f"The gates of the changed image are {abs(found.gain):.4f} {'closer to' if found.gain > 0 else 'farther from'} "
        f"gates that move with the image than {'to' if found.gain > 0 else 'from'} gates that stay put. With the gates "
        f"of {len(found.null)} other images, changed in the same way, the gain is {low:+.4f} to {high:+.4f} (95 %; "
        "mean absolute difference over all channels; gates run from 0 to 1)."
    )
    if found.gain > 0 and found.p_value <= 0.05:
        return f"**The gates of {name} follow this image** (p = {found.p_value:.2f}). {evidence}"
    return f"**No sign that the gates of {name} follow this image** (p = {found.p_value:.2f}). {evidence}"


def _covering(weights: Weights, picture: Picture, skip: explain.SkipResponse) -> str:
    """Covering the lesion beside covering as much skin elsewhere."""
    name, changed = skip.before.name, skip.to_before
    lead = f"Covering the lesion changes the gates of {name} by {changed:.4f} on average (gates run from 0 to 1)."
    aside = explain.moved_aside(predict(weights, picture).probability >= weights.threshold)
    if aside is None:
        return f"**{lead}** The lesion is too large for a control: the same shape doesn't fit elsewhere."
    control = explanations.covered(weights, picture, explain.Cover(aside), control=True).skips[name].to_before
    ratio = changed / max(control, 1e-9)
    finding = f"{ratio:.1f} times as much as" if ratio >= 1.05 else "about as much as" if ratio > 0.95 else "less than"
    return f"**{lead}** That is {finding} covering the same shape elsewhere does ({control:.4f})."


show()
