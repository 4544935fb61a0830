# %% [markdown] kind="claim"
# **Claim.** A naive scan is slow for three reasons that you can identify and remove one by one: a backward pass that
# writes whole tensors of zeros (quadratic), one Python step per token, and storing every state. We show each by
# measuring how time and memory *grow* with the length, and we check every faster scan against the slow one in float64.
# The controls: the same loop without slicing, whose backward pass must grow in proportion to the length, and the
# forward pass of the slicing loop.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - measure growth in a way that doesn't depend on the machine;
# - explain why the gradient of an innocent-looking `x[:, t]` in a loop takes quadratic time, and fix it with one word;
# - write the associative scan of Hillis and Steele, in about $\log_2 L$ rounds instead of $L$ steps, and say what it
#   costs;
# - trade memory for recomputation, with chunks, a carried state and a checkpoint;
# - explain what a fused kernel can do that no sequence of tensor operations can;
# - put your own scan into the network and show that it computes the same thing.

# %%
import time
import weakref

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skinlesion import create_model, lessons
from skinlesion.data.synthetic import synthesize
from skinlesion.scan import cross_selective_scan as package_scan
from skinlesion.scan.reference import four_routes

lessons.setup()

# %% [markdown]
# ## Twice the tokens, four times the wait
#
# The paper's first stage scans 4096 tokens in four directions, in every block, at every training step. Here is the loop
# that most people write first. It takes $a_t = e^{\Delta_t A}$ (how much of the state is kept) and $b_t = \Delta_t B_t
# u_t$ (what is added), both $(B, L, D, N)$, and computes all states:
#
# $$h_t = a_t\, h_{t-1} + b_t .$$

# %%
CHANNELS, STATES = 32, 16
LENGTHS = (64, 128, 256) if lessons.FAST else (128, 256, 512, 1024, 2048)


def sliced(a: Tensor, b: Tensor) -> Tensor:
    """All states, (B, L, D, N); slices a and b at each step."""
    h, states = torch.zeros_like(a[:, 0]), []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]  # (B, D, N)
        states.append(h)
    return torch.stack(states, dim=1)


def steps(length: int) -> tuple[Tensor, Tensor]:
    """Random a and b, (1, L, D, N), that require gradients."""
    generator = torch.Generator().manual_seed(length)
    a = torch.rand(1, length, CHANNELS, STATES, generator=generator)
    return a.requires_grad_(), torch.randn(a.shape, generator=generator).requires_grad_()


def timed(run) -> float:
    """Seconds of the fastest of up to three runs; no new run starts after half a second."""
    fastest, begin = float("inf"), time.perf_counter()
    for _ in range(3):
        start = time.perf_counter()
        run()
        fastest = min(fastest, time.perf_counter() - start)
        if time.perf_counter() - begin > 0.5:
            break
    return fastest


def seconds(states, length: int) -> tuple[float, float]:
    """Forward and backward time of one way to compute all states."""
    a, b = steps(length)
    h = states(a, b)
    forward = timed(lambda: states(a, b))
    backward = timed(lambda: torch.autograd.grad(h, (a, b), torch.ones_like(h), retain_graph=True))
    return forward, backward


seconds(sliced, 16)  # warm up: the first run is always slow
print("tokens   forward (ms)   backward (ms)")
loop = {length: seconds(sliced, length) for length in LENGTHS}
for length, (forward, backward) in loop.items():
    print(f"{length:6} {1e3 * forward:14.1f} {1e3 * backward:15.1f}")

# %% [markdown]
# Your numbers will differ, from machine to machine and from run to run. What matters is how they *grow*. The forward
# time roughly doubles from row to row. The backward time grows faster: in the last rows, twice the length takes clearly
# more than twice the time.
#
# So the first tool is a measure of growth that has no unit: the exponent $p$ in seconds $= c\,L^p$.


# %% exercise="fast_scan.growth"
def growth(lengths: Tensor, seconds: Tensor) -> float:
    """The least-squares slope of log(seconds) against log(lengths); both (n,)."""
    x, y = lengths.log(), seconds.log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


