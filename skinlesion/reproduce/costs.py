"""What the plan's systems cost on this machine: seconds and memory, all measured in one go.

Runs of a campaign share the machine with whatever else it does, so their wall time says little. Here all systems take
turns within the same minutes, on one thread, and the page quotes each as a multiple of the paper's network.
"""

import json
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from skinlesion.benchmark.timing import machine, peak_bytes, threads
from skinlesion.files import write_text
from skinlesion.model.cost import count_cost
from skinlesion.reproduce.plan import Plan
from skinlesion.reproduce.results import Results
from skinlesion.zoo import create_model

FILE = "costs.json"
ROUNDS = 7

_STEP = """
import torch
from skinlesion.reproduce.costs import TrainingStep
from skinlesion.reproduce.plan import load_plan
torch.set_num_threads(1)
step = TrainingStep(load_plan({scale!r}), {cell!r})
"""


class TrainingStep:
    """One optimizer step of a cell on random images, with the recipe's image and batch size.

    Args:
        plan: the plan.
        cell: the name of one of its cells.
    """

    def __init__(self, plan: Plan, cell: str) -> None:
        # Lightning takes seconds to import: those who only read results must not pay for it.
        from skinlesion.training.module import Batch, SegmentationModule

        config = plan.config(cell, dataset="isic2017", seed=0)
        self.module = SegmentationModule(create_model(config.preset, **config.model_options()), config)
        self.module.train()
        self.optimizer = self.module.configure_optimizers()
        count, size = config.batch_size, config.size
        self.batch = Batch(
            image=torch.rand(count, 3, size, size),
            mask=(torch.rand(count, 1, size, size) < 0.5).float(),
            id=[""] * count,
            counted=torch.ones(count, dtype=torch.bool),
        )

    def __call__(self) -> None:
        """Forward, all losses of the cell, backward, AdamW, and the average of the weights."""
        self.optimizer.zero_grad()
        self.module.losses(self.batch)["loss"].backward()
        self.optimizer.step()
        if self.module.average is not None:
            self.module.average.update(self.module.model)

    def infer(self) -> Tensor:
        """One image through the network, without gradients."""
        model = self.module.model.eval()
        with torch.inference_mode():
            answer = model(self.batch["image"][:1])
        model.train()
        return answer


def measure_costs(results: Results, scale: str, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure every cell of a plan and write it beside the results.

    Args:
        results: their folder.
        scale: where its plan came from, as `load_plan` takes it.
        rounds: how often each system takes its turn; medians are kept.

    Returns:
        What was written: the machine and, for each cell, "step_seconds" and "inference_seconds" of one image,
        "step_peak_bytes" of a batch (None anywhere but on Linux), and "cost" as `count_cost` has it.
    """
    with threads(1):
        steps = {cell: TrainingStep(results.plan, cell) for cell in results.plan.cells}
        for step in steps.values():
            step()
        turns = [{cell: _turn(step) for cell, step in steps.items()} for _ in range(rounds)]
    cells = {
        cell: {
            "step_seconds": statistics.median(turn[cell][0] for turn in turns) / len(step.batch["id"]),
            "inference_seconds": statistics.median(turn[cell][1] for turn in turns),
            "step_peak_bytes": peak_bytes(_STEP.format(scale=scale, cell=cell), "step()"),
            "cost": count_cost(step.module.model, *step.batch["image"].shape[2:]).to_dict(),
        }
        for cell, step in steps.items()
    }
    values = {"machine": machine(), "threads": 1, "rounds": rounds, "cells": cells}
    write_text(results.folder / FILE, json.dumps(values, indent=1) + "\n")
    return values


def _turn(step: TrainingStep) -> tuple[float, float]:
    """Seconds of a training step and of an inference."""
    start = time.perf_counter()
    step()
    between = time.perf_counter()
    step.infer()
    return between - start, time.perf_counter() - between


def load_costs(results: Results) -> dict[str, Any] | None:
    """What `measure_costs` wrote; None if it has not."""
    path = results.folder / FILE
    return json.loads(path.read_text("utf-8")) if path.exists() else None
