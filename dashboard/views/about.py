"""How it works: the loaded network, part by part, with its shapes and its model card."""

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st

from dashboard import frame, state
from dashboard.text import plain
from dashboard.weights import Weights, load
from skinlesion.explain import LayerSize, Part, architecture, layer_sizes
from skinlesion.explain.common import shared_copy
from skinlesion.lessons.catalog import LESSONS
from skinlesion.model import CMSSMUNet
from skinlesion.model.cost import Cost, count_cost
from skinlesion.model_card import model_card
from skinlesion.plots import interactive


class Stop(NamedTuple):
    """A stop of the tour: what happens there, where the paper has it, which lessons build it."""

    text: str
    paper: str
    lessons: tuple[int, ...]


TOUR = {
    "embedding": Stop(
        "The image is cut into patches of 4 x 4 pixels, and each becomes a token: a vector with one number per "
        "channel. From here on, the network works on a grid of tokens.",
        "section 3.1",
        (11,),
    ),
    "encoder": Stop(
        "State-space blocks. In each, **SS2D** scans the grid in four directions with a running state, so that every "
        "token can depend on every other at a cost that is linear in the number of tokens, not quadratic. **SE** then "
        "scales the channels with gates computed from the whole image, and **CMN** mixes neighbors and channels. "
        "Before every stage but the first, the grid is halved and the number of channels is doubled.",
        "section 3.2",
        (4, 5, 6, 7, 8, 9),
    ),
    "skip": Stop(
        "**Cross-region attention** gates what the encoder passes to the decoder: one gate for each row and one for "
        "each column of every channel, computed from means along the other axis.",
        "section 3.3, equations 2 to 7",
        (10,),
    ),
    "decoder": Stop(
        "The same blocks on the way back up. The grid is doubled, the number of channels is halved, and the gated skip "
        "is added: the skip supplies where things are, the deeper levels what they are.",
        "section 3.1",
        (9, 11),
    ),
    "head": Stop(
        "The grid is upsampled four times, to the size of the image, and one number per pixel is left: the logit. A "
        "logit above 0 is a probability above one half. In training, the losses are computed here, and distillation "
        "makes early blocks imitate deep ones.",
        "sections 3.1 and 3.4, equations 8 to 11",
        (2, 11, 12, 13),
    ),
}


def show() -> None:
    frame.heading(
        "How it works",
        "how the grid shrinks and the number of channels grows on the way down, and how few of the parameters are in "
        "the skips, where cross-region attention acts.",
    )
    weights = frame.chosen()
    if weights is None:
        return
    _tour(weights)
    _card(weights)


def _tour(weights: Weights) -> None:
    model = load(weights).model
    side = st.slider("Image size (pixels per side)", 64, 512, step=32, key="side")
    cost = _cost(weights.digest, side, weights)
    facts = [
        f"**{cost.parameters:,} parameters**",
        f"**{cost.flops / 1e9:.2f} GFLOPs** for {side} x {side} pixels",
        f"{cost.scan_flops / cost.flops:.0%} of that in the scan",
    ]
    st.markdown(" · ".join(facts))
    if not isinstance(model, CMSSMUNet):
        st.info(
            "The tour covers the paper's network, and these weights belong to a different one, "
            f"{plain(weights.model)}. Its layers are listed below instead. For the tour, choose other weights in the "
            "sidebar.",
            icon=":material/info:",
        )
        _list(_sizes(weights.digest, side, weights))
        return
    parts = _parts(weights.digest, side, weights)
    names = [part.name for part in parts]
    state.settle("part", names, names[0])
    back, choose, on = st.columns([1, 4, 1], vertical_alignment="bottom")
    back.button(":material/arrow_back: Back", on_click=state.step, args=("part", names, -1), width="stretch")
    choose.selectbox("Part", names, key="part")
    on.button("Next :material/arrow_forward:", on_click=state.step, args=("part", names, 1), width="stretch")
    chosen = parts[names.index(state.get("part"))]
    key = f"architecture-{chosen.name}"
    drawn = interactive.architecture(parts, highlight=chosen.name)
    frame.figure(drawn, key, on_select=lambda: _take(key, names), selection_mode="points")
    _stop(chosen, parts)


def _list(sizes: Sequence[LayerSize]) -> None:
    rows = []
    for size in sizes:
        height, width, channels = size.shape
        grid = f"{height} x {width}"
        rows.append({"layer": size.name, "grid": grid, "channels": channels, "parameters": size.parameters})
    st.dataframe(rows, hide_index=True)
    st.caption("Output shape and number of parameters of each layer, in the order in which they run.")


def _take(key: str, names: Sequence[str]) -> None:
    points = st.session_state[key]["selection"]["points"]
    if points and points[0].get("customdata") in names:
        st.session_state["part"] = points[0]["customdata"]


def _stop(part: Part, parts: Sequence[Part]) -> None:
    stop = TOUR[part.kind]
    height, width, channels = part.shape
    frame.section(part.name if part.name == part.kind else f"{part.name}: {part.kind}")
    st.markdown(stop.text)
    total = sum(each.parameters for each in parts)
    blocks = f"{part.blocks} blocks, " if part.blocks else ""
    st.markdown(
        f"Here: {blocks}**{height} x {width} tokens with {channels} channels** at the output; {part.parameters:,} "
        f"parameters, {part.parameters / total:{'.1%' if part.parameters > 0.01 * total else '.2%'}} of the total."
    )
    built = ", ".join(f"{n} *{LESSONS[n].title}* (`notebooks/{LESSONS[n].file}`)" for n in stop.lessons)
    st.caption(f"In the paper: {stop.paper}. Built from scratch in lesson {built}; `make lab` opens the course.")


def _card(weights: Weights) -> None:
    frame.section("Model card")
    warns = (
        "and it can't check whether an image is dermoscopy at all"
        if load(weights).domain is None
        else "though it warns when an image doesn't look like dermoscopy"
    )
    st.markdown(
        ":material/medical_information: **Intended use:** teaching and research. It is **not a medical device**, it "
        "gives no diagnosis, and it must not be used to make decisions about anyone's health.\n\n"
        ":material/warning: **Limits:** it was trained on dermoscopy images of single lesions, mostly on pale skin and "
        f"from a few clinics. It outlines anything that looks like a lesion, even a drawn letter, {warns}. Scores come "
        "from one run on one split, and annotators disagree, too: lesson 1 shows how much."
    )
    try:
        text = model_card(weights.card, name=weights.name, digest=weights.digest)
    except (KeyError, TypeError, ValueError, AttributeError):  # anyone can write a header
        st.error("The model card in the header of these weights is damaged. `skinlesion export` writes a new one.")
        return
    first, *sections = text.partition("\n")[2].split("\n## ")
    st.markdown(first)
    for section in sections:
        title, _, body = section.partition("\n")
        with st.expander(plain(title)):
            st.markdown(body)
    st.caption("Generated from the checkpoint's header. Results that it doesn't list were not measured.")


@st.cache_resource(max_entries=64, show_spinner="Measuring the network …")
def _cost(digest: str, side: int, _weights: Weights) -> Cost:
    return count_cost(shared_copy(load(_weights).model), side, side)


@st.cache_resource(max_entries=64, show_spinner="Measuring the network …")
def _parts(digest: str, side: int, _weights: Weights) -> list[Part]:
    return architecture(load(_weights).model, side, side)


@st.cache_resource(max_entries=64, show_spinner="Measuring the network …")
def _sizes(digest: str, side: int, _weights: Weights) -> list[LayerSize]:
    return layer_sizes(load(_weights).model, side, side)


show()
