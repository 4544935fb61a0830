"""Lesson 4: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from skinlesion import lessons
from skinlesion.scan.reference import selective_scan


def solution(name):
    return lessons.solution(name).answer


def padded_on_both_sides(u, k):
    left = (len(u) - 1) // 2
    return F.conv1d(F.pad(u, (left, len(u) - 1 - left))[None], k[None, None])[0]


def scan_by_division(u, delta, A, B, C):
    decay = torch.exp((delta[..., None] * A).cumsum(1))
    h = decay * ((delta * u)[..., None] * B[:, :, None] / decay).cumsum(1)
    return (h * C[:, :, None]).sum(-1)


def state_goes_on(u, delta, A, B, C):
    h, out = torch.zeros_like(A), []
    for b in range(len(u)):
        row = []
        for t in range(u.shape[1]):
            h = torch.exp(delta[b, t, :, None] * A) * h + (delta[b, t] * u[b, t])[:, None] * B[b, t]
            row.append((h * C[b, t]).sum(-1))
        out.append(torch.stack(row))
    return torch.stack(out)


def steps_of_numpy(channels, smallest, largest, generator):
    return torch.from_numpy(np.exp(np.random.default_rng().uniform(np.log(smallest), np.log(largest), channels)))


def trapezoid(A, B, delta):
    return (1 + delta * A / 2) / (1 - delta * A / 2), delta * B / (1 - delta * A / 2)


def forgets_after_each_step(a, b, c, u):
    y = []
    for u_t in u:
        h = torch.zeros_like(a)
        h = a * h + b * u_t
        y.append((c * h).sum())
    return torch.stack(y)


def rates_of_the_first_channel(u, delta, A, B, C):
    return selective_scan(u, delta, A[:1].expand_as(A), B, C)


def transposed_low(low, weight, bias):
    return F.softplus((low @ weight.T).flip(-1) + bias)


def common_logarithm(channels, smallest, largest, generator):
    low, high = math.log10(smallest), math.log10(largest)
    return torch.exp(low + (high - low) * torch.rand(channels, generator=generator))


def taps_from_state(a, b, c, length):
    return torch.stack([(c * a**j).sum() * b.sum() for j in range(length)])


def scan_with_u_undelayed(u, delta, A, B, C):
    return selective_scan(u, delta, A, B, C) + u


def scan_with_positive_rates(u, delta, A, B, C):
    return selective_scan(u, delta, -A.abs().exp(), B, C)


def natural_softplus(low, weight, bias):
    return torch.log(1 + torch.exp(low @ weight.T)) + torch.log(1 + torch.exp(bias))


def scan_over_lists(u, delta, A, B, C):
    rows = []
    for b in range(len(u)):
        h, out = torch.zeros_like(A), []
        for t in range(u.shape[1]):
            h = torch.exp(torch.outer(delta[b, t], torch.ones(A.shape[1])) * A) * h + torch.outer(
                delta[b, t] * u[b, t], B[b, t]
            )
            out.append(h @ C[b, t])
        rows.append(torch.stack(out))
    return torch.stack(rows)


def numpy_free_convolution(u, kernel):
    rows = [F.pad(u, (j, 0))[: len(u)] for j in range(len(u))]
    return kernel @ torch.stack(rows)


def numpy_convolution(u, kernel):
    return torch.from_numpy(np.convolve(u.detach().numpy(), kernel.detach().numpy())[: len(u)])


def fourier_convolution(u, kernel):
    n = 2 * len(u)
    return torch.fft.irfft(torch.fft.rfft(u, n) * torch.fft.rfft(kernel, n), n)[: len(u)]


def step(h, pair):
    return pair[0] * h + pair[1]


def scan_by_einsum(u, delta, A, B, C):
    decay = torch.einsum("bld,dn->bldn", delta, A).exp()
    write = torch.einsum("bld,bld,bln->bldn", delta, u, B)
    states = list(itertools.accumulate(zip(decay.unbind(1), write.unbind(1), strict=True), step, initial=0))
    return torch.einsum("bldn,bln->bld", torch.stack(states[1:], 1), C)


def where_large(value):
    return torch.where(value > 20, value, torch.log(torch.expm1(value)))


def remembers_in_python(steps, rate, tokens):
    return sum(math.exp(rate * tokens * s) > 0.5 for s in steps.tolist()) / len(steps)


def batch_mean_of_b(u, d, A, B, C):
    return solution("ssm.selective_scan")(u, d, A, B.mean(0, keepdim=True).expand_as(B), C)


def a_unnegated_sign_doubled(u, d, A, B, C):
    return solution("ssm.selective_scan")(u, d, -torch.exp(A), B, C)


WRONG = [
    ("ssm.kernel", lambda a, b, c, n: (c * b * a ** torch.arange(n).flip(0)[:, None]).sum(-1), ""),
    ("ssm.kernel", lambda a, b, c, n: (c * a ** torch.arange(n)[:, None]).sum(-1), ""),
    ("ssm.kernel", lambda a, b, c, n: (c * b * a ** torch.arange(n)[:, None]).mean(-1), ""),
    ("ssm.kernel", lambda a, b, c, n: (c * b * a ** torch.arange(n).clamp(max=5)[:, None]).sum(-1), ""),
    ("ssm.discretize", lambda A, B, d: (torch.exp(d * A), torch.expm1(d * A) / (d * A) * B), "step|delta|Δ"),
    ("ssm.recurrence", lambda a, b, c, u: c.sum() * solution("ssm.recurrence")(a, b, torch.ones_like(c), u), "state"),
    ("ssm.causal_convolution", padded_on_both_sides, "flip|future|past"),
    ("ssm.selective_scan", scan_by_division, "NaN|infinite"),
    ("ssm.selective_scan", state_goes_on, "batch|sequence"),
    ("ssm.project", lambda x, w, n: (x @ w.T).chunk(3, dim=-1), "chunk|thirds|equal"),
    ("ssm.initial_steps", steps_of_numpy, "generator"),
    ("ssm.discretize", trapezoid, "bilinear|trapez|Tustin|zero-order|exponential"),
    ("ssm.recurrence", forgets_after_each_step, "memory|remember|state"),
    ("ssm.selective_scan", rates_of_the_first_channel, "first entry along axis 0 of `A`"),
    ("ssm.step_size", transposed_low, "order|backward|bias"),
    ("ssm.initial_steps", common_logarithm, "range from|logarithm"),
    ("ssm.kernel", taps_from_state, "b"),
    ("ssm.selective_scan", scan_with_u_undelayed, "input|added|D|u"),
    ("ssm.selective_scan", scan_with_positive_rates, "A|exp"),
    ("ssm.step_size", natural_softplus, "bias"),
    ("ssm.remembers", lambda s, rate, n: solution("ssm.remembers")(s, rate, n + 1), "one too large"),
    ("ssm.discretize", lambda A, B, d: (torch.exp(d * A), torch.exp(d * A) / A * B), "expm1"),
    (
        "ssm.causal_convolution",
        lambda u, k: F.conv1d(F.pad(u, (len(k) - 1, 0))[None, None], k[None, None])[0, 0],
        "`kernel` is read backward",
    ),
    (
        "ssm.causal_convolution",
        lambda u, k: torch.from_numpy(np.convolve(u.detach().numpy(), k.detach().numpy(), "same")),
        "come too early",
    ),
    ("ssm.selective_scan", batch_mean_of_b, "`B` is averaged over axis 0"),
    ("ssm.selective_scan", a_unnegated_sign_doubled, "replaced by -exp"),
    (
        "ssm.initial_steps",
        lambda n, a, b, g: torch.exp(
            (math.log(a) + math.log(b)) / 2 + torch.randn(n, generator=g) * (math.log(b) - math.log(a)) / 4
        ).clamp(a, b),
        "middle half",
    ),
    ("ssm.remembers", lambda s, r, n: (torch.exp(s * r * (n + 1)) > 0.5).float().mean(), "`tokens` is one too large"),
    ("ssm.remembers", lambda s, r, n: (torch.exp(s.mean() * r * n) > 0.5).float(), "`steps` is averaged"),
]
RIGHT = [
    ("ssm.kernel", lambda a, b, c, n: torch.vander(a, n, increasing=True).T @ (b * c)),
    ("ssm.kernel", lambda a, b, c, n: torch.stack([(c * b * a**j).sum() for j in range(n)])),
    ("ssm.selective_scan", scan_over_lists),
    ("ssm.step_size", lambda low, w, b: F.softplus(F.linear(low, w, b))),
    ("ssm.discretize", lambda A, B, d: [(A * d).exp(), B * ((A * d).exp() - 1) / A]),
    (
        "ssm.recurrence",
        lambda a, b, c, u: numpy_free_convolution(u, (c * b * a ** torch.arange(len(u))[:, None]).sum(1)),
    ),
    ("ssm.kernel", lambda a, b, c, n: torch.from_numpy(np.vander(a.numpy(), n, increasing=True).T @ (b * c).numpy())),
    ("ssm.causal_convolution", numpy_convolution),
    ("ssm.causal_convolution", fourier_convolution),
    ("ssm.selective_scan", scan_by_einsum),
    ("ssm.project", lambda x, w, n: torch.tensor_split(F.linear(x, w), (len(w) - 2 * n, len(w) - n), dim=-1)),
    ("ssm.step_size", lambda low, w, b: torch.log1p(torch.exp(torch.einsum("blr,dr->bld", low, w) + b))),
    ("ssm.inverse_softplus", where_large),
    (
        "ssm.initial_steps",
        lambda n, low, high, g: low * (high / low) ** torch.rand(n, generator=g, dtype=torch.float64),
    ),
    ("ssm.remembers", remembers_in_python),
    ("ssm.remembers", lambda s, rate, n: (s * n * -rate < math.log(2)).float().mean()),
    ("ssm.discretize", lambda A, B, delta: [torch.exp(delta * A), torch.expm1(delta * A).div(A).mul(B)]),
    (
        "ssm.recurrence",
        lambda a, b, c, u: torch.stack(
            [sum((c * a ** (t - s) * b * u[s]).sum() for s in range(t + 1)) for t in range(len(u))]
        ),
    ),
    ("ssm.kernel", lambda a, b, c, length: torch.einsum("n,n,nj->j", c, b, a[:, None] ** torch.arange(length))),
    (
        "ssm.causal_convolution",
        lambda u, kernel: F.conv1d(F.pad(u, (len(kernel) - 1, 0))[None, None], kernel.flip(0)[None, None])[0, 0],
    ),
    ("ssm.step_size", lambda low, w, b: -F.logsigmoid(-(torch.tensordot(low, w, ([2], [1])) + b))),
    ("ssm.inverse_softplus", lambda step: step + torch.log(-torch.expm1(-step.double())).to(step)),
    (
        "ssm.initial_steps",
        lambda n, lo, hi, g: 10 ** (torch.rand(n, generator=g) * (math.log10(hi) - math.log10(lo)) + math.log10(lo)),
    ),
    (
        "ssm.remembers",
        lambda steps, rate, tokens: sum(math.exp(rate * s * tokens) > 0.5 for s in steps.tolist()) / len(steps),
    ),
]
