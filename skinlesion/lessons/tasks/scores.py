"""Lesson 2: scores, and the supervised loss."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.boundary import BOUNDARY
from skinlesion.lessons.tasks.inputs import normal, uniform
from skinlesion.losses import dice_loss
from skinlesion.metrics import confusion_counts

# --- confusion -------------------------------------------------------------------------------------------------------


def _masks(generator: Generator) -> list[Case]:
    cases = []
    for shape, share, label in (
        ((3, 4, 5), 0.4, ""),
        ((1, 2, 2), 0.5, "one image"),
        ((2, 3, 3), 0.9, "mostly lesion"),
        ((2, 40, 30), 0.4, "more than 255 pixels of each kind"),
    ):
        prediction, truth = (torch.rand(shape, generator=generator) < share for _ in range(2))
        cases.append(Case((prediction, truth), label))
    return cases


def _count(prediction: Tensor, truth: Tensor, *, mistake: str) -> Tensor:
    tp, fp, fn, tn = confusion_counts(prediction, truth).unbind(1)
    order = {"swapped": (tp, fn, fp, tn), "negatives first": (tn, fn, fp, tp), "tn last but one": (tp, fp, tn, fn)}
    counts = torch.stack(order.get(mistake, (tp, fp, fn, tn)), dim=1)
    if mistake == "pooled":
        return counts.sum(0)
    if mistake == "fractions":
        return counts / prediction[0].numel()
    if mistake == "areas":
        return torch.stack([tp, tp + fp, tp + fn, tn], dim=1)
    return counts


def _miscounted(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda prediction, truth: _count(prediction, truth, mistake=mistake), diagnosis)


CONFUSION = Exercise(
    name="scores.confusion",
    lesson=2,
    title="Count the four kinds of pixels",
    statement=r"""
For each image count the true positives (lesion, found), false positives (skin, called lesion), false negatives
(lesion, missed) and true
negatives. `prediction` and `truth` are boolean $(B, H, W)$ -> integers $(B, 4)$ in the order **TP, FP, FN, TN**.
""",
    solution=confusion_counts,
    example="""
prediction = torch.tensor([[[True, True, False, False]]])
confusion(prediction, torch.tensor([[[True, False, True, False]]]))
""",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "`prediction & truth` is true where both are. `~truth` is the skin.",
        "Count with `.sum((1, 2))`, then `torch.stack([...], dim=1)`.",
    ),
    cases=_masks,
    wrong=(
        _miscounted(
            "FP and FN swapped",
            "swapped",
            "False positives and false negatives are swapped: FP is skin that was called lesion.",
        ),
        _miscounted("over the batch", "pooled", "You counted over all images together. Return one row per image."),
        _miscounted(
            "fractions", "fractions", "These are fractions of the pixels. Return counts, which can be added up."
        ),
        _miscounted(
            "areas",
            "areas",
            "Your second number is everything called lesion, your third all lesion pixels: both include TP.",
        ),
        _miscounted("positive and negative swapped", "negatives first", "Lesion is the positive class; you used skin."),
        _miscounted("order", "tn last but one", "The order is TP, FP, FN, TN."),
    ),
)

# --- IoU -------------------------------------------------------------------------------------------------------------


def iou(counts: Tensor) -> Tensor:
    """TP / (TP + FP + FN), and 1 where there is neither lesion nor prediction; (..., 4) -> (...)."""
    tp, fp, fn, _ = counts.double().unbind(-1)
    union = tp + fp + fn
    return torch.where(union > 0, tp / union.clamp(min=1), 1.0)


def _counts(generator: Generator) -> list[Case]:
    some = torch.randint(1, 50, (4, 4), generator=generator)
    missed = torch.tensor([[0, 7, 0, 93], [0, 0, 9, 91]])
    empty = torch.tensor([[5, 1, 2, 92], [0, 0, 0, 100]])
    many = torch.randint(1, 90_000, (2, 3, 4), generator=generator)
    return [
        Case((some,)),
        Case((missed,), "no overlap"),
        Case((empty,), "an image without a lesion, predicted empty"),
        Case((many,), "two axes before the counts"),
    ]


def _iou(counts: Tensor, *, mistake: str) -> Tensor:
    tp, fp, fn, tn = counts.double().unbind(-1)
    union = tp + fp + fn
    if mistake == "dice":
        return torch.where(union > 0, 2 * tp / (2 * tp + fp + fn).clamp(min=1), 1.0)
    if mistake == "accuracy":
        return (tp + tn) / (union + tn)
    if mistake == "nan":
        return tp / union
    if mistake == "zero":
        return tp / union.clamp(min=1)
    if mistake == "smooth":
        return (tp + 1) / (union + 1)
    if mistake == "sensitivity":
        return torch.where(union > 0, tp / (tp + fn).clamp(min=1), 1.0)
    return torch.where(union > 0, tp / (2 * tp + fp + fn).clamp(min=1), 1.0)


def _mistaken_iou(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda counts: _iou(counts, mistake=mistake), diagnosis)


IOU = Exercise(
    name="scores.iou",
    lesson=2,
    title="Intersection over union (eq. 12)",
    statement=r"""
