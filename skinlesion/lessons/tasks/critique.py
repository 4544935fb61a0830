"""Lesson 15: reading a paper critically."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Generator

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.holm import HOLM
from skinlesion.lessons.tasks.inputs import normal, uniform

# --- two numbers that must fit ---------------------------------------------------------------------------------------


def dsc_range(iou: float) -> tuple[float, float]:
    """The printed DSC values that a printed IoU allows, both in percent with two decimals.

    Args:
        iou: as printed.

    Returns:
        Least and largest printed DSC, if both come from one confusion matrix.
    """

    def dsc(value: float) -> float:
        return 200 * value / (100 + value)

    return dsc(iou - 0.005) - 0.005, dsc(iou + 0.005) + 0.005


def _range(iou: float, *, mistake: str) -> tuple[float, float]:
    def dsc(value: float) -> float:
        return 200 * value / (100 + value)

    if mistake == "dsc only":
        return dsc(iou) - 0.005, dsc(iou) + 0.005
    if mistake == "iou only":
        return dsc(iou - 0.005), dsc(iou + 0.005)
    if mistake == "full step":
        return dsc(iou - 0.01) - 0.01, dsc(iou + 0.01) + 0.01
    if mistake == "percent":
        return 2 * (iou - 0.005) / (1 + iou - 0.005) - 0.005, 2 * (iou + 0.005) / (1 + iou + 0.005) + 0.005
    if mistake == "inverse":
        return tuple(100 * v / (200 - v) + e for v, e in ((iou - 0.005, -0.005), (iou + 0.005, 0.005)))  # type: ignore[return-value]
    return dsc(iou + 0.005) + 0.005, dsc(iou - 0.005) - 0.005


def _wrong_range(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda iou: _range(iou, mistake=mistake), diagnosis)


DSC_RANGE = Exercise(
    name="critique.dsc_range",
    lesson=15,
    title="Are these two numbers consistent?",
    statement=r"""
From one confusion matrix $\mathrm{DSC} = 2\,\mathrm{IoU}/(1 + \mathrm{IoU})$ (lesson 2). But printed numbers are
**rounded**, and an audit must allow for that. A printed IoU of 81.48 stands for anything from 81.475 to
81.485; a printed DSC stands for its value $\pm 0.005$.

Given a printed `iou` in percent, return the smallest and the largest DSC in percent that could be printed with it:
`(low, high)`.
""",
    solution=dsc_range,
    example="dsc_range(50.0)",
    difficulty=2,
    importance=4,
    minutes=8,
    hints=(
        "DSC grows with IoU: take the two ends of the interval for the IoU.",
        "In percent: `200 * v / (100 + v)`. Then DSC's own rounding widens the range by 0.005 on each side.",
    ),
    cases=lambda generator: [
        Case((round(float(uniform(generator, 70, 90, 1)), 2),), "an IoU from a table"),
        Case((50.0,), "an IoU of 50"),
        Case((12.34,), "a low IoU"),
    ],
    wrong=(
        Wrong(
            "0.05",
            lambda iou: tuple(200 * (iou + s) / (100 + iou + s) + s for s in (-0.05, 0.05)),
            "With two decimals printed, a number is off by at most 0.005, not 0.05.",
        ),
        _wrong_range(
            "only DSC rounded", "dsc only", "The IoU was rounded too: start from the two ends of its interval."
        ),
        _wrong_range("only IoU rounded", "iou only", "The DSC was rounded too: widen the range by 0.005 on each side."),
        _wrong_range("a whole step", "full step", "Rounding moves a number by half a step, 0.005, not by 0.01."),
        _wrong_range(
            "percent as fractions", "percent", "The formula with the 1 is for fractions; these are percentages."
        ),
        _wrong_range("the inverse", "inverse", "That is IoU from DSC. DSC is the larger of the two."),
        _wrong_range("ends swapped", "swapped", "The order is (low, high)."),
    ),
    rtol=0,
    atol=1e-6,
)

# --- the text and its table ------------------------------------------------------------------------------------------

CMN_GAIN = Exercise(
    name="critique.cmn_gain",
    lesson=15,
    title="The text and its table",
    statement=r"""
Section 4.4.1 says: "the Channel Mixing Network (CMN) enhances the mIoU and Dice coefficients on the ISIC2017 dataset
by 1.77% and 1.09% respectively". Here is Table 4. By how many points of IoU does CMN **alone** improve on the first
row?

