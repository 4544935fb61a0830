# %% [markdown] kind="claim"
# **Claim.** Feature distillation is two mean squared distances, and what they do follows from their formulas. Random
# channel selection pulls every channel toward *one* map, and a teacher that is built from its own students is a target
# that moves. We show both by a derivation that you check, and by training the same network with each loss. The
# controls: no distillation, the same loss without `detach`, and feature maps whose pixels are shuffled.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write CFD (eq. 8) and IFD (eq. 9), and say where the paper leaves a choice (A16 to A25);
# - measure how strongly the mask pulls at each block, in a trained and in a fresh network;
# - derive what random channel selection does on average;
# - measure how much channels repeat each other, against a control;
# - say what `detach` cuts, and find out by an experiment what happens without it;
# - tell whether a weight of 0.015 is small;
# - say which of eight open choices change the gradient, and which only its length.

# %%
import ipywidgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import Segmenter, create_model, lessons
from skinlesion.data.images import normalize, resize_image
from skinlesion.data.synthetic import synthesize
from skinlesion.losses import FeatureDistillationLoss, bce_dice_loss

DATA = None  # or a list of RGB images, uint8 (H, W, 3), such as read_image gives for the files of ISIC 2017
lessons.setup()

# %% [markdown]
# ## Who hears the teacher?
#
# The mask is compared with the last map only. All other blocks hear of it through the blocks behind them. SelfReg-UNet,
# from which the paper takes its loss, calls this *asymmetric supervision*: the encoder's blocks are said to learn less
# from the mask. That can be measured. For each block's output $x$ take the gradient of BCE + Dice, times the size of $x$:
#
# $$s = \|x\|\,\big\|\partial \mathcal L / \partial x\big\|$$
#
# It is (at most) how much the loss changes when $x$ changes by its own size, and it does not depend on the scale of the
# features. We ask the network that comes with this package, which *was* trained with distillation, and two networks
# that were not trained at all.

# %% [markdown] kind="predict"
# **Predict.** From E1.1 through the bottom to D1.1: does $s$ rise toward the loss, in a network with fresh weights? And in
# the trained one?

# %% kind="control"
lesions = [synthesize(seed, 128) for seed in range(4)]
images = DATA or [lesion.image for lesion in lesions]
batch = torch.stack([torch.from_numpy(normalize(resize_image(x, (128, 128)))) for x in images]).permute(0, 3, 1, 2)
network = Segmenter.from_pretrained("small").model.eval()  # batch: (B, 3, 128, 128)
if DATA is None:
    truth = torch.stack([torch.from_numpy(lesion.mask).float() for lesion in lesions])[:, None]  # (B, 1, H, W)
else:
    with torch.no_grad():
        truth = (network(batch) > 0).float()  # without masks: its own answer stands in


def supervision(network: nn.Module) -> dict[str, float]:
    """How strongly BCE + Dice pulls at each block's output."""
    logits, features = network.forward_features(batch)
    maps = list(features.blocks.values())
    gradients = torch.autograd.grad(bce_dice_loss(logits, truth), maps)
    with torch.no_grad():
        return {name: float(x.norm() * g.norm()) for name, x, g in zip(features.blocks, maps, gradients, strict=True)}


pulls = {"shipped": supervision(network)}
for seed in (0, 1):
    torch.manual_seed(seed)
    pulls[f"fresh weights, seed {seed}"] = supervision(create_model("small").eval())
fig, ax = plt.subplots(figsize=(7, 2.4))
for label, pull in pulls.items():
    ax.semilogy(list(pull), list(pull.values()), "o-", label=label)
ax.set(ylabel="s", title="how strongly the mask pulls at each block's output")
ax.legend(fontsize=7)
plt.show()
for label, pull in pulls.items():
    encoder = sum(value for name, value in pull.items() if name[0] == "E") / 8
    decoder = sum(value for name, value in pull.items() if name[0] == "D") / (len(pull) - 8)
    print(
        f"{label:22} mean of E {encoder:.4f}, of D {decoder:.4f}, D / E {decoder / encoder:.2f}; at D1.1 {pull['D1.1']:.4f}"
    )

# %% [markdown]
# Encoder and decoder are pulled at alike: the ratio of their means is 0.95 in the shipped network and 1.00 and 1.02 in
# fresh ones. What differs is *depth*. The curve is a U: E1.1 hears the mask about as loudly as D1.1, and the bottom hears
# it least, in the trained network fifty times less. The skips explain it: E1's output is added to D1's input, so it is
# one block from the loss, however early it runs. So "the encoder is supervised less" is not what we see in this network
# with its skips; "the bottom is supervised less" is. A pull is no verdict on what is learned, though: all blocks are
# trained by it, with an optimizer that divides each gradient by its own size.
#
# The other finding of SelfReg-UNet is that channels *repeat* each other. Here is the metric for it:


