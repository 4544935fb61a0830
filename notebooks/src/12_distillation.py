# %% [markdown] kind="claim"
# **Claim.** Feature distillation consists of two mean squared distances, and what they do follows from their formulas.
# Random channel selection makes *one* map the target of every channel, and a teacher that is computed from its own
# students is a moving target. We show both by a derivation that you check, and by training the same network with each
# loss. The controls: no distillation (in the small experiment and in a second trained network), the same loss without
# `detach`, and feature maps whose pixels are shuffled.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write CFD (eq. 8) and IFD (eq. 9), and say where the paper leaves a choice open (A16 to A25);
# - measure the gradient norm of each term of the loss at each block of a trained and of an untrained network;
# - derive what random channel selection does on average;
# - measure how redundant channels are, against the right controls;
# - say what `detach` cuts, and find out by an experiment what happens without it;
# - judge whether a weight of 0.015 is small;
# - say which of the choices that the paper leaves open change the loss, and which only its scale.

# %%
import json
from collections.abc import Callable
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import skinlesion
from skinlesion import Segmenter, create_model, intervene, lessons
from skinlesion.data.images import normalize, resize_image
from skinlesion.data.synthetic import synthesize
from skinlesion.losses import (
    FeatureDistillationLoss,
    bce_dice_loss,
    cross_feature_distillation,
    internal_feature_distillation,
)
from skinlesion.model.unet import Features

DATA = None  # or a list of RGB images, uint8 (H, W, 3), such as read_image gives for the files of ISIC 2017
lessons.setup()

# %% [markdown] given="3.4"
# ## Which blocks receive gradient from the mask?
#
# The mask loss is computed from the last map only. All other blocks receive its gradient through the blocks after them.
# Section 3.4 of the paper (and SelfReg-UNet, from which it takes its loss) says that the supervision of encoder and
# decoder therefore *differs in strength*: the last decoder block is closest to the mask and represents it best.
# Strength can be measured. For each block's output $x$ take the gradient norm of BCE + Dice, times the norm of $x$:
#
# $$s = \|x\|\,\big\|\partial \mathcal L / \partial x\big\|$$
#
# To first order it bounds how much the loss changes when $x$ changes by its own size, and it does not depend on the
# scale of the features. We measure it in `small`, which *was* trained with distillation; in `accurate`, which was
# trained without it (the control: same architecture, different optimizer, longer training, 160 x 160 pixels); and in
# two untrained networks. In a further control, no gradient passes through the skips: the output is the same, but the
# encoder receives gradient only through the bottom of the U (the bottleneck).

# %% [markdown] kind="predict"
# **Predict.** From E1.1 through the bottom to D1.1: does $s$ rise toward the loss, in an untrained network? And in the
# trained ones? What is left at E1.1 when no gradient passes through the skips?

# %% kind="control"
lesions = [synthesize(seed, 128) for seed in range(4)]
images = DATA or [lesion.image for lesion in lesions]
batch = torch.stack([torch.from_numpy(normalize(resize_image(x, (128, 128)))) for x in images]).permute(0, 3, 1, 2)
segmenter = Segmenter.from_pretrained("small")
network = segmenter.model.eval()  # batch: (B, 3, 128, 128)
if DATA is None:
    truth = torch.stack([torch.from_numpy(lesion.mask).float() for lesion in lesions])[:, None]  # (B, 1, H, W)
else:
    with torch.no_grad():
        truth = (network(batch) > 0).float()  # without masks, its own prediction is the target
accurate = Segmenter.from_pretrained("accurate").model.eval()  # the control: trained without distillation
large_batch, large_truth = (F.interpolate(each, size=(160, 160), mode="bilinear") for each in (batch, truth))


def gradient_norms(loss: Tensor, blocks: dict[str, Tensor]) -> dict[str, float]:
    """s of this loss at each block's output; 0 where no gradient arrives."""
    maps = list(blocks.values())
    gradients = torch.autograd.grad(loss, maps, retain_graph=True, allow_unused=True)
    pairs = zip(blocks, maps, gradients, strict=True)
    return {name: 0.0 if g is None else float(x.detach().norm() * g.norm()) for name, x, g in pairs}


def supervision(network: nn.Module, images: Tensor = batch, masks: Tensor = truth) -> dict[str, float]:
    """s of BCE + Dice at each block's output."""
    logits, features = network.forward_features(images)
    return gradient_norms(bce_dice_loss(logits, masks), features.blocks)


