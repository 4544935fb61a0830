"""Compare: two networks, or one with and without a module, on one image and over a set; and what was measured."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator

from dashboard import frame, state
from dashboard.comparison_results import show_measured
from dashboard.components.before_after import wipe
from dashboard.examination import Examination, examine_set
from dashboard.image_choice import Picture
from dashboard.images import enlarge
from dashboard.jobs import job
from dashboard.picker import choose_picture, open_in
from dashboard.predict import predict
from dashboard.sets import ImageSet, choose_set
from dashboard.steps import Steps, recall
from dashboard.text import plain
from dashboard.weights import Weights, ablate, catalogue, load
from skinlesion.data.images import resize_mask
from skinlesion.explain import ablatable_parts
from skinlesion.metrics import average_surface_distance, confusion_counts, paired_bootstrap, paired_permutation, ratios
from skinlesion.plots import interactive
from skinlesion.plots.rasters import masked

VIEW = "compare"
PARTS = {
    "cra": ("CRA at its mean gate", "every row and column gate becomes its mean, so that no region is preferred"),
    "se": ("SE at its mean gate", "every channel's gate becomes the mean over channels"),
    "cmn": ("CMN left out", "the channel-mixing residual is skipped"),
}
WHOLE = "As trained"
NO_MODULE = "This network has none of the paper's modules."
# The combinations that a reader asks for; a model that lacks a part lacks them too.
VARIANTS: dict[str, tuple[str, ...]] = {
    WHOLE: (),
    "CRA at its mean gate": ("cra",),
    "SE at its mean gate": ("se",),
    "CRA and SE at their mean gates": ("cra", "se"),
    "CMN left out": ("cmn",),
    "No module": ("cra", "se", "cmn"),
}


def show() -> None:
    frame.heading(
        "Compare",
        "where do the two masks differ: by a pixel or two at the border, or in what counts as lesion? One image shows "
        "how they differ; only the set below shows which is better.",
    )
    picture = choose_picture()
    chosen = frame.chosen()
    if chosen is None:
        return
    a, b = _choose(chosen)
    _one_image(picture, a, b)
    st.divider()
    _over_a_set(a, b)
    st.divider()
    show_measured()


def _choose(chosen: Weights) -> tuple[Weights, Weights]:
    """The widgets that choose what is compared."""
    found, _ = catalogue()
    others = [name for name in found if name != chosen.name]
    state.settle("other", list(found), others[0] if others else chosen.name)
    left, right = st.columns(2, gap="large")
    with left, st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(f"**A: {plain(chosen.name)}**", width=150, help="The weights that are chosen in the sidebar.")
        a = _variant(chosen, "off", "Modules of A", WHOLE)
    with right, st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("B", list(found), key="other", width=150)
        other = found[state.get("other")]
        same = other.name == chosen.name and not a.ablated
        b = _variant(other, "off_other", "Modules of B", "CRA at its mean gate" if same else WHOLE)
    if a.ablated or b.ablated:
        said = [f"{PARTS[part][0]}: {PARTS[part][1]}" for part in PARTS if part in {*a.ablated, *b.ablated}]
        st.caption(
            f"{'; '.join(said)}. Unlike in the paper's ablation, the network wasn't trained without the module, and "
            "its other layers are adapted to it. This shows how much the trained network depends on the module."
        )
    if a.digest == b.digest:
        st.info("A and B are the same: choose other weights for B, or ablate a module.")
    return a, b


def _variant(weights: Weights, key: str, label: str, default: str) -> Weights:
    """The weights, or their variant with modules ablated."""
    has = ablatable_parts(load(weights).model)
    options = [name for name, parts in VARIANTS.items() if set(parts) <= set(has)]
    state.settle(key, options, default if default in options else WHOLE)
    lacking = len(options) == 1
    st.selectbox(label, options, key=key, width=200, disabled=lacking, help=NO_MODULE if lacking else None)
    name = state.get(key)
    return ablate(weights, VARIANTS[name], f"{weights.name}, {name}") if VARIANTS[name] else weights


def _names(a: Weights, b: Weights) -> tuple[str, str]:
    """What to call them where there is little room."""
    return (f"A: {a.name}", f"B: {b.name}")


def _one_image(picture: Picture, a: Weights, b: Weights) -> None:
    pair = (predict(a, picture), predict(b, picture))
    left, right = st.columns(2, gap="large")
    table, agreement = st.empty(), st.empty()
    with right:
        maps = [found.at(picture.image.shape[:2]) for found in pair]
        frame.figure(
            interactive.difference(picture.image, *maps, names=("A", "B"), over_image=True),
            "compare-difference",
            tall=True,
        )
    with left:
        _masks(picture, a, b, table, agreement)
    open_in(picture.id, but="compare")


@st.fragment
def _masks(picture: Picture, a: Weights, b: Weights, table: DeltaGenerator, agreement: DeltaGenerator) -> None:
    """What follows the threshold: only this, and what it puts into the two places, is drawn anew when it moves."""
    enlarged = enlarge(picture.image)
    size = enlarged.shape[:2]
    truth = None if picture.truth is None else resize_mask(picture.truth, size)
    threshold = st.slider("Threshold", 0.01, 0.99, step=0.01, key="threshold", help="The same for A and B.")
    masks = [predict(weights, picture).at(size) >= threshold for weights in (a, b)]
    drawn = [masked(enlarged, mask, truth, 0.35, "fill") for mask in masks]
    wipe(*drawn, labels=_names(a, b), key="compare-wipe")
    known = "" if truth is None else " Green line: the true border."
    st.caption(
        f"The masks of A (left of the handle, {100 * masks[0].mean():.1f}% of the image) and B (right, "
        f"{100 * masks[1].mean():.1f}%) in blue.{known} Drag the handle to compare. {plain(picture.note)}"
    )
    both = int((masks[0] & masks[1]).sum())
    total = int(masks[0].sum() + masks[1].sum())
    rows = [_row(name, weights, picture, threshold) for name, weights in zip(_names(a, b), (a, b), strict=True)]
    table.dataframe(rows, hide_index=True, column_config=_FORMATS)
    agreement.caption(
        f"The DSC between the two masks is {2 * both / total if total else 1:.3f}. IoU, DSC and the mean surface "
        "distance, in pixels of the image, need a ground-truth mask; ms is the time of one forward pass on this "
        "machine."
    )
    state.publish(VIEW)


_FORMATS = {
    "lesion": st.column_config.NumberColumn("lesion", format="%.1f %%"),
    **{key: st.column_config.NumberColumn(key, format="%.3f") for key in ("confidence", "IoU", "DSC")},
    "surface distance": st.column_config.NumberColumn("surface distance", format="%.1f px"),
    "ms": st.column_config.NumberColumn("ms", format="%.0f"),
    "parameters": st.column_config.NumberColumn("parameters", format="localized"),
}


def _row(name: str, weights: Weights, picture: Picture, threshold: float) -> dict[str, Any]:
    prediction = predict(weights, picture)
    found = prediction.segmentation(picture.image, threshold)
    row = {"network": name, "lesion": 100 * found.area_fraction, "confidence": found.confidence}
    if (truth := picture.truth) is not None:
        mask = found.mask
        counts = confusion_counts(torch.from_numpy(mask)[None], torch.from_numpy(truth)[None])[0].numpy()
        distance = average_surface_distance(mask, truth)
        row |= {name: float(ratios(counts)[key]) for name, key in (("IoU", "iou"), ("DSC", "dsc"))}
        row["surface distance"] = distance if math.isfinite(distance) else None
    row["ms"] = 1000 * prediction.seconds
    row["parameters"] = sum(weight.numel() for weight in load(weights).model.parameters())
    return row


def _over_a_set(a: Weights, b: Weights) -> None:
    frame.section("Over a set")
    images = choose_set([a.base or a, b.base or b])
    known = recall("examine", (a.digest, images.key)), recall("examine", (b.digest, images.key))
    found = (
        known
        if None not in known
        else job(
            "compare",
            (a.digest, b.digest, images.key),
            lambda tell: _examine(a, b, images, tell),
            label=f"Compare on {len(images.samples)} images",
            help="You can stop at any time; a network that is done won't be run again.",
        )
    )
    if found is None:
        st.caption(
            "Each network uses its own threshold, and masks are compared at 256 x 256, as in `skinlesion evaluate`."
        )
        return
    _table(a, b, *found)
    _image_by_image(a, b, *found)


def _examine(
    a: Weights, b: Weights, images: ImageSet, tell: Callable[[float, str], None]
) -> tuple[Examination, Examination]:
    steps = Steps("examine", tell, 2, kept=6)

    def run(weights: Weights) -> Examination:
        return steps.run(
            (weights.digest, images.key), 1, plain(weights.name), lambda report: examine_set(weights, images, report)
        )

    return run(a), run(b)


def _paired(a: Examination, b: Examination) -> list[tuple[Any, Any]]:
    """The images that both could use."""
    others = {image.case.id: image for image in b.images}
    return [(image, others[image.case.id]) for image in a.images if image.case.id in others]


def _table(a: Weights, b: Weights, found_a: Examination, found_b: Examination) -> None:
    pairs = _paired(found_a, found_b)
    rows, counts = [], []
    for name, side in zip(_names(a, b), zip(*pairs, strict=True), strict=True):
        cases = [image.case for image in side]
        counts.append(np.stack([case.counts for case in cases]))
        pooled = ratios(counts[-1].sum(0))
        distances = [case.surface_distance for case in cases]
        median = float(np.median(distances))
        rows.append(
            {
                "network": name,
                "IoU, pooled": float(pooled["iou"]),
                "DSC, pooled": float(pooled["dsc"]),
                "IoU, mean": float(ratios(counts[-1])["iou"].mean()),
                "boundary F1": float(np.mean([case.boundary_f1 for case in cases])),
                "surface distance": median if math.isfinite(median) else None,
            }
        )
    columns = ("IoU, pooled", "DSC, pooled", "IoU, mean", "boundary F1")
    st.dataframe(
        rows,
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(name, format="%.3f") for name in columns}
        | {"surface distance": _FORMATS["surface distance"]},
    )
    difference = paired_bootstrap(*counts, "iou", n=1000)
    test = paired_permutation(*(ratios(each)["iou"] for each in counts), n=5000)
    verdict = (
        "A is better on these images"
        if difference.low > 0
        else "B is better on these images"
        if difference.high < 0
        else "No clear difference on these images"
    )
    st.markdown(
        f"**{verdict}.** Pooled IoU, A minus B: {100 * difference.value:+.2f} points (95% interval "
        f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}, over {len(pairs)} images); paired permutation "
        f"test of the mean IoU: p = {test.p_value:.3f}."
    )
    st.caption(
        "The interval is over images. Retraining would also change both networks; only several seeds show by how much."
    )


def _image_by_image(a: Weights, b: Weights, found_a: Examination, found_b: Examination) -> None:
    pairs = _paired(found_a, found_b)
    scores = [np.array([image.case.scores()["iou"] for image in side]) for side in zip(*pairs, strict=True)]
    ids = [image.case.id for image, _ in pairs]
    left, right = st.columns(2, gap="large")
    with left:
        frame.figure(interactive.paired_scores(*scores, names=("A", "B"), label="IoU", ids=ids), "compare-pairs")
    with right:
        order = np.argsort(-np.abs(scores[0] - scores[1]), kind="stable")
        st.dataframe(
            [
                {
                    "A": pairs[i][0].tile,
                    "B": pairs[i][1].tile,
                    "image": ids[i],
                    "IoU A": scores[0][i],
                    "IoU B": scores[1][i],
                    "A - B": scores[0][i] - scores[1][i],
                }
                for i in order[:200]
            ],
            hide_index=True,
            row_height=64,
            height=420,
            column_config={
                "A": st.column_config.ImageColumn("A", width=72),
                "B": st.column_config.ImageColumn("B", width=72),
                **{name: st.column_config.NumberColumn(name, format="%.3f") for name in ("IoU A", "IoU B", "A - B")},
            },
        )
        st.caption(
            "The images on which they differ most come first. Blue: true positives; purple: false positives; orange: "
            "false negatives."
        )


show()
