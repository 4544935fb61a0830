"""The evaluation of one image of a set: scores, border, calibration; small enough to keep thousands in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skinlesion.errors import SkinlesionError
from skinlesion.explain.thresholds import ThresholdCounts, threshold_counts
from skinlesion.metrics import (
    CalibrationCurve,
    average_surface_distance,
    boundary_f1,
    calibration_curve,
    confusion_counts,
    ratios,
)
from skinlesion.protocol import BOUNDARY_TOLERANCE
from skinlesion.segmentation import soft_dice_confidence


@dataclass(frozen=True, eq=False)
class Case:
    """The evaluation of one image.

    Attributes:
        id: of the image.
        counts: pixels TP, FP, FN, TN at the threshold, int64 (4,).
        all_counts: the same at every threshold.
        boundary_f1: share of the outlines within two pixels (at 256 x 256) of each other, in [0, 1].
        surface_distance: mean distance between the outlines in pixels; infinite if one mask is empty.
        confidence: soft Dice confidence, about the DSC to expect without the truth, in [0, 1].
        calibration: of its pixels.
    """

    id: str
    counts: NDArray[np.int64]
    all_counts: ThresholdCounts
    boundary_f1: float
    surface_distance: float
    confidence: float
    calibration: CalibrationCurve

    def scores(self) -> dict[str, float]:
        """Every score of this image: those of `skinlesion.metrics.ratios`, and of the outline."""
        areas = {name: float(value) for name, value in ratios(self.counts).items()}
        return areas | {"boundary_f1": self.boundary_f1, "surface_distance": self.surface_distance}

    @property
    def overconfidence(self) -> float:
        """Confidence minus DSC, in [-1, 1]: above 0 where the network is overconfident."""
        return self.confidence - float(ratios(self.counts)["dsc"])

    @property
    def too_much(self) -> bool:
        """Whether there are more false positives than false negatives."""
        return bool(self.counts[1] > self.counts[2])

    @property
    def too_little(self) -> bool:
        """Whether there are more false negatives than false positives."""
        return bool(self.counts[2] > self.counts[1])


def examine(id: str, probability: NDArray[np.float32], truth: NDArray[np.bool_], threshold: float = 0.5) -> Case:
    """Compute every score of one image.

    Args:
        id: of the image.
        probability: of lesion, float32 (H, W), in [0, 1].
        truth: bool (H, W).
        threshold: lowest probability that counts as lesion.

    Raises:
        SkinlesionError: the shapes differ, or a value isn't a probability.
    """
    everywhere = threshold_counts(probability, truth)
    mask = probability >= threshold
    return Case(
        id,
        confusion_counts(torch.tensor(mask)[None], torch.tensor(truth)[None])[0].numpy(),
        everywhere,
        boundary_f1(mask, truth, max(truth.shape) * BOUNDARY_TOLERANCE),
        average_surface_distance(mask, truth),
        soft_dice_confidence(probability, mask),
        calibration_curve(probability, truth),
    )


def pooled_calibration(cases: Sequence[Case]) -> CalibrationCurve:
    """The calibration of all pixels of a set.

    Raises:
        SkinlesionError: there is no case.
    """
    if not cases:
        raise SkinlesionError("There is no image to examine: the set is empty.")
    curves = [case.calibration for case in cases]
    pixels = np.sum([curve.pixels for curve in curves], axis=0)

    def mean(name: str) -> NDArray[np.float64]:
        total = np.sum([np.nan_to_num(getattr(curve, name)) * curve.pixels for curve in curves], axis=0)
        return np.divide(total, pixels, out=np.full(len(pixels), np.nan), where=pixels > 0)

    confidence, frequency = mean("confidence"), mean("frequency")
    ece = float(np.nansum(pixels * np.abs(frequency - confidence)) / pixels.sum())
    return CalibrationCurve(curves[0].edges, pixels, confidence, frequency, ece)
