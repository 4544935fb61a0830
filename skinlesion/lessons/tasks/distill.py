"""Lesson 12: feature distillation."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, uniform
from skinlesion.losses import internal_feature_distillation

# --- pooling ---------------------------------------------------------------------------------------------------------


def average_pool(x: Tensor, factor: int) -> Tensor:
    """The mean of each factor x factor cell: (B, H, W, C) -> (B, H / factor, W / factor, C)."""
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return cells.mean(dim=(2, 4))


def _pool_inputs(generator: Generator) -> list[Case]:
    return [
        Case((normal(generator, 1, 4, 6, 3), 2), "a grid that is not square", (0,)),
        Case((normal(generator, 2, 6, 6, 2), 3), "cells of 3 x 3", (0,)),
        Case((normal(generator, 1, 2, 2, 5), 1), "nothing to pool", (0,)),
        Case((normal(generator, 3, 8, 4, 8), 4), "three images, taller than wide", (0,)),
    ]


def _pool(x: Tensor, factor: int, *, mistake: str) -> Tensor:
    batch, height, width, channels = x.shape
    h, w = height // factor, width // factor
    if mistake == "nearest":
        return x[:, ::factor, ::factor]
    if mistake == "blocks":
        return x.reshape(batch, factor, h, factor, w, channels).mean(dim=(1, 3))
    if mistake == "flat":
        return x.reshape(batch, h, w, factor * factor, channels).mean(dim=3)
    cells = x.reshape(batch, h, factor, w, factor, channels)
    if mistake == "max":
        return cells.amax(dim=(2, 4))
    if mistake == "sum":
        return cells.sum(dim=(2, 4))
    if mistake == "one side":
        return cells.mean(dim=2)[:, :, :, 0]
    return cells.mean(dim=(2, 4))


def _mistaken_pool(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda x, factor: _pool(x, factor, mistake=mistake), diagnosis)


POOL = Exercise(
    name="distill.average_pool",
    lesson=12,
    title="Make the teacher as small as the student",
    statement=r"""
