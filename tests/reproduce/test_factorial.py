"""Main effects, interactions and the exact test, against worked numbers."""

import numpy as np
import pytest
from scipy import stats

from skinlesion.reproduce.factorial import contrasts, effects, factorial_text, finding, slope_test

MODULES = ("SE", "CMN", "CRA")
# Table 4 of the paper in standard order: none, SE, CMN, SE + CMN, CRA, SE + CRA, CMN + CRA, all.
PAPER = [79.54, 80.44, 79.98, 81.31, 80.97, 80.13, 80.39, 81.48]


def by_name(groups, factors=MODULES):
    return {effect.name: effect for effect in effects(factors, groups)}


def test_a_made_up_truth_is_found_again():
    """The score is 70 + 2 A + 3 B - 1.5 A B: at the mean of B, A adds 1.25; B changes A's effect by -1.5."""
    found = by_name([[70.0], [72.0], [73.0], [73.5]], ("A", "B"))
    assert found["A"].estimate == pytest.approx(1.25)
    assert found["B"].estimate == pytest.approx(2.25)
    assert found["A x B"].estimate == pytest.approx(-1.5)
    assert np.isnan(found["A"].reach)
    assert np.isnan(found["A"].p)


def test_contrasts_are_orthogonal_and_compare_four_cells_with_four():
    weights = contrasts(MODULES)
    assert list(weights) == [
        *[("SE",), ("CMN",), ("CRA",), ("SE", "CMN"), ("SE", "CRA"), ("CMN", "CRA")],
        ("SE", "CMN", "CRA"),
    ]
    stacked = np.stack(list(weights.values()))
    assert np.allclose(stacked.sum(1), 0)
    gram = stacked @ stacked.T
    assert np.allclose(gram, np.diag(np.diag(gram)))
    assert weights["CMN",].tolist() == [-0.25, -0.25, 0.25, 0.25, -0.25, -0.25, 0.25, 0.25]


def test_an_interval_is_students():
    """Against the two-sample t test, which a factorial of one factor is, with unequal numbers of runs."""
    off, on = [70.0, 71.0, 70.4], [72.0, 72.6]
    (effect,) = effects(("A",), [off, on])
    known = stats.ttest_ind(on, off)
    low, high = known.confidence_interval(0.95)
    assert effect.p == pytest.approx(known.pvalue)
    assert (effect.estimate - effect.reach, effect.estimate + effect.reach) == pytest.approx((low, high))


def test_intervals_hold_what_they_promise():
    """No effect at all: 95% of the intervals of every effect hold zero."""
    rng = np.random.default_rng(0)
    missed = np.zeros(7)
    for _ in range(400):
        found = effects(MODULES, rng.normal(75, 0.7, (8, 3)).tolist())
        missed += [abs(effect.estimate) > effect.reach for effect in found]
    assert missed.min() >= 5  # 20 expected
    assert missed.max() <= 38


def test_the_papers_table():
    found = by_name([[value] for value in PAPER])
    assert found["SE"].estimate == pytest.approx((80.44 + 81.31 + 80.13 + 81.48 - 79.54 - 79.98 - 80.97 - 80.39) / 4)
    slope, p = slope_test(3, PAPER)
    assert slope == pytest.approx(np.polyfit([0, 1, 1, 2, 1, 2, 2, 3], PAPER, 1)[0])
    assert p == pytest.approx(0.022, abs=0.001)


def test_the_exact_test_counts_orders():
    assert slope_test(2, [0.0, 1.0, 1.0, 2.0])[1] == pytest.approx(2 / 24)  # the tied middle may change places
    assert slope_test(2, [2.0, 1.0, 1.0, 0.0])[1] == 1.0
    assert slope_test(2, [5.0, 5.0, 5.0, 5.0]) == (0.0, 1.0)


def effect(name, order, estimate, reach, paper=None):
    return {"name": name, "order": order, "estimate": estimate, "reach": reach, "p": 0.01, "corrected_p": 0.02} | {
        "paper": paper
    }


def test_the_finding_comes_first():
    values = {
        "effects": [effect("A", 1, 0.81, 0.55), effect("B", 1, 0.1, 0.55), effect("A x B", 2, -0.2, 1.1)],
        "error": {"deviation": 0.6, "freedom": 8},
        "runs": 12,
        "slope": None,
        "paper_slope": None,
    }
    assert finding(values) == (
        "Different from zero: A +0.81 ± 0.55 points. Main effects not distinguishable from zero: B (+0.10 ± "
        "0.55). Two-way interactions not distinguishable from zero: A x B (-0.20 ± 1.10)."
    )
    text = factorial_text(values)
    assert text.startswith("Different from zero: A")
    assert "| A | +0.81 | +0.26 to +1.36 | 0.0100 | 0.020 |" in text
    values["effects"] = [effect("A", 1, 0.81, None)]
    assert "Without a second run" in finding(values)