$$\mathrm{IoU} = \frac{TP}{TP + FP + FN}$$

`counts` $(\dots, 4)$, integers in the order TP, FP, FN, TN -> $(\dots)$, `float64`. Where there is no lesion and
none was predicted
($0/0$), the prediction is perfect: return **1**.
""",
    solution=iou,
    example="iou(torch.tensor([[30, 10, 20, 40], [0, 0, 0, 100]]))",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "`tp, fp, fn, tn = counts.double().unbind(-1)`",
        "`torch.where(union > 0, ..., 1.0)` chooses; divide by `union.clamp(min=1)` to keep NaN out.",
    ),
    cases=_counts,
    exact_dtype=True,
    wrong=(
        _mistaken_iou("Dice", "dice", "This is Dice, 2 TP / (2 TP + FP + FN). IoU counts the overlap once."),
        _mistaken_iou("accuracy", "accuracy", "You count true negatives: this is accuracy."),
        _mistaken_iou("0/0 is NaN", "nan", "0/0 gives NaN, and one NaN makes the mean over a whole set NaN."),
        _mistaken_iou("0/0 is 0", "zero", "A correctly predicted empty mask gets 0, the worst score."),
        _mistaken_iou(
            "smoothed", "smooth", "You add 1 to numerator and denominator. That is for losses; a score should be exact."
        ),
        _mistaken_iou("sensitivity", "sensitivity", "False positives are missing: a mask of everything would get 1."),
        _mistaken_iou("TP counted twice", "half", "TP appears twice in the denominator."),
    ),
    after="The paper calls this mIoU, but it isn't a mean over classes (A37): it is the IoU of the lesion.",
)

# --- Dice from IoU ---------------------------------------------------------------------------------------------------


def dsc_from_iou(value: float) -> float:
    """The Dice coefficient that belongs to an IoU, when both come from the same counts."""
    return 2 * value / (1 + value)


IDENTITY = Exercise(
    name="scores.dsc_from_iou",
    lesson=2,
    title="Dice and IoU carry the same information",
    statement=r"""
$\mathrm{DSC} = \frac{2 TP}{2 TP + FP + FN}$ (eq. 13). Find the formula for DSC as a function of IoU alone, when both
come from the same counts, and implement it: a number -> a number.
""",
    solution=dsc_from_iou,
    takes="iou",
    example="dsc_from_iou(0.5)",
    difficulty=2,
    importance=4,
    minutes=6,
    hints=(
        "Divide numerator and denominator of both by TP and call (FP + FN) / TP = e. Then IoU = 1 / (1 + e).",
        "DSC = 2 / (2 + e). Substitute e = 1 / IoU - 1.",
    ),
    cases=lambda generator: [Case((value,)) for value in (0.8148, 0.5, 1.0, 0.01)],
    wrong=(
        Wrong("the other way", lambda value: value / (2 - value), "That gives IoU from DSC. You need the inverse."),
        Wrong("twice", lambda value: 2 * value, "DSC is not twice the IoU: at IoU = 1 it would be 2."),
        Wrong("mean with one", lambda value: (1 + value) / 2, "That is halfway to 1. At IoU = 0 the DSC is 0."),
        Wrong("square root", lambda value: value**0.5, "Close, but not right: try it at 0.5, where DSC is 2/3."),
        Wrong(
            "numerator forgotten",
            lambda value: value / (1 + value),
            "The factor of two is missing: at IoU = 1 you get 1/2.",
        ),
        Wrong("equal", lambda value: value, "Dice counts the overlap twice, so it is the larger of the two."),
    ),
    after="A table with both shows the same thing twice. If the two don't match, they were averaged differently.",
)

# --- pooled and per image --------------------------------------------------------------------------------------------


def pooled_and_mean(counts: Tensor) -> tuple[float, float]:
    """IoU of all pixels taken together, and the mean of the images' IoU; counts (images, 4)."""
    return float(iou(counts.sum(0))), float(iou(counts).mean())