torch.manual_seed(0)
untrained = create_model("small").eval()
torch.manual_seed(1)
strengths = {
    "small, with distillation": supervision(network),
    "accurate, without": supervision(accurate, large_batch, large_truth),
    "untrained, seed 0": supervision(untrained),
    "untrained, seed 1": supervision(create_model("small").eval()),
}
with intervene(network, {"*.cra.output": torch.Tensor.detach}):
    strengths["small, no gradient through the skips"] = supervision(network)

fig, ax = plt.subplots(figsize=(7, 2.6))
for label, values in strengths.items():
    ax.semilogy(list(values), list(values.values()), "o:" if "no gradient" in label else "o-", label=label)
ax.set(ylabel="s", title="the bottom receives the least gradient, with and without distillation")
ax.legend(fontsize=7)
plt.show()
print("s of the decoder's stage / s of the encoder's stage on the same grid (means over the stage's blocks)")
for label, values in strengths.items():
    stages = {name[:2]: [v for other, v in values.items() if other[:2] == name[:2]] for name in values}
    mean = {stage: sum(v) / len(v) for stage, v in stages.items()}
    ratios = ", ".join(f"D{i} / E{i} {mean[f'D{i}'] / mean[f'E{i}']:5.2f}" for i in (1, 2, 3, 4))
    print(f"{label:39} {ratios};  D1 / D4 {mean['D1'] / mean['D4']:5.1f}")
    if "untrained" not in label:
        lessons.happened("12.1", f"{label}: s at the bottom is 1 / {mean['D1'] / mean['D4']:.0f} of that at D1")

# %% [markdown]
# All curves are U-shaped. $s$ depends on *how far a block is from the mask, counted along the skips*: E1's output is
# merged and added to D1's input, so it is close, however early it is computed. The dotted control shows that the skips
# are the reason: without their gradient, E1 receives less than a fifth of the gradient (D1 / E1 is 7.60 instead of
# 1.37). Training deepens the U: D1 / D4 is about 3.5 in untrained networks, 6.2 in `accurate`, and 44.6 in `small`. So
# the network that was trained with distillation, whose purpose is to balance the supervision, is the least balanced
# one. (They differ in more than distillation; a single pair does not show the cause.)
#
# Does the measurement show the paper's asymmetry of encoder and decoder? In `small`, on the same grid, $s$ is larger in
# the decoder for the two upper stages (1.37 and 1.49) and *smaller* for the two lower ones (0.84 and 0.74). In
# `accurate` it is the other way around at E1 (0.36) and E3 (3.25), and in untrained networks the ratio is 0.86 to 1.51.
# So there is a difference, and its sign changes from stage to stage and from network to network. "The bottom is
# supervised less" is what we see; "the encoder is supervised less" is not. There are two limits: a gradient norm does
# not say what is learned (the optimizer divides each gradient by its own size), and SelfReg-UNet's evidence is of
# another kind: visualizations of what a block responds to.
#
# The other finding of SelfReg-UNet is that channels are *redundant*, and the paper claims this for the *deeper* ones.
# Here is a metric for it:


# %% exercise="distill.redundancy"
def redundancy(x: Tensor) -> Tensor:
    """Mean absolute correlation of different channels: (B, H, W, C) -> a scalar."""
    rows = x.flatten(0, 2)  # (B H W, C)
    rows = rows - rows.mean(0)
    rows = rows / rows.norm(dim=0).clamp_min(1e-12)
    r = (rows.T @ rows).abs()  # (C, C)
    return (r.sum() - r.trace()) / (len(r) * (len(r) - 1))


# %% [markdown]
# There are three controls. The first shuffles the pixels of each channel independently: what is left is the chance
# level. The second is an untrained network, which has had no reason to become redundant. The third is `accurate`,
# trained without distillation.

# %% kind="control"
redundancy = lessons.use("distill.redundancy", redundancy)
with torch.no_grad():
    _, features = network.forward_features(batch)
    _, at_start = untrained.forward_features(batch)
    _, without = accurate.forward_features(large_batch)


