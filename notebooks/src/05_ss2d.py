# %% [markdown] kind="claim"
# **Claim.** Four scans that walk over an image in four orders let every pixel depend on every other pixel, at a cost
# that grows linearly with their number. You write SS2D from scratch, check it against the package's engine in value
# and gradient, and then measure on a small task who has heard of what. The controls: one route alone, which leaves
# the top of the image deaf, and a convolution, which hears only its neighbors.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write the four routes over a grid as one table of indices, for any height and width;
# - expand an image into sequences (scan expansion) and merge them again (scan merging), and say what undoes what;
# - assemble SS2D's selective scan and plug it into the network;
# - say, before running anything, which pixels can influence which;
# - derive the attention matrix that a scan amounts to, and read it;
# - find out what a scan has heard by experiment, with controls.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import create_model, lessons
from skinlesion.model import SS2D, ModelConfig
from skinlesion.scan import cross_selective_scan as fast_scan
from skinlesion.scan.reference import selective_scan

lessons.setup()

# %% [markdown]
# ## A picture is not a sentence
#
# In lesson 4 a selective scan read a sequence: token after token, carrying a state $h_t$. A sentence has an order. A
# picture has none: is the pixel below "later" than the pixel to the right? Whatever order we choose, the first pixel
# is read before anything else has been seen. Watch what that means. We feed a 6 x 6 grid to one scan along the rows,
# change **one** pixel, and mark every output that changes.

# %%
torch.manual_seed(1)
tokens, channels, states = 36, 1, 4
u = torch.randn(1, tokens, channels)
delta, A = torch.full((1, tokens, channels), 0.3), -torch.rand(channels, states)
B, C = torch.randn(1, tokens, states), torch.randn(1, tokens, states)

fig, axes = plt.subplots(1, 2, figsize=(5, 2.2))
for ax, (row, column) in zip(axes, [(1, 2), (4, 3)], strict=True):
    poked = u.clone()
    poked[0, 6 * row + column] += 1
    change = selective_scan(poked, delta, A, B, C) - selective_scan(u, delta, A, B, C)
    ax.imshow(change.abs().reshape(6, 6) > 1e-6, cmap="Blues", vmin=0, vmax=1.4)
    ax.plot(column, row, "o", color="tab:orange")
    ax.set(title=f"pixel ({row}, {column}) is changed", xticks=range(6), yticks=range(6))
plt.show()

# %% [markdown]
# Everything **after** the orange pixel hears of it; nothing before it does. For segmentation that is a strange rule:
# the skin below a lesion would know of it, the skin above would not.

# %% exercise="ss2d.seen_by_one_route"
seen = 29

# %% [markdown]
# VMamba's answer, which the paper takes over (section 3.2): walk **four** routes, each with its own scan, and add the
# results.
#
# 1. **Scan expansion** reads the grid along each route: four sequences.
# 2. **S6** scans each sequence. Each route has its own parameters.
# 3. **Scan merging** puts each result back at its pixel and adds the four.
#
# We build the three in turn. First the routes, as a table: row $k$ lists, step by step, which token route $k$ reads.
#
# Numbering a 2 x 3 grid by rows:
#
# | | | |
# |---|---|---|
# | 0 | 1 | 2 |
# | 3 | 4 | 5 |
#
# the route down the columns reads 0, 3, 1, 4, 2, 5.


# %% exercise="ss2d.four_routes"
def four_routes(height: int, width: int) -> Tensor:
    """Row-major indices in the order of each route: int (4, height * width)."""
    rows = torch.arange(height * width)  # (L,)
    columns = rows.reshape(height, width).T.reshape(-1)  # (L,)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])  # (4, L)


# %%
four_routes = lessons.use("ss2d.four_routes", four_routes)

