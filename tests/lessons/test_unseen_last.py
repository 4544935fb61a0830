"""A third set, written after the search for slips: wrong answers, and right ones in styles that no other test has."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from skinlesion import lessons
from skinlesion.hooks import intervene, observe
from skinlesion.losses import bce_dice_loss
from skinlesion.scan.reference import selective_scan


def solution(name):
    return lessons.solution(name).answer


def painted_by_loop_over_channels(image, mask):
    out = image.clone()
    for channel in range(2):
        out[..., channel][mask] = image[..., channel][~mask].mean()
    return out


def over_the_maximum_only(image):
    x = image.astype(np.float32)
    return (x - x.min()) / x.max() if x.max() else x


def turned_clockwise_mask_only(image, mask, generator):
    quarters = int(torch.randint(4, (), generator=generator))
    return image, torch.rot90(mask, quarters, (0, 1))


def second_nearest(image, images, masks):
    return masks[(images - image).square().sum((1, 2, 3)).argsort()[1]]


def test_lesions_repeated(lesion, fraction, generator):
    names = sorted(set(lesion))
    chosen = {
        names[i] for i in torch.randint(len(names), (round(fraction * len(names)),), generator=generator).tolist()
    }
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


test_lesions_repeated.__test__ = False


def bce_weighted(logits, target):
    each = target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    return (each * (1 + target)).mean()


def dice_times_two(logits, target):
    p, y = logits.sigmoid().flatten(1), target.flatten(1)
    return 1 - ((2 * (p * y).sum(1) + 2) / (p.sum(1) + y.sum(1) + 2)).mean()


def u_without_last_pool(x, encoder, up, decoder):
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(torch.relu(x))
    skips.pop()
    for enlarge, stage in zip(up, decoder, strict=True):
        x = stage(torch.cat([skips.pop(), enlarge(x)], 1))
    return x


def one_pixel_too_wide(image, at, radius):
    return solution("unet.hide_far")(image, at, radius + 1)


def taps_from_state(a, b, c, length):
    return torch.stack([(c * a**j).sum() * b.sum() for j in range(length)])


def scan_with_u_undelayed(u, delta, A, B, C):
    return selective_scan(u, delta, A, B, C) + u


def scan_with_positive_rates(u, delta, A, B, C):
    return selective_scan(u, delta, -A.abs().exp(), B, C)


def natural_softplus(low, weight, bias):
    return torch.log(1 + torch.exp(low @ weight.T)) + torch.log(1 + torch.exp(bias))


def routes_rotated(height, width):
    grid = torch.arange(height * width).reshape(height, width)
    return torch.stack([torch.rot90(grid, k).reshape(-1) for k in range(4)])


def scan_reshaped(x, routes):
    return x.reshape(len(x), -1, x.shape[-1])[:, routes.long()].sum(1, keepdim=True).expand(-1, len(routes), -1, -1)


def merge_averaged_in_pairs(y, routes, height, width):
    return solution("ss2d.cross_merge")(y.clone(), routes, height, width).relu()


def attention_without_delta_in_gap(delta, a, B, C):
    return solution("ss2d.implicit_attention")(delta, a, C, B)


def weighted_slope(lengths, seconds):
    x, y = lengths.double().log(), seconds.double().log()
    return float((x * y).mean() / x.square().mean())


def prefix_wrong_reach(combine, a, b):
    reach = 1
    while reach < a.shape[1]:
        later = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        a, b = (torch.cat([old[:, :reach], new], 1) for old, new in zip((a, b), later, strict=True))
        reach *= 3
    return b


def squeezed_with_eps(x):
    return x.sum((1, 2)) / (x.shape[1] * x.shape[2] + 1)


def gate_without_batch(mean, fc1, fc2):
    return torch.sigmoid(torch.relu(mean[0] @ fc1.T) @ fc2.T).expand(len(mean), -1)


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


def block_scaled(x, norm1, ss2d, norm2, cmn):
    x = x + 0.5 * ss2d(norm1(x))
    return x + 0.5 * cmn(norm2(x))


def drop_residual_scaled(branch, rate, generator):
    kept = torch.rand(len(branch), generator=generator) > 1 - rate
    return branch * kept[:, None, None, None] / rate


def lonely_without_route_sum(x, delta, A, B, C, D, delta_bias):
    return solution("block.lonely_scan")(x, delta, A, B, B, D, delta_bias)


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


def merged_with_channels_first(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 5, 4, 2).reshape(b, h // 2, w // 2, 4 * c)


def skips_detached(x, encoder, merging, skips, expanding, decoder):
    return solution("network.run_u")(
        x, encoder, merging, [lambda y, s=s: s(y.detach()) for s in skips], expanding, decoder
    )


def cropped_too_much(network, image, multiple):
    y = solution("network.at_any_size")(network, image, multiple)
    return y[..., : image.shape[-2] // multiple * multiple, : image.shape[-1] // multiple * multiple]


def cfd_normalized(student, teacher, student_channels, teacher_channels):
    one, two = student[..., student_channels], teacher.detach()[..., teacher_channels]
    return F.mse_loss(F.normalize(one, dim=-1), F.normalize(two, dim=-1))


def rank_by_first_image(x):
    return solution("distill.rank_channels")(x[:1])


def rates_in_reverse(new_network, batches, rates, decay):
    return solution("training.bare_loop")(new_network, batches, rates[::-1], decay)


def one_batch_only(new_network, batches, rates, decay):
    return solution("training.bare_loop")(new_network, [batches[0]] * len(batches), rates, decay)


def sgd(new_network, batches, rates, decay):
    network, losses = new_network().train(), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=decay)
    for (images, masks), rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def negative_logits(network, images, masks):
    network.eval()
    with torch.no_grad():
        found = network(images) < 0
    return float((found & (masks > 0.5)).sum() / (found | (masks > 0.5)).sum())


def optimizer_groups(network, optimizer):
    return solution("training.snapshot")(network, optimizer) | {"random": torch.manual_seed(0).get_state()}


def importance_by_row(score, image, base, importance, points):
    rows = importance.mean(1, keepdim=True).expand_as(importance) + 1e-6 * importance
    return solution("looking.deletion_curve")(score, image, base, rows, points)


def normalized_to_one(score, image, base, steps):
    a = solution("looking.integrated_gradients")(score, image, base, steps)
    return a / a.abs().max()


def first_resample_only(counts, draws):
    return solution("critique.bootstrap_pooled")(counts, np.repeat(draws[:1], len(draws), 0))


def t_test(a, b, signs):
    return float(stats.ttest_rel(a, b).pvalue)


def recorded_names_only(network, images, pattern):
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return list(seen)


def transfer_then_average(network, images, donors, pattern):
    given = solution("intervention.record")(network, donors, pattern)
    own = solution("intervention.record")(network, images, pattern)
    with torch.no_grad(), intervene(network, {k: (given[k] + own[k]) / 2 for k in given}):
        return network(images)


def same_size_by_shuffle(change, generator):
    line = change.flatten(1)
    return line[:, torch.randperm(line.shape[1], generator=generator)].view_as(change)


# Exercise, answer, what the message must say.
WRONG = [
    ("start.to_mask", lambda p, t: (p - t).sign().bool(), "."),
    ("start.area_fraction", lambda m: 1 - m.float().mean((1, 2)), "skin|one minus"),
    ("start.seen_in_mirror", lambda network, x: network(x.flip(-1)).flip(-1).sigmoid(), "sigmoid"),
    ("start.cover", painted_by_loop_over_channels, "Along axis 0"),
    ("lesions.normalize", over_the_maximum_only, "normalized|times"),
    ("lesions.agreement", lambda a, b: solution("lesions.agreement")(a, b).mean(), "shape"),
    ("lesions.turn", turned_clockwise_mask_only, "not rotated like|mask"),
    ("lesions.remember", second_nearest, "argmin|second|\\."),
    ("lesions.whole_lesions", test_lesions_repeated, "test part has"),
    ("scores.confusion", lambda p, t: solution("scores.confusion")(t, p), "swapped"),
    ("scores.iou", lambda c: solution("scores.iou")(c.flip(-1)), "backward|order"),
    ("scores.dsc_from_iou", lambda v: 2 * v / (1 + 2 * v), "in place of|close|1"),
    ("loss.bce", bce_weighted, "in place of|target|weigh|close"),
    ("loss.dice", dice_times_two, "close|constant|in place of"),
    ("unet.field", lambda layers: solution("unet.field")(layers[::-1]), "in reverse order"),
    ("unet.forward", u_without_last_pool, ""),
    ("unet.hide_far", one_pixel_too_wide, "one too large"),
    ("ssm.kernel", taps_from_state, "b"),
    ("ssm.selective_scan", scan_with_u_undelayed, "input|added|D|u"),
    ("ssm.selective_scan", scan_with_positive_rates, "A|exp"),
    ("ssm.step_size", natural_softplus, "bias"),
    ("ssm.remembers", lambda s, rate, n: solution("ssm.remembers")(s, rate, n + 1), "one too large"),
    ("ss2d.four_routes", routes_rotated, "order|axis|row"),
    ("ss2d.cross_scan", scan_reshaped, "same|sum"),
    ("ss2d.cross_merge", merge_averaged_in_pairs, "ReLU|relu|negative"),
    ("ss2d.implicit_attention", attention_without_delta_in_gap, "swapped"),
    ("fast_scan.growth", weighted_slope, "mean|origin|center"),
    ("fast_scan.prefix", prefix_wrong_reach, "twice|reach|3|round"),
    ("se.squeeze", squeezed_with_eps, "close|one|1|constant"),
    ("se.gate", gate_without_batch, "first entry"),
    ("cmn.depthwise", depthwise_bias_lost_on_first, "`bias` is read backward"),
    ("cmn.channel_mixing", mixing_with_sum_activated, ""),
    ("cmn.influence", influence_squared, "square"),
    ("block.cm_ssm_block", block_scaled, ""),
    ("block.drop_path", drop_residual_scaled, "rate"),
    ("block.lonely_scan", lonely_without_route_sum, "`B` is used where `C`"),
    ("cra.directional_means", means_of_absolute, "absolute"),
    ("cra.gates", gates_relu6, "ReLU|relu|hardswish"),
    ("cra.gates", gates_frozen, "gradient"),
    ("cra.apply_gates", gates_one_minus, "one minus"),
    ("network.space_to_depth", merged_with_channels_first, "interleaved|channels"),
    ("network.run_u", skips_detached, "gradient|detach"),
    ("network.at_any_size", cropped_too_much, "axis|shape|size"),
    ("distill.average_pool", lambda x, f: solution("distill.average_pool")(x, f).mean(-1), "One axis is missing"),
    ("distill.cfd", cfd_normalized, "normalize"),
    ("distill.rank_channels", rank_by_first_image, "first entry"),
    ("training.cosine", lambda e, t, h, lo: solution("training.cosine")(e + 1, t, h, lo), "one too large"),
    ("training.bare_loop", rates_in_reverse, "`rates` is read in reverse order"),
    ("training.bare_loop", one_batch_only, "only the first part of `batches`"),
    ("training.bare_loop", sgd, "SGD|Adam|moments"),
    ("training.held_out_iou", negative_logits, "in place of `network\\(images\\) > 0`|< 0"),
    ("training.snapshot", optimizer_groups, "random"),
    ("looking.image_share", lambda g: solution("looking.image_share")(g.sigmoid()), "sigmoid"),
    ("looking.region_score", lambda z, r: solution("looking.region_score")(-z, r), "sign"),
    ("looking.integrated_gradients", normalized_to_one, "times|scale|norm|largest"),
    ("looking.deletion_curve", importance_by_row, "axis|average|order"),
    ("critique.bootstrap_pooled", first_resample_only, "first entry along axis 0 of `draws`"),
    ("critique.permutation_p", t_test, "permutation|sign|t test|arrange"),
    ("intervention.record", recorded_names_only, "expected a dict"),
    ("intervention.transfer", transfer_then_average, "average"),
    ("intervention.same_size", same_size_by_shuffle, "normal|permut|shuffl|numbers"),
    ("intervention.recovered", lambda c, k, p: (p - k) / (c - k).mean(), "mean|average"),
]


# --- right answers ---------------------------------------------------------------------------------------------------


class Mask:
    """A callable with a state that doesn't matter."""

    def __init__(self):
        self.calls = 0

    def __call__(self, probability, threshold):
        self.calls += 1
        return torch.logical_not(probability < threshold)


