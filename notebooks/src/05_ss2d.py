# %% [markdown] kind="claim"
# **Claim.** Four scans that traverse an image in four orders let every pixel depend on every other pixel, at a cost
# that grows linearly with the number of pixels. You write SS2D from scratch, check it against the package's engine in
# value and gradient, and then measure on small tasks which pixels can influence which. The controls: one scan direction
# alone, rows without columns, and a convolution, whose output depends on neighboring pixels only.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write the four routes over a grid as one table of indices, for any height and width;
# - expand an image into sequences (scan expansion) and merge them again (scan merging), and say which operation inverts
#   which;
# - assemble SS2D's selective scan and plug it into the network;
# - say, before running anything, which pixels can influence which, and what row and column directions each add;
# - derive the attention matrix that a scan is equivalent to, and interpret it;
# - measure an effective receptive field, and test by intervention what carries information.

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
# ## An image is not a sentence
#
# In lesson 4 a selective scan processed a sequence: token after token, carrying a state $h_t$. A sentence has an order.
# An image has none: is the pixel below "later" than the pixel to the right? Whatever order we choose, the first pixel
# is processed before any other. Here is what that means. We feed a 6 x 6 grid to one scan along the rows, change
# **one** pixel, and mark every output that changes.

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
# Every output **after** the orange pixel depends on it; none before it does. For segmentation that is a strange rule:
# the output for the skin below a lesion would depend on it, and the output for the skin above it would not.

# %% exercise="ss2d.seen_by_one_route"
seen = 29

# %% [markdown]
# VMamba's solution, which the paper adopts (section 3.2): scan in **four** directions, each with its own parameters,
# and add the results.
#
# 1. **Scan expansion** reads the grid along each route: four sequences.
# 2. **S6** scans each sequence. Each direction has its own parameters.
# 3. **Scan merging** puts each result back at its pixel and adds the four.
#
# We build the three in turn. First the routes, as a table: row $k$ lists, step by step, which token direction $k$
# reads.
#
# Number a 2 x 3 grid by rows:
#
# | | | |
# |---|---|---|
# | 0 | 1 | 2 |
# | 3 | 4 | 5 |
#
# The route down the columns reads 0, 3, 1, 4, 2, 5.


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
# Step through the routes yourself (this figure needs a running notebook):

# %%
import plotly.graph_objects as go
from plotly.subplots import make_subplots


def animate_routes(height: int, width: int) -> go.Figure:
    """The four scan directions, one frame per step: tokens light up when they are read."""
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
# **Predict.** Expand a grid, do *nothing* to the sequences, and merge them by adding. Which image comes back: the
# input, four times the input, or the input with its mirror images? Decide, then write the merge and look.


# %% exercise="ss2d.cross_merge"
def cross_merge(y: Tensor, routes: Tensor, height: int, width: int) -> Tensor:
    """Put the results (B, K, H * W, D) back in place and add them: (B, H, W, D)."""
    merged = torch.zeros_like(y[:, 0])  # (B, L, D)
    for k, route in enumerate(routes.long()):
        merged = merged + y[:, k, torch.argsort(route)]
    return merged.unflatten(1, (height, width))  # (B, H, W, D)


# %%
cross_scan, cross_merge = (
    lessons.use("ss2d.cross_scan", cross_scan),
    lessons.use("ss2d.cross_merge", cross_merge),
)

from skinlesion.data.synthetic import synthesize

photo = torch.from_numpy(synthesize(9, (24, 32)).image).float()[None] / 255  # (1, 24, 32, 3)
routes = four_routes(24, 32)
sequences = cross_scan(photo, routes)
there_and_back = cross_merge(sequences, routes, 24, 32)
forgotten = sequences.sum(1).unflatten(1, (24, 32))  # without restoring the order

