"""How the gates of cross-region attention answer when the image is moved, turned, or its lesion covered."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.attention import Array, SkipGates, cra_gates


@dataclass(frozen=True)
class Shift:
    """Move the image down and right by whole pixels (up and left if negative); its border fills what is left free."""

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
            raise SkinlesionError("Only a square image can be turned by a quarter and compared; turn it by a half.")
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
                f"The covering mask must be {tuple(image.shape[2:])} and leave something of the image; "
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
    """The changed image and what became of the gates.

    Attributes:
        image: the changed image, (H, W, C), in the values of the one given.
        skips: by name, finest first.
    """

    image: Array
    skips: dict[str, SkipResponse]


def gate_response(model: nn.Module, image: Tensor, change: Change) -> GateResponse:
    """Change the image and compare the gates.

    Rows and columns have their own last layer (T_h and T_w of eqs. 5 and 6), so nothing but training can make gates
    follow a quarter turn; a shift they follow but for the borders, if they look at the lesion at all.

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
