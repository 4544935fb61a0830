"""Lesson 14: looking inside."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, uniform

# --- do the gates look at the image? ---------------------------------------------------------------------------------


def image_share(gates: Tensor) -> Tensor:
    """How much of the gates' variance is due to the image.

    Args:
        gates: (images, C), of one block.

    Returns:
        Variance of each channel over the images, mean over the channels, divided by the variance of all values; a
        scalar in [0, 1].
    """
    return gates.var(dim=0, correction=0).mean() / gates.var(correction=0)


def _share(gates: Tensor, *, mistake: str) -> Tensor:
    if mistake == "axis":
        return gates.var(dim=1, correction=0).mean() / gates.var(correction=0)
    if mistake == "deviation":
        return gates.std(dim=0, correction=0).mean() / gates.std(correction=0)
    if mistake == "sum":
        return gates.var(dim=0, correction=0).sum() / gates.var(correction=0)
    if mistake == "rest":
        return 1 - image_share(gates)
    if mistake == "means":
        return gates.mean(dim=1).var(correction=0) / gates.var(correction=0)
    return gates.var(dim=0, correction=0).mean()


def _shared(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda gates: _share(gates, mistake=mistake), diagnosis)


IMAGE_SHARE = Exercise(
    name="looking.image_share",
    lesson=14,
    title="A metric: do the gates depend on the image?",
    statement=r"""
SE computes new gates for every image. That does not mean that they *differ* from image to image. For the gates
$g_{ic}$ of images $i$ and channels $c$, take the variance **over the images** in each channel, average it over the
channels, and divide by the variance of all values together:

$$\frac{\frac1C\sum_c \mathrm{var}_i(g_{ic})}{\mathrm{var}_{ic}(g_{ic})}$$

0: every image gets the same gates. 1: the channels are all alike and only the image matters. `gates` is
$(\text{images}, C)$; variances divide by $n$ (`correction=0`). Return a scalar.
""",
    solution=image_share,
    example="image_share(torch.tensor([[0.2, 0.8], [0.4, 0.8]]))",
    difficulty=2,
    importance=4,
    minutes=6,
    hints=(
        "Images are axis 0. Which axis is the variance over, and which is the mean over?",
        "`gates.var(dim=0, correction=0)` has one value per channel; average, then divide by "
        "`gates.var(correction=0)`.",
    ),
    cases=lambda generator: [
        Case((uniform(generator, 0, 1, 5, 8),), "five images, eight channels"),
        Case((uniform(generator, 0, 1, 1, 6).expand(4, 6).clone(),), "the same gates for every image"),
        Case((uniform(generator, 0, 1, 7, 1) + 0.1 * uniform(generator, 0, 1, 7, 3),), "nearly equal channels"),
    ],
    wrong=(
        Wrong(
            "divided by n - 1",
            lambda gates: gates.var(dim=0).mean() / gates.var(),
            "These variances divide by n - 1, torch's default. Divide by n: `correction=0`.",
        ),
        _shared(
            "wrong axis", "axis", "This is the variance over the channels. Take the variance over the images, axis 0."
        ),
        _shared(
            "deviations",
            "deviation",
            "These are standard deviations. Use variances, which add up; standard deviations don't.",
        ),
        _shared(
            "sum over channels", "sum", "You sum over the channels, so this grows with their number. Average them."
        ),
        _shared("the rest", "rest", "That is the part that the image does *not* explain. Return one minus it."),
        _shared(
            "means of images",
            "means",
            "You average each image's gates first. Two images may have different gates and the same mean.",
        ),
        _shared(
            "not divided",
            "whole",
            "Divide by the variance of all values. Otherwise, gates that vary little look constant.",
        ),
    ),
    after="A gate can be computed from the image and still be nearly constant.",
)

# --- one number out of a map -----------------------------------------------------------------------------------------


def region_score(logits: Tensor, region: Tensor) -> Tensor:
    """The number to explain, for each image of a batch.

    Args:
        logits: (B, 1, H, W).
        region: bool (H, W), with at least one pixel.

    Returns:
        The mean logit over the region, (B,).
    """
    return logits[:, 0, region].mean(dim=1)


def _region_cases(generator: Generator) -> list[Case]:
    cases = []
    for batch, height, width in ((2, 4, 5), (1, 3, 3), (3, 2, 6)):
        region = uniform(generator, 0, 1, height, width) < 0.4
        region[0, 1] = True
        cases.append(Case((normal(generator, batch, 1, height, width), region), f"a batch of {batch}", (0,)))
    return cases


REGION_SCORE = Exercise(
    name="looking.region_score",
    lesson=14,
    title="One number from a map",
    statement=r"""
