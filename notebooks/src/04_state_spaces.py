# %% [markdown] kind="claim"
# **Claim.** A state space is a memory of fixed size. *Selectivity*, a step size computed from each token, lets that
# memory keep or forget depending on the content. We show it by building the scan by hand, from a differential equation
# to S6's parameterization, and by training networks on one task: hold the last marked value. The controls: the same
# network with $\Delta$, $B$ and $C$ all held constant, or some of them, and a mark that carries no information.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - turn a continuous state space into a discrete one, and say when Euler's rule becomes unstable;
# - compute the same system as a recurrence and as a convolution;
# - read off how long a state remembers;
# - write the selective scan (S6) as a loop, with all its shapes;
# - build S6's parameters from a token: `x_proj`, the low-rank step size, its bias and its log-uniform initialization;
# - find out by ablation which of $\Delta$, $B$ and $C$ makes the difference.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import lessons
from skinlesion.model import SS2D, ModelConfig

lessons.setup()

# %% [markdown]
# ## A cup of tea
#
# Tea cools toward room temperature: the warmer it is, the faster. Let $h$ be how far it is above room temperature, and
# let $u$ be a candle beneath it that is lit and later blown out. Then
#
# $$h'(t) = A\,h(t) + B\,u(t), \qquad A < 0.$$
#
# That is a **state space** model: $h$ summarizes the whole past in one number, and decays. The paper's network keeps 16
# such states for each channel of each scan and updates them at every token. Apart from SE and CRA (lessons 7 and 10),
# no other single layer in it connects distant tokens.
#
# A computer takes steps. Hold $u$ constant during a step of length $\Delta$ (**zero-order hold**), and the equation has
# an exact solution:
#
# $$h_t = \bar A\, h_{t-1} + \bar B\, u_t, \qquad \bar A = e^{\Delta A}, \qquad \bar B = \frac{e^{\Delta A}-1}{A}\,B .$$


