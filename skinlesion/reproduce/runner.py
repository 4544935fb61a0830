"""Running what is missing: each run is a process of its own, can be killed at any time, and goes on where it was."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock

from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import load_split
from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder
from skinlesion.reproduce.plan import Plan
from skinlesion.reproduce.results import Key, Results, wanted


class _Campaign:
    """Runs keys in processes, `jobs` at a time, until they are done or the time is up."""

    def __init__(
        self, results: Results, scale: str, root: Path, split: str, runs: Path, jobs: int, deadline: float
    ) -> None:
        self.results, self.scale, self.root, self.split, self.runs = results, scale, root, split, runs
        self.jobs, self.deadline = jobs, deadline
        self.children: set[subprocess.Popen[str]] = set()
        self.lock = threading.Lock()

    def run(self, key: Key) -> str:
        """Run one key; returns "done", "failed" or "not done"."""
        if time.monotonic() >= self.deadline:
            return "not done"
        command = [sys.executable, "-m", "skinlesion.reproduce.cell", self.scale, *map(str, key)]
        command += [str(self.root), self.split, str(self.results.folder), str(self.runs), str(self._threads())]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads())}
        make_folder(self.runs)
        log = self.runs / f"{str(key).replace('/', '-')}.log"
        with log.open("w", encoding="utf-8") as output:
            child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment)
            with self.lock:
                self.children.add(child)
            try:
                code = child.wait(max(0.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGTERM)  # the run folder keeps its last complete epoch
                child.wait()
                return "not done"
            finally:
                with self.lock:
                    self.children.discard(child)
        if code == 0:
            return "done"
        if code < 0:  # killed from outside: nothing is wrong with the run itself
            return "not done"
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
        self.results.save_error(key, lines[-1] if lines else f"exit code {code}")
        return "failed"

    def stop(self) -> None:
        """End all children."""
        with self.lock:
            for child in self.children:
                child.send_signal(signal.SIGTERM)

    def _threads(self) -> int:
        """A run's share of the processors that this process may use."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, usable // self.jobs)


def reproduce(
    plan: Plan,
    tables: Sequence[str],
    *,
    scale: str,
    root: Path,
    split: str,
    out: Path,
    runs: Path,
    seeds: int | None = None,
    budget_hours: float | None = None,
    jobs: int = 1,
) -> dict[str, int]:
    """Run what is missing of some tables.

    Args:
        plan: what is declared.
        tables: names of its tables.
        scale: where the plan came from, for the processes: "cpu", "paper" or a file.
        root: folder of the data; for tables of several datasets, a folder with one of each name.
        split: which split of the data.
        out: results folder; results of another plan, manifest or version are refused.
        runs: where unfinished training runs live; each is removed when its result is written.
        seeds: runs of each row; default the table's own number.
        budget_hours: stop after so long; what was begun goes on the next time.
        jobs: processes at a time, each with its share of the threads.

    Returns:
        How many runs are "done", "failed" and "not done".

    Raises:
        SkinlesionError: a table is unknown, the data are not there, or another process works on `out`.
    """
    if unknown := [name for name in tables if name not in plan.tables]:
        raise SkinlesionError(f"Unknown table {', '.join(unknown)}; the plan has: {', '.join(plan.tables)}.")
    results = Results(out, plan)
    make_folder(out)
    try:
        with filelock.FileLock(out / ".lock", timeout=0):
            return _run_missing(results, list(tables), scale, root, split, runs, seeds, budget_hours, jobs)
    except filelock.Timeout as error:
        raise SkinlesionError(
            f"Another process is working on {out}: wait until it ends, or give another --out."
        ) from error


def dataset_root(root: Path, dataset: str) -> Path:
    """Where one dataset is: the folder of its name in `root` if there is one, else `root` itself."""
    return root / dataset if (root / dataset).is_dir() else root


def _run_missing(
    results: Results,
    tables: list[str],
    scale: str,
    root: Path,
    split: str,
    runs: Path,
    seeds: int | None,
    budget_hours: float | None,
    jobs: int,
) -> dict[str, int]:
    keys = wanted(results.plan, tables, seeds)
    for dataset in dict.fromkeys(key.dataset for key in keys):
        samples = find_samples(dataset_root(root, dataset), dataset)
        cells = sorted({key.cell for key in keys if key.dataset == dataset})
        results.claim(dataset, load_split(samples, dataset, split).hash, cells)
    missing = [key for key in keys if not results.path(key).exists()]
    print(f"{len(keys) - len(missing)} of {len(keys)} runs are there; {len(missing)} to do.", flush=True)
    deadline = time.monotonic() + 3600 * budget_hours if budget_hours is not None else float("inf")
    campaign = _Campaign(results, scale, root, split, runs, jobs, min(deadline, time.monotonic() + 10**8))
    outcomes = {"done": len(keys) - len(missing), "failed": 0, "not done": 0}

    def run(key: Key) -> None:
        started = time.monotonic()
        outcome = campaign.run(key)
        with campaign.lock:
            outcomes[outcome] += 1
        if outcome != "not done":
            found = results.load(key)
            shown = f"IoU {found.data['report']['pooled']['iou']:.4f}" if found else results.error(key)
            print(f"{key}: {outcome} after {(time.monotonic() - started) / 60:.1f} min, {shown}", flush=True)
        if outcome == "done":
            shutil.rmtree(runs / str(key), ignore_errors=True)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run, missing))
    except BaseException:
        campaign.stop()
        raise
    return outcomes
