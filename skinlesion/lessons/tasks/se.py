"""Lesson 7: squeeze-and-excitation."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal
from skinlesion.model import squeeze_excitation

# --- squeeze ---------------------------------------------------------------------------------------------------------


def squeeze(x: Tensor) -> Tensor:
    """The mean of each channel: (B, H, W, C) -> (B, C)."""
    return x.mean(dim=(1, 2))


def _maps(generator: Generator) -> list[Case]:
    shapes = (
        ((1, 2, 3, 4), ""),
        ((2, 3, 3, 3), "as many channels as rows and columns"),
        ((2, 1, 1, 5), "one pixel"),
        ((3, 6, 4, 2), "three images, taller than wide"),
    )
    return [Case((normal(generator, *shape),), label, (0,)) for shape, label in shapes]


SQUEEZE = Exercise(
    name="se.squeeze",
    lesson=7,
    title="Squeeze",
    statement=r"""
Return one number per channel, its mean over the whole image: $(B, H, W, C) \to (B, C)$. Tensors in this network are
channels-last.
""",
    solution=squeeze,
    example="squeeze(torch.tensor([[[[1.0, 0.0], [3.0, 10.0]]]]))",
    difficulty=0,
    importance=4,
    minutes=3,
    hints=("Which axes do you take the mean over? The ones that disappear.", "`x.mean(dim=(1, 2))`"),
    cases=_maps,
    wrong=(
        Wrong(
            "the middle",
            lambda x: x[:, x.shape[1] // 2, x.shape[2] // 2],
            "You take the middle pixel. Average over all of them.",
        ),
        Wrong(
            "a square is assumed",
            lambda x: x.sum(dim=(1, 2)) / x.shape[1] ** 2,
            "You divide by the height squared, which is right only for square images.",
        ),
        Wrong(
            "sum",
            lambda x: x.sum(dim=(1, 2)),
            "A sum grows with the image size; the weights would have to compensate for it.",
        ),
        Wrong(
            "mean over the channels",
            lambda x: x.mean(dim=3),
            "You average over the channels and keep the pixels. Keep the channels.",
        ),
        Wrong(
            "channels first",
            lambda x: x.mean(dim=(2, 3)),
            "The last two axes are W and C: channels come last here, (B, H, W, C).",
        ),
        Wrong(
            "batch averaged",
            lambda x: x.mean(dim=(0, 1, 2)),
            "You average over the batch too, so each image's result would depend on the others.",
        ),
        Wrong("maximum", lambda x: x.amax(dim=(1, 2)), "This is the maximum, not the mean."),
        Wrong(
            "axes kept", lambda x: x.mean(dim=(1, 2), keepdim=True), "You keep the two axes with size 1; drop keepdim."
        ),
    ),
)

# --- excite ----------------------------------------------------------------------------------------------------------


def gate(mean: Tensor, fc1: Tensor, fc2: Tensor) -> Tensor:
    """sigmoid(W_2 relu(W_1 mean)).

    Args:
        mean: (B, C).
        fc1: W_1, (C / ratio, C).
        fc2: W_2, (C, C / ratio).

    Returns:
        (B, C), each in (0, 1).
    """
    return torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)


def _means(generator: Generator) -> list[Case]:
    cases = []
    for batch, channels, narrow, label in (
        (1, 6, 3, ""),
        (3, 4, 2, "three images"),
        (2, 3, 1, "a hidden layer of one unit"),
    ):
        tensors = (
            normal(generator, batch, channels),
            normal(generator, narrow, channels),
            normal(generator, channels, narrow),
        )
        cases.append(Case(tensors, label, (0, 1, 2)))
    return cases


EXCITE = Exercise(
    name="se.gate",
    lesson=7,
    title="Excitation",
    statement=r"""
From the means, compute a gate between 0 and 1 for each channel:

$$s = \sigma\big(W_2\ \mathrm{ReLU}(W_1\, \bar x)\big)$$