# %% exercise="distill.redundancy"
def redundancy(x: Tensor) -> Tensor:
    """Mean absolute correlation of different channels: (B, H, W, C) -> a scalar."""
    rows = x.flatten(0, 2)  # (B H W, C)
    rows = rows - rows.mean(0)
    rows = rows / rows.norm(dim=0).clamp_min(1e-12)
    r = (rows.T @ rows).abs()  # (C, C)
    return (r.sum() - r.trace()) / (len(r) * (len(r) - 1))


# %% [markdown]
# Two controls. The first moves the pixels of each channel to random places, each channel by itself: what is left is the
# agreement of chance. The second is a network with fresh weights, which nobody has taught to repeat anything.

# %% kind="control"
redundancy = lessons.use("distill.redundancy", redundancy)
torch.manual_seed(0)
fresh = create_model("small").eval()
with torch.no_grad():
    logits, features = network.forward_features(batch)
    _, untrained = fresh.forward_features(batch)


def torn(x: Tensor, generator: torch.Generator) -> Tensor:
    """Every channel's pixels in an order of their own: (B, H, W, C) -> (B H W, 1, 1, C)."""
    rows = x.flatten(0, 2)  # (B H W, C)
    order = torch.rand(rows.shape, generator=generator).argsort(0)
    return rows.gather(0, order)[:, None, None]


generator = torch.Generator().manual_seed(0)
fig, ax = plt.subplots(figsize=(7, 2.4))
names = list(features.blocks)
ax.plot(names, [float(redundancy(x)) for x in features.blocks.values()], "o-", label="as they are")
ax.plot(names, [float(redundancy(torn(x, generator))) for x in features.blocks.values()], "o:", label="pixels shuffled")
ax.plot(names, [float(redundancy(x)) for x in untrained.blocks.values()], "o-", color="0.6", label="fresh weights")
ax.set(ylabel="mean |r|", ylim=(0, 1), title="how much channels repeat each other, block by block")
ax.legend()
plt.show()

# %% [markdown]
# Compare with the dotted line, not with zero. In the deepest stages there are few pixels (16 an image), and chance alone
# makes channels look alike. The gray
# line says more: fresh weights repeat themselves about as much as trained ones in most blocks, without having learned
# anything. D1.1 is the exception: 0.8, where fresh weights have 0.1. Its channels are about to be summed up into one
# mask. That one block is CFD's teacher.
#
# ## CFD: every map learns from the last
#
# The teacher is the output of D1, the students are the 14 maps before it (A16, A17). They differ in size, so the
# larger one, here always the teacher, is averaged down (A19).


# %% exercise="distill.average_pool"
def average_pool(x: Tensor, factor: int) -> Tensor:
    """The mean of each factor x factor cell: (B, H, W, C) -> (B, H / factor, W / factor, C)."""
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))  # (B, H / f, W / f, C)


# %% [markdown]
# They differ in channels too. **Random channel selection** (RCS) draws $k = \min(C_s, C_t)$ of each at every step (A18).
#
# $$\text{CFD} = \frac{1}{M-1} \sum_m \big\| \mathrm{RCS}(\text{student}_m) - \mathrm{RCS}(\text{teacher}) \big\|^2$$
#
# We read the norm as a *mean* over pixels and channels (A20).


# %% exercise="distill.cfd"
def cfd(student: Tensor, teacher: Tensor, student_channels: Tensor, teacher_channels: Tensor) -> Tensor:
    """Mean squared distance of the chosen channels; the teacher is fixed."""
    return F.mse_loss(student[..., student_channels], teacher.detach()[..., teacher_channels])


# %% [markdown] kind="predict"
# **Predict.** Channel 3 of the student meets teacher channel 7 now, channel 1 at the next step, then channel 12. What
# does it become in the end? Derive the mean over all draws before you go on.


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

# %% [markdown]
# The two agree. So on average CFD asks every student channel to be the *same* map: the mean of the teacher's channels.
# A loss that is said to enrich features has its minimum where all channels are equal.
#
# ## IFD: half of a map learns from the other half


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


# %% [markdown]
# The paper's network uses 14 maps (A25), and both halves move (A24). A squared distance knows two ways down: the
# halves become alike, or *everything becomes small*.
#
# ## Is 0.015 small?
#
# That depends on what it multiplies. A squared distance of free feature maps has no upper bound; BCE + Dice of a
# trained network is about 0.1.

