"""Lesson 11: the whole network."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized
from skinlesion.model import depth_to_space, space_to_depth
from skinlesion.model.unet import pad_to_multiple

# --- merging ---------------------------------------------------------------------------------------------------------


def _even_grids(generator: Generator) -> list[Case]:
    shapes = (
        ((1, 2, 4, 1), "one channel"),
        ((2, 4, 4, 2), "two images, a square grid"),
        ((1, 4, 2, 3), "a grid that is taller than wide"),
        ((3, 2, 6, 5), "three images, wider than tall"),
    )
    return [Case((normal(generator, *shape),), label, (0,)) for shape, label in shapes]


def _cells(x: Tensor, order: Sequence[tuple[int, int]]) -> Tensor:
    return torch.cat([x[:, row::2, column::2] for row, column in order], dim=-1)


def _halves(x: Tensor) -> Tensor:
    height, width = x.shape[1] // 2, x.shape[2] // 2
    rows = x[:, :height], x[:, height:]
    parts = [half[:, :, :width] if left else half[:, :, width:] for left in (True, False) for half in rows]
    return torch.cat(parts, dim=-1)


def _interleaved(x: Tensor) -> Tensor:
    parts = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    return torch.stack(parts, dim=-1).flatten(-2)


MERGE = Exercise(
    name="network.space_to_depth",
    lesson=11,
    title="Four tokens become one",
    statement=r"""
Patch merging first concatenates the four tokens of each $2 \times 2$ cell: $(B, H, W, C) \to (B, H/2, W/2,
4C)$, in the order (row, column) = $(0,0), (1,0), (0,1), (1,1)$. All $C$ channels of one token stay together. ($H$ and
$W$ are even. The LayerNorm and the linear layer to $2C$ come after it.)
""",
    solution=space_to_depth,
    takes="x",
    example="space_to_depth(torch.arange(4.0).reshape(1, 2, 2, 1))",
    difficulty=1,
    importance=4,
    minutes=8,
    hints=(
        "`x[:, 0::2, 0::2]` is the upper-left token of every cell.",
        "Concatenate four such slices along the last axis with `torch.cat`.",
    ),
    cases=_even_grids,
    wrong=(
        Wrong(
            "PixelUnshuffle",
            lambda x: F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1),
            "PixelUnshuffle goes channel by channel. Here all C channels of a token stay together.",
        ),
        Wrong(
            "rows first",
            lambda x: _cells(x, ((0, 0), (0, 1), (1, 0), (1, 1))),
            "The second and the third token are swapped: down comes before right. Any order would train, but "
            "pretrained weights expect this one.",
        ),
        Wrong(
            "channels interleaved",
            _interleaved,
            "The channels of the four tokens alternate. Keep each token's channels together.",
        ),
        Wrong(
            "quarters of the image",
            _halves,
            "You concatenate the four quarters of the whole image. Concatenate the four neighbors in each 2 x 2 cell.",
        ),
        Wrong(
            "only one token kept",
            lambda x: x[:, ::2, ::2].repeat(1, 1, 1, 4),
            "You repeat the same token four times: three quarters of the image are lost.",
        ),
        Wrong(
            "mean of the cell",
            lambda x: _cells(x, ((0, 0), (1, 0), (0, 1), (1, 1))).unflatten(-1, (4, -1)).mean(-2),
            "That is average pooling. Merging keeps all four tokens for the linear layer that follows.",
        ),
        Wrong(
            "plain reshape",
            lambda x: x.reshape(x.shape[0], x.shape[1] // 2, x.shape[2] // 2, 4 * x.shape[3]),
            "A reshape takes four neighbors from one *row*. You need two rows, so an axis must move.",
        ),
    ),
)

# --- expanding -------------------------------------------------------------------------------------------------------


def _deep_grids(generator: Generator) -> list[Case]:
    cases = []
    for shape, factor, label in (
        ((1, 2, 3, 4), 2, "one channel left"),
        ((2, 2, 2, 8), 2, "two images, a square grid"),
        ((1, 1, 2, 32), 4, "the head's factor of four"),
        ((3, 2, 1, 18), 3, "cells of 3 x 3"),
    ):
        cases.append(Case((normal(generator, *shape), factor), label, (0,)))
    return cases


def _expand(x: Tensor, factor: int, equation: str) -> Tensor:
    """Pieces named b h w r c d (r, c: place in the cell, d: channel), ordered by the mistake in `equation`."""
    split, joined = equation.split("->")
    batch, height, width, channels = x.shape
    sizes = {"b": batch, "h": height, "w": width, "r": factor, "c": factor, "d": channels // factor**2}
    x = x.reshape([sizes[name] for name in split])
    x = x.permute([split.index(name) for name in joined])
    return x.reshape(batch, factor * height, factor * width, channels // factor**2)


EXPAND = Exercise(
    name="network.depth_to_space",
    lesson=11,
    title="One token becomes a cell",
    statement=r"""
