"""The scan: its four routes, what a token reads through it, how much each writes, and how far the network sees."""

from collections.abc import Callable

import streamlit as st
import torch

from dashboard import explanations, frame, state
from dashboard.components.pixel_picker import spot
from dashboard.image_choice import Picture
from dashboard.images import enlarge
from dashboard.jobs import job
from dashboard.picker import choose_picture
from dashboard.steps import Steps
from dashboard.text import plain
from dashboard.weights import Weights, catalogue, load
from skinlesion import explain
from skinlesion.errors import SkinlesionError
from skinlesion.plots import interactive
from skinlesion.zoo import create_model

VIEW = "scan"
SHOWN = 8  # rows and columns of the grid whose routes are animated
DIRECTIONS = {"reads": "It reads from", "writes": "It writes to"}
REDUCTIONS = {"norm": "Strength", "contribution": "What is passed on", "sum": "With signs"}
BARE = "untrained U-Net"


def show() -> None:
    frame.heading(
        "The scan",
        "click inside the lesion, then on skin: does a token read along its own row and column only, or from the whole "
        "lesion? And where is Delta, the amount that is written, large?",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        st.image(picture.image, caption=plain(picture.note))
        return
    if explanations.block_names(weights):
        _tokens(weights, picture)
    else:
        st.info(
            f"**{plain(weights.name)} has no scan**: it mixes neighbors by convolution. Choose weights of the paper's "
            "network or of VM-UNet in the sidebar. How far it sees, below, is measured in any network.",
            icon=":material/info:",
        )
    st.divider()
    left, right = st.columns(2, gap="large")
    with left:
        _routes(picture)
    with right:
        _field(weights, picture)


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
            f"**Click anywhere**, or move with the arrow keys, to ask about that token: row {token[0]}, column "
            f"{token[1]} of {rows} × {columns}, each {inputs.cell} pixels of the network's image. {plain(picture.note)}"
        )
    with right:
        reads, written = st.tabs(["What it attends to", "Delta: how much is written"])
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
                "Unrolled, the recurrence is a weighted sum over the tokens that a route has passed before. These "
                "weights have signs and do not add up to 1, unlike softmax's; the convolution before the scan and the "
                "gates after it are not told here."
            )
        with written:
            frame.figure(interactive.step_maps(picture.image, explain.step_maps(inputs)), "delta")
            st.caption("A large Delta writes the token strongly and forgets the past; a small one passes it by.")
    state.publish(VIEW)


def _controls(blocks: list[str]) -> None:
    state.settle("block", blocks, blocks[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Block", blocks, key="block", width=110, help="E: encoder, D: decoder, in the order they run.")
        st.segmented_control("The token", list(DIRECTIONS), key="direction", format_func=lambda key: DIRECTIONS[key])
        st.segmented_control(
            "Channels as",
            list(REDUCTIONS),
            key="reduction",
            format_func=lambda key: REDUCTIONS[key],
            help="Strength: the length of the weights over channels. What is passed on: of weights times input. With "
            "signs: their sum.",
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
    st.subheader("The four routes", anchor=False)
    drawn = interactive.routes(explain.route_coordinates(SHOWN, SHOWN), image=picture.image)
    # Plotly paints the button under the pointer nearly white in any theme: dark letters on light are always read.
    drawn.layout.updatemenus[0].update(
        xanchor="left", showactive=False, bgcolor="#e4e8ee", font={"color": "#1a2530"}, bordercolor="#8a97a5"
    )
    drawn.layout.sliders[0].update(x=0.4, len=0.6)
    frame.figure(drawn, "routes")
    st.caption(
        f"Press Play. A grid of {SHOWN} × {SHOWN} is walked, so that it can be watched; a block walks all its tokens. "
        "Each route knows only what lies behind it; together the four reach every token from every other."
    )


@st.fragment
def _field(weights: Weights, picture: Picture) -> None:
    st.subheader("How far the network sees", anchor=False)
    place, other = _place(), _unet(weights)
    name = other.name if other else BARE
    try:
        found = job(
            "field",
            (weights.digest, other.digest if other else None, picture.key, place),
            lambda tell: _measure(weights, other, picture, place, tell),
            label=f"Measure, beside: {plain(name)}",
            icon=":material/radar:",
            help="The gradient of the logit at the marked pixel with respect to every pixel of the image.",
        )
    except SkinlesionError as error:  # a fragment that runs alone has nobody else to show it
        st.error(plain(error), icon=":material/error:")
        return
    if found is None:
        st.caption("About the pixel that is marked above; the middle at first.")
        return
    drawn = interactive.receptive_fields(
        {name: field.share for name, field in found.items()},
        {name: field.center for name, field in found.items()},
        {name: field.side(0.5) for name, field in found.items()},
    )
    frame.figure(drawn, "fields")
    bare = (
        ""
        if other
        else (
            " No trained U-Net is here: this one, of 16 channels, has random weights. Training widens a field: "
            "for a fair comparison put a trained U-Net among the weights."
        )
    )
    st.caption(f"At the marked pixel, for this image.{bare}")


def _unet(weights: Weights) -> Weights | None:
    """The first trained U-Net that is not what is asked about."""
    others = [each for each in catalogue()[0].values() if each.name != weights.name]
    return next((each for each in others if each.model == "unet"), None)


def _measure(
    weights: Weights,
    other: Weights | None,
    picture: Picture,
    place: tuple[float, float],
    tell: Callable[[float, str], None],
) -> dict[str, explain.ReceptiveField]:
    steps, image = Steps("field", tell, 2), explanations.image_of(weights, picture)
    fields = {}
    for each in (weights, other):
        model = _bare_unet() if each is None else load(each).model
        pixels = image if each is None else explanations.image_of(each, picture)
        at = int(place[0] * pixels.shape[2]), int(place[1] * pixels.shape[3])
        name = BARE if each is None else each.name
        fields[name] = steps.run(
            (each and each.digest, picture.key, at, tuple(pixels.shape)),
            1,
            plain(name),
            lambda _report, name=name, model=model, pixels=pixels, at=at: _one_field(name, model, pixels, at),
        )
    return fields


def _one_field(name: str, model: torch.nn.Module, pixels: torch.Tensor, at: tuple[int, int]) -> explain.ReceptiveField:
    try:
        return explain.receptive_field(model, pixels, at=at)
    except SkinlesionError as error:
        raise SkinlesionError(f"{name}, at the marked pixel: {error} Mark another pixel.") from error


@st.cache_resource(show_spinner=False)
def _bare_unet() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):  # the seed of others stays as it is
        torch.manual_seed(0)
        return create_model("unet", dim=16).eval()


show()
