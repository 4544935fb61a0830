import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from skinlesion.checkpoint import load_checkpoint, tensors_hash
from skinlesion.data import splits
from skinlesion.errors import SkinlesionError
from skinlesion.training import RunResult, TrainConfig, train
from skinlesion.training.module import SegmentationModule

# Trains as asked and dies of SIGKILL in the middle of an epoch.
DYING_RUN = """
import json, os, signal, sys
from skinlesion.training import TrainConfig, train
from skinlesion.training.module import SegmentationModule

step = SegmentationModule.training_step

def dying_step(self, batch, batch_idx):
    if self.trainer.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

SegmentationModule.training_step = dying_step
train(TrainConfig.from_json(json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def finished(base: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run that nothing disturbed."""
    return train(dataclasses.replace(base, out=tmp_path_factory.mktemp("runs") / "finished", estimate=True))


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After five steps the first layer's weights are so large that its output overflows."""
    start = SegmentationModule.on_train_batch_start

    def break_then_start(self: SegmentationModule, batch: object, batch_idx: int) -> None:
        if self.trainer.global_step == 5:
            with torch.no_grad():
                self.model.embedding.projection.weight.fill_(3e38)
        start(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationModule, "on_train_batch_start", break_then_start)
    return


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    """The same metrics, and bit by bit the same weights, averages, optimizer and generator."""
    assert rows(one) == rows(other)
    a, b = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (one, other))
    assert a["global_step"] == b["global_step"]
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for name, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][name]), name
    for index, state in a["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b["optimizer_states"][0]["state"][index][name])
    best, other_best = load_file(one / "best.safetensors"), load_file(other / "best.safetensors")
    assert all(torch.equal(value, other_best[name]) for name, value in best.items())


def test_run_folder_says_what_was_done(finished, base, capsys):
    folder = finished.folder
    assert TrainConfig.load(folder / "config.json") == dataclasses.replace(base, out=folder, estimate=True)
    manifest = splits.Manifest.load(folder / "manifest.json")
    (environment,) = json.loads((folder / "environment.json").read_text())
    assert environment["scan_engine"] == "cpu"
    assert environment["packages"]["torch"] == metadata.version("torch")
    assert environment["torch_threads"] == torch.get_num_threads()
    table = rows(folder)
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    assert float(table[0]["lr"]) == pytest.approx(base.lr)
    for row in table:
        assert float(row["train_loss"]) == pytest.approx(
            0.3 * float(row["train_bce"])
            + 0.7 * float(row["train_dice"])
            + 0.015 * (float(row["train_cfd"]) + float(row["train_ifd"])),
            rel=1e-4,
        )
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events*"))
    assert not list(folder.rglob("*.tmp"))

    model, card = load_checkpoint(folder / "best.safetensors")
    assert model.name == "tiny"
    assert card["preprocessing"] == {"size": [32, 32], "normalize": "minmax"}
    assert card["data"] == {"dataset": "folder", "split": "random", "manifest": manifest.hash}
    assert card["metrics"]["val"]["iou"] == finished.selected["val_iou"]
    assert finished.selected["val_iou"] == max(row["val_iou"] for row in finished.history)


def test_what_is_shipped_scores_as_the_table_says(finished, base):
    """The weights in the file on the validation set, scored by hand."""
    from skinlesion.training.trainer import _make_data

    data = _make_data(base)
    model, _ = load_checkpoint(finished.best)
    intersection = union = 0
    for batch in data.val_dataloader():
        with torch.inference_mode():
            logits = torch.nn.functional.interpolate(model(batch["image"]), (48, 48), mode="bilinear")
        predicted, truth = logits.sigmoid() >= 0.5, batch["mask"] == 1
        intersection += int((predicted & truth).sum())
        union += int((predicted | truth).sum())
    assert finished.selected["val_iou"] == pytest.approx(intersection / union, abs=1e-6)


def test_a_run_can_start_from_weights_and_its_card_says_from_which(finished, base, tmp_path):
    still = {"epochs": 1, "lr": 1e-9, "min_lr": 1e-9, "seed": 7}
    config = dataclasses.replace(base, out=tmp_path / "run", start_from=str(finished.folder), **still)
    second = train(config)
    assert second.selected["val_iou"] == pytest.approx(finished.selected["val_iou"], abs=2e-3)
    _, card = load_checkpoint(second.best)
    _, first = load_checkpoint(finished.best)
    assert card["origin"]["command"] == first["command"]
    assert card["origin"]["data"] == first["data"]
    assert card["origin"]["tensors"] == tensors_hash(finished.best)
    with pytest.raises(SkinlesionError, match="a different network"):
        train(dataclasses.replace(config, out=tmp_path / "other", model=(*base.model, "se=false")))
    with pytest.raises(SkinlesionError, match="Unknown weights 'nothing'"):
        train(dataclasses.replace(config, out=tmp_path / "other", start_from="nothing"))
    assert not (tmp_path / "other").exists()


def test_killed_and_resumed_ends_as_if_nothing_had_happened(finished, base, tmp_path):
    config = dataclasses.replace(base, out=tmp_path / "killed")
    command = [sys.executable, "-c", DYING_RUN, json.dumps(config.to_json()), "5"]
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert len(rows(config.folder)) == 1  # three steps an epoch: it died within the second
    resumed = train(dataclasses.replace(config, resume=True))
    assert_same_run(finished.folder, config.folder)
    assert resumed.selected["epoch"] == finished.selected["epoch"]
    assert len(json.loads((config.folder / "environment.json").read_text())) == 2


def test_muon_too_goes_on_bit_by_bit(base, tmp_path):
    config = dataclasses.replace(base, optimizer="muon", out=tmp_path / "whole")
    whole = train(config)
    killed = dataclasses.replace(config, out=tmp_path / "killed")
    command = [sys.executable, "-c", DYING_RUN, json.dumps(killed.to_json()), "5"]
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    train(dataclasses.replace(killed, resume=True))
    assert_same_run(whole.folder, killed.folder)


def test_killed_before_the_first_checkpoint_starts_again(finished, base, tmp_path, capsys):
    config = dataclasses.replace(base, out=tmp_path / "run", resume=True, estimate=True)
    config.folder.mkdir()
    shutil.copy(finished.folder / "config.json", config.folder)
    train(config)
    assert_same_run(finished.folder, config.folder)
    shown = capsys.readouterr().out
    assert "for 3 epochs" in shown
    assert [f"epoch {epoch}/3" in shown for epoch in (1, 2, 3)] == [True, True, True]
    assert "left" in shown


def test_resuming_a_finished_run_changes_nothing(finished, base):
    before = finished.best.stat().st_mtime_ns
    again = train(dataclasses.replace(base, out=finished.folder, resume=True))
    assert again == finished
    assert finished.best.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"lr": 1e-4}, "--lr"),
        ({"model": ("dim=24",)}, "--model"),
        ({"epochs": 2}, "--epochs"),
        ({"ema": None}, "--ema"),
    ],
)
def test_another_run_is_not_resumed(finished, base, change, flag):
    with pytest.raises(SkinlesionError, match=flag):
        train(dataclasses.replace(base, out=finished.folder, resume=True, **change))