| SE | CMN | CRA | IoU | DSC |
|---|---|---|---|---|
| | | | 79.54 | 88.60 |
| x | | | 80.44 | 89.16 |
| | x | | 79.98 | 88.88 |
| | | x | 80.97 | 89.45 |
| x | x | | 81.31 | 89.69 |
| x | | x | 80.13 | 88.97 |
| | x | x | 80.39 | 89.13 |
| x | x | x | 81.48 | 89.79 |
""",
    solution=0.44,
    example="For SE alone the table gives $80.44 - 79.54 = 0.90$ points, as the text says.",
    difficulty=1,
    importance=2,
    minutes=3,
    hints=("Find the row with CMN and nothing else.", "Subtract the IoU of the first row from its IoU."),
    wrong=(
        Wrong("the text", 1.77, "That is what the text says. The table has it for SE + CMN: 81.31 - 79.54."),
        Wrong("the text's DSC", 1.09, "That is the text's DSC. The table has it for SE + CMN."),
        Wrong("DSC", 0.28, "That is the gain in DSC. Give the gain in IoU."),
        Wrong("on top of SE", 0.87, "That is what CMN adds to SE: 81.31 - 80.44. Give its gain alone."),
        Wrong("the whole", 1.94, "That is all three modules together."),
        Wrong("on top of the others", 1.35, "That is what CMN adds to SE + CRA: 81.48 - 80.13. Give its gain alone."),
    ),
    rtol=0,
    atol=0.004,
    after="The text credits one module with the gain of two. CMN alone gains a quarter of that.",
)

# --- the luck of the test images -------------------------------------------------------------------------------------


def bootstrap_pooled(counts: NDArray[np.int64], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pooled IoU of each resample of the images.

    Args:
        counts: (images, 4), TP, FP, FN, TN.
        draws: (resamples, images), which images each resample holds, with repetitions.

    Returns:
        (resamples,).
    """
    tp, fp, fn, _ = np.moveaxis(counts[draws].sum(axis=1), -1, 0)
    return tp / (tp + fp + fn)


def _bootstrap(counts: NDArray[np.int64], draws: NDArray[np.int64], *, mistake: str) -> NDArray[np.float64]:
    drawn = counts[draws].astype(float)  # (resamples, images, 4)
    tp, fp, fn, tn = np.moveaxis(drawn.sum(1), -1, 0)
    if mistake == "mean":
        each = drawn[..., 0] / drawn[..., :3].sum(-1)
        return each.mean(1)
    if mistake == "dsc":
        return 2 * tp / (2 * tp + fp + fn)
    if mistake == "accuracy":
        return (tp + tn) / (tp + fp + fn + tn)
    if mistake == "no repeats":
        sums = np.stack([counts[np.unique(draw)].sum(0) for draw in draws])
        return sums[:, 0] / sums[:, :3].sum(1)
    if mistake == "all":
        return tp / (tp + fp + fn + tn)
    whole = counts.sum(0)
    return np.full(len(draws), whole[0] / whole[:3].sum())


def _wrong_bootstrap(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda counts, draws: _bootstrap(counts, draws, mistake=mistake), diagnosis)


def _bootstrap_cases(generator: Generator) -> list[Case]:
    cases = []
    for images, resamples in ((4, 6), (7, 3), (30, 50)):
        counts = uniform(generator, 1, 60, images, 4).numpy().astype(np.int64)
        draws = uniform(generator, 0, images, resamples, images).numpy().astype(np.int64)
        cases.append(Case((counts, draws), f"{images} images, {resamples} resamples"))
    return cases


BOOTSTRAP = Exercise(
    name="critique.bootstrap_pooled",
    lesson=15,
    title="Chance in the test images",
    statement=r"""
The test images are a sample of all lesions that might have been photographed. How much would the score vary with
another sample? The bootstrap imitates it: draw the same number of images **from the test images, with replacement**,
and score them.

`counts` is an integer array $(\text{images}, 4)$ of TP, FP, FN, TN. Each row of `draws` $(\text{resamples},
\text{images})$ lists the images of one resample. Return the **pooled** IoU of each resample, $(\text{resamples})$.
An image that is drawn twice counts twice.
""",
    solution=bootstrap_pooled,
    example="""
counts = np.array([[8, 1, 1, 0], [1, 3, 0, 6]])
bootstrap_pooled(counts, np.array([[0, 1], [0, 0], [1, 1]]))
""",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "`counts[draws]` has the counts of every drawn image. What is its shape?",
        "Sum over the images (axis 1) first, then take the ratio: that is what pooled means.",
    ),
    cases=_bootstrap_cases,
    wrong=(
        _wrong_bootstrap("mean over images", "mean", "That is the mean of the images' IoUs. Pool the pixels first."),
        _wrong_bootstrap("DSC", "dsc", "That is the DSC."),
        _wrong_bootstrap("accuracy", "accuracy", "That is the accuracy: TN does not belong in an IoU."),
        _wrong_bootstrap("without repetitions", "no repeats", "An image that is drawn twice must count twice."),
        _wrong_bootstrap("TN in the union", "all", "Your union includes TN. Skin predicted as skin isn't part of it."),
        _wrong_bootstrap("not resampled", "whole", "Every resample gives the same score: use `draws`."),
    ),
)