def squeeze_view(x):
    return x.permute(0, 3, 1, 2).flatten(2).mean(-1)


def outer(curve):
    def inner(progress, period, high, low):
        return curve(progress / period) * (high - low) + low

    return inner


def routes_transposed(height, width):
    index = torch.tensor([[i, j] for i in range(height) for j in range(width)])
    down = torch.tensor([[i, j] for j in range(width) for i in range(height)])
    table = torch.stack([p[:, 0] * width + p[:, 1] for p in (index, down)])
    return torch.cat([table, table.flip(1)])


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


def confusion_lists(prediction, truth):
    rows = []
    for p, t in zip(prediction.tolist(), truth.tolist(), strict=True):
        pairs = [(a, b) for x, y in zip(p, t, strict=True) for a, b in zip(x, y, strict=True)]
        rows.append([pairs.count(k) for k in ((True, True), (True, False), (False, True), (False, False))])
    return torch.tensor(rows)


def mixing_by_groups(x, fc1, dwconv, fc2):
    t = fc1(x)
    y = F.conv2d(t.movedim(-1, 1), dwconv.weight, dwconv.bias, padding="same", groups=t.shape[-1])
    return fc2(F.gelu(t + y.movedim(1, -1)))


def share_by_eigenvalues(m):
    values = torch.linalg.eigvalsh(m.double() @ m.double().T)
    return values[-1] / values.sum()


