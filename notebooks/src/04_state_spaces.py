# %% [markdown] kind="claim"
# **Claim.** A state space is a memory of fixed size; *selectivity*, a step size that each token chooses for itself,
# lets that memory decide what to keep and what to forget. We show it by building the scan by hand, from a
# differential equation to S6, and by training two networks on one task: hold the last marked value. The control is
# the same network with the same number of states whose step size is constant; the negative control is a marker that
# marks nothing.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - turn a continuous state space into a discrete one, and say when Euler's rule explodes;
# - compute the same system in two ways, as a recurrence and as a convolution;
# - read off how long a state remembers;
# - write the selective scan (S6) as a loop, with all its shapes;
# - explain what selectivity adds, what it costs, and test the explanation by experiment.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion import lessons

lessons.setup()

# %% [markdown]
# ## A cup of tea
#
# Tea cools toward the temperature of the room: the warmer it is, the faster. With $h$ its excess temperature and $u$
# a candle beneath that is lit and put out,
#
# $$h'(t) = A\,h(t) + B\,u(t), \qquad A < 0.$$
#
# That is a **state space**: $h$ sums up the whole past in one number, and fades. The paper's network contains 16 such
# numbers for each channel of each token, and nothing else in it connects distant pixels (but for SE and CRA, lessons
# 7 and 10).
#
# A computer takes steps. Hold $u$ constant during a step of length $\Delta$ (**zero-order hold**) and the equation
# can be solved exactly:
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
# **Predict.** Euler's rule replaces $\bar A$ by $1 + \Delta A$: follow the slope for a while. With $A = -16$ (the
# fastest of the network's 16 rates) and a step of $\Delta = 0.14$, what will the tea do: cool too slowly, cool too
# fast, or something that tea never does?

# %%
discretize, recurrence = (lessons.use(f"ssm.{f.__name__}", f) for f in (discretize, recurrence))

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
plt.show()

# %% [markdown]
# Euler's tea swings below the temperature of the room and blows up, as soon as $\Delta |A| > 2$: then $|1 + \Delta A|
# > 1$. The exact $\bar A$ lies between 0 and 1 for *every* step size. That matters, because soon each token will
# choose its own step size, and nobody will check it.

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
kernel, causal_convolution = (lessons.use(f"ssm.{f.__name__}", f) for f in (kernel, causal_convolution))

torch.manual_seed(0)
a, b, c = torch.tensor([0.5, 0.8, 0.95]), torch.rand(3), torch.randn(3)
u = torch.randn(60)
looped, convolved = recurrence(a, b, c, u), causal_convolution(u, kernel(a, b, c, 60))
print("recurrence - convolution, largest difference:", float((looped - convolved).abs().max()))

# %% [markdown]
# One system, two programs. S4, Mamba's ancestor, trains with the convolution (parallel) and runs with the recurrence
# (constant memory). Both need the *same* $a$ and $b$ at every step. That is the weakness we look at now.
#
# ## What a fixed memory cannot do
#
# Look at the kernel: a token's weight depends on its *age* and on nothing else. A hair across the picture fades
# exactly as slowly as the lesion's edge. **S6** (Mamba) lets $\Delta$, $B$ and $C$ depend on the token:
#
# $$h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t u_t, \qquad y_t = C_t\, h_t .$$
#
# One number, $\Delta_t$, does two things at once. Large: the past is wiped out ($e^{\Delta_t A} \to 0$) and the token
# is written in. Near zero: the past is kept ($e^{\Delta_t A} \to 1$) and the token is ignored. ($B$ gets Euler's
# $\Delta_t B_t$ here. The formula for $\bar B$ would give almost the same for small steps, and no stability hangs on
# it.)


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
# A sequence of random numbers; now and then one of them carries a mark. At *every* step the answer is **the number
# that was marked last**. A person needs one slot of memory and one rule: when you see a mark, overwrite.
#
# Two networks, the same but for one thing. Both embed each token with a small MLP, run *your* scan over 8 channels of
# 4 states, and read the answer off with another. In one, $\Delta$, $B$ and $C$ come from the token. In the other they
# are learned constants: a convolution in disguise.

