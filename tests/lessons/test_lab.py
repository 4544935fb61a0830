"""A lesson in the room it is made for: opened, run, answered wrongly and rightly in JupyterLab, in a real browser."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

LESSON = "07_se.ipynb"
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
# All cells in the page, not only those in sight; no questions, no news.
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none", "autoStartDefaultKernel": true}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "completer-extension/manager": '{"autoCompletion": false}',
    "codemirror-extension/plugin": '{"defaultConfig": {"autoClosingBrackets": false}}',
}

# A folded cell shows a placeholder instead of its prompt.
_ALL_RAN = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
    .filter(prompt => !prompt.closest('.jp-Placeholder')).every(prompt => /\\[\\d+\\]/.test(prompt.innerText))"""

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(tmp_path: Path, unused_port: int) -> Iterator[str]:
    """A server whose folder holds one lesson; its address."""
    room = tmp_path / "notebooks"
    room.mkdir()
    shutil.copy(NOTEBOOKS / LESSON, room)
    for name, text in SETTINGS.items():
        path = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = [
        *(
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            f"--port={unused_port}",
            "--ServerApp.port_retries=0",
        ),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={room}"),
        *(f"--LabApp.user_settings_dir={tmp_path / 'settings'}", f"--LabApp.workspaces_dir={tmp_path / 'workspaces'}"),
    ]
    env = {**os.environ, "SKINLESION_FAST": "1", "SKINLESION_PROGRESS": str(tmp_path / "progress.json")}
    env |= {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "IPYTHONDIR": str(tmp_path / "ipython")}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, *words], env=env, stdout=log, stderr=subprocess.STDOUT)
        address = f"http://127.0.0.1:{unused_port}"
        try:
            _wait(f"{address}/api", server, tmp_path / "log")
            yield address
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(120):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def _answer(page, source: str) -> str:
    """Put a source into the first exercise's cell, run it and its check; the check's output."""
    code = page.locator(".jp-CodeCell").filter(has_text="def squeeze_excitation").first
    code.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)
    check = page.locator(".jp-CodeCell").filter(has_text='lessons.check("se.forward", squeeze_excitation)').first
    old = check.locator(".jp-InputPrompt").inner_text()
    page.keyboard.press("Shift+Enter")
    check.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    for _ in range(1200):
        prompt = check.locator(".jp-InputPrompt").inner_text()
        if prompt != old and "*" not in prompt:
            return check.locator(".jp-OutputArea-output").first.inner_text()
        page.wait_for_timeout(250)
    raise AssertionError(f"the check did not end: {prompt}")


def _run_all(browser, address: str):
    """The page of a lesson whose cells run.

    On a busy machine JupyterLab now and then loses its kernel's first messages when it opens a notebook, and then shows
    it as not connected for good. Whoever sits there loads the page again, and so does this.
    """
    from playwright.sync_api import TimeoutError as TookTooLong

    for _ in range(6):
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        try:
            page.goto(address, timeout=120_000)
            page.locator(".jp-CodeCell").first.wait_for(timeout=120_000)
            page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(timeout=30_000)
            shown = page.locator(".jp-OutputArea-output").filter(has_text="not solved yet").first
            for attempt in range(4):  # it connects twice; what is run between the two is lost, and nothing shows it
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
                try:
                    shown.wait_for(timeout=20_000 * 2**attempt)
                    break
                except TookTooLong:
                    if attempt == 3:
                        raise
        except TookTooLong as error:
            print("again:", error)
            page.close()
        else:
            return page
    raise AssertionError("the lesson did not run in six openings")


def test_a_lesson_runs_and_tells_wrong_from_right(chromium, lab: str, tmp_path: Path):
    from skinlesion import lessons

    right = lessons.solution("se.forward").source
    wrong = right.replace("sigmoid", "relu")
    assert wrong != right
    page = _run_all(chromium, f"{lab}/lab/tree/{LESSON}")
    page.wait_for_function(_ALL_RAN, timeout=300_000)
    assert page.locator(".jp-OutputArea-output").filter(has_text="Traceback").count() == 0
    assert "✗" in _answer(page, wrong)
    assert "✓" in _answer(page, right)
    if folder := os.environ.get("SKINLESION_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "lab.png")
    page.close()
    assert '"se.forward"' in (tmp_path / "progress.json").read_text()