def torn(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each channel's pixels, permuted separately: (B, H, W, C) -> (B H W, 1, 1, C)."""
    rows = x.flatten(0, 2)  # (B H W, C)
    order = torch.rand(rows.shape, generator=generator).argsort(0)
    return rows.gather(0, order)[:, None, None]


generator = torch.Generator().manual_seed(0)
correlated = {
    "with distillation": {name: float(redundancy(x)) for name, x in features.blocks.items()},
    "without": {name: float(redundancy(x)) for name, x in without.blocks.items()},
    "untrained": {name: float(redundancy(x)) for name, x in at_start.blocks.items()},
    "pixels shuffled": {name: float(redundancy(torn(x, generator))) for name, x in features.blocks.items()},
}
fig, ax = plt.subplots(figsize=(7, 2.4))
for (label, values), style in zip(correlated.items(), ("o-", "o-", "o-", "o:"), strict=True):
    ax.plot(list(values), list(values.values()), style, color="0.6" if "untrained" in label else None, label=label)
ax.set(
    ylabel="mean |r|",
    ylim=(0, 1),
    title="trained networks: D1's channels are highly correlated, with or without distillation",
)
ax.legend(fontsize=7)
plt.show()
for label, values in correlated.items():
    print(f"{label:18}" + ", ".join(f"{name} {values[name]:.2f}" for name in ("E1.1", "E3.1", "E4.2", "D4.2", "D1.1")))

# %% [markdown]
# Shuffling is the weakest control: it destroys smoothness too, and smoothness alone makes two maps correlated. So
# compare with the untrained network. `small` is somewhat more redundant in E1 (0.46 against 0.35) and less in E3. The
# paper's "deeper channels" are not the redundant ones here: E3 and E4 have the lowest values of all (E4.2: 0.24,
# against 0.29 for untrained weights); of the deep blocks only D4.2 stands out, 0.43 against 0.30. D1.1 is the
# exception: 0.82, against 0.12 for untrained weights. Its channels are about to be summed into one mask. And that one
# block is CFD's teacher.
#
# Is that due to distillation? In `accurate`, trained without it, D1.1 is at 0.54 and the other blocks look like those
# of `small`. So most of the rise, from 0.12 to 0.54, comes with training for one mask; the rest could be due to
# distillation or to the other differences between the two.
#
# ## CFD: every map learns from the last
#
# The teacher is the output of D1, the students are the 14 maps before it (A16, A17). They differ in size, so the larger
# one, here always the teacher, is downsampled by average pooling (A19).


# %% exercise="distill.average_pool"
def average_pool(x: Tensor, factor: int) -> Tensor:
    """The mean of each factor x factor cell: (B, H, W, C) -> (B, H / factor, W / factor, C)."""
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))  # (B, H / f, W / f, C)


# %% [markdown]
# They differ in channels too. **Random channel selection** (RCS) draws $k = \min(C_s, C_t)$ channels from each at every
# step (A18).
#
# $$\text{CFD} = \frac{1}{M-1} \sum_m \big\| \mathrm{RCS}(\text{student}_m) - \mathrm{RCS}(\text{teacher}) \big\|^2$$
#
# We read the norm as a *mean* over pixels and channels (A20).


# %% exercise="distill.cfd"
def cfd(student: Tensor, teacher: Tensor, student_channels: Tensor, teacher_channels: Tensor) -> Tensor:
    """Mean squared distance of the chosen channels; the teacher is fixed."""
    return F.mse_loss(student[..., student_channels], teacher.detach()[..., teacher_channels])


# %% [markdown] kind="predict"
# **Predict.** Channel 3 of the student is paired with teacher channel 7 now, with channel 1 at the next step, then with
# channel 12. What does it converge to? Derive the mean over all draws before you go on.


