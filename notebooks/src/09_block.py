# %% [markdown] kind="claim"
# **Claim.** The CM-SSM block has two residual branches whose functions overlap, so removing a part hurts only where no
# other part can take over. We show this by assembling the block from the parts of lessons 5, 7 and 8, by counting its
# parameters and operations (the usual counters see two fifths of the operations), and by removing the scan, SE and CMN
# in turn on four small tasks. The controls: a scan that keeps all its weights but can't use neighbors, and a task that
# needs none of the parts, where no removal should hurt.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - assemble SS2D's branch and the whole block, with every norm, gate and residual in the right position;
# - say which of these positions the paper specifies and which are our interpretation;
# - write drop path, and say what it changes and what it preserves;
# - count the block's parameters and operations by hand, including the scan, in both conventions;
# - design an ablation with a control, predict its result, and interpret it;
# - explain why an ablation without an effect doesn't show that the part does nothing.

# %%
import copy
import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import create_model, lessons
from skinlesion.data.synthetic import synthesize
from skinlesion.model import CMSSMBlock, ModelConfig
from skinlesion.model.cost import count_cost
from skinlesion.scan import cross_selective_scan as fast_scan

lessons.setup()

# %% [markdown]
# ## One block, two counts
#
# How much computation does one block need? Many papers report the result of a *layer counter*, which runs the network
# once and adds up the operations of all linear layers and convolutions. Here is VM-UNet's block (no SE, no CMN) on the
# first stage's grid of 64 x 64 tokens with 96 channels.

# %%


class Alone(nn.Module):
    """A block wrapped as a network: the image (1, 3, H, W) gives the grid; its mean is repeated over the channels."""

    def __init__(self, block: CMSSMBlock, dim: int) -> None:
        super().__init__()
        self.block, self.dim = block, dim

    def forward(self, image: Tensor) -> Tensor:
        return self.block(image.mean(1)[..., None].expand(-1, -1, -1, self.dim))


cost = count_cost(Alone(CMSSMBlock(dim=96, config=ModelConfig(se=False, cmn=False)), 96), 64, 64)
print(
    f"a layer counter sees {cost.layer_macs / 1e6:7.1f} million multiply-adds = {2 * cost.layer_macs / 1e9:.2f} GFLOP"
)
print(f"everything is        {' ' * 35} {cost.flops / 1e9:.2f} GFLOP")

# %% [markdown]
# Three fifths of the operations are missing. The scan isn't a layer, and its projections are written as one matrix
# product that the counter doesn't recognize. By the end of this lesson you'll be able to do the whole count by hand.
# First comes the block itself.
#
# ## Assemble
#
# The paper's Figure 2 shows the block; its text names the parts but not where each of them goes. This is what we build,
# with our interpretations marked:
#
# | step | shape | source |
# | --- | --- | --- |
# | LayerNorm | $(B,H,W,C)$ | VM-UNet's block |
# | linear layer, split into $x$ and $z$ | $2 \times (B,H,W,D)$, $D = 2C$ | VM-UNet (A3) |
# | depthwise 3 x 3, SiLU, scan, LayerNorm | $(B,H,W,D)$ | VM-UNet |
# | **SE** | $(B,H,W,D)$ | "after a 2D scanning block": inside, before the gate (A4) |
# | times $\mathrm{SiLU}(z)$, linear layer back to $C$ | $(B,H,W,C)$ | VM-UNet |
# | add to the input | $(B,H,W,C)$ | VM-UNet |
# | LayerNorm, **CMN**, add | $(B,H,W,C)$ | text: after SS2D; the second residual is our interpretation (A6) |
#
# A4 and A6 follow MSVMamba, whose block has these parts in this order. Start with the inner branch.


# %% exercise="block.ss2d_branch"
def ss2d_branch(
    u: Tensor,
    in_proj: nn.Linear,
    convolution: nn.Conv2d,
    scan,
    norm: nn.LayerNorm,
    se: nn.Module,
    out_proj: nn.Linear,
) -> Tensor:
    """The first branch without its LayerNorm: u (B, H, W, C) -> (B, H, W, C); scan: (B, H, W, D) -> (B, H, W, D)."""
    x, z = in_proj(u).chunk(2, dim=-1)  # (B, H, W, D) each
    x = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, H, W, D)
    y = se(norm(scan(F.silu(x))))
    return out_proj(y * F.silu(z))  # (B, H, W, C)