Patch expanding does the reverse: a token's channels become a `factor` x `factor` cell of tokens, **row by row**, each
with `factor * factor` times fewer channels: $(B, H, W, f^2 C) \to (B, fH, fW, C)$. The first $C$ channels are the
upper-left token, the next $C$ the one to its *right*.
""",
    solution=depth_to_space,
    takes="x, factor",
    example="depth_to_space(torch.arange(4.0).reshape(1, 1, 1, 4), 2)[..., 0]",
    difficulty=2,
    importance=4,
    minutes=10,
    hints=(
        "Split the last axis in three: (B, H, W, row, column, C). Which axis must the row be next to?",
        "Permute to (B, H, row, W, column, C), then reshape to (B, fH, fW, C).",
        "`x.reshape(b, h, w, f, f, c).permute(0, 1, 3, 2, 4, 5).reshape(b, f * h, f * w, c)`",
    ),
    cases=_deep_grids,
    wrong=(
        Wrong(
            "always a factor of two",
            lambda x, factor: depth_to_space(x, 2),
            "The argument `factor` isn't used: you always make 2 x 2 cells.",
        ),
        Wrong(
            "column by column",
            lambda x, factor: _expand(x, factor, "bhwcrd->bhrwcd"),
            "You fill the cell column by column, so each comes out transposed. Fill it row by row.",
        ),
        Wrong(
            "no permutation",
            lambda x, factor: x.reshape(x.shape[0], factor * x.shape[1], factor * x.shape[2], x.shape[3] // factor**2),
            "A plain reshape puts all of the cell's tokens into one row of the image. Move the row of the cell next to "
            "the row of the grid.",
        ),
        Wrong(
            "channels first in the split",
            lambda x, factor: _expand(x, factor, "bhwdrc->bhrwcd"),
            "You split the channels as torch's PixelShuffle does, channel by channel. Here the first C channels belong "
            "to the first token.",
        ),
        Wrong(
            "cell outside the grid",
            lambda x, factor: _expand(x, factor, "bhwrcd->brhcwd"),
            "You repeat the grid `factor` times in each direction. Expand each token in place instead.",
        ),
        Wrong(
            "repeated",
            lambda x, factor: (
                x[..., : x.shape[3] // factor**2].repeat_interleave(factor, 1).repeat_interleave(factor, 2)
            ),
            "All tokens of a cell are the same: at least three quarters of the channels go unused.",
        ),
        Wrong(
            "the inverse of merging",
            lambda x, factor: _expand(x, factor, "bhwcrd->bhrwcd") if factor == 2 else depth_to_space(x, factor),
            "With a factor of 2 you invert the order of merging, (0,0), (1,0), (0,1), (1,1). Expanding goes row by "
            "row, with every factor.",
        ),
    ),
    after="Merging and expanding do not undo each other exactly. Try it in the next cell.",
)

# --- the U -----------------------------------------------------------------------------------------------------------

Layer = Callable[[Tensor], Tensor]


def run_u(
    x: Tensor,
    encoder: Sequence[Layer],
    merging: Sequence[Layer],
    skips: Sequence[Layer],
    expanding: Sequence[Layer],
    decoder: Sequence[Layer],
) -> Tensor:
    """From the embedded tokens to D1's output.

    Args:
        x: (B, H, W, C).
        encoder: E1 .. E4.
        merging: before E2, E3, E4.
        skips: for the inputs of E2, E3, E4.
        expanding: before D3, D2, D1.
        decoder: D4 .. D1.

    Returns:
        (B, H, W, C).
    """
    kept = []
    for i, stage in enumerate(encoder):
        if i > 0:
            x = merging[i - 1](x)
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i > 0:
            level = len(kept) - i
            x = expanding[i - 1](x + skips[level](kept[level]))
        x = stage(x)
    return x


class _Shift(nn.Module):
    """A layer that can be told from every other one and keeps the shape."""

    def __init__(self, generator: Generator, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        randomized(generator, self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return torch.tanh(self.linear(x)) + 0.5 * x


class _Merge(_Shift):
    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / 2, W / 2, C)."""
        return super().forward(x)[:, ::2, ::2]


