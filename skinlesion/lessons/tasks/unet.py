"""Lesson 3: a U-Net, its receptive field, and the correlation of its channels."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized, uniform

# --- the theoretical field -------------------------------------------------------------------------------------------


def field(layers: Sequence[tuple[int, int]]) -> int:
    """Side, in pixels, of the square that one output can depend on.

    Args:
        layers: (side of the kernel, stride) of each layer, from the image on.
    """
    side, step = 1, 1
    for kernel, stride in layers:
        side += (kernel - 1) * step
        step *= stride
    return side


def _stacks(generator: Generator) -> list[Case]:
    return [
        Case(([(3, 1), (3, 1)],), "two convolutions"),
        Case(([(3, 1), (3, 1), (2, 2), (3, 1), (3, 1)],), "with one pooling layer"),
        Case(([(4, 4), (3, 2), (5, 1)],), "other kernels"),
        Case(([(3, 1), (2, 2), (3, 1), (2, 2), (3, 1)],), "two pooling layers"),
        Case(([(1, 1)],), "a kernel of one pixel"),
    ]


def _walk(grow: Callable[[int, int, int, int], int], early: bool = False) -> Callable[[Sequence[tuple[int, int]]], int]:
    def function(layers: Sequence[tuple[int, int]]) -> int:
        side, step = 1, 1
        for kernel, stride in layers:
            step *= stride if early else 1
            side = grow(side, kernel, stride, step)
            step *= 1 if early else stride
        return side

    return function


def _additive_step(layers: Sequence[tuple[int, int]]) -> int:
    side, step = 1, 1
    for kernel, stride in layers:
        side += (kernel - 1) * step
        step += stride - 1
    return side


FIELD = Exercise(
    name="unet.field",
    lesson=3,
    title="The theoretical receptive field",
    statement=r"""
Each layer has a kernel of side $k$ and a stride $s$. An output of a layer depends on $k$ neighboring inputs; these are
one *step* apart in the image, and every stride multiplies the step for all layers **after** it. So, starting with a
side of 1 and a step of 1:

$$\text{side} \leftarrow \text{side} + (k - 1)\cdot\text{step}, \qquad \text{step} \leftarrow \text{step}\cdot s$$

`layers` is a list of $(k, s)$, from the image on. Return the side in pixels.
""",
    solution=field,
    example="""
