"""Lesson 5: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import torch

from skinlesion import lessons
from skinlesion.scan.reference import four_routes


def _exploding(delta, a, B, C):
    time = delta.cumsum(0)
    decay = torch.exp((time[:, None] - time[None, :])[..., None] * a)
    return torch.einsum("tn,tsn,sn->ts", C, decay, delta[:, None] * B) * torch.ones(len(delta), len(delta)).tril()


def snake(height, width):
    grid = torch.arange(height * width).reshape(height, width)
    rows, columns = grid.clone(), grid.T.clone()
    rows[1::2] = rows[1::2].flip(1)
    columns[1::2] = columns[1::2].flip(1)
    rows, columns = rows.reshape(-1), columns.reshape(-1)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])


def scan_of_four(x, routes):
    return x.flatten(1, 2)[:, four_routes(x.shape[1], x.shape[2]).long()]


def solution(name):
    return lessons.solution(name).answer


def merge_of_four(y, routes, height, width):
    return solution("ss2d.cross_merge")(y, four_routes(height, width), height, width)


def own_step_decays(delta, a, B, C):
    time = delta.cumsum(0)
    gap = (time[:, None] - time[None, :] + delta[None, :]).clamp(min=0)
    return torch.einsum("tn,tsn,sn->ts", C, torch.exp(gap[..., None] * a), delta[:, None] * B).tril()


def columns_first_routes(height, width):
    return four_routes(height, width)[[1, 0, 3, 2]]


def one_grid_for_the_batch(x, routes):
    line = x[:1].flatten(1, 2)[:, routes.long()]
    return line.expand(len(x), -1, -1, -1)


def merged_by_last(y, routes, height, width):
    out = torch.zeros(y.shape[0], height * width, y.shape[-1])
    for k in range(y.shape[1]):
        out[:, routes[k].long()] = y[:, k]
    return out.unflatten(1, (height, width))


def scan_without_own_bias(x, delta, A, B, C, D, delta_bias):
    return solution("ss2d.cross_selective_scan")(x, delta, A, B, C, D, delta_bias[:1].expand_as(delta_bias))


def attention_strictly_before(delta, a, B, C):
    return solution("ss2d.implicit_attention")(delta, a, B, C).tril(-1)


def routes_rotated(height, width):
    grid = torch.arange(height * width).reshape(height, width)
    return torch.stack([torch.rot90(grid, k).reshape(-1) for k in range(4)])


def scan_reshaped(x, routes):
    return x.reshape(len(x), -1, x.shape[-1])[:, routes.long()].sum(1, keepdim=True).expand(-1, len(routes), -1, -1)


def merge_averaged_in_pairs(y, routes, height, width):
    return solution("ss2d.cross_merge")(y.clone(), routes, height, width).relu()


def attention_without_delta_in_gap(delta, a, B, C):
    return solution("ss2d.implicit_attention")(delta, a, C, B)


def routes_transposed(height, width):
    index = torch.tensor([[i, j] for i in range(height) for j in range(width)])
    down = torch.tensor([[i, j] for j in range(width) for i in range(height)])
    table = torch.stack([p[:, 0] * width + p[:, 1] for p in (index, down)])
    return torch.cat([table, table.flip(1)])


def implicit_in_double(delta, a, B, C):
    t = delta.double().cumsum(0)
    decay = ((t[:, None] - t).tril()[..., None] * a).exp()
    return torch.tril(torch.einsum("tn,tsn,sn,s->ts", C.double(), decay.double(), B.double(), delta.double()))


def routes_by_lists(height, width):
    rows = list(range(height * width))
    columns = [i * width + j for j in range(width) for i in range(height)]
    return torch.tensor([rows, columns, rows[::-1], columns[::-1]])


def gathered(x, routes):
    line = x.flatten(1, 2)[:, None].expand(-1, len(routes), -1, -1)
    return line.gather(2, routes.long()[None, :, :, None].expand(len(x), -1, -1, x.shape[-1]))


def scattered(y, routes, height, width):
    out = y.new_zeros(y.shape[0], height * width, y.shape[-1])
    for k in range(y.shape[1]):
        out = out.index_add(1, routes[k].long(), y[:, k])
    return out.reshape(len(y), height, width, -1)


def attention_by_loops(delta, a, B, C):
    M, length = torch.zeros(len(delta), len(delta)), len(delta)
    time = delta.cumsum(0)
    for t in range(length):
        decay = torch.exp((time[t] - time[: t + 1])[:, None] * a)
        M[t, : t + 1] = (C[t] * decay * delta[: t + 1, None] * B[: t + 1]).sum(-1)
    return M


def a_of_route_0_for_all(x, d, A, B, C, D, b):
    return solution("ss2d.cross_selective_scan")(x, d, A[:1].expand_as(A), B, C, D, b)


WRONG = [
    ("ss2d.implicit_attention", _exploding, ""),
    ("ss2d.four_routes", snake, "snake|left to right|same direction|line"),
    ("ss2d.four_routes", lambda h, w: four_routes(h, w).float(), "int"),
    ("ss2d.four_routes", lambda h, w: four_routes(h, w).T, "axes"),
    ("ss2d.cross_scan", scan_of_four, "routes"),
    ("ss2d.cross_merge", merge_of_four, "routes"),
    ("ss2d.implicit_attention", own_step_decays, "own|s \\+ 1|decay"),
    ("ss2d.four_routes", columns_first_routes, "order"),
    ("ss2d.cross_scan", one_grid_for_the_batch, "batch|axis 0|image"),
    ("ss2d.cross_merge", merged_by_last, "writes over"),
    ("ss2d.cross_selective_scan", scan_without_own_bias, "bias"),
    ("ss2d.implicit_attention", attention_strictly_before, "diagonal|own"),
    ("ss2d.four_routes", routes_rotated, "order|axis|row"),
    ("ss2d.cross_scan", scan_reshaped, "same|sum"),
    ("ss2d.cross_merge", merge_averaged_in_pairs, "ReLU|relu|negative"),
    ("ss2d.implicit_attention", attention_without_delta_in_gap, "swapped"),
    ("ss2d.cross_selective_scan", a_of_route_0_for_all, "A of route 0"),
    ("ss2d.cross_scan", lambda x, r: x.flatten(1, 2)[:, r].transpose(0, 1), "axes are in the wrong order"),
]
RIGHT = [
    ("ss2d.four_routes", routes_transposed),
    ("ss2d.implicit_attention", implicit_in_double),
    ("ss2d.four_routes", routes_by_lists),
    ("ss2d.cross_scan", gathered),
    ("ss2d.cross_merge", scattered),
    ("ss2d.implicit_attention", attention_by_loops),
    (
        "ss2d.four_routes",
        lambda height, width: torch.tensor(
            [
                r := [i * width + j for i in range(height) for j in range(width)],
                c := [i * width + j for j in range(width) for i in range(height)],
                r[::-1],
                c[::-1],
            ]
        ),
    ),
    ("ss2d.cross_scan", lambda x, routes: torch.stack([x[:, r // x.shape[2], r % x.shape[2]] for r in routes], dim=1)),
    (
        "ss2d.cross_merge",
        lambda y, routes, height, width: (
            torch.zeros(len(y), height * width, y.shape[-1], dtype=y.dtype)
            .index_add(1, routes.flatten(), y.flatten(1, 2))
            .view(len(y), height, width, -1)
        ),
    ),
]
