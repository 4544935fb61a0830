import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skinlesion.errors import SkinlesionError
from skinlesion.metrics import bootstrap_intervals, paired_bootstrap, paired_permutation, pooled_permutation, ratios


def random_counts(images=60, seed=0, skill=0.8, pixels=4096):
    """Counts of images with lesions of many sizes; the same truth for every skill."""
    truth = np.random.default_rng(seed)
    lesion = (pixels * truth.uniform(0.02, 0.6, images)).astype(int)
    rng = np.random.default_rng([seed, int(1000 * skill)])
    tp = rng.binomial(lesion, skill)
    fp = rng.binomial(pixels - lesion, (1 - skill) / 4)
    return np.stack([tp, fp, lesion - tp, pixels - lesion - fp], 1)


def test_intervals_are_those_of_the_bootstrap_spelled_out():
    """The matrix product must equal drawing rows; both are random, so quantiles agree within their own noise.

    A 2.5% quantile of 4000 draws has a standard error near 0.04 standard deviations; the bar is 0.2.
    """
    counts = random_counts(40)
    result = bootstrap_intervals(counts, n=4000, seed=1)
    rng = np.random.default_rng(2)
    draws = [counts[rng.integers(0, 40, 40)] for _ in range(4000)]
    for kind, scores in (
        ("pooled", [float(ratios(d.sum(0))["iou"]) for d in draws]),
        ("per_image", [float(ratios(d)["iou"].mean()) for d in draws]),
    ):
        np.testing.assert_allclose(
            result[kind]["iou"], np.quantile(scores, [0.025, 0.975]), atol=0.2 * np.std(scores), rtol=0
        )


def test_mean_interval_has_the_width_that_theory_gives():
    counts = random_counts(200)
    values = ratios(counts)["accuracy"]
    low, high = bootstrap_intervals(counts)["per_image"]["accuracy"]
    normal = stats.norm.interval(0.95, values.mean(), values.std() / np.sqrt(200))
    np.testing.assert_allclose([low, high], normal, atol=0.1 * (normal[1] - normal[0]), rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(0, 1000), st.floats(0.5, 0.99))
def test_intervals_are_ordered_fractions_and_repeatable(images, seed, level):
    counts = random_counts(images, seed)
    result = bootstrap_intervals(counts, n=50, seed=seed, level=level)
    assert result == bootstrap_intervals(counts, n=50, seed=seed, level=level)
    assert (result["level"], result["resamples"], result["seed"]) == (level, 50, seed)
    for low, high in [*result["pooled"].values(), *result["per_image"].values()]:
        assert -1e-12 <= low <= high <= 1 + 1e-12


def test_a_wider_level_holds_a_narrower_one_and_one_image_has_no_width():
    counts = random_counts()
    narrow, wide = (bootstrap_intervals(counts, level=level)["pooled"]["iou"] for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    alone = bootstrap_intervals(counts[:1])
    assert alone["pooled"]["iou"] == pytest.approx([float(ratios(counts[0])["iou"])] * 2)


def test_boundary_scores_get_an_interval_of_their_mean():
    boundary = np.linspace(0.2, 1, 60)
    low, high = bootstrap_intervals(random_counts(), boundary)["per_image"]["boundary_f1"]
    assert 0.5 < low < 0.6 < high < 0.7


def test_paired_bootstrap_sees_what_two_separate_intervals_hide():
    worse, better = random_counts(skill=0.80), random_counts(skill=0.81)
    difference = paired_bootstrap(better, worse)
    pooled = [float(ratios(c.sum(0))["iou"]) for c in (better, worse)]
    assert difference.value == pytest.approx(pooled[0] - pooled[1])
    assert 0 < difference.low < difference.value < difference.high
    separate = [bootstrap_intervals(c)["pooled"]["iou"] for c in (better, worse)]
    assert separate[0][0] < separate[1][1]  # these overlap
    swapped = paired_bootstrap(worse, better)
    assert swapped == pytest.approx((-difference.value, -difference.high, -difference.low))
    assert paired_bootstrap(worse, worse) == (0, 0, 0)


def test_permutation_p_value_is_scipys():
    """Standard error of a p-value near 0.1 from 10,000 exchanges: 0.003; the bar is five of them for the difference."""
    rng = np.random.default_rng(3)
    a = rng.normal(0.8, 0.1, 30)
    b = a - rng.normal(0.012, 0.04, 30)
    ours = paired_permutation(a, b)
    scipys = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        n_resamples=10_000,
        vectorized=True,
        rng=np.random.default_rng(4),
    )
    assert ours.value == pytest.approx(scipys.statistic)
    assert ours.p_value == pytest.approx(scipys.pvalue, abs=5 * 0.003 * 2**0.5)
    assert 0.02 < ours.p_value < 0.5


def test_permutation_at_its_limits():
    assert paired_permutation([0.5, 0.6], [0.5, 0.6]) == (0, 1)
    clear = paired_permutation(np.linspace(0.8, 0.9, 50), np.linspace(0.7, 0.8, 50), n=999)
    assert clear.value == pytest.approx(0.1)
    assert clear.p_value == 1 / 1000
    assert paired_permutation([0.9], [0.8]).p_value == 1  # one image proves nothing


def test_unpaired_or_missing_images_are_refused():
    counts = random_counts()
    with pytest.raises(SkinlesionError, match="same images in the same order"):
        paired_bootstrap(counts, counts[::-1])
    with pytest.raises(SkinlesionError, match="same images in the same order"):
        paired_bootstrap(counts, counts[:-1])
    with pytest.raises(SkinlesionError, match=r"'f1'.*iou, dsc"):
        paired_bootstrap(counts, counts, "f1")
    with pytest.raises(SkinlesionError, match="at least one image"):
        bootstrap_intervals(np.zeros((0, 4)))
    with pytest.raises(SkinlesionError, match=r"\(2,\) and \(3,\)"):
        paired_permutation([1, 2], [1, 2, 3])


def test_the_pooled_permutation_counts_exchanges():
    """Against all 2^10 exchanges of ten images."""
    rng = np.random.default_rng(2)
    truth = rng.integers(200, 400, 10)
    a, b = (
        np.stack([truth - missed, wrong, missed, 1000 - truth - wrong], axis=1)
        for missed, wrong in ((rng.integers(0, 60, 10), rng.integers(0, 40, 10)) for _ in range(2))
    )
    observed = ratios(a.sum(0))["iou"] - ratios(b.sum(0))["iou"]
    extreme = 0
    for number in range(2**10):
        exchanged = np.array([number >> i & 1 for i in range(10)], bool)[:, None]
        one, other = np.where(exchanged, b, a), np.where(exchanged, a, b)
        extreme += abs(ratios(one.sum(0))["iou"] - ratios(other.sum(0))["iou"]) >= abs(observed) - 1e-12
    found = pooled_permutation(a, b, n=20_000)
    assert found.value == pytest.approx(observed)
    assert found.p_value == pytest.approx(extreme / 2**10, abs=0.02)
    assert pooled_permutation(a, a) == (0, 1)
    with pytest.raises(SkinlesionError, match="of the same images for both"):
        pooled_permutation(a, b[:-1])
    with pytest.raises(SkinlesionError, match="score='kappa' is not known"):
        pooled_permutation(a, b, "kappa")
