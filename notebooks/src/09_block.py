# %% [markdown] kind="claim"
# **Claim.** The CM-SSM block is two residual branches whose functions overlap, and removing a part hurts only where no
# other part can take over. We show it by assembling the block from the parts of lessons 5, 7 and 8, by counting its
# parameters and operations (the usual counters see two fifths of the operations), and by removing the scan, SE and CMN
# in turn on four small tasks. The controls: a scan with all its weights but without neighbors, and a task that needs
# none of the parts, where no removal may hurt.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - assemble SS2D's branch and the whole block, with every norm, gate and residual in its place;
# - say which of these places the paper gives and which are our reading;
# - write drop path and say what it changes and what it leaves unchanged;
# - count the block's parameters and operations by hand, the scan included, in both conventions;
# - design an ablation with a control, predict its result, and read it;
# - explain why an ablation that hurts nothing does not show that a part does nothing.

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
# How much work is one block? Many papers print the result of a *layer counter*: it runs the network once and adds up
# every linear layer and every convolution. Here is the block of VM-UNet (no SE, no CMN) on the first stage's grid of 64
# x 64 tokens with 96 channels.

# %%


class Alone(nn.Module):
    """A block as if it were a network: an image (1, 3, H, W) gives its grid, the channels are made up."""

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
# Three fifths of the operations are missing. The scan is not a layer, and its projections are written as one matrix
# product that the counter does not know. By the end of this lesson you can write the whole count by hand. First the
# block itself.
#
# ## Assemble
#
# The paper's Figure 2 shows the block; its text names the parts, but not the position of each. What we build, with our
# readings marked:
#
# | step | shape | source |
# | --- | --- | --- |
# | LayerNorm | $(B,H,W,C)$ | VM-UNet's block |
# | linear to $x$ and $z$ | $2 \times (B,H,W,D)$, $D = 2C$ | VM-UNet (A3) |
# | depthwise 3 x 3, SiLU, scan, LayerNorm | $(B,H,W,D)$ | VM-UNet |
# | **SE** | $(B,H,W,D)$ | "after a 2D scanning block": inside, before the gate (A4) |
# | times $\mathrm{SiLU}(z)$, linear back | $(B,H,W,C)$ | VM-UNet |
# | add to the input | $(B,H,W,C)$ | VM-UNet |
# | LayerNorm, **CMN**, add | $(B,H,W,C)$ | text: after SS2D; the second residual is our reading (A6) |
#
# A4 and A6 follow MSVMamba, whose block has these parts in this order. We begin inside.


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
# The network has 15 of these blocks. Let your functions compute all of them, with the network's weights.

# %%
ss2d_branch = lessons.use("block.ss2d_branch", ss2d_branch)
cm_ssm_block = lessons.use("block.cm_ssm_block", cm_ssm_block)


def my_forward(block: CMSSMBlock):
    """Your block with the weights of one of the network's."""
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
# The network's own block has one more thing, in training only. For each image of a batch a branch may be *skipped*; the
# residual carries the input past it. So the network cannot rely on any single branch. The paper does not mention it;
# VM-UNet has it, and so do we (A30): the rate grows from 0 to 0.2 down the encoder and falls back to 0 in the decoder.


