# %% [markdown] kind="claim"
# **Claim.** A U-Net can only use what is inside its receptive field, it uses much less than the theoretical field
# allows, and many of its channels are correlated. We show this by building one, by measuring its effective receptive
# field and the correlation of its channels, and with a task whose answer lies 16 pixels away. The controls: the same
# task with the answer 7 pixels away, a U-Net with one more stage, and images in which everything distant is hidden.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - compute the theoretical receptive field of any stack of convolutions and poolings;
# - write the forward pass of a U-Net, and train one in seconds;
# - measure the field that a network *actually* uses, and explain why it is smaller;
# - measure how correlated channels are, and choose what to compare that with;
# - test the claim "convolutions can't see far" with a task instead of repeating it.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import create_model, lessons
from skinlesion.data.images import normalize
from skinlesion.data.synthetic import synthesize
from skinlesion.explain.layers import feature_maps
from skinlesion.explain.receptive_field import receptive_field
from skinlesion.explain.redundancy import redundancy

lessons.setup()

# %% [markdown]
# ## The answer is somewhere else
#
# Is a dark patch a lesion or a spot of ink? Sometimes the evidence is next to it: the rest of the pen mark, or the edge
# of a ruler. Here is the simplest case. A gray disk is a lesion if a **flag** near it is bright, and skin if the flag
# is dark. In the upper row the flag is 7 pixels from the disk's center, in the lower row 16.

# %%
SIDE, NEAR, FAR = 40, 7, 16


def flag_batch(n: int, distance: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (n, 2, H, W), lesions (n, H, W), whether there is one (n,), and the disks' centers (n, 2)."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randint(18, 22, (n, 2), generator=generator)
    way = torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0]])[torch.randint(4, (n,), generator=generator)]
    bright = torch.rand(n, generator=generator) < 0.5
    grid = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"))  # (2, H, W)
    disk = ((grid - middle[:, :, None, None]).square().sum(1) <= 16).float()  # (n, H, W)
    flag = ((grid - (middle + way * distance)[:, :, None, None]).abs().amax(1) <= 2).float()
    flag = flag * torch.where(bright, 2.0, -2.0)[:, None, None]
    flags = torch.stack([disk, flag], dim=1) + 0.1 * torch.randn(n, 2, SIDE, SIDE, generator=generator)
    return flags, disk * bright[:, None, None], bright, middle


