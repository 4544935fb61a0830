"""Seconds and memory of the whole network: inference and a training step of each preset."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from skinlesion.benchmark.timing import machine, median_seconds, peak_bytes
from skinlesion.losses import FeatureDistillationLoss, bce_dice_loss
from skinlesion.model.cost import count_cost
from skinlesion.scan import choose_engine
from skinlesion.zoo import create_model

# What is measured: the figures that the kit promises (name, side of the image, batch).
CASES = (("tiny", 128, 16), ("small", 128, 16), ("paper", 256, 1))

_STEP = """
import torch
from skinlesion.benchmark.model import training_step
from skinlesion.zoo import create_model
model = create_model({name!r})
"""


def training_step(model: nn.Module, image: torch.Tensor, mask: torch.Tensor) -> None:
    """Forward, the whole loss with distillation where the model has features, backward."""
    if hasattr(model, "forward_features"):
        logits, features = model.forward_features(image)  # type: ignore[operator]
        loss = bce_dice_loss(logits, mask) + FeatureDistillationLoss()(*features).total
    else:
        loss = bce_dice_loss(model(image), mask)
    model.zero_grad()
    loss.backward()


def measure_model(name: str, size: int, batch: int, *, memory: bool = True, budget: float = 5.0) -> dict[str, Any]:
    """Cost, seconds an image and peak memory of one model.

    Args:
        name: a model of the registry.
        size: side of the square image.
        batch: images at once.
        memory: also run a training step in a process of its own to read its peak memory.
        budget: seconds to spend on each timing.
    """
    model = create_model(name)
    image = torch.rand(batch, 3, size, size)
    mask = F.interpolate(torch.rand(batch, 1, 4, 4), size=size).round()
    model.eval()
    with torch.inference_mode():
        inference = median_seconds(lambda: model(image), budget=budget)
    model.train()
    step = median_seconds(lambda: training_step(model, image, mask), budget=budget)
    result: dict[str, Any] = {
        "size": size,
        "batch": batch,
        **count_cost(model, size, size).to_dict(),
        "inference_seconds_per_image": inference / batch,
        "step_seconds_per_image": step / batch,
    }
    if memory:
        shapes = f"torch.rand({batch}, 3, {size}, {size}), torch.ones({batch}, 1, {size}, {size})"
        result["step_peak_bytes"] = peak_bytes(_STEP.format(name=name), f"training_step(model, {shapes})")
    return result


def benchmark_model(*, budget: float = 5.0) -> dict[str, Any]:
    """`measure_model` for every case, and the machine."""
    return {
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "engine": choose_engine(),
        "models": {name: measure_model(name, size, batch, budget=budget) for name, size, batch in CASES},
    }
