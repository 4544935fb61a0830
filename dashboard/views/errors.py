"""Errors: a whole set of images with known masks, the worst first, and what kind of mistakes they are."""

import math
from collections.abc import Callable

import numpy as np
import streamlit as st

from dashboard import frame, state
from dashboard.calibration import calibration_finding, calibration_metric
from dashboard.components.before_after import wipe
from dashboard.components.gallery import Tile, tiles
from dashboard.error_table import error_table
from dashboard.examination import Examination, Examined, examine_set
from dashboard.groups import by_group, chosen_group
from dashboard.images import enlarge
from dashboard.jobs import job
from dashboard.picker import open_in
from dashboard.predict import predict
from dashboard.sets import ImageSet, address_of, choose_set, picture_of
from dashboard.steps import Steps, recall
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion.data.images import resize_mask
from skinlesion.explain.image_scores import Case, pooled_calibration
from skinlesion.explain.thresholds import THRESHOLDS
from skinlesion.metrics import bootstrap_intervals, ratios
from skinlesion.plots import captions, interactive
from skinlesion.plots.rasters import confusion

# Worst first: what each order calls bad is large.
ORDERS: dict[str, tuple[str, Callable[[Case], float]]] = {
    "IoU": ("lowest IoU", lambda case: -case.scores()["iou"]),
    "Outline": ("largest surface distance (pixels at 256 x 256)", lambda case: case.surface_distance),
    "Boundary F1": ("lowest boundary F1", lambda case: -case.boundary_f1),
    "Overconfident": ("confidence farthest above the DSC", lambda case: case.overconfidence),
}
KINDS: dict[str, Callable[[Case], bool]] = {
    "All": lambda case: True,
    "Too much": lambda case: case.too_much,
    "Too little": lambda case: case.too_little,
}
KIND_NAMES = {"All": "All", "Too much": "Over-segmented", "Too little": "Under-segmented"}
SHOWN = 18  # pictures at once


def show() -> None:
    frame.heading(
        "Errors",
        "what do the worst images have in common: hair, faint borders, the edge of the frame? Does the network "
        "over-segment or under-segment them, and was its confidence at least low?",
    )
    weights = frame.chosen()
    if weights is None:
        return
    images = choose_set([weights])
    found = recall("examine", (weights.digest, images.key)) or job(
        "examine",
        (weights.digest, images.key),
        lambda tell: _examine(weights, images, tell),
        label=f"Evaluate {len(images.samples)} images",
        help="You can stop at any time.",
    )
    if found is None:
        st.caption(
            f"Runs {plain(weights.name)} on the set and compares each mask with the ground truth at 256 x 256, at the "
            f"weights' own threshold of {weights.threshold:.2f}, as `skinlesion evaluate` does."
        )
        return
    for problem in found.problems[:5]:
        st.warning(f"Left out: {plain(problem)}", icon=":material/broken_image:")
    if len(found.problems) > 5:
        st.warning(f"In total, {len(found.problems)} images couldn't be used.", icon=":material/broken_image:")
    _summary(found)
    by_group(found.images, images.undiagnosed)
    charts = st.container()  # above the pictures, drawn after them: they say which image is marked
    chosen = _gallery(found)
    with charts:
        _charts(found, weights)
    if chosen is not None:
        _closely(weights, images, chosen)
    error_table(found, weights, images)


def _examine(weights: Weights, images: ImageSet, tell: Callable[[float, str], None]) -> Examination:
    label = f"Evaluating {len(images.samples)} images"
    steps = Steps("examine", tell, 1, kept=6)
    return steps.run((weights.digest, images.key), 1, label, lambda report: examine_set(weights, images, report))


def _cases(found: Examination) -> list[Case]:
    return [image.case for image in found.images]


