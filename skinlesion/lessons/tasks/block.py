"""Lesson 9: the CM-SSM block."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized, uniform
from skinlesion.model import SS2D, ChannelMixing, SqueezeExcitation
from skinlesion.model.config import ModelConfig
from skinlesion.model.convolution import depthwise_conv
from skinlesion.scan import cross_selective_scan

ROUTES = 4

# --- the branch ------------------------------------------------------------------------------------------------------


def ss2d_branch(
    u: Tensor,
    in_proj: nn.Linear,
    convolution: nn.Conv2d,
    scan: Callable[[Tensor], Tensor],
    norm: nn.LayerNorm,
    se: SqueezeExcitation,
    out_proj: nn.Linear,
) -> Tensor:
    """SS2D with SE inside, from its parts.

    Args:
        u: (B, H, W, C).
        in_proj: C -> 2 D.
        convolution: depthwise 3 x 3 on D channels.
        scan: (B, H, W, D) -> (B, H, W, D), with its own projections.
        norm: over D.
        se: gives the scaled map and the gate.
        out_proj: D -> C.

    Returns:
        (B, H, W, C).
    """
    x, z = in_proj(u).chunk(2, dim=-1)  # (B, H, W, D) each
    x = F.silu(depthwise_conv(x, convolution))
    y = se(norm(scan(x)))
    return out_proj(y * F.silu(z))


class _Scan(nn.Module):
    """The scan of an SS2D, as a layer of its own."""

    def __init__(self, ss2d: SS2D) -> None:
        super().__init__()
        self.ss2d = ss2d

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D)."""
        delta, B, C = self.ss2d.scan_parameters(x)
        A = -torch.exp(self.ss2d.A_logs)
        return cross_selective_scan(x, delta, A, B, C, self.ss2d.Ds, self.ss2d.dt_projs_bias, engine="reference")


def _branches(generator: Generator) -> list[Case]:
    cases = []
    for shape, label in (((1, 2, 3, 4), ""), ((2, 3, 3, 3), "two images, a square grid"), ((1, 4, 1, 5), "one column")):
        layer = SS2D(dim=shape[-1], config=ModelConfig(d_state=2, se_ratio=2))
        randomized(generator, layer)
        parts = (layer.in_proj, layer.conv2d, _Scan(layer), layer.out_norm, layer.se, layer.out_proj)
        cases.append(Case((normal(generator, *shape), *parts), label, (0,)))
    return cases


def _branch(
    u: Tensor,
    in_proj: nn.Linear,
    convolution: nn.Conv2d,
    scan: Callable[[Tensor], Tensor],
    norm: nn.LayerNorm,
    se: SqueezeExcitation,
    out_proj: nn.Linear,
    *,
    mistake: str,
) -> Tensor:
    """The branch with one mistake of a student in it."""
    x, z = in_proj(u).chunk(2, dim=-1)
    if mistake == "swapped":
        x, z = z, x
    if mistake == "reshaped":
        x = convolution(x.reshape(len(x), x.shape[-1], *x.shape[1:3])).reshape(x.shape)
    else:
        x = depthwise_conv(x, convolution)
    x = x if mistake in ("no activation", "late activation") else F.silu(x)
    y = F.silu(scan(x)) if mistake == "late activation" else scan(x)
    if mistake == "SE first":
        return out_proj(norm(se(y)) * F.silu(z))
    y = y if mistake == "no norm" else norm(y)
    if mistake == "SE last":
        return out_proj(se(y * F.silu(z)))
    y = y if mistake == "no SE" else se(y)
    gates = {"sigmoid": torch.sigmoid(z), "raw": z}
    if mistake == "added":
        return out_proj(y + F.silu(z))
    if mistake == "no gate":
        return out_proj(y)
    return out_proj(y * gates.get(mistake, F.silu(z)))


def _mistaken_branch(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *parts: _branch(*parts, mistake=mistake), diagnosis)