# %%
growth = lessons.use("fast_scan.growth", growth)


def exponent(measured: dict[int, float]) -> float:
    """Growth over the three longest lengths, where fixed costs no longer matter."""
    last = sorted(measured)[-3:]
    return growth(torch.tensor(last, dtype=torch.double), torch.tensor([measured[n] for n in last]).double())


for i, name in enumerate(("forward", "backward")):
    print(f"{name:9} seconds grow like the length to the power {exponent({n: s[i] for n, s in loop.items()}):.2f}")

# %% [markdown]
# ## Gigabytes of zeros
#
# What is the gradient of *one* element with respect to the whole tensor? Let autograd compute it.

# %%
x = torch.ones(6, requires_grad=True)
(gradient,) = torch.autograd.grad(x[3], x)
print(gradient)

# %% [markdown]
# It is a tensor as long as `x`, with zeros everywhere except at one position. PyTorch really allocates such a tensor
# for **every** step of the loop and adds it to the previous one: $L$ steps, each with a tensor of $L$ rows, $L^2$ in
# total.
#
# The fix is one word. `x.unbind(1)` splits the tensor into all its slices in *one* operation, whose gradient is a
# single `stack`.

# %%


def unbound(a: Tensor, b: Tensor) -> Tensor:
    """All states, (B, L, D, N); splits a and b once."""
    h, states = torch.zeros_like(a[:, 0]), []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = a_t * h + b_t  # (B, D, N)
        states.append(h)
    return torch.stack(states, dim=1)


# %% [markdown] kind="predict"
# **Predict.** When the length doubles, by what factor does the memory *allocated* by the backward pass grow, with
# slices and with `unbind`? And the memory allocated by the forward pass, which needs no zeros?

# %% [markdown]
# ### Control: counting instead of timing
#
# Times are noisy. So here is a meter that intercepts every PyTorch operation and counts the memory of the new tensors
# it allocates. These counts don't depend on how fast or how busy a machine is. If the explanation is right, the sliced
# backward pass must grow fourfold per doubling, and the three passes without the effect must grow twofold: `unbind`'s
# backward pass and both forward passes. (The meter also tracks the peak, the most memory allocated at the same time. We
# need that later.)


# %% kind="control"
class Meter(TorchDispatchMode):
    """Counts PyTorch's operations, the bytes of new tensors, and the most bytes alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.made = self.alive = self.peak = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.calls += 1
        old = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in old:  # not a view
                storage = tensor.untyped_storage()
                self.made += storage.nbytes()
                self.alive += storage.nbytes()
                self.peak = max(self.peak, self.alive)
                weakref.finalize(storage, self.freed, storage.nbytes())
        return result

    def freed(self, size: int) -> None:
        self.alive -= size


def counted(states, length: int) -> tuple[int, int]:
    """Bytes of new tensors: forward and backward."""
    a, b = steps(length)
    with Meter() as forward:
        h = states(a, b)
    with Meter() as backward:
        torch.autograd.grad(h, (a, b), torch.ones_like(h))
    return forward.made, backward.made


for name, states in (("slices", sliced), ("unbind", unbound)):
    rows = {length: counted(states, length) for length in LENGTHS}
    for i, part in enumerate(("forward", "backward")):
        megabytes = {length: row[i] / 2**20 for length, row in rows.items()}
        line = " ".join(f"{value:9.1f}" for value in megabytes.values())
        print(f"{name}, {part:9} MB: {line}   exponent {exponent(megabytes):.2f}")

lessons.happened("6.1", "four times with slices in the backward pass, twice in the three others")

# %% [markdown]
# The exponent is 2.00 in one row and 1.00 in the three others. One word made the difference. `split` and `chunk` are as
# good as `unbind`; `x[:, t]`, `x.narrow` and `x.select` in a loop are all equally bad. You'll find this problem
# wherever a network loops over a sequence.
#
# ## Steps that don't have to wait
#
# The time of `unbound` grows in proportion to the length, but it is still slow: a few tiny operations per token, one
# after the other, each with the overhead of a call from Python. That looks unavoidable, since $h_t$ needs $h_{t-1}$. It
# isn't.
#
# Think of a step as a *map*, $h \mapsto a h + b$. The composition of two such maps is again a map of the same form.
# Which one?


# %% exercise="fast_scan.combine"
def combine(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The pair (a, b) of both steps composed; a step is the pair (a, b) of h -> a h + b."""
    a1, b1 = first
    a2, b2 = second
    return a1 * a2, a2 * b1 + b2


