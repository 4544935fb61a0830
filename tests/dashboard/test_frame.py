"""What surrounds every view: choices that outlive it, checkpoints that cannot be used, none at all, jobs and Stop."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from dashboard.frame import PAGES

VIEWS = [name for views in PAGES.values() for name, *_ in views]
# Training runs and the model card have something to say without weights.
NEEDY = [name for name in VIEWS if name not in ("runs", "about")]


def go(app: AppTest, view: str) -> AppTest:
    app.switch_page(f"views/{view}.py").run()
    assert not app.exception, app.exception[0].message
    return app


def test_choices_outlive_a_change_of_view(open_app):
    app = open_app()
    app.selectbox(key="sample").set_value("synthetic-016").run()
    app.selectbox(key="weights").set_value("random").run()
    app.session_state["threshold"], app.session_state["show"] = 0.37, "Contour"  # the live image sends them
    app.run()
    for view in ("channels", "scan", "segment"):
        go(app, view)
        assert app.selectbox(key="sample").value == "synthetic-016"
        assert app.selectbox(key="weights").value == "random"
    assert app.session_state["threshold"] == 0.37
    assert app.session_state["show"] == "Contour"
    assert dict(app.query_params)["threshold"] == "0.37"


def test_a_choice_from_the_address_outlives_a_change_of_view(open_app):
    app = open_app(sample="synthetic-016", threshold="0.37")
    go(app, "attention")
    assert app.selectbox(key="sample").value == "synthetic-016"
    go(app, "segment")
    assert app.selectbox(key="sample").value == "synthetic-016"
    assert app.session_state["threshold"] == 0.37


def test_a_choice_that_two_views_share_is_the_same_in_both(open_app):
    app = open_app("scan", weights="random", block="E2.1")
    go(app, "channels")
    assert app.selectbox(key="block").value == "E2.1"


@pytest.mark.parametrize("view", VIEWS)
def test_a_hostile_address_is_ignored_in_every_view(open_app, texts, view):
    app = open_app(view, weights="/etc/passwd", threshold="1e9", nonsense="<b>")
    assert "Ignored in the address" in texts(app)
    assert "1 unknown parameter" in texts(app)
    assert "passwd" not in texts(app)
    assert app.selectbox(key="weights").value == "plain"
    assert app.session_state["threshold"] == 0.5


class _Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.path, "opened")


@pytest.fixture
def mixed_folder(weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One good checkpoint among files that are none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = weights_folder / "random.safetensors"
    shutil.copy(good, folder / "good.safetensors")
    (folder / "cut.safetensors").write_bytes(good.read_bytes()[:2000])
    (folder / "empty.safetensors").touch()
    save_file({"weight": np.zeros(3)}, folder / "foreign.safetensors")
    (folder / "pickle.pt").write_bytes(pickle.dumps(_Trap(tmp_path / "trap")))
    (folder / "disguised.safetensors").write_bytes(pickle.dumps(_Trap(tmp_path / "trap")))
    (folder / "notes.txt").write_text("no checkpoint")
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", str(folder))
    return folder


def test_a_file_that_is_no_checkpoint_is_left_out_and_said(open_app, mixed_folder, tmp_path, texts):
    app = open_app()
    assert app.selectbox(key="weights").options == ["good"]
    said = [warning.value.replace("\\", "") for warning in app.warning]
    bad = ("cut", "disguised", "empty", "foreign", "pickle")
    assert len(said) == len(bad)
    for name in bad:
        assert any(name in line for line in said), (name, said)
    assert not any(str(mixed_folder) in line or "notes" in line for line in said)
    assert not (tmp_path / "trap").exists()  # nothing was unpickled
    assert "aren't calibrated" in texts(app)  # the good one works


@pytest.mark.parametrize("view", VIEWS)
def test_without_weights_it_is_said_what_to_do(open_app, texts, tmp_path, monkeypatch, view):
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", str(tmp_path / "empty"))
    app = open_app(view)
    assert "There are no trained weights here" in texts(app)
    assert "SKINLESION_WEIGHTS_DIR" in texts(app)
    assert "Not a medical device" in texts(app)


def test_a_folder_that_is_none_is_said(open_app, texts, monkeypatch):
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", "/nowhere/at/all")
    app = open_app()
    assert "isn't the path of a folder" in texts(app)
    assert "/nowhere" not in texts(app)


def test_stop_ends_a_job_and_what_was_done_is_not_done_again(open_app, runs, monkeypatch):
    """Streamlit ends the script where the progress is told; here it is made to, after three images."""
    from dashboard import predict

    seen, one = [], predict.predict

    def three_at_most(*given, **options):
        if len(seen) == 3:
            st.stop()
        seen.append(given)
        return one(*given, **options)

    app = open_app()
    start = next(button for button in app.button if button.label.startswith("Segment "))
    monkeypatch.setattr("dashboard.predict.predict", three_at_most)
    before = len(runs)
    start.click().run()
    assert [button.label for button in app.button].count("Stop") == 1
    assert not any(button.label.startswith("Segment ") for button in app.button)
    assert not app.dataframe
    done = len(runs) - before
    monkeypatch.setattr("dashboard.predict.predict", one)
    app.button(key="stop-batch").click().run()
    assert not any(button.label == "Stop" for button in app.button)
    assert not app.dataframe
    assert len(runs) == before + done
    next(button for button in app.button if button.label.startswith("Segment ")).click().run()
    assert len(app.dataframe[0].value) == 20
    assert len(runs) == 20


@pytest.mark.parametrize("view", ["segment", "about"])
def test_a_device_that_is_not_there_is_one_message(open_app, monkeypatch, view):
    monkeypatch.setenv("SKINLESION_DEVICE", "abacus")
    app = open_app(view)
    (error,) = app.error
    assert error.value.replace("\\", "").startswith(
        "SKINLESION_DEVICE: The device must be auto, cpu, cuda, cuda:N or mps"
    )
