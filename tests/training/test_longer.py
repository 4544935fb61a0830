"""Going on with a finished run, batches in parts, places to train, and what is said when memory is full."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer

from skinlesion.errors import MachineError, SkinlesionError
from skinlesion.extend import register_engine
from skinlesion.plugins import EXTRA_ENGINES
from skinlesion.scan.reference import cross_selective_scan
from skinlesion.training import TrainConfig, train
from skinlesion.training.device import explained, find_device
from skinlesion.training.memory import build_model
from skinlesion.training.module import SegmentationModule

PLAIN = ("dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=4", "drop_path=0", "cra=false")


@pytest.fixture
def short(base: TrainConfig, tmp_path: Path) -> TrainConfig:
    return dataclasses.replace(base, epochs=2, out=tmp_path / "run")


def test_a_finished_run_goes_on_with_more_epochs(short: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(short)
    longer = dataclasses.replace(short, epochs=4, resume=True)
    second = train(longer)
    assert second.history[:2] == first.history
    assert [row["epoch"] for row in second.history] == [1, 2, 3, 4]
    assert TrainConfig.load(second.folder / "config.json").epochs == 4
    assert len(json.loads((second.folder / "result.json").read_text())["history"]) == 4
    assert second.history[2]["lr"] > second.history[3]["lr"]  # the schedule of four epochs
    capsys.readouterr()
    assert train(longer).history == second.history
    assert "already finished; to train it further, pass --epochs with a number above 4" in capsys.readouterr().out
    with pytest.raises(SkinlesionError, match="cannot be resumed with --epochs 3"):
        train(dataclasses.replace(longer, epochs=3))
    second.best.unlink()
    with pytest.raises(SkinlesionError, match=r"best\.safetensors is missing"):
        train(longer)


def test_the_command_goes_on_with_more_epochs(cli, lesions: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--preset", "tiny", "--model", *PLAIN[:4], "--size", 32, "--truth-size", 32, "--batch-size", 4]
    words += ["--images", lesions / "images", "--masks", lesions / "masks", "--no-estimate", "--device", "cpu"]
    code, _, err = cli("train", *words, "--epochs", 1, "--out", run)
    assert code == 0, err
    code, out, err = cli("train", "--resume", "--out", run, "--epochs", 2)
    assert code == 0, err
    assert "epoch 2/2" in out


def test_a_batch_in_parts_gives_the_same_steps(short: TrainConfig) -> None:
    """25 images in batches of 8 leave one over: the last batch's parts weigh as their images do."""
    plain = dataclasses.replace(short, model=PLAIN, clip=None, w_cfd=0, w_ifd=0, ema=0.9, lr=1e-3)
    whole = train(plain)
    parts = train(dataclasses.replace(plain, accumulate=4, out=short.folder.with_name("parts")))
    a, b = (torch.load(run.last, weights_only=True) for run in (whole, parts))
    assert a["global_step"] == b["global_step"]
    for name, value in a["state_dict"].items():
        if value.is_floating_point() and "val_" not in name:
            torch.testing.assert_close(b["state_dict"][name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_parts_must_divide_the_batch() -> None:
    with pytest.raises(SkinlesionError, match=r"--batch-size 10 .* --accumulate = 4"):
        TrainConfig(batch_size=10, accumulate=4)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_full_memory_says_what_takes_less(
    short: TrainConfig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(self: SegmentationModule, batch: object, batch_idx: int) -> None:
        raise error

    monkeypatch.setattr(SegmentationModule, "training_step", full)
    with pytest.raises(MachineError, match=r"Out of memory: 8 images of 32 x 32 .*--accumulate 2 .* 4 images"):
        train(short)


def test_memory_that_is_full_on_the_processor(short: TrainConfig) -> None:
    """What torch itself raises for a tensor that no machine holds."""
    with pytest.raises(SkinlesionError, match="Out of memory"), explained(short, torch.device("cpu")):
        torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match="size of tensor"), explained(short, torch.device("cpu")):
        torch.ones(2) + torch.ones(3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
@pytest.mark.parametrize(
    ("device", "message"), [("cuda", "no CUDA GPU"), ("cuda:3", "no CUDA GPU"), ("mps", "no Apple GPU")]
)
def test_a_place_that_is_not_there(short: TrainConfig, device: str, message: str) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this is a Mac")
    config = dataclasses.replace(short, device=device)
    with pytest.raises(SkinlesionError, match=f"no device {device}: .*{message}"):
        find_device(config, build_model(config))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch reports a GPU, until something is to be put there; two engines, one for each kind of device."""
    if torch.cuda.is_available():
        pytest.skip("about machines without a GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(sys.modules["skinlesion.scan.engines"], "check_gpu", lambda device, engine: None)
    for device in ("cuda", "cpu"):
        register_engine(f"for-{device}", cross_selective_scan, devices=(device,))
    yield
    for device in ("cuda", "cpu"):
        del EXTRA_ENGINES[f"for-{device}"]


def test_a_run_on_a_gpu_gets_there(gpu: None, short: TrainConfig) -> None:
    """Its scan engine is chosen while the network is still on the CPU."""
    config = dataclasses.replace(short, device="auto", engine="for-cuda")
    with pytest.raises((AssertionError, RuntimeError), match=r"CUDA enabled|NVIDIA"):
        train(config)


def test_auto_takes_the_gpu_only_for_an_engine_that_runs_there(gpu: None, short: TrainConfig) -> None:
    for engine, preset, device in (("for-cuda", "tiny", "cuda"), ("for-cpu", "tiny", "cpu"), ("cpu", "unet", "cuda")):
        config = dataclasses.replace(short, device="auto", engine=engine, preset=preset, model=())
        assert find_device(config, build_model(config)).type == device
    forced = dataclasses.replace(short, device="cuda", engine="for-cpu")
    with pytest.raises(SkinlesionError, match="'for-cpu' does not run on device 'cuda'"):
        find_device(forced, build_model(forced))
    two = dataclasses.replace(forced, engine="for-cuda", devices=2)
    with pytest.raises(SkinlesionError, match="--devices 2 needs 2 GPUs, but PyTorch finds 1"):
        find_device(two, build_model(two))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), torch.AcceleratorError("no device")])
def test_a_machine_that_fails_is_not_called_a_damaged_checkpoint(
    short: TrainConfig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    train(short)

    def full(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "fit", full)
    with pytest.raises((MachineError, torch.AcceleratorError), match=r"Out of memory: 8 images|no device"):
        train(dataclasses.replace(short, epochs=4, resume=True))


def test_one_task_of_slurm_for_two_devices_is_refused(short: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning leaves starting processes to SLURM, and would train half of each batch in one."""
    for name, value in {"JOB_ID": 1, "NTASKS": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "JOB_NAME": "run"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(SkinlesionError, match=r"need 2 processes, but 1 would run\. Under SLURM"):
        train(dataclasses.replace(short, devices=2))
    assert not short.folder.exists()


def test_devices_are_spelled_as_elsewhere_and_old_runs_are_read(tmp_path: Path) -> None:
    with pytest.raises(SkinlesionError, match="device must be auto, cpu, cuda"):
        TrainConfig(device="gpu0")
    values = TrainConfig().to_json()
    del values["device"]
    path = tmp_path / "config.json"
    for old, new in (("gpu", "cuda"), ("cpu", "cpu"), ("auto", "auto")):
        path.write_text(json.dumps(values | {"accelerator": old}))
        assert TrainConfig.load(path).device == new
    path.write_text(json.dumps(values | {"accelerator": ["gpu"]}))
    with pytest.raises(SkinlesionError, match=r"config\.json: --device must be text"):
        TrainConfig.load(path)


def test_empty_and_inverted_masks_are_warned_of(
    short: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number in range(10):
        image = np.full((16, 16, 3), 20 * number, np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
        Image.new("L", (16, 16)).save(tmp_path / "masks" / f"{number}.png")
    config = dataclasses.replace(short, root=None, images=tmp_path / "images", masks=tmp_path / "masks", epochs=1)
    train(config)
    assert "Warning: training set: All 6 masks are empty" in capsys.readouterr().out