Captum explains **one number** for each image. A segmentation is a map. So choose a region $R$, for instance the
predicted mask, and explain

$$s = \frac{1}{|R|}\sum_{p \in R} z_p$$

with the **logits** $z$: a sigmoid saturates where the network is confident, so its gradient vanishes there.
`logits` $(B, 1, H, W)$ and `region` bool $(H, W)$ -> $(B)$, one number per image.
""",
    solution=region_score,
    example="region_score(torch.tensor([[[[4.0, 1.0, 7.0]]]]), torch.tensor([[True, False, True]]))",
    difficulty=1,
    importance=4,
    minutes=5,
    hints=(
        "A boolean mask as an index selects its pixels: what is the shape of `logits[:, 0, region]`?",
        "`logits[:, 0, region].mean(dim=1)`",
    ),
    cases=_region_cases,
    wrong=(
        Wrong(
            "mean over the batch",
            lambda logits, region: logits[:, 0][:, region].mean(0),
            "You average over the images and keep the pixels. Average over the pixels of the region, axis 1.",
        ),
        Wrong(
            "sum",
            lambda logits, region: logits[:, 0, region].sum(dim=1),
            "This is the sum over the region. The mean does not depend on the lesion's size.",
        ),
        Wrong(
            "whole image",
            lambda logits, region: (logits[:, 0] * region).mean((1, 2)),
            "You divide by all pixels of the image, not by those of the region.",
        ),
        Wrong(
            "probabilities",
            lambda logits, region: logits[:, 0, region].sigmoid().mean(dim=1),
            "These are probabilities: their gradient vanishes where the network is confident. Use logits.",
        ),
        Wrong(
            "region ignored",
            lambda logits, region: logits[:, 0].mean((1, 2)),
            "You don't use the region: that is the mean over the whole image.",
        ),
        Wrong(
            "outside",
            lambda logits, region: logits[:, 0, ~region].mean(dim=1),
            "That is the mean outside the region.",
        ),
        Wrong(
            "one number for the batch",
            lambda logits, region: logits[:, 0, region].mean(),
            "You return one number for the whole batch. Return one per image, (B,).",
        ),
    ),
)

# --- integrated gradients --------------------------------------------------------------------------------------------

Score = Callable[[Tensor], Tensor]


class Bump(nn.Module):
    """A small smooth function (B, C, H, W) -> (B,) to try attributions on."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        """A squashed sum, plus a product of neighbors: no pixel's effect is independent of the others."""
        pixels = (images * self.weight).flatten(1)  # (B, C H W)
        return torch.tanh(pixels.sum(1)) + (pixels[:, 1:] * pixels[:, :-1]).sum(1)


def integrated_gradients(score: Score, image: Tensor, base: Tensor, steps: int) -> Tensor:
    """Integrated gradients with the midpoint rule.

    Args:
        score: images (B, C, H, W) -> (B,).
        image: (1, C, H, W).
        base: (1, C, H, W), the image of "nothing there".
        steps: points along the path.

    Returns:
        (H, W), summed over the channels.
    """
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()  # (steps, C, H, W)
    (slope,) = torch.autograd.grad(score(way).sum(), way)
    return ((image - base)[0] * slope.mean(0)).sum(0)


def _gradients(score: Score, image: Tensor, base: Tensor, steps: int, *, mistake: str) -> Tensor:
    along = {"left": torch.arange(steps) / steps, "right": (torch.arange(steps) + 1) / steps}.get(
        mistake, (torch.arange(steps) + 0.5) / steps
    )
    if mistake == "end":
        along = torch.ones(steps)
    start = torch.zeros_like(base) if mistake == "black" else base
    way = (start + along.view(-1, 1, 1, 1) * (image - start)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(way).sum(), way)
    slope = slope.sum(0) if mistake == "sum" else slope.mean(0)
    if mistake == "only slope":
        return slope.sum(0)
    factor = image[0] if mistake == "times image" else (image - start)[0]
    product = factor * slope
    return product.abs().sum(0) if mistake == "absolute" else product.sum(0)


def _wrong_gradients(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *arguments: _gradients(*arguments, mistake=mistake), diagnosis)