Return the mean of each cell of `factor` x `factor` pixels: `x` $(B, H, W, C)$ -> $(B, H/f, W/f, C)$, where `factor`
divides $H$ and $W$. Use
`reshape` and `mean`.
""",
    solution=average_pool,
    example="average_pool(torch.arange(4.0).reshape(1, 2, 2, 1), 2)",
    difficulty=2,
    importance=3,
    minutes=6,
    hints=(
        "Split each of the two axes in two: which cell, and where in the cell.",
        "`x.reshape(B, H // f, f, W // f, f, C)`; average over the two axes of size f.",
    ),
    cases=_pool_inputs,
    wrong=(
        Wrong(
            "channels pooled",
            lambda x, factor: F.avg_pool2d(x, factor),
            "`F.avg_pool2d` pools the last two axes, which are W and C here: channels come last.",
        ),
        _mistaken_pool(
            "every f-th pixel", "nearest", "You take one pixel of each cell and discard the others. Average them."
        ),
        _mistaken_pool("sum", "sum", "This is a sum over the cell. Take the mean."),
        _mistaken_pool("maximum", "max", "This is the maximum of the cell. Take the mean."),
        _mistaken_pool(
            "factor before cell",
            "blocks",
            "Your reshape puts `factor` before the number of cells, so it averages pixels that are far apart.",
        ),
        _mistaken_pool(
            "neighbors in memory",
            "flat",
            "You average pixels that are adjacent in memory, all in one row. A cell has several rows.",
        ),
        _mistaken_pool(
            "one side only", "one side", "You average over the height only; along the width you take the first pixel."
        ),
    ),
)

# --- CFD -------------------------------------------------------------------------------------------------------------


def cfd(student: Tensor, teacher: Tensor, student_channels: Tensor, teacher_channels: Tensor) -> Tensor:
    """Mean squared distance of chosen channels; the teacher is fixed.

    Args:
        student: (B, h, w, Cs).
        teacher: (B, h, w, Ct), pooled to the student's size already.
        student_channels: k indices.
        teacher_channels: k indices.

    Returns:
        A scalar.
    """
    return F.mse_loss(student[..., student_channels], teacher.detach()[..., teacher_channels])


def _pairs(generator: Generator) -> list[Case]:
    cases = []
    for batch, wide, narrow, label in (
        (1, 5, 3, ""),
        (2, 4, 4, "as many channels in both"),
        (3, 3, 2, "three images"),
    ):
        student, teacher = normal(generator, batch, 2, 3, wide), normal(generator, batch, 2, 3, narrow)
        chosen = [torch.randperm(n, generator=generator)[:narrow] for n in (wide, narrow)]
        cases.append(Case((student, teacher, *chosen), label, (0, 1)))
    return cases


def _cfd(student: Tensor, teacher: Tensor, chosen: Tensor, met: Tensor, *, mistake: str) -> Tensor:
    if mistake == "student detached":
        return F.mse_loss(student.detach()[..., chosen], teacher[..., met])
    fixed = teacher if mistake == "no detach" else teacher.detach()
    k = len(chosen)
    if mistake == "first channels":
        return F.mse_loss(student[..., :k], fixed[..., :k])
    if mistake == "one draw":
        met = chosen % teacher.shape[-1]
    a, b = student[..., chosen], fixed[..., met]
    if mistake == "sum":
        return F.mse_loss(a, b, reduction="sum") / len(a)
    if mistake == "absolute":
        return (a - b).abs().mean()
    if mistake == "root":
        return F.mse_loss(a, b).sqrt()
    if mistake == "channel means":
        return F.mse_loss(student.mean(-1), fixed.mean(-1))
    return F.mse_loss(a, b)


def _of_directions(student: Tensor, teacher: Tensor, first: Tensor, second: Tensor) -> Tensor:
    one, two = student[..., first], teacher.detach()[..., second]
    return F.mse_loss(F.normalize(one, dim=-1), F.normalize(two, dim=-1))


def _mistaken_cfd(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *arguments: _cfd(*arguments, mistake=mistake), diagnosis)


CFD = Exercise(
    name="distill.cfd",
    lesson=12,
    title="Cross-feature distillation of one pair (eq. 8)",
    statement=r"""
`student` $(B, h, w, C_s)$ and `teacher` $(B, h, w, C_t)$ already have the same size. `student_channels` and
`teacher_channels` hold $k$
indices each (random channel selection has drawn them). Return the **mean** squared distance between the chosen
channels, first with
first, second with second. The **teacher is fixed**: no gradient may reach it (A20, A22).
""",
    solution=cfd,
    example="""
student, teacher = (torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[2.0, 7.0, 0.0]]]]))
cfd(student, teacher, torch.tensor([0, 1]), torch.tensor([1, 2]))
""",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "Indexing the last axis with a tensor of indices selects and orders channels: `student[..., "
        "student_channels]`.",
        "Where does the gradient flow by default? Into both. `.detach()` cuts one off.",
    ),
    cases=_pairs,
    wrong=(
        Wrong(
            "normalized first",
            _of_directions,
            "You normalize both over the channels first. Eq. 8 compares the values as they are.",
        ),
        _mistaken_cfd(
            "missing detach",
            "no detach",
            "The teacher gets a gradient too, so it would be pulled toward the student. It is a fixed target here: "
            "detach it (A22).",
        ),
        _mistaken_cfd(
            "student detached", "student detached", "You detached the student, so the teacher learns from it."
        ),
        _mistaken_cfd(
            "sum",
            "sum",
            "This is a sum over pixels and channels. The weight 0.015 would then multiply up to 393,216 terms (A20): "
            "take the mean.",
        ),
        _mistaken_cfd(
            "first channels", "first channels", "You compare the first k channels and ignore the selected ones."
        ),
        _mistaken_cfd(
            "one draw for both", "one draw", "You use the student's indices for the teacher too. Each has its own."
        ),
        _mistaken_cfd("absolute", "absolute", "This is the absolute distance, not the squared one."),
        _mistaken_cfd("root", "root", "You take the square root; eq. 8 has none."),
        _mistaken_cfd("channel means", "channel means", "You compare the means over the channels, not the channels."),
    ),
)

# --- the expectation -------------------------------------------------------------------------------------------------


def expected_cfd(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of CFD over all draws, in closed form: (B, h, w, Cs), (B, h, w, Ct) -> a scalar."""
    pull = (student - teacher.mean(-1, keepdim=True)).square().mean()
    return pull + teacher.var(-1, correction=0).mean()


