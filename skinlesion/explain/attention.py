"""What cross-region attention does to one image: the gates of every skip (paper section 3.3, eqs. 2-7)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import cell_size, model_name, read
from skinlesion.hooks import points

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SkipGates:
    """Cross-region attention on one skip, for one image.

    Attributes:
        name: S2, S3, ...: the encoder stage whose input the skip is.
        gate_h: a gate for each row and channel, (H, C), in (0, 1).
        gate_w: a gate for each column and channel, (W, C), in (0, 1).
        before: the skip, (H, W, C).
        after: the gated skip, (H, W, C).
        cell: image pixels along one side of a cell of the grid.
    """

    name: str
    gate_h: Array
    gate_w: Array
    before: Array
    after: Array
    cell: int

    @property
    def strongest(self) -> int:
        """The channel whose gate product has the largest spatial standard deviation."""
        mean = self.gate_h.mean(0) * self.gate_w.mean(0)  # (C,)
        square = np.square(self.gate_h).mean(0) * np.square(self.gate_w).mean(0)
        return int(np.argmax(square - mean**2))

    def profiles(self, channel: int | None = None) -> tuple[Array, Array]:
        """One channel's gates, or their mean over channels for None: (H,) and (W,)."""
        if channel is None:
            return self.gate_h.mean(1), self.gate_w.mean(1)
        return self.gate_h[:, channel], self.gate_w[:, channel]

    def product(self, channel: int | None = None) -> Array:
        """By how much each cell is scaled, (H, W), in (0, 1): g_h g_w of one channel, or its mean over channels."""
        if channel is None:
            return self.gate_h @ self.gate_w.T / self.gate_h.shape[1]
        return np.outer(self.gate_h[:, channel], self.gate_w[:, channel])


def map_correlation(map: Array, mask: NDArray[np.bool_]) -> float:
    """Correlation, over the cells of a map, between the map and the share of each cell that is lesion.

    Args:
        map: (h, w).
        mask: bool of any size and the same frame.

    Returns:
        In [-1, 1]; 0 where either is constant.
    """
    share = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None], map.shape)[0].numpy()
    a, b = map - map.mean(), share - share.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-9 else 0.0


def cra_gates(model: nn.Module, image: Tensor) -> dict[str, SkipGates]:
    """The gates of every skip.

    Args:
        model: a network with cross-region attention; it is left as it was.
        image: (1, C, H, W), as `Segmenter.prepare` makes it.

    Returns:
        By skip, finest first: S2, S3, S4 for the paper's network.

    Raises:
        SkinlesionError: the model has no cross-region attention.
    """
    names = [name.removesuffix(".cra.gate_h") for name in points(model) if name.endswith(".cra.gate_h")]
    if not names:
        raise SkinlesionError(f"{model_name(model)} has no cross-region attention.")

    seen = read(model, image, "*.cra.*")

    def array(name: str) -> Array:
        return seen[name][0].float().cpu().numpy()

    return {
        name: SkipGates(
            name=name,
            gate_h=array(f"{name}.cra.gate_h"),
            gate_w=array(f"{name}.cra.gate_w"),
            before=array(f"{name}.cra.input"),
            after=array(f"{name}.cra.output"),
            cell=cell_size(model, int(name[1:])),
        )
        for name in names
    }
