"""A second set of plausible wrong answers, written after the checks were mended for the first one."""

import copy
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn
from torch.utils.checkpoint import checkpoint

from skinlesion import lessons
from skinlesion.hooks import intervene, observe
from skinlesion.losses import bce_dice_loss
from skinlesion.scan.reference import four_routes, selective_scan


def solution(name):
    return lessons.solution(name).answer


def covered_by_median(image, mask):
    return torch.where(mask[..., None], image[~mask].median(dim=0).values, image)


def covered_by_row(image, mask):
    outside = (~mask)[..., None].float()
    color = (image * outside).sum(1, keepdim=True) / outside.sum(1, keepdim=True).clamp(min=1)
    return torch.where(mask[..., None], color, image)


def percentiles(image):
    x = image.astype(np.float32)
    low, high = np.percentile(x, (1, 99)).astype(np.float32)
    return np.clip((x - low) / max(high - low, np.float32(1)), 0, 1)


def row_by_row_agreement(a, b):
    both, either = (a & b).sum(2), (a | b).sum(2)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).mean(1)


def flipped_instead(image, mask, generator):
    if torch.rand((), generator=generator) < 0.5:
        return image.flip(-1), mask.flip(-1)
    return image, mask


def three_turns_at_most(image, mask, generator):
    quarters = int(torch.randint(1, 4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


def standardized_first(image, images, masks):
    def centered(x):
        return x - x.mean((-1, -2), keepdim=True)

    return masks[(centered(images) - centered(image)).square().sum((1, 2, 3)).argmin()]


def names_sorted_not_drawn(lesion, fraction, generator):
    names = sorted(set(lesion))
    chosen = set(names[: round(fraction * len(names))])
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def truncated_count(lesion, fraction, generator):
    names = sorted(set(lesion))
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: int(fraction * len(names))]}
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def iou_of_the_mean(counts):
    total = counts.double().mean(0)
    return float(total[0] / total[:3].sum()), float((counts[:, 0] / counts[:, :3].sum(1).clamp(min=1)).mean())


def bce_per_image(logits, target):
    each = target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    return each.sum((1, 2, 3)).mean()


def bce_by_library(logits, target):
    return F.binary_cross_entropy_with_logits(logits, target)


def dice_channels_apart(logits, target):
    p = logits.sigmoid()
    overlap, area = (p * target).sum((1, 3)), (p + target).sum((1, 3))
    return 1 - ((2 * overlap + 1) / (area + 1)).mean()


def field_with_jump(layers):
    side, step = 1, 1
    for kernel, stride in layers:
        side = side * stride + kernel - stride
        step *= stride
    return side


def decoder_from_the_top(x, encoder, up, decoder):
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(x)
    for i in range(len(up)):
        x = decoder[-1 - i](torch.cat([skips[-2 - i], up[i](x)], 1))
    return x


