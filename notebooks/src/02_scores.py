# %% [markdown] kind="claim"
# **Claim.** How you score segmentations and average the scores can decide which method wins, and the loss decides what
# a network does with rare pixels: BCE gives calibrated probabilities, Dice gives masks that overlap well. We show this
# by writing every score and both losses by hand, by checking the paper's tables against an identity, and by training on
# lesions that cover 0.5% to 50% of an image. The control: pixels that carry no information, so that the output
# depends on the loss alone.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - compute a confusion matrix and, from it, accuracy, IoU and Dice;
# - explain why Dice and IoU carry the same information, and use that to check a published table;
# - tell pooled scores from per-image means, and name the kind of error that each one hides;
# - write a cross-entropy that stays finite, and a Dice loss, and derive the gradient of Dice;
# - predict what each loss does when lesions are rare, and test the prediction.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor

from skinlesion import lessons
from skinlesion.data.synthetic import synthesize

lessons.setup()

# %% [markdown]
# ## Three answers
#
# Here is a small lesion with three segmentations. Which one is best?

# %%
sample = synthesize(17, 128)
truth = torch.from_numpy(sample.mask)
answers = {
    "A: nothing": torch.zeros_like(truth),
    "B: too large": F.max_pool2d(truth[None, None].float(), 9, stride=1, padding=4)[0, 0] > 0,
    "C: three pixels off": truth.roll((3, 3), dims=(0, 1)),
}
fig, axes = plt.subplots(1, 4, figsize=(9, 2.4))
axes[0].imshow(sample.image)
axes[0].contour(truth, levels=[0.5], colors="white", linewidths=1)
axes[0].set_title(f"the lesion: {100 * truth.float().mean():.1f}% of the image")
for ax, (name, answer) in zip(axes[1:], answers.items(), strict=True):
    ax.imshow(answer, cmap="gray", vmin=0, vmax=1)
    ax.contour(truth, levels=[0.5], colors="tab:orange", linewidths=1)
    ax.set_title(name)
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% exercise="scores.all_skin"
accuracy_of_all_skin = 0.98


# %% exercise="scores.confusion"
def confusion(prediction: Tensor, truth: Tensor) -> Tensor:
    """TP, FP, FN, TN of each image: bool (B, H, W) twice -> int (B, 4)."""
    pairs = (prediction & truth, prediction & ~truth, ~prediction & truth, ~prediction & ~truth)
    return torch.stack([pair.sum((1, 2)) for pair in pairs], dim=1)


# %% exercise="scores.iou"
def iou(counts: Tensor) -> Tensor:
    """TP / (TP + FP + FN), and 1 for 0 / 0: (..., 4) -> float64 (...)."""
    tp, fp, fn, _ = counts.double().unbind(-1)
    union = tp + fp + fn
    return torch.where(union > 0, tp / union.clamp(min=1), 1.0)


# %% exercise="scores.dsc_from_iou"
def dsc_from_iou(iou: float) -> float:
    """The Dice coefficient that belongs to an IoU of the same counts."""
    return 2 * iou / (1 + iou)


# %%
confusion, iou = lessons.use("scores.confusion", confusion), lessons.use("scores.iou", iou)
dsc_from_iou = lessons.use("scores.dsc_from_iou", dsc_from_iou)

print(f"{'':22} accuracy   IoU    DSC")
for name, answer in answers.items():
    counts = confusion(answer[None], truth[None])[0]
    accuracy, overlap = float((counts[0] + counts[3]) / counts.sum()), float(iou(counts))
    area = float(answer.sum() / truth.sum())
    print(
        f"{name:22}    {accuracy:.3f}   {overlap:.3f}  {dsc_from_iou(overlap):.3f}   area {area:.1f} times the lesion's"
    )

# %% [markdown]
# Accuracy barely distinguishes a program that finds nothing (0.984) from one that finds the lesion (0.987), and it
# ranks B below A. IoU distinguishes all three.
#
# B contains the whole lesion and is about 2.5 times as large, so its IoU is about $1 / 2.5$ (0.39 above).
#
# ### An audit in one line
#
# Since Dice follows from IoU, you can check any table that reports both. Here are rows of the paper's Tables 1, 2 and
# 5. `pooled` is what DSC *must* be if both come from the same confusion matrix.

