"""A folder of small checkpoints for the app, and the app itself without a browser."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from skinlesion import checkpoint
from skinlesion.checkpoint import save_checkpoint
from skinlesion.segmenter import Segmenter
from skinlesion.zoo import create_model

ROOT = Path(__file__).parents[2]
APP = ROOT / "dashboard" / "app.py"
sys.path.insert(0, str(ROOT))

CARD = {
    "preprocessing": {"size": [64, 64], "normalize": "minmax"},
    "threshold": 0.5,
    "data": {"dataset": "folder", "split": "random", "manifest": "0" * 64},
    "seed": 1,
    "command": "skinlesion train --preset tiny",
    "metrics": {"val": {"iou": 0.5}},
}


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints with random weights: the paper's network, its like without any module, and a U-Net."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    small = {"dim": 16, "depths": (1, 1, 1), "decoder_depths": (1, 1, 1), "d_state": 4}
    save_checkpoint(folder / "random.safetensors", create_model("tiny", **small), CARD)
    save_checkpoint(folder / "plain.safetensors", create_model("vmunet", **small), CARD)
    save_checkpoint(folder / "unet.safetensors", create_model("unet", dim=4), CARD)
    return folder


@pytest.fixture(autouse=True)
def _settings(weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the checkpoints of the tests, no folder of runs or data, and no result of another test."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(checkpoint, "WEIGHTS", empty)
    monkeypatch.setattr("dashboard.weights.WEIGHTS", empty)
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", str(weights_folder))
    monkeypatch.setenv("SKINLESION_RUNS_DIR", str(empty))
    monkeypatch.delenv("SKINLESION_DATA_DIR", raising=False)
    monkeypatch.setenv("SKINLESION_DEVICE", "cpu")
    monkeypatch.setattr("dashboard.visits.cookie", lambda: "")  # without a browser there is no cookie
    st.cache_resource.clear()


@pytest.fixture
def open_app() -> Callable[..., AppTest]:
    """open_app("attention", skip="S3"): that view, at that address."""

    def start(view: str = "segment", **query: str) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=60)
        if view != "segment":
            app.switch_page(f"views/{view}.py")
        app.query_params.update(query)
        app.run()
        assert not app.exception, app.exception[0].message
        return app

    return start


@pytest.fixture
def photo_file(photo: np.ndarray, png: Callable[[np.ndarray], bytes]) -> bytes:
    """A PNG that no sample is."""
    return png(photo)


@pytest.fixture
def texts() -> Callable[[AppTest], str]:
    """texts(app): everything that the page says, one piece a line, without Markdown's escapes."""

    def read(app: AppTest) -> str:
        kinds = ("title", "markdown", "caption", "error", "warning", "info", "success")
        said = "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))
        return said.replace("\\", "")

    return read


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one whenever a network runs: how many images it was given."""
    counted: list[int] = []
    run = Segmenter.predict

    def count(self, images, **options):
        counted.append(len(images))
        return run(self, images, **options)

    monkeypatch.setattr(Segmenter, "predict", count)
    return counted