# %% exercise="block.cm_ssm_block"
def cm_ssm_block(x: Tensor, norm1: nn.LayerNorm, ss2d, norm2: nn.LayerNorm, cmn) -> Tensor:
    """Both branches, each with its norm and its residual: x (B, H, W, C) -> (B, H, W, C)."""
    x = x + ss2d(norm1(x))
    return x + cmn(norm2(x))


# %% [markdown]
# ### In the network
#
# The network has 15 of these blocks. Now your functions compute all of them, with the network's weights.

# %%
ss2d_branch = lessons.use("block.ss2d_branch", ss2d_branch)
cm_ssm_block = lessons.use("block.cm_ssm_block", cm_ssm_block)


def my_forward(block: CMSSMBlock):
    """Your block, with the weights of one of the network's blocks."""
    layer = block.ss2d

    def scan(x: Tensor) -> Tensor:
        delta, B, C = layer.scan_parameters(x)
        return fast_scan(x, delta, -torch.exp(layer.A_logs), B, C, layer.Ds, layer.dt_projs_bias)

    def branch(u: Tensor) -> Tensor:
        parts = (layer.in_proj, layer.conv2d, scan, layer.out_norm, layer.se, layer.out_proj)
        return ss2d_branch(u, *parts)

    return lambda x: cm_ssm_block(x, block.norm1, branch, block.norm2, block.cmn)


torch.manual_seed(0)
network = create_model("tiny").eval()
mine = copy.deepcopy(network)
for module in mine.modules():
    if isinstance(module, CMSSMBlock):
        module.forward = my_forward(module)
image = torch.from_numpy(synthesize(3, 96).image).permute(2, 0, 1)[None] / 255  # (1, 3, 96, 96)
with torch.no_grad():
    print(f"largest difference of the logits: {float((network(image) - mine(image)).abs().max()):.0e}")

# %% [markdown] given="0.2"
# ### Drop path
#
# In training, the network's own block does one more thing. For each image of a batch, a branch may be *skipped*, so
# that only the residual passes. This way the network can't rely on any single branch. The paper doesn't mention it, but
# VM-UNet has it and so do we (A30): the rate grows from 0 to 0.2 along the encoder and falls back to 0 along the
# decoder.


