"""Run folders seen from outside: finished, going on, stopped, damaged, and none at all."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from skinlesion import SkinlesionError
from skinlesion.training import train
from skinlesion.training.run_folder import differences, find_runs, other_folders, read_run

HEAD = "epoch,lr,train_loss,val_loss,val_iou,seconds\n"
ROWS = ("1,0.001,0.9,0.8,0.4,100\n", "2,0.002,0.7,0.6,0.7,200\n", "3,0.001,0.5,0.65,0.6,300\n")


def write_run(folder: Path, epochs: int = 5, rows: int = 3, **options) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"preset": "tiny", "epochs": epochs, **options}))
    if rows:
        (folder / "metrics.csv").write_text(HEAD + "".join(ROWS[:rows]))
    return folder


def written(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.iterdir())


def test_a_run_that_is_going_on_says_how_long_it_will_take(tmp_path):
    folder = write_run(tmp_path / "run")
    run = read_run(folder, now=written(folder) + 30)
    assert (run.name, run.status, run.epochs, run.planned) == ("run", "running", 3, 5)
    assert run.seconds_left == 200
    assert run.best_epoch == 2
    assert run.history["val_loss"] == [0.8, 0.6, 0.65]


def test_three_epochs_of_silence_are_a_stop(tmp_path):
    folder = write_run(tmp_path / "run")
    assert read_run(folder, now=written(folder) + 290).status == "running"
    stopped = read_run(folder, now=written(folder) + 310)
    assert (stopped.status, stopped.seconds_left) == ("stopped", None)


def test_a_result_ends_a_run(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "result.json").write_text("{}")
    (folder / "best.safetensors").write_bytes(b"12345")
    run = read_run(folder, now=written(folder) + 1)
    assert (run.status, run.seconds_left, run.files) == ("finished", None, {"best.safetensors": 5})


def test_before_its_first_epoch_a_run_has_no_curve(tmp_path):
    folder = write_run(tmp_path / "run", rows=0)
    run = read_run(folder, now=written(folder) + 1)
    assert (run.status, run.history, run.best_epoch, run.seconds_left) == ("running", {}, None, None)


@pytest.mark.parametrize(("select_by", "epoch"), [("val_iou", 2), ("test_loss", 2), ("last", 3)])
def test_the_kept_epoch_is_the_one_that_the_run_keeps(tmp_path, select_by, epoch):
    assert read_run(write_run(tmp_path / "run", select_by=select_by)).best_epoch == epoch


def test_a_real_run_is_read(base, tmp_path):
    folder = tmp_path / "run"
    train(replace(base, epochs=2, out=folder))
    run = read_run(folder)
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert run.status == "finished"
    assert run.best_epoch == result["selected"]["epoch"]
    assert run.files.keys() == {"best.safetensors", "checkpoints/last.ckpt"}
    assert run.history["val_iou"] == [row["val_iou"] for row in result["history"]]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config.json", "{", "run/config.json is damaged"),
        ("config.json", "[1]", "run/config.json is not from a training run"),
        ("config.json", "{}", "it has no epochs"),
        ("config.json", '{"epochs": true}', "it has no epochs"),
        ("config.json", '{"epochs": -5}', "it has no epochs"),
        ("config.json", "[" * 100_000, "run/config.json is damaged"),
        ("metrics.csv", HEAD + "1,0.001", "run/metrics.csv is damaged"),
        ("metrics.csv", HEAD + "a,b,c,d,e,f\n", "run/metrics.csv is damaged"),
        ("metrics.csv", HEAD + "nan,1,1,1,1,60\n", "an epoch number is not a positive integer"),
        ("metrics.csv", HEAD + "inf,1,1,1,1,60\n", "an epoch number is not a positive integer"),
        ("metrics.csv", HEAD + "1,1,1,1,1,nan\n", "seconds column is negative or not finite"),
        ("metrics.csv", HEAD + "1,1,1,1,1,inf\n", "seconds column is negative or not finite"),
        ("metrics.csv", "epoch,seconds\n1,60\n", "has no curve to draw"),
        ("metrics.csv", "a" * 200_000 + "\n1\n", "run/metrics.csv is damaged"),
        ("metrics.csv", "x,y\n1,2\n", "is not from a training run"),
        ("metrics.csv", HEAD + "\xff", "run/metrics.csv is damaged"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(tmp_path, file, text, said):
    folder = write_run(tmp_path / "run")
    (folder / file).write_text(text, encoding="latin-1")
    with pytest.raises(SkinlesionError, match=said):
        read_run(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(SkinlesionError, match=r"config\.json cannot be read"):
        read_run(tmp_path)


def test_runs_are_found_the_latest_first(tmp_path):
    for name, age in (("old", 2), ("new", 1)):
        folder = write_run(tmp_path / name)
        for path in folder.iterdir():
            os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "other").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").touch()
    assert other_folders(tmp_path) == ["other"]
    assert other_folders(tmp_path / "nowhere") == []
    assert [path.name for path in find_runs(tmp_path)] == ["new", "old"]
    assert find_runs(tmp_path / "other") == []
    with pytest.raises(SkinlesionError, match="There is no folder nowhere"):
        find_runs(tmp_path / "nowhere")


def test_what_two_runs_did_differently(tmp_path):
    runs = [read_run(write_run(tmp_path / "a", lr=1e-3)), read_run(write_run(tmp_path / "b", lr=2e-3, ema=0.9))]
    assert differences(runs) == {"lr": [1e-3, 2e-3], "ema": [None, 0.9]}