def shuffled_by_argsort(x, generator):
    order = torch.argsort(torch.rand(x.shape[1] * x.shape[2], generator=generator))
    return x.reshape(len(x), -1, x.shape[-1]).index_select(1, order).reshape(x.shape)


def split_recursively(x, factor):
    c = x.shape[-1] // factor**2
    rows = [torch.cat([x[..., k * c : (k + 1) * c] for k in range(0)] or [x[..., :0]], -1)]
    del rows
    out = x.new_zeros(x.shape[0], factor * x.shape[1], factor * x.shape[2], c)
    for i in range(factor):
        for j in range(factor):
            k = i * factor + j
            out[:, i::factor, j::factor] = x[..., k * c : (k + 1) * c]
    return out


def permutation_by_matrix(a, b, signs):
    d = a - b
    far = np.abs(signs @ d) >= np.abs(d.sum())
    return (np.count_nonzero(far) + 1) / (signs.shape[0] + 1)


def lonely_by_einsum(x, delta, A, B, C, D, delta_bias):
    step = F.softplus(delta + delta_bias)
    return torch.einsum("bhwkd,bhwd,bhwkn,bhwkn->bhwd", step, x, B, C) + x * D.sum(0)


def ranked_by_normalize(x):
    return F.normalize(x.flatten(1, 2), dim=1).mean((0, 1)).sort(descending=True).indices


