"""Eight visitors at once, for two minutes, in mixed views: does each see their own results, and does memory settle?

    python benchmarks/visitors.py

Needs Playwright and Chromium. Starts the app by itself, and writes benchmarks/results/visitors.json and visitors.md.

Each visitor has a browser profile, an image and choices of their own. First each goes through all views while nobody
else does; what only their pages show (texts, pictures, the numbers behind charts) is theirs. Then all go through the
views at once, each in an order of their own. A part that is another visitor's, at any moment, is a crossed result; a
visit is right once all of the visitor's own parts are there.
"""

import argparse
import asyncio
import io
import json
import os
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from app_visitor import VIEWS, Visitor
from PIL import Image
from running_app import RESULTS, chromium, processor, running_app, write

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.data.synthetic import synthesize
from skinlesion.segmenter import Segmenter

ALLOWED = 0.2  # how far memory may be from its plateau


def memory(pid: int) -> int:
    """Bytes of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def watch(pid: int, samples: list[tuple[float, int]]) -> None:
    """Note the memory every second, until it is cancelled."""
    started = time.monotonic()
    while True:
        samples.append((time.monotonic() - started, memory(pid)))
        await asyncio.sleep(1)


async def measure(people: int, seconds: float) -> dict[str, Any]:
    """All of it."""
    from playwright.async_api import async_playwright

    images = [synthesize(seed=300 + i, size=(180, 180 + 12 * i)).image for i in range(people)]
    with running_app() as (url, pid):
        async with async_playwright() as run:
            browser = await run.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            visitors = []
            for number, image in enumerate(images):
                context = await browser.new_context(viewport={"width": 1200, "height": 800})
                visitors.append(Visitor(number, await context.new_page(), _png(image)))
            marks = {"started": memory(pid)}
            await _alone(visitors, url, images)
            marks["after each alone"] = memory(pid)
            samples: list[tuple[float, int]] = []
            watching = asyncio.create_task(watch(pid, samples))
            until = time.monotonic() + seconds
            crowd = []
            for visitor in visitors:
                rest = [each for each in visitors if each is not visitor]
                others = {view: frozenset().union(*(each.own[view] for each in rest)) for view in VIEWS}
                crowd.append(visitor.wander(until, others))
            await asyncio.gather(*crowd)
            watching.cancel()
            await browser.close()
    return _summary(visitors, marks, samples, seconds)


async def _alone(visitors: list[Visitor], url: str, images: list[Any]) -> None:
    """Each goes through all views while nobody else does, which shows what is theirs."""
    segmenter = Segmenter.from_pretrained(DEFAULT_WEIGHTS)
    seen: list[dict[str, frozenset[str]]] = []
    for visitor, image in zip(visitors, images, strict=True):
        await visitor.come(url)
        seen.append({view: await visitor.look(view) for view in VIEWS})
        area = f"text {100 * segmenter.segment(image).area_fraction:.1f}%"
        if area not in seen[-1]["segment"]:
            raise SystemExit(f"Visitor {visitor.number} doesn't see the mask of their own image, even alone.")
    for number, visitor in enumerate(visitors):
        for view in VIEWS:
            rest = frozenset().union(*(pages[view] for i, pages in enumerate(seen) if i != number))
            visitor.own[view] = seen[number][view] - rest
            if not visitor.own[view]:
                raise SystemExit(f"{view} shows visitor {number} nothing of their own, so nothing can be checked.")


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _summary(
    visitors: list[Visitor], marks: dict[str, int], samples: list[tuple[float, int]], seconds: float
) -> dict[str, Any]:
    visits = sum((visitor.visits for visitor in visitors), Counter())
    times = sorted(time for visitor in visitors for time in visitor.seconds)
    plateau = statistics.median(size for at, size in samples if at >= seconds / 2)
    sizes = [size for _, size in samples]
    return {
        "people": len(visitors),
        "seconds": seconds,
        "visits": {view: visits[view] for view in VIEWS},
        "parts_of_their_own": {view: min(len(visitor.own[view]) for visitor in visitors) for view in VIEWS},
        "crossed": [part for visitor in visitors for part in visitor.crossed],
        "wrong": [view for visitor in visitors for view in visitor.wrong],
        "visit_seconds": {"median": statistics.median(times), "slowest": times[-1]},
        "memory": {
            **marks,
            "plateau": plateau,
            "lowest": min(sizes),
            "highest": max(sizes),
            "every_ten_seconds": [size for i, size in enumerate(sizes) if i % 10 == 0],
        },
    }


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    machine, memory = found["machine"], found["memory"]
    plateau = memory["plateau"]
    away = max(memory["highest"] / plateau - 1, 1 - memory["lowest"] / plateau)
    lines = [
        "# Eight visitors at once" if found["people"] == 8 else f"# {found['people']} visitors at once",
        "",
        f"{machine['processor']}, {machine['cores']} cores, load average {machine['load'][0]:.1f} at the start and "
        f"{machine['load'][1]:.1f} at the end, app and browsers on the same machine. Written by `python "
        "benchmarks/visitors.py`.",
        "",
        f"{found['people']} visitors with an image and choices of their own went from view to view for "
        f"{found['seconds']:.0f} s, each in an order of their own: **{sum(found['visits'].values())} visits, "
        f"{len(found['crossed'])} crossed results**, {len(found['wrong'])} visits that didn't show all of the "
        f"visitor's own. A visit took {found['visit_seconds']['median']:.1f} s (median; slowest "
        f"{found['visit_seconds']['slowest']:.1f} s).",
        "",
        "A result is crossed if anything that only another visitor's pages show (a text, a picture, the numbers of a "
        "chart) appears, at any moment. What is whose was noted before, when each went through all views alone.",
        "",
        "| view | visits | parts that tell a visitor from all others (fewest) |",
        "| --- | ---: | ---: |",
        *(f"| {view} | {found['visits'][view]} | {found['parts_of_their_own'][view]} |" for view in VIEWS),
        "",
        f"Memory of the app: {memory['started'] / 1e6:.0f} MB when it had started, "
        f"{memory['after each alone'] / 1e6:.0f} MB after each visitor had seen all views, plateau "
        f"{plateau / 1e6:.0f} MB (median of the second half). During the {found['seconds']:.0f} s it was between "
        f"{memory['lowest'] / 1e6:.0f} and {memory['highest'] / 1e6:.0f} MB: **at most {100 * away:.1f}% from the "
        f"plateau** (allowed: {100 * ALLOWED:.0f}%).",
        "",
        "Every ten seconds, MB: " + ", ".join(f"{size / 1e6:.0f}" for size in memory["every_ten_seconds"]) + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, write; 1 if a result was crossed or missing, or memory didn't settle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for visitors.json and visitors.md")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    found = asyncio.run(measure(options.people, options.seconds))
    machine = {"processor": processor(), "cores": os.cpu_count(), "load": [before, os.getloadavg()[0]]}
    found = {"machine": machine, **found}
    write(options.out, "visitors.json", json.dumps(found, indent=2) + "\n")
    write(options.out, "visitors.md", table(found))
    print(table(found))
    memory = found["memory"]
    settled = all(abs(memory[end] / memory["plateau"] - 1) <= ALLOWED for end in ("lowest", "highest"))
    return int(bool(found["crossed"] or found["wrong"]) or not settled)


if __name__ == "__main__":
    sys.exit(main())
