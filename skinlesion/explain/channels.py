"""Which channels squeeze-and-excitation keeps (paper section 3.2): per block, over images, and as maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import model_name, read
from skinlesion.hooks import points

Array = NDArray[np.float32]
_GATE = ".se.gate"


@dataclass(frozen=True, eq=False)
class Excitation:
    """Squeeze-and-excitation in one block, for one image.

    Attributes:
        name: the block: E1.1, ...
        gate: (C,), in (0, 1).
        before: the input maps, (H, W, C).
    """

    name: str
    gate: Array
    before: Array

    @property
    def after(self) -> Array:
        """The output maps, (H, W, C)."""
        return self.before * self.gate


@dataclass(frozen=True, eq=False)
class GateRange:
    """The gates of one block's channels over a set of images.

    Attributes:
        name: the block.
        mean: mean gate of each channel, (C,).
        lowest: smallest gate over the images, (C,).
        highest: largest gate over the images, (C,).
    """

    name: str
    mean: Array
    lowest: Array
    highest: Array

    def always(self, level: float = 0.75) -> NDArray[np.intp]:
        """Channels whose gate is at least `level` in every image."""
        return np.flatnonzero(self.lowest >= level)

    def never(self, level: float = 0.25) -> NDArray[np.intp]:
        """Channels whose gate is at most `level` in every image."""
        return np.flatnonzero(self.highest <= level)


def _blocks(model: nn.Module) -> list[str]:
    blocks = [name.removesuffix(_GATE) for name in points(model) if name.endswith(_GATE)]
    if not blocks:
        raise SkinlesionError(f"{model_name(model)} has no squeeze-and-excitation.")
    return blocks


def se_gates(model: nn.Module, image: Tensor) -> dict[str, Array]:
    """The gate of every channel of every block.

    Args:
        model: a network with squeeze-and-excitation; it is left as it was.
        image: (1, C, H, W).

    Returns:
        Block -> (C,), in (0, 1), in the order in which they run; C is SS2D's inner width.

    Raises:
        SkinlesionError: the model has no squeeze-and-excitation.
    """
    blocks = _blocks(model)
    seen = read(model, image, f"*{_GATE}")
    return {block: seen[block + _GATE][0].float().cpu().numpy() for block in blocks}


def excitation(model: nn.Module, image: Tensor, block: str) -> Excitation:
    """One block's gates with the maps that they scale.

    Args:
        model: a network with squeeze-and-excitation; it is left as it was.
        image: (1, C, H, W).
        block: one of the names of `se_gates`.

    Raises:
        SkinlesionError: the model has no squeeze-and-excitation, or no such block.
    """
    blocks = _blocks(model)
    if block not in blocks:
        raise SkinlesionError(f"There is no block {block!r}; choose one of: {', '.join(blocks)}.")
    seen = read(model, image, f"{block}.se.*")
    gate, before = (seen[f"{block}.se.{part}"][0].float().cpu().numpy() for part in ("gate", "input"))
    return Excitation(block, gate, before)


def gate_ranges(gates: Sequence[Mapping[str, Array]]) -> dict[str, GateRange]:
    """Which channels are kept in every image of a set, and which are suppressed in every image.

    Args:
        gates: `se_gates` of each image, all by the same model.

    Raises:
        SkinlesionError: no image was given.
    """
    if not gates:
        raise SkinlesionError("Give the gates of at least one image.")
    ranges = {}
    for block in gates[0]:
        values = np.stack([each[block] for each in gates])  # (images, C)
        ranges[block] = GateRange(block, values.mean(0), values.min(0), values.max(0))
    return ranges


def gate_differences(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, Array]:
    """Channel by channel a - b, for the blocks that both have at the same width.

    It compares two images in one model, or a model with one that was fine-tuned from it. The channels of independently
    trained models don't correspond: compare their sorted gates instead.
    """
    return {block: a[block] - b[block] for block in a if block in b and a[block].shape == b[block].shape}
