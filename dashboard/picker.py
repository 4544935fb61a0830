"""Choosing the image: next, previous, a list, thumbnails, and one's own files."""

import streamlit as st

from dashboard import state
from dashboard.components.gallery import gallery
from dashboard.image_choice import KINDS, LIMITS, MAX_BYTES, Picture, add_uploads, all_pictures, uploads
from dashboard.sets import image_sets, open_local
from dashboard.text import plain

_ROUND = "_upload_round"
_PROBLEMS = "_upload_problems"


def choose_picture() -> Picture:
    """Draw the widgets and give the image that is chosen."""
    asked = st.session_state["sample"]
    if asked not in all_pictures():
        open_local(asked)
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
            _local_sets()
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
    st.caption(f"{LIMITS} An image can also be pasted from the clipboard, anywhere on the page.")
    if st.toggle("Take a photo with the camera", key="use-camera"):
        st.camera_input("Camera", key="camera", on_change=_take_photo, label_visibility="collapsed")
    if uploads():
        st.button("Delete my images", icon=":material/delete:", on_click=_forget)


def _local_sets() -> None:
    """Any image of the sets on this machine."""
    local = {name: images for name, images in image_sets()[0].items() if images.local}
    if not local:
        return
    name = st.selectbox("A dataset on this machine", list(local), key="local-set")
    ids = [sample.id for sample in local[name].samples]
    id = st.selectbox("Image in it", ids, key="local-image", help="Type to search.")
    st.button("Open", icon=":material/folder_open:", on_click=_choose, args=(f"{name}/{id}",), key="local-open")


def open_in(address: str, *, but: str = "") -> None:
    """Links that open an image in the other views.

    Args:
        address: as `dashboard.sets.address_of`.
        but: the view that needs no link.
    """
    with st.container(horizontal=True, gap="small", key=f"open-in-{but}"):
        st.markdown("Open in")
        for view, title in _VIEWS.items():
            if view != but:
                st.page_link(f"views/{view}.py", label=title, query_params={"sample": address})


_VIEWS = {
    "segment": "Segment",
    "network": "The network",
    "overview": "Gates at a glance",
    "intervene": "Intervene",
    "attention": "Attention",
    "channels": "Channels",
    "scan": "The scan",
    "why": "Why this mask",
    "compare": "Compare",
}


def take_pasted(name: str, data: bytes) -> None:
    """An image from the clipboard, as if it were uploaded."""
    added, st.session_state[_PROBLEMS] = add_uploads([(name, data)])
    if added:
        st.session_state["sample"] = added[0].id


def _take_photo() -> None:
    photo = st.session_state["camera"]
    if photo is not None:
        take_pasted("photo.jpg", photo.getvalue())


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