def _widths(generator: Generator) -> list[Case]:
    return [
        Case((normal(generator, 1, 2, 3, 4), normal(generator, 1, 2, 3, 3))),
        Case((normal(generator, 2, 2, 2, 5), 3 + normal(generator, 2, 2, 2, 2)), "a teacher with a different mean"),
        Case((normal(generator, 1, 2, 2, 3), normal(generator, 1, 2, 2, 1)), "a teacher of one channel"),
        Case((normal(generator, 3, 4, 1, 2), normal(generator, 3, 4, 1, 6)), "a wider teacher"),
    ]


def _expected(student: Tensor, teacher: Tensor, *, mistake: str) -> Tensor:
    mean = teacher.mean(-1, keepdim=True)
    pull = (student - mean).square().mean()
    if mistake == "no variance":
        return pull
    if mistake == "unbiased":
        return pull + ((teacher - mean).square().sum(-1) / max(teacher.shape[-1] - 1, 1)).mean()
    if mistake == "torch's default":
        return pull + teacher.var(-1).mean()  # NaN for a single channel
    if mistake == "student variance":
        return pull + student.var(-1, correction=0).mean()
    if mistake == "over pixels":
        return (student - teacher.mean((1, 2, 3), keepdim=True)).square().mean() + teacher.var(correction=0)
    if mistake == "both means":
        return (student.mean(-1) - teacher.mean(-1)).square().mean() + teacher.var(-1, correction=0).mean()
    if mistake == "deviation":
        return pull + teacher.std(-1, correction=0).mean()
    return pull - teacher.var(-1, correction=0).mean()


def _mistaken_expected(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda student, teacher: _expected(student, teacher, mistake=mistake), diagnosis)


EXPECTED = Exercise(
    name="distill.expected_cfd",
    lesson=12,
    title="What random channel selection does on average",
    statement=r"""
Channels are paired at random. For one student channel $s$ and a teacher channel $t_j$ drawn uniformly,

$$\mathbb E_j\,(s - t_j)^2 = (s - \bar t)^2 + \mathrm{Var}_j(t_j).$$

So return the mean of CFD over **all draws** in closed form: for each pixel, the squared distance of every student
channel from the teacher's channel **mean**, plus the teacher's **variance** over the channels (divided by $C_t$, not
$C_t - 1$), averaged over
everything.
`student` $(B, h, w, C_s)$, `teacher` $(B, h, w, C_t)$ -> a scalar.
""",
    solution=expected_cfd,
    example="""
student, teacher = (torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[2.0, 4.0]]]]))
expected_cfd(student, teacher)
""",
    difficulty=3,
    importance=4,
    minutes=12,
    hints=(
        "Derive it: write s - t_j = (s - mean) + (mean - t_j), square it, and average over j.",
        "`teacher.mean(-1, keepdim=True)` broadcasts over the student channels. `teacher.var(-1, correction=0)` "
        "divides by C_t.",
    ),
    cases=_widths,
    wrong=(
        Wrong(
            "variance over pixels",
            lambda s, t: (s - t.mean(-1, keepdim=True)).square().mean() + t.flatten(0, 2).var(0, correction=0).mean(),
            "You take the variance over the pixels. Channels are drawn at random, so take it over the channels.",
        ),
        _mistaken_expected(
            "no variance",
            "no variance",
            "The teacher's variance is missing. It doesn't affect the student (its gradient is zero), but it is part "
            "of the value.",
        ),
        *(
            _mistaken_expected(
                f"divided by C - 1, {which}",
                which,
                "Divide by C_t (in PyTorch, `correction=0`): these are all of the teacher's channels, not a sample.",
            )
            for which in ("unbiased", "torch's default")
        ),
        _mistaken_expected(
            "student's variance", "student variance", "You add the student's variance. Add the teacher's."
        ),
        _mistaken_expected(
            "mean over pixels too",
            "over pixels",
            "The teacher's mean is over its channels, pixel by pixel, so it is still a map.",
        ),
        _mistaken_expected(
            "mean of the student", "both means", "Every student channel counts separately; don't average them."
        ),
        _mistaken_expected(
            "standard deviation", "deviation", "You add the standard deviation. Add its square, the variance."
        ),
        _mistaken_expected(
            "variance subtracted", "minus", "You subtract the variance. A random target costs more, not less."
        ),
    ),
    after="On average every channel has the same target, the teacher's channel mean. What does that do to diversity?",
)

