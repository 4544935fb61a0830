"""Scoring a set of images, a batch at a time, in one process or several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from skinlesion.errors import SkinlesionError
from skinlesion.metrics.boundary import boundary_f1
from skinlesion.metrics.counts import confusion_counts, ratios, thresholded_jaccard
from skinlesion.metrics.intervals import bootstrap_intervals


class ScoreTable(NamedTuple):
    """One row per image, sorted by id.

    Attributes:
        ids: The images' ids.
        counts: int64 ``(images, 4)`` pixels ``(TP, FP, FN, TN)``.
        boundary_f1: ``(images,)`` boundary scores; None where they were not asked for.
    """

    ids: tuple[str, ...]
    counts: NDArray[np.int64]
    boundary_f1: NDArray[np.float32] | None

    def pooled(self) -> dict[str, float]:
        """Scores of the pixels of all images taken together; :func:`~skinlesion.metrics.ratios` lists
        them."""
        return {name: float(value) for name, value in ratios(self.counts.sum(0)).items()}

    def per_image(self) -> dict[str, NDArray[np.float64]]:
        """Scores of each image, ``(images,)``: `ratios`, `thresholded_jaccard`, ``boundary_f1`` where asked for."""
        values = ratios(self.counts) | {"thresholded_jaccard": thresholded_jaccard(self.counts)}
        return values if self.boundary_f1 is None else values | {"boundary_f1": self.boundary_f1.astype(float)}


class SegmentationScores(Metric):
    """Collect each image's confusion counts and boundary score; ``compute()`` gives a :class:`ScoreTable`.

    Works over several processes as any torchmetrics metric does. A distributed sampler repeats some images to
    even out its parts: rows are therefore identified by id, and an id that appears twice counts once.

    Args:
        threshold: A pixel is lesion where its probability is at least this; a tie counts as lesion.
        boundary_tolerance: In pixels, see :func:`~skinlesion.metrics.boundary_f1`; None leaves the boundary
            score out (it is computed on the CPU, in a few milliseconds per image).
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: list[Tensor]
    boundaries: list[Tensor]
    names: list[Tensor]

    def __init__(self, *, threshold: float = 0.5, boundary_tolerance: float | None = 2.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.boundary_tolerance = boundary_tolerance
        for state in ("counts", "boundaries", "names"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        # Typed empty parts: a process without any image can still take part in the exchange.
        self.counts.append(torch.zeros(0, 4, dtype=torch.int64, device=self.device))
        self.boundaries.append(torch.zeros(0, dtype=torch.float32, device=self.device))
        self.names.append(torch.zeros(0, dtype=torch.uint8, device=self.device))

    def update(self, probability: Tensor, truth: Tensor, ids: Sequence[str]) -> None:
        """Score a batch.

        Args:
            probability: Lesion probability in [0, 1], ``(B, 1, H, W)``; or predicted masks, bool.
            truth: True masks, bool or floating point, ``(B, 1, H, W)``; lesion where at least 0.5.
            ids: The B images' ids, unique over the whole set.

        Raises:
            SkinlesionError: Shapes differ, there isn't one id per image, or a probability is NaN or outside
                [0, 1].
        """
        if len(ids) != len(truth):
            raise SkinlesionError(f"{len(truth)} masks came with {len(ids)} ids: give one id per image.")
        if probability.dtype != torch.bool:
            valid = ((probability >= 0) & (probability <= 1)).flatten(1).all(1).tolist()
            if not all(valid):  # a NaN is not valid either
                raise SkinlesionError(
                    f"The prediction for {ids[valid.index(False)]} is not a probability in [0, 1]: "
                    "apply a sigmoid to logits first; if it is NaN, the weights are damaged or training diverged."
                )
            probability = probability >= self.threshold
        if truth.dtype != torch.bool:
            truth = truth >= 0.5
        self.counts.append(confusion_counts(probability, truth))
        # Ids cross between processes as one string of bytes, each id closed by a zero.
        names = [*"".join(f"{name}\0" for name in ids).encode("utf-8", "surrogatepass")]
        self.names.append(torch.tensor(names, dtype=torch.uint8, device=self.device))
        if self.boundary_tolerance is not None:
            masks = (m.flatten(0, -3).cpu().numpy() for m in (probability, truth))  # (B, H, W)
            scores = [boundary_f1(p, t, self.boundary_tolerance) for p, t in zip(*masks, strict=True)]
            self.boundaries.append(torch.tensor(scores, dtype=torch.float32, device=self.device))

    def compute(self) -> ScoreTable:
        """Return the table of all images of all processes.

        Raises:
            SkinlesionError: No image was scored.
        """
        # After an exchange between processes torchmetrics holds one tensor in place of the list of parts.
        counts, boundaries, names = (
            (state if isinstance(state, Tensor) else torch.cat(state)).cpu().numpy()
            for state in (self.counts, self.boundaries, self.names)
        )
        if not len(counts):
            raise SkinlesionError("No image was scored: this part of the split is empty. Choose another one.")
        ids, first = np.unique(names.tobytes().decode("utf-8", "surrogatepass").split("\0")[:-1], return_index=True)
        return ScoreTable(
            tuple(ids.tolist()), counts[first], None if self.boundary_tolerance is None else boundaries[first]
        )


def summarize(table: ScoreTable, *, n: int = 2000, seed: int = 0, level: float = 0.95) -> dict:
    """The numbers of a table, ready for JSON.

    Args:
        table: The images' counts.
        n: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        ``{"n", "pooled": {score: value}, "per_image": {score: {"mean", "median", "std"}}, "intervals":
        {...}}`` with fractions in [0, 1]; ``std`` describes the spread over images (divided by n, not n - 1).
        The intervals are those of :func:`~skinlesion.metrics.bootstrap_intervals`.
    """
    per_image = {
        name: {"mean": float(v.mean()), "median": float(np.median(v)), "std": float(v.std())}
        for name, v in table.per_image().items()
    }
    return {
        "n": len(table.ids),
        "pooled": table.pooled(),
        "per_image": per_image,
        "intervals": bootstrap_intervals(table.counts, table.boundary_f1, n=n, seed=seed, level=level),
    }
