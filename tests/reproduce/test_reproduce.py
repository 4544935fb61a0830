"""Declared experiments: plans, runs that survive, and a report that says what it knows."""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from skinlesion.cli import main
from skinlesion.data.synthetic import synthesize
from skinlesion.errors import SkinlesionError
from skinlesion.reproduce import runner
from skinlesion.reproduce.plan import load_plan
from skinlesion.reproduce.report import summary, write_report
from skinlesion.reproduce.results import Key, Results, wanted
from skinlesion.reserved import reserved

PATIENCE = 900  # seconds until a process has done what it will do for certain: the machine may be busy
PLAN = """
name = "mini"
protocol = "Two tiny runs."
[recipe]
preset = "tiny"
size = 32
truth_size = 32
epochs = {epochs}
batch_size = 8
[cells.full]
model = ["dim=16", "d_state=2"]
[cells.none]
model = ["dim=16", "d_state=2", "se=false", "cmn=false", "cra=false"]
[cells.broken]
model = ["dim=16", "d_state=2"]
lr = 1e6
[tables.table4]
title = "Modules"
dataset = "isic2017"
seeds = 1
rows = [{{ cell = "full", label = "full", iou = 81.48 }}, {{ cell = "none", label = "none", iou = 79.54 }}]
[tables.trouble]
title = "A run that fails"
dataset = "isic2017"
seeds = 1
rows = [{{ cell = "broken", label = "broken" }}, {{ cell = "full", label = "full" }}]
[[claims]]
text = "full beats none"
source = "here"
table = "table4"
better = "full"
worse = "none"
paper = 1.94
"""


_FACTORIAL = '[[factorials]]\ntitle = "t"\ntable = "table4"\nfactors = ["a", "b"]\ncells = [{}]\n[[claims]]'


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An official 2017 layout of 2150 names is too much: a saved split would be refused, so the data are small and
    the split is drawn in the same proportions by the `paper` rule for any number of images."""
    folder = tmp_path_factory.mktemp("isic2017")
    images, masks = folder / "ISIC-2017_Training_Data", folder / "ISIC-2017_Training_Part1_GroundTruth"
    images.mkdir()
    masks.mkdir()
    for seed in range(24):
        lesion = synthesize(seed, 32)
        Image.fromarray(lesion.image).save(images / f"ISIC_{seed:07d}.jpg")
        Image.fromarray(lesion.mask).save(masks / f"ISIC_{seed:07d}_segmentation.png")
    return folder


@pytest.fixture
def plan_file(tmp_path):
    path = tmp_path / "mini.toml"
    path.write_text(PLAN.format(epochs=2))
    return path


def arguments(plan_file, root, tmp_path, *tables):
    out, runs = tmp_path / "out", tmp_path / "runs"
    return [
        "reproduce",
        *tables,
        "--scale",
        plan_file,
        "--root",
        root,
        "--out",
        out,
        "--runs",
        runs,
        "--split",
        "random",
    ]


def run(*words):
    return main([str(word) for word in words])


@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_every_table_of_the_paper_is_declared(scale):
    assert {"table1", "table2", "table3", "table4", "table5"} <= set(load_plan(scale).tables)


def test_the_papers_own_setting_is_declared():
    plan = load_plan("paper")
    config = plan.config("full", dataset="isic2016", seed=0)
    assert (config.size, config.epochs, config.batch_size, config.preset) == (256, 300, 32, "paper")


def test_packaged_plans_are_sound():
    plan = load_plan("cpu")
    keys = wanted(plan, ["table4", "table5"], None)
    assert len(keys) == len(set(keys)) == 3 * (9 + 3)  # the row that both tables share is run once
    assert [key.seed for key in keys] == sorted(key.seed for key in keys)
    assert {claim.paper for claim in plan.claims} >= {1.94, 0.90, 1.43}


def test_a_dataset_may_have_a_split_of_its_own():
    plan = load_plan("cpu")
    assert plan.split_of("isic2016") == "official"
    assert plan.split_of("isic2017") == plan.split_of("isic2018") == "paper"


def test_longer_runs_differ_in_their_epochs_alone():
    plan = load_plan("cpu")
    rows = plan.tables["convergence"].rows
    assert len(rows) == 5
    for row in rows:
        assert plan.cells[row.cell].changes == {**plan.cells[row.short].changes, "epochs": 32}


def test_results_of_before_stay_valid():
    """The plan's growth changes no cell that has been run."""
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / "reproduce" / "cpu"
    Results(folder, load_plan("cpu")).check()


