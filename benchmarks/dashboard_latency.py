"""How long the dashboard takes, in a real browser: every view, first and again, and the moves of its sliders.

    python benchmarks/dashboard_latency.py

Needs Playwright and Chromium. Starts the app by itself, and writes benchmarks/results/dashboard.json and dashboard.md.

A view's time goes from the address to the complete page: footer, charts and pictures. First: nobody has opened it since
the app was started. Again: the same page loaded again. By a click: from another view, in the sidebar. A slider's time
goes from the key that moves it to the next frame after the picture has changed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from running_app import PATIENCE, READY, RESULTS, ROOT, chromium, processor, running_app, write

sys.path.insert(0, str(ROOT))
REPAINT, OPENING = 200, 3000  # milliseconds: the aims
SLIDERS = (("compare", "threshold", "compare-wipe"),)
FRAME = 30  # milliseconds: the aim for a live frame

# `moved` resolves with the milliseconds from the key to the frame after the new picture.
_WATCH = """(key) => {
    const find = (root) => [...root.querySelectorAll('*')]
        .flatMap(e => [...(e.matches('img.after') ? [e] : []), ...(e.shadowRoot ? find(e.shadowRoot) : [])]);
    const [image] = find(document.querySelector(`.st-key-${key}`));
    window.moved = new Promise((resolve) => {
        let pressed;
        document.addEventListener('keydown', (event) => { pressed = event.timeStamp; }, { capture: true, once: true });
        const observer = new MutationObserver(() => {
            observer.disconnect();
            image.decode().then(() => requestAnimationFrame(() => requestAnimationFrame(() =>
                resolve(performance.now() - pressed))));
        });
        observer.observe(image, { attributes: true, attributeFilter: ['src'] });
    });
}"""


def address(url: str, view: str) -> str:
    """Of a view."""
    return f"{url}/" if view == "segment" else f"{url}/{view}"


def load(page: Any, url: str, view: str) -> float:
    """Milliseconds until a view that is loaded anew is complete."""
    started = time.perf_counter()
    page.goto(address(url, view), timeout=PATIENCE, wait_until="commit")
    page.wait_for_function(READY, timeout=PATIENCE)
    return 1000 * (time.perf_counter() - started)


def first_prediction(page: Any, url: str) -> tuple[float, float]:
    """Milliseconds from the address to the first picture with a mask, and until the view is complete."""
    started = time.perf_counter()
    page.goto(url, timeout=PATIENCE, wait_until="commit")
    page.locator(".st-key-live .stage[data-drawn]").wait_for(timeout=PATIENCE)
    mask = time.perf_counter()
    page.wait_for_function(READY, timeout=PATIENCE)
    return 1000 * (mask - started), 1000 * (time.perf_counter() - started)


def click(page: Any, title: str) -> float:
    """Milliseconds until a view is complete that was asked for in the sidebar."""
    heading = page.locator('[data-testid="stMain"] h1', has_text=title)
    link = page.locator('[data-testid="stSidebarNav"]').get_by_role("link", name=title, exact=True)
    started = time.perf_counter()
    link.click(timeout=PATIENCE)
    heading.wait_for(timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    return 1000 * (time.perf_counter() - started)


def move(page: Any, key: str, picture: str, right: bool) -> float:
    """One step of a slider: milliseconds from the key to the frame after the picture has changed."""
    page.evaluate(_WATCH, picture)
    page.locator(f".st-key-{key}").get_by_role("slider").press("ArrowRight" if right else "ArrowLeft")
    repaint = page.evaluate("window.moved")
    page.wait_for_function(READY, timeout=PATIENCE)
    return repaint


_DRAG = """async () => {
    const find = (root) => [...root.querySelectorAll('*')]
        .flatMap(e => [...(e.matches('.live') ? [e] : []), ...(e.shadowRoot ? find(e.shadowRoot) : [])]);
    const [live] = find(document.querySelector('.st-key-live'));
    const stage = live.querySelector('.stage'), input = live.querySelector('.threshold input');
    const frames = [];
    for (let i = 0; i < 90; i++) {
        input.value = 0.05 + 0.01 * i;
        const started = performance.now();
        input.dispatchEvent(new Event('input'));
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        frames.push([Number(stage.dataset.frame), performance.now() - started]);
    }
    return frames;
}"""


def drag(page: Any, url: str) -> dict[str, float]:
    """The threshold of the live image dragged over its range: milliseconds of drawing, and from input to frame."""
    load(page, url, "segment")
    page.locator(".st-key-live .stage[data-drawn]").wait_for(timeout=PATIENCE)
    drawn, shown = zip(*page.evaluate(_DRAG), strict=True)
    return {"draw_ms": statistics.median(drawn), "worst_ms": max(drawn), "input_to_frame_ms": statistics.median(shown)}


def intervene(page: Any, url: str, repeats: int) -> list[float]:
    """A stamp painted on the image: milliseconds from the key to the painted image's mask, each at another place."""
    page.goto(f"{url}/intervene", timeout=PATIENCE)
    page.locator(".st-key-painter .stage[data-drawn]").wait_for(timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    stage, times, shown = page.locator(".st-key-painter .stage"), [], ""
    for _ in range(2 * repeats + 1):
        stage.press("ArrowDown")
        started = time.perf_counter()
        stage.press("Enter")
        shown = page.wait_for_function(_SHOWN, arg=shown, timeout=PATIENCE).json_value()
        times.append(1000 * (time.perf_counter() - started))
        page.wait_for_function(READY, timeout=PATIENCE)
    return times[1:]  # the first draws the charts anew


# The painted image with its mask, as soon as it is another one; the finding beside it may well read as before.
_SHOWN = """(before) => {
    const finding = document.querySelector('.st-key-finding');
    const shown = finding && document.querySelector('[data-testid="stMain"] img')?.src;
    return shown && shown !== before ? shown : false;
}"""


def measure(repeats: int) -> dict[str, Any]:
    """All of it."""
    from playwright.sync_api import sync_playwright

    from dashboard.frame import PAGES

    titles = {name: title for views in PAGES.values() for name, title, _ in views}
    found: dict[str, Any] = {"views": {}, "sliders": {}}
    with running_app() as (url, _), sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        found["first_prediction_ms"], opened = first_prediction(page, url)
        for view in titles:
            times = {"first_ms": opened if view == "segment" else load(page, url, view)}
            times["again_ms"] = statistics.median(load(page, url, view) for _ in range(repeats))
            found["views"][view] = times
        clicks: dict[str, list[float]] = {view: [] for view in titles}
        for _ in range(repeats):
            for view in [*list(titles)[1:], *list(titles)[:1]]:
                clicks[view].append(click(page, titles[view]))
        for view, times in clicks.items():
            found["views"][view]["click_ms"] = statistics.median(times)
        found["live"] = drag(page, url)
        found["intervention_ms"] = statistics.median(intervene(page, url, repeats))
        for view, key, picture in SLIDERS:
            load(page, url, view)
            page.locator(f".st-key-{picture} img.after[src]").wait_for(timeout=PATIENCE)
            moves = [move(page, key, picture, right=True) for _ in range(2 * repeats)]
            moves += [move(page, key, picture, right=False) for _ in range(2 * repeats)]
            found["sliders"][f"{view}, {key}"] = {
                "repaint_ms": statistics.median(moves),
                "worst_ms": max(moves),
                "moves": len(moves),
            }
        browser.close()
    return found


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    machine = found["machine"]
    lines = [
        "# The dashboard's latency",
        "",
        f"{machine['processor']}, {machine['cores']} cores, load average {machine['load'][0]:.1f} at the start and "
        f"{machine['load'][1]:.1f} at the end: above the number of cores the machine was shared with other work, and a "
        "quiet one is faster. Chromium without a graphics card, app and browser on the same machine; medians of "
        f"{found['repeats']} after the first. Written by `python benchmarks/dashboard_latency.py`.",
        "",
        f"From the address to the first mask, in an app that was just started: "
        f"**{found['first_prediction_ms'] / 1000:.1f} s** (aim: {OPENING / 1000:.0f} s).",
        "",
        "| view | first (s) | loaded again (s) | by a click (s) |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {view} | {times['first_ms'] / 1000:.1f} | {times['again_ms'] / 1000:.1f} | {times['click_ms'] / 1000:.1f} |"
        for view, times in found["views"].items()
    ]
    lines += [
        "",
        "A view is complete when its footer, charts and pictures are there.",
        "",
        f"| slider | repaint (ms; aim: {REPAINT}) | slowest (ms) | moves |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {slider['repaint_ms']:.0f} | {slider['worst_ms']:.0f} | {slider['moves']} |"
        for name, slider in found["sliders"].items()
    ]
    lines += [
        "",
        f"The threshold of Segment, dragged in the browser: drawing a frame takes {found['live']['draw_ms']:.1f} ms "
        f"(slowest {found['live']['worst_ms']:.1f}; aim: {FRAME}), and the picture is on the screen "
        f"{found['live']['input_to_frame_ms']:.0f} ms after the input, two frames of the display among them.",
        "",
        "A stamp painted in Intervene, with its control: the new mask is there "
        f"{found['intervention_ms']:.0f} ms after the key (aim: 500).",
        "",
        "Repaint: from the key to the frame after the picture has changed. No network runs.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for dashboard.json and dashboard.md")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    found = measure(options.repeats)
    machine = {"processor": processor(), "cores": os.cpu_count(), "load": [before, os.getloadavg()[0]]}
    found = {"machine": machine, "repeats": options.repeats, **found}
    write(options.out, "dashboard.json", json.dumps(found, indent=2) + "\n")
    write(options.out, "dashboard.md", table(found))
    print(table(found))


if __name__ == "__main__":
    main()
