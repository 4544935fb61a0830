"""Whether an attribution is faithful to the model: deletion, insertion, and a model with shuffled weights.

Deletion replaces the image by the baseline, most important parts first, while the probability is recorded; insertion
restores it (Petsiuk et al., arxiv.org/abs/1806.07421). With a faithful map, the first curve falls early and the second
rises early. Both are compared with parts in random order: without this control, the numbers mean little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.attribution import BATCH, Attribution, Baseline, Region, baseline_image, check_region
from skinlesion.explain.cancellation import Progress
from skinlesion.explain.common import shared_copy

Array = NDArray[np.float64]
PATCHES = 16  # along each side: single pixels would test noise
POINTS = 11  # of a curve, both ends included
ORDERS = 3  # random ones


@dataclass(frozen=True, eq=False)
class Curves:
    """The mean probability over the region while the image is deleted and inserted.

    Attributes:
        fraction: of the image that was deleted or inserted, (P,), from 0 to 1.
        deletion: (P,).
        insertion: (P,).
    """

    fraction: Array
    deletion: Array
    insertion: Array

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve, in [0, 1]; lower is better."""
        return float(np.trapezoid(self.deletion, self.fraction))

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, in [0, 1]; higher is better."""
        return float(np.trapezoid(self.insertion, self.fraction))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """One attribution's curves beside those of random orders.

    Attributes:
        curves: of the attribution.
        control: mean curves of the random orders.
    """

    curves: Curves
    control: Curves

    @property
    def score(self) -> float:
        """How much better than chance: what deletion and insertion gain over the random orders; 0 is chance."""
        return (
            self.control.deletion_auc
            - self.curves.deletion_auc
            + self.curves.insertion_auc
            - self.control.insertion_auc
        )


def _patches(size: tuple[int, int]) -> NDArray[np.intp]:
    """Which patch each pixel belongs to, (H, W)."""
    rows, columns = (np.arange(side) * min(PATCHES, side) // side for side in size)
    return rows[:, None] * (columns[-1] + 1) + columns


@torch.no_grad()
def _curves(model: nn.Module, image: Tensor, base: Tensor, region: Region, ranks: Array, progress: Progress) -> Curves:
    """Curves for pixels that are taken in the order of `ranks` (H, W), in [0, 1)."""
    fraction = np.linspace(0, 1, POINTS)
    inside = torch.from_numpy(region).to(image.device)
    taken = np.stack([ranks < f for f in fraction])[:, None]  # (P, 1, H, W), or given
    masks = torch.from_numpy(taken).to(image.device)
    images = torch.cat([torch.where(masks, base, image), torch.where(masks, image, base)])
    found = []
    for batch in images.split(BATCH):
        progress.check()
        found.append(model(batch)[:, 0].sigmoid()[:, inside].mean(1).cpu().double())  # (b,)
        progress.advance(len(batch))
    values = torch.cat(found).numpy()
    return Curves(fraction, values[:POINTS], values[POINTS:])


def _ranks(importance: Array, patches: NDArray[np.intp]) -> Array:
    """Each pixel's place, in [0, 1), when patches are taken in the order of falling importance (one a patch)."""
    place = np.empty(len(importance))
    place[np.argsort(-importance, kind="stable")] = np.arange(len(importance))
    return (place / len(importance))[patches]


def random_control(
    model: nn.Module,
    image: Tensor,
    region: Region,
    *,
    baseline: Baseline = "skin",
    seed: int = 0,
    report: Callable[[float], None] | None = None,
    canceled: Callable[[], bool] | None = None,
) -> Curves:
    """Mean curves of random orders; one control serves all attributions of the same question.

    Args:
        model: any model of the kit; it is left as it was.
        image: (1, C, H, W).
        region: bool (H, W).
        baseline: what takes the place of the image, see `skinlesion.explain.baseline_image`.
        seed: of the orders.
        report: called with the fraction done, in [0, 1].
        canceled: called before each pass; if it returns True, the computation stops.

    Raises:
        SkinlesionError: the region is empty or has another size.
        Canceled: `canceled` returned True.
    """
    check_region(image, region)
    copy, base, patches = shared_copy(model), baseline_image(image, region, baseline), _patches(region.shape)
    progress = Progress(2 * POINTS * ORDERS, report, canceled)
    rng = np.random.default_rng(seed)
    orders = [_ranks(rng.random(patches.max() + 1), patches) for _ in range(ORDERS)]
    curves = [_curves(copy, image, base, region, ranks, progress) for ranks in orders]
    deletion, insertion = (np.mean([getattr(c, name) for c in curves], axis=0) for name in ("deletion", "insertion"))
    return Curves(curves[0].fraction, deletion, insertion)


def faithfulness(
    model: nn.Module,
    image: Tensor,
    attribution: Attribution,
    control: Curves,
    *,
    baseline: Baseline = "skin",
    report: Callable[[float], None] | None = None,
    canceled: Callable[[], bool] | None = None,
) -> Faithfulness:
    """Deletion and insertion for one attribution.

    Args:
        model: the model that was explained; it is left as it was.
        image: (1, C, H, W).
        attribution: from `attribute`.
        control: from `random_control`, of the same model, image, region and baseline.
        baseline: what replaces the image.
        report: called with the fraction done, in [0, 1].
        canceled: called before each pass; if it returns True, the computation stops.

    Raises:
        SkinlesionError: the image and the attribution differ in size.
        Canceled: `canceled` returned True.
    """
    region = attribution.region
    check_region(image, region)
    patches = _patches(region.shape)
    importance = np.bincount(patches.ravel(), weights=attribution.map.ravel()) / np.bincount(patches.ravel())
    progress = Progress(2 * POINTS, report, canceled)
    base = baseline_image(image, region, baseline)
    return Faithfulness(
        _curves(shared_copy(model), image, base, region, _ranks(importance, patches), progress), control
    )


@torch.no_grad()
def shuffled_copy(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of a model whose every weight tensor has its entries shuffled: same numbers, nothing learned.

    Args:
        model: any module; it is left as it was.
        seed: of the shuffles.
    """
    generator = torch.Generator().manual_seed(seed)
    copy = shared_copy(model)
    for module in copy.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            setattr(module, name, nn.Parameter(weight.flatten()[order].view(weight.shape)))
    return copy


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two maps' absolute values, in [-1, 1]; 0 if one is constant.

    The sanity check of Adebayo et al. (arxiv.org/abs/1810.03292): if the attributions of the trained model and of a
    `shuffled_copy` are similar for the same region, they reflect the image, not the model.

    Raises:
        SkinlesionError: the maps differ in size.
    """
    if a.shape != b.shape:
        raise SkinlesionError(f"Only maps of the same size can be compared; these are {a.shape} and {b.shape}.")
    ranks = [stats.rankdata(np.abs(each).ravel()) for each in (a, b)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
