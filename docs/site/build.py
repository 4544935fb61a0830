"""Build the site: python docs/site/build.py FOLDER

Sphinx wants all sources in one folder. They are copied there with the repository's layout, so that the links between
them hold, together with a page for each public module. MathJax and, where it was built, the live page are copied into
the site.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_EXERCISES = re.compile(r"\[exercises\]\(\.\./(\d\d_\w+\.ipynb)\)")
_BADGE = re.compile(r"\[!\[([^\]]+)\]\([^)]+\)\]")  # an image from elsewhere, around a link
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([\w./-]+)\)")
MATHJAX = "mathjax@3.2.2"
# Pages and what they link to, by pattern.
SOURCES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/*.md",
    "docs/*.png",
    "docs/*.webp",
    "docs/*.gif",
    "docs/live/README.md",
    "notebooks/*.ipynb",
    "notebooks/solutions/*.ipynb",
    "notebooks/glossary.md",
    "benchmarks/results/**/*.md",
    "benchmarks/results/**/*.png",
    "skinlesion/weights/*.md",
    "skinlesion/data/samples/NOTICE",
    "skinlesion/**/*.py",
    "benchmarks/*.py",
)
# Public modules and the title of their page.
API = {
    "skinlesion.segmenter": "Segmenter",
    "skinlesion.hooks": "Observe and intervene",
    "skinlesion.extend": "Extend",
    "skinlesion.evaluation": "Evaluation",
    "skinlesion.calibration": "Calibration",
    "skinlesion.checkpoint": "Checkpoints",
    "skinlesion.model.ss2d": "SS2D",
    "skinlesion.model.se": "Squeeze-and-excitation",
    "skinlesion.model.cmn": "Channel-mixing network",
    "skinlesion.model.cra": "Cross-region attention",
    "skinlesion.model.block": "The CM-SSM block",
    "skinlesion.model.unet": "The network",
    "skinlesion.scan": "The selective scan",
    "skinlesion.scan.reference": "The scan's reference",
    "skinlesion.losses": "Losses",
    "skinlesion.metrics": "Metrics",
    "skinlesion.zoo": "The compared networks",
    "skinlesion.data.layouts": "Data layouts",
    "skinlesion.data.splits": "Splits",
    "skinlesion.training.config": "Training options",
    "skinlesion.training.trainer": "Training",
}


def main(out: Path) -> int:
    """Assemble the sources, run Sphinx, and put everything into `out`."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        _assemble(source)
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", str(source), str(out)]
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
        _copy_mathjax(out / "_static" / "mathjax")
    (out / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with _
    live = ROOT / "build" / "live"
    if live.is_dir():
        shutil.copytree(live, out / "live", dirs_exist_ok=True)
    print(f"The site is in {out}.")
    return 0


def _assemble(source: Path) -> None:
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for path in (source / "notebooks" / "solutions").glob("*.ipynb"):  # the exercises are files, not pages
        text = path.read_text(encoding="utf-8")
        text = _BADGE.sub(r"[\1]", _EXERCISES.sub(r"{download}`exercises <../\1>`", text))
        path.write_text(text, encoding="utf-8")
    for path in source.rglob("*.md"):
        text = _BADGE.sub(r"[\1]", path.read_text(encoding="utf-8"))
        path.write_text(_without_folders(text, path.relative_to(source)), encoding="utf-8")
    for path in Path(__file__).parent.iterdir():
        if path.suffix in (".md", ".py") and path.name != "build.py":
            shutil.copy(path, source / path.name)
    (source / "_static").mkdir()
    for module, title in API.items():
        _write_api(source / "api" / f"{module}.md", module, title)


def _without_folders(text: str, page: Path) -> str:
    """A page whose links to the repository's folders, which aren't pages, are plain text."""

    def link(found: re.Match[str]) -> str:
        return found[1] if (ROOT / page.parent / found[2]).is_dir() else found[0]

    return _LINK.sub(link, text)


def _write_api(path: Path, module: str, title: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# {title}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n", encoding="utf-8")


def _copy_mathjax(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", MATHJAX], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        shutil.unpack_archive(next(Path(folder).glob("*.tgz")), folder)
        scripts = Path(folder) / "package" / "es5"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(scripts / "tex-mml-chtml.js", target)
        shutil.copytree(
            scripts / "output" / "chtml" / "fonts", target / "output" / "chtml" / "fonts", dirs_exist_ok=True
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