# %% exercise="block.drop_path"
def drop_path(branch: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero the branch (B, H, W, C) of an image with probability rate; scale the others to keep the expected value."""
    kept = torch.rand(len(branch), generator=generator) >= rate  # (B,)
    return branch * kept[:, None, None, None] / (1 - rate)


# %% [markdown] kind="predict"
# **Predict.** The 8 encoder blocks have rates from 0 to 0.2 in equal steps, the 7 decoder blocks from 0.2 to 0. Each
# block has two branches. On average, how many of the 30 branches are skipped for an image? And what does drop path
# change: the mean of a branch, its variance, or both?

# %%
drop_path = lessons.use("block.drop_path", drop_path)

rates = [*torch.linspace(0, 0.2, 8).tolist(), *torch.linspace(0.2, 0, 7).tolist()]
generator = torch.Generator().manual_seed(0)
ones = torch.ones(20_000, 1, 1, 1)
skipped = sum(2 * (drop_path(ones, rate, generator) == 0).float().mean() for rate in rates)
lessons.happened("9.1", f"{float(skipped):.2f} of 30; the mean stays, the variance grows")
for rate in (0.0, 0.1, 0.2):
    values = drop_path(ones, rate, generator)
    print(f"rate {rate}: mean {float(values.mean()):.3f}, standard deviation {float(values.std()):.3f}")

# %% [markdown]
# Three of thirty are skipped. The mean stays at 1; drop path only adds variance.
#
# ## Count the parameters


# %% exercise="block.parameters"
def parameters(dim: int, states: int) -> int:
    """Number of learned parameters of the block without SE and CMN, for dim channels and this many states."""
    inner, rank, routes = 2 * dim, math.ceil(dim / 16), 4
    norms = 2 * dim + 2 * inner
    layers = dim * 2 * inner + inner * dim
    convolution = 9 * inner + inner
    projections = routes * (inner * (rank + 2 * states) + rank * inner + inner)
    state_space = routes * (inner * states + inner)
    return norms + layers + convolution + projections + state_space


# %% [markdown]
# ## Count the operations


# %% exercise="block.operations"
def operations(height: int, width: int, dim: int, states: int) -> tuple[int, int, int]:
    """Multiply-adds of the layers, multiply-adds of the projections, operations of the scan; one image, no SE, no CMN."""
    tokens, inner, rank, routes = height * width, 2 * dim, math.ceil(dim / 16), 4
    layers = tokens * (dim * 2 * inner + 9 * inner + inner * dim)
    projections = tokens * routes * (inner * (rank + 2 * states) + rank * inner)
    scan = tokens * routes * inner * (9 * states + 1)
    return layers, projections, scan


# %% [markdown]
# There are two conventions, which differ by a factor of two: a multiply-add is **one MAC** or **two FLOPs**. Some
# papers report MACs and call them FLOPs. The scan's 9 operations per token, channel and state are FLOPs. So the total
# is $2 \cdot \text{layers} + 2 \cdot \text{projections} + \text{scan}$.

# %% [markdown] kind="predict"
# **Predict** for the whole VM-UNet at 256 x 256 (15 blocks, from 64 x 64 x 96 down to 8 x 8 x 768): where is most of
# the computation, in the first stage or in the last? Which of the three kinds shrinks in the deeper stages?

# %%
parameters, operations = lessons.use("block.parameters", parameters), lessons.use("block.operations", operations)

stages = {"1": (64, 96, 3), "2": (32, 192, 4), "3": (16, 384, 4), "4": (8, 768, 4)}  # side, channels, blocks
kinds = {"layers": [], "projections": [], "scan": [], "SE": [], "CMN": []}  # GFLOP by stage
learned = {"VM-UNet's block": [], "SE": [], "CMN": []}  # millions by stage
for side, dim, blocks in stages.values():
    layers, projections, scan = operations(side, side, dim, 16)
    squeezed = 2 * (2 * dim) * (2 * dim // 8)  # SE: two matrices, once per image
    cmn_work = side**2 * (2 * dim * 2 * dim + 9 * 2 * dim)
    cmn_learned = 2 * dim + 2 * dim * 2 * dim + 3 * dim + 20 * dim  # lesson 8
    for name, flops in zip(kinds, (2 * layers, 2 * projections, scan, 2 * squeezed, 2 * cmn_work), strict=True):
        kinds[name].append(blocks * flops / 1e9)
    for name, count in zip(learned, (parameters(dim, 16), squeezed, cmn_learned), strict=True):
        learned[name].append(blocks * count / 1e6)

fig, axes = plt.subplots(1, 2, figsize=(8, 2.6))
for ax, bars, title in zip(axes, (kinds, learned), ("GFLOP at 256 x 256", "million parameters"), strict=True):
    bottom = torch.zeros(4)
    for name, values in bars.items():
        ax.bar(list(stages), values, bottom=bottom, label=f"{name}: {sum(values):.2f}")
        bottom = bottom + torch.tensor(values)
    ax.set(title=title, xlabel="stage (encoder and decoder together)")
    ax.legend(fontsize=7, ncols=2, loc="upper left")
    ax.set_ylim(0, 1.6 * float(bottom.max()))
fig.suptitle("the operations are spread over all stages; most parameters are in the last")
plt.show()
share = [round(100 * part / sum(kinds["scan"])) for part in kinds["scan"]]
lessons.happened("9.2", f"the scan's operations by stage, percent: {share}; there are fewer in deeper stages")

# %%
for name in ("vmunet", "paper"):
    cost = count_cost(create_model(name))
    print(
        f"{name:7} {cost.parameters:>11,} parameters, layer counter {cost.layer_macs / 1e9:.2f} GMAC = "
        f"{2 * cost.layer_macs / 1e9:.2f} GFLOP, everything {cost.flops / 1e9:.2f} GFLOP"
    )

# %% [markdown] given="3.1 1.7"
# The operations are spread over all stages; most of the parameters are in the last one. The scan's share shrinks with
# depth, because it grows with $C$ and the layers with $C^2$. SE has 3.1 million parameters but needs next to no
# operations, since it processes one vector per image: parameters and operations are two different costs. (The network's
# total is a little larger than our bars, because of the embedding, merging, expanding and head that follow in lesson
# 11.)
#
# For VM-UNet a layer counter reports 4.07, often labeled "GFLOPs". The total is 13.54 GFLOP, more than three times as
# much: a factor of 2 from the convention, and a factor of 1.7 from what the counter misses.
#
# ## Take it apart: four tasks
#
# Table 4 of the paper switches modules on and off and compares the IoU. What can such a table show? We construct tasks
# for which we *know* what they need: grids of 10 x 10 tokens with two channels, and a yes-or-no target for every pixel.
#
# | task | the target of a pixel | what it needs |
# | --- | --- | --- |
# | **row flag** | the sign of the flag at the left end of *its own row* (five rows +, five -) | information along the row |
# | **tone** | the sign of the image's mean, under strong noise | many pixels; the more, the better |
# | **signs** | is the left neighbor in channel 0 equal to the upper neighbor in channel 1? (lesson 8) | two neighbors, combined |
# | **here** | are the two channels of this pixel equal? | only the pixel itself: the control |

# %%
SIDE, STEPS = 10, 20 if lessons.FAST else 150
TONE, NOISE = 0.3, 2.0
SCORED = (slice(None), slice(2, -2), slice(3, -2))  # far from the edges, and more than two columns from the flags


def task_batch(task: str, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (n, SIDE, SIDE, 2) and targets (n, SIDE, SIDE) of 0 and 1."""
    if task == "row flag":
        x = torch.stack([0.3 * torch.randn(n, SIDE, SIDE, generator=generator), torch.zeros(n, SIDE, SIDE)], dim=-1)
        order = torch.rand(n, SIDE, generator=generator).argsort(1)  # (n, SIDE): five flags of each sign, so the
        sign = (order < SIDE // 2).float()  # image's mean says nothing
        x[:, :, 0] = torch.stack([2 * sign - 1, torch.ones(n, SIDE)], dim=-1)
        return x, sign[:, :, None].expand(-1, -1, SIDE)
    if task == "tone":
        sign = torch.randint(2, (n,), generator=generator).float()
        x = NOISE * torch.randn(n, SIDE, SIDE, 2, generator=generator)
        x[..., 0] += TONE * (2 * sign - 1)[:, None, None]
        return x, sign[:, None, None].expand(-1, SIDE, SIDE)
    x = torch.randint(2, (n, SIDE, SIDE, 2), generator=generator) * 2.0 - 1
    first, second = x.unbind(-1)
    if task == "signs":
        first, second = first.roll(1, dims=2), second.roll(1, dims=1)
    return x, (first == second).float()


TASKS = ("row flag", "tone", "signs", "here")
fig, axes = plt.subplots(1, 8, figsize=(10, 1.5))
for i, task in enumerate(TASKS):
    x, answer = task_batch(task, 1, torch.Generator().manual_seed(1))
    for ax, map_, title in zip(
        axes[2 * i :], (x[0, ..., 0], answer[0]), (f"{task}:\nchannel 0", "target"), strict=False
    ):
        ax.imshow(map_, cmap="gray", vmin=-1 if "channel" in title else 0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# SE and CMN can simply be switched off. Removing the scan needs more care. If you delete it, the block has fewer
# weights and another structure, so if something gets worse, you don't know why. A better ablation keeps every weight
# and removes *one thing*, the memory from token to token.


# %% exercise="block.lonely_scan"
def lonely_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """SS2D's scan of x (B, H, W, D) with each token as a separate sequence: (B, H, W, D)."""
    step = F.softplus(delta + delta_bias)  # (B, H, W, K, D)
    meet = (B * C).sum(-1, keepdim=True)  # (B, H, W, K, 1)
    return x * (step * meet + D).sum(-2)


# %%
lonely_scan = lessons.use("block.lonely_scan", lonely_scan)


class Network(nn.Module):
    """Embedding, one block without some of its parts, and a head: (B, H, W, 2) -> logits (B, H, W)."""

    def __init__(self, without: tuple[str, ...], dim: int = 16) -> None:
        super().__init__()
        self.embed = nn.Linear(2, dim)
        config = ModelConfig(d_state=4, se_ratio=4, se="SE" not in without, cmn="CMN" not in without)
        self.block = CMSSMBlock(dim=dim, config=config)
        if "scan" in without:
            self.block = lessons.plug(self.block, "scan", lonely_scan)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.embed(x)))[..., 0]


def accuracy(task: str, without: tuple[str, ...]) -> float:
    """Percent of correct answers of a new network after a short training."""
    torch.manual_seed(0)
    model = Network(without)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=STEPS)
    for _ in range(STEPS):
        x, answer = task_batch(task, 16, generator)
        loss = F.binary_cross_entropy_with_logits(model(x)[SCORED], answer[SCORED])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x, answer = task_batch(task, 1000, generator)
    with torch.no_grad():
        return 100 * float(((model(x) > 0) == (answer > 0.5))[SCORED].float().mean())


