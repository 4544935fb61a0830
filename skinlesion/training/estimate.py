"""How long a run will take, measured before it starts."""

import math
import time
from typing import NamedTuple

import torch

from skinlesion.data.datamodule import SegmentationData
from skinlesion.training.module import Batch, SegmentationModule
from skinlesion.training.trial import autocast, build_probe

_STEPS = 4
_BUDGET = 20.0  # seconds; a slow step is believed at once


class Estimate(NamedTuple):
    """Seconds per training step, steps per epoch, and seconds per pass over the validation set."""

    step: float
    steps: int
    validation: float

    @property
    def epoch(self) -> float:
        """Seconds per epoch."""
        return self.step * self.steps + self.validation


def measure(module: SegmentationModule, data: SegmentationData, device: torch.device) -> Estimate:
    """Time a few steps and a validation batch on the real data.

    They run on a probe, and torch's random state is restored: the run is the same as without the measurement.

    Args:
        module: not changed.
        data: must already be prepared.
        device: the run's device.
    """
    gpu = device.type == "cuda"  # where the first step compiles for up to a minute, and says nothing about the others
    with torch.random.fork_rng(devices=[device] if gpu else []):
        probe = build_probe(module, device).train()
        optimizer = probe.configure_optimizers()
        loader = data.train_dataloader()
        times: list[float] = []
        start = time.perf_counter()
        for batch in loader:
            _step(probe, batch, optimizer, device)
            end = time.perf_counter()
            times.append(end - start)
            if len(times) > _STEPS or sum(times[gpu:]) > _BUDGET:
                break
            start = end
        # The first step also compiles, allocates and starts workers, unless there was time for no other.
        usual = times[1:] or times
        validation_loader = data.val_dataloader()
        batch = next(iter(validation_loader))
        with torch.inference_mode(), autocast(probe, device):
            for _ in range(1 + gpu):
                start = time.perf_counter()
                probe.eval().shipped(batch["image"].to(device)).sum().item()
        validation = (time.perf_counter() - start) * math.ceil(len(validation_loader))
    return Estimate(sorted(usual)[len(usual) // 2], len(loader), validation)


def _step(probe: SegmentationModule, batch: Batch, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    image, mask = batch["image"].to(device), batch["mask"].to(device)
    with autocast(probe, device):
        loss = probe.losses({**batch, "image": image, "mask": mask})["loss"]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()  # waits for a GPU