def test_a_table_is_run_once_and_reported(plan_file, root, tmp_path, capsys):
    words = arguments(plan_file, root, tmp_path, "table4")
    assert run(*words) == 0
    results = Results(tmp_path / "out", load_plan(plan_file))
    full = results.load(Key("isic2017", "full", 0))
    assert full.counts.sum(1).tolist() == [32 * 32] * len(full.counts)
    assert full.data["cost"]["scan_flops"] > 0
    assert full.data["report"]["protocol"]["part"] == "test"
    assert full.data["images"] == {"train": 15, "val": 2, "test": 7, "official": 2150}
    assert [epoch["epoch"] for epoch in full.data["history"]] == [1, 2]
    assert results.images("isic2017") == full.data["images"]
    assert "24 of the 2150 official pairs, 15 to train" in capsys.readouterr().out
    assert not list((tmp_path / "runs").rglob("*.safetensors"))  # the finished run is cleared away
    stamp = results.path(full.key).stat().st_mtime_ns
    assert run(*words) == 0
    assert "2 of 2 runs are done; 0 left." in capsys.readouterr().out
    assert results.path(full.key).stat().st_mtime_ns == stamp
    page = write_report(results, tmp_path / "out").read_text()
    assert "| full beats none | here | +1.94 |" in page
    assert "Data: isic2017, 24 of the 2150 official pairs, 15 to train, 2 to select the epoch, 7 to test." in page
    assert (tmp_path / "out" / "table4-curves.png").stat().st_size > 1000
    assert (tmp_path / "out" / "table4.png").stat().st_size > 1000
    assert "A run that fails" in page
    assert str(tmp_path) not in page + results.path(full.key).read_text()


def test_a_run_that_fails_is_written_down_and_the_others_go_on(plan_file, root, tmp_path, capsys):
    assert run(*arguments(plan_file, root, tmp_path, "trouble")) == 2
    assert "1 done, 1 failed" in capsys.readouterr().out.replace("\n", " ")
    results = Results(tmp_path / "out", load_plan(plan_file))
    assert results.load(Key("isic2017", "full", 0)) is not None
    rows = summary(results)["tables"]["trouble"]["rows"]
    assert "Training stopped" in rows[0]["errors"][0]
    assert rows[0]["mean"]["iou"] is None
    assert rows[1]["seeds"] == 1


@pytest.fixture
def begin():
    """Start a campaign in a process group of its own and wait until its run has saved a checkpoint.

    Whatever becomes of the test, nothing of the group outlives it.
    """
    children = []

    def start(command: list[str], folder: Path) -> subprocess.Popen:
        child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        children.append(child)
        deadline = time.monotonic() + PATIENCE
        while not (folder / "checkpoints" / "last.ckpt").exists():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return child

    yield start
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_campaign_that_is_killed_goes_on_where_it_was(begin, root, tmp_path):
    plan_file = tmp_path / "mini.toml"
    plan_file.write_text(PLAN.format(epochs=6))
    words = [str(w) for w in arguments(plan_file, root, tmp_path, "table4")]
    command = [sys.executable, "-m", "skinlesion", *words]
    folder = tmp_path / "runs" / "isic2017" / "full" / "seed-0"
    child = begin(command, folder)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    done = len((folder / "metrics.csv").read_text().splitlines()) - 1
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert (tmp_path / "out" / "isic2017" / "full" / "seed-0.json").exists()
    told = re.findall(r"^epoch (\d)/6", (tmp_path / "runs" / "isic2017-full-seed-0.log").read_text(), re.MULTILINE)
    assert 1 < int(told[0]) <= done + 1  # no epoch that was saved is run again
    assert told[-1] == "6"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_run_does_not_outlive_its_campaign(begin, root, tmp_path):
    """Whoever kills the campaign alone leaves a run folder that another campaign may go on with."""
    plan_file = tmp_path / "mini.toml"
    plan_file.write_text(PLAN.format(epochs=500))
    words = [str(w) for w in arguments(plan_file, root, tmp_path, "table4")]
    child = begin([sys.executable, "-m", "skinlesion", *words], tmp_path / "runs" / "isic2017" / "full" / "seed-0")
    assignment = str(tmp_path / "runs" / "isic2017-full-seed-0.json").encode()

    def training() -> bool:
        return any(assignment in command for command in _commands())

    assert training()
    child.kill()
    child.wait()
    deadline = time.monotonic() + PATIENCE
    while training():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _commands() -> Iterator[bytes]:
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended since
            yield path.read_bytes()


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_run_that_ignores_the_request_to_end_is_killed(campaign, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.1)
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "1\n"  # from here on it ignores SIGTERM
        campaign.children.add(child)
        campaign.stop()
        assert child.returncode == -signal.SIGKILL


