"""Segment: an image, its mask at any threshold, how sure the network is, and files to download."""

from functools import partial

import numpy as np
import streamlit as st

from dashboard import downloads, exports, frame, state
from dashboard.components.live_mask import Settings, live_mask
from dashboard.image_choice import Picture, samples, uploads
from dashboard.images import data_uri
from dashboard.jobs import job
from dashboard.picker import choose_picture
from dashboard.predict import Prediction, predict
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion.explain.thresholds import THRESHOLDS, threshold_counts
from skinlesion.metrics import ratios
from skinlesion.overlay import thumbnail
from skinlesion.plots.rasters import masked

VIEW = "segment"


def show() -> None:
    frame.heading(
        "Segment",
        "drag the threshold: does the border follow the lesion? Where it moves a lot, the network is unsure.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    _mask(weights, picture)
    with st.expander("Several images at once", icon=":material/photo_library:"):
        _batch(weights)


@st.fragment
def _mask(weights: Weights, picture: Picture) -> None:
    """The live image; the server only keeps what was chosen, for the address and the files."""
    prediction = predict(weights, picture, tta=state.get("tta"))
    known = picture.truth is not None
    options = ["Fill", "Contour", *(["Mistakes"] if known else []), "Probability"]
    if prediction.spread is not None:
        options.append("Uncertainty")
    state.settle("show", options, "Fill")
    settings = Settings(*(state.get(name) for name in ("threshold", "opacity", "wipe", "show", "overlay")))
    found = prediction.segmentation(picture.image, settings.threshold)
    live_mask(
        picture.image,
        prediction,
        picture.truth,
        settings,
        title=picture.title,
        notes=found.warnings,
        key="live",
        on_settings=lambda new: st.session_state.update(vars(new)),
    )
    _about(weights, picture, prediction, settings.threshold)
    _downloads(weights, picture, prediction, settings)
    state.publish(VIEW)


def _about(weights: Weights, picture: Picture, prediction: Prediction, threshold: float) -> None:
    said = [plain(picture.note)]
    if picture.truth is not None:
        scores = threshold_counts(prediction.at(picture.image.shape[:2]), picture.truth).scores()["dsc"]
        best = int(np.argmax(scores))
        said.append(
            f"The best threshold for this image would be {THRESHOLDS[best]:.2f} (Dice {scores[best]:.3f}), which can't "
            "be known without the true border."
        )
    if prediction.temperature != 1:
        said.append(f"Probabilities are calibrated (temperature {prediction.temperature:.2f}).")
    else:
        said.append("These weights aren't calibrated, so confidence may be too high.")
    if prediction.ood_score is None:
        said.append("These weights can't check whether this is a dermoscopy image.")
    st.caption(" ".join(said))
    st.toggle(
        "Average over four flipped views",
        key="tta",
        help="Test-time augmentation: the mean is a little better, and the standard deviation over the views shows "
        "where they disagree. Takes four times as long.",
    )


def _downloads(weights: Weights, picture: Picture, prediction: Prediction, settings: Settings) -> None:
    pair, stem, threshold = (picture, prediction), downloads.stem(picture), settings.threshold
    with st.container(horizontal=True):
        for label, suffix, kind, make in (
            ("Mask", "_mask.png", "image/png", lambda: downloads.mask_png(*pair, threshold)),
            ("Overlay", "_overlay.png", "image/png", lambda: downloads.overlay_png(*pair, threshold)),
            ("Numbers", ".csv", "text/csv", lambda: downloads.table_csv([pair], threshold, weights.name)),
        ):
            st.download_button(
                label, make, f"{stem}{suffix}", kind, icon=":material/download:", on_click="ignore", key=f"get-{label}"
            )
        with st.popover("As shown", icon=":material/image:"):
            st.caption("With the overlay, opacity and threshold as on screen, and a caption that lists them.")
            for kind, mime in exports.KINDS.items():
                st.download_button(
                    kind.upper(),
                    partial(exports.as_seen, picture, prediction, settings, weights.name, kind),
                    f"{stem}_seen.{kind}",
                    mime,
                    on_click="ignore",
                    key=f"get-seen-{kind}",
                )
            st.download_button(
                "Arrays (NPZ)",
                partial(exports.arrays_npz, picture, prediction, settings),
                f"{stem}.npz",
                "application/octet-stream",
                on_click="ignore",
                key="get-npz",
            )


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
        st.button("Update to the threshold above", icon=":material/refresh:")


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
        "warning": " ".join(found.warnings),
        "IoU": None,
        "DSC": None,
    }
    if picture.truth is not None:
        scores = ratios(threshold_counts(found.probability, picture.truth).at(threshold))
        row |= {"IoU": float(scores["iou"]), "DSC": float(scores["dsc"])}
    return row


show()
