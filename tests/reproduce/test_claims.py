"""The statistics behind a verdict: what they see, what they do not invent, and how often they are wrong."""

import math

import numpy as np
import pytest

from skinlesion.metrics import paired_permutation, ratios
from skinlesion.reproduce.claims import Scatter, compare, holm, mean_reach, scatter_of


def test_the_comparison_sees_a_difference_and_does_not_invent_one():
    rng = np.random.default_rng(0)

    def counts(shift):
        truth = rng.integers(200, 400, (3, 100))
        hit = np.clip(truth - rng.integers(20, 60, (3, 100)) + shift, 0, truth)
        wrong = rng.integers(10, 40, (3, 100))
        return np.stack([hit, wrong, truth - hit, 1000 - truth - wrong], axis=2)

    base = counts(0)
    better = base.copy()
    better[..., 0] += 10
    better[..., 2] -= 10
    quiet = Scatter(0.3, 20)
    assert compare(better, base, quiet).word == "reproduced"
    assert compare(base, better, quiet).word == "reversed at this scale"
    same = compare(base, base[::-1], quiet)
    assert same.word == "not distinguishable"
    assert same.low < 0 < same.high


def test_a_difference_within_the_scatter_of_the_seeds_is_none_of_the_method():
    """One run a side: the images alone call it a difference, the scatter of all cells takes that back."""
    truth = np.full(200, 300)
    worse = np.stack([truth - 40, truth * 0 + 20, truth * 0 + 40, truth * 0 + 700], axis=1)[None]
    better = worse + np.array([6, 0, -6, 0])
    alone = compare(better, worse, Scatter(float("nan"), 0))
    assert alone.word == "reproduced"
    assert np.isnan(alone.wide_low)
    known = compare(better, worse, Scatter(2.0, 10))
    assert compare(worse, worse, Scatter(float("nan"), 0)).word == "not distinguishable"  # both intervals are 0 to 0
    assert known.word == "not distinguishable"
    assert known.wide_low < 0 < known.low <= known.high < known.wide_high


def test_the_wider_interval_and_its_p_are_students():
    """All images alike, so the runs are all the luck there is: 2 and 3 runs, 5 degrees of freedom, t = 2.571."""
    counts = np.tile(np.array([70, 15, 15, 900]), (3, 50, 1))
    better = counts + np.array([2, 0, -2, 0])
    found = compare(better, counts[:2], Scatter(0.9, 5))
    error = 0.9 * (1 / 3 + 1 / 2) ** 0.5
    assert found.difference == pytest.approx(2.0)
    assert found.wide_high - found.difference == pytest.approx(2.5706 * error, rel=1e-4)
    assert found.difference - found.wide_low == pytest.approx(2.5706 * error, rel=1e-4)
    # The two-sided p of t = 2.434 with 5 degrees of freedom, by the closed form of Student's distribution.
    t = 2.0 / error
    angle = math.atan(t / 5**0.5)
    inside = 2 / math.pi * (angle + math.sin(angle) * (math.cos(angle) + 2 / 3 * math.cos(angle) ** 3))
    assert found.wide_p == pytest.approx(1 - inside, rel=1e-6)


def test_all_runs_count_also_where_one_side_has_more():
    counts = np.tile(np.array([70, 15, 15, 900]), (3, 50, 1))
    counts[2, :, 0] = 80  # a third run that is better
    few, many = counts[:2], counts
    assert compare(many, few, Scatter(0.5, 10)).difference == pytest.approx(100 * (70 / 100 + 80 / 110 - 2 * 0.7) / 3)
    assert compare(many, few, Scatter(0.5, 10)).seeds == 2


def test_the_interval_of_a_mean_has_both_kinds_of_luck():
    alike = np.tile(np.array([70, 15, 15, 900]), (4, 50, 1))
    # no luck of images: Student's t with 10 degrees of freedom, 2.228, times 0.5 / sqrt(4)
    assert mean_reach(alike, Scatter(0.5, 10)) == pytest.approx(2.228 * 0.25, rel=1e-3)
    uneven = alike.copy()
    uneven[:, ::2, 0] = 30
    assert mean_reach(uneven, Scatter(0.5, 10)) > 2 * mean_reach(alike, Scatter(0.5, 10))
    assert np.isnan(mean_reach(alike, Scatter(float("nan"), 0)))


def test_the_correction_is_holms():
    nan = float("nan")
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.02, nan, 0.9]) == pytest.approx([0.04, nan, 0.9], nan_ok=True)
    assert holm([]) == []


def test_p_and_interval_tell_the_same_story():
    rng = np.random.default_rng(3)
    for shift in (0, 1, 2, 3, 4, 6):
        a = np.stack(
            [rng.integers(60, 80, (2, 80)) + shift, *rng.integers(10, 20, (2, 2, 80)), np.full((2, 80), 900)], -1
        )
        b = np.stack([rng.integers(60, 80, (2, 80)), *rng.integers(10, 20, (2, 2, 80)), np.full((2, 80), 900)], -1)
        found = compare(a, b, Scatter(0.8, 12))
        assert (found.wide_p < 0.05) == (found.wide_low > 0 or found.wide_high < 0)


def test_the_scatter_is_pooled_around_each_systems_own_mean():
    assert scatter_of([[70.0, 72.0], [80.0, 82.0], [75.0], []]) == pytest.approx((2**0.5, 2))
    assert scatter_of([[70.0], [80.0]]).freedom == 0


def test_the_wider_interval_holds_what_it_promises():
    """Two systems that are equally good, three runs each, drawn again and again: 95% of the intervals hold zero."""
    rng = np.random.default_rng(1)
    deviation, missed = 1.0, 0
    for _ in range(200):
        scores = rng.normal(75, deviation, (2, 3))
        scatter = scatter_of(rng.normal(75, deviation, (10, 3)).tolist())
        # every image alike, so that all luck is the runs'
        tp = np.round(scores[..., None] * 100).astype(int) + np.zeros(4, int)
        counts = np.stack([tp, 10_000 - tp, tp * 0, tp * 0], axis=-1)
        found = compare(*counts, scatter)
        missed += found.wide_low > 0 or found.wide_high < 0
    assert 2 <= missed <= 20  # 10 expected; outside this range by luck in one of 300 worlds


def test_the_permutation_p_is_of_the_quantity_that_the_table_reports():
    """Forty small lesions favor a, one large lesion favors b: pooled IoU is equal, the mean of the images isn't."""
    small_a, small_b = [90, 5, 5, 900], [75, 5, 20, 900]
    large_a, large_b = [70_000, 15_000, 15_000, 0], [70_600, 15_000, 14_400, 0]
    a = np.array([[*[small_a] * 40, large_a]] * 2)
    b = np.array([[*[small_b] * 40, large_b]] * 2)
    found = compare(a, b, Scatter(0.5, 10))
    assert found.difference == 0
    assert found.p == 1
    assert paired_permutation(ratios(a)["iou"].mean(0), ratios(b)["iou"].mean(0)).p_value < 0.001
