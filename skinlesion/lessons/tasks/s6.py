"""Lesson 4, second half: how S6 gets its step sizes, B and C from a token, and where training starts."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal, uniform

# --- x_proj ----------------------------------------------------------------------------------------------------------


def project(x: Tensor, x_proj_weight: Tensor, states: int) -> tuple[Tensor, Tensor, Tensor]:
    """One linear map from a token to its low-rank step, B and C.

    Args:
        x: tokens, (B, L, D).
        x_proj_weight: (R + 2 N, D), rows for the step first, then for B, then for C; no bias.
        states: N.

    Returns:
        The low-rank step (B, L, R), B (B, L, N) and C (B, L, N).
    """
    low, B, C = (x @ x_proj_weight.T).split([x_proj_weight.shape[0] - 2 * states, states, states], dim=-1)
    return low, B, C


def _tokens(generator: Generator) -> list[Case]:
    cases = []
    for batch, length, dim, rank, states, label in (
        (2, 5, 6, 2, 3, ""),
        (1, 1, 4, 1, 2, "one token"),
        (3, 4, 5, 3, 1, "one state"),
    ):
        weight = normal(generator, rank + 2 * states, dim)
        cases.append(Case((normal(generator, batch, length, dim), weight, states), label, (0, 1)))
    return cases


def _parts(x: Tensor, weight: Tensor, states: int, sizes: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The parts in another order of rows."""
    lengths = {"R": len(weight) - 2 * states, "B": states, "C": states}
    rows = dict(zip(sizes, (x @ weight.T).split([lengths[name] for name in sizes], dim=-1), strict=True))
    return rows["R"], rows["B"], rows["C"]


PROJECT = Exercise(
    name="ssm.project",
    lesson=4,
    title="From a token to its parameters: x_proj",
    statement=r"""
In S6 one matrix `x_proj_weight` $(R + 2N, D)$ produces everything that depends on the token: $R$ numbers for the step
size, $N$ for $B_t$ and $N$ for $C_t$, **in this order**. Return the three parts of $W x_t$ for `x` $(B, L, D)$:
$(B, L, R)$, $(B, L, N)$ and $(B, L, N)$. $R$ is the number of remaining rows; there is no bias.
""",
    solution=project,
    example="""
x = torch.tensor([[[1.0, 2.0]]])
weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
project(x, weight, 1)
""",
    difficulty=1,
    importance=4,
    minutes=6,
    hints=(
        "A linear layer without bias is a product with the transposed weight; then cut the last axis.",
        "`(x @ x_proj_weight.T).split([R, states, states], dim=-1)` with R = the number of rows minus 2 states.",
    ),
    cases=_tokens,
    wrong=(
        Wrong(
            "interleaved",
            lambda x, w, n: (lambda p, r: (p[..., :r], p[..., r::2], p[..., r + 1 :: 2]))(x @ w.T, len(w) - 2 * n),
            "You take every other number for B and C. B is one block of N numbers, and C is the next.",
        ),
        Wrong(
            "three equal parts",
            lambda x, weight, states: (x @ weight.T).chunk(3, dim=-1),
            "chunk(3) cuts into equal thirds. The parts have R, N and N numbers: use split with these sizes.",
        ),
        Wrong(
            "C before B",
            lambda x, w, states: _parts(x, w, states, ("R", "C", "B")),
            "B and C are swapped: the rows for B come before those for C. Published weights rely on this order.",
        ),
        Wrong(
            "the step last",
            lambda x, w, states: _parts(x, w, states, ("B", "C", "R")),
            "You read the step's rows last. They come first: step, B, C.",
        ),
        Wrong(
            "softplus too early",
            lambda x, w, states: (F.softplus(project(x, w, states)[0]), *project(x, w, states)[1:]),
            "Softplus comes after the step has been projected to all channels, not on its R numbers.",
        ),
        Wrong(
            "mean token",
            lambda x, w, states: project(x.mean(1, keepdim=True).expand_as(x), w, states),
            "All tokens get the same parameters: you average over the sequence. Each token has its own.",
        ),
        Wrong(
            "B squashed",
            lambda x, w, states: (project(x, w, states)[0], *(p.sigmoid() for p in project(x, w, states)[1:])),
            "B and C are used as they are, without a nonlinearity: they may be negative.",
        ),
        Wrong(
            "shared B and C",
            lambda x, w, states: (project(x, w, states)[0], project(x, w, states)[1], project(x, w, states)[1]),
            "You return B for C. Each has its own rows.",
        ),
    ),
    after="One matrix product gives all that depends on the token. B and C are shared by all D channels.",
)