field([(3, 1), (3, 1)])
field([(3, 1), (2, 2), (3, 1)])
""",
    difficulty=1,
    importance=4,
    minutes=6,
    hints=(
        "Keep two numbers in the loop: the side and the step.",
        "First the side grows by (k - 1) steps, then the step is multiplied by s.",
    ),
    cases=_stacks,
    wrong=(
        Wrong(
            "strides forgotten",
            _walk(lambda side, kernel, stride, step: side + kernel - 1),
            "After pooling, neighbors are farther apart in the image: count in steps.",
        ),
        Wrong(
            "stride too early",
            _walk(lambda side, kernel, stride, step: side + (kernel - 1) * step, early=True),
            "A stride spreads the *outputs* of its layer: it counts for the layers after it, not for itself.",
        ),
        Wrong(
            "whole kernels",
            _walk(lambda side, kernel, stride, step: side + kernel * step),
            "A kernel adds k - 1: its center was already counted.",
        ),
        Wrong("steps added", _additive_step, "Strides multiply: after two pooling layers the step is 4, not 3."),
        Wrong(
            "sides multiplied",
            _walk(lambda side, kernel, stride, step: side * kernel),
            "Two 3 x 3 convolutions cover 5 x 5, not 9 x 9: their windows overlap.",
        ),
        Wrong(
            "half the field",
            lambda layers: (field(layers) - 1) // 2,
            "That is the radius. Return the side of the whole square.",
        ),
    ),
)

# --- the network -----------------------------------------------------------------------------------------------------


def forward(x: Tensor, encoder: Sequence[nn.Module], up: Sequence[nn.Module], decoder: Sequence[nn.Module]) -> Tensor:
    """A U-Net between its first and its last layer.

    Args:
        x: (B, C, H, W).
        encoder: n stages; a 2 x 2 maximum halves the grid before each but the first.
        up: n - 1 layers that double the grid, from the deepest on.
        decoder: n - 1 stages, from the deepest on; each takes (skip, doubled) joined along the channels.

    Returns:
        The last stage's map, (B, C', H, W).
    """
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(x)
    skips.pop()
    for enlarge, stage in zip(up, decoder, strict=True):
        x = stage(torch.cat([skips.pop(), enlarge(x)], dim=1))
    return x


def _parts(generator: Generator, stages: int, dim: int = 2) -> tuple[nn.ModuleList, nn.ModuleList, nn.ModuleList]:
    """Stages of one width, so that a wrong order shows in the numbers."""

    def stack(count: int, make: Callable[[], nn.Module]) -> nn.ModuleList:
        return nn.ModuleList(randomized(generator, make()) for _ in range(count))

    encoder = stack(stages, lambda: nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.Tanh()))
    up = stack(stages - 1, lambda: nn.ConvTranspose2d(dim, dim, 2, stride=2))
    return encoder, up, stack(stages - 1, lambda: nn.Sequential(nn.Conv2d(2 * dim, dim, 3, padding=1), nn.Tanh()))


def _networks(generator: Generator) -> list[Case]:
    return [
        Case((normal(generator, 2, 2, 8, 12), *_parts(generator, stages)), label, (0, 1, 2, 3))
        for stages, label in ((2, ""), (3, "three stages"))
    ] + [Case((normal(generator, 3, 2, 16, 8), *_parts(generator, 4)), "four stages, three images", (0, 1, 2, 3))]


def _variant(kind: str) -> Callable[..., Tensor]:
    """Copies of `forward` with one mistake each."""

    def function(x: Tensor, encoder: nn.ModuleList, up: nn.ModuleList, decoder: nn.ModuleList) -> Tensor:
        skips: list[Tensor] = []
        for i, stage in enumerate(encoder):
            if i:
                x = F.avg_pool2d(x, 2) if kind == "mean" else F.max_pool2d(x, 1 if kind == "strided" else 2, 2)
                if kind == "pooled first":
                    skips[-1] = F.interpolate(x, scale_factor=2)
            x = stage(x)
            skips.append(x.detach() if kind == "detached" else x)
        skips.pop()
        for enlarge, stage in zip(up, decoder, strict=True):
            skip = skips.pop()
            large = F.interpolate(x, scale_factor=2) if kind == "not learned" else enlarge(x)
            pair = [large, skip] if kind == "swapped" else [skip, large]
            if kind == "no skip":
                pair = [torch.zeros_like(skip), large]
            x = stage(torch.cat(pair, dim=1))
        return x

    return function


FORWARD = Exercise(
    name="unet.forward",
    lesson=3,
    title="A U-Net",
    statement="""
Down: run the stages of `encoder`; before every stage **but the first**, halve the grid with a 2 x 2 maximum
(`F.max_pool2d(x, 2)`). Keep each stage's output: these are the skips. The deepest output isn't a skip: it goes into
the decoder.

Up: for each pair of `up` and `decoder`, double the grid with the layer of `up`, concatenate the skip of the same size
in front of it along the channels (`torch.cat([skip, doubled], dim=1)`), and run the stage. Images here are (B, C, H,
W).

`encoder` has n stages, `up` and `decoder` n - 1 each, **from the deepest on**. Return the last map.
""",
    solution=forward,
    takes="x, encoder, up, decoder",
    example="""
