"""`skinlesion predict`."""

import sys
from pathlib import Path
from typing import Literal

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.commands.progress import progress_bar
from skinlesion.flags import Paths
from skinlesion.prediction import TABLE, Predictions, collect_inputs, predict_files
from skinlesion.segmenter import CLEAN, Segmenter
from skinlesion.text import counted, printable

MAX_WARNINGS = 20  # printed


def predict(
    images: Paths,
    *,
    out: Path,
    weights: str = DEFAULT_WEIGHTS,
    threshold: float | None = None,
    tta: Literal["none", "flips", "dihedral"] = "none",
    clean: Literal["auto", "on", "off"] = "auto",
    overwrite: bool = False,
    resume: bool = False,
    jobs: int = 1,
    device: str = "auto",
    engine: str = "auto",
) -> int:
    """Segment images: writes NAME_mask.png, NAME_overlay.png and predictions.csv.

    A mask has the size of its image; its pixels are 255 on the lesion and 0 elsewhere. If a photo's EXIF data say that
    it is rotated, image and mask are turned upright. In the table, lesion_fraction is the lesion's share of the image
    and confidence is the soft Dice confidence: an estimate of the Dice score, 0 if no lesion was found. warnings says
    if an image doesn't look like the dermoscopy images that the weights were trained on.

    The table is written row by row. A file that cannot be used is reported and doesn't stop the others. After Ctrl-C,
    the same command with --resume continues.

    Args:
        images: Image files, or folders of them.
        out: Folder for the results; created if missing.
        weights: A name (see `skinlesion doctor`), a .safetensors file or a run folder.
        threshold: Lowest probability that counts as lesion; by default the one stored with the weights.
        tta: Test-time augmentation: the mean over the four flips, or the eight flips and quarter turns, of the image.
            Slightly more accurate, but four or eight times as slow.
        clean: Keep only the largest region of each mask and fill its holes; auto: as the weights' card says.
        overwrite: Replace existing results.
        resume: Continue an interrupted batch: images that are already in the table in --out are left unchanged.
        jobs: Images to process at once, so that reading and writing large files overlaps with inference.
        device: auto (a CUDA GPU if the scan engine runs on one, else the CPU), cpu, cuda, cuda:N or mps.
        engine: Scan engine, see `skinlesion doctor`.
    """
    for line in collect_inputs(images).left_out:  # complain about the images before anything is loaded
        print(line, file=sys.stderr)
    segmenter = Segmenter.from_pretrained(weights, device=device, engine=engine)
    with progress_bar("segmenting") as report:
        seen = (0, 0)

        def progress(done: int, total: int) -> None:
            nonlocal seen
            seen = (done, total)
            report(done, total)

        try:
            found = predict_files(
                segmenter,
                images,
                out,
                threshold=threshold,
                tta=tta,
                clean=CLEAN[clean],
                overwrite=overwrite,
                resume=resume,
                jobs=jobs,
                progress=progress,
                failure=lambda _, reason: print(f"skinlesion: {printable(reason)}", file=sys.stderr),
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(*seen, out)) from None
    _print_warnings(found)
    if found.table is not None:
        earlier = f" ({found.earlier} were done before)" if found.earlier else ""
        print(
            f"{counted(len(found.done), 'image')} segmented with {printable(segmenter.name)}{earlier}: "
            f"masks, overlays and {printable(found.table)}"
        )
    return 2 if found.failed else 0


def _print_warnings(found: Predictions) -> None:
    doubtful = [each for each in found.done if each.warnings]
    for each in doubtful[:MAX_WARNINGS]:
        print(f"{printable(each.image)}: {' '.join(each.warnings)}", file=sys.stderr)
    if len(doubtful) > MAX_WARNINGS:
        print(f"... and {len(doubtful) - MAX_WARNINGS} more: see the column warnings of the table.", file=sys.stderr)


def _interrupted(done: int, total: int, out: Path) -> str:
    if not done:
        return "Interrupted before the first image was done."
    return (
        f"Interrupted after {done} of {total} images; the finished ones are in {printable(out / TABLE)}. To continue, "
        "add --resume to the same command."
    )
