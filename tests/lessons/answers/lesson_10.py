"""Lesson 10: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import functools

import torch
import torch.nn.functional as F

from skinlesion import lessons


def stacked_profiles(x):
    return torch.cat([x.mean(2), x.mean(1)], dim=1)


def two_normalizations(x, conv1, bn1, conv_h, conv_w):
    f_h, f_w = (F.hardswish(bn1(conv1(z).mT).mT) for z in (x.mean(2), x.mean(1)))
    return conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()


def solution(name):
    return lessons.solution(name).answer


def mode_left_behind(x, conv1, bn1, conv_h, conv_w):
    bn1.train()
    return solution("cra.gates")(x, conv1, bn1, conv_h, conv_w)


def in_evaluation_mode(x, conv1, bn1, conv_h, conv_w):
    bn1.eval()
    return solution("cra.gates")(x, conv1, bn1, conv_h, conv_w)


def halves_of_the_positions(x, conv1, bn1, conv_h, conv_w):
    f = F.hardswish(bn1(conv1(torch.cat([x.mean(2), x.mean(1)], 1)).mT).mT)
    f_h, f_w = f.chunk(2, dim=1)
    return conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()


def profiles_concatenated_by_channel(x, conv1, bn1, conv_h, conv_w):
    z = torch.cat([x.mean(1), x.mean(2)], dim=1)
    f = F.hardswish(bn1(conv1(z).mT).mT)
    f_w, f_h = f.split([x.shape[2], x.shape[1]], dim=1)
    return conv_w(f_h).sigmoid(), conv_h(f_w).sigmoid()


def hard_sigmoid_gates(x, conv1, bn1, conv_h, conv_w):
    f = F.hardswish(bn1(conv1(torch.cat([x.mean(2), x.mean(1)], 1)).mT).mT)
    f_h, f_w = f.split([x.shape[1], x.shape[2]], 1)
    return F.hardsigmoid(conv_h(f_h)), F.hardsigmoid(conv_w(f_w))


def normalized_over_positions(x, conv1, bn1, conv_h, conv_w):
    f = conv1(torch.cat([x.mean(2), x.mean(1)], 1))
    f = F.hardswish(F.layer_norm(f, f.shape[-1:], bn1.weight, bn1.bias))
    f_h, f_w = f.split([x.shape[1], x.shape[2]], 1)
    return conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()


def gate_of_rows_twice(x, gate_h, gate_w):
    return x * gate_h[:, :, None] * gate_h[:, :, None]


def means_of_absolute(x):
    return x.abs().mean(2), x.abs().mean(1)


def gates_relu6(x, conv1, bn1, conv_h, conv_w):
    f = F.relu6(bn1(conv1(torch.cat([x.mean(2), x.mean(1)], 1)).mT).mT)
    f_h, f_w = f.split([x.shape[1], x.shape[2]], 1)
    return conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()


def gates_frozen(x, conv1, bn1, conv_h, conv_w):
    with torch.no_grad():
        return solution("cra.gates")(x, conv1, bn1, conv_h, conv_w)


def gates_one_minus(x, gate_h, gate_w):
    return x * (1 - gate_h[:, :, None]) * (1 - gate_w[:, None])


def share_by_eigenvalues(m):
    values = torch.linalg.eigvalsh(m.double() @ m.double().T)
    return values[-1] / values.sum()


def einsum_means(x):
    return [torch.einsum("bhwc->bhc", x) / x.shape[2], torch.einsum("bhwc->bwc", x) / x.shape[1]]


def gates_in_parts(x, conv1, bn1, conv_h, conv_w):
    z = torch.cat((x.mean(2), x.mean(1)), 1)
    f = F.linear(z, conv1.weight, conv1.bias)
    f = bn1(f.flatten(0, 1)).view_as(f)
    f = f * F.relu6(f + 3) / 6
    return conv_h(f[:, : x.shape[1]]).sigmoid(), conv_w(f[:, -x.shape[2] :]).sigmoid()


def energy_of_the_first(map_):
    u, s, v = torch.linalg.svd(map_.double(), full_matrices=False)
    return float((s[0] * torch.outer(u[:, 0], v[0])).square().sum() / map_.double().square().sum())


WRONG = [
    ("cra.directional_means", stacked_profiles, "expected a tuple|two"),
    ("cra.gates", two_normalizations, "two normal|normalized? (once|together|apart)|one normalization"),
    ("cra.gates", mode_left_behind, "mode"),
    ("cra.gates", in_evaluation_mode, "mode"),
    ("cra.gates", halves_of_the_positions, "chunk|halves|H rows|split"),
    ("cra.apply_gates", lambda x, h, w: x * h[:, :, None].mul_(1.0) * w[:, None].detach(), "gradient"),
    ("cra.rank_one_share", lambda m: torch.linalg.eigvals(m @ m.T).abs().max() / m.abs().sum(), "square|energy|sum"),
    ("cra.gates", profiles_concatenated_by_channel, "swapped"),
    ("cra.gates", hard_sigmoid_gates, "sigmoid"),
    ("cra.gates", normalized_over_positions, "normaliz"),
    ("cra.apply_gates", gate_of_rows_twice, "column|gate_w|shape"),
    ("cra.directional_means", means_of_absolute, "absolute"),
    ("cra.gates", gates_relu6, "ReLU|relu|hardswish"),
    ("cra.gates", gates_frozen, "gradient"),
    ("cra.apply_gates", gates_one_minus, "one minus"),
    (
        "cra.rank_one_share",
        lambda m: (lambda s: s[0] ** 2 / (s**2).sum())(torch.linalg.svdvals(m - m.mean(0))),
        "mean of `map_` along axis 0",
    ),
    (
        "cra.directional_means",
        lambda x: (x.median(2).values, x.median(1).values),
        "`median` in place of `mean` everywhere",
    ),
]
RIGHT = [
    ("cra.rank_one_share", share_by_eigenvalues),
    ("cra.directional_means", einsum_means),
    ("cra.gates", gates_in_parts),
    ("cra.apply_gates", functools.partial(torch.einsum, "bhwc,bhc,bwc->bhwc")),
    ("cra.rank_one_share", energy_of_the_first),
    (
        "cra.directional_means",
        lambda x: [torch.einsum("bhwc->bhc", x) / x.shape[2], torch.einsum("bhwc->bwc", x) / x.shape[1]],
    ),
    ("cra.apply_gates", lambda x, gate_h, gate_w: x * torch.einsum("bhc,bwc->bhwc", gate_h, gate_w)),
    ("cra.rank_one_share", lambda map_: torch.linalg.matrix_norm(map_, 2) ** 2 / map_.square().sum()),
]
