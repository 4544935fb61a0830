"""Lesson 10: cross-region attention."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized, uniform
from skinlesion.model import apply_gates, directional_means

# --- eqs. 2 and 3 -----------------------------------------------------------------------------------------------------


def _maps(generator: Generator) -> list[Case]:
    shapes = (
        ((1, 2, 3, 4), "a grid that is not square"),
        ((2, 3, 3, 3), "as many channels as rows and columns"),
        ((1, 4, 1, 2), "a single column"),
        ((3, 2, 6, 4), "three images, wider than tall"),
    )
    return [Case((normal(generator, *shape),), label, (0,)) for shape, label in shapes]


MEANS = Exercise(
    name="cra.directional_means",
    lesson=10,
    title="Two profiles of an image (eqs. 2 and 3)",
    statement=r"""
Return the mean of each **row** and the mean of each **column**, channel by channel:

$$z^h_c(i) = \frac1W \sum_j x_c(i, j), \qquad z^w_c(j) = \frac1H \sum_i x_c(i, j)$$

`x` $(B, H, W, C)$ -> $z^h$ $(B, H, C)$ and $z^w$ $(B, W, C)$, in this order.
""",
    solution=directional_means,
    example="""
x = torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]).reshape(1, 2, 3, 1)
directional_means(x)
""",
    difficulty=1,
    importance=5,
    minutes=5,
    hints=(
        "The profile along the height has a value for each row: which axis do you average over?",
        "`x.mean(dim=2)` averages over the columns and leaves the rows.",
    ),
    cases=_maps,
    wrong=(
        Wrong(
            "swapped",
            lambda x: (x.mean(dim=1), x.mean(dim=2)),
            "The two are swapped: the mean over axis 1 (rows) leaves one value per column, which is z_w.",
        ),
        Wrong(
            "sums", lambda x: (x.sum(dim=2), x.sum(dim=1)), "These are sums, not means: they grow with the image size."
        ),
        Wrong("maxima", lambda x: (x.amax(dim=2), x.amax(dim=1)), "These are maxima, not means."),
        Wrong(
            "channels averaged",
            lambda x: (x.mean(dim=3), x.mean(dim=3).mT),
            "You average over the channels. Each channel has its own profiles.",
        ),
        Wrong(
            "axes kept",
            lambda x: (x.mean(dim=2, keepdim=True), x.mean(dim=1, keepdim=True)),
            "You keep the averaged axis with size 1; drop keepdim.",
        ),
        Wrong(
            "divided by the other side",
            lambda x: (x.sum(dim=2) / x.shape[1], x.sum(dim=1) / x.shape[2]),
            "A row has W pixels, so divide its sum by W, and a column's by H. On a square grid there is no difference.",
        ),
    ),
    after="SE keeps one number per channel. The profiles keep H + W: enough to say in which rows and columns something "
    "is.",
)

# --- eqs. 4 to 6 ------------------------------------------------------------------------------------------------------


def gates(
    x: Tensor, conv1: nn.Linear, bn1: nn.BatchNorm1d, conv_h: nn.Linear, conv_w: nn.Linear
) -> tuple[Tensor, Tensor]:
    """Eqs. 2 to 6, with given layers.

    Args:
        x: (B, H, W, C).
        conv1: F_1, C to C / r.
        bn1: batch norm over the C / r channels.
        conv_h: T_h, C / r to C.
        conv_w: T_w, C / r to C.

    Returns:
        g_h, (B, H, C), and g_w, (B, W, C), each in (0, 1).
    """
    z_h, z_w = directional_means(x)
    f = conv1(torch.cat([z_h, z_w], dim=1))  # (B, H + W, C / r)
    f = F.hardswish(bn1(f.transpose(1, 2)).transpose(1, 2))
    f_h, f_w = f.split([x.shape[1], x.shape[2]], dim=1)
    return torch.sigmoid(conv_h(f_h)), torch.sigmoid(conv_w(f_w))


def _layers(generator: Generator, channels: int, narrow: int) -> tuple[nn.Module, ...]:
    layers: tuple[nn.Module, ...] = (
        nn.Linear(channels, narrow),
        nn.BatchNorm1d(narrow),
        nn.Linear(narrow, channels),
        nn.Linear(narrow, channels),
    )
    norm = layers[1]
    assert isinstance(norm, nn.BatchNorm1d)
    # As after training: otherwise batch normalization at rest would change nothing, and its absence would not show.
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(normal(generator, narrow))
    norm.running_var.copy_(uniform(generator, 0.1, 0.5, narrow))
    return tuple(randomized(generator, layer).eval() for layer in layers)


def _gate_inputs(generator: Generator) -> list[Case]:
    cases = []
    for shape, label in (
        ((1, 2, 3, 4), "a grid that is not square"),
        ((2, 3, 3, 3), "a square grid, two images"),
        ((1, 4, 2, 6), "a grid that is taller than wide"),
    ):
        cases.append(Case((normal(generator, *shape), *_layers(generator, shape[-1], 2)), label, (0,)))
    layers = _layers(generator, 4, 3)
    layers[1].train()
    return [*cases, Case((normal(generator, 3, 5, 2, 4), *layers), "three images, in training mode", (0,))]


def _gates(
    x: Tensor, conv1: nn.Linear, bn1: nn.BatchNorm1d, conv_h: nn.Linear, conv_w: nn.Linear, *, mistake: str
) -> tuple[Tensor, Tensor]:
    """The gates with one mistake of a student in it."""
    height, width = x.shape[1:3]
    z_h, z_w = directional_means(x)
    if mistake == "global":
        mean = x.mean(dim=(1, 2))[:, None]
        z_h, z_w = mean.expand(-1, height, -1), mean.expand(-1, width, -1)
    if mistake == "two norms":
        f_h, f_w = (F.hardswish(bn1(conv1(z).mT).mT) for z in (z_h, z_w))
        return torch.sigmoid(conv_h(f_h)), torch.sigmoid(conv_w(f_w))
    f = conv1(torch.cat([z_w, z_h] if mistake == "order" else [z_h, z_w], dim=1))
    if mistake == "layer norm":
        f = F.layer_norm(f, f.shape[-1:], bn1.weight, bn1.bias)
    elif mistake != "no norm":
        f = bn1(f.transpose(1, 2)).transpose(1, 2)
    act = {"relu": F.relu, "silu": F.silu, "linear": lambda f: f}.get(mistake, F.hardswish)
    f_h, f_w = act(f).chunk(2, dim=1) if mistake == "halves" else act(f).split([height, width], dim=1)
    if mistake == "transforms swapped":
        conv_h, conv_w = conv_w, conv_h
    if mistake == "one transform":
        conv_w = conv_h
    if mistake == "no sigmoid":
        return conv_h(f_h), conv_w(f_w)
    return torch.sigmoid(conv_h(f_h)), torch.sigmoid(conv_w(f_w))


def _mistaken(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *arguments: _gates(*arguments, mistake=mistake), diagnosis)


GATES = Exercise(
    name="cra.gates",
    lesson=10,
    title="From profiles to gates (eqs. 4 to 6)",
    statement=r"""
