"""The camera: light, exposure, white balance, the round window, blur, noise and the softness of JPEG."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from skinlesion.data.synthetic.fields import ASPECT, Grid, fractal, gray, sigmoid, stream
from skinlesion.data.synthetic.recipe import Recipe

_CORNER = math.hypot(ASPECT, 1) / 2


def expose(color: np.ndarray, recipe: Recipe, seed: int, grid: Grid) -> np.ndarray:
    """Light the scene: a gentle gradient, an exposure, a tint, a little haze; float32 (H, W, 3)."""
    rng = stream(seed, "light")
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.13)
    ramp = math.cos(angle) * (grid.x - ASPECT / 2) + math.sin(angle) * (grid.y[:, None] - 0.5)
    falloff = rng.uniform(0.0, 0.14) * ((grid.x - ASPECT / 2) ** 2 + (grid.y[:, None] - 0.5) ** 2) / _CORNER**2
    light = 1 + slope * ramp - falloff + 0.015 * fractal(rng, grid, 2, 2)
    # Dark skin is exposed longer, as a camera's meter does.
    exposure = rng.normal(0.93, 0.13) * (1 + 0.05 * max(0, recipe.skin_tone - 3))
    tint = np.exp(rng.normal(0, (0.05, 0.045, 0.075)))
    if rng.random() < 0.12:  # the strong casts of some series
        tint = tint * np.array(((1.08, 0.86, 0.9), (1.06, 0.97, 0.78), (0.93, 1.02, 1.0))[rng.integers(3)])
    haze = rng.uniform(0.0, 0.05)
    gain = (float(np.clip(exposure, 0.62, 1.3)) * tint).astype(np.float32)
    return (color * (1 - haze) + haze) * light[..., None] * gain


def add_window(image: np.ndarray, recipe: Recipe, seed: int, reach: float, grid: Grid) -> tuple[np.ndarray, str]:
    """Darken what lies outside the instrument's round window.

    The window grows until the lesion is in it.

    Args:
        image: float32 (H, W, 3).
        recipe: names the kind of vignette.
        seed: the scene.
        reach: largest distance of the lesion from the frame's center.
        grid: the image's grid.

    Returns:
        The image, and which kind of vignette is seen: a window that had to grow may leave only dark corners, or none.
    """
    rng = stream(seed, "window")
    distance = np.hypot(grid.x - ASPECT / 2, grid.y[:, None] - 0.5)
    if recipe.vignette == "none":
        return image, "none"
    if recipe.vignette == "soft":
        depth, power = rng.uniform(0.15, 0.5), rng.uniform(2.5, 5)
        return image * (1 - depth * (distance / _CORNER) ** power)[..., None], "soft"
    wide = rng.uniform(0.68, 0.78) if recipe.vignette == "corners" else rng.uniform(0.49, 0.6)
    wide = max(wide, reach + 0.02)
    if wide > _CORNER - 0.03:
        return image, "none"
    soft = rng.uniform(0.004, 0.012) if rng.random() < 0.6 else rng.uniform(0.02, 0.05)
    inside = sigmoid((wide - distance) / soft)
    shading = 1 - rng.uniform(0.0, 0.35) * np.exp((distance - wide) / 0.08)
    dark = np.array([0.05, 0.05, 0.06], dtype=np.float32) * rng.uniform(0.2, 2.5)
    lit = image * np.clip(shading, 0, 1)[..., None]
    seen = "round" if wide < ASPECT / 2 else "corners"
    return dark + inside[..., None] * (lit - dark), seen


def photograph(image: np.ndarray, recipe: Recipe, seed: int, grid: Grid) -> np.ndarray:
    """Turn float32 (H, W, 3) light into uint8 pixels: lens blur, sensor noise, softened color."""
    rng = stream(seed, "sensor")
    height, width = grid.size
    sigma = (recipe.blur * height, recipe.blur * width / ASPECT, 0)
    image = gaussian_filter(np.clip(image, 0, 1.25), sigma, truncate=3)
    strength = rng.uniform(0.003, 0.014)
    image = np.clip(image, 0, 1) + strength * rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.round(np.clip(_soften_color(image), 0, 1) * 255).astype(np.uint8)


def _soften_color(image: np.ndarray) -> np.ndarray:
    """Keep color at half the resolution of brightness, as JPEG does."""
    brightness = gray(image)[..., None]
    color = image - brightness
    height, width = color.shape[:2]
    even = np.pad(color, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    halves = (even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]) / 4
    return brightness + halves.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
