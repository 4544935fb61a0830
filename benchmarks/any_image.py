"""Weights on whole images, crops, tones, sizes, images from elsewhere, and pictures that aren't dermoscopy.

    python benchmarks/any_image.py validation --weights accurate runs/zoom --isic2017 DIR --out validation.json
    python benchmarks/any_image.py test --weights accurate general --isic2017 DIR --isic2018 DIR --out test.json

`validation` is for choosing: pooled IoU on the validation images of the paper's split of ISIC 2017, and on two seeded
crops of each. `test` is for reporting a choice that has been made: the test set and its groups, the ISIC 2018 images
that aren't in the ISIC 2017 folder, confidence, and the out-of-distribution score. Images are compared at 256 x 256.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw

from skinlesion import Segmenter
from skinlesion.cleanup import clean_mask
from skinlesion.data.images import resize_mask
from skinlesion.data.layouts import find_samples
from skinlesion.data.sample import Sample, read_pair
from skinlesion.data.splits import load_split
from skinlesion.data.transforms import Window
from skinlesion.evaluation import BATCH, evaluate
from skinlesion.files import write_text
from skinlesion.metrics import bootstrap_intervals, confusion_counts, ratios
from skinlesion.protocol import TRUTH_SIZE

DARKER = ("tan", "brown", "dark")
CROPS, CROP_SIDE, SEED = 2, 320, 7
Pair = tuple[np.ndarray, np.ndarray]  # image, uint8 (H, W, 3), and mask, bool (H, W)


def scores(counts: np.ndarray) -> dict[str, Any]:
    """Pooled and mean IoU with intervals, and the share of the lesions' area that was missed; counts (n, 4)."""
    intervals, pooled = bootstrap_intervals(counts), ratios(counts.sum(0))
    return {
        "n": len(counts),
        "pooled_iou": [float(pooled["iou"]), *intervals["pooled"]["iou"]],
        "mean_iou": [float(ratios(counts)["iou"].mean()), *intervals["per_image"]["iou"]],
        "missed": float(1 - pooled["sensitivity"]),
    }


def crops(samples: Sequence[Sample]) -> Iterator[Pair]:
    """Seeded crops around the lesion, magnified and stretched as in training."""
    for number, sample in enumerate(samples):
        for crop in range(CROPS):
            yield Window()(*read_pair(sample), CROP_SIDE, np.random.default_rng((SEED, number, crop)))


def count(segmenter: Segmenter, pairs: Sequence[Pair], *, clean: bool = False) -> np.ndarray:
    """Confusion counts at the threshold 1/2, (n, 4)."""
    size, found = (TRUTH_SIZE, TRUTH_SIZE), []
    for start in range(0, len(pairs), BATCH):
        images, masks = zip(*pairs[start : start + BATCH], strict=True)
        predicted = segmenter.at_size(segmenter.predict(images).mean, size)[:, 0].numpy() >= 0.5
        if clean:
            predicted = np.stack([clean_mask(mask) for mask in predicted])
        truth = np.stack([resize_mask(mask, size) for mask in masks])
        found.append(confusion_counts(torch.from_numpy(predicted), torch.from_numpy(truth)).numpy())
    return np.concatenate(found)


def validation(segmenter: Segmenter, samples: Sequence[Sample]) -> dict[str, Any]:
    """What candidates are compared by."""
    whole, cut = [read_pair(sample) for sample in samples], list(crops(samples))
    counts = count(segmenter, cut)
    large = counts[:, 0] + counts[:, 2] > TRUTH_SIZE**2 / 2  # TP + FN
    result = evaluate(segmenter, samples, by=["tone"], clean=False)
    dark = np.isin(result.groups["tone"], DARKER)
    return {
        "whole": scores(result.table.counts),
        "crops": scores(counts),
        "darker_tones": scores(result.table.counts[dark]),
        "crops_with_large_lesions": scores(counts[large]),
        "whole_cleaned": scores(count(segmenter, whole, clean=True)),
        "crops_cleaned": scores(count(segmenter, cut, clean=True)),
    }


