"""Whether a probability of 0.8 means that eight such pixels in ten are lesion."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinlesion.errors import SkinlesionError


class CalibrationCurve(NamedTuple):
    """Pixels grouped by predicted lesion probability.

    Attributes:
        edges: ``(bins + 1,)`` limits of the bins; a bin holds its lower limit, the last bin also 1.
        pixels: ``(bins,)`` number of pixels in each bin.
        confidence: ``(bins,)`` mean predicted probability; NaN in an empty bin.
        frequency: ``(bins,)`` share of lesion pixels; NaN in an empty bin.
        ece: Expected calibration error: mean of ``|frequency - confidence|`` over pixels, in [0, 1].
    """

    edges: NDArray[np.float64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    frequency: NDArray[np.float64]
    ece: float

    def undecided(self) -> "Undecided | None":
        """The calibration of the pixels that aren't near 0 or 1, which the mean over all pixels hides.

        Returns:
            None where no pixel's probability lies between the outermost bins.
        """
        inner = slice(1, -1)
        pixels = self.pixels[inner]
        if not pixels.sum():
            return None
        gaps = np.where(pixels > 0, self.frequency[inner] - self.confidence[inner], 0.0)
        worst = 1 + int(np.argmax(np.where(pixels >= 0.02 * pixels.sum(), np.abs(gaps), 0)))
        return Undecided(
            share=float(pixels.sum() / self.pixels.sum()),
            error=float((pixels * np.abs(gaps)).sum() / pixels.sum()),
            predicted=float(self.confidence[worst]),
            observed=float(self.frequency[worst]),
        )


class Undecided(NamedTuple):
    """Calibration between the outermost bins.

    Attributes:
        share: of all pixels.
        error: mean of |frequency - confidence| over these pixels.
        predicted: mean probability in the bin (with at least 2% of these pixels) that is farthest off.
        observed: share of lesion in that bin.
    """

    share: float
    error: float
    predicted: float
    observed: float


def calibration_curve(probability: ArrayLike, truth: ArrayLike, bins: int = 15) -> CalibrationCurve:
    """Compare the predicted probability of lesion with the observed frequency.

    Args:
        probability: Lesion probability in [0, 1], any shape.
        truth: True mask of the same shape, bool or in {0, 1}.
        bins: Number of equally wide bins.

    Raises:
        SkinlesionError: Shapes differ, there is no pixel, or a probability lies outside [0, 1].
    """
    p = np.asarray(probability, dtype=np.float64)
    t = np.asarray(truth, dtype=np.float64)
    if p.shape != t.shape or not p.size:
        raise SkinlesionError(
            f"Calibration needs a probability for each pixel; the shapes are {p.shape} and {t.shape}."
        )
    if not (p.min() >= 0 and p.max() <= 1):
        raise SkinlesionError("Calibration needs probabilities in [0, 1]; apply a sigmoid to logits first.")
    edges = np.linspace(0, 1, bins + 1)
    p, t = p.ravel(), t.ravel()
    index = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    pixels = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0/0 in an empty bin is the NaN that is promised
        confidence = np.bincount(index, p, bins) / pixels
        frequency = np.bincount(index, t, bins) / pixels
    ece = float(np.nansum(pixels * np.abs(frequency - confidence)) / p.size)
    return CalibrationCurve(edges, pixels, confidence, frequency, ece)
