"""Running the network once for each image, and never again while the result is remembered."""

import time
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch

from dashboard.image_choice import Picture
from dashboard.weights import Weights, load
from skinlesion.probability import calibrated, resize_probability
from skinlesion.segmentation import Segmentation
from skinlesion.segmenter import Segmenter

REMEMBERED = 512  # results of all visitors; a quarter of a megabyte each at 256 x 256
_LATENCY = "_latency"


@dataclass(frozen=True, eq=False)
class Prediction:
    """The network's output for one image, at the network's own size. Shared by all visitors, so never changed.

    Attributes:
        probability: float32 (h, w), in [0, 1], not calibrated.
        temperature: for calibrating it.
        spread: standard deviation over the views of test-time augmentation, float32 (h, w); None without it.
        ood_score: as `Segmentation.ood_score`.
        seconds: time for reading the file and running the network.
    """

    probability: np.ndarray
    temperature: float
    spread: np.ndarray | None
    ood_score: float | None
    seconds: float

    def at(self, size: tuple[int, int]) -> np.ndarray:
        """The calibrated probability at another size, float32 (H, W)."""
        resized = resize_probability(torch.tensor(self.probability)[None, None], size)
        return calibrated(resized, self.temperature)[0, 0].numpy()

    def segmentation(self, image: np.ndarray, threshold: float) -> Segmentation:
        """What `Segmenter.segment` gives for this image; uint8 (H, W, 3), the file's image at any size."""
        size = (image.shape[0], image.shape[1])
        probability = self.at(size)
        mask = probability >= threshold
        return Segmentation(image, probability, mask, threshold, self.spread_at(size), self.ood_score, self.seconds)

    def spread_at(self, size: tuple[int, int]) -> np.ndarray | None:
        """The spread at another size, float32 (H, W)."""
        if self.spread is None:
            return None
        return resize_probability(torch.tensor(self.spread)[None, None], size)[0, 0].numpy()


def predict(weights: Weights, picture: Picture, *, tta: bool = False) -> Prediction:
    """The prediction for an image; the network runs only if the result isn't cached.

    Raises:
        SkinlesionError: the image or the weights cannot be used.
    """
    segmenter = load(weights)
    started = time.perf_counter()
    found = _predict(weights.digest, picture.key, tta, segmenter, picture)
    waited = time.perf_counter() - started
    st.session_state[_LATENCY] = (found.seconds, waited < found.seconds / 2)
    return found


@st.cache_resource(max_entries=REMEMBERED, show_spinner="Segmenting …")
def _predict(digest: str, key: str, tta: bool, _segmenter: Segmenter, _picture: Picture) -> Prediction:
    started = time.perf_counter()
    mean, spread, ood_score = _segmenter.predict([_picture.full()], tta=tta)
    probability = mean[0, 0].cpu().numpy()
    deviation = None if spread is None else spread[0, 0].cpu().numpy()
    for map in (probability, deviation):
        if map is not None:
            map.setflags(write=False)
    score = None if ood_score is None else float(ood_score[0])
    return Prediction(probability, _segmenter.temperature, deviation, score, time.perf_counter() - started)


def latency() -> tuple[float, bool] | None:
    """(seconds of the network for what was shown last, whether they were saved this time); None before any."""
    return st.session_state.get(_LATENCY)
