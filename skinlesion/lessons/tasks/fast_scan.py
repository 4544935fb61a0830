"""Lesson 6: making the scan fast."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal, uniform

Pair = tuple[Tensor, Tensor]
Combine = Callable[[Pair, Pair], Pair]
Part = Callable[..., Pair]

# --- growth ----------------------------------------------------------------------------------------------------------


def growth(lengths: Tensor, seconds: Tensor) -> float:
    """The exponent p of seconds = constant * lengths ** p, fitted by least squares to the logarithms.

    Args:
        lengths: (n,), positive.
        seconds: (n,), positive.
    """
    x, y = lengths.double().log(), seconds.double().log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def _timings(generator: Generator) -> list[Case]:
    lengths = torch.tensor([100.0, 200.0, 400.0, 1600.0])
    noise = uniform(generator, 0.7, 1.4, 4)
    return [
        Case((lengths, 1e-6 * lengths.square() * noise), "times that grow quadratically"),
        Case((lengths[:3], 3e-4 * lengths[:3] * noise[:3]), "times that grow linearly"),
        Case((lengths, 0.2 * noise), "times that do not grow"),
    ]


def _slope(x: Tensor, y: Tensor) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def _intercept(lengths: Tensor, seconds: Tensor) -> float:
    x, y = lengths.double().log(), seconds.double().log()
    return float(y.mean() - growth(lengths, seconds) * x.mean())


GROWTH = Exercise(
    name="fast_scan.growth",
    lesson=6,
    title="The metric: how does it grow?",
    statement=r"""
If a program takes $s = c\, L^p$ seconds for a length $L$, then $\log s = \log c + p \log L$: a straight line of slope
$p$. Return the slope of the least-squares line through the points $(x_i, y_i) = (\log L_i, \log s_i)$:

$$p = \frac{\sum_i (x_i - \bar x)(y_i - \bar y)}{\sum_i (x_i - \bar x)^2}$$

`lengths`, `seconds`: $(n)$ -> one number.
""",
    solution=growth,
    example="growth(torch.tensor([100.0, 200.0, 400.0]), torch.tensor([1.0, 4.0, 16.0]))",
    difficulty=1,
    importance=3,
    minutes=6,
    hints=(
        "Take both logarithms first. After that it is the slope of an ordinary line.",
        "`x = lengths.log(); x = x - x.mean()`, the same for y, then `(x * y).sum() / (x * x).sum()`.",
    ),
    cases=_timings,
    wrong=(
        Wrong("the intercept", _intercept, "That is the intercept, log c. Return the slope."),
        Wrong(
            "no logarithms",
            lambda lengths, seconds: _slope(lengths, seconds),
            "This is the slope of seconds over length, in seconds per token. Take the logarithm of both first.",
        ),
        Wrong(
            "one logarithm",
            lambda lengths, seconds: _slope(lengths, seconds.log()),
            "You take the logarithm of the seconds only: that line is straight for exponential growth, not for a power "
            "law.",
        ),
        Wrong(
            "axes swapped",
            lambda lengths, seconds: _slope(seconds.log(), lengths.log()),
            "The axes are swapped: you fit the length as a function of the seconds.",
        ),
        Wrong(
            "through the origin",
            lambda lengths, seconds: float((lengths.log() * seconds.log()).sum() / lengths.log().square().sum()),
            "Your line is forced through the origin, as if the constant c were one. Subtract the means first.",
        ),
        Wrong(
            "first and last point",
            lambda lengths, seconds: float((seconds[-1] / seconds[0]).log() / (lengths[-1] / lengths[0]).log()),
            "You use only the first and last points, so one bad timing there spoils the result. Use all points.",
        ),
        Wrong(
            "ratio of the means",
            lambda lengths, seconds: float(seconds.log().mean() / lengths.log().mean()),
            "The ratio of the two means isn't a slope: it depends on the unit of time.",
        ),
    ),
    rtol=1e-3,
    atol=1e-3,
    after="1 means twice the length, twice the time; 2 means four times the time. Neither has a unit.",
)

# --- combine ---------------------------------------------------------------------------------------------------------


def combine(first: Pair, second: Pair) -> Pair:
    """Two steps as one: h -> a_2 (a_1 h + b_1) + b_2, written as (a, b).

    Args:
        first: a_1 and b_1, of any shape.
        second: a_2 and b_2, of the same shape.
    """
    return first[0] * second[0], second[0] * first[1] + second[1]


def _steps(generator: Generator) -> list[Case]:
    def pair(*shape: int) -> Pair:
        return uniform(generator, 0.2, 0.9, *shape), normal(generator, *shape)

    return [
        Case((pair(3), pair(3)), "", (0, 1)),
        Case((pair(2, 4, 3), pair(2, 4, 3)), "many steps at once", (0, 1)),
    ]


COMBINE = Exercise(
    name="fast_scan.combine",
    lesson=6,
    title="Two steps as one",
    statement=r"""
