"""Files for a visitor to keep, made when they are asked for, at the images' own sizes."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import PurePath

import torch

from dashboard.image_choice import Picture
from dashboard.predict import Prediction
from dashboard.text import file_name
from skinlesion.explain.thresholds import threshold_counts
from skinlesion.metrics import ratios
from skinlesion.overlay import encode, overlay
from skinlesion.probability import resize_probability
from skinlesion.segmentation import Segmentation
from skinlesion.text import table_writer

# As `skinlesion predict` names them.
_COLUMNS = (
    *("image", "mask", "overlay", "width", "height", "lesion_pixels", "lesion_fraction"),
    *("confidence", "threshold", "weights", "iou", "dsc"),  # the scores where the true mask is known
)
Pair = tuple[Picture, Prediction]


def stem(picture: Picture) -> str:
    """What a picture's files are called."""
    return PurePath(file_name(picture.title if picture.mine else picture.id)).stem


def mask_png(picture: Picture, prediction: Prediction, threshold: float) -> bytes:
    """The mask, 255 on the lesion, at the image's own size."""
    return encode(_full(picture, prediction, threshold).mask, "PNG")


def overlay_png(picture: Picture, prediction: Prediction, threshold: float) -> bytes:
    """The image with the mask drawn on it, at its own size."""
    found = _full(picture, prediction, threshold)
    return encode(overlay(found.image, found.mask), "PNG")


def table_csv(pairs: Sequence[Pair], threshold: float, weights: str) -> bytes:
    """A row an image, as `skinlesion predict` writes."""
    names = _unique(pairs)
    rows = [_row(name, picture, _full(picture, found, threshold), weights) for name, (picture, found) in names]
    return _table(rows)


def batch_zip(pairs: Sequence[Pair], threshold: float, weights: str) -> bytes:
    """Mask and overlay of every image, and the table."""
    buffer, rows = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:  # PNG is compressed already
        for name, (picture, prediction) in _unique(pairs):
            found = _full(picture, prediction, threshold)
            file.writestr(f"{name}_mask.png", encode(found.mask, "PNG"))
            file.writestr(f"{name}_overlay.png", encode(overlay(found.image, found.mask), "PNG"))
            rows.append(_row(name, picture, found, weights))
        file.writestr("predictions.csv", _table(rows))
    return buffer.getvalue()


def _full(picture: Picture, prediction: Prediction, threshold: float) -> Segmentation:
    return prediction.segmentation(picture.full(), threshold)


def _unique(pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """A name for each picture: its own, then with -2, -3, ..."""
    taken: set[str] = set()
    named = []
    for pair in pairs:
        first = name = stem(pair[0])
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name.casefold())
        named.append((name, pair))
    return named


def _row(name: str, picture: Picture, found: Segmentation, weights: str) -> list[object]:
    height, width = found.mask.shape
    return [
        *(file_name(picture.title if picture.mine else picture.id), f"{name}_mask.png", f"{name}_overlay.png"),
        *(width, height, found.area, f"{found.area_fraction:.6f}", f"{found.confidence:.4f}"),
        *(found.threshold, weights, *_scores(picture, found)),
    ]


def _scores(picture: Picture, found: Segmentation) -> list[str]:
    """IoU and DSC at the size that is shown, as on the screen; empty without a true mask."""
    if picture.truth is None:
        return ["", ""]
    shown = resize_probability(torch.tensor(found.probability)[None, None], picture.truth.shape)[0, 0].numpy()
    scores = ratios(threshold_counts(shown, picture.truth).at(found.threshold))
    return [f"{float(scores[name]):.4f}" for name in ("iou", "dsc")]


def _table(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = table_writer(text)
    for row in (_COLUMNS, *rows):
        writer.writerow(row)
    return text.getvalue().encode()
