"""The demo: segments and scores the images that come with the package, and writes a page of results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from skinlesion.data.images import read_mask
from skinlesion.data.samples import BundledSample, bundled_samples
from skinlesion.files import make_folder
from skinlesion.metrics import confusion_counts, ratios
from skinlesion.report import ReportRow, write_report
from skinlesion.segmenter import Augmentation, Segmenter, tta_name

PAGE = "skinlesion-demo.html"
NEXT = (
    "skinlesion doctor                                          # what this machine can do, and how fast",
    "skinlesion predict PHOTO.jpg --out results                 # your own images: masks, overlays, a table",
    "skinlesion data synthesize --out lesions --n 200 --size 128    # images with exact masks, no download",
    "skinlesion train --preset tiny --data folder --root lesions --size 64 --epochs 20 --batch-size 8 --lr 4e-3 "
    "--out run",
    "skinlesion evaluate --weights run --data folder --root lesions",
)
_INTRODUCTION = (
    "The network segmented the images that come with the package. The real ones are dermoscopy images from the test "
    "set of the split isic2017-paper, which training on that split never uses; the synthetic ones are "
    "computer-generated."
)


@dataclass(frozen=True)
class Demonstration:
    """The result of `run_demo`: one row per image, scores pooled by kind of image, and the page."""

    rows: tuple[ReportRow, ...]
    totals: dict[str, dict[str, float]]
    page: Path


def run_demo(
    segmenter: Segmenter,
    out: str | Path,
    *,
    tta: Augmentation = False,
    clean: bool | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Demonstration:
    """Segment the bundled images (256 x 256), compare the masks with the ground truth, and write the page.

    Args:
        segmenter: the weights to demonstrate.
        out: folder for skinlesion-demo.html, which is replaced if it is there.
        tta, clean: as `Segmenter.segment`.
        progress: called with (images done, images in all) after each.

    Raises:
        SkinlesionError: the page cannot be written.
    """
    out = make_folder(out)
    samples = bundled_samples()
    # The first run compiles the scan, which isn't the first image's time.
    segmenter.segment(samples[0].image_path, tta=tta, clean=clean)
    rows, counts = [], []
    for sample in samples:
        found = segmenter.segment(sample.image_path, tta=tta, clean=clean)
        truth = read_mask(sample.mask_path)
        counts.append(confusion_counts(torch.tensor(found.mask[None]), torch.tensor(truth[None]))[0].numpy())
        rows.append(ReportRow(sample.title, found, truth, _scores(counts[-1])))
        if progress is not None:
            progress(len(rows), len(samples))
    demonstration = Demonstration(tuple(rows), _totals(samples, counts), out / PAGE)
    height, width = segmenter.size
    write_report(
        demonstration.page,
        title="Skin lesions, segmented",
        introduction=_INTRODUCTION,
        rows=rows,
        totals=demonstration.totals,
        facts={
            "weights": segmenter.name,
            "network": segmenter.card["model"]["name"],
            "image size": f"{height} x {width}",
            "threshold": segmenter.threshold,
            "test-time augmentation": tta_name(tta),
            "scan engine": segmenter.engine,
            "IoU, DSC": "of the lesion, at the image's own size",
            "confidence": "soft Dice confidence: about the DSC to expect without knowing the truth",
        },
        commands=NEXT,
    )
    return demonstration


def _scores(counts: np.ndarray) -> dict[str, float]:
    found = ratios(counts)
    return {"IoU": float(found["iou"]), "DSC": float(found["dsc"])}


def _totals(samples: Sequence[BundledSample], counts: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    """Scores of the pixels of all images of a kind taken together."""
    totals = {}
    for kind in ("real", "synthetic"):
        chosen = [count for sample, count in zip(samples, counts, strict=True) if sample.kind == kind]
        totals[f"{len(chosen)} {kind} images, pooled"] = _scores(np.sum(chosen, axis=0))
    return totals
