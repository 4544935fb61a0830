# %% [markdown] kind="claim"
# **Claim.** Cross-region attention tells a network *where* something is with one gate per row and one per column, so
# the gate map of a channel is a matrix of rank one. We show it by working through the paper's equations 1 to 7, by a
# task that SE cannot solve and CRA can, and by computing how much of a shape a product of two profiles can represent.
# The control is the same task with two lesions on a diagonal: there such a map must fail, and it does.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - compute the two profiles, the gates and the output of CRA by hand on a small map, and in code;
# - plug your CRA into the network's three skips;
# - say why an untrained CRA scales a skip by a quarter, and check it;
# - construct a task that needs positions, and one that no rank-one map can solve;
# - compute how much of a shape a rank-one map can represent, and name shapes that have rank one exactly;
# - name the places where the paper's text leaves a choice open.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import create_model, lessons, observe
from skinlesion.data.synthetic import synthesize
from skinlesion.model import CrossRegionAttention, SqueezeExcitation

lessons.setup()

# %% [markdown]
# ## Four lesions, one marked
#
# One tick at the left edge marks the rows of the target lesion, and one at the top edge marks its columns.

# %%
SIDE = 20


def marked_batch(n: int, generator: torch.Generator, second: str = "none") -> tuple[Tensor, Tensor]:
    """Images (n, SIDE, SIDE, 3) of blobs and ticks of two colors, and the marked lesions (n, SIDE, SIDE).

    second: "none", one of four blobs is meant; "same", two are, always the upper left and the lower right, and all
    ticks have the first color; "other", the second lesion's ticks have the second color.
    """
    near = torch.randint(4, 7, (n, 2), generator=generator)
    far = torch.randint(13, 16, (n, 2), generator=generator)
    places = torch.stack([near, far], dim=1)  # (n, 2 positions, row and column)
    grid = torch.arange(SIDE)
    rows = (grid - places[:, :, :1]).abs()  # (n, 2, SIDE): distance of each row from each center
    columns = (grid - places[:, :, 1:]).abs()
    blobs = (rows[:, :, None, :, None] ** 2 + columns[:, None, :, None, :] ** 2 < 9).float()  # (n, 2, 2, SIDE, SIDE)
    ticks = torch.zeros(n, SIDE, SIDE, 2)
    lesion = torch.zeros(n, SIDE, SIDE)
    every = torch.arange(n)
    chosen = torch.randint(2, (n, 2), generator=generator)  # which row, which column
    meant = [chosen.unbind(1)] if second == "none" else [(0 * every, 0 * every), (0 * every + 1, 0 * every + 1)]
    for number, (row, column) in enumerate(meant):
        lesion += blobs[every, row, column]
        color = number if second == "other" else 0
        ticks[:, :, 0, color] += (rows[every, row] < 3).float()
        ticks[:, 0, :, color] += (columns[every, column] < 3).float()
    images = torch.cat([blobs.flatten(1, 2).amax(1)[..., None], ticks], dim=-1)
    return images + 0.1 * torch.randn(images.shape, generator=generator), lesion


images, lesion = marked_batch(1, torch.Generator().manual_seed(2))
fig, axes = plt.subplots(1, 3, figsize=(7, 2.3))
for ax, map_, title in zip(
    axes, (images[0, ..., 0], images[0, ..., 1], lesion[0]), ("blobs", "ticks", "target"), strict=True
):
    ax.imshow(map_, cmap="gray")
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# A single pixel contains no information about the ticks. SE (lesson 7) would register *that* there are ticks, but a
# mean contains no positions. What is needed is one number per row and one per column. Section 3.3 of the paper takes
# this idea from coordinate attention. Equation 1, the mean over the whole image, is SE's squeeze and is not used again
# (A15). Equations 2 and 3:


# %% exercise="cra.directional_means"
def directional_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """z_h (B, H, C), the mean of each row, and z_w (B, W, C), the mean of each column, of x (B, H, W, C)."""
    return x.mean(dim=2), x.mean(dim=1)