# %%
with torch.no_grad():
    parts = FeatureDistillationLoss()(*features)
print(f"shipped network: CFD {float(parts.cfd):.2f}, IFD {float(parts.ifd):.2f}; weighted sum {float(parts.total):.3f}")

# %% [markdown]
# Late in the training of this network CFD was about 10: 0.16 after weighting, against 0.13 of BCE + Dice. The "small"
# term was the larger one.
#
# ## Eight choices, and what each is worth
#
# The paper's text leaves them open (A16 to A25). For each we change that one, with the shipped network and four
# images, and look at the two losses and at the *direction* of the gradient with respect to all weights: its cosine with
# that of our choice. 1 means that the choice is a matter of scale; 0 that it is another loss.

# %%
OTHER = {
    "ours": {},
    "teacher after the x4 expansion (A16)": {"teacher": "expanded"},
    "one-sided selection (A18)": {"rcs": "one_sided"},
    "another draw of the channels (A18)": {"seed": 1},
    "sum, not mean (A20)": {"norm": "sum"},
    "SelfReg's grouping (A21)": {"grouping": "selfreg"},
    "teacher not detached (A22)": {"detach_teacher": False},
    "halves by index (A23)": {"halves": "index"},
    "shallow half detached (A24)": {"detach_shallow": True},
}


def direction(options: dict) -> tuple[float, float, Tensor]:
    """CFD, IFD and the gradient of their weighted sum, as one long vector."""
    network.zero_grad()
    _, features = network.forward_features(batch)
    parts = FeatureDistillationLoss(**options)(*features)
    parts.total.backward()
    pieces = [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in network.parameters()]
    network.zero_grad()
    return float(parts.cfd.detach()), float(parts.ifd.detach()), torch.cat(pieces)


_, _, ours = direction({})
print(f"{'':38}      CFD       IFD   cosine   length")
for name, options in OTHER.items():
    one, two, gradient = direction(options)
    cosine = float(F.cosine_similarity(gradient, ours, dim=0))
    print(f"{name:38} {one:8.4g} {two:9.4g} {cosine:8.3f} {float(gradient.norm() / ours.norm()):8.3g}")

# %% [markdown]
# Most lines are a matter of taste: SelfReg's grouping, halves by index and a detached half point the same way (0.98 and
# more), and a sum differs from a mean by a factor of thousands that the weight must absorb. Three lines are not. The
# teacher's place (0.09) and its `detach` (0.07, and twenty times the length) make another loss. And the third is the
# surprise: **another draw of the channels gives a gradient at a right angle to the first** (-0.06), although the loss is
# the same to one percent. One step of CFD is almost all noise; what it teaches is what is left after averaging over
# steps, the expectation from above.
#
# ## An experiment: four networks
#
# A small residual network, four convolutions, finds a disk in noise. The students are the first three maps, the
# teacher is the last. We train it without distillation, with CFD, with CFD whose teacher is *not* detached, and with
# IFD. Weight 0.015 each; same start, same data.

# %%
STEPS, WEIGHT = 15 if lessons.FAST else 200, 0.015
ifd = lessons.use("distill.ifd", ifd)


