"""How the gates of cross-region attention change when the image is shifted or rotated, or its lesion covered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.attention import Array, SkipGates, cra_gates


@dataclass(frozen=True)
class Shift:
    """Shift the image down and right by whole pixels (up and left if negative), repeating its border."""

    rows: int = 0
    columns: int = 0

    def image(self, image: Tensor) -> Tensor:
        """The moved image, (1, C, H, W)."""
        height, width = image.shape[2:]
        rows = (torch.arange(height) - self.rows).clamp(0, height - 1)
        columns = (torch.arange(width) - self.columns).clamp(0, width - 1)
        return image[:, :, rows][..., columns]

    def gates(self, gate_h: Array, gate_w: Array, cell: int) -> tuple[Array, Array]:
        """The gates as they would be if they moved with the image."""
        return _moved(gate_h, self.rows / cell), _moved(gate_w, self.columns / cell)


@dataclass(frozen=True)
class Rotate:
    """Turn the image counterclockwise by quarter turns."""

    quarters: int = 1

    def image(self, image: Tensor) -> Tensor:
        """The turned image.

        Raises:
            SkinlesionError: an odd number of quarter turns of an image that is not square.
        """
        if self.quarters % 2 and image.shape[2] != image.shape[3]:
            raise SkinlesionError("Comparing after a quarter turn needs a square image; use a half turn.")
        return torch.rot90(image, self.quarters, dims=(2, 3))

    def gates(self, gate_h: Array, gate_w: Array, cell: int) -> tuple[Array, Array]:
        """The gates as they would be if they turned with the image: rows become columns."""
        for _ in range(self.quarters % 4):
            gate_h, gate_w = gate_w[::-1], gate_h
        return gate_h, gate_w


@dataclass(frozen=True, eq=False)
class Cover:
    """Paint over a region with the median color of the rest.

    Attributes:
        mask: bool (H, W), the lesion for instance.
    """

    mask: np.ndarray

    def image(self, image: Tensor) -> Tensor:
        """The painted image.

        Raises:
            SkinlesionError: the mask is of another size, or covers everything.
        """
        mask = torch.from_numpy(np.ascontiguousarray(self.mask)).to(image.device)
        if mask.shape != image.shape[2:] or bool(mask.all()):
            raise SkinlesionError(
                f"The covering mask must be {tuple(image.shape[2:])} and leave part of the image uncovered; "
                f"it is {tuple(mask.shape)} and covers {float(mask.float().mean()):.0%}."
            )
        color = image[0][:, ~mask].median(dim=1).values  # (C,)
        return torch.where(mask, color[None, :, None, None], image)

    def gates(self, gate_h: Array, gate_w: Array, cell: int) -> tuple[Array, Array]:
        """The gates as they would be if the lesion made no difference."""
        return gate_h, gate_w


Change = Shift | Rotate | Cover


def _moved(profile: Array, cells: float) -> Array:
    """A profile (L, C) moved by a number of cells, its ends repeated, in between linear."""
    length = len(profile)
    source = np.clip(np.arange(length) - cells, 0, length - 1)
    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, length - 1)
    weight = (source - low).astype(np.float32)[:, None]
    return (1 - weight) * profile[low] + weight * profile[high]


@dataclass(frozen=True, eq=False)
class SkipResponse:
    """One skip's gates before and after a change of the image.

    Attributes:
        before: of the image.
        after: of the changed image.
        expected_h: (H, C), the row gates if they follow the change exactly.
        expected_w: (W, C), the column gates if they follow the change exactly.
    """

    before: SkipGates
    after: SkipGates
    expected_h: Array
    expected_w: Array

    @property
    def to_expected(self) -> float:
        """Mean absolute difference, in units of the gate, from gates that follow exactly."""
        return _distance(self.after, self.expected_h, self.expected_w)

    @property
    def to_before(self) -> float:
        """Mean absolute difference from gates that stay as they were; above `to_expected` where gates follow."""
        return _distance(self.after, self.before.gate_h, self.before.gate_w)


def _distance(gates: SkipGates, gate_h: Array, gate_w: Array) -> float:
    return float((np.abs(gates.gate_h - gate_h).mean() + np.abs(gates.gate_w - gate_w).mean()) / 2)


@dataclass(frozen=True, eq=False)
class GateResponse:
    """The changed image and its gates.

    Attributes:
        image: the changed image, (H, W, C), in the values of the one given.
        skips: by name, finest first.
    """

    image: Array
    skips: dict[str, SkipResponse]


@dataclass(frozen=True)
class Following:
    """Whether gates follow a change of the image more than chance does.

    Attributes:
        gain: how much closer the changed image's gates are to gates that follow exactly than to gates that stay.
        null: the same with the gates of other images, changed in the same way, instead of this image's.
    """

    gain: float
    null: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """The share of gains at least as large, including the image's own; at least 1 / (1 + other images)."""
        return (1 + sum(other >= self.gain for other in self.null)) / (1 + len(self.null))

    @property
    def interval(self) -> tuple[float, float]:
        """What 95% of the other images' gains lie between."""
        low, high = np.quantile(self.null, (0.025, 0.975))
        return float(low), float(high)