# %% [markdown]
# The order matters (first, then second), but the grouping does not: the operation is **associative**. So the four steps
# 0 1 2 3 can be computed as ((0 1) 2) 3, which is the loop, or as (0 1) (2 3), where the two pairs can be computed *at
# the same time*. An **associative scan** (also called a parallel prefix scan) uses that. The version here is by
# **Hillis and Steele**: in each round, every position is combined with the one `reach` positions before it, and `reach`
# doubles.
#
# | after round | reach | position 5 covers the steps |
# |---|---|---|
# | start | 1 | 5 |
# | 1 | 2 | 4, 5 |
# | 2 | 4 | 2, 3, 4, 5 |
# | 3 | 8 | 0, 1, 2, 3, 4, 5 |


# %% exercise="fast_scan.prefix"
def prefix(combine, a: Tensor, b: Tensor) -> Tensor:
    """All states of a, b (B, L, ...), from h = 0, in about log2(L) rounds."""
    reach = 1
    while reach < a.shape[1]:
        new_a, new_b = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        a = torch.cat([a[:, :reach], new_a], dim=1)
        b = torch.cat([b[:, :reach], new_b], dim=1)
        reach *= 2
    return b


# %% [markdown] kind="predict"
# **Predict.** How many rounds do 1024 tokens take? And how many multiplications per state, compared with the loop:
# fewer, equally many, or more?

# %%
combine, prefix = lessons.use("fast_scan.combine", combine), lessons.use("fast_scan.prefix", prefix)


def rounds(a: Tensor, b: Tensor) -> Tensor:
    """All states by the associative scan, (B, L, D, N)."""
    return prefix(combine, a, b)


multiplied = 0


def counting_combine(first, second):
    global multiplied
    multiplied += 2 * first[0].shape[1]
    return combine(first, second)


a, b = (t.detach() for t in steps(1024))
largest = float((prefix(counting_combine, a, b) - unbound(a, b)).abs().max())
print(f"largest difference to the loop: {largest:.1e}")
lessons.happened("6.2", f"multiplications for each state: loop 1, associative scan {multiplied / 1024:.1f}")
for name, states in (("loop", unbound), ("scan", rounds)):
    with Meter() as meter:
        states(a, b)
    print(f"{name:6}: {meter.calls:5} operations, {meter.made / 2**20:6.1f} MB of new tensors")

# %% [markdown]
# The scan takes ten rounds instead of 1024 steps: far fewer operations, but 18 times the multiplications. Hillis and
# Steele's scan does $O(L \log L)$ work in $\log_2 L$ rounds. **Blelloch's** scan goes up and down a tree instead:
# $O(L)$ work, about twice that of the loop, in twice as many rounds. An associative scan suits a machine with thousands
# of parallel units, a GPU. On a CPU it pays off only while the calls cost more than the work, that is, for short
# sequences and few channels.
#
# Mamba's kernel combines both ideas: an associative scan inside each *chunk* of the sequence, and a loop over chunks.
#
# ## Memory: store little, recompute the rest
#
# The backward pass needs the states. For the first stage at the paper's size ($L = 4096$, $D = 192$, $N = 16$, 4
# directions) one tensor $(L, D, N)$ per direction adds up to 201 MB for *one* image in *one* block, and autograd keeps
# several. But a state can be recomputed from an earlier one. So
#
# - split the sequence into chunks and store only the states **between** chunks;
# - in the backward pass, start with the last chunk: run it forward again from its saved state, then backpropagate
#   through it.
#
# `torch.utils.checkpoint` does the second step for any function.