def _tables(generator: Generator) -> list[Case]:
    sizes = torch.tensor([[9000, 500, 400, 100], [40, 50, 60, 9850], [900, 90, 80, 8930]])
    return [
        Case((sizes,), "a large, a small, and a medium lesion"),
        Case((torch.randint(1, 50, (5, 4), generator=generator),)),
        Case((torch.tensor([[10, 5, 5, 80], [0, 0, 0, 100]]),), "one image without a lesion"),
    ]


POOLED = Exercise(
    name="scores.pooled_and_mean",
    lesson=2,
    title="Two ways to average",
    statement=r"""
`counts` $(\text{images}, 4)$. Return two numbers: the **pooled** IoU (all pixels of all images in one confusion
matrix) and the **mean** of
the images' IoUs, where $0/0$ counts as 1.
""",
    solution=pooled_and_mean,
    example="pooled_and_mean(torch.tensor([[90, 10, 0, 0], [1, 1, 2, 96]]))",
    difficulty=1,
    importance=4,
    minutes=6,
    hints=(
        "Pooled: add the counts first, then one IoU. Mean: one IoU per image, then the mean.",
        "With `iou` from the exercise above: `float(iou(counts.sum(0))), float(iou(counts).mean())`",
    ),
    cases=_tables,
    wrong=(
        Wrong(
            "TN counted",
            lambda counts: (float(counts.sum(0)[0] / counts.sum()), float(iou(counts).mean())),
            "The pooled score divides by all pixels. TN isn't part of IoU: divide by TP + FP + FN.",
        ),
        Wrong("swapped", lambda counts: pooled_and_mean(counts)[::-1], "The two are swapped: pooled first."),
        Wrong(
            "mean twice",
            lambda counts: (pooled_and_mean(counts)[1],) * 2,
            "Both of your numbers are the mean over the images.",
        ),
        Wrong("pooled twice", lambda counts: (pooled_and_mean(counts)[0],) * 2, "Both of your numbers are pooled."),
        Wrong(
            "median",
            lambda counts: (pooled_and_mean(counts)[0], float(iou(counts).quantile(0.5))),
            "Your second number is a median. Return the mean.",
        ),
        Wrong(
            "empty images left out",
            lambda counts: (pooled_and_mean(counts)[0], float(iou(counts[counts[:, :3].sum(1) > 0]).mean())),
            "You leave images without a lesion out of the mean. They count too, as 1 if nothing was predicted.",
        ),
        Wrong(
            "weighted by area",
            lambda counts: (
                pooled_and_mean(counts)[0],
                float((iou(counts) * counts[:, 0:3:2].sum(1)).sum() / counts[:, 0:3:2].sum()),
            ),
            "Each image is weighted by its lesion's area. In a mean, every image counts the same.",
        ),
    ),
)