# --- IFD -------------------------------------------------------------------------------------------------------------


def rank_channels(x: Tensor) -> Tensor:
    """Channel indices of x (B, H, W, C), highest mean of the spatially normalized map first: (C,)."""
    norm = x.square().sum((1, 2)).sqrt().clamp_min(1e-12)  # (B, C)
    return (x.sum((1, 2)) / norm).mean(0).argsort(descending=True, stable=True)


def _features(generator: Generator) -> list[Case]:
    cases = []
    for shape, label in (((2, 3, 4, 6), "two images"), ((1, 2, 2, 4), "one image"), ((3, 3, 3, 8), "three images")):
        scale = uniform(generator, 0.1, 4, shape[-1])
        cases.append(Case((scale * (normal(generator, *shape) + 0.5 * normal(generator, 1, 1, 1, shape[-1])),), label))
    return cases


def _rank(x: Tensor, *, mistake: str) -> Tensor:
    if mistake == "not normalized":
        return x.mean((0, 1, 2)).argsort(descending=True)
    if mistake == "over the batch":
        return (x.sum((0, 1, 2)) / x.square().sum((0, 1, 2)).sqrt()).argsort(descending=True)
    if mistake == "over channels":
        return (x / x.norm(dim=-1, keepdim=True)).mean((0, 1, 2)).argsort(descending=True)
    if mistake == "absolute":
        return (x.abs().sum((1, 2)) / x.square().sum((1, 2)).sqrt()).mean(0).argsort(descending=True)
    if mistake == "norms":
        return x.square().sum((1, 2)).sqrt().mean(0).argsort(descending=True)
    if mistake == "places":
        return rank_channels(x).argsort()
    return rank_channels(x).flip(0)


def _mistaken_rank(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda x: _rank(x, mistake=mistake), diagnosis)


