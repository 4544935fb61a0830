"""`skinlesion predict`."""

import sys
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import Progress

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.prediction import expand_inputs, predict_files
from skinlesion.segmenter import Segmenter


def predict(
    images: tyro.conf.Positional[tuple[Path, ...]],
    *,
    out: Path,
    weights: str = DEFAULT_WEIGHTS,
    threshold: float | None = None,
    tta: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    engine: str = "auto",
) -> int:
    """Segment images: writes NAME_mask.png, NAME_overlay.png and predictions.csv.

    Masks have the image's own size and are 255 on the lesion. Where a photo's EXIF data say that it is to be turned,
    image and mask are turned. In the table, lesion_fraction is the lesion's part of the image and confidence is the
    soft Dice confidence: about the Dice score to expect, 0 where no lesion was found.

    Args:
        images: Image files, or folders of them.
        out: Folder for the results; made if missing.
        weights: A name (see `skinlesion doctor`), a .safetensors file or a run folder.
        threshold: Least probability that counts as lesion; by default what the weights were made for.
        tta: Average over the four flips of the image: a little better, four times slower.
        overwrite: Replace results that exist already.
        device: cpu, cuda, cuda:0, ...
        engine: Scan engine, see `skinlesion doctor`.
    """
    list(expand_inputs(images))  # complain about the images before anything is loaded
    segmenter = Segmenter.from_pretrained(weights, device=device, engine=engine)
    console = Console(file=sys.stderr, highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("segmenting")
        found = predict_files(
            segmenter,
            images,
            out,
            threshold=threshold,
            tta=tta,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if found.done:
        print(f"{len(found.done)} images segmented with {segmenter.name}: masks, overlays and {found.table}")
    for _, reason in found.failed:
        print(f"skinlesion: {reason}", file=sys.stderr)
    return 2 if found.failed else 0