# %%
rows = {
    "Table 1, U-Net": (84.01, 91.16),
    "Table 1, Attention U-Net": (84.30, 91.37),
    "Table 1, VM-UNet": (86.41, 92.71),
    "Table 1, Ours": (88.16, 93.71),
    "Table 2, VM-UNet": (79.54, 88.60),
    "Table 2, HC-Mamba": (79.27, 88.18),
    "Table 2, Ours": (81.48, 89.79),
    "Table 5, without CFD and IFD": (80.66, 89.26),
    "Table 5, CFD only": (81.35, 89.57),
    "Table 5, IFD only": (81.24, 89.44),
    "Table 5, both": (81.48, 89.79),
}
print(f"{'':30} IoU    DSC   pooled  difference")
for name, (table_iou, table_dsc) in rows.items():
    pooled = 100 * dsc_from_iou(table_iou / 100)
    print(f"{name:30} {table_iou:.2f}  {table_dsc:.2f}  {pooled:.2f}   {table_dsc - pooled:+.2f}")

# %% [markdown]
# Five of the eleven rows match up to rounding (at most 0.01), and one is off by 0.03. The other five are off by 0.11 to
# 0.26, all of them too low, as a mean over images or batches would be. So one table may contain numbers that were
# averaged in different ways. Rows are often copied from other papers, so this isn't necessarily the authors' error. But
# a gap of 0.15 between two rows may come from nothing but the averaging. Lesson 15 continues the audit.
#
# ## Pooled or per image?


# %% exercise="scores.pooled_and_mean"
def pooled_and_mean(counts: Tensor) -> tuple[float, float]:
    """The IoU of all pixels together, and the mean of the images' IoUs: (images, 4) -> two numbers."""
    return float(iou(counts.sum(0))), float(iou(counts).mean())


# %% [markdown] kind="predict"
# **Predict.** A program draws every outline exactly one pixel too far out, on small and large lesions alike. Which is
# higher, its pooled IoU or its mean IoU per image?

# %%
pooled_and_mean = lessons.use("scores.pooled_and_mean", pooled_and_mean)