$$f = \delta\big(\mathrm{norm}(F_1([z^h, z^w]))\big), \qquad g^h = \sigma(T_h(f^h)), \qquad g^w = \sigma(T_w(f^w))$$

Concatenate the two profiles **along the positions** into $(B, H + W, C)$, so that one narrow layer `conv1` $= F_1$
processes both; normalize
(`bn1` is a `BatchNorm1d`: it expects the channels at axis 1); $\delta$ is `F.hardswish`; split into the first $H$
and the last $W$
positions; apply a layer and a sigmoid to each. Return $g^h$ $(B, H, C)$ and $g^w$ $(B, W, C)$.

The paper writes "$\delta$ is the sigmoid" below eq. 6; that makes sense only as a typo for $\sigma$ (A14).
""",
    solution=gates,
    example="""
layers = (nn.Linear(1, 8), nn.BatchNorm1d(8).eval(), nn.Linear(8, 1), nn.Linear(8, 1))
for layer in layers[2:]:
    _ = (nn.init.zeros_(layer.weight), nn.init.constant_(layer.bias, 2.0))
gates(torch.ones(1, 2, 3, 1), *layers)
""",
    difficulty=3,
    importance=5,
    minutes=15,
    hints=(
        "Follow the shapes: (B, H, C) and (B, W, C) -> (B, H + W, C) -> (B, H + W, C / r) -> two parts -> (B, H, "
        "C), (B, W, C).",
        "`bn1(f.transpose(1, 2)).transpose(1, 2)` normalizes the channels of (B, positions, channels).",
        "`f_h, f_w = f.split([H, W], dim=1)`, then `torch.sigmoid(conv_h(f_h))` and `torch.sigmoid(conv_w(f_w))`.",
    ),
    cases=_gate_inputs,
    wrong=(
        _mistaken(
            "layer normalization",
            "layer norm",
            "You normalize each position over its channels: layer normalization. `bn1` is a batch norm: call it.",
        ),
        _mistaken(
            "two normalizations",
            "two norms",
            "You normalize the two profiles separately. In training, batch normalization then uses two means and two "
            "variances: concatenate first, and normalize once.",
        ),
        _mistaken(
            "cut in halves",
            "halves",
            "chunk(2) splits in the middle. The first H positions are the rows, the other W the columns: use split.",
        ),
        _mistaken("no normalization", "no norm", "The normalization is missing."),
        _mistaken(
            "ReLU",
            "relu",
            "The nonlinearity is ReLU. Coordinate attention uses h-swish (F.hardswish), and so do we (A13).",
        ),
        _mistaken("SiLU", "silu", "The nonlinearity is SiLU. It is close to h-swish, but not the same."),
        _mistaken("no nonlinearity", "linear", "There is no nonlinearity between the two layers."),
        _mistaken("no sigmoid", "no sigmoid", "The sigmoid at the end is missing: gates must lie between 0 and 1."),
        _mistaken(
            "columns first",
            "order",
            "The profiles are concatenated as (columns, rows) but split as (rows, columns). Rows come first.",
        ),
        _mistaken("T_h twice", "one transform", "Both gates use T_h. The columns have their own layer, T_w."),
        _mistaken("T_h and T_w swapped", "transforms swapped", "T_h and T_w are swapped."),
        _mistaken(
            "global mean",
            "global",
            "Every row and every column gets the mean of the whole image: that is SE. Use the two profiles.",
        ),
    ),
)

# --- eq. 7 -----------------------------------------------------------------------------------------------------------


def _gated(generator: Generator) -> list[Case]:
    cases = []
    for batch, height, width, channels, label in (
        (1, 2, 3, 4, "a grid that is not square"),
        (2, 3, 3, 3, "a square grid, two images"),
        (1, 4, 2, 2, "a grid that is taller than wide"),
        (3, 2, 5, 4, "three images"),
    ):
        g_h, g_w = uniform(generator, 0, 1, batch, height, channels), uniform(generator, 0, 1, batch, width, channels)
        cases.append(Case((normal(generator, batch, height, width, channels), g_h, g_w), label, (0, 1, 2)))
    return cases


APPLY = Exercise(
    name="cra.apply_gates",
    lesson=10,
    title="Applying the gates (eq. 7)",
    statement=r"""
$$y_c(i, j) = x_c(i, j)\; g^h_c(i)\; g^w_c(j)$$

`x` $(B, H, W, C)$, `gate_h` $(B, H, C)$, `gate_w` $(B, W, C)$ -> $(B, H, W, C)$.
""",
    solution=apply_gates,
    example="""
apply_gates(torch.full((1, 2, 2, 1), 8.0), torch.tensor([[[0.5],
    [1.0]]]), torch.tensor([[[0.25], [1.0]]]))[..., 0]
""",
    difficulty=1,
    importance=4,
    minutes=5,
    hints=(
        "Both gates must broadcast to (B, H, W, C). Which axis is missing in each?",
        "`gate_h[:, :, None, :]` and `gate_w[:, None, :, :]`",
    ),
    cases=_gated,
    wrong=(
        Wrong(
            "averaged gates",
            lambda x, gate_h, gate_w: x * gate_h.mean(1)[:, None, None] * gate_w.mean(1)[:, None, None],
            "You average the gates over the positions. Each row and each column has a gate of its own.",
        ),
        Wrong(
            "gate of the rows twice",
            lambda x, gate_h, gate_w: x * gate_h[:, :, None] * gate_h[:, :, None],
            "You apply the row gate twice and the column gate never.",
        ),
        Wrong(
            "axes swapped",
            lambda x, gate_h, gate_w: x * gate_h[:, None, :, :] * gate_w[:, :, None, :],
            "The row gate scales the columns, and the other way around. On a square grid there is no error.",
        ),
        Wrong(
            "added gates",
            lambda x, gate_h, gate_w: x * (gate_h[:, :, None] + gate_w[:, None]),
            "You add the gates. Multiply them: a pixel passes only if its row's *and* its column's gate are near 1.",
        ),
        Wrong(
            "mean of the gates",
            lambda x, gate_h, gate_w: x * (gate_h[:, :, None] + gate_w[:, None]) / 2,
            "This is the mean of the two gates. Eq. 7 multiplies them.",
        ),
        Wrong("rows only", lambda x, gate_h, gate_w: x * gate_h[:, :, None], "The column gate is missing."),
        Wrong(
            "residual",
            lambda x, gate_h, gate_w: x + apply_gates(x, gate_h, gate_w),
            "You add the input. Eq. 7 has no residual.",
        ),
        Wrong(
            "gates only",
            lambda x, gate_h, gate_w: gate_h[:, :, None] * gate_w[:, None],
            "This is the product of the gates, without x.",
        ),
    ),
)

# --- the surprise at the start ---------------------------------------------------------------------------------------

FACTOR = Exercise(
    name="cra.factor_at_start",
    lesson=10,
    title="Predict: an untrained CRA",
    statement=r"""
