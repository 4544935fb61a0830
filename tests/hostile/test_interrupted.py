"""Interrupted work: nothing lost, nothing half there, and no trace of a command that refused."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.checkpoint import load_checkpoint
from skinlesion.errors import SkinlesionError
from skinlesion.prediction import predict_files
from skinlesion.reserved import reserved
from skinlesion.segmenter import Segmenter

MAIN = "from skinlesion.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
TRAIN = (
    "train",
    "--preset",
    "tiny",
    "--model",
    "dim=16",
    "depths=1,1",
    "decoder_depths=1,1",
    "d_state=2",
    "--size",
    32,
)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_one_process_for_an_output_folder(cli, small_checkpoint: Path, lesions: Path, tmp_path: Path) -> None:
    commands: tuple[tuple[object, ...], ...] = (
        ("predict", lesions / "images", "--weights", small_checkpoint, "--out", tmp_path / "out"),
        (*TRAIN, "--root", lesions, "--data", "folder", "--epochs", 1, "--batch-size", 4, "--out", tmp_path / "out"),
    )
    for words in commands:
        with reserved(tmp_path / "out"):
            code, _, err = cli(*words)
            assert code == 2
            assert f"Another process is working in {tmp_path / 'out'}" in err
            assert files(tmp_path) == ["out"]
        assert files(tmp_path) == []


def test_the_lock_ends_with_the_block_and_sweeps_what_a_kill_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    mine = [run / ".notes.tmp", run / "x.tmp", run / "best.safetensors"]
    left = [run / f".{'0a' * 16}.tmp", run / "checkpoints" / f".{'9f' * 16}.tmp"]
    for path in (*mine, *left):
        path.write_text("x")
    with reserved(run), pytest.raises(SkinlesionError, match="Another process"), reserved(run):
        pass
    with reserved(run):
        pass
    assert all(path.exists() for path in mine)
    assert not any(path.exists() for path in left)


def test_a_refusal_leaves_no_trace(
    cli, small_checkpoint: Path, lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    nowhere, weights = tmp_path / "nowhere", ("--weights", small_checkpoint)
    for words in (
        ("predict", nowhere, *weights, "--out", "a/b/c"),
        ("predict", lesions / "images", *weights, "--out", "a", "--threshold", 2),
        ("demo", "--weights", nowhere),
        ("evaluate", "--root", nowhere, *weights, "--json", "r.json", "--csv", "r.csv"),
        ("evaluate", "--root", lesions, *weights, "--split", "paper", "--json", "r.json"),
        ("export", nowhere, "--out", "w.safetensors"),
        ("calibrate", nowhere, "--root", lesions, "--out", "w.safetensors"),
        ("calibrate", small_checkpoint, "--root", nowhere, "--out", "w.safetensors"),
        ("import-weights", nowhere, "--out", "w.safetensors"),
        ("reproduce", "table1", "--root", nowhere),
        ("reproduce", "nonsense", "--root", lesions),
        ("reproduce",),
        ("data", "synthesize", "--n", 0, "--out", "new"),
        ("data", "duplicates", "--root", nowhere, "--out", "groups.csv"),
        ("data", "download", "isic1999", "--root", "new"),
        (*TRAIN, "--root", nowhere),
        (*TRAIN, "--data", "synthetic", "--start-from", nowhere),
        (*TRAIN, "--data", "synthetic", "--engine", "none-such"),
        ("train", "--resume", "--out", "run"),
        ("train", "--resume", "--out", lesions),
    ):
        code, _, err = cli(*words)
        assert (code, err.count("\n")) == (2, 1), (words, err)
        assert files(inside) == [], words


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(0)
    for i in range(60):
        Image.fromarray(generator.integers(0, 255, (200, 300, 3), dtype=np.uint8)).save(folder / f"n{i:02}.png")
    return folder


def killed(words: tuple[object, ...], delay: float, watched: Path) -> int:
    """Start a command, kill it some seconds after a file appeared, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not watched.exists():
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    return process.wait()


def test_a_batch_that_was_killed_before_its_first_row_goes_on(
    small_checkpoint: Path, many: Path, tmp_path: Path
) -> None:
    segmenter, images = Segmenter.from_pretrained(small_checkpoint), sorted(many.iterdir())[:3]
    predict_files(segmenter, images, tmp_path / "out")
    table = tmp_path / "out" / "predictions.csv"
    table.write_bytes(table.read_bytes().splitlines(keepends=True)[0])
    found = predict_files(segmenter, images, tmp_path / "out", resume=True)
    assert (len(found.done), found.earlier) == (3, 0)
    table.unlink()
    with pytest.raises(SkinlesionError, match="exists already"):
        predict_files(segmenter, images, tmp_path / "out", resume=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killing_a_batch_of_predictions(small_checkpoint: Path, many: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    predict_files(Segmenter.from_pretrained(small_checkpoint), [many], whole)
    source, kills = random.Random(0), 0
    words = ("predict", many, "--weights", small_checkpoint, "--out", out, "--jobs", 2, "--resume")
    for _ in range(4):
        code = killed(words, source.uniform(0, 0.4), out / "predictions.csv")
        kills += code == -signal.SIGKILL
        table = (out / "predictions.csv").read_bytes()
        complete = table[: table.rfind(b"\n") + 1]
        masks = {path.name for path in out.glob("*_mask.png")}
        assert len(table) == len(complete)  # a row is one write
        assert {line.split(b",")[1].decode() for line in complete.splitlines()[1:]} <= masks
        for path in out.glob("*.png"):
            Image.open(path).load()  # whole
    assert kills
    found = predict_files(Segmenter.from_pretrained(small_checkpoint), [many], out, resume=True)
    assert len(found.done) + found.earlier == 60
    assert files(out) == files(whole)
    assert sorted((out / "predictions.csv").read_text().splitlines()) == sorted(
        (whole / "predictions.csv").read_text().splitlines()
    )


@pytest.fixture
def kill_at() -> Callable[[int, tuple[object, ...]], int]:
    """kill_at(number, words): run a command that is killed when it is about to rename for the n-th time."""

    def run(number: int, words: tuple[object, ...]) -> int:
        program = (
            "import os, signal, sys\n"
            "first, left = os.replace, [int(sys.argv[1])]\n"
            "def replace(a, b):\n"
            "    left[0] -= 1\n"
            "    if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return first(a, b)\n"
            "os.replace = replace\n"
            "from skinlesion.cli import main\n"
            "sys.exit(main(sys.argv[2:]))"
        )
        return subprocess.run([sys.executable, "-c", program, str(number), *map(str, words)], check=False).returncode

    return run


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killing_an_export_before_a_file_is_there(kill_at, small_checkpoint: Path, tmp_path: Path) -> None:
    """Killed where it is about to rename; what is there afterwards is whole, and the command can be repeated."""
    words = ("export", small_checkpoint, "--out", tmp_path / "a.safetensors", "--overwrite")
    for number in (1, 2, 3):
        assert kill_at(number, words) == -signal.SIGKILL
        assert not (tmp_path / "a.md").exists() or (tmp_path / "a.safetensors").exists()
        if (tmp_path / "a.safetensors").exists():
            load_checkpoint(tmp_path / "a.safetensors")
    assert kill_at(99, words) == 0
    assert load_checkpoint(tmp_path / "a.safetensors")
    assert (tmp_path / "a.md").is_file()
