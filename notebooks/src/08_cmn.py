# %% [markdown] kind="claim"
# **Claim.** The channel-mixing network (CMN) does what neither of its halves can: it combines channels *and*
# neighboring pixels. We show it by building it, by measuring which channels and which pixels each output depends on,
# and by a task whose answer needs one channel's left neighbor and another channel's upper neighbor. The controls are
# CMN without its convolution, a convolution without mixing, and a label three pixels away, which is outside CMN's
# reach.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write a depthwise convolution with nothing but shifts and products;
# - write CMN, count its parameters, and plug it into the network;
# - measure which input channels and which pixels an output depends on;
# - say what the expansion, the convolution, the inner residual and the two linear layers are each good for;
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
# Let one channel of a map mean "dark here" and another "an edge here". The border of a lesion is where it is dark on
# the *left* and there is an edge *above*. No single channel contains that, and no single pixel does.
#
# "A departure from the traditional focus on token mixing" is how the paper puts it (section 3.2): SS2D mixes
# **tokens**, and something should mix **channels**. It names a depthwise ("deep") convolution and two fully connected
# layers that "extend and recover" the channels, and says that the convolution "operates on the channel after
# extension". Everything else is a choice: the ratio (A7), the order (A9), what is added to what (A6, A8). We follow
# MSVMamba, whose block this is.
#
# We begin with the convolution. *Depthwise* means that each channel is convolved by itself.


# %% exercise="cmn.depthwise"
def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel of x (B, H, W, C) with its own kernel weight (C, 3, 3), plus bias (C,), zeros around."""
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
# Now the whole of it. Written as a map of shapes:
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
# With a ratio of 2, CMN has 12.6 of the network's 43.3 million parameters; with 4 it would have 25.3 of 55.9. The paper
# gives neither number. Keep that in mind when you compare "with and without CMN": the sizes differ.
#
# ## What depends on what?
#
# A derivative says how much an output changes if an input changes. Write the metric: for the middle pixel, how strongly
# does each output channel depend on each input channel?


# %% exercise="cmn.influence"
def influence(function, x: Tensor) -> Tensor:
    """(C, C): how strongly output channel c of the middle pixel depends on input channel k, all pixels added.

    function: (1, H, W, C) -> (1, H, W, C). x: (1, H, W, C).
    """
    x = x.detach().requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[2] // 2]  # (C,)
    rows = [torch.autograd.grad(output, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for output in middle]
    return torch.stack(rows)  # (C, C)


# %% [markdown] kind="predict"
# **Predict** two maps for each of a linear layer, a depthwise 3 x 3 convolution, and CMN. First: a matrix of output
# channels against input channels. Second: the pixels that the middle one depends on. Where are the zeros?

# %% kind="signature"
influence = lessons.use("cmn.influence", influence)


def reach(function, x: Tensor) -> Tensor:
    """(H, W): how strongly the middle pixel depends on each pixel, all channels added."""
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
axes[0, 0].set_ylabel("output channel\nagainst input channel")
axes[1, 0].set_ylabel("pixels that the\nmiddle depends on")
fig.suptitle("CMN combines channels and neighboring pixels")
plt.show()
lessons.happened("8.1", "zero: linear, all pixels but one; depthwise, all pairs of channels; CMN, pixels beyond 3 x 3")

# %% [markdown]
# White is exactly zero; the darkest color is a thousandth of the largest value, or less. A linear layer mixes channels
# and depends on one pixel; a depthwise convolution depends on nine pixels and keeps the channels apart; CMN does both.
# SS2D reaches all pixels (weakly, with random weights), and it mixes channels too: in its two projections, and since
# $\Delta$, $B$ and $C$ of a token are computed from all its channels. So "SS2D mixes tokens, CMN mixes channels" is a
# simplification. What CMN adds is a *nonlinear* mixing of channels in a small neighborhood, with a width of its own.
#
# ## A task that needs both
#
# Two channels of random signs, +1 or -1. The label of a pixel: does the **left** neighbor in channel 0 have the same
# sign as the **upper** neighbor in channel 1?

# %%
STEPS = 40 if lessons.FAST else 600


def sign_batch(n: int, generator: torch.Generator, far: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures (n, 12, 12, 2) of signs and labels (n, 12, 12); `far`: how far away the two neighbors are."""
    x = torch.randint(2, (n, 12, 12, 2), generator=generator) * 2.0 - 1
    return x, (x[..., 0].roll(far, dims=2) == x[..., 1].roll(far, dims=1)).float()


