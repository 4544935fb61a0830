"""Which channels squeeze-and-excitation keeps or suppresses in every image, block by block."""

from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from dashboard import explanations, frame
from dashboard.image_choice import Picture, samples
from dashboard.jobs import job
from dashboard.weights import Weights
from skinlesion import explain

OPEN, SHUT = 0.75, 0.25


@st.fragment
def gate_ranges(weights: Weights) -> None:
    """The button that runs the network on the package's images, and the table."""
    frame.section("Which channels are always kept or always suppressed")
    pictures = list(samples().values())
    found = job(
        "gate-ranges",
        (weights.digest, tuple(picture.key for picture in pictures)),
        lambda tell: _look_at_all(weights, pictures, tell),
        label=f"Run on {len(pictures)} images",
    )
    if found is None:
        return
    st.dataframe([_row(each) for each in found.values()], hide_index=True, column_config=_COLUMNS)
    st.caption(
        f"Over the {len(pictures)} images that come with the package. Always kept: the gate is at least {OPEN} in "
        f"every image; always suppressed: at most {SHUT}. Range: a channel's largest gate over these images minus its "
        "smallest, averaged over channels; near 0, the gates are constants that hardly depend on the image."
    )


_COLUMNS = {
    name: st.column_config.NumberColumn(name, format="%.3f") for name in ("mean gate", "range", "lowest", "highest")
}


def _look_at_all(
    weights: Weights, pictures: list[Picture], tell: Callable[[float, str], None]
) -> dict[str, explain.GateRange]:
    gates = []
    for number, picture in enumerate(pictures, start=1):
        gates.append(explanations.channel_gates(weights, picture))
        tell(number / len(pictures), f"{number} of {len(pictures)} images")
    return explain.gate_ranges(gates)


def _numbers(channels: np.ndarray) -> str:
    """The first of them; a cell has no room for more."""
    return ", ".join(map(str, channels[:40].tolist())) + (", …" if len(channels) > 40 else "")


def _row(found: explain.GateRange) -> dict[str, Any]:
    return {
        "block": found.name,
        "channels": len(found.mean),
        "always kept": len(found.always(OPEN)),
        "always suppressed": len(found.never(SHUT)),
        "mean gate": float(found.mean.mean()),
        "range": float((found.highest - found.lowest).mean()),
        "lowest": float(found.lowest.min()),
        "highest": float(found.highest.max()),
        "which kept": _numbers(found.always(OPEN)),
        "which suppressed": _numbers(found.never(SHUT)),
    }
