"""The `paper` preset in training: one step in fp32 and bf16, then the paper's recipe for the time that remains."""

import csv
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from gpu.record import Record
from gpu.speed import seconds
from skinlesion.model import set_engine
from skinlesion.training.config import TrainConfig
from skinlesion.zoo import create_model

OVERHEAD = 1.3  # of an epoch over its steps: validation, loading, checkpoints
TRAINED_IMAGES = 1350
KEPT = ("epoch", "lr", "train_loss", "val_loss", "val_iou", "val_dsc", "seconds")


def recipe(*, tiny: bool, **changes: Any) -> TrainConfig:
    """The paper's recipe; tiny: a network and images that a CPU trains in seconds."""
    small = {
        "preset": "tiny",
        "model": ("dim=8", "d_state=2"),
        "data": "synthetic",
        "synthetic_count": 20,
        "size": 32,
        "truth_size": 32,
        "batch_size": 4,
    }
    return TrainConfig(**({"preset": "paper", "data": "isic2017"} | (small if tiny else {}) | changes))


def measure_step(precision: str, device: str, *, tiny: bool) -> dict[str, float | int | str]:
    """Seconds and peak memory of one optimizer step: forward, all losses, backward, AdamW."""
    from skinlesion.training.module import Batch, SegmentationModule

    config = recipe(tiny=tiny)
    torch.manual_seed(0)
    model = create_model(config.preset, **config.model_options()).to(device)
    set_engine(model, config.engine)
    module = SegmentationModule(model, config).to(device)
    module.train()
    optimizer = module.configure_optimizers()
    if isinstance(optimizer, dict):
        optimizer = optimizer["optimizer"]
    count, size = config.batch_size, config.size
    batch = Batch(
        image=torch.rand(count, 3, size, size, device=device),
        mask=(torch.rand(count, 1, size, size, device=device) < 0.5).float(),
        id=[""] * count,
        counted=torch.ones(count, dtype=torch.bool, device=device),
    )
    context = torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()

    def step() -> None:
        optimizer.zero_grad()
        with context:
            loss = module.losses(batch)["loss"]
        loss.backward()
        optimizer.step()

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    took = seconds(step, device, budget=0.0 if tiny else 5.0, least=1 if tiny else 5, most=20)
    found: dict[str, float | int | str] = {"precision": precision, "batch": count, "size": size, "seconds": took}
    found["images_per_second"] = count / took
    if device == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found


def run_steps(record: Record, *, device: str, tiny: bool, deadline: float) -> None:
    """One training step in both precisions; what fails is written down."""
    found = record.step("training step")
    found["preset"] = recipe(tiny=tiny).preset
    found["rows"] = []
    for precision in ("fp32", "bf16"):
        if time.monotonic() > deadline:
            found["cut_off"] = True
            return
        try:
            row = measure_step(precision, device, tiny=tiny)
        except Exception as error:
            row = {"precision": precision, "error": f"{type(error).__name__}: {error}"[:400]}
        found["rows"].append(row)
        record.save()
        if device == "cuda":
            torch.cuda.empty_cache()


def epochs_that_fit(step_seconds: float | None, batch: int, remaining: float, images: int = TRAINED_IMAGES) -> int:
    """How many epochs fit into the remaining seconds, 1 to 300; 10 if no step could be measured."""
    if step_seconds is None:
        return 10
    return max(1, min(300, int(remaining / (OVERHEAD * step_seconds * (images / batch)))))


def run_training(record: Record, *, data: Path | None, device: str, tiny: bool, deadline: float) -> None:
    """Train by the paper's recipe, with one cosine over as many epochs as fit.

    Loss and validation IoU of every epoch come from the run folder's metrics.csv, which the parent process reads, so
    they are kept however this process ends.
    """
    from skinlesion.training import train

    rows = record.step("training step").get("rows", [])
    measured = {row["precision"]: row["seconds"] for row in rows if "seconds" in row}
    precision = min(measured, key=lambda name: measured[name]) if measured else "fp32"
    config = recipe(tiny=tiny)
    epochs = 2 if tiny else epochs_that_fit(measured.get(precision), config.batch_size, deadline - time.monotonic())
    found = record.step("training")
    found |= {"precision": precision, "epochs_planned": epochs, "folder": "run"}
    record.save()
    cores = os.cpu_count() or 1
    train(
        recipe(
            tiny=tiny,
            root=data,
            epochs=epochs,
            precision="bf16-mixed" if precision == "bf16" else "32",
            out=record.folder / "run",
            num_workers=0 if tiny else min(8, cores // 2),
            device="cpu" if device == "cpu" else "cuda",
            estimate=False,
        )
    )


def read_history(folder: Path) -> list[dict[str, float]]:
    """The epochs that a run folder has, complete or not."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(row[name]) for name in KEPT} for row in csv.DictReader(file)]
