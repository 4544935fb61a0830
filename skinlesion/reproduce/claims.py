"""How a claim fares: a difference between two systems, with the luck of the runs and of the test images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skinlesion.metrics import paired_permutation, ratios
from skinlesion.reproduce.plan import Claim
from skinlesion.reproduce.results import Key, Result, Results

RESAMPLES = 4000
VERDICTS = ("holds", "contradicted", "not distinguishable")


class Scatter(NamedTuple):
    """How far runs of one system lie apart that differ in their seed alone.

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
        difference: pooled IoU of the better cell less the worse one's, in points; mean over seeds.
        low: lower end of its 95 % interval over seeds and images, by resampling both.
        high: upper end.
        wide_low: lower end of the interval whose scatter of seeds is that of all cells together; NaN if no cell has
            been run twice.
        wide_high: upper end.
        p: paired permutation test of the per-image IoU, averaged over seeds.
        seeds: runs of each side.
    """

    word: str
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    wide_low: float = float("nan")
    wide_high: float = float("nan")
    p: float = float("nan")
    seeds: int = 0


def stacked(results: Sequence[Result]) -> NDArray[np.int64]:
    """Counts of several runs on the same images, (seeds, images, 4)."""
    return np.stack([result.counts for result in results])


def scatter_of(groups: Sequence[Sequence[float]]) -> Scatter:
    """The common scatter of several systems' runs, each around its own mean.

    Args:
        groups: the pooled IoU of each system's runs, in points.
    """
    freedom = sum(len(group) - 1 for group in groups if group)
    squares = sum(float(np.var(group)) * len(group) for group in groups if group)
    return Scatter((squares / freedom) ** 0.5 if freedom else float("nan"), freedom)


def compare(a: NDArray[np.int64], b: NDArray[np.int64], scatter: Scatter, *, seed: int = 0) -> Verdict:
    """Difference of pooled IoU between two systems, a less b, with two intervals.

    The first draws the runs of each system anew and the same images for both, so it covers the luck of training as
    well as the luck of the test images. But three runs that are drawn anew understate their own scatter by about a
    fifth, and one run shows none; the second interval is Student's, with the scatter of all cells together. The word
    asks both.

    Args:
        a: (seeds, images, 4).
        b: (seeds, images, 4), the same images.
        scatter: of seeds, from all cells under the same protocol.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    images = a.shape[1]
    weights = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)  # (R, images)

    def pooled(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return 100 * np.stack([ratios(weights @ run)["iou"] for run in counts], axis=1)  # (R, seeds)

    def drawn(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        runs = rng.integers(0, scores.shape[1], scores.shape)
        return np.take_along_axis(scores, runs, axis=1).mean(1)

    of_a, of_b = pooled(a), pooled(b)
    low, high = np.percentile(drawn(of_a) - drawn(of_b), [2.5, 97.5])
    difference = 100 * float(ratios(a.sum(1))["iou"].mean() - ratios(b.sum(1))["iou"].mean())
    by_images = (of_a.mean(1) - of_b.mean(1)).std()
    by_runs = scatter.deviation * (1 / len(a) + 1 / len(b)) ** 0.5
    reach = float(stats.t.ppf(0.975, scatter.freedom) * np.hypot(by_images, by_runs)) if scatter.freedom else np.nan
    word = "not distinguishable"
    if np.nanmin([low, difference - reach]) > 0:
        word = "holds"
    elif np.nanmax([high, difference + reach]) < 0:
        word = "contradicted"
    return Verdict(
        word=word,
        difference=difference,
        low=float(low),
        high=float(high),
        wide_low=difference - reach,
        wide_high=difference + reach,
        p=float(paired_permutation(ratios(a)["iou"].mean(0), ratios(b)["iou"].mean(0)).p_value),
        seeds=min(len(a), len(b)),
    )


def runs_of(results: Results, dataset: str, cell: str) -> list[Result]:
    """All finished runs of a cell on a dataset, of any seed."""
    folder = results.folder / dataset / cell
    seeds = sorted(int(path.stem.split("-")[1]) for path in folder.glob("seed-*.json") if "error" not in path.name)
    found = (results.load(Key(dataset, cell, seed)) for seed in seeds)
    return [result for result in found if result is not None]


def dataset_scatter(results: Results, dataset: str) -> Scatter:
    """The common scatter of seeds over all cells that were run on a dataset."""
    groups = [
        [100 * r.data["report"]["pooled"]["iou"] for r in runs_of(results, dataset, c)] for c in results.plan.cells
    ]
    return scatter_of(groups)


def verdict(results: Results, claim: Claim, scatter: Scatter) -> Verdict:
    """A claim against the results: equal numbers of seeds on both sides."""
    dataset = results.plan.tables[claim.table].dataset
    better, worse = runs_of(results, dataset, claim.better), runs_of(results, dataset, claim.worse)
    count = min(len(better), len(worse))
    return compare(stacked(better[:count]), stacked(worse[:count]), scatter) if count else Verdict("not run")