def _summary(found: Examination) -> None:
    cases = _cases(found)
    counts = np.stack([case.counts for case in cases])
    pooled = ratios(counts.sum(0))
    low, high = bootstrap_intervals(counts, n=1000)["pooled"]["iou"]
    distances = [case.surface_distance for case in cases]
    numbers = [
        ("IoU, pooled", f"{pooled['iou']:.3f}", "Over all pixels of all images together, as in the paper."),
        ("DSC, pooled", f"{pooled['dsc']:.3f}", "Over all pixels of all images together."),
        (
            "IoU, mean",
            f"{ratios(counts)['iou'].mean():.3f}",
            "Averaged over images: each counts the same, whatever the size of its lesion.",
        ),
        (
            "Boundary F1, mean",
            f"{np.mean([case.boundary_f1 for case in cases]):.3f}",
            "Mean over images: the share of both outlines within 2 pixels of the other, at 256 x 256.",
        ),
        (
            "Surface distance, median",
            _pixels(float(np.median(distances))),
            "Median over images of the mean distance between both outlines, at 256 x 256.",
        ),
        calibration_metric(pooled_calibration(cases)),
    ]
    with st.container(horizontal=True, gap="small"):
        for label, value, help in numbers:
            st.metric(label, value, help=help, width="content")
    st.caption(
        f"{len(cases)} images; pooled IoU {low:.3f} to {high:.3f} (95% bootstrap interval over images; it doesn't "
        "cover variation between training runs)."
    )


def _charts(found: Examination, weights: Weights) -> None:
    cases = _cases(found)
    scores = np.array([case.scores()["iou"] for case in cases])
    current = next((case for case in cases if case.id == state.get("case")), None)
    left, right = st.columns(2, gap="large")
    with left:
        frame.figure(
            interactive.histogram(scores, label="IoU", mark=None if current is None else current.scores()["iou"]),
            "errors-histogram",
            on_select=_pick_bar,
            selection_mode="points",
        )
        st.caption("Click a bar to see only its images.")
    curve = pooled_calibration(cases)
    with right:
        st.markdown(calibration_finding(curve))
        drawn = interactive.reliability(*curve)
        drawn.update_layout(height=300, legend={"y": -0.3})
        frame.figure(drawn, "errors-calibration")
    with st.expander("Would another threshold be better?", icon=":material/tune:"):
        total = sum((case.all_counts for case in cases[1:]), start=cases[0].all_counts).scores()
        named = {"IoU": total["iou"], "DSC": total["dsc"], "sensitivity": total["sensitivity"]}
        frame.figure(interactive.threshold_curve(THRESHOLDS, named, weights.threshold), "errors-threshold")
        st.caption("A score at a threshold that was chosen on the same images is too optimistic: don't report it.")


def _pick_bar() -> None:
    points = st.session_state["errors-histogram"]["selection"]["points"]
    low, high = points[0]["customdata"] if points else (0.0, 1.0)
    st.session_state.update(low=round(float(low), 2), high=round(float(high), 2))


def _gallery(found: Examination) -> Examined | None:
    """The widgets that sort and filter, the pictures, and the one that is chosen."""
    frame.section("Image by image")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control("Sort by, worst first", list(ORDERS), key="sort")
        st.segmented_control(
            "Error type",
            list(KINDS),
            key="mistake",
            format_func=lambda key: KIND_NAMES[key],
            help="Over-segmented: more false-positive than false-negative pixels. Under-segmented: fewer.",
        )
        low, high = sorted((state.get("low"), state.get("high")))
        st.session_state["errors-range"] = (low, high)
        st.slider("IoU range", 0.0, 1.0, step=0.01, key="errors-range", on_change=_range, width=260)
    meaning, badness = ORDERS[state.get("sort")]
    matches, group = KINDS[state.get("mistake")], chosen_group()
    kept = [
        image
        for image in found.images
        if matches(image.case) and group(image) and low - 1e-9 <= image.case.scores()["iou"] <= high + 1e-9
    ]
    if not kept:
        st.info("No image of this set matches. Widen the range, or choose another type of error.")
        return None
    kept.sort(key=lambda image: (badness(image.case), image.case.id), reverse=True)
    ids = [image.case.id for image in kept]
    state.settle("case", ids, ids[0])
    at = ids.index(state.get("case"))
    start = at // SHOWN * SHOWN
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Previous", icon=":material/chevron_left:", shortcut="P", on_click=state.step, args=("case", ids, -1))
        st.button("Next", icon=":material/chevron_right:", shortcut="N", on_click=state.step, args=("case", ids, 1))
        st.markdown(f"{at + 1} of {len(kept)}, {meaning} first")
    page = kept[start : start + SHOWN]
    tiles(
        [Tile(image.case.id, _title(image.case), image.tile, _tag(image.case)) for image in page],
        state.get("case"),
        "errors-tiles",
        _choose,
        wrap=True,
    )
    st.caption(
        f"Images {start + 1} to {start + len(page)}. Blue: true positives; purple: false positives; orange: false "
        "negatives; green line: the true border. The number on each image is the value that they are sorted by. Next "
        "continues onto the following page."
    )
    return kept[at]