A step of the scan is the map $h \mapsto a\,h + b$. The pair $(a, b)$ describes it completely. Apply the step `first`
$= (a_1, b_1)$, then the step `second` $= (a_2, b_2)$: the composition is again such a map. Return its $(a, b)$. All
four tensors have the same shape; everything is elementwise.
""",
    solution=combine,
    example="""
two, three = (torch.tensor(2.0), torch.tensor(3.0))
combine((two, torch.tensor(1.0)), (three, torch.tensor(5.0)))
""",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "Substitute the first result into the second step: a_2 (a_1 h + b_1) + b_2. What multiplies h? What is left?",
        "`(a_1 * a_2, a_2 * b_1 + b_2)`",
    ),
    cases=_steps,
    wrong=(
        Wrong(
            "wrong order",
            lambda first, second: combine(second, first),
            "You apply the second step first. Only what the *first* step writes decays in the second.",
        ),
        Wrong(
            "nothing decays",
            lambda first, second: (first[0] * second[0], first[1] + second[1]),
            "What the first step wrote must go through the second: multiply it by a_2.",
        ),
        Wrong(
            "decays added",
            lambda first, second: (first[0] + second[0], second[0] * first[1] + second[1]),
            "You add the decays. Decays in sequence multiply (their logarithms add).",
        ),
        Wrong(
            "first decay lost",
            lambda first, second: (second[0], second[0] * first[1] + second[1]),
            "a_1 is lost: whatever came before both steps must decay in both.",
        ),
        Wrong(
            "both decays",
            lambda first, second: (first[0] * second[0], first[0] * second[0] * first[1] + second[1]),
            "You multiply b_1 by a_1 too. It is written after the first decay, so only the second applies to it.",
        ),
        Wrong(
            "new input decays",
            lambda first, second: (first[0] * second[0], second[0] * (first[1] + second[1])),
            "b_2 decays immediately. Within a step, the decay comes first, then b is added.",
        ),
        Wrong(
            "order of the results",
            lambda first, second: combine(first, second)[::-1],
            "The decay comes first in the pair, then what is written.",
        ),
    ),
    after="The operation is associative: ((1 2) 3) = (1 (2 3)). So the grouping can be chosen to suit the machine.",
)

# --- prefix ----------------------------------------------------------------------------------------------------------


def prefix(combine: Combine, a: Tensor, b: Tensor) -> Tensor:
    """All states h_t = a_t h_(t-1) + b_t, from h = 0, in about log2(L) rounds.

    Args:
        combine: two steps as one.
        a: decays, (B, L, ...).
        b: what is written, (B, L, ...).

    Returns:
        h, (B, L, ...).
    """
    reach = 1
    while reach < a.shape[1]:
        later = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        a, b = (torch.cat([old[:, :reach], new], dim=1) for old, new in zip((a, b), later, strict=True))
        reach *= 2
    return b


def _recurrences(generator: Generator) -> list[Case]:
    cases = []
    for shape, label in (
        ((1, 8, 2), ""),
        ((2, 11, 3), "a length that isn't a power of two"),
        ((1, 1, 2), "one token"),
        ((3, 200), "three long sequences, no extra axis"),
    ):
        cases.append(Case((combine, uniform(generator, 0.3, 0.9, *shape), normal(generator, *shape)), label, (1, 2)))
    return cases


def _prefix(combine: Combine, a: Tensor, b: Tensor, *, mistake: str) -> Tensor:
    """The doubling scan with one mistake of a student in it."""
    length, reach, first_a = a.shape[1], 1, a
    if mistake == "backward":
        return prefix(combine, a.flip(1), b.flip(1)).flip(1)
    while (2 * reach if mistake == "early" else reach) < length:
        if mistake == "circular":
            a, b = combine((a.roll(reach, 1), b.roll(reach, 1)), (a, b))
        else:
            before, after = (a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:])
            later = combine(after, before) if mistake == "swapped" else combine(before, after)
            a, b = (torch.cat([old[:, :reach], new], dim=1) for old, new in zip((a, b), later, strict=True))
        if mistake == "old decay":
            a = first_a
        if mistake == "one round":
            break
        reach = reach + 1 if mistake == "plus one" else 2 * reach
    return b


def _one_by_one(combine: Combine, a: Tensor, b: Tensor) -> Tensor:
    steps = list(zip(a.unbind(1), b.unbind(1), strict=True))
    done = [steps[0]]
    for step in steps[1:]:
        done.append(combine(done[-1], step))
    return torch.stack([h for _, h in done], dim=1)


_LOOP = "You call `combine` about once per token: that is the loop again. In each round, update every position at once."


_OWN_WAY = (
    "The states are right, but not by associative scan: 128 tokens take 7 rounds, each with a call of `combine`. Yours "
    "calls it less often. Don't use a loop over tokens or a cumulative product: use rounds of `combine`."
)


def _few_rounds(function: Callable[..., Tensor], generator: Generator) -> str | None:
    length, calls = 128, 0

    def counted(first: Pair, second: Pair) -> Pair:
        nonlocal calls
        calls += 1
        return combine(first, second)

    function(counted, uniform(generator, 0.3, 0.9, 1, length, 2), normal(generator, 1, length, 2))
    if calls > 4 * math.log2(length):
        return _LOOP
    return _OWN_WAY if calls < math.log2(length) else None


def _mistaken_prefix(name: str, mistake: str, diagnosis: str) -> Wrong:
    return Wrong(name, lambda combine, a, b: _prefix(combine, a, b, mistake=mistake), diagnosis)


def _own_loop(combine: Combine, a: Tensor, b: Tensor) -> Tensor:
    h, out = torch.zeros_like(b[:, 0]), []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        out.append(h)
    return torch.stack(out, dim=1)


PREFIX = Exercise(
    name="fast_scan.prefix",
    lesson=6,
    title="The associative scan (Hillis and Steele)",
    statement=r"""