def disks(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy pictures and masks, (n, 16, 16)."""
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

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, maps = self.first(picture[:, None]), []
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


def train(which: str, weight: float = WEIGHT) -> tuple[nn.Module, list[float]]:
    """The trained network, and CFD at each step."""
    torch.manual_seed(0)
    model, data, draw = Chain(), torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    curve = []
    for _ in range(STEPS):
        picture, mask = disks(16, data)
        logits, maps = model(picture)
        distance = all_cfd(maps, draw, detach=which != "CFD, no detach")
        curve.append(distance.item())
        loss = F.binary_cross_entropy_with_logits(logits, mask)
        if which.startswith("CFD"):
            loss = loss + weight * distance
        if which == "IFD":
            loss = loss + weight * torch.stack([ifd(x) for x in maps[:-1]]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, curve


# %% [markdown] kind="predict"
# **Predict**, for each of the three losses: does CFD fall? Do channels become more alike or less? Which of the four
# networks finds the disk worst? Note that the teacher is the last student *plus* something.

# %% kind="signature"
test_picture, test_mask = disks(200, torch.Generator().manual_seed(5))
fig, axes = plt.subplots(1, 2, figsize=(9, 2.8))
for which in ("none", "CFD", "CFD, no detach", "IFD"):
    model, curve = train(which)
    with torch.no_grad():
        found, maps = model(test_picture)
    found = (found > 0).float()
    score = float(2 * (found * test_mask).sum() / (found.sum() + test_mask.sum()))
    alike = [float(redundancy(x)) for x in maps]
    print(f"{which:15} Dice {score:.2f}, CFD at the end {curve[-1]:9.2f}, mean |r| {sum(alike) / 4:.2f}")
    axes[0].semilogy(curve, label=which)
    axes[1].plot(["1", "2", "3", "teacher"], alike, "o-", label=which)
axes[0].set(xlabel="step", ylabel="CFD", title="the distance that CFD should make small")
axes[1].set(xlabel="map", ylabel="mean |r|", ylim=(0, 1), title="how much channels repeat each other")
axes[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# With `detach` the distance that is minimized *grows*. Each step moves the students toward the teacher as it stood. But
# the teacher is computed from the students: it has moved on when they arrive, and the chase never ends. No gradient
# warns of it, for `detach` is precisely what hides that the target moves. All channels follow one map: mean |r| rises
# to 0.9, and the disk is lost. IFD moves neither Dice nor mean |r| by more than a few hundredths here.
#
# Without `detach` the gradient sees the teacher move, and the distance does become small. The price: the teacher's
# features are squeezed as well (A22). Here that is the lesser evil. The usual reason for `detach`, that a teacher should
# not learn from its pupils, holds for a teacher that is *another* network.
#
# The paper's network normalizes inside its branches, and real runs did not explode: CFD came to about 10. But the same
# loop is there, and nothing in eq. 8 bounds it. Log CFD by itself, as the trainer of lesson 13 does.

# %% [markdown]
# ### Play
#
# Which weight does no harm? Move it by factors of ten.

# %% kind="play"


def weigh(which: str = "CFD", power: int = -4) -> None:
    """Train with weight 10 ** power and draw CFD."""
    _, curve = train(which, 10.0**power)
    _, ax = plt.subplots(figsize=(4, 2.2))
    ax.semilogy(curve)
    ax.set(xlabel="step", ylabel="CFD", title=f"{which}, weight 1e{power}")
    plt.show()


_ = ipywidgets.interact_manual(weigh, which=["CFD", "CFD, no detach", "IFD"], power=(-5, 0))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The chain has no normalization, and one seed was run. It shows that the loop *can* run away, not that it must.
# - That the shipped network's channels repeat each other proves nothing about the cause: there is no twin here that was
#   trained without distillation. Four drawn lesions and one trained network are few.
# - A correlation sees linear repetition only, and copies can be useful: they average noise away.
# - Whether distillation helps on lesions needs several seeds with and without. The paper has one run each (Table 5);
#   lesson 15 weighs that.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Toward what does random channel selection pull a student's channel, on average?
# - [ ] the teacher channel of the same number :: Channels are paired at random, anew at each step.
# - [x] the mean of the teacher's channels :: Every channel toward the same map; the variance is only a constant.
# - [ ] nothing, the draws cancel :: The mean of the targets is not zero.
#
# 2. What does `teacher.detach()` do?
# - [ ] it keeps the teacher from changing :: It changes, through the mask loss and through its own inputs.
# - [x] this loss sends no gradient into the teacher :: And so this loss does not see that the teacher moves.
# - [ ] it copies the teacher's weights :: It copies nothing.
#
# 3. IFD falls to a tenth. What do you know?
# - [x] the halves are closer, or all features are smaller :: Measure a correlation, which has no scale, to tell.
# - [ ] channels repeat each other less :: Above, IFD fell and mean |r| hardly moved.
# - [ ] segmentation is better :: The loss does not look at the mask.
#
# 4. Is a weight of 0.015 small?
# - [ ] yes, it is far below 0.3 and 0.7 :: A weight says nothing without what it multiplies.
# - [x] it depends on the size of CFD, which has no bound :: 0.015 times 10 is more than BCE + Dice late in a run.
# - [ ] no, it is always too large :: Early in a run, when CFD is small, it hardly counts.

# %% [markdown] kind="links"
# ## Further reading
#
# - [SelfReg-UNet](https://arxiv.org/abs/2406.14896): where both losses come from.
# - [Distilling the knowledge in a neural network](https://arxiv.org/abs/1503.02531): a teacher that is another network.
# - [Be your own teacher](https://arxiv.org/abs/1905.08094): a network's last layers teach its first.
# - [BYOL](https://arxiv.org/abs/2006.07733): what else a moving target needs so as not to collapse.