class _Expand(_Shift):
    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 2 H, 2 W, C)."""
        return super().forward(x).repeat_interleave(2, 1).repeat_interleave(2, 2)


def _parts(generator: Generator, merge: type[_Shift], expand: type[_Shift], dim: int) -> tuple[nn.ModuleList, ...]:
    kinds = ((_Shift, 4), (merge, 3), (_Shift, 3), (expand, 3), (_Shift, 4))
    return tuple(nn.ModuleList(kind(generator, dim) for _ in range(count)) for kind, count in kinds)


def _networks(generator: Generator) -> list[Case]:
    flat = _parts(generator, _Shift, _Shift, 3)
    shaped = _parts(generator, _Merge, _Expand, 2)
    return [
        Case((normal(generator, 1, 2, 2, 3), *flat), "layers that keep the grid size", (0,)),
        Case((normal(generator, 2, 8, 16, 2), *shaped), "a grid that is halved and doubled", (0,)),
    ]


def _wired(
    x: Tensor,
    encoder: Sequence[Layer],
    merging: Sequence[Layer],
    skips: Sequence[Layer],
    expanding: Sequence[Layer],
    decoder: Sequence[Layer],
    *,
    mistake: str,
) -> Tensor:
    """The U with one mistake of a student in it."""
    kept = []
    for i, stage in enumerate(encoder):
        if i > 0:
            x = merging[i - 1](x)
        before, x = x, stage(x)
        if i > 0:
            kept.append(x if mistake == "output" else before)
    for i, stage in enumerate(decoder):
        if i > 0:
            level = i - 1 if mistake == "first in first out" else len(kept) - i
            attend = skips[i - 1] if mistake == "other CRA" else skips[level]
            x = _joined(x, kept[level], attend, expanding[i - 1], mistake)
        x = stage(x)
    return x


def _joined(x: Tensor, skip: Tensor, attend: Layer, expand: Layer, mistake: str) -> Tensor:
    if mistake == "after":
        return expand(x) + attend(skip)
    if mistake == "raw":
        return expand(x + skip)
    if mistake == "on the sum":
        return expand(attend(x + skip))
    if mistake == "none":
        return expand(x)
    if mistake == "product":
        return expand(x * attend(skip))
    return expand(x + attend(skip))


def _mistaken_u(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *parts: _wired(*parts, mistake=mistake), diagnosis)


U = Exercise(
    name="network.run_u",
    lesson=11,
    title="The U",
    statement=r"""
Wire the network, from the embedded tokens `x` to D1's output:

* encoder: E1; then three times *merge, keep a copy, next stage*. The copies are the skips: the **inputs** of E2, E3
  and E4 (A10);
* decoder: D4; then three times: pass the skip of this grid through its CRA, **add** it, **then** expand, next stage
  (A11, A12).

`encoder` holds E1 .. E4, `merging` the layers before E2 .. E4, `skips` the CRAs of the inputs of E2 .. E4 (**in that
order**), `expanding` the layers before D3 .. D1, `decoder` D4 .. D1.
""",
    solution=run_u,
    example="""
