"""Arrays made ready to be shown: images as bytes, maps as images, sizes kept modest."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinlesion.overlay import border, error_overlay, line_width, overlay, thumbnail
from skinlesion.plots.colors import BLUE, GREEN

Raster = NDArray[np.uint8]
Array = NDArray[np.floating]

IMAGE_SIDE = 512  # pixels of a picture in an interactive figure
MAP_SIDE = 256  # numbers of a heat map along its longer side


def as_raster(image: np.ndarray) -> Raster:
    """An image as uint8 (H, W, 3): one that is already, or one prepared for the model, float (H, W, 3) in [0, 1]."""
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def gray(image: np.ndarray) -> Raster:
    """The image without its colors and with less contrast, to lie under a heat map; uint8 (H, W, 3)."""
    brightness = as_raster(image) @ np.array([0.299, 0.587, 0.114])
    return np.repeat((70 + 0.6 * brightness).astype(np.uint8)[..., None], 3, axis=2)


def data_uri(image: Raster, side: int = IMAGE_SIDE) -> tuple[str, tuple[int, int]]:
    """An image as text that a page can show without fetching anything, reduced to `side` pixels, and its new size.

    Args:
        image: uint8 (H, W, 3), or with a fourth channel for opacity.
        side: the longer one at most.
    """
    small = thumbnail(image, side)
    # JPEG is a quarter of PNG's size and time; color at full resolution keeps thin colored lines.
    kind = "png" if image.shape[2] == 4 else "jpeg"
    options: dict[str, Any] = {} if kind == "png" else {"quality": 92, "subsampling": 0}
    buffer = BytesIO()
    Image.fromarray(small).save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", small.shape[:2]


def reduced(values: Array, side: int = MAP_SIDE) -> tuple[NDArray[np.float32], int]:
    """A map averaged over square blocks so that it has at most `side` numbers a side, and the block's side."""
    block = max(1, -(-max(values.shape) // side))
    padding = [(0, -length % block) for length in values.shape]
    padded = np.pad(values, padding, mode="edge").astype(np.float32)
    height, width = (length // block for length in padded.shape)
    return padded.reshape(height, block, width, block).mean((1, 3)), block  # (h, b, w, b) -> (h, w)


def masked(image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None, opacity: float, style: str) -> Raster:
    """The image under a mask, drawn filled or as a contour, with the true border if it is known."""
    if style not in ("fill", "contour"):
        raise ValueError(f"style must be 'fill' or 'contour', not {style!r}")
    drawn = overlay(as_raster(image), mask, opacity=opacity if style == "fill" else 0.0)
    if truth is not None:
        drawn[border(truth, line_width(image.shape[:2]))] = GREEN
    return drawn


def confusion(image: np.ndarray, mask: np.ndarray, truth: np.ndarray, opacity: float) -> Raster:
    """The image with true positives, false positives and false negatives tinted and the true border drawn."""
    drawn = as_raster(image).copy()
    right = mask & truth
    drawn[right] = np.round((1 - 0.5 * opacity) * drawn[right] + 0.5 * opacity * np.array(BLUE)).astype(np.uint8)
    return error_overlay(drawn, mask, truth, opacity=opacity)


def outlined(image: Raster, region: np.ndarray) -> Raster:
    """The image with a blue line along the border of a region; a single pixel is drawn as it is."""
    drawn = image.copy()
    drawn[border(region, line_width(region.shape))] = BLUE
    return drawn


def line_raster(mask: np.ndarray, color: tuple[int, int, int] = (255, 255, 255)) -> Raster:
    """Nothing but a line along the border of a mask, on clear ground; uint8 (H, W, 4)."""
    line = border(mask, 2 * line_width(mask.shape))
    drawn = np.zeros((*mask.shape, 4), dtype=np.uint8)
    drawn[line] = (*color, 255)
    return drawn


def largest_elsewhere(values: Array, token: tuple[int, int]) -> float:
    """The largest absolute weight, (h, w), outside the token itself, which outshines the rest; 1 if there is none."""
    others = np.abs(values)
    others[token] = 0
    return float(others.max()) or 1.0