RANK = Exercise(
    name="distill.rank_channels",
    lesson=12,
    title="Which half is which?",
    statement=r"""
IFD compares an upper and a lower half of a map's channels. Rank them as SelfReg-UNet's code does (A23): divide each
channel of each image by
its L2 norm over the **pixels**, take the mean over pixels and images, and sort the channel indices from **high to
low**. `x`
$(B, H, W, C)$ -> integers $(C)$.
""",
    solution=rank_channels,
    example="""
x = torch.tensor([[1.0, 2.0, -1.0], [0.0, 2.0, 3.0]]).reshape(1, 1, 2, 3)
rank_channels(x)
""",
    difficulty=2,
    importance=3,
    minutes=8,
    hints=(
        "The norm is (B, C): one number for each channel of each image.",
        "`(x / norm[:, None, None]).mean((0, 1, 2)).argsort(descending=True)`",
    ),
    cases=_features,
    wrong=(
        _mistaken_rank(
            "ranked by norm",
            "norms",
            "You rank by the norm itself. Divide each channel by its norm, then take the mean.",
        ),
        _mistaken_rank(
            "not normalized",
            "not normalized",
            "You don't divide the maps by their norm, so channels with large values come first.",
        ),
        _mistaken_rank("low to high", "ascending", "You sort from low to high. The highest comes first."),
        _mistaken_rank(
            "norm over the batch",
            "over the batch",
            "You take the norm over all images together. Each image has its own.",
        ),
        _mistaken_rank(
            "norm over channels", "over channels", "You take the norm over the channels. Take it over the pixels."
        ),
        _mistaken_rank(
            "absolute values", "absolute", "You average absolute values, so a map of all -1 would rank first."
        ),
        _mistaken_rank(
            "places instead of numbers",
            "places",
            "Your entry c is the rank of channel c. Return the channel at each rank (argsort once, not twice).",
        ),
    ),
)


def ifd(x: Tensor) -> Tensor:
    """IFD of one map (B, H, W, C) with ranked halves: a scalar."""
    return internal_feature_distillation([x])


def _gradient_features(generator: Generator) -> list[Case]:
    return [Case(case.args, case.label, (0,)) for case in _features(generator)]


def _ifd(x: Tensor, *, mistake: str) -> Tensor:
    order, half = rank_channels(x.detach()), x.shape[-1] // 2
    upper, lower = x[..., order[:half]], x[..., order[half:]]
    if mistake == "index":
        upper, lower = x[..., :half], x[..., half:]
    if mistake == "detached":
        upper = upper.detach()
    if mistake == "alternating":
        upper, lower = x[..., order[::2]], x[..., order[1::2]]
    if mistake == "mirrored":
        lower = lower.flip(-1)
    if mistake == "sum":
        return F.mse_loss(upper, lower, reduction="sum") / len(x)
    if mistake == "means":
        return F.mse_loss(upper.mean(-1), lower.mean(-1))
    return (upper - lower).abs().mean() if mistake == "absolute" else F.mse_loss(upper, lower)


def _mistaken_ifd(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda x: _ifd(x, mistake=mistake), diagnosis)


IFD = Exercise(
    name="distill.ifd",
    lesson=12,
    title="Internal feature distillation of one map (eq. 9)",
    statement=r"""
Rank the channels of `x` $(B, H, W, C)$, $C$ even, with the function from the last exercise, split them into the upper
and
the lower half, and return the
mean squared distance of the halves, rank by rank: the first of the upper half with the first of the lower half, and so
on. Neither half
is detached (A24).
""",
    solution=ifd,
    example="""
x = torch.tensor([[1.0, 2.0], [0.0, 2.0]]).reshape(1, 1, 2, 2)
ifd(x)
""",
    difficulty=2,
    importance=5,
    minutes=6,
    hints=(
        "`order[: C // 2]` are the channels of the upper half, `order[C // 2 :]` those of the lower.",
        "`F.mse_loss(x[..., upper], x[..., lower])`",
    ),
    cases=_gradient_features,
    wrong=(
        _mistaken_ifd(
            "halves as stored", "index", "You take the halves in storage order. Rank the channels first (A23)."
        ),
        _mistaken_ifd(
            "upper half detached",
            "detached",
            "You detach the upper half. The paper's wording would allow it, but SelfReg-UNet's code detaches neither "
            "(A24).",
        ),
        _mistaken_ifd(
            "every other channel",
            "alternating",
            "You take every other channel of the ranking: those aren't the upper and lower halves.",
        ),
        _mistaken_ifd("mirrored", "mirrored", "You compare the first with the last. Keep the order within each half."),
        _mistaken_ifd("sum", "sum", "This is a sum over pixels and channels. Take the mean."),
        _mistaken_ifd("means of the halves", "means", "You compare the halves' means. Compare channel with channel."),
        _mistaken_ifd("absolute", "absolute", "This is the absolute distance, not the squared one."),
    ),
)

