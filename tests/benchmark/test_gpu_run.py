"""The GPU acceptance run, tried without a GPU: every step, a failing step, and a run that is cut off."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("triton", reason="triton is missing (Linux: pip install triton)")


def begin(out: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "benchmarks/gpu.py", "--dry-run", "--minutes", "20", "--out", str(out), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def read(out: Path) -> dict:
    return json.loads((out / "gpu.json").read_text("utf-8"))


@pytest.mark.slow
def test_a_dry_run_does_every_step(tmp_path: Path):
    child = begin(tmp_path)
    _, errors = child.communicate(timeout=900)
    found = read(tmp_path)
    assert child.returncode == 0, (errors, found["outcomes"])
    assert {outcome["state"] for outcome in found["outcomes"].values()} == {"done"}
    cases = found["steps"]["correctness"]["cases"]
    assert {(case["engine"], case["type"]) for case in cases} == {("triton", "fp32"), ("triton", "bf16")}
    for case in cases:
        assert case["passed"]
        assert set(case["errors"]) == {"y", "x", "delta", "A", "B", "C", "D", "delta_bias"}
        assert case["type"] == "fp32" or max(case["errors"].values()) > 1e-5  # bf16 was really used
    speed = found["steps"]["speed"]
    assert speed["bytes_per_second"] > 0
    assert speed["exp_per_second"] > 0
    assert [row["engine"] for row in speed["rows"]] == ["triton", "reference"]
    assert all(row["backward_updates_per_second"] > 0 for row in speed["rows"])
    assert [row["precision"] for row in found["steps"]["training step"]["rows"]] == ["fp32", "bf16"]
    assert [row["epoch"] for row in found["steps"]["training"]["history"]] == [1, 2]
    assert (tmp_path / "run" / "best.safetensors").exists()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "gpu.md").read_text("utf-8")
    assert "it says nothing about a GPU" in page
    assert "4 of 4 cases equal the float64 reference" in page
    assert "2 epochs planned, 2 completed" in page
    again = begin(tmp_path)
    assert "holds a run already" in again.communicate(timeout=300)[1].decode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_cut_off_leaves_what_is_done(tmp_path: Path, how: signal.Signals):
    child = begin(tmp_path)
    deadline = time.monotonic() + 600
    while not (
        (tmp_path / "gpu.json").exists() and read(tmp_path).get("steps", {}).get("correctness", {}).get("cases")
    ):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    child.send_signal(how)
    child.communicate(timeout=120)
    found = read(tmp_path)
    assert found["steps"]["correctness"]["cases"]
    assert "triton | fp32" in (tmp_path / "gpu.md").read_text("utf-8")
    states = {name: outcome["state"] for name, outcome in found["outcomes"].items()}
    if how == signal.SIGTERM:
        assert states == {"correctness": "cut off"} | dict.fromkeys(("speed", "training step", "training"), "not begun")
    else:
        assert states == {"correctness": "running"}


@pytest.fixture
def steps(monkeypatch):
    """The modules of the run, in this process."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    from gpu import correctness, record, training

    yield correctness, record, training
    for name in set(sys.modules) - before:
        if name == "gpu" or name.startswith("gpu."):
            del sys.modules[name]


def test_a_case_that_fails_is_written_down_and_the_next_one_goes_on(tmp_path, steps, monkeypatch):
    correctness, record, _ = steps
    status = type("Status", (), {"available": True, "devices": ("cpu",)})
    monkeypatch.setattr(correctness, "engines", lambda: {"triton": status, "mamba": status})
    wrong = {"triton": 0.5, "mamba": None}

    def errors(case, engine, kind, device):
        if wrong[engine] is None:
            raise RuntimeError("an illegal | memory access\nwas encountered")
        return dict.fromkeys(correctness.NAMES, 1e-6) | {"A": wrong[engine]}

    monkeypatch.setattr(correctness, "errors", errors)
    kept = record.Record(tmp_path)
    correctness.run(kept, device="cpu", tiny=True, deadline=time.monotonic() + 60)
    cases = read(tmp_path)["steps"]["correctness"]["cases"]
    assert len(cases) == 8
    assert not any(case["passed"] for case in cases)
    page = (tmp_path / "gpu.md").read_text("utf-8")
    assert "0 of 8 cases equal" in page
    assert "5.0e-01 (A) | **failed** |" in page
    assert "an illegal \\| memory access was encountered" in page
    kept.step("correctness").clear()
    correctness.run(kept, device="cpu", tiny=True, deadline=time.monotonic() - 1)
    assert kept.step("correctness")["cut_off"]


def test_the_error_is_of_the_engine_and_not_of_the_rounding_of_its_inputs(steps):
    correctness, _, _ = steps
    case = correctness.TINY[1]
    assert max(correctness.errors(case, "cpu", "fp32", "cpu").values()) < 5e-6
    assert 1e-5 < max(correctness.errors(case, "cpu", "bf16", "cpu").values()) < correctness.TOLERANCE["bf16"]


def test_the_epochs_fit_into_the_time(steps):
    _, _, training = steps
    # 1350 images are 42.2 steps of 32; half a second each, plus 30%: 27.4 s an epoch
    assert training.epochs_that_fit(0.5, 32, 300.0) == 10
    assert training.epochs_that_fit(0.001, 32, 3000.0) == 300
    assert training.epochs_that_fit(60.0, 32, 10.0) == 1
    assert training.epochs_that_fit(None, 32, 300.0) == 10


def test_without_data_it_says_so(tmp_path):
    words = [sys.executable, "benchmarks/gpu.py", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert "--data is needed" in done.stderr
