"""Plausible wrong answers to lessons 9 to 16 that no bank holds: each is rejected, and its mistake is named."""

import copy
import math
import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from skinlesion import lessons
from skinlesion.hooks import intervene, observe
from skinlesion.losses import bce_dice_loss


def solution(name):
    return lessons.solution(name).answer


# --- lesson 9 ---


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


# --- lesson 10 ---


def two_normalizations(x, conv1, bn1, conv_h, conv_w):
    f_h, f_w = (F.hardswish(bn1(conv1(z).mT).mT) for z in (x.mean(2), x.mean(1)))
    return conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()


def mode_left_behind(x, conv1, bn1, conv_h, conv_w):
    bn1.train()
    return solution("cra.gates")(x, conv1, bn1, conv_h, conv_w)


def in_evaluation_mode(x, conv1, bn1, conv_h, conv_w):
    bn1.eval()
    return solution("cra.gates")(x, conv1, bn1, conv_h, conv_w)


def stacked_profiles(x):
    return torch.cat([x.mean(2), x.mean(1)], dim=1)


def halves_of_the_positions(x, conv1, bn1, conv_h, conv_w):
    f = F.hardswish(bn1(conv1(torch.cat([x.mean(2), x.mean(1)], 1)).mT).mT)
    f_h, f_w = f.chunk(2, dim=1)
    return conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()


# --- lesson 11 ---


def pixel_unshuffled(x):
    return F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def pixel_shuffled(x, factor):
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


def always_by_two(x, factor):
    return solution("network.depth_to_space")(x, 2)


def centered_padding(network, image, multiple):
    high, wide = (-n % multiple for n in image.shape[-2:])
    sides = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
    y = network(F.pad(image, sides, mode="replicate"))
    return y[..., sides[2] : sides[2] + image.shape[-2], sides[0] : sides[0] + image.shape[-1]]


def thirty_two(network, image, multiple):
    return solution("network.at_any_size")(network, image, 32)


def shuffled_maps(maps):
    return maps[torch.randperm(len(maps))]


# --- lesson 12 ---


def teacher_changed(student, teacher, student_channels, teacher_channels):
    teacher.requires_grad_(False)
    return F.mse_loss(student[..., student_channels], teacher[..., teacher_channels])


def one_draw(student, teacher):
    order = torch.randperm(teacher.shape[-1])
    wide = order.repeat(student.shape[-1])[: student.shape[-1]]
    return (student - teacher[..., wide]).square().mean()


def pooled_without_permute(x, factor):
    return F.avg_pool2d(x, factor)


def detached_halves(x):
    return solution("distill.ifd")(x.detach())


# --- lesson 13 ---


def tensors_kept(new_network, batches, rates, decay):
    network = new_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    losses = []
    for (images, masks), rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss)
    return losses


def optimizer_made_anew(new_network, batches, rates, decay):
    network, losses = new_network().train(), []
    for (images, masks), rate in zip(batches, rates, strict=True):
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
        loss = bce_dice_loss(network(images), masks)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def clipped_by_value(new_network, batches, rates, decay):
    network, losses = new_network().train(), []
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    for (images, masks), rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def mode_forgotten(network, images, masks):
    with torch.no_grad():
        found, truth = network(images) > 0, masks > 0.5
    return float((found & truth).sum() / (found | truth).sum())


def mean_of_batches(network, images, masks):
    return float(np.mean([solution("training.held_out_iou")(network, i[None], m[None]) for i, m in zip(images, masks)]))  # noqa: B905


def numpy_state(network, optimizer):
    kept = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": np.random.RandomState().get_state(),
    }
    return copy.deepcopy(kept)


def python_state(network, optimizer):
    kept = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "random": random.getstate()}
    return copy.deepcopy(kept)


def shallow_copy(network, optimizer):
    kept = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    return copy.copy(kept)


def the_objects_themselves(network, optimizer):
    return copy.deepcopy({"network": network, "optimizer": optimizer, "random": torch.get_rng_state()})


# --- lesson 14 ---


