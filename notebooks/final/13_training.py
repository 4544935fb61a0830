"""Lesson 13, Training: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.losses import bce_dice_loss


# training.held_out_iou
def held_out_iou(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Pooled IoU of a network on images it was not trained on; images (B, 3, H, W), masks (B, 1, H, W)."""
    network.eval()
    with torch.no_grad():
        found = network(images) > 0
    truth = masks > 0.5
    return float((found & truth).sum() / (found | truth).sum())


# training.cosine
def cosine(progress: float, period: float, high: float, low: float) -> float:
    """The learning rate after `progress` epochs."""
    return low + (high - low) * (1 + math.cos(math.pi * progress / period)) / 2


# training.bare_loop
def bare_loop(new_network, batches: list[tuple[Tensor, Tensor]], rates: list[float], decay: float) -> list[float]:
    """Train `new_network()` with AdamW, one step and one rate per batch, gradients clipped to norm 1 -> the losses."""
    network = new_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    losses = []
    for (images, masks), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()  # otherwise gradients accumulate
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


# training.average
def average(mean: Tensor, weight: Tensor, decay: float) -> Tensor:
    """One step of an exponential moving average."""
    return decay * mean + (1 - decay) * weight


# training.snapshot
def snapshot(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Everything a run needs to resume: {"network", "optimizer", "random"}."""
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    return copy.deepcopy(state)