def following(skip: SkipResponse, others: Sequence[SkipGates]) -> Following:
    """Compare with a null distribution: gates of other images don't depend on where this image's lesion has moved.

    A fixed profile along the rows is closer to its own shifted copy than noise is, so a gain above 0 alone says
    nothing: it must exceed the gains obtained with the gates of other images.

    Args:
        skip: of the image.
        others: the same skip of other images that were changed in the same way.

    Raises:
        SkinlesionError: there is no other image.
    """
    if not others:
        raise SkinlesionError("Give the gates of at least one other image, to compare with.")

    def gain(after: SkipGates) -> float:
        before = skip.before
        return _distance(after, before.gate_h, before.gate_w) - _distance(after, skip.expected_h, skip.expected_w)

    return Following(gain(skip.after), tuple(gain(other) for other in others))


def moved_aside(mask: np.ndarray) -> np.ndarray | None:
    """The same shape elsewhere, as a control for `Cover`: whole, and with as little overlap as possible.

    Args:
        mask: bool (H, W), not empty.

    Returns:
        bool (H, W), or None where the shape can't be moved off half of itself.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    height, width = mask.shape
    best, least = None, mask.sum() / 2
    for down in np.linspace(-rows[0], height - 1 - rows[-1], 9).round().astype(int):
        for right in np.linspace(-columns[0], width - 1 - columns[-1], 9).round().astype(int):
            moved = np.roll(mask, (down, right), (0, 1))
            overlap = (moved & mask).sum()
            if overlap < least:
                best, least = moved, overlap
    return best


def gate_response(model: nn.Module, image: Tensor, change: Change) -> GateResponse:
    """Change the image and compare the gates.

    Rows and columns have separate last layers (T_h and T_w of eqs. 5 and 6), so gates follow a quarter turn only if
    training makes them do so. They follow a shift, except near the borders, if they depend on the lesion at all.

    Args:
        model: a network with cross-region attention; it is left as it was.
        image: (1, C, H, W).
        change: what to do to it; a shift by a multiple of the coarsest cell (32 pixels) compares without interpolation.

    Raises:
        SkinlesionError: the model has no cross-region attention, or the change does not fit the image.
    """
    before = cra_gates(model, image)
    changed = change.image(image)
    after = cra_gates(model, changed)
    skips = {
        name: SkipResponse(gates, after[name], *change.gates(gates.gate_h, gates.gate_w, gates.cell))
        for name, gates in before.items()
    }
    return GateResponse(changed[0].permute(1, 2, 0).float().cpu().numpy(), skips)  # (H, W, C)
