"""All augmentation: recipes as data, and random numbers that depend on the sample alone.

What happens to an image depends on (seed, epoch, index) alone: not on the number of workers or processes, nor on
what came before, so a run that was killed and resumed sees the same augmented images.
"""

import hashlib
import os
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise importing it asks the network for news

import albumentations as A
import cv2

from skinlesion.errors import SkinlesionError


@dataclass(frozen=True)
class Window:
    """A random part of the image around the lesion, stretched to the network's input.

    It imitates other camera distances and crops, in which images from other sources differ most.

    Attributes:
        zoom: smallest and largest magnification, drawn evenly on a log scale; below 1 the image is mirrored outward.
        aspect: largest stretch of one axis against the other, as a ratio.
        oversize: how much larger than the network's input the source should be, so that zooming in shows detail.
    """

    zoom: tuple[float, float] = (0.8, 2.2)
    aspect: float = 1.3
    oversize: float = 1.6

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut out and resize: uint8 (H, W, 3) and bool (H, W) to (size, size, 3) and (size, size)."""
        zoom = np.exp(rng.uniform(*np.log(self.zoom)))
        stretch = np.exp(rng.uniform(-1, 1) * np.log(self.aspect) / 2)
        sides = np.array(mask.shape, float)  # (height, width)
        window = sides / zoom * [stretch, 1 / stretch]
        shift = rng.uniform(-0.25, 0.25, 2)
        rows, columns = np.nonzero(mask)
        if len(rows):
            lesion = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
            window = np.maximum(window, _LEAST_OF_LESION * lesion)
            center = np.array([rows.mean(), columns.mean()]) + 0.5 + shift * window
        else:
            center = sides / 2 + shift * sides
        # where it fits, the window stays inside the image; where it does not, the image stays inside the window
        bounds = np.sort([window / 2, sides - window / 2], axis=0)
        low = np.clip(center, *bounds) - window / 2
        step = window / size
        corner = low + step / 2 - 0.5  # the center of the first output pixel, in source pixels
        matrix = np.array([[step[1], 0, corner[1]], [0, step[0], corner[0]]])
        warp = partial(cv2.warpAffine, M=matrix, dsize=(size, size), borderMode=cv2.BORDER_REFLECT_101)
        cut = warp(image, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        nearest = warp(mask.view(np.uint8), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
        return cut, nearest.view(bool)


@dataclass(frozen=True)
class SkinTone:
    """Darker skin under the same lesion: light crosses more melanin, in the skin more than in the lesion.

    Transmission follows Beer and Lambert in linear light, with melanin's absorption falling as the wavelength to the
    power -3.33 (Jacques, https://omlc.org/news/jan98/skinoptics.html), taken at 620, 540 and 460 nm.

    Attributes:
        probability: of recoloring an image that has a lesion and skin.
        depth: largest optical depth of the added melanin at 540 nm.
        lesion: smallest and largest share of that depth that the lesion gets.
        contrast: the skin's mean luminance stays at least this many times the lesion's.
    """

    probability: float = 0.5
    depth: float = 1.2
    lesion: tuple[float, float] = (0.2, 0.8)
    contrast: float = 1.15

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Recolor uint8 (H, W, 3) whose lesion is bool (H, W)."""
        draw, depth, share = rng.random(), rng.uniform(0, self.depth), rng.uniform(*self.lesion)
        if draw >= self.probability or not mask.any() or mask.all():
            return image
        light = (image / np.float32(255)) ** np.float32(_GAMMA)
        luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        ratio = luminance[~mask].mean() / max(float(luminance[mask].mean()), 1e-3)
        depth = min(depth, np.log(max(ratio / self.contrast, 1.0)) / (1 - share))
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.02 * mask.shape[0])  # no seam at the border
        depths = depth * (1 - (1 - share) * soft)  # (H, W)
        light *= np.exp(-depths[..., None] * _MELANIN)
        return (light ** np.float32(1 / _GAMMA) * 255).round().astype(np.uint8)


_GAMMA = 2.2
_MELANIN = ((540 / np.array([620, 540, 460])) ** 3.33).astype(np.float32)  # absorption in R, G, B relative to 540 nm

_LEAST_OF_LESION = 0.9  # of the lesion's height and width that a window shows

