"""Why this mask: what the output depends on in the image, by three methods, and how faithful each of them is."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from dashboard import frame, state
from dashboard.attribution_maps import Canvas
from dashboard.attributions import (
    METHODS,
    Answer,
    Asked,
    compare_with_shuffled,
    explain_all,
    known_answer,
    passes,
)
from dashboard.components.pixel_picker import spot
from dashboard.image_choice import Picture
from dashboard.images import enlarge
from dashboard.jobs import job
from dashboard.picker import choose_picture
from dashboard.predict import Prediction, predict
from dashboard.text import plain
from dashboard.weights import LOADED, Weights, load
from skinlesion import explain
from skinlesion.plots import captions, interactive
from skinlesion.plots.rasters import masked
from skinlesion.segmenter import Segmenter
from skinlesion.training.duration import duration

IDEAS = {
    "grad_cam": "a layer's channels, weighted by how much the output rises with each. Coarse; shows only evidence for "
    "lesion.",
    "integrated_gradients": "the gradient, integrated while the image fades in from the baseline. Fine, but often "
    "noisy.",
    "occlusion": "windows of the image are covered, and the map shows how much the output drops. Direct, but slow.",
}
BASELINES = {"skin": "Skin color", "blur": "Blurred image", "black": "Black"}
ABOUT = {"mask": "The whole mask", "pixel": "One pixel"}


def show() -> None:
    frame.heading(
        "Why this mask",
        "which parts of the image does each method highlight, do the methods agree, and is each map's faithfulness "
        "above 0, the chance level? A convincing map with a poor score explains nothing.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    segmenter, prediction = load(weights), predict(weights, picture)
    place = (state.get("py") / 1000, state.get("px") / 1000)
    one, two, three = _columns()
    with three:
        layer, methods = _choices(weights, segmenter), _methods()
        pixel = None if state.get("ask") == "mask" else _pixel(place, prediction)
        _say(prediction, weights, pixel)
    with one:
        _click(picture, prediction, weights, place)
    with two:
        work, beside = st.container(), st.container()
    asked = Asked(weights.digest, picture.key, pixel, state.get("baseline"), layer)
    region = _region(prediction, weights, pixel)
    if not region.any():
        work.info("No pixel reaches the threshold in this image, so there is no mask to explain. Click on a pixel.")
        return
    with beside if len(methods) == 1 else st.container():
        canvas = Canvas(picture, prediction, weights, region, pixel, methods)
    answers = _answers(work, canvas, segmenter, picture, region, asked, prediction.seconds)
    if answers is not None:
        if len(answers) > 1:
            _agreement(answers)
        _how_measured(answers)
        _sanity(segmenter, picture, region, asked, answers)


def _columns() -> list[Any]:
    """Places for the image, for what is computed, and for the choices: a single map has room beside the image."""
    if state.get("method") != "all":
        return st.columns([6, 6, 5], gap="medium")
    left, right = st.columns(2, gap="large")
    choices = right.container()
    return [left, right, choices]


def _click(picture: Picture, prediction: Prediction, weights: Weights, place: tuple[float, float]) -> None:
    enlarged = enlarge(picture.image)
    mask = prediction.at(enlarged.shape[:2]) >= weights.threshold
    nowhere = (-1.0, -1.0)  # outside the frame
    spot(
        masked(enlarged, mask, None, 0.0, "contour"),
        place if state.get("ask") == "pixel" else nowhere,
        label="The image with the border of the predicted mask",
        key="why-spot",
        on_place=_ask_pixel,
    )
    st.caption(
        f"Blue: the border of the predicted mask, at threshold {weights.threshold:.2f}. **Click anywhere** to explain "
        f"that pixel. {plain(picture.note)}"
    )


def _ask_pixel(row: float, column: float) -> None:
    st.session_state.update(ask="pixel", py=int(1000 * row), px=int(1000 * column))


def _choices(weights: Weights, segmenter: Segmenter) -> str:
    """The widgets; gives Grad-CAM's layer."""
    names = _layers(weights.digest, segmenter)
    state.settle("cam", names, "D2.2" if "D2.2" in names else names[-2])
    st.segmented_control("Explain what", list(ABOUT), key="ask", format_func=lambda key: ABOUT[key])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Grad-CAM layer", names, key="cam", width=135, help="Layers are listed in the order in which they run."
        )
        st.selectbox(
            "Baseline",
            list(BASELINES),
            key="baseline",
            format_func=lambda key: BASELINES[key],
            width=150,
            help="Integrated gradients, occlusion and the score all need a baseline, an image without information. "
            "Black isn't one: a lesion is dark. Skin color is the median color outside the region.",
        )
    return state.get("cam")


def _methods() -> list[str]:
    """The widget and what it chose; the methods."""
    options = [*METHODS, "all"]
    st.selectbox("Method", options, key="method", format_func=lambda key: METHODS.get(key, "All three"))
    chosen = state.get("method")
    methods = list(METHODS) if chosen == "all" else [chosen]
    for method in methods:
        st.caption(f"**{METHODS[method]}**: {IDEAS[method]}")
    return methods