# %% exercise="distill.expected_cfd"
def expected_cfd(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of CFD over all draws: (B, h, w, Cs), (B, h, w, Ct) -> a scalar."""
    pull = (student - teacher.mean(-1, keepdim=True)).square().mean()
    return pull + teacher.var(-1, correction=0).mean()


# %%
cfd, expected_cfd = lessons.use("distill.cfd", cfd), lessons.use("distill.expected_cfd", expected_cfd)
average_pool = lessons.use("distill.average_pool", average_pool)
student, teacher = features.blocks["E2.1"], average_pool(features.blocks["D1.1"], 2)
k = min(student.shape[-1], teacher.shape[-1])
draws = []
for _ in range(50 if lessons.FAST else 1000):
    chosen = [torch.randperm(x.shape[-1], generator=generator)[:k] for x in (student, teacher)]
    draws.append(cfd(student, teacher, *chosen))
print(f"mean of {len(draws)} draws {float(torch.stack(draws).mean()):.3f}, ", end="")
print(f"in closed form {float(expected_cfd(student, teacher)):.3f}")
lessons.happened("12.2", "each channel is drawn to the mean of the teacher's channels")

# %% [markdown]
# The two agree. So on average CFD has the *same* target for every student channel: the mean of the teacher's channels.
# A loss that is meant to enrich features has its minimum where all channels are equal.
#
# ## IFD: the two halves of a map learn from each other


# %% exercise="distill.rank_channels"
def rank_channels(x: Tensor) -> Tensor:
    """Channel numbers, highest mean of the normalized map first: (B, H, W, C) -> (C,)."""
    norm = x.square().sum((1, 2)).sqrt().clamp_min(1e-12)  # (B, C)
    return (x.sum((1, 2)) / norm).mean(0).argsort(descending=True)


# %% exercise="distill.ifd"
def ifd(x: Tensor) -> Tensor:
    """Mean squared distance of the upper and the lower half of the ranked channels: a scalar."""
    order, half = rank_channels(x.detach()), x.shape[-1] // 2
    return F.mse_loss(x[..., order[:half]], x[..., order[half:]])


# %% [markdown] given="0.015"
# The paper's network uses 14 maps (A25), and both halves receive gradient (A24). A squared distance can fall in two
# ways: the halves become similar, or *everything becomes small*.
#
# ## Is 0.015 small?
#
# That depends on what it multiplies. A squared distance of unbounded feature maps has no upper bound, while BCE + Dice
# shrinks as a network learns.

# %%
logits, features = network.forward_features(batch)  # one pass with gradients, used from here on
task = bce_dice_loss(logits, truth)
with torch.no_grad():
    models = {
        "untrained": (untrained, batch, truth),
        "small, with distillation": (network, batch, truth),
        "accurate, without": (accurate, large_batch, large_truth),
    }
    for label, (model, pixels, target) in models.items():
        answer, maps = model.forward_features(pixels)
        parts = FeatureDistillationLoss()(*maps)
        values = f"CFD {float(parts.cfd):6.3f}, IFD {float(parts.ifd):.3f}, sum with weights {float(parts.total):.3f}"
        print(f"{label:24} {values}; BCE + Dice {float(bce_dice_loss(answer, target)):.3f}")
print(f"small, BCE + Dice on ISIC's validation set: {segmenter.card['metrics']['val']['loss']:.3f}")

# %% [markdown]
# Two observations. In an untrained network the two terms are 4% of BCE + Dice; in `small` their sum, 0.229, is larger
# than BCE + Dice on these images (0.067) and on real ones (0.121). The term with the small weight has the larger
# *value*. And CFD is 14.9 in a network that was trained for 40 epochs to make it small, against 0.9 before training.
#
# On its own, that looks as if CFD had failed. The control says otherwise: in `accurate`, which was trained without it,
# CFD is 695, and IFD is 2,229 instead of 0.36. Feature maps grow during training; with the two losses they grow much
# less. (The networks also differ in optimizer, length and image size, so the factor of almost 50 is not due to CFD
# alone.) Why CFD can grow at all while it is being minimized is the subject of the experiment below.
#
# ## Does it balance, and what does detach cut?
#
# The value of a loss says little: the variance in the closed form is part of it and has no gradient with respect to the
# student. So we look at $s$ again, for each term times its weight. *Average draw* is the closed form that you derived;
# *one draw* is what a training step uses; the last line is one draw whose teacher is not detached.

# %% [markdown] kind="predict"
# **Predict.** Where is CFD's $s$ largest relative to the mask loss's: at E1, at the bottom or at D2? And is it similar
# for one draw and for the average draw?

# %%
terms = {
    "BCE + Dice": task,
    "CFD, one draw": 0.015 * FeatureDistillationLoss()(*features).cfd,
    "CFD, average draw": 0.015 * FeatureDistillationLoss(rcs="mean")(*features).cfd,
    "IFD": 0.015 * FeatureDistillationLoss()(*features).ifd,
    "CFD, one draw, no detach": 0.015 * FeatureDistillationLoss(detach_teacher=False)(*features).cfd,
}
norms = {label: gradient_norms(term, features.blocks) for label, term in terms.items()}
fig, ax = plt.subplots(figsize=(7, 2.8))
for label, values in norms.items():
    shown = {name: value for name, value in values.items() if value > 0}
    ax.semilogy(list(shown), list(shown.values()), "o:" if "no detach" in label else "o-", label=label)
ax.set(ylabel="s", title="s of each weighted term: CFD comes closest to the mask loss at the bottom")
ax.legend(fontsize=6, ncols=2)
plt.show()
print(
    "share of BCE + Dice's s      " + "".join(f"{name:>8}" for name in ("E1.1", "E2.1", "E4.2", "D4.2", "D2.2", "D1.1"))
)
for label, values in list(norms.items())[1:]:
    parts = [values[name] / norms["BCE + Dice"][name] for name in ("E1.1", "E2.1", "E4.2", "D4.2", "D2.2", "D1.1")]
    print(f"{label:28}" + "".join(f"{part:8.1%}" for part in parts))
one, average = (
    {name: f"{norms[label][name] / norms['BCE + Dice'][name]:.0%}" for name in ("E1.1", "D4.2", "D2.2")}
    for label in ("CFD, one draw", "CFD, average draw")
)
lessons.happened("12.3", {"one draw": one, "average": average})

# %% [markdown]
# CFD does act where the mask loss is weakest: for one draw its $s$ is 6% of the mask loss's at E1.1, 25% and 31% at the
# bottom, and 1% at D2.2. This much of the paper's "balanced supervision" is visible. But most of it is sampling noise,
# whose direction changes at the next step. For the average draw, the part that persists, it is at most 3%, less than
# for IFD.
#
# `detach` sets the gradient at D1.1 to zero: *through this loss* the teacher does not move toward its students. Its
# effect is not limited to that one block. Without it, CFD's $s$ exceeds the mask loss's at every block before D1 (142%
# at E1.1, 121% at D2.2), because each block lies on the path to the teacher, and moving the teacher is the fastest way
# to a small distance.
#
# ## The choices, and what each is worth
#
# The paper's text leaves these open (A16 to A25). For each we change one thing, with `small` and four images, and
# compare the term's value and the *direction* of its gradient with respect to all weights: its cosine similarity to
# that of our choice. A cosine of 1 means that the choice is a matter of scale, which the weight can absorb; 0 means
# that it is a different loss. Two rules make the comparison fair. Each choice is compared with its *own* term, CFD or
# IFD: in the sum the larger one would hide the smaller. And CFD is compared as the *average* draw, since one draw is
# mostly noise. The control is an untrained network: `small` was trained with our choices, and has probably settled
# where *their* gradient is small.

# %%
MANY = 4 if lessons.FAST else 64
Choice = Callable[[Features], Tensor]  # from a network's features to a loss
passes = {"trained": (network, features), "untrained": (untrained, untrained.forward_features(batch)[1])}


def choice(name: str, draws: int = 1, **options: object) -> Choice:
    """CFD or IFD with these options, averaged over some draws."""

    def loss(features: Features) -> Tensor:
        terms = FeatureDistillationLoss(**options)
        return torch.stack([getattr(terms(*features), name) for _ in range(draws)]).mean()

    return loss


def last_of_stage(features: Features) -> Tensor:
    """CFD, average draw, of seven students: the last block of each stage."""
    maps = [x for name, x in features.blocks.items() if name.endswith(".2")]
    return cross_feature_distillation(maps, features.blocks["D1.1"], rcs="mean")


def enlarged(features: Features) -> Tensor:
    """CFD, average draw, on the teacher's grid: the students are upsampled."""
    *maps, last = features.blocks.values()
    large = [F.interpolate(x.permute(0, 3, 1, 2), last.shape[1:3], mode="bilinear") for x in maps]  # (B, C, H, W)
    return cross_feature_distillation([x.permute(0, 2, 3, 1) for x in large], last, rcs="mean")


def direction(loss: Tensor, weights: list[Tensor]) -> Tensor:
    """The gradient with respect to all weights, as one long vector."""
    pieces = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros(w.numel()) if g is None else g.flatten() for w, g in zip(weights, pieces, strict=True)]
    )