# --- one pair of runs, tested ----------------------------------------------------------------------------------------


def permutation_p(a: NDArray[np.float64], b: NDArray[np.float64], signs: NDArray[np.int64]) -> float:
    """Two-sided p-value of a paired permutation test.

    Args:
        a: (images,), one run's score of each image.
        b: (images,), another run's, images in the same order.
        signs: (arrangements, images), 1 or -1.

    Returns:
        In (0, 1].
    """
    difference = a - b
    arranged = np.abs((signs * difference).mean(axis=1))
    return float(((arranged >= abs(difference.mean())).sum() + 1) / (len(signs) + 1))


def _p(a: NDArray[np.float64], b: NDArray[np.float64], signs: NDArray[np.int64], *, mistake: str) -> float:
    difference = a - b
    arranged, observed = (signs * difference).mean(axis=1), difference.mean()
    if mistake == "strict":
        return float(((np.abs(arranged) > abs(observed)).sum() + 1) / (len(signs) + 1))
    if mistake == "strict, never one":
        return float((np.abs(arranged) > abs(observed)).mean())
    if mistake == "never one":
        return float((np.abs(arranged) >= abs(observed)).mean())
    if mistake == "one-sided":
        return float(((arranged >= observed).sum() + 1) / (len(signs) + 1))
    if mistake == "other tail":
        return float(((np.abs(arranged) < abs(observed)).sum() + 1) / (len(signs) + 1))
    if mistake == "signs of the sum":
        arranged = (signs * (a + b)).mean(axis=1)
    if mistake == "absolute first":
        observed = np.abs(difference).mean()
    if mistake == "whole run":
        arranged = signs[:, 0] * observed
    return float(((np.abs(arranged) >= abs(observed)).sum() + 1) / (len(signs) + 1))


def _wrong_p(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda a, b, signs: _p(a, b, signs, mistake=mistake), diagnosis)


def _p_cases(generator: Generator) -> list[Case]:
    cases = []
    for images, shift in ((9, -0.3), (12, 0.35), (6, 0.1)):
        # Multiples of 1/64: sums are exact in any order, so that ties are ties whatever way the mean is taken.
        a, b = ((normal(generator, images).double().numpy() * 64).round() / 64 for _ in range(2))
        b = a - (64 * shift + 38.4 * b).round() / 64
        signs = 2 * (normal(generator, 199, images).numpy() > 0).astype(np.int64) - 1
        cases.append(Case((a, b, signs), f"{images} images"))
    return cases


PERMUTATION = Exercise(
    name="critique.permutation_p",
    lesson=15,
    title="Two runs on the same images",
    statement=r"""
If two runs were equally good, then which of the two scored better on an image would be a matter of chance: the
difference $a_i - b_i$ could just as well have the opposite sign. So draw the signs at random: each row of `signs`
$(\text{arrangements}, \text{images})$ has a 1 or -1 for each image. The p-value is the fraction of all arrangements
whose
mean difference is **at least as far from zero** as the observed one, and the observed one counts as one of them:

$$p = \frac{1 + \#\{\,|\overline{s\,(a - b)}| \ge |\overline{a - b}|\,\}}{1 + \text{arrangements}}$$
""",
    solution=permutation_p,
    example="""
a, b = (np.array([3.0, 2.0]), np.array([1.0, 1.0]))
permutation_p(a, b, np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]))
""",
    difficulty=2,
    importance=4,
    minutes=10,
    hints=(
        "`signs * (a - b)` has one row per arrangement. Take the mean over the images.",
        "Compare absolute values, count, and add 1 to numerator and denominator.",
    ),
    cases=_p_cases,
    wrong=(
        Wrong(
            "a t test",
            lambda a, b, signs: float(stats.ttest_rel(a, b).pvalue),
            "This is a paired t test, which assumes normal differences. Count the arrangements of `signs`.",
        ),
        _wrong_p(
            "further, not as far",
            "strict",
            "Use >=, not >: an arrangement with the same mean counts too.",
        ),
        _wrong_p(
            "further, and without the observed",
            "strict, never one",
            "Count what is *at least* as far from zero, and the observed one too: add 1 to numerator and denominator.",
        ),
        _wrong_p(
            "without the observed",
            "never one",
            "The observed one is an arrangement too: add 1 to numerator and denominator.",
        ),
        _wrong_p(
            "one-sided", "one-sided", "Your test is one-sided: to test for a difference of either sign, use both tails."
        ),
        _wrong_p("the other tail", "other tail", "You count the arrangements that are *less* extreme."),
        _wrong_p("signs of the sum", "signs of the sum", "The signs belong to the differences a - b, not to a + b."),
        _wrong_p(
            "absolute differences",
            "absolute first",
            "You take absolute values before the mean: almost no arrangement can reach that. Take the mean first.",
        ),
        _wrong_p("one coin for all", "whole run", "You flip one sign for the whole run. Each image has its own."),
    ),
    atol=1e-6,
)

