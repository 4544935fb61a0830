"""An image with its probability map, whose threshold and colors follow the pointer in the browser, without the server.

The map is sent once an image, at the network's own size; the browser resizes and calibrates it as the package does.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from dashboard.components.scripts import script, source
from dashboard.images import data_uri, enlarge
from dashboard.predict import Prediction
from skinlesion.plots.colors import BLUE, GREEN, ORANGE, PURPLE

LEGENDS = {
    "Fill": "Blue: predicted lesion.",
    "Contour": "Blue line: the border of the predicted lesion.",
    "Mistakes": "Blue: true positives. Purple: false positives. Orange: false negatives. Green line: the true border.",
    "Probability": "Probability of lesion: dark blue 0, yellow 1.",
    "Uncertainty": "Standard deviation over the flipped views: dark blue 0, yellow the largest of this image.",
}
_COLORS = {"right": BLUE, "wrong": PURPLE, "missed": ORANGE, "truth": GREEN}


@dataclass(frozen=True)
class Settings:
    """What the visitor has chosen, as it stands in the address.

    Attributes:
        threshold: least probability that counts as lesion.
        opacity: of the fill, in percent.
        wipe: how much of the image, from the left and in percent, is shown without the overlay.
        show: one of `LEGENDS`.
        overlay: whether it is shown at all.
    """

    threshold: float
    opacity: int
    wipe: int
    show: str
    overlay: bool


_stage = st.components.v2.component(
    "skinlesion_live", html=source("live.html"), css=source("live.css"), js=script("resize.js", "mask.js", "live.js")
)


def live_mask(
    image: np.ndarray,
    prediction: Prediction,
    truth: np.ndarray | None,
    settings: Settings,
    *,
    title: str,
    notes: Sequence[str],
    key: str,
    on_settings: Callable[[Settings], None],
) -> None:
    """Show it.

    Args:
        image: uint8 (H, W, 3); numbers are those at this size.
        prediction: of the network.
        truth: bool (H, W), if it is known.
        settings: initial ones; the visitor's own are kept until these change.
        title: what the image shows, for screen readers.
        notes: warnings that stand beside the numbers.
        key: the component's.
        on_settings: called with new settings before the page runs again.
    """
    styles = ["Fill", "Contour", *(["Mistakes"] if truth is not None else []), "Probability"]
    if prediction.spread is not None:
        styles.append("Uncertainty")

    def take() -> None:
        found = read_settings(st.session_state[key].get("settings"), styles)
        if found is not None:
            on_settings(found)

    shown = enlarge(image)
    rows, columns = prediction.probability.shape
    data: dict[str, Any] = {
        "image": data_uri(shown),
        "title": title,
        "size": list(image.shape[:2]),
        "drawn": list(shown.shape[:2]),
        "grid": {"rows": rows, "columns": columns},
        "probability": _text(prediction.probability),
        "temperature": prediction.temperature,
        "spread": None if prediction.spread is None else _text(prediction.spread),
        "truth": None if truth is None else base64.b64encode(np.packbits(truth).tobytes()).decode(),
        "styles": styles,
        "legends": LEGENDS,
        "colors": {name: list(color) for name, color in _COLORS.items()},
        "settings": vars(settings),
        "notes": list(notes),
    }
    data["id"] = hashlib.sha256("".join(map(str, (data[name] for name in _DRAWN))).encode()).hexdigest()[:16]
    _stage(key=key, data=data, on_settings_change=take)


_DRAWN = ("image", "probability", "temperature", "spread", "truth")  # what the browser prepares anew


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def read_settings(given: Any, styles: Sequence[str]) -> Settings | None:
    """What the browser sent, checked, since it may send anything; None if it is no settings."""
    if not isinstance(given, Mapping):
        return None
    numbers = [given.get(name) for name in ("threshold", "opacity", "wipe")]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
        return None
    threshold, opacity, wipe = map(float, numbers)
    show, overlay = given.get("show"), given.get("overlay")
    if not (0.01 <= threshold <= 0.99 and 0 <= opacity <= 100 and 0 <= wipe <= 100):
        return None
    if show not in styles or not isinstance(overlay, bool):
        return None
    return Settings(round(threshold, 2), round(opacity), round(wipe), show, overlay)
