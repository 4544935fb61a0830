"""Names from outside in tables and on the terminal: nothing that a spreadsheet runs or a terminal obeys."""

import csv
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hostile_names import hostile_name
from PIL import Image

from skinlesion.text import cell, printable

FORMULA = ("=", "+", "-", "@", "\t", "\r")
FILES = 80
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with masks whose names are hostile, as far as this file system takes them."""
    root = tmp_path_factory.mktemp("names") / "=1+1\x1b[31m"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    names = {hostile_name(random.Random(seed)) for seed in range(FILES)}
    written = 0
    for number, name in enumerate(sorted(names)):
        generator = np.random.default_rng(number)
        try:
            Image.fromarray(generator.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(
                root / "images" / f"{name}.png"
            )
        except (OSError, ValueError):
            continue
        mask = np.zeros((24, 32), dtype=bool)
        mask[5:15, 5:15] = True
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
        written += 1
    assert written > FILES / 2
    return root


def harmless(text: str) -> bool:
    """Nothing but line breaks that a terminal would obey, and no mark that turns the reading direction."""
    return not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def safe_rows(path: Path) -> list[list[str]]:
    """The rows of a table; fails where a spreadsheet would run a cell."""
    rows = list(csv.reader(path.read_text("utf-8").splitlines()))
    for row in rows:
        for each in row:
            assert harmless(each), each
            if each.startswith(FORMULA):
                float(each)  # a number
    return rows


def test_predict(cli, dataset: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (dataset.parent / "=bad\x1b[2J.png").write_text("no image")
    words = (dataset / "images", dataset.parent / "=bad\x1b[2J.png", "--weights", small_checkpoint, "--out", out)
    code, said, err = cli("predict", *words)
    assert code == 2
    assert harmless(said)
    assert harmless(err)
    rows = safe_rows(out / "predictions.csv")
    visible = [path for path in (dataset / "images").iterdir() if not path.name.startswith(".")]
    assert len(rows) - 1 == len(visible)
    assert all(harmless(path.name) and not path.name.startswith(FORMULA) for path in out.iterdir())
    assert cli("predict", *words, "--resume")[0] == 2
    assert safe_rows(out / "predictions.csv") == rows


@pytest.mark.parametrize("command", ["evaluate", "verify", "duplicates"])
def test_data(cli, dataset: Path, small_checkpoint: Path, tmp_path: Path, command: str) -> None:
    words: dict[str, tuple[object, ...]] = {
        "evaluate": (
            *("evaluate", "--weights", small_checkpoint, "--root", dataset, "--part", "all", "--truth-size", 16),
            *("--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json"),
        ),
        "verify": ("data", "verify", "--root", dataset),
        "duplicates": ("data", "duplicates", "--root", dataset, "--threshold", 0.01, "--out", tmp_path / "a.csv"),
    }
    _, said, err = cli(*words[command])
    assert harmless(said), said
    assert harmless(err), err
    if command != "verify":
        assert len(safe_rows(tmp_path / "a.csv")) > 10


def test_refusals_name_a_file_harmlessly(cli, small_checkpoint: Path, tmp_path: Path) -> None:
    for seed in range(150):
        name = hostile_name(random.Random(seed))
        source = random.Random(seed)
        missing, odd = tmp_path / name / "no.png", tmp_path / f"{name}.safetensors"
        words = source.choice(
            [
                ("predict", missing, "--weights", small_checkpoint, "--out", tmp_path / "out"),
                ("evaluate", "--root", missing),
                ("evaluate", "--root", tmp_path, "--weights", odd),
                ("evaluate", "--root", tmp_path, "--by", name),
                ("export", odd, "--out", tmp_path / "a.safetensors"),
                ("export", small_checkpoint, "--out", tmp_path / name),
                ("train", "--preset", name),
                ("train", "--data", "folder", "--root", missing, "--out", tmp_path / "run"),
                ("train", "--resume", "--out", missing),
                ("train", "--start-from", odd, "--data", "synthetic", "--out", tmp_path / "run"),
                ("data", "verify", name, "--root", tmp_path),
                ("data", "download", name, "--root", tmp_path / "new"),
                ("calibrate", odd, "--root", missing, "--out", tmp_path / "a.safetensors"),
                ("reproduce", "table1", "--scale", odd, "--root", tmp_path),
                (name,),
            ]
        )
        code, said, err = cli(*words)
        assert (code, said) in ((2, ""), (2, "\n")), (seed, words, said)
        assert err.count("\n") == 1, (seed, words, err)
        assert harmless(err), (seed, words, err)
        assert len(err) < 2200
        assert list(tmp_path.iterdir()) == [], (seed, words)


def test_the_one_writer() -> None:
    for seed in range(500):
        name = hostile_name(random.Random(seed))
        assert harmless(printable(name))
        shown = str(cell(name))
        assert harmless(shown)
        if shown.startswith(FORMULA):
            float(shown)
