"""Measuring a segmenter on images with truth: the numbers, and the protocol that makes them mean something."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from skinlesion.checkpoint import tensors_hash
from skinlesion.data.images import resize_mask
from skinlesion.data.sample import Sample
from skinlesion.data.sample import read_pair as read_sample
from skinlesion.errors import SkinlesionError
from skinlesion.files import replacing, write_text
from skinlesion.metrics import ScoreTable, SegmentationScores, summarize
from skinlesion.protocol import BOUNDARY_TOLERANCE, TRUTH_SIZE
from skinlesion.segmenter import Augmentation, Segmenter, check_threshold, resize_probability
from skinlesion.text import table_writer
from skinlesion.training.environment import describe_environment

BATCH = 8


class Evaluation(NamedTuple):
    """The result of `evaluate`.

    Attributes:
        report: ready for JSON: {"n", "pooled", "per_image", "intervals", "protocol"}; fractions in [0, 1].
        table: one row an image.
    """

    report: dict[str, Any]
    table: ScoreTable

    def save_json(self, path: str | Path) -> None:
        """Write the report, whole or not at all."""
        write_text(path, json.dumps(self.report, indent=1) + "\n")

    def save_csv(self, path: str | Path) -> None:
        """Write one row an image: id, pixels by outcome, scores."""
        scores = self.table.per_image()
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = table_writer(file)
            writer.writerow(["id", "tp", "fp", "fn", "tn", *scores])
            for i, id in enumerate(self.table.ids):
                writer.writerow([id, *self.table.counts[i].tolist(), *(f"{v[i]:.6f}" for v in scores.values())])


def evaluate(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    *,
    truth_size: int = TRUTH_SIZE,
    threshold: float | None = None,
    tta: Augmentation = False,
    protocol: dict[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Compare predictions with the truth.

    The image goes through the segmenter at the model's size; the probability is then resized to `truth_size` squared,
    where the mask, resized to the nearest pixel (A33), waits. The whole harness of this model family measures at
    256 x 256.

    Args:
        segmenter: what to measure.
        samples: images with masks, ids unique.
        truth_size: side in pixels at which prediction and truth are compared.
        threshold: least probability that counts as lesion; by default the segmenter's.
        tta: test-time augmentation, as `Segmenter.segment`.
        protocol: what the caller knows about the data ({"dataset", "split", "manifest", "part", ...}); it is
            completed with everything else that decides the numbers.
        progress: called with the number of images done after each batch.

    Raises:
        SkinlesionError: there is no sample, one has no mask, or a file cannot be used.
    """
    without = [sample.id for sample in samples if sample.mask is None]
    if without:
        raise SkinlesionError(f"{len(without)} images have no mask to compare with, first {without[0]}: add the masks.")
    if not samples:
        raise SkinlesionError("There is no image to evaluate: the part is empty.")
    if not 1 <= truth_size <= 4096:
        raise SkinlesionError(f"The truth size must be from 1 to 4096 pixels, not {truth_size}.")
    threshold = check_threshold(segmenter.threshold if threshold is None else threshold)
    size = (truth_size, truth_size)
    scores = SegmentationScores(threshold=threshold, boundary_tolerance=truth_size * BOUNDARY_TOLERANCE)
    with ThreadPoolExecutor(2) as readers:
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            images, masks = zip(*readers.map(lambda sample: read_pair(sample, size), part), strict=True)
            probability = resize_probability(segmenter.probability(images, tta=tta)[0].cpu(), size)
            truth = torch.from_numpy(np.stack(masks)).unsqueeze(1)  # (B, 1, truth_size, truth_size)
            scores.update(probability, truth, [sample.id for sample in part])
            if progress is not None:
                progress(start + len(part))
    table = scores.compute()
    report = summarize(table)
    report["protocol"] = {
        **(protocol or {}),
        **_describe(segmenter),
        "truth_size": truth_size,
        "boundary_tolerance": truth_size * BOUNDARY_TOLERANCE,
        "threshold": threshold,
        "tta": tta,
        "environment": describe_environment(segmenter.engine or "none", segmenter.device),
    }
    return Evaluation(report, table)


def read_pair(sample: Sample, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The image, uint8 (H, W, 3), and its mask, bool of the given size.

    Raises:
        SkinlesionError: a file cannot be read, or they do not belong together.
    """
    image, mask = read_sample(sample)
    return image, resize_mask(mask, size)


def _describe(segmenter: Segmenter) -> dict[str, Any]:
    """Weights and preprocessing, by name and hash rather than by a path that means nothing elsewhere."""
    return {
        "weights": segmenter.name,
        "weights_sha256": tensors_hash(segmenter.path) if segmenter.path else None,
        "model": segmenter.card.get("model"),
        "image_size": list(segmenter.size),
        "normalize": segmenter.card["preprocessing"]["normalize"],
        "engine": segmenter.engine,
    }