# --- the step size ---------------------------------------------------------------------------------------------------


def step_size(low: Tensor, dt_proj_weight: Tensor, dt_bias: Tensor) -> Tensor:
    """Positive step sizes of every channel from R numbers of a token: softplus(W low + bias).

    Args:
        low: (B, L, R).
        dt_proj_weight: (D, R).
        dt_bias: (D,).

    Returns:
        (B, L, D).
    """
    return F.softplus(low @ dt_proj_weight.T + dt_bias)


def _steps(generator: Generator) -> list[Case]:
    cases = []
    for batch, length, dim, rank, label in ((2, 3, 5, 2, ""), (1, 1, 3, 1, "rank one"), (3, 2, 4, 4, "full rank")):
        weight, bias = normal(generator, dim, rank), uniform(generator, -4, 1, dim)
        cases.append(Case((normal(generator, batch, length, rank), weight, bias), label, (0, 1, 2)))
    return cases


STEP_SIZE = Exercise(
    name="ssm.step_size",
    lesson=4,
    title="The low-rank step size",
    statement=r"""
Each of the $D$ channels needs a step size of its own, for every token. A full matrix for that would have $D^2$
weights; S6 goes through a bottleneck of $R$ numbers, by default $R = \lceil C / 16 \rceil$, where $C = D / 2$ is the
width outside the scan:

$$\Delta_t = \mathrm{softplus}(W_\Delta\, r_t + b_\Delta), \qquad \mathrm{softplus}(v) = \ln(1 + e^v) > 0$$

`low` $(B, L, R)$, `dt_proj_weight` $(D, R)$, `dt_bias` $(D)$ -> $(B, L, D)$.
""",
    solution=step_size,
    example="""
low = torch.zeros(1, 1, 1)
step_size(low, torch.ones(3, 1), torch.tensor([-4.6, 0.0, 2.0]))
""",
    difficulty=1,
    importance=5,
    minutes=5,
    hints=(
        "A linear layer with bias, then softplus. The bias is added inside.",
        "`F.softplus(low @ dt_proj_weight.T + dt_bias)`.",
    ),
    cases=_steps,
    wrong=(
        Wrong(
            "two softplus, added",
            lambda low, weight, bias: F.softplus(low @ weight.T) + F.softplus(bias),
            "You take softplus of each part and then add. Add the bias first: one softplus of the sum.",
        ),
        Wrong(
            "bias outside",
            lambda low, w, b: F.softplus(low @ w.T) + b,
            "The bias is added after softplus: with a negative bias, a step could be negative, and the state would "
            "grow.",
        ),
        Wrong(
            "bias forgotten",
            lambda low, w, b: F.softplus(low @ w.T),
            "The bias is missing: it sets the default step size.",
        ),
        Wrong(
            "exponential",
            lambda low, w, b: torch.exp(low @ w.T + b),
            "exp is positive too, but grows much faster: one large token would wipe out the state. Use softplus.",
        ),
        Wrong(
            "sigmoid",
            lambda low, w, b: torch.sigmoid(low @ w.T + b),
            "A sigmoid cannot exceed 1: no token could erase a slow state. Use softplus.",
        ),
        Wrong(
            "ReLU",
            lambda low, w, b: torch.relu(low @ w.T + b),
            "ReLU is exactly zero for half of the inputs, and so is its gradient there: such a channel never learns.",
        ),
        Wrong(
            "softplus twice",
            lambda low, w, b: F.softplus(F.softplus(low @ w.T + b)),
            "Softplus is applied twice. Then no step can be below 0.69.",
        ),
        Wrong(
            "linear",
            lambda low, w, b: low @ w.T + b,
            "Softplus is missing: steps can be negative, and exp(delta A) then exceeds 1.",
        ),
    ),
)

