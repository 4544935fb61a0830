"""Lesson 4: state spaces, from a differential equation to the selective scan."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks import s6
from skinlesion.lessons.tasks.inputs import normal, uniform
from skinlesion.scan import reference

# --- discretize ------------------------------------------------------------------------------------------------------


def discretize(A: Tensor, B: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-order hold: what h' = A h + B u does to h during a time `delta` in which u is constant.

    Args:
        A: decay rates, (N,), not zero.
        B: input weights, (N,).
        delta: the time step, a scalar.

    Returns:
        A_bar and B_bar, (N,) each, with h_t = A_bar h_(t-1) + B_bar u_t.
    """
    return torch.exp(delta * A), torch.expm1(delta * A) / A * B


def _systems(generator: Generator) -> list[Case]:
    cases = []
    for states, low, high, label in ((3, 0.1, 0.5, "small steps"), (4, 1, 3, "large steps"), (1, 0.5, 1, "one state")):
        A, B = -uniform(generator, 0.2, 2, states), normal(generator, states)
        cases.append(Case((A, B, uniform(generator, low, high)), label))
    return cases


DISCRETIZE = Exercise(
    name="ssm.discretize",
    lesson=4,
    title="From continuous to discrete",
    statement=r"""
For a diagonal system $h' = A h + B u$ and an input that is constant during a step of length $\Delta$, return

$$\bar A = e^{\Delta A}, \qquad \bar B = \frac{e^{\Delta A} - 1}{A}\, B$$

`A` and `B` have shape $(N)$, `delta` is a scalar tensor. Everything is elementwise, since $A$ is diagonal.
""",
    solution=discretize,
    example="discretize(torch.tensor([-1.0]), torch.tensor([2.0]), torch.tensor(0.5))",
    difficulty=1,
    importance=4,
    minutes=6,
    hints=(
        "Two lines, one for each formula. A_bar is just the exponential of a product.",
        "`torch.exp(delta * A)` first; the second uses the first, minus one, divided by A, times B.",
    ),
    cases=_systems,
    wrong=(
        Wrong(
            "bilinear",
            lambda A, B, d: ((1 + d * A / 2) / (1 - d * A / 2), d * B / (1 - d * A / 2)),
            "This is the bilinear rule (trapezoid), as in S4. Use Mamba's zero-order hold, an exponential.",
        ),
        Wrong(
            "Euler for both",
            lambda A, B, delta: (1 + delta * A, delta * B),
            "This is Euler's rule, 1 + delta A and delta B: the first term of the series. It is close only while "
            "delta * A "
            "is small, and it diverges when delta * |A| > 2.",
        ),
        Wrong(
            "Euler for B",
            lambda A, B, delta: (torch.exp(delta * A), delta * B),
            "A_bar is exact, B_bar is Euler's delta * B. That is what Mamba does (and the network, see the end of the "
            "lesson); here, return the exact one.",
        ),
        Wrong(
            "delta forgotten",
            lambda A, B, delta: (torch.exp(A), (torch.exp(A) - 1) / A * B),
            "The step size delta does not appear.",
        ),
        Wrong(
            "not divided by A",
            lambda A, B, delta: (torch.exp(delta * A), (torch.exp(delta * A) - 1) * B),
            "B_bar is not divided by A. Check: for a small delta it must become delta * B.",
        ),
        Wrong(
            "sign",
            lambda A, B, delta: (torch.exp(delta * A), (1 - torch.exp(delta * A)) / A * B),
            "The sign of B_bar is wrong: A is negative, and so is exp(delta A) - 1; their ratio is positive.",
        ),
        Wrong(
            "divided by delta A",
            lambda A, B, delta: (torch.exp(delta * A), (torch.exp(delta * A) - 1) / (delta * A) * B),
            "Divide by A only, not by delta * A: a longer step lets in more of the input.",
        ),
    ),
    after="A_bar is exact for any step size, and with A < 0 it is below 1: the state can't blow up.",
)