def test(segmenter: Segmenter, samples: Sequence[Sample], elsewhere: Sequence[Sample]) -> dict[str, Any]:
    """What is reported of a choice."""
    report: dict[str, Any] = {}
    for name, part in (("test", samples), ("squares", elsewhere)):
        result = evaluate(segmenter, part, by=["tone", "size"])
        counts = result.table.counts
        report[name] = scores(counts) | {"mean_dice": float(ratios(counts)["dsc"].mean()), "groups": {}}
        for names in result.groups.values():
            kinds = {kind: np.array([each == kind for each in names]) for kind in dict.fromkeys(names)}
            report[name]["groups"] |= {kind: scores(counts[chosen]) for kind, chosen in kinds.items()}
        dark = np.isin(result.groups["tone"], DARKER)
        report[name]["groups"]["tan, brown and dark"] = scores(counts[dark])
        if segmenter.domain is not None:
            found = [segmenter.segment(sample.image) for sample in part]
            report[name]["mean_confidence"] = float(np.mean([each.confidence for each in found]))
            report[name]["flagged"] = float(np.mean([(each.ood_score or 0) > 0 for each in found]))
    if segmenter.domain is not None:
        report["strange"] = {name: (segmenter.segment(image).ood_score or 0) > 0 for name, image in strange()}
    return report


def strange() -> Iterator[tuple[str, np.ndarray]]:
    """Pictures that aren't dermoscopy: photographs, noise, text, drawings, screenshots, plain skin."""
    import skimage

    bundled = Path(skimage.__file__).parent / "data", Path(matplotlib.get_data_path()) / "sample_data"
    for folder in bundled:
        for path in sorted(folder.iterdir()):
            if path.suffix in (".png", ".jpg", ".gif"):
                yield f"{folder.parent.name} {path.name}", np.asarray(Image.open(path).convert("RGB"))
    for name in ("docs/dashboard-views.png", "docs/overview.png", "benchmarks/results/scan.png"):
        yield name, np.asarray(Image.open(Path(__file__).parents[1] / name).convert("RGB"))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        yield f"noise {seed}", rng.integers(0, 256, (200 + 40 * seed, 300, 3)).astype(np.uint8)
        page = Image.new("RGB", (400, 300), tuple(rng.integers(200, 256, 3).tolist()))
        for row in range(15):
            ImageDraw.Draw(page).text(
                (10, 15 * row + 5), "The quick brown fox jumps over the lazy dog " * 2, (40, 40, 60)
            )
        yield f"text {seed}", np.asarray(page)
        sky = Image.new("RGB", (400, 300), (135, 206, 235))
        draw = ImageDraw.Draw(sky)
        draw.rectangle((0, 180, 400, 300), (60, 150 + 10 * seed, 60))
        draw.ellipse((300 - 20 * seed, 20, 350 - 20 * seed, 70), (255, 220, 0))
        draw.polygon([(50 + 10 * seed, 180), (120, 60), (190, 180)], (120, 110, 100))
        yield f"landscape {seed}", np.asarray(sky)
        skin = rng.integers(150, 240) * np.array([1, 0.82 - 0.03 * seed, 0.72 - 0.04 * seed])
        yield f"skin {seed}", (skin + rng.normal(0, 6, (300, 400, 1))).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Measure each of the weights, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("validation", "test"))
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--isic2017", type=Path, required=True)
    parser.add_argument("--isic2018", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.part == "test" and options.isic2018 is None:
        parser.error("test needs --isic2018")
    samples = {sample.id: sample for sample in find_samples(options.isic2017, "isic2017")}
    manifest = load_split(list(samples.values()), "isic2017", "paper", None)
    chosen = [samples[id] for id in manifest.parts["val" if options.part == "validation" else "test"]]
    found: dict[str, Any] = {"manifest": manifest.hash, "weights": {}}
    for name in options.weights:
        segmenter = Segmenter.from_pretrained(name)
        if options.part == "validation":
            result = validation(segmenter, chosen)
        else:
            squares = [each for each in find_samples(options.isic2018, "isic2018") if each.id not in samples]
            result = test(segmenter, chosen, squares)
        found["weights"][segmenter.name] = result
        write_text(options.out, json.dumps(found, indent=1) + "\n")
        print(segmenter.name, "done", flush=True)


if __name__ == "__main__":
    main()