# --- losses ----------------------------------------------------------------------------------------------------------


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits, finite however large they are.

    Args:
        logits: (B, 1, H, W).
        target: 0 or 1, of the same shape.

    Returns:
        The mean over all pixels, a scalar.
    """
    return (target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()


def _predictions(generator: Generator) -> list[Case]:
    cases = []
    for shape, scale, label in (
        ((2, 1, 3, 4), 2.0, "two images"),
        ((1, 1, 2, 2), 1.0, "one image"),
        ((3, 1, 5, 2), 3.0, "three images, taller than wide"),
    ):
        target = (torch.rand(shape, generator=generator) < 0.4).float()
        cases.append(Case((scale * normal(generator, *shape), target), label, (0,)))
    return cases


def _large_predictions(generator: Generator) -> list[Case]:
    cases = _predictions(generator)
    target = (torch.rand(2, 1, 3, 3, generator=generator) < 0.4).float()
    return [*cases, Case((60 * normal(generator, 2, 1, 3, 3), target), "large logits", (0,))]


def _bce(logits: Tensor, target: Tensor, *, mistake: str) -> Tensor:
    p = logits.sigmoid()
    if mistake == "unstable":
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    if mistake == "small constant":
        return -(target * (p + 1e-8).log() + (1 - target) * (1 - p + 1e-8).log()).mean()
    if mistake == "clamped":
        p = p.clamp(1e-7, 1 - 1e-7)
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    each = target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    if mistake == "sum":
        return each.sum()
    if mistake == "lesion only":
        return (target * each).mean()
    if mistake == "sign":
        return -each.mean()
    if mistake == "twice":
        return bce(p, target)
    if mistake == "swapped":
        return bce(logits, 1 - target)
    return each.mean()


def _mistaken_bce(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda logits, target: _bce(logits, target, mistake=mistake), diagnosis)


_NOT_WRITTEN = "This calls PyTorch's own binary cross-entropy. The exercise is to write it yourself, with `F.softplus`."

BCE = Exercise(
    name="loss.bce",
    lesson=2,
    title="Binary cross-entropy that stays finite (eq. 11)",
    statement=r"""
$$L = -\frac1N \sum_i \big[y_i \log \hat y_i + (1 - y_i) \log(1 - \hat y_i)\big], \qquad \hat y = \sigma(z)$$

from **logits** $z$ and target $y \in \{0, 1\}$, both $(B, 1, H, W)$ -> a scalar. It must stay finite for a logit of
100, and its gradient
must not vanish there: use $\log\sigma(z) = -\mathrm{softplus}(-z)$ and $\log(1 - \sigma(z)) =
-\mathrm{softplus}(z)$. (No
`F.binary_cross_entropy...`: write it yourself.)
""",
    solution=bce,
    example="bce(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]]))",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "sigmoid(100) is exactly 1 in float32, and log(1 - 1) is minus infinity. So never take the sigmoid.",
        "Substitute the two identities into the formula: y softplus(-z) + (1 - y) softplus(z).",
        "`(target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()`",
    ),
    cases=_large_predictions,
    forbids=dict.fromkeys(("binary_cross_entropy", "binary_cross_entropy_with_logits"), _NOT_WRITTEN),
    wrong=(
        _mistaken_bce(
            "small constant in the logarithm",
            "small constant",
            "A small constant inside the log keeps it finite, but caps the loss: a pixel that is wrong with a logit of "
            "60 costs 18 and gets no gradient.",
        ),
        _mistaken_bce(
            "log of a sigmoid",
            "unstable",
            "This is right for small logits but infinite or NaN for large ones: the sigmoid rounds to 0 or 1 before "
            "the log.",
        ),
        _mistaken_bce(
            "clamped",
            "clamped",
            "Clamping keeps it finite, but a pixel that is wrong with a logit of 60 gets no gradient at all, although "
            "it is the worst one.",
        ),
        _mistaken_bce("sum", "sum", "This is a sum over the pixels; eq. 11 divides by their number."),
        _mistaken_bce(
            "lesion only", "lesion only", "The second term is missing, so skin that is called lesion costs nothing."
        ),
        _mistaken_bce("sign", "sign", "The sign is wrong: a loss must fall as the prediction gets better."),
        _mistaken_bce("sigmoid twice", "twice", "You apply the sigmoid twice, so the loss can never reach zero."),
        _mistaken_bce("classes swapped", "swapped", "Lesion and skin are swapped."),
    ),
)


def _dice(logits: Tensor, target: Tensor, *, mistake: str) -> Tensor:
    p, y = (logits if mistake == "logits" else logits.sigmoid()).flatten(1), target.flatten(1)
    if mistake == "batch":
        p, y = p.reshape(1, -1), y.reshape(1, -1)
    if mistake == "hard":
        p = (p >= 0.5).float()
    overlap, area = (p * y).sum(1), p.sum(1) + y.sum(1)
    if mistake == "squares":
        area = p.square().sum(1) + y.square().sum(1)
    if mistake == "iou":
        return 1 - ((overlap + 1) / (area - overlap + 1)).mean()
    if mistake == "no smooth":
        return 1 - (2 * overlap / area).mean()
    if mistake == "smooth above":
        return 1 - ((2 * overlap + 1) / area).mean()
    if mistake == "single":
        return 1 - ((overlap + 1) / (area + 1)).mean()
    dice = (2 * overlap + 1) / (area + 1)
    if mistake == "coefficient":
        return dice.mean()
    return (1 - dice).sum() if mistake == "sum" else 1 - dice.mean()


def _mistaken_dice(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda logits, target: _dice(logits, target, mistake=mistake), diagnosis)


DICE = Exercise(
    name="loss.dice",
    lesson=2,
    title="The Dice loss (eq. 11)",
    statement=r"""
