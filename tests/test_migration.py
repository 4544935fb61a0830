"""Checkpoints and run folders of the first edition: written here with its names, and read by today's code."""

import dataclasses
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from skinlesion import SkinlesionError, create_model, load_checkpoint, save_checkpoint
from skinlesion.migration import migrate
from skinlesion.training import TrainConfig, train
from skinlesion.training.checkpoint_io import SafeCheckpointIO
from skinlesion.training.module import SegmentationModule

SS2D = {
    "in_proj": "in_projection",
    "out_proj": "out_projection",
    "conv2d": "convolution",
    "out_norm": "norm",
    "x_proj_weight": "route_projection",
    "dt_projs_weight": "step_weight",
    "dt_projs_bias": "step_bias",
    "A_logs": "A_log",
    "Ds": "D",
}
SE = {"fc1": "squeeze", "fc2": "excite"}
CMN = {"fc1": "extend", "dwconv": "convolution", "fc2": "restore"}
CRA = {"conv1": "mix", "bn1": "norm", "conv_h": "to_h", "conv_w": "to_w"}


def first_edition(name: str) -> str:
    """What the first edition called a tensor of the paper's network, whatever stands before it."""
    words = name.split(".")
    for i, word in enumerate(words):
        if word == "se":
            words[i + 1] = SE[words[i + 1]]
        elif word == "ss2d" and words[i + 1] != "se":
            words[i + 1] = SS2D[words[i + 1]]
        elif word == "cmn":
            words[i + 1] = CMN[words[i + 1]]
        elif word == "skips":
            words[i + 2] = CRA[words[i + 2]]
    if words[-2] == "head":
        words[-2] = "classifier"
    return ".".join(words)


def write_first_edition(source: Path, target: Path, **more: torch.Tensor) -> Path:
    """A checkpoint as the first edition would have written it; `more` are tensors by today's names."""
    (length,) = struct.unpack("<Q", source.read_bytes()[:8])
    card = json.loads(json.loads(source.read_bytes()[8 : 8 + length])["__metadata__"]["skinlesion"])
    card["format"] = 1
    card["model"]["config"].pop("conv_init", None)
    tensors = {first_edition(name): value for name, value in {**load_file(source), **more}.items()}
    save_file(tensors, target, metadata={"skinlesion": json.dumps(card)})
    return target


def test_the_names_of_the_first_edition_are_all_others() -> None:
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)
    names = list(model.state_dict())
    old = [first_edition(name) for name in names]
    kept = {name for name, other in zip(names, old, strict=True) if name == other}
    assert all(
        name.split(".")[-2] in {"norm", "norm1", "norm2", "projection", "reduction", "expansion"} for name in kept
    )
    assert len(set(old)) == len(names)
    for prefix in ("", "model.", "average.model."):
        found = migrate({prefix + name: i for i, name in enumerate(old)}, 1)
        assert found == {prefix + name: i for i, name in enumerate(names)}
    assert migrate(dict.fromkeys(names, 0), 1) == dict.fromkeys(names, 0)


def test_a_checkpoint_of_the_first_edition_gives_the_same_logits(small_checkpoint: Path, tmp_path: Path) -> None:
    old = write_first_edition(small_checkpoint, tmp_path / "old.safetensors")
    assert "encoder.0.0.ss2d.A_log" in load_file(old)
    (expected, _), (found, card) = load_checkpoint(small_checkpoint), load_checkpoint(old)
    image = torch.rand(2, 3, 24, 40)
    with torch.no_grad():
        logits = expected(image)
        assert logits.std() > 0
        assert torch.equal(found(image), logits)
    save_checkpoint(tmp_path / "new.safetensors", found, card)
    assert load_file(tmp_path / "new.safetensors").keys() == load_file(small_checkpoint).keys()


