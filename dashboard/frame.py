"""What surrounds every view: navigation, the choice of weights, messages, and the footer."""

import html
import time
from typing import Any

import skinlesion  # isort: skip  # before torch: it sets how torch's threads wait

# Heavy libraries are imported here, once, before any page: a lazy first import inside a page races with a click.
import numpy as np
import pandas  # noqa: F401
import plotly.graph_objects as go
import streamlit as st
import torch

from dashboard import choices, picker, predict, state, visits, weights  # noqa: F401
from dashboard.components.actions import actions
from dashboard.icon import icon
from dashboard.images import data_uri
from dashboard.text import plain
from skinlesion.device import choose_device
from skinlesion.errors import SkinlesionError
from skinlesion.plots import caption
from skinlesion.segmenter import Segmenter

PAGES = {
    "Demo": [
        ("segment", "Segment", ":material/center_focus_strong:"),
        ("network", "The network", ":material/account_tree:"),
    ],
    "Inspect": [
        ("overview", "Gates at a glance", ":material/view_list:"),
        ("intervene", "Intervene", ":material/touch_app:"),
        ("attention", "Cross-region attention", ":material/grid_3x3:"),
        ("channels", "Channels", ":material/equalizer:"),
        ("scan", "The scan", ":material/route:"),
        ("why", "Why this mask", ":material/troubleshoot:"),
        ("compare", "Compare", ":material/compare:"),
        ("errors", "Errors", ":material/rule:"),
    ],
    "Learn": [
        ("runs", "Training runs", ":material/show_chart:"),
        ("about", "How it works", ":material/school:"),
    ],
}
TALL = 540  # pixels
_PLOTLY = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
_STYLE = """
<style>
[data-testid="stMainBlockContainer"] { padding: 1.6rem 2.2rem 2rem; max-width: 1500px; }
[data-testid="stMainBlockContainer"] h1 { font-size: 1.6rem; padding: 0; }
[data-testid="stMainBlockContainer"] h2 { font-size: 1.3rem; padding: .3rem 0; }
/* Captions carry the science: the theme's faded color is 4.2:1, below what small letters need. */
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] * { color: var(--st-text-color); }
[data-testid="stCaptionContainer"] { opacity: .86; }
.st-key-gallery { margin-top: -.6rem; margin-bottom: -.6rem; }
/* A telephone: below the header, title and buttons in one line, no keys to press, and the strip to step through. */
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding: 4.2rem .8rem 1rem; }
  [data-testid="stMainBlockContainer"] h1 { font-size: 1.25rem; }
  .st-key-heading { flex-wrap: nowrap; }
  .st-key-heading > [data-testid="stLayoutWrapper"] { width: 160px !important; flex: none; }
  [data-testid="stMain"] button kbd, .st-key-previous, .st-key-next { display: none; }
}
/* A model card's tables and hashes on a telephone. */
[data-testid="stMarkdownContainer"] table { width: 100%; }
[data-testid="stMarkdownContainer"] :is(code, td) { overflow-wrap: anywhere; }
/* What is drawn again every few seconds must not fade meanwhile. */
.st-key-waiting, .st-key-waiting * { opacity: 1 !important; }
/* White on the dark theme's light blue is 2.3:1. */
[data-testid="stBaseButton-primary"] * { color: light-dark(#ffffff, #08131c); }
/* A job's start button, which the browser keeps, faded, below Stop until the job is done. */
[data-stale="true"][class*="st-key-start-"] { display: none; }
</style>
"""
# Present mode: only the view, larger; the page's own width is the screen's.
_PRESENT = """
<style>
[data-testid="stSidebar"], [data-testid="stHeader"], .st-key-footer { display: none; }
[data-testid="stMainBlockContainer"] { max-width: none; padding-top: 1rem; }
[data-testid="stMain"] { font-size: 1.15rem; }
[data-testid="stMarkdownContainer"] p { font-size: 1.15rem; }
</style>
"""


