"""`skinlesion predict`."""

import sys
from pathlib import Path

import tyro

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.commands.progress import progress_bar
from skinlesion.prediction import TABLE, collect_inputs, predict_files
from skinlesion.segmenter import Segmenter
from skinlesion.text import printable


def predict(
    images: tyro.conf.Positional[tuple[Path, ...]],
    *,
    out: Path,
    weights: str = DEFAULT_WEIGHTS,
    threshold: float | None = None,
    tta: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    jobs: int = 1,
    device: str = "cpu",
    engine: str = "auto",
) -> int:
    """Segment images: writes NAME_mask.png, NAME_overlay.png and predictions.csv.

    Masks have the image's own size and are 255 on the lesion. If a photo's EXIF data say that it is rotated, image
    and mask are turned upright. In the table, lesion_fraction is the lesion's share of the image and confidence is the
    soft Dice confidence: about the Dice score to expect, 0 where no lesion was found.

    The table is written row by row. A file that cannot be used is reported and doesn't stop the others. After Ctrl-C,
    the same command with --resume continues.

    Args:
        images: Image files, or folders of them.
        out: Folder for the results; made if missing.
        weights: A name (see `skinlesion doctor`), a .safetensors file or a run folder.
        threshold: Least probability that counts as lesion; by default the one stored with the weights.
        tta: Average over the four flips of the image: a little better, four times slower.
        overwrite: Replace existing results.
        resume: Continue an interrupted batch: images that are already in the table in --out are left unchanged.
        jobs: Images processed at once. Reading and writing large files then overlaps with the network.
        device: cpu, cuda, cuda:0, ...
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
                overwrite=overwrite,
                resume=resume,
                jobs=jobs,
                progress=progress,
                failure=lambda _, reason: print(f"skinlesion: {printable(reason)}", file=sys.stderr),
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(*seen, out)) from None
    if found.table is not None:
        earlier = f" ({found.earlier} were done before)" if found.earlier else ""
        print(
            f"{len(found.done)} images segmented with {printable(segmenter.name)}{earlier}: masks, overlays and "
            f"{printable(found.table)}"
        )
    return 2 if found.failed else 0


def _interrupted(done: int, total: int, out: Path) -> str:
    if not done:
        return "Interrupted before the first image was done."
    return (
        f"Interrupted after {done} of {total} images; the finished ones are in {printable(out / TABLE)}. To continue, "
        "add --resume to the same command."
    )
