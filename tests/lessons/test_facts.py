"""What one wrong input shows is reported only if the others show it too, and native code is never rewritten."""

import math

import torch

from skinlesion import lessons
from skinlesion.lessons.catalog import find
from skinlesion.lessons.compare import Difference
from skinlesion.lessons.diagnosis.variants import variants
from skinlesion.lessons.facts import holds, in_all
from skinlesion.lessons.source import self_contained


def _value(likely):
    return Difference("value", "", "", "", likely=likely)


def test_a_fact_of_one_input_among_many_is_chance():
    found = _value("It is 1/6 times what it should be.")
    assert holds(found, [found])
    assert holds(found, [found, _value("It is 1/20 times what it should be.")])
    assert not holds(found, [found, _value(""), _value("The sign is wrong.")])


def test_numbers_are_compared_over_all_inputs():
    right = [0.5, 2.0, 3.0, 7.0]
    assert "by another base" not in in_all([(x, x) for x in right], 1e-4, 1e-5)
    assert "1 / ln 2" in in_all([(x / math.log(2), torch.tensor(x)) for x in right], 1e-4, 1e-5)
    assert "2 times the expected result plus 3" in in_all([((1, 2 * x + 3), (1, x)) for x in right], 1e-4, 1e-5)
    assert "for every input" in in_all([(4.0, x) for x in right], 1e-4, 1e-5)
    assert in_all([("a", x) for x in right], 1e-4, 1e-5) == ""
    assert in_all([(torch.ones(2), torch.zeros(2))] * 3, 1e-4, 1e-5) == ""


def test_an_angle_in_degrees_is_not_called_a_sum():
    def cosine(progress, period, high, low):
        return low + (high - low) / 2 * (1 + math.cos(180 * progress / period))

    assert "sum instead of a mean" not in str(lessons.check("training.cosine", cosine))


def test_the_search_for_slips_changes_no_native_scan():
    exercise = find("ss2d.cross_selective_scan")
    source = self_contained(exercise.formula)
    assert "engine" not in source
    assert all("_check" not in text for text, _ in variants(source))
    case = exercise.cases(torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(exercise.formula(*case.args), exercise.solution(*case.args), rtol=1e-4, atol=1e-5)