# %% exercise="ssm.discretize"
def discretize(A: Tensor, B: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """A_bar and B_bar, (N,) each, of A (N,), B (N,) and a scalar step delta."""
    A_bar = torch.exp(delta * A)
    B_bar = (A_bar - 1) / A * B
    return A_bar, B_bar


# %% exercise="ssm.recurrence"
def recurrence(a: Tensor, b: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """y (L,) of the input u (L,): h = a h + b u, y = sum of c h. a, b, c: (N,)."""
    h = torch.zeros_like(a)  # (N,)
    y = []
    for u_t in u:
        h = a * h + b * u_t
        y.append((c * h).sum())
    return torch.stack(y)  # (L,)


# %% [markdown] kind="predict"
# **Predict.** Euler's method replaces $\bar A$ by $1 + \Delta A$: it follows the slope for a while. With $A = -16$ (the
# fastest of the network's 16 rates) and a step of $\Delta = 0.14$, what will the tea do: cool too slowly, cool too
# fast, or something that tea never does?

# %%
discretize, recurrence = (
    lessons.use("ssm.discretize", discretize),
    lessons.use("ssm.recurrence", recurrence),
)

A, B, one = torch.tensor([-16.0]), torch.tensor([16.0]), torch.ones(1)
time = torch.linspace(0, 2, 400)
candle = lambda t: ((t > 0.28) & (t < 1.12)).float()  # noqa: E731

fine = discretize(A, B, time[1])
truth = recurrence(*fine, one, candle(time))
fig, axes = plt.subplots(1, 3, figsize=(9, 2.2), sharey=True)
for ax, step in zip(axes, (0.02, 0.07, 0.14), strict=True):
    ticks = torch.arange(0, 2, step)
    exact = recurrence(*discretize(A, B, torch.tensor(step)), one, candle(ticks))
    euler = recurrence(1 + step * A, step * B, one, candle(ticks))
    ax.plot(time, truth, color="lightgray", linewidth=4, label="tea")
    ax.plot(ticks, exact, ".", label="zero-order hold")
    ax.plot(ticks, euler, "--", linewidth=1, label="Euler")
    ax.set(title=f"step {step}", ylim=(-1.5, 2.5), xlabel="time")
axes[0].legend(fontsize=7)
fig.suptitle("Euler's rule diverges where the exact solution stays stable")
plt.show()
lessons.happened("4.1", f"Euler, step 0.14: {float(euler.min()):.0f} to {float(euler.max()):.0f}; the tea: 0 to 1")

# %% [markdown]
# Euler's solution dips below room temperature as soon as $\Delta |A| > 1$ and diverges as soon as $\Delta |A| > 2$,
# because then $|1 + \Delta A| > 1$. The exact $\bar A$ lies between 0 and 1 for *every* step size. That matters,
# because soon a step size will be computed from each token, and nothing will keep it small.

# %% exercise="ssm.half_life"
steps = 7

# %% [markdown]
# ## The same system, without a loop
#
# Unroll the recurrence. A token that is $j$ steps old has been multiplied by $a$ $j$ times, so the output is a
# **convolution** with a kernel that can be computed in advance.


# %% exercise="ssm.kernel"
def kernel(a: Tensor, b: Tensor, c: Tensor, length: int) -> Tensor:
    """The first taps K_j = sum of c a^j b: (length,). a, b, c: (N,)."""
    powers = torch.arange(length)[:, None]  # (L, 1)
    return (c * b * a**powers).sum(-1)  # (L, N) -> (L,)


# %% exercise="ssm.causal_convolution"
def causal_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """y_t = K_0 u_t + K_1 u_(t-1) + .. for u (L,) and kernel (L,)."""
    return torch.stack([(kernel[: t + 1].flip(0) * u[: t + 1]).sum() for t in range(len(u))])


# %%
kernel, causal_convolution = (
    lessons.use("ssm.kernel", kernel),
    lessons.use("ssm.causal_convolution", causal_convolution),
)

torch.manual_seed(0)
a, b, c = torch.tensor([0.5, 0.8, 0.95]), torch.rand(3), torch.randn(3)
u = torch.randn(60)
looped, convolved = recurrence(a, b, c, u), causal_convolution(u, kernel(a, b, c, 60))
print(f"recurrence - convolution, largest difference: {float((looped - convolved).abs().max()):.0e}")

# %% [markdown]
# One system, two algorithms. S4, Mamba's ancestor, trains with the convolution (parallel) and generates with the
# recurrence (constant memory). But the two agree only if $a$ and $b$ are the *same* at every step, and that is the
# limitation we turn to now.
#
# ## What fixed parameters cannot do
#
# Look at the kernel: a token's weight depends on its *age* and on nothing else. A hair across the image decays exactly
# as slowly as the lesion's border. **S6** (Mamba) makes $\Delta$, $B$ and $C$ functions of the token:
#
# $$h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t u_t, \qquad y_t = C_t\, h_t .$$
#
# $\Delta_t$ does two things at once. If it is large, the past is erased ($e^{\Delta_t A} \to 0$) and the token is
# written into the state. If it is near zero, the past is kept ($e^{\Delta_t A} \to 1$) and the token is ignored. (For
# $B$, S6 uses the Euler approximation $\Delta_t B_t$. For small steps it is close to $\bar B$, and stability does not
# depend on it.)


# %% exercise="ssm.selective_scan"
def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """S6 of u (B, L, D) with steps delta (B, L, D), rates A (D, N), B and C (B, L, N): (B, L, D)."""
    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])  # (B, D, N)
    y = []
    for u_t, delta_t, B_t, C_t in zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        decay = torch.exp(delta_t[..., None] * A)  # (B, D, N)
        h = decay * h + (delta_t * u_t)[..., None] * B_t[:, None, :]  # (B, D, N)
        y.append((h * C_t[:, None, :]).sum(-1))  # (B, D)
    return torch.stack(y, dim=1)  # (B, L, D)


# %% [markdown]
# ## Hold the last marked value
#
# The input is a sequence of random numbers, and now and then one of them carries a mark. At *every* step the target is
# **the number that was marked last**. One slot of memory and one rule solve the task: at a mark, overwrite.
#
# All networks below have the same layers. Each embeds a token with a small MLP, runs *your* scan over 8 channels of 4
# states, and maps the scan's output to a prediction with another MLP. They differ in which of $\Delta$, $B$ and $C$ are
# computed from the token; the others are learned constants. If none of them is, the scan is a convolution.

