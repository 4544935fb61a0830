"""Interventions by hand: set a gate, or paint on the image, and compare the mask and all gates before and after.

Every experiment is a set of replacements for `skinlesion.intervene`, or a changed image; `outcomes` runs it and reads
the probability and the gates in one pass. Nothing stays on the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import check_image, evaluating, read
from skinlesion.hooks import Replacement, intervene, observe, points

Array = NDArray[np.float32]
_GATES = (".se.gate", ".cra.gate_h", ".cra.gate_w")


@dataclass(frozen=True, eq=False)
class Outcome:
    """A network's output and gates for one image in one experiment.

    Attributes:
        probability: of lesion, float32 (H, W).
        gates: point -> gate without the batch: (C,) of SE, (H, C) or (W, C) of CRA.
    """

    probability: Array
    gates: dict[str, Array]


@torch.no_grad()
def outcomes(model: nn.Module, images: Tensor, replacements: Mapping[str, Replacement] | None = None) -> list[Outcome]:
    """Run an experiment on a batch of images.

    Args:
        model: any network of the kit; it is left as it was.
        images: (B, C, H, W).
        replacements: as for `skinlesion.intervene`; none by default.

    Raises:
        SkinlesionError: a point is unknown, or a replacement doesn't fit.
    """
    check_image(images, single=False)
    network = evaluating(model)
    names = [name for name in points(network) if name.endswith(_GATES)]
    with intervene(network, replacements or {}):
        if names:
            with observe(network, *names) as seen:
                logits = network(images)
        else:
            seen, logits = {}, network(images)  # type: ignore[assignment]
    maps = logits[:, 0].sigmoid().float().cpu().numpy()  # (B, H, W)
    gates = {name: gate.float().cpu().numpy() for name, gate in seen.items()}
    return [Outcome(maps[i], {name: gate[i] for name, gate in gates.items()}) for i in range(len(images))]


def gate_changes(before: Outcome, after: Outcome) -> dict[str, float]:
    """Mean absolute change of the gates of each block (E1.1, ...: SE) and skip (S2, ...: CRA, rows and columns)."""
    found: dict[str, list[float]] = {}
    for name, gate in before.gates.items():
        found.setdefault(_module(name), []).append(float(np.abs(gate - after.gates[name]).mean()))
    return {module: sum(changes) / len(changes) for module, changes in found.items()}


def _module(gate: str) -> str:
    """The block or skip that a gate belongs to."""
    return gate.split(".se.")[0].split(".cra.")[0]


def set_channel(block: str, channel: int, value: float) -> dict[str, Replacement]:
    """One channel's SE gate of a block, for every image of the batch."""

    def replace(gate: Tensor) -> Tensor:
        _check_index(channel, gate.shape[1], f"{block} has", "channels")
        gate = gate.clone()
        gate[:, channel] = value
        return gate

    return {f"{block}.se.gate": replace}


def set_line(skip: str, axis: str, index: int, value: float) -> dict[str, Replacement]:
    """The CRA gate of one row or column of a skip, in all channels.

    Args:
        skip: S2, ...
        axis: "h" for a row, "w" for a column.
        index: of the row or column, in the skip's own grid.
        value: in [0, 1].
    """

    def replace(gate: Tensor) -> Tensor:
        _check_index(index, gate.shape[1], f"{skip} has", "rows" if axis == "h" else "columns")
        gate = gate.clone()
        gate[:, index] = value
        return gate

    return {f"{skip}.cra.gate_{axis}": replace}


def _check_index(index: int, length: int, who: str, what: str) -> None:
    if not 0 <= index < length:
        raise SkinlesionError(f"{who} {length} {what}, 0 to {length - 1}; {index} isn't one of them.")


def gate_points(model: nn.Module, module: str) -> list[str]:
    """The gates of a module: of a block (E1.1) its SE gate, of a skip (S2) its two CRA gates.

    Raises:
        SkinlesionError: there is no such module, or it has no gate.
    """
    found = [name for name in points(model) if name.endswith(_GATES) and _module(name) == module]
    if not found:
        raise SkinlesionError(f"{module} has no gates: choose a block with SE or a skip with CRA.")
    return found


def to_mean(model: nn.Module, module: str) -> dict[str, Replacement]:
    """A module's gates at their mean: over channels for SE, along the image for CRA, so that they select nothing."""
    return dict.fromkeys(gate_points(model, module), _mean)


def _mean(gate: Tensor) -> Tensor:
    return gate.mean(1, keepdim=True).expand_as(gate)


def to_other(model: nn.Module, module: str, other: Tensor) -> dict[str, Replacement]:
    """A module's gates as they are for another image, (1, C, H, W) of the same size."""
    seen = read(model, other, *gate_points(model, module))
    return {name: _constant(gate) for name, gate in seen.items()}


def _constant(value: Tensor) -> Replacement:
    return lambda gate: value.expand_as(gate)


def to_shuffled(model: nn.Module, module: str, seed: int) -> dict[str, Replacement]:
    """A module's own gate values in random order (over channels for SE, along the image for CRA): a control."""
    generator = torch.Generator().manual_seed(seed)

    def shuffle(gate: Tensor) -> Tensor:
        return gate[:, torch.randperm(gate.shape[1], generator=generator).to(gate.device)]

    return dict.fromkeys(gate_points(model, module), shuffle)
