"""One image with its mask, and a dataset as a list of these."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skinlesion.data.images import read_image, read_mask, resize_mask
from skinlesion.data.mask_values import DEFAULT_RULES, MaskRules
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        id: the image's file name without suffix, unique in its dataset.
        image: path of the image.
        mask: path of the mask; None where there is no truth.
        part: the part that the publisher put it in (``train``, ``val``, ``test``), if any. It is not the split
            that a run uses: that is a :class:`~skinlesion.data.splits.Manifest`.
        group: images of one group (of one lesion, of one patient) stay on one side of every split; None if it is
            alone.
        rules: how the mask's values are read.
    """

    id: str
    image: Path
    mask: Path | None
    part: str | None = None
    group: str | None = None
    rules: MaskRules = DEFAULT_RULES


@dataclass(frozen=True)
class Dataset:
    """What was found in a folder.

    Attributes:
        samples: sorted by id.
        folders: a line for each part: what it was taken for, and from which folders.
        left_out: a line for each folder in which files were left out.
    """

    samples: list[Sample]
    folders: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """All lines."""
        return (*self.folders, *self.left_out)


def read_pair(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The image, uint8 (H, W, 3), and its mask, bool (H, W), resized where the sample's rules say so.

    Raises:
        SkinlesionError: a file cannot be read, there is no mask, or the sizes differ.
    """
    if sample.mask is None:
        raise SkinlesionError(f"{printable(sample.image)}: there is no mask for this image.")
    image, mask = read_image(sample.image), read_mask(sample.mask, rules=sample.rules)
    if wrong := size_mismatch(sample, image.shape[:2], mask.shape):
        raise SkinlesionError(wrong)
    return image, resize_mask(mask, image.shape[:2])


def size_mismatch(sample: Sample, image_size: tuple[int, ...], mask_size: tuple[int, ...]) -> str | None:
    """Return what is wrong with the sizes (height, width) of a pair, or None."""
    if sample.rules.resize or tuple(image_size) == tuple(mask_size):
        return None
    (image_height, image_width), (mask_height, mask_width) = image_size, mask_size
    turned = (
        " One is the other rotated by 90 degrees: the image's EXIF data rotate it, but the mask wasn't rotated."
        if tuple(mask_size) == tuple(reversed(image_size))
        else ""
    )
    return (
        f"{printable(sample.mask)}: the mask is {mask_width} x {mask_height} pixels but its image "
        f"{printable(sample.image)} is {image_width} x {image_height}.{turned} Use the mask that belongs to this "
        "image, or pass --resize-masks if it was just saved at a different size."
    )
