"""All gates at a glance: which ones vary between images, which correlate with the lesion, which affect the mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.attention import map_correlation
from skinlesion.explain.experiments import Outcome, outcomes, to_mean

Array = NDArray[np.float32]
CONSTANT = 0.01  # a module whose gates all change by less than this from image to image doesn't react
_NEAR = 0.02  # of 0, 1/2 or 1


@dataclass(frozen=True, eq=False)
class ModuleSummary:
    """The gates of one block (SE) or skip (CRA) over a set of images.

    Attributes:
        name: E1.1, ..., S2, ...
        kind: "SE" or "CRA".
        gates: of the image in question, all of them, sorted from large to small.
        reaction: the range of a gate over the images, highest minus lowest; mean over the gates.
        largest: the largest such range.
        correlation: with the lesion. SE: |r| of a channel's gate with the lesion's area over the images, mean over
            channels (chance is about 0.8 / sqrt(images)). CRA: r of the gates' product with the mask, over the image's
            cells, mean over images.
        effect: 1 - Dice between the masks of the image with and without the module's gates at their mean.
    """

    name: str
    kind: str
    gates: Array
    reaction: float
    largest: float
    correlation: float
    effect: float

    @property
    def constant(self) -> bool:
        """Whether the gates are the same in every image."""
        return self.largest < CONSTANT

    @property
    def where(self) -> str:
        """Which values its gates have."""
        low, half, high = (np.abs(self.gates - value) < _NEAR for value in (0.0, 0.5, 1.0))
        if half.all():
            return "0.5"
        if (low | high).all():
            return "0 or 1" if low.any() and high.any() else "0" if low.any() else "1"
        return "fixed values"


def module_summaries(
    seen: Sequence[Outcome], current: int, effects: dict[str, float], threshold: float = 0.5
) -> list[ModuleSummary]:
    """Summarize the gates of a set of images.

    Args:
        seen: an outcome for each image, all by the same network.
        current: index of the image whose gates are listed.
        effects: module -> effect, of `ablation_effects`.
        threshold: lowest probability that counts as lesion.

    Raises:
        SkinlesionError: there are fewer than three images, or the network has no gates.
    """
    if len(seen) < 3 or not seen[0].gates:
        raise SkinlesionError("An overview needs at least three images, and a network with SE or CRA.")
    masks = np.stack([each.probability >= threshold for each in seen])
    areas = masks.mean((1, 2))
    found = []
    for name in effects:
        if f"{name}.se.gate" in seen[0].gates:
            values = np.stack([each.gates[f"{name}.se.gate"] for each in seen])  # (images, C)
            kind, correlation = "SE", float(np.abs(_correlations(values, areas)).mean())
        else:
            rows, columns = (np.stack([each.gates[f"{name}.cra.gate_{a}"] for each in seen]) for a in "hw")
            values = np.concatenate([each.reshape(len(seen), -1) for each in (rows, columns)], axis=1)
            kind, correlation = "CRA", _spatial(rows, columns, masks)
        spread = values.max(0) - values.min(0)
        gates = -np.sort(-values[current])
        found.append(
            ModuleSummary(name, kind, gates, float(spread.mean()), float(spread.max()), correlation, effects[name])
        )
    return found


def _correlations(values: Array, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each column of (N, C) with (N,); 0 where one of them is constant."""
    a, b = values - values.mean(0), (target - target.mean())[:, None]
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), scale, out=np.zeros(values.shape[1]), where=scale > 1e-9)


def _spatial(rows: Array, columns: Array, masks: NDArray[np.bool_]) -> float:
    """Mean over images of the correlation between the product of the gates, (H, W), and the mask."""
    found = []
    for gate_h, gate_w, mask in zip(rows, columns, masks, strict=True):
        product = gate_h @ gate_w.T / gate_h.shape[1]  # (H, W)
        found.append(map_correlation(product, mask))
    return float(np.mean(found))


def ablation_effects(model: nn.Module, image: Tensor, threshold: float = 0.5) -> dict[str, float]:
    """1 - Dice between the masks with and without each module's gates at their mean, in the order in which they run.

    Args:
        model: a network with SE or CRA; it is left as it was.
        image: (1, C, H, W).
        threshold: lowest probability that counts as lesion.
    """
    (before,) = outcomes(model, image)
    mask = before.probability >= threshold
    names = dict.fromkeys(name.split(".se.")[0].split(".cra.")[0] for name in before.gates)
    effects = {}
    for name in names:
        (after,) = outcomes(model, image, to_mean(model, name))
        other = after.probability >= threshold
        total = mask.sum() + other.sum()
        effects[name] = float(1 - 2 * (mask & other).sum() / total) if total else 0.0
    return effects


def findings(found: Sequence[ModuleSummary]) -> list[str]:
    """What the summaries say, one sentence each."""
    said = []
    for kind, what in (("SE", "blocks' SE"), ("CRA", "skips' CRA")):
        those = [each for each in found if each.kind == kind]
        if not those:
            continue
        idle = [each for each in those if each.constant]
        if not idle:
            said.append(f"All {len(those)} {what} gates react to the image.")
            continue
        places: dict[str, list[str]] = {}
        for each in idle:
            places.setdefault(each.where, []).append(each.name)
        text = "; ".join(f"{', '.join(names)} at {where}" for where, names in places.items())
        said.append(f"{len(idle)} of {len(those)} {what} gates don't react to the image: {text}.")
    needed = sorted(found, key=lambda each: -each.effect)
    strong = [each for each in needed if each.effect >= 0.01]
    if strong:
        text = ", ".join(f"{each.name} ({each.kind}, Dice falls by {each.effect:.2f})" for each in strong[:3])
        said.append(f"The mask of this image depends most on {text}.")
    else:
        said.append("No module's gates matter for this image's mask: set to their mean, they lower Dice by under 0.01.")
    return said
