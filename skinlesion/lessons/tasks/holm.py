"""Lesson 15, bonus: many claims, one error rate."""

import numpy as np
from numpy.typing import NDArray
from torch import Generator

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import uniform


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's corrected p-values, in the order of the given ones: (n,) -> (n,)."""
    order = np.argsort(p)
    scaled = (len(p) - np.arange(len(p))) * p[order]  # the smallest times n, the next times n - 1, ..
    corrected = np.empty_like(scaled)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected


def _p_values(generator: Generator) -> list[Case]:
    drawn = uniform(generator, 0, 0.2, 9).double().numpy()
    return [
        Case((np.array([0.04, 0.01, 0.03]),), "three claims, not sorted"),
        Case((np.array([0.020, 0.021, 0.9, 0.7]),), "two p-values close together, and two large ones"),
        Case((np.array([0.03]),), "a single claim"),
        Case((drawn,), "nine claims"),
    ]


def _corrected(p: NDArray[np.float64], *, mistake: str) -> NDArray[np.float64]:
    n, order = len(p), np.argsort(p)
    factors = n - np.arange(n)
    if mistake == "one less":
        factors = np.maximum(factors - 1, 1)
    if mistake == "largest first":
        factors = 1 + np.arange(n)
    scaled = factors * p[order]
    if mistake == "benjamini":
        scaled = np.minimum.accumulate((n / (1 + np.arange(n)) * p[order])[::-1])[::-1]
    elif mistake != "not monotone":
        scaled = np.maximum.accumulate(scaled)
    scaled = scaled if mistake == "above one" else np.minimum(scaled, 1.0)
    if mistake == "sorted":
        return scaled
    corrected = np.empty_like(scaled)
    corrected[order] = scaled
    return corrected


def _mistaken(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda p: _corrected(p, mistake=mistake), diagnosis)


HOLM = Exercise(
    name="critique.holm",
    lesson=15,
    title="Many claims, one error rate",
    statement=r"""
If you test 20 true null hypotheses at 5%, you expect one "significant" result by chance. **Holm's correction** keeps
the probability of *any* false alarm at or below 5%. Sort the $n$ p-values, multiply the smallest by $n$, the next by
$n - 1$,
and so on down to 1. A corrected p-value must not be smaller than the one before it in this order (if it is, use the one
before it), and none is larger than 1.

Return the corrected p-values, $(n,)$, in the order in which they came.
""",
    solution=holm,
    example="holm(np.array([0.04, 0.01, 0.03]))",
    difficulty=3,
    importance=3,
    minutes=10,
    bonus=True,
    hints=(
        "`order = np.argsort(p)` sorts; `corrected[order] = ...` puts results back.",
        "The factors are `n - np.arange(n)`, for the sorted values.",
        '"Not smaller than the one before" is `np.maximum.accumulate`; then `np.minimum(..., 1)`.',
    ),
    cases=_p_values,
    wrong=(
        Wrong(
            "Bonferroni",
            lambda p: np.minimum(len(p) * p, 1.0),
            "That is Bonferroni's correction: every p times n. Holm's factors decrease: n, n - 1, ..., 1.",
        ),
        _mistaken("not monotone", "not monotone", "A corrected p is smaller than the one before it in sorted order."),
        _mistaken("sorted", "sorted", "The values are right but sorted: return them in the order in which they came."),
        _mistaken("above one", "above one", "A p-value is a probability: cap it at 1."),
        _mistaken("one less", "one less", "The smallest is multiplied by n, not by n - 1."),
        _mistaken("largest first", "largest first", "The *smallest* p gets the largest factor, n."),
        _mistaken(
            "Benjamini-Hochberg",
            "benjamini",
            "That is Benjamini and Hochberg's correction. It controls the expected share of false alarms, not their"
            " probability.",
        ),
        Wrong("not corrected", lambda p: p.copy(), "These are the uncorrected p-values."),
    ),
    after="The results of this lesson are corrected in this way: skinlesion.reproduce.claims.holm.",
)