BRANCH = Exercise(
    name="block.ss2d_branch",
    lesson=9,
    title="Inside the first branch",
    statement=r"""
Put the parts from lessons 5 and 7 together:

$$(x, z) = W_\mathrm{in} u, \qquad x \leftarrow \mathrm{SiLU}(\mathrm{DWConv}(x)), \qquad
y = \mathrm{SE}(\mathrm{LN}(\mathrm{scan}(x))), \qquad W_\mathrm{out}\,\big(y \cdot \mathrm{SiLU}(z)\big)$$

| `u` | $x$, $z$ | $y$ | result |
| --- | --- | --- | --- |
| $(B,H,W,C)$ | $(B,H,W,D)$ each, $x$ is the first half | $(B,H,W,D)$ | $(B,H,W,C)$ |

All parts are callable. `convolution` takes channels **first**.
""",
    solution=ss2d_branch,
    example="""
same, local = (nn.Identity(), nn.Conv2d(4, 4, 3, padding=1, groups=4))
ss2d_branch(torch.ones(1, 2, 2, 2), nn.Linear(2, 8), local, same, same, same, nn.Linear(4, 2)).shape
""",
    difficulty=2,
    importance=5,
    minutes=12,
    hints=(
        "One linear layer makes both x and z: split its result in two along the channels.",
        "`x, z = in_proj(u).chunk(2, dim=-1)`, and the convolution between `.permute(0, 3, 1, 2)` and "
        "`.permute(0, 2, 3, 1)`.",
        "`y = se(norm(scan(x)))`, then `out_proj(y * F.silu(z))`.",
    ),
    cases=_branches,
    wrong=(
        _mistaken_branch(
            "SiLU after the scan",
            "late activation",
            "You apply SiLU after the scan. It belongs between the convolution and the scan.",
        ),
        _mistaken_branch(
            "reshaped, not permuted",
            "reshaped",
            "You reshape to channels first, which mixes channels with positions. Move the axis: permute(0, 3, 1, 2).",
        ),
        _mistaken_branch(
            "halves swapped",
            "swapped",
            "The two halves are swapped: x, the first one, goes through the scan, and z is the gate.",
        ),
        _mistaken_branch(
            "no SiLU before the scan", "no activation", "The SiLU between the convolution and the scan is missing."
        ),
        _mistaken_branch("norm forgotten", "no norm", "The LayerNorm after the scan is missing."),
        _mistaken_branch(
            "SE before the norm",
            "SE first",
            "You apply SE before the LayerNorm, which then normalizes the gated channels. SE comes after it (A4).",
        ),
        _mistaken_branch(
            "SE after the gate", "SE last", "You apply SE after the multiplication by SiLU(z). It comes before (A4)."
        ),
        _mistaken_branch("SE forgotten", "no SE", "There is no SE. That is VM-UNet's block; here it belongs inside."),
        _mistaken_branch(
            "gate is a sigmoid", "sigmoid", "Your gate is sigmoid(z). It should be SiLU(z) = z sigmoid(z)."
        ),
        _mistaken_branch("gate not activated", "raw", "Your gate is z itself: the SiLU is missing."),
        _mistaken_branch("gate added", "added", "You add the gate. Multiply by it."),
        _mistaken_branch("gate forgotten", "no gate", "z is not used: multiply by SiLU(z) before the last layer."),
    ),
    after="Everything between the two linear layers is D = 2 C wide: that is where most of the work is done.",
)

# --- the block -------------------------------------------------------------------------------------------------------


def cm_ssm_block(x: Tensor, norm1: nn.LayerNorm, ss2d: nn.Module, norm2: nn.LayerNorm, cmn: nn.Module) -> Tensor:
    """x + SS2D(LN(x)), then x + CMN(LN(x)); (B, H, W, C) -> (B, H, W, C)."""
    x = x + ss2d(norm1(x))
    return x + cmn(norm2(x))


def _blocks(generator: Generator) -> list[Case]:
    cases = []
    for shape, label in (((1, 2, 3, 4), ""), ((2, 3, 2, 3), "two images"), ((3, 2, 4, 5), "three images")):
        dim = shape[-1]
        parts = [
            nn.LayerNorm(dim),
            SS2D(dim=dim, config=ModelConfig(d_state=2, se=False)),
            nn.LayerNorm(dim),
            ChannelMixing(dim=dim),
        ]
        parts = [randomized(generator, part) for part in parts]
        cases.append(Case((normal(generator, *shape), *parts), label, (0,)))
    return cases


