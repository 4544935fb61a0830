import json
import shlex
from pathlib import Path

import pytest
import tyro

from skinlesion.errors import SkinlesionError
from skinlesion.training import RECIPES, TrainConfig


def test_defaults_are_the_papers_recipe():
    config = TrainConfig()
    assert (config.preset, config.size, config.epochs, config.batch_size) == ("paper", 256, 300, 32)
    assert (config.lr, config.min_lr, config.weight_decay) == (1e-3, 1e-5, 1e-2)
    assert (config.w_bce, config.w_dice, config.w_cfd, config.w_ifd) == (0.3, 0.7, 0.015, 0.015)
    assert config.select_by == "val_iou"  # not the harness's habit of choosing on the test set
    assert config.precision == "32"
    assert config.clip is None
    assert config.ema is None


@pytest.mark.parametrize("recipe", RECIPES)
def test_round_trip_through_json(recipe):
    config = TrainConfig.from_recipe(recipe, model=("dim=8", "se=false"), root=Path("a"), out=Path("b"))
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"schedule": "onecycle", "warmup_epochs": 2}, ["--warmup-epochs", "--schedule"]),
        ({"epochs": 3, "warmup_epochs": 3}, ["--warmup-epochs", "--epochs"]),
        ({"lr": 1e-6}, ["--min-lr", "--lr"]),
        ({"batch_size": 3, "devices": 2}, ["--batch-size", "--devices"]),
        ({"precision": "16-mixed", "device": "cpu"}, ["--precision", "--device"]),
        ({"w_bce": 0, "w_dice": 0}, ["--w-bce", "--w-dice"]),
        ({"epochs": 0}, ["--epochs"]),
        ({"lr": float("nan")}, ["--lr"]),
        ({"clip": 0.0}, ["--clip"]),
        ({"ema": 1.0}, ["--ema"]),
        ({"w_cfd": -1.0}, ["--w-cfd"]),
        ({"schedule": "step"}, ["--schedule", "onecycle"]),
        ({"model": ("dim24",)}, ["--model", "dim24"]),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_flags(values, flags):
    with pytest.raises(SkinlesionError) as error:
        TrainConfig(**values)
    assert all(flag in str(error.value) for flag in flags)


def test_model_options_are_read_as_values():
    config = TrainConfig(model=("dim=24", "se=false", "depths=1,1,1,1", "drop_path=0.1", "dt_rank=none"))
    assert config.model_options() == {
        "dim": 24,
        "se": False,
        "depths": (1, 1, 1, 1),
        "drop_path": 0.1,
        "dt_rank": None,
    }


def test_changes_go_before_the_recipe():
    config = TrainConfig.from_recipe("cpu", lr=1e-3, clip=None)
    assert (config.size, config.schedule, config.ema) == (128, "onecycle", RECIPES["cpu"]["ema"])
    assert (config.lr, config.clip) == (1e-3, None)


def test_an_unknown_recipe_lists_the_valid_ones():
    with pytest.raises(SkinlesionError, match="paper, vmunet, cpu"):
        TrainConfig.from_recipe("magic")


def test_a_command_line_can_be_made_from_the_class():
    words = shlex.split(
        "--preset small --data isic2017 --root DIR --split paper --epochs 40 --out RUN --model dim=24 se=false"
    )
    assert tyro.cli(TrainConfig, args=words, default=TrainConfig()) == TrainConfig(
        preset="small",
        model=("dim=24", "se=false"),
        data="isic2017",
        root=Path("DIR"),
        split="paper",
        epochs=40,
        out=Path("RUN"),
    )


@pytest.mark.parametrize("text", ["", "[1]", '{"preset": 1', '{"speed": 11}', '{"epochs": "many"}'])
def test_a_config_file_that_is_none_is_refused_by_name(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(SkinlesionError, match=r"config\.json|speed"):
        TrainConfig.load(path)