def compare(choices: dict[str, Choice]) -> None:
    """Print value, cosine and length of each choice against the first one, in both networks."""
    print(f"{'':46}" + "".join(f"{label:>11}: value cosine   length" for label in passes))
    ours = {}
    for name, make in choices.items():
        line = f"{name:46}"
        for label, (model, maps) in passes.items():
            loss = make(maps)
            gradient = direction(loss, list(model.parameters()))
            own = ours.setdefault(label, gradient)
            cosine = float(F.cosine_similarity(gradient, own, dim=0))
            line += f"{loss.item():15.4g} {cosine:6.2f} {float(gradient.norm() / own.norm()):8.3g}"
        print(line)


compare(
    {
        "CFD, ours, average draw": choice("cfd", rcs="mean"),
        "one draw (A18)": choice("cfd"),
        "another draw (A18)": choice("cfd", seed=1),
        f"mean of {MANY} draws (A18)": choice("cfd", MANY),
        f"one-sided selection, mean of {MANY} draws (A18)": choice("cfd", MANY, rcs="one_sided"),
        "teacher after the x4 expansion (A16)": choice("cfd", rcs="mean", teacher="expanded"),
        "one student a stage, its last block (A17)": last_of_stage,
        "students enlarged, not teacher pooled (A19)": enlarged,
        "sum, not mean (A20)": choice("cfd", rcs="mean", norm="sum"),
        "SelfReg's grouping (A21)": choice("cfd", rcs="mean", grouping="selfreg"),
        "teacher not detached (A22)": choice("cfd", rcs="mean", detach_teacher=False),
    }
)

