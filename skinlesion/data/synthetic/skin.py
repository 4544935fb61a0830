"""The skin around and under the lesion: tone, mottling, fine lines, freckles."""

import math

import numpy as np

from skinlesion.data.synthetic.fields import Grid, cells, fractal, noise, sigmoid, stream, thin
from skinlesion.data.synthetic.recipe import Recipe
from skinlesion.data.synthetic.tissue import Tissue

_MELANIN_OF_TONE = {1: 0.03, 2: 0.1, 3: 0.2, 4: 0.36, 5: 0.65, 6: 1.0}


def draw_skin(recipe: Recipe, seed: int, grid: Grid) -> Tissue:
    """Return healthy skin, every map float32 (H, W)."""
    rng = stream(seed, "skin")
    tone = _MELANIN_OF_TONE[recipe.skin_tone] * rng.uniform(0.85, 1.15)
    mottled = rng.uniform(0.02, 0.1)
    melanin = tone + tone * mottled * fractal(rng, grid, 4, 4, 0.6)
    redness = rng.uniform(0.02, 0.17)
    blood = redness * (1 + rng.uniform(0.2, 0.9) * fractal(rng, grid, 3, 6, 0.65))
    grain = rng.uniform(0.008, 0.03)
    melanin += grain * noise(rng, grid, 70) + 0.7 * grain * noise(rng, grid, 140)
    melanin += _lines(seed, grid)
    if recipe.freckles:
        melanin += _freckles(seed, grid)
    # Dark skin is also grayer than a thin layer of melanin alone would be.
    deep = np.full(grid.size, 0.7 * max(0.0, tone - 0.3), np.float32)
    none = np.zeros(grid.size, np.float32)
    return Tissue(melanin=np.maximum(melanin, 0), deep=deep, blood=np.maximum(blood, 0), scar=none)


def _lines(seed: int, grid: Grid) -> np.ndarray:
    """Return the skin's fine furrows: two families of wavering lines that cross, stronger here and weaker there."""
    rng = stream(seed, "skin lines")
    depth = rng.uniform(0.0, 0.05)
    angle = rng.uniform(0, math.pi)
    total = np.zeros(grid.size, np.float32)
    for turn, count in ((0.0, rng.uniform(28, 45)), (rng.uniform(0.7, 1.4), rng.uniform(20, 40))):
        direction = angle + turn
        wander = 0.012 * fractal(rng, grid, 5, 3)
        across = math.cos(direction) * grid.x + (math.sin(direction) * grid.y[:, None] + wander)
        profile = rng.standard_normal(int(count * 2) + 4).astype(np.float32)
        position = (across - across.min()) * count
        table = np.interp(np.arange(4096) / 4096 * len(profile), np.arange(len(profile)), profile)
        ridge = table.astype(np.float32)[np.minimum(position * (4096 / len(profile)), 4095).astype(np.int32)]
        total += np.exp(-((ridge / 0.35) ** 2)) * sigmoid(1.5 * noise(rng, grid, 3))
    return depth * (total - total.mean())


def _freckles(seed: int, grid: Grid) -> np.ndarray:
    """Return faint brown spots of many sizes, soft-edged, strewn over the skin."""
    rng = stream(seed, "freckles")
    total = np.zeros(grid.size, np.float32)
    warp = 0.02 * fractal(rng, grid, 9, 3, 0.6)
    x, y = grid.x + warp, grid.y[:, None] - warp
    for density, strength in (
        (rng.uniform(5, 9), rng.uniform(0.05, 0.25)),
        (rng.uniform(12, 20), rng.uniform(0.05, 0.2)),
    ):
        near, _, owner = cells(rng, x, y, density, 0.9)
        radius, faint = thin(0.28, grid)
        total += strength * faint * (owner > 0.55) * owner * sigmoid((radius * owner - near) / 0.06)
    return total
