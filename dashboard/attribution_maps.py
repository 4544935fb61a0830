"""The maps of Why this mask: each is drawn as soon as it is computed, with its score or the reason for its absence."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from dashboard import frame
from dashboard.attributions import METHODS, TOLERANCE, Answer
from dashboard.image_choice import Picture
from dashboard.images import enlarge
from dashboard.predict import Prediction
from dashboard.weights import Weights
from skinlesion.data.images import resize_mask
from skinlesion.plots import captions, interactive

SCORE = (
    "How much faster the probability falls when the parts that the map ranks highest are deleted first, and rises when "
    "they are inserted first, compared with a random order. 0 is the chance level; below 0 is worse than chance."
)


class Canvas:
    """The image that the maps are laid on, and a place for each method's."""

    def __init__(
        self,
        picture: Picture,
        prediction: Prediction,
        weights: Weights,
        region: np.ndarray,
        pixel: tuple[int, int] | None,
        methods: Sequence[str],
    ) -> None:
        self.image = enlarge(picture.image)
        size = self.image.shape[:2]
        # A mask is outlined smoothly; a pixel of the network's image is a square here, and marked in its middle.
        self.region = prediction.at(size) >= weights.threshold if pixel is None else resize_mask(region, size)
        self.pixel = None if pixel is None else tuple(int(v.mean()) for v in np.nonzero(self.region))
        self.slots = {
            method: column.empty()
            for method, column in zip(methods, st.columns(len(methods), gap="medium"), strict=True)
        }

    def draw(self, method: str, answer: Answer | None) -> None:
        """Fill a method's place."""
        with self.slots[method].container():
            if answer is None:
                st.caption(f"{METHODS[method]}: not computed yet.")
                return
            found = answer.attribution
            score = None if answer.faithfulness is None or not answer.converged else answer.faithfulness.score
            where = f" at {found.layer}" if found.layer else ""
            measured = captions.signed(score) if score is not None else "not converged" if not answer.converged else "…"
            st.metric(f"{METHODS[method]}{where}: faithfulness", measured, help=SCORE)
            drawn = interactive.attribution(
                self.image,
                found.map,
                self.region,
                method=method,
                layer=found.layer,
                faithfulness=score,
                pixel=self.pixel,
            )
            drawn.update_layout(height=340, margin_t=10)
            frame.figure(drawn, f"map-{method}" if answer.faithfulness else f"draft-{method}")
            if not found.map.any():
                st.caption("The map is empty: this layer has no evidence for lesion there.")
            if (gap := found.completeness_gap) is not None:
                st.caption(_completeness(gap))


def _completeness(gap: float) -> str:
    rule = "Integrated gradients should add up to the change of the output between the baseline and the image"
    if gap <= TOLERANCE:
        return f"{rule}; this map is {100 * gap:.0f}% off."
    return (
        f"**{rule}; this map is {100 * gap:.0f}% off, even with the largest number of steps.** The integral hasn't "
        "converged, so its score isn't shown. Try another baseline."
    )
