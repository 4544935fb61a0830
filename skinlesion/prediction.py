"""Segmenting files: for each image a mask, an overlay and a row of a table."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from skinlesion.errors import MachineError, SkinlesionError
from skinlesion.files import replacing
from skinlesion.overlay import at_most, encode, overlay
from skinlesion.prediction_inputs import (
    collect_inputs,
    expand_inputs,
    output_paths,
    refuse_existing,
    refuse_inputs,
    unique_names,
)
from skinlesion.prediction_table import FILE, PredictionTable
from skinlesion.reserved import reserved
from skinlesion.segmentation import Segmentation
from skinlesion.segmenter import Augmentation, Segmenter, check_threshold, tta_name
from skinlesion.text import cell, printable

__all__ = ["TABLE", "Prediction", "Predictions", "collect_inputs", "expand_inputs", "predict_files"]

TABLE = FILE
_COLUMNS = (
    *("image", "mask", "overlay", "width", "height", "lesion_pixels", "lesion_fraction"),
    *("confidence", "warnings", "threshold", "tta", "clean", "weights"),
)
Row = dict[str, str]  # of the table, by column
MAX_JOBS = 256
OVERLAY_PIXELS = 32_000_000  # an overlay is for looking at: of a larger image it is reduced
_SETTINGS = ("threshold", "tta", "clean", "weights")  # what all rows of a table share


@dataclass(frozen=True)
class Prediction:
    """One image that was segmented.

    Attributes:
        image: the file that was read.
        mask: the file written: 8-bit PNG, 255 on the lesion, at the image's own size. If the EXIF data say that the
            photo is rotated, image and mask are turned upright: the mask fits the photo as it is displayed.
        overlay: the file written: the image with the mask drawn on it, PNG, at most `OVERLAY_PIXELS` large.
        size: (height, width) of the mask.
        area, area_fraction, confidence, threshold, warnings: as in `Segmentation`.
    """

    image: Path
    mask: Path
    overlay: Path
    size: tuple[int, int]
    area: int
    area_fraction: float
    confidence: float
    threshold: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """The outcome for all images: `done`, and (file, reason) for each in `failed`; `table` is the CSV.

    `earlier` counts the images that an interrupted batch had already finished; they are left unchanged.
    """

    done: tuple[Prediction, ...]
    failed: tuple[tuple[Path, str], ...]
    table: Path | None
    earlier: int = 0


class _Task(NamedTuple):
    """An image and the name of its outputs."""

    image: Path
    name: str


_Work = Callable[[_Task], "Prediction | str"]


def predict_files(
    segmenter: Segmenter,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    threshold: float | None = None,
    tta: Augmentation = False,
    clean: bool | None = None,
    overwrite: bool = False,
    resume: bool = False,
    jobs: int = 1,
    progress: Callable[[int, int], object] | None = None,
    failure: Callable[[Path, str], object] | None = None,
) -> Predictions:
    """Segment image files and folders of them into a folder.

    An image that cannot be used, or whose outputs cannot be written, does not stop the others. The table gets its row
    as soon as an image's outputs are complete, in the order of the images. Two images with the same name get different
    output names.

    Args:
        segmenter: what to segment with.
        inputs: image files, and folders whose images are used (subfolders are not searched).
        out: folder for NAME_mask.png, NAME_overlay.png and predictions.csv; made if missing.
        threshold: as `Segmenter.segment`.
        tta: as `Segmenter.segment`.
        clean: as `Segmenter.segment`.
        overwrite: replace existing outputs.
        resume: skip the images that are already in the table in `out`, and segment the others.
        jobs: images processed at once; the processor's cores are divided between them.
        progress: called with (images done, images in all) after each.
        failure: called with (file, reason) as soon as an image has failed.

    Raises:
        SkinlesionError: there is no input, an output exists already (nothing is written then), the folder cannot be
            written to, or the batch to resume was made with other settings.
        MachineError: the disk is full; as after Ctrl-C, `resume` continues the batch.
        KeyboardInterrupt: Ctrl-C; the table has a row for each finished image, and `resume` continues the batch.
    """
    threshold = check_threshold(segmenter.threshold if threshold is None else threshold)
    if not 1 <= jobs <= MAX_JOBS:
        raise SkinlesionError(f"--jobs must be from 1 to {MAX_JOBS}; got {jobs}.")
    images = collect_inputs(inputs).images
    clean = segmenter.clean if clean is None else clean
    settings = {
        "threshold": str(threshold),
        "tta": tta_name(tta),
        "clean": "on" if clean else "off",
        "weights": str(cell(segmenter.name)),
    }
    with reserved(out) as folder:
        table = PredictionTable(folder / TABLE, _COLUMNS)
        rows = table.read() if resume else []
        kept, tasks = _plan(images, rows, folder, settings)
        refuse_inputs(folder, [task.name for task in tasks], images)
        if not overwrite and not (resume and table.path.exists()):  # it may have been killed before its first row
            refuse_existing(folder, [task.name for task in tasks])

        def work(task: _Task) -> Prediction | str:
            return _segment(segmenter, task, folder, threshold=threshold, tta=tta, clean=clean)

        done: list[Prediction] = []
        failed: list[tuple[Path, str]] = []
        earlier = len(images) - len(tasks)
        try:
            with closing(_work_through(work, tasks, jobs, table, kept, settings)) as results:
                for image, found in results:
                    if isinstance(found, str):
                        failed.append((image, found))
                        if failure is not None:
                            failure(image, found)
                    else:
                        done.append(found)
                    if progress is not None:
                        progress(earlier + len(done) + len(failed), len(images))
        finally:
            if not done and not kept:  # no results: leave nothing behind
                table.path.unlink(missing_ok=True)
    return Predictions(tuple(done), tuple(failed), table.path if done or kept else None, earlier)


def _work_through(
    work: _Work, tasks: list[_Task], jobs: int, table: PredictionTable, kept: list[Row], settings: Row
) -> Generator[tuple[Path, Prediction | str]]:
    """Do the tasks, write each one's row, and yield (image, result)."""
    table.start(kept)
    with closing(table), closing(_in_order(work, tasks, jobs)) as results:  # after Ctrl-C it ends what is running
        for task, found in results:
            yield task.image, found if isinstance(found, str) else _record(table, found, settings)


