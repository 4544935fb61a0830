# %% [markdown] kind="claim"
# **Claim.** The channel-mixing network (CMN) does what neither of its halves can: it combines channels *and*
# neighboring pixels. We show this by building it, by measuring which channels and pixels each output depends on, and
# with a task whose answer needs the left neighbor in one channel and the upper neighbor in another. The controls: CMN
# without its convolution, a convolution without channel mixing, and neighbors three pixels away, outside CMN's
# receptive field.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write a depthwise convolution with nothing but shifts and products;
# - write CMN, count its parameters, and plug it into the network;
# - measure which input channels and which pixels an output depends on;
# - say what each part contributes: the expansion, the convolution, the inner residual and the two linear layers;
# - point to the sentences of the paper that leave these choices open.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import create_model, lessons
from skinlesion.data.synthetic import synthesize
from skinlesion.model import SS2D, ChannelMixing, ModelConfig

lessons.setup()

# %% [markdown]
# ## A question for two channels
#
# Suppose one channel of a map means "dark here" and another "an edge here". Then one kind of lesion border is where the
# pixel to the *left* is dark and the pixel *above* is an edge. Neither a single channel nor a single pixel contains
# that.
#
# The paper calls this "a departure from the traditional focus on token mixing" (section 3.2): SS2D mixes **tokens**, so
# something should mix **channels**. It names a depthwise ("deep") convolution and two fully connected layers that work
# "by extending and recovering the channels", and says that the convolution "operates on the channel after extension".
# It leaves the rest open: the ratio (A7), the order (A9), and where the residuals go (A6, A8). We follow MSVMamba,
# whose block is the closest match.
#
# We start with the convolution. *Depthwise* means that each channel is convolved separately.


