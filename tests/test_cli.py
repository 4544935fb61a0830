import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from skinlesion import SkinlesionError, cli
from skinlesion.training.config import TrainConfig
from skinlesion.training.config_file import read_toml
from skinlesion.version import __version__

HEAVY = (
    *("torch", "lightning_fabric", "pytorch_lightning", "captum", "plotly", "matplotlib", "numba"),
    *("albumentations", "pandas", "streamlit", "skimage", "scipy"),
)


def run_python(code: str) -> str:
    """Run code in a fresh interpreter; its output."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run_python("import sys, skinlesion; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("module", ["commands.data", "commands.dashboard", "training.config", "data.layouts"])
def test_what_runs_no_network_does_not_load_torch(module: str) -> None:
    assert "torch" not in run_python(f"import sys, skinlesion.{module}; print(*sys.modules)").split()


def test_segmenting_loads_only_what_it_needs(small_checkpoint: Path) -> None:
    code = f"""
import sys, numpy, skinlesion
segmenter = skinlesion.Segmenter.from_pretrained({str(small_checkpoint)!r})
segmenter.segment(numpy.zeros((20, 20, 3), dtype=numpy.uint8))
print(*sys.modules)
"""
    loaded = set(run_python(code).split())
    assert {"torch", "numba"} <= loaded
    assert not (set(HEAVY) - {"torch", "numba", "scipy"}) & loaded


def test_the_names_of_the_package_are_there() -> None:
    out = run_python(
        "import skinlesion\n"
        "for name in skinlesion.__all__: getattr(skinlesion, name)\n"
        "assert set(skinlesion.__all__) <= set(dir(skinlesion))\n"
        "print(skinlesion.scan.cross_selective_scan.__name__, skinlesion.data.__name__)\n"
        "try: skinlesion.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    assert out.split("\n")[:2] == [
        "cross_selective_scan skinlesion.data",
        "module 'skinlesion' has no attribute 'nothing'",
    ]


def test_a_message_names_no_class_and_says_how_to_give_a_file_whose_name_is_like_a_flag(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-a.png").write_bytes(b"x")
    err = cli("predict", "-a.png", "--out", "out")[2]
    assert "Is -a.png a file? Then give it as ./-a.png." in err
    err = cli("train", "--model", "mypkg.nets:Net")[2]
    assert err.startswith("skinlesion: --model mypkg.nets:Net is not NAME=VALUE")
    assert "a network is chosen with --preset" in err


def test_without_a_command_it_lists_them(cli) -> None:
    for words in ((), ("--help",), ("help",)):
        code, out, err = cli(*words)
        assert code == 0
        assert not err
        for name in cli_commands():
            assert f"  {name} " in out


def cli_commands() -> list[str]:
    return list(cli.COMMANDS)


def test_the_version_is_the_packages(cli) -> None:
    assert cli("--version") == (0, f"skinlesion {__version__}\n", "")


def test_a_word_alone_lists_the_commands_behind_it(cli) -> None:
    code, out, _ = cli("data")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith("  data")] == [
        *("download", "verify", "duplicates", "synthesize")
    ]


@pytest.mark.parametrize("words", [("dat",), ("data", "upload"), ("--weights", "small")])
def test_an_unknown_command_lists_the_known_ones(cli, words: tuple[str, ...]) -> None:
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert err.startswith("skinlesion: Unknown command")
    assert "data download" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help_that_describes_every_flag(cli, name: str) -> None:
    code, out, err = cli(*name.split(), "--help")
    assert code == 0, err
    assert f"skinlesion {name}" in out
    for line in out.splitlines():
        flag = line.strip("│ ").split(" ")[0]
        if flag.startswith("--"):
            after = out[out.index(line) : out.index(line) + 400].replace("│", " ").split(None, 2)
            assert len(after) == 3, f"{name} {flag} has no description"
    for notation in ("{None}", "[STR [", "[PATH [", "[INT [", "(default: )", "(default: None)"):
        assert notation not in out
    for line, following in itertools.pairwise(each.replace("│", " ").rstrip() for each in out.splitlines()):
        if (
            following.startswith(" " * 8)
            and line[-1:].islower()
            and not re.fullmatch(r" *--\S+(, --\S+| STR| INT)*", line)
        ):
            word = following.split()[0]  # it would have fitted into the line before, so somebody broke the line there
            assert word.startswith("-") or len(line) + 1 + len(word) > 78, f"{name}: a line breaks before {word!r}"


def test_none_takes_back_what_a_settings_file_gives(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('clip = 1.0\nsplit = "random"\nmodel = {dim = 24}\n')
    default = read_toml(tmp_path / "run.toml", TrainConfig())
    assert (default.clip, default.split, default.model) == (1.0, "random", ("dim=24",))

    def read(*words: str) -> TrainConfig:
        return cli.parse(TrainConfig, words, prog="skinlesion train", default=default)

    for word in ("none", "None"):
        for empty in ((), (word,)):
            config = read("--clip", word, "--split", word, "--model", *empty)
            assert (config.clip, config.split, config.model) == (None, None, ())
        assert read("--root", word).root == Path(word)  # a folder may have any name
    assert read("--clip", "2", "--model", "dim=16", "se=false").model == ("dim=16", "se=false")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("predict", "a.png"), "--out"),
        (("predict", "a.png", "--out", "x", "--thresold", "0.5"), "--thresold"),
        (("predict", "a.png", "--out", "x", "--threshold", "much"), "much"),
        (("predict", "--out"), "--out"),
        (("evaluate", "--data", "folder", "--root", "x", "--part", "best"), "'best'"),
        (("train", "--epochs", "many"), "many"),
        (("train", "--epochs", "0"), "--epochs must be at least 1"),
        (("train", "--recipe", "cake"), "paper, vmunet, cpu"),
        (("train", "--recipe"), "--recipe needs a name"),
        (("train", "--preset", "giant", "--data", "synthetic"), "choose one of: paper"),
        (("doctor", "now"), "now"),
        (("data", "synthesize"), "--out"),
    ],
)
def test_wrong_flags_give_one_line_and_code_2(
    cli, words: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert err.startswith("skinlesion: ")
    assert err.count("\n") == 1
    assert expected in err
    assert "│" not in err
    assert not list(tmp_path.iterdir())


def test_the_recipe_gives_other_defaults_and_flags_go_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import skinlesion.training
    from skinlesion.commands.train import train

    seen: list[skinlesion.training.TrainConfig] = []

    def stand_in(config: skinlesion.training.TrainConfig) -> None:
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(skinlesion.training, "train", stand_in)
    for words in (["--recipe", "cpu", "--lr", "0.5"], ["--lr=0.5", "--recipe=cpu"], []):
        with pytest.raises(KeyboardInterrupt):
            train(words, prog="skinlesion train")
    assert [(c.lr, c.epochs, c.preset) for c in seen] == [(0.5, 40, "small"), (0.5, 40, "small"), (1e-3, 300, "paper")]


@pytest.mark.parametrize(
    "box",
    [
        "╭─ Value error ─╮\n│ Error parsing │\n│ --lr: 'x'     │\n│ ───────────── │\n│ For full help │\n╰─╯\n",
        " Value error \n ----------- \n  Error parsing \n  --lr: 'x' \n  ------ \n  For full helptext \n\n",
        "\x1b[91m╭─\x1b[0m \x1b[1mValue error\x1b[0m ───╮\n\x1b[91m│\x1b[0m Error parsing --lr: 'x' │\n╰─╯",
    ],
)
def test_messages_are_the_same_on_every_kind_of_terminal(box: str) -> None:
    assert cli._one_line(box) == "Error parsing --lr: 'x'."


def test_trouble_becomes_a_line_and_bugs_stay_bugs(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(error: BaseException):
        def command() -> None:
            raise error

        monkeypatch.setattr("skinlesion.commands.doctor.doctor", command)

    failing(SkinlesionError("a.png is no image.\nTake another."))
    assert cli("doctor") == (2, "", "skinlesion: a.png is no image. Take another.\n")
    failing(PermissionError(13, "Permission denied", str(tmp_path / "locked")))
    code, _, err = cli("doctor")
    assert code == 2
    assert err == f"skinlesion: {tmp_path / 'locked'}: Permission denied.\n"
    failing(FileNotFoundError(2, "No usable temporary directory found"))
    code, _, err = cli("doctor")
    assert code == 1
    said = "skinlesion: The operating system refused an operation that this command needs: "
    assert err == f"{said}No usable temporary directory found.\n"
    failing(KeyboardInterrupt())
    assert cli("doctor") == (130, "", "skinlesion: Interrupted.\n")
    failing(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        cli("doctor")


def test_flags_follow_the_signature_and_running_is_apart_from_parsing() -> None:
    ran = []

    def command(words: tyro.conf.Positional[tuple[str, ...]], *, loud: bool = False, times: int = 1) -> int:
        """Say words.

        Args:
            words: What to say.
            loud: Shout.
            times: How often.
        """
        ran.append((words, loud, times))
        return 7

    bound = cli.parse(cli._deferred(command), ["a", "b", "--loud", "--times", "3"], prog="say")
    assert not ran
    assert bound() == 7
    assert ran == [(("a", "b"), True, 3)]


def test_python_m_works_and_a_closed_pipe_is_no_error(lesions: Path) -> None:
    run = [sys.executable, "-m", "skinlesion"]
    assert subprocess.run([*run, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "skinlesion"
    )
    piped = subprocess.Popen([*run, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert piped.stdout is not None
    assert piped.stderr is not None
    piped.stdout.close()
    assert b"Traceback" not in piped.stderr.read()
    piped.stderr.close()
    piped.wait()


@pytest.mark.skipif(os.name == "nt", reason="another kind of Ctrl-C")
def test_ctrl_c_stops_training_quietly_and_it_can_go_on(lesions: Path, tmp_path: Path) -> None:
    words = [
        *("train", "--preset", "tiny", "--model", "dim=16", "depths=1,1", "decoder_depths=1,1", "--size", "32"),
        *("--data", "folder", "--root", str(lesions), "--batch-size", "4", "--epochs", "4000"),
        *("--cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "run")),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "skinlesion", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.count("\n") == 1
    assert "--resume" in err
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def test_resume_needs_no_more_than_the_folder(cli, lesions: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, err = cli("train", "--resume", "--out", run)
    assert code == 2
    assert f"{run / 'config.json'} cannot be read" in err
    code, out, err = cli(
        *("train", "--preset", "tiny", "--model", "dim=16", "depths=1,1", "decoder_depths=1,1", "--size", 32),
        *("--data", "folder", "--root", lesions, "--batch-size", 4, "--epochs", 1),
        *("--cache-dir", tmp_path / "cache", "--out", run),
    )
    assert (code, err) == (0, "")
    code, out, err = cli("train", "--resume", "--out", run)
    assert (code, err) == (0, "")
    assert "already finished" in out
    code, out, err = cli("train", "--resume", "--out", run, "--lr", 0.5)
    assert code == 2
    assert "cannot be resumed with --lr 0.5" in err
    (tmp_path / "run.toml").write_text("epochs = 7\n")
    for flag, value in (("--config", tmp_path / "run.toml"), ("--recipe", "paper")):
        for words in ((flag, value), (f"{flag}={value}",)):
            code, out, err = cli("train", "--resume", "--out", run, *words)
            assert (code, out) == (2, "")
            assert f"{flag} cannot be combined with --resume --out" in err
            assert "flags such as --epochs" in err
            assert err.count("\n") == 1
    (tmp_path / "run.toml").write_text(f"preset = 'tiny'\nresume = true\nout = '{tmp_path / 'none'}'\n")
    code, out, err = cli("train", "--config", tmp_path / "run.toml")
    assert f"{tmp_path / 'none' / 'config.json'} cannot be read" in err  # the file's own folder is resumed


def test_data_is_drawn_and_verified(cli, tmp_path: Path) -> None:
    code, out, err = cli("data", "synthesize", "--out", tmp_path / "new", "--n", 3, "--size", 40, "--seed", 2)
    assert (code, err) == (0, "")
    assert "--data folder" in out
    code, out, err = cli("data", "verify", "folder", "--root", tmp_path / "new")
    assert code == 0
    assert "3 pairs opened: 0 problems" in out
    next((tmp_path / "new" / "masks").iterdir()).write_bytes(b"gone")
    code, out, err = cli("data", "verify", "folder", "--root", tmp_path / "new")
    assert code == 2
    assert "1 problem, listed" in err
    assert "problem:" in out


def test_results_go_from_evaluate_through_export_into_the_model_card(
    cli, small_checkpoint: Path, lesions: Path, tmp_path: Path
) -> None:
    weights, scores = tmp_path / "mine.safetensors", tmp_path / "scores.json"
    assert cli("export", small_checkpoint, "--out", weights, "--half")[0] == 0
    words = ("evaluate", "--weights", weights, "--data", "folder", "--root", lesions, "--truth-size", 48)
    code, out, _ = cli(*words, "--json", scores, "--csv", tmp_path / "scores.csv")
    assert code == 0
    assert "boundary_f1" in out
    report = json.loads(scores.read_text())
    assert report["protocol"]["part"] == "test"
    assert report["protocol"]["same_split_as_training"] is False
    assert report["n"] == 3
    code, out, err = cli("export", weights, "--out", weights, "--results", scores, "--overwrite")
    assert code == 0, err
    card = (tmp_path / "mine.md").read_text()
    assert f"{report['pooled']['iou']:.4f}" in card
    assert "skinlesion train --preset tiny" in card
    assert "not a medical device" in card
    code, _, err = cli("export", small_checkpoint, "--out", tmp_path / "b.safetensors", "--results", scores)
    assert code == 2
    assert "has results of other weights" in err
    assert not (tmp_path / "b.safetensors").exists()
    code, _, err = cli(*words, "--json", scores)
    assert code == 2
    assert "exists already" in err


def test_training_ends_with_a_command_that_works(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("data", "synthesize", "--out", "some lesions", "--n", 8, "--size", 32)[0] == 0
    Path("some lesions/images").rename("photos")
    Path("some lesions/masks").rename("the masks")
    words = ("--preset", "tiny", "--size", 32, "--truth-size", 32, "--epochs", 1, "--batch-size", 4, "--device", "cpu")
    code, out, _ = cli("train", *words, "--images", "photos", "--masks", "the masks", "--split-seed", 5, "--out", "run")
    assert code == 0
    program, *proposed = shlex.split(out.partition("Next: ")[2])
    assert program == "skinlesion"
    code, out, err = cli(*proposed)
    assert (code, err) == (0, "")
    assert "part test" in out


def test_evaluate_refuses_a_split_that_it_would_ignore(cli, small_checkpoint: Path, lesions: Path) -> None:
    for option in ("--split", "paper"), ("--split-seed", 3):
        code, out, err = cli("evaluate", "--weights", small_checkpoint, "--root", lesions, "--part", "all", *option)
        assert (code, out) == (2, "")
        assert "leave out --split and --split-seed" in err


def test_evaluate_says_when_the_weights_may_have_seen_the_images(cli, small_checkpoint: Path, lesions: Path) -> None:
    words = ("evaluate", "--weights", small_checkpoint, "--data", "folder", "--root", lesions, "--truth-size", 32)
    assert "may have seen these images" in cli(*words)[2]
    assert not cli(*words, "--part", "all")[2]


@pytest.mark.parametrize("device", ["abacus", "cuda:01", "cuda:256", "cuda:99"])
@pytest.mark.parametrize(
    "command",
    [
        "predict {image} --out out",
        "evaluate --data folder --root {root}",
        "demo --out out",
        "calibrate small --data folder --root {root} --out out.safetensors",
        "train --preset tiny --data folder --root {root} --out out",
        "dashboard",
    ],
)
def test_every_command_spells_devices_alike(
    cli, command: str, device: str, lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = next((lesions / "images").iterdir())
    words = [word.format(image=image, root=lesions) for word in command.split()]
    code, _, err = cli(*words, "--device", device)
    assert code == 2
    wrong = (
        f"This machine has no device {device}: PyTorch finds no "
        if device == "cuda:99"
        else "The device must be auto, cpu, cuda, cuda:N"
    )
    assert err.startswith(f"skinlesion: {wrong}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
