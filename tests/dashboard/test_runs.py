"""Training runs: curves of one, two compared, one that is going on, damaged ones, and none."""

import json
import os
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

HEAD = "epoch,lr,train_loss,train_bce,train_dice,train_cfd,train_ifd,val_loss,val_iou,val_dsc,seconds\n"


def write_run(root: Path, name: str, rows: int = 3, finished: bool = True, **options) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"preset": "tiny", "epochs": 5, "lr": 1e-3, **options}))
    lines = (
        f"{i},0.001,{1 / i},{1 / i},{1 / i},0,0,{1.1 / i},{0.5 + 0.1 * i},{0.7},{60 * i}\n" for i in range(1, rows + 1)
    )
    (folder / "metrics.csv").write_text(HEAD + "".join(lines))
    (folder / "best.safetensors").write_bytes(bytes(2_500_000))
    if finished:
        (folder / "result.json").write_text("{}")
    return folder


def age(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("SKINLESION_RUNS_DIR", str(folder))
    return folder


def plots(app: AppTest) -> int:
    return len(app.get("plotly_chart"))


def test_without_a_run_it_says_how_to_make_one(open_app, root, texts):
    app = open_app("runs")
    assert "There is no training run in `runs`" in texts(app)
    assert "skinlesion train" in app.code[0].value


def test_a_folder_that_is_not_there_is_said(open_app, monkeypatch, tmp_path, texts):
    monkeypatch.setenv("SKINLESION_RUNS_DIR", str(tmp_path / "nowhere"))
    app = open_app("runs")
    assert "There is no training run in `nowhere`" in texts(app)
    assert str(tmp_path) not in texts(app)


def test_it_waits_for_the_first_run_and_names_the_folder_it_watches(open_app, root, texts):
    app = open_app("runs")
    assert "the folder named by `SKINLESION_RUNS_DIR`" in texts(app)
    assert "--out runs/first" in app.code[0].value
    assert "checks every 5 seconds" in texts(app)
    write_run(root, "first")
    app.run()
    assert plots(app) == 1
    assert "looks every" not in texts(app)


def test_one_run_with_its_curves_and_facts(open_app, root, texts):
    write_run(root, "first")
    app = open_app("runs")
    said = texts(app)
    assert plots(app) == 1
    assert "finished" in said
    assert "epoch 3 of 5" in said
    assert "kept epoch 3, validation IoU 0.8000" in said
    assert "2.5 MB" in said
    assert "over 3 epochs" in said  # the caption


def test_two_runs_and_what_they_did_differently(open_app, root, texts):
    write_run(root, "first")
    write_run(root, "second", lr=2e-3)
    app = open_app("runs", run="first", beside="second")
    assert plots(app) == 3
    assert "of 2 runs: first, second" in texts(app)
    table = next(frame.value for frame in app.dataframe if list(frame.value.columns) == ["option", "first", "second"])
    assert table.values.tolist() == [["lr", "0.001", "0.002"]]
    app.selectbox(key="beside").set_value("(alone)").run()
    assert plots(app) == 1
    assert app.query_params["run"] == "first"


def test_a_run_that_is_going_on_and_one_that_stopped(open_app, root, texts):
    write_run(root, "now", finished=False)
    assert "about 2 min left" in texts(open_app("runs"))
    age(root / "now", 500)
    said = texts(open_app("runs"))
    assert "stopped" in said
    assert "--resume" in said


def test_damaged_folders_are_left_out_with_a_word(open_app, root, texts):
    write_run(root, "good")
    bad = write_run(root, "bad")
    (bad / "metrics.csv").write_text("epoch,lr")
    (bad / "config.json").write_text("{")
    app = open_app("runs", run="good", beside="bad")
    assert "Left out: bad/config.json is damaged" in texts(app)
    assert plots(app) == 1


@pytest.mark.parametrize("row", ["nan,1,1,1,1,0,0,1,0.5,0.7,60\n", "1,1,1,1,1,0,0,1,0.5,0.7,inf\n"])
def test_numbers_that_are_none_are_said_and_the_page_stays(open_app, root, texts, row):
    (write_run(root, "odd") / "metrics.csv").write_text(HEAD + row)
    app = open_app("runs")
    assert not app.exception
    assert "Left out: odd/metrics.csv is damaged" in texts(app)
    assert app.selectbox(key="run").value == "odd"


def test_a_diverged_run_is_drawn(open_app, root, texts):
    (write_run(root, "diverged") / "metrics.csv").write_text(HEAD + "1,1,nan,nan,inf,0,0,nan,nan,nan,60\n")
    app = open_app("runs")
    assert not app.exception
    assert plots(app) == 1
    assert "kept epoch" not in texts(app)


def test_folders_that_are_no_runs_are_named(open_app, root, texts):
    write_run(root, "good")
    (root / "<i>empty").mkdir()
    app = open_app("runs")
    said = texts(app)
    assert "Skipped, because they have no config.json" in said
    assert "empty" in said
    assert "<i>" not in "".join(str(element.value) for element in (*app.markdown, *app.caption))


def test_a_name_is_text(open_app, root, texts):
    write_run(root, "<b>bold</b>".replace("/", "_"))
    app = open_app("runs")
    assert "<b>" not in "".join(str(element.value) for element in app.markdown)
    assert plots(app) == 1


def test_a_run_that_is_not_there_is_ignored_with_a_note(open_app, root, texts):
    write_run(root, "first")
    assert "Ignored in the address: run" in texts(open_app("runs", run="gone"))
