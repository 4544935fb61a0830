# %% [markdown] kind="claim"
# **Claim.** Squeeze-and-excitation lets the mean of the whole image decide how much each channel counts, and it cannot
# say *where* anything is. We show it by building it, by a task in which the image's overall tone decides which of two
# channels is right, and by swapping gates between images. The controls: the same network without SE, the network with
# its gates fixed at their mean, and the same image with all its pixels moved to random positions.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write squeeze-and-excitation for channels-last tensors and plug it into the network;
# - say where it sits in the paper's block, and which part of that is stated in the paper and which is our choice;
# - count its parameters;
# - show by one intervention what a gate carries, and by another what it cannot carry;
# - explain why "channel attention" moves information across the whole image.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import create_model, lessons
from skinlesion.data.synthetic import synthesize
from skinlesion.model import SqueezeExcitation

lessons.setup()

# %% [markdown]
# ## The same brown, twice
#
# A pixel of a certain brown is lesion on pale skin, and healthy skin on brown skin. The pixel's color alone does not
# tell which. Look at one color in two synthetic images:

# %%
toned = {tone: synthesize(12, 96, skin_tone=tone, hair="none").image for tone in (1, 6)}
brown = torch.tensor([156.0, 110.0, 117.0])
fig, axes = plt.subplots(1, 4, figsize=(9, 2.2))
for i, (tone, image) in enumerate(toned.items()):
    alike = (torch.from_numpy(image).float() - brown).norm(dim=-1) < 32
    axes[2 * i].imshow(image)
    axes[2 * i].set_title(f"skin tone {tone}")
    axes[2 * i + 1].imshow(alike, cmap="gray")
    axes[2 * i + 1].set_title("pixels of nearly the same brown")
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The overall color of the image settles it. Squeeze-and-excitation starts from there: the squeeze is the mean of each
# channel over all pixels,
#
# $$z_c = \frac{1}{H W} \sum_{i,j} x_c(i, j) .$$
#
# (The paper gives SE no equation of its own. The same mean is printed as its equation 1, in the section on cross-region
# attention; lesson 10 comes back to that.)


# %% exercise="se.squeeze"
def squeeze(x: Tensor) -> Tensor:
    """The mean of each channel: (B, H, W, C) -> (B, C)."""
    return x.mean(dim=(1, 2))


# %% [markdown]
# The excitation turns the means into gates: two small matrices with a narrow hidden layer between them, a ReLU inside,
# a sigmoid at the end,
#
# $$s = \sigma\big(W_2\, \mathrm{ReLU}(W_1 z)\big), \qquad y_c(i, j) = s_c\, x_c(i, j) .$$
#
# The paper gives no reduction ratio. The networks it builds on use 8, and so do we (A5).


# %% exercise="se.gate"
def gate(mean: Tensor, fc1: Tensor, fc2: Tensor) -> Tensor:
    """Gates (B, C) in (0, 1) of means (B, C), with fc1 (C / r, C) and fc2 (C, C / r)."""
    hidden = torch.relu(mean @ fc1.T)  # (B, C / r)
    return torch.sigmoid(hidden @ fc2.T)  # (B, C)