plus = lambda n: lambda x: x + n
same = lambda x: x
run_u(torch.zeros(1), [plus(1), plus(10), plus(100), plus(1000)], [same] * 3, [same] * 3, [same] * 3, [same] * 4)
""",
    difficulty=3,
    importance=5,
    minutes=15,
    hints=(
        "D4 works on the grid of E4. So the first skip that the decoder needs is the one kept last.",
        "In the decoder's step i = 1, 2, 3 the skip is number 3 - i, in both `kept` and `skips`.",
        "`x = expanding[i - 1](x + skips[3 - i](kept[3 - i]))`, then `x = decoder[i](x)`.",
    ),
    cases=_networks,
    wrong=(
        _mistaken_u(
            "the stage's output is kept",
            "output",
            "You keep the outputs of E2, E3 and E4. Their shapes fit too, and a classic U-Net does it that way, but "
            "here you keep the inputs.",
        ),
        _mistaken_u(
            "added after expanding",
            "after",
            "You add the skip after the expansion. It belongs to the coarser grid: add first, then expand.",
        ),
        _mistaken_u(
            "first in, first out",
            "first in first out",
            "You use the skips in the order in which they were kept. The last one kept is the first one needed.",
        ),
        _mistaken_u("CRA forgotten", "raw", "You add the skip directly: its CRA is missing."),
        _mistaken_u(
            "CRA on the sum",
            "on the sum",
            "You apply CRA to the sum of skip and decoder. Apply it to the skip only, before the sum (A12).",
        ),
        _mistaken_u("no skips", "none", "You don't use the skips."),
        _mistaken_u(
            "CRAs in the wrong order",
            "other CRA",
            "Each skip goes through the CRA of another one. `skips` is ordered from the finest to the coarsest.",
        ),
        _mistaken_u("multiplied", "product", "You multiply the decoder's map by the skip. Add it (A11)."),
    ),
    after="D1 has no skip at its own grid size: the finest skip is the input of E2.",
)

# --- any size --------------------------------------------------------------------------------------------------------


def at_any_size(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    """Pad at the bottom and on the right by repeating the last row and column, run, and crop.

    Args:
        network: requires both sides to be multiples of `multiple`; (B, 3, H, W) -> (B, 1, H, W).
        image: (B, 3, H, W).
        multiple: 32 for the paper's network.

    Returns:
        (B, 1, H, W) of the image's own size.
    """
    height, width = image.shape[-2:]
    return network(pad_to_multiple(image, multiple))[..., :height, :width]


class _Picky(nn.Module):
    """A network that looks at neighbors and refuses sides that do not divide."""

    def __init__(self, generator: Generator, multiple: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 1, 3, padding=1)
        self.multiple = multiple
        randomized(generator, self)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H, W)."""
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"the network was given {height} x {width}, not multiples of {self.multiple}")
        return self.convolution(image) + 0.01 * image.shape[-2] + 0.1 * image.shape[-1]


def _sizes(generator: Generator) -> list[Case]:
    cases = []
    for shape, multiple, label in (
        ((1, 3, 8, 4), 4, "a size that already fits"),
        ((2, 3, 7, 13), 4, "odd height and width"),
        ((1, 3, 8, 5), 8, "only the width needs more"),
        ((3, 3, 10, 6), 6, "only the height needs more, three images"),
    ):
        cases.append(Case((_Picky(generator, multiple), normal(generator, *shape), multiple), label, (1,)))
    return cases


def _padded(
    network: Callable[[Tensor], Tensor], image: Tensor, multiple: int, mode: str, *, always: bool = False
) -> tuple[Tensor, int, int]:
    height, width = image.shape[-2:]
    down = multiple - height % multiple if always else -height % multiple
    right = multiple - width % multiple if always else -width % multiple
    return network(F.pad(image, (0, right, 0, down), mode=mode)), down, right


