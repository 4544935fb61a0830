"""Gates at a glance: all skips' CRA and all blocks' SE on one page, with what they do in words."""

import streamlit as st

from dashboard import charts, explanations, frame, state
from dashboard.image_choice import Picture
from dashboard.picker import choose_picture
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion import explain
from skinlesion.explain import ModuleSummary

VIEW = "overview"
ORDERS = {
    "run": "Run order",
    "reaction": "Variation",
    "correlation": "Correlation",
    "effect": "Effect",
}


def show() -> None:
    frame.heading(
        "Gates at a glance",
        "a gate is a number from 0 (suppressed) to 1 (kept) that the network computes from the image. Which gates "
        "change from image to image, and which does the mask depend on?",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    if not (explanations.has(weights, "se") or explanations.has(weights, "cra")):
        st.info(
            f"**{plain(weights.name)} has no gates.** Choose weights of the paper's network.", icon=":material/info:"
        )
        return
    _all(weights, picture)


@st.fragment
def _all(weights: Weights, picture: Picture) -> None:
    found, images = explanations.summaries(weights, picture)
    first, *rest = explain.findings(found)
    st.markdown(f"**{first}** {' '.join(rest)}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("Sort by", list(ORDERS), key="order", format_func=lambda key: ORDERS[key])
        st.segmented_control("Show", ["All", "SE", "CRA"], key="kind")
        st.text_input("Search", key="search", placeholder="E2, D, S3 …", width=140)
    shown = [each for each in found if state.get("kind") in ("All", each.kind) and _matches(each)]
    if (order := state.get("order")) != "run":
        shown.sort(key=lambda each: -getattr(each, order))
    if shown:
        frame.figure(charts.gate_overview(shown, images), "gates-overview")
    else:
        st.info("No module matches. Names start with E or D (blocks) or S (skips).")
    with st.expander("As a table", icon=":material/table:"):
        st.dataframe([_row(each) for each in shown], hide_index=True)
    state.publish(VIEW)


def _matches(each: ModuleSummary) -> bool:
    return state.get("search").strip().casefold() in each.name.casefold()


def _row(each: ModuleSummary) -> dict[str, object]:
    return {
        "module": each.name,
        "kind": each.kind,
        "gates": len(each.gates),
        "mean range": round(each.reaction, 4),
        "largest range": round(each.largest, 4),
        "correlation with the lesion": round(each.correlation, 3),
        "effect on the mask": round(each.effect, 3),
        "constant at": each.where if each.constant else "",
    }


show()
