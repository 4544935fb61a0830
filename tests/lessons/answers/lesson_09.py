"""Lesson 9: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import torch
import torch.nn.functional as F

from skinlesion import lessons


def convolved_without_permute(u, in_proj, convolution, scan, norm, se, out_proj):
    x, z = in_proj(u).chunk(2, dim=-1)
    first = (len(x), x.shape[-1], *x.shape[1:3])
    x = F.silu(convolution(x.reshape(first)).reshape(x.shape))
    return out_proj(se(norm(scan(x))) * F.silu(z))


def normed_after(x, norm1, ss2d, norm2, cmn):
    return norm2(cmn(norm1(ss2d(x) + x)) + x)


def added_in_place(x, norm1, ss2d, norm2, cmn):
    x += ss2d(norm1(x))
    x += cmn(norm2(x))
    return x


def dropped_in_place(branch, rate, generator):
    gone = torch.rand(len(branch), generator=generator) < rate
    branch[gone] = 0
    branch /= 1 - rate
    return branch


def a_fixed_number(branch, rate, generator):
    count = round(rate * len(branch))
    factor = torch.full((len(branch),), 1 / (1 - rate))
    factor[torch.randperm(len(branch), generator=generator)[:count]] = 0
    return branch * factor[:, None, None, None]


def solution(name):
    return lessons.solution(name).answer


def silu_after_scan(u, in_proj, convolution, scan, norm, se, out_proj):
    x, z = in_proj(u).chunk(2, dim=-1)
    x = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return out_proj(se(norm(F.silu(scan(x)))) * F.silu(z))


def gelu_gate(u, in_proj, convolution, scan, norm, se, out_proj):
    x, z = in_proj(u).chunk(2, dim=-1)
    x = F.silu(convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    return out_proj(se(norm(scan(x))) * F.gelu(z))


def branch_twice(x, norm1, ss2d, norm2, cmn):
    x = x + ss2d(norm1(x))
    return x + cmn(norm2(x)) + cmn(norm2(x))


def drop_with_own_seed(branch, rate, generator):
    torch.manual_seed(0)
    return branch * (torch.rand(len(branch), 1, 1, 1) >= rate) / (1 - rate)


def parameters_without_ceiling(dim, states):
    return (
        solution("block.parameters")(dim, states)
        if dim % 16 == 0
        else solution("block.parameters")(dim // 16 * 16, states)
    )


def lonely_with_state(x, delta, A, B, C, D, delta_bias):
    return solution("ss2d.cross_selective_scan")(x, delta, A, B, C, D, delta_bias)


def block_scaled(x, norm1, ss2d, norm2, cmn):
    x = x + 0.5 * ss2d(norm1(x))
    return x + 0.5 * cmn(norm2(x))


def drop_residual_scaled(branch, rate, generator):
    kept = torch.rand(len(branch), generator=generator) > 1 - rate
    return branch * kept[:, None, None, None] / rate


def lonely_without_route_sum(x, delta, A, B, C, D, delta_bias):
    return solution("block.lonely_scan")(x, delta, A, B, B, D, delta_bias)


def lonely_by_einsum(x, delta, A, B, C, D, delta_bias):
    step = F.softplus(delta + delta_bias)
    return torch.einsum("bhwkd,bhwd,bhwkn,bhwkn->bhwd", step, x, B, C) + x * D.sum(0)


def bernoulli(branch, rate, generator):
    kept = torch.bernoulli(torch.full((branch.shape[0], 1, 1, 1), 1 - rate), generator=generator)
    return branch * kept / (1 - rate)


def added_residual(u, i, conv, scan, norm, se, out):
    return u + solution("block.ss2d_branch")(u, i, conv, scan, norm, se, out)


WRONG = [
    ("block.drop_path", lambda x, rate, g: x * (torch.rand(len(x), 1, 1, 1) >= rate) / (1 - rate), ""),
    ("block.drop_path", lambda x, rate, g: x * (torch.rand(len(x), 1, 1, 1, generator=g) >= rate), ""),
    ("block.drop_path", lambda x, rate, g: x * (torch.rand(len(x), 1, 1, 1, generator=g) < rate) / (1 - rate), ""),
    ("block.drop_path", lambda x, rate, g: F.dropout(x, rate), ""),
    ("block.ss2d_branch", convolved_without_permute, "permute|channels first|channels last"),
    ("block.cm_ssm_block", normed_after, "before|after|post"),
    ("block.cm_ssm_block", added_in_place, "in place"),
    ("block.drop_path", dropped_in_place, "changes its argument `branch`"),
    ("block.drop_path", a_fixed_number, "coin|fixed|exactly|same number"),
    ("block.drop_path", lambda x, rate, g: F.dropout(x, rate), "coin|dropout"),
    ("block.parameters", lambda d, n: solution("block.parameters")(d, n) + d, "bias"),
    ("block.operations", lambda h, w, d, n: tuple(2 * v for v in solution("block.operations")(h, w, d, n)), "2 times"),
    ("block.lonely_scan", lambda *a: solution("block.lonely_scan")(*a[:5], a[5][:1].expand(4, -1), a[6]), "D"),
    ("block.ss2d_branch", silu_after_scan, "SiLU"),
    ("block.ss2d_branch", gelu_gate, "gelu"),
    ("block.cm_ssm_block", branch_twice, r"\+ cmn\(norm2\(x\)\) \+ cmn"),
    ("block.drop_path", drop_with_own_seed, "same images|seed"),
    ("block.parameters", parameters_without_ceiling, "round|rank|multiple"),
    ("block.lonely_scan", lonely_with_state, "remember|neighbor|length 1|scan"),
    ("block.cm_ssm_block", block_scaled, ""),
    ("block.drop_path", drop_residual_scaled, "rate"),
    ("block.lonely_scan", lonely_without_route_sum, "`B` is used where `C`"),
    ("block.ss2d_branch", added_residual, "`u` is added to the result"),
    ("block.cm_ssm_block", lambda x, n1, s, n2, c: (lambda y: y + c(n2(y)))(x.add_(s(n1(x)))), "changed in place"),
]
RIGHT = [
    ("block.lonely_scan", lonely_by_einsum),
    ("block.drop_path", bernoulli),
    (
        "block.cm_ssm_block",
        lambda x, norm1, ss2d, norm2, cmn: torch.add(y := torch.add(x, ss2d(norm1(x))), cmn(norm2(y))),
    ),
    (
        "block.drop_path",
        lambda branch, rate, generator: torch.stack(
            [b * float(torch.rand((), generator=generator) >= rate) / (1 - rate) for b in branch]
        ),
    ),
    (
        "block.operations",
        lambda height, width, dim, states: [
            height * width * dim * (4 * dim + 18 + 2 * dim),
            4 * height * width * 2 * dim * (2 * -(-dim // 16) + 2 * states),
            4 * height * width * 2 * dim * (9 * states + 1),
        ],
    ),
    (
        "block.lonely_scan",
        lambda x, delta, A, B, C, D, b: (
            torch.einsum("bhwkd,bhwkn,bhwkn,bhwd->bhwd", F.softplus(delta + b), B, C, x) + D.sum(0) * x
        ),
    ),
]
