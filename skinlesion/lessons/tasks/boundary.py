"""Lesson 2, bonus: a score of the outline."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Wrong


def boundary_f1(prediction: Tensor, truth: Tensor, tolerance: int) -> float:
    """Harmonic mean of the shares of each boundary that are near the other one: bool (H, W) twice -> a number.

    Args:
        prediction: the mask to score.
        truth: the reference mask.
        tolerance: how many rows and columns apart two boundary pixels may be.

    Returns:
        In [0, 1]; 1 where both masks are empty, 0 where one is.
    """
    edges = [_boundary(prediction), _boundary(truth)]
    if not edges[0].any() or not edges[1].any():
        return float(edges[0].any() == edges[1].any())
    near = [_dilated(edge, tolerance) for edge in edges]
    precision = float((edges[0] & near[1]).sum() / edges[0].sum())
    recall = float((edges[1] & near[0]).sum() / edges[1].sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: Tensor) -> Tensor:
    """The pixels with a 4-neighbor outside the mask; beyond the image counts as outside: bool (H, W) -> (H, W)."""
    around = F.pad(mask, (1, 1, 1, 1))  # with False
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inside


def _dilated(edge: Tensor, tolerance: int) -> Tensor:
    """The pixels within `tolerance` rows and columns of an edge: bool (H, W) -> (H, W)."""
    return F.max_pool2d(edge[None, None].float(), 2 * tolerance + 1, stride=1, padding=tolerance)[0, 0] > 0


def _rectangle(height: int, width: int, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows[0] : rows[1], columns[0] : columns[1]] = True
    return mask


def _mask_pairs(generator: Generator) -> list[Case]:
    large, small = _rectangle(14, 20, (0, 9), (3, 16)), _rectangle(14, 20, (2, 8), (5, 12))
    noisy = large ^ (torch.rand(14, 20, generator=generator) < 0.08)
    empty = torch.zeros(6, 9, dtype=torch.bool)
    return [
        Case((noisy, large, 1), "a ragged mask at the edge of an image that is not square"),
        Case((small, large, 2), "a mask that is too small"),
        Case((large, small, 2), "a mask that is too large"),
        Case((small, small.roll(1, 1), 0), "no tolerance"),
        Case((_rectangle(16, 11, (1, 4), (1, 4)), _rectangle(16, 11, (10, 15), (5, 10)), 1), "masks far apart"),
        Case((empty, _rectangle(6, 9, (1, 4), (2, 5)), 1), "an empty prediction"),
        Case((empty, empty, 1), "no lesion, and an empty prediction"),
    ]


def _score(prediction: Tensor, truth: Tensor, tolerance: int, *, mistake: str) -> float:
    edges = [_boundary(prediction), _boundary(truth)]
    if mistake == "whole masks":
        edges = [prediction, truth]
    if mistake == "image edge":  # padded with True: the edge of the image is no boundary
        edges = [
            mask & ~(-F.max_pool2d(-mask[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0)
            for mask in (prediction, truth)
        ]
    if not edges[0].any() or not edges[1].any():
        return 0.0 if mistake == "empty" else float(edges[0].any() == edges[1].any())
    radius = {"half": tolerance // 2, "none": 0}.get(mistake, tolerance)
    near = [_dilated(edge, radius) for edge in edges]
    precision = float((edges[0] & near[1]).sum() / edges[0].sum())
    recall = float((edges[1] & near[0]).sum() / edges[1].sum())
    if mistake in ("precision", "recall"):
        return precision if mistake == "precision" else recall
    if mistake == "arithmetic":
        return (precision + recall) / 2
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mistaken(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(
        name, lambda prediction, truth, tolerance: _score(prediction, truth, tolerance, mistake=mistake), diagnosis
    )


BOUNDARY = Exercise(
    name="scores.boundary_f1",
    lesson=2,
    title="A score of the outline",
    statement=r"""
IoU counts area, so a ragged outline costs little. Write a score that counts the outline, for two masks, bool $(H, W)$.

- The **boundary** of a mask is the set of its pixels with at least one of the four neighbors (up, down, left, right)
  outside the mask. Outside the image counts as outside the mask.
- Two pixels are **near** if they are at most `tolerance` rows and at most `tolerance` columns apart.
- *Precision* is the share of the predicted boundary that is near some pixel of the true boundary. *Recall* is the share
  of the true boundary that is near some pixel of the predicted one.

Return their harmonic mean, $2 P R / (P + R)$, as a number; 0 if both are 0. Two empty masks score 1; one empty mask
scores 0.
""",
    solution=boundary_f1,
    example="""
square = torch.zeros(8, 8, dtype=torch.bool)
square[2:6, 2:6] = True
boundary_f1(square, square.roll(1, 0), 0), boundary_f1(square, square.roll(1, 0), 1)
""",
    difficulty=4,
    importance=2,
    minutes=20,
    bonus=True,
    hints=(
        "Boundary: pad the mask with False (`F.pad`), shift it in four directions, and combine the shifts with &. What"
        " remains is the inside.",
        "`F.max_pool2d` with kernel 2 * tolerance + 1, stride 1 and padding `tolerance` marks everything near a "
        "boundary.",
        "Precision: `(edge_p & near_t).sum() / edge_p.sum()`. For recall, swap the two masks.",
    ),
    cases=_mask_pairs,
    wrong=(
        _mistaken("whole masks", "whole masks", "You compare whole masks. Only boundary pixels count."),
        _mistaken(
            "image edge is no boundary",
            "image edge",
            "Pixels at the edge of the image are missing: outside the image counts as outside the mask.",
        ),
        _mistaken("precision", "precision", "That is only the precision: a small piece of the outline would score 1."),
        _mistaken("recall", "recall", "That is only the recall: boundaries all over the image would score 1."),
        _mistaken("arithmetic mean", "arithmetic", "That is the arithmetic mean of P and R. Use the harmonic mean."),
        _mistaken(
            "half the tolerance",
            "half",
            "The window is too small: it reaches `tolerance` pixels to *each* side, so it is 2 * tolerance + 1 pixels "
            "wide.",
        ),
        _mistaken("no tolerance", "none", "The tolerance is ignored: only exactly matching boundary pixels count."),
        _mistaken("two empty masks", "empty", "Two empty masks agree completely: they score 1."),
    ),
    after="skinlesion.metrics has the same score with Euclidean distances, and two more: HD95 and the mean distance.",
)