# %% [markdown]
# For the tone task we even know the best possible accuracy. The mean of $n$ pixels is distributed around a tone of $\pm
# 0.3$ with standard deviation $2/\sqrt n$. So an ideal observer of $n$ pixels is right with probability $\Phi(0.3 \sqrt
# n / 2)$. Without the scan and SE, the receptive field is that of two 3 x 3 convolutions, SS2D's and CMN's: 5 x 5.

# %%
for name, n in (("3 x 3", 9), ("5 x 5", 25), ("whole image", 100)):
    ideal = 0.5 * (1 + math.erf(TONE * math.sqrt(n) / NOISE / math.sqrt(2)))
    print(f"an ideal observer of {name:13}: {100 * ideal:.0f}%")

# %% [markdown] kind="predict"
# **Predict** the whole table before you run it. Rows say what is removed, columns are the tasks. Is each number about
# 50%, about 100%, or that of one of the ideal observers? Where does removing *SE alone* hurt? *CMN alone*? (Lessons 7
# and 8 each had a task for which their module was necessary. Those networks had no scan.)

# %% kind="signature"
ABLATIONS = {
    "whole block": (),
    "without SE": ("SE",),
    "without CMN": ("CMN",),
    "without scan": ("scan",),
    "without scan and SE": ("scan", "SE"),
    "without scan, SE, CMN": ("scan", "SE", "CMN"),
}
table = torch.tensor([[accuracy(task, without) for task in TASKS] for without in ABLATIONS.values()])