For each image $1 - \dfrac{2 \sum_i \hat y_i y_i + 1}{\sum_i \hat y_i + \sum_i y_i + 1}$ with $\hat y = \sigma(z)$,
then the mean over the
images. Logits and target $(B, 1, H, W)$ -> a scalar. (The ones prevent $0/0$. VM-UNet also computes it per image and
with this constant: A27.)
""",
    solution=dice_loss,
    takes="logits, target",
    example="dice(torch.zeros(1, 1, 1, 4), torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]]))",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "`logits.sigmoid().flatten(1)` is (B, pixels). Sums over axis 1 are per image.",
        "`overlap = (p * y).sum(1)`, `area = p.sum(1) + y.sum(1)`",
        "`1 - ((2 * overlap + 1) / (area + 1)).mean()`",
    ),
    cases=_predictions,
    wrong=(
        Wrong(
            "row by row",
            lambda z, y: (1 - (2 * (z.sigmoid() * y).sum(-1) + 1) / (z.sigmoid().sum(-1) + y.sum(-1) + 1)).mean(),
            "You compute Dice for each row of pixels. Sum over all pixels of an image: flatten(1) first.",
        ),
        Wrong(
            "means for sums",
            lambda z, y: 1 - (2 * (z.sigmoid() * y).mean() + 1) / (z.sigmoid().mean() + y.mean() + 1),
            "With means in place of sums, the two ones outweigh everything else. Sum over the pixels of each image.",
        ),
        _mistaken_dice("no sigmoid", "logits", "The sigmoid is missing: logits are not probabilities."),
        _mistaken_dice(
            "over the batch",
            "batch",
            "You pool all images, so a large lesion outweighs a small one. Sum per image, then average.",
        ),
        _mistaken_dice(
            "hard mask",
            "hard",
            "You threshold the prediction: a step function has no gradient, so nothing can be learned.",
        ),
        _mistaken_dice(
            "squares", "squares", "The denominator has squares. That is another Dice loss (V-Net's), not this one."
        ),
        _mistaken_dice("IoU", "iou", "This is an IoU loss: its denominator is the union."),
        _mistaken_dice("coefficient", "coefficient", "This is the Dice coefficient itself; the loss is one minus it."),
        _mistaken_dice("sum over images", "sum", "You sum over the images. Take the mean."),
        _mistaken_dice("nothing added", "no smooth", "The constant 1 is missing in the numerator and the denominator."),
        _mistaken_dice(
            "added above only",
            "smooth above",
            "You add the constant 1 to the numerator only, so the loss becomes negative.",
        ),
        _mistaken_dice("overlap once", "single", "The overlap must be counted twice."),
    ),
)

# --- the gradient of Dice --------------------------------------------------------------------------------------------


def dice_gradient(probability: Tensor, truth: Tensor) -> Tensor:
    """d(1 - (2 I + 1) / (S + 1)) / d p_i for one image, I = sum p y, S = sum p + sum y; (pixels,) -> (pixels,)."""
    overlap, area = (probability * truth).sum(), probability.sum() + truth.sum()
    return ((2 * overlap + 1) - 2 * truth * (area + 1)) / (area + 1) ** 2


def _flat(generator: Generator) -> list[Case]:
    return [
        Case((uniform(generator, 0, 1, n), (torch.rand(n, generator=generator) < share).float()), label)
        for n, share, label in ((6, 0.5, ""), (20, 0.1, "a small lesion"), (5, 0.0, "no lesion"))
    ]


def _slope(probability: Tensor, truth: Tensor, *, mistake: str) -> Tensor:
    overlap, area = (probability * truth).sum(), probability.sum() + truth.sum()
    if mistake == "no quotient rule":
        return -2 * truth / (area + 1)
    if mistake == "lesion only":
        return truth * dice_gradient(probability, truth)
    if mistake == "not squared":
        return ((2 * overlap + 1) - 2 * truth * (area + 1)) / (area + 1)
    if mistake == "sign":
        return -dice_gradient(probability, truth)
    if mistake == "no smooth":
        return (2 * overlap - 2 * truth * area) / area**2
    if mistake == "chain":
        return dice_gradient(probability, truth) * probability * (1 - probability)
    return dice_gradient(probability, truth) / len(probability)


def _mistaken_slope(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda probability, truth: _slope(probability, truth, mistake=mistake), diagnosis)


_NOT_DERIVED = "This lets autograd do it. The exercise is to derive the gradient by hand, with the quotient rule."

GRADIENT = Exercise(
    name="loss.dice_gradient",
    lesson=2,
    title="The gradient of Dice, by hand",
    statement=r"""