masks = torch.stack([torch.from_numpy(synthesize(seed, 96).mask) for seed in range(60)])  # (60, 96, 96)
larger = F.max_pool2d(masks[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
counts = confusion(larger, masks)
pooled, mean = pooled_and_mean(counts)
fig, ax = plt.subplots(figsize=(4.5, 2.4))
ax.plot(100 * masks.float().mean((1, 2)), iou(counts), ".")
ax.axhline(pooled, color="tab:orange", label=f"pooled {pooled:.3f}")
ax.axhline(mean, color="tab:green", label=f"mean {mean:.3f}")
ax.set(xlabel="lesion, % of the image", ylabel="IoU", title="each outline is one pixel too far out")
ax.legend()
plt.show()
lessons.happened("2.1", {"pooled": pooled, "mean over images": mean})

# %% [markdown]
# Large lesions dominate the pooled score, and for them one pixel matters little; in the mean, every image counts the
# same. The papers that our paper builds on report pooled scores and call them mIoU (A37). The package prints
# both and labels them.
#
# ## The loss
#
# IoU has no useful gradient, because it changes in steps. So training uses something smooth. The paper uses
# $0.3\,L_{Bce} + 0.7\,L_{Dice}$ (eq. 11).


# %% exercise="loss.bce"
def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy from logits, mean over all pixels: (B, 1, H, W) twice -> a scalar."""
    return (target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()


# %% exercise="loss.dice"
def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice of each image, mean over the images: (B, 1, H, W) twice -> a scalar."""
    p, y = logits.sigmoid().flatten(1), target.flatten(1)  # (B, pixels)
    overlap, area = (p * y).sum(1), p.sum(1) + y.sum(1)  # (B,)
    return 1 - ((2 * overlap + 1) / (area + 1)).mean()


# %% [markdown]
# How do their gradients differ? BCE treats each pixel separately: its gradient with respect to a probability is $(p_i -
# y_i) / (p_i (1 - p_i) N)$. Derive the gradient of Dice yourself:


# %% exercise="loss.dice_gradient"
def dice_gradient(probability: Tensor, truth: Tensor) -> Tensor:
    """d(1 - (2 I + 1) / (S + 1)) / dp_i of one image: (pixels,) twice -> (pixels,)."""
    overlap, area = (probability * truth).sum(), probability.sum() + truth.sum()
    return ((2 * overlap + 1) - 2 * truth * (area + 1)) / (area + 1) ** 2


# %%
bce, dice = lessons.use("loss.bce", bce), lessons.use("loss.dice", dice)
dice_gradient = lessons.use("loss.dice_gradient", dice_gradient)

pixels = 128 * 128
shares = torch.logspace(-3, -0.3, 30)
balance = {"BCE": [], "Dice": []}
for share in shares:
    lesion = (torch.arange(pixels) < share * pixels).float()
    p = torch.full((pixels,), float(lesion.mean()))  # the best constant prediction
    gradients = {"BCE": (p - lesion) / (p * (1 - p) * pixels), "Dice": dice_gradient(p, lesion)}
    for name, gradient in gradients.items():
        balance[name].append(float(-gradient[lesion > 0].sum() / gradient[lesion == 0].sum()))
fig, ax = plt.subplots(figsize=(4.5, 2.4))
for name, values in balance.items():
    ax.semilogx(100 * shares, values, label=name)
ax.set(xlabel="lesion, % of the image", ylabel="gradient up / gradient down", ylim=(0, 4))
ax.set_title("constant p = share: Dice pushes it up, BCE is balanced")
ax.legend()
plt.show()

# %% [markdown] given="3"
# Take a network that outputs the share of lesion pixels at every pixel. Under BCE, the gradient on the few lesion
# pixels and the gradient on the many skin pixels cancel: the ratio is 1. Under Dice, for shares above 3%, the upward
# gradient is two to three times as large as the downward one, so Dice favors more lesion than there is; the control
# below shows this again. (Below 1% the curve turns down, because the added 1 is no longer small compared with $2I$.
# That constant looks harmless, but it decides what happens to the smallest lesions.)
#
# ## What happens in training?
#
# Take the simplest possible network. Each pixel has one feature $x$, drawn from $\mathcal N(0, 1)$ on skin and from
# $\mathcal N(1.5, 1)$ on the lesion, and the model is $\sigma(w x + b)$. Only the share of lesion pixels varies.

# %%
STEPS = 60 if lessons.FAST else 1000
LOSSES = {
    "BCE": bce,
    "Dice": dice,
    "0.3 BCE + 0.7 Dice": lambda logits, target: 0.3 * bce(logits, target) + 0.7 * dice(logits, target),
}


def pixels_of(share: float, gap: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight images (8, 1, 64, 64) of numbers, and their lesions."""
    lesion = (torch.rand(8, 1, 64, 64, generator=generator) < share).float()
    return torch.randn(lesion.shape, generator=generator) + gap * lesion, lesion


def fit(loss, share: float, gap: float = 1.5) -> tuple[Tensor, Tensor]:
    """Probabilities and truth of new images after training, (8, 1, 64, 64) each."""
    generator = torch.Generator().manual_seed(0)
    w, b = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([w, b], 0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    for _ in range(STEPS):
        x, lesion = pixels_of(share, gap, generator)
        value = loss(w * x + b, lesion)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    x, lesion = pixels_of(share, gap, generator)
    return (w * x + b).sigmoid().detach(), lesion


def overlap(probability: Tensor, lesion: Tensor) -> float:
    """Pooled IoU at threshold 1/2."""
    return float(iou(confusion(probability[:, 0] >= 0.5, lesion[:, 0] > 0.5).sum(0)))


def reliability(probability: Tensor, lesion: Tensor) -> tuple[list[float], list[float]]:
    """For ten bins of predicted probability: the mean prediction, and the share that is lesion."""
    bins = (probability * 10).long().clamp(max=9)
    filled = [bins == i for i in range(10) if (bins == i).sum() > 20]
    return [float(probability[at].mean()) for at in filled], [float(lesion[at].mean()) for at in filled]


# %% [markdown] kind="predict"
# **Predict.** Lesions cover 0.5% of the image. What will the mask of the BCE network look like at a threshold of 1/2?
# And which network will be calibrated, the BCE one or the Dice one (of all pixels with a predicted probability of 30%,
# 30% are lesion)?

# %% kind="signature"
shares = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
for name, loss in LOSSES.items():
    fitted = [fit(loss, share) for share in shares]
    left.semilogx([100 * share for share in shares], [overlap(*result) for result in fitted], "o-", label=name)
    right.plot(*reliability(*fitted[3]), "o-", label=name)
left.set(xlabel="lesion, % of the pixels", ylabel="IoU at threshold 1/2", title="the mask")
left.legend(fontsize=7)
right.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
right.set(xlabel="predicted probability", ylabel="share that is lesion", title="the probabilities (lesion 10%)")
fig.suptitle("rare lesions: Dice gives the better mask, BCE the better probabilities")
plt.show()
masks_of_rare = {name: f"{overlap(*fit(loss, 0.005)):.2f}" for name, loss in LOSSES.items()}
lessons.happened("2.2", {f"IoU at 0.5%, {name}": value for name, value in masks_of_rare.items()})

# %% [markdown] given="0.9 90"
# The model and the data are the same. With rare lesions, the mask of BCE is nearly empty and its probabilities are
# calibrated (on the gray line): wherever pixels with the same feature are lesion less than half of the time, skin is
# the more likely class. Dice optimizes overlap instead, and gives a better mask with uncalibrated probabilities. The
# paper's mixture is close to Dice in both respects. So don't read a Dice-trained network's 0.9 as "90% sure", and don't
# judge a BCE-trained one at a threshold of 1/2.
#
# ### Control: no information
#
# Give lesion and skin the *same* distribution. Then the data say nothing about a pixel, and the output depends on the
# loss alone.

# %% kind="control"
for name, loss in LOSSES.items():
    probability, lesion = fit(loss, share=0.1, gap=0.0)
    print(
        f"{name:20} mean probability {probability.mean():.2f} for a share of 0.10, IoU {overlap(probability, lesion):.2f}"
    )

# %% [markdown]
# Without information, BCE outputs 10%, the true share. Dice labels everything as lesion: of all masks that ignore the
# image, the full one overlaps most. That is a bias of the loss and a reason not to use it alone; the mixture stays
# below 20%.
#
# ### Bonus: score the outline
#
# IoU counts area. So an outline that is displaced by one pixel costs a small lesion a lot, and a ragged outline costs a
# large lesion little. A *boundary score* behaves differently.


# %% exercise="scores.boundary_f1"
def boundary_f1(prediction: Tensor, truth: Tensor, tolerance: int) -> float:
    """Harmonic mean of the shares of each boundary that are near the other one: bool (H, W) twice -> a number."""
    edges, near = [], []
    for mask in (prediction, truth):
        around = F.pad(mask, (1, 1, 1, 1))  # with False
        inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        edge = mask & ~inside
        edges.append(edge)
        near.append(F.max_pool2d(edge[None, None].float(), 2 * tolerance + 1, stride=1, padding=tolerance)[0, 0] > 0)
    if not edges[0].any() or not edges[1].any():
        return float(edges[0].any() == edges[1].any())
    precision = float((edges[0] & near[1]).sum() / edges[0].sum())
    recall = float((edges[1] & near[0]).sum() / edges[1].sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


# %%
boundary_f1 = lessons.use("scores.boundary_f1", boundary_f1)


def shrunk(mask: Tensor, pixels: int) -> Tensor:
    """The mask with its outline further in."""
    return F.max_pool2d((~mask)[None, None].float(), 2 * pixels + 1, stride=1, padding=pixels)[0, 0] == 0


def ragged(mask: Tensor) -> Tensor:
    """The mask with random pixels within two pixels of its outline."""
    random = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(random[None, None], 3, stride=1, padding=1)[0, 0]
    return torch.where(~shrunk(~mask, 2) & ~shrunk(mask, 2), smooth > 0.5, mask)


print(f"{'':16} {'':20}   IoU   boundary F1: tolerance 1, tolerance 2")
for size, seed in (("large lesion", 3), ("small lesion", 17)):
    lesion = torch.from_numpy(synthesize(seed, 128).mask)
    for name, answer in {
        "one pixel too small": shrunk(lesion, 1),
        "two pixels too small": shrunk(lesion, 2),
        "ragged": ragged(lesion),
    }.items():
        overlapping = float(iou(confusion(answer[None], lesion[None])[0]))
        outline = [boundary_f1(answer, lesion, tolerance) for tolerance in (1, 2)]
        print(f"{size:16} {name:20}  {overlapping:.2f}   {outline[0]:24.2f} {outline[1]:12.2f}")

# %% [markdown]
# With the outline one pixel off, the IoU is 0.92 for the large lesion and only 0.69 for the small one; the boundary
# score with a tolerance of one pixel is 0.97 and 0.98. IoU hardly distinguishes a ragged outline (0.87) from a smooth
# one that is two pixels off (0.85). The boundary score does, but which of the two it prefers depends on the tolerance:
# with one pixel the smooth outline scores 0.00, with two pixels 0.95 and the ragged one 1.00. So always report the
# tolerance with the score.
#
# ### Play
#
# Weight the two losses yourself, and make the task harder (a smaller gap).

# %% kind="play"
import ipywidgets


def weigh(w_bce: float = 0.3, share: float = 0.02, gap: float = 1.5) -> None:
    """Fit with a mixture of both."""
    probability, lesion = fit(lambda z, y: w_bce * bce(z, y) + (1 - w_bce) * dice(z, y), share, gap)
    print(f"IoU {overlap(probability, lesion):.3f}, mean probability {probability.mean():.3f}")


_ = ipywidgets.interact_manual(weigh, w_bce=(0.0, 1.0, 0.1), share=(0.005, 0.5, 0.005), gap=(0.0, 3.0, 0.25))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - Real lesions are connected regions, and a network uses context; pixels here are independent. In ISIC 2017 lesions
#   cover about a fifth of the image, where the losses differ less.
# - All scores here count pixels. A mask can have a good IoU and a ragged border; `skinlesion.metrics` also has boundary
#   scores.
# - The identity finds rows whose two numbers don't belong together. It can't say which of the two is off.
# - The reference mask is one annotator's outline. Two annotators often differ by more than the gaps in such tables
#   (lesson 1).

# %% [markdown] kind="quiz" given="80.0 88.5 1.8 0.889 0.885"
# ## Recap
#
# 1. A table reports IoU 80.0 and DSC 88.5. What do you conclude?
# - [ ] nothing, since the two are different scores of a mask :: From one confusion matrix, IoU determines DSC.
# - [x] the two do not come from the same confusion matrix :: 2 x 0.8 / 1.8 = 0.889, not 0.885.
# - [ ] the DSC was computed wrongly, and the IoU is right :: It may be right as a mean over images. The two just
#   don't belong together.
#
# 2. A model is very good on large lesions and poor on small ones. Which score makes it look better?
# - [x] the IoU of all pixels, pooled :: Large lesions have most of the pixels.
# - [ ] the mean of the IoUs of all images :: There each small lesion counts as much as a large one.
# - [ ] both of them equally :: They differ whenever large and small lesions are segmented unequally well.
#
# 3. Why is BCE computed from logits?
# - [ ] a softplus is faster than a sigmoid and a logarithm :: The difference in speed is negligible.
# - [x] a float32 sigmoid can be 0 or 1, with an infinite log :: softplus is always finite.
# - [ ] it gives a better value than from the probabilities :: The value is the same where both are finite.
#
# 4. How many different values does the gradient of Dice with respect to the probabilities have in one image?
# - [ ] one for each pixel :: It depends on the pixel only through its label.
# - [x] two for the image :: One for lesion pixels, one for skin pixels.
# - [ ] one for the image :: Lesion pixels are pushed up and skin pixels down.

# %% [markdown] kind="links"
# ## Further reading
#
# - [V-Net](https://arxiv.org/abs/1606.04797): the Dice loss, with squares in the denominator.
# - [Metrics reloaded](https://arxiv.org/abs/2206.01653): which score answers which question.
# - [Generalised Dice overlap](https://arxiv.org/abs/1707.03237): Dice for very imbalanced classes.
# - [Marginal thresholding in noisy image segmentation](https://arxiv.org/abs/2304.04116): why Dice and calibrated
#   probabilities need different thresholds.