@pytest.mark.parametrize("damage", ["shape", "name", "cut", "nan"])
def test_a_damaged_checkpoint_of_the_first_edition_is_refused(
    small_checkpoint: Path, tmp_path: Path, damage: str
) -> None:
    more = {
        "shape": {"encoder.0.0.ss2d.A_logs": torch.zeros(4, 32, 3)},
        "name": {"encoder.7.0.ss2d.A_logs": torch.zeros(2)},
        "nan": {"encoder.0.0.ss2d.Ds": torch.full((4, 32), float("nan"))},
    }
    path = write_first_edition(small_checkpoint, tmp_path / "old.safetensors", **more.get(damage, {}))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SkinlesionError, match=r"old\.safetensors"):
        load_checkpoint(path)


@pytest.fixture(scope="module")
def base(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Two epochs of a very small network with distillation, averaging and drop path."""
    return TrainConfig(
        preset="tiny",
        model=("dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=2"),
        data="folder",
        root=lesions,
        split="random",
        size=32,
        truth_size=32,
        epochs=2,
        batch_size=2,
        ema=0.5,
        estimate=False,
        cache_dir=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(scope="module")
def stopped(base: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of the first edition whose run was stopped in the second epoch."""
    folder = tmp_path_factory.mktemp("runs") / "old"
    step = SegmentationModule.training_step

    def stop(self: SegmentationModule, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 1:
            raise SkinlesionError("stopped by the test")
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", stop)
        with pytest.raises(SkinlesionError, match="stopped by the test"):
            train(dataclasses.replace(base, out=folder))
    last = folder / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    del state["skinlesion_format"]
    state["state_dict"] = {first_edition(name): value for name, value in state["state_dict"].items()}
    torch.save(state, last)
    write_first_edition(folder / "best.safetensors", folder / "old.safetensors").replace(folder / "best.safetensors")
    return folder


def last_state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def test_a_run_of_the_first_edition_goes_on_as_if_nothing_had_happened(base, stopped, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    assert "model.encoder.0.0.ss2d.A_log" in last_state(folder)["state_dict"]
    resumed = train(dataclasses.replace(base, out=folder, resume=True))
    train(dataclasses.replace(base, out=tmp_path / "whole"))
    assert [row["epoch"] for row in resumed.history] == [1, 2]
    a, b = last_state(folder), last_state(tmp_path / "whole")
    assert a["skinlesion_format"] == 2
    assert a["state_dict"].keys() == b["state_dict"].keys()
    assert all(torch.equal(value, b["state_dict"][name]) for name, value in a["state_dict"].items())
    for index, state in a["optimizer_states"][0]["state"].items():
        assert all(torch.equal(value, b["optimizer_states"][0]["state"][index][name]) for name, value in state.items())
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        one, other = (load_checkpoint(result)[0](image) for result in (resumed.best, tmp_path / "whole"))
    assert one.std() > 0
    assert torch.equal(one, other)


@pytest.mark.parametrize("damage", ["cut", "missing", "shape", "newer", "no weights"])
def test_a_damaged_run_of_the_first_edition_is_not_resumed(base, stopped, tmp_path, damage) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    last = folder / "checkpoints" / "last.ckpt"
    state = last_state(folder)
    if damage == "missing":
        del state["state_dict"]["model.encoder.0.0.ss2d.A_log"]
    elif damage == "shape":
        state["state_dict"]["model.encoder.0.0.ss2d.A_log"] = torch.zeros(3)
    elif damage == "newer":
        state["skinlesion_format"] = 3
    elif damage == "no weights":
        del state["state_dict"]
    torch.save(state, last)
    if damage == "cut":
        last.write_bytes(last.read_bytes()[:3000])
    with pytest.raises(SkinlesionError, match=r"last\.ckpt"):
        train(dataclasses.replace(base, out=folder, resume=True))


def test_what_is_no_dictionary_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "last.ckpt")
    with pytest.raises(SkinlesionError, match=r"last\.ckpt"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")