# %%
selective_scan = lessons.use("ssm.selective_scan", selective_scan)
LENGTH, STEPS = 40, 30 if lessons.FAST else 500


def held_values(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (n, LENGTH, 2) of value and mark, and the value marked last (n, LENGTH)."""
    value = torch.randn(n, LENGTH, generator=generator)
    mark = torch.rand(n, LENGTH, generator=generator) < 0.12
    mark[:, 0] = True
    index = torch.where(mark, torch.arange(LENGTH), 0).cummax(1).values  # (n, L): position of the last mark
    return torch.stack([value, mark.float()], dim=-1), value.gather(1, index)


class Memory(nn.Module):
    """MLP, scan, MLP; `selective` names which of "delta", "B" and "C" come from the token."""

    def __init__(self, selective: tuple[str, ...], dim: int = 8, states: int = 4) -> None:
        super().__init__()
        self.selective, self.states = selective, states
        self.embed = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, dim))
        self.choose = nn.Linear(dim, dim + 2 * states)  # delta, B, C
        self.A_logs = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(dim, 1))
        self.answer = nn.Sequential(nn.Linear(2 * dim, 32), nn.SiLU(), nn.Linear(32, 1))

    def steps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Delta (B, L, D), B and C (B, L, N)."""
        sizes = [x.shape[-1], self.states, self.states]
        own = self.choose(x).split(sizes, dim=-1)
        constant = self.choose(torch.zeros_like(x)).split(sizes, dim=-1)  # zeros, so that only the bias remains
        pairs = zip(("delta", "B", "C"), own, constant, strict=True)
        delta, B, C = (mine if name in self.selective else fixed for name, mine, fixed in pairs)
        return F.softplus(delta - 1), B, C

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        delta, B, C = self.steps(x)
        y = selective_scan(x, delta, -torch.exp(self.A_logs), B, C)
        return self.answer(torch.cat([x, y], dim=-1))[..., 0]


def train(model: nn.Module, change=lambda tokens: tokens) -> float:
    """Mean squared error on new sequences after training."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        tokens, target = held_values(64, generator)
        loss = F.mse_loss(model(change(tokens)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    tokens, target = held_values(500, generator)
    with torch.no_grad():
        return float(F.mse_loss(model(change(tokens)), target))


# %% [markdown] kind="predict"
# **Predict.** The values have variance 1, so always predicting 0 has a mean squared error of 1. What error will the
# network with constant parameters reach? Its MLP receives the marks, so it can write zeros for unmarked values. What
# can it *not* do? And what will the selective network's $\Delta_t$ look like along a sequence?

# %% kind="signature"
torch.manual_seed(0)
ALL = ("delta", "B", "C")
fixed, selective = Memory(selective=()), Memory(selective=ALL)
errors = {"constant parameters": train(fixed), "selective": train(selective)}

tokens, target = held_values(1, torch.Generator().manual_seed(4))
with torch.no_grad():
    answers = {"constant parameters": fixed(tokens)[0], "selective": selective(tokens)[0]}
    step_sizes = selective.steps(selective.embed(tokens))[0][0]  # (L, D)
marks = tokens[0, :, 1].nonzero()[:, 0]

fig, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4), sharex=True)
top.plot(tokens[0, :, 0], ".", color="lightgray")
top.plot(marks, tokens[0, marks, 0], "o", color="black", markersize=4, label="marked")
top.step(torch.arange(LENGTH), target[0], where="mid", color="lightgray", linewidth=4, label="last marked value")
for color, (name, answer) in zip(("tab:orange", "tab:blue"), answers.items(), strict=True):
    top.plot(answer, color=color, label=f"{name}: error {errors[name]:.2f}")
top.legend(fontsize=7, loc="lower right")
top.set_title("the selective network holds the last marked value")
bottom.vlines(marks, 0, float(step_sizes.max()), color="lightgray", zorder=0)
bottom.plot(step_sizes, linewidth=1)
bottom.set(ylabel="step size of each channel", xlabel="token", title="large at marks (gray), small between")
plt.show()
at_marks, between = step_sizes[marks].mean(0), step_sizes[tokens[0, :, 1] == 0].mean(0)  # (D,) each
switch = int((at_marks / between).argmax())
print(f"the channel that reacts most: a mean step of {at_marks[switch]:.2f} at marks, {between[switch]:.3f} between")
lessons.happened("4.2", {f"error, {name}": error for name, error in errors.items()})

# %% [markdown]
# The network with constant parameters (error 0.137) can avoid *writing* unmarked values, but it cannot choose when to
# *forget*: its outputs are blends of the last few marked values. In the selective network one channel works like a
# switch: at each mark its step size is about 3, which erases the past and writes the value, and between marks it is
# close to 0, which holds the value. The other channels react less. The network was never given the meaning of the mark;
# it learned it from the target.

# %% [markdown]
# ### Control: which of the three is it?
#
# The two networks differ in three ways at once. So separate them: let only $\Delta$ depend on the token, or only $B$
# and $C$.

# %% kind="control"
for parts in ((), ("delta",), ("B", "C"), ALL):
    torch.manual_seed(0)
    error = train(Memory(selective=parts))
    print(f"from the token: {', '.join(parts) or 'nothing':12} error {error:.4f}")

# %% [markdown] given="0.155 0.144 0.088 0.079"
# $\Delta$ alone is enough: its error is at least as small as with all three (0.0001 and 0.0005). $B$ and $C$ alone give
# only part of the gain: the error falls from 0.137 to 0.083. They choose what is written and what is read, but the
# decay stays the same at every step. Two more seeds gave the same order: 0.155 and 0.144 with constant parameters,
# 0.088 and 0.079 with $B$ and $C$, and 0.0001 both times with $\Delta$. This is the evidence for "selectivity lies in
# the step size", at least for this task.
#
# ### Control: a mark without information
#
# If the selective network were simply better (more useful parameters, an easier optimization), it should still win when
# the marks are random and say nothing about the target. If our explanation is right, it won't.


# %% kind="control"
def scrambled(tokens: Tensor) -> Tensor:
    """The same values, with marks taken from another sequence of the batch."""
    return torch.stack([tokens[..., 0], tokens[..., 1].roll(1, dims=0)], dim=-1)


torch.manual_seed(0)
for name, model in (("constant", Memory(selective=())), ("selective", Memory(selective=ALL))):
    print(f"{name:10} marks of another sequence: error {train(model, scrambled):.2f}")

# %% [markdown]
# With uninformative marks both errors are 0.87 to 0.88, close to guessing (a little below 1, since a recent value is
# more likely to be the marked one than an old one). So the selective network's advantage came from using the marks.
#
# ## How S6 is parameterized
#
# In the network above, a full linear layer produced $\Delta$, $B$ and $C$. The paper's scan uses S6's own
# parameterization, which is what published weights contain: `x_proj_weight`, `dt_projs_weight`, `dt_projs_bias`. You
# write it in four steps.


# %% exercise="ssm.project"
def project(x: Tensor, x_proj_weight: Tensor, states: int) -> tuple[Tensor, Tensor, Tensor]:
    """The low-rank step (B, L, R), B and C (B, L, N) of tokens x (B, L, D); x_proj_weight: (R + 2 N, D)."""
    made = x @ x_proj_weight.T  # (B, L, R + 2 N)
    low, B, C = made.split([made.shape[-1] - 2 * states, states, states], dim=-1)
    return low, B, C


# %% exercise="ssm.step_size"
def step_size(low: Tensor, dt_proj_weight: Tensor, dt_bias: Tensor) -> Tensor:
    """Positive step sizes (B, L, D) from low (B, L, R), dt_proj_weight (D, R) and dt_bias (D,)."""
    return F.softplus(low @ dt_proj_weight.T + dt_bias)


# %% exercise="ssm.inverse_softplus"
def inverse_softplus(step: Tensor) -> Tensor:
    """The number whose softplus is a positive step, without overflow and without loss of digits."""
    return step + torch.log(-torch.expm1(-step))


# %% exercise="ssm.initial_steps"
def initial_steps(channels: int, smallest: float, largest: float, generator: torch.Generator) -> Tensor:
    """Step sizes (channels,) whose logarithm is uniform between two bounds."""
    low, high = math.log(smallest), math.log(largest)
    return torch.exp(low + (high - low) * torch.rand(channels, generator=generator))


# %% [markdown]
# Together with the scan, these steps are all of S6. Check yours against the package's layer: with the same weights it
# must give the same step sizes.

# %%
project, step_size = lessons.use("ssm.project", project), lessons.use("ssm.step_size", step_size)
inverse_softplus = lessons.use("ssm.inverse_softplus", inverse_softplus)
initial_steps = lessons.use("ssm.initial_steps", initial_steps)

layer = SS2D(dim=48, config=ModelConfig())  # its scan has 96 channels and, for each of four scan directions, one S6
x = torch.randn(1, 4, 4, 96, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    raw = layer.scan_parameters(x)[0]  # the step before bias and softplus: (1, 4, 4, 4, 96)
    low, write, read = project(x.flatten(1, 2), layer.x_proj_weight[0], 16)
    mine = step_size(low, layer.dt_projs_weight[0], layer.dt_projs_bias[0])
    theirs = F.softplus(raw[..., 0, :] + layer.dt_projs_bias[0]).flatten(1, 2)
print(f"shapes: low {tuple(low.shape)}, B {tuple(write.shape)}, C {tuple(read.shape)}, step {tuple(mine.shape)}")
print(f"largest difference of a step size: {float((mine - theirs).abs().max()):.0e}")
print(f"weights for the step: low rank {2 * low.shape[-1] * 96:,}, a full matrix {96 * 96:,}")

# %% [markdown] kind="predict"
# **Predict.** 1000 channels are initialized with step sizes between 0.001 and 0.1 and the decay rate $A = -1$. In what
# share of them is more than half of a token left 100 tokens later: with log-uniform step sizes, with uniform ones, and
# with a bias of zero (a step size of 0.69 everywhere)?

# %% kind="control"
generator = torch.Generator().manual_seed(0)
starts = {
    "log-uniform": initial_steps(1000, 0.001, 0.1, generator),
    "uniform": 0.001 + 0.099 * torch.rand(1000, generator=generator),
    "bias zero": F.softplus(torch.zeros(1000)),
}
ages = torch.logspace(0, 4, 100)
fig, axes = plt.subplots(1, 2, figsize=(8, 2.4))
for name, start in starts.items():
    left = torch.exp(-start[:, None] * ages)  # (1000, ages): what remains of a token
    axes[0].semilogx(ages, left.mean(0), label=name)
    axes[1].hist((math.log(2) / start).log10(), bins=30, range=(-0.5, 3), histtype="step", label=name)
    biases = inverse_softplus(start)
    print(f"{name:12} bias {float(biases.min()):5.2f} to {float(biases.max()):5.2f}, median half-life "
          f"{float((math.log(2) / start).median()):5.1f} tokens")  # fmt: skip
axes[0].set(xlabel="tokens later", ylabel="mean share left", title="a uniform start forgets early")
axes[0].legend(fontsize=7)
axes[1].set(
    xlabel="log10 of a channel's half-life in tokens",
    ylabel="channels",
    ylim=(0, 250),
    title="log-uniform: every time scale",
)
plt.show()
shares = {name: f"{float((torch.exp(-100 * start) > 0.5).float().mean()):.0%}" for name, start in starts.items()}
lessons.happened("4.3", shares)

# %% [markdown]
# With log-uniform step sizes, 43% of the channels still hold over half of a token after 100 steps. With uniform ones it
# is 6%, since most uniform samples lie in the upper part of the range; with a bias of zero it is none. What is
# forgotten receives no gradient either: a channel that keeps $e^{-69}$ of a token cannot learn from it. The inverse
# softplus converts a chosen step size into a bias.


# %% exercise="ssm.remembers"
def remembers(steps: Tensor, rate: float, tokens: int) -> Tensor:
    """Share of channels, with steps (D,) and a negative rate, that hold over half of a token `tokens` steps later."""
    return (torch.exp(rate * tokens * steps) > 0.5).double().mean()


# %% [markdown]
# ### Play
#
# Here is a single state. Change its decay rate and its step size, and watch the impulse response. Which pairs give the
# same curve? By how much must $\Delta$ change to remember four times as long?

# %% kind="play"
import ipywidgets


def impulse(rate: float = 1.0, step: float = 0.1) -> None:
    """Plot how the contribution of a token decays."""
    a, b = discretize(torch.tensor([-rate]), torch.tensor([rate]), torch.tensor(step))
    _, ax = plt.subplots(figsize=(5, 2))
    ax.stem(kernel(a, b, torch.ones(1), 50))
    ax.set(xlabel="steps ago", ylabel="weight", title=f"half is left after {0.693 / (rate * step):.1f} steps")
    plt.show()


_ = ipywidgets.interact(impulse, rate=(0.25, 16.0, 0.25), step=(0.01, 1.0, 0.01))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The task was designed to need selectivity. On other tasks (a moving average, say) constant parameters are just as
#   good, and cheaper.
# - The cells train each network once, with one seed; the two other seeds are only quoted. The gap is large, but in
#   general, repeat a run before you trust it (lesson 15).
# - The loop is slow: one Python step per token. The convolution cannot help, since the kernel now depends on the
#   tokens. Lesson 6 makes the scan fast.
# - The step sizes are shown at initialization only. Training can move the biases, and a long run may make up for a poor
#   initialization; how long that takes is not measured here.
# - A state of fixed size must lose information. Attention keeps every token and pays for it with an $L \times L$
#   matrix.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Why is A kept negative (the network stores its logarithm and uses minus exp)?
# - [x] so that exp(delta A) lies between 0 and 1 :: The state decays for every step size and never grows.
# - [ ] so that the output of the scan is positive :: The output's sign comes from B, C and u.
# - [ ] so that A needs less memory when stored :: It costs the same.
#
# 2. Why can S6 not be computed as a convolution?
# - [ ] because the matrix A of the recurrence is not diagonal :: It is diagonal.
# - [x] because a token's weight depends on the later tokens as well :: The decay from s to t is exp(A times the sum of
#   the step sizes in between).
# - [ ] because the direct path D also adds the input itself to the output :: That is only a product with the input.
#
# 3. The step size computed from a token is nearly zero. What happens to the state?
# - [ ] it is erased, and the token is written :: That is what a very large step does.
# - [x] it is kept, and the token is not written :: exp(0) = 1, and delta B u = 0.
# - [ ] it is kept, and the token is added to it :: The write is multiplied by the step size too.
#
# 4. With N = 16 states, D = 192 channels and 4096 tokens, how much does a scan carry from step to step?
# - [ ] 4096 x 192 numbers, one row per token :: That is the whole sequence: what attention has to keep.
# - [x] 192 x 16 numbers, whatever the length :: The state.
# - [ ] 16 numbers, shared by all the channels :: Each channel has its own 16.
#
# 5. Step sizes are initialized between 0.001 and 0.1. Why is their logarithm drawn uniformly?
# - [ ] because the logarithm of a step is always negative :: That would not be a reason.
# - [x] because a uniform draw leaves few long memories :: Only 9% of uniform draws lie below 0.01; of log-uniform
#   draws it is half.
# - [ ] because softplus can only produce small numbers :: Softplus gives any positive number.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Mamba](https://arxiv.org/abs/2312.00752): S6, and the selective copying task, a close relative of the task here.
# - [S4](https://arxiv.org/abs/2111.00396): recurrence and convolution, and how to initialize A.
# - [On the parameterization and initialization of diagonal state space models (S4D)](https://arxiv.org/abs/2206.11893):
#   why A = -1, -2, .., -16.
# - [Simplified state space layers (S5)](https://arxiv.org/abs/2208.04933): a parallel scan.
# - [Transformers are SSMs](https://arxiv.org/abs/2405.21060): how close the scan is to attention.
