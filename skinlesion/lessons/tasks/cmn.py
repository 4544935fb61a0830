"""Lesson 8: the channel-mixing network."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized
from skinlesion.model import channel_mixing
from skinlesion.model.convolution import depthwise_conv

# --- depthwise convolution -------------------------------------------------------------------------------------------


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel with its own 3 x 3 kernel, zeros around the image.

    Args:
        x: (B, H, W, C).
        weight: (C, 3, 3).
        bias: (C,).

    Returns:
        (B, H, W, C).
    """
    height, width = x.shape[1:3]
    around = F.pad(x, (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, C)
    y = bias.expand_as(x)
    for i in range(3):
        for j in range(3):
            y = y + weight[:, i, j] * around[:, i : i + height, j : j + width]
    return y


def _kernels(generator: Generator) -> list[Case]:
    cases = []
    for shape, label in (
        ((1, 3, 4, 2), ""),
        ((2, 4, 4, 3), "two images"),
        ((1, 1, 2, 1), "smaller than the kernel"),
        ((3, 6, 3, 5), "three images, taller than wide"),
    ):
        channels = shape[-1]
        weight, bias = normal(generator, channels, 3, 3), normal(generator, channels)
        cases.append(Case((normal(generator, *shape), weight, bias), label, (0, 1, 2)))
    return cases


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor, *, mistake: str) -> Tensor:
    if mistake == "flipped":
        weight = weight.flip(1, 2)
    if mistake == "transposed":
        weight = weight.mT
    if mistake == "one kernel":
        weight = weight[:1].expand_as(weight)
    if mistake == "no bias":
        bias = torch.zeros_like(bias)
    if mistake == "wraps":
        shifted = [weight[:, i, j] * x.roll((1 - i, 1 - j), dims=(1, 2)) for i in range(3) for j in range(3)]
        return torch.stack(shifted).sum(0) + bias
    if mistake == "edge repeated":
        wide = F.pad(x.movedim(-1, 1), (1, 1, 1, 1), mode="replicate").movedim(1, -1)  # (B, H + 2, W + 2, C)
        return depthwise(wide, weight, bias)[:, 1:-1, 1:-1]
    if mistake == "dilated":
        wide, (height, width) = F.pad(x, (0, 0, 2, 2, 2, 2)), x.shape[1:3]
        windows = [wide[:, 2 * i : 2 * i + height, 2 * j : 2 * j + width] for i in range(3) for j in range(3)]
        return torch.stack([w * each for w, each in zip(weight.flatten(1).T, windows, strict=True)]).sum(0) + bias
    if mistake == "bias nine times":
        bias = 9 * bias
    if mistake == "no padding":
        return depthwise(x, weight, bias)[:, 1:-1, 1:-1]
    y = depthwise(x, weight, bias)
    return y.sum(-1, keepdim=True).expand_as(y) if mistake == "channels added" else y


def _mistaken_depthwise(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda x, weight, bias: _depthwise(x, weight, bias, mistake=mistake), diagnosis)


DEPTHWISE = Exercise(
    name="cmn.depthwise",
    lesson=8,
    title="A depthwise convolution, by shifting",
    statement=r"""
Each channel is convolved with its own 3 x 3 kernel; the channels don't mix. With zeros around the image:

$$y_c(i, j) = b_c + \sum_{p=0}^{2} \sum_{q=0}^{2} w_c(p, q)\; x_c(i + p - 1,\ j + q - 1)$$

`x` $(B, H, W, C)$, `weight` $(C, 3, 3)$, `bias` $(C)$ -> $(B, H, W, C)$. Use shifts of the padded image: nine
products, no
`nn.Conv2d`.
""",
    solution=depthwise,
    example="""
x = torch.tensor([[[[1.0], [2.0], [3.0]]]])
left = torch.zeros(1, 3, 3)
left[0, 1, 0] = 1.0
depthwise(x, left, torch.zeros(1))[0, 0, :, 0]
""",
    difficulty=2,
    importance=3,
    minutes=12,
    hints=(
        "`F.pad(x, (0, 0, 1, 1, 1, 1))` puts a frame of zeros around height and width and leaves the channels alone.",
        "For each (p, q) take the H x W window of the padded image that begins at (p, q).",
        "`y = y + weight[:, p, q] * around[:, p : p + H, q : q + W]`, beginning with the bias.",
    ),
    cases=_kernels,
    forbids={"conv2d": "This calls PyTorch's own convolution. The exercise is to write it, with nine shifts."},
    wrong=(
        _mistaken_depthwise(
            "dilated", "dilated", "Your nine pixels are two apart: a dilated kernel. Neighbors are one pixel apart."
        ),
        _mistaken_depthwise(
            "edge repeated", "edge repeated", "You repeat the edge outward. Beyond the image there are zeros."
        ),
        _mistaken_depthwise(
            "kernel flipped",
            "flipped",
            "Your kernel is upside down and mirrored: that is the mathematical definition of a convolution. "
            "Deep-learning convolutions don't flip the kernel.",
        ),
        _mistaken_depthwise("kernel transposed", "transposed", "Rows and columns of the kernel are swapped."),
        _mistaken_depthwise(
            "wraps around", "wraps", "`roll` brings the opposite edge back in. Beyond the image there are zeros."
        ),
        _mistaken_depthwise("one kernel for all", "one kernel", "All channels use the kernel of channel 0."),
        _mistaken_depthwise("no bias", "no bias", "The bias is missing."),
        _mistaken_depthwise("bias nine times", "bias nine times", "You add the bias once for each of the nine shifts."),
        _mistaken_depthwise(
            "channels added", "channels added", "You sum over the channels, as in an ordinary convolution."
        ),
        _mistaken_depthwise("no padding", "no padding", "The image shrinks: pad it with zeros first."),
    ),
)

# --- channel mixing --------------------------------------------------------------------------------------------------


def _layers(generator: Generator, channels: int, wide: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    fc1, fc2 = nn.Linear(channels, wide), nn.Linear(wide, channels)
    dwconv = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
    first, second, third = (randomized(generator, layer) for layer in (fc1, dwconv, fc2))
    return first, second, third


def _mixing_inputs(generator: Generator) -> list[Case]:
    shapes = (
        ((1, 3, 4, 2), "a grid that is not square"),
        ((2, 3, 3, 3), "two images"),
        ((3, 6, 2, 4), "three images, taller than wide"),
    )
    return [
        Case((normal(generator, *shape), *_layers(generator, shape[-1], 2 * shape[-1])), label, (0,))
        for shape, label in shapes
    ]


def _mix(x: Tensor, fc1: nn.Linear, dwconv: nn.Conv2d, fc2: nn.Linear, *, mistake: str) -> Tensor:
    t = fc1(x)
    if mistake == "activation first":
        t = F.gelu(t)
        return fc2(t + depthwise_conv(t, dwconv))
    if mistake == "activation inside":
        return fc2(t + F.gelu(depthwise_conv(t, dwconv)))
    if mistake == "activation last":
        return F.gelu(fc2(t + depthwise_conv(t, dwconv)))
    local = depthwise_conv(t, dwconv)
    if mistake == "reshaped":
        local = dwconv(t.reshape(len(t), t.shape[-1], *t.shape[1:3])).reshape(t.shape)
    if mistake == "tanh":
        return fc2(F.gelu(t + local, approximate="tanh"))
    mixed = local if mistake == "no inner residual" else t if mistake == "no convolution" else t + local
    act = {"relu": F.relu, "silu": F.silu, "linear": lambda t: t}.get(mistake, F.gelu)
    y = fc2(act(mixed))
    return x + y if mistake == "outer residual" else y


def _mistaken_mix(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *arguments: _mix(*arguments, mistake=mistake), diagnosis)


MIXING = Exercise(
    name="cmn.channel_mixing",
    lesson=8,
    title="The channel-mixing network",
    statement=r"""
Expand the channels, convolve each one with its own 3 x 3 kernel, and project them back:

$$t = W_1 x, \qquad y = W_2\, \mathrm{GELU}\big(t + \mathrm{DWConv}(t)\big)$$

`fc1` and `fc2` are `nn.Linear` layers; `dwconv` is a depthwise `nn.Conv2d`, which takes channels first:
permute to
$(B, C, H, W)$ and back. `x` $(B, H, W, C)$ -> $(B, H, W, C)$. The block adds its own residual outside, so this
function does not.
""",
    solution=channel_mixing,
    takes="x, fc1, dwconv, fc2",
    example="""
fc1, fc2 = (nn.Linear(1, 1), nn.Linear(1, 1))
dwconv = nn.Conv2d(1, 1, 3, padding=1)
for layer in (fc1, fc2, dwconv):
    _ = (nn.init.ones_(layer.weight), nn.init.zeros_(layer.bias))
channel_mixing(torch.full((1, 1, 2, 1), 0.5), fc1, dwconv, fc2)
""",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "Three lines: t; its convolution; the rest.",
        "`local = dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)`",
        "`fc2(F.gelu(t + local))`",
    ),
    cases=_mixing_inputs,
    wrong=(
        Wrong(
            "reshaped back",
            lambda x, fc1, dwconv, fc2: (lambda t: fc2(F.gelu(t + dwconv(t.permute(0, 3, 1, 2)).reshape(t.shape))))(
                fc1(x)
            ),
            "You reshape the convolution's result instead of permuting it back: the numbers move.",
        ),
        Wrong(
            "transposed grid",
            lambda x, fc1, dwconv, fc2: (lambda t: fc2(F.gelu(t + dwconv(t.permute(0, 3, 2, 1)).permute(0, 3, 2, 1))))(
                fc1(x)
            ),
            "Your permutation also swaps height and width. Use (0, 3, 1, 2) and (0, 2, 3, 1).",
        ),
        _mistaken_mix(
            "reshaped, not permuted",
            "reshaped",
            "You reshape to channels first, which mixes channels with positions. Move the axis: permute(0, 3, 1, 2).",
        ),
        _mistaken_mix(
            "GELU by tanh", "tanh", "This is the tanh approximation of GELU. The exact function is `F.gelu(t)`."
        ),
        _mistaken_mix(
            "no inner residual",
            "no inner residual",
            "Your convolution replaces t. The formula adds it to t: t + DWConv(t) (our choice A8).",
        ),
        _mistaken_mix("no convolution", "no convolution", "The convolution is missing: this is an ordinary MLP."),
        _mistaken_mix(
            "GELU before the convolution",
            "activation first",
            "You apply GELU before the convolution. It comes after it (A9).",
        ),
        _mistaken_mix("GELU on the convolution only", "activation inside", "Apply GELU to the whole sum, including t."),
        _mistaken_mix("GELU at the end", "activation last", "Apply GELU before the second layer, not after it."),
        _mistaken_mix("ReLU", "relu", "The activation is ReLU; it should be GELU."),
        _mistaken_mix("SiLU", "silu", "The activation is SiLU; it should be GELU."),
        _mistaken_mix("no activation", "linear", "There is no activation, so the linear layers collapse into one."),
        _mistaken_mix(
            "outer residual", "outer residual", "You add x at the end. The block does that; this function must not."
        ),
    ),
)

# --- parameters ------------------------------------------------------------------------------------------------------


def parameters(dim: int, ratio: int) -> int:
    """What CMN adds to a block: LayerNorm, two linear layers and the convolution, all with bias."""
    wide = ratio * dim
    return 2 * dim + (dim * wide + wide) + (9 * wide + wide) + (wide * dim + dim)


PARAMETERS = Exercise(
    name="cmn.parameters",
    lesson=8,
    title="What does it cost?",
    statement=r"""
Return the number of parameters that the channel-mixing network adds to a block: its LayerNorm (a scale and a shift for
each
channel), `fc1`
$C \to rC$, the depthwise 3 x 3 convolution on $rC$ channels, and `fc2` $rC \to C$; the three layers have a
bias. $C$ is `dim`, $r$
is `ratio`.
""",
    solution=parameters,
    example="parameters(10, 2)",
    difficulty=2,
    importance=3,
    minutes=6,
    hints=(
        "Count the four parts one by one, weights and biases.",
        "A depthwise kernel has 9 weights per channel, whatever the number of channels.",
        "2 C + (C rC + rC) + (9 rC + rC) + (rC C + C)",
    ),
    cases=lambda generator: [Case((96, 2)), Case((96, 4), "ratio 4"), Case((7, 3)), Case((1, 1))],
    wrong=(
        Wrong(
            "dense convolution",
            lambda dim, ratio: parameters(dim, ratio) - 9 * ratio * dim + 9 * (ratio * dim) ** 2,
            "You counted an ordinary convolution, in which each output channel depends on all inputs. A depthwise one "
            "has 9 weights per channel.",
        ),
        Wrong("LayerNorm forgotten", lambda dim, ratio: parameters(dim, ratio) - 2 * dim, "The LayerNorm is missing."),
        Wrong(
            "no biases",
            lambda dim, ratio: parameters(dim, ratio) - (2 * ratio + 1) * dim,
            "The biases of the three layers are missing.",
        ),
        Wrong(
            "no bias in the convolution",
            lambda dim, ratio: parameters(dim, ratio) - ratio * dim,
            "The bias of the convolution is missing.",
        ),
        Wrong(
            "fc2 forgotten",
            lambda dim, ratio: parameters(dim, ratio) - (ratio * dim * dim + dim),
            "The projection back to C channels is missing.",
        ),
        Wrong(
            "one weight for the convolution",
            lambda dim, ratio: parameters(dim, ratio) - 8 * ratio * dim,
            "The kernel is 3 x 3: nine weights per channel.",
        ),
        Wrong(
            "LayerNorm on the wide channels",
            lambda dim, ratio: parameters(dim, ratio) - 2 * dim + 2 * ratio * dim,
            "The LayerNorm comes before `fc1`, on C channels.",
        ),
    ),
    after="39,264 for C = 96. Over all 15 blocks 12.6 million: CMN is the largest of the paper's three additions.",
)

DENSE = Exercise(
    name="cmn.dense_factor",
    lesson=8,
    title="Predict: dense or depthwise?",
    statement="""
CMN's convolution works on 192 channels (first stage, C = 96, expanded twofold). How many times as many weights (not
counting biases) would an ordinary 3 x 3 convolution from 192 to 192 channels have?
""",
    solution=192,
    example=(
        "With 10 channels an ordinary 3 x 3 convolution has 900 weights and a depthwise one 90: 10 times as many."
    ),
    difficulty=1,
    importance=2,
    minutes=2,
    hints=("Count both: 9 x 192 x 192 versus what?", "A depthwise convolution has 9 x 192."),
    wrong=(
        Wrong("nine", 9, "Both have kernels of nine. What differs is how many kernels."),
        Wrong("C", 96, "The channels are expanded twofold before the convolution."),
        Wrong("squared", 192 * 192, "The dense one has 192 x 192 kernels, but the depthwise one has 192, not one."),
        Wrong("times nine", 9 * 192, "The nine is on both sides and cancels."),
        Wrong("two", 2, "That is the expansion ratio."),
        Wrong("the inverse", 1 / 192, "It is the other way around: the dense one is larger."),
    ),
    after="331,776 against 1,728. That is why mixing is split: a depthwise kernel mixes neighboring pixels, a linear "
    "layer mixes channels.",
)

# --- the metric: what depends on what ------------------------------------------------------------------------------


def influence(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """How strongly each output channel of the middle pixel depends on each input channel, anywhere in the image.

    Args:
        function: (1, H, W, C) -> (1, H, W, C).
        x: (1, H, W, C).

    Returns:
        (C, C): entry [c, k] is the sum over the pixels (i, j) of abs(d y_c(middle) / d x_k(i, j)).
    """
    x = x.detach().requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[2] // 2]  # (C,)
    rows = [torch.autograd.grad(output, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for output in middle]
    return torch.stack(rows)


def _linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: x @ weight.T


def _neighbors(weight: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.tanh(x @ weight.T) - 0.5 * x.roll(1, dims=1) + 0.3 * x.roll(1, dims=2)


def _influence_inputs(generator: Generator) -> list[Case]:
    return [
        Case((_linear(normal(generator, 3, 3)), normal(generator, 1, 3, 3, 3)), "a linear layer"),
        Case((_neighbors(normal(generator, 4, 4)), normal(generator, 1, 3, 5, 4)), "a layer that depends on neighbors"),
        Case((_neighbors(normal(generator, 3, 3)), normal(generator, 1, 4, 6, 3)), "even height and width"),
        Case((_neighbors(normal(generator, 2, 2)), normal(generator, 1, 7, 2, 2)), "taller than wide"),
    ]


def _influence(function: Callable[[Tensor], Tensor], x: Tensor, *, mistake: str) -> Tensor:
    x = x.detach().requires_grad_()
    y = function(x)
    row, column = (0, 0) if mistake == "corner" else (x.shape[1] // 2, x.shape[2] // 2)
    if mistake == "odd sides":
        row, column = (x.shape[1] - 1) // 2, (x.shape[2] - 1) // 2
    if mistake == "a square":
        row = column = x.shape[1] // 2
    outputs = y[0].sum((0, 1)) if mistake == "all pixels" else y[0, row, column]
    if mistake == "mean output":
        outputs = y[0].mean((0, 1))
    rows = []
    for output in outputs:
        gradient = torch.autograd.grad(output, x, retain_graph=True)[0]
        if mistake == "signed":
            rows.append(gradient.sum((0, 1, 2)))
        elif mistake == "abs after":
            rows.append(gradient.sum((0, 1, 2)).abs())
        elif mistake == "same pixel":
            rows.append(gradient[0, row, column].abs())
        elif mistake == "mean":
            rows.append(gradient.abs().mean((0, 1, 2)))
        else:
            rows.append(gradient.abs().sum((0, 1, 2)))
    result = torch.stack(rows)
    return result.T if mistake == "transposed" else result


def _mistaken_influence(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda function, x: _influence(function, x, mistake=mistake), diagnosis)


INFLUENCE = Exercise(
    name="cmn.influence",
    lesson=8,
    title="The metric: which channel depends on which?",
    statement=r"""
For a `function` from $(1, H, W, C)$ to $(1, H, W, C)$ and an image `x`, return the $(C, C)$ matrix

$$I_{ck} = \sum_{i,j} \left| \frac{\partial\, y_c(\text{middle})}{\partial\, x_k(i, j)} \right|$$

How much would output channel $c$ of the middle pixel (row $H // 2$, column $W // 2$) change if input channel $k$
changed somewhere?
`torch.autograd.grad(output, x, retain_graph=True)` gives one row at a time. Don't change `x` itself: detach a copy.
""",
    solution=influence,
    example="""
swap = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
influence(lambda x: x @ swap, torch.zeros(1, 3, 3, 2))
""",
    difficulty=3,
    importance=3,
    minutes=12,
    bonus=True,
    hints=(
        "`x = x.detach().requires_grad_()` is a new tensor with the same values that records gradients.",
        "One gradient for each of the C output channels of the middle pixel; each is (1, H, W, C).",
        "Take `.abs().sum((0, 1, 2))` of each, which is (C,), and stack them.",
    ),
    cases=_influence_inputs,
    wrong=(
        _mistaken_influence(
            "mean output",
            "mean output",
            "You differentiate the mean over all output pixels. Use one output pixel.",
        ),
        _mistaken_influence(
            "another middle",
            "odd sides",
            "The middle is (H // 2, W // 2). Yours, (H - 1) // 2, is a different pixel where a side is even.",
        ),
        _mistaken_influence(
            "a square is assumed",
            "a square",
            "You use the same index for row and column: that is the middle only in a square image.",
        ),
        _mistaken_influence(
            "signs cancel", "signed", "Without abs, a neighbor that raises the output and one that lowers it cancel."
        ),
        _mistaken_influence(
            "abs after the sum", "abs after", "abs comes before the sum over the pixels, or opposite effects cancel."
        ),
        _mistaken_influence(
            "same pixel only", "same pixel", "You use only the middle pixel of the input. Sum over all pixels."
        ),
        _mistaken_influence("mean", "mean", "This is a mean over the pixels. Take the sum."),
        _mistaken_influence("transposed", "transposed", "Rows are output channels, columns input channels."),
        _mistaken_influence("the corner", "corner", "That is the output at the corner. Use the middle."),
        _mistaken_influence("all outputs", "all pixels", "You add the outputs of all pixels. Use one output pixel."),
    ),
)

EXERCISES = (DEPTHWISE, MIXING, PARAMETERS, DENSE, INFLUENCE)
