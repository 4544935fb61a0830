"""Plausible wrong answers to lessons 0 to 8 that no bank holds: each is rejected, and the message names the mistake."""

import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from skinlesion import lessons
from skinlesion.scan.reference import four_routes


def solution(name):
    return lessons.solution(name).answer


# --- lesson 0 ---


def painted_in_place(image, mask):
    image[mask] = image[~mask].mean(dim=0)
    return image


def zeros_in_the_mean(image, mask):
    return torch.where(mask[..., None], (image * ~mask[..., None]).mean(dim=(0, 1)), image)


def marked_in_place(probability, threshold):
    probability[probability >= threshold] = 1
    probability[probability < threshold] = 0
    return probability.bool()


# --- lesson 1 ---


def in_eight_bits(image):
    image = image - image.min()
    return (image * 255 // max(image.max(), 1)).astype(np.float32) / 255


def ones_for_one_value(image):
    x = image.astype(np.float32)
    return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else np.ones_like(x)


def turned_the_other_way(image, mask, generator):
    quarters = int(torch.randint(4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, -quarters, (0, 1))


def turned_by_chance_of_python(image, mask, generator):
    quarters = random.randrange(4)
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


def always_three_lesions(lesion, fraction, generator):
    names = sorted(set(lesion))
    chosen = {names[i] for i in torch.randperm(len(names), generator=generator)[:3].tolist()}
    return (
        [i for i, name in enumerate(lesion) if name not in chosen],
        [i for i, name in enumerate(lesion) if name in chosen],
    )


def lesions_counted_from_zero(lesion, fraction, generator):
    count = max(lesion) + 1
    chosen = set(torch.randperm(count, generator=generator)[: round(fraction * count)].tolist())
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def nearest_by_pixel(image, images, masks):
    nearest = (images - image).square().sum(1).argmin(0)
    return masks.gather(0, nearest[None])[0]


# --- lesson 2 ---


def log_with_epsilon(logits, target):
    p = logits.sigmoid()
    return -(target * (p + 1e-8).log() + (1 - target) * (1 - p + 1e-8).log()).mean()


def dice_with_small_constant(logits, target):
    p, y = logits.sigmoid().flatten(1), target.flatten(1)
    return 1 - ((2 * (p * y).sum(1) + 1e-5) / (p.sum(1) + y.sum(1) + 1e-5)).mean()


def by_autograd(probability, truth):
    p = probability.clone().requires_grad_()
    loss = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    loss.backward()
    return p.grad


# --- lesson 3 ---


def eats_the_list(layers):
    side, step = 1, 1
    while layers:
        kernel, stride = layers.pop(0)
        side, step = side + (kernel - 1) * step, step * stride
    return side


def side_without_allowance(gradient, fraction):
    share = gradient.abs().sum(0)
    share = share / share.sum()
    rows = (torch.arange(share.shape[0]) - (share.shape[0] - 1) // 2).abs()
    columns = (torch.arange(share.shape[1]) - (share.shape[1] - 1) // 2).abs()
    distance = torch.maximum(rows[:, None], columns)
    return next(2 * r + 1 for r in range(99) if share[distance <= r].sum() >= fraction - 1e-6)


def round_disk(gradient, fraction):
    share = gradient.abs().sum(0)
    share = share / share.sum()
    rows = torch.arange(share.shape[0]) - share.shape[0] // 2
    columns = torch.arange(share.shape[1]) - share.shape[1] // 2
    distance = (rows[:, None].square() + columns.square()).sqrt()
    return next(2 * r + 1 for r in range(99) if share[distance <= r].sum() >= fraction - 1e-6)


def strided_u(x, encoder, up, decoder):
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(x[..., ::2, ::2] if i else x)
        skips.append(x)
    for i, stage in enumerate(decoder):
        x = stage(torch.cat([skips[-2 - i], up[i](x)], dim=1))
    return x


def hidden_in_place(image, at, radius):
    row, column = at
    keep = torch.zeros(image.shape[1:], dtype=torch.bool)
    keep[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = True
    image[:, ~keep] = 0
    return image


# --- lesson 4 ---


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


def padded_on_both_sides(u, k):
    left = (len(u) - 1) // 2
    return F.conv1d(F.pad(u, (left, len(u) - 1 - left))[None], k[None, None])[0]


# --- lesson 5 ---


def snake(height, width):
    grid = torch.arange(height * width).reshape(height, width)
    rows, columns = grid.clone(), grid.T.clone()
    rows[1::2] = rows[1::2].flip(1)
    columns[1::2] = columns[1::2].flip(1)
    rows, columns = rows.reshape(-1), columns.reshape(-1)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])


def scan_of_four(x, routes):
    return x.flatten(1, 2)[:, four_routes(x.shape[1], x.shape[2]).long()]


def merge_of_four(y, routes, height, width):
    return solution("ss2d.cross_merge")(y, four_routes(height, width), height, width)


def own_step_decays(delta, a, B, C):
    time = delta.cumsum(0)
    gap = (time[:, None] - time[None, :] + delta[None, :]).clamp(min=0)
    return torch.einsum("tn,tsn,sn->ts", C, torch.exp(gap[..., None] * a), delta[:, None] * B).tril()


# --- lesson 6 ---


def prefix_loop(combine, a, b):
    h, out = torch.zeros_like(b[:, 0]), []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        out.append(h)
    return torch.stack(out, dim=1)


def prefix_by_products(combine, a, b):
    total = a.cumprod(1)
    return total * (b / total).cumsum(1)


def so_many_chunks(part, u, delta, A, B, C, size):
    h, out = u.new_zeros(u.shape[0], u.shape[2], A.shape[1]), []
    for u_c, d_c, b_c, c_c in zip(*(t.chunk(size, dim=1) for t in (u, delta, B, C)), strict=True):
        y, h = checkpoint(part, h, u_c, d_c, A, b_c, c_c, use_reentrant=False)
        out.append(y)
    return torch.cat(out, dim=1)


def combine_in_place(first, second):
    first[1].mul_(second[0]).add_(second[1])
    return first[0] * second[0], first[1]


# --- lesson 7 ---


def scaled_in_place(x, fc1, fc2):
    s = torch.sigmoid(torch.relu(x.mean((1, 2)) @ fc1.T) @ fc2.T)
    with torch.no_grad():
        x *= s[:, None, None]
    return x, s


def one_gate_for_all(x, fc1, fc2):
    s = torch.sigmoid(torch.relu(x.mean((0, 1, 2))[None] @ fc1.T) @ fc2.T).expand(len(x), -1)
    return x * s[:, None, None], s


def rows_then_columns(x, generator):
    rows, columns = (torch.randperm(n, generator=generator) for n in x.shape[1:3])
    return x[:, rows][:, :, columns]


# --- lesson 8 ---


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


# Exercise, answer, what the message must say.
WRONG = [
    ("start.to_mask", marked_in_place, "changes its argument `p"),
    ("start.to_mask", lambda p, t: torch.where(p >= t, 1, 0), "comparison|bool"),
    ("start.area_fraction", lambda m: m.sum((1, 2)) / m.numel(), "1/2|batch|images"),
    ("start.area_fraction", lambda m: [each.float().mean() for each in m], "torch.stack"),
    ("start.area_fraction", lambda m: m.mean(dim=(1, 2)), "dtype"),
    ("start.seen_in_mirror", lambda network, x: (network(x) + network(x.flip(-1)).flip(-1)) / 2, "mean|average"),
    ("start.seen_in_mirror", lambda network, x: network(x.flip(-2, -1)).flip(-2, -1), "rows|top|half a turn|180"),
    ("start.seen_in_mirror", lambda network, x: torch.fliplr(network(torch.fliplr(x))), "color|channel"),
    ("start.cover", painted_in_place, "changes its argument `image`"),
    ("start.cover", zeros_in_the_mean, "zero|number of pixels|all pixels|every pixel"),
    ("lesions.normalize", in_eight_bits, "uint8|overflow|float32"),
    ("lesions.normalize", lambda i: (i - i.min()) / max(int(i.max()) - int(i.min()), 1), "float64"),
    ("lesions.normalize", ones_for_one_value, "single value|zero"),
    ("lesions.agreement", lambda a, b: ((a & b).sum((1, 2)) + 1) / ((a | b).sum((1, 2)) + 1), "add"),
    ("lesions.agreement", lambda a, b: (a == b).float().mean((1, 2)), "skin|accuracy|neither"),
    ("lesions.turn", turned_the_other_way, "mask was not rotated like its image"),
    ("lesions.turn", turned_by_chance_of_python, "generator"),
    ("lesions.remember", nearest_by_pixel, "pixel"),
    ("lesions.remember", lambda x, xs, ms: ms[(xs - x).square().sum((0, 2, 3)).argmin()], "axis|axes|over the images"),
    ("lesions.whole_lesions", always_three_lesions, "fraction"),
    ("lesions.whole_lesions", lesions_counted_from_zero, "number|names|different lesions"),
    ("scores.confusion", lambda p, t: torch.stack([p & t, p & ~t, ~p & t, ~p & ~t]).sum((2, 3)), "axes"),
    ("scores.confusion", lambda p, t: solution("scores.confusion")(p, t).float(), "int"),
    ("scores.iou", lambda c: solution("scores.iou")(c).float(), "float32"),
    ("scores.iou", lambda c: c[..., 0].double() / (c[..., :3].sum(-1) + 1e-8), "0/0|0 / 0|no lesion|empty"),
    ("scores.pooled_and_mean", lambda c: (c[:, 0].sum() / c[:, :3].sum(), (c[:, 0] / c[:, :3].sum(1)).mean()), "NaN"),
    ("loss.bce", log_with_epsilon, "epsilon|clamp|small constant"),
    ("loss.dice", dice_with_small_constant, "constant"),
    ("loss.dice_gradient", by_autograd, "autograd"),
    ("unet.field", eats_the_list, "changes its argument `layers`"),
    ("unet.side_holding", side_without_allowance, "even|// 2|middle"),
    ("unet.side_holding", round_disk, "square|round|disk|circle"),
    ("unet.forward", strided_u, "maximum"),
    ("unet.likeness", lambda x: torch.corrcoef(x.flatten(0, 2)).abs().mean(), "pixels|diagonal|channel"),
    ("unet.hide_far", hidden_in_place, "changes its argument `image`"),
    ("ssm.discretize", lambda A, B, d: (torch.exp(d * A), torch.expm1(d * A) / (d * A) * B), "step|delta|Δ"),
    ("ssm.recurrence", lambda a, b, c, u: c.sum() * solution("ssm.recurrence")(a, b, torch.ones_like(c), u), "state"),
    ("ssm.causal_convolution", padded_on_both_sides, "flip|future|past"),
    ("ssm.selective_scan", scan_by_division, "NaN|infinite"),
    ("ssm.selective_scan", state_goes_on, "batch|sequence"),
    ("ssm.project", lambda x, w, n: (x @ w.T).chunk(3, dim=-1), "chunk|thirds|equal"),
    ("ssm.initial_steps", steps_of_numpy, "generator"),
    ("ss2d.four_routes", snake, "snake|left to right|same direction|line"),
    ("ss2d.four_routes", lambda h, w: four_routes(h, w).float(), "int"),
    ("ss2d.four_routes", lambda h, w: four_routes(h, w).T, "axes"),
    ("ss2d.cross_scan", scan_of_four, "routes"),
    ("ss2d.cross_merge", merge_of_four, "routes"),
    ("ss2d.implicit_attention", own_step_decays, "own|s \\+ 1|decay"),
    ("fast_scan.growth", lambda x, y: np.polyfit(x.log().numpy(), y.log().numpy(), 1)[1], "intercept|slope"),
    (
        "fast_scan.growth",
        lambda x, y: float((y[-1] / y[0]).log() / (x[-1] / x[0]).log()),
        "first and last|all points|two",
    ),
    ("fast_scan.combine", combine_in_place, "in place|changes its argument"),
    ("fast_scan.prefix", prefix_loop, "combine"),
    ("fast_scan.prefix", prefix_by_products, "combine"),
    ("fast_scan.chunked", so_many_chunks, "size|chunk"),
    ("se.squeeze", lambda x: x.sum((1, 2)) / x.shape[1] ** 2, "square|height|width"),
    ("se.squeeze", lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), "axis|axes|channels"),
    ("se.forward", scaled_in_place, "changes its argument `x`"),
    ("se.forward", one_gate_for_all, "batch|images"),
    ("se.shuffle_pixels", rows_then_columns, "row"),
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
]


def two_of(x, fc1, dwconv):
    t = fc1(x)
    return t + dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("name", "answer", "says"), WRONG, ids=[f"{i}: {w[0]}" for i, w in enumerate(WRONG)])
def test_a_wrong_answer_is_rejected_by_name(name, answer, says):
    result = lessons.check(name, answer)
    assert not result
    assert re.search(says, f"{result.headline} {result.message} {result.likely}"), result
