"""Scores of the outline rather than the area.

The boundary of a mask is its pixels with a 4-neighbor outside the mask; beyond the image's edge counts as
outside. Distances are Euclidean, between pixel centers, in pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from skinlesion.errors import SkinlesionError

Mask = NDArray[np.bool_]


def boundary_f1(prediction: Mask, truth: Mask, tolerance: float = 2.0) -> float:
    """Boundary F1: harmonic mean of the shares of each boundary that lie within ``tolerance`` of the other
    one.

    Args:
        prediction: Predicted mask, bool ``(H, W)``.
        truth: True mask, bool ``(H, W)``.
        tolerance: In pixels. The default suits 256 x 256, where it is 0.8% of a side; scale it with the
            image.

    Returns:
        A fraction in [0, 1]. Two empty masks score 1; one empty mask scores 0.

    Raises:
        SkinlesionError: The masks differ in size.
    """
    to_truth, to_prediction = _surface_distances(prediction, truth)
    if not to_truth.size or not to_prediction.size:
        return float(to_truth.size == to_prediction.size)
    precision, recall = (to_truth <= tolerance).mean(), (to_prediction <= tolerance).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def average_surface_distance(prediction: Mask, truth: Mask) -> float:
    """Average symmetric surface distance: the mean distance of the pixels of both boundaries to the other
    boundary.

    Returns:
        Pixels, >= 0. Two empty masks are 0 apart; one empty mask is infinitely far.

    Raises:
        SkinlesionError: The masks differ in size.
    """
    to_truth, to_prediction = _surface_distances(prediction, truth)
    if not to_truth.size or not to_prediction.size:
        return 0.0 if to_truth.size == to_prediction.size else float("inf")
    return float(np.concatenate([to_truth, to_prediction]).mean())


def hausdorff_distance(prediction: Mask, truth: Mask, percentile: float = 95) -> float:
    """The larger of the two directed percentiles of the distance between the boundaries (HD95 by default).

    Returns:
        Pixels, >= 0. Two empty masks are 0 apart; one empty mask is infinitely far.

    Raises:
        SkinlesionError: The masks differ in size.
    """
    to_truth, to_prediction = _surface_distances(prediction, truth)
    if not to_truth.size or not to_prediction.size:
        return 0.0 if to_truth.size == to_prediction.size else float("inf")
    return float(max(np.percentile(to_truth, percentile), np.percentile(to_prediction, percentile)))


def _surface_distances(prediction: Mask, truth: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of each predicted boundary pixel to the true boundary, and of each true one to the predicted.

    Where one boundary is empty the other's distances are infinite.
    """
    if prediction.shape != truth.shape or truth.ndim != 2:
        raise SkinlesionError(
            f"The prediction has shape {prediction.shape} and the truth {truth.shape}: "
            "give two masks (H, W) of the same size."
        )
    edges = [_boundary(prediction), _boundary(truth)]
    if not all(edge.any() for edge in edges):
        predicted, true = (np.full(edge.sum(), np.inf) for edge in edges)
        return predicted, true
    # Both boundaries lie in their joint box, so distances inside it are those of the whole image.
    rows, columns = (np.flatnonzero((edges[0] | edges[1]).any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    predicted, true = (edge[box] for edge in edges)
    return ndimage.distance_transform_edt(~true)[predicted], ndimage.distance_transform_edt(~predicted)[true]


def _boundary(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside
