"""Drawing thin things: strands, lines and discs in scene coordinates, with smooth edges at any image size."""

import numpy as np
from PIL import Image, ImageDraw

from skinlesion.data.synthetic.fields import Grid

_FINER = 4  # the canvas has this many pixels per image pixel, along each side


class Canvas:
    """A sheet over the scene on which opacity is drawn, then averaged down to the image's pixels."""

    def __init__(self, grid: Grid) -> None:
        height, width = grid.size
        self._sheet = Image.new("L", (width * _FINER, height * _FINER))
        self._pen = ImageDraw.Draw(self._sheet)
        self._step = np.array(grid.steps) / _FINER
        self._origin = np.array([grid.x[0], grid.y[0]]) - np.array(grid.steps) / 2

    def strand(self, points: np.ndarray, width: float, end_width: float | None = None, opacity: float = 1.0) -> None:
        """Draw a line through points (n, 2) as (x, y), of a width that changes evenly to ``end_width``."""
        step = np.gradient(points, axis=0)
        normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / (np.hypot(*step.T)[:, None] + 1e-9)
        half = np.linspace(width, width if end_width is None else end_width, len(points))[:, None] / 2
        outline = np.concatenate([points + half * normal, (points - half * normal)[::-1]])
        self._pen.polygon([tuple(point) for point in self._place(outline).tolist()], fill=round(255 * opacity))

    def disc(self, center: tuple[float, float], radius: float, opacity: float = 1.0) -> None:
        """Draw a filled disc."""
        low, high = self._place(np.array(center) - radius), self._place(np.array(center) + radius)
        self._pen.ellipse([*low.tolist(), *high.tolist()], fill=round(255 * opacity))

    def coverage(self) -> np.ndarray:
        """Return the opacity at each pixel, float32 (H, W) in [0, 1]."""
        return np.asarray(self._sheet.reduce(_FINER), dtype=np.float32) / 255

    def _place(self, points: np.ndarray) -> np.ndarray:
        """Return scene coordinates (..., 2) as places on the sheet."""
        return (points - self._origin) / self._step