# %% [markdown]
# By hand, for one channel of 2 x 3 pixels:
#
# | | | | mean of the row |
# |---|---|---|---|
# | 1 | 2 | 3 | **2** |
# | 5 | 6 | 7 | **6** |
# | **3** | **4** | **5** | mean of the column |
#
# Equations 4 to 6 turn the five numbers of each channel into five gates. Both profiles pass through *one* narrow layer
# $F_1$ (the paper's $C/r$ channels; $r = 32$, but at least 8 channels: A13), so rows and columns share its weights.
# After that, rows and columns have separate layers.


# %% exercise="cra.gates"
def gates(
    x: Tensor, conv1: nn.Linear, bn1: nn.BatchNorm1d, conv_h: nn.Linear, conv_w: nn.Linear
) -> tuple[Tensor, Tensor]:
    """Gates g_h (B, H, C) and g_w (B, W, C) in (0, 1) of x (B, H, W, C); conv1: C -> C / r, conv_h and conv_w back."""
    z_h, z_w = x.mean(dim=2), x.mean(dim=1)  # (B, H, C), (B, W, C)
    f = conv1(torch.cat([z_h, z_w], dim=1))  # (B, H + W, C / r)
    f = F.hardswish(bn1(f.transpose(1, 2)).transpose(1, 2))
    f_h, f_w = f.split([x.shape[1], x.shape[2]], dim=1)  # (B, H, C / r), (B, W, C / r)
    return torch.sigmoid(conv_h(f_h)), torch.sigmoid(conv_w(f_w))


# %% exercise="cra.apply_gates"
def apply_gates(x: Tensor, gate_h: Tensor, gate_w: Tensor) -> Tensor:
    """x (B, H, W, C) times gate_h (B, H, C) of its row and gate_w (B, W, C) of its column."""
    return x * gate_h[:, :, None, :] * gate_w[:, None, :, :]


# %% exercise="cra.factor_at_start"
factor = 0.25

# %% [markdown]
# ### In the network
#
# The network has three skips: the inputs of encoder stages 2, 3 and 4. Each passes through a CRA, and is then added to
# the decoder's map (A10 to A12: the position of CRA, and the addition, are our reading; the paper says "fuses"). Plug
# yours in, and check the prediction.

# %%
directional_means = lessons.use("cra.directional_means", directional_means)
gates, apply_gates = lessons.use("cra.gates", gates), lessons.use("cra.apply_gates", apply_gates)


def cross_region_attention(
    x: Tensor, conv1: nn.Linear, bn1: nn.BatchNorm1d, conv_h: nn.Linear, conv_w: nn.Linear
) -> Tensor:
    """Eqs. 2 to 7."""
    return apply_gates(x, *gates(x, conv1, bn1, conv_h, conv_w))


torch.manual_seed(0)
network = create_model("tiny").eval()
mine = lessons.plug(network, "cra", cross_region_attention)
image = torch.from_numpy(synthesize(3, 96).image).permute(2, 0, 1)[None] / 255  # (1, 3, 96, 96)
with torch.no_grad(), observe(network, "*.cra.*put") as seen:
    logits = network(image)
    print(f"largest difference of the logits: {float((logits - mine(image)).abs().max()):.0e}")
for skip in ("S2", "S3", "S4"):
    before, after = seen[f"{skip}.cra.input"], seen[f"{skip}.cra.output"]
    print(f"skip {skip}, {tuple(before.shape[1:])}: scaled by {float(after.norm() / before.norm()):.3f}")

# %% [markdown]
# A quarter, at every skip. This is not an error: the gates can change. But in the first epochs the decoder receives the
# encoder's maps at a quarter of the scale they have in VM-UNet. So a comparison "with and without CRA" also compares
# two initial scales of the skip.

# %% [markdown]
# ## Does it find the marked lesion?
#
# We compare three networks that process each pixel independently, except for the module in the middle: nothing, SE or
# CRA. They have the same width and the same training.

# %%
STEPS = 30 if lessons.FAST else 500


class Pixelwise(nn.Module):
    """A pixelwise network around the module: (B, H, W, 3) -> logits (B, H, W)."""

    def __init__(self, middle: str, dim: int = 16) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(3, dim), nn.SiLU(), nn.Linear(dim, dim))
        makers = {"SE": lambda: SqueezeExcitation(dim=dim, ratio=2), "CRA": lambda: CrossRegionAttention(dim=dim)}
        self.middle = makers[middle]() if middle in makers else None
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images)
        if isinstance(self.middle, SqueezeExcitation):
            x = self.middle(x)
        elif isinstance(self.middle, CrossRegionAttention):
            x = cross_region_attention(x, self.middle.conv1, self.middle.bn1, self.middle.conv_h, self.middle.conv_w)
        return self.head(x)[..., 0]


