"""Scores by what makes images difficult: skin tone, lesion size, whether the lesion touches the frame, diagnosis."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from dashboard import frame, state
from dashboard.examination import Examined
from dashboard.text import plain
from skinlesion.data.groups import UNKNOWN, in_order
from skinlesion.metrics import bootstrap_intervals, ratios

KINDS = {"tone": "Skin tone", "size": "Lesion size", "border": "Frame", "diagnosis": "Diagnosis"}
EVERY = "All groups"
_FEW = 10  # images: with fewer a group's score says little


def by_group(images: Sequence[Examined], undiagnosed: str) -> None:
    """Draw the table, a finding, and the widgets that choose a group for the gallery.

    Args:
        images: what was examined.
        undiagnosed: why there are no diagnoses; "" if there are.
    """
    frame.section("By group")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("Group by", list(KINDS), key="by", format_func=lambda key: KINDS[key])
        by = state.get("by")
        missing = undiagnosed if by == "diagnosis" else ""
        names = [] if missing else in_order(by, [image.groups[by] for image in images])
        state.settle("group", [EVERY, *names], EVERY)
        st.selectbox("Show below", [EVERY, *names], key="group", width=200)
    if missing:
        st.info(plain(missing), icon=":material/info:")
        return
    rows = [_row(name, [image for image in images if image.groups[by] == name]) for name in names]
    st.markdown(_finding(rows))
    numbers = ("IoU, pooled", "from", "to", "IoU, mean", "overconfidence")
    st.dataframe(
        rows,
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(name, format="%.3f") for name in numbers},
    )
    tone = (
        " Tone is the individual typology angle of the image's own background, which depends on lighting and white "
        "balance as much as on skin: it isn't a measurement of the person."
    )
    st.caption(
        "From, to: 95% bootstrap interval over the group's images. Overconfidence: confidence minus Dice, averaged "
        f"over images.{tone if by == 'tone' else ''}"
    )


def chosen_group() -> Callable[[Examined], bool]:
    """Whether an image is in the group that was chosen."""
    by, group = state.get("by"), state.get("group")
    return lambda image: group == EVERY or image.groups[by] == group


def _row(name: str, images: Sequence[Examined]) -> dict[str, object]:
    counts = np.stack([image.case.counts for image in images])
    low, high = bootstrap_intervals(counts, n=1000)["pooled"]["iou"]
    return {
        "group": name,
        "images": len(images),
        "IoU, pooled": float(ratios(counts.sum(0))["iou"]),
        "from": float(low),
        "to": float(high),
        "IoU, mean": float(ratios(counts)["iou"].mean()),
        "overconfidence": float(np.mean([image.case.overconfidence for image in images])),
    }


def _finding(rows: Sequence[dict[str, object]]) -> str:
    """The largest gap between groups that are large enough to say anything."""
    large = [row for row in rows if int(str(row["images"])) >= _FEW and row["group"] != UNKNOWN]
    if len(large) < 2:
        return f"Too few images for a finding: at most one group has {_FEW} or more."
    ranked = sorted(large, key=lambda row: float(str(row["IoU, pooled"])))
    worst, best = ranked[0], ranked[-1]
    apart = float(str(worst["to"])) < float(str(best["from"]))
    said = (
        f"**Lowest: {plain(worst['group'])}, IoU {worst['IoU, pooled']:.3f} ({worst['images']} images); highest: "
        f"{plain(best['group'])}, {best['IoU, pooled']:.3f} ({best['images']}).**"
    )
    return f"{said} {'Their intervals do not overlap.' if apart else 'Their intervals overlap, so this may be chance.'}"
