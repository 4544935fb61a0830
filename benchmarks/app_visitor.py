"""A visitor of the dashboard in a browser, who notices whether anything on the page is somebody else's."""

import itertools
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from running_app import PATIENCE, READY, ROOT

sys.path.insert(0, str(ROOT))
from dashboard.frame import PAGES
from skinlesion.data.samples import bundled_samples

VIEWS = ("segment", "network", "overview", "intervene", "attention", "channels", "scan", "why", "compare", "errors")
JOBS = {"why": "Explain", "errors": "Evaluate"}  # what they show has to be asked for: the button's first word
TITLES = {name: title for views in PAGES.values() for name, title, _ in views}
# Everything on the page that depends on an image: texts, pictures and charts, without the strip to choose from, the
# footer (it has times) and what says how long something will take.
_PARTS = """() => {
    const hash = (text) => {
        let h = 2166136261;
        for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
        return `${text.length}:${(h >>> 0).toString(16)}`;
    };
    const kinds = ['stMarkdownContainer', 'stCaptionContainer', 'stMetricValue'];
    const texts = [...kinds.map(kind => `[data-testid="${kind}"]`), 'dd', 'p.counts'].join(',');
    const skipped = '.st-key-gallery, .st-key-footer, .st-key-heading, [data-testid="stButton"]';
    const found = [];
    const walk = (root) => {
        for (const e of root.querySelectorAll('*')) {
            if (e.closest(skipped)) continue;
            if (e.shadowRoot) walk(e.shadowRoot);
            if (e.matches(texts) && !/\\d ms\\b|Takes about/.test(e.textContent)) found.push(`text ${e.textContent}`);
            if (e.matches('img') && e.src) found.push(`picture ${hash(e.src)}`);
            if (e.matches('.js-plotly-plot'))
                for (const { x, y, z } of e.data ?? []) found.push(`chart ${hash(JSON.stringify([x, y, z]))}`);
        }
    };
    walk(document.querySelector('[data-testid="stMain"]'));
    return found;
}"""


@dataclass
class Visitor:
    """One of them.

    Attributes:
        number: from 0.
        page: Playwright's.
        file: the image that they upload.
        own: by view, the parts that only they see.
        seconds: of every visit in the crowd.
        visits: by view, how many of them were right.
        wrong: visits whose own parts didn't all come.
        crossed: parts of others that were seen, with the view.
    """

    number: int
    page: Any
    file: bytes
    own: dict[str, frozenset[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    visits: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)

    async def come(self, url: str) -> None:
        """Open the app with choices of one's own, and upload the image."""
        cases = sorted(sample.id for sample in bundled_samples() if sample.kind == "real")
        choices = {
            "edits": f"e.500.500.{100 + 20 * self.number}",
            "py": 300 + 50 * self.number,
            "case": cases[self.number % len(cases)],
            "method": "grad_cam",
        }
        await self.page.goto(f"{url}/?{urlencode(choices)}", timeout=PATIENCE)
        await self.ready()
        await self.page.get_by_role("button", name="Your own images").click()
        name = f"visitor {self.number}.png"
        await self.page.locator('input[type="file"]').set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": self.file}
        )
        await self.page.wait_for_function(
            "name => document.querySelector('.st-key-sample input')?.value === name", arg=name, timeout=PATIENCE
        )
        await self.page.keyboard.press("Escape")
        await self.ready()

    async def ready(self) -> None:
        """Wait until the page is complete."""
        await self.page.wait_for_function(READY, timeout=PATIENCE)

    async def go(self, view: str) -> None:
        """To a view by the sidebar, as people do."""
        link = self.page.locator('[data-testid="stSidebarNav"]').get_by_role("link", name=TITLES[view], exact=True)
        await link.click(timeout=PATIENCE)
        heading = self.page.locator('[data-testid="stMain"] h1', has_text=TITLES[view])
        await heading.wait_for(timeout=PATIENCE)
        await self.ready()

    async def parts(self) -> frozenset[str]:
        """What is on the page right now."""
        return frozenset(await self.page.evaluate(_PARTS))

    async def look(self, view: str) -> frozenset[str]:
        """All that a view shows, its work done, once nothing changes any more."""
        await self.go(view)
        if view in JOBS:
            await self.page.get_by_role("button", name=JOBS[view]).first.click()
            await self.page.wait_for_timeout(1000)
            await self.page.get_by_role("button", name="Stop").wait_for(state="hidden", timeout=PATIENCE)
            await self.ready()
        before, now = None, await self.parts()
        while before != now:
            await self.page.wait_for_timeout(1000)
            before, now = now, await self.parts()
        return now

    async def wander(self, until: float, others: dict[str, frozenset[str]]) -> None:
        """From view to view, in an order of one's own, until the time is over."""
        order = list(VIEWS)
        random.Random(self.number).shuffle(order)
        for view in itertools.cycle(order):
            if time.monotonic() > until:
                return
            started = time.monotonic()
            await self.go(view)
            patience = time.monotonic() + PATIENCE / 1000
            while not self.own[view] <= (seen := await self.parts()) and time.monotonic() < patience:
                self.crossed += [f"{view}: {part}" for part in seen & others[view]]
                await self.page.wait_for_timeout(100)
            self.crossed += [f"{view}: {part}" for part in seen & others[view]]
            if self.own[view] <= seen:
                self.visits[view] += 1
                self.seconds.append(time.monotonic() - started)
            else:
                self.wrong.append(view)
