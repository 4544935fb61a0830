"""Command lines that could mislead: nothing is guessed, nothing is overwritten, and a refusal stays short."""

import random
from pathlib import Path

import pytest

COMMANDS = (
    *("doctor", "demo", "predict", "evaluate", "train", "course", "export", "calibrate", "import-weights"),
    *("reproduce", "benchmark scan", "data download", "data verify", "data duplicates", "data synthesize", "data"),
)
WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "---",
        "--out",
        "--out=",
        "--json",
        "--size",
        "--help=1",
        "-x",
        "@SUM(A1)",
        "=1+1",
        "--no-such",
    ),
    *("\x1b[2J", "nan", "1e999", "9" * 400, "a" * 5000, "--" + "b" * 5000, "../..", "/dev/null", "\udcff", "\u202e"),
    *("--weights", "none.safetensors", "--threshold", "--jobs", "--seed", "-1", "--resume", "--root", "0", "{}"),
)


def test_random_command_lines(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(400):
        source = random.Random(seed)
        command = source.choice(COMMANDS)
        words = source.choices(WORDS, k=source.randrange(1, 5))
        # A word that no command knows, so that none of them begins to work.
        code, _, err = cli(*command.split(), *words, "--refuse-this")
        assert code in (0, 2), (seed, words)  # 0 is --help
        assert code == 0 or (err.count("\n"), err[:12]) == (1, "skinlesion: "), (seed, err)
        assert len(err) < 2200, seed
        assert err.rstrip("\n").isprintable(), (seed, err)
        assert not list(tmp_path.iterdir()), (seed, words)


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "", "--out", "new"),
        ("predict", "a.png", "--out", ""),
        ("predict", "a.png", "--out="),
        ("evaluate", "--root", ""),
        ("train", "--out", "", "--data", "synthetic"),
        ("data", "verify", ""),
        ("",),
    ],
)
def test_an_empty_value_is_not_the_current_folder(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*words)
    assert code == 2
    assert "A value is empty" in err
    assert not list(tmp_path.iterdir())


def test_two_outputs_never_share_a_file(cli, small_checkpoint: Path, lesions: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    evaluate = ("evaluate", "--weights", small_checkpoint, "--root", lesions, "--part", "all", "--truth-size", 32)
    for words in (
        (*evaluate, "--json", tmp_path / "x", "--csv", tmp_path / "x"),
        (*evaluate, "--json", tmp_path / "x", "--csv", tmp_path / "link" / "x"),
        ("export", small_checkpoint, "--out", tmp_path / "a.safetensors", "--onnx", tmp_path / "a.md"),
    ):
        code, _, err = cli(*words)
        assert code == 2
        assert "Two outputs would go to" in err
        assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_missing_folder_of_an_output_is_said_before_the_work(
    cli, small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinlesion.segmenter.Segmenter.from_pretrained", lambda *_, **__: pytest.fail("work began"))
    out = tmp_path / "none" / "a"
    for words in (
        ("evaluate", "--root", tmp_path, "--csv", out),
        ("evaluate", "--root", tmp_path, "--json", out),
        ("export", small_checkpoint, "--onnx", out.with_suffix(".onnx")),
        ("export", small_checkpoint, "--out", out.with_suffix(".safetensors")),
        ("calibrate", small_checkpoint, "--root", tmp_path, "--out", out.with_suffix(".safetensors")),
    ):
        code, _, err = cli(*words)
        assert (code, err.count("\n")) == (2, 1)
        assert f"there is no folder {out.parent}. Create it first." in err


def test_json_is_a_file_in_every_command_and_a_dash_is_standard_output(
    cli, small_checkpoint: Path, lesions: Path, tmp_path: Path
) -> None:
    evaluate = ("evaluate", "--weights", small_checkpoint, "--root", lesions, "--part", "all", "--truth-size", 32)
    for words in (("course",), evaluate):
        code, out, _ = cli(*words, "--json", "-")
        assert code == 0
        assert out[0] in "[{"
        path = tmp_path / f"{words[0]}.json"
        assert cli(*words, "--json", path)[0] == 0
        assert path.read_text()[0] == out[0]
        code, _, err = cli(*words, "--json", path)
        assert code == 2
        assert "exists already" in err


def test_every_command_takes_json_the_same_way(cli) -> None:
    for command in ("doctor", "course", "evaluate", "benchmark scan", "benchmark model"):
        code, out, _ = cli(*command.split(), "--help")
        assert code == 0
        assert "--json PATH" in out


def test_train_help_says_what_a_flag_does(cli) -> None:
    _, out, _ = cli("train", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert "--estimate, --no-estimate Time a few steps first" in text
    assert "--device" in text
    assert "--accelerator" not in text
