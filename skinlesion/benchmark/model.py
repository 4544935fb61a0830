"""Seconds and memory of the whole network: inference and a training step of each preset."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.benchmark.timing import machine, median_seconds, peak_bytes
from skinlesion.losses import FeatureDistillationLoss, bce_dice_loss
from skinlesion.model.cost import count_cost
from skinlesion.scan import choose_engine
from skinlesion.zoo import create_model

# What is measured: the figures that the kit promises (name, side of the image, batch).
CASES = (("tiny", 128, 16), ("small", 128, 16), ("paper", 256, 1))

_STEP = """
import torch
from skinlesion.benchmark.model import Step
from skinlesion.zoo import create_model
step = Step(create_model({name!r}))
"""


class Step:
    """A training step: forward, the whole loss with distillation where the model has features, backward, AdamW.

    Args:
        model: it is trained.
        bf16: with matrix products and convolutions in bfloat16, as `--precision bf16-mixed`.
    """

    def __init__(self, model: nn.Module, *, bf16: bool = False) -> None:
        self.model, self.bf16 = model.train(), bf16
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def __call__(self, image: Tensor, mask: Tensor) -> None:
        """One step on images (B, 3, H, W) and masks (B, 1, H, W)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            if hasattr(self.model, "forward_features"):
                logits, features = self.model.forward_features(image)  # type: ignore[operator]
                loss = bce_dice_loss(logits.float(), mask) + FeatureDistillationLoss()(*features).total
            else:
                loss = bce_dice_loss(self.model(image).float(), mask)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def scan_share(step: Step, image: Tensor, mask: Tensor) -> float:
    """The part of a training step's time that the scan takes, forward and backward, in [0, 1]."""
    from torch.profiler import ProfilerActivity, profile

    step(image, mask)
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        step(image, mask)
    events = measured.key_averages()
    everything = sum(event.self_cpu_time_total for event in events)
    return sum(event.self_cpu_time_total for event in events if "cross_scan" in event.key) / everything


def measure_model(name: str, size: int, batch: int, *, memory: bool = True, budget: float = 5.0) -> dict[str, Any]:
    """Cost, seconds per image and peak memory of one model.

    Args:
        name: a model of the registry.
        size: side of the square image.
        batch: images at once.
        memory: also run a training step in a process of its own to read its peak memory.
        budget: seconds to spend on each timing.

    Returns:
        The cost (see `count_cost`), seconds of inference and of a step, the scan's share of a step; under "bf16" the
        same seconds with matrix products in bfloat16, and the largest change of a probability that this causes.
    """
    model = create_model(name)
    image = torch.rand(batch, 3, size, size)
    mask = F.interpolate(torch.rand(batch, 1, 4, 4), size=size).round()
    timings: list[dict[str, float]] = []
    answers: list[Tensor] = []
    for bf16 in (False, True):
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            answers.append(model(image).float().sigmoid())
            inference = median_seconds(lambda: model(image), budget=budget)
        # Another network to train: both answers must come from the same weights.
        step = Step(create_model(name), bf16=bf16)
        seconds = median_seconds(lambda step=step: step(image, mask), budget=budget)  # type: ignore[misc]
        timings.append(
            {
                "inference_seconds_per_image": inference / batch,
                "step_seconds_per_image": seconds / batch,
                "scan_share_of_step": scan_share(step, image, mask),
            }
        )
    result: dict[str, Any] = {
        "size": size,
        "batch": batch,
        **count_cost(model, size, size).to_dict(),
        **timings[0],
        "bf16": timings[1] | {"largest_change_of_a_probability": float((answers[0] - answers[1]).abs().max())},
    }
    if memory:
        shapes = f"torch.rand({batch}, 3, {size}, {size}), torch.ones({batch}, 1, {size}, {size})"
        result["step_peak_bytes"] = peak_bytes(_STEP.format(name=name), f"step({shapes})")
    return result


def benchmark_model(*, budget: float = 5.0) -> dict[str, Any]:
    """`measure_model` for every case, and the machine."""
    return {
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "engine": choose_engine(),
        "models": {name: measure_model(name, size, batch, budget=budget) for name, size, batch in CASES},
    }
