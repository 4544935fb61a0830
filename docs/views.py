"""Photograph every view of the dashboard in a real browser: python docs/views.py  (writes docs/dashboard-views.png)."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
PORT = 8765
BASE = f"http://127.0.0.1:{PORT}"
# view, its address, and the button that starts what it computes
VIEWS = (
    ("segment", "sample=ISIC_0014723", ""),
    ("network", "sample=ISIC_0014642&tour=2", ""),
    ("overview", "sample=ISIC_0014642", ""),
    ("intervene", "sample=ISIC_0014642&edits=e.480.620.120", ""),
    ("attention", "sample=ISIC_0012246&pick=strongest", ""),
    ("channels", "sample=ISIC_0012246", ""),
    ("scan", "sample=ISIC_0012246&py=420&px=420", ""),
    ("why", "sample=ISIC_0012246", "Explain"),
    ("compare", "sample=ISIC_0014642&off=CRA at its mean gate", ""),
    ("errors", "", "Evaluate"),
    ("runs", "run=cra&beside=plain", ""),
    ("about", "part=E3", ""),
)
COLUMNS, WIDTH, HEIGHT, SCALE = 3, 1280, 860, 0.4


def photograph(page: Page, view: str, query: str, button: str) -> Image.Image:
    """One view once it stands still."""
    page.goto(f"{BASE}/{view}?{query}")
    page.get_by_text("Not a medical device").first.wait_for(timeout=120_000)
    if button:
        page.get_by_role("button", name=button).first.click()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Stop").wait_for(state="hidden", timeout=600_000)  # until all of it is computed
    page.locator("[data-testid=stStatusWidget]").wait_for(state="hidden", timeout=300_000)
    page.wait_for_timeout(2500)
    return Image.open(BytesIO(page.screenshot())).convert("RGB")


def train(folder: Path) -> None:
    """Two short runs on drawn lesions, with CRA and without."""
    skinlesion = [sys.executable, "-m", "skinlesion"]
    lesions = folder / "lesions"
    subprocess.run([*skinlesion, "data", "synthesize", "--out", lesions, "--n", "120", "--size", "64"], check=True)
    options = ["--preset", "tiny", "--data", "folder", "--root", lesions, "--size", "64", "--epochs", "12"]
    for name, change in (("cra", []), ("plain", ["--model", "cra=false"])):
        words = [*skinlesion, "train", *options, "--batch-size", "8", "--lr", "4e-3", *change]
        subprocess.run([*words, "--out", folder / "runs" / name], check=True)


@contextmanager
def app(**settings: str) -> Iterator[Browser]:
    """The app, and a browser to visit it with."""
    words = [sys.executable, "-m", "dashboard", "--server.port", str(PORT), "--server.headless", "true"]
    server = subprocess.Popen(words, cwd=HERE.parent, stdout=subprocess.DEVNULL, env=os.environ | settings)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{BASE}/_stcore/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        with sync_playwright() as run:
            browser = run.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            yield browser
            browser.close()
    finally:
        server.terminate()


def main() -> None:
    """Visit each view, and lay the pictures out."""
    with TemporaryDirectory() as folder:
        train(Path(folder))
        with app(SKINLESION_RUNS_DIR=f"{folder}/runs") as browser:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            pictures = [photograph(page, *view) for view in VIEWS]
    size = round(WIDTH * SCALE), round(HEIGHT * SCALE)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (size[0] + 8) - 8, rows * (size[1] + 8) - 8), "#888888")
    for i, picture in enumerate(pictures):
        small = picture.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(small, (i % COLUMNS * (size[0] + 8), i // COLUMNS * (size[1] + 8)))
    sheet.quantize(128).save(HERE / "dashboard-views.png", optimize=True)


if __name__ == "__main__":
    main()