def test_a_campaign_that_was_stopped_begins_no_run(campaign, monkeypatch):
    """Ctrl-C can come when a run has its turn but no process yet."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was begun"))
    campaign.slots = StoppingSlots(campaign)
    assert campaign.run(Key("isic2017", "full", 0)) == "not done"


class StoppingSlots(queue.SimpleQueue):
    """Slots of a campaign that is stopped while a run takes one."""

    def __init__(self, campaign):
        self.campaign = campaign

    def get(self):
        self.campaign.stop()


@pytest.fixture
def campaign(plan_file, root, tmp_path):
    setting = runner.Setting(scale=str(plan_file), root=root, split=None, out=tmp_path / "out", runs=tmp_path)
    return runner.Campaign(Results(tmp_path / "out", load_plan(plan_file)), setting, time.monotonic() + PATIENCE, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_run_whose_campaign_has_gone_before_it_began_ends(plan_file, root, tmp_path):
    plan_file.write_text(PLAN.format(epochs=500))
    setting = runner.Setting(scale=str(plan_file), root=root, split="random", out=tmp_path / "out", runs=tmp_path)
    assignment = tmp_path / "full.json"
    assignment.write_text(json.dumps({"key": Key("isic2017", "full", 0), "setting": setting.to_json()}))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-m", "skinlesion.reproduce.cell", str(assignment)]
    with subprocess.Popen(command, env={**os.environ, runner.PARENT: str(gone.pid)}) as child:
        try:
            assert child.wait(PATIENCE) != 0
        finally:
            child.kill()
    assert not list((tmp_path / "out").rglob("*.json"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("to_all", [True, False], ids=["as a terminal sends it", "to the campaign alone"])
def test_ctrl_c_ends_the_campaign_and_blames_no_run(begin, root, tmp_path, to_all):
    plan_file = tmp_path / "mini.toml"
    plan_file.write_text(PLAN.format(epochs=500))
    words = [str(w) for w in arguments(plan_file, root, tmp_path, "table4")]
    child = begin([sys.executable, "-m", "skinlesion", *words], tmp_path / "runs" / "isic2017" / "full" / "seed-0")
    (os.killpg if to_all else os.kill)(child.pid, signal.SIGINT)
    assert child.wait(PATIENCE) == 130
    with pytest.raises(ProcessLookupError):  # the run has ended too
        os.killpg(child.pid, 0)
    assert not list((tmp_path / "out").rglob("*.error.json"))
    assert not (tmp_path / "runs" / "isic2017" / "none").exists()  # no other run was begun


@pytest.mark.slow
def test_a_run_on_several_devices_writes_one_result(plan_file, root, tmp_path, capsys):
    plan_file.write_text(PLAN.format(epochs=1).replace('"none", label = "none", iou', '"full", label = "again", iou'))
    assert run(*arguments(plan_file, root, tmp_path, "table4"), "--devices", 2) == 0
    assert "1 done, 0 failed" in capsys.readouterr().out.replace("\n", " ")
    result = Results(tmp_path / "out", load_plan(plan_file)).load(Key("isic2017", "full", 0))
    assert result.data["config"]["devices"] == 2
    log = (tmp_path / "runs" / "isic2017-full-seed-0.log").read_text()
    assert log.count("epoch 1/1") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_that_fills_fails_the_run_and_a_later_campaign_makes_up_for_it(plan_file, root, tmp_path, capsys):
    """A limit on the size of a file is a full disk that needs no privileges; every checkpoint is larger than it."""
    words = [str(word) for word in arguments(plan_file, root, tmp_path, "table4")]
    code = (
        "import resource, sys; from skinlesion.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.exit(main(sys.argv[1:]))"
    )
    full = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert full.returncode == 2
    results = Results(tmp_path / "out", load_plan(plan_file))
    assert "File too large" in results.error(Key("isic2017", "full", 0))
    assert run(*words) == 0
    assert "2 done, 0 failed" in capsys.readouterr().out.replace("\n", " ")
    assert results.error(Key("isic2017", "full", 0)) is None


def test_other_protocols_and_second_processes_are_refused(plan_file, root, tmp_path, capsys):
    words = arguments(plan_file, root, tmp_path, "table4")
    out = tmp_path / "out"
    out.mkdir()
    with reserved(out):
        assert run(*words) == 2
    assert "Another process is working in" in capsys.readouterr().err
    (out / "protocol.json").write_text(json.dumps({"plan": "mini", "manifest_isic2017": "0" * 64}))
    assert run(*words) == 2
    assert "manifest_isic2017 0000" in capsys.readouterr().err
    (out / "protocol.json").write_text(json.dumps({"plan": "mini", "version": "0.0.1"}))
    assert run(*words) == 2
    assert "version 0.0.1 there" in capsys.readouterr().err.replace("\n", " ")
    with reserved(tmp_path / "runs"):
        assert run(*words) == 2
    assert "Another process is working in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr = 1e6", "rate = 1", "cell broken: unknown key rate; valid are: accumulate"),
        ('preset = "tiny"', 'preset = "huge"', "Unknown model 'huge'"),
        ('"dim=16", "d_state=2"]\nlr', '"depth=8"]\nlr', "cell broken: Unknown model option depth"),
        ('worse = "none"', 'worse = "nothing"', "unknown name 'nothing'; valid are: full, none, broken"),
        ("[recipe]", "[recipe", "not valid TOML"),
        ('name = "mini"', "", "name missing"),
        ('label = "full", iou', "iou", "table table4: label missing"),
        ('text = "full beats none"', "", "claims: text missing"),
        ("epochs = 2", 'epochs = "two"', "cell full: "),
        ("seeds = 1", 'seeds = "1"', "seeds must be of type int, not '1'"),
        ("seeds = 1", "seeds = 0", "seeds must be at least 1"),
        (
            'model = ["dim=16", "d_state=2"]\n[cells.none]',
            'model = "dim=8"\n[cells.none]',
            "model must be of type list",
        ),
        ('dataset = "isic2017"', 'dataset = "isic2071"', "unknown name 'isic2071'; valid are: isic2016"),
        ("[[claims]]", 'splits = { isic2061 = "official" }\n[[claims]]', "table trouble: unknown key splits"),
        ("[[claims]]", _FACTORIAL.format('"full", "none"'), "factorials: 2 factors need 4 different cells"),
        ("[[claims]]", _FACTORIAL.format('"full", "non"'), "unknown name 'non'"),
        ('label = "full", iou', 'label = "full", short = "brief", iou', "table table4: unknown name 'brief'"),
        ("[cells.full]\n", "[cells]\nfull = 1\n[cells.other]\n", "cell full: expected a table here, not 1"),
    ],
)
def test_a_wrong_plan_says_what_is_wrong(tmp_path, old, new, message):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(epochs=2).replace(old, new))
    with pytest.raises(SkinlesionError) as error:
        load_plan(path)
    assert message in str(error.value)


@pytest.mark.slow
def test_seconds_and_memory_are_measured_and_reported(plan_file, root, tmp_path):
    out = tmp_path / "out"
    assert run("reproduce", "costs", "--scale", plan_file, "--out", out) == 0
    measured = json.loads((out / "costs.json").read_text())
    assert set(measured["cells"]) == {"full", "none", "broken"}
    for cell in measured["cells"].values():
        assert cell["step_seconds"] > 0
        assert cell["inference_seconds"] > 0
        assert sys.platform != "linux" or cell["step_peak_bytes"] > 0
    page = write_report(Results(out, load_plan(plan_file)), out).read_text()
    assert "| full |" in page.partition("## What each system costs")[2]


@pytest.mark.slow
def test_a_plan_may_grow_and_what_was_run_stays(root, tmp_path, capsys):
    plan_file = tmp_path / "mini.toml"
    plan_file.write_text(PLAN.format(epochs=1))
    words = arguments(plan_file, root, tmp_path, "table4")
    assert run(*words) == 0
    grown = PLAN.format(epochs=1).replace("[tables.table4]", '[cells.wide]\nmodel = ["dim=16"]\n[tables.table4]')
    plan_file.write_text(grown)
    assert run(*words) == 0
    assert "2 of 2 runs are done; 0 left." in capsys.readouterr().out
    plan_file.write_text(grown.replace('[cells.none]\nmodel = ["dim=16",', '[cells.none]\nmodel = ["dim=24",'))
    assert run(*words) == 2
    assert "another protocol (the options of none)" in " ".join(capsys.readouterr().err.split())
    plan_file.write_text(PLAN.format(epochs=2))  # the recipe is part of every cell
    assert run(*words) == 2
    assert "another protocol (the options of full; the options of none)" in " ".join(capsys.readouterr().err.split())
    plan_file.write_text(grown.replace('[cells.none]\nmodel = ["dim=16",', '[cells.none]\nmodel = ["dim=24",'))
    assert run("reproduce", "report", "--scale", plan_file, "--out", tmp_path / "out") == 2
    assert "another protocol (the options of none)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_cell_that_failed_may_be_mended(plan_file, root, tmp_path, capsys):
    words = arguments(plan_file, root, tmp_path, "trouble")
    assert run(*words) == 2
    plan_file.write_text(PLAN.format(epochs=2).replace("lr = 1e6", "lr = 1e-3"))
    shutil.rmtree(tmp_path / "runs")
    assert run(*words) == 0
    assert "2 done, 0 failed" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.slow
def test_results_that_cannot_be_trusted_are_not_reported(plan_file, root, tmp_path, capsys):
    out = tmp_path / "out"
    report = ("reproduce", "report", "--scale", plan_file, "--out", out)
    assert run(*report) == 2
    assert "There are no results in" in capsys.readouterr().err
    plan_file.write_text(PLAN.format(epochs=1))
    assert run(*arguments(plan_file, root, tmp_path, "table4")) == 0
    result = out / "isic2017" / "full" / "seed-0.json"
    (out / "isic2017" / "full" / "seed-0 (copy).json").write_text(result.read_text())
    assert run(*report) == 0  # a copy is no run
    result.write_text("{")
    assert run(*report) == 2
    assert "seed-0.json is damaged" in " ".join(capsys.readouterr().err.split()).replace("- ", "-")
    result.write_text((out / "isic2017" / "full" / "seed-0 (copy).json").read_text())
    (out / "protocol.json").unlink()
    assert run(*report) == 2
    assert "another protocol (the options of full" in " ".join(capsys.readouterr().err.split())
    assert run(*arguments(plan_file, root, tmp_path, "table4")) == 2  # nor gone on with


@pytest.mark.parametrize(
    ("option", "value"), [("--seeds", 0), ("--jobs", 0), ("--devices", -1), ("--budget", 0), ("--budget", -2)]
)
def test_numbers_that_make_no_sense_are_refused(plan_file, tmp_path, capsys, option, value):
    assert run("reproduce", "table4", "--scale", plan_file, "--root", tmp_path, option, value) == 2
    assert f"{option} must be" in capsys.readouterr().err


def test_unknown_tables_and_missing_data(plan_file, tmp_path, capsys):
    assert run("reproduce", "table9", "--scale", plan_file, "--root", tmp_path) == 2
    assert "Unknown table table9; the plan has: table4, trouble" in capsys.readouterr().err
    assert run("reproduce", "table4", "report", "--scale", plan_file, "--root", tmp_path) == 2
    assert "costs or report alone" in capsys.readouterr().err
    assert run("reproduce", "table4", "--scale", plan_file) == 2
    assert "--root is needed" in capsys.readouterr().err
    assert run("reproduce", "table4", "--scale", Path("none.toml"), "--root", tmp_path) == 2
    assert "cannot be read" in capsys.readouterr().err
