"""How the gates of a skip react when the image is shifted or rotated, or its lesion covered: beside a control."""

import numpy as np
import streamlit as st

from dashboard import explanations, frame, state
from dashboard.image_choice import Picture
from dashboard.images import enlarge, large
from dashboard.predict import predict
from dashboard.weights import Weights, load
from skinlesion import explain
from skinlesion.data.images import resize_mask
from skinlesion.plots import interactive
from skinlesion.plots.rasters import masked

CHANGES = {"shift": "Shift it", "turn": "Rotate it", "cover": "Cover the lesion"}
Limits = tuple[tuple[float, float], tuple[float, float]]  # of the strips, and of their product


def what_gates(name: str, channel: int | None) -> str:
    """Which gates, in words."""
    return f"{name}, " + ("mean gates" if channel is None else f"gates of channel {channel}")


def gate_response(weights: Weights, picture: Picture, name: str, channel: int | None, limits: Limits) -> None:
    """The widgets that change the image, the finding, and what becomes of image, mask and gates.

    Args:
        weights: of a network with cross-region attention.
        picture: the image.
        name: of the skip.
        channel: whose gates; None for their mean.
        limits: the scales that the view's other pictures have.
    """
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
            what=f"changed image, {what_gates(name, channel)}",
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
        f"The changed image and its predicted mask, {100 * after.mean():.1f}% of the image; before the change, "
        f"{100 * before.mean():.1f}%."
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
        f"of {len(found.null)} other images, changed in the same way, the gain is {low:+.4f} to {high:+.4f} (95%; "
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