def _choose(id: str) -> None:
    st.session_state["case"] = id


def _range() -> None:
    low, high = st.session_state["errors-range"]
    st.session_state.update(low=low, high=high)


def _pixels(distance: float) -> str:
    return f"{distance:.1f} px" if math.isfinite(distance) else "no outline"


def _tag(case: Case) -> str:
    return {
        "IoU": f"{case.scores()['iou']:.2f}",
        "Outline": _pixels(case.surface_distance),
        "Boundary F1": f"{case.boundary_f1:.2f}",
        "Overconfident": f"{case.overconfidence:+.2f}",
    }[state.get("sort")]


def _title(case: Case) -> str:
    return f"{case.id}, IoU {case.scores()['iou']:.2f}"


def _closely(weights: Weights, images: ImageSet, chosen: Examined) -> None:
    picture = picture_of(images, chosen.sample)
    prediction = predict(weights, picture)
    frame.section(plain(picture.title))
    left, right = st.columns(2, gap="large")
    enlarged = enlarge(picture.image)
    size = enlarged.shape[:2]
    mask = prediction.at(size) >= weights.threshold
    with left:
        assert picture.truth is not None  # every set has masks
        truth = resize_mask(picture.truth, size)
        wipe(enlarged, confusion(enlarged, mask, truth, 0.6), labels=("image", "errors"), key="errors-wipe", start=20)
        st.caption(f"{captions.errors(mask, truth)} Drag the handle to compare. {plain(picture.note)}")
    with right:
        drawn = interactive.probability(
            picture.image, prediction.at(picture.image.shape[:2]), threshold=weights.threshold
        )
        frame.figure(drawn, "errors-probability", tall=True)
    _numbers(chosen.case)
    open_in(address_of(images, chosen.sample), but="errors")


def _numbers(case: Case) -> None:
    scores = case.scores()
    tp, fp, fn, _ = (int(count) for count in case.counts)
    with st.container(horizontal=True, gap="medium"):
        for label, value in (
            ("IoU", f"{scores['iou']:.3f}"),
            ("DSC", f"{scores['dsc']:.3f}"),
            ("Boundary F1", f"{case.boundary_f1:.3f}"),
            ("Surface distance", _pixels(case.surface_distance)),
            ("Confidence", f"{case.confidence:.3f}"),
        ):
            st.metric(label, value, width="content")
    kind = "is too large" if case.too_much else "is too small" if case.too_little else "has the right area"
    surprise = (
        "It was overconfident: the confidence is far above the DSC."
        if case.overconfidence > 0.1
        else "Its confidence is about right."
        if case.overconfidence > -0.1
        else "It was underconfident: the DSC is far above the confidence."
    )
    counts = f"{tp:,} true positives, {fp:,} false positives, {fn:,} false negatives"
    st.caption(f"At 256 x 256, in pixels: {counts}. The mask {kind}. {surprise}")


show()
