"""All thresholds at once give what each of them gives alone."""

import numpy as np
import pytest

from skinlesion.errors import SkinlesionError
from skinlesion.explain.thresholds import THRESHOLDS, threshold_counts
from skinlesion.metrics import ratios


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_each_threshold(seed):
    rng = np.random.default_rng(seed)
    probability = rng.random((13, 29), dtype=np.float32)
    probability.flat[:99] = THRESHOLDS  # a tie counts as lesion
    probability.flat[99:102] = (0, 1, 0.5)
    truth = rng.random((13, 29)) < 0.3
    found = threshold_counts(probability, truth)
    for k in range(1, 100):
        mask = probability >= k / 100
        expected = [(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum(), (~mask & ~truth).sum()]
        assert found.at(k / 100).tolist() == expected
    assert np.array_equal(found.scores()["dsc"][49], ratios(found.at(0.5))["dsc"])


def test_counts_add_up_over_images():
    rng = np.random.default_rng(0)
    images = rng.random((2, 8, 8), dtype=np.float32)
    truths = rng.random((2, 8, 8)) < 0.5
    parts = [threshold_counts(p, t) for p, t in zip(images, truths, strict=True)]
    whole = threshold_counts(images.reshape(16, 8), truths.reshape(16, 8))
    assert np.array_equal((parts[0] + parts[1]).counts, whole.counts)


@pytest.mark.parametrize("threshold", [0, 1, 0.005, 0.333, -1])
def test_another_threshold_is_refused(threshold):
    counts = threshold_counts(np.zeros((2, 2), np.float32), np.zeros((2, 2), bool))
    with pytest.raises(SkinlesionError, match="threshold"):
        counts.at(threshold)


def test_sizes_must_agree():
    with pytest.raises(SkinlesionError, match="shape"):
        threshold_counts(np.zeros((2, 2), np.float32), np.zeros((2, 3), bool))
