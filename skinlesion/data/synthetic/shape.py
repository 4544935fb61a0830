"""The lesion's outline, as a field that is positive inside: about the distance to the border, in scene units."""

import math
from dataclasses import dataclass, replace

import numpy as np

from skinlesion.data.synthetic.fields import ASPECT, Box, Grid, fractal, stream
from skinlesion.data.synthetic.recipe import Recipe

_COARSE = Grid((120, 160))  # where the area is measured, whatever the image's size, so that all sizes agree


@dataclass(frozen=True)
class Shape:
    """An outline on one grid.

    Attributes:
        depth: float32 (H, W), about the distance to the border in scene units, positive inside.
        radius: that of a disc of the same area, in scene units.
        center: (x, y) in scene units.
        reach: the largest distance of a lesion pixel from the frame's center.
    """

    depth: np.ndarray
    radius: float
    center: tuple[float, float]
    reach: float

    @property
    def mask(self) -> np.ndarray:
        """The lesion, bool (H, W)."""
        return self.depth > 0

    def box(self, margin: float) -> Box:
        """Return the rows and columns that hold the lesion and about ``margin`` scene units around it."""
        near = self.depth > -margin
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def window(self, box: Box) -> "Shape":
        """Return this outline with only the part of ``depth`` in ``box``."""
        return replace(self, depth=self.depth[box])


def draw_shape(recipe: Recipe, seed: int, grid: Grid) -> Shape:
    """Return the outline of the lesion of ``seed``, its area measured on a fixed grid."""
    radius = math.sqrt(recipe.area * ASPECT / math.pi)
    center = _place(recipe, seed, radius)
    coarse = _level(recipe, seed, _COARSE, radius, center)
    border = float(np.quantile(coarse, 1 - recipe.area))
    inside = np.argwhere(coarse > border)
    y, x = _COARSE.y[inside[:, 0]], _COARSE.x[inside[:, 1]]
    reach = float(np.hypot(x - ASPECT / 2, y - 0.5).max())
    level = _level(recipe, seed, grid, radius, center)
    return Shape(depth=(level - border) * radius, radius=radius, center=center, reach=reach)


def _place(recipe: Recipe, seed: int, radius: float) -> tuple[float, float]:
    """Return the center: near the frame's, and with room to the frame's edge as far as the lesion is small."""
    rng = stream(seed, "place")
    room_x, room_y = max(0.02, ASPECT / 2 - 1.7 * radius), max(0.02, 0.5 - 1.7 * radius)
    x = ASPECT / 2 + float(np.clip(rng.normal(0, 0.09), -room_x, room_x))
    y = 0.5 + float(np.clip(rng.normal(0, 0.08), -room_y, room_y))
    return x, y


def _level(recipe: Recipe, seed: int, grid: Grid, radius: float, center: tuple[float, float]) -> np.ndarray:
    """Return 1 at the lesion's center, falling with the distance in radii: a smooth union of wavy lobes."""
    rng = stream(seed, "shape")
    wander = 0.8 * recipe.ragged * (1 - recipe.area)
    x = (grid.x - center[0]) / radius + wander * fractal(rng, grid, 1.6 / radius, 3)
    y = (grid.y[:, None] - center[1]) / radius + wander * fractal(rng, grid, 1.6 / radius, 3)
    # Large lesions fill the frame, so they lie along it.
    angle = rng.uniform(0, math.pi) if recipe.area < 0.35 else rng.normal(0, 0.15)
    stretch = rng.uniform(1.0, 1.55) if recipe.area < 0.35 else rng.uniform(1.2, 1.5)
    total = np.zeros(grid.size, np.float32)
    sharpness = 6.0
    for lobe in range(recipe.lobes):
        away = 0.0 if lobe == 0 else rng.uniform(0.5, 0.95)
        toward, size = rng.uniform(0, 2 * math.pi), 1.0 if lobe == 0 else rng.uniform(0.4, 0.85)
        lobe_level = _blob(rng, x - away * math.cos(toward), y - away * math.sin(toward), angle, stretch, size)
        total += np.exp(sharpness * np.maximum(lobe_level, -4))
    level = np.log(total) / sharpness
    fine = fractal(rng, grid, 5.0 / radius, 4, 0.7)
    return level + 0.35 * wander * fine


def _blob(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, angle: float, stretch: float, size: float
) -> np.ndarray:
    """Return size minus the distance from the center in units of a radius that waves with the direction."""
    along = (math.cos(angle) * x + math.sin(angle) * y) / math.sqrt(stretch)
    across = (math.cos(angle) * y - math.sin(angle) * x) * math.sqrt(stretch)
    direction = np.linspace(-math.pi, math.pi, 4097, dtype=np.float32)
    waves = np.zeros_like(direction)
    for harmonic in range(2, 8):
        height = rng.normal(0, 0.17) / harmonic
        waves += height * np.cos(harmonic * direction + rng.uniform(0, 2 * math.pi))
    index = ((np.arctan2(across, along) + math.pi) * (4096 / (2 * math.pi))).astype(np.int32)
    return size - np.hypot(along, across) / (1 + waves)[np.clip(index, 0, 4096)]
