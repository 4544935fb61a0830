"""Every threshold at once: the confusion counts of one image at 0.01, 0.02, .., 0.99 from one pass over it.

A pixel's probability says at which thresholds it counts as lesion, so two histograms hold the counts of all of them.
They add up over images, and moving a threshold costs nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinlesion.errors import SkinlesionError
from skinlesion.metrics import ratios

# As float32, in which a probability is compared with a threshold: so these counts are those of `probability >= t`.
THRESHOLDS = np.linspace(0.01, 0.99, 99).round(2).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ThresholdCounts:
    """Pixels by outcome at every threshold.

    Attributes:
        counts: int64 (99, 4): TP, FP, FN, TN at each of `THRESHOLDS`.
    """

    counts: NDArray[np.int64]

    def __add__(self, other: "ThresholdCounts") -> "ThresholdCounts":
        return ThresholdCounts(self.counts + other.counts)

    def at(self, threshold: float) -> NDArray[np.int64]:
        """The counts (4,) at one of the thresholds.

        Raises:
            SkinlesionError: it is none of them.
        """
        index = round(threshold * 100) - 1
        if not 0 <= index < len(THRESHOLDS) or abs(threshold - (index + 1) / 100) > 1e-6:
            raise SkinlesionError(f"The threshold must be 0.01, 0.02, .. or 0.99, not {threshold}.")
        return self.counts[index]

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Each score of `skinlesion.metrics.ratios` at every threshold, (99,)."""
        return ratios(self.counts)


def threshold_counts(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> ThresholdCounts:
    """Count the pixels of one image by outcome, at every threshold.

    Args:
        probability: of lesion, float32 (H, W), in [0, 1].
        truth: bool (H, W).

    Raises:
        SkinlesionError: the shapes differ.
    """
    if probability.shape != truth.shape:
        raise SkinlesionError(f"The probability has shape {probability.shape} and the truth {truth.shape}.")
    level = np.searchsorted(THRESHOLDS, probability.astype(np.float32, copy=False), side="right")  # (H, W), 0 to 99
    # A pixel of level k counts as lesion at the first k thresholds.
    at_least = [
        np.bincount(level[where], minlength=len(THRESHOLDS) + 1)[::-1].cumsum()[::-1][1:] for where in (truth, ~truth)
    ]
    lesion = int(truth.sum())
    tp, fp = at_least
    return ThresholdCounts(np.stack([tp, fp, lesion - tp, truth.size - lesion - fp], axis=1))
