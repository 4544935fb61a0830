"""The confusion matrix of each image, and every ratio that is formed from one (eqs. 12-14).

A row of counts is ``(TP, FP, FN, TN)`` in pixels. Scores *pooled* over a set are the ratios of the sum of its
rows, as in the paper's lineage; *per-image* scores are the ratios of each row. The two differ, so both are
always named.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, stack

from skinlesion.errors import SkinlesionError


def confusion_counts(prediction: Tensor, truth: Tensor) -> Tensor:
    """Count the pixels of each image by outcome.

    Args:
        prediction: Predicted masks, bool, ``(B, ...)``.
        truth: True masks, bool, same shape.

    Returns:
        int64 ``(B, 4)``: true positives, false positives, false negatives, true negatives (positive =
        lesion).

    Raises:
        SkinlesionError: Shapes differ.
    """
    if prediction.shape != truth.shape:
        raise SkinlesionError(
            f"The prediction has shape {tuple(prediction.shape)} and the truth {tuple(truth.shape)}: "
            "predict at the size of the truth, or resize one to the other."
        )
    prediction, truth = prediction.flatten(1), truth.flatten(1)  # (B, pixels)
    tp = (prediction & truth).sum(1)
    fp = prediction.sum(1) - tp
    fn = truth.sum(1) - tp
    return stack([tp, fp, fn, truth.shape[1] - tp - fp - fn], dim=1)


def ratios(counts: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Form every score from confusion counts.

    A score without a single pixel to judge (0/0) is 1, since nothing could go wrong and nothing did: an empty
    mask that is predicted empty has IoU 1, and an image that is all lesion has specificity 1. An empty mask
    with any predicted lesion has IoU 0.

    Args:
        counts: ``(..., 4)`` pixels ``(TP, FP, FN, TN)``; also sums of rows, weighted or not.

    Returns:
        Arrays ``(...,)`` in [0, 1]: ``iou`` of the lesion (what eq. 12 calls mIoU, A37), ``dsc`` (eq. 13),
        ``accuracy`` (eq. 14), ``sensitivity``, ``specificity``, and ``miou_2class``, the mean of the IoU of
        lesion and of skin.
    """
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    iou = _ratio(tp, tp + fp + fn)
    return {
        "iou": iou,
        "dsc": _ratio(2 * tp, 2 * tp + fp + fn),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "miou_2class": (iou + _ratio(tn, tn + fp + fn)) / 2,
    }


def thresholded_jaccard(counts: ArrayLike, least: float = 0.65) -> NDArray[np.float64]:
    """The ISIC 2018 challenge's score of an image: its IoU, or 0 where that is below 0.65.

    The challenge (https://arxiv.org/abs/1902.03368) ranks by the mean over images: below 0.65 experts mostly found that
    a segmentation had failed.

    Args:
        counts: ``(..., 4)`` pixels ``(TP, FP, FN, TN)``.
        least: IoU that an image must reach.

    Returns:
        ``(...)`` scores in [0, 1].
    """
    iou = ratios(counts)["iou"]
    return np.where(iou >= least, iou, 0.0)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)
