"""Lesson 8: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import torch
import torch.nn.functional as F
from torch import nn

from skinlesion import lessons


def pads_the_channels(x, weight, bias):
    around = F.pad(x, (1, 1, 1, 1, 0, 0))
    return sum(weight[:, i, j] * around[:, i : i + x.shape[1], j : j + x.shape[2]] for i in range(3) for j in range(3))


def replicated_edge(x, weight, bias):
    y, (h, w) = F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1), x.shape[1:3]
    return bias + sum(weight[:, i, j] * y[:, i : i + h, j : j + w] for i in range(3) for j in range(3))


def no_permute(x, fc1, dwconv, fc2):
    t = fc1(x)
    local = dwconv(t.reshape(len(t), t.shape[-1], *t.shape[1:3])).reshape(t.shape)
    return fc2(F.gelu(t + local))


def two_of(x, fc1, dwconv):
    t = fc1(x)
    return t + dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def influence_left_behind(function, x):
    x.requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[2] // 2]
    return torch.stack([torch.autograd.grad(o, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for o in middle])


def middle_of_odd_sides(function, x):
    x = x.detach().clone().requires_grad_()
    middle = function(x)[0, (x.shape[1] - 1) // 2, (x.shape[2] - 1) // 2]
    return torch.stack([torch.autograd.grad(o, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for o in middle])


def middle_of_the_short_side(function, x):
    x = x.detach().clone().requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[1] // 2]
    return torch.stack([torch.autograd.grad(o, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for o in middle])


def dilated(x, weight, bias):
    wide, (h, w) = F.pad(x, (0, 0, 2, 2, 2, 2)), x.shape[1:3]
    parts = [weight[:, i, j] * wide[:, 2 * i : 2 * i + h, 2 * j : 2 * j + w] for i in range(3) for j in range(3)]
    return bias + sum(parts)


def conv_by_library(x, weight, bias):
    conv = nn.Conv2d(x.shape[-1], x.shape[-1], 3, padding=1, groups=x.shape[-1])
    conv.weight, conv.bias = nn.Parameter(weight[:, None]), nn.Parameter(bias)
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def dropout_in_between(x, fc1, dwconv, fc2):
    t = fc1(x)
    t = t + dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return fc2(F.dropout(F.gelu(t), 0.1))


def influence_of_mean(function, x):
    x = x.detach().requires_grad_()
    y = function(x).mean((0, 1, 2))
    return torch.stack([torch.autograd.grad(o, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for o in y])


def solution(name):
    return lessons.solution(name).answer


def depthwise_bias_lost_on_first(x, weight, bias):
    return solution("cmn.depthwise")(x, weight, bias.flip(0))


def mixing_with_sum_activated(x, fc1, dwconv, fc2):
    t = F.gelu(fc1(x))
    local = F.gelu(dwconv(t.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    return fc2(t + local)


def influence_squared(function, x):
    x = x.detach().requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[2] // 2]
    return torch.stack([torch.autograd.grad(o, x, retain_graph=True)[0].square().sum((0, 1, 2)) for o in middle])


def mixing_by_groups(x, fc1, dwconv, fc2):
    t = fc1(x)
    y = F.conv2d(t.movedim(-1, 1), dwconv.weight, dwconv.bias, padding="same", groups=t.shape[-1])
    return fc2(F.gelu(t + y.movedim(1, -1)))


def unfolded(x, weight, bias):
    windows = F.unfold(x.permute(0, 3, 1, 2), 3, padding=1).unflatten(1, (x.shape[-1], 9))
    return (torch.einsum("bcpl,cp->blc", windows, weight.flatten(1)) + bias).reshape(x.shape)


def influence_by_jacobian(function, x):
    i, j = x.shape[1] // 2, x.shape[2] // 2
    return torch.autograd.functional.jacobian(lambda x: function(x)[0, i, j], x).abs().sum((1, 2, 3))


def true_convolution_flipped_kernel(x, w, b):
    return solution("cmn.depthwise")(x, w.flip(1), b)


WRONG = [
    ("cmn.depthwise", pads_the_channels, "pad|size|shape"),
    ("cmn.depthwise", replicated_edge, "edge|zeros|outside|beyond"),
    ("cmn.channel_mixing", no_permute, "permute"),
    (
        "cmn.channel_mixing",
        lambda x, one, dw, two: two(F.gelu(two_of(x, one, dw), approximate="tanh")),
        "tanh|approxim",
    ),
    ("cmn.influence", influence_left_behind, "requires_grad"),
    ("cmn.influence", middle_of_odd_sides, "even|// 2|middle"),
    ("cmn.influence", middle_of_the_short_side, "column|square|width"),
    ("cmn.depthwise", dilated, "dilat|further|neighbor|edge"),
    ("cmn.depthwise", conv_by_library, "nine shifts"),
    ("cmn.channel_mixing", dropout_in_between, "another result|random"),
    ("cmn.influence", influence_of_mean, "middle|one output pixel|all pixels|mean"),
    ("cmn.depthwise", depthwise_bias_lost_on_first, "`bias` is read backward"),
    ("cmn.channel_mixing", mixing_with_sum_activated, ""),
    ("cmn.influence", influence_squared, "square"),
    ("cmn.depthwise", true_convolution_flipped_kernel, "`weight` is read backward along axis 1"),
    (
        "cmn.depthwise",
        lambda x, w, b: (
            b
            + sum(
                F.pad(x, (0, 0, 0, 2, 0, 2))[:, p : p + x.shape[1], q : q + x.shape[2]] * w[:, p, q]
                for p in range(3)
                for q in range(3)
            )
        ),
        "come too early",
    ),
]
RIGHT = [
    ("cmn.channel_mixing", mixing_by_groups),
    ("cmn.depthwise", unfolded),
    ("cmn.influence", influence_by_jacobian),
    (
        "cmn.depthwise",
        lambda x, weight, bias: (
            torch.einsum(
                "bcpqhw,cpq->bhwc",
                F.pad(x, (0, 0, 1, 1, 1, 1))
                .permute(0, 3, 1, 2)
                .unfold(2, 3, 1)
                .unfold(3, 3, 1)
                .permute(0, 1, 4, 5, 2, 3),
                weight,
            )
            + bias
        ),
    ),
    (
        "cmn.channel_mixing",
        lambda x, fc1, dwconv, fc2: fc2(nn.GELU()((t := fc1(x)) + torch.movedim(dwconv(torch.movedim(t, 3, 1)), 1, 3))),
    ),
    (
        "cmn.parameters",
        lambda dim, ratio: sum(
            p.numel()
            for m in (
                nn.LayerNorm(dim),
                nn.Linear(dim, ratio * dim),
                nn.Conv2d(ratio * dim, ratio * dim, 3, groups=ratio * dim),
                nn.Linear(ratio * dim, dim),
            )
            for p in m.parameters()
        ),
    ),
]