def curve_with_graph(score, image, base, importance, points):
    place = (-importance.flatten()).argsort().argsort().view(importance.shape)
    gone = (torch.arange(points) * importance.numel() // (points - 1)).view(-1, 1, 1, 1)
    return score(torch.where(place < gone, base, image))


def image_takes_gradients(score, image, base, steps):
    image.requires_grad_()
    total = 0
    for k in range(steps):
        point = base + (k + 0.5) / steps * (image - base)
        total = total + torch.autograd.grad(score(point).sum(), point)[0]
    return ((image - base) * total / steps).detach()[0].sum(0)


def ranks_from_zero_for_ties(a, b):
    return float(np.corrcoef(*(stats.rankdata(np.abs(x), method="min").ravel() for x in (a, b)))[0, 1])


# --- lesson 16 ---


def with_graph(network, images, pattern):
    with observe(network, pattern) as seen:
        network(images)
    return dict(seen)


def logits_with_graph(network, images, donors, pattern):
    with torch.no_grad(), observe(network, pattern) as seen:
        network(donors)
    with intervene(network, dict(seen)):
        return network(images)


def doses_added(network, images, donors, point, shares):
    given = solution("intervention.record")(network, donors, point)[point]
    with torch.no_grad():
        out = []
        for share in shares:
            with intervene(network, {point: lambda own, share=share: own + share * given}):
                out.append(network(images).mean((1, 2, 3)))
    return torch.stack(out)


def uniform_noise(change, generator):
    noise = torch.rand(change.shape, generator=generator)
    scale = change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


# Exercise, answer, what the message must say.
WRONG = [
    ("block.ss2d_branch", convolved_without_permute, "permute|channels first|channels last"),
    ("block.cm_ssm_block", normed_after, "before|after|post"),
    ("block.cm_ssm_block", added_in_place, "in place"),
    ("block.drop_path", dropped_in_place, "changes its argument `branch`"),
    ("block.drop_path", a_fixed_number, "coin|fixed|exactly|same number"),
    ("block.drop_path", lambda x, rate, g: F.dropout(x, rate), "coin|dropout"),
    ("block.parameters", lambda d, n: solution("block.parameters")(d, n) + d, "bias"),
    ("block.operations", lambda h, w, d, n: tuple(2 * v for v in solution("block.operations")(h, w, d, n)), "2 times"),
    ("block.lonely_scan", lambda *a: solution("block.lonely_scan")(*a[:5], a[5][:1].expand(4, -1), a[6]), "D"),
    ("cra.directional_means", stacked_profiles, "expected a tuple|two"),
    ("cra.gates", two_normalizations, "two normal|normalized? (once|together|apart)|one normalization"),
    ("cra.gates", mode_left_behind, "mode"),
    ("cra.gates", in_evaluation_mode, "mode"),
    ("cra.gates", halves_of_the_positions, "chunk|halves|H rows|split"),
    ("cra.apply_gates", lambda x, h, w: x * h[:, :, None].mul_(1.0) * w[:, None].detach(), "gradient"),
    ("cra.rank_one_share", lambda m: torch.linalg.eigvals(m @ m.T).abs().max() / m.abs().sum(), "square|energy|sum"),
    ("network.space_to_depth", pixel_unshuffled, "interleaved|together|channel"),
    ("network.depth_to_space", pixel_shuffled, "channel"),
    ("network.depth_to_space", always_by_two, "factor"),
    ("network.at_any_size", centered_padding, "below|right|both sides|corner"),
    ("network.at_any_size", thirty_two, "multiple"),
    ("network.transplant", shuffled_maps, "keeps its own map"),
    ("network.skeleton", lambda d: solution("network.skeleton")(d) - 1, "bias"),
    ("distill.average_pool", pooled_without_permute, "axes|axis|channels"),
    ("distill.cfd", teacher_changed, "requires_grad"),
    ("distill.expected_cfd", one_draw, "draw|random|closed form"),
    ("distill.rank_channels", lambda x: solution("distill.rank_channels")(x).float(), "int"),
    ("distill.ifd", detached_halves, "gradient"),
    ("distill.redundancy", lambda x: torch.corrcoef(x.flatten(0, 2).T).abs().mean(), "diagonal"),
    (
        "training.cosine",
        lambda e, t, h, lo: lo + (h - lo) * (1 + math.cos(math.pi * e / 180 / t)) / 2,
        "degrees|radian|pi",
    ),
    ("training.bare_loop", tensors_kept, "graph"),
    ("training.bare_loop", optimizer_made_anew, "optimizer|moments"),
    ("training.bare_loop", clipped_by_value, "norm|value"),
    ("training.held_out_iou", mode_forgotten, r"\.eval\(\)"),
    ("training.held_out_iou", mean_of_batches, "mean of the images"),
    ("training.average", lambda m, w, d: torch.lerp(m, w, d), "swapped"),
    ("training.snapshot", numpy_state, "NumPy"),
    ("training.snapshot", python_state, "Python"),
    ("training.snapshot", shallow_copy, "Copy"),
    ("training.snapshot", the_objects_themselves, "state_dict"),
    ("looking.image_share", lambda g: g.var(0).mean() / g.var(), "correction|n - 1"),
    ("looking.region_score", lambda z, r: (z[:, 0] * r).mean((1, 2)), "whole image|pixels of the region|region"),
    ("looking.integrated_gradients", image_takes_gradients, "requires_grad"),
    ("looking.deletion_curve", curve_with_graph, "graph|no_grad"),
    ("looking.rank_similarity", ranks_from_zero_for_ties, "ties|mean of their ranks|share"),
    (
        "critique.dsc_range",
        lambda v: (round(200 * v / (100 + v), 2) - 0.005, round(200 * v / (100 + v), 2) + 0.005),
        "IoU",
    ),
    ("critique.bootstrap_pooled", lambda c, d: c[d].sum(1)[:, 0] / c[d].sum(1).sum(1), "TN"),
    (
        "critique.permutation_p",
        lambda a, b, s: float((abs((s * (a - b)).mean(1)) > abs((a - b).mean())).mean()),
        "observed",
    ),
    ("critique.runs_needed", lambda d, s: round(2 * (2.8 * s / d) ** 2), "[Rr]ound up"),
    ("critique.runs_needed", lambda d, s: 2 * (2.8 * s / d) ** 2, "[Rr]ound"),
    ("intervention.record", with_graph, "graph|no_grad"),
    ("intervention.transfer", logits_with_graph, "graph|no_grad"),
    ("intervention.recovered", lambda c, k, p: (c - p) / (c - k), "missing|share"),
    ("intervention.dose", doses_added, "added"),
    ("intervention.same_size", uniform_noise, "normal|direction"),
]


@pytest.mark.parametrize(("name", "answer", "says"), WRONG, ids=[f"{i}: {w[0]}" for i, w in enumerate(WRONG)])
def test_a_wrong_answer_is_rejected_by_name(name, answer, says):
    result = lessons.check(name, answer)
    assert not result
    assert re.search(says, f"{result.headline} {result.message} {result.likely}"), result