Find all states $h_t = a_t h_{t-1} + b_t$ (from $h = 0$) in about $\log_2 L$ rounds. Let the pair at position $t$ stand
for the last `reach` steps up to $t$. One round doubles that: **every** position $t \ge$ `reach` combines the pair at $t
-$ `reach` (first) with its own (second). The earlier positions are complete and stay the same. Begin with `reach = 1`;
when `reach` is $L$ or more, `b` holds the states.

`combine` is yours from the last exercise; `a`, `b`: $(B, L, \dots)$, any $L$ -> $h$ of the same shape. Don't write
into `a` or `b`: make new tensors with `torch.cat`.
""",
    solution=prefix,
    example="""
both = lambda one, two: (one[0] * two[0], two[0] * one[1] + two[1])
prefix(both, torch.full((1, 4), 0.5), torch.ones(1, 4))
""",
    difficulty=3,
    importance=4,
    minutes=15,
    hints=(
        "Take L = 4: after the first round, position 3 stands for steps 2 and 3. Which position stands for steps 0 and "
        "1?",
        "All first pairs of a round are `(a[:, :-reach], b[:, :-reach])`; all second ones `(a[:, reach:], b[:, "
        "reach:])`.",
        "After the combine, put the untouched beginning back: `a = torch.cat([a[:, :reach], new_a], dim=1)`, the same "
        "for b, then `reach *= 2`.",
    ),
    cases=_recurrences,
    properties=(Property("few rounds", _few_rounds),),
    wrong=(
        Wrong("a loop of its own", _own_loop, _OWN_WAY),
        Wrong(
            "running products",
            lambda combine, a, b: a.cumprod(1) * (b / a.cumprod(1)).cumsum(1),
            "You divide by a running product of all decays: in a long sequence the product underflows to zero. "
            "Use `combine`, in rounds.",
        ),
        _mistaken_prefix(
            "one round",
            "one round",
            "You do a single round: each position depends only on itself and one neighbor. Keep going.",
        ),
        _mistaken_prefix(
            "stops too early",
            "early",
            "The last round is missing: the end of the sequence doesn't depend on its start yet.",
        ),
        _mistaken_prefix(
            "reach grows by one",
            "plus one",
            "`reach` grows by one. After a round each pair stands for twice as many steps, so double it; otherwise "
            "steps count twice.",
        ),
        _mistaken_prefix(
            "wrong order", "swapped", "You pass the later pair to `combine` first. The pair at t - reach comes first."
        ),
        _mistaken_prefix(
            "circular",
            "circular",
            "The end of the sequence wraps around to its beginning (torch.roll does that). The first `reach` positions "
            "must stay the same.",
        ),
        _mistaken_prefix(
            "decays not combined",
            "old decay",
            "You update only b. A pair that stands for several steps also needs the product of their decays.",
        ),
        _mistaken_prefix("backward", "backward", "The scan runs from the end to the beginning."),
        Wrong("one after the other", _one_by_one, _LOOP),
    ),
    after="log2(L) rounds instead of L steps. The price: each round works on the whole sequence.",
)

# --- chunked ---------------------------------------------------------------------------------------------------------


def loop_part(h: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Pair:
    """The selective scan of a piece of a sequence that begins with a state.

    Args:
        h: the state before the piece, (B, D, N).
        u: (B, L, D).
        delta: positive, (B, L, D).
        A: (D, N).
        B: (B, L, N).
        C: (B, L, N).

    Returns:
        y (B, L, D), and the state after the piece (B, D, N).
    """
    y = []
    for u_t, delta_t, B_t, C_t in zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        h = torch.exp(delta_t[..., None] * A) * h + (delta_t * u_t)[..., None] * B_t[:, None]  # (B, D, N)
        y.append((h * C_t[:, None]).sum(-1))  # (B, D)
    return torch.stack(y, dim=1), h


def chunked(part: Part, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, size: int) -> Tensor:
    """The selective scan, chunk by chunk; what happens inside a chunk is recomputed in the backward pass.

    Args:
        part: scans one chunk: (h, u, delta, A, B, C) -> y, h.
        u: (B, L, D).
        delta: positive, (B, L, D).
        A: (D, N).
        B: (B, L, N).
        C: (B, L, N).
        size: tokens of a chunk; the last one may be shorter.

    Returns:
        y, (B, L, D).
    """
    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])  # (B, D, N)
    outputs = []
    for u_c, delta_c, B_c, C_c in zip(*(t.split(size, dim=1) for t in (u, delta, B, C)), strict=True):
        y, h = checkpoint(part, h, u_c, delta_c, A, B_c, C_c, use_reentrant=False)
        outputs.append(y)
    return torch.cat(outputs, dim=1)  # (B, L, D)


def _sequence(generator: Generator, batch: int, length: int, channels: int, states: int) -> tuple[Tensor, ...]:
    return (
        normal(generator, batch, length, channels),
        uniform(generator, 0.1, 0.6, batch, length, channels),
        -uniform(generator, 0.2, 1, channels, states),
        normal(generator, batch, length, states),
        normal(generator, batch, length, states),
    )


def _uses_size(function: Callable[..., Tensor], generator: Generator) -> str | None:
    """The scan must be cut as asked, which its result doesn't show."""
    lengths: list[int] = []

    def part(h: Tensor, u: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        lengths.append(u.shape[1])
        return loop_part(h, u, *others)

    function(part, *_sequence(generator, 2, 7, 3, 2), 3)
    if lengths != [3, 3, 1]:
        return f"7 tokens in chunks of 3 are parts of 3, 3, and 1; you call `part` with {lengths or 'nothing'}."
    return None


def _chunks(generator: Generator) -> list[Case]:
    return [
        Case((loop_part, *_sequence(generator, *sizes), size), label, (1, 2, 3, 4, 5))
        for *sizes, size, label in (
            (1, 6, 2, 3, 2, ""),
            (2, 7, 2, 2, 3, "a shorter last chunk"),
            (1, 2, 3, 2, 4, "a sequence shorter than a chunk"),
        )
    ]


def _mistaken(part: Part, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, size: int, mistake: str) -> Tensor:
    """The chunked scan with one mistake of a student in it."""
    start = h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    if mistake == "one piece":
        size = u.shape[1]
    outputs = []
    for pieces in zip(*(t.split(size, dim=1) for t in (u, delta, B, C)), strict=True):
        if mistake == "remainder" and pieces[0].shape[1] < size:
            break
        args = (start if mistake == "forgets" else h, pieces[0], pieces[1], A, *pieces[2:])
        y, h = part(*args) if mistake == "keeps" else checkpoint(part, *args, use_reentrant=False)
        if mistake == "detached":
            h = h.detach()
        if mistake == "decays again":
            h = torch.exp(pieces[1][:, -1, :, None] * A) * h
        outputs.append(y)
    if mistake == "backward":
        outputs.reverse()
    return torch.cat(outputs, dim=1) if outputs else u[:, :0]


_KEEPS = "Nothing is recomputed in the backward pass: call `part` through `checkpoint(part, ..., use_reentrant=False)`."
_PIECE = "You pass `part` more tokens than `size`: the backward pass would need memory for all of them at once."


def _recomputes(function: Callable[..., Tensor], generator: Generator) -> str | None:
    lengths: list[int] = []

    def counted(h: Tensor, u: Tensor, *rest: Tensor) -> Pair:
        lengths.append(u.shape[1])
        return loop_part(h, u, *rest)

    tensors = [t.requires_grad_() for t in _sequence(generator, 1, 10, 2, 2)]
    y = function(counted, *tensors, 3)
    if max(lengths, default=0) > 3:
        return _PIECE
    calls = len(lengths)
    y.sum().backward()
    return None if len(lengths) > calls else _KEEPS


def _mistaken_chunks(name: str, mistake: str, diagnosis: str) -> Wrong:
    def answer(part: Part, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, size: int) -> Tensor:
        return _mistaken(part, u, delta, A, B, C, size, mistake)

    return Wrong(name, answer, diagnosis)


CHUNKED = Exercise(
    name="fast_scan.chunked",
    lesson=6,
    title="Chunks, a carried state, and recomputation",
    statement=r"""
Cut the sequence into chunks of `size` tokens (the last one may be shorter). Scan them in order with `y, h = part(h, u,
delta, A, B, C)`, which starts from the state $h$ $(B, D, N)$ and returns the state after its last token. Start from
zeros, and carry $h$ from chunk to chunk.

Call `part` through `checkpoint(part, h, ..., use_reentrant=False)`: then autograd keeps what goes *into* a chunk and
throws away what happens inside. The backward pass runs the chunk a second time when it gets there.

`u`, `delta` $(B, L, D)$, `A` $(D, N)$, `B`, `C` $(B, L, N)$ -> `y` $(B, L, D)$.
""",
    solution=chunked,
    example="""
def part(h, u, delta, A, B, C):
    return (h[:, None, :, 0] + u.cumsum(1), h + u.sum(1)[..., None])
u = torch.ones(1, 4, 1)
chunked(part, u, u, -torch.ones(1, 1), u, u, 2)[0, :, 0]
""",
    difficulty=2,
    importance=4,
    minutes=12,
    bonus=True,
    hints=(
        "`t.split(size, dim=1)` cuts a tensor and leaves a shorter remainder. A has no token axis, so don't split it.",
        "Loop over the pieces of u, delta, B, and C in parallel (zip). Collect y, carry h.",
        "`y, h = checkpoint(part, h, u_c, delta_c, A, B_c, C_c, use_reentrant=False)`; at the end `torch.cat(outputs, "
        "dim=1)`.",
    ),
    cases=_chunks,
    properties=(Property("recomputation", _recomputes), Property("chunks of the right size", _uses_size)),
    wrong=(
        _mistaken_chunks(
            "state forgotten", "forgets", "Every chunk starts from zeros, so no token depends on an earlier chunk."
        ),
        _mistaken_chunks(
            "state detached",
            "detached",
            "The values are right, but the state is detached between chunks: no gradient crosses a chunk boundary.",
        ),
        _mistaken_chunks("rest lost", "remainder", "The last chunk is dropped when it is shorter than `size`."),
        _mistaken_chunks(
            "decays at the border",
            "decays again",
            "The state decays one more time at each chunk boundary. `part` already does that, with its first token.",
        ),
        _mistaken_chunks("chunks in reverse", "backward", "You concatenate the chunks in reverse order."),
        _mistaken_chunks("not recomputed", "keeps", _KEEPS),
        _mistaken_chunks("one piece", "one piece", _PIECE),
    ),
    after="It keeps one state per chunk and recomputes one chunk at a time. The package's kernel does just that.",
)

EXERCISES = (GROWTH, COMBINE, PREFIX, CHUNKED)
