"""Segmenting files: for each image a mask, an overlay and a row of a table."""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skinlesion.data.decoding import IMAGE_SUFFIXES
from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, replacing
from skinlesion.overlay import encode, overlay
from skinlesion.segmenter import Augmentation, Segmentation, Segmenter, check_threshold

TABLE = "predictions.csv"
_COLUMNS = (
    *("image", "mask", "overlay", "width", "height", "lesion_pixels", "lesion_fraction"),
    *("confidence", "threshold", "weights"),
)


@dataclass(frozen=True)
class Prediction:
    """One image that was segmented.

    Attributes:
        image: the file that was read.
        mask: the file written: 8-bit PNG, 255 on the lesion, at the image's own size. Where the EXIF data say that the
            photo is to be turned, image and mask are turned: the mask fits the photo as it is shown.
        overlay: the file written: the image with the mask drawn on it, PNG.
        size: (height, width) of both.
        area, area_fraction, confidence, threshold: as in `Segmentation`.
    """

    image: Path
    mask: Path
    overlay: Path
    size: tuple[int, int]
    area: int
    area_fraction: float
    confidence: float
    threshold: float


@dataclass(frozen=True)
class Predictions:
    """What became of all images: `done`, and (file, reason) for each in `failed`; `table` is the CSV."""

    done: tuple[Prediction, ...]
    failed: tuple[tuple[Path, str], ...]
    table: Path | None


def predict_files(
    segmenter: Segmenter,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    threshold: float | None = None,
    tta: Augmentation = False,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Predictions:
    """Segment image files and folders of them into a folder.

    An image that cannot be used does not stop the others. Two images of one name get different output names.

    Args:
        segmenter: what to segment with.
        inputs: image files, and folders whose images are taken (not those in folders inside).
        out: folder for NAME_mask.png, NAME_overlay.png and predictions.csv; made if missing.
        threshold: as `Segmenter.segment`.
        tta: as `Segmenter.segment`.
        overwrite: replace outputs that exist already.
        progress: called with (images done, images in all) after each.

    Raises:
        SkinlesionError: there is no input, an output exists already (nothing is written then), or the folder cannot
            be written to.
    """
    if threshold is not None:
        check_threshold(threshold)
    images = list(expand_inputs(inputs))
    out = Path(out)
    names = _unique_names(images)
    _refuse_inputs(out, names, images)
    if not overwrite:
        _refuse_existing(out, names)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    make_folder(out)
    done, failed = [], []
    for count, (image, name) in enumerate(zip(images, names, strict=True), start=1):
        try:
            found = segmenter.segment(image, threshold=threshold, tta=tta)
        except SkinlesionError as error:
            failed.append((image, str(error)))
        else:
            done.append(_write(image, out, name, found))
        if progress is not None:
            progress(count, len(images))
    if done:
        _write_table(out / TABLE, done, segmenter.name)
    else:
        for folder in made:  # nothing came of it: leave nothing behind
            folder.rmdir()
    return Predictions(tuple(done), tuple(failed), out / TABLE if done else None)


def expand_inputs(inputs: Iterable[str | Path]) -> Iterator[Path]:
    """The image files behind files and folders; a folder's are sorted, superpixel maps and hidden files left out.

    Raises:
        SkinlesionError: there is no input at all, or a folder holds no image.
    """
    paths = [Path(path) for path in inputs]
    if not paths:
        raise SkinlesionError("No image was given: name image files or folders.")
    for path in paths:
        if not path.is_dir():
            yield path  # a missing file is reported with the other files that cannot be read
            continue
        found = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES
            and not file.name.startswith(".")
            and not file.stem.lower().endswith("_superpixels")
        )
        if not found:
            raise SkinlesionError(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
        yield from found


def _unique_names(images: list[Path]) -> list[str]:
    """A name for each image's outputs: its own without suffix, then with -2, -3, ...

    Case is ignored, since some file systems ignore it. Two images cannot get outputs of one name, since
    "a" and "a_mask" would need "a_mask_mask.png".
    """
    taken: set[str] = set()
    names = []
    for image in images:
        stem = name = image.stem or "image"
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _outputs(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}_mask.png", out / f"{name}_overlay.png"


def _refuse_inputs(out: Path, names: list[str], images: list[Path]) -> None:
    """An image must not be replaced by another one's mask, whatever was asked for."""
    given = {image.resolve() for image in images}
    for name in names:
        for path in _outputs(out, name):
            if path.resolve() in given:
                raise SkinlesionError(f"{path} is one of the images, and would be written over: choose another --out.")


def _refuse_existing(out: Path, names: list[str]) -> None:
    wanted = [out / TABLE, *(path for name in names for path in _outputs(out, name))]
    present = [path for path in wanted if path.exists()]
    if present:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise SkinlesionError(
            f"{present[0]} exists already{more}: choose another --out, or replace the files with --overwrite."
        )


def _write(image: Path, out: Path, name: str, found: Segmentation) -> Prediction:
    mask, drawn = _outputs(out, name)
    for path, array in ((mask, found.mask), (drawn, overlay(found.image, found.mask))):
        with replacing(path) as temporary:
            temporary.write_bytes(encode(array, "PNG"))
    height, width = found.mask.shape
    return Prediction(
        image, mask, drawn, (height, width), found.area, found.area_fraction, found.confidence, found.threshold
    )


def _write_table(path: Path, done: list[Prediction], weights: str) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for row in done:
            height, width = row.size
            writer.writerow(
                [
                    *(row.image, row.mask.name, row.overlay.name, width, height, row.area),
                    *(f"{row.area_fraction:.6f}", f"{row.confidence:.4f}", row.threshold, weights),
                ]
            )