`mean` $(B, C)$, `fc1` $= W_1\ (C/r,\ C)$, `fc2` $= W_2\ (C,\ C/r)$ -> $(B, C)$. No bias.
""",
    solution=gate,
    example="gate(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0], [3.0]]))",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "A weight matrix is stored (out, in), so a batch of rows is multiplied by its transpose.",
        "`mean @ fc1.T` is (B, C / r). Then ReLU, then `@ fc2.T`, then sigmoid.",
    ),
    cases=_means,
    wrong=(
        Wrong(
            "residual",
            lambda mean, fc1, fc2: torch.sigmoid(mean + torch.relu(mean @ fc1.T) @ fc2.T),
            "You add `mean` before the sigmoid. SE has no residual inside the gate.",
        ),
        Wrong(
            "over the batch",
            lambda mean, fc1, fc2: torch.softmax(torch.relu(mean @ fc1.T) @ fc2.T, 0),
            "You take a softmax over the batch, so each image's gate depends on the others. Use a sigmoid.",
        ),
        Wrong(
            "no ReLU",
            lambda mean, fc1, fc2: torch.sigmoid(mean @ fc1.T @ fc2.T),
            "There is no nonlinearity between the two matrices: together they are one matrix of low rank.",
        ),
        Wrong(
            "no sigmoid",
            lambda mean, fc1, fc2: torch.relu(mean @ fc1.T) @ fc2.T,
            "The sigmoid at the end is missing: gates must lie between 0 and 1.",
        ),
        Wrong(
            "ReLU at the end",
            lambda mean, fc1, fc2: torch.relu(mean @ fc1.T @ fc2.T),
            "ReLU comes between the two matrices, and a sigmoid at the end.",
        ),
        Wrong(
            "sigmoid in the middle",
            lambda mean, fc1, fc2: torch.sigmoid(torch.sigmoid(mean @ fc1.T) @ fc2.T),
            "Between the two matrices there is a ReLU, not another sigmoid.",
        ),
        Wrong(
            "softmax",
            lambda mean, fc1, fc2: torch.softmax(torch.relu(mean @ fc1.T) @ fc2.T, dim=-1),
            "Softmax makes channels compete for a total of one. Here each has its own gate: all can be close to 1 at "
            "once.",
        ),
        Wrong(
            "matrices swapped",
            lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean @ fc2) @ fc1),
            "You swapped the two matrices. The shapes fit, since one has the shape of the other's "
            "transpose; the trained weights do not.",
        ),
    ),
)

# --- forward ---------------------------------------------------------------------------------------------------------


def _full(generator: Generator) -> list[Case]:
    cases = []
    for shape, narrow, label in (
        ((1, 2, 3, 4), 2, ""),
        ((2, 3, 3, 3), 1, "as many channels as rows and columns"),
        ((2, 4, 4, 4), 2, "a square image"),
        ((3, 5, 2, 6), 3, "three images, taller than wide"),
    ):
        weights = normal(generator, narrow, shape[-1]), normal(generator, shape[-1], narrow)
        cases.append(Case((normal(generator, *shape), *weights), label, (0, 1, 2)))
    return cases


def _wrong_gate(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    """Gates from each row's own mean."""
    rows = torch.sigmoid(torch.relu(x.mean(dim=2) @ fc1.T) @ fc2.T)  # (B, H, C)
    return x * rows[:, :, None], rows.mean(1)


