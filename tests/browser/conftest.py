"""The app in a real browser: one server and one Chromium for all tests, and a visitor for each.

Needs Playwright (`pip install -e '.[dev]'`) and Chromium (`apt install chromium`, or SKINLESION_CHROMIUM=PATH); without
them these tests are skipped.
"""

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.data.synthetic import write_dataset
from skinlesion.zoo import create_model

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
CARD = {
    "preprocessing": {"size": [64, 64], "normalize": "minmax"},
    "threshold": 0.5,
    "data": {"dataset": "folder", "split": "random", "manifest": "0" * 64},
    "seed": 1,
    "command": "skinlesion train --preset tiny",
    "metrics": {"val": {"iou": 0.5}},
}
# Of the live image: what is drawn, and which image it is; null until it is.
_LIVE = {
    ".after": "all => all.map(s => s.dataset.drawn ? s.querySelector('canvas').toDataURL() : null)",
    ".before": "all => all.map(s => s.dataset.drawn ?? null)",
}
PATIENCE = 120_000  # milliseconds for anything: the machine may be busy
WIDE, PHONE = (1400, 1000), (400, 850)
# Streamlit itself asks for these beside the page's path before it asks at the root: not the app's errors.
_PROBES = ("/_stcore/health", "/_stcore/host-config")
_READY = """() => document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-testid="stMain"] [data-testid="stSkeleton"]')"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class Server:
    """The app that is running.

    Attributes:
        url: its address, without a slash at the end.
        process: its process.
        notes: the file that `serve.py` writes.
        weights: the folder of checkpoints.
    """

    url: str
    process: subprocess.Popen
    notes: Path
    weights: Path

    def noted(self, kind: str) -> list[str]:
        """What was noted: for "load" the checkpoints' names, for "run" how many images each time."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split(" ", 1)[1] for line in lines if line.startswith(f"{kind} ")]

    def memory(self) -> int:
        """Bytes of the process in memory."""
        (line,) = [
            line
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS:")
        ]
        return 1024 * int(line.split()[1])