# %% exercise="block.drop_path"
def drop_path(branch: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero the branch (B, H, W, C) of an image with probability rate, scale the others so that the mean stays."""
    kept = torch.rand(len(branch), generator=generator) >= rate  # (B,)
    return branch * kept[:, None, None, None] / (1 - rate)


# %% [markdown] kind="predict"
# **Predict.** The 8 encoder blocks have rates from 0 to 0.2 in equal steps, the 7 decoder blocks from 0.2 to 0. Each
# block has two branches. How many of the 30 branches are skipped for an image on average? And what does drop path
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
# Three of thirty. The mean stays at 1; drop path adds variance.
#
# ## Count the parameters


# %% exercise="block.parameters"
def parameters(dim: int, states: int) -> int:
    """How many numbers the block without SE and CMN learns, for dim channels and a number of states."""
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
# Two conventions are in use, and they differ by a factor of two: a multiply-add is **one MAC** or **two FLOPs**. Some
# papers print MACs and call them FLOPs. The scan's 9 operations for each token, channel and state are FLOPs. So the
# total is $2 \cdot \text{layers} + 2 \cdot \text{projections} + \text{scan}$.

# %% [markdown] kind="predict"
# **Predict** for the whole VM-UNet at 256 x 256 (15 blocks, from 64 x 64 x 96 down to 8 x 8 x 768): where is most of
# the work, in the first stage or in the last? Which of the three kinds shrinks as the network gets deeper?

# %%
parameters, operations = lessons.use("block.parameters", parameters), lessons.use("block.operations", operations)

stages = {"1": (64, 96, 3), "2": (32, 192, 4), "3": (16, 384, 4), "4": (8, 768, 4)}  # side, channels, blocks
kinds = {"layers": [], "projections": [], "scan": [], "SE": [], "CMN": []}  # GFLOP by stage
learned = {"VM-UNet's block": [], "SE": [], "CMN": []}  # millions by stage
for side, dim, blocks in stages.values():
    layers, projections, scan = operations(side, side, dim, 16)
    squeezed = 2 * (2 * dim) * (2 * dim // 8)  # SE: two matrices, once an image
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
fig.suptitle("work is spread over the stages; parameters are in the last")
plt.show()
share = [round(100 * part / sum(kinds["scan"])) for part in kinds["scan"]]
lessons.happened("9.2", f"the scan's work by stage, percent: {share}; it shrinks with depth")

# %%
for name in ("vmunet", "paper"):
    cost = count_cost(create_model(name))
    print(
        f"{name:7} {cost.parameters:>11,} parameters, layer counter {cost.layer_macs / 1e9:.2f} GMAC = "
        f"{2 * cost.layer_macs / 1e9:.2f} GFLOP, everything {cost.flops / 1e9:.2f} GFLOP"
    )

# %% [markdown] given="3.1 1.7"
# The work is spread over the stages; the parameters are mostly in the last one. The scan's share shrinks with depth: it
# grows with $C$, the layers with $C^2$. SE has 3.1 million parameters and next to no work, since it processes one
# vector per image: parameters and operations are two different costs. (The network's total is a little larger than our
# bars: embedding, merging, expanding and head follow in lesson 11.)
#
# A layer counter's number for VM-UNet is 4.07, often printed as "GFLOPs". The total is 13.54 GFLOP, more than three
# times as large: a factor of 2 from the convention, and a factor of 1.7 from what the counter misses.
#
# ## Take it apart: four tasks
#
# Table 4 of the paper switches modules on and off and reads off the IoU. What can such a table show? We construct tasks
# of which we *know* what they need. Grids of 10 x 10 tokens and two channels; every pixel must output yes or no.
#
# | task | the target of a pixel | what it needs |
# | --- | --- | --- |
# | **row flag** | the sign of the flag at the left end of *its own row* (five rows +, five -) | information along the row |
# | **tone** | the sign of the image's mean, in strong noise | many pixels; the more, the better |
# | **signs** | left neighbor in channel 0 equal to upper neighbor in channel 1? (lesson 8) | two neighbors together |
# | **here** | channel 0 equal to channel 1, in this pixel? | nothing but the pixel: the control |

# %%
SIDE, STEPS = 10, 20 if lessons.FAST else 150
TONE, NOISE = 0.3, 2.0
SCORED = (slice(None), slice(2, -2), slice(3, -2))  # far from the edges, and more than two columns from the flags


def task_batch(task: str, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures (n, SIDE, SIDE, 2) and answers (n, SIDE, SIDE) of 0 and 1."""
    if task == "row flag":
        x = torch.stack([0.3 * torch.randn(n, SIDE, SIDE, generator=generator), torch.zeros(n, SIDE, SIDE)], dim=-1)
        order = torch.rand(n, SIDE, generator=generator).argsort(1)  # (n, SIDE): five flags of each sign, so the
        sign = (order < SIDE // 2).float()  # picture's mean says nothing
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
# SE and CMN can be switched off. Removing the scan needs more care. Delete it, and the block has fewer weights and
# another structure: whatever gets worse, the cause is unclear. A better ablation keeps every weight and removes *one
# thing*, the memory from token to token.


# %% exercise="block.lonely_scan"
def lonely_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """SS2D's scan of x (B, H, W, D) where each token is a sequence of its own: (B, H, W, D)."""
    step = F.softplus(delta + delta_bias)  # (B, H, W, K, D)
    meet = (B * C).sum(-1, keepdim=True)  # (B, H, W, K, 1)
    return x * (step * meet + D).sum(-2)


# %%
lonely_scan = lessons.use("block.lonely_scan", lonely_scan)


class Network(nn.Module):
    """Embed, one block with some parts out, answer: (B, H, W, 2) -> logits (B, H, W)."""

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
    """Percent of right answers of a fresh network after a short training."""
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
# For the tone we even know the best possible accuracy. The mean of $n$ pixels has the standard deviation $2/\sqrt n$
# around a tone of $\pm 0.3$. So an ideal observer of $n$ pixels is right with probability $\Phi(0.3 \sqrt n / 2)$.
# Without the scan and without SE the receptive field is that of two 3 x 3 convolutions, SS2D's and CMN's: 5 x 5.

# %%
for name, n in (("3 x 3", 9), ("5 x 5", 25), ("whole picture", 100)):
    ideal = 0.5 * (1 + math.erf(TONE * math.sqrt(n) / NOISE / math.sqrt(2)))
    print(f"an ideal observer of {name:13}: {100 * ideal:.0f} %")

# %% [markdown] kind="predict"
# **Predict** the whole table before you run it: rows are what is removed, columns are the tasks. For each number: about
# 50 %, about 100 %, or one of the ideal observers'? Where does removing *SE alone* hurt? *CMN alone*? (Lessons 7 and 8
# each had a task for which their module was necessary. Those networks had no scan.)

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
    print(f"{name:22}" + "".join(f"{task:>10} {value:3.0f} %" for task, value in zip(TASKS, row, strict=True)))
lessons.happened("9.3", f"SE alone removed, tone: {table[1, 1]:.0f} %; CMN alone, signs: {table[2, 2]:.0f} %")

# %% [markdown]
# Read it column by column.
#
# - **here**: 100 % everywhere. The control: no ablation breaks the network as such.
# - **row flag**: only the scan carries information along a row. Without it the block guesses, with all its weights in
#   place. SE cannot help, since five flags of each sign always have the same mean.
# - **tone**: remove SE, and nothing happens. Remove the scan, and nothing happens. Remove *both*, and the block falls
#   to about 73 %, near the ideal observer of 5 x 5; remove CMN too, and it falls to that of 3 x 3. SE and the scan can
#   replace each other here. Rows 2 to 4 alone would say "neither is needed".
# - **signs**: the task for which lesson 8 showed that CMN is necessary. Here it is not: SS2D's own convolution brings
#   the neighbors together, and its products (of $x$ with $\Delta$, $B$, $C$, and with the gate) combine them.
#
# So an ablation answers one question: *what does this part add to the others, on this task?* It does not say what the
# part can do. Removing one part at a time cannot reveal that two parts are redundant.
#
# ### Control: does the scan without neighbors lose anything else?

# %% kind="control"
x = torch.randn(1, 7, 7, 16, requires_grad=True)
for name, without in (("the scan", ("SE", "CMN")), ("without neighbors", ("scan", "SE", "CMN"))):
    torch.manual_seed(0)
    block = Network(without).block
    (slope,) = torch.autograd.grad(block(x)[0, 3, 3].sum(), x)
    numbers = sum(p.numel() for p in block.parameters())
    print(
        f"{name:17}: {numbers:,} parameters, the middle depends on {int((slope.abs().sum(-1) > 0).sum())} of 49 pixels"
    )

# %% [markdown] given="79.54 80.44 79.98 81.31 0.90 0.44 1.77 80.97 80.13"
# The same number of weights, and nine pixels instead of all: what is left is SS2D's own convolution.
#
# ### Reading Table 4 with this
#
# The paper's table has the IoU on ISIC 2017, one training run each: none 79.54, SE 80.44, CMN 79.98, both 81.31. Alone
# they add 0.90 and 0.44; together 1.77, more than the sum. With CRA it is the other way round: CRA alone 80.97, with SE
# 80.13, *less* than CRA alone. Both could be real: parts can need each other, and parts can interfere. Both could be
# chance: lesson 15 asks how much two runs of one network differ.
#
# ### Play
#
# Remove what you like. What if CMN is the *only* part removed, and the block is narrow? (Change `dim` in `Network`.) Is
# the whole block still best when the steps are few?

# %% kind="play"


def try_out(task: str = "tone", scan: bool = True, se: bool = True, cmn: bool = False) -> None:
    """Train one network and print its accuracy."""
    without = tuple(name for name, kept in (("scan", scan), ("SE", se), ("CMN", cmn)) if not kept)
    print(f"{accuracy(task, without):.0f} %")


_ = ipywidgets.interact_manual(try_out, task=list(TASKS))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The tasks are constructed so that we know what they need. For lesions we do not: there, an ablation is a measurement
#   with random error, and one run per row says little.
# - One block of 16 channels and 150 steps. What a part *could* do and what training finds are two things: with other
#   seeds or fewer steps single numbers of the table change.
# - An ablation compares two trained networks. It does not say what a part does *inside* the whole one: for that, lesson
#   14 looks at the gates and lesson 16 intervenes.
# - Operations are not seconds. A scan moves much data for few operations; lesson 6 measures time.
# - A30, A4 and A6 are readings. The options are in `create_model("paper", ...)`.

# %% [markdown] kind="quiz" given="2.96 0.8 1.25"
# ## Recap
#
# 1. What is on the path from the block's input to its output that bypasses both branches?
# - [x] nothing: it is the identity :: The residual carries x unchanged; that is what lets deep stacks train.
# - [ ] the block's two LayerNorms :: They are on the branches, not on the residual.
# - [ ] drop path, while training :: It acts on the branches only.
#
# 2. A paper says "4.1 GFLOPs" for VM-UNet at 256 x 256. What is that most likely?
# - [ ] all operations, with a multiply-add counted as two FLOPs :: That is 13.5.
# - [x] multiply-adds of the linear layers and the convolutions :: 4.07 by our count; the scan and its projections are
#   not in it.
# - [ ] the operations of the scan, in all of the fifteen blocks :: The scan is 2.96 GFLOP.
#
# 3. Removing SE did not hurt the tone task. Then SE
# - [ ] cannot solve the tone task :: Look at the row without the scan: SE alone solves it there.
# - [ ] was not trained in this run :: It was, in each network that has it.
# - [x] can be replaced by the scan :: An ablation shows what a part adds *to the others*.
#
# 4. Why is the scan without neighbors a better ablation than deleting the scan?
# - [ ] it needs less time to train than the real scan :: That is a side effect.
# - [x] it removes one thing, and keeps all the weights :: So a difference can only come from the neighbors.
# - [ ] it keeps a window of 3 x 3 pixels around a token :: That is the convolution, which stays in both cases.
#
# 5. In training, drop path with rate 0.2 multiplies a branch that is kept by
# - [ ] 0.8, the share that is kept :: Then the branch would be too weak on average.
# - [x] 1.25, so that the mean stays :: 1 / (1 - 0.2).
# - [ ] 1, since a kept branch is kept :: Then the mean would be 0.8 of what the network computes at test time.

# %% [markdown] kind="links"
# ## Further reading
#
# - [MSVMamba](https://arxiv.org/abs/2405.14174): the block with SE and a convolutional feed-forward network.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the network around the block, without SE and CMN.
# - [Deep networks with stochastic depth](https://arxiv.org/abs/1603.09382): drop path.
# - [Deep residual learning](https://arxiv.org/abs/1512.03385): why there is a path that passes by.
# - [Mamba](https://arxiv.org/abs/2312.00752): the scan whose operations we count.