# %%
compare(
    {
        "IFD, ours": choice("ifd"),
        "sum, not mean (A20)": choice("ifd", norm="sum"),
        "SelfReg's grouping (A21)": choice("ifd", grouping="selfreg"),
        "halves by index (A23)": choice("ifd", halves="index"),
        "shallow half detached (A24)": choice("ifd", detach_shallow=True),
        "15 maps, D1.1 too (A25)": lambda features: internal_feature_distillation(list(features.blocks.values())),
    }
)

# %% [markdown]
# Read the column of the trained network, then see whether the untrained one agrees.
#
# - **One draw is almost all noise** (A18): its cosine with the average is 0.04 and 0.12, its norm is 12 times as large,
#   and the cosine is still 0.53 after 64 draws. Where noise $n$ is orthogonal to the mean $m$, the cosine is $\|m\| /
#   \|m + n\|$: 1 / 12.4 = 0.08. With untrained weights the norm is 2.1 to 2.5 times as large.
# - **One-sided selection** (A18) is a different loss in the trained network: cosine 0.05, norm 6.3 times as large. It
#   keeps the channels in order, so in E1, which is as wide as D1, channel 5 is *always* paired with channel 5.
# - **Not detached** (A22) is also a different loss: cosine 0.08, norm 262 times as large. In the untrained network it
#   is 0.55 and 1.7 times: `small`, trained with our choice, has probably settled where *our* gradient is small.
# - **A matter of scale**: SelfReg's grouping (A21) and, nearly, one student per stage (A17) and which of the two maps
#   is resized (A19; 0.86 with untrained weights). The sum (A20) has a gradient thousands of times as large, and is not
#   purely a matter of scale either: large maps then count more than small ones.
# - **The teacher's position** (A16) makes no difference in an untrained network (1.00), but it does in a trained one
#   (0.55).
# - **IFD's halves** (A23) and which of them is detached (A24) change the gradient's direction (cosine 0.55 and 0.71,
#   untrained 0.45 and 0.64). The values, 0.36 and 0.36, do not show it.
# - **15 maps or 14** (A25) sounds harmless, and before training it is (0.98). After training, D1.1 alone outweighs the
#   14 others: ten times the value, 26 times the gradient.
#
# So a choice that a paper leaves open in half a sentence can amount to a different loss, and a test with untrained
# weights does not reveal it. What each costs or gains in Dice is another question, which needs training runs.
#
# ## An experiment: four networks
#
# A small residual network with four convolutions segments a disk in noise. The students are the first three maps, the
# teacher is the last. We train it without distillation, with CFD, with CFD whose teacher is *not* detached, and with
# IFD. Each loss has weight 0.015; the initial weights and the data are the same.

# %%
STEPS, WEIGHT = 15 if lessons.FAST else 200, 0.015
ifd = lessons.use("distill.ifd", ifd)