# %% exercise="fast_scan.chunked"
def chunked(part, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, size: int) -> Tensor:
    """y (B, L, D), chunk by chunk, each recomputed in the backward pass; part(h, u, delta, A, B, C) -> y, h."""
    from torch.utils.checkpoint import checkpoint

    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])  # (B, D, N)
    outputs = []
    for u_c, delta_c, B_c, C_c in zip(*(t.split(size, dim=1) for t in (u, delta, B, C)), strict=True):
        y, h = checkpoint(part, h, u_c, delta_c, A, B_c, C_c, use_reentrant=False)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


# %% [markdown]
# A chunk can compute its states in any way, as long as it starts from the state that is passed in. We fold that state
# into the first $b$ and leave the rest to a function that computes all states: the loop, or your associative scan.
#
# Note the `clone` below. `h[:, -1]` by itself is a *view*: as long as it exists, so does the whole `h` that it points
# into, and the saved "state" would in fact be the whole chunk. No result would change; only the meter would show it.

# %%
chunked = lessons.use("fast_scan.chunked", chunked)


def part_with(states):
    """A function (h, u, delta, A, B, C) -> y, h for one chunk."""

    def part(h: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.exp(delta[..., None] * A)  # (B, L, D, N)
        b = (delta * u)[..., None] * B[:, :, None]  # (B, L, D, N)
        first = b[:, :1] + a[:, :1] * h[:, None]  # (B, 1, D, N): the past enters here
        h = states(a, torch.cat([first, b[:, 1:]], dim=1))  # (B, L, D, N)
        return (h * C[:, :, None]).sum(-1), h[:, -1].clone()  # a view would keep all of h alive

    return part


def whole(states):
    """The scan of a whole sequence: (u, delta, A, B, C) -> y."""
    part = part_with(states)
    return lambda u, delta, A, B, C: part(u.new_zeros(u.shape[0], u.shape[2], A.shape[1]), u, delta, A, B, C)[0]


def sequence(length: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """u, delta, A, B, C that require gradients."""
    g = torch.Generator().manual_seed(length)
    u = torch.randn(1, length, CHANNELS, generator=g)
    delta = F.softplus(torch.randn(u.shape, generator=g) - 2)
    A = -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1)
    B, C = torch.randn(2, 1, length, STATES, generator=g)
    return [t.to(dtype).requires_grad_() for t in (u, delta, A, B, C)]


def gradients(scan, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """y and the gradients of all five arguments, for one fixed output gradient."""
    y = scan(*tensors)
    direction = torch.sin(torch.arange(y.numel())).reshape(y.shape).to(y)
    return y.detach(), *torch.autograd.grad(y, tensors, direction)


# %% [markdown] kind="predict"
# **Predict.** With chunks of one token we keep every state. With a single chunk we keep none and recompute everything
# at once. Both are bad. Which chunk size is best for 1024 tokens: about 1, 10, or 100? (Kept: $L / s$ states.
# Recomputed: a few tensors for each of $s$ tokens.)

# %%
TOKENS = 256 if lessons.FAST else 1024
tensors = sequence(TOKENS)
sizes = [2**i for i in range(1, TOKENS.bit_length())]
peaks, written = {}, {}
for size in sizes:
    with Meter() as meter:
        gradients(lambda *t, s=size: chunked(part_with(unbound), *t, s), tensors)
    peaks[size], written[size] = meter.peak / 2**20, meter.made
with Meter() as meter:
    gradients(whole(unbound), tensors)

fig, ax = plt.subplots(figsize=(5, 2.6))
ax.loglog(sizes, list(peaks.values()), "o-", base=2, label="chunks, recomputed")
ax.axhline(meter.peak / 2**20, color="gray", linestyle="--", label="everything kept")
ax.set(xlabel="tokens per chunk", ylabel="peak memory (MB)", title=f"forward and backward, {TOKENS} tokens")
ax.legend(fontsize=7)
plt.show()
best = min(peaks, key=peaks.get)
lessons.happened("6.3", f"chunks of {best}")
print(f"everything kept {meter.peak / 2**20:.1f} MB; chunks of {best}: {peaks[best]:.1f} MB")
print(f"bytes written, compared with keeping everything: {written[best] / meter.made:.2f}")

# %% [markdown]
# The minimum is where both costs are equal: $L/s \approx c\,s$, so $s \approx \sqrt{L/c}$, and the memory at the
# minimum grows like $\sqrt L$ (plus the inputs and outputs, which are unavoidable). The price is one more forward pass
# through every chunk.
#
# ## One kernel
#
# Even so, each chunk writes tensors $(s, D, N)$ to memory and reads them back several times. The recurrence does only
# one multiplication and one addition per number moved, so the processor mostly waits for memory. A **fused kernel**
# does everything in one pass, which no sequence of tensor operations can. `skinlesion/scan/kernels.py` (Numba, compiled
# on your machine) works like this:
#
# - it takes a vector of channels and their $N$ states, about 1 kB, and keeps them in the L1 cache while it moves along
#   the scan;
# - $a$ and $b$ are computed where they're used and never stored;
# - the forward pass keeps one state every 32 tokens and the backward pass recomputes the chunk, as in *your* scheme;
# - the scan directions of lesson 5 are followed in place, so nothing is copied into four sequences;
# - channels and images are independent of each other, so threads split the work along those.
#
# It's easy to be fast and wrong. So before any timing, all five scans have to agree with the plain loop in float64, in
# value and in the gradient of every argument.

# %%


def fused(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The package's kernel in one direction; it takes the step size before softplus."""
    length, channels = u.shape[1], u.shape[2]
    raw = delta + torch.log(-torch.expm1(-delta))  # inverse of softplus
    grid = [t[:, :, None] for t in (u, raw[:, :, None], B[:, :, None], C[:, :, None])]  # (B, L, 1, ...): one column
    zero, order = u.new_zeros(1, channels), torch.arange(length)[None]
    y = package_scan(grid[0], grid[1], A[None], grid[2], grid[3], zero, zero, routes=order, engine="cpu")
    return y[:, :, 0]


SCANS = {
    "slices": whole(sliced),
    "unbind": whole(unbound),
    "associative scan": whole(rounds),
    "chunks of 32": lambda *t: chunked(part_with(rounds), *t, 32),
    "fused kernel": fused,
}

exact = gradients(whole(unbound), sequence(300, torch.float64))
print(f"{'largest error / largest value':24} value   worst gradient")
for name, scan in SCANS.items():
    found = gradients(scan, sequence(300))
    errors = [float((f.double() - e).abs().max() / e.abs().max()) for f, e in zip(found, exact, strict=True)]
    print(f"{name:24} {errors[0]:12.1e} {max(errors[1:]):12.1e}")

# %% [markdown]
# All of them compute the same function up to float32 rounding (about $10^{-7}$ for one operation). The length 300 is
# deliberately neither a power of two nor a multiple of 32.

# %% [markdown] kind="predict"
# **Predict** the order of the five in the backward pass at the longest length, from fastest to slowest, and which line
# is steeper than the others.

# %% kind="signature"
measured = {}
for name, scan in SCANS.items():
    gradients(scan, sequence(40))  # compiled and warm
    for length in LENGTHS:
        tensors = sequence(length)
        y = scan(*tensors)
        forward = timed(lambda: scan(*tensors))  # noqa: B023 - called at once
        both = timed(lambda: gradients(scan, tensors))  # noqa: B023
        measured[name, length] = forward, max(both - forward, 1e-6)

fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True, sharey=True)
for i, (ax, title) in enumerate(zip(axes, ("forward", "backward"), strict=True)):
    for name in SCANS:
        line = {length: measured[name, length][i] for length in LENGTHS}
        ax.loglog(list(line), list(line.values()), "o-", label=f"{name}: power {exponent(line):.1f}")
    ax.set(xlabel="tokens", title=title, xticks=LENGTHS)
    ax.xaxis.set_major_formatter("{x:.0f}")
    ax.minorticks_off()
    ax.legend(fontsize=7)
axes[0].set(ylabel="seconds")
plt.show()

longest = LENGTHS[-1]
for i, part in enumerate(("forward", "backward")):
    times = {name: measured[name, longest][i] for name in SCANS}
    ratios = ", ".join(f"{name} {value / times['fused kernel']:.0f}" for name, value in times.items())
    print(f"{part} at {longest} tokens, in units of the fused kernel: {ratios}")
lessons.happened("6.4", sorted(SCANS, key=lambda name: measured[name, longest][1]))

# %% [markdown]
# Look at slopes and distances, not at seconds. In the backward panel the sliced loop is clearly steeper than the
# others: the longer the sequence, the further it falls behind. The other tensor programs grow roughly in proportion to
# the length; the time of the associative scan grows a little faster, because of its $\log_2 L$ rounds and tensors that
# outgrow the cache. The kernel's line starts flat, since a call has a fixed cost, and rises once the actual work
# dominates. The kernel is more than ten times as fast as the best of the tensor programs. That gap is the cost of calls
# and memory traffic.
#
# Chunks don't make the scan faster. They save memory, at the price of computing every chunk twice.
#
# The exponents here come from timings, which a busy machine distorts. The counts in the control above can't be
# distorted.

# %% [markdown]
# ### In the network
#
# Now put your chunks and your associative scan in place of the engine, with four scan directions, the network's
# weights, and an image.

# %%


def my_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """SS2D's scan of x (B, H, W, D) with chunks of 32 tokens."""
    height, width = x.shape[1:3]
    x, delta, B, C = (t.flatten(1, 2) for t in (x, delta, B, C))  # (B, L, ...)
    y = torch.zeros_like(x)
    for k, order in enumerate(four_routes(height, width).long()):
        step = F.softplus(delta[:, order, k] + delta_bias[k])  # (B, L, D)
        along = chunked(part_with(rounds), x[:, order], step, A[k], B[:, order, k], C[:, order, k], 32)
        y = y + (along + D[k] * x[:, order])[:, torch.argsort(order)]
    return y.unflatten(1, (height, width))  # (B, H, W, D)


torch.manual_seed(0)
network = create_model("tiny").eval()
mine = lessons.plug(network, "scan", my_scan)
image = torch.from_numpy(synthesize(3, 64).image).permute(2, 0, 1)[None] / 255  # (1, 3, 64, 64)
answers = {"package": network(image), "yours": mine(image)}
print(f"largest difference of the logits: {float((answers['package'] - answers['yours']).detach().abs().max()):.0e}")
for answer in answers.values():
    answer.square().mean().backward()
pairs = zip(network.parameters(), mine.parameters(), strict=True)
worst = max(
    float((p.grad - q.grad).abs().max() / p.grad.abs().max().clamp(min=1e-12)) for p, q in pairs if p.grad.any()
)
print(f"largest difference of a gradient, relative to the largest one of that weight: {worst:.1e}")

# %% [markdown]
# A network trained with one engine runs with the other, and the gradients agree as well. This is why the package has
# *one* definition of the scan and several engines.
#
# ### On a GPU
#
# GPUs have their own versions of the same ideas. `mamba-ssm` is the original CUDA kernel: an associative scan within a
# chunk, a carried state between chunks, everything in the fast memory of one multiprocessor, and recomputation in the
# backward pass. The package also has a kernel in Triton (`skinlesion/scan/triton_kernels.py`). This page was made on a
# CPU, so it says nothing about their speed. These engines can run on your machine:

# %%
from skinlesion.scan import engines

for status in engines().values():
    print(f"{status.name:10} {'yes' if status.available else 'no'}")

# %% [markdown]
# ### Play
#
# How much memory do $L$ tokens need with chunks of $s$ tokens? Find the minimum, then make the sequence four times as
# long and find it again. How far has it moved?

# %% kind="play"
import ipywidgets


def valley(log_tokens: int = 12, tensors_a_token: int = 4) -> None:
    """Plot kept and recomputed states against the chunk size."""
    length = 2**log_tokens
    size = torch.arange(1, length + 1)
    kept, again = length / size, tensors_a_token * size
    _, ax = plt.subplots(figsize=(5, 2.4))
    ax.loglog(size, kept, ":", label="kept between chunks")
    ax.loglog(size, again, ":", label="recomputed inside one")
    ax.loglog(size, kept + again, label="together")
    best = int((kept + again).argmin()) + 1
    ax.set(xlabel="tokens of a chunk", ylabel="states in memory", title=f"{length} tokens: best {best}")
    ax.legend(fontsize=7)
    plt.show()


_ = ipywidgets.interact(valley, log_tokens=(4, 14), tensors_a_token=(1, 12))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The timings hold for one machine, one size ($D = 32$, $N = 16$, one image) and one version of PyTorch. With more
#   channels, calls matter less and memory traffic more, and the associative scan falls behind the loop.
# - The meter counts what PyTorch's operations allocate. It can't see what a kernel allocates internally (here that
#   isn't much: scratch memory for one chunk per thread).
# - Float32 results are rounded. The associative scan and the loop add in a different order, so over long sequences
#   their last digits differ. Neither is exact; both are close.
# - `mamba-ssm` and Triton weren't run for this page. Lesson 9 counts operations, and a count isn't a time either.
# - A fast scan doesn't make a better network. It makes experiments possible.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Why does the gradient of the slicing loop take quadratic time?
# - [ ] because each of the L steps depends on all earlier steps :: Each step depends only on the previous state, and
#   `unbind` runs the same recurrence.
# - [x] because each slice's gradient is as large as the whole :: L tensors of L rows, nearly all zeros.
# - [ ] because every step of a loop is interpreted by Python :: That costs a constant factor at every length, and a
#   constant factor doesn't change the exponent.
#
# 2. What makes the associative scan possible?
# - [x] two steps combine into one step, in any grouping :: Associativity.
# - [ ] the steps can be done in any order, like a sum :: The order matters: later decays apply to earlier inputs.
# - [ ] the decays of all the states lie between 0 and 1 :: That keeps the state bounded; the scan works for any
#   numbers.
#
# 3. How does Hillis and Steele's scan compare with the loop?
# - [ ] less work in fewer rounds :: It works on the whole sequence in every round.
# - [x] more work in fewer rounds :: About log2(L) rounds, each over the whole sequence.
# - [ ] equal work, fewer rounds :: Blelloch's scan comes within a constant factor of that; Hillis and Steele's doesn't.
#
# 4. A sequence becomes four times as long. How should the chunks change to use the least memory?
# - [ ] not at all :: Then four times as many states are kept.
# - [x] twice as long :: The best size grows like the square root of L.
# - [ ] four times as long :: Then each recomputed chunk needs four times as much.
#
# 5. What does recomputation cost?
# - [x] one more forward pass in all :: Each chunk is run a second time, once.
# - [ ] a forward pass for each of the chunks :: Only the chunk itself is recomputed, because its initial state was
#   kept.
# - [ ] some precision of the gradient :: The same operations give the same numbers.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Mamba](https://arxiv.org/abs/2312.00752): section 3.3 is this lesson for GPUs: fusion, scan, recomputation.
# - [Prefix sums and their applications](https://www.cs.cmu.edu/~guyb/papers/Ble93.pdf): Blelloch's scan, up and down a
#   tree.
# - [Parallelizing linear recurrent neural nets](https://arxiv.org/abs/1709.04057): the scan of pairs (a, b), applied to
#   networks.
# - [Transformers are SSMs](https://arxiv.org/abs/2405.21060): chunks that are computed as matrix products.
# - [Training deep nets with sublinear memory cost](https://arxiv.org/abs/1604.06174): where the square root comes from.
