import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import BinaryCalibrationError

from skinlesion.errors import SkinlesionError
from skinlesion.metrics import calibration_curve


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 20), st.integers(0, 10**6))
def test_ece_is_torchmetrics(pixels, bins, seed):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0, 0.999, pixels).astype(np.float32)
    t = rng.uniform(size=pixels) < p**2
    oracle = BinaryCalibrationError(n_bins=bins, norm="l1")(torch.from_numpy(p), torch.from_numpy(t))
    # Single precision may put a pixel at a limit into the next bin; no random pixel lies that near to one.
    assert calibration_curve(p, t, bins).ece == pytest.approx(oracle.item(), abs=1e-5)


def test_curve_by_hand():
    p = np.array([[0.0, 0.2, 0.25], [0.6, 0.9, 1.0]])
    t = np.array([[0, 1, 0], [1, 1, 1]], dtype=bool)
    curve = calibration_curve(p, t, bins=4)
    assert curve.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.pixels.tolist() == [2, 1, 1, 2]  # a limit belongs to the bin above it, and 1 to the last
    np.testing.assert_allclose(curve.confidence, [0.1, 0.25, 0.6, 0.95])
    np.testing.assert_allclose(curve.frequency, [0.5, 0, 1, 1])
    assert curve.ece == pytest.approx((2 * 0.4 + 0.25 + 0.4 + 2 * 0.05) / 6)


def test_a_calibrated_model_has_no_error_and_empty_bins_are_nan():
    p = np.repeat([0.25, 0.75], 1000)
    t = np.tile([1, 0, 0, 0], 500).astype(bool) ^ (p > 0.5)
    curve = calibration_curve(p, t, bins=10)
    assert curve.ece == pytest.approx(0)
    assert np.isnan(curve.frequency).sum() == np.isnan(curve.confidence).sum() == 8


def test_unusable_input_is_refused():
    with pytest.raises(SkinlesionError, match="sigmoid"):
        calibration_curve([1.2], [1])
    with pytest.raises(SkinlesionError, match="sigmoid"):
        calibration_curve([np.nan], [1])
    with pytest.raises(SkinlesionError, match=r"\(2,\) and \(1,\)"):
        calibration_curve([0.5, 0.5], [1])
    with pytest.raises(SkinlesionError, match=r"\(0,\)"):
        calibration_curve([], [])
