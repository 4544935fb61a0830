"""How long the live page takes in a real browser: `python benchmarks/live_page.py build/live`, after `make live`.

Serves the folder on this machine, opens it in headless Chromium as a new visitor (nothing cached) at two widths, and
takes two times: from the address to the first mask, which includes loading the network and the runtime, and from
choosing another image to its mask. Writes benchmarks/results/live.json and live.md. Needs Playwright and Chromium.
"""

import argparse
import functools
import http.server
import json
import os
import platform
import shutil
import statistics
import threading
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WIDTHS = {"1280 x 800": (1280, 800), "400 x 800": (400, 800)}
ROUNDS = 5
PATIENCE = 120_000  # milliseconds
_SHOWN = "() => document.querySelector('#fraction').textContent.includes('%')"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A plain static server, with the types of this page's files."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def visit(browser: Any, address: str, width: int, height: int) -> dict[str, float]:
    """Of a new visitor: seconds to the first mask, and to that of another image."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(_SHOWN, timeout=PATIENCE)
    first = time.perf_counter() - started
    samples = page.locator("#samples button")
    another = page.evaluate(
        """async () => {
            const started = performance.now();
            const cleared = () => !document.querySelector('#fraction').textContent.includes('%');
            document.querySelectorAll('#samples button')[5].click();
            while (!cleared()) await new Promise(done => requestAnimationFrame(done));
            while (cleared()) await new Promise(done => requestAnimationFrame(done));
            return (performance.now() - started) / 1000;
        }"""
    )
    assert samples.count() > 5
    network = float(page.locator("#time").inner_text().removesuffix(" s"))
    context.close()
    return {"first": first, "another": another, "network": network}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    load, found = os.getloadavg()[0], {}
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, size in WIDTHS.items():
            visits = [visit(browser, f"http://127.0.0.1:{server.server_port}/", *size) for _ in range(ROUNDS)]
            found[name] = {what: statistics.median(each[what] for each in visits) for what in visits[0]}
            found[name]["slowest"] = max(each["first"] for each in visits)
        browser.close()
    server.shutdown()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": load}
    found["bytes"] = size
    (RESULTS / "live.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "live.md").write_text(table(found), encoding="utf-8")
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    lines = [
        "# The live page's times",
        "",
        f"Headless Chromium and a static server on one machine with {found['machine']['cores']} cores, load average "
        f"{found['machine']['load']:.1f} at the start; medians of {ROUNDS} new visitors, nothing cached. The folder "
        f"has {found['bytes'] / 1e6:.0f} MB. Written by `python benchmarks/live_page.py build/live`.",
        "",
        "| window | address to first mask (s; aim: 3) | slowest | another image (s) | of which the network |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in WIDTHS:
        row = found[name]
        times = " | ".join(f"{row[what]:.2f}" for what in ("first", "slowest", "another", "network"))
        lines.append(f"| {name} | {times} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