# %%
selective_scan = lessons.use("ssm.selective_scan", selective_scan)
LENGTH, STEPS = 40, 30 if lessons.FAST else 500


def held_values(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (n, LENGTH, 2) of value and mark, and the value marked last (n, LENGTH)."""
    value = torch.randn(n, LENGTH, generator=generator)
    mark = torch.rand(n, LENGTH, generator=generator) < 0.12
    mark[:, 0] = True
    index = torch.where(mark, torch.arange(LENGTH), 0).cummax(1).values  # (n, L): place of the last mark
    return torch.stack([value, mark.float()], dim=-1), value.gather(1, index)


class Memory(nn.Module):
    """MLP, scan, MLP; `selective` says whether delta, B and C come from the token."""

    def __init__(self, selective: bool, dim: int = 8, states: int = 4) -> None:
        super().__init__()
        self.selective, self.states = selective, states
        self.embed = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, dim))
        self.choose = nn.Linear(dim, dim + 2 * states)  # delta, B, C
        self.A_logs = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(dim, 1))
        self.answer = nn.Sequential(nn.Linear(2 * dim, 32), nn.SiLU(), nn.Linear(32, 1))

    def steps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Delta (B, L, D), B and C (B, L, N)."""
        chosen = self.choose(x if self.selective else torch.zeros_like(x))  # zeros: only the bias is left
        delta, B, C = chosen.split([x.shape[-1], self.states, self.states], dim=-1)
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
# **Predict.** The values have variance 1, so always answering 0 costs a squared error of 1. What will the fixed
# memory reach? Its MLP can see the marks, so it can refuse to write unmarked values. What can it *not* do? And how
# will the selective one's $\Delta_t$ look along a sequence?

# %% kind="signature"
torch.manual_seed(0)
fixed, selective = Memory(selective=False), Memory(selective=True)
errors = {"fixed": train(fixed), "selective": train(selective)}
print({name: round(error, 3) for name, error in errors.items()})

tokens, target = held_values(1, torch.Generator().manual_seed(4))
with torch.no_grad():
    answers = {"fixed": fixed(tokens)[0], "selective": selective(tokens)[0]}
    steps = {
        "fixed": fixed.steps(fixed.embed(tokens))[0][0],
        "selective": selective.steps(selective.embed(tokens))[0][0],
    }
marks = tokens[0, :, 1].nonzero()[:, 0]

fig, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4), sharex=True)
top.plot(tokens[0, :, 0], ".", color="lightgray")
top.plot(marks, tokens[0, marks, 0], "o", color="black", markersize=4, label="marked")
top.step(torch.arange(LENGTH), target[0], where="mid", color="lightgray", linewidth=4, label="last marked value")
for color, (name, answer) in zip(("tab:orange", "tab:blue"), answers.items(), strict=True):
    top.plot(answer, color=color, label=f"{name}: error {errors[name]:.2f}")
    bottom.plot(steps[name].amax(-1), color=color, label=name)
top.legend(fontsize=7, loc="lower right")
bottom.vlines(marks, 0, float(steps["selective"].max()), color="lightgray", zorder=0)
bottom.set(ylabel="largest step size of a channel", xlabel="token")
bottom.legend(fontsize=7)
plt.show()

# %% [markdown]
# The fixed memory can refuse to *write* (its MLP sees the marks), but it cannot choose when to *forget*: its answers
# are blends of the last few marked values. The selective one takes one big step at each mark, which overwrites, and
# small ones in between, which hold. Nobody told it what a mark is.

# %% [markdown]
# ### Control: a mark that marks nothing
#
# If the selective network were simply stronger (more useful parameters, a better optimizer's luck), it should still
# beat the fixed one when the marks are random and say nothing about the target. It must not.


