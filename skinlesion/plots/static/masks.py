"""Masks, probabilities and errors over the image."""

import numpy as np

from skinlesion.plots import captions
from skinlesion.plots.colors import DIVERGING, SEQUENTIAL
from skinlesion.plots.rasters import Array, as_raster, confusion, masked
from skinlesion.plots.static.picture import Picture, show_image, show_map


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    opacity: float = 0.35,
    style: str = "fill",
) -> Picture:
    """The image beside the image with its mask.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        mask: bool (H, W).
        truth: bool (H, W), its border is drawn if given.
        opacity: of the fill, in [0, 1].
        style: "fill" or "contour".
    """
    picture = Picture(7.5, 3.8, captions.overlay(mask, truth))
    left, right = picture.subplots(1, 2)
    show_image(left, as_raster(image), "image")
    show_image(right, masked(image, mask, truth, opacity, style), "prediction")
    return picture


def errors(image: np.ndarray, mask: np.ndarray, truth: np.ndarray, *, opacity: float = 0.6) -> Picture:
    """True positives, false positives and false negatives.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        mask: the prediction, bool (H, W).
        truth: bool (H, W).
        opacity: of the tints, in [0, 1].
    """
    picture = Picture(7.5, 3.8, captions.errors(mask, truth))
    left, right = picture.subplots(1, 2)
    show_image(left, as_raster(image), "image")
    show_image(right, confusion(image, mask, truth, opacity), "errors")
    return picture


def probability(image: np.ndarray, values: Array, *, threshold: float | None = None) -> Picture:
    """The probability map beside the image.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        values: (H, W), in [0, 1].
        threshold: drawn as a line if given.
    """
    picture = Picture(8, 3.8, captions.probability(values, threshold))
    left, right = picture.subplots(1, 2)
    show_image(left, as_raster(image), "image")
    shown = show_map(right, values, image.shape[:2], "probability", cmap=SEQUENTIAL, vmin=0, vmax=1)
    if threshold is not None and values.min() < threshold <= values.max():
        right.contour(values, levels=[threshold], colors="white", linewidths=1)
    picture.colorbar(shown, ax=right, shrink=0.8)
    return picture


def spread(image: np.ndarray, values: Array) -> Picture:
    """Uncertainty: the spread of the probability over augmented views.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        values: standard deviation, (H, W), in [0, 0.5].
    """
    picture = Picture(8, 3.8, captions.spread(values))
    left, right = picture.subplots(1, 2)
    show_image(left, as_raster(image), "image")
    shown = show_map(right, values, image.shape[:2], "spread", cmap=SEQUENTIAL, vmin=0)
    picture.colorbar(shown, ax=right, shrink=0.8)
    return picture


def difference(image: np.ndarray, a: Array, b: Array, *, names: tuple[str, str] = ("A", "B")) -> Picture:
    """Two models' probabilities and their difference.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        a: (H, W), in [0, 1].
        b: (H, W), in [0, 1].
        names: of the two.
    """
    picture = Picture(11, 2.8, captions.difference(a, b, names))
    axes = picture.subplots(1, 4)
    show_image(axes[0], as_raster(image), "image")
    for at, values, name in zip(axes[1:3], (a, b), names, strict=True):
        show_map(at, values, image.shape[:2], name, cmap=SEQUENTIAL, vmin=0, vmax=1)
    title = f"{names[0]} minus {names[1]}"
    shown = show_map(axes[3], a - b, image.shape[:2], title, cmap=DIVERGING, vmin=-1, vmax=1)
    picture.colorbar(shown, ax=axes[3], shrink=0.8)
    return picture
