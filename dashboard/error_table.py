"""All numbers of a set that was evaluated, as a table and as a file."""

import io
import math
from collections.abc import Sequence

import streamlit as st

from dashboard.examination import Examination, Examined
from dashboard.sets import ImageSet
from dashboard.weights import Weights
from skinlesion.data.groups import GROUPS
from skinlesion.text import table_writer

_SCORES = (
    "IoU",
    "DSC",
    "sensitivity",
    "specificity",
    "boundary F1",
    "outline px",
    "confidence",
    "overconfidence",
)
_COLUMNS = ("id", *_SCORES, *GROUPS)


def _rows(images: Sequence[Examined]) -> list[dict[str, object]]:
    rows = []
    for image in images:
        case, scores = image.case, image.case.scores()
        values = (
            *(case.id, scores["iou"], scores["dsc"], scores["sensitivity"], scores["specificity"]),
            *(case.boundary_f1, case.surface_distance if math.isfinite(case.surface_distance) else None),
            *(case.confidence, case.overconfidence),
            *(image.groups[by] for by in GROUPS),
        )
        rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return rows


def error_table(found: Examination, weights: Weights, images: ImageSet) -> None:
    with st.expander("All numbers", icon=":material/table:"):
        st.dataframe(
            _rows(found.images),
            column_config={name: st.column_config.NumberColumn(name, format="%.3f") for name in _SCORES},
            hide_index=True,
        )
        st.caption(f"Threshold {weights.threshold:.2f}, masks compared at 256 x 256; click a heading to sort.")
        st.download_button(
            "Numbers (CSV)",
            lambda: _csv(found, weights, images),
            "errors.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def _csv(found: Examination, weights: Weights, images: ImageSet) -> bytes:
    text = io.StringIO(newline="")
    writer = table_writer(text)
    writer.writerow([*_COLUMNS, "weights", "set"])
    for row in _rows(found.images):
        writer.writerow([*(row[name] for name in _COLUMNS), weights.name, images.name])
    return text.getvalue().encode()