# --- the luck of the seed --------------------------------------------------------------------------------------------


def runs_needed(difference: float, deviation: float) -> int:
    """The runs of each system that are needed to detect a difference with a power of 80%.

    Args:
        difference: that is really there, in points.
        deviation: standard deviation of runs that differ in their seed only, in points.

    Returns:
        n for each system, for a two-sided test at 5% (normal approximation).
    """
    return math.ceil(2 * ((1.96 + 0.84) * deviation / difference) ** 2)


RUNS = Exercise(
    name="critique.runs_needed",
    lesson=15,
    title="How many runs?",
    statement=r"""
Runs of one system that differ only in the seed have standard deviation $s$ (points). The mean of $n$ runs
has standard error $s/\sqrt n$; the *difference* of two such means has $\sqrt{2/n}\,s$. A test at 5% calls a
difference significant when it is 1.96 standard errors from zero. To reach that with probability 80%, the true
difference $d$ must be
$1.96 + 0.84$ standard errors:

$$d = (1.96 + 0.84)\,\sqrt{\tfrac2n}\,s$$

Solve for $n$, the runs of **each** system, and round up. Use exactly these constants.
""",
    solution=runs_needed,
    example="runs_needed(1.0, 1.0)",
    difficulty=2,
    importance=4,
    minutes=6,
    bonus=True,
    hints=("Square both sides.", "n = 2 (2.8 s / d)^2; `math.ceil` rounds up."),
    cases=lambda _: [
        Case((0.5, 0.5), "a difference as large as the standard deviation"),
        Case((0.17, 0.4), "a small difference"),
        Case((1.94, 0.9), "a large one"),
        Case((0.3, 0.77), "a standard deviation of 0.77"),
    ],
    wrong=(
        Wrong(
            "only the constants squared",
            lambda difference, deviation: math.ceil(2 * 2.8**2 * deviation / difference),
            "Only 2.8 is squared. s / d is squared too: for half the difference you need four times as many runs.",
        ),
        Wrong(
            "to the nearest",
            lambda difference, deviation: round(2 * (2.8 * deviation / difference) ** 2),
            "You round to the nearest integer. Round up: with fewer runs the power is below 80%.",
        ),
        Wrong(
            "not rounded",
            lambda difference, deviation: 2 * (2.8 * deviation / difference) ** 2,
            "You don't round: the number of runs is an integer. Round up.",
        ),
        Wrong(
            "one system",
            lambda difference, deviation: math.ceil((2.8 * deviation / difference) ** 2),
            "The factor 2 is missing: both systems vary.",
        ),
        Wrong(
            "not squared",
            lambda difference, deviation: math.ceil(2 * 2.8 * deviation / difference),
            "You don't square 2.8 s / d: for half the difference you need four times as many runs, not twice as many.",
        ),
        Wrong(
            "power forgotten",
            lambda difference, deviation: math.ceil(2 * (1.96 * deviation / difference) ** 2),
            "With 1.96 alone, the test finds the difference only half of the time. Add 0.84.",
        ),
        Wrong(
            "rounded down",
            lambda difference, deviation: math.floor(2 * (2.8 * deviation / difference) ** 2),
            "You round down. Round up: with fewer runs the power is below 80%.",
        ),
        Wrong(
            "upside down",
            lambda difference, deviation: math.ceil(2 * (2.8 * difference / deviation) ** 2),
            "Your ratio is upside down: a larger standard deviation needs more runs, a larger difference fewer.",
        ),
        Wrong(
            "both systems together",
            lambda difference, deviation: 2 * math.ceil(2 * (2.8 * deviation / difference) ** 2),
            "That is the number for both systems together; n is for each.",
        ),
    ),
    after="The normal approximation flatters small n: with three runs a t test needs a good deal more.",
)

EXERCISES = (DSC_RANGE, CMN_GAIN, BOOTSTRAP, PERMUTATION, RUNS, HOLM)