same = nn.Identity()
up = nn.Upsample(scale_factor=2)
half = nn.Conv2d(2, 1, 1, bias=False)
_ = half.weight.data.fill_(0.5)
forward(torch.arange(4.0).reshape(1, 1, 2, 2), nn.ModuleList([same, same]), nn.ModuleList([up]), nn.ModuleList([half]))
""",
    difficulty=2,
    importance=5,
    minutes=12,
    hints=(
        "Use a list: append to it on the way down, and pop from its end on the way up.",
        "After the way down, `skips.pop()` once: the deepest output is x itself.",
        "`x = stage(torch.cat([skips.pop(), enlarge(x)], dim=1))`",
    ),
    cases=_networks,
    wrong=(
        Wrong(
            "every second pixel",
            _variant("strided"),
            "You keep every other pixel and ignore the rest. Take the maximum of each 2 x 2 cell.",
        ),
        Wrong("order of the pair", _variant("swapped"), "The skip comes first, the doubled map second."),
        Wrong("mean for maximum", _variant("mean"), "Halve the grid with a maximum, not with a mean."),
        Wrong(
            "skips cut off",
            _variant("detached"),
            "You detach the skips, so the encoder would learn only through the deepest path.",
        ),
        Wrong(
            "no skips",
            _variant("no skip"),
            "You use zeros in place of the skips, so the encoder's fine detail is lost.",
        ),
        Wrong(
            "doubled without learning",
            _variant("not learned"),
            "You double the grid by copying pixels; use the layers of `up`.",
        ),
        Wrong(
            "skip after the pooling",
            _variant("pooled first"),
            "You take the skip after the pooling, so its fine detail is gone. Keep the output of the stage.",
        ),
    ),
)

# --- the effective field ---------------------------------------------------------------------------------------------


def side_holding(gradient: Tensor, fraction: float) -> int:
    """Side of the smallest square around the middle that holds a fraction of the absolute gradient.

    Args:
        gradient: of the middle output with respect to the image, (3, H, W); the middle is (H // 2, W // 2).
        fraction: in (0, 1].
    """
    share = gradient.abs().sum(0)
    share = share / share.sum()  # (H, W)
    rows = (torch.arange(share.shape[0]) - share.shape[0] // 2).abs()
    columns = (torch.arange(share.shape[1]) - share.shape[1] // 2).abs()
    distance = torch.maximum(rows[:, None], columns)  # (H, W)
    radius = 0
    while share[distance <= radius].sum() < fraction - 1e-6:
        radius += 1
    return 2 * radius + 1


def _gradients(generator: Generator) -> list[Case]:
    cases = []
    for size, width, label in ((31, 4.0, ""), (31, 1.5, "a narrow field"), (24, 5.0, "even height and width")):
        grid = torch.arange(size) - size // 2
        bell = torch.exp(-(grid[:, None].square() + grid.square()) / (2 * width**2))
        cases.append(Case((bell * normal(generator, 3, size, size), 0.5 if width > 4 else 0.9), label))
    dot = torch.zeros(3, 15, 15)
    dot[:, 7, 12] = 1.0
    wide = normal(generator, 3, 17, 40) * torch.linspace(0.1, 1, 40)
    cases.append(Case((wide, 0.8), "an image that is not square"))
    cases.append(Case((dot, 0.9), "everything five pixels to the right"))
    opposite = torch.zeros(3, 9, 9)  # a sum over the colors is zero far from the middle
    opposite[:, 4, 4], opposite[0, 1, 1], opposite[1, 1, 1] = 1.0, 3.0, -3.0
    cases.append(Case((opposite, 0.9), "colors with opposite signs"))
    return [*cases, Case((normal(generator, 3, 10, 6), 1.0), "all of the gradient, even height and width")]


def _side_of(weight: Callable[[Tensor], Tensor], distance: str = "square") -> Callable[[Tensor, float], int]:
    def function(gradient: Tensor, fraction: float) -> int:
        share = weight(gradient)
        share = share / share.sum()
        rows = torch.arange(share.shape[0]) - share.shape[0] // 2
        columns = torch.arange(share.shape[1]) - share.shape[1] // 2
        if distance == "corner":
            rows, columns = torch.arange(share.shape[0]), torch.arange(share.shape[1])
        if distance == "early":
            rows = torch.arange(share.shape[0]) - (share.shape[0] - 1) // 2
            columns = torch.arange(share.shape[1]) - (share.shape[1] - 1) // 2
        far = torch.maximum(rows.abs()[:, None], columns.abs())
        if distance == "diamond":
            far = rows.abs()[:, None] + columns.abs()
        if distance == "disk":
            far = (rows.square()[:, None] + columns.square()).sqrt()
        for radius in range(sum(share.shape)):
            if share[far <= radius].sum() >= fraction - 1e-6:
                return 2 * radius + 1
        return 2 * share.shape[0] + 1

    return function


def _plain_sum(gradient: Tensor) -> Tensor:
    return gradient.abs().sum(0)


SIDE = Exercise(
    name="unet.side_holding",
    lesson=3,
    title="The metric: the effective receptive field",
    statement=r"""
`gradient` $(3, H, W)$ says how much the output at the middle pixel $(H // 2, W // 2)$ changes with each value of the
image. Take absolute values, sum over the three colors, divide by the total: each pixel's *share*. Return the side
$2 r + 1$ of the smallest square, $r$ pixels to each side of the middle, that holds at least `fraction` of the total.
(Allow for rounding: compare with `fraction - 1e-6`.)
""",
    solution=side_holding,
    example="""
gradient = torch.zeros(3, 5, 5)
gradient[:, 2, 2], gradient[:, 0, 2] = (2.0, 1.0)
(side_holding(gradient, 0.5), side_holding(gradient, 0.95))
""",
    difficulty=2,
    importance=3,
    minutes=10,
    hints=(
        "A pixel lies in the square of radius r if neither its row nor its column is more than r away.",
        "`torch.maximum(rows[:, None], columns)` with absolute distances is each pixel's radius. Then increase r from "
        "0.",
    ),
    cases=_gradients,
    wrong=(
        Wrong(
            "absolute values too late",
            _side_of(lambda gradient: gradient.sum(0).abs()),
            "You add the colors before you take absolute values, so opposite signs cancel.",
        ),
        Wrong(
            "a diamond",
            _side_of(_plain_sum, "diamond"),
            "You grow a diamond, |row| + |column|. In a square the larger of the two counts: torch.maximum.",
        ),
        Wrong(
            "another middle",
            _side_of(_plain_sum, "early"),
            "The middle is (H // 2, W // 2). Yours, (H - 1) // 2, is a different pixel where a side is even.",
        ),
        Wrong(
            "a disk",
            _side_of(_plain_sum, "disk"),
            "You grow a disk. A pixel lies in the square of radius r if neither its row nor its column is farther away "
            "than r.",
        ),
        Wrong(
            "signs kept",
            _side_of(lambda gradient: gradient.sum(0)),
            "Positive and negative gradients cancel. Take absolute values before you sum.",
        ),
        Wrong(
            "squared",
            _side_of(lambda gradient: gradient.square().sum(0)),
            "Squares favor the middle: take absolute values.",
        ),
        Wrong(
            "radius for side",
            lambda gradient, fraction: (side_holding(gradient, fraction) - 1) // 2,
            "That is r. The side is 2 r + 1.",
        ),
        Wrong(
            "from the corner",
            _side_of(_plain_sum, "corner"),
            "The square grows from the corner. It must grow from the middle.",
        ),
        Wrong(
            "not divided",
            _side_of(
                lambda gradient: (
                    torch.nn.functional.one_hot(gradient.abs().sum(0).argmax(), gradient[0].numel())
                    .float()
                    .view_as(gradient[0])
                )
            ),
            "That is where the largest value is, not where the fraction is reached.",
        ),
        Wrong(
            "the middle only",
            lambda gradient, fraction: 1,
            "You return 1, which is right only if the middle pixel holds all of the gradient.",
        ),
        Wrong(
            "the whole image",
            lambda gradient, fraction: gradient.shape[-1],
            "That is the whole image. Find the smallest square.",
        ),
    ),
)

# --- redundancy ------------------------------------------------------------------------------------------------------


def likeness(features: Tensor) -> Tensor:
    """Mean absolute correlation of two different channels.

    Args:
        features: (B, H, W, C); no channel is constant.

    Returns:
        One number in [0, 1].
    """
    x = features.flatten(0, 2)  # (B H W, C)
    x = x - x.mean(0)
    x = x / x.norm(dim=0)
    r = x.T @ x  # (C, C)
    channels = r.shape[0]
    return (r.abs().sum() - channels) / (channels * (channels - 1))


def _features(generator: Generator) -> list[Case]:
    common = normal(generator, 2, 4, 3, 1)
    alike = 0.6 * normal(generator, 2, 4, 3, 4) - common
    return [
        Case((normal(generator, 2, 3, 4, 3) + 2,), "channels with a nonzero mean"),
        Case((alike + 3 * uniform(generator, -1, 1, 4),), "correlated channels"),
        Case((torch.cat([common, -common, normal(generator, 2, 4, 3, 1)], dim=-1),), "two opposite channels"),
        Case((normal(generator, 3, 5, 2, 6),), "three images, six channels"),
    ]


def _likeness(centered: bool = True, absolute: bool = True, diagonal: bool = False, images: bool = False) -> Callable:
    def function(features: Tensor) -> Tensor:
        x = features.flatten(0, 2)
        x = x - x.mean(0) if centered else x
        x = x / x.norm(dim=0)
        r = x.T @ x
        r = r.abs() if absolute else r
        n = r.shape[0]
        return r.mean() if diagonal else (r.sum() - r.diagonal().sum()) / (n * (n - 1))

    return function


def _covariance(features: Tensor) -> Tensor:
    x = features.flatten(0, 2)
    x = x - x.mean(0)
    r = (x.T @ x / len(x)).abs()
    return (r.sum() - r.diagonal().sum()) / (len(r) * (len(r) - 1))


def _of_pixels(features: Tensor) -> Tensor:
    return likeness(features.flatten(0, 2).T[:, None, None, :])


LIKENESS = Exercise(
    name="unet.likeness",
    lesson=3,
    title="How correlated are channels?",
    statement=r"""
`features` $(B, H, W, C)$. Take each channel as one long list of $B H W$ numbers. Return the mean of $|r|$ over all
pairs of **different** channels, where $r$ is Pearson's correlation:

$$r_{cd} = \frac{\tilde x_c \cdot \tilde x_d}{\|\tilde x_c\|\,\|\tilde x_d\|}, \qquad \tilde x = x - \bar x$$

0: all channels are uncorrelated. 1: all are equal up to scale and sign. Return a tensor with one number.
""",
    solution=likeness,
    example="""
features = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 3.0]]).reshape(1, 1, 3, 2)
likeness(features)
""",
    difficulty=2,
    importance=3,
    minutes=8,
    bonus=True,
    hints=(
        "Subtract each channel's mean, divide by its norm; then one matrix product gives all correlations.",
        "`x.T @ x` is (C, C) with ones on the diagonal: leave out the diagonal, and divide by the number of pairs, C "
        "(C - 1).",
    ),
    cases=_features,
    wrong=(
        Wrong(
            "with the diagonal",
            _likeness(diagonal=True),
            "You include the diagonal, where every channel is compared with itself.",
        ),
        Wrong(
            "sign kept",
            _likeness(absolute=False),
            "Without absolute values, opposite channels cancel similar ones. Both are redundant.",
        ),
        Wrong(
            "mean kept",
            _likeness(centered=False),
            "You don't subtract the channels' means, so any two positive channels look similar.",
        ),
        Wrong(
            "covariance", _covariance, "That is a covariance: it grows when a channel is scaled. Divide by the norms."
        ),
        Wrong("pixels compared", _of_pixels, "You correlate pixels over channels. Correlate channels over pixels."),
        Wrong(
            "squared",
            lambda features: (
                (torch.corrcoef(features.flatten(0, 2).T).square().sum() - features.shape[-1])
                / (features.shape[-1] * (features.shape[-1] - 1))
            ),
            "That is the mean of r squared. Take the absolute value.",
        ),
    ),
)

# --- the control: hide what is far -----------------------------------------------------------------------------------


def hide_far(image: Tensor, at: tuple[int, int], radius: int) -> Tensor:
    """The image with zeros everywhere except in a square of the given radius around a pixel.

    Args:
        image: (C, H, W).
        at: (row, column).
        radius: how many pixels to keep on each side.
    """
    row, column = at
    kept = torch.zeros_like(image)
    window = (
        slice(None),
        slice(max(0, row - radius), row + radius + 1),
        slice(max(0, column - radius), column + radius + 1),
    )
    kept[window] = image[window]
    return kept


def _pictures(generator: Generator) -> list[Case]:
    return [
        Case((normal(generator, 2, 9, 9) + 3, (4, 4), 2)),
        Case((normal(generator, 3, 7, 11) + 3, (3, 8), 1), "an image that is not square"),
        Case((normal(generator, 1, 8, 8) + 3, (1, 6), 3), "near the edge"),
    ]


def _window(image: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    kept = torch.zeros_like(image)
    kept[:, top:bottom, left:right] = image[:, top:bottom, left:right]
    return kept


def _hide_in_place(image: Tensor, at: tuple[int, int], radius: int) -> Tensor:
    image.copy_(hide_far(image, at, radius))
    return image


def _cross(image: Tensor, at: tuple[int, int], radius: int) -> Tensor:
    rows = (torch.arange(image.shape[1]) - at[0]).abs() <= radius
    columns = (torch.arange(image.shape[2]) - at[1]).abs() <= radius
    return image * (rows[:, None] | columns)


HIDE = Exercise(
    name="unet.hide_far",
    lesson=3,
    title="The control: hide everything far away",
    statement="""
