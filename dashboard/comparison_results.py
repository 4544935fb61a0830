"""The paper's comparison as `skinlesion reproduce` has measured it, if it has."""

import json
import os
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import frame
from dashboard.text import plain

RESULTS = "SKINLESION_RESULTS_DIR"
_SHIPPED = Path(__file__).parents[1] / "benchmarks" / "results" / "reproduce" / "cpu"


def show_measured() -> None:
    """Draw the results, or a message that there are none yet."""
    frame.section("Measured results")
    try:
        summary = _summary(Path(os.environ.get(RESULTS) or _SHIPPED) / "summary.json")
        claims = [_claim(claim) for claim in summary["claims"]] if summary else []
        costs = summary["costs"]["cells"] if summary and summary["costs"] else {}
        tables = {
            table["title"]: [_row(row, costs.get(row["cell"])) for row in table["rows"]]
            for table in (summary["tables"].values() if summary else ())
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        st.error(
            "The measured results can't be read. To write them again, run `skinlesion reproduce report --out` with "
            "their folder."
        )
        return
    if summary is None:
        st.info(
            "The paper's comparison hasn't been run here yet: there is no `benchmarks/results/reproduce/cpu`. "
            "`skinlesion reproduce` runs it, table by table, and records which claims are reproduced.",
            icon=":material/hourglass_empty:",
        )
        return
    st.markdown(
        "The paper's comparison, repeated at a small scale with the same recipe for every network (`skinlesion "
        "reproduce`). A claim is reproduced if two 95% intervals of its difference are above 0, and reversed at this "
        "scale if both are below: one resamples seeds and test images; the wider one uses a variance between seeds "
        "that is pooled over all networks. The corrected p (Holm) accounts for the number of claims."
    )
    points = ("paper", "here", "from", "to", "wider from", "wider to")
    formats = {**dict.fromkeys(points, "%+.2f"), "corrected p": "%.3f"}
    st.dataframe(claims, hide_index=True, column_config=_columns(formats))
    st.caption("Differences of pooled lesion IoU, in points, next to the paper's own.")
    formats = {
        **dict.fromkeys(("paper IoU", "IoU", "std over seeds", "DSC"), "%.2f"),
        **dict.fromkeys(("step ms", "image ms"), "%.1f"),
        "parameters": "localized",
        "step MB": "%.0f",
    }
    for title, rows in tables.items():
        with st.expander(plain(title), icon=":material/table_chart:"):
            st.dataframe(rows, hide_index=True, column_config=_columns(formats))
            st.caption(
                "Pooled scores on the test set, in percent, averaged over the finished runs. Times are for one image "
                "on one thread: its share of a training step, and inference. MB: the memory that one training step on "
                "a batch adds."
            )
    with st.expander("Protocol", icon=":material/gavel:"):
        st.markdown(plain(summary["protocol"], 4000))


def _columns(formats: dict[str, str]) -> dict[str, Any]:
    return {name: st.column_config.NumberColumn(name, format=form) for name, form in formats.items()}


def _claim(claim: dict[str, Any]) -> dict[str, Any]:
    """A line of the first table."""
    return {
        "claim": claim["text"],
        "source": claim["source"],
        "paper": claim["paper"],
        "here": claim["difference"],
        "from": claim["low"],
        "to": claim["high"],
        "wider from": claim["wide_low"],
        "wider to": claim["wide_high"],
        "corrected p": claim["corrected_p"],
        "seeds": claim["seeds"],
        "verdict": claim["word"],
    }


def _row(row: dict[str, Any], costs: dict[str, Any] | None) -> dict[str, Any]:
    """A line of one of the paper's tables."""
    return {
        "network": row["label"],
        "paper IoU": row["paper"].get("iou"),
        "IoU": row["mean"]["iou"],
        "std over seeds": row["deviation"]["iou"],
        "DSC": row["mean"]["dsc"],
        "runs": f"{row['seeds']} of {row['wanted']}" if row["seeds"] < row["wanted"] else str(row["seeds"]),
        "parameters": row["cost"]["parameters"] if row["cost"] else None,
        **_costs(costs),
    }


def _costs(found: dict[str, Any] | None) -> dict[str, float | None]:
    """Seconds and memory of a network; nothing where they were not measured."""
    if found is None:
        return {}
    peak = found["step_peak_bytes"]
    return {
        "step ms": 1000 * found["step_seconds"],
        "image ms": 1000 * found["inference_seconds"],
        "step MB": None if peak is None else peak / 1e6,
    }


def _summary(path: Path) -> dict[str, Any] | None:
    """What `skinlesion reproduce report` wrote; None where it has not.

    Raises:
        ValueError, KeyError, TypeError: the file is damaged.
    """
    try:
        modified = path.stat().st_mtime_ns
    except OSError:
        return None
    return _read(str(path), modified)


@st.cache_resource(max_entries=2, show_spinner=False)
def _read(path: str, modified: int) -> dict[str, Any]:
    values = json.loads(Path(path).read_text("utf-8"))
    return {name: values[name] for name in ("claims", "tables", "protocol", "costs")}
