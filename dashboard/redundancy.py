"""The redundancy of the channels of each layer."""

from collections.abc import Callable

import streamlit as st

from dashboard import explanations, frame, state
from dashboard.image_choice import Picture
from dashboard.jobs import job
from dashboard.text import plain
from dashboard.weights import Weights, load
from skinlesion import explain
from skinlesion.plots import interactive


@st.fragment
def redundancy(weights: Weights, picture: Picture, view: str) -> None:
    """The button that measures every layer, both charts, and the choice of a layer, which is the view's."""
    frame.section("Channel redundancy by depth")
    found = job(
        "redundancy",
        (weights.digest, picture.key),
        lambda tell: _measure(weights, picture, tell),
        label="Measure every layer",
        icon=":material/grid_on:",
        help="Correlates the channels of every layer, over the positions of this image.",
    )
    if found is None:
        return
    names = list(found)
    left, right = st.columns(2, gap="large")
    with left:
        drawn = interactive.redundancy_by_depth(names, *zip(*found.values(), strict=True))
        drawn.update_layout(height=380, legend={"y": 1.02, "yanchor": "bottom"})  # clear of the upright names
        frame.figure(drawn, "by-depth")
        st.caption(
            "Deep layers have few positions in one image, so their channels look correlated by chance alone: compare "
            "layers of the same grid size."
        )
    with right:
        state.settle("layer", names, names[0])
        st.selectbox("Layer", names, key="layer", width=240)
        one = explanations.correlation(weights, picture, state.get("layer"))
        drawn = interactive.redundancy(
            one.correlation, layer=one.name, mean_absolute=one.mean_absolute, effective_rank=one.effective_rank
        )
        drawn.update_traces(colorbar={"y": -0.24})
        frame.figure(drawn, "correlation")
        st.caption(
            f"{one.channels} channels, of which {one.dead} are constant; correlated over {one.samples:,} positions."
        )
    state.publish(view)


def _measure(weights: Weights, picture: Picture, tell: Callable[[float, str], None]) -> dict[str, tuple[float, float]]:
    """Layer -> mean absolute correlation, and effective rank as a share of the channels."""
    tell(0.0, "Running the network")
    maps = explain.feature_maps(load(weights).model, explanations.image_of(weights, picture))
    maps = {name: features for name, features in maps.items() if features.shape[-1] > 1}
    measured = {}
    for number, (name, features) in enumerate(maps.items(), start=1):
        one = explain.redundancy(name, features)
        measured[name] = (one.mean_absolute, one.effective_rank / one.channels)
        tell(number / len(maps), f"{plain(name)}, {number} of {len(maps)} layers")
    return measured