# %% kind="control"
def scrambled(tokens: Tensor) -> Tensor:
    """The same values, with marks taken from another sequence of the batch."""
    return torch.stack([tokens[..., 0], tokens[..., 1].roll(1, dims=0)], dim=-1)


torch.manual_seed(0)
for name, model in (("fixed", Memory(selective=False)), ("selective", Memory(selective=True))):
    print(f"{name:10} marks of another sequence: error {train(model, scrambled):.2f}")

# %% [markdown]
# Without information both are back near the error of guessing (a little below 1, since a recent value is likelier to
# be the marked one than an old one). What the selective network gained, it gained by using the marks.

# %% [markdown]
# ### Play
#
# One state. Move its rate and the step size and watch the answer to an impulse. Which pairs give the same curve? What
# do you have to do with $\Delta$ to remember four times as long?

# %% kind="play"
import ipywidgets


def impulse(rate: float = 1.0, step: float = 0.1) -> None:
    """Draw what is left of a token."""
    a, b = discretize(torch.tensor([-rate]), torch.tensor([rate]), torch.tensor(step))
    _, ax = plt.subplots(figsize=(5, 2))
    ax.stem(kernel(a, b, torch.ones(1), 50))
    ax.set(xlabel="steps ago", ylabel="weight", title=f"half is left after {0.693 / (rate * step):.1f} steps")
    plt.show()


_ = ipywidgets.interact(impulse, rate=(0.25, 16.0, 0.25), step=(0.01, 1.0, 0.01))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The task is made for selectivity. On other tasks (a moving average, say) a fixed memory is as good, and cheaper.
# - One run of each network, one seed. The gap is large here; in general, repeat before you believe (lesson 15).
# - The loop is slow: one Python step a token. The convolution cannot help, since the kernel now depends on the
#   tokens. Lesson 6 makes the scan fast.
# - A fixed-size state must forget something. Attention forgets nothing and pays with a matrix of $L \times L$.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Why is A kept negative (the network stores its logarithm and uses minus exp)?
# - [x] so that exp(delta A) lies between 0 and 1 for every step size :: The state fades and never explodes.
# - [ ] so that the output is positive :: The output's sign comes from B, C and u.
# - [ ] to save memory :: It costs the same.
#
# 2. Why can S6 not be computed as a convolution?
# - [ ] because A is not diagonal :: It is diagonal.
# - [x] because the weight of a token depends on the tokens in between, not only on its age :: The decay from s to t
#   is exp(A times the sum of the step sizes in between).
# - [ ] because of the direct path D :: That is only a product with the input.
#
# 3. A token chooses a step size of nearly zero. What happens to the state?
# - [ ] it is erased :: That is what a very large step does.
# - [x] almost nothing: the past stays and the token is not written :: exp(0) = 1, and delta B u = 0.
# - [ ] the token is written and the past stays :: The write is multiplied by the step size too.
#
# 4. With N = 16 states, D = 192 channels and 4096 tokens, how much does a scan have to carry from step to step?
# - [ ] 4096 x 192 numbers :: That is the whole sequence: what attention has to keep.
# - [x] 192 x 16 numbers :: The state, whatever the length.
# - [ ] 16 numbers :: Each channel has its own 16.
#
# 5. Which of the two can the fixed memory do?
# - [x] not write what is not marked :: A nonlinear layer before it can set the input to zero.
# - [ ] forget at a mark :: The decay is the same at every step.
# - [ ] both :: It cannot change its decay.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Mamba](https://arxiv.org/abs/2312.00752): S6, and the selective copying task that this one is a cousin of.
# - [S4](https://arxiv.org/abs/2111.00396): recurrence and convolution, and which A to begin with.
# - [On the parameterization of diagonal state spaces (S4D)](https://arxiv.org/abs/2206.11893): why A = -1, -2, ..,
#   -16.
# - [Simplified state space layers (S5)](https://arxiv.org/abs/2208.04933): the scan in parallel.
# - [Transformers are SSMs](https://arxiv.org/abs/2405.21060): how close the scan is to attention.
