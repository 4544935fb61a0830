"""Two real processes against one, on the CPU, at the same global batch."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from skinlesion.training import RunResult, TrainConfig, train

SCRIPT = """
import json, sys
from skinlesion.training import TrainConfig, train

if __name__ == "__main__":
    train(TrainConfig.from_json(json.loads(sys.argv[1])))
"""
SCORES = ("val_loss", "val_iou", "val_dsc", "val_accuracy", "train_loss", "grad_norm")


def train_on_two(config: TrainConfig, folder: Path) -> TrainConfig:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    config = dataclasses.replace(config, out=folder / "two", devices=2)
    command = [sys.executable, str(script), json.dumps(config.to_json())]
    done = subprocess.run(command, check=True, timeout=240, capture_output=True, text=True)
    assert "pytorch_lightning" not in done.stderr  # no library's chatter
    assert done.stdout.count("epoch 1/") == 1  # one process speaks
    return config


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def history(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "result.json").read_text())["history"]


@pytest.mark.slow
def test_two_processes_train_the_network_that_one_trains(base, tmp_path):
    """Without what depends on its own images (batch normalization, ranked halves) or draws (drop path)."""
    model = (*base.model, "cra=false", "drop_path=0")
    config = dataclasses.replace(base, model=model, w_ifd=0, epochs=2, device="cpu")
    one: RunResult = train(dataclasses.replace(config, out=tmp_path / "one"))
    two = train_on_two(config, tmp_path)
    for row, other in zip(one.history, history(two.folder), strict=True):
        for name in SCORES:
            assert other[name] == pytest.approx(row[name], rel=1e-3, abs=1e-4), name
    a, b = state(one.folder), state(two.folder)
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
def test_two_processes_stay_close_with_batch_normalization_and_ranked_halves(base, tmp_path):
    config = dataclasses.replace(base, model=(*base.model, "drop_path=0"), epochs=1, device="cpu", ema=None, lr=3e-4)
    one = train(dataclasses.replace(config, out=tmp_path / "one"))
    two = train_on_two(config, tmp_path)
    (row,), (other,) = one.history, history(two.folder)
    for name in ("val_loss", "train_loss", "val_accuracy"):
        assert other[name] == pytest.approx(row[name], rel=0.05), name
    # The mean of two halves' means is the mean of the whole: the running mean is not that of one process only.
    a, b = state(one.folder), state(two.folder)
    names = [name for name in a if name.endswith("running_mean")]
    assert names
    for name in names:
        torch.testing.assert_close(b[name], a[name], rtol=0.02, atol=1e-3)


@pytest.mark.slow
def test_torchrun_starts_the_processes_too(base, tmp_path):
    config = dataclasses.replace(base, epochs=1, device="cpu", devices=2, out=tmp_path / "run")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, json.dumps(config.to_json())], check=True, timeout=240, capture_output=True, text=True
    )
    assert done.stdout.count("epoch 1/") == 1
    assert len(history(config.folder)) == 1
