"""Broken surroundings, for real and in a process of its own: an exit code, one line, and nothing half written."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.cli import main
from skinlesion.data.splits import Manifest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the shell and the limits of Unix")

MAIN = "from skinlesion.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
TRAIN = ("train", "--preset", "tiny", "--model", "dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=2")


@pytest.fixture(scope="module", autouse=True)
def _compiled(small_checkpoint: Path, lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The scan's machine code is on disk before a test takes away the room for it."""
    out = tmp_path_factory.mktemp("warm") / "out"
    assert main(["predict", str(lesions / "images"), "--weights", str(small_checkpoint), "--out", str(out)]) == 0


@pytest.fixture
def image(lesions: Path) -> Path:
    return min((lesions / "images").iterdir())


def shell(line: str, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which "$@" is the command line of this package."""
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    return subprocess.run(
        ["sh", "-c", line, "sh", *command], capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("course", "--json", "-"), ("data", "--help")])
def test_standard_output_is_full(words: tuple[str, ...]) -> None:
    done = shell('"$@" >/dev/full', *words)
    assert done.returncode == 1
    assert done.stderr == "skinlesion: The output cannot be written (No space left on device).\n"


def test_standard_error_is_full() -> None:
    done = shell('"$@" 2>/dev/full', "nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    done = shell('"$@" >/dev/full 2>/dev/full', "--help")
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(small_checkpoint: Path, image: Path, tmp_path: Path, closed: str) -> None:
    """The work is done all the same, and no file gets what was meant for the terminal."""
    out = tmp_path / "out"
    done = shell(
        f'"$@" {closed}', "predict", image, image.parent / "no.png", "--weights", small_checkpoint, "--out", out
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{image.stem}_mask.png", f"{image.stem}_overlay.png", "predictions.csv")
    ]
    assert (out / "predictions.csv").read_text().count("\n") == 2


def test_the_current_folder_is_gone(small_checkpoint: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    line = f'mkdir {gone} && cd {gone} && rmdir {gone} && "$@"'
    assert shell(line, "--help").returncode == 0
    for words in (
        ("predict", "a.png", "--weights", small_checkpoint, "--out", "out"),
        (*TRAIN, "--data", "synthetic", "--size", 32, "--batch-size", 4, "--no-estimate"),
        ("data", "synthesize", "--n", 1, "--size", 16, "--out", "new"),
        ("evaluate", "--weights", small_checkpoint, "--root", "lesions"),
    ):
        done = shell(line, *words)
        assert done.returncode == 2, done.stderr
        assert done.stderr == "skinlesion: The current folder is gone: change to another one and try again.\n"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "utf-16"])
def test_a_terminal_without_the_alphabet(small_checkpoint: Path, image: Path, tmp_path: Path, encoding: str) -> None:
    odd = tmp_path / "Ж漢字ü.png"
    odd.write_bytes(image.read_bytes())
    out = tmp_path / "Мишень"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for words in (("predict", odd, "--weights", small_checkpoint, "--out", out), ("course",), ("demo", "--help")):
        command = [sys.executable, "-c", MAIN, *map(str, words)]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, b""), (words, done.stderr[-300:])
    assert (out / f"{odd.stem}_mask.png").is_file()


@pytest.mark.slow
def test_no_home_no_cache_no_temporary_folder(small_checkpoint: Path, lesions: Path, tmp_path: Path) -> None:
    """A home that cannot even be listed, as on some clusters; caches are then kept in memory, which is said."""
    nowhere = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), "/dev/null/x")
    environment = {**os.environ, **nowhere}
    out = tmp_path / "out"
    for words in (
        ("predict", lesions / "images", "--weights", small_checkpoint, "--out", out),
        ("evaluate", "--weights", small_checkpoint, "--root", lesions, "--truth-size", 32, "--part", "all"),
        ("demo", "--weights", small_checkpoint, "--out", out),
        ("course",),
        ("data", "verify", "--root", lesions),
        (
            *TRAIN,
            "--root",
            lesions,
            "--data",
            "folder",
            "--size",
            32,
            "--epochs",
            1,
            "--batch-size",
            4,
            "--out",
            out / "r",
        ),
    ):
        done = shell('"$@"', *words, env=environment)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def halves(data: Path, path: Path) -> Path:
    """A split in which calibration has enough images."""
    ids = sorted(image.stem for image in (data / "images").iterdir())
    Manifest("folder", "random", 0, {"train": tuple(ids[:5]), "val": tuple(ids[5:]), "test": ()}).save(path)
    return path


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); " + MAIN
Words = Callable[[Path, Path, Path], tuple[object, ...]]
WRITERS: dict[str, Words] = {
    "predict": lambda weights, data, out: ("predict", data / "images", "--weights", weights, "--out", out / "new"),
    "predict with jobs": lambda weights, data, out: (
        *("predict", data / "images", "--weights", weights, "--out", out / "new", "--jobs", 4),
    ),
    "demo": lambda weights, data, out: ("demo", "--weights", weights, "--out", out / "new"),
    "evaluate": lambda weights, data, out: (
        *("evaluate", "--weights", weights, "--root", data, "--part", "all", "--truth-size", 32),
        *("--json", out / "a.json", "--csv", out / "a.csv"),
    ),
    "export": lambda weights, data, out: ("export", weights, "--out", out / "a.safetensors"),
    "export to ONNX": lambda weights, data, out: ("export", weights, "--onnx", out / "a.onnx"),
    "average": lambda weights, data, out: ("average", weights, weights, "--out", out / "a.safetensors"),
    "calibrate": lambda weights, data, out: (
        *("calibrate", weights, "--root", data, "--split", halves(data, out.parent / "split.json")),
        *("--out", out / "a.safetensors", "--false-alarms", 0.2),
    ),
    "lab": lambda weights, data, out: ("lab", out / "new", "--copy-only"),
    "synthesize": lambda weights, data, out: ("data", "synthesize", "--n", 3, "--size", 64, "--out", out / "new"),
    "train": lambda weights, data, out: (
        *(*TRAIN, "--root", data, "--data", "folder", "--size", 32, "--epochs", 1, "--batch-size", 4, "--no-estimate"),
        *("--out", out / "new"),
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained weights that name no split, so that they can be calibrated on any images."""
    path = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    card = {"preprocessing": {"size": [64, 64], "normalize": "minmax"}}
    save_checkpoint(path, load_checkpoint("small")[0], card)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("room", [500, 4000])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(
    small_checkpoint: Path, trained: Path, lesions: Path, tmp_path: Path, name: str, room: int
) -> None:
    """A limit on the size of files stands in for the disk: it needs no privileges. No file is half there."""
    out = tmp_path / "out"
    out.mkdir()
    words = WRITERS[name](trained if name == "calibrate" else small_checkpoint, lesions, out)
    command = [sys.executable, "-c", FULL.format(room), *map(str, words)]
    environment = {**os.environ, "SKINLESION_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    errors = [line for line in done.stderr.splitlines() if line.startswith("skinlesion: ")]
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode:
        assert done.returncode == 1, done.stderr
        assert len(errors) == 1, done.stderr
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "events.out"]
    assert not [path for path in files if path.suffix in (".tmp", ".lock")]
    assert not done.returncode or not [path for path in files if path.suffix in (".safetensors", ".onnx", ".html")]
    if name.startswith("predict"):
        masks, tables = list(out.rglob("*_mask.png")), list(out.rglob("predictions.csv"))
        assert len(masks) == sum(table.read_text().count("\n") - 1 for table in tables)
        assert out.joinpath("new").exists() == bool(masks)
    elif name != "train":
        assert done.returncode == 0 or not files
