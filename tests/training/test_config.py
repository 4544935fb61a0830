import json
import shlex
from pathlib import Path

import pytest

from skinlesion.errors import SkinlesionError
from skinlesion.training import RECIPES, TrainConfig
from skinlesion.training.arguments import parse_arguments

ISSUE = shlex.split("--preset small --data isic2017 --root DIR --split paper --epochs 40 --out RUN")


def test_defaults_are_the_papers_recipe():
    config = TrainConfig()
    assert (config.preset, config.size, config.epochs, config.batch_size) == ("paper", 256, 300, 32)
    assert (config.lr, config.min_lr, config.weight_decay) == (1e-3, 1e-5, 1e-2)
    assert (config.w_bce, config.w_dice, config.w_cfd, config.w_ifd) == (0.3, 0.7, 0.015, 0.015)
    assert config.select_by == "val_iou"  # not the harness's habit of choosing on the test part
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
        ({"precision": "16-mixed", "accelerator": "cpu"}, ["--precision", "--accelerator"]),
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


def test_command_line_of_the_issue():
    config = parse_arguments(ISSUE)
    assert config == TrainConfig(
        preset="small", data="isic2017", root=Path("DIR"), split="paper", epochs=40, out=Path("RUN")
    )


def test_options_go_before_the_recipe():
    config = parse_arguments([*ISSUE, "--recipe", "cpu", "--lr", "1e-3", "--clip", "None"])
    assert (config.size, config.schedule, config.ema) == (128, "onecycle", RECIPES["cpu"]["ema"])
    assert (config.lr, config.clip, config.preset) == (1e-3, None, "small")
    assert parse_arguments([*ISSUE, "--recipe=cpu"]).lr == RECIPES["cpu"]["lr"]


def test_a_resumed_run_needs_no_options_repeated(tmp_path):
    config = parse_arguments([*ISSUE, "--recipe", "cpu", "--out", str(tmp_path)])
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    again = parse_arguments(["--resume", "--out", str(tmp_path)])
    assert again.resume
    assert again.to_json() == {**config.to_json(), "resume": True}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--recipe", "magic"], "cpu"),
        (["--recipe"], "--recipe"),
        (["--resume", "--out", "nowhere"], "nowhere"),
    ],
)
def test_command_lines_that_cannot_be(words, says):
    with pytest.raises(SkinlesionError, match=says):
        parse_arguments(words)


def test_an_unknown_option_ends_with_code_2(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(["--speed", "11"])
    assert stop.value.code == 2


@pytest.mark.parametrize("text", ["", "[1]", '{"preset": 1', '{"speed": 11}', '{"epochs": "many"}'])
def test_a_config_file_that_is_none_is_refused_by_name(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(SkinlesionError, match=r"config\.json|speed"):
        TrainConfig.load(path)