def test_other_images_are_not_resumed(finished, base):
    with pytest.raises(SkinlesionError, match="--split"):
        train(dataclasses.replace(base, out=finished.folder, resume=True, split_seed=5))


def test_a_damaged_checkpoint_is_not_resumed(finished, base, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    (folder / "result.json").unlink()
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(SkinlesionError, match=r"last\.ckpt"):
        train(dataclasses.replace(base, out=folder, resume=True))


def test_output_that_exists_is_not_touched(base, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SkinlesionError, match="--resume"):
        train(dataclasses.replace(base, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_output_that_cannot_be_made(base, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SkinlesionError, match="file"):
        train(dataclasses.replace(base, out=tmp_path / "file" / "run"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user who may be denied")
def test_output_in_a_read_only_folder(base, tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(SkinlesionError, match="written"):
        train(dataclasses.replace(base, out=tmp_path / "run"))


def test_a_damaged_image_is_found_before_anything_is_written(base, discs, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(discs, root)
    image = root / "images" / "disc03.png"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(SkinlesionError, match="disc03"):
        train(dataclasses.replace(base, root=root, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_network_without_features_says_how_to_train_it(base, tmp_path):
    config = dataclasses.replace(base, preset="unet", model=("dim=4", "stages=2"), out=tmp_path / "run")
    with pytest.raises(SkinlesionError, match="--w-cfd 0 --w-ifd 0"):
        train(config)
    result = train(dataclasses.replace(config, w_cfd=0, w_ifd=0, epochs=2, ema=None, select_by="last"))
    model, card = load_checkpoint(result.best)
    assert model.name == "unet"
    assert card["training"]["epoch"] == 2


@pytest.mark.usefixtures("breaking")
def test_a_loss_that_is_not_finite_stops_the_run(base, tmp_path):
    config = dataclasses.replace(base, out=tmp_path / "run")
    with pytest.raises(SkinlesionError) as stopped:
        train(config)
    message = str(stopped.value)
    assert "step 5" in message
    assert "epoch 2" in message
    assert "embedding.projection (Conv2d)" in message
    assert message.count("disc") == 8  # the batch's images
    last = config.folder / "checkpoints" / "last.ckpt"
    assert str(last) in message
    state = torch.load(last, weights_only=True)
    assert state["global_step"] == 3  # the end of the first epoch
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values() if value.is_floating_point())
    load_checkpoint(config.folder / "best.safetensors")


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_spoils_the_weights(base, tmp_path, monkeypatch):
    start = SegmentationModule.on_train_batch_start
    modules = []

    def break_then_start(self: SegmentationModule, batch: object, batch_idx: int) -> None:
        modules.append(self)
        self.model.head.bias.register_hook(lambda gradient: gradient * float("inf"))
        start(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationModule, "on_train_batch_start", break_then_start)
    with pytest.raises(SkinlesionError, match=r"gradient .* head\.bias.* No epoch"):
        train(dataclasses.replace(base, out=tmp_path / "run"))
    assert all(torch.isfinite(weight).all() for weight in modules[0].model.parameters())


def test_selection_on_the_test_part_is_only_done_by_name(base, tmp_path):
    """Parity with VM-UNet's harness (A34): trained on all but the test set, and the card says what was looked at."""
    honest = splits.load_split(splits.find_samples(base.root, "folder"), "folder", "random")
    config = dataclasses.replace(base, out=tmp_path / "run", epochs=2, select_by="test_loss")
    result = train(config)
    parts = splits.Manifest.load(config.folder / "manifest.json").parts
    assert parts["val"] == honest.parts["test"]
    assert set(parts["train"]) == {*honest.parts["train"], *honest.parts["val"]}
    assert result.selected["val_loss"] == min(row["val_loss"] for row in result.history)
    assert list(load_checkpoint(result.best)[1]["metrics"]) == ["test"]


def test_the_estimate_changes_nothing(finished, base, tmp_path):
    """The finished run was timed first; this run is not."""
    train(dataclasses.replace(base, out=tmp_path / "run"))
    assert_same_run(finished.folder, tmp_path / "run")