def main() -> None:
    """Draw the page that was asked for."""
    started = time.perf_counter()
    st.set_page_config(page_icon=icon(), layout="wide")
    st.html(_STYLE)
    try:
        choose_device(weights.device())
    except SkinlesionError as error:
        st.error(f"{weights.DEVICE}: {plain(error)}", icon=":material/error:")
        return
    state.begin()
    pages = {
        group: [
            st.Page(
                f"views/{name}.py",
                title=title,
                icon=icon,
                url_path="start" if name == "segment" else name,
                default=name == "segment",
            )
            for name, title, icon in views
        ]
        for group, views in PAGES.items()
        if views
    }
    # The first view's address is empty, but its name works too.
    pages["Demo"].append(st.Page("views/segment.py", url_path="segment", title="Segment", visibility="hidden"))
    if state.get("present"):
        st.html(_PRESENT)
    page = st.navigation(pages)
    st.set_page_config(page_title=f"{page.title} · skinlesion")
    view = page.url_path or "segment"
    state.enter(view)
    with st.sidebar:
        chosen = weights.choose()
    st.session_state["_chosen"] = chosen
    try:
        page.run()
    except SkinlesionError as error:
        st.error(plain(error), icon=":material/error:")
    for what in state.ignored():
        st.toast(f"Ignored in the address: {plain(what)}", icon=":material/link_off:")
    if state.ignored():
        st.caption(":material/link_off: Ignored in the address: " + plain("; ".join(state.ignored())) + ".")
    state.publish(view)
    _footer(chosen, time.perf_counter() - started)


def chosen() -> weights.Weights | None:
    """The checkpoint of the sidebar; None where there is none."""
    return st.session_state["_chosen"]


def heading(title: str, look: str) -> None:
    """The view's name, and one line on what to look for."""
    with st.container(horizontal=True, vertical_alignment="center", key="heading"):
        st.title(title, anchor=False, width="stretch")
        with st.container(width=240):
            actions(
                state.get("present"),
                visits.token(),
                key="actions",
                on_present=lambda on: st.session_state.update(present=on),
                on_paste=picker.take_pasted,
            )
    st.markdown(f":material/visibility: **What to look for:** {look}")


def picture(image: np.ndarray, caption: str) -> None:
    """An image, uint8 (H, W, 3), as wide as its column, with its caption below it and as its alt text."""
    alt = html.escape(caption, quote=True)
    st.html(f'<img src="{data_uri(image)}" alt="{alt}" style="width: 100%; border-radius: 10px; display: block">')
    st.caption(plain(caption, 600))


def section(title: str) -> None:
    """A part of the view: the heading below the view's own, so that no level is skipped."""
    st.header(title, anchor=False)


def _footer(chosen: weights.Weights | None, seconds: float) -> None:
    with st.container(key="footer"):
        _facts(chosen, seconds)


def _facts(chosen: weights.Weights | None, seconds: float) -> None:
    st.divider()
    facts = []
    if chosen is not None:
        segmenter: Segmenter = weights.load(chosen)
        facts.append(f"device **{segmenter.device}**")
        size = " × ".join(map(str, segmenter.size))
        facts.append(f"scan engine **{segmenter.engine or 'none (this network has no scan)'}**")
        facts.append(f"weights **{plain(chosen.name)}** ({plain(chosen.model)}, {_parameters(segmenter)}, {size})")
    if (latency := predict.latency()) is not None:
        found, saved = latency
        facts.append(f"network **{1000 * found:.0f} ms**" + (" (cached)" if saved else ""))
    facts.append(f"page {1000 * seconds:.0f} ms")
    facts.append(f"skinlesion {skinlesion.__version__}, torch {torch.__version__}")
    st.caption(" · ".join(facts))
    st.caption(
        ":material/medical_information: **Not a medical device.** For teaching and research; it gives no diagnosis. "
        "Worried about a spot on your skin? See a doctor."
    )


def _parameters(segmenter: Segmenter) -> str:
    count = sum(weight.numel() for weight in segmenter.model.parameters())
    return f"{count / 1e6:.2f} million parameters"


def figure(drawn: go.Figure, key: str, *, tall: bool = False, **options: Any) -> Any:
    """A Plotly figure with its caption below.

    Args:
        drawn: from `skinlesion.plots.interactive`.
        key: unique in the page.
        tall: whether it is one large picture.
        **options: of `st.plotly_chart`.

    Returns:
        What was selected in it, if that was asked for.
    """
    if tall:
        drawn.update_layout(height=TALL)
    event = st.plotly_chart(drawn, key=key, config=_PLOTLY, **options)
    st.caption(plain(caption(drawn), 600))
    return event