For one image with probabilities $p_i$ and truth $y_i$ let $I = \sum p_i y_i$, $S = \sum p_i + \sum y_i$ and
$L = 1 - \frac{2 I + 1}{S + 1}$. Derive $\partial L / \partial p_i$ and return it for all pixels: two vectors -> a
vector. No autograd.
""",
    solution=dice_gradient,
    example="dice_gradient(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1.0, 0.0, 0.0]))",
    difficulty=3,
    importance=3,
    minutes=15,
    bonus=True,
    hints=(
        "dI/dp_i = y_i and dS/dp_i = 1. Quotient rule.",
        "(f / g)' = (f' g - f g') / g^2 with f = 2 I + 1 and g = S + 1; then the minus sign of L.",
        "((2 I + 1) - 2 y_i (S + 1)) / (S + 1)^2",
    ),
    cases=_flat,
    forbids=dict.fromkeys(("backward", "grad"), _NOT_DERIVED),
    wrong=(
        _mistaken_slope(
            "quotient rule forgotten",
            "no quotient rule",
            "You treat the denominator as a constant. It contains p_i too: that is what pushes skin pixels down.",
        ),
        _mistaken_slope("lesion only", "lesion only", "Skin pixels have a gradient too: they are part of S."),
        _mistaken_slope("denominator not squared", "not squared", "The denominator of the quotient rule is squared."),
        _mistaken_slope("sign", "sign", "The sign is wrong: raising p on the lesion must lower the loss."),
        _mistaken_slope("constants forgotten", "no smooth", "The two constants of 1 are missing."),
        _mistaken_slope(
            "with respect to the logit",
            "chain",
            "That is the derivative with respect to the logit. Differentiate with respect to p_i.",
        ),
        _mistaken_slope(
            "divided by the pixels", "mean", "Dice isn't a mean over the pixels: don't divide by their number."
        ),
    ),
    rtol=1e-3,
    after="The gradient has only two values, one for lesion and one for skin: how hard a pixel is doesn't matter.",
)

ALL_SKIN = Exercise(
    name="scores.all_skin",
    lesson=2,
    title="Predict: the accuracy of a trivial answer",
    statement="""
A lesion covers 2% of an image. A program calls every pixel skin. What is its accuracy (eq. 14), as a fraction?
""",
    solution=0.98,
    example=(
        "On an image in which the lesion covers a quarter of the pixels, calling everything skin has an accuracy of"
        " 0.75."
    ),
    difficulty=0,
    importance=2,
    minutes=1,
    hints=("Which pixels does it get right?", "All the skin: 98 of every 100 pixels."),
    wrong=(
        Wrong("IoU", 0.0, "That is its IoU and its Dice. Accuracy counts all correct pixels, skin included."),
        Wrong("the lesion", 0.02, "That is the fraction it gets wrong."),
        Wrong("half", 0.5, "It doesn't guess: it gets all the skin right."),
        Wrong("in percent", 98.0, "Give a fraction between 0 and 1."),
        Wrong("perfect", 1.0, "It gets the lesion wrong."),
    ),
    rtol=0,
    atol=1e-3,
    after="98% right and useless. That is why segmentation is scored by overlap.",
)

EXERCISES = (ALL_SKIN, CONFUSION, IOU, IDENTITY, POOLED, BCE, DICE, GRADIENT, BOUNDARY)
