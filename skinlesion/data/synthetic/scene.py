"""The whole scene, in the order in which light meets it: skin, lesion, what lies on them, camera."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skinlesion.data.synthetic import artifacts, camera
from skinlesion.data.synthetic.fields import Grid, gray
from skinlesion.data.synthetic.pigment import add_lesion, veil
from skinlesion.data.synthetic.recipe import Recipe, draw_recipe
from skinlesion.data.synthetic.shape import Shape, draw_shape
from skinlesion.data.synthetic.skin import draw_skin
from skinlesion.errors import SkinlesionError

_VEIL = np.array([0.38, 0.43, 0.58], dtype=np.float32)


@dataclass(frozen=True)
class SyntheticLesion:
    """An image, its exact mask and what was drawn.

    Attributes:
        image: uint8 (H, W, 3).
        mask: bool (H, W), True on the lesion, whatever hair, ink or bubble lies over it.
        attributes: every field of :class:`~skinlesion.data.synthetic.recipe.Recipe` as drawn, and measured on this
            image ``lesion_fraction``, ``touches_border`` and ``gray_difference``: the median gray value of the skin
            around the lesion minus that of the lesion, in [-255, 255].
    """

    image: np.ndarray
    mask: np.ndarray
    attributes: dict[str, float | str | bool]


def synthesize(seed: int, size: int | tuple[int, int] = 256, **knobs: Any) -> SyntheticLesion:
    """Draw the dermoscopic image of one seed.

    The same seed gives the same bytes, and at another size the same lesion, as a camera frame of 4 : 3 squashed to
    that size.

    Args:
        seed: any whole number from 0.
        size: the side of a square image, or (height, width); from 16 pixels.
        **knobs: fields of :class:`~skinlesion.data.synthetic.recipe.Recipe` to set by hand, such as ``hair="none"``,
            ``skin_tone=6``, ``area=0.3``; all else stays as the seed has it.

    Raises:
        SkinlesionError: a seed, size or knob that cannot be used.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if seed < 0:
        raise SkinlesionError(f"seed={seed} is not valid: choose a nonnegative integer.")
    if min(height, width) < 16:
        raise SkinlesionError(f"size={size} is too small: choose at least 16 pixels.")
    recipe = draw_recipe(seed, knobs)
    grid = Grid((height, width))
    shape = draw_shape(recipe, seed, grid)
    color = _scene(recipe, seed, shape, grid)
    light = camera.expose(color, recipe, seed, grid)
    light, vignette = camera.add_window(light, recipe, seed, shape.reach, grid)
    light = artifacts.add_ruler(light, recipe, seed, shape, grid)
    image = camera.photograph(light, recipe, seed, grid)
    attributes = {**asdict(recipe), "vignette": vignette, **_measure(image, shape)}
    return SyntheticLesion(image, shape.mask, attributes)


def _scene(recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Return skin, lesion and what lies over them, as reflectance, float32 (H, W, 3)."""
    tissue = draw_skin(recipe, seed, grid)
    box = shape.box(margin=3 * recipe.soft * shape.radius)  # farther out its pigment is not to be seen
    add_lesion(tissue.window(box), recipe, seed, shape.window(box), grid.window(box))
    color = tissue.color()
    if recipe.blue_veil:
        film = veil(seed, shape.window(box), grid.window(box))[..., None]
        color[box] += film * (_VEIL * (0.4 + 0.6 * color[::8, ::8].mean(axis=(0, 1))) - color[box])
    color = artifacts.add_ink(color, recipe, seed, shape, grid)
    color = artifacts.add_sticker(color, recipe, seed, shape, grid)
    color = artifacts.add_hair(color, recipe, seed, grid)
    color = artifacts.add_bubbles(color, recipe, seed, grid)
    return artifacts.add_glints(color, recipe, seed, grid)


def _measure(image: np.ndarray, shape: Shape) -> dict[str, float | bool]:
    brightness, mask = gray(image.astype(np.float32)), shape.mask
    around = ~mask & (shape.depth > -0.4 * shape.radius)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return {
        "lesion_fraction": float(mask.mean()),
        "touches_border": bool(edge.any()),
        "gray_difference": float(np.median(brightness[around]) - np.median(brightness[mask])),
    }