class Mixer(nn.Module):
    """One of the mixing layers on two channels, and a sum: (B, H, W, 2) -> logits (B, H, W)."""

    def __init__(self, kind: str, ratio: int = 8) -> None:
        super().__init__()
        self.kind, self.cmn = kind, ChannelMixing(dim=2, ratio=ratio)
        wide = 2 * ratio
        self.apart = nn.Sequential(  # the same sizes, but the two channels never meet before the sum
            nn.Conv2d(2, wide, 3, padding=1, groups=2), nn.GELU(), nn.Conv2d(wide, 2, 1, groups=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "convolution without mixing":
            return self.apart(x.permute(0, 3, 1, 2)).sum(1)
        if self.kind == "mixing without convolution":
            return self.cmn.fc2(F.gelu(self.cmn.fc1(x))).sum(-1)
        return channel_mixing(x, self.cmn.fc1, self.cmn.dwconv, self.cmn.fc2).sum(-1)


def accuracy(model: nn.Module, far: int = 1) -> float:
    """Share of right answers after training, edges left aside."""
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
# **Predict** the accuracy of each of the three: CMN; the same without its convolution; a convolution whose channels
# never meet. And of CMN if the two neighbors are three pixels away.

# %% kind="control"
rows = [(kind, 1) for kind in ("mixing without convolution", "convolution without mixing", "CMN")] + [("CMN", 3)]
for kind, far in rows:
    torch.manual_seed(0)
    percent = f"{100 * accuracy(Mixer(kind), far):.0f} %"
    lessons.happened("8.2", f"{kind}, neighbors {far} pixel{'s' * (far > 1)} away: {percent}")

# %% [markdown]
# Either half alone guesses. And three pixels away is outside a 3 x 3 kernel: the negative control. (That is what SS2D
# is for.)
#
# ### What the expansion is for
#
# The same task with a wider and a narrower middle, three seeds each:

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
ax.set_title("a wider middle succeeds more reliably")
ax.minorticks_off()
plt.show()

# %% [markdown]
# A hidden channel can represent one feature ("is the left one +?"). With few of them there are not enough features for
# the task; which seed succeeds is luck. The paper's channels are 96 and more, so its ratio is less critical than here.

# %% [markdown]
# ### Play
#
# Choose another activation or leave the inner residual out, and train again. Which of the choices A8 and A9 matter for
# this task?

# %% kind="play"
import ipywidgets


def retrain(activation: str = "gelu", residual: bool = True, ratio: int = 8) -> None:
    """Train a CMN with other choices."""
    act = {"gelu": F.gelu, "relu": F.relu, "none": lambda t: t}[activation]

    class Other(Mixer):
        def forward(self, x: Tensor) -> Tensor:
            t = self.cmn.fc1(x)
            local = self.cmn.dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return self.cmn.fc2(act(t + local if residual else local)).sum(-1)

    torch.manual_seed(0)
    print(f"{100 * accuracy(Other('CMN', ratio)):.0f} %")


_ = ipywidgets.interact_manual(retrain, activation=["gelu", "relu", "none"], ratio=(1, 8))

# %% [markdown] kind="limits" given="0.44 1.77"
# ## What this does not show
#
# - The sign task is made so that both halves are needed. How much CMN is worth on lesions has to be measured: the
#   paper's Table 4 gives +0.44 points of IoU for CMN alone (its text says +1.77, which is the row with SE *and* CMN).
# - CMN adds 12.6 million parameters. Part of what it gains may be size, which this lesson does not separate.
# - The influence matrix is taken at one input and with random weights. In a trained network any entry can be nearly
#   zero.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. A depthwise convolution on C channels has how many weights (3 x 3, no bias)?
# - [x] 9 C :: One kernel per channel.
# - [ ] 9 C C :: That is an ordinary convolution from C to C channels.
# - [ ] 9 :: One kernel for all channels; none of the networks here does that.
#
# 2. CMN's convolution is removed. What is left?
# - [ ] nothing that mixes channels :: The two linear layers do.
# - [x] an MLP applied to each pixel :: Channels are combined, pixels are not.
# - [ ] the identity, by the residual :: The linear layers and GELU are still there.
#
# 3. What does t + DWConv(t), rather than DWConv(t), make easy?
# - [ ] to depend on pixels further away :: The reach is the kernel's.
# - [x] to start near a plain pixelwise MLP :: If the convolution's weights are near zero, t still passes.
# - [ ] to save the convolution's weights :: It costs and saves none.
#
# 4. Which module of the block can carry information from one corner of the image to the other?
# - [ ] CMN :: One pixel per layer.
# - [x] SS2D :: Its four routes pass through all pixels.
# - [ ] LayerNorm :: It works on each token by itself.

# %% [markdown] kind="links"
# ## Further reading
#
# - [MSVMamba](https://arxiv.org/abs/2405.14174): the block with SE and this feed-forward network.
# - [MobileNetV2](https://arxiv.org/abs/1801.04381): expand, depthwise, project, in a convolutional network.
# - [PVTv2](https://arxiv.org/abs/2106.13797): a depthwise convolution in a transformer's feed-forward network.
# - [MLP-Mixer](https://arxiv.org/abs/2105.01601): token mixing and channel mixing, the words.