@pytest.fixture(scope="session")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, with the weights that come with the package and some of its own."""
    folder = tmp_path_factory.mktemp("browser")
    weights, notes, log = folder / "weights", folder / "notes", folder / "log"
    weights.mkdir()
    _write_weights(weights)
    write_dataset(folder / "data" / "clinic", n=4, seed=8, size=64)
    (folder / "empty").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"port": port, "headless": "true", "fileWatcherType": "none", "address": "127.0.0.1"}
    words = [f"--server.{name}={value}" for name, value in options.items()]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
    env |= {"SKINLESION_WEIGHTS_DIR": str(weights), "SKINLESION_DEVICE": "cpu"}
    env |= {"SKINLESION_RUNS_DIR": str(folder / "empty"), "SKINLESION_RESULTS_DIR": str(folder / "empty")}
    env |= {"SKINLESION_DATA_DIR": str(folder / "data")}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve.py")), str(notes), *words],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health", process, log)
            yield Server(f"http://127.0.0.1:{port}", process, notes, weights)
        finally:
            process.terminate()
            process.wait(60)


def _write_weights(folder: Path) -> None:
    torch.manual_seed(3)
    small = {"dim": 16, "depths": (1, 1, 1), "decoder_depths": (1, 1, 1), "d_state": 4}
    save_checkpoint(folder / "random.safetensors", create_model("tiny", **small), CARD)
    save_checkpoint(folder / "plain.safetensors", create_model("vmunet", **small), CARD)
    model, card = load_checkpoint(ROOT / "skinlesion" / "weights" / "small.safetensors")
    save_checkpoint(folder / "eight.safetensors", model, {**card, "seed": 8})  # for the load test alone


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@dataclass
class Visit:
    """A visitor with a browser profile of their own.

    Attributes:
        page: Playwright's.
        url: of the server.
        problems: errors in the console that are the app's own, and failed requests.
        elsewhere: requests that went to another machine.
    """

    page: Any
    url: str
    problems: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", self._request)
        self.page.on("websocket", self._request)

    def _console(self, message: Any) -> None:
        path = urlsplit(message.location.get("url", "")).path
        probe = path.endswith(_PROBES) and "404" in message.text
        if message.type == "error" and not probe:
            self.problems.append(f"console: {message.text} ({path})")

    def _request(self, asked: Any) -> None:
        parts = urlsplit(asked.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.elsewhere.append(asked.url)

    def open(self, view: str = "segment", **query: str) -> "Visit":
        """Go to a view and wait until it is drawn."""
        path = "" if view == "segment" else view
        self.page.goto(f"{self.url}/{path}?{urlencode(query)}", timeout=PATIENCE)
        self.ready()
        return self

    def ready(self) -> None:
        """Wait until the page is complete, footer and charts included."""
        self.page.get_by_text("Not a medical device").first.wait_for(timeout=PATIENCE)
        self.page.wait_for_function(_READY, timeout=PATIENCE)

    def until(self, true: Callable[[], Any], what: str) -> Any:
        """Wait for anything; what it gave at last."""
        end = time.monotonic() + PATIENCE / 1000
        while not (found := true()):
            assert time.monotonic() < end, f"waited in vain: {what}"
            self.page.wait_for_timeout(50)
        return found

    def at(self, key: str) -> Any:
        """The element that a Streamlit key names, and not what a rerun leaves standing beside it for a moment."""
        return self.page.locator(f'.st-key-{key}:not([data-retained="true"])')

    def query(self) -> dict[str, str]:
        """What the address says."""
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.page.url).query).items()}

    def until_query(self, key: str, value: str | None) -> None:
        """Wait until the address says so; None: does not name it."""
        self.until(lambda: self.query().get(key) == value, f"{key}={value} in {self.page.url}")

    def said(self) -> str:
        """All text of the page."""
        return self.page.locator('[data-testid="stMain"]').inner_text()

    def footer(self) -> str:
        """The line of facts."""
        return self.page.get_by_text("scan engine").last.inner_text()

    def source(self, key: str = "live", part: str = ".after") -> str:
        """A picture's data URI, as soon as there is one."""
        return self.until(lambda: self._source(key, part), f"the picture {key}")

    def _source(self, key: str, part: str) -> str | None:
        """The data URI right now; None while there is no picture, or while a rerun shows two."""
        if key == "live":
            read = _LIVE[part]
            found = [each for each in self.at(key).locator(".stage").evaluate_all(read) if each]
        else:
            read = "all => all.map(image => image.getAttribute('src'))"
            found = self.at(key).locator(f"img{part}").evaluate_all(read)
        return found[0] if len(found) == 1 else None

    def picture(self, key: str = "live", part: str = ".after") -> np.ndarray:
        """A picture's pixels, uint8 (H, W, 3)."""
        with urllib.request.urlopen(self.source(key, part)) as data:
            return np.asarray(Image.open(io.BytesIO(data.read())))

    def changed(self, old: str, key: str = "live", part: str = ".after") -> str:
        """Wait until a picture is another; its data URI."""

        def other() -> str | None:
            found = self._source(key, part)
            return found if found != old else None

        return self.until(other, f"another picture {key}")

    def chosen(self, key: str) -> str:
        """What a menu shows."""
        return self.at(key).locator("input").input_value()

    def until_set(self, slider: str, value: str) -> None:
        """Wait until a slider of the live image, which takes its value with the image, stands so."""
        found = self.at("live").locator(f".{slider} input")
        self.until(lambda: found.input_value(timeout=PATIENCE) == value, f"{slider} at {value}")

    def press(self, key: str) -> None:
        """A shortcut: pressed while no field has the focus."""
        self.page.evaluate("document.activeElement?.blur()")
        self.page.keyboard.press(key)

    def slide(self, key: str, by: int) -> None:
        """Move a slider by so many steps."""
        live = self.at("live").locator(f".{key} input")
        self.until(lambda: live.count() or self.at(key).count(), f"the slider {key}")
        thumb = live if live.count() else self.at(key).get_by_role("slider")
        thumb.focus(timeout=PATIENCE)
        for _ in range(abs(by)):
            self.page.keyboard.press("ArrowRight" if by > 0 else "ArrowLeft")

    def upload(self, *files: tuple[str, bytes]) -> None:
        """Hand over files of one's own."""
        chooser = self.page.locator('input[type="file"]')
        self.ready()  # a field that was just used is being replaced
        if not chooser.count():
            self.page.get_by_role("button", name="Your own images").click(timeout=PATIENCE)
        chooser.set_input_files(
            [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files], timeout=PATIENCE
        )

    def download(self, key: str) -> bytes:
        """Click a download button; the file."""
        with self.page.expect_download(timeout=PATIENCE) as coming:
            self.at(key).get_by_role("button").click(timeout=PATIENCE)
        return Path(coming.value.path()).read_bytes()

    def check(self) -> None:
        """Nothing went wrong in the browser, and nothing was fetched from elsewhere."""
        assert self.page.locator('[data-testid="stException"]').count() == 0
        assert self.problems == []
        assert self.elsewhere == []


@pytest.fixture
def visitor(chromium: Any, server: Server) -> Iterator[Callable[..., Visit]]:
    """visitor(size=PHONE): a new visitor; checked, and gone, when the test ends.

    A visitor can come with a browser of their own, and with permissions for the page.
    """
    visits: list[Visit] = []

    def come(size: tuple[int, int] = WIDE, browser: Any = None, permissions: tuple[str, ...] = ()) -> Visit:
        viewport = {"width": size[0], "height": size[1]}
        page = (browser or chromium).new_context(viewport=viewport, permissions=list(permissions)).new_page()
        page.set_default_timeout(PATIENCE)
        visits.append(Visit(page, server.url))
        return visits[-1]

    try:
        yield come
        for visit in visits:
            visit.check()
    finally:
        for visit in visits:
            visit.page.context.close()