fig, ax = plt.subplots(figsize=(5.6, 3.2))
shown = ax.imshow(table, vmin=50, vmax=100, aspect="auto")
for i, row in enumerate(table):
    for j, value in enumerate(row):
        ax.text(j, i, f"{value:.0f}", ha="center", va="center", color="white" if value < 80 else "black")
ax.set(yticks=range(len(ABLATIONS)), yticklabels=list(ABLATIONS), xticks=range(len(TASKS)), xticklabels=TASKS)
ax.xaxis.tick_top()
fig.colorbar(shown, label="correct (%)")
plt.show()
for name, row in zip(ABLATIONS, table.tolist(), strict=True):
    print(f"{name:22}" + "".join(f"{task:>10} {value:3.0f}%" for task, value in zip(TASKS, row, strict=True)))
lessons.happened("9.3", f"SE alone removed, tone: {table[1, 1]:.0f}%; CMN alone, signs: {table[2, 2]:.0f}%")

# %% [markdown]
# Read the table column by column.
#
# - **here**: 100% everywhere. This is the control: no ablation breaks the network as such.
# - **row flag**: only the scan carries information along a row. Without it the block is at chance level, although it
#   still has all its weights. SE can't help, since the mean of five flags of each sign is always the same.
# - **tone**: removing SE alone or the scan alone changes nothing. Removing *both* drops the accuracy to about 73%,
#   near the ideal observer of 5 x 5; removing CMN too drops it to that of 3 x 3. SE and the scan can replace each other
#   here. From rows 2 to 4 alone you would conclude that neither is needed.
# - **signs**: lesson 8 showed that CMN is necessary for this task. Here it isn't: SS2D's own convolution brings the
#   neighbors together, and its products (of $x$ with $\Delta$, $B$, $C$, and with the gate) combine them.
#
# So an ablation answers one question: *what does this part add to the others, on this task?* It doesn't say what the
# part can do. And removing one part at a time can't reveal that two parts are redundant.
#
# ### Control: does the ablated scan lose anything else?

# %% kind="control"
x = torch.randn(1, 7, 7, 16, requires_grad=True)
for name, without in (("the scan", ("SE", "CMN")), ("without neighbors", ("scan", "SE", "CMN"))):
    torch.manual_seed(0)
    block = Network(without).block
    (gradient,) = torch.autograd.grad(block(x)[0, 3, 3].sum(), x)
    numbers = sum(p.numel() for p in block.parameters())
    print(
        f"{name:17}: {numbers:,} parameters, the center depends on {int((gradient.abs().sum(-1) > 0).sum())} of 49 pixels"
    )

