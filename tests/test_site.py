"""The site: it builds without a warning, its links lead somewhere, and it loads nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
# Addresses that pages may link to but not load from.
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Links(HTMLParser):
    """What a page links to and loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif (name := LOADS.get(tag)) in values and values.get("rel") not in ("canonical", "search", "index"):
            self.loads.append(values[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: the site's MathJax comes from there")
    out = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_every_link_inside_the_site_leads_somewhere(site: Path) -> None:
    paths = (path for path in site.rglob("*.html") if "_static" not in path.parts)  # where the theme's templates are
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in paths}
    assert len(pages) > 60
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{path.relative_to(site)}: {link} (no such heading)")
    assert not broken, "\n".join(broken[:20])


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {link for path in site.rglob("*.html") for link in Links(path.read_text(encoding="utf-8")).loads}
    assert len(loaded) > 20
    assert not [link for link in loaded if urlsplit(link).netloc]
    assert (site / "_static/mathjax/tex-mml-chtml.js").is_file()


@pytest.mark.slow
def test_lessons_and_reference_are_there(site: Path) -> None:
    assert len(list((site / "notebooks/solutions").glob("*.html"))) >= 16
    hooks = (site / "api/skinlesion.hooks.html").read_text(encoding="utf-8")
    assert re.search(r'id="skinlesion.hooks.observe"', hooks)
