"""Choosing the image: next, previous, a list, thumbnails, and one's own files."""

import streamlit as st

from dashboard import state
from dashboard.components.gallery import gallery
from dashboard.image_choice import KINDS, LIMITS, MAX_BYTES, Picture, add_uploads, all_pictures, uploads
from dashboard.text import plain

_ROUND = "_upload_round"
_PROBLEMS = "_upload_problems"


def choose_picture() -> Picture:
    """Draw the widgets and give the image that is chosen."""
    pictures = all_pictures()
    state.settle("sample", list(pictures), next(iter(pictures)))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox(
            "Image",
            list(pictures),
            key="sample",
            format_func=lambda id: pictures[id].title,
            width=420,
            label_visibility="collapsed",
        )
        st.button("Previous", icon=":material/chevron_left:", shortcut="P", on_click=_step, args=(-1,), key="previous")
        st.button("Next", icon=":material/chevron_right:", shortcut="N", on_click=_step, args=(1,), key="next")
        with st.popover("Your own images", icon=":material/upload:"):
            _uploader()
    for problem in st.session_state.get(_PROBLEMS, []):
        st.error(plain(problem), icon=":material/broken_image:")
    chosen = state.get("sample")
    gallery(pictures, chosen, "gallery", _choose)
    return pictures[chosen]


def _choose(id: str) -> None:
    st.session_state["sample"] = id


def _step(by: int) -> None:
    state.step("sample", all_pictures(), by)
    st.session_state.pop(_PROBLEMS, None)


def _uploader() -> None:
    # A new key empties the widget: what it held is ours by then.
    key = f"upload-{st.session_state.setdefault(_ROUND, 0)}"
    st.file_uploader(
        "Images of skin lesions",
        type=list(KINDS),
        accept_multiple_files=True,
        max_upload_size=MAX_BYTES // 1_000_000,
        key=key,
        on_change=_take,
        args=(key,),
    )
    st.caption(LIMITS)
    if uploads():
        st.button("Forget my images", icon=":material/delete:", on_click=_forget)


def _take(key: str) -> None:
    files = [(file.name, file.getvalue()) for file in st.session_state[key]]
    if not files:
        return
    added, st.session_state[_PROBLEMS] = add_uploads(files)
    if added:
        st.session_state["sample"] = added[0].id
    st.session_state[_ROUND] += 1


def _forget() -> None:
    uploads().clear()
    st.session_state.pop(_PROBLEMS, None)