def disks(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy images and masks, (n, 16, 16)."""
    grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"))  # (2, 16, 16)
    place = torch.rand(n, 2, 1, 1, generator=generator) * 8 + 4
    radius = torch.rand(n, 1, 1, generator=generator) * 2 + 2.5
    mask = ((grid - place).square().sum(1).sqrt() < radius).float()
    return mask + 0.8 * torch.randn(n, 16, 16, generator=generator), mask


class Chain(nn.Module):
    """Four residual convolutions: (B, H, W) -> logits (B, H, W), four maps (B, H, W, C)."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(1, dim, 1), nn.Conv2d(dim, 1, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(4))

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, maps = self.first(image[:, None]), []
        for block in self.blocks:
            x = x + F.silu(block(x))
            maps.append(x.permute(0, 2, 3, 1))  # (B, H, W, C)
        return self.head(x)[:, 0], maps


def all_cfd(maps: list[Tensor], generator: torch.Generator, detach: bool = True) -> Tensor:
    """CFD of all students; without detach the plain distance, through which the teacher learns too."""
    losses = []
    for student in maps[:-1]:
        mine, theirs = (torch.randperm(x.shape[-1], generator=generator) for x in (student, maps[-1]))
        if detach:
            losses.append(cfd(student, maps[-1], mine, theirs))
        else:
            losses.append(F.mse_loss(student[..., mine], maps[-1][..., theirs]))
    return torch.stack(losses).mean()


def train(which: str, weight: float = WEIGHT) -> tuple[nn.Module, list[tuple[float, float]]]:
    """The trained network, and CFD and IFD at each step."""
    torch.manual_seed(0)
    model, data, draw = Chain(), torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    curve = []
    for _ in range(STEPS):
        image, mask = disks(16, data)
        logits, maps = model(image)
        distance = all_cfd(maps, draw, detach=which != "CFD, no detach")
        inner = torch.stack([ifd(x) for x in maps[:-1]]).mean()
        curve.append((distance.item(), inner.item()))
        loss = F.binary_cross_entropy_with_logits(logits, mask)
        if which.startswith("CFD"):
            loss = loss + weight * distance
        if which == "IFD":
            loss = loss + weight * inner
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, curve


# %% [markdown] kind="predict"
# **Predict**, for each of the three losses: does CFD fall? Do channels become more correlated or less? Which of the
# four networks segments the disk worst? Note that the teacher is the last student *plus* something.

# %% kind="signature"
test_picture, test_mask = disks(200, torch.Generator().manual_seed(5))
fig, axes = plt.subplots(1, 2, figsize=(9, 2.8))
for which in ("none", "CFD", "CFD, no detach", "IFD"):
    model, curve = train(which)
    with torch.no_grad():
        found, maps = model(test_picture)
    found = (found > 0).float()
    score = float(2 * (found * test_mask).sum() / (found.sum() + test_mask.sum()))
    repeats = [float(redundancy(x)) for x in maps]
    cross, inner = curve[-1]
    change = f"CFD from {curve[0][0]:.1f} to {cross:.3g}, Dice {score:.2f}, mean |r| {sum(repeats) / 4:.2f}"
    lessons.happened("12.4", f"{which}: {change}")
    print(f"{which}: IFD from {curve[0][1]:.2f} to {inner:.3g}")
    axes[0].semilogy([cross for cross, _ in curve], label=which)
    axes[1].plot(["1", "2", "3", "teacher"], repeats, "o-", label=which)
axes[0].set(xlabel="step", ylabel="CFD", title="with detach, the minimized distance grows")
axes[1].set(xlabel="map", ylabel="mean |r|", ylim=(0, 1), title="CFD makes all channels alike")
axes[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# With `detach` the distance that is minimized *grows*. Each step moves the students toward the teacher as it was. But
# the teacher is computed from the students: it has moved by the time they arrive. No gradient shows it, since `detach`
# is precisely what hides that the target moves. All channels follow one map: mean |r| rises to 0.9, and the
# segmentation collapses. IFD changes Dice and mean |r| by no more than a few hundredths here.
#
# Without `detach` the gradient includes the teacher's movement, and the distance stays small. The price: the teacher's
# features are shrunk as well (A22). Here that is the lesser harm. The usual reason for `detach`, that a teacher should
# not learn from its students, applies to a teacher that is *another* network.
#
# The paper's network normalizes inside its branches, and `small` did not diverge. But the same loop is there, and
# nothing in eq. 8 bounds it. Log CFD by itself, as the trainer of lesson 13 does.

# %% [markdown]
# ## And on real images?
#
# The paper's Table 5 has one run of each of four networks. The repository repeats it at a small scale: a sixth of the
# width, 8 epochs of ISIC 2017 (lesson 15 has the protocol). The next cell reads the results in your clone. One
# comparison is added: VM-UNet, which is the network *without* the paper's modules, with and without distillation.

# %%
FOLDER = Path(skinlesion.__file__).parents[1] / "benchmarks" / "results" / "reproduce" / "cpu"
SCORES = FOLDER / "summary.json"
if SCORES.exists():
    results = json.loads(SCORES.read_text())
    rows = {row["cell"]: row for table in ("table5", "table4") for row in results["tables"][table]["rows"]}
    names = {
        "full-no-fd": "full network, neither",
        "full-cfd": "full network, CFD",
        "full-ifd": "full network, IFD",
        "full": "full network, both",
        "vmunet": "VM-UNet, neither",
        "none": "VM-UNet, both",
    }
    for cell, name in names.items():
        scores = ", ".join(f"{value:.2f}" for value in rows[cell]["values"]["iou"])
        print(f"{name:22} pooled IoU {scores or 'not run yet'}")
    for claim in results["claims"]:
        if claim["source"] == "Table 5" and claim["seeds"]:
            print(
                f"{claim['text']:40} {claim['difference']:+.2f} ({claim['low']:+.2f} to {claim['high']:+.2f}, with "
                f"pooled variance {claim['wide_low']:+.2f} to {claim['wide_high']:+.2f}), {claim['seeds']} runs each; "
                f"paper {claim['paper']:+.2f}: {claim['word']}"
            )
else:
    print("No results in this clone; lesson 15 says how they are made.")

# %% [markdown]
# Two observations. In the full network all three runs with both terms are above all three without, as in the paper; the
# verdicts say how certain that is, and what each term does alone. In VM-UNet the same two terms *reduce* the IoU by
# about two points: all three runs with them are below all three without. Whether distillation helps depends on the
# network (lesson 15 tests this interaction). The paper has no such row: it does not say whether its Table 4 was trained
# with distillation (A39).

# %% [markdown]
# ### Play
#
# Which weight does no harm? Change it by factors of ten.

# %% kind="play"


def weigh(which: str = "CFD", power: int = -4) -> None:
    """Train with weight 10 ** power and draw CFD."""
    _, curve = train(which, 10.0**power)
    _, ax = plt.subplots(figsize=(4, 2.2))
    ax.semilogy([cross for cross, _ in curve])
    ax.set(xlabel="step", ylabel="CFD", title=f"{which}, weight 1e{power}")
    plt.show()


_ = ipywidgets.interact_manual(weigh, which=["CFD", "CFD, no detach", "IFD"], power=(-5, 0))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The chain has no normalization, and one seed was run. It shows that the loop *can* diverge, not that it must.
# - `accurate` differs from `small` in optimizer, length and image size as well as in distillation. A strict control
#   would be the same run with both weights at zero.
# - Gradient norms and cosines are measured at one moment, the end of a training run. They say which losses differ, not
#   which is better.
# - A correlation measures linear redundancy only, and copies can be useful: they average noise away.
# - Whether distillation helps on lesions needs several seeds with and without, at full width. The paper has one run
#   each (Table 5); lesson 15 weighs that and our small runs.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. What is the target of a student's channel under random channel selection, on average?
# - [ ] the teacher's channel with the same number :: Channels are paired at random, anew at each step.
# - [x] the mean of all the teacher's channels :: The same map for every channel; the variance is only a constant.
# - [ ] none, since the random draws cancel :: The mean of the targets is not zero.
#
# 2. What does `teacher.detach()` do?
# - [ ] it keeps the teacher's map from changing at all :: It changes, through the mask loss and through its own inputs.
# - [x] this loss sends no gradient into the teacher :: And so this loss does not register that the teacher moves.
# - [ ] it makes a copy of the teacher's weights :: It copies nothing.
#
# 3. IFD falls to a tenth. What do you know?
# - [x] the halves are closer, or all features smaller :: Measure a correlation, which has no scale, to decide.
# - [ ] the channels have become less redundant than before :: In the chain, IFD ended at a sixth of its value
#   without the loss, and mean |r| only a few hundredths lower.
# - [ ] the segmentation of the images has become better :: The loss does not depend on the mask.
#
# 4. Is a weight of 0.015 small?
# - [ ] yes, it is far below 0.3 and 0.7 :: A weight says nothing without what it multiplies.
# - [x] it depends on how large CFD itself is :: 0.015 times 14.9 is more than `small`'s BCE + Dice.
# - [ ] no, for CFD such a weight is too large :: With untrained weights, when CFD is small, it hardly counts.
#
# 5. Two variants of a loss give nearly the same value on a batch. Are they the same loss?
# - [ ] yes, up to that small difference in value :: One draw has nearly the same value as the average draw, and a
#   gradient almost orthogonal to that of the average.
# - [x] not always: compare gradients after training :: Halves by index: nearly the same value, cosine 0.55.
# - [ ] yes, if an untrained network shows the same :: The 15th map is harmless there, but not later.

# %% [markdown] kind="links"
# ## Further reading
#
# - [SelfReg-UNet](https://arxiv.org/abs/2406.14896): where both losses come from.
# - [Distilling the knowledge in a neural network](https://arxiv.org/abs/1503.02531): a teacher that is another network.
# - [Be your own teacher](https://arxiv.org/abs/1905.08094): a network's last layers teach its first ones.
# - [BYOL](https://arxiv.org/abs/2006.07733): what else it takes to keep a moving target from collapsing.
