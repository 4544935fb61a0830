"""Pictures on their way to a page."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

LONG = 768  # pixels along the longer side of a large picture: lines on small images stay smooth


def data_uri(image: np.ndarray, *, quality: int = 90) -> str:
    """The picture as text that a page shows without fetching anything; uint8 (H, W, 3)."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def large(size: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of the same proportions, `LONG` pixels long."""
    scale = LONG / max(size[:2])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def enlarge(image: np.ndarray) -> np.ndarray:
    """The image at `large`'s size, uint8 (H, W, 3), smoothly."""
    height, width = large(image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
