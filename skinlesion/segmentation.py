"""The segmentation of one image: maps, measurements, and a preview for notebooks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skinlesion.data.images import resize_image, resize_mask
from skinlesion.errors import SkinlesionError
from skinlesion.overlay import encode
from skinlesion.overlay import overlay as draw_overlay

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The segmentation of one image. All maps have the image's own size.

    Attributes:
        image: the image as it was read, upright, uint8 (H, W, 3).
        probability: of lesion, float32 (H, W), in [0, 1].
        mask: bool (H, W), where `probability` is at least `threshold`; cleaned by `clean_mask` if that was requested or
            is the weights' default.
        threshold: in (0, 1).
        spread: float32 (H, W), standard deviation of the probability over the views of test-time augmentation;
            None without it.
        ood_score: out-of-distribution score of `skinlesion.domain`. Above 0, the image doesn't look like the training
            images, and the mask can't be trusted. None if the weights have no such score.
        seconds: time for reading, prediction and resizing; a batch's time is divided equally among its images.
    """

    image: np.ndarray
    probability: np.ndarray
    mask: np.ndarray
    threshold: float
    spread: np.ndarray | None
    ood_score: float | None
    seconds: float

    def __repr__(self) -> str:
        height, width = self.mask.shape
        numbers = f"{self.area_fraction:.1%} lesion, confidence {self.confidence:.2f}"
        return " ".join([f"<Segmentation of {width} x {height} pixels: {numbers}>", *self.warnings])

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the overlay, at most 640 pixels wide and high."""
        return encode(self.overlay(640), "PNG")

    def overlay(self, largest: int | None = None) -> np.ndarray:
        """The image with the mask as a light tint and a line along its border.

        Args:
            largest: maximum side in pixels; a larger image is scaled down. None keeps the size.

        Returns:
            uint8 (H, W, 3).

        Raises:
            SkinlesionError: `largest` is below 1.
        """
        if largest is not None and largest < 1:
            raise SkinlesionError(f"The side is {largest}; it must be at least 1 pixel.")
        image, mask = self.image, self.mask
        side = max(mask.shape)
        if largest is not None and side > largest:
            size = (max(1, mask.shape[0] * largest // side), max(1, mask.shape[1] * largest // side))
            image, mask = resize_image(image, size), resize_mask(mask, size)
        return draw_overlay(image, mask)

    def to_dict(self) -> dict[str, Any]:
        """The measurements as a row of a table: sizes and area in pixels, fractions in [0, 1], time in seconds."""
        height, width = self.mask.shape
        return {
            "width": width,
            "height": height,
            "lesion_pixels": self.area,
            "lesion_fraction": self.area_fraction,
            "confidence": self.confidence,
            "warnings": " ".join(self.warnings),
            "threshold": self.threshold,
            "seconds": self.seconds,
        }

    def to_dataframe(self) -> "pandas.DataFrame":
        """The measurements of `to_dict` as a table with one row; needs pandas."""
        import pandas

        return pandas.DataFrame([self.to_dict()])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust the mask, one sentence each; empty if there are none."""
        found = []
        if self.ood_score is not None and self.ood_score > 0:
            found.append("This doesn't look like a dermoscopy image.")
        if not self.mask.any():
            found.append("No lesion found.")
        return tuple(found)

    @property
    def area(self) -> int:
        """Number of lesion pixels."""
        return int(self.mask.sum())

    @property
    def area_fraction(self) -> float:
        """The fraction of the image that is lesion, in [0, 1]."""
        return float(self.mask.mean())

    @property
    def confidence(self) -> float:
        """An estimate of the mask's Dice score, in [0, 1]; see `soft_dice_confidence`."""
        return soft_dice_confidence(self.probability, self.mask)


def soft_dice_confidence(probability: np.ndarray, mask: np.ndarray) -> float:
    """Soft Dice confidence (Borges et al., https://arxiv.org/abs/2402.10665), in [0, 1].

    2 sum(p m) / (sum(p) + sum(m)) for probability p and mask m: approximately the expected Dice score if the
    probabilities are calibrated. It is 0 if the mask is empty.

    Args:
        probability: (H, W), in [0, 1].
        mask: bool (H, W).
    """
    if not mask.any():
        return 0.0
    total = float(probability.sum(dtype=np.float64)) + int(mask.sum())
    return 2 * float(probability[mask].sum(dtype=np.float64)) / total
