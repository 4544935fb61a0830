"""How good a segmentation is: pooled and per-image scores (eqs. 12-14), boundary scores, intervals,
calibration.

All scores are fractions in [0, 1]; distances are in pixels.
"""

from skinlesion.metrics.boundary import average_surface_distance, boundary_f1, hausdorff_distance
from skinlesion.metrics.calibration import CalibrationCurve, calibration_curve
from skinlesion.metrics.counts import confusion_counts, ratios, thresholded_jaccard
from skinlesion.metrics.intervals import (
    Difference,
    PermutationTest,
    bootstrap_intervals,
    paired_bootstrap,
    paired_permutation,
    pooled_permutation,
)
from skinlesion.metrics.scores import ScoreTable, SegmentationScores, summarize

__all__ = [
    "CalibrationCurve",
    "Difference",
    "PermutationTest",
    "ScoreTable",
    "SegmentationScores",
    "average_surface_distance",
    "bootstrap_intervals",
    "boundary_f1",
    "calibration_curve",
    "confusion_counts",
    "hausdorff_distance",
    "paired_bootstrap",
    "paired_permutation",
    "pooled_permutation",
    "ratios",
    "summarize",
    "thresholded_jaccard",
]