def _gradient_cases(generator: Generator) -> list[Case]:
    cases = []
    for channels, height, width, steps in ((3, 2, 4, 3), (1, 3, 2, 2), (2, 2, 2, 5)):
        shape = (1, channels, height, width)
        score = Bump(0.7 * normal(generator, *shape[1:]))
        images = uniform(generator, 0, 1, *shape), uniform(generator, 0, 1, *shape)
        cases.append(Case((score, *images, steps), f"{steps} steps, {channels} channels"))
    return cases


INTEGRATED = Exercise(
    name="looking.integrated_gradients",
    lesson=14,
    title="Integrated gradients",
    statement=r"""
Move along a straight line from a baseline image $x'$ ("nothing there") to the image $x$, and average the gradient of
the score along the way:

$$a = (x - x') \cdot \frac1n \sum_{k=1}^{n} \nabla s\Big(x' + \tfrac{k - 1/2}{n}\,(x - x')\Big)$$

Use these midpoints. `score` maps a batch $(B, C, H, W)$ to $(B)$; `image` and `base` are $(1, C, H, W)$.
Put all `steps` points in one batch, use `torch.autograd.grad` to get the gradient of the **sum** of their scores (each
score depends only on its own image), and sum over the channels: -> $(H, W)$.

Why this product? For many steps $\sum a = s(x) - s(x')$: the map shows where the difference comes from.
""",
    solution=integrated_gradients,
    example="""
image = torch.tensor([2.0, 1.0]).reshape(1, 1, 1, 2)
integrated_gradients(lambda x: x.square().sum((1, 2, 3)), image, torch.zeros_like(image), 64)
""",
    difficulty=3,
    importance=5,
    minutes=15,
    hints=(
        "First compute the positions along the way: `(torch.arange(steps) + 0.5) / steps`, shaped (steps, 1, 1, 1).",
        "`way = (base + along * (image - base)).detach().requires_grad_()` and `(slope,) = "
        "torch.autograd.grad(score(way).sum(), way)`",
        "Take the mean of the slope over the steps, multiply by `(image - base)[0]`, and sum over the channels.",
    ),
    cases=_gradient_cases,
    wrong=(
        _wrong_gradients("gradient at the image", "end", "All points are the image itself: that is gradient x input."),
        _wrong_gradients("left ends", "left", "Your points start at the baseline: (k - 1)/n. Take the midpoints."),
        _wrong_gradients("right ends", "right", "Your points are k/n. Take the midpoints (k - 1/2)/n."),
        _wrong_gradients("not averaged", "sum", "You sum the gradients. Take their mean."),
        _wrong_gradients(
            "without the difference",
            "only slope",
            "The factor (x - x') is missing: without it the sum is not the difference of the scores.",
        ),
        _wrong_gradients("times the image", "times image", "You multiply by x. The factor is x - x'."),
        _wrong_gradients("base ignored", "black", "Your path starts at black. Start at `base`."),
        _wrong_gradients(
            "absolute", "absolute", "Don't take absolute values: evidence against the lesion must stay negative."
        ),
    ),
    after="In a deep network few steps are not enough: the package checks the sum and "
    "reports how far it is off (`completeness_gap`).",
)

# --- the test of faithfulness ----------------------------------------------------------------------------------------


