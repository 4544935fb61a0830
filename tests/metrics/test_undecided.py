"""The calibration of pixels that aren't near 0 or 1."""

import numpy as np
import pytest

from skinlesion.metrics import calibration_curve


def test_a_mean_over_all_pixels_hides_what_the_undecided_ones_show():
    """980 sure and right pixels, and 20 at 0.8 of which 5 are lesion."""
    probability = np.r_[np.full(980, 0.001), np.full(20, 0.8)]
    truth = np.r_[np.zeros(980), np.ones(5), np.zeros(15)]
    curve = calibration_curve(probability, truth)
    found = curve.undecided()
    assert curve.ece < 0.02
    assert found.share == pytest.approx(0.02)
    assert found.error == pytest.approx(0.55)
    assert (found.predicted, found.observed) == pytest.approx((0.8, 0.25))


def test_there_may_be_no_undecided_pixel():
    assert calibration_curve([0.0, 1.0], [0, 1]).undecided() is None
