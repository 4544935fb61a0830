"""A set under examination: the numbers are those of `skinlesion.metrics`, image by image and together."""

import numpy as np
import pytest

from skinlesion import SkinlesionError
from skinlesion.explain.image_scores import examine, pooled_calibration
from skinlesion.metrics import average_surface_distance, boundary_f1, calibration_curve, ratios


def disk(row, radius):
    y, x = np.mgrid[:256, :256]
    return np.hypot(y - row, x - 128) < radius


@pytest.fixture
def cases():
    """A disk found too high, and a small one found too large; probabilities that fall off at the border."""
    found = []
    for id, (truth, seen) in {"high": (disk(130, 60), disk(122, 60)), "large": (disk(128, 20), disk(128, 30))}.items():
        probability = np.where(seen, 0.9, 0.2).astype(np.float32)
        found.append((examine(id, probability, truth), probability, truth))
    return found


def test_scores_of_one_image(cases):
    for case, probability, truth in cases:
        mask = probability >= 0.5
        scores = case.scores()
        assert scores["iou"] == pytest.approx((mask & truth).sum() / (mask | truth).sum())
        assert scores["boundary_f1"] == boundary_f1(mask, truth, 2.0)
        assert scores["surface_distance"] == average_surface_distance(mask, truth)
        assert np.array_equal(case.counts, case.all_counts.at(0.5))
        assert case.overconfidence == pytest.approx(case.confidence - float(ratios(case.counts)["dsc"]))
    high, large = (case for case, _, _ in cases)
    assert large.too_much
    assert not large.too_little
    assert high.counts[1] == pytest.approx(high.counts[2], abs=40)


def test_equal_errors_are_neither_too_much_nor_too_little():
    truth = np.zeros((8, 8), dtype=bool)
    truth[2:6, 2:6] = True
    shifted = np.roll(truth, 1, axis=1)
    for mask, expected in (
        (shifted, (False, False)),
        (truth & shifted, (False, True)),
        (truth | shifted, (True, False)),
    ):
        case = examine("a", mask.astype(np.float32), truth)
        assert (case.too_much, case.too_little) == expected


def test_calibration_of_the_set_is_that_of_all_its_pixels(cases):
    expected = calibration_curve([p for _, p, _ in cases], [t for _, _, t in cases])
    found = pooled_calibration([case for case, _, _ in cases])
    assert found.ece == pytest.approx(expected.ece)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_allclose(found.frequency, expected.frequency)
    np.testing.assert_allclose(found.confidence, expected.confidence)


def test_an_empty_prediction_is_infinitely_far():
    case = examine("none", np.full((256, 256), 0.1, dtype=np.float32), disk(128, 40))
    assert case.surface_distance == float("inf")
    assert case.scores()["iou"] == case.confidence == 0


def test_nothing_to_examine():
    with pytest.raises(SkinlesionError, match="set is empty"):
        pooled_calibration([])
    with pytest.raises(SkinlesionError, match="shape"):
        examine("a", np.zeros((4, 4), dtype=np.float32), np.zeros((5, 5), dtype=bool))