def _shared_gate(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    shared = gate(x.mean((0, 1, 2))[None], fc1, fc2).expand(len(x), -1)
    return x * shared[:, None, None], shared


FORWARD = Exercise(
    name="se.forward",
    lesson=7,
    title="The whole squeeze-and-excitation",
    statement=r"""
Scale each channel of the image by its gate: $y_{b,i,j,c} = x_{b,i,j,c}\; s_{b,c}$. Return **both** $y$ $(B, H, W,
C)$ and the gate
$s$ $(B, C)$. This is what the network calls, so you can plug it in.
""",
    solution=squeeze_excitation,
    example="""
x = torch.tensor([[[[2.0, -1.0]]]])
squeeze_excitation(x, torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0], [3.0]]))
""",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "You already have both halves. What is left is to broadcast (B, C) against (B, H, W, C).",
        "`x * s[:, None, None, :]`",
    ),
    cases=_full,
    wrong=(
        Wrong(
            "one gate for the batch",
            _shared_gate,
            "All images of the batch share one gate: your mean runs over the batch too. Each image has its own gate.",
        ),
        Wrong(
            "broadcast along the wrong axis",
            lambda x, fc1, fc2: (
                x * gate(x.mean((1, 2)), fc1, fc2)[:, None, :, None],
                gate(x.mean((1, 2)), fc1, fc2),
            ),
            "The gate scales the columns of the image: it is on the axis of W. With square shapes, there is no error.",
        ),
        Wrong(
            "added",
            lambda x, fc1, fc2: (
                x + gate(x.mean((1, 2)), fc1, fc2)[:, None, None],
                gate(x.mean((1, 2)), fc1, fc2),
            ),
            "You add the gate. Multiply by it.",
        ),
        Wrong(
            "residual",
            lambda x, fc1, fc2: (
                x + x * gate(x.mean((1, 2)), fc1, fc2)[:, None, None],
                gate(x.mean((1, 2)), fc1, fc2),
            ),
            "You add the input again: nothing could ever be suppressed, since 1 + s is at least one.",
        ),
        Wrong(
            "gate cut off",
            lambda x, fc1, fc2: (
                x * gate(x.mean((1, 2)), fc1, fc2)[:, None, None].detach(),
                gate(x.mean((1, 2)), fc1, fc2),
            ),
            "You detach the gate, so W_1 and W_2 would never learn.",
        ),
        Wrong(
            "order of the results",
            lambda x, fc1, fc2: squeeze_excitation(x, fc1, fc2)[::-1],
            "The image comes first, the gate second.",
        ),
        Wrong(
            "a gate for each row",
            _wrong_gate,
            "Every row has its own gate. Squeeze the whole image into one number per channel.",
        ),
    ),
    after="Two matrices and a mean, and yet every pixel now depends on every other.",
)

# --- parameters ------------------------------------------------------------------------------------------------------