# %% exercise="cmn.depthwise"
def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel of x (B, H, W, C) with its own kernel weight (C, 3, 3), plus bias (C,), zero-padded."""
    height, width = x.shape[1:3]
    around = F.pad(x, (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, C)
    y = bias.expand_as(x)
    for p in range(3):
        for q in range(3):
            y = y + weight[:, p, q] * around[:, p : p + height, q : q + width]
    return y


# %% exercise="cmn.dense_factor"
times = 192

# %% [markdown]
# Now the whole module, written with its shapes:
#
# $$(B,H,W,C) \xrightarrow{\ W_1\ } (B,H,W,rC) \xrightarrow{\ t + \mathrm{DWConv}(t)\ } (B,H,W,rC) \xrightarrow{\ \mathrm{GELU}\ } \cdot \xrightarrow{\ W_2\ } (B,H,W,C)$$


# %% exercise="cmn.channel_mixing"
def channel_mixing(x: Tensor, fc1: nn.Linear, dwconv: nn.Conv2d, fc2: nn.Linear) -> Tensor:
    """W_2 GELU(t + DWConv(t)) with t = W_1 x, for x (B, H, W, C)."""
    t = fc1(x)  # (B, H, W, r C)
    local = dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, r C, H, W) and back
    return fc2(F.gelu(t + local))  # (B, H, W, C)


# %% exercise="cmn.parameters"
def parameters(dim: int, ratio: int) -> int:
    """What CMN adds to a block of dim channels: LayerNorm, fc1, 3 x 3 depthwise convolution, fc2."""
    wide = ratio * dim
    norm = 2 * dim
    widen = dim * wide + wide
    convolution = 9 * wide + wide
    narrow = wide * dim + dim
    return norm + widen + convolution + narrow


# %%
channel_mixing, parameters = (
    lessons.use("cmn.channel_mixing", channel_mixing),
    lessons.use("cmn.parameters", parameters),
)

torch.manual_seed(0)
network = create_model("tiny").eval()
mine = lessons.plug(network, "cmn", channel_mixing)
image = torch.from_numpy(synthesize(3, 64).image).permute(2, 0, 1)[None] / 255  # (1, 3, 64, 64)
with torch.no_grad():
    print(f"largest difference of the logits: {float((network(image) - mine(image)).abs().max()):.0e}")

blocks = [96, 96, 192, 192, 384, 384, 768, 768, 768, 768, 384, 384, 192, 192, 96]  # C of the paper's 15 blocks
for ratio in (2, 4):
    print(f"ratio {ratio}: CMN has {sum(parameters(dim, ratio) for dim in blocks):,} parameters in the paper's network")

# %% [markdown] given="12.6 43.3 25.3 55.9"
# With a ratio of 2, CMN has 12.6 of the network's 43.3 million parameters; with a ratio of 4 it would have 25.3 of 55.9
# million. The paper gives neither number. Keep that in mind when you compare "with and without CMN": the two networks
# differ in size.
#
# ## What depends on what?
#
# A derivative says how much an output changes when an input changes. Write the metric: at the center pixel, how
# strongly does each output channel depend on each input channel?


# %% exercise="cmn.influence"
def influence(function, x: Tensor) -> Tensor:
    """(C, C): how strongly output channel c of the center pixel depends on input channel k, summed over pixels.

    function: (1, H, W, C) -> (1, H, W, C). x: (1, H, W, C).
    """
    x = x.detach().requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[2] // 2]  # (C,)
    rows = [torch.autograd.grad(output, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for output in middle]
    return torch.stack(rows)  # (C, C)


# %% [markdown] kind="predict"
# **Predict** two maps for each of three modules: a linear layer, a depthwise 3 x 3 convolution, and CMN. The first is
# the matrix of output channels against input channels, the second shows which pixels the center pixel depends on. Where
# are the zeros?

# %% kind="signature"
influence = lessons.use("cmn.influence", influence)


def reach(function, x: Tensor) -> Tensor:
    """(H, W): how strongly the center pixel depends on each pixel, summed over channels."""
    x = x.detach().requires_grad_()
    function(x)[0, x.shape[1] // 2, x.shape[2] // 2].sum().backward()
    return x.grad[0].abs().sum(-1)


torch.manual_seed(0)
DIM = 8
x = torch.randn(1, 7, 7, DIM)
linear, convolution, cmn = nn.Linear(DIM, DIM), nn.Conv2d(DIM, DIM, 3, padding=1, groups=DIM), ChannelMixing(dim=DIM)
modules = {
    "linear layer": linear,
    "depthwise convolution": lambda x: convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1),
    "CMN": lambda x: channel_mixing(x, cmn.fc1, cmn.dwconv, cmn.fc2),
    "SS2D (without SE)": SS2D(dim=DIM, config=ModelConfig(d_state=4, se=False)),
}
fig, axes = plt.subplots(2, 4, figsize=(8.5, 4.4))
for (top, bottom), (name, module) in zip(axes.T, modules.items(), strict=True):
    for ax, map_ in ((top, influence(module, x)), (bottom, reach(module, x))):
        map_ = map_.detach()
        ax.imshow(torch.where(map_ > 0, (map_ / map_.max()).log10(), float("nan")), vmin=-3, vmax=0)
        ax.set(xticks=[], yticks=[], facecolor="white")
    top.set_title(name)
axes[0, 0].set_ylabel("output channel\nvs. input channel")
axes[1, 0].set_ylabel("pixels that the\ncenter depends on")
fig.suptitle("only CMN and SS2D combine both channels and pixels")
plt.show()
lessons.happened(
    "8.1", "zeros: linear layer, all pixels but one; depthwise, between different channels; CMN, pixels beyond 3 x 3"
)

# %% [markdown]
# White is exactly zero; the darkest color is a thousandth of the largest value or less. A linear layer mixes channels
# and depends on one pixel; a depthwise convolution depends on nine pixels and keeps the channels separate; CMN mixes
# channels and depends on nine pixels. SS2D reaches all pixels (weakly, with random weights), and it mixes channels too:
# in its two projections, and because $\Delta$, $B$ and $C$ of a token are computed from all its channels. So "SS2D
# mixes tokens, CMN mixes channels" is a simplification. What CMN adds is a *nonlinear* mixing of channels in a small
# neighborhood, with a hidden width of its own.
#
# ## A task that needs both
#
# The input has two channels of random signs, +1 or -1. The label of a pixel says whether its **left** neighbor in
# channel 0 has the same sign as its **upper** neighbor in channel 1.

# %%
STEPS = 40 if lessons.FAST else 600


def sign_batch(n: int, generator: torch.Generator, far: int = 1) -> tuple[Tensor, Tensor]:
    """Maps of signs (n, 12, 12, 2) and labels (n, 12, 12); `far`: the distance of the two neighbors in pixels."""
    x = torch.randint(2, (n, 12, 12, 2), generator=generator) * 2.0 - 1
    return x, (x[..., 0].roll(far, dims=2) == x[..., 1].roll(far, dims=1)).float()


class Mixer(nn.Module):
    """One of the mixing layers on two channels, then a sum: (B, H, W, 2) -> logits (B, H, W)."""

    def __init__(self, kind: str, ratio: int = 8) -> None:
        super().__init__()
        self.kind, self.cmn = kind, ChannelMixing(dim=2, ratio=ratio)
        wide = 2 * ratio
        self.apart = nn.Sequential(  # the same sizes, but the two channels are combined only by the sum
            nn.Conv2d(2, wide, 3, padding=1, groups=2), nn.GELU(), nn.Conv2d(wide, 2, 1, groups=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "convolution without mixing":
            return self.apart(x.permute(0, 3, 1, 2)).sum(1)
        if self.kind == "mixing without convolution":
            return self.cmn.fc2(F.gelu(self.cmn.fc1(x))).sum(-1)
        return channel_mixing(x, self.cmn.fc1, self.cmn.dwconv, self.cmn.fc2).sum(-1)


def accuracy(model: nn.Module, far: int = 1) -> float:
    """Share of correct answers after training, without the pixels at the edge."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=STEPS)
    for _ in range(STEPS):
        x, label = sign_batch(16, generator, far)
        loss = F.binary_cross_entropy_with_logits(model(x)[:, 3:, 3:], label[:, 3:, 3:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x, label = sign_batch(100, generator, far)
    with torch.no_grad():
        return float(((model(x) > 0) == (label > 0.5))[:, 3:, 3:].float().mean())


# %% [markdown] kind="predict"
# **Predict** the accuracy of CMN, of CMN without its convolution, and of a convolution that keeps its channels
# separate. And that of CMN when the two neighbors are three pixels away.

# %% kind="control"
rows = [(kind, 1) for kind in ("mixing without convolution", "convolution without mixing", "CMN")] + [("CMN", 3)]
for kind, far in rows:
    torch.manual_seed(0)
    percent = f"{100 * accuracy(Mixer(kind), far):.0f}%"
    lessons.happened("8.2", f"{kind}, neighbors {far} pixel{'s' * (far > 1)} away: {percent}")

# %% [markdown]
# Either half alone is at chance level. So is CMN with neighbors three pixels away, outside its 3 x 3 kernel: the
# negative control. (That is what SS2D is for.)
#
# ### What the expansion does
#
# The same task with different expansion ratios, three seeds each:

# %%
ratios, scores = (1, 2, 4, 8), []
for ratio in ratios:
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        found.append(100 * accuracy(Mixer("CMN", ratio)))
    scores.append(found)
fig, ax = plt.subplots(figsize=(3.4, 2.2))
ax.plot(ratios, scores, "o", color="tab:blue")
ax.set(xscale="log", xticks=ratios, xticklabels=ratios, xlabel="ratio", ylabel="accuracy (%)", ylim=(45, 102))
ax.set_title("a larger ratio succeeds more reliably")
ax.minorticks_off()
plt.show()

# %% [markdown]
# Each hidden channel can represent one feature ("is the left neighbor +1?"). With only a few hidden channels there may
# not be enough features for the task, and which seed succeeds is a matter of luck. The paper's blocks have 96 channels
# or more, so its ratio is less critical than here.

# %% [markdown]
# ### Play
#
# Choose another activation or leave out the inner residual, and train again. Which of the choices A8 and A9 matter for
# this task?

# %% kind="play"
import ipywidgets


def retrain(activation: str = "gelu", residual: bool = True, ratio: int = 8) -> None:
    """Train a CMN with these choices."""
    act = {"gelu": F.gelu, "relu": F.relu, "none": lambda t: t}[activation]

    class Other(Mixer):
        def forward(self, x: Tensor) -> Tensor:
            t = self.cmn.fc1(x)
            local = self.cmn.dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return self.cmn.fc2(act(t + local if residual else local)).sum(-1)

    torch.manual_seed(0)
    print(f"{100 * accuracy(Other('CMN', ratio)):.0f}%")


_ = ipywidgets.interact_manual(retrain, activation=["gelu", "relu", "none"], ratio=(1, 8))

# %% [markdown] kind="limits" given="0.44 1.77"
# ## What this does not show
#
# - The sign task is designed to need both halves. How much CMN helps on lesions has to be measured: the paper's Table 4
#   gives +0.44 points of IoU for CMN alone (its text says +1.77, which is the row with SE *and* CMN).
# - CMN adds 12.6 million parameters. Part of its gain may come from the size alone; this lesson doesn't separate the
#   two.
# - The influence matrix was computed at one input, with random weights. In a trained network any entry can be nearly
#   zero.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. How many weights does a 3 x 3 depthwise convolution on C channels have, without bias?
# - [x] 9 C :: One kernel per channel.
# - [ ] 9 C C :: That is an ordinary convolution from C to C channels.
# - [ ] 9 :: One kernel for all channels; none of the networks here does that.
#
# 2. CMN's convolution is removed. What is left?
# - [ ] nothing that mixes channels :: The two linear layers do.
# - [x] an MLP applied to each pixel :: It combines channels, but not pixels.
# - [ ] the identity, by the residual :: The linear layers and GELU are still there.
#
# 3. What does t + DWConv(t) make easy, compared with DWConv(t) alone?
# - [ ] to depend on pixels that are further away :: The kernel alone determines the reach.
# - [x] to start near a plain pixelwise MLP :: If the convolution's weights are near zero, t still gets through.
# - [ ] to save the convolution's weights :: The residual neither adds nor saves weights.
#
# 4. Which module of the block can carry information from one corner of the image to the other?
# - [ ] CMN :: It reaches one pixel per layer.
# - [x] SS2D :: Its four scans pass through all pixels.
# - [ ] LayerNorm :: It works on each token separately.

# %% [markdown] kind="links"
# ## Further reading
#
# - [MSVMamba](https://arxiv.org/abs/2405.14174): the block with SE and this feed-forward network that we follow.
# - [MobileNetV2](https://arxiv.org/abs/1801.04381): expand, depthwise, project, in a convolutional network.
# - [PVTv2](https://arxiv.org/abs/2106.13797): a depthwise convolution in a transformer's feed-forward network.
# - [MLP-Mixer](https://arxiv.org/abs/2105.01601): where the terms token mixing and channel mixing come from.
