"""The page's icon, drawn here: Streamlit would fetch a named one from the network."""

import numpy as np
from PIL import Image

from skinlesion.plots.colors import BLUE


def icon(side: int = 64) -> Image.Image:
    """A lesion with its border, `side` pixels wide."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle = np.arctan2(y, x)
    radius = np.hypot(x, y) / (0.62 + 0.07 * np.cos(3 * angle + 1) + 0.04 * np.sin(5 * angle))
    drawn = np.zeros((side, side, 4), dtype=np.uint8)
    drawn[np.hypot(x, y) < 1] = (232, 190, 172, 255)
    drawn[radius < 1] = (112, 66, 52, 255)
    drawn[(radius >= 0.93) & (radius < 1.16)] = (*BLUE, 255)
    return Image.fromarray(drawn)