def dice(logits: Tensor, lesion: Tensor) -> float:
    """Dice of all pixels together."""
    found = (logits > 0).float()
    return float(2 * (found * lesion).sum() / (found.sum() + lesion.sum()))


def train(model: nn.Module, second: str = "none") -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    missed = torch.tensor(4.0)  # a missed pixel costs four times as much, so that "mark all" beats "mark none"
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        images, lesion = marked_batch(32, generator, second)
        loss = F.binary_cross_entropy_with_logits(model(images), lesion, pos_weight=missed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


# %% [markdown] kind="predict"
# **Predict.** One of four equal blobs is the target. What will the networks with "nothing" and with SE output, and with
# what Dice score? Sketch the row gate and the column gate that CRA needs.

# %% kind="signature"
networks = {}
for name in ("nothing", "SE", "CRA"):
    torch.manual_seed(0)
    networks[name] = train(Pixelwise(name))
images, lesion = marked_batch(300, torch.Generator().manual_seed(1))
with torch.no_grad():
    answers = {name: network(images) for name, network in networks.items()}
    cra = networks["CRA"]
    g_h, g_w = gates(cra.embed(images), cra.middle.conv1, cra.middle.bn1, cra.middle.conv_h, cra.middle.conv_w)
# The channel whose gates best separate the lesion from the rest.
product = g_h[:, :, None] * g_w[:, None]  # (B, H, W, C)
inside, outside = (product * lesion[..., None]).sum((0, 1, 2)) / lesion.sum(), product.mean((0, 1, 2))
channel = int((inside / outside).argmax())

fig = plt.figure(figsize=(11, 2.7))
layout = fig.add_gridspec(2, 7, width_ratios=[4, 4, 4, 4, 0.6, 1, 4], height_ratios=[1, 4])
for i, (title, map_) in enumerate(
    [
        ("blobs and ticks", images[0].sum(-1)),
        *((f"{n}: Dice {dice(a, lesion):.2f}", a[0] > 0) for n, a in answers.items()),
    ]
):
    ax = fig.add_subplot(layout[:, i])
    ax.imshow(map_, cmap="gray")
    ax.contour(lesion[0], levels=[0.5], colors="tab:orange", linewidths=1)
    ax.set(title=title, xticks=[], yticks=[])
columns, rows, map_ax = fig.add_subplot(layout[0, 6]), fig.add_subplot(layout[1, 5]), fig.add_subplot(layout[1, 6])
columns.bar(range(SIDE), g_w[0, :, channel])
columns.set(title=f"gates of channel {channel} and their product", xlim=(-0.5, SIDE - 0.5), xticks=[], yticks=[])
rows.barh(range(SIDE), g_h[0, :, channel])
rows.set(ylim=(SIDE - 0.5, -0.5), xticks=[], yticks=[])
map_ax.imshow(product[0, ..., channel], aspect="auto")
map_ax.contour(lesion[0], levels=[0.5], colors="tab:orange", linewidths=1)
map_ax.set(xticks=[], yticks=[])
plt.show()
lessons.happened("10.1", {f"Dice, {n}": dice(a, lesion) for n, a in answers.items()})

# %% [markdown]
# Without CRA the networks can only mark all four blobs or none. They mark all four, one of which is the target, so the
# Dice score is about 0.4. CRA's gates are large in the rows beside one tick and in the columns below the other. The
# lesion is where both are large. A row gate acts on a whole row: this is how one module moves information across the
# whole image with $H + W$ numbers per channel.
#
# ### Control: two lesions on a diagonal
#
# Now two of the four blobs are targets, always the upper left and the lower right one, and there are ticks beside both
# rows and above both columns, all of one color. The task can be solved from the positions alone. But CRA's gates do not
# depend on which row is the upper one: they are large in both rows and both columns, and so all four intersections are
# large.

# %% [markdown] kind="predict"
# **Predict** the Dice score of CRA, retrained for this task. And if the second lesion's ticks have another color: can
# *several* channels with gates of their own solve it?

# %% kind="control"
inputs, lesions, answered = {}, {}, {}
for second in ("same", "other"):
    inputs[second], lesions[second] = marked_batch(300, torch.Generator().manual_seed(1), second)
    torch.manual_seed(0)
    model = train(Pixelwise("CRA"), second)
    with torch.no_grad():
        answered[f"{second} color"] = model(inputs[second])

# The network from above was trained on one lesion with ticks of the first color. Run it twice, once for each color.
blobs, first, other = inputs["other"].unbind(-1)
quiet = 0.1 * torch.randn(blobs.shape, generator=torch.Generator().manual_seed(2))
with torch.no_grad():
    asked = [networks["CRA"](torch.stack([blobs, ticks, quiet], dim=-1)) for ticks in (first, other)]
answered["two gate maps, joined"] = torch.maximum(*asked)

fig, axes = plt.subplots(1, 4, figsize=(9, 2.4))
outline = lesions["same"]  # the same lesions in both
axes[0].imshow(inputs["same"][0].sum(-1), cmap="gray")
axes[0].set_title("blobs and ticks")
for ax, (title, answer) in zip(axes[1:], answered.items(), strict=True):
    ax.imshow(answer[0] > 0, cmap="gray")
    ax.set_title(f"{title}: Dice {dice(answer, outline):.2f}")
for ax in axes:
    ax.contour(outline[0], levels=[0.5], colors="tab:orange", linewidths=1)
    ax.set(xticks=[], yticks=[])
plt.show()
lessons.happened("10.2", {f"Dice, {n}": dice(a, outline) for n, a in answered.items()})

# %% [markdown]
# One color: a Dice score of two thirds, with both lesions and two false positives. The profiles do not distinguish the
# upper row from the lower one, so both get the same gate; no training can change that.
#
# Two colors: the answer *can* be represented, by the maximum of two gate maps (fourth panel). Yet training did not find
# it (third panel). In this task neither a row gate nor a column gate reduces the loss by itself, only both together, so
# there is little gradient toward this solution at initialization. "The network can represent it" and "the network
# learns it" are two different statements.
#
# ## Which maps are a row times a column?
#
# The gate map of one channel is $g^h (g^w)^\top$: a matrix of rank one. How much of a shape can such a product
# represent? The singular value decomposition gives the exact answer for every shape.


# %% exercise="cra.rank_one_share"
def rank_one_share(map_: Tensor) -> Tensor:
    """The share of the squared values of map_ (H, W) that the best product of two profiles captures."""
    power = torch.linalg.svdvals(map_).square()
    return power[0] / power.sum()


# %%
rank_one_share = lessons.use("cra.rank_one_share", rank_one_share)


def ellipse(angle: float, ratio: float = 3.0, side: int = 64) -> Tensor:
    """A filled ellipse, rotated by an angle in degrees."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    turn = torch.deg2rad(torch.tensor(angle))
    along, across = x * turn.cos() + y * turn.sin(), -x * turn.sin() + y * turn.cos()
    return ((along / 0.8) ** 2 + (across * ratio / 0.8) ** 2 < 1).float()


def best_product(map_: Tensor) -> Tensor:
    """The nearest rank-one map."""
    u, s, v = torch.linalg.svd(map_)
    return s[0] * u[:, :1] @ v[:1]


box = F.pad(torch.ones(20, 36), (14, 14, 22, 22))
shapes = {"box": box, "disk": ellipse(0, 1.0), "ellipse": ellipse(0), "turned by 45": ellipse(45)}
shapes["a lesion"] = torch.from_numpy(synthesize(7, 64).mask).float()
grid = torch.linspace(-2, 2, 64)
shapes["Gaussian"] = torch.exp(-(grid[:, None] ** 2) - grid**2)
cross = torch.zeros(64, 64)
cross[26:38], cross[:, 26:38] = 1, 1
shapes["cross"] = cross
fig, axes = plt.subplots(2, 7, figsize=(11, 3.4))
for (name, shape), (top, bottom) in zip(shapes.items(), axes.T, strict=True):
    top.imshow(shape, cmap="gray")
    bottom.imshow(best_product(shape), cmap="gray", vmin=0, vmax=1)
    top.set(title=name, xticks=[], yticks=[])
    bottom.set(title=f"{100 * float(rank_one_share(shape)):.1f}%", xticks=[], yticks=[])
fig.suptitle("what one row profile times one column profile can represent (below)")
plt.show()
for name, shape in shapes.items():
    print(
        f"{name:13} rank {int(torch.linalg.matrix_rank(shape)):2}, best product keeps {100 * float(rank_one_share(shape)):.1f}%"
    )

# %% [markdown]
# A box is represented exactly, and so is a Gaussian whose axes are those of the image, since $e^{-(x^2 + y^2)} =
# e^{-x^2} e^{-y^2}$: "rank one" does not mean "box-shaped". A binary cross does *not* have rank one (it is the union of
# a row and a column, not their product): its best product keeps 72.1% of the energy. A disk keeps 89.9%, this lesion
# 81.1%, a tilted ellipse 57.9%. Each channel has gates of its own, and the layers after them can combine channels, so
# the *network* is not limited to rank one; a single gate map is.

# %% [markdown]
# ### Play
#
# Rotate the ellipse and stretch it. At what angle do the two gates do worst? Which matters more, the ratio or the
# angle?

# %% kind="play"
import ipywidgets


def turn(angle: int = 30, ratio: float = 3.0) -> None:
    """Plot an ellipse and its best product of profiles."""
    shape = ellipse(float(angle), ratio)
    _, axes = plt.subplots(1, 2, figsize=(4.6, 2.3))
    axes[0].imshow(shape, cmap="gray")
    axes[1].imshow(best_product(shape), cmap="gray", vmin=0, vmax=1)
    axes[1].set_title(f"{100 * float(rank_one_share(shape)):.0f}%")
    plt.show()


_ = ipywidgets.interact(turn, angle=(0, 90), ratio=(1.0, 6.0, 0.5))

# %% [markdown] kind="limits" given="1.43 0.59"
# ## What this does not show
#
# - The ticks are designed for CRA. What its gates do in a network trained on lesions is measured in lesson 14.
# - The ticks are as long as the blobs, on purpose. A row's gate is computed from that row's mean and from nothing else:
#   with a tick one pixel long only one row of the lesion gets a large gate, and CRA fails (to try it, change `< 3` to
#   `< 1` for the ticks in `marked_batch`).
# - CRA normalizes with batch statistics while training. With one image per batch they differ a lot from the running
#   statistics, and results differ between training and evaluation mode.
# - The paper calls this "modeling long-range dependencies". A row gate does reach across the whole image, but it
#   depends on the mean of a row only: two rows with the same mean get the same gate.
# - In the paper's Table 4, CRA alone gains 1.43 points of IoU, SE and CRA together only 0.59. One run each; lesson 15.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. The map is H x W with C channels. How many gates does CRA compute?
# - [ ] C, one for each channel :: That is SE.
# - [x] (H + W) C, two profiles :: One for each row and each column, channel by channel.
# - [ ] H W C, one for each value :: That would be a full attention map; CRA multiplies two profiles instead.
#
# 2. What does an untrained CRA do to a skip?
# - [ ] it passes it unchanged :: It would have to multiply by 1; the sigmoid of 0 is 1/2.
# - [ ] it scales all of it by a half :: There are two gates.
# - [x] it scales it by a quarter :: 1/2 for the row times 1/2 for the column.
#
# 3. Why are the profiles concatenated before the narrow layer?
# - [x] rows and columns share one layer :: And one normalization.
# - [ ] rows can then depend on columns :: The layer works on each position by itself.
# - [ ] it needs less memory that way :: Two separate calls would need the same.
#
# 4. Two lesions lie in opposite corners. Which gate map can mark both and nothing else?
# - [ ] one with two rows and two columns :: Then all four intersections are large.
# - [ ] one with one row and one column :: That marks one intersection.
# - [x] none that has a rank of one :: It takes two channels, each marking one intersection, and a layer that adds them.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Coordinate attention](https://arxiv.org/abs/2103.02907): the original, for mobile networks.
# - [CBAM](https://arxiv.org/abs/1807.06521): channel and spatial attention with a full map.
# - [Attention U-Net](https://arxiv.org/abs/1804.03999): skip gates that are computed from the decoder.
# - [Squeeze-and-excitation](https://arxiv.org/abs/1709.01507): lesson 7's paper, for comparison.