If the output at a pixel doesn't change when everything farther away than `radius` is gone, the network doesn't use it.
Write this control: return a copy of `image` (C, H, W) in which all pixels are 0, except those at most `radius` rows
**and**
at most `radius` columns away from `at` = (row, column). Clip the square at the edge of the image.
""",
    solution=hide_far,
    example="hide_far(torch.ones(1, 4, 4), (0, 1), 1)",
    difficulty=1,
    importance=3,
    minutes=6,
    hints=(
        "Start with zeros and copy the square into them.",
        "A slice's end is not part of it: `row - radius : row + radius + 1`. A negative start counts from the other "
        "end, so use max(0, ...).",
    ),
    cases=_pictures,
    wrong=(
        Wrong(
            "end left out",
            lambda image, at, radius: _window(
                image, max(0, at[0] - radius), at[0] + radius, max(0, at[1] - radius), at[1] + radius
            ),
            "The last row and column are missing: a slice's end is not part of it.",
        ),
        Wrong(
            "negative start",
            lambda image, at, radius: _window(
                image, at[0] - radius, at[0] + radius + 1, at[1] - radius, at[1] + radius + 1
            ),
            "Near the edge the start is negative, which counts from the other end, so nothing is kept.",
        ),
        Wrong(
            "near hidden",
            lambda image, at, radius: image - hide_far(image, at, radius),
            "You hide what is near and keep what is far.",
        ),
        Wrong("a cross", _cross, "Rows *or* columns near: that keeps a cross. Both must be near."),
        Wrong(
            "row and column swapped",
            lambda image, at, radius: hide_far(image, (at[1], at[0]), radius),
            "Row and column are swapped: the row runs along H, axis 1 of (C, H, W).",
        ),
        Wrong("in place", _hide_in_place, "Your function changes its argument `image`: the caller still needs it."),
    ),
)

EXERCISES = (FIELD, FORWARD, SIDE, LIKENESS, HIDE)
