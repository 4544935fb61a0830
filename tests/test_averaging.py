"""The mean of checkpoints: of a run's best and last epoch, in the order given, and what has no mean."""

from pathlib import Path

import pytest
import torch

from skinlesion import SkinlesionError, create_model
from skinlesion.averaging import average_checkpoints
from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.cli import main

CARD = {"preprocessing": {"size": [32, 32], "normalize": "minmax"}, "command": "skinlesion train", "temperature": 2.0}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for seed in range(3):
        torch.manual_seed(seed)
        save_checkpoint(path := tmp_path / f"{seed}.safetensors", create_model("unet", dim=4), CARD)
        paths.append(path)
    return paths


def test_each_weight_is_the_mean(files: list[Path], tmp_path: Path) -> None:
    assert main(["average", *map(str, files), "--out", str(tmp_path / "mean.safetensors")]) == 0
    states = [load_checkpoint(path)[0].state_dict() for path in files]
    model, card = load_checkpoint(tmp_path / "mean.safetensors")
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            expected = sum(state[name].double() for state in states) / 3
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)  # stored in float32
    assert card["command"] == "skinlesion average 0.safetensors 1.safetensors 2.safetensors"
    assert card["origin"]["command"] == "skinlesion train"
    assert "temperature" not in card  # it was fitted to another network


@pytest.mark.slow
def test_the_last_epoch_of_a_run_counts_too(tmp_path: Path, lesions: Path) -> None:
    out = tmp_path / "run"
    options = ["--preset", "tiny", "--model", "dim=16", "--size", "32", "--batch-size", "4", "--epochs", "1"]
    data = ["--data", "folder", "--root", str(lesions), "--ema", "0.5", "--device", "cpu", "--no-estimate"]
    assert main(["train", *options, *data, "--out", str(out)]) == 0
    last = out / "checkpoints" / "last.ckpt"
    average_checkpoints([out, last], tmp_path / "mean.safetensors")  # one epoch: best and last are the same
    best, mean = (load_checkpoint(path)[0].state_dict() for path in (out, tmp_path / "mean.safetensors"))
    for name, value in best.items():
        torch.testing.assert_close(mean[name], value, rtol=1e-6, atol=1e-7)
    last.write_bytes(b"nothing")
    with pytest.raises(SkinlesionError):
        average_checkpoints([out, last], tmp_path / "again.safetensors")
    assert not (tmp_path / "again.safetensors").exists()


def test_what_has_no_mean(files: list[Path], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "other.safetensors", create_model("unet", dim=8), CARD)
    with pytest.raises(SkinlesionError, match="a different network"):
        average_checkpoints([files[0], tmp_path / "other.safetensors"], tmp_path / "x.safetensors")
    with pytest.raises(SkinlesionError, match="at least two"):
        average_checkpoints(files[:1], tmp_path / "x.safetensors")
    assert main(["average", str(files[0]), str(files[1]), "--out", str(files[2])]) == 2  # never over a file