# --- the metric ------------------------------------------------------------------------------------------------------


def redundancy(x: Tensor) -> Tensor:
    """Mean absolute correlation of different channels, over images and pixels: (B, H, W, C) -> a scalar."""
    rows = x.reshape(-1, x.shape[-1])  # (B H W, C)
    rows = rows - rows.mean(0)
    rows = rows / rows.norm(dim=0).clamp_min(1e-12)
    correlation = (rows.T @ rows).abs()  # (C, C)
    channels = len(correlation)
    return (correlation.sum() - correlation.trace()) / (channels * (channels - 1))


def _redundancy(x: Tensor, *, mistake: str) -> Tensor:
    rows = x.reshape(-1, x.shape[-1])
    if mistake != "cosine":
        rows = rows - (rows.mean(1, keepdim=True) if mistake == "centered by pixel" else rows.mean(0))
    if mistake != "covariance":
        rows = rows / rows.norm(dim=0).clamp_min(1e-12)
    correlation = rows.T @ rows / (len(rows) if mistake == "covariance" else 1)
    if mistake != "signed":
        correlation = correlation.abs()
    channels = len(correlation)
    if mistake == "diagonal":
        return correlation.mean()
    if mistake == "largest":
        return (correlation - torch.eye(channels)).amax()
    if mistake == "pairs once":
        return (correlation.sum() - correlation.trace()) / 2 / (channels * (channels - 1))
    return (correlation.sum() - correlation.trace()) / (channels * (channels - 1))


def _mistaken_redundancy(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda x: _redundancy(x, mistake=mistake), diagnosis)


REDUNDANCY = Exercise(
    name="distill.redundancy",
    lesson=12,
    title="The metric: how redundant are channels?",
    statement=r"""
Return the mean **absolute correlation** of all pairs of different channels of `x` $(B, H, W, C)$, over all pixels of
all
images: 0 when no channel
is correlated with another, 1 when they are copies (or negatives) of each other. Leave the diagonal out.
""",
    solution=redundancy,
    example="""
x = torch.tensor([[1.0, -2.0], [2.0, -4.0], [3.0, -3.0]]).reshape(1, 1, 3, 2)
redundancy(x)
""",
    difficulty=2,
    importance=4,
    minutes=8,
    bonus=True,
    hints=(
        "Reshape it to B H W rows and C columns. Subtract each column's mean, divide by its norm.",
        "The correlations are then `rows.T @ rows`; take abs, remove the diagonal, divide by C (C - 1).",
    ),
    cases=_features,
    wrong=(
        _mistaken_redundancy(
            "with the diagonal", "diagonal", "You include the diagonal, where each channel is compared with itself."
        ),
        _mistaken_redundancy(
            "signs cancel", "signed", "Without abs, positive and negative correlations cancel. Both are redundancy."
        ),
        _mistaken_redundancy(
            "cosine", "cosine", "You don't subtract the mean: this is cosine similarity, not correlation."
        ),
        _mistaken_redundancy("covariance", "covariance", "You don't divide by the norms: these are covariances."),
        _mistaken_redundancy(
            "mean over channels",
            "centered by pixel",
            "You subtract each pixel's mean over channels. Subtract each channel's mean.",
        ),
        _mistaken_redundancy("the largest", "largest", "This is the largest correlation. Return the mean."),
        _mistaken_redundancy(
            "half",
            "pairs once",
            "You divide by an extra factor of 2: the sum and the count both include both triangles.",
        ),
    ),
)

EXERCISES = (POOL, CFD, EXPECTED, RANK, IFD, REDUNDANCY)
