"""Mask cleanup: keep one region and fill its holes."""

import numpy as np
from scipy import ndimage


def clean_mask(mask: np.ndarray) -> np.ndarray:
    """The largest connected region of a mask, with its holes filled.

    A dermoscopy image usually shows one lesion, and annotators outline it, so smaller regions and holes are almost
    always mistakes. Pixels that share an edge are connected. Among regions of equal size, the first in reading order is
    kept.

    Args:
        mask: bool (H, W).

    Returns:
        bool (H, W); empty if `mask` is.
    """
    regions, number = ndimage.label(mask)
    if number == 0:
        return np.zeros_like(mask, dtype=bool)
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    return ndimage.binary_fill_holes(regions == largest)
