"""The benchmark programs run and write what their readers read; how fast anything is, is no test's business."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from skinlesion.benchmark.model import Step, measure_model
from skinlesion.errors import SkinlesionError
from skinlesion.training import TrainConfig
from skinlesion.zoo import create_model

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_sweep_writes_its_page_and_the_promised_numbers(tmp_path: Path):
    run("benchmarks/scan_sweep.py", "--quick", "--out", tmp_path)
    found = json.loads((tmp_path / "scan.json").read_text())
    assert found["one_size"]["exp_per_second"] > 0
    cpu = found["one_size"]["engines"]["cpu"]
    assert cpu["forward_updates_per_second"] > 0
    assert cpu["backward_updates_per_second"] > 0
    page = (tmp_path / "scan.md").read_text()
    assert "| **cpu**" in page
    assert "the common loop, slicing |" in page
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_versions_are_measured_side_by_side(tmp_path: Path):
    out = run("benchmarks/step_versions.py", ROOT, "--rounds", 1, "--model", "tiny", "--size", 32, "--out", tmp_path)
    assert "after, bf16" in out
    found = json.loads((tmp_path / "step_versions.json").read_text())
    assert found["over_before"]["before"] == 1
    assert {len(times) for times in found["seconds"].values()} == {1}


@pytest.mark.slow
def test_visitors_are_told_apart_and_the_page_says_how_it_went(chromium_options, tmp_path: Path):
    run("benchmarks/visitors.py", "--people", 2, "--seconds", 15, "--out", tmp_path)
    found = json.loads((tmp_path / "visitors.json").read_text())
    assert found["crossed"] == []
    assert found["wrong"] == []
    assert sum(found["visits"].values()) >= 2
    assert all(parts > 0 for parts in found["parts_of_their_own"].values())
    assert "0 crossed results" in (tmp_path / "visitors.md").read_text()


@pytest.mark.slow
def test_every_latency_is_measured(chromium_options, tmp_path: Path):
    run("benchmarks/dashboard_latency.py", "--repeats", 1, "--out", tmp_path)
    found = json.loads((tmp_path / "dashboard.json").read_text())
    assert found["intervention_ms"] > 0
    assert found["live"]["draw_ms"] > 0
    assert all(times["first_ms"] > 0 and times["click_ms"] > 0 for times in found["views"].values())
    assert "the new mask is there" in (tmp_path / "dashboard.md").read_text()


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("any_image_trials")


# There are no data, so the program gets no further than checking its arguments.
NOWHERE = ("--isic2017", "no-data", "--runs", "no-runs", "--out")


@pytest.mark.parametrize(
    ("settings", "words", "refused"),
    [
        ({"epochs": 2}, ("--epochs", "4"), "--epochs 2, not 4"),
        ({"epochs": 2}, ("--lr", "5e-4"), "--lr 0.001, not 0.0005"),
        ({"epochs": 4, "lr": 5e-4, "start_from": "general"}, ("--epochs", "4", "--lr", "5e-4"), "--start-from general"),
        ({"epochs": 4, "lr": 5e-4, "start_from": "general"}, (), "--epochs 4, not 2"),
    ],
)
def test_trials_with_other_settings_are_not_added_to_a_file(trials, settings, words, refused, tmp_path: Path):
    path = tmp_path / "trials.json"
    path.write_text(json.dumps({**settings, "runs": {"zoom-0": {}}}))
    with pytest.raises(SystemExit, match=re.escape(f"{path} was measured with {refused}")):
        trials.main([*NOWHERE, str(path), *words])


def test_the_settings_of_trials_are_stored_and_the_published_ones_are_the_defaults(trials, tmp_path: Path):
    settings = {"epochs": 4, "lr": 5e-4, "start_from": "general"}
    path = tmp_path / "trials.json"
    trials.write(path, trials.results_so_far(path, settings))
    assert trials.results_so_far(path, settings) == {**settings, "runs": {}}
    published = ROOT / "benchmarks" / "results" / "any_image_trials.json"
    assert "zoom-0" in trials.results_so_far(published, trials.DEFAULTS)["runs"]
    with pytest.raises(SkinlesionError, match="no-data: there is no such folder"):  # so the settings were accepted
        trials.main([*NOWHERE, str(published)])


def test_a_trial_of_another_length_is_not_resumed(trials, tmp_path: Path):
    assert not trials.is_started(tmp_path, 2)
    (tmp_path / "config.json").write_text(json.dumps(TrainConfig(epochs=2).to_json()))
    assert trials.is_started(tmp_path, 2)
    with pytest.raises(SystemExit, match="was started with --epochs 2, not 4: give another --runs"):
        trials.is_started(tmp_path, 4)


def test_an_unknown_trial_lists_those_that_there_are(trials, tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        trials.main([*NOWHERE, str(tmp_path / "trials.json"), "--only", "zoom", "zoom-soft"])
    message = capsys.readouterr().err
    assert "invalid choice: 'zoom-soft'" in message
    assert "zoom-soft-labels" in message


@pytest.mark.slow
def test_a_model_is_measured_in_both_precisions():
    found = measure_model("tiny", 32, 2, memory=False, budget=0.01)
    for figures in (found, found["bf16"]):
        assert figures["inference_seconds_per_image"] > 0
        assert figures["step_seconds_per_image"] > figures["inference_seconds_per_image"]
        assert 0 < figures["scan_share_of_step"] < 1
    assert 0 < found["bf16"]["largest_change_of_a_probability"] < 0.1


@pytest.mark.parametrize("name", ["tiny", "unet"])
def test_a_step_changes_every_weight(name: str):
    import torch

    model = create_model(name)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    torch.manual_seed(0)
    Step(model)(torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64))
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