# --- recurrence ------------------------------------------------------------------------------------------------------


def recurrence(a: Tensor, b: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """h_t = a h_(t-1) + b u_t, y_t = sum of c h_t, from h = 0.

    Args:
        a: (N,).
        b: (N,).
        c: (N,).
        u: (L,).

    Returns:
        y, (L,).
    """
    h = torch.zeros_like(a)
    y = []
    for u_t in u:
        h = a * h + b * u_t
        y.append((c * h).sum())
    return torch.stack(y)


def _signals(generator: Generator) -> list[Case]:
    cases = []
    for states, length, label in ((2, 5, ""), (1, 4, "one state"), (3, 1, "a single step"), (4, 60, "a long signal")):
        a = uniform(generator, 0.2, 0.9, states)
        b, c, u = normal(generator, states), normal(generator, states), normal(generator, length)
        cases.append(Case((a, b, c, u), label))
    return cases


def _recur(a: Tensor, b: Tensor, c: Tensor, u: Tensor, *, mistake: str) -> Tensor:
    h, y = torch.zeros_like(a), []
    for u_t in u.flip(0) if mistake == "backward" else u:
        before = h
        h = {
            "no carry": lambda h, u_t: b * u_t,
            "input decays": lambda h, u_t: a * (h + b * u_t),
            "no b": lambda h, u_t: a * h + u_t,
            "mixed": lambda h, u_t: (1 - a) * h + b * u_t,
        }.get(mistake, lambda h, u_t: a * h + b * u_t)(h, u_t)
        read = before if mistake == "late" else h
        y.append(read.sum() if mistake == "no c" else (c * read).sum())
    return torch.stack(y)


def _mistaken_recurrence(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda a, b, c, u: _recur(a, b, c, u, mistake=mistake), diagnosis)


RECURRENCE = Exercise(
    name="ssm.recurrence",
    lesson=4,
    title="The recurrence",
    statement=r"""
Walk along the sequence with a state $h$ of $N$ numbers, from $h_0 = 0$:

$$h_t = a\, h_{t-1} + b\, u_t, \qquad y_t = \sum_n c_n h_{t,n}$$

`a`, `b`, `c` $(N)$, `u` $(L)$ -> `y` $(L)$. (`a` and `b` are what the last exercise called $\bar A$ and $\bar B$.)
""",
    solution=recurrence,
    example="""
recurrence(torch.tensor([0.5]), torch.tensor([1.0]), torch.tensor([2.0]),
    torch.tensor([1.0, 0.0, 0.0]))
""",
    difficulty=1,
    importance=5,
    minutes=8,
    hints=(
        "A loop over u. Keep h from one iteration to the next, and append one number per iteration.",
        "Inside the loop: `h = a * h + b * u_t`, then `y.append((c * h).sum())`. At the end `torch.stack(y)`.",
    ),
    cases=_signals,
    wrong=(
        Wrong(
            "c summed by itself",
            lambda a, b, c, u: c.sum() * recurrence(a, b, torch.ones_like(c), u),
            "You sum c and the state separately. Each state n has its own c_n: multiply first, then sum.",
        ),
        _mistaken_recurrence(
            "reads too early",
            "late",
            "You read the state before the token is written: y_t uses h_(t-1). Update first, then read.",
        ),
        _mistaken_recurrence(
            "no memory", "no carry", "The state isn't carried over: each output depends on one token only."
        ),
        _mistaken_recurrence(
            "input decays at once",
            "input decays",
            "The new token is multiplied by a too: a * (h + b u). Only the old state decays.",
        ),
        _mistaken_recurrence("b forgotten", "no b", "The input weight b is missing."),
        _mistaken_recurrence("c forgotten", "no c", "You add the states without the weights c."),
        _mistaken_recurrence("backward", "backward", "You go through the sequence backward, from its end."),
        _mistaken_recurrence(
            "keeps 1 - a",
            "mixed",
            "You multiply the old state by 1 - a. It should be a: the closer a is to 1, the longer the memory.",
        ),
    ),
)

# --- kernel and convolution ------------------------------------------------------------------------------------------


def kernel(a: Tensor, b: Tensor, c: Tensor, length: int) -> Tensor:
    """The impulse response: K_j = sum over n of c a^j b.

    Args:
        a: (N,).
        b: (N,).
        c: (N,).
        length: number of taps.

    Returns:
        (length,).
    """
    powers = torch.arange(length, dtype=a.dtype, device=a.device)[:, None]  # (L, 1)
    return (c * b * a**powers).sum(-1)  # (L, N) -> (L,)


def _taps(generator: Generator) -> list[Case]:
    cases = []
    for states, length, label in ((2, 5, ""), (1, 4, "one state"), (3, 1, "a single tap"), (3, 70, "long")):
        a = uniform(generator, 0.2, 0.9, states)
        cases.append(Case((a, normal(generator, states), normal(generator, states), length), label))
    return cases


def _tap_numbers(length: int) -> Tensor:
    return torch.arange(float(length))[:, None]


KERNEL = Exercise(
    name="ssm.kernel",
    lesson=4,
    title="The same system as a convolution: its kernel",
    statement=r"""
Unroll the recurrence: $y_t = \sum_{j=0}^{t} K_j\, u_{t-j}$ with $K_j = \sum_n c_n\, a_n^{\,j}\, b_n$. Return the
first `length`
taps $K_0, K_1, \dots$
""",
    solution=kernel,
    example="kernel(torch.tensor([0.5]), torch.tensor([1.0]), torch.tensor([2.0]), 4)",
    difficulty=2,
    importance=3,
    minutes=8,
    hints=(
        "How much of a token is left after j steps? It has been multiplied by a, j times.",
        "`a ** j` for all j at once: `a ** torch.arange(length)[:, None]` is (length, N).",
        "Multiply by c and b, and sum over the last axis.",
    ),
    cases=_taps,
    wrong=(
        Wrong(
            "b summed by itself",
            lambda a, b, c, length: b.sum() * (c * a ** torch.arange(length)[:, None]).sum(-1),
            "You sum b and the rest separately. Each state n has its own b_n: multiply first, then sum.",
        ),
        Wrong(
            "starts at power one",
            lambda a, b, c, length: (c * b * a ** (_tap_numbers(length) + 1)).sum(-1),
            "Your powers start at one. A token that has just been written has not decayed: K_0 = sum of c b.",
        ),
        Wrong(
            "multiplies by j",
            lambda a, b, c, length: (c * b * a * _tap_numbers(length)).sum(-1),
            "You multiply a by j. It should be a to the power j: decay is repeated multiplication.",
        ),
        Wrong(
            "backward",
            lambda a, b, c, length: (c * b * a ** _tap_numbers(length)).sum(-1).flip(0),
            "The taps are in reverse order: K_0 comes first.",
        ),
        Wrong(
            "c forgotten",
            lambda a, b, c, length: (b * a ** _tap_numbers(length)).sum(-1),
            "The output weights c are missing.",
        ),
        Wrong(
            "b forgotten",
            lambda a, b, c, length: (c * a ** _tap_numbers(length)).sum(-1),
            "The input weights b are missing.",
        ),
        Wrong(
            "running sum",
            lambda a, b, c, length: (c * b * a ** _tap_numbers(length)).sum(-1).cumsum(0),
            "This is the step response (a running sum), not the impulse response.",
        ),
        Wrong(
            "states averaged",
            lambda a, b, c, length: (c * b * a ** _tap_numbers(length)).sum(-1) / len(a),
            "You average the states. Add them.",
        ),
    ),
)


def causal_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """y_t = K_0 u_t + K_1 u_(t-1) + .. + K_t u_0.

    Args:
        u: (L,).
        kernel: (L,).

    Returns:
        y, (L,).
    """
    return torch.stack([(kernel[: t + 1].flip(0) * u[: t + 1]).sum() for t in range(len(u))])


def _convolution_inputs(generator: Generator) -> list[Case]:
    return [
        Case((normal(generator, length), normal(generator, length)), label)
        for length, label in ((4, "an even length"), (5, "an odd length"), (1, "a single step"), (50, "a long signal"))
    ]


CONVOLUTION = Exercise(
    name="ssm.causal_convolution",
    lesson=4,
    title="The same system as a convolution: applying it",
    statement=r"""
$y_t = \sum_{j=0}^{t} K_j\, u_{t-j}$: `u` $(L)$, `kernel` $(L)$ -> `y` $(L)$. Tokens before the start of the sequence
count as zero. A
loop over $t$ will do.
""",
    solution=causal_convolution,
    example="causal_convolution(torch.tensor([1.0, 10.0, 100.0]), torch.tensor([2.0, 1.0, 0.0]))",
    difficulty=2,
    importance=3,
    minutes=10,
    hints=(
        "Write down y_0, y_1 and y_2. K_0 always multiplies the newest token.",
        "For each t: the first t + 1 taps, reversed, times the first t + 1 tokens.",
    ),
    cases=_convolution_inputs,
    wrong=(
        Wrong(
            "conv1d, as it is",
            lambda u, kernel: F.conv1d(F.pad(u[None], ((len(u) - 1) // 2, len(u) // 2)), kernel[None, None])[0],
            "`F.conv1d` doesn't flip the kernel, and padding on both sides lets y_t depend on the future. Flip the "
            "kernel and pad the past only.",
        ),
        Wrong(
            "correlation",
            lambda u, kernel: torch.stack([(kernel[: t + 1] * u[: t + 1]).sum() for t in range(len(u))]),
            "The kernel isn't reversed: K_0 is multiplied by the oldest token. It belongs to the newest.",
        ),
        Wrong(
            "circular",
            lambda u, kernel: torch.fft.irfft(torch.fft.rfft(u) * torch.fft.rfft(kernel), n=len(u)),
            "The end of the sequence wraps around to its beginning, as with an unpadded FFT. Pad with zeros to "
            "twice the length.",
        ),
        Wrong(
            "one step late",
            lambda u, kernel: torch.cat([torch.zeros(1), causal_convolution(u, kernel)[:-1]]),
            "Everything is one step late: y_t must include u_t.",
        ),
        Wrong(
            "looks ahead",
            lambda u, kernel: causal_convolution(u.flip(0), kernel).flip(0),
            "Your sum runs over the tokens after t. A causal system uses only t and the tokens before it.",
        ),
        Wrong(
            "centered",
            lambda u, kernel: F.conv1d(u[None, None], kernel.flip(0)[None, None], padding=len(u))[0, 0][
                len(u) // 2 + 1 : len(u) // 2 + 1 + len(u)
            ],
            "The kernel is centered on t, as in image convolutions. Here it must extend back from t.",
        ),
        Wrong(
            "product",
            lambda u, kernel: u * kernel,
            "This multiplies element by element: no output depends on another token.",
        ),
    ),
    after="Two programs, one system. The loop takes L steps, one after the other; the convolution can compute "
    "all outputs at once, and can use an FFT.",
)

# --- selective scan --------------------------------------------------------------------------------------------------


def _scan_inputs(generator: Generator) -> list[Case]:
    cases = []
    for batch, length, channels, states, label in (
        (1, 4, 2, 3, ""),
        (2, 5, 3, 1, "two sequences"),
        (1, 1, 1, 2, "one token"),
        (3, 150, 2, 2, "three long sequences"),
    ):
        u, delta = normal(generator, batch, length, channels), uniform(generator, 0.1, 1, batch, length, channels)
        A = -uniform(generator, 0.2, 2, channels, states)
        B, C = normal(generator, batch, length, states), normal(generator, batch, length, states)
        cases.append(Case((u, delta, A, B, C), label, (0, 1, 2, 3, 4)))
    return cases


def _scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *, mistake: str) -> Tensor:
    """The scan with one mistake of a student in it."""
    h = u.new_zeros(len(u), u.shape[2], A.shape[1])
    y = []
    if mistake == "division":
        total = torch.exp((delta[..., None] * A).cumsum(1))  # (B, L, D, N)
        h = total * ((delta * u)[..., None] * B[:, :, None] / total).cumsum(1)
        return (h * C[:, :, None]).sum(-1)
    if mistake == "one sequence":
        long_u, long_delta, long_B, long_C = (t.flatten(0, 1)[None] for t in (u, delta, B, C))
        return _scan(long_u, long_delta, A, long_B, long_C, mistake="").view_as(u)
    if mistake == "softplus":
        delta = F.softplus(delta)
    if mistake == "swapped":
        B, C = C, B
    for t in range(u.shape[1]):
        step = delta[:, t, :, None]  # (B, D, 1)
        decay = torch.exp(A if mistake == "no delta in A" else step * A)
        if mistake == "first step":
            decay = torch.exp(delta[:, 0, :, None] * A)
        write = (u if mistake == "no delta in B" else delta * u)[:, t, :, None] * B[:, t, None]
        before = h
        h = decay * (h + write) if mistake == "write decays" else decay * h + write
        if mistake == "no exp":
            h = (step * A) * before + write
        read = before if mistake == "early" else h
        y.append((read * C[:, t, None]).sum(-1))
    result = torch.stack(y, dim=1)
    return result / A.shape[1] if mistake == "mean" else result


def _mistaken_scan(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda u, delta, A, B, C: _scan(u, delta, A, B, C, mistake=mistake), diagnosis)


def _exact_input(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    h, outputs = u.new_zeros(u.shape[0], u.shape[2], A.shape[1]), []
    for t in range(u.shape[1]):
        growth = delta[:, t, :, None] * A
        h = torch.exp(growth) * h + torch.expm1(growth) / A * B[:, t, None] * u[:, t, :, None]
        outputs.append((h * C[:, t, None]).sum(-1))
    return torch.stack(outputs, 1)


SELECTIVE = Exercise(
    name="ssm.selective_scan",
    lesson=4,
    title="The selective scan, by hand",
    statement=r"""
Now every token has its own step size $\Delta_t$, its own $B_t$ and its own $C_t$. There are $D$ channels with
$N$ states each;
$B$ and $C$ are shared by the channels:

$$h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t u_t, \qquad y_t = \sum_n C_{t,n} h_{t,n}$$

| `u`, `delta` | `A` | `B`, `C` | the state $h_t$ | result |
| --- | --- | --- | --- | --- |
| $(B, L, D)$ | $(D, N)$ | $(B, L, N)$ | $(B, D, N)$ | $(B, L, D)$ |

`delta` is already positive. Don't write into a tensor that autograd needs (`y[:, t] = ...`): collect the outputs in a
list and stack them.
""",
    solution=reference.selective_scan,
    takes="u, delta, A, B, C",
    example="""
u = torch.tensor([[[1.0], [5.0], [7.0]]])
delta = torch.tensor([[[1.0], [0.0], [0.0]]])
one = torch.ones(1, 3, 1)
selective_scan(u, delta, torch.tensor([[-1.0]]), one, one)
""",
    difficulty=3,
    importance=5,
    minutes=20,
    hints=(
        "It is the recurrence again, with two more axes, one for the batch and one for the channels. "
        "Get the "
        "shapes of one step right: everything must become (B, D, N).",
        "`delta[:, t, :, None]` is (B, D, 1) and broadcasts with A (D, N); `B[:, t, None, :]` is (B, 1, N).",
        "`h = torch.exp(delta[:, t, :, None] * A) * h + (delta * u)[:, t, :, None] * B[:, t, None, :]`, then "
        "`y.append((h * C[:, t, None, :]).sum(-1))`.",
    ),
    cases=_scan_inputs,
    wrong=(
        Wrong(
            "exact B",
            _exact_input,
            "You discretize B exactly, as in the first exercise. Here, as in Mamba, it is Delta B.",
        ),
        _mistaken_scan(
            "division by the decays",
            "division",
            "Right on paper: you divide by a running product of all decays. But in a long sequence the product "
            "underflows to zero. Go step by step.",
        ),
        _mistaken_scan(
            "state kept between sequences",
            "one sequence",
            "The state carries over from one sequence of the batch to the next. Each sequence starts from zero.",
        ),
        _mistaken_scan("reads too early", "early", "y_t reads the state from before token t. Update first, then read."),
        _mistaken_scan(
            "delta missing in the decay", "no delta in A", "The decay is exp(A): it needs the step size, exp(delta A)."
        ),
        _mistaken_scan(
            "delta missing in the write", "no delta in B", "What is written is B u: it needs the step size, delta B u."
        ),
        _mistaken_scan(
            "the write decays",
            "write decays",
            "You multiply the new token by the decay too. Only the old state decays.",
        ),
        _mistaken_scan(
            "softplus twice",
            "softplus",
            "You apply softplus to delta. Here it is already positive; softplus comes in SS2D.",
        ),
        _mistaken_scan("B and C swapped", "swapped", "B writes and C reads; you have them the other way around."),
        _mistaken_scan(
            "exp forgotten", "no exp", "The decay is delta * A, a negative number. It should be exp(delta * A)."
        ),
        _mistaken_scan("mean over the states", "mean", "You average the states. Add them, weighted by C."),
        _mistaken_scan(
            "the first step size for all",
            "first step",
            "The decay uses the step size of the first token at every step: that is not selective.",
        ),
    ),
    after="This loop is the definition that every fast engine of the package must equal, in value and in gradient.",
)

HALF = Exercise(
    name="ssm.half_life",
    lesson=4,
    title="Predict: how long is the memory?",
    statement=r"""
A state decays at the rate $A = -1$, and each token takes a step of $\Delta = 0.1$. A token is written into the state.
After how many more tokens is **less than half** of it left?
""",
    solution=7,
    example=(
        "With $\\Delta = 0.5$ instead, $e^{-0.5} = 0.61$ is left after one token and $e^{-1} = 0.37$ after "
        "two: less than half after 2."
    ),
    difficulty=1,
    importance=3,
    minutes=3,
    hints=(
        "What is left after n steps is exp(-0.1 n).",
        "Solve exp(-0.1 n) = 1/2; the next whole number is the answer.",
    ),
    wrong=(
        Wrong("one too few", 6, "After 6 steps exp(-0.6) = 0.55 is left: still more than half."),
        Wrong("linear", 5, "You subtract 0.1 per step. Decay multiplies: by exp(-0.1) per step."),
        Wrong("time constant", 10, "After 10 steps 1/e = 0.37 is left: that is the time constant, not the half-life."),
        Wrong("delta forgotten", 1, "You used exp(-n): each token takes a step of only 0.1."),
        Wrong("ten times too long", 70, "It is exp(-0.1 n), not exp(-0.01 n)."),
        Wrong("log base 10", 4, "You used log10: log10(2) / 0.1 = 3.01. Use the natural logarithm."),
    ),
    after="ln 2 / 0.1 = 6.93. Half the step size, twice the memory: S6 makes this step a function of the token.",
)

EXERCISES = (DISCRETIZE, RECURRENCE, KERNEL, CONVOLUTION, HALF, SELECTIVE, *s6.EXERCISES)
