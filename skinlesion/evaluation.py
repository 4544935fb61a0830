"""Evaluation of a segmenter on images with ground truth: the scores, and the protocol behind them."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from skinlesion.checkpoint import tensors_hash
from skinlesion.data.groups import GroupOf, in_order
from skinlesion.data.images import resize_mask
from skinlesion.data.sample import Sample
from skinlesion.data.sample import read_pair as read_sample
from skinlesion.errors import SkinlesionError
from skinlesion.files import replacing, write_text
from skinlesion.metrics import ScoreTable, SegmentationScores, bootstrap_intervals, ratios, summarize
from skinlesion.protocol import BOUNDARY_TOLERANCE, TRUTH_SIZE
from skinlesion.segmenter import Augmentation, Segmenter, check_threshold, tta_name
from skinlesion.text import counted, table_writer
from skinlesion.training.environment import describe_environment

BATCH = 8


class Evaluation(NamedTuple):
    """The result of `evaluate`.

    Attributes:
        report: ready for JSON: {"n", "pooled", "per_image", "intervals", "protocol"} and, where groups were asked for,
            {"groups": {by: {name: {"n", "pooled_iou", "mean_iou", "sensitivity", each value with its interval}}}}}};
            fractions in [0, 1].
        table: one row per image.
        groups: each image's group by what was asked for, in the table's order.
    """

    report: dict[str, Any]
    table: ScoreTable
    groups: dict[str, list[str]]

    def save_json(self, path: str | Path) -> None:
        """Write the report, whole or not at all."""
        write_text(path, json.dumps(self.report, indent=1) + "\n")

    def save_csv(self, path: str | Path) -> None:
        """Write one row per image: id, pixels by outcome, scores."""
        scores = self.table.per_image()
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = table_writer(file)
            writer.writerow(["id", "tp", "fp", "fn", "tn", *scores, *self.groups])
            for i, id in enumerate(self.table.ids):
                names = [group[i] for group in self.groups.values()]
                writer.writerow([id, *self.table.counts[i].tolist(), *(f"{v[i]:.6f}" for v in scores.values()), *names])


def evaluate(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    *,
    truth_size: int = TRUTH_SIZE,
    threshold: float | None = None,
    tta: Augmentation = False,
    clean: bool | None = None,
    by: Sequence[str] = (),
    diagnoses: Mapping[str, str] | None = None,
    protocol: dict[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Compare predictions with the truth.

    The model runs at its own image size; the probability is then resized to `truth_size` x `truth_size` and compared
    with the mask, resized with nearest-neighbor interpolation (A33). VM-UNet's code also evaluates at 256 x 256.

    Args:
        segmenter: the model to evaluate.
        samples: images with masks, ids unique.
        truth_size: side in pixels at which prediction and truth are compared.
        threshold: lowest probability that counts as lesion; by default the segmenter's.
        tta: test-time augmentation, as `Segmenter.segment`.
        clean: as `Segmenter.segment`.
        by: report groups of images too, by any of `skinlesion.data.groups.GROUPS`: tone of the background, size of the
            lesion, whether it touches the border, diagnosis.
        diagnoses: the diagnosis of each id, for ``by="diagnosis"``; others are "unknown".
        protocol: what the caller knows about the data ({"dataset", "split", "manifest", "part", ...}); it is
            completed with everything else that decides the numbers.
        progress: called with the number of images done after each batch.

    Raises:
        SkinlesionError: there is no sample, one has no mask, a file cannot be used, or a group is unknown.
    """
    without = [sample.id for sample in samples if sample.mask is None]
    if without:
        raise SkinlesionError(
            f"{counted(len(without), 'image')} without a ground-truth mask, starting with {without[0]}: add the masks."
        )
    if not samples:
        raise SkinlesionError("There is no image to evaluate: this part of the split is empty. Choose another one.")
    if not 1 <= truth_size <= 4096:
        raise SkinlesionError(f"The truth size must be from 1 to 4096 pixels, not {truth_size}.")
    group = GroupOf(by, diagnoses or {})
    threshold = check_threshold(segmenter.threshold if threshold is None else threshold)
    size = (truth_size, truth_size)
    scores = SegmentationScores(threshold=threshold, boundary_tolerance=truth_size * BOUNDARY_TOLERANCE)
    with ThreadPoolExecutor(2) as readers:
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            images, masks = zip(*readers.map(lambda sample: read_pair(sample, size), part), strict=True)
            probability = segmenter.at_size(segmenter.predict(images, tta=tta).mean, size)
            found = [segmenter.mask(each[0].numpy(), threshold, clean=clean) for each in probability]
            predicted, truth = (torch.from_numpy(np.stack(each))[:, None] for each in (found, masks))  # (B, 1, S, S)
            scores.update(predicted, truth, [sample.id for sample in part])
            for sample, image, mask in zip(part, images, masks, strict=True):
                group.add(sample.id, image, mask)
            if progress is not None:
                progress(start + len(part))
    table = scores.compute()
    report = summarize(table)
    groups = group.of(table.ids)
    if groups:
        report["groups"] = {each: _by_group(table, each, names) for each, names in groups.items()}
    report["protocol"] = {
        **(protocol or {}),
        **_describe(segmenter),
        "truth_size": truth_size,
        "boundary_tolerance": truth_size * BOUNDARY_TOLERANCE,
        "threshold": threshold,
        "tta": tta_name(tta),
        "clean": segmenter.clean if clean is None else clean,
        "environment": describe_environment(segmenter.engine or "none", segmenter.device),
    }
    return Evaluation(report, table, groups)


def _by_group(table: ScoreTable, by: str, names: Sequence[str]) -> dict[str, Any]:
    """The scores of each group, in the order in which a table lists them."""
    found: dict[str, dict[str, Any]] = {}
    for name in in_order(by, names):
        counts = table.counts[[each == name for each in names]]
        intervals, scores = bootstrap_intervals(counts), ratios(counts)
        pooled = ratios(counts.sum(0))
        found[name] = {"n": len(counts)}
        for key, value, kind, score in (
            ("pooled_iou", pooled["iou"], "pooled", "iou"),
            ("mean_iou", scores["iou"].mean(), "per_image", "iou"),
            ("sensitivity", pooled["sensitivity"], "pooled", "sensitivity"),
        ):
            found[name][key] = {"value": float(value), "interval": intervals[kind][score]}
    return found


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