def _parallel(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return x + ss2d(norm1(x)) + cmn(norm2(x))


def _series(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return x + cmn(norm2(ss2d(norm1(x))))


def _no_second(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return cmn(norm2(x + ss2d(norm1(x))))


def _post_norm(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    x = norm1(x + ss2d(x))
    return norm2(x + cmn(x))


def _normalized_residual(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    x = norm1(x)
    x = norm2(x + ss2d(x))
    return x + cmn(x)


def _old_x(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return x + cmn(norm2(x + ss2d(norm1(x))))


def _one_norm(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return cm_ssm_block(x, norm1, ss2d, norm1, cmn)  # type: ignore[arg-type]


def _other_order(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return cm_ssm_block(x, norm2, cmn, norm1, ss2d)  # type: ignore[arg-type]


def _post_norm_from_start(x: Tensor, norm1: nn.Module, ss2d: nn.Module, norm2: nn.Module, cmn: nn.Module) -> Tensor:
    return norm2(x + cmn(norm1(x + ss2d(x))))


BLOCK = Exercise(
    name="block.cm_ssm_block",
    lesson=9,
    title="The block",
    statement=r"""
Two branches, one after the other, each with a LayerNorm **before** it and a residual around it (A6):

$$x \leftarrow x + \mathrm{SS2D}(\mathrm{LN}_1(x)), \qquad x \leftarrow x + \mathrm{CMN}(\mathrm{LN}_2(x))$$

`x` $(B, H, W, C)$ -> $(B, H, W, C)$. The four parts are callable.
""",
    solution=cm_ssm_block,
    example="""
cm_ssm_block(torch.tensor([[[[1.0, 3.0]]]]), nn.Identity(), lambda x: 10 * x,
    nn.Identity(), lambda x: x + 1)
""",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=("Two lines of the same form. The second starts from the result of the first.", "`x = x + ss2d(norm1(x))`"),
    cases=_blocks,
    wrong=(
        Wrong(
            "from the normalized",
            lambda x, norm1, ss2d, norm2, cmn: (lambda y: y + cmn(norm2(y)))(norm1(x) + ss2d(norm1(x))),
            "You add the branch to LN1(x). The residual carries x itself: only the branch sees the normalized map.",
        ),
        Wrong(
            "norms after, and one residual from the start",
            _post_norm_from_start,
            "Each norm comes after its sum, and the second residual is the block's input. Normalize before each "
            "branch, and add the second branch to the result of the first.",
        ),
        Wrong(
            "side by side",
            _parallel,
            "Both branches start from the same x. The second must start from the result of the first.",
        ),
        Wrong(
            "one residual",
            _series,
            "There is one residual around both branches. Each has its own, so a signal can bypass either of them.",
        ),
        Wrong(
            "second residual forgotten", _no_second, "The second residual is missing, so whatever CMN drops is lost."
        ),
        Wrong(
            "residual from the start",
            _old_x,
            "The second residual starts from the block's input, so what SS2D added reaches the output only through "
            "CMN.",
        ),
        Wrong(
            "norm after the sum",
            _post_norm,
            "The LayerNorms come after the sums, as in the original transformer. Here they come before the branches, "
            "and the residual path has none.",
        ),
        Wrong(
            "residual normalized",
            _normalized_residual,
            "The residual starts from the normalized x. It should carry x itself; only the branch gets LN(x).",
        ),
        Wrong("one norm twice", _one_norm, "You use norm1 twice. Each branch has its own LayerNorm."),
        Wrong("CMN first", _other_order, "You apply CMN before SS2D. SS2D comes first."),
    ),
    after="If both branches gave zero, the block would be the identity. So a deep stack can begin as a shallow one.",
)

# --- drop path -------------------------------------------------------------------------------------------------------


def drop_path(branch: Tensor, rate: float, generator: Generator) -> Tensor:
    """Drop the branch of some images and scale the others, so that the expectation stays the same.

    Args:
        branch: (B, H, W, C).
        rate: probability of dropping an image's branch, in [0, 1).
        generator: source of the coin tosses.

    Returns:
        (B, H, W, C).
    """
    kept = torch.rand(len(branch), generator=generator) >= rate  # (B,)
    return branch * kept[:, None, None, None] / (1 - rate)


_IMAGES, _RATE = 2000, 0.3


def _factors(function: Callable[..., Tensor], rate: float, generator: Generator) -> Tensor | str:
    """What each image's branch is multiplied by, or what is wrong."""
    branch = 1 + uniform(generator, 0, 1, _IMAGES, 2, 3, 2)
    result = function(branch, rate, generator)
    if not isinstance(result, Tensor) or result.shape != branch.shape:
        return f"The shape must stay {tuple(branch.shape)}."
    factor = (result / branch).flatten(1)  # (B, H W C)
    if float((factor - factor[:, :1]).abs().max()) > 1e-4:
        return (
            "Some tokens or channels of an image are dropped and others kept. Toss one coin per image: keep all of it "
            "or none."
        )
    return factor[:, 0]


def _drops_images(function: Callable[..., Tensor], generator: Generator) -> str | None:
    factor = _factors(function, _RATE, generator)
    if isinstance(factor, str):
        return factor
    if float(factor.min()) > 0.9 and float(factor.max()) > float(factor.min()) + 0.5:
        return "No image loses its branch: did you add the residual? Return only the branch."
    dropped = factor.abs() < 1e-6
    share = float(dropped.float().mean())
    if share == 0 or share == 1:
        return "All images share one coin. Toss one per image."
    if abs(share - (1 - _RATE)) < 0.05:
        return "The rate is the probability of *dropping* the branch; you keep it with that probability."
    if abs(share - _RATE) > 0.05:
        return f"With rate {_RATE}, {100 * share:.0f}% of the images were dropped."
    return None


def _keeps_expectation(function: Callable[..., Tensor], generator: Generator) -> str | None:
    factor = _factors(function, _RATE, generator)
    if isinstance(factor, str):
        return factor
    kept = factor[factor.abs() > 1e-6].mean()
    if abs(float(kept) - 1) < 1e-3:
        return "You don't scale what you keep, so on average the branch is too weak in training. Divide by 1 - rate."
    if abs(float(kept) - (1 - _RATE)) < 1e-3:
        return "You multiply what you keep by 1 - rate, which makes it even weaker. Divide by 1 - rate."
    if abs(float(kept) - 1 / _RATE) < 1e-2:
        return "You divide what you keep by the rate. Divide by the probability of keeping it, 1 - rate."
    if abs(float(kept) - 1 / (1 - _RATE)) > 1e-3:
        return f"You multiply what you keep by {float(kept):.3f}; on average the branch must stay the same."
    return None


def _zero_rate(function: Callable[..., Tensor], generator: Generator) -> str | None:
    branch = normal(generator, 5, 2, 2, 3)
    if not torch.allclose(function(branch, 0.0, generator), branch):
        return "With rate 0, return the branch unchanged."
    return None


def _draws_anew(function: Callable[..., Tensor], generator: Generator) -> str | None:
    branch = torch.ones(50, 1, 1, 1)
    if torch.equal(function(branch, 0.5, generator), function(branch, 0.5, generator)):
        return "The same images are dropped in every call: draw with `generator`, and don't seed it yourself."
    return None


def _coins(generator: Generator, *shape: int, rate: float) -> Tensor:
    return (torch.rand(shape, generator=generator) >= rate).float()


def _tosses_coins(function: Callable[..., Tensor], generator: Generator) -> str | None:
    branch = torch.ones(6, 1, 1, 1)
    dropped = {int((function(branch, 0.5, generator) == 0).sum()) for _ in range(40)}
    if len(dropped) == 1:
        return f"Every call drops {dropped.pop()} of 6 images, a fixed number. Toss a separate coin for each image."
    return None


def _is_repeatable(function: Callable[..., Tensor], generator: Generator) -> str | None:
    branch = torch.ones(32, 1, 1, 1)
    one, two = (function(branch, 0.5, Generator().manual_seed(5)) for _ in range(2))
    if not torch.equal(one, two):
        return "The coins do not come from `generator`: the same seed drops different images."
    return None


def _fixed_number(branch: Tensor, rate: float, generator: Generator) -> Tensor:
    factor = torch.full((len(branch),), 1 / (1 - rate))
    factor[torch.randperm(len(branch), generator=generator)[: round(rate * len(branch))]] = 0
    return branch * factor[:, None, None, None]


DROP_PATH = Exercise(
    name="block.drop_path",
    lesson=9,
    title="Drop path",
    statement=r"""
In training, toss a coin for each **image** of a batch. With probability `rate`, its whole `branch` $(B, H, W, C)$
becomes zero (the residual still carries the image); otherwise it is scaled so that its **expectation stays the same**.
Toss with
`torch.rand(..., generator=generator)`. Return the branch, without the residual.
""",
    solution=drop_path,
    example="drop_path(torch.ones(5, 1, 1, 1), 0.5, torch.Generator().manual_seed(0)).flatten()",
    difficulty=2,
    importance=3,
    minutes=8,
    hints=(
        "One number per image: (B,). How does it broadcast with (B, H, W, C)?",
        "If an image is kept with probability p, what must a kept branch be multiplied by so that the mean is 1?",
        "`kept = torch.rand(len(branch), generator=generator) >= rate`, and divide by `1 - rate`.",
    ),
    properties=(
        Property("whole images are dropped", _drops_images),
        Property("the same expectation", _keeps_expectation),
        Property("rate 0", _zero_rate),
        Property("a new draw every time", _draws_anew),
        Property("repeatable", _is_repeatable),
        Property("a separate coin for each image", _tosses_coins),
    ),
    wrong=(
        Wrong(
            "a fixed number",
            _fixed_number,
            "Every call drops 3 of 6 images, a fixed number. Toss a separate coin for each image.",
        ),
        Wrong(
            "dropout of single numbers",
            lambda branch, rate, generator: branch * _coins(generator, *branch.shape, rate=rate) / (1 - rate),
            "Some tokens or channels of an image are dropped and others kept. Toss one coin per image: keep all of it "
            "or none.",
        ),
        Wrong(
            "one coin for the batch",
            lambda branch, rate, generator: branch * _coins(generator, 1, 1, 1, 1, rate=rate) / (1 - rate),
            "All images share one coin. Toss one per image.",
        ),
        Wrong(
            "rate keeps",
            lambda branch, rate, generator: (
                branch * (1 - _coins(generator, len(branch), 1, 1, 1, rate=rate)) / max(rate, 1e-9)
            ),
            "The rate is the probability of *dropping* the branch; you keep it with that probability.",
        ),
        Wrong(
            "not scaled",
            lambda branch, rate, generator: branch * _coins(generator, len(branch), 1, 1, 1, rate=rate),
            "You don't scale what you keep, so on average the branch is too weak in training. Divide by 1 - rate.",
        ),
        Wrong(
            "scaled the wrong way",
            lambda branch, rate, generator: branch * _coins(generator, len(branch), 1, 1, 1, rate=rate) * (1 - rate),
            "You multiply what you keep by 1 - rate, which makes it even weaker. Divide by 1 - rate.",
        ),
        Wrong(
            "residual added",
            lambda branch, rate, generator: branch + drop_path(branch, rate, generator),
            "No image loses its branch: did you add the residual? Return only the branch.",
        ),
        Wrong(
            "divided by the rate",
            lambda branch, rate, generator: (
                branch * _coins(generator, len(branch), 1, 1, 1, rate=rate) / max(rate, 1e-9)
            ),
            "You divide what you keep by the rate. Divide by the probability of keeping it, 1 - rate.",
        ),
        Wrong(
            "always the same images",
            lambda branch, rate, generator: drop_path(branch, rate, Generator().manual_seed(0)),
            "The same images are dropped in every call: draw with `generator`, and don't seed it yourself.",
        ),
    ),
    after="At inference nothing is dropped and nothing is scaled: that is what the division is for.",
)

# --- parameters ------------------------------------------------------------------------------------------------------


def parameters(dim: int, states: int) -> int:
    """Number of learned parameters of the block without SE and CMN: LayerNorm and SS2D, four routes.

    Args:
        dim: channels C of the block.
        states: N of each channel.
    """
    inner, rank = 2 * dim, math.ceil(dim / 16)
    norms = 2 * dim + 2 * inner  # before the branch, and after the scan
    layers = dim * 2 * inner + inner * dim  # in and out, without bias
    convolution = 9 * inner + inner  # depthwise, with bias
    projections = ROUTES * (inner * (rank + 2 * states) + rank * inner + inner)  # x_proj, dt_proj and its bias
    state_space = ROUTES * (inner * states + inner)  # A and D
    return norms + layers + convolution + projections + state_space


def _count(dim: int, states: int, *, mistake: str) -> int:
    """The count with one mistake of a student in it."""
    inner = 2 * dim
    rank = dim // 16 if mistake == "rank" else math.ceil(dim / 16)
    routes = 1 if mistake == "routes" else ROUTES
    first = dim * (inner if mistake == "half" else 2 * inner)
    outer = inner * dim + ((2 * inner + dim) if mistake == "bias" else 0)
    convolution = 9 * inner + (0 if mistake == "convolution bias" else inner)
    project = routes * inner * (rank + (states if mistake == "one of B and C" else 2 * states))
    step = routes * (rank * inner + (0 if mistake == "step bias" else inner))
    decay = inner * states * (1 if mistake == "shared A" else routes)
    norms = 2 * dim + (0 if mistake == "norm" else 2 * inner)
    return first + outer + convolution + project + step + decay + routes * inner + norms


def _mistaken_count(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda dim, states: _count(dim, states, mistake=mistake), diagnosis)


PARAMETERS = Exercise(
    name="block.parameters",
    lesson=9,
    title="Count its parameters",
    statement=r"""
Count by hand the parameters of the block **without SE and CMN** (VM-UNet's block). `dim` is $C$, `states` is
$N$, the inner width is $D = 2C$, there are $K = 4$ routes, and $R = \lceil C / 16 \rceil$.

| part | shape | bias |
| --- | --- | --- |
| LayerNorm before | $C$, scale and shift | |
| in | $C \to 2D$ | no |
| depthwise convolution | $3 \times 3$ for each of $D$ | yes, $D$ |
| projections to step, $B$, $C$, each route | $D \to R + 2N$ | no |
| step sizes, each route | $R \to D$ | yes, $D$ |
| $A$, each route | $D \times N$ | |
| direct path $D$, each route | $D$ | |
| LayerNorm after the scan | $D$, scale and shift | |
| out | $D \to C$ | no |
""",
    solution=parameters,
    example="parameters(32, 16)",
    difficulty=2,
    importance=3,
    minutes=10,
    hints=(
        "Go down the table; rows that say 'each route' count four times.",
        "With C = 96 and N = 16 the lines are 192, 36,864, 1,920, 29,184, 5,376, 12,288, 768, 384 and 18,432.",
        "R is rounded **up**: `math.ceil(dim / 16)` or `-(-dim // 16)`.",
    ),
    cases=lambda generator: [Case((96, 16)), Case((20, 4), "C is not a multiple of 16"), Case((768, 16)), Case((8, 1))],
    wrong=(
        Wrong(
            "a bias in out",
            lambda dim, states: parameters(dim, states) + dim,
            "Your count is too high by C: the output layer, D to C, has no bias.",
        ),
        Wrong(
            "a bias in in",
            lambda dim, states: parameters(dim, states) + 4 * dim,
            "Your count is too high by 4 C: the input layer, C to 2 D, has no bias.",
        ),
        _mistaken_count("one route", "routes", "You count only one route. Each of the four has its own parameters."),
        _mistaken_count("rank rounded down", "rank", "R is C / 16 rounded up, not down: with C = 20 it is 2."),
        _mistaken_count(
            "z forgotten", "half", "The first layer computes x and z, D channels each, so it has C x 2 D weights."
        ),
        _mistaken_count("linear layers with bias", "bias", "The first and the last linear layer have no bias."),
        _mistaken_count(
            "convolution without bias", "convolution bias", "The depthwise convolution has a bias, one per channel."
        ),
        _mistaken_count(
            "only one of B and C", "one of B and C", "B and C both come from the token, N numbers each, so R + 2 N."
        ),
        _mistaken_count("step bias forgotten", "step bias", "The step sizes have a bias of D numbers in each route."),
        _mistaken_count("A shared", "shared A", "You count A once. Each route has its own D x N decay rates."),
        _mistaken_count("inner norm forgotten", "norm", "The LayerNorm after the scan, over D channels, is missing."),
    ),
    after="105,408 with C = 96. The state space itself (A and the direct path) is only an eighth of that.",
)

# --- operations ------------------------------------------------------------------------------------------------------


def operations(height: int, width: int, dim: int, states: int) -> tuple[int, int, int]:
    """Work of SS2D without SE for one image.

    Args:
        height: of the grid of tokens.
        width: of the grid.
        dim: channels C of the block.
        states: N of each channel.

    Returns:
        multiply-adds of the three layers that counters see, multiply-adds of the projections that feed the scan, and
        floating-point operations of the scan.
    """
    tokens, inner, rank = height * width, 2 * dim, math.ceil(dim / 16)
    layers = tokens * (dim * 2 * inner + 9 * inner + inner * dim)
    projections = tokens * ROUTES * (inner * (rank + 2 * states) + rank * inner)
    scan = tokens * ROUTES * inner * (9 * states + 1)
    return layers, projections, scan


def _work(height: int, width: int, dim: int, states: int, *, mistake: str) -> tuple[int, int, int]:
    """The counts with one mistake of a student in them."""
    tokens, inner, rank = height * width, 2 * dim, math.ceil(dim / 16)
    routes = 1 if mistake == "one route" else ROUTES
    kernel = 9 * inner * (inner if mistake == "dense" else 1)
    layers = dim * 2 * inner + kernel + inner * dim
    low = 0 if mistake == "no steps" else rank * inner
    projections = routes * (inner * (rank + 2 * states) + low)
    scan = routes * inner * (9 * states + (0 if mistake == "no D" else 1))
    if mistake == "scan on C":
        scan //= 2
    if mistake == "quadratic":
        return tokens * layers, tokens * projections, tokens**2 * scan
    if mistake == "flops":
        layers, projections = 2 * layers, 2 * projections
    return tokens * layers, tokens * projections, tokens * scan


def _mistaken_work(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(
        name,
        lambda height, width, dim, states: _work(height, width, dim, states, mistake=mistake),
        diagnosis,
    )


OPERATIONS = Exercise(
    name="block.operations",
    lesson=9,
    title="Count its operations",
    statement=r"""
For **one image** of $L = HW$ tokens, return three whole numbers:

1. **multiply-adds** of the layers that FLOP counters include: in ($C \to 2D$), the depthwise convolution (9 per
channel), out ($D \to C$);
2. **multiply-adds** of the projections that feed the scan, for each of the $K = 4$ routes: $D \to R + 2N$, then $R \to
   D$;
3. **operations** of the scan: $9 L D N + L D$ for each route (Mamba's own rule: discretize, multiply, add, read; the
   second term is the direct path).

$D = 2C$ and $R = \lceil C / 16 \rceil$. Norms, activations and biases are left out, as usual.
""",
    solution=operations,
    example="operations(8, 8, 32, 16)",
    difficulty=2,
    importance=3,
    minutes=10,
    bonus=True,
    hints=(
        "A linear layer from a to b channels costs a x b multiply-adds per token, a depthwise 3 x 3 convolution 9 D.",
        "Layers: L (4 C C + 18 C + 2 C C). Projections: L K D (R + 2 N + R).",
        "Scan: `4 * tokens * inner * (9 * states + 1)`.",
    ),
    cases=lambda generator: [
        Case((64, 64, 96, 16)),
        Case((3, 5, 20, 4), "C is not a multiple of 16"),
        Case((8, 8, 768, 16)),
        Case((1, 1, 8, 1), "one token"),
    ],
    wrong=(
        _mistaken_work("one route", "one route", "You count only one route for the projections and the scan."),
        _mistaken_work(
            "FLOPs for multiply-adds",
            "flops",
            "The first two are too large by a factor of 2: you count a multiply-add as two operations. Here it is one "
            "(MAC).",
        ),
        _mistaken_work(
            "convolution not depthwise",
            "dense",
            "You count the convolution as if it mixed all channels: a depthwise one costs 9 D per token.",
        ),
        _mistaken_work("R to D forgotten", "no steps", "The second projection, R -> D for the step sizes, is missing."),
        _mistaken_work("direct path forgotten", "no D", "The scan's second term, L D for the direct path, is missing."),
        _mistaken_work("scan on C channels", "scan on C", "The scan runs on the inner width D = 2 C, not on C."),
        _mistaken_work(
            "quadratic scan",
            "quadratic",
            "The scan's work grows with the square of L in your formula. That is attention; a scan visits each token "
            "once per route.",
        ),
    ),
    after="233.6 M, 138.4 M and 456.1 M at 64 x 64 x 96. Counters see the first number only.",
)

# --- the control -----------------------------------------------------------------------------------------------------


def lonely_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """SS2D's scan where each token is its own sequence: the same arithmetic without neighbors.

    Args:
        x: (B, H, W, D).
        delta: before bias and softplus, (B, H, W, K, D).
        A: (K, D, N); not needed, since nothing is remembered.
        B: (B, H, W, K, N).
        C: (B, H, W, K, N).
        D: (K, D).
        delta_bias: (K, D).

    Returns:
        (B, H, W, D).
    """
    step = F.softplus(delta + delta_bias)  # (B, H, W, K, D)
    read = (B * C).sum(-1, keepdim=True)  # (B, H, W, K, 1)
    return x * (step * read + D).sum(-2)


def _scan_inputs(generator: Generator) -> list[Case]:
    cases = []
    for grid, channels, states, label in (
        ((1, 2, 3), 2, 3, ""),
        ((2, 3, 3), 3, 3, "as many states as channels"),
        ((3, 4, 2), 2, 1, "three images, one state"),
    ):
        delta = normal(generator, *grid, ROUTES, channels)
        A = -uniform(generator, 0.2, 2, ROUTES, channels, states)
        B, C = normal(generator, *grid, ROUTES, states), normal(generator, *grid, ROUTES, states)
        D, bias = normal(generator, ROUTES, channels), normal(generator, ROUTES, channels)
        cases.append(Case((normal(generator, *grid, channels), delta, A, B, C, D, bias), label, (0, 1, 3, 4, 5, 6)))
    return cases


def _lonely(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor, *, mistake: str
) -> Tensor:
    raw = delta if mistake == "no bias" else delta + delta_bias
    step = raw if mistake == "no softplus" else F.softplus(raw)
    read = (B * C).sum(-1, keepdim=True)
    if mistake == "decay":
        read = (torch.exp(step[..., None] * A) * (B * C)[..., None, :]).sum(-1)
    factor = step * read + (0 if mistake == "no D" else D)
    if mistake == "shared D":
        factor = step * read + D[0]
    if mistake == "mean":
        return x * factor.mean(-2)
    if mistake == "one route":
        return x * factor[..., 0, :]
    if mistake == "B and C apart":
        return x * (step * B.sum(-1, keepdim=True) * C.sum(-1, keepdim=True) + D).sum(-2)
    if mistake == "direct only":
        return x * D.sum(0)
    return x * factor.sum(-2)


def _mistaken_lonely(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda *tensors: _lonely(*tensors, mistake=mistake), diagnosis)


LONELY = Exercise(
    name="block.lonely_scan",
    lesson=9,
    title="The control: a scan without neighbors",
    statement=r"""
To find out what the scan contributes, remove what makes it a scan and **keep the rest**: all weights and all
arithmetic, but each token is a sequence of length 1. The state starts at zero, so there is no memory:

$$h = \Delta\, B\, x, \qquad y = \sum_n C_n h_n + D x, \qquad \Delta = \mathrm{softplus}(\texttt{delta} +
\texttt{delta\_bias}),$$

and the $K$ routes are added as before. Shapes as in `ss2d.cross_selective_scan`: `x` $(B,H,W,D)$, `delta`
$(B,H,W,K,D)$, `A` $(K,D,N)$, `B` and `C` $(B,H,W,K,N)$, `D` and `delta_bias` $(K,D)$ -> $(B,H,W,D)$.
""",
    solution=lonely_scan,
    example="""
x = torch.full((1, 1, 2, 1), 3.0)
zero, one = (torch.zeros(1, 1, 2, 4, 1), torch.ones(1, 1, 2, 4, 1))
lonely_scan(x, zero, -torch.ones(4, 1, 1), one, one, torch.ones(4, 1), torch.zeros(4, 1))[..., 0]
""",
    difficulty=3,
    importance=3,
    minutes=12,
    hints=(
        "The decay exp(delta A) multiplies the old state, which is zero. So A does not appear.",
        "`(B * C).sum(-1)` is one number for each token and route. Which axis does it need to broadcast with delta?",
        "`x * (step * (B * C).sum(-1, keepdim=True) + D).sum(-2)`",
    ),
    cases=_scan_inputs,
    wrong=(
        Wrong(
            "the scan itself",
            lambda x, delta, A, B, C, D, bias: cross_selective_scan(x, delta, A, B, C, D, bias, engine="reference"),
            "This is SS2D's scan unchanged, with its memory: every token still depends on those before it.",
        ),
        _mistaken_lonely("D shared", "shared D", "You use the D of route 0 for every route. Each has its own."),
        _mistaken_lonely(
            "decays its own input",
            "decay",
            "You apply the decay to what the token has just written. It applies to the old state, which is zero.",
        ),
        _mistaken_lonely("direct path forgotten", "no D", "The direct path D x is missing."),
        _mistaken_lonely(
            "only the direct path",
            "direct only",
            "Only the direct path is left. A token still writes to its state and reads from it: C B delta x.",
        ),
        _mistaken_lonely("softplus forgotten", "no softplus", "The step sizes lack the softplus."),
        _mistaken_lonely("bias forgotten", "no bias", "The step sizes lack `delta_bias`."),
        _mistaken_lonely("mean of the routes", "mean", "This is the mean over the routes. SS2D adds them."),
        _mistaken_lonely("one route", "one route", "You use only route 0. Add the results of all four."),
        _mistaken_lonely(
            "B and C summed apart",
            "B and C apart",
            "You sum B and C over the states separately. State n is written with B_n and read with C_n: "
            "multiply first, then sum.",
        ),
    ),
    after="It has the same number of parameters and uses all of them except A. Whatever is lost was carried by the "
    "scan's memory.",
)

EXERCISES = (BRANCH, BLOCK, DROP_PATH, PARAMETERS, OPERATIONS, LONELY)