All weights of an untrained CRA are tiny. By about what factor does it multiply the skip?
""",
    solution=0.25,
    example="If each gate were $\\sigma(2) = 0.88$, a skip would be multiplied by $0.88 \\cdot 0.88 = 0.78$.",
    difficulty=1,
    importance=2,
    minutes=2,
    hints=("What is the value of one untrained gate?", "How many gates multiply each value?"),
    wrong=(
        Wrong("one gate", 0.5, "That is one gate. Two multiply each value: its row's and its column's."),
        Wrong("open", 1.0, "The sigmoid of 0 is one half, not one."),
        Wrong("closed", 0.0, "Zero goes into the sigmoid, not out of it."),
        Wrong("three gates", 0.125, "There are two gates, not three."),
        Wrong("added", 2.0, "The gates are multiplied, and each is less than one."),
    ),
    rtol=0,
    atol=0.02,
    after="1/2 times 1/2. An untrained CRA scales the skip to a quarter, relative to the decoder's own map. Training "
    "must first undo that.",
)

# --- the metric: what two profiles can represent ---------------------------------------------------------------------


def rank_one_share(map_: Tensor) -> Tensor:
    """How much of a map one row profile times one column profile can represent, at best.

    Args:
        map_: (H, W), not all zero.

    Returns:
        s_1^2 over the sum of all s_i^2, for the singular values s; a scalar in (0, 1].
    """
    power = torch.linalg.svdvals(map_).square()
    return power[0] / power.sum()


def _share(map_: Tensor, *, mistake: str) -> Tensor:
    values = torch.linalg.svdvals(map_)
    power = values.square()
    if mistake == "not squared":
        return values[0] / values.sum()
    if mistake == "last":
        return power[-1] / power.sum()
    if mistake == "the rest":
        return power[1:].sum() / power.sum()
    if mistake == "rank":
        return (values > 1e-5).sum() / len(values)
    if mistake == "centered":
        return _share(map_ - map_.mean(), mistake="")
    if mistake == "root":
        return (power[0] / power.sum()).sqrt()
    return power[0] / power.sum()


def _mistaken_share(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda map_: _share(map_, mistake=mistake), diagnosis)


SHARE = Exercise(
    name="cra.rank_one_share",
    lesson=10,
    title="The metric: how much can two profiles represent?",
    statement=r"""
The gate map of one channel is a column times a row, $g^h (g^w)^\top$: a matrix of **rank one**. The rank-one matrix
closest to a map $M$ keeps the fraction

$$\frac{s_1^2}{\sum_i s_i^2}$$

of its energy, where the singular values of $M$ are $s_1 \ge s_2 \ge \dots$ (Eckart and Young). Return it for `map_`
$(H,
W)$. It is 1 when two gates can represent the map exactly.
""",
    solution=rank_one_share,
    example="rank_one_share(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))",
    difficulty=2,
    importance=3,
    minutes=8,
    bonus=True,
    hints=(
        "`torch.linalg.svdvals(map_)` gives the singular values, largest first.",
        "Square them, then divide the first by the sum.",
    ),
    cases=lambda generator: [
        Case((normal(generator, 4, 6),), "a map that is not square"),
        Case((uniform(generator, 0, 1, 4, 1) * uniform(generator, 0, 1, 1, 5),), "a product of two profiles"),
        Case((uniform(generator, 0, 1, 5, 3),), "a map without negative values"),
    ],
    wrong=(
        Wrong(
            "eigenvalues squared",
            lambda map_: (lambda e: e[-1] ** 2 / e.square().sum())(torch.linalg.eigvalsh(map_.T @ map_)),
            "Eigenvalues of the Gram matrix are already squared singular values: don't square them again.",
        ),
        _mistaken_share("not squared", "not squared", "You don't square the singular values: energy is a square."),
        _mistaken_share(
            "the last one", "last", "That is the share of the smallest singular value. The largest comes first."
        ),
        _mistaken_share(
            "what is left", "the rest", "That is what two profiles can *not* represent: return one minus it."
        ),
        _mistaken_share("the rank", "rank", "That counts the singular values that aren't zero. Their size matters."),
        _mistaken_share(
            "centered",
            "centered",
            "You subtract the mean first. The gates must represent the map itself, including its mean.",
        ),
        _mistaken_share(
            "root", "root", "You took a square root at the end: the fraction is of the energy, not of the norm."
        ),
    ),
)

EXERCISES = (MEANS, GATES, APPLY, FACTOR, SHARE)
