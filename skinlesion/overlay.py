"""Drawing masks on images with NumPy alone: what `predict` writes and the report shows."""

from io import BytesIO

import numpy as np
from PIL import Image

from skinlesion.data.images import resize_image, resize_mask

# From a palette that color-blind people can tell apart (Okabe and Ito).
PREDICTED = (86, 180, 233)
TRUE = (0, 158, 115)
MISSED = (230, 159, 0)
WRONG = (204, 121, 167)


def overlay(image: np.ndarray, mask: np.ndarray, *, opacity: float = 0.25) -> np.ndarray:
    """The image with the mask as a light tint and a line along its border.

    Args:
        image: uint8 (H, W, 3).
        mask: bool (H, W).
        opacity: of the tint, in [0, 1].

    Returns:
        uint8 (H, W, 3).
    """
    drawn = _tint(image, mask, PREDICTED, opacity)
    drawn[border(mask, line_width(image.shape[:2]))] = PREDICTED
    return drawn


def error_overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """The image with false negatives and false positives tinted, and the true border as a line.

    Args:
        image: uint8 (H, W, 3).
        mask: the prediction, bool (H, W).
        truth: bool (H, W).
        opacity: of the tints, in [0, 1].

    Returns:
        uint8 (H, W, 3).
    """
    drawn = _tint(_tint(image, truth & ~mask, MISSED, opacity), mask & ~truth, WRONG, opacity)
    drawn[border(truth, line_width(image.shape[:2]))] = TRUE
    return drawn


def border(mask: np.ndarray, width: int) -> np.ndarray:
    """The mask's pixels within `width` steps of the outside; the image's frame is no border. Bool (H, W)."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def line_width(size: tuple[int, ...]) -> int:
    """A line that can be seen at this (height, width) and is at most 12 pixels wide."""
    return min(12, max(1, round(min(size) / 200)))


def at_most(array: np.ndarray, pixels: int) -> np.ndarray:
    """The image or bool mask, downscaled to at most `pixels` pixels; a smaller one is returned unchanged."""
    height, width = array.shape[:2]
    return thumbnail(array, max(1, int(max(height, width) * min(1.0, (pixels / (height * width)) ** 0.5))))


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """The image or bool mask reduced to at most `side` pixels; a smaller one is returned as it is."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    return resize_mask(image, size) if image.ndim == 2 else resize_image(image, size)


def encode(image: np.ndarray, kind: str) -> bytes:
    """A file's bytes; uint8 (H, W, 3) or bool (H, W), `kind` "PNG" or "JPEG"."""
    buffer = BytesIO()
    array = image.view(np.uint8) * np.uint8(255) if image.dtype == bool else image
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def _tint(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], opacity: float) -> np.ndarray:
    drawn = image.copy()
    drawn[mask] = np.round((1 - opacity) * image[mask] + opacity * np.array(color)).astype(np.uint8)
    return drawn
