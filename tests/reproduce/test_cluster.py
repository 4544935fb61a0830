"""Jobs through submitit's local executor, and GPUs that are shared out."""

import importlib.util
import sys

import pytest
from PIL import Image

from skinlesion.cli import main
from skinlesion.data.synthetic import synthesize
from skinlesion.reproduce.plan import load_plan
from skinlesion.reproduce.results import Key, Results
from skinlesion.reproduce.runner import share_gpus

PLAN = """
name = "mini"
protocol = "Two tiny runs, one of which fails."
split = "random"
[recipe]
preset = "tiny"
model = ["dim=8", "d_state=2"]
size = 32
truth_size = 32
epochs = 1
batch_size = 8
[cells.full]
[cells.broken]
lr = 1e6
epochs = 2
[tables.table4]
title = "Modules"
dataset = "isic2017"
seeds = 1
rows = [{ cell = "full", label = "full" }, { cell = "broken", label = "broken" }]
"""


def test_every_job_gets_gpus_of_its_own_while_there_are_enough():
    assert share_gpus(["0", "1", "2", "3"], 4, 1) == ["0", "1", "2", "3"]
    assert share_gpus(["4", "5", "6", "7"], 2, 2) == ["4,5", "6,7"]
    assert share_gpus(["0", "1"], 3, 1) == ["0", "1", "0"]
    assert share_gpus(["0"], 2, 4) == ["0", "0"]
    assert share_gpus([], 2, 2) == [None, None]


@pytest.fixture
def words(tmp_path):
    images, masks = (tmp_path / f"ISIC-2017_Training_{kind}" for kind in ("Data", "Part1_GroundTruth"))
    images.mkdir()
    masks.mkdir()
    for seed in range(12):
        lesion = synthesize(seed, 32)
        Image.fromarray(lesion.image).save(images / f"ISIC_{seed:07d}.jpg")
        Image.fromarray(lesion.mask).save(masks / f"ISIC_{seed:07d}_segmentation.png")
    plan = tmp_path / "mini.toml"
    plan.write_text(PLAN)
    return [
        *("reproduce", "table4", "--scale", str(plan), "--root", str(tmp_path), "--out", str(tmp_path / "out")),
        *("--runs", str(tmp_path / "runs")),
    ]


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason='pip install "skinlesion[slurm]"')
@pytest.mark.filterwarnings("ignore")  # submitit's
@pytest.mark.slow
def test_jobs_of_submitit_finish_and_fail_as_processes_do(words, tmp_path, capsys):
    assert main([*words, "--executor", "local", "--jobs", "2"]) == 2
    assert "1 done, 1 failed, 0 not done" in " ".join(capsys.readouterr().out.split())
    results = Results(tmp_path / "out", load_plan(tmp_path / "mini.toml"))
    assert results.load(Key("isic2017", "full", 0)).data["images"]["test"] == 4
    assert "NaN" in results.error(Key("isic2017", "broken", 0))  # the run's own message


def test_without_submitit_the_error_says_what_to_install(words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main([*words, "--executor", "slurm"]) == 2
    assert 'pip install "skinlesion[slurm]"' in " ".join(capsys.readouterr().err.split())