def _zeros(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    return _padded(network, image, multiple, "constant")[0][..., : image.shape[-2], : image.shape[-1]]


def _always(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    return _padded(network, image, multiple, "replicate", always=True)[0][..., : image.shape[-2], : image.shape[-1]]


def _no_crop(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    return _padded(network, image, multiple, "replicate")[0]


def _other_corner(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    logits, down, right = _padded(network, image, multiple, "replicate")
    return logits[..., down:, right:]


def _resized(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    height, width = image.shape[-2:]
    size = (height + -height % multiple, width + -width % multiple)
    logits = network(F.interpolate(image, size, mode="bilinear", align_corners=False))
    return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)


def _cut_down(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    height, width = image.shape[-2:]
    return network(image[..., : height // multiple * multiple, : width // multiple * multiple])


def _square(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    height, width = image.shape[-2:]
    side = -(-max(height, width) // multiple) * multiple
    return network(F.pad(image, (0, side - width, 0, side - height), mode="replicate"))[..., :height, :width]


def _centered(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    height, width = image.shape[-2:]
    high, wide = -height % multiple, -width % multiple
    top, left = high // 2, wide // 2
    logits = network(F.pad(image, (left, wide - left, top, high - top), mode="replicate"))
    return logits[..., top : top + height, left : left + width]


ANY_SIZE = Exercise(
    name="network.at_any_size",
    lesson=11,
    title="Any size",
    statement=r"""
The grid is divided by 4 and then three times by 2, so height and width must be multiples of 32. Remove this
restriction:
pad `image` $(B, 3, H, W)$ **at the bottom and on the right**, as little as needed, by repeating its last row and column
(`F.pad(..., mode="replicate")`), run `network`, and crop the logits back to $(B, 1, H, W)$.
""",
    solution=at_any_size,
    example="""
image = torch.arange(3.0).reshape(1, 1, 1, 3)
at_any_size(lambda x: x.cumsum(-1), image, 4)
""",
    difficulty=2,
    importance=3,
    minutes=8,
    hints=(
        "`-height % multiple` is how many rows are needed to reach the next multiple, or 0 if none are.",
        "`F.pad(image, (left, right, top, bottom), mode='replicate')`",
        "Crop with `[..., :height, :width]`.",
    ),
    cases=_sizes,
    wrong=(
        Wrong(
            "always 32",
            lambda network, image, multiple: at_any_size(network, image, 32),
            "You always pad to multiples of 32. Use `multiple`.",
        ),
        Wrong("padded on all sides", _centered, "You pad on all sides. Pad only at the bottom and on the right."),
        Wrong(
            "zeros",
            _zeros,
            "You pad with zeros, which adds a black edge. Repeat the last row and column.",
        ),
        Wrong(
            "padded even where it fits",
            _always,
            "You pad a size that already fits by a whole multiple. `multiple - height % multiple` is `multiple`, not "
            "0, when nothing is missing.",
        ),
        Wrong("not cropped", _no_crop, "The logits still have the padded size."),
        Wrong(
            "cropped at the wrong corner",
            _other_corner,
            "You pad at the bottom and on the right but crop at the top and on the left, so the mask is shifted "
            "relative to the image.",
        ),
        Wrong(
            "resized",
            _resized,
            "You resize instead of padding, which interpolates pixels and changes the lesion's shape slightly.",
        ),
        Wrong("cut down", _cut_down, "You crop the edges, so some pixels get no prediction. Pad, don't crop."),
        Wrong(
            "padded to a square",
            _square,
            "You pad to a square. Height and width need not be equal: pad as little as needed.",
        ),
    ),
)

# --- budget ----------------------------------------------------------------------------------------------------------


def skeleton(dim: int) -> int:
    """The number of parameters outside the blocks and CRAs.

    Args:
        dim: channels C of the first stage, a multiple of 4; four stages, patches of 4 x 4 pixels of 3 channels.
    """
    embedding = 4 * 4 * 3 * dim + dim + 2 * dim  # convolution with bias, LayerNorm
    merging = sum(2 * 4 * c + 4 * c * 2 * c for c in (dim, 2 * dim, 4 * dim))  # LayerNorm, linear without bias
    expanding = sum(c * 2 * c + 2 * (c // 2) for c in (8 * dim, 4 * dim, 2 * dim))  # linear without bias, LayerNorm
    final = dim * 16 * (dim // 4) + 2 * (dim // 4)
    head = dim // 4 + 1
    return embedding + merging + expanding + final + head


def _skeleton(dim: int, *, mistake: str) -> int:
    """The count with one mistake of a student in it."""
    norm = 1 if mistake == "half a norm" else 2
    embedding = 3 * 16 * dim + (0 if mistake == "no bias" else dim) + norm * dim
    merging = sum(norm * 4 * width + 4 * width * 2 * width for width in (dim, 2 * dim, 4 * dim))
    if mistake == "merging with bias":
        merging += sum(2 * width for width in (dim, 2 * dim, 4 * dim))
    if mistake == "merging's norm":
        merging -= sum(norm * 3 * width for width in (dim, 2 * dim, 4 * dim))
    widths = (dim, 2 * dim, 4 * dim) if mistake == "expanding from the finer" else (2 * dim, 4 * dim, 8 * dim)
    wide = 1 if mistake == "expanded to half" else 2
    expanding = sum(width * wide * width + norm * width // 2 for width in widths)
    narrow = dim // 4
    final = dim * 16 * narrow + norm * narrow
    classifier = {"no classifier": 0, "classifier's bias": narrow}.get(mistake, narrow + 1)
    return embedding + merging + expanding + final + classifier


def _mistaken_skeleton(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda dim: _skeleton(dim, mistake=mistake), diagnosis)


SKELETON = Exercise(
    name="network.skeleton",
    lesson=11,
    title="The skeleton's parameters",
    statement=r"""
How many parameters does the network have **outside** its blocks and CRAs? A LayerNorm over $c$ channels has $2c$.

| part | layers |
| --- | --- |
| patch embedding | convolution of $4 \times 4$ pixels of 3 channels to $C$, **with** bias; LayerNorm($C$) |
| merging, from $c = C, 2C, 4C$ | LayerNorm($4c$), linear $4c \to 2c$, no bias |
| expanding, from $c = 8C, 4C, 2C$ | linear $c \to 2c$ (four tokens of $c/2$), no bias; LayerNorm($c/2$) |
| final expanding | linear $C \to 16 \cdot C/4$, no bias; LayerNorm($C/4$) |
| classifier | $1 \times 1$ convolution $C/4 \to 1$, with bias |
""",
    solution=skeleton,
    example="skeleton(32)",
    difficulty=2,
    importance=3,
    minutes=10,
    bonus=True,
    hints=(
        "Write five lines, one per row of the table; the second and third are sums over three widths.",
        "With C = 96 the lines are 4,896, 1,553,664, 1,549,632, 36,912 and 25.",
    ),
    cases=lambda generator: [Case((96,)), Case((16,)), Case((24,)), Case((4,), "the smallest width")],
    wrong=(
        _mistaken_skeleton(
            "classifier without bias", "classifier's bias", "The classifier has a bias: one more parameter."
        ),
        _mistaken_skeleton("norms counted once", "half a norm", "A LayerNorm has a scale *and* a shift per channel."),
        _mistaken_skeleton("embedding without bias", "no bias", "The embedding's convolution has a bias."),
        _mistaken_skeleton("merging with bias", "merging with bias", "The linear layer of merging has no bias."),
        _mistaken_skeleton(
            "merging's norm after the linear layer",
            "merging's norm",
            "The LayerNorm of merging comes before the linear layer, so it has 4 c channels.",
        ),
        _mistaken_skeleton(
            "expanding from the narrower side",
            "expanding from the finer",
            "Expanding starts from its *input* channels: 8 C, 4 C, and 2 C.",
        ),
        _mistaken_skeleton(
            "expanded to c channels",
            "expanded to half",
            "Four tokens of c / 2 channels are 2 c numbers: the linear layer of expanding is c x 2 c.",
        ),
        _mistaken_skeleton(
            "classifier forgotten", "no classifier", "The classifier is missing: C / 4 weights, 1 bias."
        ),
    ),
    after="3,145,129 with C = 96: one part in fourteen of the whole network.",
)

# --- the intervention ------------------------------------------------------------------------------------------------


def transplant(maps: Tensor) -> Tensor:
    """Give each image of a batch the map of another one; (B, H, W, C) -> (B, H, W, C), B of at least 2."""
    return maps.roll(1, dims=0)


def _all_given_away(function: Callable[[Tensor], Tensor], generator: Generator) -> str | None:
    for images in 8 * (2, 3, 6, 7):  # several times: a permutation drawn at random may move every map by luck
        maps = normal(generator, images, 3, 2, 4)
        result = function(maps)
        if not isinstance(result, Tensor) or result.shape != maps.shape:
            return f"The shape must stay {tuple(maps.shape)}."
        same = (result[:, None] == maps[None]).flatten(2).all(2)  # (B, B): result i is the map of image j
        if not bool(same.any(1).all()):
            return "Some image doesn't get another image's map, complete and in place."
        if bool(same.diagonal().any()):
            return (
                f"With {images} images, some image keeps its own map: its score wouldn't drop, and the result would be "
                "misleading."
            )
        if not bool(same.any(0).all()):
            return "One map is used twice and another not at all."
    return None


TRANSPLANT = Exercise(
    name="network.transplant",
    lesson=11,
    title="The intervention: the map of another image",
    statement=r"""
What does a part of the network contribute that is specific to this image? Replace its map with that of another image:
what all images have in common stays right, and what is specific to this image becomes wrong. From `maps`
$(B, H, W, C)$, $B \ge 2$, make a batch in which **each** image gets the whole map of another image, **none** keeps its
own, and each map is used once.
""",
    solution=transplant,
    example="transplant(torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1)).flatten()",
    difficulty=1,
    importance=4,
    minutes=5,
    hints=(
        "A random order may leave an image where it was. Which order never does?",
        "`maps.roll(1, dims=0)`",
    ),
    properties=(Property("every image gets another image's map", _all_given_away),),
    wrong=(
        Wrong(
            "turned round",
            lambda maps: maps.flip(0),
            "With 3 images, some image keeps its own map: its score wouldn't drop, and the result would be misleading.",
        ),
        Wrong(
            "as it is",
            lambda maps: maps.clone(),
            "With 2 images, some image keeps its own map: its score wouldn't drop, and the result would be misleading.",
        ),
        Wrong(
            "the mean map",
            lambda maps: maps.mean(0, keepdim=True).expand_as(maps),
            "Some image doesn't get another image's map, complete and in place.",
        ),
        Wrong(
            "shifted in the image",
            lambda maps: maps.roll(1, dims=1),
            "Some image doesn't get another image's map, complete and in place.",
        ),
        Wrong(
            "all get the first one's but the first",
            lambda maps: torch.cat([maps[1:2], maps[:1].expand(len(maps) - 1, -1, -1, -1)]),
            "One map is used twice and another not at all.",
        ),
        Wrong(
            "channels first", lambda maps: maps.roll(1, dims=0).permute(0, 3, 1, 2), "The shape must stay (2, 3, 2, 4)."
        ),
    ),
    after="A transplant is milder than setting a map to zero, an input that later layers were never trained on.",
)

# --- prediction ------------------------------------------------------------------------------------------------------

BOTTOM = Exercise(
    name="network.grid_at_the_bottom",
    lesson=11,
    title="Predict: the coarsest grid",
    statement=r"""
An image of $100 \times 130$ pixels (height x width) is padded, embedded and merged three times. How large is the grid
of E4? Answer as a tuple (height, width).
""",
    solution=(4, 5),
    example="At E2 the grid of a 96 x 160 image is 12 x 20: the embedding divides it by 4, one merging by 2.",
    difficulty=1,
    importance=2,
    minutes=2,
    hints=(
        "Which multiples of 32 are the sides padded to?",
        "Then divide by 4 for the embedding and three times by 2.",
    ),
    wrong=(
        Wrong("rounded down", (3, 4), "The sides are padded *up* to multiples of 32, not cropped."),
        Wrong("merged twice", (8, 10), "That is the grid of E3. E4 comes after the third merging."),
        Wrong("merged four times", (2, 3), "There are three mergings; E1 works on the embedded grid."),
        Wrong("width first", (5, 4), "Height comes first."),
        Wrong("padded to a square", (5, 5), "The sides are padded separately; the grid need not be square."),
        Wrong("the embedded grid", (32, 40), "That is the grid of E1, after the embedding."),
    ),
    after="20 tokens for the whole image. Each of them has 8 C channels.",
)

EXERCISES = (BOTTOM, MERGE, EXPAND, U, ANY_SIZE, SKELETON, TRANSPLANT)
