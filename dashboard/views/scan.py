"""The scan: its four directions, which tokens a token depends on, the step sizes, and the receptive field."""

import streamlit as st

from dashboard import explanations, frame, state
from dashboard.components.pixel_picker import spot
from dashboard.image_choice import Picture
from dashboard.images import enlarge
from dashboard.picker import choose_picture
from dashboard.text import plain
from dashboard.weights import Weights, catalogue
from skinlesion import explain
from skinlesion.errors import SkinlesionError
from skinlesion.plots import interactive

VIEW = "scan"
SHOWN = 8  # rows and columns of the grid whose routes are animated
DIRECTIONS = {"reads": "depends on", "writes": "influences"}
REDUCTIONS = {"norm": "Norm", "contribution": "Contribution", "sum": "Signed sum"}


def show() -> None:
    frame.heading(
        "The scan",
        "click inside the lesion, then on skin: does a token depend only on its own row and column, or on the whole "
        "lesion? And where is the step size Delta large?",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    if explanations.block_names(weights):
        _tokens(weights, picture)
    else:
        st.info(
            f"**{plain(weights.name)} has no scan**: it mixes neighbors by convolution. Choose weights of the paper's "
            "network or of VM-UNet in the sidebar. The receptive field, below, can be measured in any network.",
            icon=":material/info:",
        )
        _field_alone(weights, picture)
    st.divider()
    _routes(picture)


def _place() -> tuple[float, float]:
    return state.get("py") / 1000, state.get("px") / 1000


def _ask(row: float, column: float) -> None:
    st.session_state.update(py=int(1000 * row), px=int(1000 * column))


@st.fragment
def _tokens(weights: Weights, picture: Picture) -> None:
    """All that follows the block and the pixel."""
    _controls(explanations.block_names(weights))
    inputs = explanations.scan(weights, picture, state.get("block"))
    rows, columns = inputs.grid
    place = _place()
    token = int(place[0] * rows), int(place[1] * columns)
    left, right = st.columns([2, 3], gap="large")
    with left:
        spot(enlarge(picture.image), place, label="The image", key="scan-spot", on_place=_ask, step=1 / rows)
        st.caption(
            f"**Click anywhere**, or move with the arrow keys, to choose a token. This one: row {token[0]}, column "
            f"{token[1]} of {rows} × {columns}, {inputs.cell} pixels wide in the network's input. {plain(picture.note)}"
        )
    with right:
        reads, written, seen = st.tabs(["Implicit attention", "Step size Delta", "Receptive field"])
        with reads:
            found = explain.implicit_attention(
                inputs, token, direction=state.get("direction"), reduction=state.get("reduction")
            )
            drawn = interactive.implicit_attention(
                picture.image,
                found.routes,
                found.merged,
                token,
                direction=found.direction,
                reduction=found.reduction,
            )
            frame.figure(drawn, "implicit")
            st.caption(
                "Unrolled, the recurrence is a weighted sum over the tokens that come earlier in each scan direction. "
                "Unlike softmax weights, these can be negative and don't add up to 1. The convolution before the scan "
                "and the gates after it aren't included."
            )
        with written:
            frame.figure(interactive.step_maps(picture.image, explain.step_maps(inputs)), "delta")
            st.caption(
                "With a large Delta, the token replaces much of the state; with a small one, the state barely changes."
            )
        with seen:
            _field(weights, picture, place)
    state.publish(VIEW)


def _controls(blocks: list[str]) -> None:
    state.settle("block", blocks, blocks[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Block", blocks, key="block", width=110, help="E: encoder, D: decoder, in the order they run.")
        st.segmented_control("The token …", list(DIRECTIONS), key="direction", format_func=lambda key: DIRECTIONS[key])
        st.segmented_control(
            "Combine channels by",
            list(REDUCTIONS),
            key="reduction",
            format_func=lambda key: REDUCTIONS[key],
            help="Norm: of the weights over channels. Contribution: the norm of weights times input. Signed sum: the "
            "sum of the weights over channels.",
        )
        st.button(
            "Next block",
            icon=":material/skip_next:",
            shortcut="B",
            key="next-block",
            on_click=state.step,
            args=("block", blocks, 1),
        )


def _routes(picture: Picture) -> None:
    frame.section("The four scan directions")
    drawn = interactive.routes(explain.route_coordinates(SHOWN, SHOWN), image=picture.image)
    # Plotly paints the button under the pointer nearly white in any theme: dark letters on light are always read.
    drawn.layout.updatemenus[0].update(
        xanchor="left", showactive=False, bgcolor="#e4e8ee", font={"color": "#1a2530"}, bordercolor="#8a97a5"
    )
    drawn.layout.sliders[0].update(x=0.4, len=0.6)
    frame.figure(drawn, "routes")
    st.caption(
        f"Press Play. The animation uses a grid of {SHOWN} × {SHOWN} to stay readable; a block scans all of its "
        "tokens. In each direction, a token depends only on those before it; together, the four directions connect "
        "every token to every other."
    )


@st.fragment
def _field_alone(weights: Weights, picture: Picture) -> None:
    """For a network without a scan: the image to click on, and how far the output sees."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        spot(enlarge(picture.image), _place(), label="The image", key="scan-spot", on_place=_ask)
        st.caption(f"**Click anywhere**, or move with the arrow keys. {plain(picture.note)}")
    with right:
        _field(weights, picture, _place())
    state.publish(VIEW)


def _field(weights: Weights, picture: Picture, place: tuple[float, float]) -> None:
    """The receptive field of the output at the marked pixel, and a trained U-Net's if there is one."""
    shown = [weights, *([other] if (other := _unet(weights)) else [])]
    try:
        found = {each.name: _one_field(each, picture, place) for each in shown}
    except SkinlesionError as error:  # a fragment that runs alone has nobody else to show it
        st.error(plain(error), icon=":material/error:")
        return
    drawn = interactive.receptive_fields(
        {name: field.share for name, field in found.items()},
        {name: field.center for name, field in found.items()},
        {name: field.side(0.5) for name, field in found.items()},
    )
    frame.figure(drawn, "fields")
    row, column = next(iter(found.values())).center
    st.caption(
        f"The gradient of the logit at the marked pixel, row {row}, column {column}, with respect to every pixel of "
        "the image. To compare with a U-Net, put a trained one into the folder that SKINLESION_WEIGHTS_DIR names."
    )


def _unet(weights: Weights) -> Weights | None:
    """The first trained U-Net that isn't the network in question."""
    others = [each for each in catalogue()[0].values() if each.name != weights.name]
    return next((each for each in others if each.model == "unet"), None)


def _one_field(weights: Weights, picture: Picture, place: tuple[float, float]) -> explain.ReceptiveField:
    try:
        return explanations.field(weights, picture, place)
    except SkinlesionError as error:
        raise SkinlesionError(f"{weights.name}, at the marked pixel: {error} Mark another pixel.") from error


show()