fig, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for row, distance in zip(axes, (NEAR, FAR), strict=True):
    flags, _, bright, _ = flag_batch(6, distance, seed=3)
    for ax, image, is_lesion in zip(row, flags, bright, strict=True):
        ax.imshow(image[0] + image[1], cmap="gray", vmin=-2, vmax=2)
        ax.set(title="lesion" if is_lesion else "skin", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# For a person both rows are equally easy. For a convolution they aren't.
#
# ## The theoretical receptive field
#
# "Models based on CNNs often confront issues in capturing long-range dependencies within images effectively, largely
# because their receptive fields are limited to local regions" (section 1). Let's compute it.


# %% exercise="unet.field"
def field(layers: list[tuple[int, int]]) -> int:
    """Side in pixels of the square that one output can depend on; layers: (kernel, stride), first layer first."""
    side, step = 1, 1
    for kernel, stride in layers:
        side += (kernel - 1) * step
        step *= stride
    return side


# %% [markdown]
# A U-Net goes down and then up again. Each stage has two 3 x 3 convolutions, and on the way down the grid is halved
# between stages. On the way up the stride shrinks again: a 3 x 3 convolution at stride $s$ adds $2 s$ pixels.

# %%
field = lessons.use("unet.field", field)


def unet_field(stages: int) -> int:
    """Theoretical field of a U-Net with this many stages."""
    down = [(3, 1), (3, 1)] + [(2, 2), (3, 1), (3, 1)] * (stages - 1)
    up = sum(4 * 2**level for level in range(stages - 1))  # two convolutions on each of the finer grids
    return field(down) + up


for stages in range(1, 6):
    print(f"{stages} stages: {unet_field(stages):3} x {unet_field(stages)} pixels")

# %% [markdown]
# So the full U-Net with five stages has a field of 200 pixels, most of a 256-pixel image. "Limited to local regions"
# isn't literally true of it. The measurements below show what *is* true.
#
# ## Build it
#
# $$x_0 = E_0(x), \quad x_i = E_i(\mathrm{pool}(x_{i-1})), \qquad y_{n-1} = x_{n-1}, \quad
# y_i = D_i\big([x_i,\ \mathrm{up}(y_{i+1})]\big)$$
#
# Shapes for three stages and 8 channels: (8, H, W), (16, H/2, W/2), (32, H/4, W/4) on the way down, then (16, H/2,
# W/2), (8, H, W) on the way up. The brackets concatenate channels, so each $D_i$ receives twice as many channels as it
# outputs.


# %% exercise="unet.forward"
def forward(x: Tensor, encoder: nn.ModuleList, up: nn.ModuleList, decoder: nn.ModuleList) -> Tensor:
    """A U-Net between first and last layer: (B, C, H, W) -> (B, C', H, W)."""
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(x)
    skips.pop()
    for enlarge, stage in zip(up, decoder, strict=True):
        x = stage(torch.cat([skips.pop(), enlarge(x)], dim=1))
    return x


# %%
forward = lessons.use("unet.forward", forward)


def double(dim: int, out: int) -> nn.Sequential:
    """Convolution, normalization and ReLU, twice."""
    layers: list[nn.Module] = []
    for channels in (dim, out):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Your forward pass around plain layers: (B, channels, H, W) -> logits (B, 1, H, W)."""

    def __init__(self, stages: int, channels: int = 3, dim: int = 8) -> None:
        super().__init__()
        widths = [dim * 2**i for i in range(stages)]
        self.encoder = nn.ModuleList(double(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.upsampling = nn.ModuleList(nn.ConvTranspose2d(w, w // 2, 2, stride=2) for w in widths[:0:-1])
        self.decoder = nn.ModuleList(double(w, w // 2) for w in widths[:0:-1])
        self.head = nn.Conv2d(dim, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(forward(x, self.encoder, self.upsampling, self.decoder))


torch.manual_seed(0)
package = create_model("unet", dim=8, stages=4).eval()
mine = UNet(4).eval()
mine.load_state_dict(package.state_dict())  # the package's weights in your network
x = torch.rand(2, 3, 64, 64)
with torch.no_grad():
    print(f"largest difference from the package's U-Net: {float((mine(x) - package(x)).abs().max()):.1e}")
print(f"{sum(p.numel() for p in mine.parameters()):,} parameters")

# %% [markdown]
# ### Train it
#
# We use 96 synthetic images of 64 x 64 pixels, and 24 others to test on. Training takes half a minute at most.

# %%
TRAIN, TEST, STEPS = (24, 8, 5) if lessons.FAST else (96, 24, 100)
samples = [synthesize(seed, 64) for seed in range(TRAIN + TEST)]
images = torch.stack([torch.from_numpy(normalize(s.image)).permute(2, 0, 1) for s in samples])  # (n, 3, 64, 64)
masks = torch.stack([torch.from_numpy(s.mask.copy()) for s in samples])  # (n, 64, 64)


def iou(logits: Tensor, truth: Tensor) -> float:
    """IoU of all pixels together."""
    found = logits[:, 0] > 0
    return float((found & truth).sum() / (found | truth).sum())


torch.manual_seed(0)
untrained, network = UNet(4).eval(), UNet(4)
optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
for _ in range(STEPS):
    chosen = torch.randint(TRAIN, (8,))
    loss = F.binary_cross_entropy_with_logits(network(images[chosen])[:, 0], masks[chosen].float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
network.eval()
with torch.no_grad():
    answer = network(images[TRAIN:])
print(f"IoU on {TEST} new lesions: {iou(answer, masks[TRAIN:]):.2f}")
fig, axes = plt.subplots(1, 6, figsize=(9, 1.8))
for ax, image, truth, logits in zip(axes, images[TRAIN:], masks[TRAIN:], answer, strict=False):
    ax.imshow(image.permute(1, 2, 0))
    ax.contour(truth, levels=[0.5], colors="white", linewidths=1)
    ax.contour(logits[0], levels=[0], colors="tab:cyan", linewidths=1)
    ax.set(xticks=[], yticks=[])
axes[0].set_title("white: reference, cyan: U-Net")
plt.show()

# %% [markdown]
# That's good for a hundred steps, but it over-segments. Lesson 13 trains longer.
#
# ## The effective receptive field
#
# The theoretical field says which pixels *can* matter. The gradient of one output with respect to the image says which
# pixels *do*. You write the metric.


# %% exercise="unet.side_holding"
def side_holding(gradient: Tensor, fraction: float) -> int:
    """Side of the smallest centered square that has this fraction of the absolute gradient (3, H, W)."""
    share = gradient.abs().sum(0)
    share = share / share.sum()  # (H, W)
    rows = (torch.arange(share.shape[0]) - share.shape[0] // 2).abs()
    columns = (torch.arange(share.shape[1]) - share.shape[1] // 2).abs()
    distance = torch.maximum(rows[:, None], columns)  # (H, W)
    radius = 0
    while share[distance <= radius].sum() < fraction - 1e-6:
        radius += 1
    return 2 * radius + 1


# %% [markdown] kind="predict"
# **Predict.** This U-Net with four stages has a theoretical field of 96 x 96 pixels. How large is the square that
# contains 95% of the gradient in an untrained network? And does training make it larger or smaller?

# %%
side_holding = lessons.use("unet.side_holding", side_holding)

large = torch.stack(
    [torch.from_numpy(normalize(synthesize(seed, 128).image)).permute(2, 0, 1) for seed in range(200, 208)]
)  # (8, 3, 128, 128): larger than the field


def middle_gradient(model: nn.Module, images: Tensor) -> Tensor:
    """Mean absolute gradient of the center logit, (3, H, W)."""
    x = images.clone().requires_grad_()
    logits = model(x)[:, 0, images.shape[2] // 2, images.shape[3] // 2]
    return torch.autograd.grad(logits.sum(), x)[0].abs().mean(0)


sides = {}
fig, axes = plt.subplots(1, 2, figsize=(5.5, 2.6))
for ax, (name, model) in zip(axes, {"untrained": untrained, "trained": network}.items(), strict=True):
    gradient = middle_gradient(model, large)
    half, most = side_holding(gradient, 0.5), side_holding(gradient, 0.95)
    sides[name] = most
    same = receptive_field(model, large).side(0.95)
    print(f"{name:9} half of the gradient in {half} x {half}, 95% in {most} x {most} (the package says {same}), "
          f"of {unet_field(4)} x {unet_field(4)}")  # fmt: skip
    ax.imshow(gradient.sum(0).clamp(min=1e-9).log10(), vmin=float(gradient.sum(0).max().log10()) - 4)
    for side, color in ((half, "white"), (most, "tab:orange"), (unet_field(4), "tab:red")):
        ax.add_patch(plt.Rectangle((64 - side / 2, 64 - side / 2), side, side, fill=False, edgecolor=color))
    ax.set(title=f"{name}: 50%, 95%, theoretical", xticks=[], yticks=[])
fig.suptitle("training widens the effective field; the theoretical one (red) is far larger")
plt.show()
lessons.happened("3.1", {f"side, {name}": side for name, side in sides.items()})

# %% [markdown]
# In the untrained network, 95% of the gradient lies within 9 x 9 of the 96 x 96 pixels. Many paths through the layers
# lead from the center pixel to the output and only one from the corner, so the gradient is bell-shaped. Training widens
# the square to about 60 x 60: the network has learned to use the surroundings. Even so, that is only about two fifths
# of the theoretical area. Read a theoretical field as an upper bound, not as a description.
#
# ## How correlated are the channels?
#
# The paper's other criticism: "due to the over-parameterization of U-Net, there is a large amount of redundancy between
# the deeper feature channels, learning similar features" (section 3.4). Measure it.


# %% exercise="unet.likeness"
def likeness(features: Tensor) -> Tensor:
    """Mean absolute correlation of two different channels of (B, H, W, C)."""
    x = features.flatten(0, 2)  # (B H W, C)
    x = x - x.mean(0)
    x = x / x.norm(dim=0)
    r = x.T @ x  # (C, C)
    channels = r.shape[0]
    return (r.abs().sum() - channels) / (channels * (channels - 1))


# %% [markdown]
# A number by itself says nothing. Compare three: the trained network, the **untrained** one (what the architecture does
# on its own), and a **chance level**, the trained maps with the positions shuffled separately in each channel, so that
# the channels have nothing in common.

# %% kind="control"
likeness = lessons.use("unet.likeness", likeness)


def shuffled(features: Tensor) -> Tensor:
    """The features with the positions of each channel permuted separately."""
    line = features.flatten(0, 2)  # (B H W, C)
    return torch.stack([c[torch.randperm(len(c))] for c in line.T], dim=1).view_as(features)


def living(features: Tensor) -> Tensor:
    """The features without constant channels (dead ReLUs)."""
    return features[..., features.flatten(0, 2).std(0) > 1e-6]


maps, untrained_maps = feature_maps(network, images[TRAIN:]), feature_maps(untrained, images[TRAIN:])
names = [name for name in maps if name.startswith(("encoder", "decoder"))]
table = {
    name: (likeness(living(maps[name])), likeness(living(untrained_maps[name])), likeness(shuffled(living(maps[name]))))
    for name in names
}
print(f"{'':12} trained  untrained  chance   effective rank / channels, trained")
for name, (after, before, chance) in table.items():
    found = redundancy(name, maps[name])
    print(
        f"{name:12} {after:.2f}     {before:.2f}       {chance:.2f}     {found.effective_rank:.1f} / {found.channels}"
    )
fig, ax = plt.subplots(figsize=(6.5, 2.2))
for i, label in enumerate(("trained", "untrained", "chance")):
    ax.bar(
        [k + 0.27 * (i - 1) for k in range(len(names))], [float(row[i]) for row in table.values()], 0.25, label=label
    )
ax.set_xticks(range(len(names)), names, fontsize=7)
ax.set(ylabel="mean |r| of two channels", ylim=(0, 1), title="the last stages are the most correlated")
ax.legend()
plt.show()

# %% [markdown]
# Training makes channels *more* correlated in every stage. The chance level is near 0, so this isn't an artifact of the
# measure. But the correlation isn't highest in the deepest stage, as the quoted sentence suggests; it is highest in the
# last stages. `decoder.2` has 8 channels and an effective rank below 2: at the end, all channels serve a single output,
# lesion or not. The deepest stage, `encoder.3`, has a moderate correlation and yet an effective rank of only about 8
# for 64 channels. So whether channels are "redundant" depends on the measure; say which one you use. (The effective
# rank is the number of uncorrelated channels that would have the same variety.)
#
# ## The experiment: near and far
#
# Back to the flags, with two tasks and two U-Nets: one with **two** stages (a field of 18 pixels, 9 to each side) and
# one with **three** (44 pixels, 22 to each side). A pixel of the disk is at most 4 pixels from its center, so a flag at
# 16 begins at least 10 pixels away from every pixel of the disk.

# %% [markdown] kind="predict"
# **Predict**, for each of the four combinations, what share of the images is classified correctly. What is the chance
# level?

# %% kind="signature"
FLAG_STEPS = 8 if lessons.FAST else 150


def right(model: nn.Module, flags: Tensor, bright: Tensor, middle: Tensor) -> float:
    """Share of the images in which the center of the disk is classified correctly."""
    with torch.no_grad():
        logits = model(flags)[torch.arange(len(flags)), 0, middle[:, 0], middle[:, 1]]
    return float(((logits > 0) == bright).float().mean())


def train_flags(stages: int, distance: int) -> nn.Module:
    torch.manual_seed(0)
    model = UNet(stages, channels=2)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(FLAG_STEPS):
        flags, lesion, _, _ = flag_batch(16, distance, seed=step)
        weight = 1 + 30 * (flags[:, 0] > 0.5)  # the few pixels of the disk count more
        loss = F.binary_cross_entropy_with_logits(model(flags)[:, 0], lesion, weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


trained = {(stages, distance): train_flags(stages, distance) for distance in (NEAR, FAR) for stages in (2, 3)}
tests = {distance: flag_batch(400, distance, seed=10_000) for distance in (NEAR, FAR)}
scores = {}
fig, axes = plt.subplots(1, 5, figsize=(11, 2.5), width_ratios=[1, 1, 1, 1, 1.5])
for ax, ((stages, distance), model) in zip(axes, trained.items(), strict=False):
    flags, _, bright, middle = tests[distance]
    score = scores[stages, distance] = right(model, flags, bright, middle)
    lesion = int(bright.nonzero()[0])
    with torch.no_grad():
        probability = model(flags[lesion : lesion + 1])[0, 0].sigmoid()
    ax.imshow(flags[lesion, 1], cmap="gray", vmin=-2, vmax=2)
    ax.contour(probability, levels=[0.25, 0.5], colors=["tab:cyan", "tab:orange"])
    row, column = middle[lesion].tolist()
    reach = unet_field(stages) // 2
    ax.add_patch(plt.Rectangle((column - reach, row - reach), 2 * reach, 2 * reach, fill=False, edgecolor="tab:red"))
    ax.set(title=f"{stages} stages, flag at {distance}", xticks=[], yticks=[], xlim=(-0.5, 39.5), ylim=(39.5, -0.5))
    axes[4].bar(f"{stages} stages\nat {distance}", 100 * score, color="tab:blue" if stages == 2 else "tab:orange")
    print(f"{stages} stages, flag at {distance}: {100 * score:.1f}% right")
axes[4].axhline(50, color="0.4", linestyle=":")
axes[4].tick_params("x", labelsize=7)
axes[4].set(ylim=(0, 105), title="% right (dotted: chance)")
plt.show()
lessons.happened("3.2", {f"{stages} stages at {distance}": score for (stages, distance), score in scores.items()})

# %% [markdown]
# Red is the receptive field of the disk's center (for three stages, the whole image); the cyan contour is a probability
# of 0.25, the orange one 0.5. With the flag at 7, the two-stage network makes no errors; with the flag at 16 it is at
# chance level (47.7%) and gives every disk the same probability, about one half. The flag is outside its field, and
# training can't change that. With one more stage, the network uses the far flag and makes no errors. So the limit is
# real, and depth moves it.
#
# ### Control: hide what is far
#
# Does the larger network really use the flag? Hide everything that is more than $r$ pixels from the disk's center.


# %% exercise="unet.hide_far"
def hide_far(image: Tensor, at: tuple[int, int], radius: int) -> Tensor:
    """A copy of image (C, H, W) with zeros outside the square of this radius around the position `at`."""
    row, column = at
    rows, columns = slice(max(0, row - radius), row + radius + 1), slice(max(0, column - radius), column + radius + 1)
    kept = torch.zeros_like(image)
    kept[:, rows, columns] = image[:, rows, columns]
    return kept


# %% [markdown] kind="predict"
# **Predict** at which radius each of the four curves rises above chance.

# %% kind="control"
hide_far = lessons.use("unet.hide_far", hide_far)
fig, ax = plt.subplots(figsize=(5.5, 2.5))
radii, SHOWN = range(3, 19), 20 if lessons.FAST else 120
for (stages, distance), model in trained.items():
    flags, _, bright, middle = (part[:SHOWN] for part in tests[distance])
    curve = []
    for radius in radii:
        hidden = torch.stack([hide_far(p, tuple(m), radius) for p, m in zip(flags, middle.tolist(), strict=True)])
        curve.append(right(model, hidden, bright, middle))
    style = ("tab:blue" if stages == 2 else "tab:orange", "-" if distance == NEAR else "--")
    ax.plot(radii, curve, color=style[0], linestyle=style[1], label=f"{stages} stages, flag at {distance}")
    first = next((r for r, value in zip(radii, curve, strict=True) if value > 0.9), None)
    lessons.happened("3.3", f"{stages} stages, flag at {distance}: above 90% right from radius {first}")
ax.set(xlabel="radius that stays visible", ylabel="share right", ylim=(0.3, 1.03))
ax.legend(fontsize=7)
plt.show()

# %% [markdown]
# The near flag begins 5 pixels from the disk's center and the far one 14. That is exactly where the curves rise: at 5
# to 7 and at 14 to 15. So the networks do use the flag and nothing else. The two-stage network that was trained on far
# flags stays at chance whatever is visible: its field contains no information about the answer.
#
# ### Play
#
# Take the larger network, the one trained on far flags, and move the flag. At which distances is it still right?

# %% kind="play"
import ipywidgets


def move(distance: int = 12) -> None:
    """How often the three-stage network, trained on far flags, is right with the flag at another distance."""
    flags, _, bright, middle = flag_batch(200, distance, seed=77)
    print(f"flag at {distance}: {100 * right(trained[3, FAR], flags, bright, middle):.0f}% right")


_ = ipywidgets.interact(move, distance=(6, 17))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The flag task is designed so that the answer lies far away. Whether the border of a real lesion needs distant
#   context is another question. A U-Net does well on ISIC, so much of the information must be nearby.
# - One more stage was enough here. "Convolutions can't see far" is too strong; "they need depth to reach far, and use
#   less than they could" is what we measured.
# - Correlated channels aren't necessarily wasted: channels that agree on most pixels can differ where it matters, at
#   the border.
# - All networks are small, and each was trained once, for seconds. The effective field was measured at one position,
#   the center, and a gradient only describes small changes.
# - Whether state spaces do better isn't shown here. Lesson 5 measures the field of one SS2D layer with the same metric.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Why does pooling enlarge the receptive field of all later layers?
# - [ ] it makes their kernels cover more tokens :: The kernels stay 3 x 3.
# - [x] their taps lie further apart in the image :: Each stride multiplies the distance between neighbors.
# - [ ] it averages noise out of the feature maps :: That has nothing to do with reach.
#
# 2. What do the skip connections add?
# - [x] detail from the finer grids :: Borders need it; pooling loses it.
# - [ ] a larger receptive field :: The field comes from the deep path.
# - [ ] a smaller number of weights :: They take more weights: each decoder stage receives twice the channels.
#
# 3. The theoretical field covers the flag. Does the network use it?
# - [ ] yes, in every trained network :: It can. Whether it does depends on training and on the bell shape.
# - [x] perhaps; hide the flag and see :: Only an intervention tells.
# - [ ] no, a field is only a theory :: The three-stage network does.
#
# 4. A network's channels have a mean correlation of 0.3. Is that redundant?
# - [ ] yes, a third of the channels is not needed :: Compared with what?
# - [ ] no, a correlation of less than one half is harmless :: Compared with what?
# - [x] unknown without an untrained network to compare :: Without a control it is only a number.

# %% [markdown] kind="links"
# ## Further reading
#
# - [U-Net](https://arxiv.org/abs/1505.04597): short, and still hard to beat.
# - [Understanding the effective receptive field](https://arxiv.org/abs/1701.04128): the bell shape, and where it comes
#   from.
# - [SelfReg-UNet](https://arxiv.org/abs/2406.14896): the source of the claim about redundant channels and of the
#   distillation in lesson 12.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the same architecture with scans in place of convolutions.
