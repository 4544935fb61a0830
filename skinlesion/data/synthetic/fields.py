"""Coordinates and random fields of a scene that exists before it is sampled.

A scene is a camera frame of 4 : 3, like most originals of the ISIC archive: x runs over [0, 4/3], y over [0, 1]. An
image of any size is that frame squashed onto its pixels, exactly as the archive's frames are squashed onto squares.
Every random number sits on a lattice that belongs to the scene, so the same seed shows the same thing at every size.
"""

import math
from copy import copy
from zlib import crc32

import numpy as np

Box = tuple[slice, slice]  # rows and columns
ASPECT = 4 / 3
_FINEST = 200  # cells per scene unit
_MARGIN = 0.25  # how far a warped coordinate may leave the scene before cells() clips it


class Grid:
    """Pixel centers of an image of ``size`` (height, width), or of a window in it, in scene coordinates.

    Attributes:
        size: (height, width).
        x: float32 (W,).
        y: float32 (H,).
        steps: a pixel's width and height, in scene units.
        pixel: the longer side of a pixel, in scene units: nothing finer can be shown.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self.size = (height, width)
        self.x = ((np.arange(width, dtype=np.float32) + 0.5) * (ASPECT / width)).astype(np.float32)
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / height).astype(np.float32)
        self.steps = (ASPECT / width, 1 / height)
        self.pixel = max(self.steps)

    def window(self, box: Box) -> "Grid":
        """Return the part of this grid in ``box``; what is drawn there is what the whole grid would show."""
        part = copy(self)
        part.y, part.x = self.y[box[0]], self.x[box[1]]
        part.size = (len(part.y), len(part.x))
        return part


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of one part of the scene.

    Each part has its own, so that leaving out the hair, say, changes nothing but the hair.
    """
    return np.random.default_rng([seed, crc32(name.encode())])


def noise(rng: np.random.Generator, grid: Grid, cells: float) -> np.ndarray:
    """Draw smooth noise: random values on a lattice, interpolated by cubic B-splines.

    Args:
        rng: its draws do not depend on the grid.
        grid: where to sample.
        cells: lattice cells per scene unit.

    Returns:
        float32 (H, W), mean 0, variance about 1 (less where a pixel is coarser than a cell, as in a photograph).
    """
    rows, columns = math.ceil(cells) + 3, math.ceil(cells * ASPECT) + 3
    table = rng.standard_normal((rows, columns), dtype=np.float32)
    # Not as matrix products: their threads would fight with a training run's over few cores.
    across = np.ascontiguousarray(_blend(np.ascontiguousarray(table.T), grid.x * cells).T)  # (rows, W)
    field = _blend(across, grid.y * cells)
    fade = min(1.0, 0.7 / (cells * grid.pixel))
    return field * (2.09 * fade)  # the squares of cubic B-spline weights sum to 0.479 on average, per axis


def fractal(rng: np.random.Generator, grid: Grid, cells: float, octaves: int = 4, gain: float = 0.5) -> np.ndarray:
    """Sum octaves of :func:`noise`, each twice as fine and ``gain`` times as strong; float32 (H, W), variance 1.

    Octaves too fine to be seen at any common size are left out.
    """
    total = noise(rng, grid, cells)
    for octave in range(1, octaves):
        if cells * 2**octave <= _FINEST:
            total += noise(rng, grid, cells * 2**octave) * gain**octave
    return total / math.sqrt(sum(gain ** (2 * octave) for octave in range(octaves)))


def cells(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, density: float, jitter: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide the scene into honeycomb-like cells around jittered points (Worley's cellular noise).

    Args:
        rng: its draws do not depend on x and y.
        x: float32 (H, W), scene coordinates, possibly warped.
        y: float32 (H, W).
        density: cells per scene unit.
        jitter: 0 for a regular honeycomb, towards 1 for disorder.

    Returns:
        Three float32 (H, W): the distance to the nearest point and to the second nearest, in cell widths, and a number
        in [0, 1) that belongs to the nearest point's cell.
    """
    rows, columns = (math.ceil(density * (side + 2 * _MARGIN)) + 3 for side in (1, ASPECT))
    shift = (rng.random((3, rows, columns), dtype=np.float32) - 0.5) * jitter
    value = shift[2] / jitter + 0.5 if jitter else shift[2]
    point_y = np.arange(rows, dtype=np.float32)[:, None] + 0.5 + shift[0]
    point_x = np.arange(columns, dtype=np.float32) + 0.5 + shift[1] + 0.5 * (np.arange(rows) % 2)[:, None] - 0.25
    point_x = point_x.astype(np.float32).ravel()
    point_y = point_y.ravel()
    value = value.ravel()
    u = np.clip((x + _MARGIN) * density + 1, 1, columns - 1.01)
    v = np.clip((y + _MARGIN) * density + 1, 1, rows - 1.01)
    home = v.astype(np.int32) * columns + u.astype(np.int32)
    first = np.full(u.shape, 9, np.float32)
    second = first.copy()
    owner = np.zeros(u.shape, np.float32)
    for step in (-columns - 1, -columns, -columns + 1, -1, 0, 1, columns - 1, columns, columns + 1):
        index = home + step
        distance = (point_x[index] - u) ** 2 + (point_y[index] - v) ** 2
        nearer = distance < first
        np.minimum(second, np.where(nearer, first, distance), out=second)
        owner = np.where(nearer, value[index], owner)
        np.minimum(first, distance, out=first)
    return np.sqrt(first), np.sqrt(second), owner


def gray(color: np.ndarray) -> np.ndarray:
    """Return the mean of the three channels of (H, W, 3), float32 (H, W)."""
    return (color[..., 0] + color[..., 1] + color[..., 2]) / 3


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def thin(width: float, grid: Grid) -> tuple[float, float]:
    """Return (width, strength) to draw a line of ``width``: one thinner than a pixel is drawn wider and fainter."""
    drawn = max(width, 0.8 * grid.pixel)
    return drawn, width / drawn


def _blend(table: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Interpolate between rows by cubic B-splines.

    Args:
        table: float32 (n, m).
        position: float32 (k,), rows counted from the second, in [0, n - 3].

    Returns:
        float32 (k, m).
    """
    start = np.clip(position.astype(np.int32), 0, len(table) - 4)
    t = (position - start)[:, None]
    square = t * t
    cube = square * t
    blended = table[start]
    blended *= (1 - 3 * t + 3 * square - cube) * (1 / 6)
    part = np.empty_like(blended)
    for step, weight in enumerate((3 * cube - 6 * square + 4, -3 * cube + 3 * square + 3 * t + 1, cube), start=1):
        np.take(table, start + step, axis=0, out=part, mode="clip")  # clip: straight into part, without a copy
        part *= weight * (1 / 6)
        blended += part
    return blended