# --- inverse softplus ------------------------------------------------------------------------------------------------


def inverse_softplus(step: Tensor) -> Tensor:
    """The number whose softplus is a given step, ln(e^step - 1), computed so that no digit is lost.

    Args:
        step: positive, any shape.
    """
    return step + torch.log(-torch.expm1(-step))


def _positive(generator: Generator) -> list[Case]:
    return [
        Case((uniform(generator, 0.001, 0.1, 6),), "steps between 0.001 and 0.1"),
        Case((uniform(generator, 0.5, 5, 2, 3),), "two axes"),
        Case((torch.tensor([1e-6, 1e-4, 30.0, 100.0]),), "very small and very large steps"),
    ]


INVERSE = Exercise(
    name="ssm.inverse_softplus",
    lesson=4,
    title="Which bias gives this step?",
    statement=r"""
Training should *start* at chosen step sizes. So we need the bias $b$ with $\mathrm{softplus}(b) = \Delta$. Solve for
it: $b = \ln(e^\Delta - 1)$. In this form it fails in float32: for $\Delta = 100$ the exponential overflows, and for
$\Delta = 10^{-6}$ the difference loses nearly all digits. Use the equivalent form

$$b = \Delta + \ln\!\big(1 - e^{-\Delta}\big) = \Delta + \ln\!\big(-\mathrm{expm1}(-\Delta)\big)$$

`step`, any shape, positive -> the same shape.
""",
    solution=inverse_softplus,
    example="inverse_softplus(torch.tensor([0.001, 0.1, 0.6931, 5.0]))",
    difficulty=2,
    importance=3,
    minutes=6,
    hints=(
        "Check your result by inverting it: `F.softplus(inverse_softplus(step))` must be `step`.",
        "`torch.expm1(v)` is e^v - 1 without losing digits: `step + torch.log(-torch.expm1(-step))`.",
    ),
    cases=_positive,
    rtol=1e-5,
    wrong=(
        Wrong(
            "overflow",
            lambda step: torch.log(torch.exp(step) - 1),
            "Right on paper. In float32 exp(100) is infinite, and exp(1e-6) - 1 keeps one or two digits. Use expm1.",
        ),
        Wrong(
            "expm1, still overflowing",
            lambda step: torch.log(torch.expm1(step)),
            "The small steps are right now, but expm1(100) is still infinite. Take the factor e^step out of the log.",
        ),
        Wrong(
            "plain log",
            lambda step: torch.log(step),
            "log(step) is the inverse of exp. It is close for tiny steps only; softplus has a different inverse.",
        ),
        Wrong("softplus itself", lambda step: F.softplus(step), "This is softplus, not its inverse."),
        Wrong(
            "sign",
            lambda step: step - torch.log(-torch.expm1(-step)),
            "The logarithm is subtracted. It is added: it is negative, and makes b smaller than the step.",
        ),
        Wrong(
            "log of 1 - step",
            lambda step: step + torch.log((1 - torch.exp(-step)).clamp_min(1e-3)),
            "Clamping hides the lost digits of 1 - exp(-step): tiny steps all get the same bias. Use expm1.",
        ),
    ),
)

# --- where training starts -------------------------------------------------------------------------------------------

SMALLEST, LARGEST = 0.001, 0.1


def initial_steps(channels: int, smallest: float, largest: float, generator: Generator) -> Tensor:
    """Step sizes whose logarithm is uniform between two bounds.

    Args:
        channels: how many.
        smallest: lower bound, positive.
        largest: upper bound.
        generator: the only source of randomness.

    Returns:
        (channels,).
    """
    low, high = math.log(smallest), math.log(largest)
    return torch.exp(low + (high - low) * torch.rand(channels, generator=generator))


def _draw(function, seed: int, channels: int = 20_000) -> Tensor:
    return torch.as_tensor(function(channels, SMALLEST, LARGEST, torch.Generator().manual_seed(seed)))


