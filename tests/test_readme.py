"""What README.md and the guides tell a newcomer to type, typed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.checkpoint import available_weights
from skinlesion.cli import COMMANDS
from skinlesion.demo import NEXT
from skinlesion.reproduce.convergence import ranking_text
from skinlesion.reproduce.factorial import finding
from skinlesion.reproduce.report import SHORT, claims_table, count_verdicts

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/use.md", "docs/install.md")}
README = "\n".join(PAGES.values())
CLAIMS = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- (test[^>]*?) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
# The commands are the README's; only how long they take is reduced.
SMALLER = {r"--n \d+": "--n 12", r"--epochs \d+": "--epochs 1", r"--size \d+": "--size 32"}


def blocks(language: str, mark: str) -> list[str]:
    return [text for found, kind, text in BLOCK.findall(README) if kind == language and found == mark]


def commands(text: str) -> list[str]:
    return [line[2:] for line in text.splitlines() if line.startswith(("$ ", "> "))]


def run(command: str, folder: Path) -> str:
    """Run one line of a console block in a process of its own."""
    words = shlex.split(command)
    assert words[0] == "skinlesion", command
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.slow
def test_commands_that_need_no_data(folder: Path) -> None:
    lines = [line for text in blocks("console", "test") for line in commands(text)]
    assert len(lines) >= 5
    for line in lines:
        for long, short in SMALLER.items():
            line = re.sub(long, short, line)
        run(line, folder)
    for made in ("run/best.safetensors", "scores.json", "masks/predictions.csv", "mine.safetensors", "mine.md"):
        assert (folder / made).is_file(), made


@pytest.mark.slow
@pytest.mark.skipif("small" not in available_weights(), reason="no weights are shipped yet")
def test_commands_and_python_with_the_shipped_weights(folder: Path) -> None:
    for text in blocks("console", "test: shipped"):
        for line in commands(text):
            run(line, folder)
    assert (folder / "results" / "photo_mask.png").is_file()
    assert (folder / "demo" / "skinlesion-demo.html").is_file()
    said = ""
    for code in blocks("python", "test: shipped"):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert "of the image is lesion" in said
    assert "torch.Size([1, 20, 48])" in said  # the gates of S2


def test_every_command_that_is_shown_exists_with_its_flags(cli) -> None:
    shown = [line for _, kind, text in BLOCK.findall(README) if kind == "console" for line in commands(text)]
    shown = [line for line in shown if line.startswith("skinlesion ")]
    assert len(shown) > 10
    shown += [line.split(" #")[0] for line in NEXT]
    for line in shown:
        words = shlex.split(line)[1:]
        name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS)
        _, out, _ = cli(*name.split(), "--help")
        for flag in (word for word in words if word.startswith("--") and word != "--help"):
            assert flag in out or flag == "--recipe", f"{line}: {flag}"


def test_make_targets_folders_and_links_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|\$ )make ([\w-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name, page in PAGES.items():
        headings = re.findall(r"^#+ (.*)", page, re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings]
        for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", page):
            assert not path or (ROOT / name).parent.joinpath(path).exists(), f"{name}: {path}"
            assert not anchor or path or anchor in anchors, f"{name}: {anchor}"
    for path in re.findall(r"`(skinlesion/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path


def test_the_claims_are_those_of_the_results() -> None:
    """`python docs/results.py` brings the page up to date."""
    summary = json.loads((ROOT / "benchmarks/results/reproduce/cpu/summary.json").read_text("utf-8"))
    assert count_verdicts(summary["claims"]) in CLAIMS
    assert claims_table(summary["claims"], SHORT) in CLAIMS
    assert len(summary["factorials"]) == 2
    assert all(finding(each) in CLAIMS for each in summary["factorials"])
    ranking = summary["tables"]["convergence"]["ranking"]
    assert ranking_text(ranking) in CLAIMS
    long = {each["label"]: each["long"] for each in ranking["systems"]}
    assert sorted(long, key=lambda label: -long[label])[:3] == ["TransFuse", "U-Net", "the full network"]
    assert max(long.values()) - min(long.values()) < 1
    for other in ("VM-UNet", "the full network without distillation"):
        assert 0 < long["the full network"] - long[other] < ranking["reach"]
    text = " ".join(README.split())
    longer = [row["mean"]["iou"] for row in summary["tables"]["longest"]["rows"]]
    said = f"for 100 epochs reaches {longer[2] / 100:.3f}, against a mean of {longer[1] / 100:.3f} after 32"
    assert said in text
    said = f"reaches {longer[2]:.2f}, {longer[2] - longer[1]:.1f} points more than the mean after 32"
    assert said in " ".join(CLAIMS.split())
    assert (longer[2] - longer[1]) / ranking["reach"] == pytest.approx(6, abs=0.5)
    assert "After 32 epochs, three runs each, five systems lie within a point of each other: TransFuse is first" in text