def _plan(images: list[Path], rows: list[Row], out: Path, settings: Row) -> tuple[list[Row], list[_Task]]:
    """The rows of an earlier batch that are still valid, and what is left to do."""
    earlier: dict[str, deque[Row]] = {}
    for row in rows:
        for name in _SETTINGS:
            if row[name] != settings[name]:
                raise SkinlesionError(
                    f"{printable(out / TABLE)} was made with {name} {printable(row[name])}, not {settings[name]}: "
                    "choose the same settings, or another --out."
                )
        if (out / row["mask"]).is_file() and (out / row["overlay"]).is_file():
            earlier.setdefault(row["image"], deque()).append(row)
    kept, rest = [], []
    for image in images:
        before = earlier.get(str(cell(image)))
        if before:
            kept.append(before.popleft())
        else:
            rest.append(image)
    kept += [row for left in earlier.values() for row in left]  # of images that are not requested this time
    taken = [row["mask"].removesuffix("_mask.png") for row in kept]
    return kept, [_Task(*pair) for pair in zip(rest, unique_names(rest, taken), strict=True)]


def _in_order(work: _Work, tasks: list[_Task], jobs: int) -> Generator[tuple[_Task, Prediction | str]]:
    """Results in the order of the tasks, a few of which run at once."""
    waiting: deque[tuple[_Task, Future[Prediction | str]]] = deque()
    coming = iter(tasks)
    with _share_cores(jobs), ThreadPoolExecutor(jobs, thread_name_prefix="predict") as pool:
        try:
            while True:
                while len(waiting) < 2 * jobs and (task := next(coming, None)) is not None:
                    waiting.append((task, pool.submit(work, task)))
                if not waiting:
                    return
                task, future = waiting[0]
                result = future.result()
                waiting.popleft()
                yield task, result
        finally:  # after Ctrl-C: start no other image, and remove what has no row
            for _, future in waiting:
                future.cancel()
            for _, future in waiting:
                if future.cancelled() or future.exception() is not None:
                    continue
                if isinstance(found := future.result(), Prediction):
                    _remove(found)


@contextmanager
def _share_cores(jobs: int) -> Iterator[None]:
    """Give each job its share of the cores, and restore the number of threads afterwards."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(max(1, before // jobs))
        yield
    finally:
        torch.set_num_threads(before)


def _segment(segmenter: Segmenter, task: _Task, out: Path, **options: Any) -> Prediction | str:
    """Segment one image and write its outputs; why it failed, if it did."""
    try:
        return _write(task, out, segmenter.segment(task.image, **options))
    except MachineError:  # the other images would fail, too
        raise
    except SkinlesionError as error:
        return str(error)
    except MemoryError:
        return f"{printable(task.image)}: there is not enough memory for this image; reduce it and try again."
    except Exception as error:  # whatever it is, it must not stop the batch
        return f"{printable(task.image)} could not be segmented ({type(error).__name__}: {printable(error)})."


def _write(task: _Task, out: Path, found: Segmentation) -> Prediction:
    mask, drawn = output_paths(out, task.name)
    height, width = found.mask.shape
    prediction = Prediction(
        task.image,
        mask,
        drawn,
        (height, width),
        found.area,
        found.area_fraction,
        found.confidence,
        found.threshold,
        found.warnings,
    )
    image, found_mask = found.image, found.mask
    del found  # its maps of a large image take half of the memory
    try:
        with replacing(mask) as temporary:
            temporary.write_bytes(encode(found_mask, "PNG"))
        shown = overlay(at_most(image, OVERLAY_PIXELS), at_most(found_mask, OVERLAY_PIXELS))
        with replacing(drawn) as temporary:
            temporary.write_bytes(encode(shown, "PNG"))
    except BaseException:
        _remove(prediction)
        raise
    return prediction


def _record(table: PredictionTable, found: Prediction, settings: Row) -> Prediction | str:
    """Write the image's row; if that fails, remove its outputs."""
    height, width = found.size
    values: list[Any] = [found.image, found.mask.name, found.overlay.name, width, height, found.area]
    values += [f"{found.area_fraction:.6f}", f"{found.confidence:.4f}", " ".join(found.warnings)]
    values += [settings[name] for name in _SETTINGS]
    try:
        table.append(values)
    except MachineError:
        _remove(found)
        raise
    except SkinlesionError as error:
        _remove(found)
        return f"{printable(found.image)}: {error}"
    return found


def _remove(found: Prediction) -> None:
    for path in (found.mask, found.overlay):
        path.unlink(missing_ok=True)