def _bounds(function, generator: Generator) -> str | None:
    steps = _draw(function, 1)
    if steps.shape != (20_000,):
        return f"The result must have the shape (channels,), here (20000,); yours has {tuple(steps.shape)}."
    if not bool(torch.isfinite(steps).all()):
        return "Some steps are not finite."
    if float(steps.min()) < 0:
        return (
            "Some of your step sizes are negative: you return logarithms (or biases). "
            "Exponentiate before you return them."
        )
    if float(steps.min()) < 0.999 * SMALLEST or float(steps.max()) > 1.001 * LARGEST:
        return f"Your steps range from {float(steps.min()):.2g} to {float(steps.max()):.2g}, not from 0.001 to 0.1."
    other = torch.as_tensor(function(1000, 0.01, 1.0, torch.Generator().manual_seed(2)))
    if float(other.min()) < 0.0099 or float(other.max()) > 1.01 or float(other.max()) < 0.9:
        return (
            "With other bounds (0.01 to 1) your steps don't fill the range: the bounds are hard-coded in your function."
        )
    return None


def _log_uniform(function, generator: Generator) -> str | None:
    drawn = _draw(function, 3)
    share = float((drawn < 0.01).float().mean())
    if share > 0.97:
        return (
            "All your steps are small, so every channel would forget slowly. They should fill the range evenly on a "
            "log scale."
        )
    if 0.46 < share < 0.54:
        inner = float(((drawn > 10**-2.5) & (drawn < 10**-1.5)).float().mean())  # the middle half on a log scale
        if 0.46 < inner < 0.54:
            return None
        return (
            f"{100 * inner:.0f}% of your steps lie in the middle half of the range on a log scale. It should be one "
            "half: draw the logarithm uniformly (`torch.rand`), not from a normal distribution."
        )
    if share < 0.15:
        return (
            f"Only {100 * share:.0f}% of your steps are below 0.01, the lower half of the range on a log scale: you "
            "draw "
            "the step uniformly, not its logarithm. Almost no channel would have a long memory."
        )
    return f"{100 * share:.0f}% of your steps are below 0.01. With a uniform logarithm it is one half."


def _random(function, generator: Generator) -> str | None:
    one, same, other = _draw(function, 5), _draw(function, 5), _draw(function, 6)
    if not torch.equal(one, same):
        return "Two calls with generators in the same state differ: draw from `generator`."
    if torch.equal(one, other):
        return "Two different generators give the same steps: draw them, and use `generator`."
    return None


INITIAL = Exercise(
    name="ssm.initial_steps",
    lesson=4,
    title="A log-uniform start",
    statement=r"""
S6 starts with a different step size in each channel, between `smallest` $= 0.001$ and `largest` $= 0.1$, so that
memories of about 10 and of about 1000 tokens both exist from the start. A step size is a *scale*, so its **logarithm**
is drawn uniformly: $\Delta = e^{u}$ with $u \sim \mathcal U(\ln \texttt{smallest}, \ln
\texttt{largest})$. Return `channels` such numbers, drawn from `generator`.
""",
    solution=initial_steps,
    example="""
steps = initial_steps(10000, 0.001, 0.1, torch.Generator().manual_seed(0))
float((steps < 0.01).float().mean())
float(steps.median())
""",
    difficulty=2,
    importance=4,
    minutes=6,
    hints=(
        "Draw `torch.rand(channels, generator=generator)` and scale it to the range between the two logarithms.",
        "`torch.exp(low + (high - low) * torch.rand(channels, generator=generator))` where low and high are the "
        "logarithms of the bounds.",
    ),
    properties=(
        Property("steps within the bounds", _bounds),
        Property("a uniform logarithm", _log_uniform),
        Property("uses the generator", _random),
    ),
    wrong=(
        Wrong(
            "uniform",
            lambda n, low, high, g: low + (high - low) * torch.rand(n, generator=g),
            "Only 9% of your steps are below 0.01, the lower half of the range on a log scale: you draw "
            "the step uniformly, not its logarithm. Almost no channel would have a long memory.",
        ),
        Wrong(
            "logarithms returned",
            lambda n, low, high, g: math.log(low) + math.log(high / low) * torch.rand(n, generator=g),
            "Some of your step sizes are negative: you return logarithms (or biases). "
            "Exponentiate before you return them.",
        ),
        Wrong(
            "own random numbers",
            lambda n, low, high, g: torch.exp(math.log(low) + math.log(high / low) * torch.rand(n)),
            "Two calls with generators in the same state differ: draw from `generator`.",
        ),
        Wrong(
            "evenly spaced",
            lambda n, low, high, g: torch.logspace(math.log10(low), math.log10(high), n),
            "Two different generators give the same steps: draw them, and use `generator`.",
        ),
        Wrong(
            "one number for all",
            lambda n, low, high, g: initial_steps(1, low, high, g),
            "The result must have the shape (channels,), here (20000,); yours has (1,).",
        ),
        Wrong(
            "bounds built in",
            lambda n, low, high, g: initial_steps(n, 0.001, 0.1, g),
            "With other bounds (0.01 to 1) your steps don't fill the range: the bounds are hard-coded in your "
            "function.",
        ),
    ),
    after="The inverse softplus turns these step sizes into the biases with which training starts.",
)

