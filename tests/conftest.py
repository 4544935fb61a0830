"""Fixtures that several folders of tests share: a small checkpoint and a small dataset, made once a process."""

import importlib.util
import io
import os
import shutil
import signal
import sys

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import skinlesion  # noqa: F401, I001  before torch: it sets how torch's threads wait

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from skinlesion.checkpoint import save_checkpoint
from skinlesion.cli import main
from skinlesion.data.synthetic import write_dataset
from skinlesion.plugins import EXTRA_DATASETS, EXTRA_ENGINES, EXTRA_LOSSES
from skinlesion.zoo import REGISTRY, create_model

# The machine is shared and slow at times: how long an example takes says nothing.
settings.register_profile("ci", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("ci")

# A shell that starts the tests in its background has Ctrl-C ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

sys.path.insert(0, str(Path(__file__).parent / "hostile"))  # the generators, for tests of the app too

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

CARD = {
    "preprocessing": {"size": [32, 48], "normalize": "minmax"},
    "threshold": 0.5,
    "data": {"dataset": "folder", "split": "random", "manifest": "0" * 64},
    "seed": 1,
    "command": "skinlesion train --preset tiny",
    "metrics": {"val": {"iou": 0.5}},
}


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors in CI alone: a dependency's next release must not turn a newcomer's run red."""
    if os.environ.get("CI"):
        config.addinivalue_line("filterwarnings", "error")


@pytest.fixture
def registries() -> Iterator[None]:
    """What the test registers is gone afterwards."""
    changed = (REGISTRY, EXTRA_DATASETS, EXTRA_ENGINES, EXTRA_LOSSES)
    before = [dict(registry) for registry in changed]
    yield
    for registry, names in zip(changed, before, strict=True):
        registry.clear()
        registry.update(names)


@pytest.fixture
def card() -> dict:
    """What a small checkpoint says of itself."""
    return {**CARD, "preprocessing": dict(CARD["preprocessing"])}


@pytest.fixture(scope="session")
def chromium_options() -> dict[str, Any]:
    """How to launch the browser. It knows no other machine: what is not served here cannot be had."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is missing: pip install playwright")
    path = os.environ.get("SKINLESION_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("Chromium is missing: apt install chromium, or SKINLESION_CHROMIUM=PATH")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    return {"executable_path": path, "args": ["--no-sandbox", offline]}


@pytest.fixture(scope="session")
def chromium(chromium_options: dict[str, Any]) -> Iterator[Any]:
    """The browser, one for all tests of a process: Playwright cannot be started twice in it."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=120_000)  # milliseconds: the machine may be busy
    with sync_playwright() as run:
        browser = run.chromium.launch(**chromium_options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a very small network with random weights. Do not change it: others use it too."""
    torch.manual_seed(0)
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_checkpoint(path, model, CARD)
    return path


@pytest.fixture(scope="session")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten small synthetic images with masks. Do not change it: others use it too."""
    return write_dataset(tmp_path_factory.mktemp("data") / "lesions", n=10, seed=5, size=48)


@pytest.fixture
def photo() -> np.ndarray:
    """uint8 (H, W, 3) with a dark disk, wider than high."""
    rows, columns = np.ogrid[:60, :90]
    image = np.full((60, 90, 3), (225, 180, 160), dtype=np.uint8)
    image[(rows - 30) ** 2 + (columns - 40) ** 2 < 300] = (90, 50, 40)
    return image


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]):
    """Run a command in this process: cli("predict", path) -> (exit code, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def png() -> Callable[[np.ndarray], bytes]:
    """png(image): a file of it."""

    def write(image: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return buffer.getvalue()

    return write
