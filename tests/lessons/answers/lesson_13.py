"""Lesson 13: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import copy
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from skinlesion import lessons
from skinlesion.losses import bce_dice_loss


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


def solution(name):
    return lessons.solution(name).answer


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


def outer(curve):
    def inner(progress, period, high, low):
        return curve(progress / period) * (high - low) + low

    return inner


def another_loop(new_network, batches, rates, decay):
    network = new_network()
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: rates[min(k, len(rates) - 1)])
    losses = []
    for images, masks in batches:
        network.zero_grad()
        loss = bce_dice_loss(network(images), masks)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(network.parameters()), max_norm=1)
        optimizer.step()
        schedule.step()
        losses += [float(loss.detach())]
    return tuple(losses)


def restores_the_mode(network, images, masks):
    was = network.training
    network.eval()
    with torch.inference_mode():
        found, truth = network(images).sigmoid().round().bool(), masks.bool()
    network.train(was)
    return torch.logical_and(found, truth).sum() / torch.logical_or(found, truth).sum()


def saved_in_memory(network, optimizer):
    import io

    file = io.BytesIO()
    torch.save([network.state_dict(), optimizer.state_dict(), torch.random.get_rng_state()], file)
    file.seek(0)
    return dict(zip(("network", "optimizer", "random"), torch.load(file), strict=True))


def loop(new, batches, rates, decay, *, opt=torch.optim.AdamW, train=True, zero=True, clip=1.0, late=False, once=False):
    from skinlesion.losses import bce_dice_loss

    net = new()
    if train:
        net.train()
    o = opt(net.parameters(), lr=rates[0], weight_decay=decay)
    out = []
    for (x, y), r in zip(batches, rates, strict=False):
        if not once:
            for g in o.param_groups:
                g["lr"] = r
        loss = bce_dice_loss(net(x), y)
        if zero:
            o.zero_grad()
        loss.backward()
        if late:
            o.step()
        nn.utils.clip_grad_norm_(net.parameters(), clip)
        if not late:
            o.step()
        out.append(loss.item())
    return out


def threshold_0_5_on_logits(net, im, m):
    mode = net.training
    net.eval()
    with torch.no_grad():
        p = net(im) > 0.5
    net.train(mode)
    m = m.bool()
    return float((p & m).sum() / (p | m).sum())


def image_by_image_mean(net, im, m):
    mode = net.training
    net.eval()
    with torch.no_grad():
        p = net(im) > 0
    net.train(mode)
    m = m.bool()
    return float(((p & m).flatten(1).sum(1) / (p | m).flatten(1).sum(1)).mean())


WRONG = [
    ("training.cosine", lambda e, period, high, low: low + (high - low) * (1 + math.cos(math.pi * e / 50)) / 2, ""),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * (1 + math.cos(math.pi * (e // 1) / t)) / 2, ""),
    ("training.cosine", lambda e, t, high, low: low + high * (1 + math.cos(math.pi * e / t)) / 2, ""),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * (1 + math.cos(math.pi * e / (t - 1))) / 2, ""),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * (1 - e / t), ""),
    ("training.cosine", lambda e, t, high, low: max(low, high * math.cos(math.pi * e / 2 / t)), ""),
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
    ("training.bare_loop", stepped_before_clip, "rate"),
    ("training.bare_loop", loss_after_the_step, "after"),
    ("training.bare_loop", decay_forgotten, "decay"),
    ("training.held_out_iou", probability_over_one_half, ""),
    ("training.average", lambda m, w, d: d * m + (1 - d) * w.mean(), "mean|axis|average"),
    ("training.snapshot", all_the_same_memory, "Copy"),
    ("training.cosine", lambda e, t, h, lo: solution("training.cosine")(e + 1, t, h, lo), "one too large"),
    ("training.bare_loop", rates_in_reverse, "`rates` is read in reverse order"),
    ("training.bare_loop", one_batch_only, "only the first element of `batches`"),
    ("training.bare_loop", sgd, "SGD|Adam|moments"),
    ("training.held_out_iou", negative_logits, "in place of `network\\(images\\) > 0`|< 0"),
    ("training.snapshot", optimizer_groups, "random"),
    ("training.bare_loop", lambda *a: loop(*a, clip=0.1), "in place of `1.0`"),
    ("training.held_out_iou", threshold_0_5_on_logits, "outputs are logits"),
    ("training.held_out_iou", image_by_image_mean, "mean of the images"),
    ("training.cosine", lambda e, T, hi, lo: lo + (hi - lo) / 2 * (1 + math.sin(math.pi * e / T)), "math.sin"),
]
RIGHT = [
    ("training.cosine", lambda e, t, high, low: low + (high - low) * math.cos(math.pi * e / t / 2) ** 2),
    ("training.cosine", lambda e, t, h, low: np.float64((h + low) / 2 + (h - low) / 2 * np.cos(np.pi * e / t))),
    ("training.cosine", outer(lambda part: 0.5 + 0.5 * math.cos(math.pi * part))),
    ("training.bare_loop", another_loop),
    ("training.held_out_iou", restores_the_mode),
    ("training.average", lambda mean, weight, decay: torch.lerp(weight, mean, decay)),
    ("training.snapshot", saved_in_memory),
    (
        "training.cosine",
        lambda progress, period, high, low: float(np.interp(np.cos(np.pi * progress / period), [-1, 1], [low, high])),
    ),
    (
        "training.average",
        lambda mean, weight, decay: (
            torch.stack([mean, weight], -1) @ torch.tensor([decay, 1 - decay], dtype=mean.dtype)
        ),
    ),
]