def parameters(dim: int, ratio: int) -> int:
    """The number of parameters of SE: two matrices without bias, dim x max(1, dim // ratio) each."""
    return 2 * dim * max(1, dim // ratio)


PARAMETERS = Exercise(
    name="se.parameters",
    lesson=7,
    title="What does it cost?",
    statement="""
Return the number of parameters of SE for `dim` channels: two matrices, **no** bias, with `dim // ratio` hidden
channels, but at least one.
""",
    solution=parameters,
    example="parameters(64, 8)",
    difficulty=1,
    importance=3,
    minutes=4,
    hints=("W_1 has (dim // ratio) x dim entries. And W_2?", "`2 * dim * max(1, dim // ratio)`"),
    cases=lambda generator: [
        Case((192, 8)),
        Case((96, 16)),
        Case((5, 8), "fewer channels than the ratio"),
        Case((20, 8)),
        Case((23, 8), "just below the next integer"),
    ],
    wrong=(
        Wrong(
            "with bias",
            lambda dim, ratio: 2 * dim * max(1, dim // ratio) + dim + max(1, dim // ratio),
            "There is no bias.",
        ),
        Wrong("one matrix", lambda dim, ratio: dim * max(1, dim // ratio), "That is one of the two matrices."),
        Wrong("not squeezed", lambda dim, ratio: 2 * dim * dim, "The hidden layer is narrower: dim // ratio channels."),
        Wrong("squeezed to nothing", lambda dim, ratio: 2 * dim * (dim // ratio), "At least one channel must remain."),
        Wrong(
            "not rounded down",
            lambda dim, ratio: 2 * dim * dim / ratio,
            "dim // ratio rounds down, and it is at least one.",
        ),
        Wrong(
            "ratio squared",
            lambda dim, ratio: 2 * (max(1, dim // ratio)) ** 2,
            "Only one side of each matrix is reduced.",
        ),
    ),
    after="That is C^2 at inner width 2 C and ratio 8: 9,216 in the first stage, 589,824 in the deepest.",
)

# --- the control -----------------------------------------------------------------------------------------------------


def shuffle_pixels(x: Tensor, generator: Generator) -> Tensor:
    """Move whole pixels to random positions, the same for all channels; (B, H, W, C) -> (B, H, W, C)."""
    order = torch.randperm(x.shape[1] * x.shape[2], generator=generator)
    return x.flatten(1, 2)[:, order].unflatten(1, x.shape[1:3])


def _picture() -> Tensor:
    return torch.arange(2 * 4 * 5 * 3.0).reshape(2, 4, 5, 3)


def _keeps_pixels(function: Callable[..., Tensor], generator: Generator) -> str | None:
    x = _picture()
    y = function(x, generator)
    if not isinstance(y, Tensor) or y.shape != x.shape:
        return f"The shape must stay {tuple(x.shape)}."
    if not torch.equal(x, _picture()):
        return "Your function changes its argument `x`."
    if not torch.equal(y.flatten().sort().values, x.flatten()):
        return "Some values are lost or repeated: draw a permutation (torch.randperm), not random indices."
    if not torch.equal(y.sum((1, 2)), x.sum((1, 2))):
        return "Values have moved between channels or between images: only pixels may move."
    difference = y[..., 1:] - y[..., :1]
    if not torch.equal(difference, x[..., 1:] - x[..., :1]):
        return "You shuffle each channel separately, which breaks up the pixels. Use one order for all channels."
    return None


def _moves_pixels(function: Callable[..., Tensor], generator: Generator) -> str | None:
    x = _picture()
    first = function(x, generator)
    moved_rows = not torch.equal(first.sum((2, 3)), x.sum((2, 3)))
    moved_columns = not torch.equal(first.sum((1, 3)), x.sum((1, 3)))
    if not moved_rows and not moved_columns:
        return "Nothing has moved."
    if not (moved_rows and moved_columns):
        return "Pixels move along one axis only: flatten height and width before shuffling."
    rows = [set(row.unique().tolist()) for row in x[0, ..., 0]]
    if all(set(row.unique().tolist()) in rows for row in first[0, ..., 0]):
        return "Pixels of one row stay in one row: you move whole rows. Flatten height and width first."
    line = first[0, ..., 0].flatten() // 3  # the number of the pixel that stands at each place
    if int(((line[1:] - line[:-1]) % len(line) == 1).sum()) > len(line) // 2:
        return "Most pixels keep their neighbors: the image is shifted as a whole. Draw a new order (torch.randperm)."
    if torch.equal(first, function(x, generator)):
        return "The order is the same in every call: draw it with `generator`, and don't seed it yourself."
    one, two = (function(x, torch.Generator().manual_seed(5)) for _ in range(2))
    if not torch.equal(one, two):
        return "The order does not come from `generator`: the same seed gives a different order."
    return None


def _channels_apart(x: Tensor, generator: Generator) -> Tensor:
    line = x.flatten(1, 2)
    parts = [line[..., c][:, torch.randperm(line.shape[1], generator=generator)] for c in range(x.shape[-1])]
    return torch.stack(parts, dim=-1).unflatten(1, x.shape[1:3])


def _same_order(x: Tensor, generator: Generator) -> Tensor:
    return shuffle_pixels(x, torch.Generator().manual_seed(0))


def _rows_then_columns(x: Tensor, generator: Generator) -> Tensor:
    rows, columns = (torch.randperm(side, generator=generator) for side in x.shape[1:3])
    return x[:, rows][:, :, columns]


SHUFFLE = Exercise(
    name="se.shuffle_pixels",
    lesson=7,
    title="The control: move every pixel",
    statement=r"""
Write the control for the question "does SE depend on *where* something is?": move the pixels of `x` $(B, H, W, C)$ to
random positions. Move whole pixels (all channels together), keep every pixel exactly once, and draw the order from
`generator`
(`torch.randperm(n, generator=generator)`).
""",
    solution=shuffle_pixels,
    example="shuffle_pixels(torch.arange(8.0).reshape(1, 2, 2, 2), torch.Generator().manual_seed(0))",
    difficulty=2,
    importance=3,
    minutes=8,
    bonus=True,
    hints=(
        "Flatten the grid, shuffle it, and reshape it to a grid again.",
        "`order = torch.randperm(H * W, generator=generator)`; index axis 1 of `x.flatten(1, 2)` with it.",
    ),
    properties=(Property("pixels stay whole", _keeps_pixels), Property("pixels move", _moves_pixels)),
    wrong=(
        Wrong(
            "shifted",
            lambda x, g: (
                x.flatten(1, 2).roll(int(torch.randint(1, x[0, ..., 0].numel(), (), generator=g)), 1).view_as(x)
            ),
            "Most pixels keep their neighbors: the image is shifted as a whole. Draw a new order (torch.randperm).",
        ),
        Wrong(
            "rows, then columns",
            _rows_then_columns,
            "Pixels of one row stay in one row: you move whole rows. Flatten height and width first.",
        ),
        Wrong(
            "channels shuffled apart",
            _channels_apart,
            "You shuffle each channel separately, which breaks up the pixels. Use one order for all channels.",
        ),
        Wrong(
            "with repetition",
            lambda x, generator: x.flatten(1, 2)[:, torch.randint(20, (20,), generator=generator)].unflatten(1, (4, 5)),
            "Some values are lost or repeated: draw a permutation (torch.randperm), not random indices.",
        ),
        Wrong(
            "channels moved",
            lambda x, generator: x[..., torch.tensor([1, 2, 0])],
            "Values have moved between channels or between images: only pixels may move.",
        ),
        Wrong(
            "rows only",
            lambda x, generator: x[:, torch.randperm(x.shape[1], generator=generator)],
            "Pixels move along one axis only: flatten height and width before shuffling.",
        ),
        Wrong(
            "always the same",
            _same_order,
            "The order is the same in every call: draw it with `generator`, and don't seed it yourself.",
        ),
        Wrong("nothing moves", lambda x, generator: x.clone(), "Nothing has moved."),
        Wrong(
            "shape lost",
            lambda x, generator: x.flatten(1, 2)[:, torch.randperm(20, generator=generator)],
            "The shape must stay (2, 4, 5, 3).",
        ),
    ),
)

AT_START = Exercise(
    name="se.gate_at_start",
    lesson=7,
    title="Predict: an untrained gate",
    statement=r"""
The weights of a new network are tiny (standard deviation 0.02). By roughly what factor does an untrained SE multiply
each channel?
""",
    solution=0.5,
    example="If the hidden layer's output were 2 and the second matrix's $-1$, the gate would be $\\sigma(-2) = 0.12$.",
    difficulty=1,
    importance=2,
    minutes=2,
    hints=("What do two tiny matrices output?", "And what is the sigmoid of that?"),
    wrong=(
        Wrong("closed", 0.0, "Zero goes *into* the sigmoid, not out of it."),
        Wrong("open", 1.0, "The sigmoid of 0 is not 1."),
        Wrong("two gates", 0.25, "That is CRA, which multiplies two gates (lesson 10). SE has one."),
        Wrong("the ratio", 8.0, "The 8 says how much narrower the hidden layer is."),
        Wrong("one of many", 0.125, "The ratio 8 sets the width of the hidden layer. Gates don't share a total."),
    ),
    rtol=0,
    atol=0.02,
    after="sigmoid(0) = 1/2: an untrained SE halves every channel.",
)

EXERCISES = (SQUEEZE, EXCITE, FORWARD, AT_START, PARAMETERS, SHUFFLE)
