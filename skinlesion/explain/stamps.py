"""Painting on an image: disks of lesion or skin color, disks that are moved, and the same elsewhere as a control."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Mask = NDArray[np.bool_]
Tool = Literal["paint", "erase", "move"]


@dataclass(frozen=True)
class Stamp:
    """One disk.

    Attributes:
        tool: "paint" with the lesion's median color, "erase" with the skin's, or "move" a piece of the image here.
        row: of the center, as a fraction of the image's height.
        column: of the center, as a fraction of the width.
        radius: as a fraction of the shorter side.
        source: (row, column) of the piece that is moved, which leaves skin color behind; None for the other tools.
    """

    tool: Tool
    row: float
    column: float
    radius: float
    source: tuple[float, float] | None = None

    def shifted(self, down: float, right: float) -> "Stamp":
        """The same stamp at another position; for "move", the source stays the same."""
        return replace(self, row=self.row + down, column=self.column + right)

    def disk(self, size: tuple[int, int], at: tuple[float, float] | None = None) -> Mask:
        """Its pixels, bool (H, W); around another place if one is given."""
        height, width = size
        row, column = at or (self.row, self.column)
        y, x = np.ogrid[:height, :width]
        reach = self.radius * min(size)
        return (y + 0.5 - row * height) ** 2 + (x + 0.5 - column * width) ** 2 <= reach**2


def colors(image: Tensor, lesion: Mask) -> tuple[Tensor, Tensor]:
    """Median colors of the lesion and of the rest, (C,) each; of the darkest tenth where there is no lesion.

    Args:
        image: (1, C, H, W).
        lesion: bool (H, W).
    """
    pixels = image[0].flatten(1)  # (C, H W)
    inside = torch.from_numpy(lesion.ravel()).to(image.device)
    if not bool(inside.any()):
        brightness = pixels.mean(0)
        inside = brightness <= brightness.quantile(0.1)
    outside = ~inside if not bool(inside.all()) else inside
    return pixels[:, inside].median(1).values, pixels[:, outside].median(1).values


def stamped(image: Tensor, stamps: Sequence[Stamp], lesion: Mask) -> Tensor:
    """The painted image, (1, C, H, W) like the one given.

    Args:
        image: (1, C, H, W), as the network takes it: so that only the painted pixels change.
        stamps: in the order in which they are painted.
        lesion: bool (H, W), for the colors.
    """
    dark, skin = (color[None, :, None, None] for color in colors(image, lesion))
    size = (image.shape[2], image.shape[3])
    for stamp in stamps:
        disk = torch.from_numpy(stamp.disk(size)).to(image.device)
        if stamp.source is None:
            image = torch.where(disk, dark if stamp.tool == "paint" else skin, image)
            continue
        down = round((stamp.row - stamp.source[0]) * size[0])
        right = round((stamp.column - stamp.source[1]) * size[1])
        moved = image.roll((down, right), (2, 3))
        left = torch.from_numpy(stamp.disk(size, stamp.source)).to(image.device)
        image = torch.where(disk, moved, torch.where(left, skin, image))
    return image


def control_stamps(stamps: Sequence[Stamp], lesion: Mask) -> list[Stamp] | None:
    """The same stamps elsewhere, off the lesion and off themselves as far as possible.

    Args:
        stamps: at least one.
        lesion: bool (H, W).

    Returns:
        None where they cover so much that there is no other place for them within the image.
    """
    size = (lesion.shape[0], lesion.shape[1])
    painted = np.any([stamp.disk(size) for stamp in stamps], axis=0)
    avoid = painted | lesion
    rows, columns = [stamp.row for stamp in stamps], [stamp.column for stamp in stamps]
    best, least = None, painted.sum() / 2
    for down in np.linspace(0.05 - min(rows), 0.95 - max(rows), 7):
        for right in np.linspace(0.05 - min(columns), 0.95 - max(columns), 7):
            shifted = [stamp.shifted(float(down), float(right)) for stamp in stamps]
            covered = np.any([stamp.disk(size) for stamp in shifted], axis=0)
            overlap = (covered & avoid).sum() + abs(int(covered.sum()) - int(painted.sum()))
            if overlap < least:
                best, least = shifted, overlap
    return best