def turned_by_transposes(image, mask, generator):
    for _ in range(int(torch.randint(0, 4, (1,), generator=generator).item())):
        image, mask = image.transpose(1, 2).flip(1), mask.T.flip(0)
    return image, mask


def gradient_by_formula(p, y):
    f, g = 2 * (p @ y) + 1, p.sum() + y.sum() + 1
    return -(2 * y * g - f) / g**2


def implicit_in_double(delta, a, B, C):
    t = delta.double().cumsum(0)
    decay = ((t[:, None] - t).tril()[..., None] * a).exp()
    return torch.tril(torch.einsum("tn,tsn,sn,s->ts", C.double(), decay.double(), B.double(), delta.double()))


def seen_only_when_asked(network, images, pattern):
    network.requires_grad_(True)
    with observe(network, pattern) as seen, torch.inference_mode():
        network.forward(images)
    return {**seen}


RIGHT = [
    ("start.to_mask", Mask()),
    ("start.area_fraction", lambda m: torch.tensor([np.mean(each.numpy()) for each in m], dtype=torch.float32)),
    ("lesions.turn", turned_by_transposes),
    ("scores.confusion", confusion_lists),
    (
        "scores.pooled_and_mean",
        lambda c: torch.stack([solution("scores.iou")(c.sum(0)), solution("scores.iou")(c).mean()]).tolist(),
    ),
    ("loss.bce", lambda z, y: -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)).mean()),
    ("loss.dice_gradient", gradient_by_formula),
    ("ssm.selective_scan", scan_over_lists),
    ("ssm.step_size", lambda low, w, b: F.softplus(F.linear(low, w, b))),
    ("ss2d.four_routes", routes_transposed),
    ("ss2d.implicit_attention", implicit_in_double),
    ("se.squeeze", squeeze_view),
    ("se.parameters", lambda dim, ratio: (dim + dim) * (dim // ratio if dim >= ratio else 1)),
    ("se.shuffle_pixels", shuffled_by_argsort),
    ("cmn.channel_mixing", mixing_by_groups),
    ("block.lonely_scan", lonely_by_einsum),
    ("cra.rank_one_share", share_by_eigenvalues),
    ("network.depth_to_space", split_recursively),
    ("network.grid_at_the_bottom", [4, 5]),
    ("distill.rank_channels", ranked_by_normalize),
    ("training.cosine", outer(lambda part: 0.5 + 0.5 * math.cos(math.pi * part))),
    ("looking.region_score", lambda z, r: torch.stack([each[0][r].mean() for each in z])),
    ("critique.permutation_p", permutation_by_matrix),
    (
        "critique.dsc_range",
        lambda v: np.array(
            [200 * (v - 0.005) / (99.995 + v) - 0.005, 200 * (v + 0.005) / (100.005 + v) + 0.005]
        ).tolist(),
    ),
    ("intervention.recovered", lambda c, k, p: 1 - (c - p) / (c - k)),
]


@pytest.mark.parametrize(("name", "answer", "says"), WRONG, ids=[f"{i}: {w[0]}" for i, w in enumerate(WRONG)])
def test_a_wrong_answer_is_rejected_by_name(name, answer, says):
    result = lessons.check(name, answer)
    assert not result
    assert re.search(says, f"{result.message} {result.likely}"), result


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[f"{i}: {r[0]}" for i, r in enumerate(RIGHT)])
def test_an_unusual_right_answer_passes(name, answer):
    result = lessons.check(name, answer)
    assert result, result
