"""The uncertainty of scores due to the choice of test images, and whether two models really differ.

Images are resampled, not pixels, which are far from independent within an image. These intervals don't cover the
variation between training runs; only several seeds show that.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinlesion.errors import SkinlesionError
from skinlesion.metrics.counts import ratios, thresholded_jaccard


class Difference(NamedTuple):
    """A difference ``a - b`` with its bootstrap interval."""

    value: float
    low: float
    high: float


class PermutationTest(NamedTuple):
    """A mean difference ``a - b`` with its two-sided p-value."""

    value: float
    p_value: float


def bootstrap_intervals(
    per_image_counts: ArrayLike,
    boundary_f1: ArrayLike | None = None,
    *,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict:
    """Percentile bootstrap intervals of the pooled scores and of the per-image means.

    Args:
        per_image_counts: ``(images, 4)`` pixels ``(TP, FP, FN, TN)``.
        boundary_f1: ``(images,)`` boundary scores, for the interval of their mean.
        n: Number of resamples of the images, with replacement.
        seed: Seed of the resamples.
        level: Coverage, between 0 and 1.

    Returns:
        ``{"level", "resamples", "seed", "pooled": {score: [low, high]}, "per_image": {score: [low, high]}}``.

    Raises:
        SkinlesionError: No image.
    """
    counts = _checked_counts(per_image_counts)
    values = ratios(counts) | {"thresholded_jaccard": thresholded_jaccard(counts)}
    if boundary_f1 is not None:
        values["boundary_f1"] = np.asarray(boundary_f1, float)
    weights = _resamples(len(counts), n, seed)

    def interval(scores: NDArray[np.float64]) -> list[float]:
        return list(_interval(scores, level))

    return {
        "level": level,
        "resamples": n,
        "seed": seed,
        "pooled": {name: interval(scores) for name, scores in ratios(weights @ counts).items()},
        "per_image": {name: interval(weights @ each / len(counts)) for name, each in values.items()},
    }


def paired_bootstrap(
    a_counts: ArrayLike,
    b_counts: ArrayLike,
    score: str = "iou",
    *,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Difference of a pooled score between two models, with an interval from resampling the same images for
    both.

    Args:
        a_counts: ``(images, 4)`` pixels of the first model.
        b_counts: The same of the second model, images in the same order.
        score: One of the scores of :func:`~skinlesion.metrics.ratios`.
        n: Number of resamples.
        seed: Seed of the resamples.
        level: Coverage, between 0 and 1.

    Raises:
        SkinlesionError: The counts are not of the same images, or the score is unknown.
    """
    a, b = _checked_counts(a_counts), _checked_counts(b_counts)
    # Lesion and skin pixels belong to the truth: they are equal where the images are.
    if a.shape != b.shape or not np.array_equal(_truth_areas(a), _truth_areas(b)):
        raise SkinlesionError(
            "The two models were not scored on the same images in the same order: pair their rows by id."
        )
    if score not in ratios(a):
        raise SkinlesionError(f"score={score!r} is not known; choose one of {', '.join(ratios(a))}.")

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return ratios(weights @ a)[score] - ratios(weights @ b)[score]

    low, high = _interval(difference(_resamples(len(a), n, seed)), level)
    return Difference(float(difference(np.ones(len(a)))), low, high)


def paired_permutation(a: ArrayLike, b: ArrayLike, *, n: int = 10_000, seed: int = 0) -> PermutationTest:
    """Test whether two models' per-image scores have the same mean, by exchanging the models image by image.

    Under that hypothesis each image's difference is as likely to have the other sign. The p-value counts the
    data themselves as one of the n + 1 arrangements, so it is never zero.

    Args:
        a: ``(images,)`` scores of the first model.
        b: ``(images,)`` scores of the second model, images in the same order.
        n: Number of random exchanges.
        seed: Seed of the exchanges.

    Raises:
        SkinlesionError: No image, or different numbers of images.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise SkinlesionError(f"Give one score per image for both models, not {a.shape} and {b.shape}.")
    difference = a - b
    observed = difference.mean()
    rng = np.random.default_rng(seed)
    # Sums in another order may differ in the last bits: an equal arrangement must still count as one.
    bar = abs(observed) * (1 - 1e-12)
    extreme = 0
    for start in range(0, n, 1000):  # a block at a time keeps memory small for any number of images
        signs = rng.integers(0, 2, (min(1000, n - start), a.size)) * 2.0 - 1
        extreme += int((np.abs(signs @ difference / a.size) >= bar).sum())
    return PermutationTest(float(observed), (extreme + 1) / (n + 1))


def pooled_permutation(
    a_counts: ArrayLike, b_counts: ArrayLike, score: str = "iou", *, n: int = 10_000, seed: int = 0
) -> PermutationTest:
    """Test whether two models have the same pooled score, by exchanging the models image by image.

    As :func:`paired_permutation`, but the score is formed from the pixels of all images together, as a table reports
    it. The two can disagree: large lesions count more here.

    Args:
        a_counts: ``(images, 4)`` pixels of the first model; for several runs of it, their mean.
        b_counts: The same of the second model, images in the same order.
        score: One of the scores of :func:`~skinlesion.metrics.ratios`.
        n: Number of random exchanges.
        seed: Seed of the exchanges.

    Raises:
        SkinlesionError: Different numbers of images, or the score is unknown.
    """
    a, b = _checked_counts(a_counts), _checked_counts(b_counts)
    if a.shape != b.shape:
        raise SkinlesionError(f"Give counts of the same images for both models, not {a.shape} and {b.shape}.")
    if score not in ratios(a):
        raise SkinlesionError(f"score={score!r} is not known; choose one of {', '.join(ratios(a))}.")

    def difference(exchanged: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = exchanged @ (b - a)
        return ratios(a.sum(0) + moved)[score] - ratios(b.sum(0) - moved)[score]

    observed = float(difference(np.zeros(len(a))))
    rng = np.random.default_rng(seed)
    bar = abs(observed) * (1 - 1e-9) - 1e-15
    extreme = 0
    for start in range(0, n, 1000):
        exchanged = rng.integers(0, 2, (min(1000, n - start), len(a))).astype(np.float64)
        extreme += int((np.abs(difference(exchanged)) >= bar).sum())
    return PermutationTest(observed, (extreme + 1) / (n + 1))


def _resamples(images: int, n: int, seed: int) -> NDArray[np.float64]:
    """How often each image is drawn in each resample, (n, images): one matrix product then scores them
    all."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=n).astype(np.float64)


def _interval(scores: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _truth_areas(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, fn, tn = counts.T
    return np.stack([tp + fn, fp + tn])


def _checked_counts(counts: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(counts, dtype=np.float64)  # exact up to 2**53 pixels
    if array.ndim != 2 or array.shape[1] != 4 or not len(array):
        raise SkinlesionError(f"Give counts as (images, 4) of at least one image, not {array.shape}.")
    return array
