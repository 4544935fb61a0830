"""Verdicts on claims: a difference between two systems, with its uncertainty over runs and test images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skinlesion.metrics import pooled_permutation, ratios
from skinlesion.reproduce.plan import Claim
from skinlesion.reproduce.results import Result, Results

RESAMPLES = 4000
VERDICTS = ("reproduced", "reversed at this scale", "not distinguishable")


class Scatter(NamedTuple):
    """The scatter of runs of one system that differ only in their seed.

    Attributes:
        deviation: of pooled IoU, in points.
        freedom: degrees of freedom it was estimated with; 0 if nothing has been run twice.
    """

    deviation: float
    freedom: int


class Verdict(NamedTuple):
    """How a claim fares.

    Attributes:
        word: one of `VERDICTS`, or "not run".
        difference: pooled IoU of the `better` cell minus that of the `worse` one, in points; mean over seeds.
        low: lower end of its 95% interval over seeds and images, by resampling both.
        high: upper end.
        wide_low: lower end of the interval with the variance over seeds pooled over all cells; NaN if no cell has been
            run twice.
        wide_high: upper end.
        wide_p: p-value of the second interval: how often equal systems would differ this much.
        p: paired permutation test of pooled IoU, on counts averaged over seeds; it tests these runs, not others.
        seeds: runs of the side that has fewer.
    """

    word: str
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    wide_low: float = float("nan")
    wide_high: float = float("nan")
    wide_p: float = float("nan")
    p: float = float("nan")
    seeds: int = 0


def stacked(results: Sequence[Result]) -> NDArray[np.int64]:
    """Counts of several runs on the same images, (seeds, images, 4)."""
    return np.stack([result.counts for result in results])


def scatter_of(groups: Sequence[Sequence[float]]) -> Scatter:
    """The pooled standard deviation of several systems' runs, each around its own mean.

    Args:
        groups: the pooled IoU of each system's runs, in points.
    """
    freedom = sum(len(group) - 1 for group in groups if group)
    squares = sum(float(np.var(group)) * len(group) for group in groups if group)
    return Scatter((squares / freedom) ** 0.5 if freedom else float("nan"), freedom)


def compare(a: NDArray[np.int64], b: NDArray[np.int64], scatter: Scatter, *, seed: int = 0) -> Verdict:
    """Difference of pooled IoU between two systems, a minus b, with two intervals.

    The first resamples the runs of each system and, for both together, the images, so it covers the variation between
    training runs as well as between test images. But resampling three runs understates their scatter by about a fifth,
    and one run shows none. The second interval is Student's, with the variance pooled over all cells. The verdict
    depends on both intervals.

    Args:
        a: (seeds, images, 4).
        b: (seeds, images, 4), the same images; the numbers of seeds may differ.
        scatter: of seeds, from all cells under the same protocol.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    weights = _image_draws(a.shape[1], rng)

    def drawn(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        runs = rng.integers(0, scores.shape[1], scores.shape)
        return np.take_along_axis(scores, runs, axis=1).mean(1)

    of_a, of_b = _resampled(a, weights), _resampled(b, weights)
    low, high = np.percentile(drawn(of_a) - drawn(of_b), [2.5, 97.5])
    difference = 100 * float(ratios(a.sum(1))["iou"].mean() - ratios(b.sum(1))["iou"].mean())
    error = _standard_error(of_a.mean(1) - of_b.mean(1), 1 / len(a) + 1 / len(b), scatter)
    reach = float(stats.t.ppf(0.975, scatter.freedom)) * error
    word = VERDICTS[2]
    if np.nanmin([low, difference - reach]) > 0:
        word = VERDICTS[0]
    elif np.nanmax([high, difference + reach]) < 0:
        word = VERDICTS[1]
    return Verdict(
        word=word,
        difference=difference,
        low=float(low),
        high=float(high),
        wide_low=difference - reach,
        wide_high=difference + reach,
        wide_p=float(2 * stats.t.sf(abs(difference) / error, scatter.freedom)),
        p=float(pooled_permutation(a.mean(0), b.mean(0)).p_value),
        seeds=min(len(a), len(b)),
    )


def mean_reach(counts: NDArray[np.int64], scatter: Scatter, *, seed: int = 0) -> float:
    """Half the width of the 95% interval of a system's mean pooled IoU, in points, with the scatter of all cells.

    Args:
        counts: (seeds, images, 4).
        scatter: of seeds, from all cells under the same protocol.
        seed: of the resampling of images.
    """
    weights = _image_draws(counts.shape[1], np.random.default_rng(seed))
    error = _standard_error(_resampled(counts, weights).mean(1), 1 / len(counts), scatter)
    return float(stats.t.ppf(0.975, scatter.freedom)) * error


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values that keep their meaning when the smallest of several are picked; NaN stays NaN."""
    corrected = [float("nan")] * len(p_values)
    order = sorted((i for i, p in enumerate(p_values) if p == p), key=lambda i: p_values[i])
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _image_draws(images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each image is in each resample, (R, images)."""
    return rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)


def _resampled(counts: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pooled IoU of each run in each resample of the images, in points: (seeds, images, 4) -> (R, seeds)."""
    return 100 * np.stack([ratios(weights @ run)["iou"] for run in counts], axis=1)


def _standard_error(by_images: NDArray[np.float64], runs: float, scatter: Scatter) -> float:
    """Of images (their resamples, (R,)) and runs (the sum of 1 / n) together; NaN where the scatter is not known."""
    return float(np.hypot(by_images.std(), scatter.deviation * runs**0.5)) if scatter.freedom else float("nan")


def dataset_scatter(results: Results, dataset: str) -> Scatter:
    """The common scatter of seeds over all cells that were run on a dataset."""
    groups = [[100 * r.data["report"]["pooled"]["iou"] for r in results.all_of(dataset, c)] for c in results.plan.cells]
    return scatter_of(groups)


def verdict(results: Results, claim: Claim, scatter: Scatter) -> Verdict:
    """A claim against the results, with all runs of both sides."""
    dataset = results.plan.tables[claim.table].dataset
    better, worse = (results.all_of(dataset, cell) for cell in (claim.better, claim.worse))
    return compare(stacked(better), stacked(worse), scatter) if better and worse else Verdict("not run")