_FLIPS: list[tuple[str, dict[str, Any]]] = [("HorizontalFlip", {"p": 0.5}), ("VerticalFlip", {"p": 0.5})]

# Name of the albumentations transform and its options, in order.
RECIPES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "none": [],
    # VM-UNet's harness, with the angle drawn per sample and not once per run, which was a bug (A31). Both flips:
    # a lesion has no up. Corners are filled with the image's darkest value, as there (see `_darkest_to_zero`).
    "paper": [
        *_FLIPS,
        (
            "Rotate",
            {
                "limit": (-180, 180),
                "interpolation": cv2.INTER_LINEAR,
                "mask_interpolation": cv2.INTER_NEAREST,
                "border_mode": cv2.BORDER_CONSTANT,
                "fill": 0,
                "fill_mask": 0,
                "p": 0.5,
            },
        ),
    ],
    # For short training: more geometry without empty corners, and the light and color of another camera.
    "strong": [
        *_FLIPS,
        ("RandomRotate90", {"p": 1.0}),
        (
            "Affine",
            {
                "rotate": (-45, 45),
                "scale": (0.8, 1.2),
                "translate_percent": (-0.1, 0.1),
                "interpolation": cv2.INTER_LINEAR,
                "mask_interpolation": cv2.INTER_NEAREST,
                "border_mode": cv2.BORDER_REFLECT_101,
                "p": 1.0,
            },
        ),
        ("MultiplicativeNoise", {"multiplier": (0.8, 1.2), "per_channel": True, "elementwise": False, "p": 1.0}),
        ("RGBShift", {"r_shift_limit": 20, "g_shift_limit": 20, "b_shift_limit": 20, "p": 1.0}),
    ],
}

# "strong" with the window in place of its scale and translation.
RECIPES["zoom"] = [
    (name, {**options, "scale": 1.0, "translate_percent": 0.0} if name == "Affine" else options)
    for name, options in RECIPES["strong"]
]
RECIPES["skin"] = RECIPES["zoom"]
WINDOWS = {"zoom": Window(), "skin": Window()}
TONES = {"skin": SkinTone()}


def source_size(recipe: str, size: int) -> int:
    """Side of the source images that a recipe needs for a network's input of the given side, in pixels."""
    return round(size * WINDOWS[recipe].oversize) if recipe in WINDOWS else size


class TrainingTransform:
    """Augments one image and its mask together.

    Args:
        recipe: a name in ``RECIPES``.
        seed: of the whole run.
        size: side of the square result, for a recipe with a window; others keep the size of the image.

    Raises:
        SkinlesionError: an unknown recipe.
    """

    def __init__(self, recipe: str, seed: int = 0, size: int = 256):
        if recipe not in RECIPES:
            raise SkinlesionError(f"Unknown recipe {recipe!r}: choose one of {', '.join(RECIPES)}.")
        self.recipe = recipe
        self.seed = seed
        self.size = size
        self._compose = A.Compose([getattr(A, name)(**options) for name, options in RECIPES[recipe]])

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment.

        Args:
            image: uint8 (H, W, 3); quarter turns swap H and W.
            mask: bool (H, W).
            epoch: counted from 0.
            index: the sample's index in the training set.

        Returns:
            image uint8 and mask bool, as new arrays.
        """
        key = hashlib.blake2b(f"{self.seed}/{epoch}/{index}".encode(), digest_size=16).digest()
        number = int.from_bytes(key, "little")
        # Not set_random_seed: it starts every transform from the same number, which ties their choices together
        # (with it, an image is flipped left-right exactly when it is flipped upside down).
        self._compose.set_random_state(np.random.default_rng(number), random.Random(number))
        if self.recipe in WINDOWS:
            image, mask = WINDOWS[self.recipe](image, mask, self.size, np.random.default_rng((number, 1)))
        if self.recipe in TONES:
            image = TONES[self.recipe](image, mask, np.random.default_rng((number, 2)))
        if self.recipe == "paper":
            image = _darkest_to_zero(image)
        result = self._compose(image=image, mask=mask.view(np.uint8))
        return result["image"], result["mask"].view(bool)


def _darkest_to_zero(image: np.ndarray) -> np.ndarray:
    """Shift so that the zeros filled in by a rotation are the image's minimum.

    The harness normalizes first and fills zeros after; min-max normalization ignores the shift, so this order gives
    the same picture without augmenting floats.
    """
    return image - image.min()
