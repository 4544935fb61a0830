"""What `pip install` gives: a wheel with app and lessons, and a core that needs none of the extras."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

from skinlesion.cli import _EXTRAS
from skinlesion.data.layouts import find_samples

ROOT = Path(__file__).parents[1]
# Hides the extras' modules, as in an environment without them, and runs one command.
_CORE = """
import importlib.metadata, sys

def hidden(name, version=importlib.metadata.version):
    if name.replace("-", "_") in sys.argv[1].split(","):
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = hidden
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from skinlesion.cli import main
sys.exit(main(sys.argv[2:]))
"""
# Without matplotlib, which torchmetrics imports where its distribution is installed, whatever hides the module.
_HIDDEN = {*_EXTRAS, "skimage", "pooch", "monai", "lightning"} - {"matplotlib"}


def core(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CORE, ",".join(_HIDDEN), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of the wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(wheel: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the wheel's package rather than the checkout's."""
    command = [sys.executable, "-m", "skinlesion", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_description_leads_somewhere_without_the_checkout(wheel: Path) -> None:
    description = next(wheel.glob("*.dist-info/METADATA")).read_text(encoding="utf-8").split("\n\n", 1)[1]
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert sum("/raw/main/docs/" in link for link in links) >= 2  # the pictures
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


@pytest.mark.slow
def test_the_core_segments_and_measures_without_any_extra(lesions: Path, tmp_path: Path) -> None:
    image = find_samples(lesions, "folder")[0].image
    for command in (
        ("predict", image, "--out", tmp_path / "results"),
        ("evaluate", "--data", "folder", "--root", lesions, "--part", "all", "--by", "tone,size,border"),
        ("data", "verify", "folder", "--root", lesions),
        ("demo", "--out", tmp_path / "demo"),
        ("doctor",),
    ):
        found = core(*command)
        assert found.returncode == 0, found.stderr
    assert (tmp_path / "results" / "predictions.csv").is_file()


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("train", "--preset", "tiny", "--data", "synthetic", "--size", "32", "--epochs", "1"), "train"),
        (("dashboard",), "app"),
        (("export", "accurate", "--onnx", "x.onnx"), "onnx"),
        (("lab", "lessons"), "course"),
        (("calibrate", "accurate", "--root", "x", "--out", "y"), "train"),
    ],
)
def test_a_missing_extra_is_named(
    command: tuple[str, ...], extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = core(*command)
    assert found.returncode != 0
    assert f"pip install 'skinlesion[{extra}]'" in found.stderr
    assert "Traceback" not in found.stderr
    assert not list(tmp_path.iterdir())


def test_each_extra_in_a_message_exists() -> None:
    extras = {each.split("extra == ")[1].strip("'\"") for each in requires("skinlesion") or () if "extra == " in each}
    assert set(_EXTRAS.values()) <= extras


def test_the_wheel_has_app_lessons_weights_and_types(wheel: Path) -> None:
    package = wheel / "skinlesion"
    for path in ("py.typed", "weights/accurate.safetensors", "data/manifests", "bundled/dashboard/views/segment.py"):
        assert (package / path).exists(), path
    assert (package / "bundled/dashboard/.streamlit/config.toml").is_file()
    assert len(list((package / "bundled/notebooks").glob("*.ipynb"))) >= 16
    here = {path.relative_to(ROOT) for path in (ROOT / "skinlesion").rglob("*") if path.is_file()}
    tracked = {path for path in here if "__pycache__" not in path.parts and path.suffix != ".tmp"}
    assert all((wheel / path).is_file() for path in tracked)
    assert [path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")] == ["skinlesion"]


def test_the_wheel_alone_copies_its_lessons(wheel: Path, tmp_path: Path) -> None:
    found = run(wheel, "lab", "mine", "--copy-only", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "mine" / "00_start.ipynb").is_file()
    where = subprocess.run(
        [sys.executable, "-c", "import skinlesion.bundled as b; print(b.bundled('dashboard'))"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()) == wheel / "skinlesion/bundled/dashboard"