# %% exercise="se.forward"
def squeeze_excitation(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled x (B, H, W, C) and the gate (B, C)."""
    mean = x.mean(dim=(1, 2))  # (B, C)
    s = torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)  # (B, C)
    return x * s[:, None, None, :], s


# %% exercise="se.gate_at_start"
fresh_gate = 0.5


# %% exercise="se.parameters"
def parameters(dim: int, ratio: int) -> int:
    """Number of learned parameters of SE for dim channels and this ratio; no bias."""
    return 2 * dim * max(1, dim // ratio)


# %% [markdown]
# ### In the network
#
# "According to the relevant literature, this paper integrates a Squeeze-Excitation (SE) after a 2D scanning block"
# (section 3.2). We read this as: after the scan is merged and normalized, before the multiplication with
# $\mathrm{SiLU}(z)$, on the inner width $2C$ (A4). MSVMamba, whose block is the closest match, does it this way; the
# paper doesn't cite it, and its figure does not settle the question.
#
# $$x \to \text{scan} \to \text{LN} \to \textbf{SE} \to \text{times } \mathrm{SiLU}(z) \to \text{Linear}$$
#
# Plug yours in, and count.

# %%
squeeze_excitation = lessons.use("se.forward", squeeze_excitation)
parameters = lessons.use("se.parameters", parameters)

torch.manual_seed(0)
network = create_model("tiny").eval()
mine = lessons.plug(network, "se", squeeze_excitation)
image = torch.from_numpy(toned[1]).permute(2, 0, 1)[None] / 255  # (1, 3, 96, 96)
with torch.no_grad():
    print(f"largest difference of the logits: {float((network(image) - mine(image)).abs().max()):.0e}")

widths = [96, 96, 192, 192, 384, 384, 768, 768, 768, 768, 384, 384, 192, 192, 96]  # of the 15 blocks at C = 96
print(f"SE in the paper's network: {sum(parameters(2 * width, 8) for width in widths):,} of 43,266,829 parameters")

# %% [markdown]
# ## What a gate carries: an experiment
#
# **The tone task.** Images of 16 x 16 pixels and three channels. Channels 0 and 1 each show a disk. Channel 2 is noise
# around the image's *tone*. If the tone is positive, the disk of channel 0 is the lesion; otherwise that of channel 1.
# A single pixel says little about the tone (0.5, say, under noise with a standard deviation of 2). The mean of 256
# pixels shows it clearly.

# %%
SIDE, STEPS = 16, 30 if lessons.FAST else 400


def disks(n: int, generator: torch.Generator) -> Tensor:
    """Random disks (n, SIDE, SIDE) of 0 and 1."""
    place = torch.rand(n, 2, 1, 1, generator=generator) * 8 + 4
    radius = torch.rand(n, 1, 1, generator=generator) * 2 + 3
    grid = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"))  # (2, H, W)
    return ((grid - place).square().sum(1).sqrt() < radius).float()


def tone_batch(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (n, H, W, 3), lesions (n, H, W), tones (n,), the other disks (n, H, W)."""
    first, second = disks(n, generator), disks(n, generator)
    tone = torch.rand(n, generator=generator) * 2 - 1
    noise = torch.randn(n, SIDE, SIDE, 3, generator=generator) * torch.tensor([0.2, 0.2, 2.0])
    images = torch.stack([first, second, tone[:, None, None].expand_as(first)], dim=-1) + noise
    right = tone[:, None, None] > 0
    return images, torch.where(right, first, second), tone, torch.where(right, second, first)


class Pixelwise(nn.Module):
    """A pixelwise network, with or without SE: (B, H, W, 3) -> logits (B, H, W)."""

    def __init__(self, se: bool, dim: int = 16) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(3, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.se = SqueezeExcitation(dim=dim, ratio=2) if se else None
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 1))

    def forward(self, images: Tensor, gate: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits, and the gate (B, C); a gate that is given replaces the network's own."""
        x = self.embed(images)
        if self.se is not None:
            y, own = squeeze_excitation(x, self.se.fc1.weight, self.se.fc2.weight)
            x, gate = (y, own) if gate is None else (x * gate[:, None, None], gate)
        return self.head(x)[..., 0], gate


def dice(logits: Tensor, lesion: Tensor) -> float:
    """Dice of all pixels together."""
    found = (logits > 0).float()
    return float(2 * (found * lesion).sum() / (found.sum() + lesion.sum()))


def train(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(STEPS):
        images, lesion, *_ = tone_batch(32, generator)
        loss = F.binary_cross_entropy_with_logits(model(images)[0], lesion)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


# %% [markdown] kind="predict"
# **Predict.** Without SE each pixel has only its own three numbers. What will that network output on the two disks, and
# roughly what Dice score will it get: 0, 0.5, 0.7 or 0.9? And with SE: how will a channel's gate depend on the tone?

# %% kind="signature"
torch.manual_seed(0)
without, with_se = train(Pixelwise(se=False)), train(Pixelwise(se=True))
images, lesion, tone, other_disk = tone_batch(400, torch.Generator().manual_seed(1))
with torch.no_grad():
    plain, (gated, gates) = without(images)[0], with_se(images)
scores = {"without SE": dice(plain, lesion), "with SE": dice(gated, lesion)}

fig, axes = plt.subplots(1, 5, figsize=(11, 2.3), width_ratios=[1, 1, 1, 1, 1.6])
shown = (images[0, ..., 0], images[0, ..., 1], plain[0] > 0, gated[0] > 0)
titles = ("channel 0", "channel 1", *(f"{name}: Dice {score:.2f}" for name, score in scores.items()))
for ax, map_, title in zip(axes[:4], shown, titles, strict=True):
    ax.imshow(map_, cmap="gray")
    ax.contour(lesion[0], levels=[0.5], colors="tab:orange", linewidths=1)
    ax.set(title=title, xticks=[], yticks=[])
slope = ((gates - gates.mean(0)) * tone[:, None]).mean(0)  # how each gate changes with the tone
movers = [int(slope.argmax()), int(slope.argmin()), int(slope.abs().argmin())]
for channel in movers:
    axes[4].plot(tone, gates[:, channel], ".", markersize=3, label=f"channel {channel}")
axes[4].set(xlabel="the image's tone", ylabel="gate", title="three gates, 400 images", ylim=(-0.05, 1.05))
axes[4].legend(fontsize=7)
fig.suptitle("with SE the tone of the whole image selects the disk")
plt.show()


def marked(logits: Tensor) -> str:
    """The share of each disk that is marked, without the pixels that are in both."""
    found = logits > 0
    alone = (lesion > 0) & (other_disk == 0), (other_disk > 0) & (lesion == 0)
    right, wrong = (float(found[part].float().mean()) for part in alone)
    return f"{100 * right:.0f}% of the right disk, {100 * wrong:.0f}% of the wrong one"


either = ((lesion + other_disk) > 0).float() - 0.5
print(f"marking both disks completely: Dice {dice(either, lesion):.2f}")
for name, logits in zip(scores, (plain, gated), strict=True):
    lessons.happened("7.1", f"{name}: Dice {scores[name]:.2f}, marks {marked(logits)}")

# %% [markdown]
# Without SE the network does not ignore the tone: it marks 45% of the pixels that belong only to the correct disk and
# 30% of those that belong only to the wrong one. A single noisy pixel does carry a little information about the tone,
# and this is how far it gets you. Marking both disks completely would score higher (0.77 against 0.72), but BCE rewards
# probabilities, not overlap (lesson 2). With SE it marks 90% of the correct disk and 6% of the wrong one. No weight
# in this network connects two pixels except through the gate: 16 numbers for the whole image are enough.
#
# In the plot on the right, where several gates stay at one half, the ReLU outputs 0, and $\sigma(0) = 1/2$ since there
# is no bias. One half is the neutral value of this SE.
#
# This also explains lesson 5, where SE with one scan direction solved the echo task: the flag moved the mean.

# %% [markdown]
# ### Control 1: swap the gates
#
# Is it really the gate that carries the tone? Give each image the gate of another one whose tone has the opposite sign.
# If the gate is the switch, the network must now find the *wrong* disk. And give every image the mean gate: then the
# tone is gone, and the output must fall back to that of a network without SE.

# %% kind="control"
order = tone.argsort()
other = torch.empty_like(order)
other[order] = order.flip(0)  # pairs the darkest with the palest
with torch.no_grad():
    swapped, _ = with_se(images, gates[other])
    constant, _ = with_se(images, gates.mean(0, keepdim=True).expand_as(gates))
for name, answer in (("own gates", gated), ("swapped gates", swapped), ("mean gates", constant)):
    right, wrong = dice(answer, lesion), dice(answer, other_disk)
    print(f"{name:14} Dice with the lesion {right:.2f}, with the other disk {wrong:.2f}")

# %% [markdown]
# With swapped gates the network finds the wrong disk as reliably as it found the correct one. With the mean gate, the
# only information left about the tone is what single pixels carry. So it is the gate that carries the tone. (This kind
# of experiment, an intervention, is the subject of lesson 16.)
#
# ### Control 2: what it cannot carry
#
# Move every pixel of an image to a random position. Write that control yourself.


# %% exercise="se.shuffle_pixels"
def shuffle_pixels(x: Tensor, generator: torch.Generator) -> Tensor:
    """Whole pixels at random positions, the same order for all channels: (B, H, W, C) -> (B, H, W, C)."""
    line = x.flatten(1, 2)  # (B, H W, C)
    order = torch.randperm(line.shape[1], generator=generator)
    return line[:, order].unflatten(1, x.shape[1:3])


# %% [markdown] kind="predict"
# **Predict** the largest change of any gate when all pixels are moved.

# %% kind="control"
shuffle_pixels = lessons.use("se.shuffle_pixels", shuffle_pixels)
with torch.no_grad():
    _, moved = with_se(shuffle_pixels(images, torch.Generator().manual_seed(0)))
lessons.happened("7.2", f"{float((moved - gates).abs().max()):.0e}")

# %% [markdown]
# The gates change by no more than rounding error. SE depends on *how much* of something there is and not on *where*: a
# mean does not depend on positions. Cross-region attention (lesson 10) adds that dependence.

# %% [markdown]
# ### Play
#
# Set one gate by hand and watch the output. Which channels matter? Which ones could be removed?

# %% kind="play"
import ipywidgets


def turn(number: int = 0, channel: int = movers[0], value: float = 0.5) -> None:
    """Plot the output with one gate set by hand."""
    changed = gates[number : number + 1].clone()
    changed[0, channel] = value
    with torch.no_grad():
        answer, _ = with_se(images[number : number + 1], changed)
    _, ax = plt.subplots(figsize=(2.4, 2.4))
    ax.imshow(answer[0].sigmoid(), cmap="gray", vmin=0, vmax=1)
    ax.contour(lesion[number], levels=[0.5], colors="tab:orange")
    ax.set(title=f"own gate {gates[number, channel]:.2f}, set to {value:.2f}", xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(turn, number=(0, 20), channel=(0, 15), value=(0.0, 1.0, 0.05))

# %% [markdown] kind="limits" given="0.90"
# ## What this does not show
#
# - The tone task is designed so that the answer lies in a mean. Whether skin tone works like that in a network trained
#   on lesions is a question for lesson 16.
# - A small gate does not prove that its channel is useless: the weights after it can compensate.
# - The paper reports +0.90 points of IoU for SE alone (Table 4, one run each). Two runs of the same network differ by
#   about as much; lesson 15 comes back to it.
# - In the paper's network SE follows a LayerNorm, which sets each *token's* mean over channels to zero. SE averages
#   over pixels, so its means are not zero.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. What does the squeeze keep of an image?
# - [x] the mean of each channel :: One number per channel, whatever the size of the image.
# - [ ] the maximum of each channel :: That is a variant, but not this one.
# - [ ] the mean over all channels :: Then all channels would get the same gate.
#
# 2. Why a sigmoid and not a softmax?
# - [ ] it is much faster to compute :: Both cost next to nothing.
# - [x] several gates may be near one :: With softmax the gates of all channels would sum to 1.
# - [ ] a softmax has no gradient here :: It has one.
#
# 3. An image is mirrored left to right. How does SE's gate change?
# - [ ] it is mirrored in the same way :: It has no positions that could be mirrored.
# - [x] it does not change in any way :: The means are the same. Rearranging the pixels never changes them.
# - [ ] it depends on SE's two matrices :: They receive the means only.
#
# 4. Without SE, why does the network mark some of both disks?
# - [x] a pixel says little about the tone :: So its probability of being lesion is near 1/2 on either disk.
# - [ ] it needs a much longer training run :: The information is not in the pixel. Train it longer and see.
# - [ ] the two disks overlap too much :: They share only a few pixels.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Squeeze-and-excitation networks](https://arxiv.org/abs/1709.01507): the original, with a comparison of ratios and
#   positions.
# - [MSVMamba](https://arxiv.org/abs/2405.14174): SE and a convolutional feed-forward network in a VMamba block, the
#   closest published match to the paper's block.
# - [EfficientVMamba](https://arxiv.org/abs/2403.09977) and [LocalMamba](https://arxiv.org/abs/2403.09338): the papers
#   that our paper cites for SE.
# - [ECA-Net](https://arxiv.org/abs/1910.03151): channel attention without the two matrices.
