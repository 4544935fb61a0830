"""Numbers without bound: one sentence before anything is allocated."""

import time
from pathlib import Path

import pytest

TRAIN = ("train", "--preset", "tiny", "--data", "synthetic", "--no-estimate", "--device", "cpu")


@pytest.mark.parametrize(
    "flags",
    [
        ("--model", "dim=1000000"),
        ("--model", "d_state=100000"),
        ("--model", "depths=100,100,100,100"),
        ("--model", "dim=nan"),
        ("--model", "dim=4096", "d_state=4096", "expand=64"),
        ("--size", 1_000_000),
        ("--truth-size", 1_000_000),
        ("--seed", 99999999999999999999),
        ("--epochs", 10**12),
        ("--batch-size", 10**9),
        ("--size", 2048, "--batch-size", 100_000),
        ("--synthetic-count", 10**9),
        ("--synthetic-count", 1_000_000, "--size", 1024),
        ("--threads", 10**6),
        ("--lr", "inf"),
        ("--lr", "nan"),
        ("--mask-threshold", 10**9),
        ("--devices", 10**6),
        ("--accumulate", 10**30),
    ],
)
def test_training(cli, tmp_path: Path, flags: tuple[object, ...]) -> None:
    start = time.monotonic()
    code, _, err = cli(*TRAIN, *flags, "--out", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1), err
    assert len(err) < 600
    assert time.monotonic() - start < 10
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("data", "synthesize", "--out", "new", "--size", 100_000),
        ("data", "synthesize", "--out", "new", "--n", 10**12),
        ("data", "synthesize", "--out", "new", "--seed", 10**30),
        ("data", "duplicates", "--root", "lesions", "--threshold", "nan"),
        ("data", "verify", "--root", "lesions", "--mask-threshold", -1),
        ("predict", "lesions/images", "--out", "new", "--threshold", "nan"),
        ("predict", "lesions/images", "--out", "new", "--jobs", 10**9),
        ("evaluate", "--root", "lesions", "--truth-size", 1_000_000),
    ],
)
def test_other_commands(
    cli, lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    (tmp_path / "lesions").symlink_to(lesions)
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*words)
    assert (code, err.count("\n")) == (2, 1), err
    assert not (tmp_path / "new").exists()