fig, axes = plt.subplots(1, 3, figsize=(8, 2.2))
for ax, image, title in zip(
    axes,
    (photo, there_and_back / 4, forgotten / 4),
    ("input", "merged, divided by 4", "added without reordering, divided by 4"),
    strict=True,
):
    ax.imshow(image[0].clamp(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
plt.show()
lessons.happened("5.1", f"4 x input; largest difference {float((there_and_back - 4 * photo).abs().max()):.0e}")

# %% [markdown]
# Four times the input, exactly. The image on the right is what the most common mistake produces: the shapes fit, the
# network would even train a little, and no error is raised.
#
# Now put S6 in between. The step size $\Delta$, and what a token writes ($B$) and reads ($C$), are computed from the
# token; that is the selectivity of lesson 4. Each direction has its own parameters, so every token has four of each.


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
# `lessons.plug` makes a copy of the network in which your function does the scanning. With the same weights and the
# same image, the segmentation must be the same. (Yours is a Python loop, so the image is small; lesson 6 is about
# speed.)

# %%
cross_selective_scan = lessons.use("ss2d.cross_selective_scan", cross_selective_scan)

torch.manual_seed(0)
network = create_model("tiny").eval()
mine = lessons.plug(network, "scan", cross_selective_scan)
image = torch.from_numpy(synthesize(3, 64).image).permute(2, 0, 1)[None] / 255  # (1, 3, 64, 64)
with torch.no_grad():
    theirs, yours = network(image), mine(image)
print(f"largest difference of the logits: {float((theirs - yours).abs().max()):.0e}")

# %% [markdown] given="50"
# ## Which pixels can influence which? An experiment
#
# **The echo task.** A 10 x 10 grid of noise. At one random position a flag is raised: +1 or -1. *Every* pixel must
# output the flag's sign. A pixel whose receptive field does not contain the flag can only guess: 50%.
#
# We compare three networks that differ only in the part that mixes pixels: three 3 x 3 convolutions; SS2D with
# direction 0 only (its four parameter sets all use route 0, so that the number of parameters is the same); SS2D.

# %%
SIDE, STEPS = 10, 40 if lessons.FAST else 300


def echo_batch(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Grids (n, SIDE, SIDE, 2) of noise and flag, signs (n,) in {0, 1}, flag positions (n,)."""
    x = torch.stack([0.3 * torch.randn(n, SIDE**2, generator=generator), torch.zeros(n, SIDE**2)], dim=-1)
    place = torch.randint(SIDE**2, (n,), generator=generator)
    sign = torch.randint(2, (n,), generator=generator).float()
    x[torch.arange(n), place] = torch.stack([2 * sign - 1, torch.ones(n)], dim=-1)
    return x.unflatten(1, (SIDE, SIDE)), sign, place


class Convolutions(nn.Module):
    """Three 3 x 3 convolutions, each with a residual, channels last."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.layers = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.first(x)).permute(0, 3, 1, 2)  # (B, dim, H, W)
        for layer in self.layers:
            x = x + F.silu(layer(x))
        return x.permute(0, 2, 3, 1)


def with_routes(dim: int, directions: list[int]) -> nn.Module:
    """SS2D whose four scans follow the given directions, each an index of a route."""
    layer = SS2D(dim=dim, config=ModelConfig(d_state=4, se=False))
    table = four_routes(SIDE, SIDE)[directions]
    return lessons.plug(layer, "scan", lambda *tensors: fast_scan(*tensors, routes=table))


class Echo(nn.Module):
    """Embedding, pixel mixing, head: (B, H, W, 2) -> logits (B, H, W)."""

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
# networks. It is the share of the 100 positions from which information can arrive, plus half of the rest. (Three 3 x 3
# convolutions have a receptive field of 7 x 7.)

# %% kind="signature"
accuracy, trained = {}, {}
for name, make, rate in (
    ("three 3 x 3 convolutions", Convolutions, 3e-3),
    ("one direction", lambda dim: with_routes(dim, [0, 0, 0, 0]), 1e-2),
    ("SS2D: four directions", lambda dim: SS2D(dim=dim, config=ModelConfig(d_state=4, se=False)), 1e-2),
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
    ax.set(title=f"{name}: {100 * map_.mean():.0f}%", xticks=[], yticks=[])
fig.colorbar(shown, ax=axes, label="correct (%)")
fig.suptitle("one layer with four directions reaches every pixel from every position")
plt.show()
corners = {name: [f"{100 * float(map_[i, i]):.0f}%" for i in (0, 5, 9)] for name, map_ in accuracy.items()}
for name, values in corners.items():
    lessons.happened("5.2", f"{name}: {', '.join(values)} at top left, center, bottom right")

# %% [markdown] given="75 58"
# With one direction, pixels at the top guess and pixels at the bottom are always right. With four directions, every
# pixel depends on every position, in **one** layer. The convolutions reach three pixels in each direction and guess the
# rest: (49 + 51 / 2) % = 75% in the middle, (16 + 84 / 2) % = 58% in a corner. Each further 3 x 3 convolution extends
# the reach by one pixel.
#
# ### Why columns?
#
# A forward and a backward scan along the rows reach every pixel too. Then why does SS2D also scan down the columns?
# Because being in reach is not enough: between a pixel and the one above it lie all the pixels of a row, each of which
# may overwrite the state. **The line task**: each row has a flag of its own at its left end (five are +1, five -1), and
# every pixel must output the flag of *its* row. We also use the transposed task: each column has a flag at its top.

# %% [markdown] kind="predict"
# **Predict** six accuracies: row flags and column flags, with the row directions only (0 and 2, each twice), the column
# directions only (1 and 3), and all four.


# %% kind="control"
def line_batch(n: int, generator: torch.Generator, columns: bool) -> tuple[Tensor, Tensor]:
    """Grids (n, SIDE, SIDE, 2) with a flag at the start of each line, and the line's sign (n, SIDE, SIDE)."""
    x = torch.stack([0.3 * torch.randn(n, SIDE, SIDE, generator=generator), torch.zeros(n, SIDE, SIDE)], dim=-1)
    sign = (torch.rand(n, SIDE, generator=generator).argsort(1) < SIDE // 2).float()  # five of each
    x[:, :, 0] = torch.stack([2 * sign - 1, torch.ones(n, SIDE)], dim=-1)
    target = sign[:, :, None].expand(-1, -1, SIDE)
    return (x.transpose(1, 2), target.transpose(1, 2)) if columns else (x, target)


def line_accuracy(directions: list[int], columns: bool) -> float:
    """Share of right pixels after training, without the first three pixels of each line."""
    torch.manual_seed(0)
    model, generator = Echo(with_routes(16, directions)), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(STEPS):
        x, target = line_batch(32, generator, columns)
        loss = F.binary_cross_entropy_with_logits(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, target = line_batch(500, generator, columns)
    with torch.no_grad():
        right = (model(x) > 0) == (target > 0.5)  # (n, SIDE, SIDE)
    return float((right[:, 3:] if columns else right[:, :, 3:]).float().mean())


rows = {"rows only": [0, 2, 0, 2], "columns only": [1, 3, 1, 3], "all four": [0, 1, 2, 3]}
for name, directions in rows.items():
    by_row, by_column = (100 * line_accuracy(directions, columns) for columns in (False, True))
    lessons.happened("5.3", f"{name:13} row flags {by_row:.0f}%, column flags {by_column:.0f}%")

# %% [markdown]
# With rows only, the row flags are found without a mistake and the column flags are guessed, except in the first two
# rows (the convolution before the scan reaches those). With columns only, it is the other way around. All four
# directions solve both. A scan along the lines only has to keep the last flag it has passed. A scan across them passes
# the flags of all ten lines first, and would have to remember each of them. In the echo task, where only one flag
# exists, rows in both directions are enough, so that task cannot show why VMamba has four.
#
# ### Control: does the information really travel along the routes?
#
# If the trained SS2D solved the echo task in some other way, breaking the routes would not matter. So we break them:
# the same trained weights, but the backward routes run forward. Then we do it a second time with one random order for
# all four, in which neighbors are no longer neighbors.


# %% kind="control"
def accuracy_with(table: Tensor) -> float:
    """Accuracy of the trained SS2D when its scans follow other routes."""
    model = trained["SS2D: four directions"]
    x, sign, _ = echo_batch(500, torch.Generator().manual_seed(5))
    other_routes = {"scan": lambda *tensors: fast_scan(*tensors, routes=table)}
    with torch.no_grad(), lessons.plugged(model.mix, other_routes):
        right = ((model(x) > 0) == (sign[:, None, None] > 0.5)).float().mean()
    return float(right)


table = four_routes(SIDE, SIDE)
shuffled = torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(0))
for name, routes in (
    ("its own four routes", table),
    ("backward routes run forward", table[[0, 1, 0, 1]]),
    ("one random order for all", shuffled.expand(4, -1)),
):
    print(f"{name:32} {100 * accuracy_with(routes):.0f}%")

# %% [markdown] given="95"
# With backward routes that run forward, accuracy falls to 77%: pixels at the beginning come before the flag. With one
# common random order it is 84%: a pixel depends on the flag only if the flag comes earlier in the order, or if one of
# the flag's eight neighbors does, since the convolution before the scan copies the flag to them. So the information
# does travel along the routes. That the order is random does no further harm, since adjacency doesn't matter in *this*
# task. In an image, nearby pixels would be far apart on the route, and the state decays with every step.
#
# ## The effective receptive field
#
# Lesson 3 used the gradient of one output to measure how much of its theoretical field a U-Net really uses. Here is the
# same metric for one SS2D layer, whose theoretical field is the whole image: the side of the square around the middle
# that holds half, or 95%, of the absolute gradient.

# %%
from skinlesion.explain.receptive_field import receptive_field

WIDE = 65


class OneLayer(nn.Module):
    """Embedding, mixing, sum over channels: an image (B, 3, H, W) -> logits (B, 1, H, W)."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.embed, self.mixer = nn.Conv2d(3, 16, 1), mixer

    def forward(self, image: Tensor) -> Tensor:
        return self.mixer(self.embed(image).permute(0, 2, 3, 1)).sum(-1)[:, None]


class ChannelsFirst(nn.Module):
    """A network of the echo task for images (B, 2, H, W) -> logits (B, 1, H, W)."""

    def __init__(self, echo: nn.Module) -> None:
        super().__init__()
        self.echo = echo

    def forward(self, image: Tensor) -> Tensor:
        return self.echo(image.permute(0, 2, 3, 1))[:, None]


generator = torch.Generator().manual_seed(0)
noise = torch.randn(8, 3, WIDE, WIDE, generator=generator)
echoes = echo_batch(32, generator)[0].permute(0, 3, 1, 2)
torch.manual_seed(0)
measured = {
    "SS2D, untrained": (OneLayer(SS2D(dim=16, config=ModelConfig(se=False))), noise),
    "convolutions, untrained": (OneLayer(Convolutions(16)), noise),
    "convolutions, echo task": (ChannelsFirst(trained["three 3 x 3 convolutions"]), echoes),
    "SS2D, echo task": (ChannelsFirst(trained["SS2D: four directions"]), echoes),
}
fig, axes = plt.subplots(1, 4, figsize=(9, 2.4))
for ax, (name, (model, images)) in zip(axes, measured.items(), strict=True):
    field = receptive_field(model.eval(), images)
    half, most = field.side(0.5), field.side(0.95)
    print(f"{name:24} half of the gradient in {half} x {half} pixels, 95% in {most} x {most}, of {images.shape[-1]}")
    share = torch.from_numpy(field.share)
    ax.imshow((share / share.max()).clamp(min=1e-6).log10(), vmin=-5, vmax=0)
    ax.set(title=name, xticks=[], yticks=[])
fig.suptitle("log gradient of the center output: training determines how far a scan reaches")
plt.show()

# %% [markdown]
# An untrained SS2D has 95% of its gradient in 3 x 3 of the 65 x 65 pixels, less than an untrained stack of
# convolutions (5 x 5), although the whole image is inside its theoretical field: the convolution before the scan and
# the direct path dominate, and what comes through the scan is a faint cross along rows and columns. Trained on the echo
# task, the same kind of layer depends on the whole 10 x 10 grid; the trained convolutions stay inside their 7 x 7. So
# "global receptive field" means that a dependence is possible. Training decides whether it is used, and how strongly:
# the same finding as in lesson 3.
#
# ## The scan as attention
#
# Unroll $h_t = e^{\Delta_t a} h_{t-1} + \Delta_t B_t u_t$, $y_t = C_t h_t$. Each output is a weighted sum of the inputs
# up to that step. The weights form a matrix, and it looks like linear attention: a query $C_t$, a key $B_s$, a value
# $u_s$, and a decay in between.


# %% exercise="ss2d.implicit_attention"
def implicit_attention(delta: Tensor, a: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The scan of one channel as a matrix: delta (L,), a (N,), B and C (L, N) -> (L, L), row t reads from s."""
    time = delta.cumsum(0)  # (L,)
    gap = (time[:, None] - time[None, :]).clamp(min=0)  # (L, L): from s to t
    decay = torch.exp(gap[..., None] * a)  # (L, L, N)
    return torch.einsum("tn,tsn,sn->ts", C, decay, delta[:, None] * B).tril()


# %% [markdown]
# Compute it in the trained network. We raise a flag at (2, 6), take the row of the matrix that belongs to the pixel (7,
# 2), and add up the four directions (absolute weights, summed over all channels). Next to it: the step size $\Delta$ of
# each token.

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
reads, step = look(trained["SS2D: four directions"], grid, 7, 2)
fig, axes = plt.subplots(1, 2, figsize=(6, 2.6))
for ax, map_, title in zip(
    axes, (reads, step), ("positions that (7, 2) depends on", "step size of each token"), strict=True
):
    fig.colorbar(ax.imshow(map_), ax=ax)
    ax.plot(6, 2, "s", markerfacecolor="none", color="red", markersize=14)
    ax.set(title=title, xticks=[], yticks=[])
axes[0].plot(2, 7, "o", color="white")
plt.show()

# %% [markdown] given="16.8"
# The pixel's output depends on a token right beside the flag (red square), four rows away, a little on the pixel
# itself, and on hardly anything else. The token is beside the flag and not on it because the 3 x 3 convolution before
# the scan spreads the flag, and the trained weights use the copy. The same token has the largest step size of the grid:
# a large $\Delta$ writes a token into the state (and makes the past decay), a small one leaves the state as it is. No
# loss was applied to the step size itself; this is selectivity at work.
#
# An attention layer would compute an L x L matrix: for the 64 x 64 grid of the paper's first stage, 16.8 million
# entries per head. The scan never does; for each channel it carries N = 16 numbers.

# %% [markdown]
# ### Play
#
# Move the pixel whose row of the matrix is shown. What changes when it is on the flag? Beside it? In the corner? Then
# change the flag's strength: how strong must the flag be to show up in the map?

# %% kind="play"
import ipywidgets


def show(row: int = 7, column: int = 2, flag: float = 1.0) -> None:
    """Plot the positions that a pixel depends on."""
    own = grid.clone()
    own[0, 2, 6, 1] = flag
    reads, _ = look(trained["SS2D: four directions"], own, row, column)
    _, ax = plt.subplots(figsize=(2.6, 2.6))
    ax.imshow(reads)
    ax.plot(column, row, "o", color="white")
    ax.set(title=f"positions that ({row}, {column}) depends on", xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(show, row=(0, SIDE - 1), column=(0, SIDE - 1), flag=(0.0, 2.0, 0.1))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The echo and line tasks are designed for the scan. They show what information *can* travel, not what does travel in
#   a network trained on lesions; lesson 14 looks into that.
# - "Every pixel reaches every pixel" is a statement about possibility. The state decays: over 4096 tokens, little is
#   left of anything written to a state with a fast decay rate.
# - Two vertically adjacent pixels are `width` steps apart on the row routes; the column routes bring them together.
#   Diagonal neighbors are far apart on all four.
# - SE was switched off here. With it (the network's default) even one direction solves the echo task: SE takes the mean
#   over the whole image, and that carries the flag's sign everywhere. Try it: `se=True` in `with_routes`. Lesson 7
#   explains why.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. A network has one scan along the rows and nothing else that mixes pixels. Which output depends on the whole image?
# - [ ] the one in the middle of the image :: It depends on half of the tokens.
# - [x] the last one, at the bottom right :: Only the last token comes after all the others.
# - [ ] each of them, through the scan's state :: The first token is processed before anything else.
#
# 2. You forget to put the results back before adding them. What happens?
# - [ ] PyTorch raises an error, since the shapes of the sequences differ :: All sequences have the same length, so
#   nothing is noticed.
# - [ ] nothing, since the order does not matter in a sum of sequences :: It would not matter if step t of every route
#   were the same pixel. It is not.
# - [x] different pixels are mixed, and the network trains badly :: No error is raised: that is why there is a check.
#
# 3. On which grid is "down the columns" its own inverse?
# - [x] on a square grid :: There the table transposes the grid, and transposing twice changes nothing. A test on square
#   grids alone would miss the mistake.
# - [ ] on every grid there is :: For 2 x 3 it is not: 0, 3, 1, 4, 2, 5 has the inverse 0, 2, 4, 1, 3, 5.
# - [ ] on no grid at all :: Try 2 x 2: 0, 2, 1, 3.
#
# 4. In the matrix M of the scan, what is M[t, s] for s > t?
# - [x] zero :: A scan has no access to later inputs. The backward routes fill the other triangle.
# - [ ] M[s, t] :: The matrix is not symmetric: queries and keys differ, and so does the direction.
# - [ ] nearly zero :: It is exactly zero.
#
# 5. The side of the image doubles. How does the scan's work grow?
# - [ ] twofold :: There are four times as many pixels.
# - [x] fourfold :: Linear in the number of pixels.
# - [ ] sixteenfold :: That would be attention, which compares each pixel with each.

# %% [markdown] kind="links"
# ## Further reading
#
# - [VMamba: visual state space model](https://arxiv.org/abs/2401.10166): SS2D and its four routes.
# - [Vision Mamba](https://arxiv.org/abs/2401.09417): two routes instead of four, with a class token.
# - [The hidden attention of Mamba models](https://arxiv.org/abs/2403.01590): the matrix that you derived.
# - [LocalMamba](https://arxiv.org/abs/2403.09338): routes inside windows, so that neighbors stay neighbors.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the network that this one is built on.