fig, axes = plt.subplots(1, 4, figsize=(9, 2))
for k, (ax, route) in enumerate(zip(axes, four_routes(4, 6), strict=True)):
    step = torch.empty(24)
    step[route.long()] = torch.arange(24.0)
    ax.imshow(step.reshape(4, 6), cmap="viridis", alpha=0.6)
    rows, columns = route // 6, route % 6
    ax.plot(columns, rows, color="black", linewidth=0.8)
    ax.plot(columns[0], rows[0], "o", color="tab:orange")
    ax.set(title=f"route {k}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Move through the steps yourself (this figure needs a running notebook):

# %%
import plotly.graph_objects as go
from plotly.subplots import make_subplots


def animate_routes(height: int, width: int) -> go.Figure:
    """The four routes, a frame a step: tokens light up when they are read."""
    routes = four_routes(height, width).long()
    steps = torch.argsort(routes, dim=1).reshape(4, height, width)  # when each token is read

    def maps(now: int) -> list[go.Heatmap]:
        shown = [torch.where(s <= now, (s - now).float(), float("nan")).flip(0) for s in steps]
        style = {"zmin": -height * width, "zmax": 0, "colorscale": "Viridis", "showscale": False}
        return [go.Heatmap(z=z.tolist(), **style) for z in shown]

    fig = make_subplots(1, 4, subplot_titles=[f"route {k}" for k in range(4)])
    for k, trace in enumerate(maps(0)):
        fig.add_trace(trace, 1, k + 1)
    fig.frames = [go.Frame(data=maps(t), name=str(t), traces=[0, 1, 2, 3]) for t in range(height * width)]
    still = {"mode": "immediate", "frame": {"duration": 0}}
    slider = {"steps": [{"args": [[f.name], still], "label": f.name, "method": "animate"} for f in fig.frames]}
    play = {"label": "play", "method": "animate", "args": [None, {"frame": {"duration": 120}}]}
    fig.update_layout(
        sliders=[slider], updatemenus=[{"type": "buttons", "buttons": [play]}], height=280, margin={"t": 30, "b": 0}
    )
    return fig.update_xaxes(visible=False).update_yaxes(visible=False)


animate_routes(5, 6).show()

# %% [markdown]
# With the table, expansion is one indexing operation, and the tensor stays channels last.


# %% exercise="ss2d.cross_scan"
def cross_scan(x: Tensor, routes: Tensor) -> Tensor:
    """Read a grid (B, H, W, D) along K routes (K, H * W): (B, K, H * W, D)."""
    line = x.flatten(1, 2)  # (B, H, W, D) -> (B, L, D)
    return line[:, routes.long()]  # (B, K, L, D)


# %% [markdown] kind="predict"
# **Predict.** Expand a grid, do *nothing* to the sequences, and merge them by adding. Which picture comes back: the
# input, four times the input, or the input with its mirror images? Decide, then write the merge and look.


# %% exercise="ss2d.cross_merge"
def cross_merge(y: Tensor, routes: Tensor, height: int, width: int) -> Tensor:
    """Put the results (B, K, H * W, D) back in place and add them: (B, H, W, D)."""
    merged = torch.zeros_like(y[:, 0])  # (B, L, D)
    for k, route in enumerate(routes.long()):
        merged = merged + y[:, k, torch.argsort(route)]
    return merged.unflatten(1, (height, width))  # (B, H, W, D)


# %%
cross_scan, cross_merge = (lessons.use(f"ss2d.{f.__name__}", f) for f in (cross_scan, cross_merge))

from skinlesion.data.synthetic import synthesize

photo = torch.from_numpy(synthesize(9, (24, 32)).image).float()[None] / 255  # (1, 24, 32, 3)
routes = four_routes(24, 32)
sequences = cross_scan(photo, routes)
there_and_back = cross_merge(sequences, routes, 24, 32)
forgotten = sequences.sum(1).unflatten(1, (24, 32))  # what happens if nothing is put back

fig, axes = plt.subplots(1, 3, figsize=(8, 2.2))
for ax, picture, title in zip(
    axes,
    (photo, there_and_back / 4, forgotten / 4),
    ("input", "merged / 4", "added without putting back / 4"),
    strict=True,
):
    ax.imshow(picture[0].clamp(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
plt.show()
print("largest difference to 4 x input:", float((there_and_back - 4 * photo).abs().max()))

# %% [markdown]
# Four times the input, exactly. The picture at the right is what the most common mistake looks like: the shapes fit,
# the network would even train a little, and no error is ever raised.
#
# Now S6 in between. The step size $\Delta$, and what a token writes ($B$) and reads ($C$), come from the token
# itself; that is the selectivity of lesson 4. They differ by route, so every token brings four of each.


# %% exercise="ss2d.cross_selective_scan"
def cross_selective_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> Tensor:
    """SS2D's scan of x (B, H, W, D) along four routes: (B, H, W, D)."""
    height, width = x.shape[1:3]
    x, delta, B, C = (t.flatten(1, 2) for t in (x, delta, B, C))  # (B, L, ...)
    y = torch.zeros_like(x)
    for k, order in enumerate(four_routes(height, width).long()):
        step = F.softplus(delta[:, order, k] + delta_bias[k])  # (B, L, D)
        along = selective_scan(x[:, order], step, A[k], B[:, order, k], C[:, order, k], D[k])
        y = y + along[:, torch.argsort(order)]
    return y.unflatten(1, (height, width))  # (B, H, W, D)


# %% [markdown]
# ### Plug it into the network
#
# `lessons.plug` makes a copy of the network in which your function does the scanning. Same weights, same picture: the
# segmentation must be the same. (Yours is a loop in Python, so the picture is small; lesson 6 is about speed.)

# %%
cross_selective_scan = lessons.use("ss2d.cross_selective_scan", cross_selective_scan)

torch.manual_seed(0)
network = create_model("tiny").eval()
mine = lessons.plug(network, "scan", cross_selective_scan)
image = torch.from_numpy(synthesize(3, 64).image).permute(2, 0, 1)[None] / 255  # (1, 3, 64, 64)
with torch.no_grad():
    theirs, yours = network(image), mine(image)
print("largest difference of the logits:", float((theirs - yours).abs().max()))

# %% [markdown]
# ## Who has heard of what? An experiment
#
# **The echo task.** A 10 x 10 grid of noise. At one random place a flag is raised: +1 or -1. *Every* pixel must
# answer with the flag's sign. A pixel that the flag's message cannot reach can only guess: 50 %.
#
# Three networks, the same but for the part that mixes pixels: three 3 x 3 convolutions; SS2D with route 0 only (its
# four parameter sets all walk route 0, so that the number of parameters is the same); SS2D.

# %%
SIDE, STEPS = 10, 40 if lessons.FAST else 300


def echo_batch(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Grids (n, SIDE, SIDE, 2) of noise and flag, signs (n,) in {0, 1}, flag places (n,)."""
    x = torch.stack([0.3 * torch.randn(n, SIDE**2, generator=generator), torch.zeros(n, SIDE**2)], dim=-1)
    place = torch.randint(SIDE**2, (n,), generator=generator)
    sign = torch.randint(2, (n,), generator=generator).float()
    x[torch.arange(n), place] = torch.stack([2 * sign - 1, torch.ones(n)], dim=-1)
    return x.unflatten(1, (SIDE, SIDE)), sign, place


class Convolutions(nn.Module):
    """Three 3 x 3 convolutions, each in a residual, channels last."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.layers = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.first(x)).permute(0, 3, 1, 2)  # (B, dim, H, W)
        for layer in self.layers:
            x = x + F.silu(layer(x))
        return x.permute(0, 2, 3, 1)


def one_route(dim: int) -> nn.Module:
    """SS2D whose four scans all walk route 0."""
    layer = SS2D(dim=dim, config=ModelConfig(d_state=4, se=False))
    table = four_routes(SIDE, SIDE)[[0, 0, 0, 0]]
    return lessons.plug(layer, "scan", lambda *tensors: fast_scan(*tensors, routes=table))


class Echo(nn.Module):
    """Embed, mix pixels, answer: (B, H, W, 2) -> logits (B, H, W)."""

    def __init__(self, mixer: nn.Module, dim: int = 16) -> None:
        super().__init__()
        self.embed, self.mix = nn.Linear(2, dim), mixer
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(x + self.mix(x))[..., 0]


def train(model: nn.Module, rate: float) -> Tensor:
    """Accuracy of each pixel, (SIDE, SIDE), after training."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    for _ in range(STEPS):
        x, sign, _ = echo_batch(32, generator)
        loss = F.binary_cross_entropy_with_logits(model(x), sign[:, None, None].expand(-1, SIDE, SIDE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        x, sign, _ = echo_batch(1000, generator)
        return ((model(x) > 0) == (sign[:, None, None] > 0.5)).float().mean(0)


# %% [markdown] kind="predict"
# **Predict** the accuracy of the top left pixel, the middle pixel and the bottom right pixel for each of the three
# networks. It is the share of the 100 places from which a message can arrive, plus half of the rest. (Three 3 x 3
# convolutions see a window of 7 x 7.)

# %% kind="signature"
accuracy, trained = {}, {}
for name, make, rate in (
    ("three 3 x 3 convolutions", Convolutions, 3e-3),
    ("one route", one_route, 1e-2),
    ("SS2D: four routes", lambda dim: SS2D(dim=dim, config=ModelConfig(d_state=4, se=False)), 1e-2),
):
    torch.manual_seed(0)
    trained[name] = Echo(make(16))
    accuracy[name] = train(trained[name], rate)

fig, axes = plt.subplots(1, 3, figsize=(9, 2.8))
for ax, (name, map_) in zip(axes, accuracy.items(), strict=True):
    shown = ax.imshow(100 * map_, vmin=50, vmax=100)
    for row, column in ((0, 0), (5, 5), (9, 9)):
        label = {"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0}
        ax.text(column, row, f"{100 * map_[row, column]:.0f}", bbox=label, ha="center", va="center")
    ax.set(title=f"{name}: {100 * map_.mean():.0f} %", xticks=[], yticks=[])
fig.colorbar(shown, ax=axes, label="correct (%)")
plt.show()

# %% [markdown]
# One route: from guessing at the top to certain at the bottom. Four routes: every pixel has heard, from every place,
# in **one** layer. The convolutions hear three pixels far and guess the rest: (49 + 51 / 2) % = 75 % in the middle,
# (16 + 84 / 2) % = 58 % in a corner. More of them would hear farther, one pixel a layer.

# %% [markdown]
# ### Control: does the message really travel along the routes?
#
# If the trained SS2D knew the answer by some other way, breaking the routes would not matter. So we break them: the
# same trained weights, but the backward routes walk forward. And a second time with one random order for all four, in
# which neighbors are no longer neighbors.


# %% kind="control"
def accuracy_with(table: Tensor) -> float:
    """Accuracy of the trained SS2D when it walks other routes."""
    model = trained["SS2D: four routes"]
    x, sign, _ = echo_batch(500, torch.Generator().manual_seed(5))
    other_routes = {"scan": lambda *tensors: fast_scan(*tensors, routes=table)}
    with torch.no_grad(), lessons.plugged(model.mix, other_routes):
        right = ((model(x) > 0) == (sign[:, None, None] > 0.5)).float().mean()
    return float(right)


table = four_routes(SIDE, SIDE)
shuffled = torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(0))
for name, routes in (
    ("its own four routes", table),
    ("backward routes walk forward", table[[0, 1, 0, 1]]),
    ("one random order for all", shuffled.expand(4, -1)),
):
    print(f"{name:32} {100 * accuracy_with(routes):.0f} %")

# %% [markdown]
# Without the backward routes the answer is lost where nothing has come by yet, and with one order for all, whatever
# it is, half of the pixels are deaf again. So the message does travel along the routes. (That the order is random
# costs nothing here, since for *this* task neighborhood means nothing. On a picture nearby pixels would be far apart
# on the route, and the state fades with every step.)

# %% [markdown]
# ## The scan is attention in disguise
#
# Unroll $h_t = e^{\Delta_t a} h_{t-1} + \Delta_t B_t u_t$, $y_t = C_t h_t$. Each output is a weighted sum of the
# inputs before it. The weights form a matrix, and it looks like attention: a query $C_t$, a key $B_s$, a value $u_s$,
# and a decay in between.


# %% exercise="ss2d.implicit_attention"
def implicit_attention(delta: Tensor, a: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The scan of one channel as a matrix: delta (L,), a (N,), B and C (L, N) -> (L, L), row t reads from s."""
    time = delta.cumsum(0)  # (L,)
    gap = (time[:, None] - time[None, :]).clamp(min=0)  # (L, L): from s to t
    decay = torch.exp(gap[..., None] * a)  # (L, L, N)
    return torch.einsum("tn,tsn,sn->ts", C, decay, delta[:, None] * B).tril()


# %% [markdown]
# Look at it in the trained network. We raise a flag at (2, 6), ask the pixel at (7, 2) where it reads from, and add
# up the four routes (the size of the weights over all channels). Next to it: the step size $\Delta$ that each token
# chose.

# %%
implicit_attention = lessons.use("ss2d.implicit_attention", implicit_attention)


def look(model: nn.Module, grid: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
    """Where one pixel reads from, and the mean step size of each token: two maps (SIDE, SIDE)."""
    layer = model.mix
    with torch.no_grad():
        x, _ = layer.in_proj(model.embed(grid)).chunk(2, dim=-1)
        x = F.silu(layer.conv2d(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        raw, B, C = (t.flatten(1, 2)[0] for t in layer.scan_parameters(x))  # (L, K, ...)
        step = F.softplus(raw + layer.dt_projs_bias)  # (L, K, D)
        A = -torch.exp(layer.A_logs)
        reads = torch.zeros(SIDE**2)
        for k, order in enumerate(four_routes(SIDE, SIDE).long()):
            query = int((order == SIDE * row + column).nonzero())
            for channel in range(step.shape[-1]):
                matrix = implicit_attention(step[order, k, channel], A[k, channel], B[order, k], C[order, k])
                reads[order] += matrix[query].abs()
    return reads.reshape(SIDE, SIDE), step.mean((1, 2)).reshape(SIDE, SIDE)


grid = 0.3 * torch.randn(1, SIDE, SIDE, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.0, 0.0])
grid[0, 2, 6] = 1.0
reads, step = look(trained["SS2D: four routes"], grid, 7, 2)
fig, axes = plt.subplots(1, 2, figsize=(6, 2.6))
for ax, map_, title in zip(axes, (reads, step), ("where (7, 2) reads from", "step size of each token"), strict=True):
    fig.colorbar(ax.imshow(map_), ax=ax)
    ax.plot(6, 2, "s", markerfacecolor="none", color="red", markersize=14)
    ax.set(title=title, xticks=[], yticks=[])
axes[0].plot(2, 7, "o", color="white")
plt.show()

# %% [markdown]
# The pixel reads from a token right beside the flag (red square), four rows away, a little from itself, and from
# hardly anything else. Beside it, not on it, because of the 3 x 3 convolution before the scan: it spreads the flag,
# and training found it convenient to use the spread copy. Nobody asked for it, but that token has chosen the largest
# step size of the grid: a large $\Delta$ writes a token into the state (and makes the past fade), a small one lets
# the token pass almost unheard. That is selectivity at work.
#
# An attention layer would have built the L x L matrix: for the 64 x 64 grid of this network's first stage, 16.8
# million entries a channel. The scan never does; it carries N = 16 numbers.

# %% [markdown]
# ### Play
#
# Move the pixel that asks. What changes when it stands on the flag? Beside it? In the corner? Then change the flag's
# strength (second slider): from which strength on is it heard?

# %% kind="play"
import ipywidgets


def show(row: int = 7, column: int = 2, flag: float = 1.0) -> None:
    """Draw where a pixel reads from."""
    own = grid.clone()
    own[0, 2, 6, 1] = flag
    reads, _ = look(trained["SS2D: four routes"], own, row, column)
    _, ax = plt.subplots(figsize=(2.6, 2.6))
    ax.imshow(reads)
    ax.plot(column, row, "o", color="white")
    ax.set(title=f"where ({row}, {column}) reads from", xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(show, row=(0, SIDE - 1), column=(0, SIDE - 1), flag=(0.0, 2.0, 0.1))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The echo task is made for the scan. It shows what *can* travel, not what travels in a network trained on lesions;
#   lesson 14 looks there.
# - "Every pixel reaches every pixel" is a statement about possibility. The state fades: over 4096 tokens little is
#   left of what was written with a fast decay rate.
# - Two pixels above each other are `width` steps apart on the row routes; the column routes repair that for columns.
#   Diagonal neighbors are far apart on all four.
# - SE was switched off here. With it (the network's default) even one route solves the echo task: SE takes the mean
#   over the whole image, and that carries the flag's sign everywhere. Try it: `se=True` in `one_route`. Lesson 7
#   tells why.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. A network has one scan along the rows and nothing else that mixes pixels. Which output knows the whole image?
# - [ ] the one in the middle :: It has read half of the tokens.
# - [x] the last, at the bottom right :: Only the last token comes after all the others.
# - [ ] all of them :: The first token is read before anything else.
#
# 2. You forget to put the results back before adding them. What happens?
# - [ ] PyTorch raises an error, since the shapes differ :: All sequences have the same length, so nothing is noticed.
# - [ ] nothing, since addition does not care about order :: It would not care if step t of every route were the same
#   pixel. It is not.
# - [x] the result is a mixture of different pixels, and the network trains badly without an error :: That is why
#   there is a check.
#
# 3. On which grid is "down the columns" its own inverse?
# - [x] on a square grid :: There the table is a transposition, and transposing twice changes nothing. A test on
#   square grids alone would miss the mistake.
# - [ ] on every grid :: For 2 x 3 it is not: 0, 3, 1, 4, 2, 5 has the inverse 0, 2, 4, 1, 3, 5.
# - [ ] on none :: Try 2 x 2: 0, 2, 1, 3.
#
# 4. In the matrix M of the scan, what is M[t, s] for s > t?
# - [x] zero :: A scan cannot read what has not come yet. The backward routes fill the other triangle.
# - [ ] M[s, t] :: The matrix is not symmetric: queries and keys differ, and so does the direction.
# - [ ] small but not zero :: It is exactly zero.
#
# 5. The side of the image doubles. How does the scan's work grow?
# - [ ] twofold :: There are four times as many pixels.
# - [x] fourfold :: Linear in the number of pixels: that is the point of it.
# - [ ] sixteenfold :: That would be attention, which compares each pixel with each.

# %% [markdown] kind="links"
# ## Further reading
#
# - [VMamba: visual state space model](https://arxiv.org/abs/2401.10166): SS2D and its four routes.
# - [Vision Mamba](https://arxiv.org/abs/2401.09417): two routes instead of four, with a class token.
# - [The hidden attention of Mamba models](https://arxiv.org/abs/2403.01590): the matrix that you derived.
# - [LocalMamba](https://arxiv.org/abs/2403.09338): routes inside windows, so that neighbors stay neighbors.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the network that this one is built on.
