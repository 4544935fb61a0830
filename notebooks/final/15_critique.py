"""Lesson 15, Reading a paper critically: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import numpy as np


# critique.dsc_range
def dsc_range(iou: float) -> tuple[float, float]:
    """Smallest and largest DSC in percent that are compatible with a printed IoU in percent."""
    low, high = (200 * value / (100 + value) for value in (iou - 0.005, iou + 0.005))
    return low - 0.005, high + 0.005


# critique.bootstrap_pooled
def bootstrap_pooled(counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Pooled IoU of resamples: counts (images, 4), draws (resamples, images) -> (resamples,)."""
    tp, fp, fn, _ = np.moveaxis(counts[draws].sum(axis=1), -1, 0)
    return tp / (tp + fp + fn)


# critique.permutation_p
def permutation_p(a: np.ndarray, b: np.ndarray, signs: np.ndarray) -> float:
    """Two-sided p-value of a paired permutation test: a, b (images,), signs (arrangements, images) of 1 and -1."""
    difference = a - b
    arranged = np.abs((signs * difference).mean(axis=1))
    return float(((arranged >= abs(difference.mean())).sum() + 1) / (len(signs) + 1))


# critique.runs_needed
def runs_needed(difference: float, deviation: float) -> int:
    """Runs of each system needed to detect a difference with 80% power in a two-sided test at 5%."""
    return int(np.ceil(2 * ((1.96 + 0.84) * deviation / difference) ** 2))


# critique.holm
def holm(p: np.ndarray) -> np.ndarray:
    """Holm-corrected p-values, in the order of the input: (n,) -> (n,)."""
    order = np.argsort(p)
    scaled = (len(p) - np.arange(len(p))) * p[order]  # the smallest times n, the next times n - 1, ..
    corrected = np.empty_like(scaled)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected
