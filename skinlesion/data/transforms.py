"""Augmentation, in one place: recipes are data, randomness belongs to the sample.

What happens to an image depends on (seed, epoch, index) alone: not on the number of workers or processes, nor on
what came before, so a run that was killed and resumed sees the same augmented images.
"""

import hashlib
import os
import random
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise importing it asks the network for news

import albumentations as A
import cv2

from skinlesion.errors import SkinlesionError

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


class TrainingTransform:
    """Augments one image and its mask together.

    Args:
        recipe: a name in ``RECIPES``.
        seed: of the whole run.

    Raises:
        SkinlesionError: an unknown recipe.
    """

    def __init__(self, recipe: str, seed: int = 0):
        if recipe not in RECIPES:
            raise SkinlesionError(f"Unknown recipe {recipe!r}: choose one of {', '.join(RECIPES)}.")
        self.recipe = recipe
        self.seed = seed
        self._compose = A.Compose([getattr(A, name)(**options) for name, options in RECIPES[recipe]])

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment.

        Args:
            image: uint8 (H, W, 3); quarter turns swap H and W.
            mask: bool (H, W).
            epoch: counted from 0.
            index: the sample's place in the training part.

        Returns:
            image uint8 and mask bool, as new arrays.
        """
        key = hashlib.blake2b(f"{self.seed}/{epoch}/{index}".encode(), digest_size=16).digest()
        number = int.from_bytes(key, "little")
        # Not set_random_seed: it starts every transform from the same number, which ties their choices together
        # (with it, an image is flipped left-right exactly when it is flipped upside down).
        self._compose.set_random_state(np.random.default_rng(number), random.Random(number))
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