def deletion_curve(score: Score, image: Tensor, base: Tensor, importance: Tensor, points: int) -> Tensor:
    """The score while the most important pixels are replaced first.

    Args:
        score: images (B, C, H, W) -> (B,).
        image: (1, C, H, W).
        base: (1, C, H, W), what takes its place.
        importance: (H, W), no two pixels alike.
        points: of the curve, both ends included; points - 1 divides H W.

    Returns:
        (points,), from the whole image to the base.
    """
    place = (-importance.flatten()).argsort().argsort().view(importance.shape)  # 0 for the most important
    gone = (torch.arange(points) * importance.numel() // (points - 1)).view(-1, 1, 1, 1)  # pixels replaced
    with torch.no_grad():
        return score(torch.where(place < gone, base, image))


def _deletion(score: Score, image: Tensor, base: Tensor, importance: Tensor, points: int, *, mistake: str) -> Tensor:
    if mistake == "least":
        return deletion_curve(score, image, base, -importance, points)
    if mistake == "insertion":
        return deletion_curve(score, base, image, importance, points)
    if mistake == "black":
        return deletion_curve(score, image, torch.zeros_like(base), importance, points)
    if mistake == "absolute":
        return deletion_curve(score, image, base, importance.abs(), points)
    place = (-importance.flatten()).argsort().view(importance.shape)
    if mistake != "one argsort":
        place = place.flatten().argsort().view(importance.shape)
    last = points if mistake == "end" else points - 1
    gone = (torch.arange(points) * importance.numel() // last).view(-1, 1, 1, 1)
    keep = (place >= gone - importance.numel() // last) & (place < gone) if mistake == "one part" else place < gone
    with torch.no_grad():
        return score(torch.where(keep, base, image))


def _wrong_deletion(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *arguments: _deletion(*arguments, mistake=mistake), diagnosis)


def _deletion_cases(generator: Generator) -> list[Case]:
    cases = []
    for channels, height, width, points in ((3, 3, 4, 5), (1, 4, 4, 9), (2, 2, 5, 6)):
        shape = (1, channels, height, width)
        score = Bump(0.7 * normal(generator, *shape[1:]))
        images = uniform(generator, 0, 1, *shape), uniform(generator, 0, 1, *shape)
        cases.append(Case((score, *images, normal(generator, height, width), points), f"{points} points"))
    return cases


DELETION = Exercise(
    name="looking.deletion_curve",
    lesson=14,
    title="A test: deletion",
    statement=r"""
You can test a map that says what matters: replace the pixels with those of `base`, **the most important first**, and
watch the score. Point $k$ of the curve ($k = 0 \dots P - 1$, $P$ = `points`) has $k/(P - 1)$ of all pixels replaced:
the first is the image, the last is the baseline.

`score` takes a batch $(B, C, H, W)$, `image` and `base` are $(1, C, H, W)$, `importance` is $(H, W)$ with a sign
(negative is evidence against, so it goes last). -> $(P)$, without a gradient. $P - 1$ divides $HW$.
""",
    solution=deletion_curve,
    example="""
image = torch.tensor([3.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
deletion_curve(lambda x: x.sum((1, 2, 3)), image, torch.zeros_like(image), torch.tensor([[9.0, 0.0, 5.0]]), 4)
""",
    difficulty=3,
    importance=4,
    minutes=12,
    hints=(
        "You need each pixel's rank. argsort gives the pixel at each rank; argsort of that gives the rank of each "
        "pixel.",
        "`place = (-importance.flatten()).argsort().argsort().view(H, W)`; after k parts the pixels with `place < k * "
        "H * W // (points - 1)` are replaced.",
        "`score(torch.where(place < gone, base, image))`, with `gone` shaped (points, 1, 1, 1).",
    ),
    cases=_deletion_cases,
    plain=True,
    wrong=(
        _wrong_deletion(
            "least important first", "least", "You replace the least important pixels first. Reverse the order."
        ),
        _wrong_deletion("insertion", "insertion", "Your curve goes from the base to the image: that is insertion."),
        _wrong_deletion(
            "one argsort",
            "one argsort",
            "One argsort gives the pixel at each rank. You need the rank of each pixel: argsort twice.",
        ),
        _wrong_deletion(
            "black", "black", "You replace pixels with 0. Lesions are dark, so black doesn't mean absence. Use `base`."
        ),
        _wrong_deletion(
            "absolute values",
            "absolute",
            "You sort by absolute value, so evidence against the lesion goes first too.",
        ),
        _wrong_deletion(
            "the last point",
            "end",
            "Your last point still contains part of the image: divide by points - 1, so that all of it is replaced.",
        ),
        _wrong_deletion(
            "one part at a time", "one part", "Each point replaces only one part. What was replaced stays replaced."
        ),
    ),
)

# --- the control -----------------------------------------------------------------------------------------------------


def rank_similarity(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of the absolute values of two maps.

    Args:
        a: (H, W); equal values share the mean of their ranks.
        b: (H, W).

    Returns:
        In [-1, 1].
    """
    ranks = [stats.rankdata(np.abs(each)) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def _similarity(a: NDArray[np.float64], b: NDArray[np.float64], *, mistake: str) -> float:
    if mistake == "signed":
        return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])
    a, b = np.abs(a).ravel(), np.abs(b).ravel()
    if mistake == "ties":
        return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1])
    if mistake in ("min", "max", "dense"):
        return float(np.corrcoef(*(stats.rankdata(each, method=mistake) for each in (a, b)))[0, 1])
    if mistake == "pearson":
        return float(np.corrcoef(a, b)[0, 1])
    if mistake == "one argsort":
        return float(np.corrcoef(a.argsort(), b.argsort())[0, 1])
    ranks = [stats.rankdata(each) for each in (a, b)]
    if mistake == "cosine":
        return float(ranks[0] @ ranks[1] / np.linalg.norm(ranks[0]) / np.linalg.norm(ranks[1]))
    if mistake == "distance":
        return 1 - float(np.corrcoef(*ranks)[0, 1])
    return float(np.corrcoef(*ranks)[0, 1]) ** 2


def _wrong_similarity(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda a, b: _similarity(a, b, mistake=mistake), diagnosis)


def _map_pairs(generator: Generator) -> list[Case]:
    cases = []
    for height, width, common in ((5, 6, 0.0), (4, 4, 1.5), (3, 8, -1.0)):
        a = normal(generator, height, width)
        b = normal(generator, height, width) + common * a
        cases.append(Case((a.double().numpy().copy(), (b**3).double().numpy().copy()), f"maps of {height} x {width}"))
    one, other = (normal(generator, 6, 5).double().numpy() for _ in range(2))
    cases.append(Case((np.maximum(one, 0), np.maximum(one + other, 0).round(1)), "maps with many zeros"))
    return cases


SIMILARITY = Exercise(
    name="looking.rank_similarity",
    lesson=14,
    title="The control: does a network with shuffled weights give the same map?",
    statement=r"""
Take the trained network and **shuffle each weight tensor**. Nothing learned is left. If an explanation method still
gives the same map, it shows the image, not the network. To compare two maps regardless of scale, use Spearman's
correlation of their absolute values: replace each $|a_p|$ by its rank, and correlate the ranks (Pearson).

`a` and `b` are NumPy arrays $(H, W)$ -> a float in $[-1, 1]$. **Equal values share the mean of their ranks** (a
Grad-CAM map has many zeros, and their order must not matter): `scipy.stats.rankdata` does that.
""",
    solution=rank_similarity,
    example="rank_similarity(np.array([[1.0, -4.0, 2.0]]), np.array([[0.1, 0.3, 0.2]]))",
    difficulty=2,
    importance=3,
    minutes=6,
    bonus=True,
    hints=(
        "Rank the flattened absolute values. Don't use argsort twice: it orders equal values by position.",
        "`scipy.stats.rankdata` for both, then `np.corrcoef(ranks_a, ranks_b)[0, 1]`, as a float.",
    ),
    cases=_map_pairs,
    wrong=(
        Wrong(
            "Kendall",
            lambda a, b: float(stats.kendalltau(np.abs(a).ravel(), np.abs(b).ravel()).statistic),
            "This is Kendall's tau. Spearman's correlation is Pearson's correlation of the ranks.",
        ),
        _wrong_similarity(
            "min rank for ties",
            "min",
            "Equal values get the lowest of their ranks. They must share the *mean* of their ranks.",
        ),
        _wrong_similarity(
            "max rank for ties",
            "max",
            "Equal values get the highest of their ranks. They must share the *mean* of their ranks.",
        ),
        _wrong_similarity(
            "dense ranks",
            "dense",
            "Equal values share one rank and the next value gets the next rank (dense). They must share the *mean* of "
            "their ranks.",
        ),
        _wrong_similarity(
            "signed", "signed", "You keep the signs. Take absolute values: only how much a pixel matters counts."
        ),
        _wrong_similarity("Pearson", "pearson", "You correlate values, so a few bright pixels dominate. Rank first."),
        _wrong_similarity(
            "one argsort", "one argsort", "One argsort gives the pixel at each rank, not the rank of each pixel."
        ),
        _wrong_similarity(
            "ties by position",
            "ties",
            "Equal values get different ranks, by their position. Let them share the mean rank.",
        ),
        _wrong_similarity("cosine", "cosine", "Ranks are all positive: subtract their mean first (Pearson does)."),
        _wrong_similarity("distance", "distance", "That is one minus the correlation: a distance."),
        _wrong_similarity("squared", "squared", "You square the correlation, so a reversed map would look similar."),
    ),
    after="`skinlesion.explain.similarity` is this, and it handles constant maps as well.",
)

EXERCISES = (IMAGE_SHARE, REGION_SCORE, INTEGRATED, DELETION, SIMILARITY)
