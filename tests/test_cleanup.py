"""Cleaned masks: one region, no holes, nothing added but the holes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from skinlesion.cleanup import clean_mask

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


@settings(deadline=None)
@given(MASKS)
def test_one_region_without_holes(mask: np.ndarray) -> None:
    cleaned = clean_mask(mask)
    assert cleaned.shape == mask.shape
    assert ndimage.label(cleaned)[1] == min(1, int(mask.sum()))
    assert np.array_equal(ndimage.binary_fill_holes(cleaned), cleaned)
    assert np.array_equal(clean_mask(cleaned), cleaned)


@settings(deadline=None)
@given(MASKS)
def test_the_region_that_stays_is_a_largest_one(mask: np.ndarray) -> None:
    regions, number = ndimage.label(mask)
    sizes = [int((regions == each).sum()) for each in range(1, number + 1)]
    kept = clean_mask(mask) & mask
    if sizes:
        first = sizes.index(max(sizes)) + 1
        assert kept[regions == first].all()


@given(st.integers(0, 7), st.integers(0, 7))
def test_touching_corners_do_not_connect_and_the_frame_closes_no_hole(row: int, column: int) -> None:
    mask = np.zeros((9, 9), bool)
    mask[row, column] = mask[row + 1, column + 1] = True
    assert clean_mask(mask).sum() == 1
    bay = np.ones((9, 9), bool)
    bay[0, column] = False  # open towards the frame: background, not a hole
    assert not clean_mask(bay)[0, column]


def test_nothing_stays_nothing() -> None:
    assert not clean_mask(np.zeros((3, 4), bool)).any()