# --- bonus -----------------------------------------------------------------------------------------------------------


def remembers(steps: Tensor, rate: float, tokens: int) -> Tensor:
    """The share of channels in which more than half of a token is left after a number of further tokens.

    Args:
        steps: step sizes, (channels,).
        rate: of decay, negative.
        tokens: how many steps later.
    """
    return (torch.exp(rate * tokens * steps) > 0.5).double().mean()


def _memories(generator: Generator) -> list[Case]:
    return [
        Case((uniform(generator, 0.001, 0.1, 40), -1.0, 20), ""),
        Case((uniform(generator, 0.001, 0.1, 31), -2.0, 5), "a faster rate"),
        Case((torch.tensor([0.001, 0.05]), -1.0, 100), "two channels"),
        Case((torch.full((5,), 0.5), -1.0, 50), "nothing is left"),
        Case((uniform(generator, 0.05, 2, 30), -1.0, 3), "large steps"),
    ]


REMEMBERS = Exercise(
    name="ssm.remembers",
    lesson=4,
    title="How many channels remember?",
    statement=r"""
The step sizes of a layer are known: `steps` $(D)$. For a state with the decay rate `rate` $= A < 0$, return the share
of channels in which **more than half** of a token is left `tokens` steps later.
""",
    solution=remembers,
    example="remembers(torch.tensor([0.001, 0.01, 0.1, 0.5]), -1.0, 60)",
    difficulty=2,
    importance=2,
    minutes=6,
    bonus=True,
    hints=(
        "After n equal steps, a token has been multiplied by exp(step A) n times.",
        "`(torch.exp(rate * tokens * steps) > 0.5).double().mean()`.",
    ),
    cases=_memories,
    wrong=(
        Wrong(
            "1/e for one half",
            lambda s, rate, n: (torch.exp(rate * n * s) > 1 / 2.718281828).double().mean(),
            "Your threshold is 1/e, the time constant. The question asks about one half.",
        ),
        Wrong(
            "linear decay",
            lambda s, rate, n: (1 + rate * n * s > 0.5).double().mean(),
            "You subtract at each step. Decay multiplies: exp(rate * tokens * step).",
        ),
        Wrong(
            "tokens forgotten",
            lambda s, rate, n: (torch.exp(rate * s) > 0.5).double().mean(),
            "This is what is left after one token: you don't use the number of tokens.",
        ),
        Wrong(
            "a count",
            lambda s, rate, n: (torch.exp(rate * n * s) > 0.5).double().sum(),
            "This is the number of channels. Return the fraction.",
        ),
        Wrong(
            "the forgetting ones",
            lambda s, rate, n: (torch.exp(rate * n * s) <= 0.5).double().mean(),
            "This is the share that has forgotten: one minus the answer.",
        ),
        Wrong(
            "sign of the rate",
            lambda s, rate, n: (torch.exp(-rate * n * s) > 0.5).double().mean(),
            "The rate is negative already: with another minus sign, every state grows.",
        ),
    ),
)

EXERCISES = (PROJECT, STEP_SIZE, INVERSE, INITIAL, REMEMBERS)