@st.cache_resource(max_entries=LOADED, show_spinner=False)
def _layers(digest: str, _segmenter: Segmenter) -> list[str]:
    return list(explain.layers(_segmenter.model))


def _pixel(place: tuple[float, float], prediction: Prediction) -> tuple[int, int]:
    """(row, column) in the network's own image."""
    height, width = prediction.probability.shape
    return int(place[0] * height), int(place[1] * width)


def _say(prediction: Prediction, weights: Weights, pixel: tuple[int, int] | None) -> None:
    if pixel is None:
        share = 100 * float((prediction.probability >= weights.threshold).mean())
        st.markdown(
            f"Explained here: the **mean logit over the predicted mask**, {share:.1f}% of the image. What in the "
            "image makes the network call this region lesion?"
        )
        return
    value = float(prediction.probability[pixel])
    lesion = value >= weights.threshold
    skin = (
        " Orange is evidence against lesion. The scores are based on its probability, which is low already, so they "
        "mean little here."
    )
    st.markdown(
        f"Explained here: the **logit of the pixel** in row {pixel[0]}, column {pixel[1]} of the network's input; its "
        f"probability is {value:.2f}, so it is **{'lesion' if lesion else 'not lesion'}**. What in the image, near or "
        f"far, decides that?{'' if lesion else skin}"
    )


def _region(prediction: Prediction, weights: Weights, pixel: tuple[int, int] | None) -> np.ndarray:
    if pixel is None:
        return prediction.probability >= weights.threshold
    return explain.pixel_region(prediction.probability.shape, pixel)


def _answers(
    work: Any,
    canvas: Canvas,
    segmenter: Segmenter,
    picture: Picture,
    region: np.ndarray,
    asked: Asked,
    seconds: float,
) -> dict[str, Answer] | None:
    """Those that were chosen, if they are there; what is there already is drawn."""
    methods = list(canvas.slots)
    known = {method: known_answer(asked, method) for method in methods}
    for method, answer in known.items():
        canvas.draw(method, answer)
    done = {method: answer for method, answer in known.items() if answer is not None and answer.faithfulness}
    if len(done) == len(methods):
        return done
    image = segmenter.prepare([picture.full()])
    runs = passes([method for method in methods if method not in done])
    with work:
        estimate = st.empty()
        estimate.caption(
            f"Takes about {duration(runs * seconds)} here: {runs} forward passes at {1000 * seconds:.0f} ms. Maps come "
            "first, then their scores; you can stop at any time and keep what is done."
        )
        found = job(
            "why",
            (asked, tuple(methods)),
            lambda tell: explain_all(segmenter.model, image, region, asked, methods, tell, canvas.draw, done),
            label="Explain the rest" if any(known.values()) else "Explain",
            icon=":material/troubleshoot:",
        )
        if found is not None:
            estimate.empty()
        return found


def _agreement(answers: Mapping[str, Answer]) -> None:
    pairs = itertools.combinations(answers, 2)
    said = [
        f"{METHODS[a]} and {METHODS[b].lower()} "
        f"{explain.similarity(answers[a].attribution.map, answers[b].attribution.map):.2f}"
        for a, b in pairs
    ]
    st.caption(
        "Agreement of the maps, rank correlation of their absolute values (1: identical, 0: unrelated): "
        f"{'; '.join(said)}. Methods that disagree can't all be right."
    )


def _how_measured(answers: Mapping[str, Answer]) -> None:
    with st.expander("How the score is measured: deletion and insertion", icon=":material/query_stats:"):
        for tab, (method, answer) in zip(st.tabs([METHODS[m] for m in answers]), answers.items(), strict=True):
            assert answer.faithfulness is not None  # the work is done
            curves, control = answer.faithfulness.curves, answer.faithfulness.control
            drawn = interactive.faithfulness(
                curves.fraction,
                curves.deletion,
                curves.insertion,
                control.deletion,
                control.insertion,
                answer.faithfulness.score,
            )
            with tab:
                frame.figure(drawn, f"curves-{method}")


def _sanity(
    segmenter: Segmenter, picture: Picture, region: np.ndarray, asked: Asked, answers: Mapping[str, Answer]
) -> None:
    with st.expander("Do the maps reflect the network, or only the image?", icon=":material/shuffle:"):
        st.markdown(
            "The same attribution for a network whose weights are **shuffled**: the same values, nothing learned. A "
            "map that hardly changes shows edges and colors of the image, not what the network has learned."
        )
        image = segmenter.prepare([picture.full()])
        found = job(
            "why-sanity",
            (asked, tuple(answers)),
            lambda tell: compare_with_shuffled(segmenter.model, image, region, asked, answers, tell),
            label="Run the shuffled network",
            icon=":material/shuffle:",
        )
        if found is not None:
            with st.container(horizontal=True, gap="medium"):
                for method, value in found.items():
                    st.metric(METHODS[method], captions.signed(value), width="content")
            st.caption(
                "Rank correlation between each map and the shuffled network's map, -1 to 1. Near 0 is good; near 1 "
                "means that the map would look the same without any training."
            )


show()
