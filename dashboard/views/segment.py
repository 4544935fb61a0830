"""Segment: an image, its mask at any threshold, how sure the network is, and files to take away."""

import numpy as np
import streamlit as st

from dashboard import downloads, frame, state
from dashboard.components.before_after import wipe
from dashboard.image_choice import Picture, samples, uploads
from dashboard.images import data_uri, enlarge
from dashboard.jobs import job
from dashboard.picker import choose_picture
from dashboard.predict import Prediction, predict
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion.data.images import resize_mask
from skinlesion.explain.thresholds import THRESHOLDS, threshold_counts
from skinlesion.metrics import ratios
from skinlesion.overlay import thumbnail
from skinlesion.plots import captions, interactive
from skinlesion.plots.rasters import confusion, masked

VIEW = "segment"


def show() -> None:
    frame.heading(
        "Segment",
        "does the border follow the lesion, and how far does it move when you move the threshold? "
        "Where it moves much, the network is unsure.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        st.image(picture.image, caption=plain(picture.note))
        return
    left, right = st.columns(2, gap="large")
    with right:
        prediction = _probability(weights, picture)
    with left:
        _mask(weights, picture, prediction)
    with st.expander("Several images at once", icon=":material/photo_library:"):
        _batch(weights)


@st.fragment
def _mask(weights: Weights, picture: Picture, prediction: Prediction) -> None:
    """Everything that follows the threshold: only this is drawn anew when a slider moves, and no network runs."""
    known = picture.truth is not None
    threshold = _controls(known)
    enlarged = enlarge(picture.image)
    size = enlarged.shape[:2]
    mask = prediction.at(size) >= threshold
    style, opacity = state.get("show"), state.get("opacity") / 100
    if style == "Mistakes" and picture.truth is not None:
        truth = resize_mask(picture.truth, size)
        drawn, label, caption = confusion(enlarged, mask, truth, opacity), "mistakes", captions.errors(mask, truth)
    else:
        drawn, label = masked(enlarged, mask, None, opacity, style.lower().replace("mistakes", "fill")), "mask"
        caption = captions.overlay(mask, None)
    wipe(enlarged, drawn if state.get("overlay") else enlarged, labels=("image", label), key="wipe", start=20)
    st.caption(f"{plain(caption)} Drag to wipe between image and {label}. {plain(picture.note)}")
    _numbers(picture, prediction, threshold)
    _downloads(weights, picture, prediction, threshold)
    state.publish(VIEW)


def _controls(known: bool) -> float:
    threshold, opacity = st.columns(2, gap="medium")
    chosen = threshold.slider(
        "Threshold",
        0.01,
        0.99,
        step=0.01,
        key="threshold",
        help="The least probability that counts as lesion.",
    )
    opacity.slider("Opacity", 0, 100, step=5, format="%d %%", key="opacity", help="Of the fill.")
    options = ["Fill", "Contour", "Mistakes"] if known else ["Fill", "Contour"]
    state.settle("show", options, "Fill")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.segmented_control("Show", options, key="show", label_visibility="collapsed")
        hidden = "Hide" if state.get("overlay") else "Show"
        st.button(f"{hidden} overlay", icon=":material/layers:", shortcut="O", on_click=_toggle, key="toggle")
    return chosen


def _toggle() -> None:
    st.session_state["overlay"] = not state.get("overlay")


def _numbers(picture: Picture, prediction: Prediction, threshold: float) -> None:
    found = prediction.segmentation(picture.image, threshold)
    numbers = [
        ("Lesion", f"{100 * found.area_fraction:.1f} %", "Share of the image that is predicted to be lesion."),
        ("Confidence", f"{found.confidence:.3f}", "Soft Dice confidence: about the DSC to expect, without the truth."),
    ]
    if picture.truth is not None:
        counts = threshold_counts(found.probability, picture.truth)
        at, scores = counts.at(threshold), counts.scores()
        here = ratios(at)
        best = int(np.argmax(scores["dsc"]))
        numbers += [
            ("IoU", f"{here['iou']:.3f}", "Intersection over union with the true mask, at the image's own size."),
            ("DSC", f"{here['dsc']:.3f}", "Dice score with the true mask, at the image's own size."),
        ]
        tp, fp, fn = (f"{value:,}" for value in at[:3].tolist())
        note = (
            f"{tp} pixels found rightly, {fp} wrongly, {fn} missed. The best threshold for this image would be "
            f"{THRESHOLDS[best]:.2f} (DSC {scores['dsc'][best]:.3f}); nobody knows it without the truth."
        )
    else:
        note = "The true border of this image is not known here, so there is no score."
    with st.container(horizontal=True, gap="medium"):
        for label, value, help in numbers:
            st.metric(label, value, help=help, width="content")
    st.caption(note)


def _downloads(weights: Weights, picture: Picture, prediction: Prediction, threshold: float) -> None:
    pair, stem = (picture, prediction), downloads.stem(picture)
    with st.container(horizontal=True):
        for label, suffix, kind, make in (
            ("Mask", "_mask.png", "image/png", lambda: downloads.mask_png(*pair, threshold)),
            ("Overlay", "_overlay.png", "image/png", lambda: downloads.overlay_png(*pair, threshold)),
            ("Numbers", ".csv", "text/csv", lambda: downloads.table_csv([pair], threshold, weights.name)),
        ):
            st.download_button(
                label, make, f"{stem}{suffix}", kind, icon=":material/download:", on_click="ignore", key=f"get-{label}"
            )


def _probability(weights: Weights, picture: Picture) -> Prediction:
    tta = st.toggle(
        "Average over four flipped views",
        key="tta",
        help="Test-time augmentation: the mean is a little better, and the spread between the views shows where the "
        "network contradicts itself. Takes four times as long.",
    )
    prediction = predict(weights, picture, tta=tta)
    small = picture.image.shape[:2]
    spread = prediction.spread_at(small)
    if spread is None:
        frame.figure(interactive.probability(picture.image, prediction.at(small)), "probability", tall=True)
    else:
        certain, uncertain = st.tabs(["Probability", "Uncertainty"])
        with certain:
            frame.figure(interactive.probability(picture.image, prediction.at(small)), "probability", tall=True)
        with uncertain:
            frame.figure(interactive.spread(picture.image, spread), "spread", tall=True)
    st.caption("Point at a pixel to read its value; drag to zoom in, double-click to zoom out.")
    return prediction


@st.fragment
def _batch(weights: Weights) -> None:
    sets = {"The images that come with the package": samples()}
    if uploads():
        sets = {"My images": uploads(), **sets}
    name = st.radio("Which", list(sets), horizontal=True, label_visibility="collapsed")
    pictures = list(sets[name].values())
    threshold, tta = state.get("threshold"), state.get("tta")
    question = (weights.digest, tta, tuple(picture.key for picture in pictures))
    found = job(
        "batch",
        question,
        lambda tell: _segment_all(weights, pictures, tta, tell),
        label=f"Segment {len(pictures)} images",
    )
    if found is None:
        return
    pairs = list(zip(pictures, found, strict=True))
    st.dataframe(
        [_row(picture, prediction, threshold) for picture, prediction in pairs],
        column_config={
            "image": st.column_config.ImageColumn("Mask", width="small"),
            "lesion": st.column_config.NumberColumn("Lesion", format="%.1f %%"),
            **{key: st.column_config.NumberColumn(key, format="%.3f") for key in ("confidence", "IoU", "DSC")},
        },
        hide_index=True,
        row_height=56,
    )
    st.caption(f"At threshold {threshold:.2f}. IoU and DSC where the true mask is known; click a heading to sort.")
    with st.container(horizontal=True):
        st.download_button(
            "All masks, overlays and numbers (zip)",
            lambda: downloads.batch_zip(pairs, threshold, weights.name),
            "skinlesion.zip",
            "application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            key="get-zip",
        )
        st.button("Refresh for the threshold above", icon=":material/refresh:")


def _segment_all(weights: Weights, pictures: list[Picture], tta: bool, tell) -> list[Prediction]:
    found = []
    for number, picture in enumerate(pictures, start=1):
        found.append(predict(weights, picture, tta=tta))
        tell(number / len(pictures), f"{number} of {len(pictures)} images")
    return found


def _row(picture: Picture, prediction: Prediction, threshold: float) -> dict:
    found = prediction.segmentation(picture.image, threshold)
    row = {
        "image": data_uri(thumbnail(masked(picture.image, found.mask, None, 0.3, "fill"), 112)),
        "title": picture.title,
        "lesion": 100 * found.area_fraction,
        "confidence": found.confidence,
        "IoU": None,
        "DSC": None,
    }
    if picture.truth is not None:
        scores = ratios(threshold_counts(found.probability, picture.truth).at(threshold))
        row |= {"IoU": float(scores["iou"]), "DSC": float(scores["dsc"])}
    return row


show()