# %% [markdown] given="79.54 80.44 79.98 81.31 0.90 0.44 1.77 80.97 80.13"
# The number of weights is the same, and the center depends on nine pixels instead of all of them. What remains is
# SS2D's own convolution.
#
# ### Back to Table 4
#
# The paper's table reports the IoU on ISIC 2017, one training run each: none 79.54, SE 80.44, CMN 79.98, both 81.31.
# Alone they add 0.90 and 0.44; together 1.77, more than the sum. With CRA it is the other way around: CRA alone reaches
# 80.97, CRA with SE 80.13, *less* than CRA alone. Both could be real: parts can need each other, and parts can
# interfere. Both could be chance: lesson 15 asks how much two runs of the same network differ.
#
# ### Play
#
# Remove any part. What happens if CMN is the *only* part removed and the block is narrow? (Change `dim` in `Network`.)
# Is the whole block still best after only a few training steps?

# %% kind="play"


def try_out(task: str = "tone", scan: bool = True, se: bool = True, cmn: bool = False) -> None:
    """Train one network and print its accuracy."""
    without = tuple(name for name, kept in (("scan", scan), ("SE", se), ("CMN", cmn)) if not kept)
    print(f"{accuracy(task, without):.0f}%")


_ = ipywidgets.interact_manual(try_out, task=list(TASKS))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The tasks are constructed so that we know what they need. For lesions we don't: there, an ablation is a measurement
#   with random error, and one run per row says little.
# - The table comes from one block of 16 channels and 150 steps. What a part *could* do and what training finds are two
#   different things: with other seeds or fewer steps, individual numbers in the table change.
# - An ablation compares two trained networks. It doesn't say what a part does *inside* the full one: for that, lesson
#   14 looks at the gates and lesson 16 intervenes.
# - Operations aren't seconds. A scan moves a lot of data for few operations; lesson 6 measures time.
# - A30, A4 and A6 are interpretations. They are options of `create_model("paper", ...)`.

# %% [markdown] kind="quiz" given="2.96 0.8 1.25"
# ## Recap
#
# 1. What is on the path from the block's input to its output that bypasses both branches?
# - [x] nothing: it is the identity :: The residual carries x unchanged; that is what makes deep networks trainable.
# - [ ] the block's two LayerNorms :: They are on the branches, not on the residual.
# - [ ] drop path, while training :: It acts on the branches only.
#
# 2. A paper says "4.1 GFLOPs" for VM-UNet at 256 x 256. What is that most likely?
# - [ ] all operations, with a multiply-add counted as two FLOPs :: That is 13.5.
# - [x] multiply-adds of the linear layers and the convolutions :: 4.07 by our count; it leaves out the scan and its
#   projections.
# - [ ] the operations of the scan, in all of the fifteen blocks :: The scan is 2.96 GFLOP.
#
# 3. Removing SE did not hurt the tone task. Then SE
# - [ ] cannot solve the tone task :: See the row without the scan: there, SE solves it.
# - [ ] was not trained in this run :: It was, in each network that has it.
# - [x] can be replaced by the scan :: An ablation shows what a part adds *to the others*.
#
# 4. Why is a scan without neighbors a better ablation than deleting the scan?
# - [ ] it needs less time to train than the real scan :: That is a side effect.
# - [x] it removes one thing, and keeps all the weights :: So a difference can only come from the neighbors.
# - [ ] it keeps a window of 3 x 3 pixels around a token :: That comes from the convolution, which stays in both cases.
#
# 5. In training, drop path with rate 0.2 multiplies a branch that is kept by
# - [ ] 0.8, the share that is kept :: Then the branch would be too weak on average.
# - [x] 1.25, so that the mean stays :: 1 / (1 - 0.2).
# - [ ] 1, since a kept branch is kept :: Then the mean would be 0.8 times the value at test time.

# %% [markdown] kind="links"
# ## Further reading
#
# - [MSVMamba](https://arxiv.org/abs/2405.14174): the block with SE and a convolutional feed-forward network.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the network that the block is used in, without SE and CMN.
# - [Deep networks with stochastic depth](https://arxiv.org/abs/1603.09382): drop path.
# - [Deep residual learning](https://arxiv.org/abs/1512.03385): why the identity path helps.
# - [Mamba](https://arxiv.org/abs/2312.00752): the scan whose operations we count.