def share_of_the_largest(gradient, fraction):
    share = gradient.abs().sum(0)
    share = share / share.max()
    rows = (torch.arange(share.shape[0]) - share.shape[0] // 2).abs()
    columns = (torch.arange(share.shape[1]) - share.shape[1] // 2).abs()
    distance = torch.maximum(rows[:, None], columns)
    return next((2 * r + 1 for r in range(99) if share[distance <= r].sum() >= fraction), 0)


def per_image_correlation(features):
    return torch.stack([solution("unet.likeness")(each[None]) for each in features]).mean()


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


def natural_on_one_side(lengths, seconds):
    x, y = lengths.double().log10(), seconds.double().log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def prefix_in_place(combine, a, b):
    reach = 1
    while reach < a.shape[1]:
        new_a, new_b = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        with torch.no_grad():
            a[:, reach:], b[:, reach:] = new_a, new_b
        reach *= 2
    return b


def chunk_state_twice(part, u, delta, A, B, C, size):
    h, out = u.new_zeros(u.shape[0], u.shape[2], A.shape[1]), []
    for t in range(0, u.shape[1], size):
        window = slice(t, min(t + size, u.shape[1] - 1))
        y, h = checkpoint(part, h, u[:, window], delta[:, window], A, B[:, window], C[:, window], use_reentrant=False)
        out.append(y)
    return torch.cat(out, 1)


def gate_with_mean_norm(mean, fc1, fc2):
    mean = (mean - mean.mean(-1, keepdim=True)) / (mean.std(-1, keepdim=True) + 1e-5)
    return torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)


def gate_kept_with_axes(x, fc1, fc2):
    s = torch.sigmoid(torch.relu(x.mean((1, 2), keepdim=True) @ fc1.T) @ fc2.T)
    return x * s, s


def squeezed_by_ceiling(dim, ratio):
    return 2 * dim * -(-dim // ratio)


def blocks_of_rows(x, generator):
    line = x.flatten(1, 2)
    shift = int(torch.randint(1, line.shape[1], (), generator=generator))
    return line.roll(shift, 1).view_as(x)


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


def merged_clockwise(x):
    parts = (x[:, 0::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2], x[:, 1::2, 0::2])
    return torch.cat(parts, dim=-1)


def skip_halved(x, encoder, merging, skips, expanding, decoder):
    kept = []
    for i, stage in enumerate(encoder):
        if i:
            x = merging[i - 1](x)
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i:
            x = expanding[i - 1]((x + skips[len(kept) - i](kept[-i])) / 2)
        x = stage(x)
    return x


def skip_added_to_itself(x, encoder, merging, skips, expanding, decoder):
    kept = []
    for i, stage in enumerate(encoder):
        if i:
            x = merging[i - 1](x)
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i:
            skip = kept[-i]
            x = expanding[i - 1](x + skip + skips[len(kept) - i](skip))
        x = stage(x)
    return x


def reflected(network, image, multiple):
    high, wide = (-n % multiple for n in image.shape[-2:])
    padded = F.pad(
        image, (0, wide, 0, high), mode="reflect" if max(high, wide) < min(image.shape[-2:]) else "replicate"
    )
    return network(padded)[..., : image.shape[-2], : image.shape[-1]]


def halves_exchanged(maps):
    half = len(maps) // 2
    return torch.cat([maps[half : 2 * half], maps[:half], maps[2 * half :]])


def both_move(student, teacher, student_channels, teacher_channels):
    return (student[..., student_channels] - teacher[..., teacher_channels]).square().mean()


def cfd_per_image(student, teacher, student_channels, teacher_channels):
    gap = student[..., student_channels] - teacher.detach()[..., teacher_channels]
    return gap.square().flatten(1).sum(1).mean()


def ranked_by_norm(x):
    return x.square().sum((1, 2)).sqrt().mean(0).argsort(descending=True)


def ifd_with_middle_lost(x):
    order, half = solution("distill.rank_channels")(x), x.shape[-1] // 2
    return F.mse_loss(x[..., order[: half - 1]], x[..., order[half:-1]])


def stepped_before_clip(new_network, batches, rates, decay):
    network, losses = new_network().train(), []
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    for (images, masks), rate in zip(batches, rates, strict=True):
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.param_groups[0]["lr"] = rate
        losses.append(loss.item())
    return losses


def loss_after_the_step(new_network, batches, rates, decay):
    network, losses = new_network().train(), []
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    for (images, masks), rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        bce_dice_loss(network(images), masks).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(bce_dice_loss(network(images), masks).item())
    return losses


def decay_forgotten(new_network, batches, rates, decay):
    return solution("training.bare_loop")(new_network, batches, rates, 0.01)


def probability_over_one_half(network, images, masks):
    network.eval()
    found = F.softmax(network(images), dim=1) > 0.5
    return float((found & (masks > 0.5)).sum() / (found | (masks > 0.5)).sum())


def all_the_same_memory(network, optimizer):
    return {
        "network": {k: v.detach() for k, v in network.state_dict().items()},
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "random": torch.get_rng_state(),
    }


def region_by_index(logits, region):
    return logits[:, 0].flatten(1)[:, : int(region.sum())].mean(1)


def gradient_of_mean_score(score, image, base, steps):
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(way).mean(), way)
    return ((image - base)[0] * slope.mean(0)).sum(0)


def channels_not_added(score, image, base, steps):
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(way).sum(), way)
    return ((image - base)[0] * slope.mean(0)).mean(0)


def ranks_of_signed_halves(a, b):
    return float(stats.kendalltau(np.abs(a).ravel(), np.abs(b).ravel()).statistic)


def bootstrap_of_sums(counts, draws):
    total = counts[draws].sum(1)
    return (2 * total[:, 0] / (2 * total[:, 0] + total[:, 1] + total[:, 2])) / 2


def recorded_in_training_mode(network, images, pattern):
    network.train()
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return dict(seen)


def donors_reversed(network, images, donors, pattern):
    return solution("intervention.transfer")(network, images, donors.flip(0), pattern)


def noise_of_the_largest_value(change, generator):
    noise = torch.randn(change.shape, generator=generator)
    scale = change.flatten(1).abs().amax(1) / noise.flatten(1).abs().amax(1)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


def dose_in_probability(network, images, donors, point, shares):
    given = solution("intervention.record")(network, donors, point)[point]
    out = []
    for share in shares:
        mixed = {point: lambda own, share=share: own + share * (given - own)}
        with torch.no_grad(), intervene(network, mixed):
            out.append(network(images).sigmoid().mean((1, 2, 3)))
    return torch.stack(out)


# Exercise, answer, what the message must say.
WRONG = [
    ("start.to_mask", lambda p, t: p >= p.mean(), "threshold"),
    ("start.area_fraction", lambda m: m.float().mean((1, 2)) * 100, "100"),
    ("start.cover", covered_by_median, "median|mean"),
    ("start.cover", covered_by_row, "Along axis 0"),
    ("lesions.normalize", percentiles, "percentile|extremes|outlier|clip|close"),
    ("lesions.agreement", row_by_row_agreement, "row|mean"),
    ("lesions.turn", flipped_instead, "rotated"),
    ("lesions.turn", three_turns_at_most, "Never drawn: 0"),
    ("lesions.remember", standardized_first, ""),
    ("lesions.whole_lesions", names_sorted_not_drawn, "always the same"),
    ("lesions.whole_lesions", truncated_count, "round"),
    (
        "scores.confusion",
        lambda p, t: torch.tensor([(p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum()]),
        "over all images together",
    ),
    ("scores.pooled_and_mean", iou_of_the_mean, "0/0|without a lesion|empty|no lesion"),
    ("loss.bce", bce_per_image, "sum"),
    ("loss.bce", bce_by_library, "write it"),
    ("loss.dice", dice_channels_apart, "row|column|axes|pixels|image"),
    ("loss.dice_gradient", lambda p, y: solution("loss.dice_gradient")(p, y).mean(), "shape|one number"),
    ("unet.field", field_with_jump, "stride|step|order|end"),
    ("unet.forward", decoder_from_the_top, "in reverse order"),
    ("unet.side_holding", share_of_the_largest, "total|largest|sum"),
    ("unet.likeness", per_image_correlation, "image"),
    ("ssm.discretize", trapezoid, "bilinear|trapez|Tustin|zero-order|exponential"),
    ("ssm.recurrence", forgets_after_each_step, "memory|remember|state"),
    ("ssm.selective_scan", rates_of_the_first_channel, "first entry along axis 0 of `A`"),
    ("ssm.step_size", transposed_low, "order|backward|bias"),
    ("ssm.initial_steps", common_logarithm, "range from|logarithm"),
    ("ss2d.four_routes", columns_first_routes, "order"),
    ("ss2d.cross_scan", one_grid_for_the_batch, "batch|axis 0|image"),
    ("ss2d.cross_merge", merged_by_last, "writes over"),
    ("ss2d.cross_selective_scan", scan_without_own_bias, "bias"),
    ("ss2d.implicit_attention", attention_strictly_before, "diagonal|own"),
    ("fast_scan.growth", natural_on_one_side, "log"),
    ("fast_scan.prefix", prefix_in_place, "in place"),
    ("fast_scan.chunked", chunk_state_twice, "last|token|length|shape"),
    ("se.gate", gate_with_mean_norm, "normal|mean"),
    ("se.forward", gate_kept_with_axes, "keepdim"),
    ("se.parameters", squeezed_by_ceiling, "in place of `dim // ratio`"),
    ("se.shuffle_pixels", blocks_of_rows, "shift|order|random|neighbors|roll"),
    ("cmn.depthwise", dilated, "dilat|further|neighbor|edge"),
    ("cmn.depthwise", conv_by_library, "nine shifts"),
    ("cmn.channel_mixing", dropout_in_between, "another result|random"),
    ("cmn.influence", influence_of_mean, "middle|one output pixel|all pixels|mean"),
    ("block.ss2d_branch", silu_after_scan, "SiLU"),
    ("block.ss2d_branch", gelu_gate, "gelu"),
    ("block.cm_ssm_block", branch_twice, r"\+ cmn\(norm2\(x\)\) \+ cmn"),
    ("block.drop_path", drop_with_own_seed, "same images|seed"),
    ("block.parameters", parameters_without_ceiling, "round|rank|multiple"),
    ("block.lonely_scan", lonely_with_state, "remember|neighbor|length 1|scan"),
    ("cra.gates", profiles_concatenated_by_channel, "swapped"),
    ("cra.gates", hard_sigmoid_gates, "sigmoid"),
    ("cra.gates", normalized_over_positions, "normaliz"),
    ("cra.apply_gates", gate_of_rows_twice, "column|gate_w|shape"),
    ("network.space_to_depth", merged_clockwise, "order"),
    ("network.run_u", skip_halved, "/ 2` in place of"),
    ("network.run_u", skip_added_to_itself, "skip"),
    ("network.at_any_size", reflected, "mirror|reflect|edge|repeat"),
    ("network.transplant", halves_exchanged, "keeps its own"),
    ("distill.cfd", both_move, "teacher|gradient"),
    ("distill.cfd", cfd_per_image, "sum"),
    ("distill.rank_channels", ranked_by_norm, "norm|mean"),
    ("distill.ifd", ifd_with_middle_lost, ""),
    ("training.bare_loop", stepped_before_clip, "rate"),
    ("training.bare_loop", loss_after_the_step, "after"),
    ("training.bare_loop", decay_forgotten, "decay"),
    ("training.held_out_iou", probability_over_one_half, ""),
    ("training.average", lambda m, w, d: d * m + (1 - d) * w.mean(), "mean|axis|average"),
    ("training.snapshot", all_the_same_memory, "Copy"),
    ("looking.image_share", lambda g: g.mean(0).var(correction=0) / g.var(correction=0), "rest|channel"),
    ("looking.region_score", region_by_index, ""),
    ("looking.integrated_gradients", gradient_of_mean_score, "mean|times"),
    ("looking.integrated_gradients", channels_not_added, "mean|times"),
    ("looking.rank_similarity", ranks_of_signed_halves, "Kendall|Pearson|ranks"),
    ("critique.dsc_range", lambda v: (200 * v / (100 + v) - 0.01, 200 * v / (100 + v) + 0.01), "IoU|rounded"),
    ("critique.bootstrap_pooled", bootstrap_of_sums, "in place of"),
    (
        "critique.permutation_p",
        lambda a, b, s: float(((s * (a - b)).mean(1) >= abs((a - b).mean())).mean()),
        "",
    ),
    ("critique.runs_needed", lambda d, s: math.ceil((1.96 + 0.84) ** 2 * 2 * s / d), "squared"),
    ("intervention.record", recorded_in_training_mode, "mode"),
    ("intervention.transfer", donors_reversed, "donor|order|image"),
    ("intervention.recovered", lambda c, k, p: (p - k) / (c - k + 1e-1), "close|constant"),
    ("intervention.same_size", noise_of_the_largest_value, "norm"),
    ("intervention.dose", dose_in_probability, "logit|sigmoid"),
]


@pytest.mark.parametrize(("name", "answer", "says"), WRONG, ids=[f"{i}: {w[0]}" for i, w in enumerate(WRONG)])
def test_a_wrong_answer_is_rejected_by_name(name, answer, says):
    result = lessons.check(name, answer)
    assert not result
    assert re.search(says, f"{result.headline} {result.message} {result.likely}"), result
